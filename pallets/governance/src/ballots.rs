//! Votes, credits and tallies.

use crate::{
    Ballot, BallotId, Commitments, Config, Credits, Delegators, Error, Event, Pallet, Proposal, ProposalState,
    Proposals, Reason, Spending, Tally, TallyPoint, Timelines, Vote, Votes,
};
use frame_support::{ensure, pallet_prelude::DispatchResult};
use sp_runtime::{DispatchError, SaturatedConversion};
use x0_accounting::{capped_votes, revision_cost, vote_cost};
use x0_types::{
    AccountId,
    governance::{Electorate, OwnerId, OwnerRegistry, ProposalId},
    market::Slot,
};

impl<T: Config> Pallet<T> {
    pub(crate) fn owner(who: &AccountId) -> Result<OwnerId, Error<T>> {
        T::Owners::owner_of(who).ok_or(Error::<T>::NotOwner)
    }

    /// Whether an owner was old enough when the ballot began, and is not revoked.
    pub(crate) fn is_eligible(owner: OwnerId, ballot: &Ballot) -> bool {
        T::Owners::eligible_from(owner).is_some_and(|from| from <= ballot.epoch)
    }

    pub(crate) fn do_vote(
        who: &AccountId,
        number: ProposalId,
        votes: i8,
        spam: bool,
        reason: Option<Reason>,
    ) -> Result<u32, DispatchError> {
        let owner = Self::owner(who)?;
        ensure!(votes.unsigned_abs() <= x0_limits::VOTES_MAX.unsigned_abs(), Error::<T>::TooManyVotes);
        ensure!(!spam || votes < 0, Error::<T>::SpamMeansAgainst);
        let mut proposal = Self::proposal(number)?;
        let (id, mut ballot) = Self::running(number, &proposal)?;
        let now = Self::now();
        match proposal.state {
            ProposalState::Committing | ProposalState::Revealing { .. } => return Err(Error::<T>::Sealed.into()),
            ProposalState::Confirming { until, .. } => ensure!(now < until, Error::<T>::TooLate),
            _ => ensure!(now < ballot.ends, Error::<T>::TooLate),
        }
        ensure!(Self::is_eligible(owner, &ballot), Error::<T>::NotEligible);
        Self::cast(id, &mut ballot, owner, owner, Vote { votes, own: true, spam })?;
        // A contested decision is judged by each owner for itself.
        let replicated = if id.round == 0 { Self::replicate(id, &proposal, &mut ballot, owner, votes)? } else { 0 };
        Self::note_point(id, &ballot, now);
        if let Some(reason) = reason {
            Self::deposit_event(Event::Reasoned { proposal: number, owner, reason });
        }
        if id.round == 0 {
            proposal.ballot = ballot;
            Self::reconsider(number, proposal, now);
        } else {
            proposal.second = Some(ballot);
            Proposals::<T>::insert(number, proposal);
        }
        Ok(replicated)
    }

    /// Puts an owner's votes in the place of its earlier ones: its credits pay or get the difference, and the
    /// tally follows. Nothing changes when the credits do not suffice.
    pub(crate) fn cast(id: BallotId, ballot: &mut Ballot, owner: OwnerId, by: OwnerId, vote: Vote) -> DispatchResult {
        let old = Votes::<T>::get(id, owner).unwrap_or_default();
        let mut spending = Credits::<T>::get(ballot.epoch, owner);
        let due = revision_cost(old.votes.into(), vote.votes.into());
        let spent = i128::from(spending.spent).checked_add(due).ok_or(Error::<T>::Overflow)?;
        spending.spent = u32::try_from(spent).map_err(|_| Error::<T>::Overflow)?;
        let used = u64::from(spending.spent).saturating_add(spending.locked.into());
        ensure!(used <= u64::from(x0_limits::VOTE_CREDITS), Error::<T>::NotEnoughCredits);
        ballot.tally = retally(ballot.tally, old, vote).ok_or(Error::<T>::Overflow)?;
        Credits::<T>::insert(ballot.epoch, owner, spending);
        Votes::<T>::insert(id, owner, vote);
        let BallotId { proposal, round } = id;
        Self::deposit_event(Event::Voted { proposal, round, owner, votes: vote.votes, by });
        Ok(())
    }

    /// Casts a delegate's votes once more for each of its delegators that did not vote itself, within what
    /// that delegator has left. Says for how many it looked.
    pub(crate) fn replicate(
        id: BallotId,
        proposal: &Proposal,
        ballot: &mut Ballot,
        delegate: OwnerId,
        votes: i8,
    ) -> Result<u32, DispatchError> {
        let delegators = Delegators::<T>::get(proposal.track, delegate);
        for owner in &delegators {
            let old = Votes::<T>::get(id, owner).unwrap_or_default();
            let votes_itself = old.own || Commitments::<T>::contains_key(id.proposal, owner);
            if votes_itself || !Self::is_eligible(*owner, ballot) {
                continue;
            }
            let left = Self::affordable(ballot, *owner, old.votes);
            let votes = i8::try_from(capped_votes(votes.into(), left)).map_err(|_| Error::<T>::Overflow)?;
            Self::cast(id, ballot, *owner, delegate, Vote { votes, own: false, spam: false })?;
        }
        Ok(delegators.len().saturated_into())
    }

    /// Credits that an owner can use in a ballot in which `standing` votes of it stand.
    pub(crate) fn affordable(ballot: &Ballot, owner: OwnerId, standing: i8) -> u32 {
        let Spending { spent, locked } = Credits::<T>::get(ballot.epoch, owner);
        let others = u64::from(spent).saturating_sub(vote_cost(standing.into())).saturating_add(locked.into());
        u64::from(x0_limits::VOTE_CREDITS).saturating_sub(others).saturated_into()
    }

    /// Notes the tally in the ballot's timeline: one point for each part of the period.
    pub(crate) fn note_point(id: BallotId, ballot: &Ballot, now: Slot) {
        let period = ballot.ends.saturating_sub(ballot.began).max(1);
        let part = |slot: Slot| {
            let at = slot.saturating_sub(ballot.began).min(period.saturating_sub(1));
            // Which of the equal parts of the period: floored.
            x0_accounting::mul_div_floor(at.into(), x0_limits::TALLY_POINTS_MAX.into(), period.into())
        };
        Timelines::<T>::mutate(id, |timeline| {
            let point = TallyPoint { slot: now, tally: ballot.tally };
            let full = timeline.len() >= x0_limits::TALLY_POINTS_MAX as usize;
            match timeline.last_mut() {
                Some(last) if full || part(last.slot) == part(now) => *last = point,
                // There is room: it is not full.
                _ => timeline.force_push(point),
            }
        });
    }
}

/// The tally with one voter's votes in the place of its earlier ones.
fn retally(tally: Tally, old: Vote, new: Vote) -> Option<Tally> {
    let part =
        |vote: Vote, wanted: bool| if (vote.votes > 0) == wanted { u64::from(vote.votes.unsigned_abs()) } else { 0 };
    let is_for = |vote: Vote| u32::from(vote.votes > 0);
    let is_against = |vote: Vote| u32::from(vote.votes < 0);
    let spam = |vote: Vote| u32::from(vote.spam);
    Some(Tally {
        ayes: tally.ayes.checked_add(part(new, true))?.checked_sub(part(old, true))?,
        nays: tally.nays.checked_add(part(new, false))?.checked_sub(part(old, false))?,
        heads_for: tally.heads_for.checked_add(is_for(new))?.checked_sub(is_for(old))?,
        heads_against: tally.heads_against.checked_add(is_against(new))?.checked_sub(is_against(old))?,
        spam: tally.spam.checked_add(spam(new))?.checked_sub(spam(old))?,
    })
}
