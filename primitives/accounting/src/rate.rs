//! Prices per good slot.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

use crate::{Amount, PPM, Slots, mul_div_ceil, mul_div_floor};

/// A price: `num / den` base units for each good slot.
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
pub struct Rate {
    /// Base units for `den` good slots; at least 1.
    pub num: Amount,
    /// Good slots for which `num` is the price; at least 1.
    pub den: Amount,
}

impl Rate {
    /// Whether both parts are positive.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.num > 0 && self.den > 0
    }

    /// What this many good slots cost: floored once, in favour of the renter. `None` for a zero
    /// denominator or an amount beyond 128 bits.
    #[must_use]
    pub fn amount_floor(&self, good_slots: Slots) -> Option<Amount> {
        mul_div_floor(Amount::from(good_slots), self.num, self.den)
    }

    /// What covers this many good slots for certain: ceiled. `None` for a zero denominator or an
    /// amount beyond 128 bits.
    #[must_use]
    pub fn amount_ceil(&self, good_slots: Slots) -> Option<Amount> {
        mul_div_ceil(Amount::from(good_slots), self.num, self.den)
    }

    /// Good slots that a deposit affords: floored, at most [`u64::MAX`], 0 for an invalid rate.
    #[must_use]
    pub fn affordable_slots(&self, deposit: Amount) -> Slots {
        if !self.is_valid() {
            return 0;
        }
        // A count beyond 128 bits is beyond 64 bits too.
        mul_div_floor(deposit, self.den, self.num).map_or(u64::MAX, |slots| u64::try_from(slots).unwrap_or(u64::MAX))
    }

    /// What a deposit owes after this many good slots: never more than the deposit, because it stops
    /// at the last affordable slot.
    #[must_use]
    pub fn accrued(&self, deposit: Amount, good_slots: Slots) -> Amount {
        // min(good, floor(D*den/num)) * num/den <= D, so the product always fits.
        self.amount_floor(good_slots.min(self.affordable_slots(deposit))).unwrap_or(0)
    }

    /// The price of a part of what this rate prices: `rate * part / whole`, in lowest terms. `None`
    /// when a part or the whole is zero or a product does not fit.
    #[must_use]
    pub fn scaled(&self, part: u32, whole: u32) -> Option<Self> {
        if part == 0 || whole == 0 || !self.is_valid() {
            return None;
        }
        let num = self.num.checked_mul(Amount::from(part))?;
        let den = self.den.checked_mul(Amount::from(whole))?;
        let divisor = gcd(num, den);
        Some(Self { num: num / divisor, den: den / divisor })
    }

    /// This price times a factor in parts per million, which may be above or below one. `None` when
    /// the factor is zero or a product does not fit.
    #[must_use]
    pub fn times_ppm(&self, factor_ppm: u32) -> Option<Self> {
        self.scaled(factor_ppm, PPM)
    }
}

/// The greatest common divisor of two positive numbers.
const fn gcd(mut a: Amount, mut b: Amount) -> Amount {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
