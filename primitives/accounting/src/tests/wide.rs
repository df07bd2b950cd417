//! 256-bit products against schoolbook arithmetic, bit by bit.

use core::cmp::Ordering;

use crate::*;
use proptest::prelude::*;

/// `a * b` as (high, low), by shifting and adding: shares no code with the crate.
fn product(a: u128, b: u128) -> (u128, u128) {
    let (mut high, mut low) = (0u128, 0u128);
    for bit in (0..128).rev() {
        high = (high << 1) | (low >> 127);
        low <<= 1;
        if (b >> bit) & 1 == 1 {
            let (sum, carry) = low.overflowing_add(a);
            low = sum;
            high += u128::from(carry);
        }
    }
    (high, low)
}

/// `a * b / c` and whether there is a rest, by long division.
fn quotient(a: u128, b: u128, c: u128) -> Option<(u128, bool)> {
    if c == 0 {
        return None;
    }
    let (high, low) = product(a, b);
    let (mut quotient, mut overflow, mut rest) = (0u128, false, 0u128);
    for bit in (0..256u32).rev() {
        let next = if bit >= 128 { (high >> (bit - 128)) & 1 } else { (low >> bit) & 1 };
        let carried = rest >> 127 == 1;
        rest = (rest << 1) | next;
        overflow |= quotient >> 127 == 1;
        quotient <<= 1;
        if carried || rest >= c {
            rest = rest.wrapping_sub(c);
            quotient |= 1;
        }
    }
    (!overflow).then_some((quotient, rest > 0))
}

/// Numbers of every size, and those at the edges of their halves.
pub fn wide() -> impl Strategy<Value = u128> {
    prop_oneof![
        any::<u128>(),
        any::<u64>().prop_map(u128::from),
        any::<u128>().prop_map(|number| u128::MAX - (number >> 70)),
        (0u32..128).prop_map(|bit| 1u128 << bit),
        (0u32..128).prop_map(|bit| (1u128 << bit) - 1),
        0u128..1_000,
        Just(u128::MAX),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn products_and_quotients_are_exact(a in wide(), b in wide(), c in wide()) {
        let expected = quotient(a, b, c);
        prop_assert_eq!(mul_div_floor(a, b, c), expected.map(|(q, _)| q));
        let ceiled = expected.and_then(|(q, rest)| q.checked_add(u128::from(rest)));
        prop_assert_eq!(mul_div_ceil(a, b, c), ceiled);
    }

    #[test]
    fn products_are_compared_exactly(a in wide(), b in wide(), c in wide(), d in wide()) {
        prop_assert_eq!(cmp_products(a, b, c, d), product(a, b).cmp(&product(c, d)));
        prop_assert_eq!(cmp_products(a, b, b, a), Ordering::Equal);
    }

    #[test]
    fn shares_lie_within_the_whole(amount in wide(), ppm in any::<u32>()) {
        let (floor, ceil) = (share_floor(amount, ppm), share_ceil(amount, ppm));
        prop_assert!(floor <= ceil && ceil <= amount && ceil - floor <= 1);
        let exact = quotient(amount, u128::from(ppm.min(1_000_000)), 1_000_000).unwrap();
        prop_assert_eq!((floor, ceil > floor), exact);
    }
}

#[test]
fn edges_of_the_range() {
    let max = u128::MAX;
    assert_eq!(mul_div_floor(max, max, max), Some(max));
    assert_eq!(mul_div_floor(max, max, max - 1), None, "one unit above what fits");
    assert_eq!(mul_div_ceil(max, max, max), Some(max));
    assert_eq!(mul_div_floor(max, 2, 4), Some(max >> 1));
    assert_eq!(mul_div_ceil(max, 2, 4), Some((max >> 1) + 1));
    // The product has no upper half, and exactly one bit of it.
    assert_eq!(mul_div_floor(1 << 64, 1 << 63, 1), Some(1 << 127));
    assert_eq!(mul_div_floor(1 << 64, 1 << 64, 1), None);
    assert_eq!(mul_div_floor(1 << 64, 1 << 64, 2), Some(1 << 127));
    // The quotient is the largest there is and has a rest: rounding up does not fit.
    assert_eq!(mul_div_ceil(max, max - 1, max - 1), Some(max));
    assert_eq!(mul_div_ceil(max, 3, 3), Some(max));
    assert_eq!((mul_div_floor(max, max - 2, max - 2), mul_div_ceil(max - 1, max, max - 1)), (Some(max), Some(max)));
    for number in [0, 1, max] {
        assert_eq!((mul_div_floor(number, 1, 0), mul_div_ceil(number, 1, 0)), (None, None));
    }
}

#[test]
fn shares_of_known_amounts() {
    assert_eq!((share_floor(1_001, 25_000), share_ceil(1_001, 25_000)), (25, 26));
    assert_eq!((share_floor(1_000, 25_000), share_ceil(1_000, 25_000)), (25, 25));
    assert_eq!((share_floor(7, 2_000_000), share_ceil(7, u32::MAX)), (7, 7));
    assert_eq!((share_floor(u128::MAX, 1_000_000), share_ceil(u128::MAX, 1_000_000)), (u128::MAX, u128::MAX));
    assert_eq!((share_floor(9, 0), share_ceil(9, 0)), (0, 0));
}
