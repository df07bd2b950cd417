//! The life of a deal: rent, confirm, settle, cancel, freeze, conclude.

use frame_support::{ensure, traits::Get as _};
use pallet_x0_escrow::{Ledgers, Slash};
use sp_runtime::{DispatchError, DispatchResult, SaturatedConversion as _};
use x0_types::{
    Balance,
    deal::{Capacity, CloseReason, DealState, Listing, ListingRef, ListingState, Manifest, mul_div_ceil, queue_key},
    market::{DealId, DealQueue as _, Identities as _, ListingId, Meter as _, Slot},
};

use crate::{
    ClosedDeals, ClosedRange, Config, Deal, Deals, DealsOfNode, Ends, Error, Event, Failure, FailuresOf, Frozen,
    FundedOf, Listings, Manifests, NextDeal, Pallet, Parameters, Run, SlotCounts, Starts, Suspicion, Suspicions,
};

type Escrow<T> = pallet_x0_escrow::Pallet<T>;

/// A deal's slots and money as of the last closed slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeterReading {
    /// The last closed slot.
    pub closed_slot: Slot,
    /// Closed slots since the start.
    pub slots: u64,
    /// Of these: billed.
    pub good: u64,
    /// DOWN.
    pub bad: u64,
    /// UNKNOWN or CONFLICT.
    pub unknown: u64,
    /// VOID for all nodes.
    pub void: u64,
    /// DOWN slots in a row up to now.
    pub down_run: u32,
    /// Earned in all, base units.
    pub gross: Balance,
    /// Of it paid out already, base units.
    pub paid: Balance,
    /// Deposit that is not earned, base units.
    pub remaining: Balance,
    /// Good slots that the deposit pays for.
    pub affordable_slots: u64,
}

impl<T: Config> Pallet<T> {
    pub(crate) fn do_rent(
        renter: T::AccountId,
        id: ListingId,
        version: u32,
        capacity: Capacity,
        term_slots: u64,
        deposit: Balance,
        manifest: Manifest<T::AccountId>,
    ) -> DispatchResult {
        let mut listing = Listings::<T>::get(id).ok_or(Error::<T>::UnknownListing)?;
        ensure!(listing.state == ListingState::Open, Error::<T>::ListingRetired);
        ensure!(listing.version == version, Error::<T>::VersionChanged);
        Self::ensure_arms_length(&renter, &listing)?;
        Self::ensure_live(&listing.node, &listing.provider)?;
        Self::ensure_free(&listing, &capacity)?;
        let offer = &listing.offer;
        ensure!((offer.term_min_slots..=offer.term_max_slots).contains(&term_slots), Error::<T>::TermOutsideListing);
        let (part, whole) = (capacity.bandwidth_kbps, offer.capacity.bandwidth_kbps);
        let rate = offer.price.scaled(part, whole).ok_or(Error::<T>::PriceTooHigh)?;
        let least = rate.amount_ceil(offer.term_min_slots).ok_or(Error::<T>::PriceTooHigh)?;
        ensure!(deposit >= least.max(T::DealDepositMin::get()), Error::<T>::DepositTooSmall);
        // Ceiled, in favour of the renter whom the bond protects.
        let bond = mul_div_ceil(offer.bond, part.into(), whole.into()).ok_or(Error::<T>::Overflow)?;

        let deal = NextDeal::<T>::get();
        NextDeal::<T>::put(deal.checked_add(1).ok_or(Error::<T>::Overflow)?);
        Escrow::<T>::open(deal, &renter, &listing.provider, deposit, rate)?;
        let funded_slot = T::Meter::current_slot();
        let confirm_by_slot = funded_slot.saturating_add(x0_limits::CONFIRM_DEADLINE_SLOTS);
        let manifest_hash = manifest.hash();
        let (provider, node) = (listing.provider.clone(), listing.node.clone());
        Manifests::<T>::insert(deal, manifest);
        FundedOf::<T>::insert(id, deal, ());
        T::Queue::wake_at_slot(deal, confirm_by_slot.saturating_add(1));
        Deals::<T>::insert(
            deal,
            Deal {
                source: ListingRef { listing: id, version },
                renter: renter.clone(),
                provider: provider.clone(),
                node: node.clone(),
                capacity,
                rate,
                term_slots,
                deposit,
                bond,
                manifest_hash,
                funded_slot,
                confirm_by_slot,
                state: DealState::Funded,
                run: None,
                frozen: None,
                outcome: None,
            },
        );
        listing.funded_deals = listing.funded_deals.checked_add(1).ok_or(Error::<T>::Overflow)?;
        Listings::<T>::insert(id, listing);
        Self::deposit_event(Event::DealFunded {
            deal,
            listing: id,
            renter,
            provider,
            node,
            deposit,
            manifest_hash,
            confirm_by_slot,
        });
        Ok(())
    }

    pub(crate) fn do_confirm(provider: &T::AccountId, id: DealId) -> DispatchResult {
        let mut deal = Deals::<T>::get(id).ok_or(Error::<T>::UnknownDeal)?;
        ensure!(deal.provider == *provider, Error::<T>::NotProvider);
        ensure!(deal.state == DealState::Funded, Error::<T>::NotFunded);
        let current = T::Meter::current_slot();
        ensure!(current <= deal.confirm_by_slot, Error::<T>::ConfirmTooLate);
        let mut listing = Listings::<T>::get(deal.source.listing).ok_or(Error::<T>::UnknownListing)?;
        ensure!(listing.state == ListingState::Open, Error::<T>::ListingRetired);
        Self::ensure_live(&deal.node, provider)?;
        Self::ensure_free(&listing, &deal.capacity)?;

        let terms = Parameters::<T>::get();
        Escrow::<T>::post_bond(id, deal.bond, terms.fee_ppm)?;
        let end_slot = current.checked_add(deal.term_slots).ok_or(Error::<T>::Overflow)?;
        deal.run = Some(Run { confirmed_slot: current, end_slot, terms, start: None });
        deal.state = DealState::Active;
        Starts::<T>::insert(queue_key(current, id), ());
        Ends::<T>::insert(queue_key(end_slot, id), ());
        DealsOfNode::<T>::try_mutate(&deal.node, |deals| deals.try_push(id)).map_err(|_| Error::<T>::TooManyDeals)?;
        FundedOf::<T>::remove(deal.source.listing, id);
        listing.funded_deals = listing.funded_deals.checked_sub(1).ok_or(Error::<T>::Overflow)?;
        listing.confirmed_deals = listing.confirmed_deals.checked_add(1).ok_or(Error::<T>::Overflow)?;
        listing.reserved = listing.reserved.checked_add(&deal.capacity).ok_or(Error::<T>::Overflow)?;
        Listings::<T>::insert(deal.source.listing, listing);
        T::Queue::wake_at_slot(id, Self::watch_slot(&deal, 0));
        let bond = deal.bond;
        Deals::<T>::insert(id, deal);
        Self::deposit_event(Event::DealConfirmed { deal: id, confirmed_slot: current, end_slot, bond });
        Ok(())
    }

    pub(crate) fn do_settle(id: DealId) -> DispatchResult {
        let deal = Deals::<T>::get(id).ok_or(Error::<T>::UnknownDeal)?;
        ensure!(deal.state.is_running(), Error::<T>::NotRunning);
        let good_slots = Self::good_slots(id, &deal);
        let paid = Escrow::<T>::accrue(id, good_slots)?;
        Self::deposit_event(Event::DealSettled { deal: id, good_slots, to_provider: paid.to_provider, fee: paid.fee });
        Ok(())
    }

    pub(crate) fn do_cancel(renter: &T::AccountId, id: DealId) -> DispatchResult {
        let mut deal = Deals::<T>::get(id).ok_or(Error::<T>::UnknownDeal)?;
        ensure!(deal.renter == *renter, Error::<T>::NotRenter);
        ensure!(deal.state.is_running(), Error::<T>::NotRunning);
        // A deposit that is used up ended the deal before the renter did, whether or not the janitor
        // has come by: the reason does not depend on its backlog.
        let reason =
            if Self::is_exhausted(id, &deal) { CloseReason::DepositExhausted } else { CloseReason::CancelledByRenter };
        Self::freeze(id, &mut deal, T::Meter::closed_slot(), reason, None);
        Self::conclude(id, deal)
    }

    /// Good slots of a deal up to the last closed slot. Never falls and never exceeds the term.
    #[must_use]
    pub fn good_slots(id: DealId, deal: &Deal<T::AccountId>) -> u64 {
        let paid = Ledgers::<T>::get(id).map_or(0, |ledger| ledger.good_paid);
        let counted = deal
            .run
            .as_ref()
            .and_then(|run| run.start.as_ref())
            .and_then(|start| Some(T::Meter::counters(&deal.node)?.good_since(start)))
            .unwrap_or(0);
        counted.min(deal.term_slots).max(paid)
    }

    /// What became of a deal's slots so far, as its node's counters say; nothing before it started.
    fn counts(deal: &Deal<T::AccountId>) -> SlotCounts {
        let start = deal.run.as_ref().and_then(|run| run.start.as_ref());
        start.and_then(|start| Some(SlotCounts::between(start, &T::Meter::counters(&deal.node)?))).unwrap_or_default()
    }

    /// Whether the good slots have used up the deposit before the term.
    pub(crate) fn is_exhausted(id: DealId, deal: &Deal<T::AccountId>) -> bool {
        let affordable = deal.rate.affordable_slots(deal.deposit);
        affordable < deal.term_slots && Self::good_slots(id, deal) >= affordable
    }

    /// The first slot at which the janitor can find the deal at its end, if all further slots are
    /// good: when the slot that uses up the deposit, or the last slot, has closed.
    pub(crate) fn watch_slot(deal: &Deal<T::AccountId>, good_slots: u64) -> Slot {
        let Some(run) = &deal.run else { return deal.confirm_by_slot.saturating_add(1) };
        let closed = T::Meter::closed_slot().max(run.confirmed_slot);
        let left = deal.rate.affordable_slots(deal.deposit).saturating_sub(good_slots);
        let last = closed.saturating_add(left).min(run.end_slot);
        // A slot s closes at the first block whose slot is s + 1 + grace.
        last.saturating_add(1).saturating_add(x0_limits::REPORT_GRACE_SLOTS)
    }

    /// Fixes a deal's amounts as of a closed slot. The caller stores the deal or concludes it.
    pub(crate) fn freeze(
        id: DealId,
        deal: &mut Deal<T::AccountId>,
        slot: Slot,
        reason: CloseReason,
        failed: Option<(u8, Suspicion)>,
    ) {
        let good_slots = Self::good_slots(id, deal).min(deal.rate.affordable_slots(deal.deposit));
        let counts = Self::counts(deal);
        if let Some(run) = &deal.run {
            Starts::<T>::remove(queue_key(run.confirmed_slot, id));
            Ends::<T>::remove(queue_key(run.end_slot, id));
        }
        Suspicions::<T>::remove(id);
        let (ladder_step, evidence) = failed.map_or((None, None), |(step, evidence)| (Some(step), Some(evidence)));
        let height: u32 = frame_system::Pallet::<T>::block_number().saturated_into();
        deal.state = DealState::Frozen;
        deal.frozen = Some(Frozen { reason, slot, height, good_slots, counts, ladder_step, evidence });
        Self::deposit_event(Event::DealFrozen { deal: id, reason, slot, good_slots });
    }

    /// Pays a frozen deal out and gives back what it occupied.
    pub(crate) fn conclude(id: DealId, mut deal: Deal<T::AccountId>) -> DispatchResult {
        let frozen = deal.frozen.as_ref().ok_or(Error::<T>::NotRunning)?;
        let slash = frozen.ladder_step.zip(deal.run.as_ref()).map(|(step, run)| Slash {
            share_ppm: run.terms.slash_ladder_ppm.get(usize::from(step)).copied().unwrap_or(0),
            compensation_ppm: run.terms.compensation_ppm,
        });
        let outcome = Escrow::<T>::close(id, frozen.good_slots, slash)?;
        let reason = frozen.reason;
        let state = reason.terminal_state();
        deal.state = state;
        deal.outcome = Some(outcome);
        Self::give_back(id, &deal)?;
        T::Queue::forget(id);
        Deals::<T>::insert(id, deal);
        Self::remember_closed(id)?;
        Self::deposit_event(Event::DealClosed { deal: id, state, reason, outcome });
        Ok(())
    }

    /// Frees the capacity and the places that a deal occupied.
    fn give_back(id: DealId, deal: &Deal<T::AccountId>) -> DispatchResult {
        let mut listing = Listings::<T>::get(deal.source.listing).ok_or(Error::<T>::UnknownListing)?;
        if deal.run.is_some() {
            listing.confirmed_deals = listing.confirmed_deals.checked_sub(1).ok_or(Error::<T>::Overflow)?;
            listing.reserved = listing.reserved.checked_sub(&deal.capacity).ok_or(Error::<T>::Overflow)?;
            DealsOfNode::<T>::mutate_exists(&deal.node, |deals| {
                *deals = deals.take().filter(|deals| deals.len() > 1 || !deals.contains(&id)).map(|mut deals| {
                    deals.retain(|other| *other != id);
                    deals
                });
            });
        } else {
            listing.funded_deals = listing.funded_deals.checked_sub(1).ok_or(Error::<T>::Overflow)?;
            FundedOf::<T>::remove(deal.source.listing, id);
        }
        Self::store_or_close(deal.source.listing, listing)
    }

    /// Keeps the record of an ended deal and drops the oldest beyond [`Config::ClosedDealsKept`].
    fn remember_closed(id: DealId) -> DispatchResult {
        let (mut first, next) = ClosedRange::<T>::get();
        ClosedDeals::<T>::insert(next, id);
        let next = next.checked_add(1).ok_or(Error::<T>::Overflow)?;
        if next.saturating_sub(first) > T::ClosedDealsKept::get() {
            if let Some(oldest) = ClosedDeals::<T>::take(first) {
                Deals::<T>::remove(oldest);
                Manifests::<T>::remove(oldest);
            }
            first = first.saturating_add(1);
        }
        ClosedRange::<T>::put((first, next));
        Ok(())
    }

    /// The step of a failure on the provider's slash ladder. All deals that fail with one node in one
    /// slot share a step: one outage is one failure.
    pub(crate) fn ladder_step(provider: &T::AccountId, node: &T::AccountId, slot: Slot) -> u8 {
        let window = x0_limits::SLASH_WINDOW_MS.checked_div(T::SlotMs::get()).unwrap_or(Slot::MAX);
        FailuresOf::<T>::mutate(provider, |failures| {
            if let Some(same) = failures.iter().find(|failure| failure.node == *node && failure.slot == slot) {
                return same.step;
            }
            let before = failures.iter().filter(|failure| failure.slot.saturating_add(window) > slot).count();
            let step = u8::try_from(before.min(2)).unwrap_or(2);
            if failures.is_full() {
                failures.remove(0);
            }
            // There is room now; the ladder would only forget a failure if there were not.
            drop(failures.try_push(Failure { node: node.clone(), slot, step }));
            step
        })
    }

    /// A renter is neither the provider nor its node, nor controlled by it or in control of it.
    fn ensure_arms_length(renter: &T::AccountId, listing: &Listing<T::AccountId>) -> DispatchResult {
        let provider = &listing.provider;
        ensure!(
            renter != provider
                && renter != &listing.node
                && T::Identities::controller(renter).as_ref() != Some(provider)
                && T::Identities::controller(provider).as_ref() != Some(renter),
            Error::<T>::SelfDealing
        );
        Ok(())
    }

    /// The listing can serve this capacity and one more deal now.
    fn ensure_free(listing: &Listing<T::AccountId>, capacity: &Capacity) -> DispatchResult {
        ensure!(capacity.is_positive(), Error::<T>::InvalidCapacity);
        let reserved = listing.reserved.checked_add(capacity).ok_or(Error::<T>::CapacityNotFree)?;
        ensure!(reserved.fits(&listing.offer.capacity), Error::<T>::CapacityNotFree);
        ensure!(listing.confirmed_deals < x0_limits::DEALS_PER_NODE_MAX, Error::<T>::TooManyDeals);
        Ok(())
    }

    /// What a deal's meter shows: for RPC and tests.
    #[must_use]
    pub fn meter(id: DealId) -> Option<MeterReading> {
        let deal = Deals::<T>::get(id)?;
        let mut reading = MeterReading {
            closed_slot: T::Meter::closed_slot(),
            affordable_slots: deal.rate.affordable_slots(deal.deposit),
            down_run: Suspicions::<T>::get(id).map_or(0, |suspicion| suspicion.run),
            ..MeterReading::default()
        };
        let counts = deal.frozen.as_ref().map_or_else(|| Self::counts(&deal), |frozen| frozen.counts);
        (reading.slots, reading.bad, reading.unknown, reading.void) =
            (counts.slots, counts.bad, counts.unknown, counts.void);
        reading.good = match (&deal.outcome, &deal.frozen) {
            (Some(outcome), _) => outcome.good_slots,
            (None, Some(frozen)) => frozen.good_slots,
            (None, None) => Self::good_slots(id, &deal),
        };
        reading.gross = deal.rate.accrued(deal.deposit, reading.good);
        reading.paid = match deal.outcome {
            Some(outcome) => outcome.gross,
            None => Ledgers::<T>::get(id).map_or(0, |ledger| ledger.gross_paid),
        };
        reading.remaining = deal.deposit.saturating_sub(reading.gross);
        Some(reading)
    }

    /// Ends a deal whose confirm deadline has passed, whose deposit is used up, or which is frozen.
    pub(crate) fn end_now(id: DealId, mut deal: Deal<T::AccountId>, reason: CloseReason) -> Result<(), DispatchError> {
        Self::freeze(id, &mut deal, T::Meter::closed_slot(), reason, None);
        Self::conclude(id, deal)
    }
}
