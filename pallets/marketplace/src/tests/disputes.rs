//! Records in doubt: what is paid at once, who may speak, and what happens when nobody does.

use crate::{Disputes, Error, Ruling, mock::*};
use frame_support::{assert_noop, assert_ok};
use x0_types::{
    deal::{CloseReason, DealState, DealTerms, Outcome},
    market::{DealId, DealQueue},
};

type Fails = Error<Test>;

/// A tenth of UNKNOWN slots or three CONFLICT slots in a row; waits of 20 and 30 slots.
const CONTESTED: DealTerms = DealTerms { conflict_run_slots: 3, contested_ppm: 100_000, ..UNCONTESTED };

/// A deal of 100 slots of which twenty were UNKNOWN, completed when slot 110 has closed.
fn doubtful() -> DealId {
    assert_ok!(set_terms(CONTESTED));
    let deal = confirmed(NODE, 100, 1_000);
    plan(NODE, 50..70, Seen::Unknown);
    close_up_to(110);
    assert_eq!(state(deal), DealState::Frozen);
    deal
}

fn ruling(counted_slots: u64, slash: bool) -> Ruling {
    Ruling { counted_slots, slash }
}

/// Nobody owes or holds anything but the listing's deposit.
fn paid(deal: DealId) -> Outcome {
    assert!(!Janitor::is_queued(deal) && Disputes::<Test>::get(deal).is_none());
    assert_eq!((Escrow::escrowed(deal), pallet_x0_escrow::StakeTotal::<Test>::get()), (0, 0));
    outcome(deal)
}

/// M28: the good slots are paid at once and the node is free for others; the rest waits one window and
/// is then paid as recorded.
#[test]
fn what_nobody_disputes_is_paid_as_recorded() {
    with_chain(|| {
        let deal = doubtful();
        let free_before = free(PROVIDER);
        forward(1);
        assert_eq!(free(PROVIDER) - free_before, 560 - 14);
        assert_eq!((state(deal), Escrow::escrowed(deal)), (DealState::Frozen, 440));
        // The capacity serves somebody else meanwhile.
        assert_ok!(rent(RENTER_2, 0, CAPACITY, 100, 1_000));
        block_at(110 + 20);
        assert_eq!(state(deal), DealState::Frozen, "the last slot of the window is in time");
        block_at(110 + 21);
        assert_eq!((state(deal), reason(deal)), (DealState::Completed, CloseReason::TermServed));
        let end = paid(deal);
        assert_eq!((end.good_slots, end.gross, end.refund, end.bond_back), (80, 560, 440, BOND));
    });
}

/// M28: a deal that is not contested waits for nobody, and one slot makes the difference.
#[test]
fn an_uncontested_deal_is_paid_at_once() {
    for (unknown, waits) in [(10, false), (11, true)] {
        with_chain(|| {
            assert_ok!(set_terms(CONTESTED));
            let deal = confirmed(NODE, 100, 1_000);
            plan(NODE, 50..50 + unknown, Seen::Unknown);
            close_up_to(110);
            forward(1);
            assert_eq!(state(deal).is_terminal(), !waits);
            assert_eq!(deal_of(deal).frozen.unwrap().contested_until.is_some(), waits);
        });
    }
}

/// M28: the renter disputes, no validator speaks, and the deadline decides: as recorded, and the stake
/// comes back.
#[test]
fn a_dispute_is_decided_by_its_deadline() {
    with_chain(|| {
        let deal = doubtful();
        forward(1);
        // 20 contested slots are worth 140, a tenth of it is 14, and no stake is below a deal's smallest deposit.
        let before = (free(RENTER), free(PROVIDER));
        assert_noop!(Market::dispute(signed(RENTER_2), deal), Fails::NotParty);
        assert_ok!(Market::dispute(signed(RENTER), deal));
        assert_eq!(free(RENTER), before.0 - 50);
        assert_eq!(state(deal), DealState::Disputed);
        assert_noop!(Market::dispute(signed(PROVIDER), deal), Fails::NotContested);
        let deadline = Disputes::<Test>::get(deal).unwrap().deadline_slot;
        assert_eq!(deadline, world(|w| w.current) + 30);
        block_at(deadline);
        assert_eq!(state(deal), DealState::Disputed);
        block_at(deadline + 1);
        assert_eq!(state(deal), DealState::Resolved);
        assert_eq!(paid(deal).gross, 560);
        assert_eq!((free(RENTER), free(PROVIDER)), (before.0 + 440, before.1 + BOND));
    });
}

/// M28: three of four heads agree, and the next block pays what they say. The stake of a party that was
/// right comes back.
#[test]
fn two_thirds_of_the_heads_decide() {
    with_chain(|| {
        let deal = doubtful();
        forward(1);
        let before = (free(RENTER), free(PROVIDER));
        assert_ok!(Market::dispute(signed(PROVIDER), deal));
        let rule = |judge: u64, counted| Market::rule(signed(JUDGE + judge), deal, ruling(counted, false));
        assert_noop!(Market::rule(signed(RENTER), deal, ruling(5, false)), Fails::NotJudge);
        assert_noop!(rule(0, 21), Fails::InvalidRuling);
        assert_noop!(Market::rule(signed(JUDGE), deal, ruling(5, true)), Fails::InvalidRuling);
        assert_ok!(rule(0, 5));
        assert_ok!(rule(1, 5));
        assert_ok!(rule(2, 6));
        // A head that says the same again is still one head.
        assert_ok!(rule(0, 5));
        assert_eq!(deal_of(deal).frozen.unwrap().ruling, None);
        // The last word counts.
        assert_ok!(rule(2, 5));
        assert_eq!(deal_of(deal).frozen.unwrap().ruling, Some(ruling(5, false)));
        assert_noop!(rule(3, 0), Fails::NotDisputed);
        forward(0);
        assert_eq!(state(deal), DealState::Resolved);
        let end = paid(deal);
        assert_eq!((end.good_slots, end.gross, end.fee, end.refund), (85, 595, 14, 405));
        assert_eq!((free(RENTER), free(PROVIDER)), (before.0 + 405, before.1 + 35 + BOND));
        assert_noop!(rule(3, 0), Fails::NotDisputed);
    });
}

/// M28: a ruling that says what the record said was not worth the wait: the other party gets the stake.
#[test]
fn the_stake_of_an_idle_dispute_goes_to_the_other_party() {
    with_chain(|| {
        let deal = doubtful();
        forward(1);
        let before = (free(RENTER), free(PROVIDER));
        assert_ok!(Market::dispute(signed(PROVIDER), deal));
        for judge in 0..3 {
            assert_ok!(Market::rule(signed(JUDGE + judge), deal, ruling(0, false)));
        }
        forward(0);
        assert_eq!((state(deal), paid(deal).gross), (DealState::Resolved, 560));
        assert_eq!((free(RENTER), free(PROVIDER)), (before.0 + 440 + 50, before.1 + BOND - 50));
    });
}

/// M28: three CONFLICT slots in a row dispute a deal by themselves, without a stake; two do not, nor
/// three with another slot between them.
#[test]
fn the_record_disputes_itself() {
    let run = |slots: &[u64], other: Seen| {
        let mut end = None;
        with_chain(|| {
            assert_ok!(set_terms(CONTESTED));
            let deal = confirmed(NODE, 100, 1_000);
            plan(NODE, 50..54, other);
            for slot in slots {
                plan(NODE, [*slot], Seen::Conflict);
            }
            close_up_to(110);
            end = Some(state(deal));
            if state(deal) == DealState::Disputed {
                assert_eq!(Disputes::<Test>::get(deal).unwrap().opened_by, None);
                assert_noop!(Market::dispute(signed(RENTER), deal), Fails::NotContested);
                block_at(131);
                assert_eq!((state(deal), paid(deal).gross), (DealState::Resolved, 97 * 7));
            }
        });
        end.unwrap()
    };
    assert_eq!(run(&[50, 51, 52], Seen::Up), DealState::Disputed);
    assert_eq!(run(&[50, 51], Seen::Up), DealState::Frozen);
    for other in [Seen::Up, Seen::Down(ALL), Seen::Unknown] {
        assert_eq!(run(&[50, 51, 53], other), DealState::Frozen);
    }
}

/// M28, M21: validators can let a provider off whose node was said to have failed; they cannot slash.
#[test]
fn a_ruling_can_forgive_a_slash() {
    for (forgive, slash) in [(true, 0), (false, BOND / 20)] {
        with_chain(|| {
            assert_ok!(set_terms(CONTESTED));
            let deal = confirmed(NODE, 100, 1_000);
            plan(NODE, 15..20, Seen::Unknown);
            plan(NODE, 30..33, Seen::Down(ALL));
            close_up_to(32);
            assert_eq!((state(deal), reason(deal)), (DealState::Frozen, CloseReason::NodeDown));
            // Before the janitor has paid anything.
            assert_ok!(Market::dispute(signed(PROVIDER), deal));
            for judge in 0..3 {
                assert_ok!(Market::rule(signed(JUDGE + judge), deal, ruling(5, !forgive)));
            }
            forward(0);
            assert_eq!((state(deal), paid(deal).slash, paid(deal).good_slots), (DealState::Resolved, slash, 14 + 5));
        });
    }
}

/// M28: a renter who cancels a contested deal gets what nobody contests after the window, the provider
/// its good slots at once.
#[test]
fn a_cancelled_deal_can_be_contested() {
    with_chain(|| {
        assert_ok!(set_terms(CONTESTED));
        let deal = confirmed(NODE, 100, 1_000);
        plan(NODE, 20..30, Seen::Unknown);
        close_up_to(40);
        assert_ok!(Market::cancel(signed(RENTER), deal));
        assert_eq!((state(deal), Escrow::escrowed(deal)), (DealState::Frozen, 1_000 - 140));
        assert!(crate::DealsOfNode::<Test>::get(NODE).is_empty(), "the place is free");
        block_at(61);
        assert_eq!((state(deal), paid(deal).refund), (DealState::Cancelled, 860));
    });
}

/// M28: who comes late, or to a deal that is not contested, is refused.
#[test]
fn disputes_have_their_time() {
    with_chain(|| {
        let deal = doubtful();
        forward(1);
        world(|w| w.current = 131);
        assert_noop!(Market::dispute(signed(RENTER), deal), Fails::NotContested);
        assert_noop!(Market::rule(signed(JUDGE), deal, ruling(0, false)), Fails::NotDisputed);
        forward(0);
        assert_noop!(Market::dispute(signed(RENTER), deal), Fails::NotContested);
        assert_noop!(Market::dispute(signed(RENTER), 99), Fails::UnknownDeal);
        let running = confirmed(NODE_2, 100, 1_000);
        assert_noop!(Market::dispute(signed(RENTER), running), Fails::NotContested);
    });
    with_chain(|| {
        let deal = doubtful();
        assert_ok!(Market::dispute(signed(RENTER), deal));
        world(|w| w.current += 31);
        assert_noop!(Market::rule(signed(JUDGE), deal, ruling(0, false)), Fails::NotDisputed);
    });
}

/// M38: a validator has no word on the deals of its own owner, and is not counted either.
#[test]
fn a_party_does_not_judge_itself() {
    with_chain(|| {
        let deal = doubtful();
        forward(1);
        assert_ok!(Market::dispute(signed(RENTER), deal));
        world(|w| w.owners.extend([(JUDGE, 7), (PROVIDER, 7), (JUDGE + 1, 8)]));
        assert_noop!(Market::rule(signed(JUDGE), deal, ruling(0, false)), Fails::NotJudge);
        assert_ok!(Market::rule(signed(JUDGE + 1), deal, ruling(3, false)));
        assert_eq!(deal_of(deal).frozen.unwrap().ruling, None);
        assert_ok!(Market::rule(signed(JUDGE + 2), deal, ruling(3, false)));
        assert_eq!(deal_of(deal).frozen.unwrap().ruling, Some(ruling(3, false)), "two of three");
    });
}

/// M28: a validator that has left has no word any more.
#[test]
fn only_present_heads_count() {
    with_chain(|| {
        Validators::set(7);
        let deal = doubtful();
        forward(1);
        assert_ok!(Market::dispute(signed(RENTER), deal));
        for judge in [6, 5, 4, 0] {
            assert_ok!(Market::rule(signed(JUDGE + judge), deal, ruling(2, false)));
        }
        Validators::set(4);
        assert_ok!(Market::rule(signed(JUDGE + 1), deal, ruling(2, false)));
        assert_eq!(deal_of(deal).frozen.unwrap().ruling, None, "two of four");
        assert_ok!(Market::rule(signed(JUDGE + 2), deal, ruling(2, false)));
        assert!(deal_of(deal).frozen.unwrap().ruling.is_some());
        Validators::set(4);
    });
}
