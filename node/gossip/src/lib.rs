//! Spreads transactions between the mempools of the network.
//!
//! This crate exists so that a transaction that enters at one node soon waits at every proposer,
//! without crossing a link more often than it must: with post-quantum signatures a transfer has
//! 5 kB, and flooding would carry it over every link of a full mesh.
//!
//! ```text
//!   own transaction  --whole, at once--> peers (all of a small network, some of a large one)
//!                    --hash, a moment later--> the other peers ---ask---> whole, once
//!   transaction from a peer --> mempool checks it --hash--> some peers that do not seem to have it
//!   new peer         <--hashes of what waits here--
//! ```
//!
//! # Correctness
//! * Nothing is passed on, not even its hash, before the own mempool has admitted it.
//! * A hash is asked of one peer at a time, and of another that named it when the first stays silent.
//! * Refusals that depend on the moment (nonces, balances, full pools, eras) are nobody's fault. Only
//!   frames that do not decode and signatures that do not verify count as offences, and the latter
//!   only beyond what honest nodes send around an upgrade.
//!
//! # Limits
//! The `GOSSIP_*` constants of `x0-limits`: hashes, transactions and bytes per frame, checks and
//! questions per peer, memory of who has what.
//!
//! # Errors
//! Spreading has none of its own: what a peer does wrong goes to its account at the carrier, and what
//! a mempool refuses is counted in [`GossipStats`].
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

mod core;
mod memory;
mod runner;
mod stats;
mod wire;

#[cfg(test)]
mod tests;

pub use runner::{Gossip, Pool, Verdict, start};
pub use stats::GossipStats;
pub use wire::reads_back;
