//! Amounts do not depend on how much work a block does.

use crate::{Ends, Error, Starts, mock::*};
use frame_support::{assert_noop, assert_ok};
use x0_types::{
    deal::{Capacity, DealState, Outcome},
    market::{DealId, DealQueue, MarketHooks},
};

/// This many deals on as many nodes as they need, all confirmed in slot 10.
fn many(count: u64) -> Vec<DealId> {
    let part = Capacity { bandwidth_kbps: 30, sessions: 1 };
    let wide = Capacity { bandwidth_kbps: 1_000, sessions: 1_000 };
    (0..count)
        .map(|number| {
            let (provider, node) = if number / 32 % 2 == 0 {
                (PROVIDER, NODE + number / 32)
            } else {
                (PROVIDER_2, OTHER_NODE + number / 32)
            };
            if number % 32 == 0 {
                assert_ok!(Market::list(signed(provider), node, offer(PRICE, wide, region("eu"), 10, 1_000, BOND)));
            }
            let deal =
                rent(RENTER + number % 2, number / 32, part, 20 + number % 7, 1_000 + u128::from(number)).unwrap();
            assert_ok!(confirm(deal));
            deal
        })
        .collect()
}

fn outcomes(deals: &[DealId]) -> Vec<Option<Outcome>> {
    deals.iter().map(|deal| deal_of(*deal).outcome).collect()
}

/// M14, M15: the reference scenario, 250 failures at one block: ceil(250 / cap) blocks pay the same amounts
/// as one block without a cap.
#[test]
fn two_hundred_and_fifty_failures_are_paid_over_three_blocks_with_the_same_amounts() {
    let run = |cap: u32, per_block: &[usize]| {
        let mut end = None;
        with_chain(|| {
            Cap::set(cap);
            let deals = many(250);
            for node in 0..8 {
                plan(NODE + node, 15..18, Seen::Down(ALL));
                plan(OTHER_NODE + node, 15..18, Seen::Down(ALL));
            }
            close_up_to(17);
            assert!(deals.iter().all(|deal| state(*deal) == DealState::Frozen));
            let failed_at = System::block_number();
            for expected in per_block {
                forward(0);
                let paid = deals.iter().filter(|deal| state(**deal) == DealState::Failed).count();
                assert_eq!(paid, *expected);
            }
            assert!(deals.iter().all(|deal| deal_of(*deal).frozen.unwrap().height == failed_at));
            end = Some((balances(), outcomes(&deals)));
        });
        end.unwrap()
    };
    let capped = run(100, &[100, 200, 250]);
    let unlimited = run(1_000_000, &[250]);
    assert_eq!(capped, unlimited);
    assert_eq!(capped, run(1, &(1..=250).collect::<Vec<_>>()));
    assert_eq!(capped.1[0].unwrap().good_slots, 4);
}

/// Starts and ends of one slot that do not fit a block go on in the next, and nothing shifts.
#[test]
fn a_small_budget_for_closing_shifts_no_amount() {
    let run = |budget: u32| {
        let mut end = None;
        with_chain(|| {
            SlotBudget::set(budget);
            let deals = many(100);
            let mut blocks = 0;
            while deals.iter().any(|deal| !state(*deal).is_terminal()) {
                forward(1);
                blocks += 1;
                assert!(blocks < 1_000);
            }
            for deal in &deals {
                let deal = deal_of(*deal);
                assert_eq!(deal.state, DealState::Completed);
                assert_eq!(deal.outcome.unwrap().good_slots, deal.term_slots);
            }
            end = Some((balances(), outcomes(&deals)));
        });
        end.unwrap()
    };
    assert_eq!(run(3), run(256));
}

#[test]
fn slot_work_counts_its_units_and_stops_at_the_budget() {
    with_chain(|| {
        let deals = many(5);
        assert_eq!(Market::next_slot_with_work(8), Some(10));
        world(|w| {
            w.current = 12;
            w.closed = 10;
        });
        let work = Market::slot_closed(9, 10);
        assert_eq!((work.used, work.done), (0, true));
        let work = Market::slot_closed(10, 3);
        assert_eq!((work.used, work.done), (3, false));
        assert_eq!(Starts::<Test>::iter_keys().count(), 2);
        let work = Market::slot_closed(10, 3);
        assert_eq!((work.used, work.done), (2, true));
        // The terms are 20 to 24: the first end is slot 30.
        assert_eq!(Market::next_slot_with_work(10), Some(30));
        assert_eq!(Market::next_slot_with_work(40), Some(41), "work that is late stops the next slot");
        for deal in deals {
            assert_ok!(Market::cancel(signed(deal_of(deal).renter), deal));
        }
        assert_eq!(Ends::<Test>::iter_keys().count(), 0);
        assert_eq!(Market::next_slot_with_work(10), None);
    });
}

/// A deal whose payment fails stays frozen, is reported, and is paid once the cause is gone.
#[test]
fn a_payment_that_fails_is_retried_until_it_succeeds() {
    with_chain(|| {
        let deal = confirmed(NODE, 20, 1_000);
        close_up_to(30);
        assert_eq!(state(deal), DealState::Frozen);
        // The ledger is hidden, so that the payment fails; invariants do not hold meanwhile.
        let ledger = pallet_x0_escrow::Ledgers::<Test>::take(deal).unwrap();
        let before = balances();
        for _ in 0..x0_limits::JANITOR_ATTEMPTS_MAX {
            let next = System::block_number() + 1;
            System::set_block_number(next);
            <Janitor as frame_support::traits::Hooks<u32>>::on_initialize(next);
        }
        assert_eq!(balances(), before);
        assert_eq!(state(deal), DealState::Frozen);
        assert!(Janitor::is_queued(deal));
        let stuck = System::events().into_iter().any(|record| {
            matches!(record.event, RuntimeEvent::Janitor(pallet_x0_janitor::Event::JanitorStuck { deal: 0, ref reason, .. })
                if reason.as_deref() == Some(b"TermServed"))
        });
        assert!(stuck);
        assert_noop!(Market::cancel(signed(RENTER), deal), Error::<Test>::NotRunning);
        pallet_x0_escrow::Ledgers::<Test>::insert(deal, ledger);
        assert_ok!(Janitor::retry(RuntimeOrigin::root(), deal));
        forward(0);
        assert_eq!((state(deal), outcome(deal).gross), (DealState::Completed, 140));
    });
}
