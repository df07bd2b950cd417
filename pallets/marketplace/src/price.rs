//! What a part of a listing costs now.

use frame_support::traits::Get as _;
use x0_accounting::price::{congestion_factor_ppm, occupancy_ppm, price};
use x0_types::{
    deal::{Capacity, Listing, Quote, mul_div_ceil},
    market::ListingId,
};

use crate::{Config, Error, Listings, Pallet, Prices};

impl<T: Config> Pallet<T> {
    /// What this capacity of a listing costs at this block: the value by which [`Pallet::rent`] decides.
    /// `None` for an unknown listing, a capacity outside the listing's, or a price that does not fit.
    #[must_use]
    pub fn quote(listing: ListingId, capacity: &Capacity) -> Option<Quote> {
        let listing = Listings::<T>::get(listing)?;
        if !capacity.is_positive() || !capacity.fits(&listing.offer.capacity) {
            return None;
        }
        Self::quote_of(&listing, capacity).ok()
    }

    /// List price times the share of the capacity, the network's factor and the factor of the listing's
    /// congestion curve at the occupancy before this deal: the larger one of bandwidth and sessions.
    pub(crate) fn quote_of(listing: &Listing<T::AccountId>, capacity: &Capacity) -> Result<Quote, Error<T>> {
        let offer = &listing.offer;
        let taken = listing.taken().ok_or(Error::<T>::Overflow)?;
        let occupancy = occupancy_ppm(taken.bandwidth_kbps, offer.capacity.bandwidth_kbps)
            .max(occupancy_ppm(taken.sessions, offer.capacity.sessions));
        let congestion_ppm = congestion_factor_ppm(&offer.congestion, occupancy);
        let factor_ppm = Prices::<T>::get().factor_ppm;
        let (part, whole) = (capacity.bandwidth_kbps, offer.capacity.bandwidth_kbps);
        let rate = price(&offer.price, part, whole, &[factor_ppm, congestion_ppm]).ok_or(Error::<T>::PriceTooHigh)?;
        let least = rate.amount_ceil(offer.term_min_slots).ok_or(Error::<T>::PriceTooHigh)?;
        Ok(Quote {
            version: listing.version,
            rate,
            factor_ppm,
            congestion_ppm,
            deposit_min: least.max(T::DealDepositMin::get()),
            // Ceiled, in favour of the renter whom the bond protects.
            bond: mul_div_ceil(offer.bond, part.into(), whole.into()).ok_or(Error::<T>::Overflow)?,
        })
    }
}
