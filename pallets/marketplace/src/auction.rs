//! Reverse auctions: a renter asks, providers bid below its price, the renter accepts one.
//!
//! A bid binds: its deposit is held and its capacity kept until it loses, or until its deal is confirmed.
//! The janitor returns the bids of a request whose time is over, a few at a time.

use frame_support::{
    ensure,
    traits::{
        Get as _,
        fungible::{Inspect as _, MutateHold as _},
        tokens::{Fortitude, Precision, Preservation, Restriction},
    },
};
use sp_runtime::{DispatchError, DispatchResult};
use x0_accounting::price::is_at_most;
use x0_types::{
    Balance,
    deal::{
        Bid, BidDeposit, Bids, Capacity, CloseReason, Listing, ListingRef, Manifest, Rate, Request, SlaTerms, Wanted,
        mul_div_ceil,
    },
    market::{DealId, DealProgress, DealQueue as _, ListingId, Meter as _, Slot},
};

use crate::{
    AcceptedBids, Config, Deal, Error, Event, HoldReason, Listings, Manifests, Pallet, Prices, Requests,
    acceptance::Agreed,
};

type Currency<T> = <T as pallet_x0_escrow::Config>::Currency;
type Escrow<T> = pallet_x0_escrow::Pallet<T>;

/// What a renter asks for.
pub(crate) struct Asked<AccountId> {
    pub capacity: Capacity,
    pub term_slots: u64,
    pub rate_max: Rate,
    pub deposit: Balance,
    pub wanted: Wanted,
    pub bid_slots: Slot,
    pub manifest: Manifest<AccountId>,
}

impl<T: Config> Pallet<T> {
    pub(crate) fn do_request(renter: T::AccountId, asked: Asked<T::AccountId>) -> DispatchResult {
        let Asked { capacity, term_slots, rate_max, deposit, wanted, bid_slots, manifest } = asked;
        ensure!(capacity.is_positive(), Error::<T>::InvalidCapacity);
        ensure!(
            (x0_limits::DEAL_TERM_SLOTS_MIN..=x0_limits::DEAL_TERM_SLOTS_MAX).contains(&term_slots),
            Error::<T>::InvalidTerm
        );
        ensure!(rate_max.is_valid(), Error::<T>::InvalidPrice);
        ensure!(manifest.is_valid(), Error::<T>::InvalidManifest);
        ensure!(wanted.is_valid(), Error::<T>::InvalidAttributes);
        ensure!(
            (x0_limits::BID_WINDOW_SLOTS_MIN..=x0_limits::BID_WINDOW_SLOTS_MAX).contains(&bid_slots),
            Error::<T>::InvalidBidWindow
        );
        let least = rate_max.amount_ceil(x0_limits::DEAL_TERM_SLOTS_MIN).ok_or(Error::<T>::PriceTooHigh)?;
        ensure!(deposit >= least.max(T::DealDepositMin::get()), Error::<T>::DepositTooSmall);

        let deal = Self::next_deal()?;
        // Until a bid is accepted nobody else has a claim: the renter stands on both sides.
        Escrow::<T>::open(deal, &renter, &renter, deposit, rate_max)?;
        let since_slot = T::Meter::current_slot();
        let bids_until_slot = since_slot.saturating_add(bid_slots);
        let manifest_hash = manifest.hash();
        Manifests::<T>::insert(deal, manifest);
        T::Queue::wake_at_slot(deal, bids_until_slot.saturating_add(1));
        Requests::<T>::insert(
            deal,
            Request {
                renter: renter.clone(),
                capacity,
                term_slots,
                rate_max,
                deposit,
                wanted,
                manifest_hash,
                since_slot,
                bids_until_slot,
                next_bid: 0,
                bids: Bids::new(),
            },
        );
        Self::deposit_event(Event::DealRequested { deal, renter, deposit, rate_max, manifest_hash, bids_until_slot });
        Ok(())
    }

    pub(crate) fn do_bid(
        provider: T::AccountId,
        id: DealId,
        listing_id: ListingId,
        rate: Rate,
        notice_slots: Slot,
    ) -> DispatchResult {
        let mut request = Self::open_request(id)?;
        let mut listing = Self::listing_of(&provider, listing_id)?;
        Self::ensure_takes_deals(listing_id, &mut listing)?;
        Self::ensure_live(&listing.node, &provider)?;
        Self::ensure_parties(&request.renter, &listing)?;
        let sla = SlaTerms { notice_slots, ..listing.offer.sla };
        Self::ensure_wanted(&request, &listing, &sla, &rate)?;

        let number = request.next_bid;
        request.next_bid = number.checked_add(1).ok_or(Error::<T>::Overflow)?;
        let deposit = match request.bids.iter().position(|bid| bid.source.listing == listing_id) {
            Some(place) => {
                // A lower bid takes the place of the listing's own: deposit and capacity stay held.
                let old = request.bids.remove(place);
                ensure!(!is_at_most(&old.rate, &rate), Error::<T>::BidNotLower);
                old.deposit
            }
            None => {
                Self::ensure_free(&listing, &request.capacity)?;
                Self::make_room(id, &mut request, &rate)?;
                let deposit = Prices::<T>::get().bid_deposit;
                Self::hold_bid(&provider, deposit)?;
                Self::pledge(listing_id, &mut listing, &request.capacity)?;
                deposit
            }
        };
        let (part, whole) = (request.capacity.bandwidth_kbps, listing.offer.capacity.bandwidth_kbps);
        let bond = mul_div_ceil(listing.offer.bond, part.into(), whole.into()).ok_or(Error::<T>::Overflow)?;
        let bid = Bid {
            number,
            provider: provider.clone(),
            node: listing.node.clone(),
            source: ListingRef { listing: listing_id, version: listing.version },
            rate,
            bond,
            sla,
            deposit,
        };
        request.bids.try_push(bid).map_err(|_| Error::<T>::TooManyBids)?;
        Listings::<T>::insert(listing_id, listing);
        Requests::<T>::insert(id, request);
        Self::deposit_event(Event::BidPlaced {
            deal: id,
            bid: number,
            provider,
            listing: listing_id,
            rate,
            notice_slots,
        });
        Ok(())
    }

    pub(crate) fn do_accept(renter: &T::AccountId, id: DealId, number: u32) -> DispatchResult {
        let mut request = Self::open_request(id)?;
        ensure!(request.renter == *renter, Error::<T>::NotRenter);
        let place = request.bids.iter().position(|bid| bid.number == number).ok_or(Error::<T>::UnknownBid)?;
        let bid = request.bids.remove(place);
        for loser in core::mem::take(&mut request.bids) {
            Self::return_bid(id, &request.capacity, loser)?;
        }
        let mut listing = Listings::<T>::get(bid.source.listing).ok_or(Error::<T>::UnknownListing)?;
        Self::ensure_takes_deals(bid.source.listing, &mut listing)?;
        Self::ensure_live(&bid.node, &bid.provider)?;
        Self::ensure_parties(renter, &listing)?;
        Escrow::<T>::assign(id, &bid.provider, bid.rate)?;
        Requests::<T>::remove(id);
        AcceptedBids::<T>::insert(id, BidDeposit { provider: bid.provider.clone(), amount: bid.deposit });
        Self::deposit_event(Event::BidAccepted { deal: id, bid: number, provider: bid.provider.clone() });
        let agreed = Agreed {
            source: bid.source,
            renter: request.renter,
            provider: bid.provider,
            node: bid.node,
            capacity: request.capacity,
            rate: bid.rate,
            term_slots: request.term_slots,
            deposit: request.deposit,
            bond: bid.bond,
            sla: bid.sla,
            manifest_hash: request.manifest_hash,
        };
        Self::fund(id, agreed, listing)
    }

    /// The renter takes its request back: everything returns at once.
    pub(crate) fn do_withdraw(renter: &T::AccountId, id: DealId) -> DispatchResult {
        let mut request = Requests::<T>::get(id).ok_or(Error::<T>::UnknownRequest)?;
        ensure!(request.renter == *renter, Error::<T>::NotRenter);
        for bid in core::mem::take(&mut request.bids) {
            Self::return_bid(id, &request.capacity, bid)?;
        }
        T::Queue::forget(id);
        Self::close_request(id, request, CloseReason::RequestWithdrawn)
    }

    /// The janitor's part: returns the bids of a request whose time is over, then the deposit.
    pub(crate) fn expire_request(
        id: DealId,
        mut request: Request<T::AccountId>,
    ) -> Result<DealProgress, DispatchError> {
        if T::Meter::current_slot() <= request.bids_until_slot {
            return Ok(DealProgress::NotBefore(request.bids_until_slot.saturating_add(1)));
        }
        // Closing is work of its own, so that no wake costs more than a deal's pay-out.
        if request.bids.is_empty() {
            Self::close_request(id, request, CloseReason::NoBidTaken)?;
            return Ok(DealProgress::Terminal);
        }
        for _ in 0..x0_limits::BIDS_RETURNED_PER_WAKE {
            if let Some(bid) = request.bids.pop() {
                Self::return_bid(id, &request.capacity, bid)?;
            }
        }
        Requests::<T>::insert(id, request);
        Ok(DealProgress::NextBlock)
    }

    fn close_request(id: DealId, request: Request<T::AccountId>, reason: CloseReason) -> DispatchResult {
        Escrow::<T>::close(id, 0, None)?;
        Requests::<T>::remove(id);
        Manifests::<T>::remove(id);
        let (renter, deposit) = (request.renter, request.deposit);
        Self::deposit_event(Event::RequestClosed { deal: id, renter, reason, deposit });
        Ok(())
    }

    /// The request, while bids are taken.
    fn open_request(id: DealId) -> Result<Request<T::AccountId>, Error<T>> {
        let request = Requests::<T>::get(id).ok_or(Error::<T>::UnknownRequest)?;
        ensure!(T::Meter::current_slot() <= request.bids_until_slot, Error::<T>::BiddingOver);
        Ok(request)
    }

    /// The listing offers, on these terms and at this price, what the request asks for.
    fn ensure_wanted(
        request: &Request<T::AccountId>,
        listing: &Listing<T::AccountId>,
        sla: &SlaTerms,
        rate: &Rate,
    ) -> DispatchResult {
        let offer = &listing.offer;
        ensure!(SlaTerms::is_notice(sla.notice_slots), Error::<T>::InvalidSla);
        ensure!(request.wanted.met_by(offer, sla), Error::<T>::NotWanted);
        ensure!(
            (offer.term_min_slots..=offer.term_max_slots).contains(&request.term_slots),
            Error::<T>::TermOutsideListing
        );
        ensure!(rate.is_valid(), Error::<T>::InvalidPrice);
        ensure!(is_at_most(rate, &request.rate_max), Error::<T>::PriceAboveMax);
        let least = rate.amount_ceil(offer.term_min_slots).ok_or(Error::<T>::PriceTooHigh)?;
        ensure!(request.deposit >= least, Error::<T>::DepositTooSmall);
        Ok(())
    }

    /// When a request has all the bids it can have, a lower one takes the place of the highest: nobody
    /// can shut others out with bids that are not meant.
    fn make_room(id: DealId, request: &mut Request<T::AccountId>, rate: &Rate) -> DispatchResult {
        if !request.bids.is_full() {
            return Ok(());
        }
        let mut highest: Option<(usize, Rate)> = None;
        for (place, bid) in request.bids.iter().enumerate() {
            if highest.is_none_or(|(_, rate)| !is_at_most(&bid.rate, &rate)) {
                highest = Some((place, bid.rate));
            }
        }
        let (place, most) = highest.ok_or(Error::<T>::TooManyBids)?;
        ensure!(!is_at_most(&most, rate), Error::<T>::TooManyBids);
        let bid = request.bids.remove(place);
        Self::return_bid(id, &request.capacity, bid)
    }

    /// Gives a bid's deposit and the capacity kept for it back.
    fn return_bid(id: DealId, capacity: &Capacity, bid: Bid<T::AccountId>) -> DispatchResult {
        Currency::<T>::release(&HoldReason::Bid.into(), &bid.provider, bid.deposit, Precision::Exact)?;
        let mut listing = Listings::<T>::get(bid.source.listing).ok_or(Error::<T>::UnknownListing)?;
        Self::unpledge(bid.source.listing, &mut listing, capacity)?;
        Self::store_or_close(bid.source.listing, listing)?;
        let (provider, amount) = (bid.provider, bid.deposit);
        Self::deposit_event(Event::BidReturned { deal: id, bid: bid.number, provider, amount });
        Ok(())
    }

    /// At the confirmation: the deposit of the accepted bid goes back, and the capacity kept for it is
    /// free for the deal itself. Does nothing for a deal at a listing's own price.
    pub(crate) fn redeem_bid(
        id: DealId,
        deal: &Deal<T::AccountId>,
        listing: &mut Listing<T::AccountId>,
    ) -> DispatchResult {
        let Some(bid) = AcceptedBids::<T>::take(id) else { return Ok(()) };
        Currency::<T>::release(&HoldReason::Bid.into(), &bid.provider, bid.amount, Precision::Exact)?;
        Self::unpledge(deal.source.listing, listing, &deal.capacity)
    }

    /// The provider of an accepted bid did not confirm: its deposit goes to the renter. Does nothing for a
    /// deal at a listing's own price.
    pub(crate) fn forfeit_bid(
        id: DealId,
        deal: &Deal<T::AccountId>,
        listing: &mut Listing<T::AccountId>,
    ) -> DispatchResult {
        let Some(bid) = AcceptedBids::<T>::take(id) else { return Ok(()) };
        // The renter keeps the existential deposit free beside its holds, so it can receive any amount.
        Currency::<T>::transfer_on_hold(
            &HoldReason::Bid.into(),
            &bid.provider,
            &deal.renter,
            bid.amount,
            Precision::Exact,
            Restriction::Free,
            Fortitude::Force,
        )?;
        Self::unpledge(deal.source.listing, listing, &deal.capacity)?;
        let (provider, renter, amount) = (bid.provider, deal.renter.clone(), bid.amount);
        Self::deposit_event(Event::BidForfeited { deal: id, provider, renter, amount });
        Ok(())
    }

    fn hold_bid(provider: &T::AccountId, deposit: Balance) -> DispatchResult {
        let spare = Currency::<T>::reducible_balance(provider, Preservation::Preserve, Fortitude::Polite);
        ensure!(deposit <= spare, Error::<T>::BidDepositNotCovered);
        Currency::<T>::hold(&HoldReason::Bid.into(), provider, deposit)
    }
}
