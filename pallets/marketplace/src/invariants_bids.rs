//! What is true of requests, bids, blocklists and reputations after every block (I9, I15, I16 and I18 of the
//! market's specification).

use std::collections::{BTreeMap, BTreeSet};

use frame_support::traits::fungible::InspectHold as _;
use pallet_x0_escrow::Ledgers;
use x0_accounting::price::is_at_most;
use x0_types::{
    Balance,
    deal::{Capacity, DealState, Request},
    market::{DealId, DealQueue as _, ListingId},
};

use crate::{
    AcceptedBids, Blocklists, Config, Deals, HoldReason, Listings, ManifestChanges, Manifests, Pallet, Reputations,
    Requests,
};

/// What the bids of one listing keep.
#[derive(Default)]
struct Pledges {
    capacity: Capacity,
    bids: u32,
}

impl Pledges {
    fn add(&mut self, part: &Capacity) -> Result<(), String> {
        self.capacity = self.capacity.checked_add(part).ok_or("I15: pledges overflow")?;
        self.bids += 1;
        Ok(())
    }
}

/// Fails with a text unless a rule holds.
macro_rules! check {
    ($rule:expr, $($text:tt)*) => {
        if !$rule {
            return Err(format!($($text)*));
        }
    };
}

impl<T: Config> Pallet<T>
where
    T::AccountId: Ord,
{
    /// Checks requests, bids, changed manifests, blocklists and reputations; returns the numbers of the
    /// requests, whose deposits have ledgers of their own.
    ///
    /// # Errors
    /// The first rule that does not hold, with its numbers.
    pub(crate) fn check_offers() -> Result<BTreeSet<DealId>, String> {
        let mut pledges: BTreeMap<ListingId, Pledges> = BTreeMap::new();
        let mut held: BTreeMap<T::AccountId, Balance> = BTreeMap::new();
        let mut requests = BTreeSet::new();
        for (id, request) in Requests::<T>::iter() {
            requests.insert(id);
            Self::check_request(id, &request)?;
            for bid in &request.bids {
                pledges.entry(bid.source.listing).or_default().add(&request.capacity)?;
                *held.entry(bid.provider.clone()).or_default() += bid.deposit;
            }
        }
        for (id, bid) in AcceptedBids::<T>::iter() {
            let deal = Deals::<T>::get(id).filter(|deal| deal.state == DealState::Funded);
            let deal = deal.ok_or_else(|| format!("I18: bid of deal {id}, which waits for nothing"))?;
            check!(deal.provider == bid.provider, "I18: bid of deal {id} is of another provider");
            pledges.entry(deal.source.listing).or_default().add(&deal.capacity)?;
            *held.entry(bid.provider).or_default() += bid.amount;
        }
        Self::check_pledges(&pledges)?;
        Self::check_deposits(&held)?;
        for (id, change) in ManifestChanges::<T>::iter() {
            let deal = Deals::<T>::get(id).ok_or_else(|| format!("changed manifest of unknown deal {id}"))?;
            check!(change.version > 0 && deal.run.is_some(), "deal {id}: {change:?} before its confirmation");
            check!(change.version > 1 || change.before == deal.manifest_hash, "deal {id}: {change:?}, not pinned");
            check!(Manifests::<T>::get(id).is_some_and(|m| m.hash() == change.now), "deal {id}: {change:?}, stored");
        }
        Self::check_reputations()?;
        Ok(requests)
    }

    fn check_request(id: DealId, request: &Request<T::AccountId>) -> Result<(), String> {
        check!(!Deals::<T>::contains_key(id), "deal {id} is also a request");
        check!(T::Queue::is_queued(id), "I9: request {id} is not queued");
        check!(Manifests::<T>::get(id).is_some_and(|m| m.hash() == request.manifest_hash), "request {id}: manifest");
        let ledger = Ledgers::<T>::get(id).ok_or_else(|| format!("I2: request {id} has no ledger"))?;
        check!(
            (&ledger.renter, &ledger.provider, ledger.deposit, ledger.gross_paid, ledger.bond)
                == (&request.renter, &request.renter, request.deposit, 0, 0),
            "I2: request {id} and its ledger differ: {ledger:?}"
        );
        let mut listings = BTreeSet::new();
        for bid in &request.bids {
            check!(is_at_most(&bid.rate, &request.rate_max), "request {id}: bid above the most");
            check!(bid.number < request.next_bid, "request {id}: bid {} was never made", bid.number);
            check!(listings.insert(bid.source.listing), "request {id}: two bids of one listing");
            let provider = Listings::<T>::get(bid.source.listing).map(|listing| listing.provider);
            check!(provider.as_ref() == Some(&bid.provider), "request {id}: bid of a listing that is gone");
        }
        Ok(())
    }

    /// I15: each listing keeps what its bids say, and never more than it has.
    fn check_pledges(pledges: &BTreeMap<ListingId, Pledges>) -> Result<(), String> {
        check!(pledges.keys().all(Listings::<T>::contains_key), "I15: a bid's listing is gone");
        for (id, listing) in Listings::<T>::iter() {
            let none = Pledges::default();
            let sum = pledges.get(&id).unwrap_or(&none);
            check!(
                (listing.pledged, listing.pledged_deals) == (sum.capacity, sum.bids),
                "I15: listing {id} pledges {:?} to {}, bids say {:?} to {}",
                listing.pledged,
                listing.pledged_deals,
                sum.capacity,
                sum.bids
            );
            check!(
                listing.taken().is_some_and(|taken| taken.fits(&listing.offer.capacity)),
                "I15: listing {id} has given more than it has: {listing:?}"
            );
            check!(
                listing.pledged_deals.saturating_add(listing.confirmed_deals) <= x0_limits::DEALS_PER_NODE_MAX,
                "I15: listing {id} has more deals than a node may have"
            );
        }
        Ok(())
    }

    /// I18: what is held for bids and blocklists is what they say.
    fn check_deposits(bids: &BTreeMap<T::AccountId, Balance>) -> Result<(), String> {
        let held = |reason: HoldReason, who: &T::AccountId| {
            <T as pallet_x0_escrow::Config>::Currency::balance_on_hold(&reason.into(), who)
        };
        for (provider, sum) in bids {
            let amount = held(HoldReason::Bid, provider);
            check!(amount == *sum, "I18: {provider:?} holds {amount} for bids worth {sum}");
        }
        for (who, list) in Blocklists::<T>::iter() {
            check!(!list.is_empty(), "{who:?} keeps an empty blocklist");
            let sum: Balance = list.iter().map(|entry| entry.deposit).sum();
            let amount = held(HoldReason::Blocklist, &who);
            check!(amount == sum, "I18: {who:?} holds {amount} for a blocklist of {sum}");
        }
        Ok(())
    }

    /// An account's deals that are over are among those that were confirmed.
    fn check_reputations() -> Result<(), String> {
        let mut running: BTreeMap<T::AccountId, u32> = BTreeMap::new();
        for deal in Deals::<T>::iter_values().filter(|deal| deal.run.is_some() && !deal.state.is_terminal()) {
            *running.entry(deal.provider).or_default() += 1;
            *running.entry(deal.renter).or_default() += 1;
        }
        for (who, all) in Reputations::<T>::iter() {
            let over = all.completed + all.cancelled + all.reclaimed + all.failed;
            let live = running.remove(&who).unwrap_or(0);
            check!(over + live <= all.confirmed, "{who:?} has {live} running deals and {all:?}");
        }
        check!(running.is_empty(), "{running:?} run deals that nobody counted");
        Ok(())
    }
}
