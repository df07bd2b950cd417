//! The machine: what it is, and what its cores do at best.

use anyhow::{Context, Result};
use rayon::prelude::*;
use std::{
    fs,
    time::{Duration, Instant},
};
use x0_crypto::{Seed, SigningKey};

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

/// ML-DSA-65 verifications per second of aws-lc-rs on all cores, measured for about `time`.
pub fn raw_verify_rate(time: Duration) -> Result<f64> {
    let key = SigningKey::from_seed(&Seed::from_bytes([7; 32])).context("key")?;
    let message = [42u8; 200];
    let signature = key.sign_transaction(&message).context("sign")?;
    let batch = 256u32;
    let start = Instant::now();
    let mut verified = 0u64;
    while start.elapsed() < time {
        (0..batch)
            .into_par_iter()
            .try_for_each(|_| key.public().verify_transaction(&message, &signature).context("verify"))?;
        verified += u64::from(batch);
    }
    Ok(verified as f64 / start.elapsed().as_secs_f64())
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

/// Processor time that a process has used, user and system together.
pub fn processor_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("stat of the process")?;
    // Fields 14 and 15, counted after the command's closing parenthesis (proc(5)), in ticks of 10 ms.
    let mut fields = stat.rsplit(')').next().context("stat")?.split_whitespace().skip(11);
    let mut ticks = 0u64;
    for _ in 0..2 {
        ticks += fields.next().context("stat")?.parse::<u64>()?;
    }
    Ok(Duration::from_millis(ticks * 10))
}
