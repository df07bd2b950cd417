//! Admission, ordering and expiry of transactions.
//!
//! This crate exists so that a block builder always finds transactions that can enter the next
//! block, checked once, in the right order, and so that nobody can fill the node's memory or
//! occupy its processors from outside.
//!
//! ```text
//!   submit --> size --> line (bounded, else Busy) --> worker threads, one per core, many at once:
//!                                                      duplicate? --> decode, signature, validity
//!                                                      (x0-executor, on the head) --> Pool
//!   Pool --ready()--> block builder --> committed block --on_imported()--> Pool --> watchers
//! ```
//!
//! # Correctness
//! * Ready transactions of an account are contiguous from its nonce on chain ([`pool`]).
//! * A transaction that was judged on an older block than the pool's last one is compared with the
//!   newer nonce before it enters, so that a block that is imported in between makes no stale entry.
//! * Watchers never block anybody: their channels are bounded, and a watcher that does not read
//!   loses its messages, not the node its time.
//!
//! # Limits
//! The `MEMPOOL_*` and `ADMISSION_*` constants of `x0-limits`.
//!
//! # Errors
//! [`SubmitError`], one variant per reason that a wallet can act on.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap
    )
)]

mod admission;
mod door;
mod error;
mod line;
mod mempool;
pub mod pool;
mod recent;
mod stats;
mod watch;

pub use error::SubmitError;
pub use mempool::{Config, Mempool};
pub use stats::Stats;
pub use watch::TxStatus;
