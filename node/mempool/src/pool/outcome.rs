//! What happens to transactions at the pool's door and inside.

use x0_types::{Balance, Hash, Nonce};

/// Why the pool refuses a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The pool holds it already.
    #[error("the transaction is waiting already")]
    AlreadyKnown,
    /// The nonce is used up.
    #[error("nonce {nonce} is used up: the account's next nonce is {expected}")]
    Stale {
        /// The transaction's nonce.
        nonce: Nonce,
        /// The account's nonce on chain.
        expected: Nonce,
    },
    /// The nonce lies too far ahead of the account's.
    #[error("nonce {nonce} is too far ahead: the account's next nonce is {expected}, and at most {max} wait")]
    TooFarAhead {
        /// The transaction's nonce.
        nonce: Nonce,
        /// The account's nonce on chain.
        expected: Nonce,
        /// The limit.
        max: usize,
    },
    /// Another transaction with this nonce waits, and the tip is not higher.
    #[error("another transaction with nonce {nonce} waits with a tip of {waiting}; {offered} does not exceed it")]
    Underpriced {
        /// The nonce.
        nonce: Nonce,
        /// Tip of the one that waits.
        waiting: Balance,
        /// Tip of the one that was refused.
        offered: Balance,
    },
    /// The account has its share of the pool already.
    #[error("{max} transactions of this account wait already")]
    AccountFull {
        /// The limit.
        max: usize,
    },
    /// The pool is full of transactions that are worth as much.
    #[error(
        "the node's queue of transactions is full ({count} transactions, {bytes} bytes) of at least the same priority"
    )]
    Full {
        /// Transactions that wait.
        count: usize,
        /// Bytes that wait.
        bytes: usize,
    },
}

/// What happened to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It can go into the next block.
    Ready(Hash),
    /// It waits for transactions with lower nonces.
    Future(Hash),
    /// Another one with the same nonce and a higher tip took its place.
    Usurped {
        /// The one that went.
        old: Hash,
        /// The one that took its place.
        by: Hash,
    },
    /// It went to make room for a better one.
    Evicted(Hash),
    /// Its era is over.
    Expired(Hash),
    /// A block used its nonce for another transaction.
    Stale(Hash),
    /// A block contains it.
    Included(Hash),
}
