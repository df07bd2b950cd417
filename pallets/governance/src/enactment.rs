//! The block hook: transitions that are due, decided calls, and votes that may go.
//!
//! ```text
//!   Enactments, oldest first:  fits into what is left of the block's weight? --no--> waits, first in the next block
//!                                 | yes
//!                              bytes hash to the call, track allows it --> dispatch, all or nothing
//!                                 | ok              | error
//!                              Executed          again after some slots; after the last attempt EnactmentFailed
//! ```

use crate::{
    Alarms, BallotId, Commitments, Config, Credits, Enactment, Enactments, EpochUses, Error, Event, Origin, Pallet,
    Proposal, ProposalState, Proposals, Retired, Timelines, Votes, WeightInfo,
    life::{queue_key, split_queue_key},
};
use core::marker::PhantomData;
use frame_support::{
    dispatch::extract_actual_weight,
    pallet_prelude::Weight,
    storage::with_storage_layer,
    traits::{EnsureOrigin, Get, OriginTrait},
};
use sp_runtime::{DispatchError, traits::Dispatchable};
use x0_types::{
    governance::{Electorate, EpochIndex, ProposalId, TrackFilter, TrackId},
    market::Slot,
};

/// Tells the tracks that an [`EnsureTrack`] lets through.
pub trait TrackSet {
    /// Whether the track is one of them.
    fn contains(track: TrackId) -> bool;
}

/// Lets calls through that a ballot of one of these tracks decided.
pub struct EnsureTrack<S>(PhantomData<S>);

impl<S: TrackSet, O: OriginTrait> EnsureOrigin<O> for EnsureTrack<S>
where
    O::PalletsOrigin: From<Origin>,
    for<'a> &'a O::PalletsOrigin: TryInto<&'a Origin>,
{
    type Success = TrackId;

    fn try_origin(origin: O) -> Result<TrackId, O> {
        let track = match origin.caller().try_into() {
            Ok(Origin::Track(track)) if S::contains(*track) => Some(*track),
            _ => None,
        };
        track.ok_or(origin)
    }

    #[cfg(feature = "runtime-benchmarks")]
    fn try_successful_origin() -> Result<O, ()> {
        let track = TrackId::ALL.into_iter().find(|track| S::contains(*track)).ok_or(())?;
        let mut origin = O::root();
        origin.set_caller(Origin::Track(track).into());
        Ok(origin)
    }
}

/// What one attempt led to.
enum Attempt {
    /// It does not fit into the rest of this block.
    Wait,
    Done(Weight, Result<(), DispatchError>),
}

impl<T: Config> Pallet<T> {
    /// The largest weight of the hook.
    pub(crate) fn hook_weight_max() -> Weight {
        let transitions = <T as Config>::WeightInfo::transition().saturating_mul(T::TransitionsPerBlock::get().into());
        let cleaned =
            <T as Config>::WeightInfo::cleaned().saturating_mul(x0_limits::GOVERNANCE_CLEANED_PER_BLOCK.into());
        <T as Config>::WeightInfo::hook_base()
            .saturating_add(transitions)
            .saturating_add(cleaned)
            .saturating_add(T::EnactmentWeight::get())
    }

    pub(crate) fn run() -> Weight {
        let now = Self::now();
        let transitions = Self::make_transitions(now);
        let enacted = Self::enact_due(now);
        let cleaned = Self::clean(now);
        <T as Config>::WeightInfo::hook_base()
            .saturating_add(<T as Config>::WeightInfo::transition().saturating_mul(transitions.into()))
            .saturating_add(enacted)
            .saturating_add(<T as Config>::WeightInfo::cleaned().saturating_mul(cleaned.into()))
    }

    /// Works off alarms whose slot has come, oldest first, up to the cap.
    pub(crate) fn make_transitions(now: Slot) -> u32 {
        let cap = T::TransitionsPerBlock::get().max(1);
        let mut made = 0;
        while made < cap
            && let Some((slot, number)) = Alarms::<T>::iter_keys().next().map(split_queue_key)
            && slot <= now
        {
            Self::on_alarm(number, now);
            // Whatever the transition did, this entry is worked off: the next one always gets its turn.
            if Proposals::<T>::get(number).is_none_or(|proposal| proposal.alarm != Some(slot)) {
                Alarms::<T>::remove(queue_key(slot, number));
            }
            made = made.saturating_add(1);
        }
        made
    }

    /// Carries out decided calls that are due, oldest first, as far as the block's weight goes.
    fn enact_due(now: Slot) -> Weight {
        let budget = T::EnactmentWeight::get();
        let mut used = Weight::zero();
        while let Some((slot, number)) = Enactments::<T>::iter_keys().next().map(split_queue_key)
            && slot <= now
        {
            let Some(proposal) = Proposals::<T>::get(number) else {
                // G-I6 forbids it; without its proposal nobody knows the call.
                Enactments::<T>::remove(queue_key(slot, number));
                continue;
            };
            match Self::attempt(&proposal, budget.saturating_sub(used), budget) {
                Attempt::Wait => break,
                Attempt::Done(weight, result) => {
                    used = used.saturating_add(weight);
                    Self::after_attempt(number, result, now);
                }
            }
        }
        used
    }

    /// Tries to carry a call out within `room`. A call that would not fit into a whole block any more fails,
    /// because waiting would not help it, and those behind it wait too.
    fn attempt(proposal: &Proposal, room: Weight, budget: Weight) -> Attempt {
        let reading = <T as Config>::WeightInfo::enact(proposal.call_bytes);
        let fail = |error: Error<T>| Attempt::Done(reading, Err(error.into()));
        if !reading.all_lte(room) {
            return Attempt::Wait;
        }
        let call = match Self::load_call(proposal.call, proposal.call_bytes) {
            Ok(call) => call,
            Err(error) => return fail(error),
        };
        let weight = Self::enactment_weight(&call, proposal.call_bytes);
        if !weight.all_lte(budget) {
            return fail(Error::<T>::CallTooHeavy);
        }
        if !weight.all_lte(room) {
            return Attempt::Wait;
        }
        if !T::TrackFilter::allows(proposal.track, &call) {
            return fail(Error::<T>::CallNotAllowed);
        }
        let info = frame_support::dispatch::GetDispatchInfo::get_dispatch_info(&call);
        // The track's filter decided what this origin may do; the filter for transactions, with everything that
        // is paused, does not bind the owners (architecture D15).
        let mut origin = <T as frame_system::Config>::RuntimeOrigin::root();
        origin.set_caller(Origin::Track(proposal.track).into());
        let mut spent = info.call_weight;
        let result = with_storage_layer(|| {
            let result = call.dispatch(origin);
            spent = extract_actual_weight(&result, &info);
            result.map(|_| ()).map_err(|error| error.error)
        });
        Attempt::Done(reading.saturating_add(spent), result)
    }

    fn after_attempt(number: ProposalId, result: Result<(), DispatchError>, now: Slot) {
        // The call itself may have changed this module's storage, so the proposal is read once more.
        let Some(mut proposal) = Proposals::<T>::get(number) else { return };
        let ProposalState::Passed { at, attempts } = proposal.state else { return };
        let error = match result {
            Ok(()) => return Self::finish(number, proposal, ProposalState::Executed),
            Err(error) => error,
        };
        let attempts = attempts.saturating_add(1);
        if attempts >= x0_limits::ENACTMENT_ATTEMPTS_MAX {
            return Self::finish(number, proposal, ProposalState::EnactmentFailed { error });
        }
        let next = now.saturating_add(x0_limits::ENACTMENT_RETRY_SLOTS);
        Enactments::<T>::remove(queue_key(at, number));
        Enactments::<T>::insert(queue_key(next, number), Enactment { call: proposal.call });
        proposal.state = ProposalState::Passed { at: next, attempts };
        Proposals::<T>::insert(number, proposal);
        Self::deposit_event(Event::EnactmentRetried { proposal: number, attempts, error, next });
    }

    /// Removes votes of proposals that are at their end for long enough, and whose epochs are over: until then
    /// everybody can count again and sum up the credits.
    fn clean(now: Slot) -> u32 {
        let cap = x0_limits::GOVERNANCE_CLEANED_PER_BLOCK;
        let mut removed: u32 = 0;
        while removed < cap
            && let Some((slot, number)) = Retired::<T>::iter_keys().next().map(split_queue_key)
            && slot <= now
        {
            let room = (cap.saturating_sub(removed)) as usize;
            let (entries, done) = Self::clean_one(number, slot, now, room);
            removed = removed.saturating_add(entries).saturating_add(1);
            if !done {
                break;
            }
        }
        removed
    }

    /// Removes at most `room` entries of one proposal; says how many, and whether its entry in the queue is
    /// worked off.
    fn clean_one(number: ProposalId, slot: Slot, now: Slot, room: usize) -> (u32, bool) {
        let entry = queue_key(slot, number);
        let Some(proposal) = Proposals::<T>::get(number) else {
            Retired::<T>::remove(entry);
            return (0, true);
        };
        let epochs: Vec<EpochIndex> = Self::epochs_of(&proposal);
        if epochs.iter().any(|epoch| *epoch >= T::Owners::epoch()) {
            Retired::<T>::remove(entry);
            let later = now.saturating_add(T::VotesKeptSlots::get().max(1));
            Retired::<T>::insert(queue_key(later, number), ());
            return (0, true);
        }
        let mut left = room;
        for round in [0, 1] {
            let gone = Votes::<T>::drain_prefix(BallotId { proposal: number, round }).take(left).count();
            left = left.saturating_sub(gone);
        }
        let gone = Commitments::<T>::drain_prefix(number).take(left).count();
        left = left.saturating_sub(gone);
        // The last ballot of an epoch takes the epoch's credits along.
        for epoch in &epochs {
            let own = epochs.iter().filter(|other| *other == epoch).count();
            if EpochUses::<T>::get(epoch) as usize <= own {
                let gone = Credits::<T>::drain_prefix(epoch).take(left).count();
                left = left.saturating_sub(gone);
            }
        }
        let removed = u32::try_from(room.saturating_sub(left)).unwrap_or(u32::MAX);
        if left == 0 {
            return (removed, false);
        }
        for epoch in epochs {
            EpochUses::<T>::mutate_exists(epoch, |uses| {
                *uses = uses.unwrap_or_default().checked_sub(1).filter(|left| *left > 0);
            });
        }
        Timelines::<T>::remove(BallotId { proposal: number, round: 0 });
        Timelines::<T>::remove(BallotId { proposal: number, round: 1 });
        Retired::<T>::remove(entry);
        Proposals::<T>::remove(number);
        Self::deposit_event(Event::VotesRemoved { proposal: number });
        (removed, true)
    }

    /// The epochs whose credits paid for a proposal's ballots, one for each ballot.
    pub(crate) fn epochs_of(proposal: &Proposal) -> Vec<EpochIndex> {
        let first = (proposal.ballot.ends > 0).then_some(proposal.ballot.epoch);
        first.into_iter().chain(proposal.second.map(|second| second.epoch)).collect()
    }
}
