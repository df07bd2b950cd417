//! Agrees with the other validators on the next block: Malachite BFT, hosted.
//!
//! This crate exists so that the engine's types, its traps and the consensus key stay in one place.
//!
//! ```text
//!   transactions wake -> [`pacing`] -- next height --> engine (Malachite: rounds, locks, log, sync)
//!                                                        |        ^            |
//!                       [`chain`] <- build/judge/commit  |        |            | sign
//!                 executor, mempool, database   <--- host actor   |            v
//!                                                        |   net actor     [`signer`] -> x0-sign-guard
//!                                                        v        |            (fsync, consensus key)
//!                                                     [`parts`]   +--> [`wire`] <-> x0-network carrier
//!   anybody: [`certificate::verify_certificate`](bytes, validators, header hash, genesis)
//! ```
//!
//! # Correctness
//! * The consensus key signs through its guard only (`x0-sign-guard`), and the guard's record is on the disk before a
//!   signature leaves: no history of crashes makes this node contradict itself. The guard's memory also judges the engine's
//!   log at the start ([`wal`]).
//! * Whoever says two things at one place is heard at the network's edge ([`witness`]), also when it says each of them to
//!   other listeners ([`exchange`]), and the proof is kept until it is on chain ([`EngineHandle::evidence`]).
//! * Whose turn it is to propose follows from committed headers ([`turns`]), so that an absent validator costs little.
//! * A block is durable before any answer that depends on it, so that a restarted node gives the
//!   same answers. The start height comes from the database, never from the engine's log.
//! * A verdict concerns a header and the body that belongs to it; bytes that are not this are a fault of the peer
//!   that sent them. Clocks decide what this node votes for, never what it accepts once decided.
//! * A decided block that cannot be committed halts the node ([`Failure::SafetyHalt`]); a disk that fails ends it by its
//!   own name, whichever part met it ([`Failure::Storage`]); everything else that ends the engine may be mended by a
//!   restart ([`Failure::Restartable`]).
//!
//! # Limits
//! Messages: the `*_FRAME_BYTES_MAX` of `x0-limits`. Blocks under way: `PROPOSAL_STREAMS_PER_PEER_MAX`,
//! `ASSEMBLY_BYTES_MAX`, `PROPOSALS_PER_ROUND_MAX`, `JUDGING_BLOCKS_MAX`, `EARLY_BLOCKS_MAX`. Ahead: `FUTURE_HEIGHTS_MAX`,
//! `FUTURE_ROUNDS_MAX`. History: `CERTIFICATES_KEPT`.
//!
//! # Errors
//! [`ConsensusError`] at the start, [`Failure`] later; each module names its own.
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

mod book;
pub mod candidates;
pub mod chain;
mod config;
pub mod context;
mod engine;
mod evidence;
pub mod exchange;
mod fate;
mod host;
mod net;
mod node_chain;
pub mod pacing;
pub mod parts;
pub mod signer;
pub mod stats;
pub mod turns;
pub mod wal;
mod watchdog;
pub mod wire;
pub mod witness;

pub use x0_crypto::certificate;
pub use x0_sign_guard as guard;

pub use certificate::{Certificate, CertificateError, CertificateValidator, verify_certificate};
pub use config::{EngineConfig, ValidatorKey};
pub use engine::{ConsensusError, EngineHandle, EngineStatus, peer_of, start, start_on};
pub use fate::Failure;
pub use malachite_core_types::LinearTimeouts;
pub use pacing::Pacing;
pub use wal::{WalError, sound_length};
