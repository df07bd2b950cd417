//! What was finalised, and when.

use anyhow::{Context, Result, bail};
use jsonrpsee::{
    core::client::{ClientT, Subscription, SubscriptionClientT},
    rpc_params,
    ws_client::{WsClient, WsClientBuilder},
};
use serde_json::Value;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
    time::Instant,
};
use x0_types::Hash;

/// Pause between blocks after which the chain counts as idle.
const QUIET: Duration = Duration::from_millis(1_700);

/// Times at which heights became final, as a subscriber saw them.
#[derive(Debug)]
pub struct Observer {
    client: WsClient,
    seen: Arc<Mutex<Vec<(u32, Instant)>>>,
    tip: watch::Receiver<u32>,
    task: JoinHandle<()>,
}

/// One finalised block with transactions of the load in it.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// Height.
    pub number: u32,
    /// When the subscriber heard of it.
    pub at: Instant,
    /// Transfers of the load in it.
    pub transfers: usize,
}

impl Observer {
    /// Starts to follow finalised heads.
    pub async fn start(url: &str) -> Result<Self> {
        let client = WsClientBuilder::default()
            .request_timeout(Duration::from_secs(120))
            .max_buffer_capacity_per_subscription(65_536)
            .max_response_size(256 * 1024 * 1024)
            .build(url)
            .await?;
        let mut heads: Subscription<Value> =
            client.subscribe("chain_subscribeFinalizedHeads", rpc_params![], "chain_unsubscribeFinalizedHeads").await?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (report, tip) = watch::channel(0);
        let record = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Some(Ok(header)) = heads.next().await {
                let now = Instant::now();
                let Some(number) = number(&header) else { continue };
                record.lock().await.push((number, now));
                report.send_replace(number);
            }
        });
        Ok(Self { client, seen, tip, task })
    }

    /// Height of the last finalised block that was seen.
    #[must_use]
    pub fn tip(&self) -> u32 {
        *self.tip.borrow()
    }

    /// Waits until no more blocks follow one another: with work, blocks come much faster than without. Bodies are
    /// read only then, because reading them takes processor time from the node.
    pub async fn settle(&self, within: Duration) -> Result<()> {
        let mut tip = self.tip.clone();
        let deadline = Instant::now() + within;
        loop {
            tip.mark_unchanged();
            match tokio::time::timeout(QUIET, tip.changed()).await {
                Err(_) => return Ok(()),
                Ok(changed) => changed.context("the subscription ended")?,
            }
            if Instant::now() > deadline {
                bail!("blocks still follow one another after {within:?}");
            }
        }
    }

    /// Reads the bodies from height `from` until all of `expected` are found or time is up; returns
    /// each found transfer's time of finality and the blocks.
    pub async fn collect(
        self,
        from: u32,
        expected: &HashMap<Hash, Instant>,
        within: Duration,
    ) -> Result<(HashMap<Hash, Instant>, Vec<Block>)> {
        let deadline = Instant::now() + within;
        let (mut finalised, mut blocks, mut next) = (HashMap::new(), Vec::new(), 0usize);
        while finalised.len() < expected.len() {
            let entry = self.seen.lock().await.get(next).copied();
            let Some((number, at)) = entry else {
                if Instant::now() > deadline {
                    bail!("{} of {} transfers are final after {within:?}", finalised.len(), expected.len());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            next += 1;
            if number < from {
                continue;
            }
            let mut transfers = 0;
            for hash in self.extrinsics(number).await? {
                if expected.contains_key(&hash) {
                    transfers += 1;
                    finalised.insert(hash, at);
                }
            }
            blocks.push(Block { number, at, transfers });
        }
        self.task.abort();
        Ok((finalised, blocks))
    }

    /// Hashes of the extrinsics of a block.
    async fn extrinsics(&self, number: u32) -> Result<Vec<Hash>> {
        let hash: String = self.client.request("chain_getBlockHash", rpc_params![number]).await?;
        let block: Value = self.client.request("chain_getBlock", rpc_params![hash]).await?;
        block["block"]["extrinsics"]
            .as_array()
            .context("a block has extrinsics")?
            .iter()
            .map(|extrinsic| {
                let text = extrinsic.as_str().context("hex")?;
                let bytes = hex::decode(text.trim_start_matches("0x"))?;
                // RPC carries each extrinsic with its length prefix, and its hash is over those bytes.
                Ok(Hash::from(x0_crypto::blake2b_256(&bytes)))
            })
            .collect()
    }
}

fn number(header: &Value) -> Option<u32> {
    u32::from_str_radix(header["number"].as_str()?.trim_start_matches("0x"), 16).ok()
}
