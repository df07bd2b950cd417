//! What must hold after every block: G-I1 to G-I10.

use crate::{
    Alarms, Ballot, BallotId, Commitments, Config, Contests, Credits, Delegates, Delegators, Enactments, EpochUses,
    HoldReason, NextProposal, Pallet, Proposal, ProposalState, Proposals, Queues, Retired, Spending, Tally, Votes,
    life::{queue_key, split_queue_key},
};
use frame_support::traits::{QueryPreimage, fungible::InspectHold};
use std::collections::BTreeMap;
use x0_accounting::vote_cost;
use x0_types::{
    AccountId, Balance,
    governance::{Electorate, EpochIndex, OwnerId, ProposalId, TrackId},
};

fn ensure(holds: bool, broken: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(broken()) }
}

impl<T: Config> Pallet<T> {
    /// Checks every rule that the storage of this module keeps. Reads all of it: for tests and for
    /// try-runtime, never inside a block.
    ///
    /// # Errors
    /// The broken rule, in words.
    pub fn check_invariants() -> Result<(), String> {
        Self::check_credits()?;
        for (number, proposal) in Proposals::<T>::iter() {
            ensure(number < NextProposal::<T>::get(), || format!("proposal {number} of the future"))?;
            Self::check_tallies(number, &proposal)?;
            Self::check_entries(number, &proposal)?;
        }
        Self::check_queues()?;
        Self::check_deposits()?;
        Self::check_delegations()
    }

    /// G-I1, G-I9: what is spent is what votes and open envelopes cost, and never more than there is.
    fn check_credits() -> Result<(), String> {
        let mut expected: BTreeMap<(EpochIndex, OwnerId), Spending> = BTreeMap::new();
        for (id, owner, vote) in Votes::<T>::iter() {
            let proposal = Proposals::<T>::get(id.proposal).ok_or("a vote without its proposal")?;
            let ballot = Self::ballot_of(&proposal, id.round).ok_or("a vote without its ballot")?;
            ensure(vote.votes.unsigned_abs() <= x0_limits::VOTES_MAX.unsigned_abs(), || "G-I3: too many votes".into())?;
            let spending = expected.entry((ballot.epoch, owner)).or_default();
            spending.spent =
                spending.spent.saturating_add(u32::try_from(vote_cost(vote.votes.into())).unwrap_or(u32::MAX));
        }
        for (number, owner, commitment) in Commitments::<T>::iter() {
            let proposal = Proposals::<T>::get(number).ok_or("a commitment without its proposal")?;
            let spending = expected.entry((proposal.ballot.epoch, owner)).or_default();
            spending.locked = spending.locked.saturating_add(commitment.envelope);
        }
        for (epoch, owner, spending) in Credits::<T>::iter() {
            let found = expected.remove(&(epoch, owner)).unwrap_or_default();
            // Votes of decided ballots of past epochs may be gone; their credits stay until the last of them.
            let some_are_gone = epoch < T::Owners::epoch();
            let agrees = if some_are_gone {
                found.spent <= spending.spent && found.locked <= spending.locked
            } else {
                found == spending
            };
            ensure(agrees, || {
                format!("G-I1: owner {owner} spent {spending:?} in epoch {epoch}, its votes say {found:?}")
            })?;
            let used = spending.spent.saturating_add(spending.locked);
            ensure(used <= x0_limits::VOTE_CREDITS, || format!("G-I1: owner {owner} spent {used} in epoch {epoch}"))?;
        }
        expected.retain(|_, spending| *spending != Spending::default());
        ensure(expected.is_empty(), || format!("G-I1: votes that nobody paid for: {expected:?}"))?;
        let mut uses: BTreeMap<EpochIndex, u32> = BTreeMap::new();
        for proposal in Proposals::<T>::iter_values() {
            for epoch in Self::epochs_of(&proposal) {
                let count = uses.entry(epoch).or_default();
                *count = count.saturating_add(1);
            }
        }
        let counted: BTreeMap<EpochIndex, u32> = EpochUses::<T>::iter().collect();
        ensure(uses == counted, || format!("epochs are in use {uses:?}, counted {counted:?}"))
    }

    fn ballot_of(proposal: &Proposal, round: u8) -> Option<Ballot> {
        if round == 0 { Some(proposal.ballot) } else { proposal.second }
    }

    /// G-I2, G-I3, G-I4: the tally is the recount.
    fn check_tallies(number: ProposalId, proposal: &Proposal) -> Result<(), String> {
        let now = Self::now();
        // Once the time has come, the votes go over several blocks.
        let is_retired = proposal.state.is_terminal()
            && Retired::<T>::iter_keys().map(split_queue_key).any(|(slot, one)| one == number && slot <= now);
        for round in [0, 1] {
            let Some(ballot) = Self::ballot_of(proposal, round) else { continue };
            let mut recount = Tally::default();
            for (_, vote) in Votes::<T>::iter_prefix(BallotId { proposal: number, round }) {
                let size = u64::from(vote.votes.unsigned_abs());
                match vote.votes {
                    1.. => {
                        recount.ayes = recount.ayes.saturating_add(size);
                        recount.heads_for = recount.heads_for.saturating_add(1);
                    }
                    0 => {}
                    _ => {
                        recount.nays = recount.nays.saturating_add(size);
                        recount.heads_against = recount.heads_against.saturating_add(1);
                    }
                }
                recount.spam = recount.spam.saturating_add(u32::from(vote.spam));
            }
            ensure(is_retired || recount == ballot.tally, || {
                format!("G-I2: proposal {number} counts {:?}, its votes are {recount:?}", ballot.tally)
            })?;
            ensure(ballot.tally.heads() <= ballot.electorate, || {
                format!("G-I4: proposal {number} has more voters than {}", ballot.electorate)
            })?;
        }
        let reveals = matches!(proposal.state, ProposalState::Committing);
        let early = reveals && Votes::<T>::iter_prefix(BallotId { proposal: number, round: 0 }).next().is_some();
        ensure(!early, || format!("G-I9: proposal {number} shows votes before their time"))
    }

    /// G-I6, G-I10: one entry in the right queue, a pinned preimage, contests only where they count.
    fn check_entries(number: ProposalId, proposal: &Proposal) -> Result<(), String> {
        let passed = match proposal.state {
            ProposalState::Passed { at, .. } => Some(at),
            _ => None,
        };
        let alarms = usize::from(proposal.alarm.is_some());
        let expected = usize::from(!proposal.state.is_terminal() && passed.is_none());
        ensure(alarms == expected, || {
            format!("G-I6: proposal {number} ({}) has {alarms} alarms", proposal.state.name())
        })?;
        if let Some(slot) = proposal.alarm {
            ensure(Alarms::<T>::contains_key(queue_key(slot, number)), || format!("G-I6: no alarm for {number}"))?;
        }
        if let Some(at) = passed {
            let entry = Enactments::<T>::get(queue_key(at, number));
            ensure(entry.is_some_and(|entry| entry.call == proposal.call), || {
                format!("G-I6: the decided proposal {number} is not queued with its call")
            })?;
        } else {
            ensure(!Contests::<T>::contains_key(number), || format!("G-I10: {number} is contested out of time"))?;
        }
        let second_is_noted = proposal.second.is_none() || crate::ContestedCalls::<T>::contains_key(proposal.call);
        ensure(second_is_noted, || format!("G-I10: the second ballot of {number} is not noted"))?;
        ensure(proposal.state.is_terminal() || T::Preimages::is_requested(&proposal.call), || {
            format!("the call of proposal {number} is not pinned")
        })
    }

    fn check_queues() -> Result<(), String> {
        let live = |test: fn(&ProposalState) -> bool| {
            Proposals::<T>::iter_values().filter(|proposal| test(&proposal.state)).count()
        };
        let alarms = live(|state| !state.is_terminal() && !matches!(state, ProposalState::Passed { .. }));
        ensure(Alarms::<T>::iter_keys().count() == alarms, || "G-I6: alarms of nobody".into())?;
        let passed = live(|state| matches!(state, ProposalState::Passed { .. }));
        ensure(Enactments::<T>::iter_keys().count() == passed, || "G-I6: enactments of nobody".into())?;
        let ended = live(ProposalState::is_terminal);
        ensure(Retired::<T>::iter_keys().count() == ended, || "ended proposals are not all retired once".into())?;
        for track in TrackId::ALL {
            let queue = Queues::<T>::get(track);
            let of_track = |test: fn(&ProposalState) -> bool| {
                Proposals::<T>::iter_values().filter(|one| one.track == track && test(&one.state)).count()
            };
            let deciding = of_track(ProposalState::is_deciding);
            ensure(queue.deciding as usize == deciding, || {
                format!("{track:?} decides {deciding}, not {}", queue.deciding)
            })?;
            let waiting = of_track(|state| *state == ProposalState::Preparing);
            ensure(queue.waiting.len() == waiting, || format!("{track:?} has {waiting} waiting proposals"))?;
        }
        Ok(())
    }

    /// G-I5: what is held is what open proposals say.
    fn check_deposits() -> Result<(), String> {
        let mut expected: BTreeMap<AccountId, Balance> = BTreeMap::new();
        for proposal in Proposals::<T>::iter_values() {
            ensure(!proposal.state.is_terminal() || proposal.deposit == 0, || {
                "G-I5: an ended proposal's deposit".into()
            })?;
            let sum = expected.entry(proposal.proposer).or_default();
            *sum = sum.saturating_add(proposal.deposit);
        }
        let reason = HoldReason::Proposal.into();
        for (who, sum) in expected {
            let held = T::Currency::balance_on_hold(&reason, &who);
            ensure(held == sum, || format!("G-I5: {held} held from {who}, its open proposals say {sum}"))?;
        }
        Ok(())
    }

    /// G-I8: both directions agree, nobody delegates further, and no list is too long.
    fn check_delegations() -> Result<(), String> {
        let mut edges = 0usize;
        for (track, owner, delegate) in Delegates::<T>::iter() {
            edges = edges.saturating_add(1);
            ensure(Delegators::<T>::get(track, delegate).contains(&owner), || format!("G-I8: a lost edge of {owner}"))?;
            ensure(!Delegates::<T>::contains_key(track, delegate), || format!("G-I8: {delegate} hands votes on"))?;
            ensure(owner != delegate, || format!("G-I8: {owner} delegates to itself"))?;
        }
        let listed: usize = Delegators::<T>::iter_values().map(|list| list.len()).sum();
        ensure(listed == edges, || format!("G-I8: {listed} delegators in lists, {edges} edges"))
    }
}
