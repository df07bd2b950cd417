//! Weights of the registry's calls and hook: estimates from their reads and writes at the largest
//! components, at 3 µs for a read and 10 µs for a write.

use core::marker::PhantomData;
use frame_support::weights::Weight;

/// What the registry costs.
pub trait WeightInfo {
    /// `apply`, `apply_change`, `accuse`; `n` accounts.
    fn open(n: u32) -> Weight;
    /// `attest` with everything that the last attestation does; `n` accounts.
    fn attest(n: u32) -> Weight;
    /// `withdraw`.
    fn close() -> Weight;
    /// `reinstate`, `set_epoch_slots`.
    fn change() -> Weight;
    /// The hook when nothing is due.
    fn hook_base() -> Weight;
    /// One closed motion in the hook.
    fn expire() -> Weight;
}

/// Estimated weights of a runtime `T`.
pub struct MeasuredWeight<T>(PhantomData<T>);

const READ: u64 = 3_000_000;
const WRITE: u64 = 10_000_000;

const fn storage(reads: u64, writes: u64) -> Weight {
    Weight::from_parts(10_000_000 + READ * reads + WRITE * writes, 0)
}

impl<T> WeightInfo for MeasuredWeight<T> {
    fn open(n: u32) -> Weight {
        storage(8, 5).saturating_add(Weight::from_parts(READ + 1_000_000, 0).saturating_mul(n.into()))
    }
    fn attest(n: u32) -> Weight {
        storage(10, 10).saturating_add(Weight::from_parts(2 * READ + 2 * WRITE, 0).saturating_mul(n.into()))
    }
    fn close() -> Weight {
        storage(4, 6)
    }
    fn change() -> Weight {
        storage(4, 3)
    }
    fn hook_base() -> Weight {
        storage(3, 2)
    }
    fn expire() -> Weight {
        storage(4, 6)
    }
}
