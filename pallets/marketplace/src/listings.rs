//! The life of a listing: Open or Paused, Draining, gone.

use frame_support::{
    ensure,
    traits::{
        Get as _,
        fungible::{Inspect as _, MutateHold as _},
        tokens::{Fortitude, Precision, Preservation},
    },
};
use sp_runtime::DispatchResult;
use x0_types::{
    KeyRole,
    deal::{Capacity, Listing, ListingState, Offer},
    market::{Identities as _, ListingId, Meter as _},
    trust::{SuspensionListener, TrustSource as _},
};

use crate::{Config, Error, Event, HoldReason, ListingCount, ListingOf, Listings, NextListing, Pallet};

type Currency<T> = <T as pallet_x0_escrow::Config>::Currency;

impl<T: Config> Pallet<T> {
    pub(crate) fn do_list(provider: T::AccountId, node: T::AccountId, offer: Offer) -> DispatchResult {
        Self::ensure_valid(&offer)?;
        Self::ensure_live(&node, &provider)?;
        ensure!(!ListingOf::<T>::contains_key(&node), Error::<T>::NodeListed);
        let count = ListingCount::<T>::get(&provider);
        ensure!(count < x0_limits::LISTINGS_PER_PROVIDER_MAX, Error::<T>::TooManyListings);

        let storage_deposit = T::ListingDeposit::get();
        // The existential deposit stays free, so that the provider can be paid while it is listed.
        let spare = Currency::<T>::reducible_balance(&provider, Preservation::Preserve, Fortitude::Polite);
        ensure!(storage_deposit <= spare, Error::<T>::ListingDepositNotCovered);
        Currency::<T>::hold(&HoldReason::Listing.into(), &provider, storage_deposit)?;
        T::Meter::enrol(&node, &provider)?;

        let listing = NextListing::<T>::get();
        NextListing::<T>::put(listing.checked_add(1).ok_or(Error::<T>::Overflow)?);
        ListingCount::<T>::insert(&provider, count.saturating_add(1));
        ListingOf::<T>::insert(&node, listing);
        Listings::<T>::insert(
            listing,
            Listing {
                provider: provider.clone(),
                node: node.clone(),
                version: 0,
                offer,
                state: ListingState::Open,
                reserved: Capacity::default(),
                pledged: Capacity::default(),
                pledged_deals: 0,
                funded_deals: 0,
                confirmed_deals: 0,
                storage_deposit,
                since_slot: T::Meter::current_slot(),
            },
        );
        Self::deposit_event(Event::Listed { listing, provider, node });
        Ok(())
    }

    pub(crate) fn do_update(provider: &T::AccountId, id: ListingId, offer: Offer) -> DispatchResult {
        Self::ensure_valid(&offer)?;
        let mut listing = Self::listing_of(provider, id)?;
        ensure!(listing.state != ListingState::Draining, Error::<T>::ListingRetired);
        let taken = listing.taken().ok_or(Error::<T>::Overflow)?;
        ensure!(taken.fits(&offer.capacity), Error::<T>::CapacityInUse);
        listing.offer = offer;
        listing.version = listing.version.checked_add(1).ok_or(Error::<T>::Overflow)?;
        let version = listing.version;
        Listings::<T>::insert(id, listing);
        Self::deposit_event(Event::ListingUpdated { listing: id, version });
        Ok(())
    }

    pub(crate) fn do_retire(provider: &T::AccountId, id: ListingId) -> DispatchResult {
        let mut listing = Self::listing_of(provider, id)?;
        ensure!(listing.state != ListingState::Draining, Error::<T>::ListingRetired);
        listing.state = ListingState::Draining;
        Self::deposit_event(Event::ListingRetired { listing: id });
        Self::store_or_close(id, listing)
    }

    /// Stores a listing, or closes it when it is retired and has no deal left.
    pub(crate) fn store_or_close(id: ListingId, listing: Listing<T::AccountId>) -> DispatchResult {
        let drained = listing.funded_deals == 0 && listing.confirmed_deals == 0 && listing.pledged_deals == 0;
        if listing.state != ListingState::Draining || !drained {
            Listings::<T>::insert(id, listing);
            return Ok(());
        }
        Currency::<T>::release(
            &HoldReason::Listing.into(),
            &listing.provider,
            listing.storage_deposit,
            Precision::Exact,
        )?;
        T::Meter::dismiss(&listing.node);
        crate::Calendars::<T>::remove(&listing.node);
        Listings::<T>::remove(id);
        ListingOf::<T>::remove(&listing.node);
        ListingCount::<T>::mutate_exists(&listing.provider, |count| {
            *count = count.and_then(|count| count.checked_sub(1)).filter(|count| *count > 0);
        });
        Self::deposit_event(Event::ListingClosed { listing: id });
        Ok(())
    }

    /// The node is a live agent that this provider controls: no new deals on any other.
    pub(crate) fn ensure_live(node: &T::AccountId, provider: &T::AccountId) -> DispatchResult {
        ensure!(
            node != provider
                && T::Identities::controller(node).as_ref() == Some(provider)
                && T::Identities::has_key(node, KeyRole::Agent),
            Error::<T>::NodeNotLive
        );
        Ok(())
    }

    pub(crate) fn listing_of(provider: &T::AccountId, id: ListingId) -> Result<Listing<T::AccountId>, Error<T>> {
        let listing = Listings::<T>::get(id).ok_or(Error::<T>::UnknownListing)?;
        ensure!(listing.provider == *provider, Error::<T>::NotProvider);
        Ok(listing)
    }

    fn ensure_valid(offer: &Offer) -> DispatchResult {
        ensure!(offer.price.is_valid(), Error::<T>::InvalidPrice);
        ensure!(offer.capacity.is_positive(), Error::<T>::InvalidCapacity);
        ensure!(
            !offer.region.is_empty() && offer.region.iter().all(|byte| (0x20..0x7f).contains(byte)),
            Error::<T>::InvalidRegion
        );
        ensure!(
            x0_limits::DEAL_TERM_SLOTS_MIN <= offer.term_min_slots
                && offer.term_min_slots <= offer.term_max_slots
                && offer.term_max_slots <= x0_limits::DEAL_TERM_SLOTS_MAX,
            Error::<T>::InvalidTerm
        );
        ensure!(offer.price.amount_ceil(offer.term_min_slots).is_some(), Error::<T>::PriceTooHigh);
        ensure!(offer.bond >= T::BondMin::get(), Error::<T>::BondTooSmall);
        ensure!(offer.attributes.is_valid(), Error::<T>::InvalidAttributes);
        ensure!(offer.sla.is_valid(), Error::<T>::InvalidSla);
        ensure!(x0_accounting::price::is_curve(&offer.congestion), Error::<T>::InvalidCongestion);
        Ok(())
    }

    /// Brings a listing's state in line with what the trust module says of its node now.
    pub(crate) fn do_refresh(id: ListingId) -> DispatchResult {
        let mut listing = Listings::<T>::get(id).ok_or(Error::<T>::UnknownListing)?;
        if Self::follow_trust(id, &mut listing) {
            Listings::<T>::insert(id, listing);
        }
        Ok(())
    }

    /// Pauses the listing of a suspended node, and opens it when the node has recovered. Whether anything
    /// changed; the caller stores it.
    pub(crate) fn follow_trust(id: ListingId, listing: &mut Listing<T::AccountId>) -> bool {
        let suspended = T::Trust::reading(&listing.node).suspended;
        match (listing.state, suspended) {
            (ListingState::Open, true) => {
                listing.state = ListingState::Paused;
                Self::deposit_event(Event::ListingPaused { listing: id });
            }
            (ListingState::Paused, false) => {
                listing.state = ListingState::Open;
                Self::deposit_event(Event::ListingResumed { listing: id });
            }
            (ListingState::Open | ListingState::Paused | ListingState::Draining, _) => return false,
        }
        true
    }

    /// A deal is confirmed: its capacity is taken.
    pub(crate) fn reserve(id: ListingId, listing: &mut Listing<T::AccountId>, part: &Capacity) -> DispatchResult {
        listing.confirmed_deals = listing.confirmed_deals.checked_add(1).ok_or(Error::<T>::Overflow)?;
        listing.reserved = listing.reserved.checked_add(part).ok_or(Error::<T>::Overflow)?;
        Self::tell_free(id, listing);
        Ok(())
    }

    /// A confirmed deal is over: its capacity is free.
    pub(crate) fn unreserve(id: ListingId, listing: &mut Listing<T::AccountId>, part: &Capacity) -> DispatchResult {
        listing.confirmed_deals = listing.confirmed_deals.checked_sub(1).ok_or(Error::<T>::Overflow)?;
        listing.reserved = listing.reserved.checked_sub(part).ok_or(Error::<T>::Overflow)?;
        Self::tell_free(id, listing);
        Ok(())
    }

    /// A bid stands: its capacity is kept for it.
    pub(crate) fn pledge(id: ListingId, listing: &mut Listing<T::AccountId>, part: &Capacity) -> DispatchResult {
        listing.pledged_deals = listing.pledged_deals.checked_add(1).ok_or(Error::<T>::Overflow)?;
        listing.pledged = listing.pledged.checked_add(part).ok_or(Error::<T>::Overflow)?;
        Self::tell_free(id, listing);
        Ok(())
    }

    /// A bid stands no more: nothing is kept for it.
    pub(crate) fn unpledge(id: ListingId, listing: &mut Listing<T::AccountId>, part: &Capacity) -> DispatchResult {
        listing.pledged_deals = listing.pledged_deals.checked_sub(1).ok_or(Error::<T>::Overflow)?;
        listing.pledged = listing.pledged.checked_sub(part).ok_or(Error::<T>::Overflow)?;
        Self::tell_free(id, listing);
        Ok(())
    }

    /// For those who keep an index of the listings: state changes are events of their own.
    fn tell_free(id: ListingId, listing: &Listing<T::AccountId>) {
        Self::deposit_event(Event::FreeCapacityChanged { listing: id, free: listing.free() });
    }
}

impl<T: Config> SuspensionListener<T::AccountId> for Pallet<T> {
    fn suspension_changed(node: &T::AccountId) {
        // A node without a listing is none of the market's business.
        if let Some(id) = ListingOf::<T>::get(node)
            && let Err(error) = Self::do_refresh(id)
        {
            tracing::error!(target: "x0::market", id, ?error, "a listed node has no listing");
        }
    }
}
