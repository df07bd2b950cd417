//! Blocklists, and what became of the deals of an account.

use frame_support::{
    ensure,
    traits::{
        Get as _,
        fungible::{Inspect as _, MutateHold as _},
        tokens::{Fortitude, Precision, Preservation},
    },
};
use sp_runtime::DispatchResult;
use x0_types::deal::{DealState, Reputation};

use crate::{Blocked, Blocklists, Config, Deal, Error, Event, HoldReason, Pallet, Reputations};

type Currency<T> = <T as pallet_x0_escrow::Config>::Currency;

impl<T: Config> Pallet<T> {
    pub(crate) fn do_block(who: T::AccountId, account: T::AccountId) -> DispatchResult {
        ensure!(who != account, Error::<T>::SelfDealing);
        let mut list = Blocklists::<T>::get(&who);
        ensure!(list.iter().all(|entry| entry.account != account), Error::<T>::NothingChanged);
        let deposit = T::BlockDeposit::get();
        let spare = Currency::<T>::reducible_balance(&who, Preservation::Preserve, Fortitude::Polite);
        ensure!(deposit <= spare, Error::<T>::BlockDepositNotCovered);
        list.try_push(Blocked { account: account.clone(), deposit }).map_err(|_| Error::<T>::TooManyBlocked)?;
        Currency::<T>::hold(&HoldReason::Blocklist.into(), &who, deposit)?;
        Blocklists::<T>::insert(&who, list);
        Self::deposit_event(Event::AccountBlocked { who, account });
        Ok(())
    }

    pub(crate) fn do_unblock(who: T::AccountId, account: T::AccountId) -> DispatchResult {
        let mut list = Blocklists::<T>::get(&who);
        let place = list.iter().position(|entry| entry.account == account).ok_or(Error::<T>::NothingChanged)?;
        let entry = list.remove(place);
        Currency::<T>::release(&HoldReason::Blocklist.into(), &who, entry.deposit, Precision::Exact)?;
        if list.is_empty() {
            Blocklists::<T>::remove(&who);
        } else {
            Blocklists::<T>::insert(&who, list);
        }
        Self::deposit_event(Event::AccountUnblocked { who, account });
        Ok(())
    }

    /// Counts a confirmed deal that has ended for both parties.
    pub(crate) fn count_end(deal: &Deal<T::AccountId>) {
        let counts = deal.frozen.as_ref().map(|frozen| frozen.counts).unwrap_or_default();
        let good_slots = deal.outcome.map_or(0, |outcome| outcome.good_slots);
        Self::count(deal, |reputation| {
            let counter = match deal.state {
                DealState::Completed | DealState::Exhausted => Some(&mut reputation.completed),
                DealState::Cancelled => Some(&mut reputation.cancelled),
                DealState::Failed => Some(&mut reputation.failed),
                DealState::Resolved if deal.outcome.is_some_and(|outcome| outcome.slash > 0) => {
                    Some(&mut reputation.failed)
                }
                DealState::Resolved | DealState::Reclaimed => Some(&mut reputation.completed),
                _ => None,
            };
            if let Some(counter) = counter {
                *counter = counter.saturating_add(1);
            }
            reputation.good_slots = reputation.good_slots.saturating_add(good_slots);
            reputation.bad_slots = reputation.bad_slots.saturating_add(counts.bad);
        });
    }

    /// Changes the counters of both parties of a deal.
    pub(crate) fn count(deal: &Deal<T::AccountId>, change: impl Fn(&mut Reputation)) {
        for account in [&deal.provider, &deal.renter] {
            Reputations::<T>::mutate(account, &change);
        }
    }
}
