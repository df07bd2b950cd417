//! SLA windows: which good slots a deal pays for, and what a window that closes does to it.
//!
//! Windows follow one another from the confirmation on. A deal waits in the queue of ends for its
//! next milestone, the end of its window or its own, so a slot costs what its milestones cost, however
//! many deals run. What a window was is the difference of two readings of the node's counters.

use x0_accounting::{SlotSums, window_holds};
use x0_types::{
    deal::{CloseReason, SlaPolicy, queue_key},
    market::{Counters, DealId, Meter as _, Slot},
};

use crate::{Config, Deal, Deals, Ends, Event, Marks, MarksOf, Pallet, Window, life::Ending};

impl<T: Config> Pallet<T> {
    /// Puts a deal where its next milestone is waited for.
    pub(crate) fn await_milestone(id: DealId, deal: &Deal<T::AccountId>) {
        if let Some(slot) = deal.milestone() {
            Ends::<T>::insert(queue_key(slot, id), ());
        }
    }

    /// Takes a deal from there: before its window or its end changes, and when it is over.
    pub(crate) fn drop_milestone(id: DealId, deal: &Deal<T::AccountId>) {
        if let Some(slot) = deal.milestone() {
            Ends::<T>::remove(queue_key(slot, id));
        }
    }

    /// Slots that a running deal pays for up to the last closed slot.
    #[must_use]
    pub fn billable(id: DealId, deal: &Deal<T::AccountId>) -> u64 {
        match deal.sla.policy {
            SlaPolicy::ProRata => Self::good_slots(id, deal),
            SlaPolicy::ForfeitWindow => deal.run.as_ref().map_or(0, |run| run.window.confirmed_good),
        }
    }

    /// Good slots that a deal which ends pays for, of the `reached` ones that its deposit affords.
    ///
    /// `ForfeitWindow` pays the windows that closed. The open one is judged by what there is of it,
    /// unless the deal fails in it: then nothing of it is paid.
    pub(crate) fn paid_slots(deal: &Deal<T::AccountId>, ending: &Ending, reached: u64, marks: &Marks) -> u64 {
        let Some(run) = deal.run.as_ref().filter(|_| deal.sla.policy == SlaPolicy::ForfeitWindow) else {
            return reached;
        };
        let confirmed = run.window.confirmed_good.min(reached);
        if ending.reason.is_failure() || ending.reason == CloseReason::NotMeasured {
            return confirmed;
        }
        let bad = T::Meter::counters(&deal.node)
            .map_or(0, |now| Self::bad_in_window(&run.window, &now, marks))
            .saturating_sub(u64::from(ending.has_late_down));
        if window_holds(reached.saturating_sub(confirmed), bad, deal.sla.availability_ppm_min) {
            reached
        } else {
            confirmed
        }
    }

    /// DOWN slots of the open window, without those that maintenance covers.
    fn bad_in_window(window: &Window, now: &Counters, marks: &Marks) -> u64 {
        let bad = window.opened.map_or(0, |opened| now.bad.saturating_sub(opened.bad));
        bad.saturating_sub(marks.excused_in(window.index))
    }

    /// A milestone's slot has closed: the window is judged, then the deal's end. The amounts are fixed
    /// now, whenever the janitor comes by.
    pub(crate) fn pass_milestone(id: DealId, slot: Slot) {
        let Some(mut deal) = Deals::<T>::get(id) else {
            tracing::error!(target: "x0::market", id, "a deal that does not exist was to end");
            return Ends::<T>::remove(queue_key(slot, id));
        };
        Self::drop_milestone(id, &deal);
        // The deal ended with the last affordable slot, whether or not the janitor has come by.
        if Self::is_exhausted(id, &deal) {
            Self::freeze(id, &mut deal, Ending::at(slot, CloseReason::DepositExhausted));
            return Self::hand_to_janitor(id, deal);
        }
        if !Self::close_window(id, &mut deal, slot) {
            let step = Self::ladder_step(&deal.provider, &deal.node, slot);
            let ending = Ending { ladder_step: Some(step), ..Ending::at(slot, CloseReason::WindowMissed) };
            Self::freeze(id, &mut deal, ending);
            return Self::hand_to_janitor(id, deal);
        }
        let ends = deal.run.as_ref().is_none_or(|run| run.end_slot <= slot);
        if ends && !Self::renew(id, &mut deal, slot) {
            let noticed = deal.run.as_ref().is_some_and(|run| run.notice_slot.is_some());
            let reason = if noticed { CloseReason::ReclaimedByProvider } else { CloseReason::TermServed };
            Self::freeze(id, &mut deal, Ending::at(slot, reason));
            return Self::hand_to_janitor(id, deal);
        }
        Self::await_milestone(id, &deal);
        Deals::<T>::insert(id, deal);
    }

    /// Judges the window if this is its last slot, and opens the next; says whether the promise was
    /// kept.
    fn close_window(id: DealId, deal: &mut Deal<T::AccountId>, slot: Slot) -> bool {
        let (has_windows, sla) = (deal.has_windows(), deal.sla);
        let Some(run) = deal.run.as_mut().filter(|_| has_windows) else { return true };
        if slot < x0_accounting::window_end(run.confirmed_slot, sla.window_slots, run.window.index) {
            return true;
        }
        let (Some(opened), Some(now)) = (run.window.opened, T::Meter::counters(&deal.node)) else { return true };
        let sums = SlotSums {
            slots: now.closed.saturating_sub(opened.closed),
            bad: now.bad.saturating_sub(opened.bad),
            unknown: now.unknown.saturating_sub(opened.unknown),
            void: now.void.saturating_sub(opened.void),
        };
        let bad = Self::bad_in_window(&run.window, &now, &MarksOf::<T>::get(id));
        if !window_holds(sums.good(), bad, sla.availability_ppm_min) {
            return false;
        }
        let window = run.window.index;
        run.window = Window {
            index: window.saturating_add(1),
            opened: Some(now),
            confirmed_good: run.window.confirmed_good.saturating_add(sums.good()),
        };
        Self::deposit_event(Event::WindowConfirmed { deal: id, window, good_slots: sums.good() });
        true
    }
}
