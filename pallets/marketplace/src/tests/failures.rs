//! Runs of DOWN verdicts, slashes and compensation.

use crate::{Error, FailuresOf, Suspicions, mock::*};
use frame_support::{assert_noop, assert_ok};
use x0_types::{
    deal::{CloseReason, DealState, Outcome},
    market::{DealQueue, Slot},
};

const DEPOSIT: u128 = 1_000;
/// Slots of the slash ladder's window: 90 days of 6 s.
const WINDOW: Slot = 90 * 24 * 600;

/// M14, M21: the main job, the ledger of a node that dies.
#[test]
fn three_down_slots_fail_the_deal_and_the_next_block_pays() {
    with_chain(|| {
        let deal = confirmed(NODE, 100, DEPOSIT);
        plan(NODE, 21..100, Seen::Down(ALL));
        close_up_to(22);
        assert_eq!(state(deal), DealState::Suspect);
        assert_eq!(Suspicions::<Test>::get(deal).unwrap().run, 2);
        forward(1);
        let failed_at = System::block_number();
        let frozen = deal_of(deal).frozen.unwrap();
        assert_eq!(state(deal), DealState::Frozen);
        assert_eq!((frozen.reason, frozen.slot, frozen.height), (CloseReason::NodeDown, 23, failed_at));
        assert_eq!((frozen.good_slots, frozen.ladder_step), (10, Some(0)));
        assert_eq!((frozen.counts.slots, frozen.counts.bad), (13, 3));
        let evidence = frozen.evidence.unwrap();
        assert_eq!((evidence.run, evidence.since_slot, evidence.reporter_count(), evidence.validators), (3, 21, 4, 4));

        forward(0);
        assert_eq!((state(deal), System::block_number()), (DealState::Failed, failed_at + 1));
        let expected = Outcome {
            good_slots: 10,
            gross: 70,
            to_provider: 69,
            fee: 1,
            refund: 930,
            slash: 5_000,
            compensation: 4_000,
            bond_back: 95_000,
        };
        assert_eq!(outcome(deal), expected);
        let reading = Market::meter(deal).unwrap();
        assert_eq!((reading.slots, reading.good, reading.bad), (13, 10, 3), "the bad slots stay on record");
        let treasury = EXISTENTIAL + 1 + 1_000;
        assert_eq!(balances(), vec![RICH - LISTING_DEPOSIT + 69 - 5_000, RICH, RICH - 70 + 4_000, RICH, treasury]);
        // Mutant: the slash is paid twice.
        let after = balances();
        assert_noop!(Market::cancel(signed(RENTER), deal), Error::<Test>::NotRunning);
        forward(5);
        assert_eq!(balances(), after);
        assert!(!Janitor::is_queued(deal));
    });
}

/// Mutants: UP does not reset the run; UNKNOWN resets it.
#[test]
fn up_resets_a_run_and_nothing_else_does() {
    with_chain(|| {
        let deal = confirmed(NODE, 200, 10_000);
        plan(NODE, [11, 12, 14, 15], Seen::Down(ALL));
        close_up_to(13);
        assert_eq!(state(deal), DealState::Active, "13 was UP");
        assert!(Suspicions::<Test>::get(deal).is_none());
        close_up_to(15);
        assert_eq!(Suspicions::<Test>::get(deal).unwrap().run, 2);
        plan(NODE, [16], Seen::Unknown);
        plan(NODE, [17], Seen::Conflict);
        world(|w| w.void_slots.insert(18));
        close_up_to(18);
        assert_eq!((state(deal), Suspicions::<Test>::get(deal).unwrap().run), (DealState::Suspect, 2));
        plan(NODE, [19], Seen::Down(ALL));
        close_up_to(19);
        assert_eq!(state(deal), DealState::Frozen);
        assert_eq!(deal_of(deal).frozen.unwrap().good_slots, 1);
    });
}

/// I12: slots without a verdict never fail a deal, however many.
#[test]
fn unknown_and_void_alone_never_fail_a_deal() {
    with_chain(|| {
        let deal = confirmed(NODE, 100, DEPOSIT);
        plan(NODE, 11..50, Seen::Unknown);
        plan(NODE, 50..80, Seen::Conflict);
        world(|w| w.void_slots.extend(80..200));
        close_up_to(110);
        forward(1);
        assert_eq!(state(deal), DealState::Completed);
        assert_eq!((outcome(deal).gross, outcome(deal).slash), (0, 0));
    });
}

/// Mutant: the run counts from before the deal.
#[test]
fn a_run_from_before_the_deal_does_not_count() {
    with_chain(|| {
        list_node(NODE).unwrap();
        plan(NODE, 5..13, Seen::Down(ALL));
        let deal = confirmed(NODE, 100, DEPOSIT);
        // 8, 9 and the confirmation's slot 10 were DOWN already; of the deal's own only 11 and 12 are.
        close_up_to(12);
        assert_eq!((state(deal), Suspicions::<Test>::get(deal).unwrap().run), (DealState::Suspect, 2));
        close_up_to(13);
        assert_eq!(state(deal), DealState::Active);
    });
}

#[test]
fn a_node_that_never_answers_fails_after_the_run() {
    with_chain(|| {
        let deal = confirmed(NODE, 100, DEPOSIT);
        plan(NODE, 0..100, Seen::Down(ALL));
        close_up_to(13);
        forward(0);
        assert_eq!((state(deal), outcome(deal).gross, outcome(deal).refund), (DealState::Failed, 0, DEPOSIT));
    });
}

/// M18: mutant "union check at >= 2N". Three validators need three reporters, not two.
#[test]
fn two_of_three_reporters_are_not_enough() {
    with_chain(|| {
        Validators::set(3);
        let deal = confirmed(NODE, 100, DEPOSIT);
        plan(NODE, 11..60, Seen::Down(0b011));
        close_up_to(40);
        assert_eq!((state(deal), Suspicions::<Test>::get(deal).unwrap().run), (DealState::Suspect, 30));
        // Nobody pays for those slots, and nobody is blamed.
        assert_eq!(Market::meter(deal).unwrap().good, 0);
        // The union grows over the run: one report of the third is enough.
        plan(NODE, [41], Seen::Down(0b100));
        close_up_to(41);
        let frozen = deal_of(deal).frozen.unwrap();
        assert_eq!((frozen.reason, frozen.slot), (CloseReason::NodeDown, 41));
        assert_eq!(frozen.evidence.unwrap().reporters.to_vec(), vec![0b111]);
    });
}

#[test]
fn distinct_reporters_over_the_run_add_up() {
    with_chain(|| {
        let deal = confirmed(NODE, 100, DEPOSIT);
        // Two of four in each slot, three of four over the run.
        plan(NODE, [11, 12], Seen::Down(0b0011));
        plan(NODE, [13], Seen::Down(0b0110));
        close_up_to(13);
        assert_eq!(state(deal), DealState::Frozen);
        // A union from before an UP does not count.
        let other = confirmed(OTHER_NODE, 100, DEPOSIT);
        let first = world(|w| w.current) + 1;
        plan(OTHER_NODE, [first], Seen::Down(0b1100));
        plan(OTHER_NODE, first + 2..first + 5, Seen::Down(0b0011));
        close_up_to(first + 4);
        assert_eq!((state(other), Suspicions::<Test>::get(other).unwrap().run), (DealState::Suspect, 3));
    });
}

/// The last slot of a deal can fail it; later slots cannot.
#[test]
fn the_run_must_end_inside_the_deal() {
    with_chain(|| {
        let fails = confirmed(NODE, 20, DEPOSIT);
        let completes = confirmed(OTHER_NODE, 20, DEPOSIT);
        plan(NODE, 28..40, Seen::Down(ALL));
        plan(OTHER_NODE, 29..40, Seen::Down(ALL));
        close_up_to(31);
        assert_eq!(deal_of(fails).frozen.unwrap().reason, CloseReason::NodeDown);
        forward(5);
        assert_eq!((state(fails), state(completes)), (DealState::Failed, DealState::Completed));
        assert_eq!(outcome(completes).good_slots, 18);
    });
}

/// A deposit that is used up ends the deal, whether or not the janitor has come by.
#[test]
fn a_deal_without_money_left_cannot_fail() {
    with_chain(|| {
        // Ten slots are affordable: 11 to 20.
        let deal = confirmed(NODE, 100, 70);
        plan(NODE, 21..50, Seen::Down(ALL));
        world(|w| w.current = 21);
        check();
        // The clock jumps: slots 9 to 28 close in one block, before the janitor works.
        block_at(30);
        assert_eq!(deal_of(deal).frozen.unwrap().reason, CloseReason::DepositExhausted);
        forward(0);
        assert_eq!((state(deal), outcome(deal).gross, outcome(deal).slash), (DealState::Exhausted, 70, 0));

        // The same for a renter who cancels before the janitor comes by.
        let other = confirmed(OTHER_NODE, 100, 70);
        Cap::set(0);
        close_up_to(world(|w| w.current) + 10);
        assert_eq!(state(other), DealState::Active);
        assert_ok!(Market::cancel(signed(RENTER), other));
        assert_eq!((state(other), outcome(other).gross), (DealState::Exhausted, 70));
        Cap::set(100);
    });
}

#[test]
fn the_slash_ladder_rises_with_each_failure_and_forgets_after_ninety_days() {
    with_chain(|| {
        // One failure of a fresh deal on this node, at the slot given.
        let fail = |node: u64, slot: Slot| {
            // The clock jumps first: the slots passed over close without anybody.
            world(|w| {
                w.current = slot;
                w.closed = slot - 2;
            });
            let deal = confirmed(node, 100, DEPOSIT);
            plan(node, slot + 1..slot + 4, Seen::Down(ALL));
            close_up_to(slot + 4);
            assert_eq!(state(deal), DealState::Failed);
            outcome(deal).slash
        };
        assert_eq!(fail(NODE, 20), 5_000);
        assert_eq!(fail(NODE, 100), 20_000);
        assert_eq!(fail(NODE_2, 200), 100_000, "the ladder is the provider's, not the node's");
        assert_eq!(fail(OTHER_NODE, 300), 5_000, "another provider stands on its own ladder");
        assert_eq!(fail(NODE, 400), 100_000);
        // The verdicts fell in slots 103, 203 and 403: with one of them in the window, the second step.
        assert_eq!(fail(NODE, WINDOW + 203), 20_000);
        // Half-open: a failure exactly a window ago does not count.
        assert_eq!(fail(NODE, 2 * WINDOW + 203), 5_000);
        assert_eq!(FailuresOf::<Test>::get(PROVIDER).len(), 3);
    });
}

/// All deals of a node that fail in one slot are one failure.
#[test]
fn one_outage_is_one_failure() {
    with_chain(|| {
        let listing = list_node(NODE).unwrap();
        let deals: Vec<_> = (0..5).map(|_| rent(RENTER, listing, SMALL, 100, DEPOSIT).unwrap()).collect();
        for deal in &deals {
            assert_ok!(confirm(*deal));
        }
        plan(NODE, 11..14, Seen::Down(ALL));
        close_up_to(14);
        for deal in &deals {
            // A bond of a tenth, a twentieth of that.
            assert_eq!((state(*deal), outcome(*deal).slash), (DealState::Failed, 500));
        }
        assert_eq!(FailuresOf::<Test>::get(PROVIDER).len(), 1);
    });
}

/// Mutants: amounts not frozen; the ladder's step read at payment.
#[test]
fn what_happens_after_the_verdict_changes_no_amount() {
    let run = |later: bool| {
        let mut end = None;
        with_chain(|| {
            let deal = confirmed(NODE, 100, DEPOSIT);
            let other = confirmed(NODE_2, 100, DEPOSIT);
            plan(NODE, 21..24, Seen::Down(ALL));
            plan(NODE_2, 25..28, Seen::Down(ALL));
            close_up_to(23);
            assert_eq!(state(deal), DealState::Frozen);
            if later {
                // No janitor for 20 slots, in which the node is good again and the provider fails elsewhere.
                Cap::set(0);
                for _ in 0..20 {
                    forward(1);
                    assert_eq!(state(deal), DealState::Frozen);
                    assert_noop!(Market::settle(signed(RENTER), deal), Error::<Test>::NotRunning);
                }
                Cap::set(100);
            }
            forward(20);
            forward(1);
            assert_eq!((state(deal), state(other)), (DealState::Failed, DealState::Failed));
            end = Some((balances(), outcome(deal), outcome(other)));
        });
        end.unwrap()
    };
    assert_eq!(run(true), run(false));
}
