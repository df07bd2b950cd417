//! The wires of the lab: packets between namespaces, forwarded in user space under rules.
//!
//! ```text
//!   namespace 1 [lab0] --read--> [`Link`] 1->2 decides --now--> write --> [lab0] namespace 2
//!                                        \--later--> heap by time --/
//! ```

use crate::{
    link::{Link, Rule, Verdict},
    netns::{MTU_BYTES, Namespace},
};
use anyhow::{Context as _, Result};
use parking_lot::{Condvar, Mutex};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    net::Ipv4Addr,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How long a reader waits for a packet before it looks whether the lab has ended.
const POLL_MS: libc::c_int = 100;
/// Packets that wait for their time; more are lost, as on a real wire with a full buffer.
const DELAYED_PACKETS_MAX: usize = 100_000;

struct Delayed {
    at_us: u64,
    order: u64,
    to: usize,
    bytes: Vec<u8>,
}

impl PartialEq for Delayed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Delayed {}
impl PartialOrd for Delayed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Delayed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.order).cmp(&(other.at_us, other.order))
    }
}

struct Shared {
    started: Instant,
    ports: Vec<OwnedFd>,
    links: Vec<Mutex<Link>>,
    delayed: Mutex<BinaryHeap<Reverse<Delayed>>>,
    wake: Condvar,
    order: AtomicU64,
    ended: AtomicBool,
    forwarded: AtomicU64,
    lost: AtomicU64,
}

impl Shared {
    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn link(&self, from: usize, to: usize) -> &Mutex<Link> {
        &self.links[from * self.ports.len() + to]
    }

    fn write(&self, to: usize, bytes: &[u8]) {
        // SAFETY: the buffer is valid for its length, and the descriptor is owned by `self`.
        let written = unsafe { libc::write(self.ports[to].as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
        // A device that is full or down loses the packet, as a wire does.
        let counter = if written < 0 { &self.lost } else { &self.forwarded };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn forward(&self, from: usize, bytes: &[u8]) {
        let Some(to) = destination(bytes).filter(|to| *to < self.ports.len() && *to != from) else { return };
        let now = self.now_us();
        match self.link(from, to).lock().decide(now, bytes.len()) {
            Verdict::Drop => drop(self.lost.fetch_add(1, Ordering::Relaxed)),
            Verdict::Deliver { at_us, copy_us } => {
                for at_us in std::iter::once(at_us).chain(copy_us) {
                    if at_us <= now { self.write(to, bytes) } else { self.delay(at_us, to, bytes) }
                }
            }
        }
    }

    fn delay(&self, at_us: u64, to: usize, bytes: &[u8]) {
        let mut delayed = self.delayed.lock();
        if delayed.len() >= DELAYED_PACKETS_MAX {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let order = self.order.fetch_add(1, Ordering::Relaxed);
        let first = delayed.peek().is_none_or(|Reverse(next)| at_us < next.at_us);
        delayed.push(Reverse(Delayed { at_us, order, to, bytes: bytes.to_vec() }));
        if first {
            self.wake.notify_one();
        }
    }

    fn deliver_in_time(&self) {
        let mut delayed = self.delayed.lock();
        while !self.ended.load(Ordering::Relaxed) {
            let now = self.now_us();
            match delayed.peek() {
                Some(Reverse(next)) if next.at_us <= now => {
                    if let Some(Reverse(packet)) = delayed.pop() {
                        parking_lot::MutexGuard::unlocked(&mut delayed, || self.write(packet.to, &packet.bytes));
                    }
                }
                Some(Reverse(next)) => {
                    let wait = Duration::from_micros(next.at_us - now);
                    self.wake.wait_for(&mut delayed, wait);
                }
                None => drop(self.wake.wait_for(&mut delayed, Duration::from_millis(100))),
            }
        }
    }

    fn read_port(&self, from: usize) {
        let mut buffer = vec![0; usize::try_from(MTU_BYTES).unwrap_or_default() + 64];
        let descriptor = self.ports[from].as_raw_fd();
        while !self.ended.load(Ordering::Relaxed) {
            let mut poll = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
            // SAFETY: one valid `pollfd` for the length of the call.
            if unsafe { libc::poll(&raw mut poll, 1, POLL_MS) } <= 0 {
                continue;
            }
            // SAFETY: the buffer is valid for its length, and the descriptor is owned by `self`.
            let read = unsafe { libc::read(descriptor, buffer.as_mut_ptr().cast(), buffer.len()) };
            match usize::try_from(read) {
                Ok(read) => self.forward(from, &buffer[..read]),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

/// The number of the namespace that a packet goes to, by the address plan of [`address`] and [`alias`].
fn destination(packet: &[u8]) -> Option<usize> {
    let version = packet.first()? >> 4;
    let destination: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    if version != 4 || destination[..2] != [10, 77] {
        return None;
    }
    match destination[2].checked_sub(ALIASES) {
        Some(number) => Some(usize::from(number)),
        None => usize::from(u16::from_be_bytes([destination[2], destination[3]])).checked_sub(1),
    }
}

/// The third part of a further address of the first namespace; those of the others follow.
const ALIASES: u8 = 128;

/// A further address of the namespace with this number, for one that is many: `10.77.128.1` and so on.
#[must_use]
pub fn alias(number: usize, alias: u8) -> Ipv4Addr {
    let number = u8::try_from(number).unwrap_or(u8::MAX);
    Ipv4Addr::new(10, 77, ALIASES.saturating_add(number), alias)
}

/// The address of the namespace with this number, counted from zero: `10.77.0.1` and so on.
#[must_use]
pub fn address(number: usize) -> Ipv4Addr {
    let [high, low] = u16::try_from(number + 1).unwrap_or(u16::MAX).to_be_bytes();
    Ipv4Addr::new(10, 77, high, low)
}

/// Namespaces and the wires between each two of them.
pub struct Fabric {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// The namespaces, by number.
    pub namespaces: Vec<Namespace>,
}

impl std::fmt::Debug for Fabric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fabric").field("namespaces", &self.namespaces.len()).finish_non_exhaustive()
    }
}

impl Fabric {
    /// Makes so many namespaces, fully connected.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn new(count: usize, seed: u64) -> Result<Self> {
        let mut namespaces = Vec::new();
        let mut ports = Vec::new();
        for number in 0..count {
            let (namespace, port) =
                Namespace::create(address(number)).with_context(|| format!("namespace {}", number + 1))?;
            namespaces.push(namespace);
            ports.push(port);
        }
        let links = (0..count * count)
            .map(|link| Mutex::new(Link::new(seed.wrapping_add(u64::try_from(link).unwrap_or_default()))))
            .collect();
        let shared = Arc::new(Shared {
            started: Instant::now(),
            ports,
            links,
            delayed: Mutex::default(),
            wake: Condvar::new(),
            order: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            forwarded: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let mut threads = Vec::new();
        for number in 0..count {
            let shared = Arc::clone(&shared);
            threads.push(
                std::thread::Builder::new()
                    .name(format!("lab-port-{}", number + 1))
                    .spawn(move || shared.read_port(number))?,
            );
        }
        let timer = Arc::clone(&shared);
        threads.push(std::thread::Builder::new().name("lab-timer".into()).spawn(move || timer.deliver_in_time())?);
        Ok(Self { shared, threads, namespaces })
    }

    /// Sets the rule of one direction.
    pub fn set(&self, from: usize, to: usize, rule: Rule) {
        self.shared.link(from, to).lock().set(rule);
    }

    /// Sets the rule of both directions between two namespaces.
    pub fn set_both(&self, one: usize, other: usize, rule: Rule) {
        self.set(one, other, rule);
        self.set(other, one, rule);
    }

    /// Sets the rule of every direction.
    pub fn set_all(&self, rule: Rule) {
        for from in 0..self.namespaces.len() {
            for to in 0..self.namespaces.len() {
                self.set(from, to, rule);
            }
        }
    }

    /// Cuts every wire between the two groups; the rest keeps its rule.
    pub fn partition(&self, one: &[usize], other: &[usize]) {
        for &from in one {
            for &to in other {
                self.set_both(from, to, Rule::CUT);
            }
        }
    }

    /// Packets that were forwarded, and that were lost.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<&'static str, u64> {
        BTreeMap::from([
            ("forwarded", self.shared.forwarded.load(Ordering::Relaxed)),
            ("lost", self.shared.lost.load(Ordering::Relaxed)),
        ])
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                eprintln!("x0-lab: a forwarding thread panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read as _, Write as _},
        net::{SocketAddr, TcpListener},
    };

    /// A listener inside a namespace.
    fn listen(namespace: &Namespace) -> TcpListener {
        let mut holder = std::process::Command::new("true");
        namespace.enter(&mut holder);
        assert!(holder.status().unwrap().success(), "a process starts inside");
        namespace.listen(SocketAddr::new(namespace.address.into(), 0)).unwrap()
    }

    #[test]
    fn further_addresses_lead_to_their_namespace() {
        let packet = |to: Ipv4Addr| {
            let mut packet = [0; 20];
            packet[0] = 0x45;
            packet[16..].copy_from_slice(&to.octets());
            packet
        };
        for number in [0, 3, 99] {
            assert_eq!(destination(&packet(address(number))), Some(number));
            assert_eq!(destination(&packet(alias(number, 7))), Some(number));
        }
        assert_eq!(destination(&packet(Ipv4Addr::new(10, 78, 0, 1))), None);
        assert_eq!(destination(&packet(Ipv4Addr::new(10, 77, 0, 0))), None);
    }

    #[test]
    fn packets_pass_and_a_cut_stops_them() {
        let fabric = Fabric::new(2, 1).unwrap();
        let listener = listen(&fabric.namespaces[1]);
        let to = SocketAddr::new(address(1).into(), listener.local_addr().unwrap().port());
        let mut client = fabric.namespaces[0].connect(to).unwrap();
        let (mut server, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), address(0));
        client.write_all(&[7; 100_000]).unwrap();
        let mut bytes = vec![0; 100_000];
        server.read_exact(&mut bytes).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 7));

        fabric.partition(&[0], &[1]);
        client.write_all(b"lost").unwrap();
        server.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        assert!(server.read(&mut bytes).is_err(), "nothing passes a cut");
        fabric.set_all(Rule::default());
        server.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // TCP repeats what the cut swallowed.
        assert_eq!(server.read(&mut bytes).unwrap(), 4);
    }
}
