//! Weights of measuring.
//!
//! Measured: development profile (conservative), 2 cores, AMD EPYC, RocksDB-backed state; see `weigh`.
//!
//! Those of commitments, challenges and complaints, and what the hook does in each block beside closing, are
//! estimates from reads, writes and signatures at their largest; `weigh` measures the rest.
//!
//! The numbers cover reads, writes and the writes' share of the state root, and a unit of slot work
//! also a verdict that ends all deals of a node. `weigh` of `x0-executor` rewrites them.

use core::marker::PhantomData;
use frame_support::weights::Weight;

/// Weight of each call and hook of this module.
pub trait WeightInfo {
    /// `commit_report`.
    fn commit_report() -> Weight;
    /// `reveal_report` with this many bytes of observations.
    fn reveal_report(bytes: u32) -> Weight;
    /// `challenge`, with as many open ones as there can be.
    fn challenge() -> Weight;
    /// `answer_challenge`, with as many open ones as there can be.
    fn answer_challenge() -> Weight;
    /// `complain`, in a set of the largest size.
    fn complain() -> Weight;
    /// `record_usage`.
    fn record_usage() -> Weight;
    /// `set_parameters`.
    fn set_parameters() -> Weight;
    /// The block hooks, in which this many slots with reports were loaded and this many units of
    /// slot work done.
    fn close(loads: u32, units: u32) -> Weight;
}

/// Measured weights of a runtime `T`.
pub struct MeasuredWeight<T>(PhantomData<T>);

impl<T> WeightInfo for MeasuredWeight<T> {
    fn commit_report() -> Weight {
        Weight::from_parts(40_000_000, 0)
    }
    fn reveal_report(bytes: u32) -> Weight {
        Weight::from_parts(45_000_000, 0).saturating_add(Weight::from_parts(1_954, 0).saturating_mul(bytes.into()))
    }
    fn challenge() -> Weight {
        Weight::from_parts(90_000_000, 0)
    }
    fn answer_challenge() -> Weight {
        Weight::from_parts(250_000_000, 0)
    }
    fn complain() -> Weight {
        Weight::from_parts(400_000_000, 0)
    }
    fn record_usage() -> Weight {
        Weight::from_parts(600_000_000, 0)
    }
    fn set_parameters() -> Weight {
        Weight::from_parts(15_000_000, 0)
    }
    fn close(loads: u32, units: u32) -> Weight {
        Weight::from_parts(450_000_000, 0)
            .saturating_add(Weight::from_parts(1_200_000_000, 0).saturating_mul(loads.into()))
            .saturating_add(Weight::from_parts(518_000_000, 0).saturating_mul(units.into()))
    }
}
