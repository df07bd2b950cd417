//! What is true of the market after every block (I9 to I16 of the market's specification). The rules
//! about money (I1 to I5, I8, I17) are checked against the escrow.

use std::collections::{BTreeMap, BTreeSet};

use frame_support::traits::fungible::InspectHold as _;
use pallet_x0_escrow::Ledgers;
use x0_types::{
    Balance,
    deal::{Capacity, DealState, Listing, ListingState},
    market::{DealId, ListingId, Meter as _},
};

use crate::{
    Calendars, ClosedDeals, ClosedRange, Config, Deals, DealsOfNode, Disputes, Ends, HoldReason, Leaves, ListingCount,
    ListingOf, Listings, ManifestChanges, Manifests, MarksOf, Pallet, Starts, Suspicions,
};

/// What the deals of one listing add up to.
#[derive(Default)]
struct Sums {
    reserved: Capacity,
    funded: u32,
    confirmed: u32,
}

/// Fails with a text unless a rule holds.
macro_rules! check {
    ($rule:expr, $($text:tt)*) => {
        if !$rule {
            return Err(format!($($text)*));
        }
    };
}
pub(crate) use check;

impl<T: Config> Pallet<T>
where
    T::AccountId: Ord,
{
    /// Checks deals, listings, queues, ledgers and the janitor against one another.
    ///
    /// # Errors
    /// The first rule that does not hold, with its numbers.
    pub fn check_invariants() -> Result<(), String> {
        let mut sums: BTreeMap<ListingId, Sums> = BTreeMap::new();
        let mut live = BTreeSet::new();
        let (mut starts, mut ends, mut closed) = (0, 0, 0u64);
        for (id, deal) in Deals::<T>::iter() {
            // A manifest that was changed in mid-deal is checked against the change.
            check!(
                ManifestChanges::<T>::contains_key(id)
                    || Manifests::<T>::get(id).is_some_and(|m| m.hash() == deal.manifest_hash),
                "deal {id}: manifest"
            );
            if deal.state.is_terminal() {
                closed += 1;
                Self::check_terminal(id, &deal)?;
                continue;
            }
            live.insert(id);
            Self::check_live(id, &deal)?;
            if deal.state.is_running() {
                ends += 1;
                starts += usize::from(deal.run.as_ref().is_some_and(|run| run.start.is_none()));
            }
            if deal.run.is_some() && !deal.occupies() {
                continue;
            }
            let sum = sums.entry(deal.source.listing).or_default();
            if deal.occupies() {
                sum.confirmed += 1;
                sum.reserved = sum.reserved.checked_add(&deal.capacity).ok_or("I15: reserved overflows")?;
            } else {
                sum.funded += 1;
            }
        }
        check!(Starts::<T>::iter_keys().count() == starts, "start queue: {starts} deals wait to start");
        check!(Ends::<T>::iter_keys().count() == ends, "end queue: {ends} deals run");
        let ledgers: BTreeSet<DealId> = Ledgers::<T>::iter_keys().collect();
        live.extend(Self::check_offers()?);
        check!(ledgers == live, "I3: ledgers {ledgers:?}, live deals {live:?}");
        let (first, next) = ClosedRange::<T>::get();
        let remembered = u64::try_from(ClosedDeals::<T>::iter().count()).unwrap_or(u64::MAX);
        check!(
            next.checked_sub(first) == Some(closed) && remembered == closed,
            "closed deals: {closed} stored, {remembered} remembered, {first}..{next}"
        );
        let leaves = u64::try_from(Leaves::<T>::iter_keys().count()).unwrap_or(u64::MAX);
        check!(leaves == closed, "M33: {leaves} leaves, {closed} ended deals");
        Self::check_listings(&sums)?;
        Self::check_nodes()
    }

    /// I15: listings count and reserve what their deals say.
    fn check_listings(sums: &BTreeMap<ListingId, Sums>) -> Result<(), String> {
        let mut of_provider: BTreeMap<T::AccountId, (u32, Balance)> = BTreeMap::new();
        let mut listings = 0;
        for (id, listing) in Listings::<T>::iter() {
            listings += 1;
            let none = Sums::default();
            let sum = sums.get(&id).unwrap_or(&none);
            Self::check_listing(id, &listing, sum)?;
            let count = of_provider.entry(listing.provider).or_default();
            count.0 += 1;
            count.1 += listing.storage_deposit;
        }
        check!(sums.keys().all(Listings::<T>::contains_key), "a deal's listing is gone");
        check!(ListingOf::<T>::iter().count() == listings, "node index: {listings} listings");
        check!(
            ListingCount::<T>::iter().count() == of_provider.len(),
            "listing counts: {} providers",
            of_provider.len()
        );
        for (provider, (count, deposits)) in of_provider {
            check!(ListingCount::<T>::get(&provider) == count, "{provider:?} has {count} listings");
            let held =
                <T as pallet_x0_escrow::Config>::Currency::balance_on_hold(&HoldReason::Listing.into(), &provider);
            check!(held == deposits, "I3: {provider:?} holds {held} for listings, {deposits} expected");
        }
        Ok(())
    }

    fn check_listing(id: ListingId, listing: &Listing<T::AccountId>, sum: &Sums) -> Result<(), String> {
        check!(ListingOf::<T>::get(&listing.node) == Some(id), "listing {id}: node index");
        check!(
            listing.reserved == sum.reserved && sum.reserved.fits(&listing.offer.capacity),
            "I15: listing {id} reserves {:?}, deals {:?} of {:?}",
            listing.reserved,
            sum.reserved,
            listing.offer.capacity
        );
        check!(
            (listing.funded_deals, listing.confirmed_deals) == (sum.funded, sum.confirmed),
            "I15: listing {id} counts {} and {}, deals {} and {}",
            listing.funded_deals,
            listing.confirmed_deals,
            sum.funded,
            sum.confirmed
        );
        check!(
            listing.state != ListingState::Draining || sum.funded + sum.confirmed + listing.pledged_deals > 0,
            "listing {id} is drained and still stored"
        );
        check!(T::Meter::counters(&listing.node).is_some(), "listing {id}: node not measured");
        Ok(())
    }

    /// No node names a deal that is over.
    fn check_nodes() -> Result<(), String> {
        for (node, deals) in DealsOfNode::<T>::iter() {
            check!(!deals.is_empty(), "{node:?} keeps an empty list of deals");
            for id in deals {
                let live = Deals::<T>::get(id).is_some_and(|deal| deal.node == node && !deal.state.is_terminal());
                check!(live, "{node:?} names deal {id}, which is not live on it");
            }
        }
        for id in Suspicions::<T>::iter_keys() {
            check!(Deals::<T>::get(id).is_some_and(|deal| deal.state == DealState::Suspect), "suspicion of deal {id}");
        }
        for id in MarksOf::<T>::iter_keys() {
            check!(Deals::<T>::get(id).is_some_and(|deal| deal.state.is_running()), "marks of deal {id}");
        }
        for id in Disputes::<T>::iter_keys() {
            check!(Deals::<T>::get(id).is_some_and(|deal| deal.state == DealState::Disputed), "dispute of deal {id}");
        }
        for node in Calendars::<T>::iter_keys() {
            check!(ListingOf::<T>::contains_key(&node), "{node:?} announces maintenance and is not listed");
        }
        Ok(())
    }
}
