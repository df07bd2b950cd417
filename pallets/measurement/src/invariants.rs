//! What must hold after every block.

use crate::{
    ActiveNodes, ClosedSlot, Closing, ClosingStage, Config, CurrentSlot, NextIndex, NodeAt, Nodes, OpenRuns,
    OwnedNodes, Pallet, ReportedSlots, Reports, Resting, RestingEnds, RestingPlace, VoidSlots,
};
use std::collections::BTreeSet;
use x0_types::market::Slot;

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
        Self::check_reports()
    }

    fn check_clock() -> Result<(), &'static str> {
        let (current, closed) = (CurrentSlot::<T>::get(), ClosedSlot::<T>::get());
        if closed > current.saturating_sub(1 + x0_limits::REPORT_GRACE_SLOTS) {
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
            if !OwnedNodes::<T>::contains_key(&record.owner, record.index) {
                return Err("measurement: a node is missing among its owner's");
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
        let counts = [NodeAt::<T>::iter().count(), OwnedNodes::<T>::iter().count(), active.iter().count()];
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
        let listed = ReportedSlots::<T>::get();
        if !listed.windows(2).all(|pair| matches!(pair, [left, right] if left < right)) {
            return Err("measurement: slots with reports are out of order");
        }
        let stored: BTreeSet<Slot> = Reports::<T>::iter_keys().map(|(slot, _)| slot).collect();
        if !stored.into_iter().eq(listed.iter().copied()) {
            return Err("measurement: slots with reports are not the listed ones");
        }
        if listed.first().is_some_and(|slot| *slot <= ClosedSlot::<T>::get()) {
            return Err("measurement: reports of a closed slot are still there");
        }
        Ok(())
    }
}
