//! Products of 256 bits: nothing that fits after the division is lost before it.

use core::cmp::Ordering;

use crate::Amount;

/// One million: parts per million are the unit of every share in the market.
pub const PPM: u32 = 1_000_000;

/// The lower half of 128 bits.
const LOW: u128 = u64::MAX as u128;

/// `a * b` as its upper and lower 128 bits.
const fn wide_mul(a: u128, b: u128) -> (u128, u128) {
    let (a1, a0) = (a >> 64, a & LOW);
    let (b1, b0) = (b >> 64, b & LOW);
    let (low, left, right) = (a0 * b0, a1 * b0, a0 * b1);
    // At most three summands below 2^64.
    let middle = (low >> 64) + (left & LOW) + (right & LOW);
    let high = a1 * b1 + (left >> 64) + (right >> 64) + (middle >> 64);
    (high, (middle << 64) + (low & LOW))
}

/// Quotient and remainder of `(high * 2^128 + low) / divisor`, for `high < divisor`: one bit of the
/// quotient at a time.
const fn wide_div(high: u128, low: u128, divisor: u128) -> (u128, u128) {
    let (mut rest, mut quotient) = (high, 0u128);
    let mut bit = 128u32;
    while bit != 0 {
        bit -= 1;
        // The remainder has 129 bits for a moment: the one that is shifted out counts.
        let carried = rest >> 127 == 1;
        rest = (rest << 1) + ((low >> bit) & 1);
        quotient <<= 1;
        if carried || rest >= divisor {
            rest = rest.wrapping_sub(divisor);
            quotient += 1;
        }
    }
    (quotient, rest)
}

/// Quotient and remainder of `a * b / c`; `None` when `c` is zero or the quotient does not fit.
pub(crate) const fn mul_div_rem(a: Amount, b: Amount, c: Amount) -> Option<(Amount, Amount)> {
    if c == 0 {
        return None;
    }
    let (high, low) = wide_mul(a, b);
    if high == 0 {
        return Some((low / c, low % c));
    }
    if high >= c {
        return None;
    }
    Some(wide_div(high, low, c))
}

/// `floor(a * b / c)` over a 256-bit product; `None` when `c` is zero or the result does not fit.
#[must_use]
pub const fn mul_div_floor(a: Amount, b: Amount, c: Amount) -> Option<Amount> {
    match mul_div_rem(a, b, c) {
        Some((quotient, _)) => Some(quotient),
        None => None,
    }
}

/// `ceil(a * b / c)` over a 256-bit product; `None` when `c` is zero or the result does not fit.
#[must_use]
pub const fn mul_div_ceil(a: Amount, b: Amount, c: Amount) -> Option<Amount> {
    match mul_div_rem(a, b, c) {
        Some((quotient, 0)) => Some(quotient),
        Some((quotient, _)) => quotient.checked_add(1),
        None => None,
    }
}

/// Compares `a * b` with `c * d` exactly: how shares are compared without a division.
#[must_use]
pub fn cmp_products(a: u128, b: u128, c: u128, d: u128) -> Ordering {
    wide_mul(a, b).cmp(&wide_mul(c, d))
}

/// `floor(amount * ppm / 1_000_000)`. A share above the whole counts as the whole, so the result
/// never exceeds `amount`.
#[must_use]
pub fn share_floor(amount: Amount, ppm: u32) -> Amount {
    mul_div_floor(amount, Amount::from(ppm.min(PPM)), Amount::from(PPM)).unwrap_or(amount)
}

/// `ceil(amount * ppm / 1_000_000)`. A share above the whole counts as the whole, so the result
/// never exceeds `amount`.
#[must_use]
pub fn share_ceil(amount: Amount, ppm: u32) -> Amount {
    mul_div_ceil(amount, Amount::from(ppm.min(PPM)), Amount::from(PPM)).unwrap_or(amount)
}
