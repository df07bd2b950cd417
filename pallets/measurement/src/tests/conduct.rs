//! How validators keep to their duty is counted: by slot, by node, and never when nobody could do it.

use super::equals;
use crate::{Conduct, Event, mock::*};
use frame_support::pallet_prelude::Pays;
use x0_types::market::{Meter, Observation};

#[test]
fn missing_hidden_and_false_reports_are_counted_for_each_validator() {
    run(&equals(4), || {
        for n in 1..=2 {
            Measurement::enrol(&node(n), &stranger()).unwrap();
        }
        go_to(5);
        block(time_in(5), || {
            report(1, 5, &[Observation::Up, Observation::Conflict]).unwrap();
            report(2, 5, &[Observation::Up, Observation::Up]).unwrap();
            report(3, 5, &[Observation::Up, Observation::Up]).unwrap();
        });
        Withholding::set([2, 3].into());
        go_to(7);
        block(time_in(7), || {
            let other = reveal(reporter(3), 5, vec![0], ROOT).unwrap();
            assert_eq!(other.pays_fee, Pays::Yes, "another report than the one committed to pays");
            let noted = Event::Mismatched { slot: 5, validator: validator(3) };
            assert!(System::events().iter().any(|record| record.event == RuntimeEvent::Measurement(noted.clone())));
        });
        go_to(8);
        assert_eq!(Measurement::closed_slot(), 4, "two may still show theirs");
        go_to(9);
        assert!(Measurement::closed_slot() >= 5);
        let conduct = |n| Measurement::conduct(&validator(n));
        let base = Conduct { asked: 2, ..Conduct::default() };
        assert_eq!(conduct(1), Conduct { reported: 1, unknown: 1, ..base });
        assert_eq!(conduct(2), Conduct { unrevealed: 1, unknown: 2, ..base });
        assert_eq!(conduct(3), Conduct { mismatched: 1, unknown: 2, ..base });
        assert_eq!(conduct(4), Conduct { missing: 1, unknown: 2, ..base });
        assert_eq!((conduct(1).unknown_ppm(), conduct(4).unknown_ppm()), (500_000, 1_000_000));
        // Slots on which nobody reports, as in a standstill, are nobody's fault.
        go_to(40);
        assert_eq!(conduct(4), Conduct { missing: 1, unknown: 2, ..base });
        assert_eq!(Measurement::conduct(&stranger()).unknown_ppm(), 0);
    });
}

/// A mistake may be put right while there is time.
#[test]
fn the_right_report_may_follow_a_false_one() {
    run(&equals(1), || {
        go_to(5);
        block(time_in(5), || report(1, 5, &[]).unwrap());
        Withholding::set([1].into());
        go_to(7);
        block(time_in(7), || {
            assert_eq!(reveal(reporter(1), 5, Vec::new(), Default::default()).unwrap().pays_fee, Pays::Yes);
            assert_eq!(reveal(reporter(1), 5, Vec::new(), ROOT).unwrap().pays_fee, Pays::No);
        });
        go_to(8);
        let conduct = Measurement::conduct(&validator(1));
        assert_eq!((conduct.reported, conduct.mismatched), (1, 0));
    });
}

/// Entries are bounded: who left the set gives way.
#[test]
fn the_records_of_the_gone_give_way_to_newcomers() {
    run(&[], || {
        Set::set((1..=100).map(|n| (n, 1)).collect());
        Measurement::book_conduct(1, &crate::NodeBits::default());
        Set::set((3..=102).map(|n| (n, 1)).collect());
        Measurement::book_conduct(2, &crate::NodeBits::default());
        assert_eq!(Measurement::conduct(&validator(102)).missing, 1);
        assert_eq!(Measurement::conduct(&validator(50)).missing, 2);
        assert_eq!(crate::Conducts::<Test>::get().len(), 100);
    });
}
