//! How proposals end: enactment, contest, spam, expiry, removal.

use super::error;
use crate::{
    BallotId, Call, Commitments, ContestedCalls, Credits, Enactments, EpochUses, Error, Event, ProposalState,
    Proposals, Timelines, Track, Tracks, Votes, mock::*,
};
use codec::Encode;
use frame_support::{assert_ok, traits::QueryPreimage};
use sp_runtime::DispatchError;
use x0_types::{
    Hash,
    governance::{ProposalId, SealedVote},
};

/// Five owners vote for it, it confirms; it is due six slots later.
fn passed(n: u8, what: RuntimeCall) -> ProposalId {
    let number = deciding(n, what);
    for n in 1..=5 {
        assert_ok!(vote(n, number, 1));
    }
    pass(5);
    assert!(matches!(state(number), ProposalState::Passed { .. }));
    number
}

fn contest(n: u8, proposal: ProposalId) -> Result<(), DispatchError> {
    call(n, Call::contest { proposal })
}

fn hash_of(what: &RuntimeCall) -> Hash {
    Hash::from(sp_io::hashing::blake2_256(&what.encode()))
}

/// G14: what does not fit into a block is carried out in the next one, in order; what can never fit is refused
/// when it is proposed. Kills the mutant "enactment drop on overweight".
#[test]
fn an_overweight_enactment_waits_for_the_next_block() {
    run(|| {
        let heavy = |ref_time| RuntimeCall::Dial(dial::Call::heavy { ref_time });
        assert_eq!(propose(1, OPEN, heavy(BUDGET)), Err(Error::<Test>::CallTooHeavy.into()));
        let numbers = [deciding(1, heavy(BUDGET * 6 / 10)), deciding(2, heavy(BUDGET * 7 / 10))];
        for number in numbers {
            for n in 1..=5 {
                assert_ok!(vote(n, number, 1));
            }
        }
        pass(5);
        // Both are due in the same block.
        let weight = pass(6);
        assert!(weight.ref_time() < BUDGET);
        assert_eq!(numbers.map(|number| state(number).name()), ["executed", "passed"]);
        assert_eq!(Enactments::<Test>::iter().count(), 1);
        pass(0);
        assert_eq!(numbers.map(|number| state(number).name()), ["executed", "executed"]);
        assert_eq!(dial::Turns::<Test>::get(), 2);
    });
}

/// G14, G16: a call whose old value is not there any more changes nothing, is tried again, and fails visibly
/// with its deposit returned.
#[test]
fn a_failing_call_is_retried_and_then_given_up() {
    run(|| {
        let number = passed(1, turn(3, 7));
        let mismatch: DispatchError = dial::Error::<Test>::Mismatch.into();
        pass(6);
        for attempts in 1..x0_limits::ENACTMENT_ATTEMPTS_MAX {
            let at = slot_now() + x0_limits::ENACTMENT_RETRY_SLOTS;
            assert_eq!(state(number), ProposalState::Passed { at, attempts });
            System::assert_has_event(
                Event::EnactmentRetried { proposal: number, attempts, error: mismatch, next: at }.into(),
            );
            assert!(held(1) > 0);
            pass(x0_limits::ENACTMENT_RETRY_SLOTS);
        }
        assert_eq!(state(number), ProposalState::EnactmentFailed { error: mismatch });
        assert_eq!((held(1), dial(), dial::Turns::<Test>::get()), (0, 0, 0), "nothing stays of the attempts");
        assert!(!Preimage::is_requested(&hash_of(&turn(3, 7))));
        // A value that comes in time is enough for one of the attempts.
        let number = passed(1, turn(3, 8));
        pass(6);
        dial::Value::<Test>::put(3);
        pass(x0_limits::ENACTMENT_RETRY_SLOTS);
        assert_eq!((state(number), dial()), (ProposalState::Executed, 8));
    });
}

/// G8: a call outside of the track's reach is not proposed, is not carried out when the reach shrank meanwhile,
/// and can be killed then, but not before.
#[test]
fn a_track_carries_out_only_what_it_may() {
    run(|| {
        let remark = RuntimeCall::System(frame_system::Call::remark { remark: vec![1] });
        assert_eq!(propose(1, OPEN, remark), Err(Error::<Test>::CallNotAllowed.into()));
        let (first, second) = (passed(1, turn(0, 7)), deciding(2, turn(0, 8)));
        assert_eq!(call(9, Call::kill { proposal: second }), error(Error::StillAllowed));
        world(|world| world.closed = true);
        assert_ok!(call(9, Call::kill { proposal: second }));
        assert_eq!((state(second), held(2)), (ProposalState::Cancelled, 0));
        pass(6);
        assert!(matches!(state(first), ProposalState::Passed { attempts: 1, .. }));
        world(|world| world.closed = false);
        pass(x0_limits::ENACTMENT_RETRY_SLOTS);
        assert_eq!((state(first), dial()), (ProposalState::Executed, 7));
        assert_eq!(call(9, Call::kill { proposal: first }), error(Error::WrongState));
    });
}

/// G14: what is carried out is what was voted on: without the very bytes nothing happens.
#[test]
fn the_call_is_pinned_by_its_hash() {
    run(|| {
        let bytes = turn(0, 7).encode();
        let (hash, length) = (hash_of(&turn(0, 7)), bytes.len() as u32);
        let noted = |call_bytes, hash| Call::propose_noted {
            track: OPEN,
            call: hash,
            call_bytes,
            delay_slots: 0,
            dry_run: None,
        };
        assert_eq!(call(1, noted(length, hash)), error(Error::UnknownCall));
        assert_ok!(Preimage::note_preimage(RuntimeOrigin::signed(account(1)), bytes));
        assert_eq!(call(1, noted(length + 1, hash)), error(Error::UnknownCall));
        assert_eq!(call(1, noted(u32::MAX, hash)), error(Error::CallLength));
        assert_ok!(call(1, noted(length, hash)));
        // Whoever noted the bytes cannot take them away from the proposal, and two proposals may share them.
        let _ = Preimage::unnote_preimage(RuntimeOrigin::signed(account(1)), hash);
        let second = propose(2, OPEN, turn(0, 7)).unwrap();
        assert!(Preimage::is_requested(&hash));
        assert_ok!(call(2, Call::withdraw { proposal: second }));
        assert!(Preimage::is_requested(&hash), "the first one still pins them");
        pass(2);
        for n in 1..=5 {
            assert_ok!(vote(n, 0, 1));
        }
        pass(5);
        // Nobody can change the bytes; if the state had others, they would not be carried out.
        pallet_preimage::PreimageFor::<Test>::insert(
            (hash, length),
            frame_support::BoundedVec::truncate_from(turn(0, 9).encode()),
        );
        pass(6);
        assert!(matches!(state(0), ProposalState::Passed { attempts: 1, .. }));
        assert_eq!(dial(), 0);
    });
}

/// G17: every way to end gives the deposit back, but spam. Kills the mutant "deposit kept on Expired".
#[test]
fn every_end_disposes_of_the_deposit() {
    run(|| {
        let treasury = || Balances::free_balance(account(TREASURY));
        let before = treasury();
        // Cancelled by its proposer.
        let number = propose(1, OPEN, turn(0, 1)).unwrap();
        assert_eq!(call(2, Call::withdraw { proposal: number }), error(Error::NotProposer));
        assert_ok!(call(1, Call::withdraw { proposal: number }));
        assert_eq!(held(1), 0);
        // Expired.
        let blocking = [deciding(2, turn(0, 1)), deciding(3, turn(0, 2))];
        let waiting = propose(1, OPEN, turn(0, 3)).unwrap();
        pass(12);
        assert_eq!((state(waiting), held(1)), (ProposalState::Expired, 0));
        assert_eq!(call(2, Call::withdraw { proposal: blocking[0] }), error(Error::WrongState));
        // Rejected, and rejected as spam.
        assert_ok!(call(4, Call::vote { proposal: blocking[1], votes: -1, spam: true, reason: None }));
        assert_ok!(vote(5, blocking[1], -9));
        assert_ok!(vote(6, blocking[1], -9));
        pass_to(50);
        assert_eq!((state(blocking[0]), held(2)), (ProposalState::Rejected { spam: false }, 0));
        assert_eq!((state(blocking[1]), held(3)), (ProposalState::Rejected { spam: true }, 0));
        assert_eq!(treasury() - before, deposit_for(&turn(0, 2)));
        // Executed and failed proposals are in other tests.
        assert!(Proposals::<Test>::iter_values().all(|proposal| proposal.deposit == 0));
    });
}

/// G17: it takes a third of the voters to call a proposal spam, and a supported proposal never is.
#[test]
fn spam_takes_a_third_of_the_voters_and_no_support() {
    for (spammers, others, supporters, spam) in [(1, 2, 0, true), (1, 3, 0, false), (3, 0, 1, false), (0, 3, 0, false)]
    {
        run(|| {
            let number = deciding(1, turn(0, 7));
            let mut next = 1..;
            let mut cast = |count: u8, votes: i8, spam: bool| {
                for _ in 0..count {
                    let n = next.next().unwrap();
                    assert_ok!(call(n, Call::vote { proposal: number, votes, spam, reason: None }));
                }
            };
            cast(spammers, -9, true);
            cast(others, -1, false);
            cast(supporters, 1, false);
            let marked = Call::vote { proposal: number, votes: 1, spam: true, reason: None };
            assert_eq!(call(10, marked), error(Error::SpamMeansAgainst));
            pass_to(43);
            assert_eq!(state(number), ProposalState::Rejected { spam });
        });
    }
}

/// G7: a third of the validators' heads makes the owners vote once more, with a higher bar and no delegates;
/// what stands then is carried out and cannot be contested again.
#[test]
fn a_contested_decision_is_voted_on_once_more() {
    run(|| {
        assert_ok!(call(9, Call::delegate { track: OPEN, to: 1 }));
        let number = passed(1, turn(0, 7));
        assert_eq!(contest(1, number), error(Error::NotValidator));
        assert_ok!(contest(101, number));
        assert_eq!(contest(101, number), error(Error::AlreadyContested));
        assert_ok!(contest(102, number));
        assert!(matches!(state(number), ProposalState::Passed { .. }), "two of seven");
        assert_ok!(contest(103, number));
        assert_eq!(state(number), ProposalState::Contested);
        assert_eq!(held(1), deposit_for(&turn(0, 7)), "a contest takes nothing");
        pass(6);
        assert_eq!(dial(), 0);
        for n in 1..=4 {
            assert_ok!(vote(n, number, 2));
        }
        assert_ok!(vote(8, number, -3));
        let second = proposal(number).second.unwrap();
        assert_eq!((second.tally.ayes, second.tally.heads_for), (8, 4), "owner 9 does not vote by its delegate");
        pass_to(second.ends);
        let ProposalState::Passed { at, .. } = state(number) else { panic!("{:?}", state(number)) };
        assert_eq!(contest(104, number), error(Error::ContestedBefore));
        pass_to(at);
        assert_eq!((state(number), dial()), (ProposalState::Executed, 7));
        // The same call again: it was contested once and for all.
        let again = passed(2, turn(0, 7));
        assert_eq!(contest(101, again), error(Error::ContestedBefore));
        assert!(ContestedCalls::<Test>::contains_key(hash_of(&turn(0, 7))));
    });
}

/// G7: 66.7 % of the votes and a third of the heads are needed, exactly.
#[test]
fn the_second_ballot_has_a_higher_bar() {
    for (votes, stands) in [
        (vec![2, 2, 2, 1, -3], true),
        (vec![2, 2, 2, -3], false),
        (vec![1, 1, 1, 1, -2], false),
        (vec![9, 9, 9], false),
        (vec![], false),
    ] {
        run(|| {
            let number = passed(10, turn(0, 7));
            for n in 101..=103 {
                assert_ok!(contest(n, number));
            }
            for (n, votes) in (1..).zip(&votes) {
                assert_ok!(vote(n, number, *votes));
            }
            pass(40);
            let expected = if stands { "passed" } else { "cancelled" };
            assert_eq!(state(number).name(), expected, "{votes:?}");
            assert_eq!(held(10) == 0, !stands);
        });
    }
}

/// G7: a validator that left the set does not count, and the time ends with the delay.
#[test]
fn only_present_validators_contest_in_time() {
    run(|| {
        let number = passed(1, turn(0, 7));
        assert_ok!(contest(101, number));
        assert_ok!(contest(102, number));
        world(|world| world.heads.retain(|head| *head != account(101)));
        // One of six counts; with the next one it is two of six, a third.
        assert_ok!(contest(103, number));
        assert_eq!(state(number), ProposalState::Contested);
        let late = passed(2, turn(0, 8));
        let ProposalState::Passed { at, .. } = state(late) else { panic!() };
        world(|world| world.slot = at);
        assert_eq!(contest(104, late), error(Error::TooLate));
    });
}

/// Votes, credits and the proposal itself leave the state some time after the end, a bounded number in each
/// block, and not before the epoch is over.
#[test]
fn old_votes_leave_the_state() {
    run(|| {
        for n in 0..100u8 {
            world(|world| world.owners.insert(x0_types::AccountId::new([n; 32]), (1_000 + u32::from(n), 0)));
        }
        let number = propose(150, OPEN, turn(0, 7)).unwrap();
        pass(2);
        for n in 0..100u8 {
            assert_ok!(vote(n, number, 1));
        }
        pass_to(14);
        assert_eq!(state(number), ProposalState::Executed);
        pass(KEPT + 1);
        assert_eq!(Votes::<Test>::iter().count(), 100, "the epoch is not over");
        world(|world| world.epoch += 1);
        pass(KEPT);
        let gone = 100 - Votes::<Test>::iter().count();
        assert_eq!(gone, x0_limits::GOVERNANCE_CLEANED_PER_BLOCK as usize);
        for _ in 0..4 {
            pass(1);
        }
        assert_eq!((Votes::<Test>::iter().count(), Credits::<Test>::iter().count()), (0, 0));
        assert_eq!((Proposals::<Test>::iter().count(), EpochUses::<Test>::iter().count()), (0, 0));
        assert_eq!(Timelines::<Test>::get(BallotId { proposal: number, round: 0 }).len(), 0);
        assert_eq!(Commitments::<Test>::iter().count(), 0);
    });
}

/// G8, G16: the tracks themselves change by a call that names the old rules, within bounds, for later ballots.
#[test]
fn tracks_change_with_their_old_value_and_for_later_ballots() {
    run(|| {
        let running = deciding(1, turn(0, 7));
        let new = Track { decide_slots: 80, ..open_track() };
        let set = |expected, new| Call::set_track { track: OPEN, expected, new };
        assert_eq!(call(1, set(Some(open_track()), new)), Err(DispatchError::BadOrigin));
        let root = |what| dispatch(RuntimeOrigin::root(), what);
        assert_eq!(root(set(Some(new), new)), error(Error::ParametersMismatch));
        for wrong in [
            Track { decide_slots: 0, ..new },
            Track { deposit: 0, ..new },
            Track { deciding_max: 0, ..new },
            Track { confirm_slots: x0_limits::GOVERNANCE_PERIOD_SLOTS_MAX + 1, ..new },
            Track { decide_slots: 30, ..open_track() },
            Track { sealing: Some(crate::Sealing { reveal_slots: 99, envelope: 25 }), ..new },
            Track { sealing: Some(crate::Sealing { reveal_slots: 100, envelope: 100 }), ..new },
        ] {
            assert_eq!(root(set(Some(open_track()), wrong)), error(Error::ParametersOutOfBounds), "{wrong:?}");
        }
        assert_ok!(root(set(Some(open_track()), new)));
        assert_eq!(Tracks::<Test>::get(OPEN), Some(new));
        let later = deciding(2, turn(0, 8));
        let length = |number| proposal(number).ballot.ends - proposal(number).ballot.began;
        assert_eq!((length(running), length(later)), (40, 80));
    });
}

/// What wallets show: costs before a vote, and why a proposal did not come to be.
#[test]
fn views_say_what_a_vote_costs_and_why_a_proposal_failed() {
    run(|| {
        let number = deciding(1, turn(0, 7));
        assert_ok!(vote(1, number, 9));
        let cost = Governance::cost_preview(&account(11), number, 4).unwrap();
        assert_eq!((cost.cost, cost.difference, cost.remaining_after, cost.votes_max), (16, -65, Some(83), 9));
        assert_eq!((cost.standing, cost.total), (9, 99));
        assert_eq!(Governance::cost_preview(&account(2), number, 10).unwrap().remaining_after, None);
        assert_eq!(Governance::cost_preview(&account(150), number, 1), None);
        let view = Governance::proposal_view(number).unwrap();
        let ballot = view.ballots[0];
        assert_eq!((ballot.approval_needed_ppm, ballot.support_needed_ppm, ballot.passes), (1_000_000, 500_000, false));
        for n in 2..=4 {
            assert_ok!(vote(n, number, -9));
        }
        pass_to(43);
        let why = format!("{:?}", Governance::proposal_view(number).unwrap().why.unwrap());
        assert_eq!(why, "NotPassed { approval: false, support: true, spam: false }");
        let sealed = propose(1, SEALED, turn(0, 7)).unwrap();
        pass(2);
        let hidden = SealedVote { proposal: sealed, owner: 6, votes: 5, spam: false, salt: [1; 32] };
        assert_ok!(call(6, Call::commit_vote { proposal: sealed, hash: Governance::commitment_of(&hidden) }));
        assert_eq!(Governance::cost_preview(&account(5), sealed, 6).unwrap().remaining_after, None);
        assert_eq!(Governance::cost_preview(&account(6), sealed, 5).unwrap().remaining_after, Some(74));
        assert_eq!(Governance::cost_preview(&account(5), sealed, 5).unwrap().votes_max, 5);
        assert_eq!(Governance::proposal_views(0, 10).len(), 2);
    });
}

/// The hook keeps to its caps.
#[test]
fn the_hook_is_within_its_budget() {
    run(|| {
        <Governance as frame_support::traits::Hooks<u32>>::integrity_test();
        assert!(Governance::hook_weight_max().ref_time() > BUDGET);
    });
}
