//! Taking in reports: one for each validator and slot, in time, free of fee.

use super::equals;
use crate::{Error, ReportedSlots, Reports, mock::*};
use frame_support::pallet_prelude::Pays;
use x0_types::market::{Meter, Observation, Verdict};

fn fails(outcome: Outcome, error: Error<Test>) {
    let failure = outcome.unwrap_err();
    assert_eq!(failure.error, error.into());
    assert_eq!(failure.post_info.pays_fee, Pays::Yes, "what is refused pays");
}

#[test]
fn the_first_report_is_free_and_the_second_is_refused() {
    run(&equals(2), || {
        go_to(5);
        block(time_in(5), || {
            assert_eq!(report(1, 5, &[]).unwrap().pays_fee, Pays::No);
            fails(report(1, 5, &[]), Error::AlreadyReported);
            assert_eq!(report(2, 5, &[]).unwrap().pays_fee, Pays::No, "another validator's is a first one too");
            assert_eq!(report(1, 4, &[]).unwrap().pays_fee, Pays::No, "another slot is a first one too");
        });
        block(time_in(5), || fails(report(1, 5, &[]), Error::AlreadyReported));
        go_to(9);
        assert_eq!((Reports::<Test>::iter().count(), ReportedSlots::<Test>::get().len()), (0, 0), "nothing stays");
    });
}

#[test]
fn strangers_and_controllers_do_not_report() {
    run(&equals(2), || {
        go_to(5);
        block(time_in(5), || {
            fails(report(3, 5, &[]), Error::UnknownReporter);
            fails(report_from(validator(1), 5, Vec::new()), Error::UnknownReporter);
            fails(report_from(stranger(), 5, Vec::new()), Error::UnknownReporter);
        });
    });
}

/// A slot takes reports from its beginning until a block whose parent lies in the second slot
/// after it; a block's own time decides what has begun.
#[test]
fn reports_come_in_time() {
    for (parent, own, slot, expected) in [
        (5, 5, 5, None),
        (5, 6, 6, None),
        (5, 5, 6, Some(Error::<Test>::SlotInFuture)),
        (5, 5, u64::MAX, Some(Error::SlotInFuture)),
        (5, 5, 4, None),
        (5, 5, 3, Some(Error::SlotTooOld)),
        (5, 6, 4, None),
        (5, 7, 4, Some(Error::SlotTooOld)),
        (5, 7, 5, None),
        (6, 7, 5, None),
        (7, 7, 5, Some(Error::SlotTooOld)),
        (5, 500, 6, Some(Error::SlotTooOld)),
        (5, 500, 498, None),
        (5, 500, 497, Some(Error::SlotTooOld)),
        (5, 5, 0, Some(Error::SlotTooOld)),
        (0, 0, 0, Some(Error::SlotTooOld)),
        (0, 1, 1, None),
    ] {
        run(&equals(1), || {
            block(time_in(parent), || {});
            block(time_in(own), || match expected {
                None => assert!(report(1, slot, &[]).is_ok(), "parent {parent}, own {own}, slot {slot}"),
                Some(error) => fails(report(1, slot, &[]), error),
            });
        });
    }
}

#[test]
fn a_report_ends_with_the_last_index() {
    run(&equals(1), || {
        for n in 1..=5 {
            Measurement::enrol(&node(n), &stranger()).unwrap();
        }
        go_to(5);
        block(time_in(5), || {
            fails(report_from(reporter(1), 5, vec![0; 3]), Error::ReportTooLong);
            report_from(reporter(1), 5, vec![0; 2]).unwrap();
            // A short report says nothing of the rest.
            report_from(reporter(1), 4, Vec::new()).unwrap();
        });
    });
}

#[test]
fn who_left_the_set_before_the_closing_does_not_count() {
    run(&equals(4), || {
        Measurement::enrol(&node(1), &stranger()).unwrap();
        go_to(5);
        block(time_in(5), || {
            for n in [1, 2, 3] {
                report(n, 5, &[Observation::Down]).unwrap();
            }
        });
        Set::set(vec![(3, 1), (4, 1), (5, 1), (6, 1)]);
        go_to(7);
        let counters = Measurement::counters(&node(1)).unwrap();
        assert_eq!((counters.bad, counters.void), (0, 5), "one report of four is not more than a third");
        assert_eq!(Reports::<Test>::iter().count(), 0, "the reports of those that left are gone too");
    });
}

#[test]
fn a_validator_keeps_its_bit_when_the_set_changes() {
    run(&equals(3), || {
        Measurement::enrol(&node(1), &stranger()).unwrap();
        let mut bits_of_three = Vec::new();
        // Validator 3 moves through all places of the set, and is away once.
        for (slot, set) in [(5u64, vec![1u8, 2, 3]), (8, vec![3]), (11, vec![4, 5]), (14, vec![3, 4]), (17, vec![6, 3])]
        {
            Set::set(set.iter().map(|n| (*n, 1)).collect());
            go_to(slot);
            block(time_in(slot), || {
                for n in &set {
                    let seen = if *n == 3 || !set.contains(&3) { Observation::Down } else { Observation::None };
                    report(*n, slot, &[seen]).unwrap();
                }
            });
            go_to(slot + 2);
            let heard = Verdicts::get().pop().unwrap();
            if set.contains(&3) && heard.verdict == Verdict::Down {
                assert_eq!(heard.slot, slot);
                bits_of_three.push(heard.down_reporters);
            }
        }
        assert_eq!(bits_of_three.len(), 3, "in the first set one of three is no verdict");
        assert!(bits_of_three.iter().all(|bits| *bits == vec![0b100]), "{bits_of_three:?}");
    });
}

#[test]
fn seats_of_the_gone_serve_newcomers_when_all_are_taken() {
    run(&[], || {
        let set = |range: core::ops::RangeInclusive<u8>| range.map(|n| (validator(n), 1)).collect::<Vec<_>>();
        let first = Measurement::seats_of(&set(1..=100));
        assert_eq!(first, (0..100).map(Some).collect::<Vec<_>>());
        let shifted = Measurement::seats_of(&set(3..=102));
        assert_eq!(shifted[..98], first[2..], "who stays keeps the seat");
        assert_eq!(shifted[98..], [Some(0), Some(1)], "newcomers take those of the gone");
    });
}
