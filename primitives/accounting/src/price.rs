//! Prices that depend on how much of a node is taken: steps, no slopes, so that a price can be checked
//! by reading the listing.

use core::cmp::Ordering;

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

use crate::{PPM, Rate, cmp_products};

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
    steps.iter().all(|step| step.from_ppm <= PPM && is_factor(step.factor_ppm))
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
    steps.iter().rev().find(|step| step.from_ppm <= occupancy_ppm).map_or(PPM, |step| step.factor_ppm)
}

/// How much of a capacity is taken: `floor(taken * 10^6 / whole)`, at most the whole, and the whole for a
/// capacity of 0. Floored in favour of the renter, whose price it sets.
#[must_use]
pub fn occupancy_ppm(taken: u32, whole: u32) -> u32 {
    let taken = u64::from(taken.min(whole)) * u64::from(PPM);
    taken.checked_div(u64::from(whole)).and_then(|ppm| u32::try_from(ppm).ok()).unwrap_or(PPM)
}

/// The price of a part of what a list price prices, times each factor: exact, in lowest terms, so that
/// nothing is rounded before the bill. `None` when a part, the whole or a factor is zero, or a product does
/// not fit.
#[must_use]
pub fn price(list: &Rate, part: u32, whole: u32, factors_ppm: &[u32]) -> Option<Rate> {
    let share = list.scaled(part, whole)?;
    factors_ppm.iter().try_fold(share, |rate, factor| rate.times_ppm(*factor))
}

/// Whether a price is at most another one: compared as products, without a division.
#[must_use]
pub fn is_at_most(price: &Rate, most: &Rate) -> bool {
    cmp_products(price.num, most.den, most.num, price.den) != Ordering::Greater
}
