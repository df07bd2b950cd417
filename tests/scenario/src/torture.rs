//! Kills a validator again and again under load and checks, from outside, that nothing was lost.
//!
//! The oracle is a plain list: what the node once called final. After every restart each block of the
//! list must have the same hash, and each transaction must stand in the block that was named. What
//! the validator has signed is read in two places: its certificates (one value per height, for ever), and
//! the records of its last-signed guard, which are collected from the disk after each kill and again
//! before the next one (one digest per height, round and step, for ever).

use crate::{
    Node,
    promises::{Promised, check, collect_signatures, load, record_chain},
    rpc::Rpc,
};
use anyhow::{Context, Result, bail, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use x0_load::transfers::Sender;

/// Pause between two transfers.
const PAUSE: Duration = Duration::from_millis(4);
/// How long a restarted node may take to serve and to finalise again.
const RECOVERY_TIME_MAX: Duration = Duration::from_secs(60);

/// What a run saw.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Kills.
    pub kills: u32,
    /// Transactions that were called final, all of which are still there.
    pub transactions: usize,
    /// Height at the end.
    pub height: u32,
    /// Signatures of the consensus key that were seen on its disk, each at a place of its own.
    pub signatures: usize,
    /// Median and slowest time from start of the process to the next final block.
    pub rejoin_p50: Duration,
    /// See [`Outcome::rejoin_p50`].
    pub rejoin_max: Duration,
}

/// Runs `kills` rounds of load, SIGKILL at a random moment, restart, and check.
pub async fn run(kills: u32, seed: u64) -> Result<Outcome> {
    let mut random = StdRng::seed_from_u64(seed);
    let promised = Arc::new(Mutex::new(Promised::default()));
    let mut node = Node::dev().await?;
    let genesis = node.genesis.clone();
    let mut rejoin = Vec::new();
    for kill in 1..=kills {
        let load = tokio::spawn(load(node.rpc.clone(), genesis.clone(), sender()?, PAUSE, Arc::clone(&promised)));
        tokio::time::sleep(Duration::from_millis(random.random_range(20..1_500))).await;
        record_chain(&node.rpc, &promised).await?;
        // Between the last answer and the signal lies another random moment, often inside a block.
        tokio::time::sleep(Duration::from_micros(random.random_range(0..40_000))).await;
        let folder = node.kill().await?;
        load.abort();
        collect_signatures(folder.path(), &promised).with_context(|| format!("kill {kill} (seed {seed})"))?;

        let started = Instant::now();
        node = Node::start(folder, &[]).await.with_context(|| format!("restart after kill {kill} (seed {seed})"))?;
        ensure!(node.genesis == genesis, "another chain after kill {kill}");
        let rpc = Rpc::connect(&node.rpc).await?;
        let (_, height) = rpc.finalised().await?;
        rpc.wait_for_height(height + 1, RECOVERY_TIME_MAX).await.with_context(|| format!("after kill {kill}"))?;
        rejoin.push(started.elapsed());
        check(&rpc, &promised).await.with_context(|| format!("after kill {kill} (seed {seed})"))?;
        // The heights around the kill are signed again or anew by now, and still on the disk.
        collect_signatures(node.folder().path(), &promised)
            .with_context(|| format!("after kill {kill} (seed {seed})"))?;
    }
    record_chain(&node.rpc, &promised).await?;
    let (_, height) = Rpc::connect(&node.rpc).await?.finalised().await?;
    node.stop().await?;
    rejoin.sort_unstable();
    let Ok(promised) = promised.lock() else { bail!("the list of promises is poisoned") };
    Ok(Outcome {
        kills,
        transactions: promised.transactions.len(),
        height,
        signatures: promised.signed.len(),
        rejoin_p50: rejoin.get(rejoin.len() / 2).copied().unwrap_or_default(),
        rejoin_max: rejoin.last().copied().unwrap_or_default(),
    })
}

/// Sends transfers until the node is gone, for a scenario that only wants a busy chain.
pub async fn load_until_gone(url: String, genesis: String) -> Result<()> {
    load(url, genesis, sender()?, PAUSE, Arc::default()).await
}

/// The account that sends in this scenario: a development account, so that it is funded.
fn sender() -> Result<Sender> {
    Sender::development("charlie")
}
