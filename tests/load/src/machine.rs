//! The machine: what it is, and what its cores do at best.

use anyhow::{Context, Result};
use rayon::prelude::*;
use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};
use x0_crypto::{Seed, Signature, SigningKey};

/// Processor model and number of cores.
#[must_use]
pub fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            text.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1).map(str::to_owned))
        })
        .unwrap_or_else(|| "unknown processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cpu}, {cores} cores, Linux {}", kernel.trim())
}

/// Length of the message of raw verification: about that of a transfer's payload.
const RAW_MESSAGE_BYTES: usize = 200;

/// ML-DSA-65 verification by aws-lc-rs with nothing around it.
#[derive(Debug)]
pub struct RawVerify {
    key: SigningKey,
    signature: Signature,
}

impl RawVerify {
    /// A key and its signature.
    pub fn new() -> Result<Self> {
        let key = SigningKey::from_seed(&Seed::from_bytes([7; 32])).context("key")?;
        let signature = key.sign_transaction(&[42; RAW_MESSAGE_BYTES]).context("sign")?;
        Ok(Self { key, signature })
    }

    /// Verifies `count` times on all cores; how long that took.
    pub fn verify(&self, count: usize) -> Result<Duration> {
        let start = Instant::now();
        (0..count).into_par_iter().try_for_each(|_| {
            self.key.public().verify_transaction(&[42; RAW_MESSAGE_BYTES], &self.signature).context("verify")
        })?;
        Ok(start.elapsed())
    }
}

/// ML-DSA-65 verifications per second of aws-lc-rs on all cores, measured for about `time`.
pub fn raw_verify_rate(time: Duration) -> Result<f64> {
    const BATCH: usize = 256;
    let raw = RawVerify::new()?;
    let (mut verified, mut took) = (0usize, Duration::ZERO);
    while took < time {
        took += raw.verify(BATCH)?;
        verified += BATCH;
    }
    Ok(verified as f64 / took.as_secs_f64())
}

/// Resident memory of a process, bytes.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("status of the process")?;
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .context("VmRSS")?
        .parse()?;
    Ok(kib * 1024)
}

/// Processor time that a process has used since its start, user and system together, by groups of threads: threads
/// whose names differ in a number at the end are one group. Threads that have ended are missing.
pub fn thread_times(pid: u32) -> Result<BTreeMap<String, Duration>> {
    let mut times: BTreeMap<String, Duration> = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).context("threads of the process")? {
        let task = task?.path();
        // A thread may end between the two reads.
        let (Ok(name), Ok(stat)) = (fs::read_to_string(task.join("comm")), fs::read_to_string(task.join("schedstat")))
        else {
            continue;
        };
        let group = name.trim().trim_end_matches(|c: char| c.is_ascii_digit() || c == '-').to_owned();
        let nanoseconds: u64 = stat.split_whitespace().next().context("schedstat")?.parse()?;
        *times.entry(group).or_default() += Duration::from_nanos(nanoseconds);
    }
    Ok(times)
}
