//! What consensus needs of the chain.
//!
//! Consensus decides about opaque blocks: everything that knows what a block means stands behind
//! [`Chain`]. [`NodeChain`] is the real one.

use crate::certificate::CertificateValidator;
use bytes::Bytes;
use std::time::Duration;
use x0_executor::ExecutorError;
use x0_storage::StorageError;

pub use crate::node_chain::NodeChain;

/// The last committed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

/// A validator of a height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainValidator {
    /// Key and power.
    pub voter: CertificateValidator,
    /// The account that answers for it, which blocks name as their proposer.
    pub controller: [u8; 32],
}

/// What the bytes of a block say before it is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockFacts {
    /// Its height.
    pub height: u64,
    /// BLAKE2b-256 of its header.
    pub hash: [u8; 32],
    /// Its parent's hash.
    pub parent: [u8; 32],
}

/// A block that this node built and executed.
#[derive(Clone, Debug)]
pub struct Built {
    /// BLAKE2b-256 of its header.
    pub hash: [u8; 32],
    /// The SCALE block.
    pub encoded: Bytes,
}

/// What executing a block says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is right.
    Valid {
        /// Who proposed it, by its header.
        proposer: [u8; 32],
        /// Its timestamp, milliseconds since the Unix epoch.
        timestamp_ms: u64,
    },
    /// It breaks a rule, in words.
    Invalid(String),
    /// It does not follow the head (any more), so that there is nothing to say about it.
    Stale,
}

/// A block that is durable for consensus and not yet decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlock {
    /// The round that it was proposed in.
    pub round: u32,
    /// The block's hash.
    pub hash: [u8; 32],
    /// What consensus stored (see `host::store`).
    pub bytes: Bytes,
    /// Whether it was found valid.
    pub valid: bool,
}

/// Why the chain cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The bytes are no block, or the body does not belong to the header: nothing is said about the block
    /// whose header it carries.
    #[error("not a block: {0}")]
    NotABlock(String),
    /// Another block is committed at this height.
    #[error("block {stored} is committed at height {height}, but block {decided} was decided")]
    OtherBlockCommitted {
        /// The height.
        height: u64,
        /// The committed block, in hex.
        stored: String,
        /// The decided one, in hex.
        decided: String,
    },
    /// A decided block breaks the rules of this node.
    #[error("the decided block {hash} at height {height} is invalid here: {reason}")]
    DecidedInvalid {
        /// The height.
        height: u64,
        /// The block, in hex.
        hash: String,
        /// The rule.
        reason: String,
    },
    /// A decided block is not here.
    #[error("the decided block {hash} at height {height} is not stored here")]
    DecidedUnknown {
        /// The height.
        height: u64,
        /// The block, in hex.
        hash: String,
    },
    /// The height is too high for this chain's block numbers.
    #[error("height {0} is out of range")]
    Height(u64),
    /// The chain's state names no usable validator set.
    #[error(transparent)]
    Validators(#[from] crate::context::ValidatorSetError),
    /// Execution failed on this node.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The chain as consensus sees it.
#[async_trait::async_trait]
pub trait Chain: Send + Sync + 'static {
    /// Hash of the chain's first block.
    fn genesis(&self) -> [u8; 32];
    /// The last committed block.
    fn tip(&self) -> Tip;
    /// The lowest height that this node can give to others.
    fn history_start(&self) -> u64;
    /// The validators of a height: those of the next two heights are known.
    ///
    /// # Errors
    /// [`ChainError`].
    async fn validators(&self, height: u64) -> Result<Vec<ChainValidator>, ChainError>;
    /// Who proposed the last blocks, oldest first: up to `last` of them, without the first block of the chain. A chain that
    /// does not keep this gives none, and then nobody's turn is skipped.
    ///
    /// # Errors
    /// [`ChainError`].
    async fn authors(&self, _last: usize) -> Result<Vec<[u8; 32]>, ChainError> {
        Ok(Vec::new())
    }
    /// Builds and executes a block on the head. `None` when the head is not `height - 1` any more.
    ///
    /// # Errors
    /// [`ChainError`].
    async fn build(&self, height: u64, proposer: [u8; 32], budget: Duration) -> Result<Option<Built>, ChainError>;
    /// Reads a block's header and checks that the body belongs to it.
    ///
    /// # Errors
    /// [`ChainError::NotABlock`].
    async fn inspect(&self, encoded: Bytes) -> Result<BlockFacts, ChainError>;
    /// Executes a block on the head and remembers the result for its commit.
    ///
    /// # Errors
    /// Failures of this node; they say nothing about the block.
    async fn judge(&self, facts: BlockFacts, encoded: Bytes) -> Result<Verdict, ChainError>;
    /// Commits a decided block. Committing it again changes nothing.
    ///
    /// # Errors
    /// [`ChainError`]; all of them mean that this node cannot go on.
    async fn commit(
        &self,
        height: u64,
        hash: [u8; 32],
        encoded: Option<Bytes>,
        certificate: Vec<u8>,
    ) -> Result<Tip, ChainError>;
    /// Makes an undecided block durable.
    ///
    /// # Errors
    /// When the disk fails.
    async fn store(&self, height: u64, block: StoredBlock) -> Result<(), ChainError>;
    /// The undecided blocks of a height.
    ///
    /// # Errors
    /// When the disk fails.
    async fn stored(&self, height: u64) -> Result<Vec<StoredBlock>, ChainError>;
    /// Forgets undecided blocks up to a height.
    ///
    /// # Errors
    /// When the disk fails.
    async fn forget(&self, up_to: u64) -> Result<(), ChainError>;
    /// A decided block and its certificate; `None` when this node does not have both.
    ///
    /// # Errors
    /// When the disk fails.
    async fn decided(&self, height: u64) -> Result<Option<(Bytes, Vec<u8>)>, ChainError>;
    /// Whether transactions wait.
    fn has_work(&self) -> bool;
    /// Ends when transactions wait.
    async fn wait_for_work(&self);
}
