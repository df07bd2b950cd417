//! Clocks that are wrong.

use super::Figures;
use crate::{Network, Start, traffic::Traffic};
use anyhow::{Context as _, Result, ensure};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How long a step may take.
const STEP_MAX: Duration = Duration::from_secs(60);
/// How far the time of a block may be from the honest clocks, milliseconds.
const SKEW_MS_MAX: u64 = 30_000;

/// One of four clocks runs five minutes fast, then five minutes slow: the chain goes on in honest time.
pub async fn skewed(seed: u64) -> Result<Figures> {
    let mut network = Network::start(4, seed).await?;
    let traffic = Traffic::start(&network, &[0, 1, 2])?;
    let library = shifter(network.folder())?;
    let mut worst = 0;
    for shift_s in [300, -300] {
        network.validators[3].stop().await?;
        network.validators[3].start(&at(&library, shift_s)).await.with_context(|| format!("clock {shift_s} s off"))?;
        for _ in 0..8 {
            network.wait_progress(&[0, 1, 2], 2, STEP_MAX).await.with_context(|| format!("clock {shift_s} s off"))?;
            worst = worst.max(skew_ms(&network).await?);
        }
        ensure!(worst <= SKEW_MS_MAX, "with one clock {shift_s} s off a block is {worst} ms from the honest clocks");
        let tip = network.height(0).await?;
        network
            .wait_height(3, tip, STEP_MAX)
            .await
            .with_context(|| format!("the one whose clock is {shift_s} s off"))?;
    }
    drop(traffic);
    network.check_agreement().await?;
    network.stop().await?;
    Ok(Figures::from([("block_time_skew_ms_max", f64::from(u32::try_from(worst)?))]))
}

/// Builds the library that shifts a process's wall clock.
fn shifter(folder: &Path) -> Result<PathBuf> {
    let library = folder.join("clock-shift.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/clock/shift.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(source).status()?;
    ensure!(built.success(), "cc does not build {source}");
    let shifted = Command::new("date").arg("+%s").env("LD_PRELOAD", &library).env("CLOCK_SHIFT_S", "1000").output()?;
    let shifted: u64 = String::from_utf8_lossy(&shifted.stdout).trim().parse().context("date prints seconds")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    ensure!(shifted.abs_diff(now + 1_000) < 100, "the library does not shift the clock: {now} became {shifted}");
    Ok(library)
}

/// A start with a wall clock that is so many seconds wrong.
fn at(library: &Path, shift_s: i64) -> Start {
    Start {
        environment: vec![
            ("LD_PRELOAD".into(), library.display().to_string()),
            ("CLOCK_SHIFT_S".into(), shift_s.to_string()),
        ],
        ..Start::default()
    }
}

/// Distance of the last block's time from this machine's clock.
async fn skew_ms(network: &Network) -> Result<u64> {
    let key = [sp_io::hashing::twox_128(b"Timestamp"), sp_io::hashing::twox_128(b"Now")].concat();
    let bytes = network.rpc(0).await?.storage(&key, None).await?.context("the chain has a time")?;
    let block = u64::from_le_bytes(bytes.try_into().map_err(|_| anyhow::anyhow!("a time has 8 bytes"))?);
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    Ok(now.abs_diff(block))
}
