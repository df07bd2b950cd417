//! Who lets whom vote.

use crate::{Config, Delegates, Delegators, Error, Event, Pallet, Tracks};
use frame_support::{ensure, pallet_prelude::DispatchResult};
use x0_types::{
    AccountId,
    governance::{Electorate, OwnerId, TrackId},
};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_delegate(who: &AccountId, track: TrackId, to: OwnerId) -> DispatchResult {
        let owner = Self::owner(who)?;
        ensure!(Tracks::<T>::contains_key(track), Error::<T>::UnknownTrack);
        ensure!(T::Owners::eligible_from(owner).is_some(), Error::<T>::NotEligible);
        ensure!(owner != to, Error::<T>::SelfDelegation);
        let is_free = !Delegates::<T>::contains_key(track, to) && T::Owners::eligible_from(to).is_some();
        ensure!(is_free, Error::<T>::BadDelegate);
        ensure!(Delegators::<T>::get(track, owner).is_empty(), Error::<T>::HasDelegators);
        if Delegates::<T>::get(track, owner) == Some(to) {
            return Ok(());
        }
        Self::drop_edge(track, owner);
        Delegators::<T>::try_mutate(track, to, |list| list.try_push(owner))
            .map_err(|_| Error::<T>::TooManyDelegators)?;
        Delegates::<T>::insert(track, owner, to);
        Self::deposit_event(Event::Delegated { track, owner, delegate: to });
        Ok(())
    }

    pub(crate) fn do_undelegate(who: &AccountId, track: TrackId) -> DispatchResult {
        let owner = Self::owner(who)?;
        ensure!(Self::drop_edge(track, owner), Error::<T>::NotDelegated);
        Self::deposit_event(Event::Undelegated { track, owner });
        Ok(())
    }

    /// Takes an owner's edge away; says whether there was one.
    fn drop_edge(track: TrackId, owner: OwnerId) -> bool {
        let Some(delegate) = Delegates::<T>::take(track, owner) else { return false };
        Delegators::<T>::mutate_exists(track, delegate, |list| {
            if let Some(kept) = list {
                kept.retain(|one| *one != owner);
                if kept.is_empty() {
                    *list = None;
                }
            }
        });
        true
    }
}
