//! Slots are time; they close in order, each exactly once, whatever the rhythm of blocks.

use super::equals;
use crate::{SlotOutcome, SlotRing, VoidSlots, mock::*};
use proptest::prelude::*;
use std::collections::BTreeMap;
use x0_types::{
    AccountId,
    market::{Counters, Meter, Observation, Slot, Verdict},
};

#[test]
fn the_parents_time_decides_the_slot_of_a_block() {
    run(&[], || {
        for (time_ms, slot) in [
            (0, 0),
            (GENESIS_MS - 1, 0),
            (GENESIS_MS, 0),
            (GENESIS_MS + 999, 0),
            (GENESIS_MS + 1_000, 1),
            (GENESIS_MS + 1_999, 1),
            (GENESIS_MS + 86_400_000, 86_400),
        ] {
            assert_eq!(Measurement::slot_of(time_ms), slot, "{time_ms}");
        }
        block(time_in(3), || assert_eq!(Measurement::current_slot(), 0, "the parent is genesis"));
        block(time_in(9), || assert_eq!(Measurement::current_slot(), 3));
        block(time_in(9), || assert_eq!(Measurement::current_slot(), 9));
    });
}

#[test]
fn a_slot_closes_three_slots_later() {
    run(&[], || {
        for (current, closed) in [(0u64, 0u64), (1, 0), (2, 0), (3, 0), (4, 1), (5, 2), (9, 6)] {
            go_to(current);
            assert_eq!((Measurement::current_slot(), Measurement::closed_slot()), (current, closed));
        }
    });
}

/// M19: kills the mutant "void slot billed": a slot without reports counts as VOID and as nothing else.
#[test]
fn a_chain_that_stood_still_closes_the_gap_as_void() {
    run(&equals(1), || {
        Measurement::enrol(&node(1), &stranger()).unwrap();
        MarketWork::set(BTreeMap::from([(40, 1), (1_000_000, 2)]));
        go_to(5);
        let start = Measurement::counters(&node(1)).unwrap();
        block(time_in(5), || report(1, 5, &[Observation::Down]).unwrap());
        // The block after the gap still takes a commitment on the slot in which it lies.
        block(time_in(5_000_000), || report(1, 5_000_000, &[Observation::Down]).unwrap());
        block(time_in(5_000_000), || assert_eq!(Measurement::closed_slot(), 4, "slot 5 is shown now"));
        block(time_in(5_000_001), || {});
        block(time_in(5_000_001), || {
            assert_eq!(Measurement::closed_slot(), 4_999_998, "one block is enough for a gap of any length");
        });
        let counters = Measurement::counters(&node(1)).unwrap();
        assert_eq!((counters.bad, counters.unknown, counters.void), (1, 0, 4_999_997));
        assert_eq!(counters.good_since(&start), 0, "a void slot is not billed");
        assert_eq!(ClosedSlots::get(), vec![5, 40, 1_000_000], "the market hears of slots with reports or work");
        close(5_000_000);
        assert_eq!(Measurement::counters(&node(1)).unwrap().bad, 2);
        assert_eq!(Measurement::history(&node(1), u64::MAX).len() as u64, x0_limits::VERDICT_HISTORY_SLOTS);
        assert_eq!(
            Measurement::history(&node(1), 2),
            vec![(4_999_999, SlotOutcome::Void), (5_000_000, SlotOutcome::Down)]
        );
    });
}

#[test]
fn a_clock_that_goes_back_reopens_nothing() {
    run(&[], || {
        go_to(9);
        pallet_timestamp::Now::<Test>::put(time_in(3));
        block(time_in(3), || assert_eq!((Measurement::current_slot(), Measurement::closed_slot()), (9, 6)));
    });
}

/// A mass outage takes as many blocks as the budget asks for. At each moment in between, each
/// node's counters agree with themselves.
#[test]
fn a_long_closing_goes_on_where_it_stopped() {
    run(&equals(1), || {
        let nodes = 10u8;
        for n in 1..=nodes {
            Measurement::enrol(&node(n), &stranger()).unwrap();
        }
        go_to(5);
        let before: Vec<_> = (1..=nodes).map(|n| Measurement::counters(&node(n)).unwrap()).collect();
        block(time_in(5), || report(1, 5, &[Observation::Down; 10]).unwrap());
        go_to(7);
        MarketWork::set(BTreeMap::from([(5, 7)]));
        Budget::set(3);
        let mut partial = 0;
        for _ in 0..20 {
            block(time_in(8), || {
                let judged = Verdicts::get().len();
                for n in 1..=nodes {
                    let now = Measurement::counters(&node(n)).unwrap();
                    assert_eq!(now.good_since(&before[usize::from(n) - 1]), 0, "no slot is ever billed by mistake");
                    let is_judged = usize::from(n) <= judged;
                    assert_eq!((now.bad, now.closed >= 5), (u64::from(is_judged), is_judged));
                }
                if judged > 0 && judged < usize::from(nodes) {
                    partial += 1;
                    assert!(ClosedSlots::get().is_empty(), "the slot is closed after its verdicts");
                    assert_eq!(Measurement::closed_slot(), 4);
                }
            });
        }
        assert!(partial >= 3, "{partial} blocks saw the closing half done");
        assert_eq!(ClosedSlots::get(), vec![5], "the market's work was done in pieces, and told once");
        let order: Vec<_> = Verdicts::get().into_iter().map(|one| one.node).collect();
        assert_eq!(order, (1..=nodes).map(node).collect::<Vec<_>>());
    });
}

#[test]
fn a_node_dismissed_by_the_market_is_not_judged_again() {
    run(&equals(1), || {
        for n in 1..=3 {
            Measurement::enrol(&node(n), &stranger()).unwrap();
        }
        DismissOnVerdict::set(Some(node(2)));
        for slot in [5, 8] {
            go_to(slot);
            block(time_in(slot), || report(1, slot, &[Observation::Down; 3]).unwrap());
            close(slot);
        }
        let heard: Vec<_> = Verdicts::get().into_iter().map(|one| (one.slot, one.node)).collect();
        assert_eq!(heard, vec![(5, node(1)), (5, node(2)), (5, node(3)), (8, node(1)), (8, node(3))]);
        assert_eq!(Measurement::counters(&node(2)), None);
    });
}

#[test]
fn a_node_enrolled_while_a_slot_closes_is_not_billed_for_it() {
    run(&equals(1), || {
        Measurement::enrol(&node(1), &stranger()).unwrap();
        EnrolOnVerdict::set(Some(node(2)));
        go_to(5);
        block(time_in(5), || report(1, 5, &[Observation::Down]).unwrap());
        close(5);
        let newcomer = Measurement::counters(&node(2)).unwrap();
        assert_eq!((newcomer.closed, newcomer.bad, newcomer.unknown), (5, 0, 1), "nobody saw it in slot 5");
        assert_eq!(Measurement::history(&node(2), 9), vec![(5, SlotOutcome::Unknown)]);
    });
}

/// One slot's script: the time to the next block, and what the validators say in it.
fn script() -> impl Strategy<Value = Vec<(u64, Vec<Option<Vec<u8>>>)>> {
    let seen = proptest::option::weighted(0.8, proptest::collection::vec(0u8..4, 0..=6));
    proptest::collection::vec((0u64..2_500, proptest::collection::vec(seen, 4)), 1..40)
}

/// All that can be seen at the end of a script.
#[derive(Debug, PartialEq)]
struct Seen {
    counters: Vec<Option<Counters>>,
    verdicts: Vec<(Slot, AccountId, Verdict)>,
    closed: Vec<Slot>,
    void: u64,
}

/// Plays a script with a budget.
fn play(budget: u32, script: &[(u64, Vec<Option<Vec<u8>>>)], work: &BTreeMap<Slot, u32>) -> Seen {
    let mut seen = None;
    run(&equals(4), || {
        Budget::set(budget);
        MarketWork::set(work.clone());
        for n in 1..=6 {
            let owner = if n == 6 { validator(1) } else { stranger() };
            Measurement::enrol(&node(n), &owner).unwrap();
        }
        let mut now = time_in(1);
        block(now, || {});
        for (step, reports) in script {
            now += step;
            block(now, || {
                for (n, report_of) in (1u8..).zip(reports) {
                    let Some(bits) = report_of else { continue };
                    let observations: Vec<_> = bits.iter().map(|bits| Observation::from_bits(*bits)).collect();
                    // A second report on the slot is refused, whatever the budget.
                    let _refused_or_not = report(n, Measurement::slot_of(now), &observations);
                }
            });
        }
        // Time stands still until the backlog is worked off.
        for _ in 0..3_000 {
            block(now, || {});
        }
        let counters = (1..=6).map(|n| Measurement::counters(&node(n))).collect();
        let verdicts = Verdicts::get().into_iter().map(|one| (one.slot, one.node, one.verdict)).collect();
        seen = Some(Seen { counters, verdicts, closed: ClosedSlots::get(), void: VoidSlots::<Test>::get() });
    });
    seen.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    /// However little a block may do, the verdicts, their order and all counters are the same.
    #[test]
    fn results_do_not_depend_on_the_budget(
        script in script(),
        work in proptest::collection::btree_map(1u64..40, 1u32..5, 0..6),
        budget in 1u32..9,
    ) {
        prop_assert_eq!(play(budget, &script, &work), play(u32::MAX, &script, &work));
    }

    /// The ring remembers what a full list would, for its length.
    #[test]
    fn the_ring_is_the_end_of_a_list(marks in proptest::collection::vec((0u64..200, 0u64..6, 0u8..4), 0..40)) {
        let mut ring = SlotRing::default();
        let mut list: BTreeMap<Slot, u8> = BTreeMap::new();
        let mut newest = 0;
        for (gap, length, code) in marks {
            let (first, last) = (newest + 1 + gap, newest + 1 + gap + length);
            ring.mark(first, last, code);
            list.extend((first..=last).map(|slot| (slot, code)));
            newest = last;
        }
        for slot in 0..newest + 300 {
            let remembered = slot <= newest && slot + x0_limits::VERDICT_HISTORY_SLOTS > newest;
            let expected = if remembered { list.get(&slot).copied().unwrap_or_default() } else { 0 };
            prop_assert_eq!(ring.get(slot), expected, "slot {} of {}", slot, newest);
        }
    }
}
