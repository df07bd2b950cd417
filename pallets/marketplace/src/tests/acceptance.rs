//! Manifests, prices, paused listings, blocklists and reputations.

use crate::{Error, Listings, ManifestChanges, Manifests, Prices, Reputations, mock::*};
use frame_support::{assert_noop, assert_ok, traits::fungible::InspectHold as _};
use sp_core::H256;
use sp_runtime::{BoundedVec, traits::BadOrigin};
use x0_limits::{BLOCKED_MAX, PRICE_FACTOR_PPM_MAX, PRICE_FACTOR_PPM_MIN};
use x0_types::{
    deal::{
        Attribute, AttributeValue, Attributes, Capacity, CongestionStep, DealState, ListingState, Manifest,
        ManifestChange, Offer, PriceTerms, Rate, Reputation, ServiceCheck, SlaTerms,
    },
    trust::SuspensionListener,
};

type Fails = Error<Test>;

fn bytes<const N: u32>(text: &str) -> BoundedVec<u8, sp_core::ConstU32<N>> {
    text.as_bytes().to_vec().try_into().unwrap()
}

fn usual() -> Offer {
    offer(PRICE, CAPACITY, region("eu"), 10, 1_000, BOND)
}

fn list_offer(node: u64, offer: Offer) -> sp_runtime::DispatchResult {
    Market::list(signed(node / 100), node, offer)
}

/// M26, M27: the provider confirms the very manifest that the renter pinned, and no other.
#[test]
fn a_provider_confirms_the_manifest_that_it_names() {
    with_chain(|| {
        let listing = list_node(NODE).unwrap();
        let deal = rent(RENTER, listing, SMALL, 50, 1_000).unwrap();
        let other = Manifest { mesh: H256::repeat_byte(8), ..manifest() };
        assert_noop!(Market::confirm(signed(PROVIDER), deal, other.hash()), Fails::OtherManifest);
        assert_ok!(Market::confirm(signed(PROVIDER), deal, manifest().hash()));
        assert_eq!(deal_of(deal).manifest_hash, manifest().hash());
    });
}

/// M27: a renter changes its agents in mid-deal; the accepted hash stays, and both hashes of each change are
/// on record.
#[test]
fn a_renter_changes_its_agents_in_mid_deal() {
    with_chain(|| {
        ClosedDealsKept::set(1);
        let listing = list_node(NODE).unwrap();
        let deal = rent(RENTER, listing, SMALL, 50, 1_000).unwrap();
        let agents = |list: &[u64]| BoundedVec::try_from(list.to_vec()).unwrap();
        let set = |who, list: &[u64]| Market::set_agents(signed(who), deal, agents(list));
        assert_noop!(set(RENTER, &[902]), Fails::NotRunning);
        assert_ok!(confirm(deal));
        assert_noop!(set(PROVIDER, &[902]), Fails::NotRenter);
        assert_noop!(set(RENTER, &[900, 901]), Fails::NothingChanged);
        let pinned = manifest().hash();
        let second = Manifest { agents: agents(&[902]), ..manifest() };
        let third = Manifest { agents: agents(&[]), ..manifest() };
        assert_ok!(set(RENTER, &[902]));
        assert_eq!(Manifests::<Test>::get(deal), Some(second.clone()));
        let change = ManifestChange { version: 1, before: pinned, now: second.hash(), slot: 10 };
        assert_eq!(ManifestChanges::<Test>::get(deal), Some(change));
        forward(5);
        assert_ok!(set(RENTER, &[]));
        let change = ManifestChange { version: 2, before: second.hash(), now: third.hash(), slot: 15 };
        assert_eq!(ManifestChanges::<Test>::get(deal), Some(change));
        assert_eq!(deal_of(deal).manifest_hash, pinned, "what both sides accepted stays on record");
        assert_noop!(Market::set_agents(signed(RENTER), 99, agents(&[])), Fails::UnknownDeal);
        assert_ok!(Market::cancel(signed(RENTER), deal));
        assert_noop!(set(RENTER, &[902]), Fails::NotRunning);
        // The record goes with the deal's.
        let next = confirmed(NODE, 20, 500);
        assert_ok!(Market::cancel(signed(RENTER), next));
        assert!(Manifests::<Test>::get(deal).is_none() && ManifestChanges::<Test>::get(deal).is_none());
    });
}

/// A manifest declares checks that a prober can make: a port, or a path and what it answers.
#[test]
fn service_checks_must_be_possible() {
    with_chain(|| {
        let listing = list_node(NODE).unwrap();
        let http = |port, path: &str| ServiceCheck::Http { port, path: bytes(path), body_hash: H256::repeat_byte(1) };
        let rent = |check: ServiceCheck| {
            let manifest = Manifest { checks: vec![check].try_into().unwrap(), ..manifest() };
            Market::rent(signed(RENTER), listing, 0, SMALL, 50, 1_000, ANY_PRICE, manifest)
        };
        for bad in [
            ServiceCheck::Port { port: 0 },
            http(0, "/"),
            http(80, ""),
            http(80, "x"),
            http(80, "/a b"),
            http(80, "/\n"),
        ] {
            assert_noop!(rent(bad), Fails::InvalidManifest);
        }
        assert_ok!(rent(ServiceCheck::Port { port: 443 }));
        assert_ok!(rent(http(8_080, "/health?full=1")));
    });
}

/// M1: attributes are typed, ordered and bounded, and each has a hash of its own.
#[test]
fn attributes_are_typed_and_ordered() {
    with_chain(|| {
        let attribute = |key: &str, value| Attribute { key: bytes(key), value };
        let list = |attributes: Vec<Attribute>| {
            list_offer(NODE, Offer { attributes: Attributes(attributes.try_into().unwrap()), ..usual() })
        };
        let flag = AttributeValue::Flag(true);
        for bad in [
            vec![attribute("", flag.clone())],
            vec![attribute("CPU", flag.clone())],
            vec![attribute("a b", flag.clone())],
            vec![attribute("b", flag.clone()), attribute("a", flag.clone())],
            vec![attribute("a", flag.clone()), attribute("a", flag.clone())],
            vec![attribute("a", AttributeValue::Text(bytes("tab\t")))],
        ] {
            assert_noop!(list(bad), Fails::InvalidAttributes);
        }
        let full: Vec<_> = (b'a'..)
            .take(16)
            .map(|key| Attribute { key: vec![key].try_into().unwrap(), value: flag.clone() })
            .collect();
        assert_ok!(list(full));
        let values = [flag, AttributeValue::Flag(false), AttributeValue::Number(1), AttributeValue::Text(bytes("1"))];
        let hashes: std::collections::BTreeSet<_> = values.iter().map(AttributeValue::hash).collect();
        assert_eq!(hashes.len(), 4, "an attestation names one value of one key");
    });
}

/// M16: promises have bounds, and a deal keeps those of its acceptance.
#[test]
fn promised_terms_have_bounds_and_stay_with_the_deal() {
    with_chain(|| {
        let good = SlaTerms { notice_slots: 600, cancel_notice_slots: 10, renewal: true, ..SlaTerms::default() };
        for bad in [
            SlaTerms { window_slots: 9, ..good },
            SlaTerms { window_slots: 432_001, ..good },
            SlaTerms { availability_ppm_min: 1_000_001, ..good },
            SlaTerms { notice_slots: 599, ..good },
            SlaTerms { notice_slots: 432_001, ..good },
            SlaTerms { cancel_notice_slots: 14_401, ..good },
        ] {
            assert_noop!(list_offer(NODE, Offer { sla: bad, ..usual() }), Fails::InvalidSla);
        }
        assert_ok!(list_offer(NODE, Offer { sla: good, ..usual() }));
        let deal = rent(RENTER, 0, SMALL, 50, 1_000).unwrap();
        assert_ok!(Market::update_listing(signed(PROVIDER), 0, usual()));
        assert_ok!(confirm(deal));
        assert_eq!(deal_of(deal).sla, good);
    });
}

/// The price is list price times the network's factor times the listing's step at the occupancy before the
/// deal, fixed when the renter accepts.
#[test]
fn prices_follow_the_factor_and_the_congestion_curve_until_they_are_accepted() {
    with_chain(|| {
        let step = |from_ppm, factor_ppm| CongestionStep { from_ppm, factor_ppm };
        let curve = |steps: Vec<CongestionStep>| Offer { congestion: steps.try_into().unwrap(), ..usual() };
        for bad in [
            vec![step(1_000_001, 1_000_000)],
            vec![step(0, PRICE_FACTOR_PPM_MIN - 1)],
            vec![step(0, PRICE_FACTOR_PPM_MAX + 1)],
            vec![step(5, 1_000_000), step(5, 2_000_000)],
            vec![step(5, 2_000_000), step(6, 1_999_999)],
        ] {
            assert_noop!(list_offer(NODE, curve(bad)), Fails::InvalidCongestion);
        }
        assert_ok!(list_offer(NODE, curve(vec![step(0, 500_000), step(500_000, 1_500_000), step(900_000, 2_000_000)])));
        let half = Capacity { bandwidth_kbps: 500, sessions: 4 };
        let rate_of = |capacity| Market::quote(0, &capacity).unwrap().rate;
        assert_eq!(rate_of(half), Rate { num: 7, den: 4 }, "half of 7 at half the price");
        let first = rent(RENTER, 0, half, 50, 1_000).unwrap();
        assert_eq!(deal_of(first).rate, Rate { num: 7, den: 4 });
        assert_eq!(rate_of(SMALL), Rate { num: 7, den: 20 }, "an unconfirmed deal takes nothing");
        assert_ok!(confirm(first));
        assert_eq!(rate_of(SMALL), Rate { num: 21, den: 20 }, "the step includes its beginning");
        // Nine sessions of ten are the larger occupancy.
        let sessions = Capacity { bandwidth_kbps: 1, sessions: 5 };
        let second = rent(RENTER, 0, sessions, 50, 1_000).unwrap();
        assert_ok!(confirm(second));
        assert_eq!(rate_of(SMALL), Rate { num: 7, den: 5 });

        let old = Prices::<Test>::get();
        let dear = PriceTerms { factor_ppm: 1_250_000, ..old };
        assert_ok!(Market::set_price_terms(RuntimeOrigin::root(), old, dear));
        let quote = Market::quote(0, &SMALL).unwrap();
        assert_eq!(
            (quote.rate, quote.factor_ppm, quote.congestion_ppm),
            (Rate { num: 7, den: 4 }, 1_250_000, 2_000_000)
        );
        assert_eq!(deal_of(first).rate, Rate { num: 7, den: 4 }, "a price once accepted stays");
        let rent_at = |most| Market::rent(signed(RENTER), 0, 0, SMALL, 50, 1_000, most, manifest());
        assert_noop!(rent_at(Rate { num: 7, den: 5 }), Fails::PriceAboveMax);
        assert_ok!(rent_at(quote.rate));
        assert!(Market::quote(0, &Capacity { bandwidth_kbps: 1_001, sessions: 1 }).is_none());
        assert!(Market::quote(9, &SMALL).is_none());
    });
}

/// Governance names the value that it replaces, and stays within bounds.
#[test]
fn price_terms_are_bounded_and_replace_what_was_named() {
    with_chain(|| {
        let old = Prices::<Test>::get();
        let set = |expected, new| Market::set_price_terms(RuntimeOrigin::root(), expected, new);
        let with = |factor_ppm| PriceTerms { factor_ppm, ..old };
        assert_noop!(Market::set_price_terms(signed(PROVIDER), old, with(2_000_000)), BadOrigin);
        assert_noop!(set(with(2_000_000), old), Fails::ParametersMismatch);
        for bad in [
            with(PRICE_FACTOR_PPM_MIN - 1),
            with(PRICE_FACTOR_PPM_MAX + 1),
            PriceTerms { bid_deposit: 0, ..old },
            PriceTerms { bid_deposit: x0_limits::BID_DEPOSIT_MAX + 1, ..old },
        ] {
            assert_noop!(set(old, bad), Fails::InvalidParameters);
        }
        assert_ok!(set(old, with(PRICE_FACTOR_PPM_MAX)));
        assert_noop!(set(old, with(PRICE_FACTOR_PPM_MIN)), Fails::ParametersMismatch);
        assert_ok!(set(with(PRICE_FACTOR_PPM_MAX), with(PRICE_FACTOR_PPM_MIN)));
    });
}

/// A listing whose node's trust is suspended takes no deals until the node recovers; what runs goes on.
#[test]
fn a_listing_is_paused_while_its_nodes_trust_is_suspended() {
    with_chain(|| {
        let listing = list_node(NODE).unwrap();
        let state_of = || Listings::<Test>::get(listing).unwrap().state;
        let running = rent(RENTER, listing, SMALL, 50, 1_000).unwrap();
        assert_ok!(confirm(running));
        let waiting = rent(RENTER, listing, SMALL, 50, 1_000).unwrap();
        world(|w| w.suspended.insert(NODE));
        // Before anybody has written it down, the reading alone counts.
        assert_noop!(rent(RENTER, listing, SMALL, 50, 1_000), Fails::ListingPaused);
        assert_noop!(confirm(waiting), Fails::ListingPaused);
        <Market as SuspensionListener<u64>>::suspension_changed(&NODE);
        assert_eq!(state_of(), ListingState::Paused);
        <Market as SuspensionListener<u64>>::suspension_changed(&NODE_2);
        assert_noop!(Market::refresh_listing(signed(RENTER), 9), Fails::UnknownListing);
        assert_ok!(Market::refresh_listing(signed(RENTER), listing));
        assert_eq!(state_of(), ListingState::Paused);
        assert_ok!(Market::update_listing(signed(PROVIDER), listing, usual()));
        assert_eq!(state_of(), ListingState::Paused, "an update does not open it");
        close_up_to(60);
        forward(1);
        assert_eq!(state(running), DealState::Completed);

        world(|w| w.suspended.clear());
        assert_ok!(confirm(waiting));
        assert_eq!(state_of(), ListingState::Open, "the first deal after the recovery opens it");
        world(|w| w.suspended.insert(NODE));
        assert_ok!(Market::refresh_listing(signed(RENTER), listing));
        world(|w| w.suspended.clear());
        assert_ok!(Market::refresh_listing(signed(RENTER), listing));
        assert_eq!(state_of(), ListingState::Open);
        world(|w| w.suspended.insert(NODE));
        assert_ok!(Market::refresh_listing(signed(RENTER), listing));
        assert_ok!(Market::retire(signed(PROVIDER), listing));
        world(|w| w.suspended.clear());
        assert_ok!(Market::refresh_listing(signed(RENTER), listing));
        assert_eq!(state_of(), ListingState::Draining, "a retired listing stays retired");
        assert_ok!(Market::cancel(signed(RENTER), waiting));
        assert!(Listings::<Test>::get(listing).is_none());
    });
}

/// M38: accounts that the registry knows as one owner's make no deals with one another, directly or through
/// a controller.
#[test]
fn one_owner_does_not_rent_from_itself() {
    with_chain(|| {
        let listing = list_node(NODE).unwrap();
        world(|w| w.owners.extend([(PROVIDER, 1), (RENTER, 1), (RENTER_2, 2), (PROVIDER_2, 1)]));
        assert_noop!(rent(RENTER, listing, SMALL, 50, 1_000), Fails::SelfDealing);
        // A node of another provider with the same owner.
        assert_noop!(rent(OTHER_NODE, listing, SMALL, 50, 1_000), Fails::SelfDealing);
        assert_ok!(rent(RENTER_2, listing, SMALL, 50, 1_000));
        world(|w| w.owners.remove(&RENTER));
        assert_ok!(rent(RENTER, listing, SMALL, 50, 1_000));
    });
}

/// M40: either side keeps the other out; each entry holds a deposit and the list has an end.
#[test]
fn a_blocklist_keeps_the_other_side_out() {
    with_chain(|| {
        let listing = list_node(NODE).unwrap();
        let held = |who: u64| Balances::balance_on_hold(&crate::HoldReason::Blocklist.into(), &who);
        assert_noop!(Market::block(signed(RENTER), RENTER), Fails::SelfDealing);
        assert_ok!(Market::block(signed(RENTER), PROVIDER));
        assert_noop!(Market::block(signed(RENTER), PROVIDER), Fails::NothingChanged);
        assert_eq!(held(RENTER), BLOCK_DEPOSIT);
        assert_noop!(rent(RENTER, listing, SMALL, 50, 1_000), Fails::Blocked);
        assert_ok!(rent(RENTER_2, listing, SMALL, 50, 1_000));
        assert_ok!(Market::unblock(signed(RENTER), PROVIDER));
        assert_noop!(Market::unblock(signed(RENTER), PROVIDER), Fails::NothingChanged);
        assert_eq!((held(RENTER), free(RENTER)), (0, RICH));
        assert_ok!(rent(RENTER, listing, SMALL, 50, 1_000));
        assert_ok!(Market::block(signed(PROVIDER), RENTER));
        assert_noop!(rent(RENTER, listing, SMALL, 50, 1_000), Fails::Blocked);
        for other in 0..u64::from(BLOCKED_MAX) {
            assert_ok!(Market::block(signed(RENTER_2), 5_000 + other));
        }
        assert_noop!(Market::block(signed(RENTER_2), 9_000), Fails::TooManyBlocked);
        assert_noop!(Market::block(signed(6_000), 1), Fails::BlockDepositNotCovered);
    });
}

/// M40: only confirmed deals count, for both sides, by how they ended.
#[test]
fn reputation_comes_from_confirmed_deals_only() {
    with_chain(|| {
        let listing = list_node(NODE).unwrap();
        let unconfirmed = rent(RENTER, listing, SMALL, 50, 1_000).unwrap();
        assert_ok!(Market::decline(signed(PROVIDER), unconfirmed));
        assert_eq!(Reputations::<Test>::get(PROVIDER), Reputation::default());
        let deals: Vec<_> = (0..3).map(|_| rent(RENTER, listing, SMALL, 20, 1_000).unwrap()).collect();
        for deal in &deals {
            assert_ok!(confirm(*deal));
        }
        assert_ok!(Market::cancel(signed(RENTER), deals[0]));
        plan(NODE, [12], Seen::Down(ALL));
        close_up_to(30);
        forward(1);
        let failed = confirmed(NODE, 20, 1_000);
        plan(NODE, 40..43, Seen::Down(ALL));
        close_up_to(42);
        forward(1);
        assert_eq!(state(failed), DealState::Failed);
        let good_slots: u64 = deals.iter().chain([&failed]).map(|deal| outcome(*deal).good_slots).sum();
        let expected = Reputation {
            confirmed: 4,
            completed: 2,
            cancelled: 1,
            reclaimed: 0,
            failed: 1,
            good_slots,
            bad_slots: 2 + 3,
        };
        assert_eq!(Reputations::<Test>::get(PROVIDER), expected);
        assert_eq!(Reputations::<Test>::get(RENTER), expected);
        assert_eq!(Reputations::<Test>::get(RENTER_2), Reputation::default());
    });
}
