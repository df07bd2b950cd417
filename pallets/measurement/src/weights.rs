//! Weights of measuring: estimates until the runtime's measuring tool overwrites them.

use core::marker::PhantomData;
use frame_support::{traits::Get, weights::Weight};

/// Weight of the hook's fixed part, picoseconds.
const HOOK_PS: u64 = 20_000_000;
/// Weight of loading all reports of one slot, picoseconds.
const LOAD_PS: u64 = 500_000_000;
/// Weight of one unit of slot work, picoseconds (without its storage access).
const UNIT_PS: u64 = 60_000_000;
/// Weight of taking in a report, picoseconds.
const REPORT_PS: u64 = 80_000_000;
/// Weight of one byte of observations, picoseconds.
const BYTE_PS: u64 = 2_000;

/// Weight of each call and hook of this module.
pub trait WeightInfo {
    /// `report` with this many bytes of observations.
    fn report(bytes: u32) -> Weight;
    /// The block hooks, in which this many slots with reports were loaded and this many units of
    /// slot work done.
    fn close(loads: u32, units: u32) -> Weight;
}

/// Weights for a runtime with the database weights of `T`.
pub struct MeasuredWeight<T>(PhantomData<T>);

impl<T: frame_system::Config> WeightInfo for MeasuredWeight<T> {
    fn report(bytes: u32) -> Weight {
        Weight::from_parts(REPORT_PS.saturating_add(BYTE_PS.saturating_mul(bytes.into())), 0)
            .saturating_add(T::DbWeight::get().reads_writes(9, 2))
    }
    fn close(loads: u32, units: u32) -> Weight {
        let (loads, units) = (u64::from(loads), u64::from(units));
        let picoseconds =
            HOOK_PS.saturating_add(LOAD_PS.saturating_mul(loads)).saturating_add(UNIT_PS.saturating_mul(units));
        let reads = 8u64
            .saturating_add(loads.saturating_mul(u64::from(x0_limits::VALIDATORS_MAX).saturating_mul(2)))
            .saturating_add(units.saturating_mul(5));
        let writes = 3u64
            .saturating_add(loads.saturating_mul(u64::from(x0_limits::VALIDATORS_MAX)))
            .saturating_add(units.saturating_mul(4));
        Weight::from_parts(picoseconds, 0).saturating_add(T::DbWeight::get().reads_writes(reads, writes))
    }
}
