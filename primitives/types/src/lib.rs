//! Types that the runtime, the node, the agent and the wallet share.
//!
//! This crate does no I/O, keeps no state and names no crypto library. It holds these groups:
//!
//! * [`account`]: account ids, balances, block numbers, the token's units;
//! * [`deal`]: rates, capacities, offers, deal states and outcomes, and their arithmetic;
//! * [`evidence`]: proofs that a validator contradicted itself;
//! * [`governance`]: owners, as other modules ask for them;
//! * [`key`]: ML-DSA-65 public keys and signatures as they stand on chain, key roles, proofs;
//! * [`market`]: slots, verdicts, observations, probe messages and the traits through which the
//!   market pallets talk to one another;
//! * [`merkle`], [`receipt`]: how receipts stand under the root of a report, and what reports hide;
//! * [`trust`]: a node's score, as other modules ask for it.
//!
//! # Correctness
//! Every encoding here is SCALE and is part of the chain's format: a change is a new runtime version.

pub mod account;
pub mod deal;
pub mod evidence;
pub mod governance;
pub mod key;
pub mod market;
pub mod merkle;
pub mod probe;
pub mod receipt;
pub mod trust;

pub use account::{AccountId, Balance, BlockNumber, Hash, Moment, Nonce};
pub use key::{KeyProof, KeyRole, MlDsa65PublicKey, MlDsa65Signature};
