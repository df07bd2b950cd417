//! SLA windows and what their policies pay.

use crate::{Ends, FailuresOf, mock::*};
use frame_support::assert_ok;
use x0_limits::MAINTENANCE_LEAD_SLOTS;
use x0_types::{
    deal::{CloseReason, DealState, DealTerms, SlaPolicy, SlaTerms},
    market::{DealId, SlaBreach, SlaObserver as _},
};

/// Windows of fifty slots, of which nine in ten are promised.
fn windows(policy: SlaPolicy) -> SlaTerms {
    SlaTerms { policy, window_slots: 50, availability_ppm_min: 900_000, ..SlaTerms::default() }
}

fn window(deal: DealId) -> (u64, u64) {
    let window = deal_of(deal).run.unwrap().window;
    (window.index, window.confirmed_good)
}

/// M16: windows of 11 to 60, 61 to 110: the first keeps its promise exactly, the second misses it by a
/// slot, though the node was never DOWN for long.
#[test]
fn a_window_below_its_promise_fails_the_deal() {
    with_chain(|| {
        let deal = promised(NODE, windows(SlaPolicy::ProRata), 1_000, 10_000);
        plan(NODE, [12, 22, 32, 42, 52], Seen::Down(ALL));
        plan(NODE, [62, 72, 82, 92, 100, 102], Seen::Down(ALL));
        close_up_to(60);
        assert_eq!((state(deal), window(deal)), (DealState::Active, (1, 45)));
        close_up_to(109);
        assert_eq!(state(deal), DealState::Active);
        close_up_to(110);
        let frozen = deal_of(deal).frozen.unwrap();
        assert_eq!((frozen.reason, frozen.slot, frozen.good_slots), (CloseReason::WindowMissed, 110, 89));
        forward(1);
        // Every good slot is paid; the broken promise costs the first step of the ladder.
        assert_eq!((state(deal), outcome(deal).gross, outcome(deal).slash), (DealState::Failed, 89 * 7, BOND / 20));
        assert_eq!(FailuresOf::<Test>::get(PROVIDER).len(), 1);
    });
}

/// M19: UNKNOWN, CONFLICT and VOID slots break no promise: nine of ten judged slots are enough.
#[test]
fn slots_that_nobody_could_judge_break_no_promise() {
    with_chain(|| {
        let deal = promised(NODE, windows(SlaPolicy::ProRata), 1_000, 10_000);
        plan(NODE, 12..30, Seen::Unknown);
        plan(NODE, [31, 33], Seen::Conflict);
        plan(NODE, [40], Seen::Down(ALL));
        world(|w| w.void_slots.extend(41..60));
        // 50 slots: 18 UNKNOWN, 2 CONFLICT, 19 VOID, 1 DOWN; 10 good of 11 judged.
        close_up_to(60);
        assert_eq!((state(deal), window(deal)), (DealState::Active, (1, 10)));
        // A window in which nothing was judged holds.
        world(|w| w.void_slots.extend(61..111));
        close_up_to(110);
        assert_eq!((state(deal), window(deal)), (DealState::Active, (2, 10)));
        // One judged slot, DOWN: the promise is broken.
        world(|w| w.void_slots.extend((111..161).filter(|slot| *slot != 130)));
        plan(NODE, [130], Seen::Down(ALL));
        close_up_to(160);
        assert_eq!(reason(deal), CloseReason::WindowMissed);
    });
}

/// M16: under ForfeitWindow nothing leaves the escrow before a window has closed and kept its
/// promise, however often somebody settles.
#[test]
fn money_stays_locked_until_the_window_confirms_it() {
    with_chain(|| {
        let deal = promised(NODE, windows(SlaPolicy::ForfeitWindow), 1_000, 10_000);
        plan(NODE, [20], Seen::Down(ALL));
        close_up_to(59);
        assert_ok!(Market::settle(signed(PROVIDER), deal));
        assert_eq!(Escrow::escrowed(deal), 10_000);
        let reading = Market::meter(deal).unwrap();
        assert_eq!((reading.good, reading.billable), (48, 0));
        close_up_to(60);
        assert_ok!(Market::settle(signed(PROVIDER), deal));
        assert_eq!(Escrow::escrowed(deal), 10_000 - 49 * 7);
        // The node dies in the second window: the good slots of that window go back to the renter.
        plan(NODE, 90..200, Seen::Down(ALL));
        close_up_to(92);
        forward(1);
        let frozen = deal_of(deal).frozen.unwrap();
        assert_eq!((frozen.reason, frozen.good_slots, frozen.forfeited_slots), (CloseReason::NodeDown, 49, 29));
        assert_eq!((outcome(deal).gross, outcome(deal).refund), (49 * 7, 10_000 - 49 * 7));
    });
}

/// M16: under ForfeitWindow a deal that ends without a failure pays for the open window if what there is
/// of it keeps the promise.
#[test]
fn the_open_window_is_judged_by_what_there_is_of_it() {
    let ends = |down: &[u64], end: &dyn Fn(DealId)| {
        let mut result = None;
        with_chain(|| {
            let deal = promised(NODE, windows(SlaPolicy::ForfeitWindow), 70, 10_000);
            for slot in down {
                plan(NODE, [*slot], Seen::Down(ALL));
            }
            end(deal);
            let frozen = deal_of(deal).frozen.unwrap();
            result = Some((frozen.reason, outcome(deal).good_slots, frozen.forfeited_slots));
        });
        result.unwrap()
    };
    let term = |deal| {
        close_up_to(80);
        forward(1);
        assert!(state(deal).is_terminal());
    };
    // Slots 61 to 80 are a window of twenty: two DOWN slots are a tenth, three are more.
    assert_eq!(ends(&[65, 75], &term), (CloseReason::TermServed, 68, 0));
    assert_eq!(ends(&[65, 70, 75], &term), (CloseReason::TermServed, 50, 17));
    let cancel = |deal| {
        close_up_to(70);
        assert_ok!(Market::cancel(signed(RENTER), deal));
    };
    assert_eq!(ends(&[65], &cancel), (CloseReason::CancelledByRenter, 59, 0));
    assert_eq!(ends(&[65, 67], &cancel), (CloseReason::CancelledByRenter, 50, 8));
}

/// M7, M15: under ForfeitWindow a deposit that was used up in an open window is judged as of its last
/// affordable slot, whoever finds it: the janitor, or a DOWN verdict that comes later.
#[test]
fn an_exhausted_window_is_judged_as_of_its_last_slot() {
    let run = |late_down: bool| {
        let mut result = None;
        with_chain(|| {
            // 20 affordable slots with two DOWN on the way: 11 to 32, a promise of nine in ten kept by 20 of 22.
            let deal = promised(NODE, windows(SlaPolicy::ForfeitWindow), 1_000, 140);
            plan(NODE, [15, 25], Seen::Down(ALL));
            close_up_to(31);
            assert_eq!(state(deal), DealState::Active);
            if late_down {
                // The janitor is kept away while the next slot closes with a DOWN verdict.
                Cap::set(0);
                plan(NODE, [33], Seen::Down(ALL));
                close_up_to(33);
                assert_eq!(state(deal), DealState::Frozen);
                Cap::set(100);
                forward(0);
            } else {
                close_up_to(32);
            }
            assert_eq!((state(deal), reason(deal)), (DealState::Exhausted, CloseReason::DepositExhausted));
            result = Some((outcome(deal), balances()));
        });
        result.unwrap()
    };
    let (outcome, end) = run(false);
    assert_eq!((outcome.good_slots, outcome.gross), (20, 140));
    assert_eq!(run(true), (outcome, end));
}

/// M24: maintenance that was announced breaks no window, and its credits count for its own window only.
#[test]
fn announced_maintenance_breaks_no_window() {
    with_chain(|| {
        assert_ok!(set_terms(DealTerms { maintenance_ppm: 100_000, ..UNCONTESTED }));
        let deal = promised(NODE, windows(SlaPolicy::ProRata), 1_000, 10_000);
        let from = 11 + MAINTENANCE_LEAD_SLOTS;
        assert_ok!(Market::announce_maintenance(signed(PROVIDER), 0, from, 30));
        plan(NODE, from..from + 30, Seen::Down(ALL));
        close_up_to(from + 49);
        assert_eq!((state(deal), window(deal).0), (DealState::Active, 13));
        // Six DOWN slots of the next window are six.
        for slot in [2, 4, 6, 8, 10, 12] {
            plan(NODE, [from + 50 + slot], Seen::Down(ALL));
        }
        close_up_to(from + 99);
        assert_eq!(reason(deal), CloseReason::WindowMissed);
    });
}

/// A deal without a promise has no windows and asks for nothing before its end.
#[test]
fn a_deal_without_a_promise_waits_for_its_end_alone() {
    with_chain(|| {
        let plain = SlaTerms { availability_ppm_min: 0, ..windows(SlaPolicy::ProRata) };
        let deal = promised(NODE, plain, 1_000, 10_000);
        let judged = promised(NODE_2, windows(SlaPolicy::ProRata), 1_000, 10_000);
        let slots: Vec<_> = Ends::<Test>::iter_keys().map(x0_types::deal::split_queue_key).collect();
        assert_eq!(slots, [(60, judged), (1_010, deal)]);
        for slot in (100..900).step_by(2) {
            plan(NODE, [slot], Seen::Down(ALL));
        }
        close_up_to(1_010);
        assert_eq!(reason(deal), CloseReason::TermServed);
    });
}

/// M16: round trip and throughput are the deal's own; what validators find broken fails it, once, and a
/// finding about a deal that is over changes nothing.
#[test]
fn a_broken_promise_of_service_fails_the_deal() {
    with_chain(|| {
        let sla = SlaTerms { round_trip_ms_max: 50, throughput_kbps_min: 800, ..SlaTerms::default() };
        let deal = promised(NODE, sla, 100, 1_000);
        let plain = promised(NODE_2, SlaTerms::default(), 100, 1_000);
        assert_eq!(Market::promise(deal), None, "nothing is billed yet");
        close_up_to(20);
        let promise = Market::promise(deal).unwrap();
        assert_eq!((promise.node, promise.provider, promise.renter, promise.first_slot), (NODE, PROVIDER, RENTER, 11));
        assert_eq!((promise.round_trip_ms_max, promise.throughput_kbps_min), (50, 800));
        assert_eq!(Market::promise(plain), None);
        let breach = SlaBreach { round_trip: true, throughput: false };
        Market::broken(deal, 11, 20, SlaBreach::default());
        assert_eq!(state(deal), DealState::Active);
        Market::broken(deal, 11, 20, breach);
        assert_eq!((state(deal), reason(deal)), (DealState::Frozen, CloseReason::ServiceMissed));
        Market::broken(deal, 11, 20, breach);
        forward(1);
        assert_eq!((state(deal), outcome(deal).gross, outcome(deal).slash), (DealState::Failed, 70, BOND / 20));
        Market::broken(deal, 11, 20, breach);
        Market::broken(99, 11, 20, breach);
        assert_eq!(FailuresOf::<Test>::get(PROVIDER).len(), 1);
        assert_eq!(Market::promise(deal), None);
        // A deposit that was used up ended the deal before.
        let spent = promised(OTHER_NODE, sla, 100, 70);
        let since = world(|w| w.current);
        Cap::set(0);
        close_up_to(since + 12);
        assert!(state(spent).is_running());
        Market::broken(spent, 11, 20, breach);
        assert_eq!(reason(spent), CloseReason::DepositExhausted);
        Cap::set(100);
    });
}
