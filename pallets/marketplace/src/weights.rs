//! Weights of the marketplace's calls.
//!
//! The numbers are estimates until the runtime's measuring tool overwrites them; each counts the
//! call's reads and writes and a share for hashing and encoding.

use core::marker::PhantomData;
use frame_support::{traits::Get, weights::Weight};

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

/// Estimates, see the module's text.
pub struct MeasuredWeight<T>(PhantomData<T>);

impl<T: frame_system::Config> MeasuredWeight<T> {
    fn estimate(time_ps: u64, reads: u64, writes: u64) -> Weight {
        Weight::from_parts(time_ps, 0).saturating_add(T::DbWeight::get().reads_writes(reads, writes))
    }
}

impl<T: frame_system::Config> WeightInfo for MeasuredWeight<T> {
    fn list() -> Weight {
        Self::estimate(60_000_000, 10, 8)
    }
    fn update_listing() -> Weight {
        Self::estimate(20_000_000, 2, 1)
    }
    fn retire() -> Weight {
        Self::estimate(60_000_000, 8, 8)
    }
    fn rent() -> Weight {
        Self::estimate(80_000_000, 12, 12)
    }
    fn confirm() -> Weight {
        Self::estimate(90_000_000, 14, 14)
    }
    fn settle() -> Weight {
        Self::estimate(110_000_000, 10, 8)
    }
    fn cancel() -> Weight {
        Self::estimate(200_000_000, 18, 20)
    }
    fn set_parameters() -> Weight {
        Self::estimate(8_000_000, 1, 1)
    }
    fn slot_unit() -> Weight {
        Self::estimate(40_000_000, 6, 6)
    }
    fn verdict() -> Weight {
        let deals = u64::from(x0_limits::DEALS_PER_NODE_MAX);
        Self::estimate(30_000_000 * deals, 3 + 3 * deals, 4 * deals)
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
