//! The closing of slots, in order, within a block's budget.

use crate::{
    ActiveNodes, ClosedSlot, Closing, ClosingStage, ClosingState, Commitments, Config, CurrentSlot, Event, NextIndex,
    NodeAt, Nodes, OpenRuns, OpenSlots, Pallet, Provable, Reports, VoidHistory, VoidSlots, WeightInfo,
    tally::{Judgement, Tally},
    types::code_of,
    windows::Proposers,
};
use frame_support::{
    pallet_prelude::Weight,
    traits::{Get, Time},
};
use x0_types::market::{MarketHooks, NodeIndex, Slot, Verdict, VerdictListener as _};

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
        Self::note_slot(current);
        let proposers = Proposers::load::<T>();
        Self::open_reveals(current, &proposers);
        Self::end_challenges(current, &proposers);
        Self::clean_complaints();
        let mut budget = Budget { left: T::SlotWorkPerBlock::get(), spent: 0, loads: 0 };
        while budget.left > 0 && Self::step(current, &proposers, &mut budget) {}
        Self::note_author();
        T::WeightInfo::close(budget.loads, budget.spent)
    }

    /// Does one step of closing; says whether the next step may follow in this block.
    fn step(current: Slot, proposers: &Proposers, budget: &mut Budget) -> bool {
        match Closing::<T>::get() {
            Some(ClosingState { slot, stage: ClosingStage::Verdicts { next, exceptions } }) => {
                Self::count(slot, next, exceptions, budget)
            }
            Some(ClosingState { slot, stage: ClosingStage::Work }) => Self::work(slot, budget),
            None => Self::drop_proved(budget) || Self::open_next(current, proposers, budget),
        }
    }

    /// Begins with the next slot that is due, or closes a range of slots that nobody reported on.
    fn open_next(current: Slot, proposers: &Proposers, budget: &mut Budget) -> bool {
        let closed = ClosedSlot::<T>::get();
        let next = closed.saturating_add(1);
        let reported = OpenSlots::<T>::get().first().cloned();
        if let Some(open) = reported.as_ref().filter(|open| open.slot <= next) {
            let is_due = open.revealing.is_some_and(|(since, block)| {
                let until = since.saturating_add(x0_limits::REVEAL_SLOTS);
                // Validators hear of the block that lets them show their reports after it, so it does not count,
                // nor does the first block of the slot after it, which may follow at once.
                let is_over = current > until && proposers.are_enough_since(block.saturating_add(1));
                current >= until && (open.reveals >= open.commits || is_over)
            });
            if is_due {
                Closing::<T>::put(ClosingState {
                    slot: next,
                    stage: ClosingStage::Verdicts { next: 0, exceptions: 0 },
                });
            }
            return is_due;
        }
        // A slot without commitments closes when its reports would; there is none in the chain's first slots.
        let wait = 1 + x0_limits::REPORT_GRACE_SLOTS + x0_limits::REVEAL_SLOTS;
        let Some(mut last_due) = current.checked_sub(wait) else { return false };
        if let Some(waiting) = Self::first_open_window(next, last_due, current, proposers) {
            last_due = waiting.saturating_sub(1);
        }
        if closed >= last_due {
            return false;
        }
        // Up to the slot before the next one with reports, or the next one with work.
        let before_report = reported.map_or(last_due, |open| open.slot.saturating_sub(1));
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
        let mut lookups = 0u32;
        if next == 0 {
            // Nothing is spent before the loop, so the count gets beyond the first node in the same block, and this
            // happens once for each slot.
            Self::book_conduct(slot, &ActiveNodes::<T>::get());
            let (is_void, looked_up) = tally.is_void::<T>();
            if is_void {
                budget.spend(looked_up.div_ceil(x0_limits::OWNERS_PER_SLOT_WORK_UNIT).saturating_add(1));
                Self::end_reports(slot, false);
                Self::void(slot, slot);
                Closing::<T>::put(ClosingState { slot, stage: ClosingStage::Work });
                return true;
            }
            lookups = looked_up;
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
            let judgement = tally.judge::<T>(index);
            lookups = lookups.saturating_add(u32::from(judgement.looked_up));
            if lookups >= x0_limits::OWNERS_PER_SLOT_WORK_UNIT {
                budget.spend(lookups / x0_limits::OWNERS_PER_SLOT_WORK_UNIT);
                lookups %= x0_limits::OWNERS_PER_SLOT_WORK_UNIT;
            }
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
        Self::end_reports(slot, true);
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
        T::Listener::verdict(slot, &node, verdict);
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

    /// Ends the time of a slot's reports: commitments go, and the reports stay for a while when their receipts may be
    /// asked for. There are few of both: one for each validator, and only validators of the set of some block
    /// within the slot's time could send any.
    fn end_reports(slot: Slot, are_provable: bool) {
        // The answers tell how far a bounded removal came; these have no bound.
        let _removed = Commitments::<T>::clear_prefix(slot, u32::MAX, None);
        OpenSlots::<T>::mutate(|slots| slots.retain(|open| open.slot != slot));
        if !are_provable || Provable::<T>::try_append(slot).is_err() {
            let _removed = Reports::<T>::clear_prefix(slot, u32::MAX, None);
        }
    }

    /// Removes the reports of the oldest slot whose receipts nobody may ask for any more, if there is one.
    fn drop_proved(budget: &mut Budget) -> bool {
        let oldest = Provable::<T>::get().first().copied();
        let Some(slot) =
            oldest.filter(|slot| slot.saturating_add(x0_limits::CHALLENGE_SLOTS) <= ClosedSlot::<T>::get())
        else {
            return false;
        };
        let _removed = Reports::<T>::clear_prefix(slot, u32::MAX, None);
        Provable::<T>::mutate(|slots| slots.retain(|kept| *kept != slot));
        budget.spend(1);
        true
    }
}
