//! Transfers that keep a network busy while something is done to it.

use crate::network::Network;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;
use x0_load::transfers::Sender;
use x0_scenario::{promises::load, rpc::Rpc};

/// Accounts that `x0-node testnet --development-accounts` endows; each sends through one validator.
const SENDERS: [&str; 4] = ["alice", "bob", "charlie", "dave"];
/// Usual pause between two transfers to one validator.
const PAUSE: Duration = Duration::from_millis(4);
/// Pause before a lost connection is opened again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

/// A stream of transfers to some validators; it ends when this is dropped.
#[derive(Debug)]
pub struct Traffic(Vec<JoinHandle<()>>);

impl Traffic {
    /// Sends to each of these validators, and notes what they call final in the network's promises.
    pub fn start(network: &Network, validators: &[usize]) -> Result<Self> {
        Self::start_with(network, validators, PAUSE)
    }

    /// The same with another pause between two transfers.
    pub fn start_with(network: &Network, validators: &[usize], pause: Duration) -> Result<Self> {
        let mut tasks = Vec::new();
        for &number in validators {
            let sender = Sender::development(SENDERS[number % SENDERS.len()])?;
            let url = network.validators[number].rpc_url();
            let genesis = network.genesis.clone();
            let promised = Arc::clone(&network.promised[number]);
            tasks.push(tokio::spawn(async move {
                loop {
                    // A validator that is down or cut off refuses; the stream goes on when it is back.
                    drop(load(url.clone(), genesis.clone(), sender.clone(), pause, Arc::clone(&promised)).await);
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                }
            }));
        }
        Ok(Self(tasks))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Transfers that became final at this validator within a time, for each second.
pub async fn finalised_per_second(rpc: &Rpc, during: Duration) -> Result<f64> {
    let (_, from) = rpc.finalised().await?;
    let started = Instant::now();
    tokio::time::sleep(during).await;
    let (_, to) = rpc.finalised().await?;
    let elapsed = started.elapsed();
    let mut count = 0;
    for height in from + 1..=to {
        count += transactions(rpc, height).await?;
    }
    Ok(f64::from(u32::try_from(count)?) / elapsed.as_secs_f64())
}

/// Signed transactions of a block: all but the timestamp.
async fn transactions(rpc: &Rpc, height: u32) -> Result<usize> {
    let hash = rpc.block_hash(height).await?.with_context(|| format!("no block at final height {height}"))?;
    let block: Value = rpc.call("chain_getBlock", &[hash.into()]).await?;
    let body = block["block"]["extrinsics"].as_array().context("a block has extrinsics")?;
    Ok(body.len().saturating_sub(1))
}
