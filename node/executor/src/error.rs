//! What can go wrong, by who has to act on it.

use sp_runtime::transaction_validity::{InvalidTransaction, TransactionValidityError, UnknownTransaction};
use x0_types::{BlockNumber, Hash};

/// A transaction that cannot be taken. Nothing of it changes the state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtrinsicError {
    /// More bytes than any transaction may have.
    #[error("transaction of {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// [`x0_limits::EXTRINSIC_BYTES_MAX`].
        max: usize,
    },
    /// The bytes are no transaction, or calls nest deeper than [`x0_limits::CALL_DEPTH_MAX`].
    #[error("transaction does not decode: {reason}")]
    Undecodable {
        /// What the decoder says.
        reason: String,
    },
    /// The bytes decode, but are not the encoding of what they decode to, so that one transaction
    /// would have several hashes.
    #[error("transaction is not canonically encoded")]
    NotCanonical,
    /// Only signed transactions come from outside.
    #[error("transaction is not signed")]
    NotSigned,
    /// Signers are named by their account id.
    #[error("signer must be given as an account id")]
    SignerForm,
    /// The chain's rules refuse it.
    #[error("invalid transaction: {0:?}")]
    Invalid(InvalidTransaction),
    /// The chain's rules cannot judge it.
    #[error("transaction cannot be judged: {0:?}")]
    Unknown(UnknownTransaction),
    /// Executing it made a pallet panic; it is treated as invalid and must not be tried again.
    #[error("transaction makes the runtime panic: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// This node failed, not the transaction.
    #[error("transaction was not judged: {message}")]
    Node {
        /// Why.
        message: String,
    },
}

impl ExtrinsicError {
    /// Whether the transaction may become valid later, or in another block, and may be kept.
    #[must_use]
    pub const fn may_become_valid(&self) -> bool {
        matches!(
            self,
            Self::Invalid(InvalidTransaction::Future | InvalidTransaction::ExhaustsResources) | Self::Node { .. }
        )
    }
}

impl From<TransactionValidityError> for ExtrinsicError {
    fn from(error: TransactionValidityError) -> Self {
        match error {
            TransactionValidityError::Invalid(invalid) => Self::Invalid(invalid),
            TransactionValidityError::Unknown(unknown) => Self::Unknown(unknown),
        }
    }
}

/// Why a block was not executed.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The block breaks a rule: vote against it. Every correct node says the same.
    #[error("invalid block: {0}")]
    Invalid(#[from] InvalidBlock),
    /// This node cannot judge the block; it says nothing about the block.
    #[error("block was not judged: {0}")]
    Fatal(#[from] ExecutorError),
}

/// The rule that a block breaks.
#[derive(Debug, thiserror::Error)]
pub enum InvalidBlock {
    /// More bytes than a block may have.
    #[error("{bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// [`x0_limits::BLOCK_BYTES_MAX`].
        max: usize,
    },
    /// The bytes are no block.
    #[error("does not decode: {reason}")]
    Undecodable {
        /// What the decoder says.
        reason: String,
    },
    /// More extrinsics than a block may have.
    #[error("{count} extrinsics, at most {max} are allowed")]
    TooManyExtrinsics {
        /// How many.
        count: usize,
        /// [`x0_limits::BLOCK_EXTRINSICS_MAX`].
        max: usize,
    },
    /// The height does not follow the head's.
    #[error("height {found} does not follow the head {head}")]
    WrongNumber {
        /// The head's height.
        head: BlockNumber,
        /// The block's height.
        found: BlockNumber,
    },
    /// The parent is not the head.
    #[error("parent is {found:?}, the head is {head:?}")]
    WrongParent {
        /// The head's hash.
        head: Hash,
        /// The block's parent.
        found: Hash,
    },
    /// The header must name the proposer in exactly one pre-runtime item.
    #[error("header does not name its proposer as it must")]
    Proposer,
    /// The first extrinsic must be the timestamp, and only the first.
    #[error("extrinsic 0 must set the timestamp, and no other may be unsigned (extrinsic {index})")]
    Inherents {
        /// The extrinsic in question.
        index: usize,
    },
    /// The timestamp does not follow the parent's.
    #[error("timestamp {found} ms does not follow the parent's {parent} ms")]
    Timestamp {
        /// The parent's timestamp.
        parent: u64,
        /// The block's timestamp.
        found: u64,
    },
    /// An extrinsic is invalid where it stands.
    #[error("extrinsic {index}: {error}")]
    Extrinsic {
        /// Its place.
        index: usize,
        /// Why.
        error: ExtrinsicError,
    },
    /// Execution gives another header.
    #[error("header differs in {field}: block says {found}, execution gives {expected}")]
    Header {
        /// The first field that differs.
        field: &'static str,
        /// In the block.
        found: String,
        /// By execution.
        expected: String,
    },
}

/// This node cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] x0_storage::StorageError),
    /// The genesis configuration does not fit the runtime.
    #[error(transparent)]
    Genesis(#[from] x0_runtime::genesis::GenesisError),
    /// The chain runs by rules that this binary does not know.
    #[error(
        "block {number} runs under version {active} of the rules, this binary knows {supported:?}: install a newer x0-node"
    )]
    UnsupportedSpec {
        /// The block.
        number: BlockNumber,
        /// The version that the state names.
        active: u32,
        /// The versions that this binary can execute.
        supported: &'static [u32],
    },
    /// A block can be built or committed on the head only.
    #[error("parent {parent:?} is not the head {head:?}")]
    NotOnHead {
        /// The wanted parent.
        parent: Hash,
        /// The head.
        head: Hash,
    },
    /// No such block.
    #[error("unknown block {0:?}")]
    UnknownBlock(Hash),
    /// The runtime panicked outside a transaction.
    #[error("the runtime panicked in {place}: {message}")]
    Panicked {
        /// Where.
        place: &'static str,
        /// The panic's message.
        message: String,
    },
    /// The trie could not be computed, although no read failed.
    #[error("block {number}: the state root did not change, so the trie is not readable; the database is damaged")]
    RootUnchanged {
        /// The block.
        number: BlockNumber,
    },
    /// The state machine failed.
    #[error("state machine: {reason}")]
    State {
        /// What it says.
        reason: String,
    },
    /// The function is not on the list of those that may be called.
    #[error("runtime function {name:?} is not available")]
    UnknownFunction {
        /// The name.
        name: String,
    },
    /// The parameters of a runtime function do not decode.
    #[error("parameters of {name}: {reason}")]
    Parameters {
        /// The function.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A worker thread is gone.
    #[error("the execution thread has stopped")]
    WorkerStopped,
    /// The job panicked outside the runtime.
    #[error("a job of the execution thread panicked")]
    WorkerPanicked,
    /// A thread cannot be started.
    #[error("cannot start the execution thread: {0}")]
    Thread(std::io::Error),
}
