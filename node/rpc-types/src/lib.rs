//! JSON shapes of the node's RPC, shared by the node, the wallet and the agent.
//!
//! The crate has one reason to exist: both ends of the RPC read and write exactly the same JSON
//! without sharing any node code.
//!
//! ```text
//!   x0-node (x0-rpc) --- JSON ---> x0 (wallet), x0-agent, other programs
//!                 \                 /
//!                  +-- x0-rpc-types
//! ```
//!
//! * [`amount`] and [`bytes`]: numbers beyond 2^53 as decimal text, bytes as `0x` hex;
//! * [`did`]: `did:x0` and `did:key` text, Multikey text, W3C DID documents;
//! * [`market`]: listings, deals, meters and the solvency report;
//! * [`offers`]: searches, quotes, requests with bids, close reasons, proofs of refunds;
//! * [`governance`]: owners, credits, proposals, tallies;
//! * [`trust`]: scores and what they come from;
//! * [`validators`]: sets, candidates, proposals;
//! * [`chain`]: certificates, measuring status, account history, admission statistics;
//! * [`light`]: headers, set changes and proofs for clients that believe no node;
//! * [`node`]: the node's own links;
//! * [`error`]: the error codes of the RPC and the data that comes with a refused transaction.
//!
//! # Correctness
//! Every type round-trips through JSON without loss: amounts and counters that may exceed 2^53 are
//! decimal text, since many JSON readers hold numbers as IEEE doubles. Field names are camelCase.
//! Readers ignore fields that they do not know, so that a newer node can serve an older client.
//!
//! # Limits
//! Text that comes from outside is bounded before it is decoded: see [`did::MULTIKEY_TEXT_MAX`].
//!
//! # Errors
//! [`did::DidError`] names each rule that a DID or key text can break.
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

pub mod amount;
pub mod bytes;
pub mod chain;
pub mod did;
pub mod error;
pub mod governance;
pub mod light;
pub mod market;
pub mod multibase;
pub mod node;
pub mod notices;
pub mod offers;
pub mod trust;
pub mod validators;

pub use amount::{Amount, Number};
pub use bytes::HexBytes;

/// ALPN protocol name of the native post-quantum TLS listener; the genesis hash in hex follows it
/// after a slash, so that server and client of two chains never talk to one another.
pub const RPC_ALPN: &str = "x0-rpc/1";
