//! Faults of one class against one system, and what they did to the stream.

use crate::{
    fault::{Class, Set},
    impair::Random,
    outcome::{Outcome, Window, judge, latencies_us, percentile},
    probe::{Prober, Record},
    process,
    realtime::now_ns,
    systems::{Running, System},
    topology::Topology,
};
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};
use tempfile::TempDir;

/// One fault and its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The path that carried the traffic.
    pub path: usize,
    /// While the fault was there.
    pub fault: Outcome,
    /// After it was lifted: turning back must not cost packets either.
    pub back: Outcome,
    /// Load average of the last minute, in hundredths.
    pub load_centi: u64,
}

/// A block of faults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The system.
    pub system: String,
    /// The class.
    pub class: Class,
    /// Fault by fault.
    pub rows: Vec<Row>,
    /// The stream before the first fault.
    pub calm: Calm,
    /// Whether the prober had real-time priority.
    pub realtime: bool,
}

/// The stream while nothing happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calm {
    /// One-way latency: median, 99th percentile and longest, microseconds.
    pub latency_us: [u64; 3],
    /// What was lost and how long the longest gap was.
    pub outcome: Outcome,
}

/// How long the stream is watched before the first fault.
const CALM: Duration = Duration::from_secs(2);
/// Phases of faults are spread over this time, microseconds.
const SPREAD_US: u64 = 300_000;
/// What a block may last beyond its faults.
const SLACK: Duration = Duration::from_secs(60);

/// Sets so many faults of a class on a running system; the logs of its daemons are kept in a folder, if one is named.
///
/// # Errors
/// When the system does not come up or breaks, or a fault cannot be set.
pub fn run(system: &dyn System, class: Class, faults: u64, seed: u64, logs: Option<&Path>) -> Result<Block> {
    let what = || format!("{}, {}", system.name(), class.name());
    let folder = process::folder()?;
    let folder = Folder { own: folder, keep: logs.map(|logs| logs.join(format!("{}-{seed}", class.name()))) };
    let lab = Topology::build(class.shape()).with_context(what)?;
    let mut running = system.start(&lab, folder.own.path()).with_context(what)?;
    let patience = system.patience();
    let _company = class.company()?;
    let round = patience.hold + settle(system, class) + Duration::from_secs(1);
    let seconds = patience.warm_up + CALM + SLACK + round * u32::try_from(faults)?;
    let prober = Prober::start(&running.ends(&lab), seconds.as_secs()).with_context(what)?;
    sleep(patience.warm_up);
    let calm = Window { from_ns: now_ns(), until_ns: now_ns() + u64::try_from(CALM.as_nanos())? };
    sleep(CALM);

    let mut random = Random::new(seed);
    let mut windows = Vec::new();
    for number in 0..faults {
        sleep(Duration::from_micros(random.up_to(SPREAD_US)));
        windows.push(one(system, class, &lab, &mut running, number, &mut random).with_context(what)?);
        running.check().with_context(what)?;
    }
    let record = prober.finish().with_context(what)?;
    Ok(Block {
        system: system.name().to_owned(),
        class,
        rows: windows.iter().map(|window| row(&record, *window)).collect(),
        calm: Calm { latency_us: spread(&latencies_us(&record, calm)), outcome: judge(&record, calm) },
        realtime: record.realtime,
    })
}

/// The time after a fault; a relay that has died starts from nothing and gets more of it.
fn settle(system: &dyn System, class: Class) -> Duration {
    system.patience().settle * if class == Class::RelayKill { 3 } else { 1 }
}

/// Where the daemons write; what they wrote is kept where somebody wants to read it.
struct Folder {
    own: TempDir,
    keep: Option<PathBuf>,
}

impl Drop for Folder {
    fn drop(&mut self) {
        let Some(keep) = &self.keep else { return };
        let kept = std::fs::create_dir_all(keep).and_then(|()| {
            for entry in std::fs::read_dir(self.own.path())? {
                let from = entry?.path();
                if let Some(name) = from.file_name().filter(|_| from.extension().is_some_and(|end| end == "log")) {
                    std::fs::copy(&from, keep.join(name))?;
                }
            }
            Ok(())
        });
        if let Err(error) = kept {
            eprintln!("logs are not kept: {error}");
        }
    }
}

/// A fault: when it was set, lifted, and followed up; the path; the load.
type Times = (Set, u64, u64, u64);

fn one(
    system: &dyn System,
    class: Class,
    lab: &Topology,
    running: &mut Running,
    number: u64,
    random: &mut Random,
) -> Result<Times> {
    let set = class.set(lab, running, number, random).context("setting the fault")?;
    eprintln!("  {} path {} at {} us", class.name(), set.path, set.before_ns / 1_000);
    sleep(system.patience().hold);
    let lifted = now_ns();
    class.lift(lab, running, set).context("lifting the fault")?;
    sleep(settle(system, class));
    Ok((set, lifted, now_ns(), load_centi()?))
}

fn row(record: &Record, (set, lifted, settled, load_centi): Times) -> Row {
    let fault = judge(record, Window { from_ns: set.before_ns, until_ns: lifted });
    let back = judge(record, Window { from_ns: lifted, until_ns: settled });
    Row { path: set.path, fault, back, load_centi }
}

/// Median, 99th percentile and maximum.
#[must_use]
pub fn spread(sorted: &[u64]) -> [u64; 3] {
    [50, 99, 100].map(|percent| percentile(sorted, percent))
}

/// The load average of the last minute, in hundredths.
///
/// # Errors
/// When the system's figure cannot be read.
pub fn load_centi() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    let first = text.split_whitespace().next().context("a load average")?;
    Ok(first.replace('.', "").parse()?)
}
