//! Weights of the governance calls and hooks: estimates from their reads and writes at the largest
//! components, at 3 µs for a read and 10 µs for a write.

use core::marker::PhantomData;
use frame_support::weights::Weight;

/// What governance costs.
pub trait WeightInfo {
    /// `propose`, `propose_noted`, `kill`; `n` is the length of the call in bytes.
    fn propose(n: u32) -> Weight;
    /// `withdraw`.
    fn close() -> Weight;
    /// `vote`, cast again for `d` delegators.
    fn vote(d: u32) -> Weight;
    /// `commit_vote`.
    fn commit() -> Weight;
    /// `reveal_vote`, cast again for `d` delegators.
    fn reveal(d: u32) -> Weight;
    /// `delegate`, `undelegate`, `set_track`.
    fn delegate() -> Weight;
    /// `contest`.
    fn contest() -> Weight;
    /// The hook when nothing is due.
    fn hook_base() -> Weight;
    /// One transition in the hook.
    fn transition() -> Weight;
    /// One removed entry in the hook.
    fn cleaned() -> Weight;
    /// One attempt to carry out a call of `n` bytes, without the call's own weight.
    fn enact(n: u32) -> Weight;
}

/// Estimated weights of a runtime `T`.
pub struct MeasuredWeight<T>(PhantomData<T>);

const READ: u64 = 3_000_000;
const WRITE: u64 = 10_000_000;

const fn storage(reads: u64, writes: u64) -> Weight {
    Weight::from_parts(10_000_000 + READ * reads + WRITE * writes, 0)
}

impl<T> WeightInfo for MeasuredWeight<T> {
    fn propose(n: u32) -> Weight {
        storage(10, 10).saturating_add(Weight::from_parts(20_000, 0).saturating_mul(n.into()))
    }
    fn close() -> Weight {
        storage(8, 10)
    }
    fn vote(d: u32) -> Weight {
        storage(12, 6).saturating_add(Weight::from_parts(3 * READ + 2 * WRITE + 3_000_000, 0).saturating_mul(d.into()))
    }
    fn commit() -> Weight {
        storage(6, 2)
    }
    fn reveal(d: u32) -> Weight {
        Self::vote(d).saturating_add(storage(3, 1))
    }
    fn delegate() -> Weight {
        storage(6, 3)
    }
    fn contest() -> Weight {
        storage(6, 6).saturating_add(Weight::from_parts(20_000_000, 0))
    }
    fn hook_base() -> Weight {
        Weight::from_parts(16_000_000, 0)
    }
    fn transition() -> Weight {
        // A transition that frees a place also begins the next ballot.
        storage(16, 24)
    }
    fn cleaned() -> Weight {
        Weight::from_parts(READ + WRITE, 0)
    }
    fn enact(n: u32) -> Weight {
        storage(8, 12).saturating_add(Weight::from_parts(10_000, 0).saturating_mul(n.into()))
    }
}
