//! Measured nodes: their indices, their counters, and what others ask of them.

use crate::{
    ActiveNodes, ClosedSlot, Closing, ClosingStage, Config, CurrentSlot, Error, Event, NextIndex, NodeAt, NodeRecord,
    Nodes, OpenRuns, Pallet, Resting, RestingEnds, RestingPlace, SlotOutcome, SlotRing, Unstamped, VoidHistory,
    VoidSlots, types::outcome_of,
};
use frame_support::traits::Time;
use sp_runtime::{DispatchError, SaturatedConversion};
use x0_types::{
    AccountId,
    market::{Counters, Meter, NodeIndex, Slot},
};

impl<T: Config> Pallet<T> {
    /// The measured nodes with their indices, in the order of indices: what a validator probes.
    #[must_use]
    pub fn targets() -> Vec<(NodeIndex, AccountId)> {
        ActiveNodes::<T>::get().iter().filter_map(|index| Some((index, NodeAt::<T>::get(index)?))).collect()
    }

    /// What became of the latest closed slots for a node, oldest first: at most `count` of them,
    /// at most [`x0_limits::VERDICT_HISTORY_SLOTS`], none from before its enrolment.
    #[must_use]
    pub fn history(node: &AccountId, count: u64) -> Vec<(Slot, SlotOutcome)> {
        let Some(record) = Nodes::<T>::get(node) else { return Vec::new() };
        let closed = Self::closed_for(record.index);
        let void = VoidHistory::<T>::get();
        let count = count.min(x0_limits::VERDICT_HISTORY_SLOTS);
        let first = closed.saturating_sub(count).max(record.since).saturating_add(1);
        let outcome =
            |slot| if void.get(slot) == 0 { outcome_of(record.exceptions.get(slot)) } else { SlotOutcome::Void };
        (first..=closed).map(|slot| (slot, outcome(slot))).collect()
    }

    /// The last slot whose verdict on the node with this index is in. While a slot's count goes on
    /// over several blocks, nodes that have had their turn are one slot ahead.
    pub(crate) fn closed_for(index: NodeIndex) -> Slot {
        match Closing::<T>::get() {
            Some(closing) if matches!(closing.stage, ClosingStage::Verdicts { next, .. } if index < next) => {
                closing.slot
            }
            _ => ClosedSlot::<T>::get(),
        }
    }

    /// An index for a node: the one that it had, if that still rests, or one that no open report speaks
    /// of, which is the one that has rested longest or a new one. An index that another node gave up in
    /// this very block is not taken, stamped or not: its slot is not closed yet.
    fn free_index(node: &AccountId) -> Result<NodeIndex, DispatchError> {
        Self::skip_empty_places();
        if let Some(place) = RestingPlace::<T>::take(node)
            && let Some((index, ..)) = Resting::<T>::take(place)
        {
            return Ok(index);
        }
        let (first, _) = RestingEnds::<T>::get();
        if let Some((index, dismissed_in, former)) = Resting::<T>::get(first)
            && dismissed_in.saturating_add(x0_limits::NODE_INDEX_REST_SLOTS) <= ClosedSlot::<T>::get()
        {
            Resting::<T>::remove(first);
            RestingPlace::<T>::remove(former);
            return Ok(index);
        }
        let index = NextIndex::<T>::get();
        if index >= x0_limits::MEASURED_NODES_MAX {
            return Err(Error::<T>::TooManyNodes.into());
        }
        NextIndex::<T>::put(index.saturating_add(1));
        Ok(index)
    }

    /// Moves the front of the queue past places whose indices are in use again: a few at a time, so that
    /// no call pays for many others, and more than one call empties, so that the front catches up.
    fn skip_empty_places() {
        const PLACES_PER_CALL: usize = 8;
        let (first, end) = RestingEnds::<T>::get();
        let empty = (first..end).take(PLACES_PER_CALL).take_while(|place| !Resting::<T>::contains_key(place)).count();
        if empty > 0 {
            RestingEnds::<T>::put((first.saturating_add(empty.saturated_into()), end));
        }
    }

    /// Lets a freed index rest. The block's own time is not known inside `on_initialize`, so it is
    /// noted at the end of the block.
    fn rest(index: NodeIndex, node: &AccountId) {
        let (first, end) = RestingEnds::<T>::get();
        Resting::<T>::insert(end, (index, Self::slot_of(T::Time::now()), node));
        RestingPlace::<T>::insert(node, end);
        RestingEnds::<T>::put((first, end.saturating_add(1)));
        if !Unstamped::<T>::exists() {
            Unstamped::<T>::put(end);
        }
    }

    pub(crate) fn stamp_resting() {
        let Some(unstamped) = Unstamped::<T>::take() else { return };
        let slot = Self::slot_of(T::Time::now());
        let (_, end) = RestingEnds::<T>::get();
        for place in unstamped..end {
            Resting::<T>::mutate(place, |entry| {
                if let Some((_, dismissed_in, _)) = entry {
                    *dismissed_in = slot;
                }
            });
        }
    }
}

impl<T: Config> Meter<AccountId> for Pallet<T> {
    fn current_slot() -> Slot {
        CurrentSlot::<T>::get()
    }

    fn closed_slot() -> Slot {
        ClosedSlot::<T>::get()
    }

    fn counters(node: &AccountId) -> Option<Counters> {
        let record = Nodes::<T>::get(node)?;
        Some(Counters {
            closed: Self::closed_for(record.index),
            void: VoidSlots::<T>::get(),
            bad: record.bad,
            unknown: record.unknown,
        })
    }

    fn enrol(node: &AccountId, owner: &AccountId) -> Result<NodeIndex, DispatchError> {
        if let Some(record) = Nodes::<T>::get(node) {
            return Ok(record.index);
        }
        let index = Self::free_index(node)?;
        let record = NodeRecord {
            index,
            owner: owner.clone(),
            since: Self::closed_for(index),
            void_before: VoidSlots::<T>::get(),
            bad: 0,
            unknown: 0,
            exceptions: SlotRing::default(),
        };
        Nodes::<T>::insert(node, record);
        NodeAt::<T>::insert(index, node);
        ActiveNodes::<T>::mutate(|active| active.set(index, true));
        Self::deposit_event(Event::Enrolled { node: node.clone(), index });
        Ok(index)
    }

    fn dismiss(node: &AccountId) {
        let Some(record) = Nodes::<T>::take(node) else { return };
        let index = record.index;
        NodeAt::<T>::remove(index);
        ActiveNodes::<T>::mutate(|active| active.set(index, false));
        OpenRuns::<T>::mutate(|runs| runs.set(index, false));
        Self::rest(index, node);
        Self::deposit_event(Event::Dismissed { node: node.clone(), index });
    }
}
