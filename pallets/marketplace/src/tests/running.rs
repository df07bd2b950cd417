//! Keeping a deal going and leaving it by agreement: top-ups, renewals, notices, maintenance, bonds.

use crate::{Calendars, Error, MarksOf, mock::*};
use frame_support::{assert_noop, assert_ok};
use x0_limits::{MAINTENANCE_ANNOUNCED_MAX, MAINTENANCE_LEAD_SLOTS, MAINTENANCE_SLOTS_MAX};
use x0_types::{
    deal::{CloseReason, DealState, DealTerms, SlaTerms},
    market::DealId,
};

type Fails = Error<Test>;
type Purses = pallet_x0_escrow::Error<Test>;

const NOTICE: SlaTerms = SlaTerms { notice_slots: 600, cancel_notice_slots: 20, ..PLAIN };
const RENEWED: SlaTerms = SlaTerms { renewal: true, notice_slots: 600, ..PLAIN };
/// Promises nothing.
const PLAIN: SlaTerms = SlaTerms {
    policy: x0_types::deal::SlaPolicy::ProRata,
    window_slots: x0_limits::SLA_WINDOW_SLOTS,
    availability_ppm_min: 0,
    round_trip_ms_max: 0,
    throughput_kbps_min: 0,
    notice_slots: 0,
    cancel_notice_slots: 0,
    renewal: false,
};

fn entry_slot(deal: DealId) -> u64 {
    match pallet_x0_janitor::Entries::<Test>::get(deal).unwrap().place {
        pallet_x0_janitor::Place::AtSlot(slot) => slot,
        place => panic!("{place:?}"),
    }
}

/// M7, M11: anybody pays in, the old deadline is looked at and moves, and what is not earned is the
/// renter's.
#[test]
fn a_stranger_prolongs_a_deal() {
    with_chain(|| {
        // 14 slots are affordable: 11 to 24.
        let deal = confirmed(NODE, 100, 100);
        close_up_to(20);
        let deadline = entry_slot(deal);
        assert_eq!(deadline, 24 + CLOSING_SLOTS);
        assert_noop!(Market::top_up(signed(PROVIDER_2), deal, 4), Fails::TopUpTooSmall);
        assert_ok!(Market::top_up(signed(PROVIDER_2), deal, 75));
        assert_eq!((free(PROVIDER_2), deal_of(deal).deposit, Escrow::escrowed(deal)), (RICH - 75, 175, 175));
        assert_eq!(entry_slot(deal), deadline, "the entry is re-queued when it is looked at");
        assert_eq!(Market::meter(deal).unwrap().affordable_slots, 25);
        block_at(deadline);
        assert_eq!(state(deal), DealState::Active);
        assert_eq!(entry_slot(deal), 35 + CLOSING_SLOTS);
        // The renter tops up too, and cancels: everything that is not earned is its own.
        assert_ok!(Market::top_up(signed(RENTER), deal, 70));
        assert_ok!(Market::cancel(signed(RENTER), deal));
        assert_eq!((outcome(deal).gross, outcome(deal).refund), (14 * 7, 245 - 98));
        assert_eq!((free(RENTER), free(PROVIDER_2)), (RICH - 98 + 75, RICH - 75));
    });
}

/// M11: mutant "top-up accepted on a frozen deal".
#[test]
fn a_deal_that_is_over_takes_no_money() {
    with_chain(|| {
        let deal = confirmed(NODE, 100, 100);
        // The deposit is used up when slot 24 has closed. Even a janitor that has not come by yet does
        // not reopen the deal.
        Cap::set(1);
        close_up_to(23);
        world(|w| {
            w.current += 1;
            w.closed += 1;
        });
        assert!(state(deal).is_running());
        assert_noop!(Market::top_up(signed(RENTER), deal, 700), Fails::NotRunning);
        assert_noop!(Market::reclaim(signed(PROVIDER), deal), Fails::NotRunning);
        assert_noop!(Market::set_renewal(signed(RENTER), deal, 0), Fails::NotRunning);
        forward(1);
        assert_eq!((state(deal), reason(deal)), (DealState::Exhausted, CloseReason::DepositExhausted));
        assert_noop!(Market::top_up(signed(RENTER), deal, 700), Fails::NotRunning);
        // A failed deal that the janitor has not paid yet is frozen.
        let failed = confirmed(NODE_2, 100, 1_000);
        let since = world(|w| w.current);
        plan(NODE_2, since + 1..since + 100, Seen::Down(ALL));
        close_up_to(since + 3);
        assert_eq!(state(failed), DealState::Frozen);
        assert_noop!(Market::top_up(signed(RENTER), failed, 700), Fails::NotRunning);
        assert_noop!(Market::top_up(signed(RENTER), 99, 700), Fails::UnknownDeal);
        let waiting = rent(RENTER, 0, SMALL, 100, 1_000).unwrap();
        assert_noop!(Market::top_up(signed(RENTER), waiting, 700), Fails::NotRunning);
    });
}

#[test]
fn a_top_up_is_covered_and_leaves_the_payer_alive() {
    with_chain(|| {
        let deal = confirmed(NODE, 100, 100);
        for payer in [RENTER, RENTER_2] {
            let spare = free(payer) - EXISTENTIAL;
            assert_noop!(Market::top_up(signed(payer), deal, spare + 1), Purses::TopUpNotCovered);
        }
        assert_noop!(Market::top_up(signed(RENTER), deal, u128::MAX), Fails::Overflow);
        assert_ok!(Market::top_up(signed(RENTER_2), deal, RICH - EXISTENTIAL));
        assert_eq!(free(RENTER_2), EXISTENTIAL);
    });
}

/// M12: each term is paid from the limit when it begins, at the deal's own price.
#[test]
fn a_deal_is_renewed_until_the_limit_is_spent() {
    with_chain(|| {
        let deal = promised(NODE, RENEWED, 100, 700);
        assert_noop!(Market::set_renewal(signed(RENTER_2), deal, 1_500), Fails::NotRenter);
        assert_ok!(Market::set_renewal(signed(RENTER), deal, 1_500));
        assert_eq!(free(RENTER), RICH - 700 - 1_500);
        // Ten slots are not good: the first term leaves 70, and the next lacks 630.
        plan(NODE, 50..60, Seen::Unknown);
        close_up_to(110);
        assert_eq!((state(deal), deal_of(deal).run.unwrap().end_slot), (DealState::Active, 210));
        assert_eq!((deal_of(deal).deposit, Market::meter(deal).unwrap().reserve), (1_330, 870));
        close_up_to(210);
        assert_eq!((deal_of(deal).deposit, Market::meter(deal).unwrap().reserve), (2_030, 170));
        assert_eq!(deal_of(deal).run.unwrap().period.renewals, 2);
        // What is left does not pay for another term: the deal completes and the rest comes back.
        close_up_to(310);
        forward(1);
        assert_eq!((state(deal), reason(deal)), (DealState::Completed, CloseReason::TermServed));
        assert_eq!((outcome(deal).good_slots, outcome(deal).gross, outcome(deal).refund), (290, 2_030, 0));
        assert_eq!(free(RENTER), RICH - 2_030);
    });
}

/// M12: the limit first covers what the present term lacks, so that the deal never stops for want of
/// money, and it can be taken back at any time.
#[test]
fn a_limit_covers_the_present_term_first() {
    with_chain(|| {
        let deal = promised(NODE, RENEWED, 100, 70);
        close_up_to(15);
        assert_ok!(Market::set_renewal(signed(RENTER), deal, 400));
        assert_eq!((deal_of(deal).deposit, Market::meter(deal).unwrap().reserve), (470, 0));
        assert_ok!(Market::set_renewal(signed(RENTER), deal, 1_000));
        assert_eq!((deal_of(deal).deposit, Market::meter(deal).unwrap().reserve), (700, 770));
        assert_ok!(Market::set_renewal(signed(RENTER), deal, 100));
        assert_eq!(free(RENTER), RICH - 800);
        assert_ok!(Market::set_renewal(signed(RENTER), deal, 0));
        assert_eq!(free(RENTER), RICH - 700);
        assert_noop!(Market::set_renewal(signed(RENTER), deal, RICH), Purses::ReserveNotCovered);
        close_up_to(110);
        forward(1);
        assert_eq!(state(deal), DealState::Completed);
    });
}

/// M12: nobody is renewed against its will: not by a provider that did not offer it, that has retired
/// or given notice, nor on a node that is gone or suspected.
#[test]
fn a_renewal_needs_both_sides() {
    let ends = |change: &dyn Fn(DealId)| {
        let mut end = None;
        with_chain(|| {
            let deal = promised(NODE, RENEWED, 1_000, 7_000);
            assert_ok!(Market::set_renewal(signed(RENTER), deal, 7_000));
            close_up_to(900);
            change(deal);
            close_up_to(1_010);
            forward(1);
            end = Some((state(deal), free(RENTER)));
        });
        end.unwrap()
    };
    assert_eq!(ends(&|_| {}).0, DealState::Active);
    let all_good = RICH - 7_000;
    assert_eq!(ends(&|_| Market::retire(signed(PROVIDER), 0).unwrap()), (DealState::Completed, all_good));
    assert_eq!(
        ends(&|_| world(|w| {
            w.revoked.insert(NODE);
        })),
        (DealState::Completed, all_good)
    );
    assert_eq!(ends(&|_| plan(NODE, [1_010], Seen::Down(ALL))), (DealState::Completed, all_good + 7));
    with_chain(|| {
        let deal = promised(NODE, PLAIN, 100, 700);
        assert_noop!(Market::set_renewal(signed(RENTER), deal, 700), Fails::RenewalNotAgreed);
        assert_ok!(Market::set_renewal(signed(RENTER), deal, 0));
    });
}

/// M23: the provider goes after the agreed notice; until then it serves and is paid, and it gets its
/// whole bond back.
#[test]
fn a_provider_takes_its_node_back_with_notice() {
    with_chain(|| {
        let deal = promised(NODE, NOTICE, 5_000, 40_000);
        close_up_to(100);
        assert_noop!(Market::reclaim(signed(RENTER), deal), Fails::NotProvider);
        let noticed = world(|w| w.current);
        assert_ok!(Market::reclaim(signed(PROVIDER), deal));
        assert_eq!((state(deal), deal_of(deal).run.unwrap().end_slot), (DealState::Reclaiming, noticed + 600));
        assert_noop!(Market::reclaim(signed(PROVIDER), deal), Fails::NoticeGiven);
        check();
        // A DOWN slot on the way suspects the node; an UP brings the notice back into view.
        plan(NODE, [200], Seen::Down(ALL));
        close_up_to(200);
        assert_eq!(state(deal), DealState::Suspect);
        close_up_to(201);
        assert_eq!(state(deal), DealState::Reclaiming);
        close_up_to(noticed + 600);
        forward(1);
        assert_eq!((state(deal), reason(deal)), (DealState::Reclaimed, CloseReason::ReclaimedByProvider));
        let result = outcome(deal);
        assert_eq!((result.good_slots, result.slash, result.bond_back), (noticed + 600 - 10 - 1, 0, BOND));
    });
}

/// M23: a provider that stops before its notice has run out has failed.
#[test]
fn stopping_before_the_notice_runs_out_is_a_failure() {
    with_chain(|| {
        let deal = promised(NODE, NOTICE, 5_000, 40_000);
        close_up_to(100);
        assert_ok!(Market::reclaim(signed(PROVIDER), deal));
        plan(NODE, 150..900, Seen::Down(ALL));
        close_up_to(152);
        assert_eq!((state(deal), reason(deal)), (DealState::Frozen, CloseReason::NodeDown));
        forward(1);
        assert_eq!((state(deal), outcome(deal).slash), (DealState::Failed, BOND / 20));
    });
}

#[test]
fn a_notice_is_agreed_and_shortens_the_deal() {
    with_chain(|| {
        let deal = promised(NODE, PLAIN, 5_000, 40_000);
        assert_noop!(Market::reclaim(signed(PROVIDER), deal), Fails::NoticeNotAgreed);
        let short = promised(NODE_2, NOTICE, 600, 40_000);
        assert_noop!(Market::reclaim(signed(PROVIDER), short), Fails::EndsBefore);
    });
}

/// 6.2: a cancelling renter pays the agreed notice, at most what is left of term and deposit; on a
/// suspected node, or after the provider's own notice, nothing.
#[test]
fn a_cancelling_renter_pays_the_agreed_notice() {
    let cancel = |deposit, at, before: &dyn Fn(DealId)| {
        let mut end = None;
        with_chain(|| {
            let deal = promised(NODE, NOTICE, 1_000, deposit);
            close_up_to(at);
            before(deal);
            assert_ok!(Market::cancel(signed(RENTER), deal));
            let result = outcome(deal);
            assert_eq!(free(RENTER), RICH - result.gross);
            end = Some((result.good_slots, result.gross, deal_of(deal).frozen.unwrap().notice_slots));
        });
        end.unwrap()
    };
    assert_eq!(cancel(10_000, 50, &|_| {}), (60, 420, 20));
    // 45 slots are affordable, 40 were good: five are left to pay.
    assert_eq!(cancel(319, 50, &|_| {}), (45, 315, 5));
    // Seven slots are left of the term.
    assert_eq!(cancel(10_000, 1_003, &|_| {}), (1_000, 7_000, 7));
    assert_eq!(cancel(10_000, 50, &|deal| Market::reclaim(signed(PROVIDER), deal).unwrap()), (40, 280, 0));
    assert_eq!(
        cancel(10_000, 50, &|_| {
            plan(NODE, [51], Seen::Down(ALL));
            close_up_to(51);
        }),
        (40, 280, 0)
    );
    // Before the first slot there is only the notice to pay.
    assert_eq!(cancel(10_000, 8, &|_| {}), (20, 140, 20));
}

/// M24: DOWN slots in announced maintenance fail no deal, up to the deal's share, and are not billed.
#[test]
fn announced_maintenance_is_excused_up_to_its_share() {
    with_chain(|| {
        // One slot of a hundred: ten in a thousand.
        let deal = promised(NODE, PLAIN, 1_000, 10_000);
        let from = 10 + MAINTENANCE_LEAD_SLOTS;
        assert_noop!(Market::announce_maintenance(signed(RENTER), 0, from, 20), Fails::NotProvider);
        assert_ok!(Market::announce_maintenance(signed(PROVIDER), 0, from, 20));
        plan(NODE, from..from + 20, Seen::Down(ALL));
        close_up_to(from + 9);
        assert_eq!((state(deal), MarksOf::<Test>::get(deal).excused), (DealState::Active, 10));
        assert_eq!(Market::meter(deal).unwrap().bad, 10);
        // The credits are used up: the run begins here.
        close_up_to(from + 12);
        assert_eq!((state(deal), reason(deal)), (DealState::Frozen, CloseReason::NodeDown));
        let frozen = deal_of(deal).frozen.unwrap();
        assert_eq!((frozen.evidence.unwrap().since_slot, frozen.marks.excused), (from + 10, 10));
        assert_eq!(frozen.good_slots, from - 11);
    });
}

/// M24: an excused slot neither extends a run of DOWN slots nor ends it.
#[test]
fn maintenance_neither_extends_nor_ends_a_run() {
    with_chain(|| {
        let deal = promised(NODE, PLAIN, 1_000, 10_000);
        let from = 10 + MAINTENANCE_LEAD_SLOTS;
        assert_ok!(Market::announce_maintenance(signed(PROVIDER), 0, from, 5));
        plan(NODE, from - 2..from + 6, Seen::Down(ALL));
        close_up_to(from + 4);
        assert_eq!((state(deal), MarksOf::<Test>::get(deal).excused), (DealState::Suspect, 5));
        close_up_to(from + 5);
        assert_eq!(reason(deal), CloseReason::NodeDown);
        assert_eq!(deal_of(deal).frozen.unwrap().evidence.unwrap().run, 3);
    });
}

#[test]
fn maintenance_is_announced_in_time_and_in_order() {
    with_chain(|| {
        list_node(NODE).unwrap();
        let announce = |from, slots| Market::announce_maintenance(signed(PROVIDER), 0, from, slots);
        let first = 10 + MAINTENANCE_LEAD_SLOTS;
        for (from, slots) in [
            (first - 1, 5),
            (5, 5),
            (first, 0),
            (first, MAINTENANCE_SLOTS_MAX + 1),
            (11 + x0_limits::MAINTENANCE_AHEAD_SLOTS_MAX, 5),
        ] {
            assert_noop!(announce(from, slots), Fails::InvalidMaintenance);
        }
        assert_ok!(announce(first, 10));
        for (from, slots) in [(first, 1), (first + 9, 5), (first + 3, 2)] {
            assert_noop!(announce(from, slots), Fails::InvalidMaintenance);
        }
        for n in 1..u64::from(MAINTENANCE_ANNOUNCED_MAX) {
            assert_ok!(announce(first + 10 * n, 10));
        }
        assert_noop!(announce(first + 500, 10), Fails::TooMuchMaintenance);
        let withdraw = |from| Market::withdraw_maintenance(signed(PROVIDER), 0, from);
        assert_noop!(withdraw(first + 1), Fails::InvalidMaintenance);
        assert_ok!(withdraw(first + 10));
        assert!(!Market::in_maintenance(&NODE, first + 10) && Market::in_maintenance(&NODE, first + 9));
        assert_ok!(announce(first + 500, 10));
        // What has passed makes room; what has begun cannot be taken back.
        world(|w| w.current = first);
        assert_noop!(withdraw(first), Fails::InvalidMaintenance);
        block_at(first + 12);
        assert_ok!(announce(first + 2_000, 10));
        // The calendar goes with the listing.
        assert_ok!(Market::retire(signed(PROVIDER), 0));
        assert_eq!(Calendars::<Test>::iter().count(), 0);
    });
}

/// M22, T10: the bond follows the node's trust at the confirmation; later scores change nothing.
#[test]
fn a_bond_is_weighted_with_trust_at_the_confirmation() {
    let posted = |score| {
        let mut end = None;
        with_chain(|| {
            world(|w| w.scores.insert(NODE, score));
            let deal = confirmed(NODE, 100, 1_000);
            let run = deal_of(deal).run.unwrap();
            assert_eq!((run.trust_ppm, free(PROVIDER)), (score, RICH - LISTING_DEPOSIT - run.bond));
            world(|w| w.scores.insert(NODE, 1_000_000 - score));
            plan(NODE, 20..30, Seen::Down(ALL));
            close_up_to(22);
            forward(1);
            assert_eq!((outcome(deal).slash, outcome(deal).bond_back), (run.bond / 20, run.bond - run.bond / 20));
            end = Some(run.bond);
        });
        end.unwrap()
    };
    assert_eq!([0, 500_000, 1_000_000].map(posted), [150_000, 85_000, 20_000]);
}

/// M25: every reason has a number that means one thing for ever, and the event carries it.
#[test]
fn close_reasons_are_numbers() {
    let codes: Vec<_> = CloseReason::ALL.iter().map(|reason| (reason.code(), reason.name())).collect();
    assert_eq!(
        codes,
        [
            (100, "TermServed"),
            (200, "CancelledByRenter"),
            (201, "RequestWithdrawn"),
            (202, "DepositExhausted"),
            (300, "ReclaimedByProvider"),
            (301, "NotConfirmed"),
            (302, "NoBidTaken"),
            (400, "NodeDown"),
            (401, "WindowMissed"),
            (402, "ServiceMissed"),
            (500, "NotMeasured"),
        ]
    );
    for reason in CloseReason::ALL {
        assert_eq!(CloseReason::from_code(reason.code()), Some(reason));
        assert!(reason.terminal_state().is_terminal() && !reason.describe().is_empty());
        assert_eq!(reason.is_failure(), reason.terminal_state() == DealState::Failed);
    }
    assert_eq!(CloseReason::from_code(0), None);
    with_chain(|| {
        let deal = confirmed(NODE, 100, 1_000);
        assert_ok!(Market::cancel(signed(RENTER), deal));
        assert!(System::events().iter().any(|record| matches!(
            record.event,
            RuntimeEvent::Market(crate::Event::DealClosed { code: 200, reason: CloseReason::CancelledByRenter, .. })
        )));
    });
}

/// M33: the leaf of an ended deal stands under its own key, agrees with itself, and no change of a unit
/// or a reporter goes unseen.
#[test]
fn an_ended_deal_leaves_a_leaf_that_proves_its_refund() {
    with_chain(|| {
        let deal = confirmed(NODE, 100, 1_000);
        plan(NODE, 21..30, Seen::Down(0b0111));
        close_up_to(23);
        assert!(sp_io::storage::get(&Market::leaf_key(deal)).is_none());
        forward(1);
        let bytes = sp_io::storage::get(&Market::leaf_key(deal)).unwrap();
        let leaf: x0_types::deal::DealLeaf<u64> = codec::Decode::decode(&mut &bytes[..]).unwrap();
        assert!(leaf.is_consistent() && bytes.len() < 400);
        assert_eq!((leaf.outcome, leaf.reason_code, leaf.state), (outcome(deal), 400, DealState::Failed));
        assert_eq!((leaf.slots, leaf.slot, leaf.paid_height), ([13, 3, 0, 0], 23, leaf.height + 1));
        let forge = |change: &dyn Fn(&mut x0_types::deal::DealLeaf<u64>)| {
            let mut forged = leaf.clone();
            change(&mut forged);
            forged.is_consistent()
        };
        assert!(!forge(&|leaf| leaf.outcome.refund += 1));
        assert!(!forge(&|leaf| leaf.outcome.good_slots += 1));
        assert!(!forge(&|leaf| leaf.outcome.slash += 1));
        assert!(!forge(&|leaf| leaf.outcome.compensation += leaf.outcome.slash));
        assert!(!forge(&|leaf| leaf.state = DealState::Completed));
        assert!(!forge(&|leaf| leaf.reason_code = 100));
        assert!(!forge(&|leaf| leaf.reason_code = 999));
        assert!(!forge(&|leaf| leaf.version = 2));
        assert!(!forge(&|leaf| leaf.evidence = None));
        assert!(!forge(&|leaf| leaf.evidence.as_mut().unwrap().reporters[0] = 0b11));
    });
}

/// M30: what governance starts a network with is within the bounds, and running deals keep theirs.
#[test]
fn genesis_sets_the_parameters() {
    use sp_runtime::BuildStorage;
    let terms = DealTerms { fee_ppm: 1, dispute_window_slots: 5, ..DealTerms::default() };
    let genesis = RuntimeGenesisConfig {
        market: crate::GenesisConfig { terms: Some(terms), ..Default::default() },
        ..Default::default()
    };
    let mut chain: sp_io::TestExternalities = genesis.build_storage().unwrap().into();
    chain.execute_with(|| assert_eq!(crate::Parameters::<Test>::get(), terms));
}
