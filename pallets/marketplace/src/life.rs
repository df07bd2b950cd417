//! The life of a deal from its confirmation on: settle, cancel, freeze, conclude.

use frame_support::{ensure, traits::Get as _};
use pallet_x0_escrow::{Ledgers, Slash};
use sp_runtime::{DispatchError, DispatchResult, SaturatedConversion as _};
use x0_types::{
    Balance,
    deal::{CloseReason, DealState, queue_key},
    market::{DealId, DealQueue as _, Meter as _, Slot},
};

use crate::{
    ClosedDeals, ClosedRange, Config, Deal, Deals, DealsOfNode, Ends, Error, Event, Failure, FailuresOf, Frozen,
    FundedOf, Listings, ManifestChanges, Manifests, Pallet, SlotCounts, Starts, Suspicion, Suspicions,
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
            Self::unreserve(deal.source.listing, &mut listing, &deal.capacity)?;
            Self::count_end(deal);
            DealsOfNode::<T>::mutate_exists(&deal.node, |deals| {
                *deals = deals.take().filter(|deals| deals.len() > 1 || !deals.contains(&id)).map(|mut deals| {
                    deals.retain(|other| *other != id);
                    deals
                });
            });
        } else {
            listing.funded_deals = listing.funded_deals.checked_sub(1).ok_or(Error::<T>::Overflow)?;
            FundedOf::<T>::remove(deal.source.listing, id);
            Self::forfeit_bid(id, deal, &mut listing)?;
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
                ManifestChanges::<T>::remove(oldest);
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
