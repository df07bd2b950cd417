//! Weights of the identity calls, the ML-DSA-65 check of their proofs included.
//!
//! Measured: development profile (conservative), 2 cores, AMD EPYC, RocksDB-backed state; see `weigh`.
//!
//! The numbers cover reads, writes and the writes' share of the state root. `weigh` of `x0-executor`
//! rewrites them.

use core::marker::PhantomData;
use frame_support::weights::Weight;

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

/// Measured weights of a runtime `T`.
pub struct MeasuredWeight<T>(PhantomData<T>);

impl<T> WeightInfo for MeasuredWeight<T> {
    fn register_account_key() -> Weight {
        Weight::from_parts(142_000_000, 0)
    }
    fn rotate_account_key() -> Weight {
        Weight::from_parts(95_000_000, 0)
    }
    fn register_agent() -> Weight {
        Weight::from_parts(147_000_000, 0)
    }
    fn add_key() -> Weight {
        Weight::from_parts(156_000_000, 0)
    }
    fn rotate_key() -> Weight {
        Weight::from_parts(79_000_000, 0)
    }
    fn revoke_key() -> Weight {
        Weight::from_parts(83_000_000, 0)
    }
    fn set_endpoint() -> Weight {
        Weight::from_parts(17_000_000, 0)
    }
    fn revoke() -> Weight {
        Weight::from_parts(164_000_000, 0)
    }
}
