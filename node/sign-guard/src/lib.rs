//! The only path to the consensus key: a durable memory of everything that it signed, in this process or in another.
//!
//! This crate exists so that no history of crashes, restores, moves and second processes makes a validator sign two
//! different things at one place of the protocol.
//!
//! ```text
//!   consensus -- Statement --> [`ConsensusKey`] --+--> [`LocalKey`]:  [`Guard`] (fsync), then the key signs
//!                                                 |
//!                                                 +--> [`RemoteKey`] == PQ TLS ==> [`serve`] --> [`LocalKey`]
//!   operator --> [`GuardExport`]: the record moves to another machine, never backwards
//! ```
//!
//! # Correctness
//! * A record is on the disk before its signature leaves the process. Repeats get the stored signature, contradictions
//!   and steps backwards are refused.
//! * Each record lies on the disk twice, so that one damage is repaired; damage that could hide a signature
//!   refuses to open by name. Two damages that erase both copies of the last record are not noticed: against a disk that
//!   loses what it acknowledged, the engine's write-ahead log is the second witness.
//! * One process at a time, one key and one chain per directory. A record that was exported for a move does not open any more.
//! * A remote signer keeps the record itself: several nodes may ask it, and get one answer for each place.
//!
//! # Limits
//! `GUARD_RECORDS_PER_SLOT_MAX`, `GUARD_EXPORT_BYTES_MAX`, `SIGNER_FRAME_BYTES_MAX`, `SIGNER_CONNECTIONS_MAX` and the `SIGNER_*_MS`
//! of `x0-limits`.
//!
//! # Errors
//! [`GuardError`] has a variant for each refusal; [`ServeError`] for the signer's listener.
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

mod export;
mod guard;
mod key;
mod memory;
mod remote;
mod slot;

pub use export::{GuardExport, export, import};
pub use guard::{Guard, GuardError, Signed, binding};
pub use key::{ConsensusKey, LocalKey, SignStats};
pub use memory::Memory;
pub use remote::{RemoteConfig, RemoteKey, ServeError, serve};
pub use x0_crypto::statement::{Place, Statement, Step};
