//! Verdicts: thirds are strict, owners have no say, VOID is nobody's fault.

use super::{closed_with, equals};
use crate::{SlotOutcome, mock::*, verdict};
use proptest::prelude::*;
use x0_types::market::{Counters, Meter, Observation, Verdict};

/// The rule told otherwise: a side speaks when it has at least this many equal votes of `n`.
const fn quorum(n: u64) -> u64 {
    n / 3 + 1
}

fn expected(up: u64, down: u64, n: u64) -> Verdict {
    match (up >= quorum(n), down >= quorum(n)) {
        (true, true) => Verdict::Conflict,
        (true, false) => Verdict::Up,
        (false, true) => Verdict::Down,
        (false, false) => Verdict::Unknown,
    }
}

/// Kills the mutant "DOWN at D*3 >= N instead of >".
#[test]
fn every_row_of_the_table_for_every_count_of_votes() {
    for (n, needed) in [(1u64, 1u64), (4, 2), (7, 3), (10, 4), (100, 34)] {
        assert_eq!(quorum(n), needed);
        for up in 0..=n {
            for down in 0..=n - up {
                assert_eq!(verdict::judge(up, down, n), expected(up, down, n), "{up} up, {down} down of {n}");
            }
        }
    }
    // Where a third is a whole number it is not enough, for either side.
    assert_eq!(verdict::judge(0, 1, 3), Verdict::Unknown);
    assert_eq!(verdict::judge(1, 0, 3), Verdict::Unknown);
    assert_eq!(verdict::judge(1, 2, 3), Verdict::Down);
    assert_eq!(verdict::judge(2, 1, 3), Verdict::Up);
    assert_eq!(verdict::judge(0, 0, 0), Verdict::Unknown, "nobody may judge");
}

proptest! {
    /// The same with powers of any size, also where three times a sum needs more than 64 bits.
    #[test]
    fn thirds_of_large_powers_are_exact(n: u64, up: u64, down: u64) {
        let (up, down) = (up.min(n), down.min(n));
        prop_assert_eq!(verdict::judge(up, down, n), expected(up, down, n));
    }

    /// I13: whoever owns what, the verdict is that of a plain count without the owner's validators.
    #[test]
    fn owners_are_excluded_like_in_a_plain_count(
        powers in proptest::collection::vec(1u64..6, 1..6),
        owners in proptest::collection::vec(0u32..4, 6),
        nodes in proptest::collection::vec((0u32..4, proptest::collection::vec(0u8..4, 6)), 1..5),
    ) {
        let set: Vec<_> = (1u8..).zip(powers.iter().copied()).collect();
        run(&set, || {
            // Owner 0 is nobody: not registered.
            let mut owned: std::collections::BTreeMap<_, _> = (1u8..7).zip(&owners).filter(|(_, owner)| **owner > 0).map(|(n, owner)| (validator(n), *owner)).collect();
            for (n, (owner, _)) in (1u8..).zip(&nodes) {
                if *owner > 0 {
                    owned.insert(challenger(n), *owner);
                }
                Measurement::enrol(&node(n), &challenger(n)).unwrap();
            }
            Owned::set(owned);
            go_to(5);
            block(time_in(5), || {
                for (place, (n, _)) in set.iter().enumerate() {
                    let seen: Vec<_> = nodes.iter().map(|(_, bits)| Observation::from_bits(bits[place])).collect();
                    report(*n, 5, &seen).unwrap();
                }
            });
            close(5);
            for (n, (owner, bits)) in (1u8..).zip(&nodes) {
                let judges = || set.iter().enumerate().filter(|(place, _)| *owner == 0 || owners[*place] != *owner);
                let sum = |wanted: u8| judges().filter(|(place, _)| bits[*place] == wanted).map(|(_, (_, power))| power).sum::<u64>();
                let all = judges().map(|(_, (_, power))| power).sum();
                let wanted = expected(sum(1), sum(2), all);
                let heard = Verdicts::get().into_iter().find(|one| one.node == node(n));
                assert_eq!(heard.map_or(Verdict::Up, |one| one.verdict), wanted, "node {n}");
            }
        });
    }

    /// VOID hides nothing: where the rule says VOID, no choice of observations gives any verdict.
    #[test]
    fn a_void_slot_could_not_have_had_a_verdict(
        powers in proptest::collection::vec(1u64..50, 1..8),
        reported in proptest::collection::vec(any::<bool>(), 8),
        owners in proptest::collection::vec(any::<bool>(), 8),
    ) {
        let total: u64 = powers.iter().sum();
        let sum: u64 = powers.iter().zip(&reported).filter(|(_, yes)| **yes).map(|(power, _)| power).sum();
        let owner_max = powers.iter().zip(&owners).filter(|(_, yes)| **yes).map(|(power, _)| *power).max();
        let void = verdict::is_void(sum, total, owner_max.unwrap_or_default());
        if owner_max.is_none() {
            prop_assert_eq!(void, sum < quorum(total), "without owners among them it is a third of all");
        }
        if void {
            prop_assert_eq!(verdict::judge(sum, 0, total), Verdict::Unknown);
            for (place, _) in owners.iter().enumerate().filter(|(place, yes)| **yes && *place < powers.len()) {
                let rest = if reported[place] { sum - powers[place] } else { sum };
                prop_assert_eq!(verdict::judge(0, rest, total - powers[place]), Verdict::Unknown);
            }
        }
    }
}

/// Each verdict on the way through reports and storage, at the edges of the quorum.
#[test]
fn reports_become_verdicts_counters_and_news() {
    for n in [1u8, 4, 7, 10, 100] {
        let quorum = quorum(n.into()) as u8;
        let edges = [0, quorum - 1, quorum, n];
        for (up, down) in edges.iter().flat_map(|up| edges.iter().map(move |down| (*up, *down))) {
            if up + down > n {
                continue;
            }
            run(&equals(n), || {
                Measurement::enrol(&node(1), &stranger()).unwrap();
                // The rest disagree with themselves: they report, so the slot is not VOID, but
                // speak for neither side.
                let seen = (1..=n).map(|one| match one {
                    one if one <= up => (one, Observation::Up),
                    one if one <= up + down => (one, Observation::Down),
                    one => (one, Observation::Conflict),
                });
                let before = {
                    go_to(5);
                    Measurement::counters(&node(1)).unwrap()
                };
                let after = closed_with(5, &seen.collect::<Vec<_>>());
                let verdict = expected(up.into(), down.into(), n.into());
                assert_eq!(after.void, before.void + 2, "slots 3 and 4 had no report, slot 5 had");
                assert_eq!(after.bad, u64::from(verdict == Verdict::Down), "{up} up, {down} down of {n}");
                assert_eq!(after.unknown, u64::from(matches!(verdict, Verdict::Unknown | Verdict::Conflict)));
                assert_eq!(after.good_since(&before), u64::from(verdict == Verdict::Up));
                let heard = Verdicts::get();
                if verdict == Verdict::Up {
                    assert!(heard.is_empty(), "UP is no news");
                } else {
                    assert_eq!(heard.len(), 1);
                    assert_eq!((heard[0].slot, heard[0].verdict, heard[0].validators), (5, verdict, n.into()));
                    assert_eq!(heard[0].counters, Counters { closed: 5, ..after }, "counters include the slot");
                    let bits: u32 = heard[0].down_reporters.iter().map(|byte| byte.count_ones()).sum();
                    assert_eq!(bits, if verdict == Verdict::Down { down.into() } else { 0 });
                }
            });
        }
    }
}

#[test]
fn a_slot_with_a_third_of_the_power_or_less_is_void() {
    for n in [1u8, 3, 4, 7, 10, 100] {
        for reports in [0, n / 3, n / 3 + 1] {
            run(&equals(n), || {
                Measurement::enrol(&node(1), &stranger()).unwrap();
                let seen: Vec<_> = (1..=reports).map(|one| (one, Observation::Down)).collect();
                let after = closed_with(5, &seen);
                let is_void = reports <= n / 3;
                assert_eq!(after.void, 4 + u64::from(is_void), "{reports} of {n}");
                assert_eq!(after.bad, u64::from(!is_void), "VOID is not counted against the node");
                assert_eq!(after.unknown, 0);
                assert_eq!(Verdicts::get().len(), usize::from(!is_void));
                let outcome = Measurement::history(&node(1), 1);
                assert_eq!(outcome, vec![(5, if is_void { SlotOutcome::Void } else { SlotOutcome::Down })]);
            });
        }
    }
}

#[test]
fn power_counts_and_not_heads() {
    run(&[(1, 10), (2, 1), (3, 1)], || {
        Measurement::enrol(&node(1), &stranger()).unwrap();
        let up = (1, Observation::Up);
        let after = closed_with(5, &[up, (2, Observation::Down), (3, Observation::Down)]);
        assert_eq!((after.bad, after.unknown), (0, 0), "2 of 12 is not a third");
        let after = closed_with(8, &[(1, Observation::Down), (2, Observation::Up)]);
        assert_eq!((after.bad, after.unknown), (1, 0));
    });
}

/// M38, I13: kills the mutant "same owner's report counted".
#[test]
fn an_owner_neither_judges_its_node_nor_counts() {
    // Four votes; validator 1 owns the node, so three may judge and two are needed.
    let cases: [(&[(u8, Observation)], Verdict); 6] = [
        (&[(1, Observation::Down), (2, Observation::Down), (3, Observation::None)], Verdict::Unknown),
        (&[(2, Observation::Down), (3, Observation::Down)], Verdict::Down),
        (&[(1, Observation::Up), (2, Observation::Down), (3, Observation::Down)], Verdict::Down),
        (&[(1, Observation::Up), (2, Observation::Up), (3, Observation::None)], Verdict::Unknown),
        (&[(1, Observation::Up), (2, Observation::Up), (3, Observation::Up)], Verdict::Up),
        (&[(1, Observation::Down), (2, Observation::Up), (3, Observation::Up), (4, Observation::Down)], Verdict::Up),
    ];
    for (reports, verdict) in cases {
        run(&equals(4), || {
            Measurement::enrol(&node(1), &validator(1)).unwrap();
            let after = closed_with(5, reports);
            assert_eq!(after.bad, u64::from(verdict == Verdict::Down), "{reports:?}");
            assert_eq!(after.unknown, u64::from(verdict == Verdict::Unknown), "{reports:?}");
            if verdict == Verdict::Down {
                let heard = Verdicts::get();
                assert_eq!(heard[0].validators, 3);
                let bits: u32 = heard[0].down_reporters.iter().map(|byte| byte.count_ones()).sum();
                assert_eq!(bits, 2, "the owner is not among the reporters");
            }
        });
    }
}

/// M38, I13: an owner is who the registry says, not only the account that controls the node. Random owners, powers
/// and observations give what a plain count without the owner's validators gives.
#[test]
fn validators_of_a_registered_owner_are_excluded_whatever_account_they_use() {
    // Validators 1 and 2 and the node's controller, a stranger, are one owner.
    let owner = || Owned::set([(validator(1), 7), (validator(2), 7), (stranger(), 7), (validator(3), 8)].into());
    run(&equals(5), || {
        owner();
        Measurement::enrol(&node(1), &stranger()).unwrap();
        let seen = [(1, Observation::Down), (2, Observation::Down), (3, Observation::Up), (4, Observation::Up)];
        assert_eq!(closed_with(5, &seen).bad, 0, "the owner's two validators have no say");
        let seen = [(1, Observation::Up), (2, Observation::Up), (3, Observation::Down), (4, Observation::Down)];
        assert_eq!(closed_with(10, &seen).bad, 1);
        let heard = Verdicts::get().pop().unwrap();
        assert_eq!((heard.validators, heard.down_reporters[0].count_ones()), (3, 2));
    });
}

/// VOID stays what no node could get a verdict from, also where validators own nodes through the registry.
#[test]
fn a_slot_with_a_third_is_void_unless_an_owners_absence_makes_it_enough() {
    for (registered, void) in [(false, true), (true, false)] {
        run(&equals(3), || {
            Measurement::enrol(&node(1), &stranger()).unwrap();
            if registered {
                Owned::set([(validator(1), 7), (stranger(), 7)].into());
            }
            let after = closed_with(5, &[(2, Observation::Down)]);
            assert_eq!(after.void, 4 + u64::from(void), "one of three is a third, one of two others is more");
            assert_eq!(after.bad, u64::from(!void));
        });
    }
}

/// Kills the mutant "quorum computed from injected powers": the powers at the closing count, whatever they were when
/// the reports came in.
#[test]
fn powers_come_from_the_state_of_the_closing_block() {
    run(&[(1, 1), (2, 1), (3, 1), (4, 1)], || {
        Measurement::enrol(&node(1), &stranger()).unwrap();
        go_to(5);
        block(time_in(5), || {
            report(1, 5, &[Observation::Down]).unwrap();
            report(2, 5, &[Observation::Up]).unwrap();
            report(3, 5, &[Observation::Up]).unwrap();
        });
        go_to(7);
        Set::set(vec![(1, 10), (2, 1), (3, 1), (4, 1)]);
        go_to(8);
        assert_eq!(Measurement::counters(&node(1)).unwrap().bad, 1, "validator 1 holds 10 of 13 now");
    });
}

/// The trust module hears what the market hears.
#[test]
fn the_listener_hears_every_exception_and_the_end_of_a_run() {
    run(&equals(1), || {
        Measurement::enrol(&node(1), &stranger()).unwrap();
        for (slot, seen) in
            [(5, Observation::Down), (10, Observation::Up), (15, Observation::Up), (20, Observation::None)]
        {
            closed_with(slot, &[(1, seen)]);
        }
        let told: Vec<_> = Told::get().into_iter().map(|(slot, _, verdict)| (slot, verdict)).collect();
        assert_eq!(told, [(5, Verdict::Down), (10, Verdict::Up), (20, Verdict::Unknown)]);
    });
}

#[test]
fn an_owners_power_does_not_shield_its_node() {
    run(&[(1, 4), (2, 1), (3, 1), (4, 1)], || {
        Measurement::enrol(&node(1), &validator(1)).unwrap();
        let one = closed_with(5, &[(2, Observation::Down)]);
        assert_eq!((one.bad, one.void), (0, 5), "one of the three others is not more than a third");
        let two = closed_with(8, &[(2, Observation::Down), (3, Observation::Down)]);
        assert_eq!(two.bad, 1, "two of the three others are, although they hold 2 of 7 votes of the set");
    });
}

#[test]
fn the_only_validator_cannot_vouch_for_its_own_node() {
    run(&[(1, 1)], || {
        Measurement::enrol(&node(1), &validator(1)).unwrap();
        Measurement::enrol(&node(2), &stranger()).unwrap();
        go_to(5);
        block(time_in(5), || report(1, 5, &[Observation::Up, Observation::Up]).unwrap());
        close(5);
        assert_eq!(Measurement::counters(&node(1)).unwrap().unknown, 1);
        assert_eq!(Measurement::counters(&node(2)).unwrap().unknown, 0);
    });
}

/// M19: UNKNOWN is neither billed nor held against the node, and neither ends nor extends a run.
#[test]
fn up_is_news_once_after_down_and_unknown_is_no_up() {
    run(&equals(1), || {
        Measurement::enrol(&node(1), &stranger()).unwrap();
        for (slot, seen) in [
            (5, Observation::Down),
            (8, Observation::Conflict),
            (11, Observation::Up),
            (14, Observation::Up),
            (17, Observation::Conflict),
            (20, Observation::Up),
        ] {
            closed_with(slot, &[(1, seen)]);
        }
        let heard: Vec<_> = Verdicts::get().into_iter().map(|one| (one.slot, one.verdict)).collect();
        assert_eq!(heard, vec![(5, Verdict::Down), (8, Verdict::Unknown), (11, Verdict::Up), (17, Verdict::Unknown),]);
        let history = Measurement::history(&node(1), 16);
        let at = |slot| history.iter().find(|(one, _)| *one == slot).map(|(_, outcome)| *outcome);
        assert_eq!(at(4), None, "sixteen slots were asked for");
        assert_eq!(at(5), Some(SlotOutcome::Down));
        assert_eq!(at(6), Some(SlotOutcome::Void));
        assert_eq!(at(8), Some(SlotOutcome::Unknown));
        assert_eq!((at(11), at(20), at(21)), (Some(SlotOutcome::Up), Some(SlotOutcome::Up), None));
    });
}
