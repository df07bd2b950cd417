//! One run: submission to one or several nodes, counted at finality at the first of them.

use crate::{machine, observe::Observer, report::Latency, submit, transfers::Transfer};
use anyhow::{Context, Result};
use std::{collections::BTreeMap, fmt, time::Duration};

/// How long a run waits for the last transfers to become final.
const PATIENCE: Duration = Duration::from_secs(180);

/// The nodes of a run.
#[derive(Clone, Debug)]
pub struct Target {
    /// Plain JSON-RPC of the nodes that receive transactions, in turn; finality is read at the first.
    pub urls: Vec<String>,
    /// Processes of nodes on this machine, for their processor time.
    pub pids: Vec<u32>,
}

/// Figures of one run.
#[derive(Debug)]
pub struct Run {
    /// Finalised transfers per second, from the first submission to the last finality.
    pub finalised_per_second: f64,
    /// Accepted transfers per second of submission.
    pub admitted_per_second: f64,
    /// Blocks with transfers.
    pub blocks: usize,
    /// From the time at which a transfer was due to its finality.
    pub latency: Latency,
    /// Answers that asked for patience.
    pub busy: u64,
    /// Refusals.
    pub refused: u64,
    /// Cores that the nodes used on average.
    pub node_cores: f64,
    /// Processor time per transfer by groups of threads.
    pub threads: Threads,
}

/// Processor time per transfer by groups of threads, microseconds.
#[derive(Clone, Debug, Default)]
pub struct Threads(pub BTreeMap<String, f64>);

impl fmt::Display for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups: Vec<_> = self.0.iter().filter(|(_, us)| **us >= 1.0).collect();
        groups.sort_by(|a, b| b.1.total_cmp(a.1));
        for (place, (name, us)) in groups.into_iter().enumerate() {
            write!(f, "{}`{name}` {us:.0} us", if place > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

/// Submits `batch` at `rate` (`None`: as fast as it is taken) and waits until it is final.
pub async fn run(target: &Target, batch: &[Transfer], connections: usize, rate: Option<f64>) -> Result<Run> {
    let first = target.urls.first().context("a run needs a node")?;
    let observer = Observer::start(first).await?;
    let lanes = submit::connect(&target.urls, connections).await?;
    let from = observer.tip();
    let before = processor(target)?;
    let start = tokio::time::Instant::now();
    let submitted = submit::submit(lanes, batch, rate).await?;
    for (message, count) in &submitted.refused {
        println!("refused {count} times: {message}");
    }
    observer.settle(PATIENCE).await?;
    let after = processor(target)?;
    let elapsed = start.elapsed();
    let (finalised, blocks) = observer.collect(from, &submitted.sent_at, PATIENCE).await?;
    let last = finalised.values().max().copied().unwrap_or(start);
    let latencies =
        finalised.iter().filter_map(|(hash, at)| Some(at.duration_since(*submitted.sent_at.get(hash)?))).collect();
    let used = |name: &String| {
        after.get(name).copied().unwrap_or_default().saturating_sub(before.get(name).copied().unwrap_or_default())
    };
    let count = finalised.len().max(1) as f64;
    Ok(Run {
        finalised_per_second: finalised.len() as f64 / last.duration_since(start).as_secs_f64(),
        admitted_per_second: submitted.sent_at.len() as f64 / submitted.elapsed.as_secs_f64(),
        blocks: blocks.iter().filter(|block| block.transfers > 0).count(),
        latency: Latency::of(latencies).context("at least one transfer became final")?,
        busy: submitted.busy,
        refused: submitted.refused.values().sum(),
        node_cores: after.keys().map(|name| used(name).as_secs_f64()).sum::<f64>() / elapsed.as_secs_f64(),
        threads: Threads(after.keys().map(|name| (name.clone(), used(name).as_secs_f64() * 1e6 / count)).collect()),
    })
}

/// Processor time of all nodes by groups of threads.
fn processor(target: &Target) -> Result<BTreeMap<String, Duration>> {
    let mut sum: BTreeMap<String, Duration> = BTreeMap::new();
    for pid in &target.pids {
        for (name, time) in machine::thread_times(*pid)? {
            *sum.entry(name).or_default() += time;
        }
    }
    Ok(sum)
}
