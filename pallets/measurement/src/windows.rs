//! When windows open and close: by the clock, and by who made the blocks since.

use crate::{Authors, Config, CurrentSlot, OpenSlots, Pallet, SlotStarts, verdict::exceeds_third};
use frame_support::traits::Time;
use sp_runtime::SaturatedConversion as _;
use std::collections::BTreeMap;
use x0_types::{
    AccountId, BlockNumber,
    account::PROPOSER_ENGINE_ID,
    market::{Slot, ValidatorSet},
};

/// The makers of the latest blocks, with their powers in the present set.
pub(crate) struct Proposers {
    /// Power and latest block of each validator that made one.
    made: Vec<(u64, BlockNumber)>,
    total: u64,
}

impl Proposers {
    /// Reads them as of the parent block: what this block's own maker does is not known yet.
    pub(crate) fn load<T: Config>() -> Self {
        let set: BTreeMap<AccountId, u64> = T::Validators::current().into_iter().collect();
        let total = set.values().fold(0u64, |sum, power| sum.saturating_add(*power));
        let made = Authors::<T>::get().iter().filter_map(|(who, block)| Some((*set.get(who)?, *block))).collect();
        Self { made, total }
    }

    /// Whether the makers of the blocks from `first` on hold more than a third of the power, so that one of them
    /// at least is honest. On a chain without validators nobody could.
    pub(crate) fn are_enough_since(&self, first: BlockNumber) -> bool {
        let made = self.made.iter().filter(|(_, block)| *block >= first);
        let power = made.fold(0u64, |sum, (power, _)| sum.saturating_add(*power));
        self.total == 0 || exceeds_third(power, self.total)
    }
}

impl<T: Config> Pallet<T> {
    /// This block's height.
    pub(crate) fn height() -> BlockNumber {
        frame_system::Pallet::<T>::block_number().saturated_into()
    }

    /// Notes that blocks lie in this slot from this one on.
    pub(crate) fn note_slot(current: Slot) {
        let mut starts = SlotStarts::<T>::get();
        if starts.last().is_some_and(|(slot, _)| *slot >= current) {
            return;
        }
        if starts.is_full() {
            starts.remove(0);
        }
        if starts.try_push((current, Self::height())).is_ok() {
            SlotStarts::<T>::put(starts);
        }
    }

    /// Notes who makes this block. The executor refuses a block whose header does not say so.
    pub(crate) fn note_author() {
        let digest = frame_system::Pallet::<T>::digest();
        let author = digest.logs.iter().find_map(|item| match item.as_pre_runtime() {
            Some((PROPOSER_ENGINE_ID, mut bytes)) => <AccountId as codec::Decode>::decode(&mut bytes).ok(),
            _ => None,
        });
        let Some(author) = author else { return };
        let height = Self::height();
        Authors::<T>::mutate(|authors| {
            if let Some((_, block)) = authors.iter_mut().find(|(who, _)| *who == author) {
                *block = height;
                return;
            }
            // Who made no block for longest is of no interest to any open window.
            if authors.is_full()
                && let Some(place) = authors.iter().enumerate().min_by_key(|(_, (_, block))| *block).map(|(at, _)| at)
            {
                authors.swap_remove(place);
            }
            let _room_was_made = authors.try_push((author, height));
        });
    }

    /// The first block whose parent lies in this slot or a later one, as far as it is remembered.
    pub(crate) fn first_block_from(slot: Slot) -> Option<BlockNumber> {
        SlotStarts::<T>::get().iter().find(|(start, _)| *start >= slot).map(|(_, block)| *block)
    }

    /// Whether any block could have taken a commitment for this slot in its own time.
    pub(crate) fn was_alive(slot: Slot) -> bool {
        let grace = slot..=slot.saturating_add(x0_limits::REPORT_GRACE_SLOTS);
        SlotStarts::<T>::get().iter().any(|(start, _)| grace.contains(start))
    }

    /// Whether validators had their time to commit to reports on this slot, by the clock and by the proposers.
    /// `all_in` says that no more can come.
    pub(crate) fn commitments_are_over(slot: Slot, all_in: bool, current: Slot, proposers: &Proposers) -> bool {
        let by_clock = slot.saturating_add(1).saturating_add(x0_limits::REPORT_GRACE_SLOTS);
        let over = slot.saturating_add(1);
        current >= by_clock
            && (all_in
                || !Self::was_alive(slot)
                || Self::first_block_from(over).is_some_and(|first| proposers.are_enough_since(first)))
    }

    /// The first of these slots for which too few validators have made blocks since; only slots near a block can be
    /// such, so there are few to look at however long the chain stood still.
    pub(crate) fn first_open_window(first: Slot, last: Slot, current: Slot, proposers: &Proposers) -> Option<Slot> {
        let near = SlotStarts::<T>::get().into_iter().flat_map(|(start, _)| [start.saturating_sub(1), start]);
        near.filter(|slot| (first..=last).contains(slot))
            .find(|slot| !Self::commitments_are_over(*slot, false, current, proposers))
    }

    /// Lets reports be shown for the slots whose commitments are in.
    pub(crate) fn open_reveals(current: Slot, proposers: &Proposers) {
        let mut slots = OpenSlots::<T>::get();
        let validators = T::Validators::current().len();
        let height = Self::height();
        let mut changed = false;
        for open in slots.iter_mut().filter(|open| open.revealing.is_none()) {
            let all_in = usize::try_from(open.commits).is_ok_and(|commits| commits >= validators);
            if !Self::commitments_are_over(open.slot, all_in, current, proposers) {
                break;
            }
            open.revealing = Some((current, height));
            changed = true;
        }
        if changed {
            OpenSlots::<T>::put(slots);
        }
    }

    /// Whether a commitment on this slot is taken in this block.
    pub(crate) fn takes_commitments(slot: Slot) -> bool {
        if slot == 0 || slot <= crate::ClosedSlot::<T>::get() {
            return false;
        }
        let open = OpenSlots::<T>::get();
        if open.iter().any(|open| open.slot >= slot && open.revealing.is_some()) {
            return false;
        }
        // A block's own time tells how long the chain stood still before it.
        let (now, due) = (Self::slot_of(T::Time::now()), slot.saturating_add(1 + x0_limits::REPORT_GRACE_SLOTS));
        let in_time = due >= now && due > CurrentSlot::<T>::get();
        let stretched = Self::was_alive(slot)
            && slot.saturating_add(x0_limits::REPORT_STRETCH_SLOTS) >= now
            && !Self::commitments_are_over(slot, false, CurrentSlot::<T>::get(), &Proposers::load::<T>());
        in_time || stretched
    }
}
