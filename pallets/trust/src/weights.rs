//! Weights of trust.
//!
//! Estimated from reads, writes and one signature check at their most; `weigh` of `x0-executor` rewrites them.

use core::marker::PhantomData;
use frame_support::weights::Weight;

/// Weight of each call and hook of this module.
pub trait WeightInfo {
    /// `attest`: a signature check, the node's record and its log.
    fn attest() -> Weight;
    /// Calls that write an auditor, an offence, a binary or the parameters.
    fn manage() -> Weight;
    /// `audit`, with the most audits and a conflict.
    fn audit() -> Weight;
    /// A block in which this many nodes were passed and this many conflicts ended.
    fn on_initialize(nodes: u32, conflicts: u32) -> Weight;
}

/// Weights of a runtime `T`.
pub struct MeasuredWeight<T>(PhantomData<T>);

impl<T> WeightInfo for MeasuredWeight<T> {
    fn attest() -> Weight {
        Weight::from_parts(260_000_000, 0)
    }
    fn manage() -> Weight {
        Weight::from_parts(90_000_000, 0)
    }
    fn audit() -> Weight {
        Weight::from_parts(180_000_000, 0)
    }
    fn on_initialize(nodes: u32, conflicts: u32) -> Weight {
        Weight::from_parts(15_000_000, 0)
            .saturating_add(Weight::from_parts(110_000_000, 0).saturating_mul(nodes.into()))
            .saturating_add(Weight::from_parts(180_000_000, 0).saturating_mul(conflicts.into()))
    }
}
