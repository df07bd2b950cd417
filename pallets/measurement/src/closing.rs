//! The closing of slots, in order, within a block's budget.

use crate::{
    ActiveNodes, ClosedSlot, Closing, ClosingStage, ClosingState, Config, CurrentSlot, Event, NextIndex, NodeAt, Nodes,
    OpenRuns, Pallet, ReportedSlots, Reports, VoidHistory, VoidSlots, WeightInfo,
    tally::{Judgement, Tally},
    types::code_of,
};
use frame_support::{
    pallet_prelude::Weight,
    traits::{Get, Time},
};
use x0_types::market::{MarketHooks, NodeIndex, Slot, Verdict};

/// What a block may still do, and what it did.
struct Budget {
    left: u32,
    spent: u32,
    loads: u32,
}

impl Budget {
    const fn spend(&mut self, units: u32) {
        self.left = self.left.saturating_sub(units);
        self.spent = self.spent.saturating_add(units);
    }
}

impl<T: Config> Pallet<T> {
    /// Moves the clock to the parent's time and closes what is due.
    pub(crate) fn advance() -> Weight {
        // Timestamps never go back, but a clock that did must not reopen anything.
        let current = Self::slot_of(T::Time::now()).max(CurrentSlot::<T>::get());
        CurrentSlot::<T>::put(current);
        let mut budget = Budget { left: T::SlotWorkPerBlock::get(), spent: 0, loads: 0 };
        while budget.left > 0 && Self::step(current, &mut budget) {}
        T::WeightInfo::close(budget.loads, budget.spent)
    }

    /// Does one step of closing; says whether the next step may follow in this block.
    fn step(current: Slot, budget: &mut Budget) -> bool {
        match Closing::<T>::get() {
            Some(ClosingState { slot, stage: ClosingStage::Verdicts { next, exceptions } }) => {
                Self::count(slot, next, exceptions, budget)
            }
            Some(ClosingState { slot, stage: ClosingStage::Work }) => Self::work(slot, budget),
            None => Self::open_next(current, budget),
        }
    }

    /// Begins with the next slot that is due, or closes a range of slots that nobody reported on.
    fn open_next(current: Slot, budget: &mut Budget) -> bool {
        let closed = ClosedSlot::<T>::get();
        // `s + 1 + grace <= current` is the rule; there is no such slot in the chain's first slots.
        let Some(last_due) = current.checked_sub(1 + x0_limits::REPORT_GRACE_SLOTS) else { return false };
        if closed >= last_due {
            return false;
        }
        let next = closed.saturating_add(1);
        let reported = ReportedSlots::<T>::get().first().copied();
        if reported.is_some_and(|slot| slot <= next) {
            Closing::<T>::put(ClosingState { slot: next, stage: ClosingStage::Verdicts { next: 0, exceptions: 0 } });
            return true;
        }
        // Up to the slot before the next one with reports, or the next one with work.
        let before_report = reported.map_or(last_due, |slot| slot.saturating_sub(1));
        let work = T::Hooks::next_slot_with_work(closed).map(|slot| slot.max(next));
        let last = last_due.min(before_report).min(work.unwrap_or(last_due));
        Self::void(next, last);
        if work == Some(last) {
            Closing::<T>::put(ClosingState { slot: last, stage: ClosingStage::Work });
        }
        budget.spend(1);
        true
    }

    /// Counts a slot's reports from the given node on.
    fn count(slot: Slot, mut next: NodeIndex, mut exceptions: u32, budget: &mut Budget) -> bool {
        budget.loads = budget.loads.saturating_add(1);
        let tally = Tally::load::<T>(slot);
        if next == 0 && tally.is_void() {
            budget.spend(1);
            Self::drop_reports(slot);
            Self::void(slot, slot);
            Closing::<T>::put(ClosingState { slot, stage: ClosingStage::Work });
            return true;
        }
        let (mut active, mut runs) = (ActiveNodes::<T>::get(), OpenRuns::<T>::get());
        while next < NextIndex::<T>::get() {
            if budget.left == 0 {
                Closing::<T>::put(ClosingState { slot, stage: ClosingStage::Verdicts { next, exceptions } });
                return false;
            }
            let index = next;
            next = next.saturating_add(1);
            if index.is_multiple_of(x0_limits::NODES_PER_SLOT_WORK_UNIT) {
                budget.spend(1);
            }
            if !active.get(index) {
                continue;
            }
            let judgement = tally.judge(index);
            let is_exception = judgement.verdict != Verdict::Up;
            if !is_exception && !runs.get(index) {
                continue;
            }
            budget.spend(1);
            exceptions = exceptions.saturating_add(u32::from(is_exception));
            // The hooks below read counters, which depend on how far the count has come.
            Closing::<T>::put(ClosingState { slot, stage: ClosingStage::Verdicts { next, exceptions } });
            Self::apply(slot, index, &judgement);
            // The hooks may have dismissed or enrolled nodes.
            (active, runs) = (ActiveNodes::<T>::get(), OpenRuns::<T>::get());
        }
        // A count that has nothing to do still costs the reading of the reports.
        budget.spend(1);
        Self::drop_reports(slot);
        ClosedSlot::<T>::put(slot);
        Closing::<T>::put(ClosingState { slot, stage: ClosingStage::Work });
        Self::deposit_event(Event::SlotClosed { slot, exceptions });
        true
    }

    /// Books a verdict that is not UP, or the UP that ends a run of DOWN, and tells the market.
    fn apply(slot: Slot, index: NodeIndex, judgement: &Judgement) {
        let Some(node) = NodeAt::<T>::get(index) else { return };
        let verdict = judgement.verdict;
        match verdict {
            Verdict::Up => OpenRuns::<T>::mutate(|runs| runs.set(index, false)),
            Verdict::Down => OpenRuns::<T>::mutate(|runs| runs.set(index, true)),
            // Neither extends a run nor ends it.
            Verdict::Conflict | Verdict::Unknown => {}
        }
        if verdict != Verdict::Up {
            Nodes::<T>::mutate(&node, |record| {
                let Some(record) = record else { return };
                let counter = if verdict == Verdict::Down { &mut record.bad } else { &mut record.unknown };
                *counter = counter.saturating_add(1);
                record.exceptions.mark(slot, slot, code_of(verdict));
            });
        }
        T::Hooks::verdict(slot, &node, verdict, &judgement.down_reporters, judgement.validators);
        Self::deposit_event(Event::Judged { slot, node, verdict });
    }

    /// Lets the market do its work of a slot.
    fn work(slot: Slot, budget: &mut Budget) -> bool {
        let progress = T::Hooks::slot_closed(slot, budget.left);
        budget.spend(progress.used);
        if progress.done {
            Closing::<T>::kill();
        }
        progress.done
    }

    /// Closes slots without any verdict.
    fn void(first: Slot, last: Slot) {
        let slots = last.saturating_sub(first).saturating_add(1);
        VoidSlots::<T>::mutate(|void| *void = void.saturating_add(slots));
        VoidHistory::<T>::mutate(|ring| ring.mark(first, last, 1));
        ClosedSlot::<T>::put(last);
        Self::deposit_event(Event::SlotsVoid { first, last });
    }

    /// Removes a slot's reports. There are few: one for each validator, and only validators of the
    /// set of some block within the slot's time for reports could send any.
    fn drop_reports(slot: Slot) {
        // The answer tells how far a bounded removal came; this one has no bound.
        let _removed = Reports::<T>::clear_prefix(slot, u32::MAX, None);
        ReportedSlots::<T>::mutate(|slots| slots.retain(|reported| *reported != slot));
    }
}
