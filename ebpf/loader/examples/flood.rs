//! What reaches an agent's socket under a flood, without the filter, with it, and with enforced tags.
//!
//! ```sh
//! cargo run --release -p x0-ebpf-loader --example flood -- [seconds of each run] [datagrams per second]
//! ```
//!
//! Needs root: it lays a wire between two network namespaces of its own. While one thread floods the far
//! end, another sends 500 tagged heartbeats a second there, as a neighbour does. The receiver only counts;
//! an agent would answer each first message with a key encapsulation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

#[path = "../tests/support/mod.rs"]
mod support;

use anyhow::{Context as _, Result};
use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use support::{DATA, HELLO, PEER, PORT, TAG, Wire, bound, datagram};
use x0_ebpf_loader::mesh::{FilterConfig, MeshFilter, Mode};

const HEARTBEAT: u8 = 5;
const HEARTBEATS_PER_S: u64 = 500;
/// Addresses that the many strangers have.
const STRANGERS: u64 = 2_000;

#[derive(Clone, Copy)]
enum Flood {
    OneStranger,
    ManyStrangers,
    UnknownTags,
}

#[derive(Default)]
struct Seen {
    heartbeats: AtomicU64,
    others: AtomicU64,
    cpu_us: AtomicU64,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments.next().map_or(Ok(3), |text| text.parse()).context("seconds")?;
    let rate: u64 = arguments.next().map_or(Ok(50_000), |text| text.parse()).context("datagrams per second")?;
    println!("{rate} datagrams/s for {seconds} s, and {HEARTBEATS_PER_S} heartbeats/s");
    println!("flood                          filter      sent/s  reach socket/s  heartbeats  receiver CPU");
    for (name, flood) in [
        ("first messages, one source", Flood::OneStranger),
        ("first messages, 2000 sources", Flood::ManyStrangers),
        ("data with unknown tags", Flood::UnknownTags),
    ] {
        for (filter, mode) in [("none", None), ("TC", Some(Mode::Tc)), ("XDP", Some(Mode::XdpForced))] {
            let line = run(flood, mode, seconds, rate)?;
            println!("{name:<30} {filter:<8} {line}");
        }
    }
    Ok(())
}

fn run(flood: Flood, mode: Option<Mode>, seconds: u64, rate: u64) -> Result<String> {
    let wire = Wire::lay().context("namespaces")?;
    // Every address of 10.80.0.0/16 is the near end's own, and lies behind it for the far end.
    wire.near.ip("route add local 10.80.0.0/16 dev lo")?;
    wire.far.ip("route add 10.80.0.0/16 dev b1")?;
    let filter = match mode {
        None => None,
        Some(mode) => Some(wire.far.inside(move || {
            let mut filter = MeshFilter::load(&FilterConfig::new(&[PORT]))?;
            filter.allow(TAG, PEER)?;
            filter.arm(true)?;
            filter.attach("b1", mode)?;
            Ok(filter)
        })?),
    };
    let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
    let receiver = receive(&wire, &stop, &seen)?;
    let neighbour = wire.sender(false);
    let beat = datagram(HEARTBEAT, TAG, 0);
    let beats = std::thread::spawn(move || paced(seconds, HEARTBEATS_PER_S, |_| neighbour.send(&beat).map(drop)));
    let sent = strangers(&wire, flood, seconds, rate)?;
    let beats = beats.join().map_err(|_| anyhow::anyhow!("the neighbour panicked"))??;
    stop.store(true, Ordering::Relaxed);
    receiver.join().map_err(|_| anyhow::anyhow!("the receiver panicked"))??;
    drop(filter);
    Ok(format!(
        "{:>9} {:>15} {:>6} of {:<5} {:>7} ms",
        sent / seconds,
        seen.others.load(Ordering::Relaxed) / seconds,
        seen.heartbeats.load(Ordering::Relaxed),
        beats,
        seen.cpu_us.load(Ordering::Relaxed) / 1_000,
    ))
}

fn receive(wire: &Wire, stop: &Arc<AtomicBool>, seen: &Arc<Seen>) -> Result<JoinHandle<Result<()>>> {
    let socket = wire.receiver(false);
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let (stop, seen) = (Arc::clone(stop), Arc::clone(seen));
    Ok(std::thread::spawn(move || {
        let mut bytes = [0; 2_048];
        loop {
            match socket.recv(&mut bytes) {
                Ok(_) if bytes[0] & 0x0f == HEARTBEAT => seen.heartbeats.fetch_add(1, Ordering::Relaxed),
                Ok(_) => seen.others.fetch_add(1, Ordering::Relaxed),
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return Err(error.into()),
                // What still waited in the socket has been read.
                Err(_) if stop.load(Ordering::Relaxed) => break,
                Err(_) => 0,
            };
        }
        // SAFETY: the call writes the structure that it is given, for which zeros are a value.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
            usage
        };
        let us = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
        seen.cpu_us.store(u64::try_from(us(usage.ru_utime) + us(usage.ru_stime))?, Ordering::Relaxed);
        Ok(())
    }))
}

fn strangers(wire: &Wire, flood: Flood, seconds: u64, rate: u64) -> Result<u64> {
    let to: SocketAddr = SocketAddr::new("10.77.0.2".parse()?, PORT);
    let sockets: Vec<UdpSocket> = match flood {
        Flood::ManyStrangers => (0..STRANGERS)
            .map(|index| bound(&wire.near, &format!("10.80.{}.{}", index / 200, index % 200 + 1), 0))
            .collect::<Result<_>>()?,
        Flood::OneStranger | Flood::UnknownTags => vec![bound(&wire.near, "10.77.0.1", 0)?],
    };
    // As long as a first message: an ML-KEM-768 key, an X25519 key and some.
    let mut bogus = match flood {
        Flood::UnknownTags => datagram(DATA, 0xdead_beef, 0),
        Flood::OneStranger | Flood::ManyStrangers => datagram(HELLO, 0, 0),
    };
    bogus.resize(1_232, 0);
    let count = sockets.len() as u64;
    paced(seconds, rate, |index| match sockets.get((index % count) as usize) {
        Some(socket) => socket.send_to(&bogus, to).map(drop),
        None => Ok(()),
    })
}

/// Sends at a rate: every millisecond what has become due.
fn paced(seconds: u64, rate: u64, mut send: impl FnMut(u64) -> std::io::Result<()>) -> Result<u64> {
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < Duration::from_secs(seconds) {
        let due = rate * start.elapsed().as_micros() as u64 / 1_000_000;
        while sent < due {
            send(sent)?;
            sent += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(sent)
}
