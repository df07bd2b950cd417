//! Runs the runtime natively: builds blocks, replays them, judges transactions, answers reads.
//!
//! This crate exists because there is no wasm sandbox around the runtime. Whatever a sandbox would
//! give (bounded stacks, contained panics, storage that cannot be silently wrong) is done here, once.
//!
//! ```text
//!                    +--------------------------- Executor ---------------------------+
//!   bytes (RPC,      |  decode: size, depth, canonical            [`extrinsic`]       |
//!   gossip, block) ->|  validate: own externalities on the head   [`admission`]       |-> Admitted (+ mark)
//!                    |  build: apply one by one, roll back         [`build`]          |
//!   consensus ------>|  replay: pre-verify in parallel, apply,     [`replay`]         |-> Executed
//!                    |          compare the header                                    |
//!                    |  commit: one durable batch, then publish    [`commit`]         |-> Head, ImportedBlock
//!   RPC ------------>|  with_state, storage, proofs, runtime_call  [`query`, `router`]|
//!   light clients -->|  set changes, headers, checkpoints          [`light`]          |
//!                    +-----------------------------------------------------------------+
//!                          state: merkle trie nodes in x0-storage, shared cache
//! ```
//!
//! # Correctness
//! * A block that was built and a block that is replayed go through the same code ([`block`]); the
//!   replay compares the whole header.
//! * A panic in a pallet loses its own transaction and nothing else: the overlay is rolled back to
//!   depth 0. A panic inside a storage access ends the process, because a local fault must never turn
//!   into a verdict about a block ([`guard`]).
//! * The state root always changes, since the block number is part of the state. A root equal to the
//!   parent's means that the trie could not be computed, and is fatal.
//! * Everything that comes from outside is decoded with a depth limit first: decoding recurses, and
//!   a stack overflow cannot be caught.
//! * Only blocks on the head are executed; with instant finality there are no others.
//!
//! # Limits
//! `x0_limits::{CALL_DEPTH_MAX, EXTRINSIC_BYTES_MAX, BLOCK_BYTES_MAX, BLOCK_EXTRINSICS_MAX,
//! TRIE_CACHE_BYTES}`; the worker's stack is [`worker::STACK_BYTES`].
//!
//! # Errors
//! [`ExtrinsicError`]: the transaction is bad. [`BlockError`]: the block is invalid, or (kept apart)
//! this node cannot judge it. [`ExecutorError`]: this node cannot go on, or the question was wrong.
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

pub mod admission;
pub mod block;
pub mod build;
pub mod commit;
mod dispatch;
pub mod error;
pub mod executor;
pub mod extrinsic;
pub mod guard;
pub mod light;
mod marks;
pub mod measure;
pub mod query;
pub mod replay;
pub mod router;
mod state;
mod view;
pub mod worker;

#[cfg(test)]
mod tests;

pub use admission::{Admitted, Submission};
pub use block::{Executed, Took, TxOutcome};
pub use commit::ImportedBlock;
pub use error::{BlockError, ExecutorError, ExtrinsicError, InvalidBlock};
pub use executor::{Executor, Options};
pub use extrinsic::{Signed, decode_extrinsic, extrinsic_hash, extrinsic_hashes};
pub use light::{LightCheckpoint, LightDataError, LightHeader, SetChanges};
pub use router::RUNTIME_CALLS;
pub use sp_runtime::transaction_validity::TransactionSource;
pub use worker::Worker;
pub use x0_runtime::VerifiedMark;
pub use x0_storage::Head;
