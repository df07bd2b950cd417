//! Windows, disputes, maintenance and renewal.

use crate::*;
use proptest::prelude::*;

/// M16: windows of ten slots after slot 100: 101 to 110, 111 to 120.
#[test]
fn windows_follow_one_another() {
    for (slot, index) in [(99, 0), (100, 0), (101, 0), (110, 0), (111, 1), (120, 1), (121, 2)] {
        assert_eq!(window_index(100, 10, slot), index, "slot {slot}");
    }
    assert_eq!((window_end(100, 10, 0), window_end(100, 10, 1)), (110, 120));
    assert_eq!(window_index(100, 0, 500), 0, "a window without a length is one window");
    assert_eq!(window_end(u64::MAX - 5, 10, 0), u64::MAX);
    assert_eq!(window_end(0, u64::MAX, u64::MAX), u64::MAX);
}

/// M16: the promise is kept at exactly the promised share, and broken one slot below it.
#[test]
fn a_window_holds_at_exactly_its_promise() {
    for (good, bad, promised, holds) in [
        (999, 1, 999_000, true),
        (998, 1, 999_000, false),
        (998, 2, 999_000, false),
        (1, 1, 500_000, true),
        (1, 2, 500_000, false),
        (0, 0, 1_000_000, true),
        (0, 1, 1, false),
        (0, 1, 0, true),
        (1, 0, 1_000_000, true),
        (u64::MAX, 1, 1_000_000, false),
        (u64::MAX, u64::MAX, 500_000, true),
    ] {
        assert_eq!(window_holds(good, bad, promised), holds, "{good} good, {bad} bad, {promised} promised");
    }
}

#[test]
fn good_slots_are_the_rest() {
    assert_eq!(SlotSums { slots: 20, bad: 3, unknown: 4, void: 5 }.good(), 8);
    assert_eq!(SlotSums { slots: 5, bad: 3, unknown: 4, void: 5 }.good(), 0);
}

/// M28: three CONFLICT slots in a row, or more than a tenth of all slots in doubt.
#[test]
fn a_record_is_contested_above_its_limits() {
    for (run, unknown, slots, contested) in [
        (2, 10, 100, false),
        (3, 0, 100, true),
        (4, 0, 100, true),
        (0, 10, 100, false),
        (0, 11, 100, true),
        (0, 0, 0, false),
        (0, 1, 9, true),
        (0, 1, 10, false),
    ] {
        assert_eq!(is_contested(run, 3, unknown, slots, 100_000), contested, "run {run}, {unknown} of {slots}");
    }
    assert!(!is_contested(0, 3, 100, 100, 1_000_000), "nothing is more than everything");
}

/// M24: one slot of a hundred, floored.
#[test]
fn maintenance_credits_are_a_share_of_the_deal() {
    assert_eq!([99, 100, 199, 200].map(|slots| maintenance_credits(slots, 10_000)), [0, 1, 1, 2]);
    assert_eq!(
        (maintenance_credits(50, 0), maintenance_credits(50, 1_000_000), maintenance_credits(50, u32::MAX)),
        (0, 50, 50)
    );
    assert_eq!(maintenance_credits(u64::MAX, 1_000_000), u64::MAX);
}

#[test]
fn going_costs_no_more_than_staying() {
    assert_eq!((cancel_notice(10, 30), cancel_notice(30, 10), cancel_notice(7, 7)), (10, 10, 7));
    assert_eq!((cancel_notice(0, 30), cancel_notice(30, 0)), (0, 0));
}

/// M12: a renewal asks for exactly what makes the next term affordable.
#[test]
fn a_renewal_needs_what_the_next_term_lacks() {
    let rate = Rate { num: 7, den: 2 };
    // 100 slots cost 350; 90 were good, worth 315; ten more terms' worth of 35 are left.
    assert_eq!(renewal_need(350, &rate, 90, 100), Some(315));
    assert_eq!(renewal_need(350, &rate, 100, 100), Some(350));
    assert_eq!(renewal_need(1_000, &rate, 0, 100), Some(0));
    assert_eq!(renewal_need(0, &rate, 0, 1), Some(4), "ceiled: three and a half");
    assert_eq!(renewal_need(0, &rate, u64::MAX, 1), None);
    assert_eq!(renewal_need(0, &Rate { num: u128::MAX, den: 1 }, 1, 1), None);
}

proptest! {
    #[test]
    fn each_slot_lies_in_the_window_that_ends_at_or_after_it(start in 0u64..1_000, length in 1u64..50, offset in 1u64..500) {
        let slot = start + offset;
        let index = window_index(start, length, slot);
        prop_assert!(slot <= window_end(start, length, index));
        prop_assert!(slot > window_end(start, length, index) - length);
    }

    /// After a renewal the deposit pays for the next term, and a unit less would not.
    #[test]
    fn a_renewed_deposit_covers_its_term(deposit in 0u128..100_000, num in 1u128..500, den in 1u128..50, good in 0u64..500, period in 1u64..500) {
        let rate = Rate { num, den };
        let need = renewal_need(deposit, &rate, good, period).unwrap();
        prop_assert!(rate.affordable_slots(deposit + need) >= good + period);
        if need > 0 {
            prop_assert!(rate.affordable_slots(deposit + need - 1) < good + period);
        }
    }
}
