//! Sealed votes: committed first, opened by anybody afterwards.

use crate::{
    BallotId, Commitment, Commitments, Config, Credits, Error, Event, Pallet, Proposal, ProposalState, Proposals, Vote,
    Votes,
};
use frame_support::{
    ensure,
    pallet_prelude::{DispatchResult, InvalidTransaction, TransactionValidity, ValidTransaction},
};
use sp_runtime::{DispatchError, SaturatedConversion};
use x0_accounting::vote_cost;
use x0_types::{
    AccountId, Hash,
    governance::{ProposalId, SealedVote},
};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_commit(who: &AccountId, number: ProposalId, hash: Hash) -> DispatchResult {
        let owner = Self::owner(who)?;
        let proposal = Self::proposal(number)?;
        let ballot = proposal.ballot;
        match proposal.state {
            ProposalState::Committing => ensure!(Self::now() < ballot.ends, Error::<T>::TooLate),
            ProposalState::Deciding | ProposalState::Confirming { .. } | ProposalState::Contested => {
                return Err(Error::<T>::NotSealed.into());
            }
            _ => return Err(Error::<T>::WrongState.into()),
        }
        let sealing = proposal.terms.sealing.ok_or(Error::<T>::NotSealed)?;
        ensure!(Self::is_eligible(owner, &ballot), Error::<T>::NotEligible);
        let envelope = sealing.envelope;
        // The last commitment wins, in the envelope of the first.
        if !Commitments::<T>::contains_key(number, owner) {
            let mut spending = Credits::<T>::get(ballot.epoch, owner);
            ensure!(envelope <= spending.remaining(), Error::<T>::NotEnoughCredits);
            spending.locked = spending.locked.checked_add(envelope).ok_or(Error::<T>::Overflow)?;
            Credits::<T>::insert(ballot.epoch, owner, spending);
        }
        Commitments::<T>::insert(number, owner, Commitment { hash, envelope });
        Self::deposit_event(Event::Committed { proposal: number, owner, hash });
        Ok(())
    }

    /// What a voter commits to on this chain.
    #[must_use]
    pub fn commitment_of(vote: &SealedVote) -> Hash {
        let genesis =
            frame_system::Pallet::<T>::block_hash(frame_system::pallet_prelude::BlockNumberFor::<T>::default());
        Hash::from(sp_io::hashing::blake2_256(&vote.preimage(&genesis)))
    }

    /// Whether this opens a commitment now; gives the proposal and the commitment.
    fn check_reveal(vote: &SealedVote) -> Result<(Proposal, Commitment), Error<T>> {
        let commitment = Commitments::<T>::get(vote.proposal, vote.owner).ok_or(Error::<T>::NoSuchCommitment)?;
        ensure!(commitment.hash == Self::commitment_of(vote), Error::<T>::NoSuchCommitment);
        let proposal = Self::proposal(vote.proposal)?;
        let ProposalState::Revealing { until } = proposal.state else { return Err(Error::<T>::WrongState) };
        ensure!(Self::now() < until, Error::<T>::TooLate);
        ensure!(vote.votes.unsigned_abs() <= x0_limits::VOTES_MAX.unsigned_abs(), Error::<T>::TooManyVotes);
        ensure!(!vote.spam || vote.votes < 0, Error::<T>::SpamMeansAgainst);
        ensure!(vote_cost(vote.votes.into()) <= u64::from(commitment.envelope), Error::<T>::EnvelopeExceeded);
        ensure!(Self::is_eligible(vote.owner, &proposal.ballot), Error::<T>::NotEligible);
        Ok((proposal, commitment))
    }

    pub(crate) fn do_reveal(vote: &SealedVote) -> Result<u32, DispatchError> {
        let (mut proposal, commitment) = Self::check_reveal(vote)?;
        let SealedVote { proposal: number, owner, votes, spam, .. } = *vote;
        Commitments::<T>::remove(number, owner);
        let epoch = proposal.ballot.epoch;
        // The envelope comes back and the votes are paid for out of it.
        Credits::<T>::mutate(epoch, owner, |spending| {
            spending.locked = spending.locked.saturating_sub(commitment.envelope);
        });
        let id = BallotId { proposal: number, round: 0 };
        let mut ballot = proposal.ballot;
        // Votes that a delegate cast meanwhile give way.
        debug_assert!(Votes::<T>::get(id, owner).is_none_or(|vote| !vote.own), "a commitment is opened once");
        Self::cast(id, &mut ballot, owner, owner, Vote { votes, own: true, spam })?;
        let replicated = Self::replicate(id, &proposal, &mut ballot, owner, votes)?;
        Self::note_point(id, &ballot, Self::now());
        proposal.ballot = ballot;
        Proposals::<T>::insert(number, proposal);
        Self::deposit_event(Event::Revealed { proposal: number, owner, votes });
        Ok(replicated)
    }

    pub(crate) fn validate_reveal(vote: &SealedVote) -> TransactionValidity {
        let (proposal, _) = Self::check_reveal(vote).map_err(|error| match error {
            // It may open a commitment in a later block.
            Error::<T>::WrongState if Self::is_early(vote) => InvalidTransaction::Future,
            Error::<T>::NoSuchCommitment => InvalidTransaction::Stale,
            _ => InvalidTransaction::Call,
        })?;
        let ProposalState::Revealing { until } = proposal.state else { return InvalidTransaction::Call.into() };
        ValidTransaction::with_tag_prefix("x0/reveal")
            .and_provides((vote.proposal, vote.owner))
            .longevity(until.saturating_sub(Self::now()).max(1).saturated_into())
            .priority(1)
            .propagate(true)
            .build()
    }

    fn is_early(vote: &SealedVote) -> bool {
        Proposals::<T>::get(vote.proposal).is_some_and(|proposal| proposal.state == ProposalState::Committing)
    }
}
