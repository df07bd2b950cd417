//! Prices that depend on how much of a node is taken: steps, no slopes, so that a price can be checked
//! by reading the listing.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// The factor 1, parts per million.
pub const UNIT_PPM: u32 = 1_000_000;

/// From which occupancy on a listing's price is multiplied by which factor.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct CongestionStep {
    /// The occupancy at which the step begins, ppm of the capacity; the step includes it.
    pub from_ppm: u32,
    /// The factor from there on, ppm.
    pub factor_ppm: u32,
}

/// Whether steps rise strictly in occupancy, begin inside the whole, and have factors within
/// [`x0_limits::PRICE_FACTOR_PPM_MIN`] and [`x0_limits::PRICE_FACTOR_PPM_MAX`] that never fall.
#[must_use]
pub fn is_curve(steps: &[CongestionStep]) -> bool {
    steps.iter().all(|step| step.from_ppm <= UNIT_PPM && is_factor(step.factor_ppm))
        && steps
            .iter()
            .zip(steps.iter().skip(1))
            .all(|(low, high)| low.from_ppm < high.from_ppm && low.factor_ppm <= high.factor_ppm)
}

/// Whether this is a factor that a price may be multiplied by.
#[must_use]
pub const fn is_factor(ppm: u32) -> bool {
    ppm >= x0_limits::PRICE_FACTOR_PPM_MIN && ppm <= x0_limits::PRICE_FACTOR_PPM_MAX
}

/// The factor at an occupancy: that of the last step that begins at or below it, 1 before the first.
#[must_use]
pub fn congestion_factor_ppm(steps: &[CongestionStep], occupancy_ppm: u32) -> u32 {
    steps.iter().rev().find(|step| step.from_ppm <= occupancy_ppm).map_or(UNIT_PPM, |step| step.factor_ppm)
}

/// How much of a capacity is taken: `floor(taken * 10^6 / whole)`, at most the whole, and the whole for a
/// capacity of 0. Floored in favour of the renter, whose price it sets.
#[must_use]
pub fn occupancy_ppm(taken: u32, whole: u32) -> u32 {
    let taken = u64::from(taken.min(whole)) * u64::from(UNIT_PPM);
    taken.checked_div(u64::from(whole)).and_then(|ppm| u32::try_from(ppm).ok()).unwrap_or(UNIT_PPM)
}
