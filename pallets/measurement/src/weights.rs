//! Weights of measuring.
//!
//! Measured: development profile (conservative), 2 cores, AMD EPYC, RocksDB-backed state; see `weigh`.
//!
//! The numbers cover reads, writes and the writes' share of the state root, and a unit of slot work
//! also a verdict that ends all deals of a node. `weigh` of `x0-executor` rewrites them.

use core::marker::PhantomData;
use frame_support::weights::Weight;

/// Weight of each call and hook of this module.
pub trait WeightInfo {
    /// `report` with this many bytes of observations.
    fn report(bytes: u32) -> Weight;
    /// The block hooks, in which this many slots with reports were loaded and this many units of
    /// slot work done.
    fn close(loads: u32, units: u32) -> Weight;
}

/// Measured weights of a runtime `T`.
pub struct MeasuredWeight<T>(PhantomData<T>);

impl<T> WeightInfo for MeasuredWeight<T> {
    fn report(bytes: u32) -> Weight {
        Weight::from_parts(16_000_000, 0).saturating_add(Weight::from_parts(1_954, 0).saturating_mul(bytes.into()))
    }
    fn close(loads: u32, units: u32) -> Weight {
        Weight::from_parts(19_000_000, 0)
            .saturating_add(Weight::from_parts(583_000_000, 0).saturating_mul(loads.into()))
            .saturating_add(Weight::from_parts(518_000_000, 0).saturating_mul(units.into()))
    }
}
