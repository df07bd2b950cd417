//! What the measuring module and the janitor call.

use sp_runtime::DispatchError;
use x0_types::{
    deal::{CloseReason, DealState, split_queue_key},
    market::{DealId, DealProgress, DealQueue as _, DealWorker, MarketHooks, Meter as _, Slot, SlotWork, Verdict},
};

use crate::{
    Config, Deal, Deals, DealsOfNode, Ends, Event, MarksOf, Pallet, Requests, Starts, Suspicions, life::Ending,
};

impl<T: Config> MarketHooks<T::AccountId> for Pallet<T> {
    fn verdict(slot: Slot, node: &T::AccountId, verdict: Verdict, down_reporters: &[u8], validators: u32) {
        match verdict {
            Verdict::Down => {
                let announced = Self::in_maintenance(node, slot);
                for id in DealsOfNode::<T>::get(node) {
                    if let Some(deal) = Self::measured_deal(id, slot) {
                        Self::count_down(id, deal, slot, down_reporters, validators, announced);
                    }
                }
            }
            Verdict::Up => {
                for id in DealsOfNode::<T>::get(node) {
                    if let Some(deal) = Self::measured_deal(id, slot) {
                        Self::count_up(id, deal, slot);
                    }
                }
            }
            Verdict::Conflict => {
                for id in DealsOfNode::<T>::get(node) {
                    if Self::measured_deal(id, slot).is_some() {
                        MarksOf::<T>::mutate(id, |marks| marks.conflict(slot));
                    }
                }
            }
            // Neither extends nor resets a run; the counters keep such slots from being billed.
            Verdict::Unknown => {}
        }
    }

    fn slot_closed(slot: Slot, budget: u32) -> SlotWork {
        let mut used: u32 = 0;
        loop {
            let start = first(Starts::<T>::iter_keys(), slot);
            let Some((id, starts)) =
                start.map(|id| (id, true)).or_else(|| first(Ends::<T>::iter_keys(), slot).map(|id| (id, false)))
            else {
                return SlotWork { used, done: true };
            };
            if used >= budget {
                return SlotWork { used, done: false };
            }
            if starts {
                Self::start(id, slot);
            } else {
                Self::pass_milestone(id, slot);
            }
            used = used.saturating_add(1);
        }
    }

    fn next_slot_with_work(after: Slot) -> Option<Slot> {
        let start = Starts::<T>::iter_keys().next().map(|key| split_queue_key(key).0);
        let end = Ends::<T>::iter_keys().next().map(|key| split_queue_key(key).0);
        // Work of slots that have closed stops the closing of further slots at once.
        start.into_iter().chain(end).min().map(|slot| slot.max(after.saturating_add(1)))
    }
}

/// The deal at the head of an ordered queue, if its slot has come.
fn first(mut keys: impl Iterator<Item = [u8; 16]>, slot: Slot) -> Option<DealId> {
    keys.next().map(split_queue_key).filter(|(due, _)| *due <= slot).map(|(_, id)| id)
}

impl<T: Config> Pallet<T> {
    /// The deal, if this slot is one of those that it bills.
    fn measured_deal(id: DealId, slot: Slot) -> Option<Deal<T::AccountId>> {
        Deals::<T>::get(id).filter(|deal| {
            deal.state.is_running()
                && deal
                    .run
                    .as_ref()
                    .is_some_and(|run| run.start.is_some() && run.confirmed_slot < slot && slot <= run.end_slot)
        })
    }

    /// A DOWN verdict inside a running deal.
    fn count_down(
        id: DealId,
        mut deal: Deal<T::AccountId>,
        slot: Slot,
        down_reporters: &[u8],
        validators: u32,
        announced: bool,
    ) {
        // The deal ended with the last affordable slot, whether or not the janitor has come by.
        if Self::is_exhausted(id, &deal) {
            let ending = Ending { has_late_down: true, ..Ending::at(slot, CloseReason::DepositExhausted) };
            Self::freeze(id, &mut deal, ending);
            return Self::hand_to_janitor(id, deal);
        }
        if announced && Self::excuse(id, &deal, slot) {
            return;
        }
        let mut suspicion = Suspicions::<T>::get(id).unwrap_or_default();
        suspicion.add(slot, down_reporters, validators);
        let fail_run_slots = deal.run.as_ref().map_or(u32::MAX, |run| run.terms.fail_run_slots);
        let run = suspicion.run;
        Self::deposit_event(Event::DealSuspect { deal: id, slot, run });
        if suspicion.is_proven(fail_run_slots) {
            let step = Self::ladder_step(&deal.provider, &deal.node, slot);
            let ending = Ending {
                ladder_step: Some(step),
                evidence: Some(suspicion),
                ..Ending::at(slot, CloseReason::NodeDown)
            };
            Self::freeze(id, &mut deal, ending);
            return Self::hand_to_janitor(id, deal);
        }
        Suspicions::<T>::insert(id, suspicion);
        if deal.state != DealState::Suspect {
            deal.state = DealState::Suspect;
            Deals::<T>::insert(id, deal);
        }
    }

    /// An UP verdict inside a running deal.
    fn count_up(id: DealId, mut deal: Deal<T::AccountId>, slot: Slot) {
        if deal.state == DealState::Suspect {
            Suspicions::<T>::remove(id);
            deal.state = Self::undoubted(&deal, DealState::Active);
            Deals::<T>::insert(id, deal);
            Self::deposit_event(Event::DealRecovered { deal: id, slot });
        }
    }

    /// The confirmation's slot has closed: from here on slots count.
    fn start(id: DealId, slot: Slot) {
        let Some(mut deal) = Deals::<T>::get(id) else {
            tracing::error!(target: "x0::market", id, "a deal that does not exist was to start");
            return Self::drop_start(id, slot);
        };
        Self::drop_start(id, deal.run.as_ref().map_or(slot, |run| run.confirmed_slot));
        let counters = T::Meter::counters(&deal.node);
        match (counters, deal.run.as_mut()) {
            (Some(counters), Some(run)) => {
                run.start = Some(counters);
                run.window.opened = Some(counters);
                Deals::<T>::insert(id, deal);
                Self::deposit_event(Event::DealStarted { deal: id, slot });
            }
            _ => {
                tracing::error!(target: "x0::market", id, "a deal's node is not measured");
                Self::freeze(id, &mut deal, Ending::at(slot, CloseReason::NotMeasured));
                Self::hand_to_janitor(id, deal);
            }
        }
    }

    fn drop_start(id: DealId, slot: Slot) {
        Starts::<T>::remove(x0_types::deal::queue_key(slot, id));
    }

    /// Stores a frozen deal; the janitor pays it in the next block.
    pub(crate) fn hand_to_janitor(id: DealId, deal: Deal<T::AccountId>) {
        Deals::<T>::insert(id, deal);
        T::Queue::wake_next_block(id);
    }
}

impl<T: Config> DealWorker for Pallet<T> {
    fn work(id: DealId) -> Result<DealProgress, DispatchError> {
        let Some(deal) = Deals::<T>::get(id) else {
            return match Requests::<T>::get(id) {
                Some(request) => Self::expire_request(id, request),
                None => Ok(DealProgress::Terminal),
            };
        };
        match deal.state {
            DealState::Funded if T::Meter::current_slot() <= deal.confirm_by_slot => {
                return Ok(DealProgress::NotBefore(deal.confirm_by_slot.saturating_add(1)));
            }
            DealState::Funded => Self::end_now(id, deal, CloseReason::NotConfirmed)?,
            DealState::Active | DealState::Suspect | DealState::Reclaiming => {
                if !Self::is_exhausted(id, &deal) {
                    let good_slots = Self::good_slots(id, &deal);
                    return Ok(DealProgress::NotBefore(Self::watch_slot(&deal, good_slots)));
                }
                Self::end_now(id, deal, CloseReason::DepositExhausted)?;
            }
            DealState::Frozen | DealState::Disputed => return Self::work_fixed(id, deal),
            DealState::Requested
            | DealState::Bidding
            | DealState::Completed
            | DealState::Cancelled
            | DealState::Exhausted
            | DealState::Failed
            | DealState::Expired
            | DealState::Reclaimed
            | DealState::Resolved => {}
        }
        Ok(DealProgress::Terminal)
    }

    fn reason(id: DealId) -> Option<Vec<u8>> {
        let frozen = Deals::<T>::get(id)?.frozen?;
        Some(frozen.reason.name().as_bytes().to_vec())
    }
}
