//! Round trip and throughput: what deals promise of them, and what happens when validators together
//! found the promise broken.

use x0_types::{
    deal::CloseReason,
    market::{DealId, Meter as _, SlaBreach, SlaObserver, SlaPromise, Slot},
};

use crate::{Config, Deals, Event, Pallet, life::Ending};

impl<T: Config> SlaObserver<T::AccountId> for Pallet<T> {
    fn promise(id: DealId) -> Option<SlaPromise<T::AccountId>> {
        let deal = Deals::<T>::get(id).filter(|deal| deal.state.is_running())?;
        let run = deal.run.as_ref().filter(|run| run.start.is_some())?;
        let first_slot = run.confirmed_slot.saturating_add(1);
        let promised = deal.sla.round_trip_ms_max > 0 || deal.sla.throughput_kbps_min > 0;
        promised.then_some(SlaPromise {
            node: deal.node,
            provider: deal.provider,
            renter: deal.renter,
            round_trip_ms_max: deal.sla.round_trip_ms_max,
            throughput_kbps_min: deal.sla.throughput_kbps_min,
            first_slot,
        })
    }

    fn broken(id: DealId, first: Slot, last: Slot, breach: SlaBreach) {
        // A deal that is over keeps the end it has: a finding that comes late changes no payout.
        let Some(mut deal) = Deals::<T>::get(id).filter(|deal| deal.state.is_running() && breach.any()) else { return };
        let slot = T::Meter::closed_slot();
        let ending = if Self::is_exhausted(id, &deal) {
            Ending::at(slot, CloseReason::DepositExhausted)
        } else {
            let step = Self::ladder_step(&deal.provider, &deal.node, slot);
            Ending { ladder_step: Some(step), ..Ending::at(slot, CloseReason::ServiceMissed) }
        };
        Self::deposit_event(Event::PromiseBroken { deal: id, first, last, breach });
        Self::freeze(id, &mut deal, ending);
        Self::hand_to_janitor(id, deal);
    }
}
