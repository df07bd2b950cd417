//! The life of a proposal: from its opening to its end.

use crate::{
    Alarms, Ballot, BallotId, Config, ContestedCalls, Contests, Enactment, Enactments, EpochUses, Error, Event,
    HoldReason, NextProposal, Pallet, Proposal, ProposalState, Proposals, Queues, Retired, Track, Tracks, WeightInfo,
};
use codec::{DecodeLimit, Encode};
use frame_support::{
    dispatch::GetDispatchInfo,
    ensure,
    pallet_prelude::{DispatchResult, Weight},
    traits::{
        Get, QueryPreimage, StorePreimage,
        fungible::MutateHold,
        tokens::{Fortitude, Precision, Restriction},
    },
};
use sp_runtime::{DispatchError, SaturatedConversion};
use std::borrow::Cow;
use x0_accounting::Gates;
use x0_types::{
    AccountId, Balance, Hash,
    governance::{Electorate, ProposalId, TrackFilter, TrackId},
    market::{Meter, Slot, ValidatorSet},
};

/// Key of a queue: slot and proposal, both big-endian.
pub(crate) fn queue_key(slot: Slot, proposal: ProposalId) -> [u8; 12] {
    let mut key = [0; 12];
    let (high, low) = key.split_at_mut(8);
    high.copy_from_slice(&slot.to_be_bytes());
    low.copy_from_slice(&proposal.to_be_bytes());
    key
}

/// Slot and proposal of a queue's key.
pub(crate) fn split_queue_key(key: [u8; 12]) -> (Slot, ProposalId) {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = key;
    (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u32::from_be_bytes([i, j, k, l]))
}

impl<T: Config> Pallet<T> {
    pub(crate) fn now() -> Slot {
        T::Meter::current_slot()
    }

    pub(crate) fn proposal(number: ProposalId) -> Result<Proposal, Error<T>> {
        Proposals::<T>::get(number).ok_or(Error::<T>::UnknownProposal)
    }

    pub(crate) fn do_propose(
        who: AccountId,
        track: TrackId,
        call: &<T as Config>::RuntimeCall,
        delay_slots: u64,
        dry_run: Option<Hash>,
    ) -> DispatchResult {
        let bytes = call.encode();
        let length = Self::check_call(track, call, bytes.len())?;
        let hash = Hash::from(sp_io::hashing::blake2_256(&bytes));
        let is_pinned = T::Preimages::is_requested(&hash);
        T::Preimages::note(Cow::Owned(bytes))?;
        // Noting pins bytes that nobody pinned; those that another proposal pinned are pinned once more, or its
        // end would take them away.
        if is_pinned {
            T::Preimages::request(&hash);
        }
        Self::open(who, track, (hash, length), delay_slots, dry_run)
    }

    pub(crate) fn do_propose_noted(
        who: AccountId,
        track: TrackId,
        hash: Hash,
        call_bytes: u32,
        delay_slots: u64,
        dry_run: Option<Hash>,
    ) -> DispatchResult {
        ensure!(call_bytes <= x0_limits::GOVERNANCE_CALL_BYTES_MAX, Error::<T>::CallLength);
        let call = Self::load_call(hash, call_bytes)?;
        Self::check_call(track, &call, call_bytes as usize)?;
        T::Preimages::request(&hash);
        Self::open(who, track, (hash, call_bytes), delay_slots, dry_run)
    }

    /// Whether a track takes this call; gives its length.
    fn check_call(track: TrackId, call: &<T as Config>::RuntimeCall, bytes: usize) -> Result<u32, DispatchError> {
        let length = u32::try_from(bytes).map_err(|_| Error::<T>::CallLength)?;
        ensure!(length <= x0_limits::GOVERNANCE_CALL_BYTES_MAX, Error::<T>::CallLength);
        ensure!(T::TrackFilter::allows(track, call), Error::<T>::CallNotAllowed);
        ensure!(Self::enactment_weight(call, length).all_lte(T::EnactmentWeight::get()), Error::<T>::CallTooHeavy);
        Ok(length)
    }

    /// What carrying out a call weighs with everything around it.
    pub(crate) fn enactment_weight(call: &<T as Config>::RuntimeCall, call_bytes: u32) -> Weight {
        call.get_dispatch_info().call_weight.saturating_add(<T as Config>::WeightInfo::enact(call_bytes))
    }

    /// The call behind a hash. The bytes are hashed once more: what is carried out is what was voted on.
    pub(crate) fn load_call(hash: Hash, bytes: u32) -> Result<<T as Config>::RuntimeCall, Error<T>> {
        let data = T::Preimages::fetch(&hash, Some(bytes)).map_err(|_| Error::<T>::UnknownCall)?;
        ensure!(Hash::from(sp_io::hashing::blake2_256(&data)) == hash, Error::<T>::UnknownCall);
        <T as Config>::RuntimeCall::decode_all_with_depth_limit(x0_limits::CALL_DEPTH_MAX, &mut &data[..])
            .map_err(|_| Error::<T>::UnknownCall)
    }

    /// What a proposal holds from its proposer.
    pub(crate) fn deposit_of(terms: &Track, call_bytes: u32) -> Option<Balance> {
        T::ByteDeposit::get().checked_mul(call_bytes.into())?.checked_add(terms.deposit)
    }

    fn open(
        who: AccountId,
        track: TrackId,
        (call, call_bytes): (Hash, u32),
        delay_slots: u64,
        dry_run: Option<Hash>,
    ) -> DispatchResult {
        let terms = Tracks::<T>::get(track).ok_or(Error::<T>::UnknownTrack)?;
        ensure!(delay_slots <= x0_limits::GOVERNANCE_PERIOD_SLOTS_MAX, Error::<T>::DelayTooLong);
        let number = NextProposal::<T>::get();
        NextProposal::<T>::put(number.checked_add(1).ok_or(Error::<T>::Overflow)?);
        Queues::<T>::try_mutate(track, |queue| queue.waiting.try_push(number))
            .map_err(|_| Error::<T>::TooManyProposals)?;
        let deposit = Self::deposit_of(&terms, call_bytes).ok_or(Error::<T>::Overflow)?;
        T::Currency::hold(&HoldReason::Proposal.into(), &who, deposit)?;
        let mut proposal = Proposal {
            track,
            terms,
            proposer: who.clone(),
            call,
            call_bytes,
            dry_run,
            deposit,
            delay_slots,
            submitted: Self::now(),
            state: ProposalState::Preparing,
            ballot: Ballot::default(),
            second: None,
            extended: false,
            alarm: None,
        };
        let prepared = proposal.submitted.saturating_add(terms.prepare_slots);
        Self::set_alarm(number, &mut proposal, Some(prepared));
        Proposals::<T>::insert(number, proposal);
        Self::deposit_event(Event::Proposed { proposal: number, track, proposer: who, call, deposit });
        Ok(())
    }

    pub(crate) fn do_withdraw(who: &AccountId, number: ProposalId) -> DispatchResult {
        let proposal = Self::proposal(number)?;
        ensure!(proposal.proposer == *who, Error::<T>::NotProposer);
        ensure!(proposal.state == ProposalState::Preparing, Error::<T>::WrongState);
        Self::finish(number, proposal, ProposalState::Cancelled);
        Ok(())
    }

    pub(crate) fn do_kill(number: ProposalId) -> DispatchResult {
        let proposal = Self::proposal(number)?;
        ensure!(!proposal.state.is_terminal(), Error::<T>::WrongState);
        let call = Self::load_call(proposal.call, proposal.call_bytes)?;
        ensure!(!T::TrackFilter::allows(proposal.track, &call), Error::<T>::StillAllowed);
        Self::finish(number, proposal, ProposalState::Cancelled);
        Ok(())
    }

    /// Puts the proposal's entry among the alarms where it belongs.
    pub(crate) fn set_alarm(number: ProposalId, proposal: &mut Proposal, slot: Option<Slot>) {
        if let Some(old) = proposal.alarm {
            Alarms::<T>::remove(queue_key(old, number));
        }
        if let Some(new) = slot {
            Alarms::<T>::insert(queue_key(new, number), ());
        }
        proposal.alarm = slot;
    }

    /// Makes the transition that is due at the proposal's alarm.
    pub(crate) fn on_alarm(number: ProposalId, now: Slot) {
        let Some(mut proposal) = Proposals::<T>::get(number) else { return };
        Self::set_alarm(number, &mut proposal, None);
        match proposal.state {
            ProposalState::Preparing => Self::prepared(number, proposal, now),
            ProposalState::Deciding => Self::reconsider(number, proposal, now),
            ProposalState::Confirming { .. } => Self::decide(number, proposal, now),
            ProposalState::Committing => Self::open_reveal(number, proposal, now),
            ProposalState::Revealing { .. } => Self::count_sealed(number, proposal, now),
            ProposalState::Contested => Self::count_second(number, proposal, now),
            // Nothing else has an alarm (G-I6); it stays as it is, without one.
            _ => Proposals::<T>::insert(number, proposal),
        }
    }

    /// The preparation is over: the ballot begins if the track has a place, else the proposal waits, and
    /// expires when it waited long enough.
    fn prepared(number: ProposalId, mut proposal: Proposal, now: Slot) {
        let queue = Queues::<T>::get(proposal.track);
        let room = Tracks::<T>::get(proposal.track).is_some_and(|track| queue.deciding < track.deciding_max);
        let prepared = proposal.submitted.saturating_add(proposal.terms.prepare_slots);
        let gives_up = prepared.saturating_add(proposal.terms.waiting_slots);
        if room {
            Self::begin_ballot(number, proposal, now);
        } else if now < gives_up {
            Self::set_alarm(number, &mut proposal, Some(gives_up));
            Proposals::<T>::insert(number, proposal);
        } else {
            Self::finish(number, proposal, ProposalState::Expired);
        }
    }

    /// The first ballot: who votes, with which credits and under which rules is fixed from here on.
    fn begin_ballot(number: ProposalId, mut proposal: Proposal, now: Slot) {
        if let Some(terms) = Tracks::<T>::get(proposal.track) {
            proposal.terms = terms;
        }
        Queues::<T>::mutate(proposal.track, |queue| {
            queue.waiting.retain(|other| *other != number);
            queue.deciding = queue.deciding.saturating_add(1);
        });
        proposal.ballot = Self::new_ballot(&proposal.terms, now);
        let sealed = proposal.terms.sealing.is_some();
        proposal.state = if sealed { ProposalState::Committing } else { ProposalState::Deciding };
        let ends = proposal.ballot.ends;
        // Nobody voted yet, so nothing passes before the end.
        Self::set_alarm(number, &mut proposal, Some(ends));
        let electorate = proposal.ballot.electorate;
        Proposals::<T>::insert(number, proposal);
        Self::deposit_event(Event::BallotBegan { proposal: number, round: 0, electorate, ends });
    }

    fn new_ballot(terms: &Track, now: Slot) -> Ballot {
        let epoch = T::Owners::epoch();
        EpochUses::<T>::mutate(epoch, |uses| *uses = uses.saturating_add(1));
        Ballot {
            epoch,
            electorate: T::Owners::electorate(),
            began: now,
            ends: now.saturating_add(terms.decide_slots),
            tally: crate::Tally::default(),
        }
    }

    /// Judges an open ballot by its tally and the slot, and writes the proposal back.
    pub(crate) fn reconsider(number: ProposalId, mut proposal: Proposal, now: Slot) {
        let at = now.saturating_sub(proposal.ballot.began);
        let passes = proposal.terms.gates.pass(&proposal.ballot.count(), at);
        let over = now >= proposal.ballot.ends;
        match (proposal.state, passes) {
            (ProposalState::Deciding, true) => Self::begin_confirm(number, proposal, now),
            (ProposalState::Deciding, false) if over => Self::reject(number, proposal),
            (ProposalState::Deciding, false) => Self::await_passing(number, proposal, at),
            (ProposalState::Confirming { .. }, false) => {
                Self::deposit_event(Event::ConfirmAborted { proposal: number });
                proposal.state = ProposalState::Deciding;
                if over {
                    Self::reject(number, proposal);
                } else {
                    Self::await_passing(number, proposal, at);
                }
            }
            _ => Proposals::<T>::insert(number, proposal),
        }
    }

    /// Sleeps until the falling thresholds meet the tally, or the ballot ends.
    fn await_passing(number: ProposalId, mut proposal: Proposal, at: u64) {
        let Ballot { began, ends, .. } = proposal.ballot;
        let first = proposal.terms.gates.first_pass(&proposal.ballot.count(), at, ends.saturating_sub(began));
        let alarm = first.map_or(ends, |first| began.saturating_add(first)).min(ends);
        Self::set_alarm(number, &mut proposal, Some(alarm));
        Proposals::<T>::insert(number, proposal);
    }

    fn begin_confirm(number: ProposalId, mut proposal: Proposal, now: Slot) {
        let late = proposal.terms.late_slots();
        let mut until = now.saturating_add(proposal.terms.confirm_slots);
        // Whoever lost by the last vote gets time to answer it, once.
        if !proposal.extended && now < proposal.ballot.ends && proposal.ballot.ends.saturating_sub(now) <= late {
            proposal.extended = true;
            proposal.ballot.ends = proposal.ballot.ends.saturating_add(late);
            Self::deposit_event(Event::Extended { proposal: number, ends: proposal.ballot.ends });
        }
        if proposal.extended {
            until = until.max(proposal.ballot.ends);
        }
        proposal.state = ProposalState::Confirming { since: now, until };
        Self::set_alarm(number, &mut proposal, Some(until));
        Proposals::<T>::insert(number, proposal);
        Self::deposit_event(Event::ConfirmBegan { proposal: number, until });
    }

    fn open_reveal(number: ProposalId, mut proposal: Proposal, now: Slot) {
        let slots = proposal.terms.sealing.map_or(x0_limits::REVEAL_SLOTS_MIN, |sealing| sealing.reveal_slots);
        // The whole window lies ahead, also when the chain stood still at the end of the commitments.
        let until = now.saturating_add(slots);
        proposal.state = ProposalState::Revealing { until };
        Self::set_alarm(number, &mut proposal, Some(until));
        Proposals::<T>::insert(number, proposal);
        Self::deposit_event(Event::RevealBegan { proposal: number, until });
    }

    /// Sealed votes are judged once, by the final thresholds.
    fn count_sealed(number: ProposalId, proposal: Proposal, now: Slot) {
        if proposal.terms.gates.pass(&proposal.ballot.count(), u64::MAX) {
            Self::decide(number, proposal, now);
        } else {
            Self::reject(number, proposal);
        }
    }

    /// The second ballot asks for more approval, and for a third of the heads.
    fn count_second(number: ProposalId, proposal: Proposal, now: Slot) {
        let count = proposal.second.unwrap_or_default().count();
        if Gates::pass_fixed(&count, x0_limits::CONTESTED_APPROVAL_PPM, (1, 3)) {
            Self::decide(number, proposal, now);
        } else {
            Self::finish(number, proposal, ProposalState::Cancelled);
        }
    }

    /// The proposal is decided: its call goes into the enactment queue.
    fn decide(number: ProposalId, mut proposal: Proposal, now: Slot) {
        let was_deciding = proposal.state.is_deciding();
        let at = now.saturating_add(proposal.terms.enact_slots.max(proposal.delay_slots));
        Self::set_alarm(number, &mut proposal, None);
        proposal.state = ProposalState::Passed { at, attempts: 0 };
        Enactments::<T>::insert(queue_key(at, number), Enactment { call: proposal.call });
        let track = proposal.track;
        Proposals::<T>::insert(number, proposal);
        Self::deposit_event(Event::Passed { proposal: number, at });
        if was_deciding {
            Self::free_place(track, now);
        }
    }

    /// Not passed in time. It was spam when hardly anybody supports it and a third of the voters say so.
    fn reject(number: ProposalId, proposal: Proposal) {
        let tally = proposal.ballot.tally;
        let unsupported = !x0_accounting::at_least_share(
            tally.heads_for.into(),
            proposal.ballot.electorate.into(),
            x0_limits::SPAM_SUPPORT_PPM,
        );
        let called_spam = tally.spam > 0 && u64::from(tally.spam).saturating_mul(3) >= u64::from(tally.heads());
        Self::finish(number, proposal, ProposalState::Rejected { spam: unsupported && called_spam });
    }

    /// The end, whichever: the deposit, the preimage, the place and every queue entry are disposed of here.
    pub(crate) fn finish(number: ProposalId, mut proposal: Proposal, end: ProposalState) {
        let now = Self::now();
        let was = proposal.state;
        Self::set_alarm(number, &mut proposal, None);
        if let ProposalState::Passed { at, .. } = was {
            Enactments::<T>::remove(queue_key(at, number));
        }
        T::Preimages::unrequest(&proposal.call);
        Contests::<T>::remove(number);
        let slashed = matches!(end, ProposalState::Rejected { spam: true });
        let deposit = Self::dispose_of_deposit(&proposal, slashed);
        proposal.deposit = 0;
        proposal.state = end;
        Retired::<T>::insert(queue_key(now.saturating_add(T::VotesKeptSlots::get()), number), ());
        let track = proposal.track;
        if was == ProposalState::Preparing {
            Queues::<T>::mutate(track, |queue| queue.waiting.retain(|other| *other != number));
        }
        Proposals::<T>::insert(number, proposal);
        Self::deposit_event(Event::Closed { proposal: number, state: end, deposit, slashed });
        if was.is_deciding() {
            Self::free_place(track, now);
        }
    }

    /// Gives the deposit back, or to the treasury. What is held can always be released; a treasury account
    /// that cannot take it leaves it with the proposer rather than on hold for ever.
    fn dispose_of_deposit(proposal: &Proposal, slashed: bool) -> Balance {
        let reason = HoldReason::Proposal.into();
        let (who, amount) = (&proposal.proposer, proposal.deposit);
        if slashed {
            let moved = T::Currency::transfer_on_hold(
                &reason,
                who,
                &T::TreasuryAccount::get(),
                amount,
                Precision::BestEffort,
                Restriction::Free,
                Fortitude::Force,
            );
            if moved.is_ok_and(|moved| moved == amount) {
                return amount;
            }
        }
        T::Currency::release(&reason, who, amount, Precision::BestEffort).unwrap_or_default()
    }

    /// A place of the track is free: the oldest proposal whose preparation is over takes it.
    fn free_place(track: TrackId, now: Slot) {
        Queues::<T>::mutate(track, |queue| queue.deciding = queue.deciding.saturating_sub(1));
        let queue = Queues::<T>::get(track);
        if Tracks::<T>::get(track).is_none_or(|rules| queue.deciding >= rules.deciding_max) {
            return;
        }
        for number in queue.waiting {
            let Some(mut proposal) = Proposals::<T>::get(number) else { continue };
            if proposal.submitted.saturating_add(proposal.terms.prepare_slots) <= now {
                Self::set_alarm(number, &mut proposal, None);
                Self::begin_ballot(number, proposal, now);
                return;
            }
        }
    }

    pub(crate) fn do_contest(who: AccountId, number: ProposalId) -> DispatchResult {
        let heads: Vec<AccountId> = T::Validators::current().into_iter().map(|(controller, _)| controller).collect();
        ensure!(heads.contains(&who), Error::<T>::NotValidator);
        let mut proposal = Self::proposal(number)?;
        let ProposalState::Passed { at, .. } = proposal.state else { return Err(Error::<T>::WrongState.into()) };
        ensure!(
            proposal.second.is_none() && !ContestedCalls::<T>::contains_key(proposal.call),
            Error::<T>::ContestedBefore
        );
        let now = Self::now();
        ensure!(now < at, Error::<T>::TooLate);
        let mut contesting = Contests::<T>::get(number);
        ensure!(!contesting.contains(&who), Error::<T>::AlreadyContested);
        // Validators that left the set since do not count, and make room.
        contesting.retain(|one| heads.contains(one));
        contesting.try_push(who.clone()).map_err(|_| Error::<T>::Overflow)?;
        let (count, of): (u32, u32) = (contesting.len().saturated_into(), heads.len().saturated_into());
        Self::deposit_event(Event::ContestSupported { proposal: number, validator: who, heads: count, of });
        if u64::from(count).saturating_mul(3) < u64::from(of) {
            Contests::<T>::insert(number, contesting);
            return Ok(());
        }
        Contests::<T>::remove(number);
        ContestedCalls::<T>::insert(proposal.call, ());
        Enactments::<T>::remove(queue_key(at, number));
        let ballot = Self::new_ballot(&proposal.terms, now);
        proposal.second = Some(ballot);
        proposal.state = ProposalState::Contested;
        Self::set_alarm(number, &mut proposal, Some(ballot.ends));
        Proposals::<T>::insert(number, proposal);
        let (electorate, ends) = (ballot.electorate, ballot.ends);
        Self::deposit_event(Event::BallotBegan { proposal: number, round: 1, electorate, ends });
        Ok(())
    }

    /// The ballot that runs in this slot.
    pub(crate) fn running(number: ProposalId, proposal: &Proposal) -> Result<(BallotId, Ballot), Error<T>> {
        let (round, ballot) = proposal.running().ok_or(Error::<T>::WrongState)?;
        Ok((BallotId { proposal: number, round }, *ballot))
    }
}
