//! Rounding, shares and queue keys, against arithmetic of another kind.

use super::*;
use proptest::prelude::*;

/// `a * b / c` by schoolbook shifting over 256 bits: shares no code with the library's routine.
fn oracle(a: u128, b: u128, c: u128) -> Option<(u128, bool)> {
    if c == 0 {
        return None;
    }
    // The product as (high, low).
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
    // Long division, one bit at a time.
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

fn wide() -> impl Strategy<Value = u128> {
    prop_oneof![any::<u128>(), (0u32..128).prop_map(|b| 1u128 << b), 0u128..1_000, Just(u128::MAX)]
}

proptest! {
    #[test]
    fn queue_keys_sort_by_slot_then_deal(a in any::<(u64, u64)>(), b in any::<(u64, u64)>()) {
        prop_assert_eq!(a.cmp(&b), queue_key(a.0, a.1).cmp(&queue_key(b.0, b.1)));
        prop_assert_eq!(split_queue_key(queue_key(a.0, a.1)), a);
    }

    #[test]
    fn products_and_quotients_are_exact(a in wide(), b in wide(), c in wide()) {
        let expected = oracle(a, b, c);
        prop_assert_eq!(mul_div_floor(a, b, c), expected.map(|(q, _)| q));
        let ceiled = expected.and_then(|(q, rest)| q.checked_add(u128::from(rest)));
        prop_assert_eq!(mul_div_ceil(a, b, c), ceiled);
    }

    /// No debt: whatever the rate and the time, a deal never owes more than its deposit, and the
    /// next slot would not have been affordable.
    #[test]
    fn a_deal_never_owes_more_than_its_deposit(num in wide(), den in wide(), deposit in wide(), good in any::<u64>()) {
        let rate = Rate { num, den };
        prop_assert!(rate.accrued(deposit, good) <= deposit);
        prop_assert!(rate.accrued(deposit, good) <= rate.accrued(deposit, good.saturating_add(1)));
        if rate.is_valid() {
            let afford = rate.affordable_slots(deposit);
            prop_assert!(rate.amount_floor(afford).is_some_and(|owed| owed <= deposit));
            if afford < u64::MAX {
                prop_assert!(rate.amount_ceil(afford + 1).is_none_or(|owed| owed > deposit));
            }
        } else {
            prop_assert_eq!(rate.accrued(deposit, good), 0);
        }
    }

    #[test]
    fn shares_never_exceed_the_whole(amount in wide(), ppm in any::<u32>()) {
        prop_assert!(share_floor(amount, ppm) <= amount);
    }

    #[test]
    fn a_scaled_rate_prices_its_part(num in 1u128..1_000_000, den in 1u128..1_000, part in 1u32..1_000, whole in 1u32..1_000, slots in 0u64..100_000) {
        let scaled = Rate { num, den }.scaled(part, whole).unwrap();
        let expected = u128::from(slots) * num * u128::from(part) / (den * u128::from(whole));
        prop_assert_eq!(scaled.amount_floor(slots), Some(expected));
    }
}

#[test]
fn nine_tenths_a_block_for_a_hundred_blocks_pays_ninety() {
    let rate = Rate { num: 9, den: 10 };
    assert_eq!(rate.accrued(1_000, 100), 90);
    assert_eq!(rate.accrued(1_000, 1), 0);
    assert_eq!(rate.affordable_slots(90), 100);
    assert_eq!(rate.affordable_slots(89), 98);
}
