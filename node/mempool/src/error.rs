//! Why a submission is refused.

use crate::pool::PoolError;
use sp_runtime::transaction_validity::InvalidTransaction;
use x0_executor::ExtrinsicError;
use x0_types::{Balance, Hash, Nonce};

/// Why a transaction did not enter the mempool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Too many submissions wait for their check; try again later.
    #[error("the node is busy: {waiting} submissions wait for their check")]
    Busy {
        /// Submissions that wait.
        waiting: usize,
    },
    /// More bytes than any transaction may have.
    #[error("transaction of {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The bytes are no transaction, or calls nest too deep, or the encoding is not canonical.
    #[error("{0}")]
    Malformed(String),
    /// Only signed transactions come from outside.
    #[error("transaction is not signed by an account")]
    NotSigned,
    /// It waits here already.
    #[error("transaction {0:?} is waiting already")]
    AlreadyKnown(Hash),
    /// A block contains it.
    #[error("transaction {hash:?} is in block {block:?}")]
    AlreadyIncluded {
        /// The transaction.
        hash: Hash,
        /// The block.
        block: Hash,
    },
    /// The signature does not hold. A transaction that was signed for another chain or for other
    /// rules is one of these: genesis hash and versions are part of what is signed.
    #[error(
        "bad signature: the key is not the account's, or the bytes were signed for another chain or version, or changed"
    )]
    BadSignature,
    /// The nonce is used up.
    #[error("nonce {nonce} is used up{}", expected.map_or_else(String::new, |next| format!(": the account's next nonce is {next}")))]
    StaleNonce {
        /// The transaction's nonce.
        nonce: Nonce,
        /// The account's next nonce, when it is known here.
        expected: Option<Nonce>,
    },
    /// The nonce lies too far ahead.
    #[error("nonce {nonce} is too far ahead: the account's next nonce is {expected}, and at most {max} wait")]
    NonceTooFarAhead {
        /// The transaction's nonce.
        nonce: Nonce,
        /// The account's next nonce.
        expected: Nonce,
        /// The limit.
        max: usize,
    },
    /// The account cannot pay the fee.
    #[error("the account cannot pay the fee")]
    Unpayable,
    /// The transaction's era begins at a block that the chain does not know or no longer remembers.
    #[error("the transaction's era begins at a block that the chain does not remember")]
    Expired,
    /// Another transaction with the same nonce waits and offers as much.
    #[error("another transaction with nonce {nonce} waits with a tip of {waiting}; {offered} does not exceed it")]
    Underpriced {
        /// The nonce.
        nonce: Nonce,
        /// Tip of the one that waits.
        waiting: Balance,
        /// Tip of this one.
        offered: Balance,
    },
    /// The account has its share of the mempool already.
    #[error("{max} transactions of this account wait already")]
    AccountFull {
        /// The limit.
        max: usize,
    },
    /// The mempool is full of transactions that are worth as much.
    #[error(
        "the node's queue of transactions is full ({count} transactions, {bytes} bytes) of at least the same priority"
    )]
    Full {
        /// Transactions that wait.
        count: usize,
        /// Bytes that wait.
        bytes: usize,
    },
    /// The chain's rules refuse it for another reason.
    #[error("{0}")]
    Invalid(ExtrinsicError),
    /// This node failed, not the transaction.
    #[error("this node could not judge the transaction: {0}")]
    Node(String),
}

impl SubmitError {
    /// The JSON-RPC error code under which Substrate's clients know this reason.
    #[must_use]
    pub const fn rpc_code(&self) -> i32 {
        match self {
            Self::TooLarge { .. } | Self::Malformed(_) => 1001,
            Self::NotSigned
            | Self::BadSignature
            | Self::StaleNonce { .. }
            | Self::NonceTooFarAhead { .. }
            | Self::Unpayable
            | Self::Expired
            | Self::Invalid(_) => 1010,
            Self::AlreadyIncluded { .. } => 1012,
            Self::AlreadyKnown(_) => 1013,
            Self::Underpriced { .. } => 1014,
            Self::Busy { .. } | Self::AccountFull { .. } | Self::Full { .. } => 1016,
            Self::Node(_) => -32603,
        }
    }

    /// Names the reason of the executor; `nonce` is the transaction's, if it was readable.
    pub(crate) fn from_extrinsic(error: ExtrinsicError, nonce: Nonce) -> Self {
        match error {
            ExtrinsicError::TooLarge { bytes, max } => Self::TooLarge { bytes, max },
            ExtrinsicError::Undecodable { .. } | ExtrinsicError::NotCanonical => Self::Malformed(error.to_string()),
            ExtrinsicError::NotSigned | ExtrinsicError::SignerForm => Self::NotSigned,
            ExtrinsicError::Invalid(InvalidTransaction::BadProof | InvalidTransaction::BadSigner) => Self::BadSignature,
            ExtrinsicError::Invalid(InvalidTransaction::Stale) => Self::StaleNonce { nonce, expected: None },
            ExtrinsicError::Invalid(InvalidTransaction::Payment) => Self::Unpayable,
            ExtrinsicError::Invalid(InvalidTransaction::AncientBirthBlock) => Self::Expired,
            ExtrinsicError::Node { message } => Self::Node(message),
            ExtrinsicError::Invalid(_) | ExtrinsicError::Unknown(_) | ExtrinsicError::Panicked { .. } => {
                Self::Invalid(error)
            }
        }
    }

    pub(crate) const fn from_pool(error: PoolError, hash: Hash) -> Self {
        match error {
            PoolError::AlreadyKnown => Self::AlreadyKnown(hash),
            PoolError::Stale { nonce, expected } => Self::StaleNonce { nonce, expected: Some(expected) },
            PoolError::TooFarAhead { nonce, expected, max } => Self::NonceTooFarAhead { nonce, expected, max },
            PoolError::Underpriced { nonce, waiting, offered } => Self::Underpriced { nonce, waiting, offered },
            PoolError::AccountFull { max } => Self::AccountFull { max },
            PoolError::Full { count, bytes } => Self::Full { count, bytes },
        }
    }
}
