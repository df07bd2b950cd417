//! The chain's state transition function: the pallets, wired together and executed natively.
//!
//! This crate exists to say which pallets make up the chain, with which parameters, and what a
//! transaction looks like. It holds no business rule of its own beyond [`network`] (which rules
//! version is active), [`settings`] (fees) and [`filter`] (which calls nobody may make or stop, and which
//! ones ballots may decide on).
//!
//! ```text
//!   extrinsic bytes --decode--> UncheckedExtrinsic --check (ChainSignature + state rule)-->
//!     transaction extensions (genesis, era, nonce, weight, fee) --> filter --> pallet call
//!
//!   System | Timestamp | Balances | TransactionPayment | Utility | Proxy | Sudo | Network
//!   Did | Validators | Measurement -> Escrow, Marketplace -> Janitor | Evidence    (order of on_initialize)
//!   Owners -> Governance | Multisig | Preimage | SafeMode | TxPause | Treasury | Settings
//! ```
//!
//! # Correctness
//! * A block is a pure function of the parent state and its bytes. Nothing here reads a clock, a
//!   file, the environment or a map with random order.
//! * The rules version is read from the state ([`version`]), never from the binary, so that two
//!   binaries agree on the block at which a new version begins.
//! * A verified mark ([`preverify`]) replaces the arithmetic of one signature check and nothing else.
//!
//! # Limits
//! Block weight and length are in [`configs::system`]; the rest is in `x0-limits`.
//!
//! # Errors
//! Calls fail with the pallets' own errors; transactions that may not enter a block fail with the
//! standard `TransactionValidityError`.
#![recursion_limit = "512"]
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

pub mod apis;
pub mod configs;
mod construct;
pub mod dry_run;
pub mod filter;
pub mod genesis;
pub mod hashing;
pub mod migrations;
pub mod network;
pub mod presets;
pub mod preverify;
pub mod settings;
pub mod signature;
pub mod version;
pub mod weights;

#[cfg(test)]
mod tests;

use sp_runtime::{generic, traits::BlakeTwo256};

pub use construct::*;
pub use preverify::VerifiedMark;
pub use signature::ChainSignature;
pub use version::VERSION;
pub use x0_types::{AccountId, Balance, BlockNumber, Hash, Moment, Nonce};

/// How transactions name accounts.
pub type Address = sp_runtime::MultiAddress<AccountId, ()>;
/// The header of a block: height, parent, state root, extrinsics root, digest.
pub type Header = generic::Header<BlockNumber, BlakeTwo256>;
/// What a transaction carries beside its call, in the order in which wallets know it.
pub type TxExtension = (
    frame_system::CheckNonZeroSender<Runtime>,
    frame_system::CheckSpecVersion<Runtime>,
    frame_system::CheckTxVersion<Runtime>,
    frame_system::CheckGenesis<Runtime>,
    frame_system::CheckMortality<Runtime>,
    frame_system::CheckNonce<Runtime>,
    frame_system::CheckWeight<Runtime>,
    pallet_transaction_payment::ChargeTransactionPayment<Runtime>,
    frame_system::WeightReclaim<Runtime>,
);
/// A transaction or inherent as it travels.
pub type UncheckedExtrinsic = generic::UncheckedExtrinsic<Address, RuntimeCall, ChainSignature, TxExtension>;
/// What a wallet signs: call, extension and the extension's implicit data.
pub type SignedPayload = generic::SignedPayload<RuntimeCall, TxExtension>;
/// A block: header and extrinsics.
pub type Block = generic::Block<Header, UncheckedExtrinsic>;
/// Runs blocks and transactions through the pallets.
pub type Executive =
    frame_executive::Executive<Runtime, Block, frame_system::ChainContext<Runtime>, Runtime, AllPalletsWithSystem>;

/// Checks the invariants of all pallets that have any. Tests call it after each block; it reads the
/// whole state of these pallets, so a running node does not.
///
/// # Errors
/// The first invariant that does not hold, in words.
pub fn check_invariants() -> Result<(), String> {
    Did::check_invariants().map_err(|broken| format!("did: {broken}"))?;
    Validators::check_invariants().map_err(|broken| format!("validators: {broken}"))?;
    Measurement::check_invariants().map_err(|broken| format!("measurement: {broken}"))?;
    Escrow::check_invariants().map_err(|broken| format!("escrow: {broken}"))?;
    Marketplace::check_invariants().map_err(|broken| format!("marketplace: {broken}"))?;
    Janitor::check_invariants().map_err(|broken| format!("janitor: {broken}"))?;
    Evidence::check_invariants().map_err(|broken| format!("evidence: {broken}"))?;
    Trust::check_invariants().map_err(|broken| format!("trust: {broken}"))?;
    Owners::check_invariants().map_err(|broken| format!("owners: {broken}"))?;
    Governance::check_invariants().map_err(|broken| format!("governance: {broken}"))?;
    Ok(())
}
