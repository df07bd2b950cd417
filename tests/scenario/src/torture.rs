//! Kills a validator again and again under load and checks, from outside, that nothing was lost.
//!
//! The oracle is a plain list: what the node once called final. After every restart each block of the
//! list must have the same hash, and each transaction must stand in the block that was named. What
//! the validator has signed is read in two places: its certificates (one value per height, for ever), and
//! the records of its last-signed guard, which are collected from the disk after each kill and again
//! before the next one (one digest per height, round and step, for ever).

use crate::{Node, rpc::Rpc};
use anyhow::{Context, Result, bail, ensure};
use jsonrpsee::{
    core::client::{Subscription, SubscriptionClientT},
    rpc_params,
    ws_client::WsClientBuilder,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use x0_load::transfers::{Sender, Transfer, sign};
use x0_types::Hash;

/// How long a restarted node may take to serve and to finalise again.
const RECOVERY_TIME_MAX: Duration = Duration::from_secs(60);

/// What the node has called final so far.
#[derive(Debug, Default)]
struct Promised {
    /// Transaction to the hash of its block.
    transactions: BTreeMap<Hash, String>,
    /// Height to block hash.
    blocks: BTreeMap<u32, String>,
    /// Height to the value that the certificate signs.
    certificates: BTreeMap<u32, String>,
    /// Height, round and step to the digest that was signed there.
    signed: BTreeMap<(u64, u32, u8), [u8; 32]>,
}

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
        let load = tokio::spawn(load(node.rpc.clone(), genesis.clone(), Arc::clone(&promised)));
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
    load(url, genesis, Arc::default()).await
}

/// The account that sends in this scenario: a development account, so that it is funded.
fn sender() -> Result<Sender> {
    Sender::development("charlie")
}

/// Sends transfers until the node is gone; writes down each one that the node calls final.
async fn load(url: String, genesis: String, promised: Arc<Mutex<Promised>>) -> Result<()> {
    let client = WsClientBuilder::default().build(&url).await?;
    let sender = sender()?;
    let genesis = hash(&genesis)?;
    let rpc = Rpc::connect(&url).await?;
    let account = serde_json::to_value(format!("0x{}", hex::encode(AsRef::<[u8]>::as_ref(&sender.account))))?;
    let mut nonce: u32 = rpc.call("system_accountNextIndex", &[account]).await?;
    loop {
        let transfer = sign(&sender, &sender.account, 1, nonce, genesis)?;
        nonce += 1;
        let updates: Subscription<Value> = client
            .subscribe("author_submitAndWatchExtrinsic", rpc_params![&transfer.hex], "author_unwatchExtrinsic")
            .await?;
        tokio::spawn(watch(updates, transfer, Arc::clone(&promised)));
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
}

async fn watch(mut updates: Subscription<Value>, transfer: Transfer, promised: Arc<Mutex<Promised>>) {
    while let Some(Ok(update)) = updates.next().await {
        let Some(block) = update["finalized"].as_str() else { continue };
        if let Ok(mut promised) = promised.lock() {
            promised.transactions.insert(transfer.hash, block.to_owned());
        }
        return;
    }
}

/// Writes down the blocks and certificates that the node serves as final now.
async fn record_chain(url: &str, promised: &Mutex<Promised>) -> Result<()> {
    let rpc = Rpc::connect(url).await?;
    let (_, tip) = rpc.finalised().await?;
    let from =
        promised.lock().map(|promised| promised.blocks.keys().next_back().map_or(0, |last| last + 1)).unwrap_or(0);
    for number in from..=tip {
        let hash = rpc.block_hash(number).await?.with_context(|| format!("no block at final height {number}"))?;
        let signed = certified_value(&rpc, number).await?;
        if let Ok(mut promised) = promised.lock() {
            promised.blocks.insert(number, hash);
            promised.certificates.extend(signed.map(|value| (number, value)));
        }
    }
    Ok(())
}

/// The value that the certificate of a height signs.
async fn certified_value(rpc: &Rpc, number: u32) -> Result<Option<String>> {
    if number == 0 {
        return Ok(None);
    }
    let certificate: Value = rpc.call("chain_certificate", &[number.into()]).await?;
    let value = certificate["blockHash"].as_str().with_context(|| format!("certificate of {number}: {certificate}"))?;
    Ok(Some(value.to_owned()))
}

/// Size of a record of the guard, and where its fields lie: magic, binding, height, round, step, digest,
/// checksum. Restated from the format, so that the guard's own reading is not trusted.
const RECORD_BYTES: usize = 4096;
const RECORD_MAGIC: &[u8] = b"x0guard1";

/// Reads the guard's records from the disk and insists that no place was signed twice with different
/// content. A record that is only partly written has no valid checksum and was never released.
fn collect_signatures(folder: &Path, promised: &Mutex<Promised>) -> Result<()> {
    let guard = folder.join("consensus/guard");
    for name in ["signed-a", "signed-b"] {
        let bytes = match std::fs::read(guard.join(name)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("{name} in {}", guard.display())),
        };
        for record in bytes.chunks_exact(RECORD_BYTES) {
            let (content, checksum) = record.split_at(RECORD_BYTES - 32);
            if !record.starts_with(RECORD_MAGIC) || sp_io::hashing::blake2_256(content) != *checksum {
                continue;
            }
            let height = u64::from_be_bytes(record[40..48].try_into()?);
            let round = u32::from_be_bytes(record[48..52].try_into()?);
            let digest: [u8; 32] = record[91..123].try_into()?;
            let Ok(mut promised) = promised.lock() else { bail!("the list of promises is poisoned") };
            let known = *promised.signed.entry((height, round, record[52])).or_insert(digest);
            ensure!(known == digest, "two signatures at height {height} round {round} step {}", record[52]);
        }
    }
    Ok(())
}

/// Everything that was once called final is still what it was.
async fn check(rpc: &Rpc, promised: &Mutex<Promised>) -> Result<()> {
    let (transactions, blocks, certificates) = {
        let Ok(promised) = promised.lock() else { bail!("the list of promises is poisoned") };
        (promised.transactions.clone(), promised.blocks.clone(), promised.certificates.clone())
    };
    for (number, hash) in &blocks {
        let now = rpc.block_hash(*number).await?;
        ensure!(now.as_deref() == Some(hash), "height {number} was {hash} and is {now:?}");
    }
    for (number, value) in &certificates {
        let now = certified_value(rpc, *number).await?;
        ensure!(now.as_ref() == Some(value), "at height {number} the validator signed {value} and {now:?}");
    }
    let mut bodies: BTreeMap<String, Vec<Hash>> = BTreeMap::new();
    for (transaction, block) in &transactions {
        if !bodies.contains_key(block) {
            bodies.insert(block.clone(), body(rpc, block).await?);
        }
        ensure!(
            bodies.get(block).is_some_and(|body| body.contains(transaction)),
            "transaction {transaction:?} was final in {block} and is not there"
        );
    }
    Ok(())
}

/// Hashes of the extrinsics of a block.
async fn body(rpc: &Rpc, block: &str) -> Result<Vec<Hash>> {
    let block: Value = rpc.call("chain_getBlock", &[block.into()]).await?;
    block["block"]["extrinsics"]
        .as_array()
        .context("the block has a body")?
        .iter()
        .map(|extrinsic| {
            let bytes = hex::decode(extrinsic.as_str().context("hex")?.trim_start_matches("0x"))?;
            Ok(Hash::from(sp_io::hashing::blake2_256(&bytes)))
        })
        .collect()
}

fn hash(text: &str) -> Result<Hash> {
    let bytes: [u8; 32] = hex::decode(text.trim_start_matches("0x"))?
        .try_into()
        .map_err(|bytes: Vec<u8>| anyhow::anyhow!("a hash has 32 bytes, this has {}", bytes.len()))?;
    Ok(Hash::from(bytes))
}
