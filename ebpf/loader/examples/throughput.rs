//! What the filter costs on a virtual wire with segmentation offload: throughput and CPU time with and
//! without it.
//!
//! ```sh
//! cargo run --release -p x0-ebpf-loader --example throughput -- [rounds] [ms of each run]
//! ```
//!
//! Needs root: it lays a wire between two network namespaces of its own. One thread sends super-packets of
//! 44 tagged datagrams of 1,400 bytes, another receives them merged. The ways take turns, and each way's
//! best round counts, because other work on the machine only ever makes a round worse. Ends with 1 when
//! the filter at TC ingress leaves less than 0.95 of the throughput of the wire without it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss
)]

#[path = "../tests/support/mod.rs"]
mod support;

use anyhow::{Context as _, Result, ensure};
use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};
use std::{
    net::UdpSocket,
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use support::{DATA, PEER, PORT, TAG, Wire, datagram};
use x0_ebpf_loader::mesh::{FilterConfig, MeshFilter, Mode};

const SEGMENT_BYTES: usize = 1_400;
const SEGMENTS: usize = 44;
const RATIO_MIN_PERMILLE: u64 = 950;

#[derive(Clone, Copy, Default)]
struct Round {
    mbit_per_s: u64,
    cpu_ns_per_datagram: u64,
    /// Time of one run of the program, of the kernel's own statistics.
    run_ns: u64,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().map_or(Ok(5), |text| text.parse()).context("rounds")?;
    let run_ms: u64 = arguments.next().map_or(Ok(1_000), |text| text.parse()).context("milliseconds")?;
    let ways = [("no program", None), ("TC ingress", Some(Mode::Tc)), ("XDP, forced", Some(Mode::XdpForced))];
    let _statistics = enable_stats(Stats::RunTime).context("the kernel's statistics of programs")?;
    let mut best = [Round::default(); 3];
    for _ in 0..rounds {
        for (best, (_, mode)) in best.iter_mut().zip(ways) {
            let round = run(mode, Duration::from_millis(run_ms))?;
            if round.mbit_per_s > best.mbit_per_s {
                *best = round;
            }
        }
    }
    println!("best of {rounds} rounds of {run_ms} ms, {SEGMENTS} datagrams of {SEGMENT_BYTES} bytes each send");
    println!("way            Mbit/s  CPU ns/datagram (both ends)  ns/run of the program  of no program");
    let base = best[0].mbit_per_s.max(1);
    for (round, (name, _)) in best.iter().zip(ways) {
        let permille = round.mbit_per_s * 1_000 / base;
        println!(
            "{name:<12} {:>8} {:>28} {:>22} {:>10}.{:03}",
            round.mbit_per_s,
            round.cpu_ns_per_datagram,
            round.run_ns,
            permille / 1_000,
            permille % 1_000
        );
    }
    let permille = best[1].mbit_per_s * 1_000 / base;
    ensure!(permille >= RATIO_MIN_PERMILLE, "TC ingress leaves {permille} of 1000");
    Ok(())
}

fn run(mode: Option<Mode>, time: Duration) -> Result<Round> {
    let wire = Wire::lay().context("namespaces")?;
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
    let receiver = wire.receiver(false);
    receiver.set_read_timeout(Some(Duration::from_millis(100)))?;
    option(&receiver, libc::SOL_UDP, libc::UDP_GRO, 1)?;
    option(&receiver, libc::SOL_SOCKET, libc::SO_RCVBUF, 8 << 20)?;
    let (stop, bytes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let reading = {
        let (stop, bytes) = (Arc::clone(&stop), Arc::clone(&bytes));
        std::thread::spawn(move || -> Result<()> {
            let mut buffer = vec![0; 65_536];
            while !stop.load(Ordering::Relaxed) {
                match receiver.recv(&mut buffer) {
                    Ok(length) => bytes.fetch_add(length as u64, Ordering::Relaxed),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
                    Err(error) => return Err(error.into()),
                };
            }
            Ok(())
        })
    };
    let sender = wire.sender(false);
    option(&sender, libc::SOL_UDP, libc::UDP_SEGMENT, SEGMENT_BYTES as libc::c_int)?;
    let mut one = datagram(DATA, TAG, 0);
    one.resize(SEGMENT_BYTES, 0);
    let super_packet = one.repeat(SEGMENTS);
    let (cpu, start) = (cpu_ns(), Instant::now());
    while start.elapsed() < time {
        sender.send(&super_packet)?;
    }
    let elapsed_us = start.elapsed().as_micros() as u64;
    let received = bytes.load(Ordering::Relaxed);
    let cpu = cpu_ns() - cpu;
    stop.store(true, Ordering::Relaxed);
    reading.join().map_err(|_| anyhow::anyhow!("the receiver panicked"))??;
    let run_ns = run_ns()?;
    drop(filter);
    Ok(Round {
        run_ns,
        mbit_per_s: received * 8 / elapsed_us.max(1),
        cpu_ns_per_datagram: cpu / (received / SEGMENT_BYTES as u64).max(1),
    })
}

fn option(socket: &UdpSocket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> Result<()> {
    // SAFETY: the option is an integer of this size, which lives during the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if set == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().into()) }
}

/// Mean time of a run of the filter's programs that have run; this process has attached one at most.
fn run_ns() -> Result<u64> {
    let (mut time, mut runs) = (0, 0);
    for program in loaded_programs() {
        let program = program?;
        if program.name_as_str().is_some_and(|name| name == "x0_ingress" || name == "x0_xdp") {
            time += program.run_time().as_nanos() as u64;
            runs += program.run_count();
        }
    }
    Ok(time / runs.max(1))
}

/// CPU time of this process, nanoseconds.
fn cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes the structure that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
