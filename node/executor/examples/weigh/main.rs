//! Measures what the calls of our pallets and of balances cost, and writes the weights.
//!
//! ```text
//!   cargo run --release -p x0-executor --example weigh            prints the measurements
//!   cargo run --release -p x0-executor --example weigh -- write   also rewrites the weights.rs files
//! ```
//!
//! Every call runs natively, on a RocksDB-backed state of 10,000 accounts and 100 validators, at its
//! largest components, [`REPEATS`] times; the weight is the median of execution plus the call's
//! share of the state root, rounded up to whole microseconds. Linear components are measured at two
//! points. Signature checks of proofs are part of the calls; the check of the transaction's own
//! signature is part of the base weight of every extrinsic.
//!
//! Numbers of the development profile are larger than those of a release build, so weights from it
//! are safe, and fill blocks earlier than necessary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a tool for developers stops at what it did not expect"
)]

mod cases;
mod files;
mod world;

use std::time::Duration;

/// How often each call is measured.
pub const REPEATS: usize = 41;

/// A measured function.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The pallet's folder name.
    pub pallet: &'static str,
    /// The function of its `WeightInfo`.
    pub function: &'static str,
    /// What it costs.
    pub cost: Cost,
}

/// What a function costs, picoseconds.
#[derive(Clone, Debug)]
pub enum Cost {
    /// Always the same.
    Fixed(u64),
    /// A base and so much for each unit of each parameter, named as in the function.
    Linear(u64, Vec<(&'static str, u64)>),
}

fn main() {
    let write = std::env::args().nth(1).as_deref() == Some("write");
    let world = world::World::new();
    let measured = cases::all(&world);
    for Measured { pallet, function, cost } in &measured {
        println!("{pallet:12} {function:22} {cost:?}");
    }
    if write {
        files::write(&measured);
    }
}

/// The median in picoseconds, rounded up to whole microseconds.
pub fn median_ps(mut times: Vec<Duration>) -> u64 {
    times.sort();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    u64::try_from(median.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX).saturating_mul(1_000_000)
}
