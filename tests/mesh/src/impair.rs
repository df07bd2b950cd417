//! Wires with delay, jitter and reordering: two tunnel devices, and a thread that holds packets back.
//!
//! Plain test kernels have no `netem`. The thread runs with real-time priority, keeps packets in a heap by their due
//! time, and takes everything random from a seed. It forwards single packets, so such wires are for latency, not speed.

use crate::{
    realtime::{self, now_ns},
    topology::End,
};
use anyhow::{Context as _, Result};
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, Read as _, Write as _},
    net::Ipv4Addr,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};
use x0_test_support::netns::Namespace;

/// What an impaired wire does to each packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Delay of every packet, microseconds.
    pub delay_us: u64,
    /// Further delay between zero and this, microseconds, by the seed. Packets overtake each other when it is larger
    /// than their distance and `in_order` is not set.
    pub jitter_us: u64,
    /// Jitter does not reorder.
    pub in_order: bool,
}

/// Packets that a wire holds back; more are lost, as in a full queue.
const HELD_MAX: usize = 20_000;
/// Largest packet.
const MTU_BYTES: i32 = 1_500;
const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
/// How often a thread without packets looks whether it should end, milliseconds.
const LOOK_MS: u64 = 50;

/// SplitMix64: small, seeded, the same on every machine.
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// A sequence.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number from zero up to this one, which is included.
    pub const fn up_to(&mut self, most: u64) -> u64 {
        match most.checked_add(1) {
            Some(choices) => self.draw() % choices,
            None => self.draw(),
        }
    }
}

/// When packets of one direction leave the wire: a function of arrivals and the seed.
#[derive(Debug)]
pub struct Schedule {
    rule: Rule,
    random: Random,
    last_ns: u64,
}

impl Schedule {
    /// An idle direction.
    #[must_use]
    pub const fn new(rule: Rule, seed: u64) -> Self {
        Self { rule, random: Random::new(seed), last_ns: 0 }
    }

    /// When a packet that enters now leaves, nanoseconds.
    pub fn due_ns(&mut self, now_ns: u64) -> u64 {
        let jitter = if self.rule.jitter_us == 0 { 0 } else { self.random.up_to(self.rule.jitter_us * 1_000) };
        let mut due = now_ns + self.rule.delay_us * 1_000 + jitter;
        if self.rule.in_order {
            due = due.max(self.last_ns);
        }
        self.last_ns = due;
        due
    }
}

/// A running wire; it ends when dropped.
#[derive(Debug)]
pub struct Impairer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Impairer {
    /// Makes the two devices and starts forwarding between them.
    ///
    /// # Errors
    /// When the system refuses the devices or the thread.
    pub fn between(left: (&Namespace, &End), right: (&Namespace, &End), rule: Rule, seed: u64) -> Result<Self> {
        let mut ends = Vec::new();
        for (namespace, end) in [left, right] {
            let tunnel = namespace.tunnel(&end.device, end.address, MASK, MTU_BYTES)?;
            // Local programs may want multicast over it, as over Ethernet.
            namespace.ip(&format!("link set {} multicast on", end.device))?;
            nonblocking(&tunnel)?;
            ends.push(File::from(tunnel));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("lab-impairer".into()).spawn(move || {
            // Without real-time priority the wire is less exact; the prober's own report says whether there is any.
            let _ = realtime::become_realtime(realtime::PRIORITY + 1);
            forward(&mut ends, rule, seed, &told)
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Impairer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && let Ok(Err(error)) = thread.join()
        {
            eprintln!("an impaired wire broke: {error:#}");
        }
    }
}

fn nonblocking(descriptor: &OwnedFd) -> Result<()> {
    // SAFETY: no pointers; the descriptor is open.
    let flags = unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_GETFL) };
    // SAFETY: as above.
    if flags < 0 || unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) } < 0 {
        return Err(io::Error::last_os_error()).context("a tunnel that does not block");
    }
    Ok(())
}

/// A packet on its way: due time, number for a stable order, the end where it comes out.
type Held = Reverse<(u64, u64, usize, Vec<u8>)>;

fn forward(ends: &mut [File], rule: Rule, seed: u64, stop: &AtomicBool) -> Result<()> {
    let mut schedules = [Schedule::new(rule, seed * 2 + 1), Schedule::new(rule, seed * 2 + 2)];
    let mut held: BinaryHeap<Held> = BinaryHeap::new();
    let mut number = 0;
    let mut buffer = [0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        let now = now_ns();
        while held.peek().is_some_and(|Reverse((due, ..))| *due <= now) {
            if let Some(Reverse((_, _, to, packet))) = held.pop() {
                // A device that is down takes nothing: the packet is lost, as on a wire.
                let _ = ends[to].write(&packet);
            }
        }
        for from in 0..ends.len() {
            loop {
                match ends[from].read(&mut buffer) {
                    Ok(bytes) if held.len() < HELD_MAX => {
                        number += 1;
                        held.push(Reverse((
                            schedules[from].due_ns(now_ns()),
                            number,
                            1 - from,
                            buffer[..bytes].to_vec(),
                        )));
                    }
                    Ok(_) => {}
                    // Nothing waits, or the device is down.
                    Err(error) if [Some(libc::EAGAIN), Some(libc::EIO)].contains(&error.raw_os_error()) => break,
                    Err(error) => return Err(error).context("reading a tunnel"),
                }
            }
        }
        let until = held.peek().map_or(u64::MAX, |Reverse((due, ..))| *due);
        wait(ends, until.min(now_ns() + LOOK_MS * realtime::MILLISECOND_NS));
    }
    Ok(())
}

fn wait(ends: &[File], until_ns: u64) {
    let mut polled: Vec<libc::pollfd> =
        ends.iter().map(|end| libc::pollfd { fd: end.as_raw_fd(), events: libc::POLLIN, revents: 0 }).collect();
    let left = until_ns.saturating_sub(now_ns());
    let time = libc::timespec {
        tv_sec: libc::time_t::try_from(left / realtime::SECOND_NS).unwrap_or(0),
        tv_nsec: libc::c_long::try_from(left % realtime::SECOND_NS).unwrap_or(0),
    };
    // SAFETY: the array and the time are locals that live during the call, with the array's own length.
    unsafe { libc::ppoll(polled.as_mut_ptr(), 2, &raw const time, std::ptr::null()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leave(rule: Rule, seed: u64) -> Vec<u64> {
        let mut schedule = Schedule::new(rule, seed);
        (0..1_000).map(|packet| schedule.due_ns(packet * 100_000)).collect()
    }

    #[test]
    fn a_fixed_delay_is_exact_and_jitter_stays_in_its_bounds() {
        let fixed = leave(Rule { delay_us: 5_000, ..Rule::default() }, 1);
        assert!(fixed.iter().zip(0..).all(|(due, packet)| *due == packet * 100_000 + 5_000_000));
        let jitter = leave(Rule { delay_us: 5_000, jitter_us: 2_000, in_order: false }, 1);
        let extra = jitter.iter().zip(0..).map(|(due, packet)| due - packet * 100_000 - 5_000_000);
        assert!(extra.clone().all(|extra| extra <= 2_000_000));
        assert!(extra.clone().max() > Some(1_800_000) && extra.min() < Some(200_000));
    }

    #[test]
    fn the_seed_decides_and_order_is_kept_where_the_rule_says_so() {
        let rule = Rule { delay_us: 1_000, jitter_us: 3_000, in_order: false };
        assert_eq!(leave(rule, 9), leave(rule, 9));
        assert_ne!(leave(rule, 9), leave(rule, 10));
        assert!(!leave(rule, 9).is_sorted());
        assert!(leave(Rule { in_order: true, ..rule }, 9).is_sorted());
    }
}
