//! The life of a deal from its confirmation on: begin, settle, cancel, freeze, conclude.

use frame_support::{ensure, traits::Get as _};
use pallet_x0_escrow::{Ledgers, Slash};
use sp_runtime::{DispatchError, DispatchResult, SaturatedConversion as _};
use x0_accounting::{bond_for_trust, is_contested, ladder_share, ladder_step};
use x0_types::{
    Balance,
    deal::{CloseReason, DealState, queue_key},
    market::{DealId, DealQueue as _, Meter as _, Slot},
    trust::TrustSource as _,
};

use crate::{
    ClosedDeals, ClosedRange, Config, Deal, Deals, DealsOfNode, Disputes, Error, Event, Failure, FailuresOf, Frozen,
    FundedOf, Leaves, Listings, ManifestChanges, Manifests, MarksOf, Pallet, Parameters, Period, Run, SlotCounts,
    Starts, Suspicion, Suspicions, Window,
};

type Escrow<T> = pallet_x0_escrow::Pallet<T>;

/// How a deal comes to its end.
pub(crate) struct Ending {
    /// The last closed slot.
    pub slot: Slot,
    /// Why.
    pub reason: CloseReason,
    /// Step on the slash ladder.
    pub ladder_step: Option<u8>,
    /// The run of DOWN verdicts, for a node that was DOWN.
    pub evidence: Option<Suspicion>,
    /// Whether the counters contain a DOWN slot that came after the deal's last affordable one.
    pub has_late_down: bool,
}

impl Ending {
    /// An end without blame.
    pub(crate) const fn at(slot: Slot, reason: CloseReason) -> Self {
        Self { slot, reason, ladder_step: None, evidence: None, has_late_down: false }
    }
}

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
    /// Slots that the policy pays for up to now.
    pub billable: u64,
    /// The last slot that is billed; 0 before the confirmation.
    pub end_slot: Slot,
    /// The first slot in which the deal can be found at its end, if all further slots are good; 0 when
    /// it is over.
    pub deadline_slot: Slot,
    /// What the renter has set aside for renewals, base units.
    pub reserve: Balance,
}

impl<T: Config> Pallet<T> {
    /// Posts the bond, fixes the parameters and waits for the slot to close.
    pub(crate) fn begin(id: DealId, deal: &mut Deal<T::AccountId>, current: Slot) -> DispatchResult {
        let terms = Parameters::<T>::get();
        let trust_ppm = T::Trust::reading(&deal.node).score_ppm;
        let bond = bond_for_trust(deal.bond, trust_ppm).ok_or(Error::<T>::Overflow)?;
        Escrow::<T>::post_bond(id, bond, terms.fee_ppm)?;
        let end_slot = current.checked_add(deal.term_slots).ok_or(Error::<T>::Overflow)?;
        deal.run = Some(Run {
            confirmed_slot: current,
            end_slot,
            terms,
            trust_ppm,
            bond,
            start: None,
            period: Period { since_slot: current, ..Period::default() },
            window: Window::default(),
            notice_slot: None,
        });
        deal.state = DealState::Active;
        Starts::<T>::insert(queue_key(current, id), ());
        Self::await_milestone(id, deal);
        T::Queue::wake_at_slot(id, Self::watch_slot(deal, 0));
        Ok(())
    }

    pub(crate) fn do_settle(id: DealId) -> DispatchResult {
        let deal = Deals::<T>::get(id).ok_or(Error::<T>::UnknownDeal)?;
        ensure!(deal.state.is_running(), Error::<T>::NotRunning);
        let good_slots = Self::billable(id, &deal);
        let paid = Escrow::<T>::accrue(id, good_slots)?;
        Self::deposit_event(Event::DealSettled { deal: id, good_slots, to_provider: paid.to_provider, fee: paid.fee });
        Ok(())
    }

    pub(crate) fn do_cancel(renter: &T::AccountId, id: DealId) -> DispatchResult {
        let deal = Deals::<T>::get(id).ok_or(Error::<T>::UnknownDeal)?;
        ensure!(deal.renter == *renter, Error::<T>::NotRenter);
        ensure!(deal.state.is_running(), Error::<T>::NotRunning);
        // A deposit that is used up ended the deal before the renter did, whether or not the janitor
        // has come by: the reason does not depend on its backlog.
        let reason =
            if Self::is_exhausted(id, &deal) { CloseReason::DepositExhausted } else { CloseReason::CancelledByRenter };
        Self::end_now(id, deal, reason)
    }

    /// A running deal that is not over already, for whoever wants to change it.
    pub(crate) fn running(id: DealId) -> Result<Deal<T::AccountId>, Error<T>> {
        let deal = Deals::<T>::get(id).ok_or(Error::<T>::UnknownDeal)?;
        // The last affordable slot ends a deal, whether or not the janitor has come by.
        ensure!(deal.state.is_running() && !Self::is_exhausted(id, &deal), Error::<T>::NotRunning);
        Ok(deal)
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
        counted.min(deal.run.as_ref().map_or(0, Run::reachable_slots)).max(paid)
    }

    /// What became of a deal's slots so far, as its node's counters say; nothing before it started.
    fn counts(deal: &Deal<T::AccountId>) -> SlotCounts {
        let start = deal.run.as_ref().and_then(|run| run.start.as_ref());
        start.and_then(|start| Some(SlotCounts::between(start, &T::Meter::counters(&deal.node)?))).unwrap_or_default()
    }

    /// Whether the good slots have used up the deposit before the end.
    pub(crate) fn is_exhausted(id: DealId, deal: &Deal<T::AccountId>) -> bool {
        let affordable = deal.rate.affordable_slots(deal.deposit);
        affordable < deal.run.as_ref().map_or(0, Run::reachable_slots) && Self::good_slots(id, deal) >= affordable
    }

    /// The first slot at which the janitor can find the deal at its end, if all further slots are
    /// good: when the slot that uses up the deposit, or the last slot, has closed.
    pub(crate) fn watch_slot(deal: &Deal<T::AccountId>, good_slots: u64) -> Slot {
        let Some(run) = &deal.run else { return deal.confirm_by_slot.saturating_add(1) };
        let closed = T::Meter::closed_slot().max(run.confirmed_slot);
        let left = deal.rate.affordable_slots(deal.deposit).saturating_sub(good_slots);
        let last = closed.saturating_add(left).min(run.end_slot);
        // A slot closes when the reports on it were committed to and shown, which takes at least this long.
        last.saturating_add(1 + x0_limits::REPORT_GRACE_SLOTS + x0_limits::REVEAL_SLOTS)
    }

    /// Fixes a deal's amounts as of a closed slot. The caller stores the deal or pays it.
    pub(crate) fn freeze(id: DealId, deal: &mut Deal<T::AccountId>, ending: Ending) {
        let affordable = deal.rate.affordable_slots(deal.deposit);
        let reached = Self::good_slots(id, deal).min(affordable);
        let (counts, marks) = (Self::counts(deal), MarksOf::<T>::take(id));
        let paid_for = Self::paid_slots(deal, &ending, reached, &marks);
        let good_slots = paid_for.saturating_add(Self::notice_due(deal, &ending)).min(affordable);
        if let Some(run) = &deal.run {
            Starts::<T>::remove(queue_key(run.confirmed_slot, id));
        }
        Self::drop_milestone(id, deal);
        Suspicions::<T>::remove(id);
        let Ending { slot, reason, ladder_step, evidence, .. } = ending;
        let contested_until =
            Self::contested(deal, reason, &counts, marks.conflict_longest).map(|window| slot.saturating_add(window));
        deal.state = DealState::Frozen;
        deal.frozen = Some(Frozen {
            reason,
            slot,
            height: frame_system::Pallet::<T>::block_number().saturated_into(),
            good_slots,
            notice_slots: good_slots.saturating_sub(paid_for),
            forfeited_slots: reached.saturating_sub(paid_for),
            counts,
            ladder_step,
            evidence,
            marks,
            contested_until,
            is_part_paid: false,
            ruling: None,
        });
        Self::deposit_event(Event::DealFrozen { deal: id, reason, slot, good_slots });
        Self::open_by_record(id, deal);
    }

    /// How long the deal waits for a dispute, if its record leaves room for one. A deposit that was used
    /// up leaves nothing to dispute, and a node that is not measured nothing to judge.
    fn contested(
        deal: &Deal<T::AccountId>,
        reason: CloseReason,
        counts: &SlotCounts,
        conflict_longest: u32,
    ) -> Option<Slot> {
        let terms = &deal.run.as_ref()?.terms;
        let disputable = !matches!(reason, CloseReason::DepositExhausted | CloseReason::NotMeasured);
        let contested =
            is_contested(conflict_longest, terms.conflict_run_slots, counts.unknown, counts.slots, terms.contested_ppm);
        (disputable && contested).then_some(terms.dispute_window_slots)
    }

    /// Pays a frozen deal out and gives back what it occupied.
    pub(crate) fn conclude(id: DealId, mut deal: Deal<T::AccountId>) -> DispatchResult {
        let frozen = deal.frozen.as_ref().ok_or(Error::<T>::NotRunning)?;
        let recorded = frozen.ladder_step.zip(deal.run.as_ref()).map(|(step, run)| Slash {
            share_ppm: ladder_share(&run.terms.slash_ladder_ppm, step),
            compensation_ppm: run.terms.compensation_ppm,
        });
        let ruling = frozen.ruling;
        let slash = if ruling.is_some_and(|ruling| !ruling.slash) { None } else { recorded };
        let counted = ruling.map_or(0, |ruling| ruling.counted_slots);
        if let Some(ruling) = ruling {
            // A ruling that says what the record said was not worth the wait: the other party is paid for it.
            let as_recorded = ruling.counted_slots == 0 && ruling.slash == recorded.is_some();
            Escrow::<T>::release_stake(id, as_recorded)?;
        }
        let outcome = Escrow::<T>::close(id, frozen.good_slots.saturating_add(counted), slash)?;
        let (reason, part_paid) = (frozen.reason, frozen.is_part_paid);
        let disputed = deal.state == DealState::Disputed;
        let state = if disputed { DealState::Resolved } else { reason.terminal_state() };
        deal.state = state;
        deal.outcome = Some(outcome);
        if !part_paid {
            Self::give_back(id, &deal)?;
        }
        if deal.run.is_some() {
            Self::count_end(&deal);
        }
        Disputes::<T>::remove(id);
        T::Queue::forget(id);
        if let Some(leaf) = Self::leaf_of(&deal) {
            Leaves::<T>::insert(id, leaf);
        }
        Deals::<T>::insert(id, deal);
        Self::remember_closed(id)?;
        Self::deposit_event(Event::DealClosed { deal: id, state, reason, code: reason.code(), outcome });
        Ok(())
    }

    /// Frees the capacity and the places that a deal occupied.
    pub(crate) fn give_back(id: DealId, deal: &Deal<T::AccountId>) -> DispatchResult {
        let mut listing = Listings::<T>::get(deal.source.listing).ok_or(Error::<T>::UnknownListing)?;
        if deal.run.is_some() {
            Self::unreserve(deal.source.listing, &mut listing, &deal.capacity)?;
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
                Leaves::<T>::remove(oldest);
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
            let step = ladder_step(before);
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
        let ledger = Ledgers::<T>::get(id);
        let mut reading = MeterReading {
            closed_slot: T::Meter::closed_slot(),
            affordable_slots: deal.rate.affordable_slots(deal.deposit),
            down_run: Suspicions::<T>::get(id).map_or(0, |suspicion| suspicion.run),
            end_slot: deal.run.as_ref().map_or(0, |run| run.end_slot),
            reserve: ledger.as_ref().map_or(0, |ledger| ledger.reserve),
            ..MeterReading::default()
        };
        let counts = deal.frozen.as_ref().map_or_else(|| Self::counts(&deal), |frozen| frozen.counts);
        (reading.slots, reading.bad, reading.unknown, reading.void) =
            (counts.slots, counts.bad, counts.unknown, counts.void);
        (reading.good, reading.billable) = match (&deal.outcome, &deal.frozen) {
            (Some(outcome), _) => (outcome.good_slots, outcome.good_slots),
            (None, Some(frozen)) => (frozen.good_slots, frozen.good_slots),
            (None, None) => (Self::good_slots(id, &deal), Self::billable(id, &deal)),
        };
        if !deal.state.is_terminal() && deal.frozen.is_none() {
            reading.deadline_slot = Self::watch_slot(&deal, reading.good);
        }
        reading.gross = deal.rate.accrued(deal.deposit, reading.good);
        reading.paid = match deal.outcome {
            Some(outcome) => outcome.gross,
            None => ledger.map_or(0, |ledger| ledger.gross_paid),
        };
        reading.remaining = deal.deposit.saturating_sub(reading.gross);
        Some(reading)
    }

    /// Ends a deal as of the last closed slot: it is paid at once, or as far as it is not contested.
    pub(crate) fn end_now(id: DealId, mut deal: Deal<T::AccountId>, reason: CloseReason) -> Result<(), DispatchError> {
        Self::freeze(id, &mut deal, Ending::at(T::Meter::closed_slot(), reason));
        let Some(wait_until) = Self::waits_until(id, &deal) else { return Self::conclude(id, deal) };
        Self::pay_undisputed(id, deal)?;
        T::Queue::wake_at_slot(id, wait_until.saturating_add(1));
        Ok(())
    }
}
