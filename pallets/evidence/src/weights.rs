//! Weight of the report of evidence.
//!
//! Made of parts that are measured for other calls (two signature checks; a change of the set with its
//! hooks), development profile, 2 cores, AMD EPYC.

use core::marker::PhantomData;
use frame_support::weights::Weight;

/// Weight of the call of this module; `n` is the size of the set.
pub trait WeightInfo {
    /// `report`.
    fn report(n: u32) -> Weight;
}

/// Measured weights of a runtime `T`.
pub struct MeasuredWeight<T>(PhantomData<T>);

impl<T> WeightInfo for MeasuredWeight<T> {
    fn report(n: u32) -> Weight {
        // Two checks of 75 us each, and four writes; then as `change_one` of the validator module.
        Weight::from_parts(250_000_000, 0).saturating_add(Weight::from_parts(3_200_000, 0).saturating_mul(n.into()))
    }
}
