//! What a node called final, and whether it still is: an oracle of plain lists.
//!
//! What a validator has signed is read in two places: its certificates (one value per height, for ever), and
//! the records of its last-signed guard on the disk (one digest per height, round and step, for ever).

use crate::rpc::Rpc;
use anyhow::{Context, Result, bail, ensure};
use jsonrpsee::{
    core::client::{Subscription, SubscriptionClientT},
    rpc_params,
    ws_client::WsClientBuilder,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use x0_load::transfers::{Sender, Transfer, sign};
use x0_types::Hash;

/// What the node has called final so far.
#[derive(Debug, Default)]
pub struct Promised {
    /// Transaction to the hash of its block.
    pub transactions: BTreeMap<Hash, String>,
    /// Height to block hash.
    pub blocks: BTreeMap<u32, String>,
    /// Height to the value that the certificate signs.
    pub certificates: BTreeMap<u32, String>,
    /// Height, round and step to the digest that was signed there.
    pub signed: BTreeMap<(u64, u32, u8), [u8; 32]>,
}

/// Sends transfers, with a pause after each, until the node is gone; writes down each one that the node
/// calls final.
pub async fn load(
    url: String,
    genesis: String,
    sender: Sender,
    pause: Duration,
    promised: Arc<Mutex<Promised>>,
) -> Result<()> {
    let client = WsClientBuilder::default().build(&url).await?;
    let genesis = hash(&genesis)?;
    let rpc = Rpc::connect(&url).await?;
    let account = serde_json::to_value(format!("0x{}", hex::encode(AsRef::<[u8]>::as_ref(&sender.account))))?;
    let mut nonce: u32 = rpc.call("system_accountNextIndex", &[account]).await?;
    loop {
        let transfer = sign(&sender, &sender.account, 1, nonce, genesis)?;
        nonce += 1;
        let updates: Subscription<Value> = client
            .subscribe("author_submitAndWatchExtrinsic", rpc_params![transfer.hex()], "author_unwatchExtrinsic")
            .await?;
        tokio::spawn(watch(updates, transfer, Arc::clone(&promised)));
        tokio::time::sleep(pause).await;
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
pub async fn record_chain(url: &str, promised: &Mutex<Promised>) -> Result<()> {
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
pub fn collect_signatures(folder: &Path, promised: &Mutex<Promised>) -> Result<()> {
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
pub async fn check(rpc: &Rpc, promised: &Mutex<Promised>) -> Result<()> {
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
