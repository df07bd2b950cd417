//! The report: everything measured, as figures, a table and a graph.

pub mod markdown;
pub mod svg;

use crate::{
    campaign::{self, Block, Row},
    fault::Class,
    outcome::percentile,
    speed::{self, Speed},
    systems::{self, System},
    topology::Shape,
};
use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// What the figures were measured on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the processors.
    pub processor: String,
    /// How many.
    pub cores: usize,
    /// Version of the kernel.
    pub kernel: String,
    /// How the kernel preempts itself, where it says so.
    pub preemption: String,
}

/// A system and what can be said about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// How it is set up.
    pub about: String,
    /// Its version, if it is here.
    pub version: Option<String>,
    /// Why it is not measured.
    pub missing: Option<String>,
}

/// Speeds of a system, run by run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speeds {
    /// The system.
    pub system: String,
    /// Its runs.
    pub runs: Vec<Speed>,
}

/// Everything that was measured; also the raw figures' form in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// The machine.
    pub machine: Machine,
    /// Seed of everything random.
    pub seed: u64,
    /// Faults of each class for each system.
    pub faults: u64,
    /// The systems, ours first.
    pub systems: Vec<Entry>,
    /// Blocks of faults; the halves of one class and system are joined.
    pub blocks: Vec<Block>,
    /// Speeds.
    pub speeds: Vec<Speeds>,
    /// Measurements that did not come to an end, and why.
    pub failures: Vec<String>,
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Faults of each class for each system.
    pub faults: u64,
    /// Most faults of each class for systems that need more than [`SLOW`] to recover.
    pub slow_faults: u64,
    /// Seed of everything random.
    pub seed: u64,
    /// The classes.
    pub classes: Vec<Class>,
    /// Names of the systems, all when empty.
    pub systems: Vec<String>,
    /// Runs of each system's speed.
    pub speed_runs: u64,
    /// Length of each, seconds.
    pub speed_seconds: u64,
    /// Where the logs of daemons are kept, if anywhere.
    pub logs: Option<PathBuf>,
}

/// Measures what the plan says, system after system, then in the reverse order.
///
/// # Errors
/// When the machine cannot be described, or a name of the plan is nobody's. A system that fails is a line of the report.
pub fn measure(plan: &Plan) -> Result<Document> {
    let mut document = Document {
        machine: machine()?,
        seed: plan.seed,
        faults: plan.faults,
        systems: Vec::new(),
        blocks: Vec::new(),
        speeds: Vec::new(),
        failures: Vec::new(),
    };
    for name in &plan.systems {
        ensure!(systems::all().iter().any(|system| system.name() == name), "there is no system {name}");
    }
    let wanted = |system: &dyn System| plan.systems.is_empty() || plan.systems.iter().any(|name| name == system.name());
    let mut present: Vec<Box<dyn System>> = Vec::new();
    for system in systems::all().into_iter().filter(|system| wanted(system.as_ref())) {
        let version = system.version();
        document.systems.push(Entry {
            name: system.name().to_owned(),
            about: system.about().to_owned(),
            version: version.as_ref().ok().cloned(),
            missing: version.as_ref().err().map(|error| format!("{error:#}")),
        });
        if version.is_ok() {
            present.push(system);
        }
    }
    for class in &plan.classes {
        for half in [0, 1] {
            failover(plan, *class, half, &present, &mut document);
        }
    }
    for run in 0..plan.speed_runs {
        for system in in_order(&present, run.is_multiple_of(2)) {
            document.speed(plan, system);
        }
    }
    Ok(document)
}

fn in_order(present: &[Box<dyn System>], forward: bool) -> Vec<&dyn System> {
    let mut order: Vec<&dyn System> = present.iter().map(AsRef::as_ref).collect();
    if !forward {
        order.reverse();
    }
    order
}

/// A system that gets more time than this for each fault gets fewer of them.
pub const SLOW: Duration = Duration::from_secs(5);

/// One half of the faults of a class, on all systems that it fits.
fn failover(plan: &Plan, class: Class, half: u64, present: &[Box<dyn System>], document: &mut Document) {
    for system in in_order(present, half == 0).into_iter().filter(|system| system.meets(class)) {
        let slow = system.patience().hold > SLOW;
        let all = if slow { plan.faults.min(plan.slow_faults) } else { plan.faults };
        let faults = (all + 1 - half) / 2;
        if faults == 0 {
            continue;
        }
        eprintln!("{}: {} x {faults}", system.name(), class.name());
        let seed = plan.seed.wrapping_mul(1_000).wrapping_add(half);
        let logs = plan.logs.as_ref().map(|logs| logs.join(system.name()));
        match campaign::run(system, class, faults, seed, logs.as_deref()) {
            Ok(block) => document.add(block),
            Err(error) => document.fail(format!("{error:#}")),
        }
    }
}

impl Document {
    fn speed(&mut self, plan: &Plan, system: &dyn System) {
        eprintln!("{}: speed", system.name());
        match speed::run(system, Shape::direct(2), plan.speed_seconds) {
            Ok(speed) => {
                let name = system.name();
                match self.speeds.iter_mut().find(|speeds| speeds.system == name) {
                    Some(speeds) => speeds.runs.push(speed),
                    None => self.speeds.push(Speeds { system: name.to_owned(), runs: vec![speed] }),
                }
            }
            Err(error) => self.fail(format!("{error:#}")),
        }
    }

    fn fail(&mut self, reason: String) {
        eprintln!("failed: {reason}");
        self.failures.push(reason);
    }

    /// Adds a block, to the one of the same system and class if there is one.
    pub fn add(&mut self, block: Block) {
        let same = self.blocks.iter_mut().find(|other| other.system == block.system && other.class == block.class);
        match same {
            Some(other) => {
                other.rows.extend(block.rows);
                other.realtime &= block.realtime;
            }
            None => self.blocks.push(block),
        }
    }

    /// The blocks of a class, in the order of the systems.
    #[must_use]
    pub fn of(&self, class: Class) -> Vec<&Block> {
        let position = |block: &Block| self.systems.iter().position(|entry| entry.name == block.system);
        let mut blocks: Vec<&Block> = self.blocks.iter().filter(|block| block.class == class).collect();
        blocks.sort_by_key(|block| position(block));
        blocks
    }

    /// Writes `mesh.json`, `mesh.md` and `mesh-failover.svg` into a folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        let write = |name: &str, text: String| {
            std::fs::write(folder.join(name), text).with_context(|| format!("writing {name}"))
        };
        write("mesh.json", serde_json::to_string(self)? + "\n")?;
        write("mesh.md", markdown::render(self))?;
        write("mesh-failover.svg", svg::render(self))
    }
}

/// Median, 90th and 99th percentile and maximum of a figure of the rows.
#[must_use]
pub fn spread(rows: &[Row], figure: impl Fn(&Row) -> u64) -> [u64; 4] {
    let mut figures: Vec<u64> = rows.iter().map(figure).collect();
    figures.sort_unstable();
    [50, 90, 99, 100].map(|percent| percentile(&figures, percent))
}

/// Microseconds as milliseconds with one decimal.
#[must_use]
pub fn ms(us: u64) -> String {
    let tenths = us.saturating_add(50) / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn machine() -> Result<Machine> {
    let information = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = information.lines().find_map(|line| line.strip_prefix("model name"));
    let preemption = std::fs::read_to_string("/sys/kernel/debug/sched/preempt").ok();
    Ok(Machine {
        processor: model.map_or("?", |rest| rest.trim_start_matches([' ', '\t', ':'])).to_owned(),
        cores: std::thread::available_parallelism()?.get(),
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        preemption: preemption.map_or_else(|| "not readable".to_owned(), |text| text.trim().to_owned()),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::outcome::Outcome;

    /// A document with two systems and one class.
    pub(crate) fn example() -> Document {
        let row = |gap_us, lost| Row {
            fault: Outcome { sent: 500, lost, lost_run: lost, gap_us, ..Outcome::default() },
            ..Row { path: 0, fault: Outcome::default(), back: Outcome::default(), load_centi: 50 }
        };
        let block = |system: &str, rows| Block {
            system: system.to_owned(),
            class: Class::BlackHole,
            rows,
            calm: campaign::Calm::default(),
            realtime: true,
        };
        let entry = |name: &str| Entry {
            name: name.to_owned(),
            about: "as it comes".into(),
            version: Some("1".into()),
            missing: None,
        };
        let mut document = Document {
            machine: Machine { processor: "P".into(), cores: 2, kernel: "6".into(), preemption: "none".into() },
            seed: 1,
            faults: 2,
            systems: vec![entry(systems::OURS), entry("rival")],
            blocks: Vec::new(),
            speeds: vec![Speeds { system: "rival".into(), runs: vec![Speed { mbit_s: 840, ..Speed::default() }] }],
            failures: Vec::new(),
        };
        document.add(block("rival", vec![row(6_000_000, 6_000), row(4_000, 3)]));
        document.add(block(systems::OURS, vec![row(5_000, 0)]));
        document.add(block(systems::OURS, vec![row(7_040, 1)]));
        document
    }

    #[test]
    fn halves_of_a_block_are_joined_and_ours_comes_first() {
        let document = example();
        let blocks = document.of(Class::BlackHole);
        assert_eq!(blocks.iter().map(|block| block.rows.len()).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(blocks[0].system, systems::OURS);
        assert_eq!(spread(&blocks[0].rows, |row| row.fault.gap_us), [5_000, 7_040, 7_040, 7_040]);
    }

    #[test]
    fn raw_figures_can_be_read_back() {
        let document = example();
        let text = serde_json::to_string(&document).unwrap();
        assert_eq!(serde_json::from_str::<Document>(&text).unwrap(), document);
    }

    #[test]
    fn milliseconds_are_rounded() {
        assert_eq!([0, 49, 50, 1_949, 1_950, 12_000].map(ms), ["0.0", "0.0", "0.1", "1.9", "2.0", "12.0"]);
    }
}
