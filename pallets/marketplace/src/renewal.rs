//! Keeping a deal going: top-ups by anybody, and renewals from the renter's spending limit.

use frame_support::ensure;
use pallet_x0_escrow::Ledgers;
use sp_runtime::DispatchResult;
use x0_accounting::renewal_need;
use x0_types::{
    Balance,
    deal::{DealState, ListingState},
    market::{DealId, Slot},
};

use crate::{Config, Deal, Deals, Error, Event, Listings, Pallet, Period};

type Escrow<T> = pallet_x0_escrow::Pallet<T>;

impl<T: Config> Pallet<T> {
    /// Adds to the deposit of a running deal. The janitor's entry stays where it is: it looks again at
    /// the old deadline and moves to the new one.
    pub(crate) fn do_top_up(payer: &T::AccountId, id: DealId, amount: Balance) -> DispatchResult {
        let mut deal = Self::running(id)?;
        let deposit = deal.deposit.checked_add(amount).ok_or(Error::<T>::Overflow)?;
        let (before, after) = (deal.rate.affordable_slots(deal.deposit), deal.rate.affordable_slots(deposit));
        ensure!(after > before, Error::<T>::TopUpTooSmall);
        Escrow::<T>::top_up(id, payer, amount)?;
        deal.deposit = deposit;
        Deals::<T>::insert(id, deal);
        Self::deposit_event(Event::DealToppedUp { deal: id, payer: payer.clone(), amount, affordable_slots: after });
        Ok(())
    }

    /// Sets what the renter allows to be spent on renewals. It is held; each renewal takes from it what
    /// the next term needs, and what is left comes back at the end. What the present term still lacks
    /// is taken at once, so that a deal with a limit never stops for want of money.
    pub(crate) fn do_set_renewal(renter: &T::AccountId, id: DealId, limit: Balance) -> DispatchResult {
        let mut deal = Self::running(id)?;
        ensure!(deal.renter == *renter, Error::<T>::NotRenter);
        ensure!(deal.sla.renewal || limit == 0, Error::<T>::RenewalNotAgreed);
        Escrow::<T>::set_reserve(id, limit)?;
        let run = deal.run.as_ref().ok_or(Error::<T>::NotRunning)?;
        let lacking = renewal_need(deal.deposit, &deal.rate, 0, run.reachable_slots()).ok_or(Error::<T>::Overflow)?;
        let drawn = lacking.min(limit);
        if drawn > 0 {
            Escrow::<T>::draw(id, drawn)?;
            deal.deposit = deal.deposit.checked_add(drawn).ok_or(Error::<T>::Overflow)?;
            Deals::<T>::insert(id, deal);
        }
        Self::deposit_event(Event::RenewalSet { deal: id, limit: limit.saturating_sub(drawn) });
        Ok(())
    }

    /// Begins a further term when a deal's last slot has closed, if both sides still want it and the
    /// limit pays for all of it. Says whether it did.
    pub(crate) fn renew(id: DealId, deal: &mut Deal<T::AccountId>, slot: Slot) -> bool {
        let reserve = Ledgers::<T>::get(id).map_or(0, |ledger| ledger.reserve);
        let wanted = deal.sla.renewal && reserve > 0 && deal.state == DealState::Active;
        let offered = Listings::<T>::get(deal.source.listing).is_some_and(|listing| {
            listing.state == ListingState::Open && Self::ensure_live(&deal.node, &deal.provider).is_ok()
        });
        if !wanted || !offered {
            return false;
        }
        let good_before = Self::good_slots(id, deal);
        let Some(need) = renewal_need(deal.deposit, &deal.rate, good_before, deal.term_slots) else { return false };
        let (Some(deposit), Some(end_slot)) = (deal.deposit.checked_add(need), slot.checked_add(deal.term_slots))
        else {
            return false;
        };
        // A limit that does not pay for the whole term ends the deal as its term does.
        if need > reserve || Escrow::<T>::draw(id, need).is_err() {
            return false;
        }
        deal.deposit = deposit;
        if let Some(run) = deal.run.as_mut() {
            let renewals = run.period.renewals.saturating_add(1);
            run.end_slot = end_slot;
            run.period = Period { since_slot: slot, good_before, renewals };
            Self::deposit_event(Event::DealRenewed { deal: id, end_slot, amount: need, renewals });
        }
        true
    }
}
