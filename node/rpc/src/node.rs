//! What the RPC methods share: the node's parts, and the rule that nothing blocks the async threads.

use crate::{
    about::{About, Neighbours},
    error::{RpcResult, error, internal, unknown_block},
    market::Walks,
};
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use x0_executor::Executor;
use x0_limits::{RPC_EXECUTIONS_MAX, RPC_WAITING_MAX};
use x0_mempool::Mempool;
use x0_rpc_types::error as code;
use x0_storage::{Database, Head};
use x0_types::Hash;

/// What the node says about itself; fixed at start.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// Name of the network for people (`x0tta6bl4 Development`).
    pub chain: String,
    /// Name of the network in DIDs (`dev`).
    pub network: String,
    /// `Development`, `Local` or `Live`.
    pub chain_type: String,
    /// Version of the program.
    pub version: String,
    /// Fingerprint of the node's network key, as its peer id.
    pub peer_id: String,
    /// Whether the node holds a consensus key.
    pub validator: bool,
    /// SS58 prefix of accounts.
    pub ss58_prefix: u16,
}

/// Changes the log filter of the running process; the error says what is wrong with the filter.
pub type LogControl = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// The node as the RPC sees it.
pub struct Node {
    /// Executes and reads.
    pub(crate) executor: Executor,
    /// Blocks, bodies, certificates, indexes.
    pub(crate) database: Database,
    /// Waiting transactions.
    pub(crate) mempool: Mempool,
    /// Fixed facts.
    pub(crate) info: NodeInfo,
    /// For `admin_setLogFilter`.
    pub(crate) log: Option<LogControl>,
    /// What the node says about itself.
    pub(crate) about: Arc<About>,
    /// Answers about the whole market.
    pub(crate) market: Walks,
    /// Listings in memory, for searching.
    pub(crate) listings: Arc<parking_lot::Mutex<crate::search::Index>>,
    executions: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Node {
    /// The node's parts for the RPC.
    #[must_use]
    pub fn new(
        executor: Executor,
        database: Database,
        mempool: Mempool,
        info: NodeInfo,
        log: Option<LogControl>,
    ) -> Self {
        let about = Arc::new(About::new(info.clone(), Some(executor.clone()), None));
        Self {
            executor,
            database,
            mempool,
            info,
            log,
            about,
            market: Walks::default(),
            listings: Arc::default(),
            executions: Arc::new(Semaphore::new(RPC_EXECUTIONS_MAX)),
            waiting: Arc::new(Semaphore::new(RPC_WAITING_MAX)),
        }
    }

    /// The same node with links to others.
    #[must_use]
    pub fn with_neighbours(mut self, neighbours: Arc<dyn Neighbours>) -> Self {
        self.about = Arc::new(About::new(self.info.clone(), Some(self.executor.clone()), Some(neighbours)));
        self
    }

    /// The last finalised block.
    pub(crate) fn head(&self) -> Head {
        self.executor.head()
    }

    /// Follows the last finalised block.
    pub(crate) fn heads(&self) -> watch::Receiver<Head> {
        self.executor.subscribe_heads()
    }

    /// Runs reading or executing work on a blocking thread: at most [`RPC_EXECUTIONS_MAX`] at a time,
    /// at most [`RPC_WAITING_MAX`] waiting, and the rest is told that the node is busy.
    pub(crate) async fn run<R, F>(self: &Arc<Self>, work: F) -> RpcResult<R>
    where
        R: Send + 'static,
        F: FnOnce(&Self) -> RpcResult<R> + Send + 'static,
    {
        let busy = || error(code::BUSY, "The node is busy: too many requests wait; try again later");
        let _waiting = self.waiting.clone().try_acquire_owned().map_err(|_| busy())?;
        let permit = self.executions.clone().acquire_owned().await.map_err(|_| busy())?;
        let node = self.clone();
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&node)
        })
        .await
        .map_err(|cause| internal("a request's work ended early", &cause))?
    }

    /// The block that `at` names, or the head.
    pub(crate) fn block(&self, at: Option<Hash>) -> RpcResult<(Hash, u32)> {
        match at {
            None => {
                let head = self.head();
                Ok((head.hash, head.number))
            }
            Some(hash) => self
                .database
                .number_of(&hash)
                .map(|number| (hash, number))
                .ok_or_else(|| unknown_block(format!("{hash:?}"))),
        }
    }

    /// Runs a closure on the state of a block: pallets' typed reads work inside it.
    pub(crate) fn read<R>(&self, at: Option<Hash>, f: impl FnOnce(Hash) -> R) -> RpcResult<R> {
        let (hash, _) = self.block(at)?;
        self.executor.with_state(hash, || f(hash)).map_err(|cause| crate::state::executor_error(&cause))
    }
}
