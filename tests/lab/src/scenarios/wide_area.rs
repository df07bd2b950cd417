//! Wires as between cities: slow, with jitter, lossy.

use super::Figures;
use crate::{
    Network,
    link::Rule,
    traffic::{Traffic, finalised_per_second},
};
use anyhow::{Context as _, Result};
use std::time::{Duration, Instant};

/// Pause between two transfers to one validator while the wires also lose packets: what TCP carries over 80 ms of
/// round trip with 2 % loss is some hundred kB per second.
const PAUSE: Duration = Duration::from_millis(40);
/// Loss of a bad wire under load.
const LOSS_PER_MILLE: u16 = 5;
/// A wire that carries little more than its share of the load.
const NARROW_BYTES_PER_S: u64 = 3_000_000;
/// How long the loaded network gets to fill its blocks before it is measured.
const WARM_UP: Duration = Duration::from_secs(5);
/// How long the loaded network is measured.
const MEASURED: Duration = Duration::from_secs(15);
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

/// Four cities 40 ms apart under load: what bulk does to votes, on wires that are wide, that lose packets, and that
/// are about as narrow as the load.
pub async fn cities_loaded(seed: u64) -> Result<Figures> {
    let mut network = Network::start(4, seed).await?;
    network.wait_progress(&[0, 1, 2, 3], 2, PROGRESS_MAX).await?;
    let wide = Rule::wide_area(40);
    network.fabric.set_all(wide);
    network.wait_progress(&[0, 1, 2, 3], 5, PROGRESS_MAX).await.context("40 ms apart")?;
    let _traffic = Traffic::start(&network, &[0, 1])?;
    let rpc = network.rpc(0).await?;
    let mut figures = Figures::new();
    for ([blocks, transfers], rule) in [
        (["wide_blocks_per_s", "wide_transfers_per_s"], wide),
        (["lossy_blocks_per_s", "lossy_transfers_per_s"], Rule { loss_per_mille: LOSS_PER_MILLE, ..wide }),
        (["narrow_blocks_per_s", "narrow_transfers_per_s"], Rule { bytes_per_s: NARROW_BYTES_PER_S, ..wide }),
    ] {
        network.fabric.set_all(rule);
        tokio::time::sleep(WARM_UP).await;
        let started = Instant::now();
        let (_, from) = rpc.finalised().await?;
        figures.insert(transfers, finalised_per_second(&rpc, MEASURED).await?);
        let (_, to) = rpc.finalised().await?;
        figures.insert(blocks, f64::from(to.saturating_sub(from)) / started.elapsed().as_secs_f64());
    }
    network.fabric.set_all(Rule::default());
    network.check_agreement().await?;
    network.stop().await?;
    Ok(figures)
}
