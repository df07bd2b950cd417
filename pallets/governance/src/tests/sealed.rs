//! Sealed votes: what they hide, what they cost, and who may open them.
#![allow(deprecated, reason = "the module's own form of validate_unsigned")]

use super::error;
use crate::{Call, Commitments, Error, ProposalState, Votes, mock::*};
use codec::Encode;
use frame_support::{assert_ok, dispatch::Pays, pallet_prelude::ValidateUnsigned};
use proptest::prelude::*;
use sp_runtime::{
    DispatchError,
    traits::Dispatchable,
    transaction_validity::{InvalidTransaction, TransactionSource, TransactionValidity},
};
use x0_types::governance::{ProposalId, SealedVote};

fn sealed(proposal: ProposalId, owner: u32, votes: i8, salt: u8) -> SealedVote {
    SealedVote { proposal, owner, votes, spam: false, salt: [salt; 32] }
}

fn commit(n: u8, vote: &SealedVote) -> Result<(), DispatchError> {
    call(n, Call::commit_vote { proposal: vote.proposal, hash: Governance::commitment_of(vote) })
}

fn reveal(vote: &SealedVote) -> Result<(), DispatchError> {
    dispatch(RuntimeOrigin::none(), Call::reveal_vote { vote: vote.clone() })
}

fn pool(vote: &SealedVote) -> TransactionValidity {
    Governance::validate_unsigned(TransactionSource::External, &Call::reveal_vote { vote: vote.clone() })
}

/// A proposal on the sealed track, whose commitments are taken from slot 3 to 42.
fn committing() -> ProposalId {
    let number = propose(1, SEALED, turn(0, 7)).unwrap();
    pass(2);
    assert_eq!(state(number), ProposalState::Committing);
    number
}

/// G12: nothing of the votes is in the state before the time for opening; each commitment locks the same
/// credits; whoever has the salt opens it, without a signature; unused credits come back.
#[test]
fn sealed_votes_are_hidden_and_then_counted() {
    run(|| {
        let number = committing();
        let votes: Vec<_> = (1..=6u8).map(|n| sealed(number, n.into(), n as i8 - 1, n)).collect();
        for vote in &votes {
            assert_ok!(commit(vote.owner as u8, vote));
            assert_eq!(left(vote.owner), 74, "the same for all");
            assert_eq!(reveal(vote), error(Error::WrongState), "too early");
        }
        assert_eq!(proposal(number).ballot.tally, crate::Tally::default());
        assert_eq!(vote(7, number, 1), error(Error::Sealed));
        pass_to(43);
        assert_eq!(state(number), ProposalState::Revealing { until: 143 });
        assert_eq!(commit(7, &sealed(number, 7, 1, 1)), error(Error::WrongState), "too late");
        for vote in &votes {
            assert_ok!(reveal(vote));
            assert_eq!(left(vote.owner), 99 - u32::try_from(vote.votes.pow(2)).unwrap());
            assert_eq!(reveal(vote), error(Error::NoSuchCommitment), "once");
        }
        assert_eq!(proposal(number).ballot.tally.ayes, 15);
        pass_to(142);
        assert_eq!(state(number).name(), "revealing");
        pass(1);
        assert_eq!(state(number), ProposalState::Passed { at: 149, attempts: 0 });
        pass_to(149);
        assert_eq!(dial(), 7);
    });
}

/// G12: the last commitment wins and takes no second envelope; what is not opened costs its envelope.
#[test]
fn the_last_commitment_wins_and_an_unopened_one_is_lost() {
    run(|| {
        let number = committing();
        let (first, last) = (sealed(number, 1, 5, 1), sealed(number, 1, -5, 2));
        assert_ok!(commit(1, &first));
        assert_ok!(commit(1, &last));
        assert_ok!(commit(2, &sealed(number, 2, 3, 3)));
        assert_eq!((left(1), left(2)), (74, 74));
        pass_to(43);
        assert_eq!(reveal(&first), error(Error::NoSuchCommitment));
        assert_ok!(reveal(&last));
        pass_to(143);
        assert_eq!(state(number), ProposalState::Rejected { spam: false });
        assert_eq!((left(1), left(2)), (74, 74), "25 spent and 25 lost");
        assert_eq!(proposal(number).ballot.tally.nays, 5);
        assert_eq!(reveal(&sealed(number, 2, 3, 3)), error(Error::WrongState), "the window is over");
    });
}

/// G12: a commitment counts for its proposal and its voter only, and for the votes that it hides only.
#[test]
fn a_commitment_counts_for_its_proposal_and_voter_only() {
    run(|| {
        let (one, other) = (propose(1, SEALED, turn(0, 7)).unwrap(), propose(1, SEALED, turn(0, 8)).unwrap());
        pass(2);
        let vote = sealed(one, 1, 4, 1);
        assert_ok!(commit(1, &vote));
        // Somebody copies the commitment, hoping to open it with the voter's salt.
        assert_ok!(call(2, Call::commit_vote { proposal: one, hash: Governance::commitment_of(&vote) }));
        assert_ok!(call(1, Call::commit_vote { proposal: other, hash: Governance::commitment_of(&vote) }));
        pass_to(43);
        for wrong in [
            SealedVote { owner: 2, ..vote.clone() },
            SealedVote { proposal: other, ..vote.clone() },
            SealedVote { votes: 5, ..vote.clone() },
            SealedVote { salt: [2; 32], ..vote.clone() },
            SealedVote { spam: true, votes: -4, ..vote.clone() },
        ] {
            assert_eq!(reveal(&wrong), error(Error::NoSuchCommitment), "{wrong:?}");
            assert_eq!(pool(&wrong), Err(InvalidTransaction::Stale.into()));
        }
        assert_ok!(reveal(&vote));
    });
}

/// G12: nobody commits to more than the envelope holds, and nobody can afford more envelopes than credits.
#[test]
fn hidden_votes_stay_within_their_envelope() {
    run(|| {
        let number = committing();
        assert_ok!(commit(1, &sealed(number, 1, 6, 1)));
        let spam = SealedVote { spam: true, ..sealed(number, 2, 1, 1) };
        assert_ok!(commit(2, &spam));
        pass_to(43);
        assert_eq!(reveal(&sealed(number, 1, 6, 1)), error(Error::EnvelopeExceeded));
        assert_eq!(reveal(&spam), error(Error::SpamMeansAgainst));
        let open = deciding(3, turn(0, 9));
        assert_ok!(vote(3, open, 9));
        let second = propose(4, SEALED, turn(0, 1)).unwrap();
        pass(2);
        assert_eq!(commit(3, &sealed(second, 3, 1, 1)), error(Error::NotEnoughCredits));
        assert_eq!(commit(4, &sealed(open, 4, 1, 1)), error(Error::NotSealed));
    });
}

/// G12: the pool takes an opening only while it would count, and one for each commitment, so that nobody can
/// flood it without a signature. A signed relay pays nothing for an opening that counts.
#[test]
fn openings_without_a_signature_are_bounded_by_commitments() {
    run(|| {
        let number = committing();
        let vote = sealed(number, 1, 2, 1);
        assert_eq!(pool(&vote), Err(InvalidTransaction::Stale.into()), "nothing committed");
        assert_ok!(commit(1, &vote));
        assert_eq!(pool(&vote), Err(InvalidTransaction::Future.into()));
        pass_to(43);
        let valid = pool(&vote).unwrap();
        assert_eq!(valid.provides, vec![("x0/reveal", (number, 1u32)).encode()]);
        assert!(valid.propagate && valid.longevity <= 100);
        let other: Call<Test> = Call::vote { proposal: number, votes: 1, spam: false, reason: None };
        assert_eq!(
            Governance::validate_unsigned(TransactionSource::External, &other),
            Err(InvalidTransaction::Call.into())
        );
        let relay = RuntimeCall::Governance(Call::reveal_vote { vote: vote.clone() });
        let done = relay.dispatch(RuntimeOrigin::signed(account(150))).unwrap();
        assert_eq!(done.pays_fee, Pays::No);
        assert_eq!(pool(&vote), Err(InvalidTransaction::Stale.into()));
    });
}

/// G9, G12: what a delegate opens counts for its delegators that committed nothing themselves.
#[test]
fn a_delegates_opening_counts_for_those_who_committed_nothing() {
    run(|| {
        for n in [2, 3] {
            assert_ok!(call(n, Call::delegate { track: SEALED, to: 1 }));
        }
        let number = committing();
        let (delegate, own) = (sealed(number, 1, 5, 1), sealed(number, 3, -2, 3));
        assert_ok!(commit(1, &delegate));
        assert_ok!(commit(3, &own));
        pass_to(43);
        assert_ok!(reveal(&delegate));
        assert_eq!(Commitments::<Test>::iter_prefix(number).count(), 1);
        assert_ok!(reveal(&own));
        let tally = proposal(number).ballot.tally;
        assert_eq!((tally.ayes, tally.nays, tally.heads_for, tally.heads_against), (10, 2, 2, 1));
        assert_eq!((left(2), left(3)), (74, 95));
        assert_eq!(Votes::<Test>::iter().count(), 3);
    });
}

proptest! {
    /// Two different votes never have the same commitment, and one vote always has the same.
    #[test]
    fn commitments_bind(a in (0u32..4, 0u32..4, -9i8..=9, any::<bool>(), 0u8..3), b in (0u32..4, 0u32..4, -9i8..=9, any::<bool>(), 0u8..3)) {
        let make = |(proposal, owner, votes, spam, salt): (u32, u32, i8, bool, u8)| SealedVote { proposal, owner, votes, spam, salt: [salt; 32] };
        run(|| {
            let same = Governance::commitment_of(&make(a)) == Governance::commitment_of(&make(b));
            prop_assert_eq!(same, a == b);
            Ok(())
        })?;
    }
}
