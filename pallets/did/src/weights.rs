//! Weights of the identity calls.
//!
//! These are estimates until the measuring tool of the runtime overwrites this file. The ML-DSA-65
//! check is priced at 200 us, several times what it takes on the reference machine.

use core::marker::PhantomData;
use frame_support::{traits::Get, weights::Weight};

/// Weight of one ML-DSA-65 check with its hashing, picoseconds.
pub const ML_DSA_CHECK_PS: u64 = 200_000_000;
/// Weight of one hold or release, picoseconds (without its storage access).
const HOLD_PS: u64 = 30_000_000;
/// Weight of a call's fixed part, picoseconds.
const BASE_PS: u64 = 30_000_000;

/// Weight of each call of this module.
pub trait WeightInfo {
    /// `register_account_key`.
    fn register_account_key() -> Weight;
    /// `rotate_account_key`.
    fn rotate_account_key() -> Weight;
    /// `register_agent`.
    fn register_agent() -> Weight;
    /// `add_key`.
    fn add_key() -> Weight;
    /// `rotate_key`.
    fn rotate_key() -> Weight;
    /// `revoke_key`.
    fn revoke_key() -> Weight;
    /// `set_endpoint`.
    fn set_endpoint() -> Weight;
    /// `revoke`, with a key in every role.
    fn revoke() -> Weight;
}

/// Weights for a runtime with the database weights of `T`.
pub struct MeasuredWeight<T>(PhantomData<T>);

impl<T: frame_system::Config> MeasuredWeight<T> {
    fn of(ref_time_ps: u64, reads: u64, writes: u64) -> Weight {
        Weight::from_parts(ref_time_ps, 0).saturating_add(T::DbWeight::get().reads_writes(reads, writes))
    }
}

impl<T: frame_system::Config> WeightInfo for MeasuredWeight<T> {
    fn register_account_key() -> Weight {
        Self::of(BASE_PS + ML_DSA_CHECK_PS + 2 * HOLD_PS, 8, 5)
    }
    fn rotate_account_key() -> Weight {
        Self::of(BASE_PS + ML_DSA_CHECK_PS, 6, 3)
    }
    fn register_agent() -> Weight {
        Self::of(BASE_PS + ML_DSA_CHECK_PS + 2 * HOLD_PS, 8, 5)
    }
    fn add_key() -> Weight {
        Self::of(BASE_PS + ML_DSA_CHECK_PS + 2 * HOLD_PS, 8, 6)
    }
    fn rotate_key() -> Weight {
        Self::of(BASE_PS + ML_DSA_CHECK_PS, 6, 5)
    }
    fn revoke_key() -> Weight {
        Self::of(BASE_PS + HOLD_PS, 4, 5)
    }
    fn set_endpoint() -> Weight {
        Self::of(BASE_PS, 1, 1)
    }
    fn revoke() -> Weight {
        Self::of(BASE_PS + 7 * HOLD_PS, 10, 11)
    }
}
