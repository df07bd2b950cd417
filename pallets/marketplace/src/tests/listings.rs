//! Listings, and who may rent what.

use crate::{Error, ListingOf, Listings, mock::*};
use frame_support::{assert_noop, assert_ok};
use x0_limits::{DEAL_TERM_SLOTS_MAX, DEAL_TERM_SLOTS_MIN, DEALS_PER_NODE_MAX, LISTINGS_PER_PROVIDER_MAX};
use x0_types::deal::{Capacity, DealState, ListingState, Rate};

type Fails = Error<Test>;

#[test]
fn a_listing_holds_its_storage_deposit_until_it_closes() {
    with_chain(|| {
        let listing = list_node(NODE).unwrap();
        assert_eq!(free(PROVIDER), RICH - LISTING_DEPOSIT);
        assert!(world(|w| w.nodes.contains_key(&NODE)), "a listed node is measured");
        check();
        assert_noop!(Market::retire(signed(PROVIDER_2), listing), Fails::NotProvider);
        assert_noop!(Market::retire(signed(PROVIDER), 9), Fails::UnknownListing);
        assert_ok!(Market::retire(signed(PROVIDER), listing));
        assert_eq!(free(PROVIDER), RICH);
        assert!(Listings::<Test>::get(listing).is_none() && ListingOf::<Test>::get(NODE).is_none());
        assert!(!world(|w| w.nodes.contains_key(&NODE)));
        // The node can be listed again.
        assert_ok!(list_node(NODE));
    });
}

#[test]
fn a_node_has_one_listing_and_belongs_to_its_provider() {
    with_chain(|| {
        list_node(NODE).unwrap();
        assert_noop!(list_node(NODE), Fails::NodeListed);
        let list = |who: u64, node| Market::list(signed(who), node, offer(PRICE, CAPACITY, region("eu"), 10, 20, BOND));
        assert_noop!(list(PROVIDER_2, NODE_2), Fails::NodeNotLive);
        assert_noop!(list(PROVIDER, PROVIDER), Fails::NodeNotLive);
        world(|w| w.revoked.insert(NODE_2));
        assert_noop!(list(PROVIDER, NODE_2), Fails::NodeNotLive);
        // Nobody without money lists.
        assert_noop!(list(5, 500), Fails::ListingDepositNotCovered);
    });
}

#[test]
fn offers_that_make_no_sense_are_refused() {
    with_chain(|| {
        let list = |price, capacity, name: &str, min, max, bond| {
            Market::list(signed(PROVIDER), NODE, offer(price, capacity, region(name), min, max, bond))
        };
        let none = Capacity::default();
        assert_noop!(list(Rate { num: 0, den: 1 }, CAPACITY, "eu", 10, 20, BOND), Fails::InvalidPrice);
        assert_noop!(list(Rate { num: 1, den: 0 }, CAPACITY, "eu", 10, 20, BOND), Fails::InvalidPrice);
        assert_noop!(list(Rate { num: u128::MAX, den: 1 }, CAPACITY, "eu", 10, 20, BOND), Fails::PriceTooHigh);
        assert_noop!(list(PRICE, none, "eu", 10, 20, BOND), Fails::InvalidCapacity);
        assert_noop!(list(PRICE, CAPACITY, "", 10, 20, BOND), Fails::InvalidRegion);
        assert_noop!(list(PRICE, CAPACITY, "e\nu", 10, 20, BOND), Fails::InvalidRegion);
        assert_noop!(list(PRICE, CAPACITY, "eu", DEAL_TERM_SLOTS_MIN - 1, 20, BOND), Fails::InvalidTerm);
        assert_noop!(list(PRICE, CAPACITY, "eu", 20, 19, BOND), Fails::InvalidTerm);
        assert_noop!(list(PRICE, CAPACITY, "eu", 20, DEAL_TERM_SLOTS_MAX + 1, BOND), Fails::InvalidTerm);
        assert_noop!(list(PRICE, CAPACITY, "eu", 10, 20, 9), Fails::BondTooSmall);
    });
}

#[test]
fn a_provider_has_a_bounded_number_of_listings() {
    with_chain(|| {
        for node in 0..u64::from(LISTINGS_PER_PROVIDER_MAX) {
            assert_ok!(list_node(NODE + node));
        }
        assert_noop!(list_node(NODE + 99), Fails::TooManyListings);
        assert_ok!(Market::retire(signed(PROVIDER), 0));
        assert_ok!(list_node(NODE + 99));
    });
}

#[test]
fn an_update_changes_new_deals_only() {
    with_chain(|| {
        let listing = list_node(NODE).unwrap();
        let deal = rent(RENTER, listing, SMALL, 50, 10_000).unwrap();
        let dear = Rate { num: 70, den: 1 };
        let update = |capacity| {
            Market::update_listing(signed(PROVIDER), listing, offer(dear, capacity, region("us"), 10, 20, 2 * BOND))
        };
        assert_ok!(update(CAPACITY));
        assert_eq!(Listings::<Test>::get(listing).unwrap().version, 1);
        // A renter who read the old terms is not bound to the new ones.
        assert_noop!(
            Market::rent(signed(RENTER), listing, 0, SMALL, 15, 10_000, ANY_PRICE, manifest()),
            Fails::VersionChanged
        );
        // The deal made before keeps price, term and bond, though it is confirmed after.
        assert_ok!(confirm(deal));
        let kept = deal_of(deal);
        assert_eq!((kept.rate, kept.bond, kept.term_slots), (Rate { num: 7, den: 10 }, BOND / 10, 50));
        assert_noop!(update(Capacity { bandwidth_kbps: 99, sessions: 10 }), Fails::CapacityInUse);
        assert_ok!(update(SMALL));
        assert_ok!(Market::retire(signed(PROVIDER), listing));
        assert_noop!(update(CAPACITY), Fails::ListingRetired);
        assert_noop!(Market::retire(signed(PROVIDER), listing), Fails::ListingRetired);
    });
}

#[test]
fn a_retired_listing_closes_with_its_last_deal() {
    with_chain(|| {
        let listing = list_node(NODE).unwrap();
        let running = rent(RENTER, listing, SMALL, 50, 10_000).unwrap();
        assert_ok!(confirm(running));
        let waiting = rent(RENTER, listing, SMALL, 50, 10_000).unwrap();
        assert_ok!(Market::retire(signed(PROVIDER), listing));
        assert_eq!(Listings::<Test>::get(listing).unwrap().state, ListingState::Draining);
        assert_noop!(rent(RENTER, listing, SMALL, 50, 10_000), Fails::ListingRetired);
        assert_noop!(confirm(waiting), Fails::ListingRetired);
        assert_noop!(list_node(NODE), Fails::NodeListed);
        forward(60);
        assert_eq!(state(running), DealState::Frozen, "its end slot closed in this block");
        forward(60);
        assert_eq!((state(running), state(waiting)), (DealState::Completed, DealState::Expired));
        assert!(Listings::<Test>::get(listing).is_none());
        assert_ok!(list_node(NODE));
    });
}

/// M38: nobody rents from itself.
#[test]
fn a_provider_cannot_rent_from_itself() {
    with_chain(|| {
        let listing = list_node(NODE).unwrap();
        assert_noop!(rent(PROVIDER, listing, SMALL, 50, 10_000), Fails::SelfDealing);
        assert_noop!(rent(NODE, listing, SMALL, 50, 10_000), Fails::SelfDealing);
        // Another node under the same control is no other party.
        assert_noop!(rent(NODE_2, listing, SMALL, 50, 10_000), Fails::SelfDealing);
        assert_ok!(rent(RENTER, listing, SMALL, 50, 10_000));
    });
}

#[test]
fn bad_requests_are_refused_with_their_reason() {
    with_chain(|| {
        let listing = list_node(NODE).unwrap();
        let sized = |bandwidth_kbps, sessions| Capacity { bandwidth_kbps, sessions };
        assert_noop!(rent(RENTER, 9, SMALL, 50, 10_000), Fails::UnknownListing);
        assert_noop!(rent(RENTER, listing, sized(0, 1), 50, 10_000), Fails::InvalidCapacity);
        assert_noop!(rent(RENTER, listing, sized(1, 0), 50, 10_000), Fails::InvalidCapacity);
        assert_noop!(rent(RENTER, listing, sized(1_001, 1), 50, 10_000), Fails::CapacityNotFree);
        assert_noop!(rent(RENTER, listing, sized(1, 11), 50, 10_000), Fails::CapacityNotFree);
        assert_noop!(rent(RENTER, listing, sized(u32::MAX, u32::MAX), 50, 10_000), Fails::CapacityNotFree);
        assert_noop!(rent(RENTER, listing, SMALL, 9, 10_000), Fails::TermOutsideListing);
        assert_noop!(rent(RENTER, listing, SMALL, 1_001, 10_000), Fails::TermOutsideListing);
        // 10 slots at 7 are the least for the whole capacity; a smaller share has the smallest deposit.
        assert_noop!(rent(RENTER, listing, CAPACITY, 50, 69), Fails::DepositTooSmall);
        assert_noop!(rent(RENTER, listing, SMALL, 50, 49), Fails::DepositTooSmall);
        assert_noop!(rent(RENTER, listing, SMALL, 50, RICH), pallet_x0_escrow::Error::<Test>::DepositNotCovered);
        assert_ok!(rent(RENTER, listing, CAPACITY, 50, 70));
        world(|w| w.revoked.insert(NODE));
        assert_noop!(rent(RENTER, listing, SMALL, 50, 10_000), Fails::NodeNotLive);
        assert_noop!(confirm(0), Fails::NodeNotLive);
    });
}

/// I15: what is confirmed never exceeds what is listed, however much is requested.
#[test]
fn capacity_is_never_sold_twice() {
    with_chain(|| {
        let listing = list_node(NODE).unwrap();
        let half = Capacity { bandwidth_kbps: 500, sessions: 4 };
        let deals: Vec<_> = (0..3).map(|_| rent(RENTER, listing, half, 50, 10_000).unwrap()).collect();
        assert_ok!(confirm(deals[0]));
        assert_ok!(confirm(deals[2]));
        assert_noop!(confirm(deals[1]), Fails::CapacityNotFree);
        assert_noop!(rent(RENTER, listing, SMALL, 50, 10_000), Fails::CapacityNotFree);
        check();
        assert_ok!(Market::cancel(signed(RENTER), deals[0]));
        assert_ok!(confirm(deals[1]));
        assert_eq!(Listings::<Test>::get(listing).unwrap().reserved, Capacity { bandwidth_kbps: 1_000, sessions: 8 });
    });
}

#[test]
fn a_node_has_a_bounded_number_of_deals() {
    with_chain(|| {
        let wide = Capacity { bandwidth_kbps: 1_000, sessions: 1_000 };
        assert_ok!(Market::list(signed(PROVIDER), NODE, offer(PRICE, wide, region("eu"), 10, 1_000, BOND)));
        let one = Capacity { bandwidth_kbps: 1, sessions: 1 };
        let deals: Vec<_> = (0..=DEALS_PER_NODE_MAX).map(|_| rent(RENTER, 0, one, 50, 10_000).unwrap()).collect();
        let (last, rest) = deals.split_last().unwrap();
        for deal in rest {
            assert_ok!(confirm(*deal));
        }
        assert_noop!(confirm(*last), Fails::TooManyDeals);
        assert_noop!(rent(RENTER, 0, one, 50, 10_000), Fails::TooManyDeals);
    });
}
