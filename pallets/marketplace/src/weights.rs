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
    /// [`crate::Pallet::request`].
    fn request() -> Weight;
    /// [`crate::Pallet::bid`], with the bid that it replaces returned.
    fn bid() -> Weight;
    /// [`crate::Pallet::accept`], with the most other bids.
    fn accept() -> Weight;
    /// [`crate::Pallet::withdraw_request`], with the most bids.
    fn withdraw_request() -> Weight;
    /// [`crate::Pallet::set_agents`].
    fn set_agents() -> Weight;
    /// [`crate::Pallet::refresh_listing`].
    fn refresh_listing() -> Weight;
    /// [`crate::Pallet::block`] and [`crate::Pallet::unblock`], with a full list.
    fn block() -> Weight;
    /// [`crate::Pallet::top_up`].
    fn top_up() -> Weight;
    /// [`crate::Pallet::set_renewal`].
    fn set_renewal() -> Weight;
    /// [`crate::Pallet::reclaim`].
    fn reclaim() -> Weight;
    /// [`crate::Pallet::announce_maintenance`].
    fn announce_maintenance() -> Weight;
    /// [`crate::Pallet::dispute`].
    fn dispute() -> Weight;
    /// [`crate::Pallet::rule`].
    fn rule() -> Weight;
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
    fn request() -> Weight {
        Weight::from_parts(150_000_000, 0)
    }
    fn bid() -> Weight {
        Weight::from_parts(210_000_000, 0)
    }
    fn accept() -> Weight {
        Weight::from_parts(1_400_000_000, 0)
    }
    fn withdraw_request() -> Weight {
        Weight::from_parts(1_420_000_000, 0)
    }
    fn set_agents() -> Weight {
        Weight::from_parts(60_000_000, 0)
    }
    fn refresh_listing() -> Weight {
        Weight::from_parts(40_000_000, 0)
    }
    fn block() -> Weight {
        Weight::from_parts(75_000_000, 0)
    }
    fn top_up() -> Weight {
        Weight::from_parts(150_000_000, 0)
    }
    fn set_renewal() -> Weight {
        Weight::from_parts(150_000_000, 0)
    }
    fn reclaim() -> Weight {
        Weight::from_parts(90_000_000, 0)
    }
    fn announce_maintenance() -> Weight {
        Weight::from_parts(30_000_000, 0)
    }
    fn dispute() -> Weight {
        Weight::from_parts(140_000_000, 0)
    }
    fn rule() -> Weight {
        Weight::from_parts(90_000_000, 0)
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
    fn request() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn bid() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn accept() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn withdraw_request() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn set_agents() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn refresh_listing() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn block() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn top_up() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn set_renewal() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn reclaim() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn announce_maintenance() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn dispute() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn rule() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn slot_unit() -> Weight {
        Weight::from_parts(1, 0)
    }
    fn verdict() -> Weight {
        Weight::from_parts(1, 0)
    }
}
