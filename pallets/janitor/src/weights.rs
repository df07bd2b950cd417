//! Weights of the janitor's block hook and call.
//!
//! The numbers are estimates until the runtime's measuring tool overwrites them; each says what it counts.

use core::marker::PhantomData;
use frame_support::{traits::Get, weights::Weight};

/// What the janitor's work costs.
pub trait WeightInfo {
    /// The hook without entries: reading the heads of both queues.
    fn on_initialize_base() -> Weight;
    /// One entry in the hook, the deal's whole pay-out included.
    fn entry() -> Weight;
    /// The call [`crate::Pallet::retry`].
    fn retry() -> Weight;
}

/// Estimates: reference time per entry from a pay-out of four transfers and two releases, plus the
/// reads and writes it makes.
pub struct MeasuredWeight<T>(PhantomData<T>);

impl<T: frame_system::Config> WeightInfo for MeasuredWeight<T> {
    fn on_initialize_base() -> Weight {
        Weight::from_parts(4_000_000, 0).saturating_add(T::DbWeight::get().reads(3))
    }
    fn entry() -> Weight {
        Weight::from_parts(180_000_000, 0).saturating_add(T::DbWeight::get().reads_writes(16, 18))
    }
    fn retry() -> Weight {
        Weight::from_parts(20_000_000, 0).saturating_add(T::DbWeight::get().reads_writes(2, 4))
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
