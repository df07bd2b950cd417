//! Quadratic votes and thresholds.

use crate::*;
use proptest::prelude::*;

/// G1: n votes cost n * n, whatever their sign, and 99 credits buy nine.
#[test]
fn votes_cost_their_square() {
    assert_eq!([0, 1, -1, 9, -9].map(vote_cost), [0, 1, 1, 81, 81]);
    assert_eq!(vote_cost(i32::MIN), 1 << 62);
    assert_eq!([0, 1, 3, 4, 80, 81, 99, 100].map(votes_afforded), [0, 1, 1, 2, 8, 9, 9, 10]);
    // Mutant: credits not returned on revision.
    assert_eq!(
        (revision_cost(3, 5), revision_cost(5, 3), revision_cost(-4, 4), revision_cost(9, 0)),
        (16, -16, 0, -81)
    );
}

/// G11: mutant "delegate not capped".
#[test]
fn delegated_votes_are_cut_to_the_delegators_credits() {
    assert_eq!(
        [(9, 99), (9, 80), (-9, 80), (-9, 0), (2, 99), (-2, 99)].map(|(votes, credits)| capped_votes(votes, credits)),
        [9, 8, -8, 0, 2, -2]
    );
    assert_eq!(capped_votes(i32::MIN, u32::MAX), -65_535);
    assert_eq!(capped_votes(i32::MAX, u32::MAX), 65_535);
}

#[test]
fn shares_are_compared_without_a_division() {
    assert!(at_least_share(2, 3, 666_666) && !at_least_share(2, 3, 666_667));
    assert!(more_than_share(2, 3, 666_666) && !more_than_share(1, 2, 500_000));
    assert!(at_least_share(1, 2, 500_000) && at_least_share(0, 0, 1_000_000) && !more_than_share(0, 0, 0));
    assert!(at_least_share(u64::MAX, u64::MAX, 1_000_000));
}

/// G5: 100 % to 50 % over a hundred slots.
#[test]
fn a_threshold_falls_in_a_straight_line() {
    let curve = Curve { from_ppm: 1_000_000, to_ppm: 500_000, over_slots: 100 };
    assert!(curve.is_valid());
    for (at, needed) in [(0, 1_000_000), (1, 995_000), (50, 750_000), (99, 505_000), (100, 500_000), (1_000, 500_000)] {
        assert_eq!(curve.threshold_ppm(at), needed, "slot {at}");
        assert!(curve.is_reached(u64::from(needed), 1_000_000, at));
        assert!(!curve.is_reached(u64::from(needed) - 1, 1_000_000, at));
    }
    // Thirds of a millionth round up for people and are exact for the count.
    let thirds = Curve { from_ppm: 10, to_ppm: 9, over_slots: 3 };
    assert_eq!([0, 1, 2, 3].map(|at| thirds.threshold_ppm(at)), [10, 10, 10, 9]);
    assert!(thirds.is_reached(29, 3_000_000, 1) && !thirds.is_reached(28, 3_000_000, 1));
    let flat = Curve { from_ppm: 700_000, to_ppm: 600_000, over_slots: 0 };
    assert_eq!(flat.threshold_ppm(0), 600_000);
    assert!(flat.is_reached(6, 10, 0) && !flat.is_reached(5, 10, 0));
    for curve in
        [Curve { from_ppm: 1_000_001, to_ppm: 1, over_slots: 1 }, Curve { from_ppm: 1, to_ppm: 2, over_slots: 1 }]
    {
        assert!(!curve.is_valid());
    }
    assert!(Curve { from_ppm: 1_000_000, to_ppm: 1_000_000, over_slots: 1 }.is_valid());
}

proptest! {
    #[test]
    fn capped_votes_are_affordable(votes in -100i32..100, credits in 0u32..2_000) {
        let cast = capped_votes(votes, credits);
        prop_assert!(vote_cost(cast) <= u64::from(credits) && cast.signum() * votes.signum() >= 0);
        let next = cast + votes.signum();
        prop_assert!(cast == votes || vote_cost(next) > u64::from(credits));
    }

    /// A threshold never rises, and agrees with the exact fraction.
    #[test]
    fn thresholds_never_rise(from in 0u32..=PPM, fall in 0u32..=PPM, over in 0u64..1_000, at in 0u64..1_200, part in 0u64..500, whole in 0u64..500) {
        let curve = Curve { from_ppm: from, to_ppm: from.saturating_sub(fall), over_slots: over };
        prop_assert!(curve.is_reached(part, whole, at) <= curve.is_reached(part, whole, at + 1));
        prop_assert!(curve.threshold_ppm(at) >= curve.threshold_ppm(at + 1));
        let (top, bottom) = if at >= over { (u128::from(curve.to_ppm), 1) } else {
            (u128::from(from) * u128::from(over) - u128::from(from - curve.to_ppm) * u128::from(at), u128::from(over))
        };
        prop_assert_eq!(curve.is_reached(part, whole, at), u128::from(part) * 1_000_000 * bottom >= u128::from(whole) * top);
    }
}
