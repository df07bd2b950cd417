//! Factors on prices, against fractions of small numbers.

use crate::{
    PPM, Rate,
    price::{CongestionStep, congestion_factor_ppm, is_at_most, is_curve, is_factor, occupancy_ppm, price},
};
use proptest::prelude::*;
use x0_limits::{PRICE_FACTOR_PPM_MAX, PRICE_FACTOR_PPM_MIN};

const fn step(from_ppm: u32, factor_ppm: u32) -> CongestionStep {
    CongestionStep { from_ppm, factor_ppm }
}

/// B18: intervals are half open and every occupancy has a factor.
#[test]
fn a_step_holds_from_its_beginning_to_the_next() {
    let steps = [step(100, 2 * PPM), step(500_000, 3 * PPM), step(PPM, 4 * PPM)];
    assert!(is_curve(&steps));
    let factors = [0, 99, 100, 499_999, 500_000, 999_999, PPM].map(|at| congestion_factor_ppm(&steps, at));
    assert_eq!(factors.map(|factor| factor / PPM), [1, 1, 2, 2, 3, 3, 4]);
    assert_eq!(congestion_factor_ppm(&[], 700_000), PPM);
    assert!(is_curve(&[]));
}

#[test]
fn curves_rise_and_stay_within_bounds() {
    assert!(is_curve(&[step(0, PRICE_FACTOR_PPM_MIN), step(1, PRICE_FACTOR_PPM_MIN), step(PPM, PRICE_FACTOR_PPM_MAX)]));
    assert!(!is_curve(&[step(PPM + 1, PPM)]));
    assert!(!is_curve(&[step(0, PRICE_FACTOR_PPM_MIN - 1)]));
    assert!(!is_curve(&[step(0, PRICE_FACTOR_PPM_MAX + 1)]));
    assert!(!is_curve(&[step(5, PPM), step(5, PPM)]));
    assert!(!is_curve(&[step(6, PPM), step(5, PPM)]));
    assert!(!is_curve(&[step(5, PPM), step(6, PPM - 1)]));
    assert!(is_factor(PRICE_FACTOR_PPM_MIN) && is_factor(PRICE_FACTOR_PPM_MAX));
    assert!(!is_factor(PRICE_FACTOR_PPM_MIN - 1) && !is_factor(PRICE_FACTOR_PPM_MAX + 1));
}

#[test]
fn occupancy_is_floored_and_never_above_the_whole() {
    assert_eq!(
        [(0, 3), (1, 3), (2, 3), (3, 3), (4, 3)].map(|(taken, whole)| occupancy_ppm(taken, whole)),
        [0, 333_333, 666_666, PPM, PPM]
    );
    assert_eq!((occupancy_ppm(0, 0), occupancy_ppm(7, 0)), (PPM, PPM), "nothing is free of nothing");
    assert_eq!(occupancy_ppm(u32::MAX - 1, u32::MAX), 999_999);
    assert_eq!(occupancy_ppm(u32::MAX, u32::MAX), PPM);
}

#[test]
fn a_price_without_a_part_or_with_a_factor_of_zero_is_none() {
    let list = Rate { num: 7, den: 2 };
    assert_eq!(price(&list, 1, 10, &[500_000, 4_000_000]), Some(Rate { num: 7, den: 10 }));
    assert_eq!(price(&list, 10, 10, &[]), Some(list));
    assert_eq!(
        (price(&list, 0, 10, &[PPM]), price(&list, 1, 0, &[PPM]), price(&list, 1, 1, &[PPM, 0])),
        (None, None, None)
    );
    let highest = Rate { num: u128::MAX, den: 1 };
    assert_eq!(price(&highest, 1, 1, &[PPM]), None, "the product does not fit before it is reduced");
}

#[test]
fn prices_are_compared_beyond_128_bits() {
    let (low, high) = (Rate { num: u128::MAX - 1, den: u128::MAX }, Rate { num: 1, den: 1 });
    assert!(is_at_most(&low, &high) && !is_at_most(&high, &low));
    assert!(is_at_most(&high, &high));
    assert!(is_at_most(&Rate { num: 2, den: 4 }, &Rate { num: 1, den: 2 }));
    assert!(is_at_most(&Rate { num: 1, den: 2 }, &Rate { num: 2, den: 4 }));
}

proptest! {
    /// A price is the product of its fractions, exactly and in lowest terms.
    #[test]
    fn a_price_is_the_product_of_its_factors(
        num in 1u128..1_000_000, den in 1u128..1_000, part in 1u32..100_000, whole in 1u32..100_000,
        first in 1u32..10_000_000, second in 1u32..10_000_000,
    ) {
        let rate = price(&Rate { num, den }, part, whole, &[first, second]).unwrap();
        let above = num * u128::from(part) * u128::from(first) * u128::from(second);
        let below = den * u128::from(whole) * 1_000_000_000_000;
        // above / below = rate.num / rate.den with nothing left to divide both by.
        prop_assert_eq!(above % rate.num, 0);
        prop_assert_eq!(below % rate.den, 0);
        prop_assert_eq!(above / rate.num, below / rate.den);
        let mut divisors = (rate.num, rate.den);
        while divisors.1 > 0 {
            divisors = (divisors.1, divisors.0 % divisors.1);
        }
        prop_assert_eq!(divisors.0, 1);
    }

    /// Comparing needs no common denominator.
    #[test]
    fn at_most_is_the_order_of_fractions(a in 1u128..1_000, b in 1u128..1_000, c in 1u128..1_000, d in 1u128..1_000) {
        let (first, second) = (Rate { num: a, den: b }, Rate { num: c, den: d });
        prop_assert_eq!(is_at_most(&first, &second), a * d <= c * b);
        prop_assert!(is_at_most(&first, &second) || is_at_most(&second, &first));
    }

    /// More occupancy never lowers a price, whatever the curve.
    #[test]
    fn a_price_never_falls_with_occupancy(
        steps in proptest::collection::vec((0u32..=1_000_000, 1_000_000u32..10_000_000), 0..8),
        low in 0u32..=1_000_000, high in 0u32..=1_000_000,
    ) {
        let (mut from, mut factors): (Vec<_>, Vec<_>) = steps.into_iter().unzip();
        from.sort_unstable();
        from.dedup();
        factors.sort_unstable();
        let steps: Vec<_> = from.into_iter().zip(factors).map(|(from, factor)| step(from, factor)).collect();
        prop_assert!(is_curve(&steps));
        let (low, high) = (low.min(high), low.max(high));
        prop_assert!(congestion_factor_ppm(&steps, low) <= congestion_factor_ppm(&steps, high));
    }
}
