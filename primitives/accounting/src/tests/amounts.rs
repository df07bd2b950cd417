//! Rates, payouts, bonds and shared claims.

use super::wide::wide;
use crate::*;
use proptest::prelude::*;

const RATE: Rate = Rate { num: 7, den: 1 };

/// M9: nine tenths a slot lose no dust.
#[test]
fn nine_tenths_a_slot_for_a_hundred_slots_pay_ninety() {
    let rate = Rate { num: 9, den: 10 };
    assert_eq!(rate.accrued(1_000, 100), 90);
    assert_eq!(rate.accrued(1_000, 1), 0);
    assert_eq!((rate.affordable_slots(90), rate.affordable_slots(89)), (100, 98));
    assert_eq!((rate.amount_floor(1), rate.amount_ceil(1)), (Some(0), Some(1)));
    assert_eq!((rate.amount_floor(10), rate.amount_ceil(10)), (Some(9), Some(9)));
    assert_eq!((rate.amount_floor(0), rate.amount_ceil(0)), (Some(0), Some(0)));
}

#[test]
fn rates_with_a_zero_part_price_nothing() {
    for rate in [Rate { num: 0, den: 1 }, Rate { num: 1, den: 0 }, Rate { num: 0, den: 0 }] {
        assert!(!rate.is_valid());
        assert_eq!((rate.affordable_slots(1_000), rate.accrued(1_000, 5)), (0, 0));
        assert_eq!((rate.scaled(1, 2), rate.times_ppm(PPM)), (None, None));
    }
    assert!(RATE.is_valid());
    assert_eq!((Rate { num: 1, den: 0 }).amount_floor(3), None);
    assert_eq!((Rate { num: 1, den: 0 }).amount_ceil(3), None);
    // A deposit that lasts longer than slots can be counted.
    assert_eq!((Rate { num: 1, den: u128::MAX }).affordable_slots(u128::MAX), u64::MAX);
    assert_eq!((Rate { num: 1, den: 1 }).affordable_slots(1 << 64), u64::MAX);
    assert_eq!((Rate { num: 1, den: 1 }).affordable_slots((1 << 64) - 1), u64::MAX);
    assert_eq!((Rate { num: 1, den: 1 }).affordable_slots((1 << 64) - 2), u64::MAX - 1);
}

#[test]
fn a_scaled_rate_is_in_lowest_terms() {
    assert_eq!(RATE.scaled(100, 1_000), Some(Rate { num: 7, den: 10 }));
    assert_eq!((Rate { num: 6, den: 4 }).scaled(2, 3), Some(Rate { num: 1, den: 1 }));
    assert_eq!(RATE.scaled(3, 3), Some(RATE));
    assert_eq!((RATE.scaled(0, 1), RATE.scaled(1, 0)), (None, None));
    assert_eq!((Rate { num: u128::MAX, den: 1 }).scaled(2, 1), None);
    assert_eq!((Rate { num: 1, den: u128::MAX }).scaled(1, 2), None);
    // A tenth more, half, and as it is.
    assert_eq!(RATE.times_ppm(1_100_000), Some(Rate { num: 77, den: 10 }));
    assert_eq!(RATE.times_ppm(500_000), Some(Rate { num: 7, den: 2 }));
    assert_eq!((RATE.times_ppm(PPM), RATE.times_ppm(0)), (Some(RATE), None));
}

/// M10: mutant "afford clamp removed".
#[test]
fn what_is_owed_stops_at_the_last_affordable_slot() {
    let rate = Rate { num: 3, den: 1 };
    assert_eq!(accrued(1_000, &rate, 333, 25_000), Accrued { good_slots: 333, gross: 999, fee: 24 });
    assert_eq!(accrued(1_000, &rate, 334, 25_000), Accrued { good_slots: 333, gross: 999, fee: 24 });
    assert_eq!(accrued(1_000, &rate, u64::MAX, 25_000), Accrued { good_slots: 333, gross: 999, fee: 24 });
    assert_eq!(accrued(1_000, &rate, 332, 25_000), Accrued { good_slots: 332, gross: 996, fee: 24 });
    assert_eq!(accrued(1_000, &rate, 0, 25_000), Accrued::default());
}

/// M13, M21: the ledger of a deal that fails, unit by unit.
#[test]
fn the_outcome_of_a_failed_deal_is_exact() {
    let slash = Slash { share_ppm: 200_000, compensation_ppm: 800_000 };
    let expected = Outcome {
        good_slots: 123,
        gross: 861,
        to_provider: 840,
        fee: 21,
        refund: 9_139,
        slash: 1_000,
        compensation: 800,
        bond_back: 4_000,
    };
    assert_eq!(outcome(10_000, &RATE, 123, 25_000, 5_000, Some(slash)), expected);
    assert_eq!(
        outcome(10_000, &RATE, 123, 25_000, 5_000, None),
        Outcome { slash: 0, compensation: 0, bond_back: 5_000, ..expected }
    );
}

#[test]
fn a_bond_is_divided_with_the_victim_first() {
    let split = |bond, share_ppm, compensation_ppm| split_bond(bond, Some(Slash { share_ppm, compensation_ppm }));
    assert_eq!(split(1_003, 50_000, 800_000), BondSplit { slash: 50, compensation: 40, to_treasury: 10, back: 953 });
    assert_eq!(split(99, 1_000_000, 500_000), BondSplit { slash: 99, compensation: 49, to_treasury: 50, back: 0 });
    assert_eq!(split(99, 0, 500_000), BondSplit { slash: 0, compensation: 0, to_treasury: 0, back: 99 });
    assert_eq!(split_bond(99, None), BondSplit { slash: 0, compensation: 0, to_treasury: 0, back: 99 });
}

/// M21: 5 %, 20 %, then everything.
#[test]
fn the_ladder_has_three_steps() {
    assert_eq!([0, 1, 2, 3, 100].map(ladder_step), [0, 1, 2, 2, 2]);
    let ladder = [50_000, 200_000, 1_000_000];
    assert_eq!(
        [0, 1, 2, 3, 255].map(|step| ladder_share(&ladder, step)),
        [50_000, 200_000, 1_000_000, 1_000_000, 1_000_000]
    );
}

/// M22: no trust posts half as much again, full trust a fifth, and rounding favours the renter.
#[test]
fn bonds_fall_with_trust() {
    for (score, expected) in [
        (0, 150_000),
        (384_616, 100_000),
        (384_615, 100_001),
        (500_000, 85_000),
        (1_000_000, 20_000),
        (u32::MAX, 20_000),
    ] {
        let posted = bond_for_trust(100_000, score).unwrap();
        // 384_615 would be 100_000.05: ceiled.
        assert_eq!(posted, expected, "score {score}");
    }
    assert_eq!(bond_for_trust(1, 1_000_000), Some(1), "a bond never rounds to nothing");
    assert_eq!(bond_for_trust(0, 0), Some(0));
    assert_eq!(bond_for_trust(u128::MAX, 0), None);
    assert_eq!(bond_for_trust(7, 0), Some(11), "ceil(10.5)");
    assert_eq!((part_of_bond(100, 1, 3), part_of_bond(99, 1, 3), part_of_bond(1, 1, 0)), (Some(34), Some(33), None));
}

/// 6.4: the two examples of the specification, and what they leave open.
#[test]
fn claims_share_a_pool_by_largest_remainders() {
    for (pool, claims, expected) in [
        (90, vec![80, 40, 60], vec![40, 20, 30]),
        (100, vec![33, 33, 35], vec![33, 33, 34]),
        (101, vec![33, 33, 35], vec![33, 33, 35]),
        (500, vec![33, 33, 35], vec![33, 33, 35]),
        (0, vec![1, 2], vec![0, 0]),
        (1, vec![1, 1, 1], vec![1, 0, 0]),
        (2, vec![1, 1, 1], vec![1, 1, 0]),
        // Shares 1.2, 2.4, 2.4: the two larger remainders share two units.
        (6, vec![2, 4, 4], vec![1, 3, 2]),
        (5, vec![], vec![]),
        (0, vec![0, 0], vec![0, 0]),
    ] {
        assert_eq!(largest_remainder(pool, &claims), Some(expected), "{pool} for {claims:?}");
    }
    assert_eq!(largest_remainder(5, &[u128::MAX, 1]), None);
    assert_eq!(largest_remainder(u128::MAX - 1, &[u128::MAX - 5, 5]), Some(vec![u128::MAX - 6, 5]));
}

proptest! {
    /// M10: I4, whatever the rate and the time, a deal never owes more than its deposit, and the next
    /// slot would not have been affordable.
    #[test]
    fn a_deal_never_owes_more_than_its_deposit(num in wide(), den in wide(), deposit in wide(), good in any::<u64>()) {
        let rate = Rate { num, den };
        prop_assert!(rate.accrued(deposit, good) <= deposit);
        prop_assert!(rate.accrued(deposit, good) <= rate.accrued(deposit, good.saturating_add(1)));
        if rate.is_valid() {
            let afford = rate.affordable_slots(deposit);
            prop_assert!(rate.amount_floor(afford).is_some_and(|owed| owed <= deposit));
            prop_assert_eq!(rate.accrued(deposit, good), rate.amount_floor(good.min(afford)).unwrap());
            if afford < u64::MAX {
                prop_assert!(rate.amount_ceil(afford + 1).is_none_or(|owed| owed > deposit));
            }
        }
    }

    /// M8: I6, paying the difference at each of any number of counts pays what paying once pays.
    #[test]
    fn the_sum_of_differences_is_the_whole(
        deposit in 0u128..1_000_000, num in 1u128..5_000, den in 1u128..50, fee_ppm in 0u32..=PPM,
        mut counts in proptest::collection::vec(0u64..3_000, 1..20),
    ) {
        counts.sort_unstable();
        let rate = Rate { num, den };
        let (mut gross, mut fee) = (0, 0);
        for good in &counts {
            let owed = accrued(deposit, &rate, *good, fee_ppm);
            prop_assert!(owed.gross >= gross && owed.fee >= fee);
            (gross, fee) = (owed.gross, owed.fee);
        }
        let once = accrued(deposit, &rate, counts[counts.len() - 1], fee_ppm);
        prop_assert_eq!((gross, fee), (once.gross, once.fee));
        let affordable = u64::try_from(deposit * den / num).unwrap();
        prop_assert_eq!(gross, u128::from(counts[counts.len() - 1].min(affordable)) * num / den);
        prop_assert_eq!(fee, gross * u128::from(fee_ppm) / 1_000_000);
    }

    /// M13, M21: I8 and I17, every unit of deposit and bond goes to somebody.
    #[test]
    fn nothing_is_lost_or_made(
        deposit in wide(), num in 1u128.., den in 1u128.., good in any::<u64>(), fee_ppm in 0u32..=PPM, bond in wide(),
        slash in proptest::option::of((0u32..=PPM, 0u32..=PPM)),
    ) {
        let slash = slash.map(|(share_ppm, compensation_ppm)| Slash { share_ppm, compensation_ppm });
        let result = outcome(deposit, &Rate { num, den }, good, fee_ppm, bond, slash);
        prop_assert_eq!(result.to_provider.checked_add(result.fee).and_then(|sum| sum.checked_add(result.refund)), Some(deposit));
        prop_assert_eq!(result.slash.checked_add(result.bond_back), Some(bond));
        prop_assert!(result.compensation <= result.slash);
        prop_assert_eq!(result.gross, result.to_provider + result.fee);
    }

    #[test]
    fn a_scaled_rate_prices_its_part(num in 1u128..1_000_000, den in 1u128..1_000, part in 1u32..1_000, whole in 1u32..1_000, slots in 0u64..100_000) {
        let scaled = Rate { num, den }.scaled(part, whole).unwrap();
        let expected = u128::from(slots) * num * u128::from(part) / (den * u128::from(whole));
        prop_assert_eq!(scaled.amount_floor(slots), Some(expected));
    }

    /// T10: the bond never rises with trust, and is the exact formula rounded up.
    #[test]
    fn more_trust_never_costs_more(base in 0u128..1_000_000_000, low in 0u32..=PPM, more in 0u32..=PPM) {
        let high = low.saturating_add(more).min(PPM);
        prop_assert!(bond_for_trust(base, low) >= bond_for_trust(base, high));
        let factor = 1_500_000 - 1_300_000 * u128::from(low) / 1_000_000;
        prop_assert_eq!(bond_for_trust(base, low), Some((base * factor).div_ceil(1_000_000)));
    }

    /// No claim gets more than it is, and the pool is used up unless the claims are paid in full.
    #[test]
    fn shared_claims_use_up_the_pool(pool in 0u128..2_000, claims in proptest::collection::vec(0u128..500, 0..10)) {
        let paid = largest_remainder(pool, &claims).unwrap();
        let sum: u128 = claims.iter().sum();
        prop_assert_eq!(paid.iter().sum::<u128>(), pool.min(sum));
        for (share, claim) in paid.iter().zip(&claims) {
            prop_assert!(share <= claim);
            if pool < sum {
                let floor = pool * claim / sum;
                prop_assert!(*share == floor || *share == floor + 1);
            }
        }
    }
}
