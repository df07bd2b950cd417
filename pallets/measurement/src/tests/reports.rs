//! Reports: one for each validator and slot, hidden first and shown later, in time, free of fee.

use super::equals;
use crate::{Commitments, Error, OpenSlots, Provable, Reports, mock::*};
use frame_support::pallet_prelude::Pays;
use x0_types::{
    Hash,
    market::{Meter, Observation, Verdict},
    receipt::report_commitment,
};

fn fails(outcome: Outcome, error: Error<Test>) {
    let failure = outcome.unwrap_err();
    assert_eq!(failure.error, error.into());
    assert_eq!(failure.post_info.pays_fee, Pays::Yes, "what is refused pays");
}

/// M17, M37: one transaction holds all observations of a validator in a slot, and only the first of each is free.
#[test]
fn the_first_commitment_and_its_report_are_free_and_all_else_is_refused() {
    run(&equals(2), || {
        go_to(5);
        block(time_in(5), || {
            assert_eq!(report(1, 5, &[]).unwrap().pays_fee, Pays::No);
            fails(report(1, 5, &[]), Error::AlreadyReported);
            assert_eq!(report(2, 5, &[]).unwrap().pays_fee, Pays::No, "another validator's is a first one too");
            assert_eq!(report(1, 4, &[]).unwrap().pays_fee, Pays::No, "another slot is a first one too");
            fails(reveal(reporter(1), 5, Vec::new(), ROOT), Error::NotRevealing);
        });
        block(time_in(5), || fails(report(1, 5, &[]), Error::AlreadyReported));
        Withholding::set([1].into());
        go_to(7);
        block(time_in(7), || {
            fails(reveal(reporter(2), 5, Vec::new(), ROOT), Error::AlreadyReported);
            fails(report(2, 5, &[]), Error::AlreadyReported);
            assert_eq!(reveal(reporter(1), 5, Vec::new(), ROOT).unwrap().pays_fee, Pays::No);
            fails(reveal(reporter(1), 5, Vec::new(), ROOT), Error::AlreadyReported);
        });
        // Nobody shows the report on slot 4, which is waited for one slot longer.
        go_to(8);
        assert_eq!(Measurement::closed_slot(), 3);
        go_to(9);
        assert!(Measurement::closed_slot() >= 5);
        assert_eq!(OpenSlots::<Test>::get().len(), 0);
        assert_eq!(Commitments::<Test>::iter().count(), 0);
        go_to(5 + x0_limits::CHALLENGE_SLOTS + 3);
        assert_eq!((Reports::<Test>::iter().count(), Provable::<Test>::get().len()), (0, 0), "nothing stays for ever");
    });
}

/// M17: what was not committed to in time cannot be shown, so nobody sees others' reports before he makes his own.
#[test]
fn reports_without_a_commitment_are_refused() {
    run(&equals(2), || {
        go_to(5);
        block(time_in(5), || report(1, 5, &[]).unwrap());
        go_to(7);
        block(time_in(7), || {
            assert_eq!(Reports::<Test>::iter_prefix(5).count(), 1, "the first report is public");
            fails(reveal(reporter(2), 5, Vec::new(), ROOT), Error::NotCommitted);
            let copied = report_commitment(&validator(2), 5, &[], &ROOT, &SALT);
            fails(commit(reporter(2), 5, copied), Error::SlotTooOld);
        });
    });
}

/// A commitment that somebody repeats is worthless to him: it names its validator.
#[test]
fn a_copied_commitment_cannot_be_opened() {
    run(&equals(2), || {
        go_to(5);
        let hash = report_commitment(&validator(1), 5, &[], &ROOT, &SALT);
        block(time_in(5), || {
            commit(reporter(1), 5, hash).unwrap();
            commit(reporter(2), 5, hash).unwrap();
        });
        go_to(7);
        block(time_in(7), || {
            assert_eq!(reveal(reporter(1), 5, Vec::new(), ROOT).unwrap().pays_fee, Pays::No);
            assert_eq!(reveal(reporter(2), 5, Vec::new(), ROOT).unwrap().pays_fee, Pays::Yes);
            assert!(!Reports::<Test>::contains_key(5, validator(2)));
        });
    });
}

#[test]
fn strangers_and_controllers_do_not_report() {
    run(&equals(2), || {
        go_to(5);
        block(time_in(5), || {
            fails(report(3, 5, &[]), Error::UnknownReporter);
            fails(commit(validator(1), 5, Hash::zero()), Error::UnknownReporter);
            fails(commit(stranger(), 5, Hash::zero()), Error::UnknownReporter);
            fails(reveal(stranger(), 5, Vec::new(), ROOT), Error::UnknownReporter);
        });
    });
}

/// A slot takes commitments from its beginning until a block whose parent lies in the second slot
/// after it; a block's own time decides what has begun.
#[test]
fn commitments_come_in_time() {
    for (parent, own, slot, expected) in [
        (5, 5, 5, None),
        (5, 6, 6, None),
        (5, 5, 6, Some(Error::<Test>::SlotInFuture)),
        (5, 5, u64::MAX, Some(Error::SlotInFuture)),
        (5, 5, 4, None),
        (5, 6, 4, None),
        (5, 7, 5, None),
        (6, 7, 5, None),
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

/// M17, architecture D7: one proposer cannot keep reports out. While validator 1 makes all blocks, neither the time
/// for commitments nor that for reports ends, however long that takes; with others among the proposers both do.
#[test]
fn a_single_proposer_cannot_close_a_window() {
    run(&equals(4), || {
        Measurement::enrol(&node(1), &stranger()).unwrap();
        go_to(5);
        block(time_in(5), || report(1, 5, &[Observation::Down]).unwrap());
        Turns::set(vec![1]);
        for slot in 6..20 {
            go_to(slot);
        }
        block(time_in(20), || report(2, 5, &[Observation::Down]).expect("the window is still open"));
        Turns::set(vec![1, 2]);
        Withholding::set([2].into());
        while OpenSlots::<Test>::get()[0].revealing.is_none() {
            block(time_in(20), || {});
        }
        // Now the same for showing them, by whoever made the block that began it.
        let height = OpenSlots::<Test>::get()[0].revealing.unwrap().1;
        let (alone, _) = crate::Authors::<Test>::get().into_iter().find(|(_, block)| *block >= height).unwrap();
        Turns::set(vec![if alone == validator(1) { 1 } else { 2 }]);
        block(time_in(20), || fails(report(3, 5, &[Observation::Down]), Error::SlotTooOld));
        for slot in 21..30 {
            go_to(slot);
        }
        assert_eq!(Measurement::closed_slot(), 4);
        block(time_in(30), || reveal(reporter(2), 5, vec![2], ROOT).expect("it may still be shown"));
        go_to(31);
        let counters = Measurement::counters(&node(1)).unwrap();
        assert_eq!((Measurement::closed_slot() >= 5, counters.bad), (true, 1), "all is shown: nobody is waited for");
    });
}

/// Below a third of the power is not enough, whatever the number of proposers.
#[test]
fn proposers_count_by_power() {
    run(&[(1, 1), (2, 1), (3, 1), (4, 10)], || {
        go_to(5);
        block(time_in(5), || report(1, 5, &[]).unwrap());
        Turns::set(vec![1, 2, 3]);
        go_to(9);
        block(time_in(9), || report(2, 5, &[]).expect("three small proposers hold 3 of 13"));
        Turns::set(vec![4]);
        go_to(10);
        block(time_in(10), || fails(report(3, 5, &[]), Error::SlotTooOld));
    });
}

#[test]
fn a_report_ends_with_the_last_index() {
    run(&equals(1), || {
        for n in 1..=5 {
            Measurement::enrol(&node(n), &stranger()).unwrap();
        }
        go_to(5);
        block(time_in(5), || {
            let commitment = |packed: &[u8]| report_commitment(&validator(1), 5, packed, &ROOT, &SALT);
            commit(reporter(1), 5, commitment(&[0; 3])).unwrap();
            // A short report says nothing of the rest.
            report(1, 4, &[]).unwrap();
        });
        go_to(7);
        block(time_in(7), || fails(reveal(reporter(1), 5, vec![0; 3], ROOT), Error::ReportTooLong));
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
        go_to(7);
        Set::set(vec![(3, 1), (4, 1), (5, 1), (6, 1)]);
        go_to(8);
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
        for (slot, set) in
            [(5u64, vec![1u8, 2, 3]), (10, vec![3]), (15, vec![4, 5]), (20, vec![3, 4]), (25, vec![6, 3])]
        {
            Set::set(set.iter().map(|n| (*n, 1)).collect());
            go_to(slot);
            block(time_in(slot), || {
                for n in &set {
                    let seen = if *n == 3 || !set.contains(&3) { Observation::Down } else { Observation::None };
                    report(*n, slot, &[seen]).unwrap();
                }
            });
            close(slot);
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
