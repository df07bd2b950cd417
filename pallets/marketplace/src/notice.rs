//! Ending a deal early by agreement: the provider's notice, and what a cancelling renter pays.

use frame_support::ensure;
use sp_runtime::DispatchResult;
use x0_accounting::cancel_notice;
use x0_types::{
    deal::{CloseReason, DealState},
    market::{DealId, DealQueue as _, Meter as _},
};

use crate::{Config, Deal, Deals, Error, Event, Pallet, life::Ending};

impl<T: Config> Pallet<T> {
    /// The provider wants its node back: the deal ends when the agreed notice has run out, and until
    /// then everything stays as it is. The renter may go at any time, without a fee.
    pub(crate) fn do_reclaim(provider: &T::AccountId, id: DealId) -> DispatchResult {
        let mut deal = Self::running(id)?;
        ensure!(deal.provider == *provider, Error::<T>::NotProvider);
        ensure!(deal.sla.notice_slots > 0, Error::<T>::NoticeNotAgreed);
        let current = T::Meter::current_slot();
        let until = current.checked_add(deal.sla.notice_slots).ok_or(Error::<T>::Overflow)?;
        let run = deal.run.as_ref().ok_or(Error::<T>::NotRunning)?;
        ensure!(run.notice_slot.is_none(), Error::<T>::NoticeGiven);
        ensure!(until < run.end_slot, Error::<T>::EndsBefore);
        Self::drop_milestone(id, &deal);
        if let Some(run) = deal.run.as_mut() {
            run.notice_slot = Some(current);
            run.end_slot = until;
        }
        deal.state = Self::undoubted(&deal, deal.state);
        Self::await_milestone(id, &deal);
        T::Queue::wake_at_slot(id, Self::watch_slot(&deal, Self::good_slots(id, &deal)));
        Deals::<T>::insert(id, deal);
        Self::deposit_event(Event::DealReclaiming { deal: id, end_slot: until });
        Ok(())
    }

    /// The state of a running deal whose node is not suspected; a suspected one stays so.
    pub(crate) fn undoubted(deal: &Deal<T::AccountId>, state: DealState) -> DealState {
        let noticed = deal.run.as_ref().is_some_and(|run| run.notice_slot.is_some());
        match state {
            DealState::Suspect => DealState::Suspect,
            _ if noticed => DealState::Reclaiming,
            _ => DealState::Active,
        }
    }

    /// Slots that a cancelling renter pays beyond the good ones: none while the node is suspected or the
    /// provider has given notice itself.
    pub(crate) fn notice_due(deal: &Deal<T::AccountId>, ending: &Ending) -> u64 {
        let Some(run) = deal
            .run
            .as_ref()
            .filter(|_| ending.reason == CloseReason::CancelledByRenter && deal.state == DealState::Active)
        else {
            return 0;
        };
        let left = run.end_slot.saturating_sub(ending.slot.max(run.confirmed_slot));
        cancel_notice(deal.sla.cancel_notice_slots, left)
    }
}
