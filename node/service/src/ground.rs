//! The parts under all others: the ground that a node stands on, and what it serves the other nodes from there.

use crate::{
    catchup::blocking,
    exit::{Exit, Failure},
    failures::{executor_failure, storage_failure},
    links::P2p,
    parts::Plan,
};
use std::path::Path;
use x0_executor::{Executor, Options};
use x0_gossip::Gossip;
use x0_mempool::Mempool;
use x0_storage::{Database, OpenOptions};
use x0_sync::{Shelf, SnapshotMaker, SnapshotServer};

/// The parts that hold state: opened on a blocking thread.
pub struct Ground {
    /// The blocks.
    pub database: Database,
    /// What executes them.
    pub executor: Executor,
    /// The waiting transactions.
    pub mempool: Mempool,
}

/// Parts that serve the other nodes.
#[derive(Default)]
pub struct Neighbourly {
    /// Spreads transactions.
    pub gossip: Option<Gossip>,
    /// Makes snapshots.
    pub maker: Option<SnapshotMaker>,
    /// Serves them.
    pub server: Option<SnapshotServer>,
}

impl Ground {
    /// Opens the parts of this plan.
    ///
    /// # Errors
    /// One line that names the file.
    pub async fn of(plan: &Plan) -> Result<Self, Failure> {
        let (path, options, genesis) = (plan.chain_directory(), plan.open_options(), plan.genesis.clone());
        let trie_cache_bytes = plan.config.file.storage.trie_cache_bytes;
        blocking(move || Self::open(&path, options, &genesis, trie_cache_bytes)).await
    }

    fn open(
        path: &Path,
        options: OpenOptions,
        genesis: &serde_json::Value,
        trie_cache_bytes: usize,
    ) -> Result<Self, Failure> {
        let database = Database::open(path, options).map_err(|cause| storage_failure(&cause))?;
        let executor = Executor::new(database.clone(), genesis, Options { trie_cache_bytes, ..Options::default() })
            .map_err(|cause| executor_failure(&cause))?;
        let mempool = Mempool::new(executor.clone(), x0_mempool::Config::default())
            .map_err(|cause| Failure::new(Exit::Restartable, format!("mempool: {cause}")))?;
        Ok(Self { database, executor, mempool })
    }
}

/// Starts what serves the other nodes.
///
/// # Errors
/// When the links' events are taken, or the snapshots' directory fails.
pub async fn neighbourly(plan: &Plan, ground: &Ground, p2p: &P2p) -> Result<Neighbourly, Failure> {
    let taken = || Failure::new(Exit::Restartable, "the links' transactions are taken");
    let gossip = x0_gossip::start(p2p.transactions(), ground.mempool.clone()).ok_or_else(taken)?;
    let failed = |cause: x0_sync::SyncError| Failure::new(Exit::Restartable, format!("snapshots: {cause}"));
    let (directory, executor) = (plan.base.join("snapshots"), ground.executor.clone());
    let interval = plan.config.file.sync.snapshot_interval;
    let (shelf, maker) = blocking(move || {
        let shelf = Shelf::open(&directory).map_err(failed)?;
        let maker = SnapshotMaker::start(&executor, &shelf, interval).map_err(failed)?;
        Ok((shelf, maker))
    })
    .await?;
    let server = SnapshotServer::start(p2p.snapshots(), shelf, ground.database.clone()).map_err(failed)?;
    Ok(Neighbourly { gossip: Some(gossip), maker: Some(maker), server: Some(server) })
}
