//! Broken promises of round trip and throughput, by exception: validators try both, privately, and speak up only
//! when most of their own trials in a window failed.
//!
//! ```text
//!   complaints of validators with > 2/3 of the power that may judge      --> the promise was broken
//!   complaints with > 1/3, and a usage receipt that both agents signed  --> the promise was broken
//! ```
//!
//! Why two thirds: at least one third is then honest, so no colluding third takes money from anybody. A usage receipt
//! that shows a breach carries the provider's own signature; then one honest witness, that is more than a third,
//! is enough. The receipt alone is not: a renter that reads slowly makes a low throughput, and its provider would
//! truthfully sign it.
//!
//! A window's complaints are taken while the next window lasts, which spans more proposers than there are
//! validators (30 slots of 6 s are 1,200 blocks at the busy pace).

use crate::{
    Complaint, ComplaintWindows, Complaints, ComplaintsOpened, Config, CurrentSlot, Error, Event, Pallet,
    types::SeatBits,
    verdict::{exceeds_third, exceeds_two_thirds},
};
use frame_support::{ensure, traits::Time as _};
use sp_runtime::DispatchResult;
use x0_crypto::{PublicKey, Signature};
use x0_types::{
    AccountId, KeyRole,
    governance::OwnerRegistry as _,
    market::{DealId, Identities as _, SlaBreach, SlaObserver as _, SlaPromise, Slot, ValidatorSet as _},
    receipt::SignedUsage,
};

/// The window in which a slot lies.
#[must_use]
pub const fn window_of(slot: Slot) -> u64 {
    slot / x0_limits::TRIAL_WINDOW_SLOTS
}

/// The first and the last slot of a window.
#[must_use]
pub const fn slots_of(window: u64) -> (Slot, Slot) {
    let first = window.saturating_mul(x0_limits::TRIAL_WINDOW_SLOTS);
    (first, first.saturating_add(x0_limits::TRIAL_WINDOW_SLOTS - 1))
}

impl<T: Config> Pallet<T> {
    pub(crate) fn do_complain(reporter: &AccountId, deal: DealId, window: u64, breach: SlaBreach) -> DispatchResult {
        let validator = Self::validator_of(reporter).ok_or(Error::<T>::UnknownReporter)?;
        let promise = Self::promise_in(deal, window)?;
        let now = window_of(Self::slot_of(T::Time::now()));
        ensure!(window < now && now.saturating_sub(window) < x0_limits::TRIAL_WINDOWS_OPEN, Error::<T>::WindowNotOpen);
        ensure!(breach.any() && promised(&promise, breach), Error::<T>::NoPromise);
        ensure!(!Self::is_party(&promise, &validator), Error::<T>::NotImpartial);
        let set = T::Validators::current();
        let seats = Self::seats_of(&set);
        let place = set.iter().position(|(who, _)| *who == validator);
        let seat = place.and_then(|place| seats.get(place).copied().flatten()).ok_or(Error::<T>::UnknownReporter)?;
        let mut complaint = Self::complaint(window, deal, Some(&validator))?;
        let news = (breach.round_trip && complaint.round_trip.insert(seat))
            | (breach.throughput && complaint.throughput.insert(seat));
        ensure!(news, Error::<T>::AlreadyComplained);
        Self::deposit_event(Event::Complained { deal, window, validator, breach });
        Self::settle_complaint(window, deal, &promise, complaint);
        Ok(())
    }

    pub(crate) fn do_record_usage(signed: &SignedUsage) -> DispatchResult {
        let usage = &signed.usage;
        let window = window_of(usage.slot);
        let promise = T::Sla::promise(usage.deal).ok_or(Error::<T>::NoPromise)?;
        let now = Self::slot_of(T::Time::now());
        let is_open = usage.slot <= now
            && usage.slot >= promise.first_slot
            && window_of(now).saturating_sub(window) < x0_limits::TRIAL_WINDOWS_OPEN;
        ensure!(is_open, Error::<T>::WindowNotOpen);
        let is_renters =
            T::Identities::controller(&usage.agent).is_some_and(|who| T::Owners::same_owner(&who, &promise.renter));
        let is_whole = usage.bytes >= x0_limits::TRIAL_BYTES_MIN.into() && usage.duration_ms > 0;
        ensure!(usage.node == promise.node && is_renters && is_whole, Error::<T>::UsageInvalid);
        let genesis = Self::genesis_hash().ok_or(Error::<T>::UsageInvalid)?;
        let body = usage.signed_body();
        for (subject, signature) in [(&usage.agent, &signed.by_renter), (&usage.node, &signed.by_provider)] {
            let key = T::Identities::key(subject, KeyRole::Agent).ok_or(Error::<T>::UsageInvalid)?;
            let verified = PublicKey::from(key.0).verify_usage(&genesis, &body, &Signature::from(&*signature.0));
            ensure!(verified.is_ok(), Error::<T>::UsageInvalid);
        }
        let throughput_kbps = usage.throughput_kbps();
        let breach = SlaBreach {
            round_trip: promise.round_trip_ms_max > 0 && usage.round_trip_ms > promise.round_trip_ms_max,
            throughput: promise.throughput_kbps_min > 0 && throughput_kbps < promise.throughput_kbps_min.into(),
        };
        let (deal, slot, round_trip_ms) = (usage.deal, usage.slot, usage.round_trip_ms);
        Self::deposit_event(Event::UsageRecorded { deal, slot, throughput_kbps, round_trip_ms, breach });
        // A window that began before the deal has no complaints to confirm.
        if breach.any() && Self::promise_in(deal, window).is_ok() {
            let mut complaint = Self::complaint(window, deal, None)?;
            complaint.usage.round_trip |= breach.round_trip;
            complaint.usage.throughput |= breach.throughput;
            Self::settle_complaint(window, deal, &promise, complaint);
        }
        Ok(())
    }

    /// The promise of a deal that was billed in the whole window.
    fn promise_in(deal: DealId, window: u64) -> Result<SlaPromise<AccountId>, Error<T>> {
        let promise = T::Sla::promise(deal).ok_or(Error::<T>::NoPromise)?;
        ensure!(slots_of(window).0 >= promise.first_slot, Error::<T>::WindowNotOpen);
        Ok(promise)
    }

    fn is_party(promise: &SlaPromise<AccountId>, validator: &AccountId) -> bool {
        T::Owners::same_owner(validator, &promise.provider) || T::Owners::same_owner(validator, &promise.renter)
    }

    /// The complaint about a deal in a window, or a new one, which counts against who opens it.
    fn complaint(window: u64, deal: DealId, opener: Option<&AccountId>) -> Result<Complaint, Error<T>> {
        if let Some(known) = Complaints::<T>::get(window, deal) {
            return Ok(known);
        }
        if let Some(opener) = opener {
            let opened = ComplaintsOpened::<T>::get(window, opener);
            ensure!(opened < x0_limits::COMPLAINTS_OPENED_MAX, Error::<T>::TooManyComplaints);
            ComplaintsOpened::<T>::insert(window, opener, opened.saturating_add(1));
        }
        ComplaintWindows::<T>::try_mutate(|windows| match windows.binary_search(&window) {
            Ok(_) => Ok(()),
            Err(place) => windows.try_insert(place, window).map_err(|_| Error::<T>::TooManyComplaints),
        })?;
        Ok(Complaint::default())
    }

    /// Stores a complaint, and tells the market what it proves, once.
    fn settle_complaint(window: u64, deal: DealId, promise: &SlaPromise<AccountId>, mut complaint: Complaint) {
        let proves = |seats: &SeatBits, usage: bool| Self::proves(promise, seats, usage);
        let breach = SlaBreach {
            round_trip: !complaint.settled.round_trip && proves(&complaint.round_trip, complaint.usage.round_trip),
            throughput: !complaint.settled.throughput && proves(&complaint.throughput, complaint.usage.throughput),
        };
        complaint.settled.round_trip |= breach.round_trip;
        complaint.settled.throughput |= breach.throughput;
        Complaints::<T>::insert(window, deal, complaint);
        if breach.any() {
            let (first, last) = slots_of(window);
            Self::deposit_event(Event::SlaBroken { deal, first, last, breach });
            T::Sla::broken(deal, first, last, breach);
        }
    }

    /// Whether the validators on these seats are enough, by the powers of the present set.
    fn proves(promise: &SlaPromise<AccountId>, complaining: &SeatBits, usage: bool) -> bool {
        let set = T::Validators::current();
        let seats = Self::seats_of(&set);
        let (mut eligible, mut against) = (0u64, 0u64);
        for ((validator, power), seat) in set.iter().zip(seats) {
            if Self::is_party(promise, validator) {
                continue;
            }
            eligible = eligible.saturating_add(*power);
            if seat.is_some_and(|seat| complaining.contains(seat)) {
                against = against.saturating_add(*power);
            }
        }
        exceeds_two_thirds(against, eligible) || (usage && exceeds_third(against, eligible))
    }

    /// Removes the complaints of windows that are over, a bounded number in each block.
    pub(crate) fn clean_complaints() {
        let Some(oldest) = ComplaintWindows::<T>::get().first().copied() else { return };
        let now = window_of(CurrentSlot::<T>::get());
        // One more than are taken: the block's own time may lie behind its parent's.
        if now.saturating_sub(oldest) <= x0_limits::TRIAL_WINDOWS_OPEN {
            return;
        }
        let per_block = x0_limits::COMPLAINTS_CLEANED_PER_BLOCK;
        let complaints = Complaints::<T>::clear_prefix(oldest, per_block, None);
        let opened = ComplaintsOpened::<T>::clear_prefix(oldest, x0_limits::VALIDATORS_MAX.saturating_mul(2), None);
        if complaints.maybe_cursor.is_none() && opened.maybe_cursor.is_none() {
            ComplaintWindows::<T>::mutate(|windows| windows.retain(|window| *window != oldest));
        }
    }
}

/// Whether the deal promises what was found broken.
const fn promised(promise: &SlaPromise<AccountId>, breach: SlaBreach) -> bool {
    (!breach.round_trip || promise.round_trip_ms_max > 0) && (!breach.throughput || promise.throughput_kbps_min > 0)
}
