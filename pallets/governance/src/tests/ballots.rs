//! Votes, credits, thresholds and delegation.

use super::error;
use crate::{
    Ballot, BallotId, Call, Credits, Delegators, Error, Event, Pallet, ProposalState, Spending, Votes, mock::*,
};
use frame_support::assert_ok;
use proptest::prelude::*;
use x0_types::governance::TrackId;

/// G1, G5, G6, G14, G16: a proposal that passes by votes and heads stands its confirmation and its delay, and
/// turns the dial once.
#[test]
fn a_proposal_passes_and_is_carried_out_once() {
    run(|| {
        let number = deciding(1, turn(0, 7));
        assert_eq!(held(1), deposit_for(&turn(0, 7)));
        for n in 1..=5 {
            assert_ok!(vote(n, number, 3));
        }
        // All votes and half of the heads are in favour: it passes at once.
        assert_eq!(state(number), ProposalState::Confirming { since: 3, until: 8 });
        pass_to(7);
        assert!(matches!(state(number), ProposalState::Confirming { .. }));
        pass(1);
        assert_eq!(state(number), ProposalState::Passed { at: 14, attempts: 0 });
        pass_to(13);
        assert_eq!(dial(), 0);
        pass(1);
        assert_eq!((state(number), dial()), (ProposalState::Executed, 7));
        assert_eq!(held(1), 0);
        pass_to(30);
        assert_eq!(dial::Turns::<Test>::get(), 1);
    });
}

/// G5: with the same votes a proposal passes when the falling thresholds meet them, in exactly that slot.
#[test]
fn thresholds_fall_until_they_meet_the_votes() {
    run(|| {
        let number = deciding(1, turn(0, 7));
        // Began in slot 3. 3 of 10 heads are enough once support falls to 30 %: 20 slots later; 6 of 8 votes
        // are enough at 75 %: 10 slots later.
        for (n, votes) in [(1, 2), (2, 2), (3, 2), (4, -2)] {
            assert_ok!(vote(n, number, votes));
        }
        pass_to(22);
        assert_eq!(state(number), ProposalState::Deciding);
        pass(1);
        assert_eq!(state(number), ProposalState::Confirming { since: 23, until: 28 });
    });
}

/// G6: a few owners with all of their credits cannot outvote breadth, and votes against never help to pass.
#[test]
fn intensity_does_not_replace_breadth() {
    run(|| {
        for n in 11..=40u8 {
            world(|world| world.owners.insert(account(n.wrapping_add(60)), (n.into(), 0)));
        }
        let number = deciding(1, turn(0, 7));
        for n in 1..=3 {
            assert_ok!(vote(n, number, 9));
        }
        for n in 4..=10 {
            assert_ok!(vote(n, number, -1));
        }
        pass_to(43);
        // 27 of 34 votes, but 3 of 40 heads: less than a tenth.
        assert_eq!(state(number), ProposalState::Rejected { spam: false });
    });
}

/// G1: n votes cost n squared, and a revision pays or returns the difference. Kills the mutant "credits not
/// returned on revision".
#[test]
fn a_revision_pays_or_returns_the_difference() {
    run(|| {
        let (first, second) = (deciding(1, turn(0, 7)), deciding(2, turn(0, 8)));
        for (votes, left_after) in [(9, 18), (3, 90), (-9, 18), (-4, 83), (0, 99), (7, 50)] {
            assert_ok!(vote(1, first, votes));
            assert_eq!(left(1), left_after);
        }
        assert_eq!(vote(1, second, 8), error(Error::NotEnoughCredits));
        assert_ok!(vote(1, second, 7));
        assert_eq!(left(1), 1);
        assert_ok!(vote(1, first, 1));
        assert_eq!(left(1), 49);
        assert_eq!(vote(1, first, 10), error(Error::TooManyVotes));
        assert_eq!(vote(1, first, i8::MIN), error(Error::TooManyVotes));
    });
}

/// G3: however many accounts an owner has, it votes once.
#[test]
fn all_accounts_of_an_owner_share_one_vote() {
    run(|| {
        let number = deciding(1, turn(0, 7));
        assert_ok!(vote(1, number, 3));
        assert_ok!(vote(11, number, -2));
        let tally = proposal(number).ballot.tally;
        assert_eq!((tally.ayes, tally.nays, tally.heads()), (0, 2, 1));
        assert_eq!(vote(150, number, 1), error(Error::NotOwner));
    });
}

/// G3, G4: who is too young or revoked does not vote, and the electorate stays what it was as the ballot began.
#[test]
fn the_electorate_is_fixed_when_the_ballot_begins() {
    run(|| {
        world(|world| world.owners.insert(account(120), (50, 6)));
        let number = deciding(1, turn(0, 7));
        assert_eq!(vote(120, number, 1), error(Error::NotEligible));
        world(|world| {
            world.epoch = 6;
            world.revoked.push(9);
        });
        assert_eq!(vote(120, number, 1), error(Error::NotEligible));
        assert_eq!(vote(9, number, 1), error(Error::NotEligible));
        assert_eq!(proposal(number).ballot.electorate, 10);
        let later = deciding(2, turn(0, 8));
        assert_ok!(vote(120, later, 1));
        assert_eq!(proposal(later).ballot.electorate, 10);
    });
}

/// G2: each epoch has its own credits, nothing is carried over, and a ballot is paid for by the epoch in which
/// it began.
#[test]
fn credits_do_not_carry_over() {
    run(|| {
        let old = deciding(1, turn(0, 7));
        assert_ok!(vote(1, old, 9));
        world(|world| world.epoch = 6);
        assert_eq!(left(1), 99);
        let new = deciding(2, turn(0, 8));
        assert_ok!(vote(1, new, 9));
        assert_eq!(left(1), 18);
        assert_ok!(vote(1, old, 1));
        assert_eq!(left(1), 18, "what an old ballot returns is of the old epoch");
        assert_eq!(Credits::<Test>::get(5, 1), Spending { spent: 1, locked: 0 });
    });
}

/// G5: a proposal that falls back while it confirms goes on being decided, and has to confirm anew.
#[test]
fn an_interrupted_confirmation_begins_anew() {
    run(|| {
        let number = deciding(1, turn(0, 7));
        for n in 1..=5 {
            assert_ok!(vote(n, number, 3));
        }
        pass(4);
        assert_ok!(vote(6, number, -3));
        assert_eq!(state(number), ProposalState::Deciding);
        pass(1);
        assert_ok!(vote(6, number, 1));
        assert_eq!(state(number), ProposalState::Confirming { since: 8, until: 13 });
    });
}

/// G13: a ballot that begins to pass in its last tenth goes on by a tenth, once, and is not decided before.
#[test]
fn a_late_flip_extends_the_ballot_once() {
    run(|| {
        let number = deciding(1, turn(0, 7));
        let Ballot { ends, .. } = proposal(number).ballot;
        assert_eq!(ends, 43);
        assert_ok!(vote(6, number, -9));
        pass_to(40);
        assert_eq!(state(number), ProposalState::Deciding);
        for n in 1..=3 {
            assert_ok!(vote(n, number, 9));
        }
        // Extended to slot 47; five slots of confirmation end in slot 45, but those who lost have until 47.
        assert_eq!(state(number), ProposalState::Confirming { since: 40, until: 47 });
        assert_eq!((proposal(number).extended, proposal(number).ballot.ends), (true, 47));
        for n in 7..=9 {
            assert_ok!(vote(n, number, -9));
        }
        assert_eq!(state(number), ProposalState::Deciding);
        pass_to(46);
        assert_ok!(vote(7, number, 0));
        assert_ok!(vote(8, number, 0));
        assert_eq!(proposal(number).ballot.ends, 47, "once only");
        assert_eq!(state(number), ProposalState::Confirming { since: 46, until: 51 });
        // Past its end it falls back for good.
        pass_to(48);
        assert_ok!(vote(7, number, -9));
        assert_ok!(vote(8, number, -9));
        assert_eq!(state(number), ProposalState::Rejected { spam: false });
    });
}

/// G9, G10: a delegate's votes count once more for each delegator, not pooled; the delegator's own vote stands.
#[test]
fn delegation_replicates_and_yields_to_own_votes() {
    run(|| {
        for n in [2, 3, 4] {
            assert_ok!(call(n, Call::delegate { track: OPEN, to: 1 }));
        }
        let number = deciding(9, turn(0, 7));
        assert_ok!(vote(3, number, -2));
        assert_ok!(vote(1, number, 5));
        let tally = proposal(number).ballot.tally;
        assert_eq!((tally.ayes, tally.nays, tally.heads_for, tally.heads_against), (15, 2, 3, 1));
        assert_eq!((left(2), left(3), left(4)), (74, 95, 74));
        // Own votes replace those that a delegate cast, and the delegate's revisions leave them alone.
        assert_ok!(vote(4, number, 1));
        assert_ok!(vote(1, number, -6));
        let tally = proposal(number).ballot.tally;
        assert_eq!((tally.ayes, tally.nays), (1, 6 + 6 + 2));
        // A delegation on one track is none on another, and its end concerns later votes.
        assert_ok!(call(2, Call::undelegate { track: OPEN }));
        assert_ok!(vote(1, number, 0));
        assert_eq!(proposal(number).ballot.tally.nays, 6 + 2);
        assert_eq!(Governance::delegations_of(1).len(), 1);
    });
}

/// G11: a delegator never spends more than it has: its votes are the square root of what is left. Kills the
/// mutant "delegate not capped".
#[test]
fn a_delegate_is_capped_by_each_delegators_credits() {
    run(|| {
        assert_ok!(call(2, Call::delegate { track: OPEN, to: 1 }));
        let (first, second) = (deciding(9, turn(0, 7)), deciding(9, turn(0, 8)));
        assert_ok!(vote(2, first, -8));
        assert_ok!(vote(1, second, 9));
        let cast = Votes::<Test>::get(BallotId { proposal: second, round: 0 }, 2).unwrap();
        assert_eq!((cast.votes, cast.own), (5, false), "35 credits afford 5 votes");
        assert_eq!(left(2), 10);
        assert_ok!(vote(1, second, -9));
        assert_eq!(Votes::<Test>::get(BallotId { proposal: second, round: 0 }, 2).unwrap().votes, -5);
        assert_eq!(left(2), 10);
    });
}

/// G9: one step deep, nobody to itself, at most 32 to one.
#[test]
fn delegation_is_one_step_deep_and_narrow() {
    run(|| {
        let to = |n, to| call(n, Call::delegate { track: OPEN, to });
        assert_eq!(to(1, 1), error(Error::SelfDelegation));
        assert_eq!(to(1, 77), error(Error::BadDelegate));
        assert_ok!(to(2, 1));
        assert_eq!(to(3, 2), error(Error::BadDelegate), "owner 2 lets owner 1 vote");
        assert_eq!(to(1, 3), error(Error::HasDelegators));
        assert_ok!(to(2, 3));
        assert_ok!(to(1, 3));
        assert_eq!(Delegators::<Test>::get(OPEN, 3).into_inner(), vec![2, 1]);
        assert_eq!(call(5, Call::undelegate { track: OPEN }), error(Error::NotDelegated));
        assert_eq!(
            call(5, Call::delegate { track: TrackId::Treasury, to: 3 }),
            error(Error::UnknownTrack),
            "no such track here"
        );
        for n in 0..31u8 {
            world(|world| world.owners.insert(account(150 + n), (1_000 + u32::from(n), 0)));
        }
        for n in 0..30 {
            assert_ok!(to(150 + n, 3));
        }
        assert_eq!(to(180, 3), error(Error::TooManyDelegators));
    });
}

/// G18: a reason stands in an event, for everybody to read.
#[test]
fn a_voter_gives_a_reason() {
    run(|| {
        let number = deciding(1, turn(0, 7));
        let reason: crate::Reason = b"too early".to_vec().try_into().unwrap();
        assert_ok!(call(4, Call::vote { proposal: number, votes: -1, spam: false, reason: Some(reason.clone()) }));
        System::assert_has_event(Event::Reasoned { proposal: number, owner: 4, reason }.into());
    });
}

/// G8: each track decides as many at a time as it has places; the others wait in order, and expire in the end.
#[test]
fn proposals_wait_for_a_place_in_order() {
    run(|| {
        let all: Vec<_> = (1..=4).map(|n| propose(n, OPEN, turn(0, n.into())).unwrap()).collect();
        pass(2);
        let states = || all.iter().map(|number| state(*number).name()).collect::<Vec<_>>();
        assert_eq!(states(), ["deciding", "deciding", "preparing", "preparing"]);
        for n in 1..=5 {
            assert_ok!(vote(n, all[1], 3));
        }
        pass_to(8);
        assert_eq!(states(), ["deciding", "passed", "deciding", "preparing"]);
        pass_to(13);
        assert_eq!(states()[3], "expired");
        assert_eq!(held(4), 0, "mutant: deposit kept on Expired");
        // As many may wait as allowed, and no more.
        for _ in 0..x0_limits::GOVERNANCE_WAITING_MAX {
            propose(5, OPEN, turn(0, 1)).unwrap();
        }
        assert_eq!(propose(5, OPEN, turn(0, 1)), Err(Error::<Test>::TooManyProposals.into()));
    });
}

/// G19: the timeline is bounded and ends with the tally.
#[test]
fn the_timeline_follows_the_tally() {
    run(|| {
        let number = deciding(1, turn(0, 7));
        for slot in 3..43 {
            pass_to(slot);
            assert_ok!(vote((slot % 4 + 1) as u8, number, -((slot % 9) as i8)));
        }
        let points = Governance::timeline(number, 0);
        assert!(points.len() <= x0_limits::TALLY_POINTS_MAX as usize && points.len() > 16, "{}", points.len());
        assert!(points.windows(2).all(|pair| pair[0].slot < pair[1].slot));
        assert_eq!(points.last().unwrap().tally, proposal(number).ballot.tally);
    });
}

/// G1: a tally with 10,000 voters costs a block what one with 10 costs it: nothing counts voters.
#[test]
fn ten_thousand_voters_cost_a_block_what_ten_cost() {
    let decide = |voters: u32| {
        run(|| {
            let voter = |n: u32| {
                let mut bytes = [9; 32];
                bytes[..4].copy_from_slice(&n.to_be_bytes());
                x0_types::AccountId::new(bytes)
            };
            world(|world| {
                world.owners = (0..voters).map(|n| (voter(n), (n, 0))).collect();
            });
            let number = propose(1, OPEN, turn(0, 7)).unwrap();
            pass(2);
            for n in 0..voters {
                let vote = Call::<Test>::vote { proposal: number, votes: 1, spam: false, reason: None };
                let origin = RuntimeOrigin::signed(voter(n));
                sp_runtime::traits::Dispatchable::dispatch(RuntimeCall::Governance(vote), origin).unwrap();
            }
            assert_eq!(proposal(number).ballot.tally.heads_for, voters);
            let count_reads = |slots: u64| {
                world(|world| world.slot += slots);
                Governance::make_transitions(slot_now())
            };
            let made = count_reads(5);
            assert!(matches!(state(number), ProposalState::Passed { .. }));
            let weight = pass(6);
            assert_eq!(dial(), 7);
            (made, weight)
        })
    };
    assert_eq!(decide(10_000), decide(10));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// G19: whatever is cast, revised and delegated, the tally is what anybody counts from the votes, and the
    /// credits are what they cost (checked after each call).
    #[test]
    fn the_tally_is_the_recount(steps in proptest::collection::vec((1u8..=10, 0usize..2, -9i8..=9, any::<bool>(), 1u32..=10), 1..60)) {
        run(|| {
            let numbers = [deciding(1, turn(0, 7)), deciding(2, turn(0, 8))];
            for (n, which, votes, delegates, to) in steps {
                if delegates {
                    let _ = call(n, Call::delegate { track: OPEN, to });
                } else {
                    let _ = vote(n, numbers[which], votes);
                }
            }
            Pallet::<Test>::check_invariants().unwrap();
        });
    }
}
