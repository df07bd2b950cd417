//! Thresholds that fall with time, and shares compared without a division.

use core::cmp::Ordering;

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

use crate::{PPM, cmp_products};

/// Whether `part` is at least this share of `whole`. Nothing is at least any share of nothing.
#[must_use]
pub fn at_least_share(part: u64, whole: u64, ppm: u32) -> bool {
    cmp_products(part.into(), PPM.into(), whole.into(), ppm.into()) != Ordering::Less
}

/// Whether `part` is more than this share of `whole`.
#[must_use]
pub fn more_than_share(part: u64, whole: u64, ppm: u32) -> bool {
    cmp_products(part.into(), PPM.into(), whole.into(), ppm.into()) == Ordering::Greater
}

/// A threshold that falls in a straight line from `from_ppm` to `to_ppm` and then stays.
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
pub struct Curve {
    /// The share that is needed at the start, ppm.
    pub from_ppm: u32,
    /// The share that is needed from the end of the fall on, ppm; at most `from_ppm`.
    pub to_ppm: u32,
    /// Slots over which it falls; zero for a threshold that never was higher than `to_ppm`.
    pub over_slots: u64,
}

impl Curve {
    /// Whether the curve falls within the whole.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.from_ppm <= PPM && self.to_ppm <= self.from_ppm
    }

    /// Whether `part / whole` reaches the threshold of this many slots after the start. Both sides are
    /// multiplied out: `part * 10^6 * over >= whole * (from * over - (from - to) * at)`.
    #[must_use]
    pub fn is_reached(&self, part: u64, whole: u64, at_slot: u64) -> bool {
        if at_slot >= self.over_slots {
            return at_least_share(part, whole, self.to_ppm);
        }
        let over = u128::from(self.over_slots);
        let fall = u128::from(self.from_ppm.saturating_sub(self.to_ppm)) * u128::from(at_slot);
        let needed = (u128::from(self.from_ppm) * over).saturating_sub(fall);
        cmp_products(part.into(), u128::from(PPM) * over, whole.into(), needed) != Ordering::Less
    }

    /// The threshold of this many slots after the start, ppm, ceiled: for people to read.
    #[must_use]
    pub fn threshold_ppm(&self, at_slot: u64) -> u32 {
        if at_slot >= self.over_slots {
            return self.to_ppm;
        }
        let over = u128::from(self.over_slots);
        let fall = u128::from(self.from_ppm.saturating_sub(self.to_ppm)) * u128::from(at_slot) / over;
        // The fall is floored, so the threshold is ceiled.
        self.from_ppm.saturating_sub(u32::try_from(fall).unwrap_or(u32::MAX))
    }
}
