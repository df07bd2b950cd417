//! Owners, epochs and who may vote.

use crate::{
    AccountList, Clock, Config, Counts, Error, Event, GenesisOwner, HoldReason, NextOwner, Owner, OwnerOf, Owners,
    Pallet, Revocation, VoterCounts,
};
use frame_support::{
    ensure,
    pallet_prelude::DispatchResult,
    traits::{fungible::MutateHold, tokens::Precision},
};
use sp_runtime::SaturatedConversion;
use std::collections::BTreeSet;
use x0_types::{
    AccountId, Balance, Hash,
    governance::{Electorate, EpochIndex, OwnerId, OwnerRegistry},
    market::Meter,
};

impl<T: Config> Pallet<T> {
    /// Whether epochs may be this long.
    pub(crate) fn is_epoch_length(slots: u64) -> bool {
        (x0_limits::VOTE_EPOCH_SLOTS_MIN..=x0_limits::VOTE_EPOCH_SLOTS_MAX).contains(&slots)
    }

    pub(crate) fn live(owner: OwnerId) -> Result<Owner, Error<T>> {
        Owners::<T>::get(owner).ok_or(Error::<T>::UnknownOwner)
    }

    /// Accounts are named once, and belong to nobody but this owner.
    pub(crate) fn check_accounts(owner: Option<OwnerId>, accounts: &AccountList) -> DispatchResult {
        ensure!(!accounts.is_empty(), Error::<T>::NoAccounts);
        let unique: BTreeSet<&AccountId> = accounts.iter().collect();
        ensure!(unique.len() == accounts.len(), Error::<T>::DuplicateAccount);
        let is_free = |account: &AccountId| OwnerOf::<T>::get(account).is_none_or(|found| Some(found) == owner);
        ensure!(accounts.iter().all(is_free), Error::<T>::AccountTaken);
        Ok(())
    }

    pub(crate) fn admit(accounts: AccountList, evidence: Hash, payer: AccountId, deposit: Balance) -> DispatchResult {
        Self::check_accounts(None, &accounts)?;
        // The rest of this epoch and a whole one lie before the first vote.
        let eligible_from = Clock::<T>::get().index.checked_add(2).ok_or(Error::<T>::Overflow)?;
        Self::insert_owner(accounts, evidence, (payer, deposit), eligible_from)
    }

    fn insert_owner(
        accounts: AccountList,
        evidence: Hash,
        (payer, deposit): (AccountId, Balance),
        eligible_from: EpochIndex,
    ) -> DispatchResult {
        let owner = NextOwner::<T>::get();
        NextOwner::<T>::put(owner.checked_add(1).ok_or(Error::<T>::Overflow)?);
        for account in &accounts {
            OwnerOf::<T>::insert(account, owner);
        }
        let since = T::Meter::current_slot();
        Owners::<T>::insert(owner, Owner { accounts, evidence, since, eligible_from, revoked: None, payer, deposit });
        Self::count(eligible_from, true)?;
        Self::deposit_event(Event::OwnerRegistered { owner, eligible_from });
        Ok(())
    }

    pub(crate) fn change_accounts(number: OwnerId, accounts: AccountList, evidence: Hash) -> DispatchResult {
        let mut owner = Self::live(number)?;
        ensure!(owner.revoked.is_none(), Error::<T>::Revoked);
        Self::check_accounts(Some(number), &accounts)?;
        for account in &owner.accounts {
            OwnerOf::<T>::remove(account);
        }
        for account in &accounts {
            OwnerOf::<T>::insert(account, number);
        }
        owner.accounts = accounts;
        owner.evidence = evidence;
        Owners::<T>::insert(number, owner);
        Self::deposit_event(Event::AccountsChanged { owner: number });
        Ok(())
    }

    /// Ends an owner's rights. Its record and accounts stay, at nobody's expense: those that validators
    /// attested and revoked are few.
    pub(crate) fn revoke(number: OwnerId, evidence: Hash) -> DispatchResult {
        let mut owner = Self::live(number)?;
        ensure!(owner.revoked.is_none(), Error::<T>::Revoked);
        Self::count(owner.eligible_from, false)?;
        owner.revoked = Some(Revocation { evidence, at: T::Meter::current_slot() });
        if owner.deposit > 0 {
            T::Currency::release(&HoldReason::Owner.into(), &owner.payer, owner.deposit, Precision::BestEffort)?;
        }
        owner.deposit = 0;
        Owners::<T>::insert(number, owner);
        Self::deposit_event(Event::OwnerRevoked { owner: number, evidence });
        Ok(())
    }

    pub(crate) fn do_reinstate(number: OwnerId) -> DispatchResult {
        let mut owner = Self::live(number)?;
        ensure!(owner.revoked.is_some(), Error::<T>::NotRevoked);
        owner.revoked = None;
        // Ballots of this epoch did not count it among those who could vote.
        let next = Clock::<T>::get().index.checked_add(1).ok_or(Error::<T>::Overflow)?;
        owner.eligible_from = owner.eligible_from.max(next);
        let eligible_from = owner.eligible_from;
        Self::count(eligible_from, true)?;
        Owners::<T>::insert(number, owner);
        Self::deposit_event(Event::OwnerReinstated { owner: number, eligible_from });
        Ok(())
    }

    /// Counts an owner in or out where its first epoch puts it.
    fn count(eligible_from: EpochIndex, comes: bool) -> DispatchResult {
        let ahead = eligible_from.saturating_sub(Clock::<T>::get().index);
        VoterCounts::<T>::try_mutate(|counts| {
            let place = match ahead {
                0 => &mut counts.now,
                1 => &mut counts.next,
                _ => &mut counts.after_next,
            };
            *place = if comes { place.checked_add(1) } else { place.checked_sub(1) }.ok_or(Error::<T>::Overflow)?;
            Ok(())
        })
    }

    /// Moves the clock to the epoch of this slot, also over several epochs at once.
    pub(crate) fn begin_epochs() {
        let mut clock = Clock::<T>::get();
        let passed = T::Meter::current_slot().saturating_sub(clock.start).checked_div(clock.slots).unwrap_or(0);
        if passed == 0 {
            return;
        }
        clock.index = clock.index.saturating_add(passed.saturated_into());
        clock.start = clock.start.saturating_add(passed.saturating_mul(clock.slots));
        Clock::<T>::put(clock);
        let counts = VoterCounts::<T>::mutate(|counts| {
            let Counts { now, next, after_next } = *counts;
            let now = now.saturating_add(next);
            *counts = if passed == 1 {
                Counts { now, next: after_next, after_next: 0 }
            } else {
                Counts { now: now.saturating_add(after_next), next: 0, after_next: 0 }
            };
            *counts
        });
        Self::deposit_event(Event::EpochBegan { epoch: clock.index, voters: counts.now });
    }

    pub(crate) fn build_owner(owner: &GenesisOwner) {
        let accounts = AccountList::try_from(owner.accounts.clone());
        assert!(accounts.is_ok(), "owners genesis: an owner has more than {} accounts", x0_limits::OWNER_ACCOUNTS_MAX);
        let Ok(accounts) = accounts else { return };
        let checked = Self::check_accounts(None, &accounts);
        assert!(checked.is_ok(), "owners genesis: {checked:?} in {:?}", owner.accounts);
        let Some(payer) = accounts.first().cloned() else { return };
        let inserted = Self::insert_owner(accounts, owner.evidence, (payer, 0), 0);
        assert!(inserted.is_ok(), "owners genesis: {inserted:?}");
    }
}

impl<T: Config> OwnerRegistry<AccountId> for Pallet<T> {
    fn owner_of(account: &AccountId) -> Option<OwnerId> {
        OwnerOf::<T>::get(account)
    }
}

impl<T: Config> Electorate<AccountId> for Pallet<T> {
    fn epoch() -> EpochIndex {
        Clock::<T>::get().index
    }

    fn eligible_from(owner: OwnerId) -> Option<EpochIndex> {
        Owners::<T>::get(owner).filter(|owner| owner.revoked.is_none()).map(|owner| owner.eligible_from)
    }

    fn electorate() -> u32 {
        VoterCounts::<T>::get().now
    }
}
