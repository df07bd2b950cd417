//! What wallets and the node's RPC ask: credits, costs, tallies, delegations and why a proposal failed.

use crate::{
    Ballot, BallotId, Commitments, Config, Credits, Delegates, Delegators, Pallet, Proposal, ProposalState, Proposals,
    Tally, TallyPoint, Timelines, Track, Tracks, Votes,
};
use x0_accounting::{revision_cost, vote_cost, votes_afforded};
use x0_types::{
    AccountId, Hash,
    governance::{Electorate, EpochIndex, OwnerId, OwnerRegistry, ProposalId, TrackId},
    market::Slot,
};

/// An owner's credits of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreditsView {
    /// The owner.
    pub owner: OwnerId,
    /// The epoch.
    pub epoch: EpochIndex,
    /// What everybody has in each epoch.
    pub total: u32,
    /// Used for votes that are counted.
    pub spent: u32,
    /// Locked by sealed votes that are not opened.
    pub locked: u32,
    /// What is left.
    pub remaining: u32,
    /// The first epoch in whose ballots the owner votes; `None` when it was revoked.
    pub eligible_from: Option<EpochIndex>,
}

/// What votes on a proposal would cost an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CostView {
    /// The votes.
    pub votes: i8,
    /// What they cost in all.
    pub cost: u64,
    /// What they cost beyond the votes that stand there now; negative when credits come back.
    pub difference: i64,
    /// What would be left; `None` when the credits do not suffice.
    pub remaining_after: Option<u32>,
    /// Most votes that the owner can have on this proposal.
    pub votes_max: i8,
    /// The owner's votes that stand there now.
    pub standing: i8,
    /// Everybody's credits in an epoch.
    pub total: u32,
}

/// How a proposal stands.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProposalView {
    /// Its number.
    pub proposal: ProposalId,
    /// Its track.
    pub track: TrackId,
    /// Its state in words.
    pub state: String,
    /// Whether nothing follows.
    pub terminal: bool,
    /// Who opened it.
    pub proposer: AccountId,
    /// BLAKE2b-256 of the call.
    pub call: Hash,
    /// Length of the call.
    pub call_bytes: u32,
    /// Hash of the changes that the proposer saw.
    pub dry_run: Option<Hash>,
    /// On hold, base units.
    pub deposit: u128,
    /// When it was opened.
    pub submitted: Slot,
    /// When it goes on by itself.
    pub next: Option<Slot>,
    /// The ballots so far, with what they need now.
    pub ballots: Vec<BallotView>,
    /// Whether its first ballot went on longer because it began to pass late.
    pub extended: bool,
    /// Why it did not come to be, when it did not.
    pub why: Option<WhyFailed>,
}

/// How a ballot stands in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BallotView {
    /// 0, or 1 for the one about a contested decision.
    pub round: u8,
    /// Whose credits pay.
    pub epoch: EpochIndex,
    /// Owners who could vote.
    pub electorate: u32,
    /// When it began.
    pub began: Slot,
    /// When it ends.
    pub ends: Slot,
    /// What was counted.
    pub tally: Tally,
    /// Share of the votes that must be in favour in this slot, ppm.
    pub approval_needed_ppm: u32,
    /// Share of the electorate that must be in favour in this slot, ppm.
    pub support_needed_ppm: u32,
    /// Whether it passes in this slot.
    pub passes: bool,
}

/// Why a proposal did not come to be.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "reason", rename_all = "camelCase")]
pub enum WhyFailed {
    /// Votes were too evenly split, or too few owners were in favour.
    NotPassed {
        /// Whether enough of the votes were in favour.
        approval: bool,
        /// Whether enough owners were in favour.
        support: bool,
        /// Whether the voters called it spam.
        spam: bool,
    },
    /// The track never had a place for it.
    NoPlace,
    /// Validators contested it and its second ballot failed.
    Overturned,
    /// Its proposer took it back, or its track may not carry it out any more.
    Withdrawn,
    /// Its call failed.
    CallFailed {
        /// The last error.
        error: String,
    },
}

/// An owner's delegations.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DelegationView {
    /// The track.
    pub track: TrackId,
    /// Who votes for the owner.
    pub delegate: Option<OwnerId>,
    /// For whom the owner votes.
    pub delegators: Vec<OwnerId>,
}

impl<T: Config> Pallet<T> {
    /// The credits of an account's owner in the present epoch.
    #[must_use]
    pub fn credits_of(account: &AccountId) -> Option<CreditsView> {
        let owner = T::Owners::owner_of(account)?;
        Some(Self::credits_in(owner, T::Owners::epoch()))
    }

    /// The credits of an owner in an epoch.
    #[must_use]
    pub fn credits_in(owner: OwnerId, epoch: EpochIndex) -> CreditsView {
        let spending = Credits::<T>::get(epoch, owner);
        CreditsView {
            owner,
            epoch,
            total: x0_limits::VOTE_CREDITS,
            spent: spending.spent,
            locked: spending.locked,
            remaining: spending.remaining(),
            eligible_from: T::Owners::eligible_from(owner),
        }
    }

    /// What `votes` of an account's owner on a proposal would cost, of the credits of the epoch of its ballot;
    /// of the present epoch when no ballot runs.
    #[must_use]
    pub fn cost_preview(account: &AccountId, number: ProposalId, votes: i8) -> Option<CostView> {
        let owner = T::Owners::owner_of(account)?;
        let proposal = Proposals::<T>::get(number)?;
        let (round, ballot) = match proposal.running() {
            Some((round, ballot)) => (round, *ballot),
            None => (0, Ballot { epoch: T::Owners::epoch(), ..Ballot::default() }),
        };
        let standing = Votes::<T>::get(BallotId { proposal: number, round }, owner).unwrap_or_default().votes;
        let envelope = Commitments::<T>::get(number, owner).map(|commitment| commitment.envelope);
        let affordable = Self::affordable(&ballot, owner, standing).saturating_add(envelope.unwrap_or(0));
        let limit = match (round, proposal.terms.sealing) {
            (0, Some(sealing)) => affordable.min(sealing.envelope),
            _ => affordable,
        };
        let cost = vote_cost(votes.into());
        Some(CostView {
            votes,
            cost,
            difference: i64::try_from(revision_cost(standing.into(), votes.into())).unwrap_or(i64::MAX),
            remaining_after: u32::try_from(cost)
                .ok()
                .filter(|cost| *cost <= limit && votes.unsigned_abs() <= x0_limits::VOTES_MAX.unsigned_abs())
                .and_then(|cost| affordable.checked_sub(cost)),
            votes_max: i8::try_from(votes_afforded(limit)).unwrap_or(i8::MAX).min(x0_limits::VOTES_MAX),
            standing,
            total: x0_limits::VOTE_CREDITS,
        })
    }

    /// How a proposal stands in this slot.
    #[must_use]
    pub fn proposal_view(number: ProposalId) -> Option<ProposalView> {
        let proposal = Proposals::<T>::get(number)?;
        let now = Self::now();
        let first = (proposal.ballot.ends > 0).then_some((0, proposal.ballot));
        let ballots = first
            .into_iter()
            .chain(proposal.second.map(|second| (1, second)))
            .map(|(round, ballot)| ballot_view(&proposal, round, &ballot, now))
            .collect();
        let next = match proposal.state {
            ProposalState::Passed { at, .. } => Some(at),
            _ => proposal.alarm,
        };
        Some(ProposalView {
            proposal: number,
            track: proposal.track,
            state: proposal.state.name().to_owned(),
            terminal: proposal.state.is_terminal(),
            why: why_failed(&proposal),
            call: proposal.call,
            call_bytes: proposal.call_bytes,
            dry_run: proposal.dry_run,
            deposit: proposal.deposit,
            submitted: proposal.submitted,
            extended: proposal.extended,
            proposer: proposal.proposer,
            next,
            ballots,
        })
    }

    /// The proposals in the state with at least this number, at most `count` of them.
    #[must_use]
    pub fn proposal_views(from: ProposalId, count: u32) -> Vec<ProposalView> {
        let until = crate::NextProposal::<T>::get();
        (from..until).filter_map(Self::proposal_view).take(count as usize).collect()
    }

    /// The course of a ballot.
    #[must_use]
    pub fn timeline(number: ProposalId, round: u8) -> Vec<TallyPoint> {
        Timelines::<T>::get(BallotId { proposal: number, round }).into_inner()
    }

    /// Who votes for whom, on each track where the owner takes part in a delegation.
    #[must_use]
    pub fn delegations_of(owner: OwnerId) -> Vec<DelegationView> {
        let on = |track| DelegationView {
            track,
            delegate: Delegates::<T>::get(track, owner),
            delegators: Delegators::<T>::get(track, owner).into_inner(),
        };
        let takes_part = |view: &DelegationView| view.delegate.is_some() || !view.delegators.is_empty();
        TrackId::ALL.into_iter().map(on).filter(takes_part).collect()
    }

    /// The rules of every track that takes proposals.
    #[must_use]
    pub fn tracks() -> Vec<(TrackId, Track)> {
        TrackId::ALL.into_iter().filter_map(|track| Some((track, Tracks::<T>::get(track)?))).collect()
    }
}

fn ballot_view(proposal: &Proposal, round: u8, ballot: &Ballot, now: Slot) -> BallotView {
    let gates = &proposal.terms.gates;
    let at = now.min(ballot.ends).saturating_sub(ballot.began);
    let at = if proposal.terms.sealing.is_some() { u64::MAX } else { at };
    let (approval_needed_ppm, support_needed_ppm, passes) = if round == 0 {
        let count = ballot.count();
        (gates.approval.threshold_ppm(at), gates.support.threshold_ppm(at), gates.pass(&count, at))
    } else {
        let passes = x0_accounting::Gates::pass_fixed(&ballot.count(), x0_limits::CONTESTED_APPROVAL_PPM, (1, 3));
        (x0_limits::CONTESTED_APPROVAL_PPM, x0_accounting::PPM.div_ceil(3), passes)
    };
    let Ballot { epoch, electorate, began, ends, tally } = *ballot;
    BallotView { round, epoch, electorate, began, ends, tally, approval_needed_ppm, support_needed_ppm, passes }
}

fn why_failed(proposal: &Proposal) -> Option<WhyFailed> {
    match proposal.state {
        ProposalState::Rejected { spam } => {
            let (gates, ballot) = (&proposal.terms.gates, &proposal.ballot);
            let votes = ballot.tally.ayes.saturating_add(ballot.tally.nays);
            Some(WhyFailed::NotPassed {
                approval: ballot.tally.ayes > 0 && gates.approval.is_reached(ballot.tally.ayes, votes, u64::MAX),
                support: gates.support.is_reached(ballot.tally.heads_for.into(), ballot.electorate.into(), u64::MAX),
                spam,
            })
        }
        ProposalState::Expired => Some(WhyFailed::NoPlace),
        ProposalState::Cancelled if proposal.second.is_some() => Some(WhyFailed::Overturned),
        ProposalState::Cancelled => Some(WhyFailed::Withdrawn),
        ProposalState::EnactmentFailed { error } => Some(WhyFailed::CallFailed { error: format!("{error:?}") }),
        _ => None,
    }
}
