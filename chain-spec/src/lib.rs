//! Network definitions: from a JSON file to the first block.
//!
//! The crate exists so that everybody who runs a network agrees on its first block, and so that a
//! mistake in the file is reported with the place where it stands.
//!
//! ```text
//!   file.json --[`reader`]--> ChainSpec --genesis_config()--> RuntimeGenesisConfig JSON --> executor
//!                                 |                                                            |
//!                     pacing, timeouts, properties                                 genesis hash, raw state
//! ```
//!
//! The format is documented in `docs/operating/chain-spec.md`.
//!
//! # Correctness
//! The genesis block depends on the file's meaning only, not on its layout: two files with the same
//! values give the same hash. Pacing, timeouts and boot peers are not part of it, so that they can be
//! tuned; neither are name and properties. The id is: two networks that differ in their id only have
//! different genesis hashes.
//!
//! # Limits
//! Files of at most `x0_limits::CHAIN_SPEC_BYTES_MAX` bytes.
//!
//! # Errors
//! [`ChainSpecError`]; every variant about the content names the field as a path, such as
//! `validators[0].keys.consensus`.
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

mod definition;
mod error;
mod genesis;
mod local;
mod peers;
mod reader;

#[cfg(test)]
mod tests;

pub use definition::{ChainSpec, ChainType, Consensus, Genesis, Keys, Properties, Validator};
pub use error::ChainSpecError;
pub use genesis::RawGenesis;
pub use local::{CONTROLLER_ENDOWMENT, LocalNetwork, REPORTER_ENDOWMENT, ValidatorKeys};
