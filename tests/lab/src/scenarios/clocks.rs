//! Clocks that are wrong.

use super::Figures;
use crate::{Network, Start, traffic::Traffic};
use anyhow::{Context as _, Result, ensure};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a step may take.
const STEP_MAX: Duration = Duration::from_secs(60);
/// How far the time of a block may be from the honest clocks, milliseconds.
const SKEW_MS_MAX: u64 = 30_000;

/// One of four clocks runs five minutes fast, then five minutes slow: the chain goes on in honest time.
pub async fn skewed(seed: u64) -> Result<Figures> {
    let mut network = Network::start(4, seed).await?;
    let traffic = Traffic::start(&network, &[0, 1, 2])?;
    let mut worst = 0;
    for offset in ["+300s", "-300s"] {
        network.validators[3].stop().await?;
        network.validators[3].start(&at(offset)).await.with_context(|| format!("clock at {offset}"))?;
        for _ in 0..8 {
            network.wait_progress(&[0, 1, 2], 2, STEP_MAX).await.with_context(|| format!("clock at {offset}"))?;
            worst = worst.max(skew_ms(&network).await?);
        }
        ensure!(worst <= SKEW_MS_MAX, "with one clock at {offset} a block is {worst} ms from the honest clocks");
        let tip = network.height(0).await?;
        network.wait_height(3, tip, STEP_MAX).await.with_context(|| format!("the one with the clock at {offset}"))?;
    }
    drop(traffic);
    network.check_agreement().await?;
    network.stop().await?;
    Ok(Figures::from([("block_time_skew_ms_max", f64::from(u32::try_from(worst)?))]))
}

/// A start with a false wall clock; time that only measures distances stays true, as with a real wrong clock.
fn at(offset: &str) -> Start {
    Start {
        prefix: vec!["faketime".into(), "--exclude-monotonic".into(), "-f".into(), offset.into()],
        environment: vec![("FAKETIME_DONT_FAKE_MONOTONIC".into(), "1".into()), ("NO_FAKE_STAT".into(), "1".into())],
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
