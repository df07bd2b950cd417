//! What the worker asks of the chain.

use crate::clock::SlotClock;
use bytes::Bytes;
use futures::future::BoxFuture;
use std::net::SocketAddr;
use x0_crypto::PublicKey;
use x0_mempool::SubmitError;
use x0_types::{
    AccountId, Hash, Moment,
    market::{NodeIndex, Slot},
};

/// A node that the chain measures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its place in every report.
    pub index: NodeIndex,
    /// The node.
    pub node: AccountId,
    /// Where it says that it listens.
    pub endpoint: Option<SocketAddr>,
    /// Its valid key in role Agent.
    pub key: Option<PublicKey>,
}

/// Whether the chain would take a report now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It would.
    Open,
    /// This validator's report on the slot is there already.
    AlreadyReported,
    /// The time for reports on the slot is over.
    TooLate,
    /// The reporter key belongs to no validator of the current set.
    NoReporter,
}

/// Why the chain could not be read or a report not be built.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The executor failed.
    #[error("cannot read the chain: {0}")]
    Executor(#[from] x0_executor::ExecutorError),
    /// The chain has no slots.
    #[error("the chain has no slot length")]
    NoSlots,
    /// Signing failed.
    #[error("cannot sign the report: {0}")]
    Sign(#[from] x0_crypto::CryptoError),
    /// The observations do not fit a report.
    #[error("{bytes} bytes of observations, at most {max} fit a report")]
    TooManyNodes {
        /// Bytes of the observations.
        bytes: usize,
        /// The limit.
        max: u32,
    },
    /// The block at which a report's era begins is not there.
    #[error("block {0} is not in the database")]
    MissingBlock(x0_types::BlockNumber),
    /// The blocking thread that did the work ended without an answer.
    #[error("the reading thread failed: {0}")]
    Thread(String),
}

/// The chain as the worker sees it. All methods but `submit` block on computation or disk; the worker
/// calls them on blocking threads.
pub trait Chain: Clone + Send + Sync + 'static {
    /// The hash of the chain's first block.
    fn genesis_hash(&self) -> Hash;

    /// When slots begin and how long they are.
    ///
    /// # Errors
    /// [`ChainError`].
    fn slot_clock(&self) -> Result<SlotClock, ChainError>;

    /// The measured nodes, in the order of indices.
    ///
    /// # Errors
    /// [`ChainError`].
    fn targets(&self) -> Result<Vec<Target>, ChainError>;

    /// Whether a report on `slot` would be taken by a block of the time `now_ms`.
    ///
    /// # Errors
    /// [`ChainError`].
    fn gate(&self, slot: Slot, now_ms: Moment) -> Result<Gate, ChainError>;

    /// A signed report, ready to be submitted.
    ///
    /// # Errors
    /// [`ChainError`].
    fn report(&self, slot: Slot, observations: Vec<u8>, receipts_root: Hash) -> Result<Bytes, ChainError>;

    /// Submits a transaction to this node's mempool.
    fn submit(&self, transaction: Bytes) -> BoxFuture<'_, Result<Hash, SubmitError>>;
}

/// Runs a blocking call of a chain on a blocking thread.
pub(crate) async fn blocking<C: Chain, R: Send + 'static>(
    chain: &C,
    call: impl FnOnce(&C) -> Result<R, ChainError> + Send + 'static,
) -> Result<R, ChainError> {
    let chain = chain.clone();
    tokio::task::spawn_blocking(move || call(&chain)).await.map_err(|error| ChainError::Thread(error.to_string()))?
}
