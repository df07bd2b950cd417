//! One test for each edge of a deal's life that is not a failure.

use crate::{Deals, Error, Manifests, mock::*};
use frame_support::{assert_noop, assert_ok};
use sp_runtime::traits::BadOrigin;
use x0_limits::CONFIRM_DEADLINE_SLOTS;
use x0_types::{
    deal::{CloseReason, DealState, DealTerms, Outcome},
    market::DealQueue,
};

type Fails = Error<Test>;

/// Deposits and bonds of the usual deal: 100 slots of 7 and a bit.
const DEPOSIT: u128 = 1_000;

#[test]
fn request_funds_a_deal() {
    with_chain(|| {
        let listing = list_node(NODE).unwrap();
        let deal = rent(RENTER, listing, CAPACITY, 100, DEPOSIT).unwrap();
        assert_eq!(state(deal), DealState::Funded);
        assert_eq!(free(RENTER), RICH - DEPOSIT);
        assert_eq!(Escrow::escrowed(deal), DEPOSIT);
        assert!(Janitor::is_queued(deal));
        assert_eq!(deal_of(deal).manifest_hash, manifest().hash());
        assert_eq!(Manifests::<Test>::get(deal), Some(manifest()));
        // Nothing but the provider's confirmation or the deadline moves it.
        assert_noop!(Market::settle(signed(RENTER), deal), Fails::NotRunning);
        assert_noop!(Market::cancel(signed(RENTER), deal), Fails::NotRunning);
        assert_noop!(Market::confirm(signed(RENTER), deal, manifest().hash()), Fails::NotProvider);
        assert_noop!(Market::confirm(signed(PROVIDER), 9, manifest().hash()), Fails::UnknownDeal);
        assert_noop!(Market::confirm(RuntimeOrigin::none(), deal, manifest().hash()), BadOrigin);
    });
}

/// M13: mutant "deposit kept on Expired".
#[test]
fn an_unconfirmed_deal_expires_and_the_deposit_comes_back() {
    with_chain(|| {
        let listing = list_node(NODE).unwrap();
        let deal = rent(RENTER, listing, CAPACITY, 100, DEPOSIT).unwrap();
        block_at(10 + CONFIRM_DEADLINE_SLOTS);
        assert_eq!(state(deal), DealState::Funded, "the deadline slot itself is in time");
        forward(1);
        assert_eq!((state(deal), reason(deal)), (DealState::Expired, CloseReason::NotConfirmed));
        assert_eq!(free(RENTER), RICH);
        assert_eq!(outcome(deal), Outcome { refund: DEPOSIT, ..Outcome::default() });
        assert_noop!(confirm(deal), Fails::NotFunded);
    });
}

#[test]
fn the_confirm_deadline_does_not_wait_for_the_janitor() {
    with_chain(|| {
        let listing = list_node(NODE).unwrap();
        let deal = rent(RENTER, listing, CAPACITY, 100, DEPOSIT).unwrap();
        let in_time = rent(RENTER_2, listing, SMALL, 100, DEPOSIT).unwrap();
        world(|w| w.current = 10 + CONFIRM_DEADLINE_SLOTS);
        assert_ok!(confirm(in_time));
        world(|w| w.current += 1);
        assert_noop!(confirm(deal), Fails::ConfirmTooLate);
    });
}

/// M20: the bond is held from the confirmation on.
#[test]
fn confirmation_posts_the_bond_and_starts_with_the_next_slot() {
    with_chain(|| {
        let deal = confirmed(NODE, 100, DEPOSIT);
        assert_eq!(state(deal), DealState::Active);
        assert_eq!(free(PROVIDER), RICH - LISTING_DEPOSIT - BOND);
        assert!(deal_of(deal).run.unwrap().start.is_none());
        // The slot of the confirmation, 10, is not billed; 11 to 14 are.
        close_up_to(10);
        assert_eq!(deal_of(deal).run.unwrap().start.unwrap().closed, 10);
        assert_ok!(Market::settle(signed(RENTER_2), deal));
        assert_eq!(free(PROVIDER), RICH - LISTING_DEPOSIT - BOND);
        close_up_to(14);
        let reading = Market::meter(deal).unwrap();
        assert_eq!((reading.slots, reading.good, reading.gross, reading.paid), (4, 4, 28, 0));
        assert_ok!(Market::settle(signed(RENTER_2), deal));
        assert_eq!(free(PROVIDER), RICH - LISTING_DEPOSIT - BOND + 28);
        assert_noop!(confirm(deal), Fails::NotFunded);
    });
}

#[test]
fn a_provider_without_money_cannot_confirm() {
    with_chain(|| {
        let listing = list_node(NODE).unwrap();
        let deal = rent(RENTER, listing, CAPACITY, 100, DEPOSIT).unwrap();
        let rest = free(PROVIDER) - EXISTENTIAL - BOND + 1;
        assert_ok!(Balances::transfer_allow_death(signed(PROVIDER), RENTER_2, rest));
        assert_noop!(confirm(deal), pallet_x0_escrow::Error::<Test>::BondNotCovered);
        assert_ok!(Balances::transfer_allow_death(signed(RENTER_2), PROVIDER, 1));
        assert_ok!(confirm(deal));
    });
}

/// M19: mutants "void slot billed" and its sister for UNKNOWN.
#[test]
fn only_good_slots_are_billed() {
    with_chain(|| {
        let deal = confirmed(NODE, 100, DEPOSIT);
        plan(NODE, [12], Seen::Down(ALL));
        plan(NODE, [13], Seen::Unknown);
        plan(NODE, [14], Seen::Conflict);
        world(|w| w.void_slots.extend([15, 16]));
        close_up_to(20);
        let reading = Market::meter(deal).unwrap();
        assert_eq!((reading.slots, reading.good), (10, 5));
        assert_eq!((reading.bad, reading.unknown, reading.void), (1, 2, 2));
        assert_ok!(Market::cancel(signed(RENTER), deal));
        assert_eq!(outcome(deal).gross, 5 * 7);
        // The record of an ended deal says what became of its slots, whatever the node does afterwards.
        let ended = Market::meter(deal).unwrap();
        assert_eq!((ended.slots, ended.good, ended.bad, ended.unknown, ended.void), (10, 5, 1, 2, 2));
        plan(NODE, 21..30, Seen::Down(ALL));
        close_up_to(25);
        let later = Market::meter(deal).unwrap();
        assert_eq!((later.slots, later.bad, later.void), (10, 1, 2));
    });
}

/// M6, M8: mutant "truncating per settle"; I5: rate 7/10 a slot.
#[test]
fn settling_often_or_never_pays_the_same() {
    let run = |often: bool| {
        let mut end = Vec::new();
        with_chain(|| {
            let listing = list_node(NODE).unwrap();
            let deal = rent(RENTER, listing, SMALL, 50, DEPOSIT).unwrap();
            assert_ok!(confirm(deal));
            for _ in 0..55 {
                forward(1);
                if often && state(deal).is_running() {
                    assert_ok!(Market::settle(signed(RENTER_2), deal));
                    let after = balances();
                    assert_ok!(Market::settle(signed(RENTER_2), deal));
                    assert_eq!(balances(), after, "settling twice in a slot moves nothing");
                }
            }
            assert_eq!(state(deal), DealState::Completed);
            assert_eq!(outcome(deal).gross, 35);
            end = balances();
        });
        end
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn a_deal_completes_when_its_end_slot_closes() {
    with_chain(|| {
        let deal = confirmed(NODE, 100, DEPOSIT);
        close_up_to(109);
        assert_eq!(state(deal), DealState::Active);
        close_up_to(110);
        assert_eq!((state(deal), reason(deal)), (DealState::Frozen, CloseReason::TermServed));
        assert_noop!(Market::settle(signed(RENTER), deal), Fails::NotRunning);
        assert_noop!(Market::cancel(signed(RENTER), deal), Fails::NotRunning);
        forward(1);
        assert_eq!(state(deal), DealState::Completed);
        let expected = Outcome {
            good_slots: 100,
            gross: 700,
            to_provider: 683,
            fee: 17,
            refund: 300,
            slash: 0,
            compensation: 0,
            bond_back: BOND,
        };
        assert_eq!(outcome(deal), expected);
        assert_eq!(balances(), vec![RICH - LISTING_DEPOSIT + 683, RICH, RICH - 700, RICH, EXISTENTIAL + 17]);
        assert!(!Janitor::is_queued(deal));
        assert_noop!(Market::cancel(signed(RENTER), deal), Fails::NotRunning);
    });
}

/// M7, M10: the deal ends with its last affordable slot, found in the block in which that slot closes.
#[test]
fn a_deposit_that_is_used_up_ends_the_deal_before_its_term() {
    with_chain(|| {
        // 14 slots are affordable; two units go back.
        let deal = confirmed(NODE, 100, 100);
        plan(NODE, [12, 13], Seen::Unknown);
        close_up_to(25);
        assert_eq!(state(deal), DealState::Active);
        close_up_to(26);
        assert_eq!((state(deal), reason(deal)), (DealState::Exhausted, CloseReason::DepositExhausted));
        let result = outcome(deal);
        assert_eq!((result.good_slots, result.gross, result.refund, result.bond_back), (14, 98, 2, BOND));
        assert_eq!(deal_of(deal).frozen.unwrap().height, System::block_number());
    });
}

/// I10: a deal that was not good all the time is looked at again when it can be used up.
#[test]
fn the_janitor_moves_a_running_deal_forward() {
    with_chain(|| {
        let deal = confirmed(NODE, 1_000, 100);
        let mut last = 0;
        for slot in 11..400 {
            if slot % 3 != 0 {
                plan(NODE, [slot], Seen::Unknown);
            }
        }
        while state(deal).is_running() {
            match pallet_x0_janitor::Entries::<Test>::get(deal).unwrap().place {
                pallet_x0_janitor::Place::AtSlot(slot) => {
                    assert!(slot > world(|w| w.current) && slot >= last, "strictly forward");
                    last = slot;
                }
                place => panic!("{place:?}"),
            }
            forward(1);
        }
        // Every third slot from 12 on is good: the 14th is 51.
        assert_eq!((state(deal), world(|w| w.closed)), (DealState::Exhausted, 51));
    });
}

/// M13: what is not earned comes back at once.
#[test]
fn a_cancelling_renter_pays_the_closed_good_slots_at_once() {
    with_chain(|| {
        let deal = confirmed(NODE, 100, DEPOSIT);
        close_up_to(20);
        assert_noop!(Market::cancel(signed(RENTER_2), deal), Fails::NotRenter);
        assert_noop!(Market::cancel(signed(PROVIDER), deal), Fails::NotRenter);
        assert_ok!(Market::cancel(signed(RENTER), deal));
        assert_eq!((state(deal), reason(deal)), (DealState::Cancelled, CloseReason::CancelledByRenter));
        let result = outcome(deal);
        assert_eq!((result.gross, result.refund, result.bond_back), (70, 930, BOND));
        assert!(!Janitor::is_queued(deal));
        assert_noop!(Market::cancel(signed(RENTER), deal), Fails::NotRunning);
        assert_noop!(Market::settle(signed(RENTER), deal), Fails::NotRunning);
        forward(200);
        assert_eq!(free(RENTER), RICH - 70, "nothing is paid twice");
    });
}

#[test]
fn a_suspect_deal_can_be_cancelled() {
    with_chain(|| {
        let deal = confirmed(NODE, 100, DEPOSIT);
        plan(NODE, [15, 16], Seen::Down(ALL));
        close_up_to(16);
        assert_eq!(state(deal), DealState::Suspect);
        assert_ok!(Market::cancel(signed(RENTER), deal));
        assert_eq!(outcome(deal).gross, 4 * 7);
    });
}

#[test]
fn a_deal_that_never_started_costs_nothing_to_cancel() {
    with_chain(|| {
        let deal = confirmed(NODE, 100, DEPOSIT);
        assert_ok!(Market::cancel(signed(RENTER), deal));
        assert_eq!(free(RENTER), RICH);
        assert_eq!(outcome(deal).bond_back, BOND);
        forward(200);
    });
}

/// M30: mutant "live (not snapshotted) fee"; I14.
#[test]
fn a_deal_keeps_the_parameters_of_its_confirmation() {
    with_chain(|| {
        let listing = list_node(NODE).unwrap();
        let deal = rent(RENTER, listing, SMALL, 100, DEPOSIT).unwrap();
        let early = DealTerms { fee_ppm: 100_000, ..UNCONTESTED };
        assert_ok!(set_terms(early));
        assert_ok!(confirm(deal));
        let late = DealTerms {
            fee_ppm: 200_000,
            compensation_ppm: 0,
            slash_ladder_ppm: [1_000_000; 3],
            fail_run_slots: 1,
            ..UNCONTESTED
        };
        assert_ok!(set_terms(late));
        close_up_to(60);
        plan(NODE, [61], Seen::Down(ALL));
        close_up_to(61);
        assert_eq!(state(deal), DealState::Suspect, "one DOWN slot is not the run of this deal");
        close_up_to(110);
        forward(1);
        assert_eq!(deal_of(deal).run.unwrap().terms, early);
        assert_eq!((outcome(deal).gross, outcome(deal).fee), (69, 6), "99 good slots of 7/10, a tenth of it");

        assert_noop!(Market::set_parameters(signed(PROVIDER), late, early), BadOrigin);
        // Somebody else's change came first: what was read does not stand any more.
        let root = RuntimeOrigin::root();
        assert_noop!(Market::set_parameters(root, early, UNCONTESTED), Fails::ParametersMismatch);
        for bad in [
            DealTerms { fee_ppm: x0_limits::FEE_PPM_MAX + 1, ..early },
            DealTerms { compensation_ppm: x0_limits::COMPENSATION_PPM_MAX + 1, ..early },
            DealTerms { slash_ladder_ppm: [0, 0, 1_000_001], ..early },
            DealTerms { slash_ladder_ppm: [2, 1, 3], ..early },
            DealTerms { slash_ladder_ppm: [1, 3, 2], ..early },
            DealTerms { fail_run_slots: 0, ..early },
            DealTerms { fail_run_slots: x0_limits::FAIL_RUN_SLOTS_MAX + 1, ..early },
            DealTerms { conflict_run_slots: 0, ..early },
            DealTerms { contested_ppm: 1_000_001, ..early },
            DealTerms { dispute_window_slots: 0, ..early },
            DealTerms { dispute_window_slots: x0_limits::DISPUTE_SLOTS_MAX + 1, ..early },
            DealTerms { ruling_slots: 0, ..early },
            DealTerms { maintenance_ppm: x0_limits::MAINTENANCE_PPM_MAX + 1, ..early },
        ] {
            assert_noop!(set_terms(bad), Fails::InvalidParameters);
        }
    });
}

#[test]
fn the_records_of_the_last_ended_deals_stay() {
    with_chain(|| {
        ClosedDealsKept::set(3);
        for expected in 0..5 {
            let deal = confirmed(NODE, 100, DEPOSIT);
            assert_eq!(deal, expected);
            assert_ok!(Market::cancel(signed(RENTER), deal));
            check();
        }
        let mut kept: Vec<_> = Deals::<Test>::iter_keys().collect();
        kept.sort_unstable();
        assert_eq!(kept, [2, 3, 4]);
        assert_eq!(Manifests::<Test>::iter_keys().count(), 3);
    });
}

/// A node that is not measured can neither be billed nor blamed.
#[test]
fn a_deal_on_a_node_that_is_not_measured_gives_everything_back() {
    with_chain(|| {
        let deal = confirmed(NODE, 100, DEPOSIT);
        let counters = world(|w| w.nodes.remove(&NODE)).unwrap();
        // The invariants of a listing do not hold meanwhile, so the blocks are made by hand.
        world(|w| w.current = 12);
        let closing = world(|w| {
            w.closed = 10;
            10
        });
        use x0_types::market::MarketHooks;
        assert!(Market::slot_closed(closing, 10).done);
        assert_eq!((state(deal), reason(deal)), (DealState::Frozen, CloseReason::NotMeasured));
        world(|w| w.nodes.insert(NODE, counters));
        forward(1);
        assert_eq!(state(deal), DealState::Cancelled);
        assert_eq!((free(RENTER), outcome(deal).bond_back), (RICH, BOND));
    });
}
