//! Weights of the janitor's block hook and call.
//!
//! Measured: development profile (conservative), 2 cores, AMD EPYC, RocksDB-backed state; see `weigh`.
//!
//! The numbers cover reads, writes and the writes' share of the state root. `weigh` of `x0-executor`
//! rewrites them.

use core::marker::PhantomData;
use frame_support::weights::Weight;

/// What the janitor's work costs.
pub trait WeightInfo {
    /// The hook without entries: reading the heads of both queues.
    fn on_initialize_base() -> Weight;
    /// One entry in the hook, the deal's whole pay-out included.
    fn entry() -> Weight;
    /// The call [`crate::Pallet::retry`].
    fn retry() -> Weight;
}

/// Measured weights of a runtime `T`.
pub struct MeasuredWeight<T>(PhantomData<T>);

impl<T> WeightInfo for MeasuredWeight<T> {
    fn on_initialize_base() -> Weight {
        Weight::from_parts(7_000_000, 0)
    }
    fn entry() -> Weight {
        Weight::from_parts(142_281_250, 0)
    }
    fn retry() -> Weight {
        Weight::from_parts(34_000_000, 0)
    }
}

impl WeightInfo for () {
    fn on_initialize_base() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn entry() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn retry() -> Weight {
        Weight::from_parts(1, 0)
    }
}
