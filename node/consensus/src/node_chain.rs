//! The chain over executor, mempool and database.
//!
//! Each method that executes or writes does so on one execution thread, in the order of the calls.

use crate::{
    certificate::CertificateValidator,
    chain::{BlockFacts, Built, Chain, ChainError, ChainValidator, StoredBlock, Tip, Verdict},
};
use bytes::Bytes;
use codec::{Compact, Decode, Encode};
use parking_lot::Mutex;
use sp_runtime::{
    DigestItem,
    traits::{BlakeTwo256, Hash as _},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::broadcast::{self, error::TryRecvError};
use x0_executor::{BlockError, Executed, Executor, ImportedBlock, Worker};
use x0_mempool::Mempool;
use x0_runtime::Header;
use x0_storage::Database;
use x0_types::{AccountId, Hash, account::PROPOSER_ENGINE_ID as PROPOSER_ENGINE};

/// Executed blocks of the next height that wait for a decision; the rest is executed again when needed.
const EXECUTED_KEPT_MAX: usize = 4;

/// The real chain.
pub struct NodeChain {
    worker: Worker,
    executor: Executor,
    mempool: Mempool,
    database: Database,
    executed: Arc<Mutex<HashMap<Hash, Executed>>>,
    imported: Arc<Mutex<broadcast::Receiver<Arc<ImportedBlock>>>>,
    /// Proposers of the last blocks, by number.
    authors: Arc<Mutex<BTreeMap<u32, [u8; 32]>>>,
}

impl NodeChain {
    /// Takes the parts together and starts the execution thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(executor: Executor, mempool: Mempool, database: Database) -> Result<Self, ChainError> {
        let worker = executor.spawn_worker()?;
        let imported = Arc::new(Mutex::new(executor.subscribe_imported()));
        Ok(Self { worker, executor, mempool, database, executed: Arc::default(), imported, authors: Arc::default() })
    }
}

fn number(height: u64) -> Result<u32, ChainError> {
    u32::try_from(height).map_err(|_| ChainError::Height(height))
}

fn now_ms() -> u64 {
    // A clock before 1970 gives 0, and the block then takes the step after its parent's time.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn keep(executed: &Mutex<HashMap<Hash, Executed>>, block: Executed) {
    let mut kept = executed.lock();
    kept.retain(|_, other| other.number == block.number);
    if kept.len() >= EXECUTED_KEPT_MAX
        && let Some(any) = kept.keys().next().copied()
    {
        kept.remove(&any);
    }
    kept.insert(block.hash, block);
}

/// The proposer that a committed header names.
fn author_of(header: &[u8]) -> Option<[u8; 32]> {
    let header = Header::decode(&mut &header[..]).ok()?;
    let named = header.digest.logs.iter().find_map(|item| match item {
        DigestItem::PreRuntime(PROPOSER_ENGINE, bytes) => AccountId::decode(&mut &bytes[..]).ok(),
        _ => None,
    });
    named.map(Into::into)
}

/// Splits a SCALE block into its header and encoded extrinsics.
fn split(encoded: &Bytes) -> Result<(Header, Vec<Vec<u8>>), String> {
    let mut rest: &[u8] = encoded;
    let header = Header::decode(&mut rest).map_err(|error| format!("header: {error}"))?;
    let count = Compact::<u32>::decode(&mut rest).map_err(|error| format!("number of extrinsics: {error}"))?.0;
    let mut body = Vec::new();
    for index in 0..count {
        let before = rest;
        let length =
            Compact::<u32>::decode(&mut rest).map_err(|error| format!("length of extrinsic {index}: {error}"))?.0;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        rest = rest.get(length..).ok_or_else(|| format!("extrinsic {index} is longer than the block"))?;
        body.push(before[..before.len() - rest.len()].to_vec());
    }
    if rest.is_empty() { Ok((header, body)) } else { Err("bytes after the last extrinsic".into()) }
}

/// Header fields of a block whose body belongs to its header.
fn facts(encoded: &Bytes) -> Result<BlockFacts, ChainError> {
    let (header, body) = split(encoded).map_err(ChainError::NotABlock)?;
    let root = BlakeTwo256::ordered_trie_root(body, x0_runtime::VERSION.extrinsics_root_state_version());
    if root != header.extrinsics_root {
        return Err(ChainError::NotABlock("the body does not belong to the header".into()));
    }
    Ok(BlockFacts { height: u64::from(header.number), hash: header.hash().0, parent: header.parent_hash.0 })
}

#[async_trait::async_trait]
impl Chain for NodeChain {
    fn genesis(&self) -> [u8; 32] {
        self.executor.genesis_hash().0
    }

    fn tip(&self) -> Tip {
        let head = self.executor.head();
        Tip { height: u64::from(head.number), hash: head.hash.0 }
    }

    fn history_start(&self) -> u64 {
        u64::from(self.database.history_start())
    }

    async fn validators(&self, height: u64) -> Result<Vec<ChainValidator>, ChainError> {
        let height = number(height)?;
        let set = self
            .worker
            .run(move |executor| executor.with_state(executor.head().hash, || x0_runtime::Validators::set_at(height)))
            .await??;
        Ok(set
            .into_iter()
            .map(|validator| ChainValidator {
                voter: CertificateValidator {
                    public: x0_crypto::PublicKey::from(validator.consensus_key.0),
                    power: validator.power,
                },
                controller: validator.controller.into(),
            })
            .collect())
    }

    async fn authors(&self, last: usize) -> Result<Vec<[u8; 32]>, ChainError> {
        let (database, known, head) = (self.database.clone(), self.authors.clone(), self.executor.head().number);
        let first = head.saturating_sub(u32::try_from(last).unwrap_or(u32::MAX)).saturating_add(1).max(1);
        let read = move || {
            let mut known = known.lock();
            known.retain(|number, _| *number >= first);
            // From the newest back: below a header that is not here, nothing counts.
            let mut authors = Vec::new();
            for number in (first..=head).rev() {
                let author = known.get(&number).copied().or_else(|| author_of(&database.header(number)?));
                let Some(author) = author else { break };
                known.insert(number, author);
                authors.push(author);
            }
            authors.reverse();
            authors
        };
        Ok(tokio::task::spawn_blocking(read).await.unwrap_or_default())
    }

    async fn build(&self, height: u64, proposer: [u8; 32], budget: Duration) -> Result<Option<Built>, ChainError> {
        let (mempool, kept) = (self.mempool.clone(), self.executed.clone());
        self.worker
            .run(move |executor| {
                let head = executor.head();
                if u64::from(head.number).checked_add(1) != Some(height) {
                    return Ok(None);
                }
                let transactions =
                    mempool.ready(x0_limits::BLOCK_BYTES_MAX, x0_limits::BLOCK_EXTRINSICS_MAX).into_iter();
                let deadline = Instant::now() + budget;
                let block =
                    executor.build_block(head.hash, now_ms(), AccountId::new(proposer), transactions, deadline)?;
                mempool.on_rejected(&block.rejected);
                let built = Built { hash: block.hash.0, encoded: block.encoded.clone() };
                keep(&kept, block);
                Ok(Some(built))
            })
            .await?
    }

    async fn inspect(&self, encoded: Bytes) -> Result<BlockFacts, ChainError> {
        self.worker.run(move |_| facts(&encoded)).await?
    }

    async fn judge(&self, facts: BlockFacts, encoded: Bytes) -> Result<Verdict, ChainError> {
        let kept = self.executed.clone();
        self.worker
            .run(move |executor| {
                if u64::from(executor.head().number).checked_add(1) != Some(facts.height) {
                    return Ok(Verdict::Stale);
                }
                if let Some(block) = kept.lock().get(&Hash::from(facts.hash)) {
                    return Ok(Verdict::Valid {
                        proposer: block.proposer.clone().into(),
                        timestamp_ms: block.timestamp_ms,
                    });
                }
                match executor.replay_block(&encoded) {
                    Ok(block) => {
                        let verdict = Verdict::Valid {
                            proposer: block.proposer.clone().into(),
                            timestamp_ms: block.timestamp_ms,
                        };
                        keep(&kept, block);
                        Ok(verdict)
                    }
                    Err(BlockError::Invalid(reason)) => Ok(Verdict::Invalid(reason.to_string())),
                    Err(BlockError::Fatal(error)) => Err(error.into()),
                }
            })
            .await?
    }

    async fn commit(
        &self,
        height: u64,
        hash: [u8; 32],
        encoded: Option<Bytes>,
        certificate: Vec<u8>,
    ) -> Result<Tip, ChainError> {
        let (kept, database) = (self.executed.clone(), self.database.clone());
        let (mempool, imported) = (self.mempool.clone(), self.imported.clone());
        let at = number(height)?;
        self.worker
            .run(move |executor| {
                if executor.head().number >= at {
                    let stored = database.hash_of(at).unwrap_or_default();
                    if stored.0 != hash {
                        return Err(ChainError::OtherBlockCommitted {
                            height,
                            stored: hex::encode(stored),
                            decided: hex::encode(hash),
                        });
                    }
                } else {
                    let known = kept.lock().remove(&Hash::from(hash));
                    let block = match (known, encoded) {
                        (Some(block), _) => block,
                        (None, Some(encoded)) => replay_decided(executor, height, hash, &encoded)?,
                        (None, None) => {
                            return Err(ChainError::DecidedUnknown { height, hash: hex::encode(hash) });
                        }
                    };
                    executor.commit(block, certificate)?;
                    // Before anybody asks for the next block: otherwise its transactions would count as work.
                    tell(&mempool, &mut imported.lock());
                    kept.lock().clear();
                }
                let head = executor.head();
                Ok(Tip { height: u64::from(head.number), hash: head.hash.0 })
            })
            .await?
    }

    async fn store(&self, height: u64, block: StoredBlock) -> Result<(), ChainError> {
        let database = self.database.clone();
        self.worker
            .run(move |_| {
                let id = Hash::from(block.hash);
                database.put_undecided(height, i64::from(block.round), id, &block.bytes, Some(block.valid))
            })
            .await??;
        Ok(())
    }

    async fn stored(&self, height: u64) -> Result<Vec<StoredBlock>, ChainError> {
        let database = self.database.clone();
        let blocks = self.worker.run(move |_| database.undecided_at(height)).await?;
        Ok(blocks
            .into_iter()
            .filter_map(|block| {
                // Consensus stores no block without a round or a verdict.
                let (round, valid) = (u32::try_from(block.round).ok()?, block.verdict?);
                Some(StoredBlock { round, hash: block.id.0, bytes: block.bytes, valid })
            })
            .collect())
    }

    async fn forget(&self, up_to: u64) -> Result<(), ChainError> {
        let database = self.database.clone();
        self.worker.run(move |_| database.prune_undecided(up_to.saturating_add(1))).await??;
        Ok(())
    }

    async fn decided(&self, height: u64) -> Result<Option<(Bytes, Vec<u8>)>, ChainError> {
        let (database, at) = (self.database.clone(), number(height)?);
        let read = move || {
            let (header, body, certificate) = (database.header(at)?, database.body(at)?, database.certificate(at)?);
            let mut encoded = header;
            Compact(u32::try_from(body.len()).ok()?).encode_to(&mut encoded);
            body.iter().for_each(|extrinsic| encoded.extend_from_slice(extrinsic));
            Some((Bytes::from(encoded), certificate))
        };
        // Reading for others does not stand in the way of execution.
        Ok(tokio::task::spawn_blocking(read).await.unwrap_or_default())
    }

    fn has_work(&self) -> bool {
        self.mempool.has_work()
    }

    async fn wait_for_work(&self) {
        self.mempool.wait_for_work().await;
    }
}

/// Tells the mempool of every block that was committed since the last call.
fn tell(mempool: &Mempool, imported: &mut broadcast::Receiver<Arc<ImportedBlock>>) {
    loop {
        match imported.try_recv() {
            Ok(block) => mempool.on_imported(&block),
            // Blocks are told one by one right after their commit, so that the channel never overflows.
            Err(TryRecvError::Lagged(missed)) => tracing::error!(missed, "the mempool missed blocks"),
            Err(TryRecvError::Empty | TryRecvError::Closed) => return,
        }
    }
}

fn replay_decided(executor: &Executor, height: u64, hash: [u8; 32], encoded: &Bytes) -> Result<Executed, ChainError> {
    let block = executor.replay_block(encoded).map_err(|error| match error {
        BlockError::Invalid(reason) => {
            ChainError::DecidedInvalid { height, hash: hex::encode(hash), reason: reason.to_string() }
        }
        BlockError::Fatal(error) => error.into(),
    })?;
    if block.hash.0 == hash { Ok(block) } else { Err(ChainError::DecidedUnknown { height, hash: hex::encode(hash) }) }
}
