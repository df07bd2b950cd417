//! Weights of the marketplace's calls.
//!
//! Measured: development profile (conservative), 2 cores, AMD EPYC, RocksDB-backed state; see `weigh`.
//!
//! The numbers cover reads, writes and the writes' share of the state root. `weigh` of `x0-executor`
//! rewrites them.

use core::marker::PhantomData;
use frame_support::weights::Weight;

/// What the marketplace's calls cost.
pub trait WeightInfo {
    /// [`crate::Pallet::list`].
    fn list() -> Weight;
    /// [`crate::Pallet::update_listing`].
    fn update_listing() -> Weight;
    /// [`crate::Pallet::retire`].
    fn retire() -> Weight;
    /// [`crate::Pallet::rent`].
    fn rent() -> Weight;
    /// [`crate::Pallet::confirm`].
    fn confirm() -> Weight;
    /// [`crate::Pallet::settle`].
    fn settle() -> Weight;
    /// [`crate::Pallet::cancel`].
    fn cancel() -> Weight;
    /// [`crate::Pallet::set_parameters`].
    fn set_parameters() -> Weight;
    /// One deal that starts or ends in the closing of a slot.
    fn slot_unit() -> Weight;
    /// One verdict on a node with its full number of deals.
    fn verdict() -> Weight;
}

/// Measured weights of a runtime `T`.
pub struct MeasuredWeight<T>(PhantomData<T>);

impl<T> WeightInfo for MeasuredWeight<T> {
    fn list() -> Weight {
        Weight::from_parts(121_000_000, 0)
    }
    fn update_listing() -> Weight {
        Weight::from_parts(17_000_000, 0)
    }
    fn retire() -> Weight {
        Weight::from_parts(109_000_000, 0)
    }
    fn rent() -> Weight {
        Weight::from_parts(137_000_000, 0)
    }
    fn confirm() -> Weight {
        Weight::from_parts(147_000_000, 0)
    }
    fn settle() -> Weight {
        Weight::from_parts(119_000_000, 0)
    }
    fn cancel() -> Weight {
        Weight::from_parts(259_000_000, 0)
    }
    fn set_parameters() -> Weight {
        Weight::from_parts(7_000_000, 0)
    }
    fn slot_unit() -> Weight {
        Weight::from_parts(103_000_000, 0)
    }
    fn verdict() -> Weight {
        Weight::from_parts(509_000_000, 0)
    }
}

impl WeightInfo for () {
    fn list() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn update_listing() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn retire() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn rent() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn confirm() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn settle() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn cancel() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn set_parameters() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn slot_unit() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn verdict() -> Weight {
        Weight::from_parts(1, 0)
    }
}
