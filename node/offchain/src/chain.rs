//! What the worker asks of the chain.

use crate::clock::SlotClock;
use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};
use std::net::SocketAddr;
use x0_crypto::PublicKey;
use x0_mempool::SubmitError;
use x0_types::{
    AccountId, Hash, Moment,
    deal::ServiceCheck,
    market::{DealId, NodeIndex, SlaBreach, Slot},
    receipt::ReceiptProof,
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
    /// What the manifests of its running deals declare, each once.
    pub checks: Vec<ServiceCheck>,
    /// What its running deals promise of round trip and throughput.
    pub promises: Vec<Promise>,
}

/// What a deal promises of round trip and throughput.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The deal.
    pub deal: DealId,
    /// Longest round trip, milliseconds; 0 promises nothing.
    pub round_trip_ms_max: u32,
    /// Least throughput, kilobits per second; 0 promises nothing.
    pub throughput_kbps_min: u32,
    /// The first slot that the deal bills.
    pub first_slot: Slot,
}

/// How far a report has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Showing {
    /// The chain has no commitment to it, and would still take one.
    Uncommitted,
    /// Others may still commit: it stays hidden.
    Hidden,
    /// It may be shown now.
    Open,
    /// It was shown, or its time is over.
    Settled,
}

/// A receipt that this validator is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The challenge's number.
    pub challenge: u64,
    /// The slot of the report.
    pub slot: Slot,
    /// The node's place in it.
    pub index: NodeIndex,
}

/// Whether the chain would take a commitment now.
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

/// What the worker tells the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A commitment to a report.
    Commit {
        /// The slot.
        slot: Slot,
        /// See [`x0_types::receipt::report_commitment`].
        commitment: Hash,
    },
    /// The report.
    Reveal {
        /// The slot.
        slot: Slot,
        /// Packed observations.
        observations: Vec<u8>,
        /// Root over the receipts.
        receipts_root: Hash,
        /// What hid it.
        salt: [u8; 32],
    },
    /// A receipt that was asked for.
    Answer {
        /// The challenge's number.
        challenge: u64,
        /// The receipt.
        proof: Box<ReceiptProof>,
    },
    /// A promise that most trials of a window found broken.
    Complain {
        /// The deal.
        deal: DealId,
        /// The window.
        window: u64,
        /// What was broken.
        breach: SlaBreach,
    },
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

    /// The account that answers for this validator, if its reporter key belongs to the current set.
    ///
    /// # Errors
    /// [`ChainError`].
    fn validator(&self) -> Result<Option<AccountId>, ChainError>;

    /// Whether a commitment on `slot` would be taken by a block of the time `now_ms`.
    ///
    /// # Errors
    /// [`ChainError`].
    fn gate(&self, slot: Slot, now_ms: Moment) -> Result<Gate, ChainError>;

    /// How far the reports on these slots have come, in their order, and which receipts are asked for, as of the head.
    ///
    /// # Errors
    /// [`ChainError`].
    fn duties(&self, slots: &[Slot]) -> Result<(Vec<Showing>, Vec<Asked>), ChainError>;

    /// A signed message, ready to be submitted.
    ///
    /// # Errors
    /// [`ChainError`].
    fn sign(&self, message: Message) -> Result<Bytes, ChainError>;

    /// Whether a transaction that was submitted still waits at this node.
    fn waits(&self, transaction: &Hash) -> bool;

    /// An item for each new head; heads that come quickly may share one.
    fn heads(&self) -> BoxStream<'static, ()>;

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
