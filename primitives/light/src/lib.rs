//! Verifies the chain from a trusted height without executing it.
//!
//! This crate exists so that a wallet, an agent, a browser or a node that restores a snapshot can
//! believe peers that it does not trust: everything they say is checked against validator sets that
//! it knows. It does no I/O, reads no clock and keeps no files.
//!
//! ```text
//!   trusted: genesis set, or a checkpoint (number, hash)
//!      |
//!      |  SetChangeProof = header of H with digest item "x0vs" + certificate + set of H+2
//!      v                                            |             |
//!   TrustedState --advance--> TrustedState          |             +-- hash stands in the header
//!      |                                            +-- more than 2/3 of the power known at H
//!      +--verify_header(header, certificate) --> VerifiedHeader { state_root, .. }
//!                                                      |
//!               untrusted peer: storage proof ---------+--> verify_proof --> balance, nonce, ...
//! ```
//!
//! Only headers that announce another validator set are needed between the trusted height and the
//! newest one. Skipping what lies between is safe because each certificate must carry more than two
//! thirds of a set that is itself trusted, for [`x0_limits::LIGHT_TRUST_PERIOD_MS`] after the time
//! for which that trust was stated. A peer that leaves a change out gains nothing: the next
//! certificate then does not verify.
//!
//! # Correctness
//! * A header is accepted only with a certificate by more than two thirds of the power of the set
//!   that the state knows for its height; a set only if its hash stands in an accepted header.
//! * Trust ages. After the trust period every answer is an error until a person names a newer
//!   checkpoint. Only the proven timestamp of an accepted block moves the time of trust forward.
//! * Two certificates for different blocks of one height, or for neighbours that do not follow one
//!   another, mean that a third of the power is dishonest. Then the state halts for good and keeps
//!   both as evidence.
//! * Storage proofs are checked node by node against the state root; a value and its absence are both
//!   proven.
//!
//! # Limits
//! The `LIGHT_*` constants of `x0-limits`, checked before anything is allocated.
//!
//! # Errors
//! [`LightError`], [`HeaderError`], [`SetError`] and [`ProofError`]: one variant per broken rule.
//!
//! Without the feature `std` this crate is `no_std` (with `alloc`) and free of C code.
#![cfg_attr(not(feature = "std"), no_std)]
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

extern crate alloc;

mod change;
mod checkpoint;
mod error;
mod header;
mod proof;
mod set;
mod state;
mod store;

#[cfg(all(test, feature = "std"))]
mod tests;

pub use change::{PROOF_BYTES_MAX, SetChangeProof};
pub use checkpoint::{Checkpoint, CheckpointError};
pub use error::{HeaderError, LightError, ProofError, SetError};
pub use header::{Header, LogItem, VALIDATOR_SET_ENGINE};
pub use proof::{Account, account, account_key, deal_key, timestamp, timestamp_key, validator_set_keys, verify_proof};
pub use set::{SET_BYTES_MAX, Validator, ValidatorSet};
pub use state::{Conflict, TrustedState, VerifiedHeader, Witness, advance, read_upcoming, refresh, verify_header};
