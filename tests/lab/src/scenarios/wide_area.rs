//! Wires as between cities: slow, with jitter, lossy.

use super::Figures;
use crate::{
    Network,
    link::Rule,
    traffic::{Traffic, finalised_per_second},
};
use anyhow::{Context as _, Result};
use std::time::Duration;

/// Pause between two transfers to one validator: what one TCP connection with 80 ms of round trip and 2 % loss
/// carries is some hundred kB per second.
const PAUSE: Duration = Duration::from_millis(40);
/// How long the network may take for a few blocks.
const PROGRESS_MAX: Duration = Duration::from_secs(60);

/// Four cities 40 ms apart, then with jitter that reorders and 2 % loss.
pub async fn cities(seed: u64) -> Result<Figures> {
    let mut network = Network::start(4, seed).await?;
    let _traffic = Traffic::start_with(&network, &[0, 1], PAUSE)?;
    network.wait_progress(&[0, 1, 2, 3], 2, PROGRESS_MAX).await?;
    network.fabric.set_all(Rule::wide_area(40));
    network.wait_progress(&[0, 1, 2, 3], 5, PROGRESS_MAX).await.context("40 ms apart")?;
    let rpc = network.rpc(0).await?;
    let clean = finalised_per_second(&rpc, Duration::from_secs(5)).await?;
    let (_, from) = rpc.finalised().await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (_, to) = rpc.finalised().await?;
    let rough =
        Rule { delay_us: 40_000, jitter_us: 10_000, loss_per_mille: 20, duplicate_per_mille: 5, ..Rule::default() };
    network.fabric.set_all(rough);
    network.wait_progress(&[0, 1, 2, 3], 5, PROGRESS_MAX).await.context("2 % loss and reordering")?;
    network.fabric.set_all(Rule::default());
    network.check_agreement().await?;
    network.stop().await?;
    Ok(Figures::from([
        ("transfers_per_s_at_40_ms", clean),
        ("blocks_per_s_at_40_ms", f64::from(to.saturating_sub(from)) / 3.0),
    ]))
}
