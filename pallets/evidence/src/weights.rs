//! Weight of the report of evidence.
//!
//! Measured: development profile (conservative), 2 cores, AMD EPYC, RocksDB-backed state; see `weigh`.
//!
//! The number covers both signature checks and the change of the largest set. `weigh` of `x0-executor`
//! rewrites it.

use core::marker::PhantomData;
use frame_support::weights::Weight;

/// Weight of the call of this module.
pub trait WeightInfo {
    /// `report`.
    fn report() -> Weight;
}

/// Measured weights of a runtime `T`.
pub struct MeasuredWeight<T>(PhantomData<T>);

impl<T> WeightInfo for MeasuredWeight<T> {
    fn report() -> Weight {
        Weight::from_parts(660_000_000, 0)
    }
}
