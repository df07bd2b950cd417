//! Weights of the validator calls: estimates until the runtime's measuring tool overwrites them.

use core::marker::PhantomData;
use frame_support::{traits::Get, weights::Weight};

/// Weight of a call's fixed part, picoseconds.
const BASE_PS: u64 = 50_000_000;
/// Weight of reading, checking and writing one validator of the set, picoseconds.
const VALIDATOR_PS: u64 = 12_000_000;

/// Weight of each call and hook of this module; `n` is the size of the set.
pub trait WeightInfo {
    /// `set_validators`.
    fn set_validators(n: u32) -> Weight;
    /// `add_validator`, `remove_validator`, `set_power`, `refresh_consensus_key`.
    fn change_one(n: u32) -> Weight;
    /// The block hooks when no set changes.
    fn idle_hook() -> Weight;
    /// The block hooks when a set comes into force or is announced.
    fn change_hook(n: u32) -> Weight;
}

/// Weights for a runtime with the database weights of `T`.
pub struct MeasuredWeight<T>(PhantomData<T>);

impl<T: frame_system::Config> WeightInfo for MeasuredWeight<T> {
    fn set_validators(n: u32) -> Weight {
        Weight::from_parts(BASE_PS.saturating_add(VALIDATOR_PS.saturating_mul(n.into())), 0)
            .saturating_add(T::DbWeight::get().reads_writes(u64::from(n).saturating_add(2), 2))
    }
    fn change_one(n: u32) -> Weight {
        Weight::from_parts(BASE_PS.saturating_add(VALIDATOR_PS.saturating_mul(n.into())), 0)
            .saturating_add(T::DbWeight::get().reads_writes(3, 2))
    }
    fn idle_hook() -> Weight {
        Weight::from_parts(BASE_PS, 0).saturating_add(T::DbWeight::get().reads(2))
    }
    fn change_hook(n: u32) -> Weight {
        Weight::from_parts(BASE_PS.saturating_add(VALIDATOR_PS.saturating_mul(n.into())), 0)
            .saturating_add(T::DbWeight::get().reads_writes(3, 4))
    }
}
