//! The whole network in one thread, from a seed: finds forks, contradictions and standstills, and finds them again.
//!
//! ```text
//!   plan     seed -> validators, powers, changes, faults, liars
//!   world    queue of events in virtual time; bad phase, healing, good phase
//!     node     Malachite's core (real) + signer, log, host, edge (the node's own pure parts)
//!     network  loss, duplication, reordering, delay, cuts, partitions, bandwidth
//!     disk     torn logs, crashes between any two steps
//!   oracle   agreement, contradictions, validity, certificates, prefixes, evidence, rounds
//! ```
//!
//! # What is real and what is a model
//! Real: the engine's core and its write-ahead log (format and replay), the chain's `Context`, every byte on the wire
//! and in the log, certificates and their checks, the assembly of parts, the bookkeeping of undecided blocks, pacing,
//! proposer turns, timeouts. Modelled, step for step beside the code that they stand for: the engine's actor, the
//! node's host and edge, the guard without its files, the catching up (`node::sync`). Stand-ins: blocks (an agenda of
//! validator changes in place of transactions), the database (whole or not at all), and, in most runs,
//! signatures (a hash).
//!
//! # Correctness
//! * One seed gives one run: nothing reads the clock, the system's randomness or the order of a hash map. The hash of
//!   all events is compared in a test. Runs with ML-DSA signatures repeat their events, not their bytes.
//! * The oracle keeps its own books and checks signatures and powers itself. Tests break a rule on
//!   purpose ([`Sabotage`]) and demand that it notices.
//!
//! # Limits
//! Links lose and reorder more than TCP does, and nobody says own words again to a peer that comes back, which the node
//! does. The database is atomic; damage to it, and the check of a damaged log before the engine opens it, are tested elsewhere
//! (zeros at the end of a log are cut off here as there). After
//! the healing at most two validators, with less than a third of the power, are wrong for ever: three
//! proposers in a row that say nothing take three rounds by themselves.
//!
//! # Errors
//! A broken promise is a [`Violation`]; a panic of the code under test is one too.
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

mod disk;
mod event;
mod guard;
mod ledger;
mod network;
mod node;
mod oracle;
mod plan;
mod report;
mod scheme;
pub mod soak;
pub mod study;
mod world;

pub use disk::Tear;
pub use network::wire_bytes;
pub use oracle::Violation;
pub use plan::{Bandwidth, Change, NetworkFaults, NodeFaults, Permanent, Plan, Ppm, Sabotage};
pub use report::Report;
pub use world::run;

/// The command that shows a seed's run again.
#[must_use]
pub fn replay_command(seed: u64) -> String {
    format!("cargo run -p x0-simulation -- replay --seed {seed} --trace")
}
