//! One TCP stream through two agents between two namespaces of this machine, against the bare wire.
//!
//! ```text
//! stream [--seconds 5] [--rounds 3] [--wires 1] [--priority normal|bounded|always] [--hogs 0] [--mtu 1500]
//! ```
//!
//! Prints one line for each round, alternating which goes first, then what the data threads counted: how
//! late timers ran, how often priorities moved, what processor time each kind of thread took, and how much
//! work the hogs (threads that only compute) got done against a machine of their own. Needs root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation
)]

#[path = "../tests/mesh_support/mod.rs"]
mod mesh_support;

use anyhow::{Context as _, Result, bail, ensure};
use mesh_support::{Agent, pair_with};
use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use x0_agent_io::mesh::{IoStatus, Priority};
use x0_test_support::netns::Namespace;

struct Options {
    seconds: u64,
    rounds: u32,
    wires: u8,
    hogs: usize,
    priority: Priority,
}

fn options() -> Result<Options> {
    let mut options = Options { seconds: 5, rounds: 3, wires: 1, hogs: 0, priority: Priority::default() };
    let mut words = std::env::args().skip(1);
    while let Some(name) = words.next() {
        let value = words.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--seconds" => options.seconds = value.parse()?,
            "--rounds" => options.rounds = value.parse()?,
            "--wires" => options.wires = value.parse()?,
            "--hogs" => options.hogs = value.parse()?,
            "--priority" => {
                options.priority = match value.as_str() {
                    "normal" => Priority::Normal,
                    "bounded" => Priority::default(),
                    "always" => Priority::Always,
                    other => bail!("no priority {other:?}"),
                }
            }
            other => bail!("no option {other:?}"),
        }
    }
    Ok(options)
}

/// Bytes per second of one TCP stream.
fn stream(from: &Namespace, to: &Namespace, at: IpAddr, time: Duration) -> Result<f64> {
    let listener = to.inside(move || Ok(TcpListener::bind((at, 0))?))?;
    let target: SocketAddr = listener.local_addr()?;
    let reader = std::thread::Builder::new().name("tcp-reader".into()).spawn(move || -> Result<(u64, Duration)> {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut buffer = vec![0; 1 << 17];
        let (start, mut total) = (Instant::now(), 0_u64);
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok((total, start.elapsed())),
                length => total += length as u64,
            }
        }
    })?;
    let mut sender = from.inside(move || Ok(TcpStream::connect_timeout(&target, Duration::from_secs(10))?))?;
    let buffer = vec![0x5a; 1 << 17];
    let start = Instant::now();
    while start.elapsed() < time {
        sender.write_all(&buffer)?;
    }
    drop(sender);
    let (bytes, elapsed) = reader.join().expect("the reader does not panic")?;
    Ok(bytes as f64 / elapsed.as_secs_f64())
}

/// Processor time of this process's threads by name, milliseconds.
fn processor_time() -> Result<BTreeMap<String, u64>> {
    let mut times = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        // A thread may end between the listing and the reading.
        let Ok(stat) = std::fs::read_to_string(task?.path().join("stat")) else { continue };
        let (Some(open), Some(close)) = (stat.find('('), stat.rfind(')')) else { continue };
        let fields: Vec<&str> = stat[close + 2..].split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        *times.entry(stat[open + 1..close].to_owned()).or_default() += ticks * 10;
    }
    Ok(times)
}

/// Threads that only compute, and how many turns they made.
struct Hogs {
    stop: Arc<AtomicBool>,
    turns: Arc<AtomicU64>,
}

impl Hogs {
    fn start(count: usize) -> Result<Self> {
        let (stop, turns) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        for _ in 0..count {
            let (stop, turns) = (Arc::clone(&stop), Arc::clone(&turns));
            std::thread::Builder::new().name("hog".into()).spawn(move || {
                let mut value = 1_u64;
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..10_000 {
                        value = std::hint::black_box(value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
                    }
                    turns.fetch_add(1, Ordering::Relaxed);
                }
            })?;
        }
        Ok(Self { stop, turns })
    }
}

fn print(name: &str, status: &IoStatus, report: &x0_agent_io::mesh::StartReport) {
    println!("{name}: {}", serde_json::to_string(status).expect("numbers"));
    let buckets = status.late_histogram.iter().enumerate();
    let text: Vec<String> = buckets.map(|(index, count)| format!("<{}us:{count}", 64_u64 << index)).collect();
    println!("{name}: late {}", text.join(" "));
    for warning in report.warnings() {
        println!("{name}: WARNING {warning}");
    }
}

async fn agent(name: &str, agent: Agent) -> Result<()> {
    let status = agent.handle.status().await?;
    print(name, &status, agent.thread.as_ref().context("running")?.report());
    agent.stop().map(drop)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let options = options()?;
    ensure!(options.rounds > 0 && options.seconds > 0, "at least one round of one second");
    let hogs = Hogs::start(options.hogs)?;
    let time = Duration::from_secs(options.seconds);
    if options.hogs > 0 {
        std::thread::sleep(time);
        println!("hogs alone: {} turns/s", hogs.turns.swap(0, Ordering::Relaxed) / options.seconds);
    }
    let (mut one, mut two) = pair_with(options.wires, options.priority).await?;
    // Nobody reads what the agents say here.
    one.outputs.close();
    two.outputs.close();
    let load = std::fs::read_to_string("/proc/loadavg")?;
    println!("load {}", load.trim());
    for round in 0..options.rounds {
        let bare = || stream(&one.namespace, &two.namespace, IpAddr::from([10, 0, 0, 2]), time);
        let through = || -> Result<(f64, BTreeMap<String, u64>, u64)> {
            let before = processor_time()?;
            hogs.turns.store(0, Ordering::Relaxed);
            let start = Instant::now();
            let speed = stream(&one.namespace, &two.namespace, two.address.into(), time)?;
            let turns = hogs.turns.load(Ordering::Relaxed) * 1_000 / (start.elapsed().as_millis() as u64).max(1);
            let mut after = processor_time()?;
            after.iter_mut().for_each(|(name, ms)| *ms = ms.saturating_sub(before.get(name).copied().unwrap_or(0)));
            after.retain(|_, ms| *ms > 0);
            Ok((speed, after, turns))
        };
        let (raw, (mesh, spent, turns)) = if round % 2 == 0 {
            let raw = bare()?;
            (raw, through()?)
        } else {
            let mesh = through()?;
            (bare()?, mesh)
        };
        let gigabits = |bytes: f64| bytes * 8.0 / 1e9;
        println!(
            "bare {:.2} Gbit/s, mesh {:.2} Gbit/s, ratio {:.3}; processor ms {spent:?}; hogs {turns} turns/s",
            gigabits(raw),
            gigabits(mesh),
            mesh / raw
        );
    }
    hogs.stop.store(true, Ordering::Relaxed);
    agent("one", one).await?;
    agent("two", two).await
}
