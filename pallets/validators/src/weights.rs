//! Weights of the validator calls and hooks.
//!
//! Measured: development profile (conservative), 2 cores, AMD EPYC, RocksDB-backed state; see `weigh`.
//!
//! The numbers cover reads, writes and the writes' share of the state root. `weigh` of `x0-executor`
//! rewrites them; what it measures of approvals, candidates and the idle hook is rounded up here to what
//! the longest lists and the proposer's record add.

use core::marker::PhantomData;
use frame_support::weights::Weight;

/// Weight of each call and hook of this module; `n` is the size of the set.
pub trait WeightInfo {
    /// `set_validators`.
    fn set_validators(n: u32) -> Weight;
    /// `add_validator`, `remove_validator`, `set_power`, `refresh_consensus_key`, `leave`.
    fn change_one(n: u32) -> Weight;
    /// `approve` without the call, `withdraw_approval`; `n` is the size of the call in bytes.
    fn approve(n: u32) -> Weight;
    /// `admit_candidate`, `dismiss_candidate`, `readmit`.
    fn candidate() -> Weight;
    /// The block hooks when no set changes: the proposer is counted.
    fn idle_hook() -> Weight;
    /// The block hooks when a set comes into force or is announced.
    fn change_hook(n: u32) -> Weight;
    /// What each open proposal adds to [`WeightInfo::change_hook`].
    fn change_hook_proposal() -> Weight;
}

/// Measured weights of a runtime `T`.
pub struct MeasuredWeight<T>(PhantomData<T>);

impl<T> WeightInfo for MeasuredWeight<T> {
    fn set_validators(n: u32) -> Weight {
        Weight::from_parts(30_353_535, 0).saturating_add(Weight::from_parts(6_646_465, 0).saturating_mul(n.into()))
    }
    fn change_one(n: u32) -> Weight {
        Weight::from_parts(5_868_686, 0).saturating_add(Weight::from_parts(3_131_314, 0).saturating_mul(n.into()))
    }
    fn approve(n: u32) -> Weight {
        Weight::from_parts(40_000_000, 0).saturating_add(Weight::from_parts(5_000, 0).saturating_mul(n.into()))
    }
    fn candidate() -> Weight {
        Weight::from_parts(30_000_000, 0)
    }
    fn idle_hook() -> Weight {
        Weight::from_parts(20_000_000, 0)
    }
    fn change_hook(n: u32) -> Weight {
        Weight::from_parts(900_000_000, 0).saturating_add(Weight::from_parts(10_000_000, 0).saturating_mul(n.into()))
    }
    fn change_hook_proposal() -> Weight {
        Weight::from_parts(20_000_000, 0)
    }
}
