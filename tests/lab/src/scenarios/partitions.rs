//! Wires that are cut.

use super::Figures;
use crate::{
    Network,
    link::Rule,
    traffic::{Traffic, finalised_per_second},
};
use anyhow::{Context as _, Result, ensure};
use std::time::{Duration, Instant};

/// How long the network may take to go on after a heal.
const HEAL_MAX: Duration = Duration::from_secs(60);
/// How long a throughput is observed.
const OBSERVED: Duration = Duration::from_secs(6);
/// How long a halt is observed.
const HALT_OBSERVED: Duration = Duration::from_secs(4);

/// One validator is cut off: the three others go on, and the one comes back when the wires do.
pub async fn three_one(seed: u64) -> Result<Figures> {
    let mut network = Network::start(4, seed).await?;
    let _traffic = Traffic::start(&network, &[0, 1, 2])?;
    network.wait_progress(&[0, 1, 2, 3], 5, HEAL_MAX).await?;
    let rpc = network.rpc(0).await?;
    let whole = finalised_per_second(&rpc, OBSERVED).await?;
    network.fabric.partition(&[0, 1, 2], &[3]);
    let alone = network.height(3).await?;
    let cut = finalised_per_second(&rpc, OBSERVED).await?;
    let still = network.height(3).await?;
    ensure!(still <= alone + 1, "a validator that was cut off went from {alone} to {still} on its own");
    network.check_agreement().await?;
    network.fabric.set_all(Rule::default());
    let tip = network.height(0).await?;
    let back = network.wait_height(3, tip, HEAL_MAX).await.context("after the heal")?;
    network.check_agreement().await?;
    network.stop().await?;
    Ok(Figures::from([
        ("transfers_per_s_whole", whole),
        ("transfers_per_s_cut", cut),
        ("kept_percent", 100.0 * cut / whole.max(1.0)),
        ("catch_up_s", back.as_secs_f64()),
    ]))
}

/// Two against two: nobody has a quorum, everything halts, nothing forks, and the heal ends it.
pub async fn two_two(seed: u64) -> Result<Figures> {
    let mut network = Network::start(4, seed).await?;
    let _traffic = Traffic::start(&network, &[0, 2])?;
    network.wait_progress(&[0, 1, 2, 3], 5, HEAL_MAX).await?;
    network.fabric.partition(&[0, 1], &[2, 3]);
    // What was decided before the cut may still be on its way to the disk.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = network.heights().await;
    tokio::time::sleep(HALT_OBSERVED).await;
    let after = network.heights().await;
    ensure!(before == after, "two of four went on without a quorum: {before:?} became {after:?}");
    network.check_agreement().await?;
    network.fabric.set_all(Rule::default());
    let healed = Instant::now();
    let tip = after.into_iter().flatten().max().unwrap_or(0);
    for number in 0..4 {
        network.wait_height(number, tip + 2, HEAL_MAX).await.context("after the heal")?;
    }
    let healed = healed.elapsed();
    network.check_agreement().await?;
    network.stop().await?;
    Ok(Figures::from([("heal_s", healed.as_secs_f64())]))
}

/// A validator hears and is not heard, then is heard and does not hear, then its wires flap.
pub async fn one_way_and_flapping(seed: u64) -> Result<Figures> {
    let mut network = Network::start(4, seed).await?;
    let _traffic = Traffic::start(&network, &[0, 1, 2])?;
    network.wait_progress(&[0, 1, 2, 3], 3, HEAL_MAX).await?;
    for other in 0..3 {
        network.fabric.set(3, other, Rule::CUT);
    }
    network.wait_progress(&[0, 1, 2], 5, HEAL_MAX).await.context("while one is not heard")?;
    network.fabric.set_all(Rule::default());
    for other in 0..3 {
        network.fabric.set(other, 3, Rule::CUT);
    }
    network.wait_progress(&[0, 1, 2], 5, HEAL_MAX).await.context("while one does not hear")?;
    for flap in 0..10 {
        let rule = if flap % 2 == 0 { Rule::default() } else { Rule::CUT };
        for other in 0..3 {
            network.fabric.set_both(3, other, rule);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    network.fabric.set_all(Rule::default());
    let tip = network.height(0).await?;
    let back = network.wait_height(3, tip + 1, HEAL_MAX).await.context("after the flapping")?;
    network.check_agreement().await?;
    network.stop().await?;
    Ok(Figures::from([("catch_up_s", back.as_secs_f64())]))
}
