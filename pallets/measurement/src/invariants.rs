//! What must hold after every block.

use crate::{
    ActiveNodes, Challenges, ClosedSlot, Closing, ClosingStage, Commitments, ComplaintWindows, Complaints,
    ComplaintsOpened, Config, CurrentSlot, HoldReason, NextChallenge, NextIndex, NodeAt, Nodes, OpenChallenges,
    OpenRuns, OpenSlots, Pallet, Parameters, Provable, Reports, Resting, RestingEnds, RestingPlace, SlotStarts,
    VoidSlots,
};
use frame_support::traits::fungible::hold::Inspect as _;
use std::collections::{BTreeMap, BTreeSet};
use x0_types::{AccountId, Balance, market::Slot};

impl<T: Config> Pallet<T> {
    /// Checks every rule that the storage of this module keeps. Reads all of it: for tests and for
    /// try-runtime, never inside a block.
    ///
    /// # Errors
    /// The broken rule, in words.
    pub fn check_invariants() -> Result<(), &'static str> {
        Self::check_clock()?;
        Self::check_nodes()?;
        Self::check_indices()?;
        Self::check_reports()?;
        Self::check_windows()?;
        Self::check_challenges()?;
        Self::check_complaints()
    }

    fn check_clock() -> Result<(), &'static str> {
        let (current, closed) = (CurrentSlot::<T>::get(), ClosedSlot::<T>::get());
        if closed > current.saturating_sub(1 + x0_limits::REPORT_GRACE_SLOTS + x0_limits::REVEAL_SLOTS) {
            return Err("measurement: a slot was closed before its time");
        }
        if VoidSlots::<T>::get() > closed {
            return Err("measurement: more VOID slots than closed ones");
        }
        match Closing::<T>::get() {
            Some(closing) if matches!(closing.stage, ClosingStage::Work) && closing.slot != closed => {
                Err("measurement: the market works on a slot that is not the last closed one")
            }
            Some(closing)
                if matches!(closing.stage, ClosingStage::Verdicts { .. })
                    && closing.slot != closed.saturating_add(1) =>
            {
                Err("measurement: the slot that is counted is not the next one")
            }
            _ => Ok(()),
        }
    }

    fn check_nodes() -> Result<(), &'static str> {
        let active = ActiveNodes::<T>::get();
        let void = VoidSlots::<T>::get();
        let mut nodes = 0usize;
        for (node, record) in Nodes::<T>::iter() {
            nodes = nodes.saturating_add(1);
            if NodeAt::<T>::get(record.index) != Some(node) || !active.get(record.index) {
                return Err("measurement: a node and its index do not agree");
            }
            let passed = Self::closed_for(record.index).checked_sub(record.since);
            let booked = void
                .checked_sub(record.void_before)
                .and_then(|void| void.checked_add(record.bad))
                .and_then(|sum| sum.checked_add(record.unknown));
            match (passed, booked) {
                (Some(passed), Some(booked)) if booked <= passed => {}
                _ => return Err("measurement: a node has more exceptions than slots"),
            }
        }
        let counts = [NodeAt::<T>::iter().count(), active.iter().count()];
        if counts.iter().any(|count| *count != nodes) {
            return Err("measurement: the indexes of nodes differ in length");
        }
        if OpenRuns::<T>::get().iter().any(|index| !active.get(index)) {
            return Err("measurement: a run of a node that is not measured");
        }
        Ok(())
    }

    fn check_indices() -> Result<(), &'static str> {
        let (first, end) = RestingEnds::<T>::get();
        let mut indices: Vec<_> = ActiveNodes::<T>::get().iter().collect();
        let mut last_stamp: Slot = 0;
        let mut resting = 0usize;
        for place in first..end {
            let Some((index, stamp, node)) = Resting::<T>::get(place) else { continue };
            if stamp < last_stamp {
                return Err("measurement: resting indices are out of order");
            }
            if RestingPlace::<T>::get(&node) != Some(place) || Nodes::<T>::contains_key(&node) {
                return Err("measurement: a resting index and its node do not agree");
            }
            last_stamp = stamp;
            resting = resting.saturating_add(1);
            indices.push(index);
        }
        if Resting::<T>::iter().count() != resting || RestingPlace::<T>::iter().count() != resting {
            return Err("measurement: a resting index outside the queue");
        }
        indices.sort_unstable();
        let next = NextIndex::<T>::get();
        if next > x0_limits::MEASURED_NODES_MAX || !indices.into_iter().eq(0..next) {
            return Err("measurement: an index is neither in use nor at rest, or both");
        }
        Ok(())
    }

    fn check_reports() -> Result<(), &'static str> {
        let (open, provable) = (OpenSlots::<T>::get(), Provable::<T>::get());
        if !open.windows(2).all(|pair| matches!(pair, [left, right] if left.slot < right.slot)) {
            return Err("measurement: slots with commitments are out of order");
        }
        if !provable.windows(2).all(|pair| matches!(pair, [left, right] if left < right)) {
            return Err("measurement: slots with provable reports are out of order");
        }
        let closed = ClosedSlot::<T>::get();
        if open.first().is_some_and(|open| open.slot <= closed) || provable.last().is_some_and(|slot| *slot > closed) {
            return Err("measurement: open slots are closed, or provable ones are not");
        }
        let (mut hidden, mut shown) = (BTreeMap::<Slot, u32>::new(), BTreeMap::<Slot, u32>::new());
        for (slot, validator) in Commitments::<T>::iter_keys() {
            if Reports::<T>::contains_key(slot, &validator) {
                return Err("measurement: a commitment outlives its report");
            }
            *hidden.entry(slot).or_default() += 1;
        }
        Reports::<T>::iter_keys().for_each(|(slot, _)| *shown.entry(slot).or_default() += 1);
        for one in &open {
            let (hidden, shown) = (hidden.remove(&one.slot).unwrap_or(0), shown.remove(&one.slot).unwrap_or(0));
            if one.commits == 0 || shown != one.reveals || hidden.saturating_add(shown) != one.commits {
                return Err("measurement: a slot's commitments and reports are miscounted");
            }
            if one.reveals > 0 && one.revealing.is_none() {
                return Err("measurement: a report was shown before its time");
            }
        }
        shown.retain(|slot, _| !provable.contains(slot));
        if hidden.is_empty() && shown.is_empty() { Ok(()) } else { Err("measurement: reports of no known slot") }
    }

    fn check_windows() -> Result<(), &'static str> {
        let starts = SlotStarts::<T>::get();
        let is_ordered = starts.windows(2).all(|pair| matches!(pair, [a, b] if a.0 < b.0 && a.1 < b.1));
        if !is_ordered || starts.last().is_some_and(|(slot, _)| *slot != CurrentSlot::<T>::get()) {
            return Err("measurement: the starts of slots are out of order");
        }
        let revealing = OpenSlots::<T>::get();
        let is_prefix =
            revealing.iter().skip_while(|open| open.revealing.is_some()).all(|open| open.revealing.is_none());
        if is_prefix { Ok(()) } else { Err("measurement: a later slot shows reports before an earlier one") }
    }

    fn check_challenges() -> Result<(), &'static str> {
        let open = OpenChallenges::<T>::get();
        if !Parameters::<T>::get().is_valid() {
            return Err("measurement: a parameter is out of its bounds");
        }
        if !open.windows(2).all(|pair| matches!(pair, [left, right] if left.number < right.number))
            || open.last().is_some_and(|one| one.number >= NextChallenge::<T>::get())
        {
            return Err("measurement: challenges are out of order");
        }
        let stored: BTreeSet<u64> = Challenges::<T>::iter_keys().collect();
        if !stored.into_iter().eq(open.iter().map(|one| one.number)) {
            return Err("measurement: challenges are not the listed ones");
        }
        let mut deposits = BTreeMap::<AccountId, Balance>::new();
        for one in &open {
            let sum = deposits.entry(one.challenger.clone()).or_default();
            *sum = sum.saturating_add(one.deposit);
            let of_validator = open.iter().filter(|other| other.validator == one.validator).count();
            if of_validator > x0_limits::CHALLENGES_OF_VALIDATOR_MAX {
                return Err("measurement: too many challenges of one validator");
            }
        }
        let reason = HoldReason::Challenge.into();
        if deposits.iter().any(|(who, sum)| T::Currency::balance_on_hold(&reason, who) != *sum) {
            return Err("measurement: a challenger's deposits are not what is held");
        }
        Ok(())
    }

    fn check_complaints() -> Result<(), &'static str> {
        let windows = ComplaintWindows::<T>::get();
        if !windows.windows(2).all(|pair| matches!(pair, [left, right] if left < right)) {
            return Err("measurement: windows with complaints are out of order");
        }
        let known = |window: u64| windows.contains(&window);
        let all = Complaints::<T>::iter_keys().all(|(window, _)| known(window))
            && ComplaintsOpened::<T>::iter_keys().all(|(window, _)| known(window));
        if all { Ok(()) } else { Err("measurement: complaints of no known window") }
    }
}
