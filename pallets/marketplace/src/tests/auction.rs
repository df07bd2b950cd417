//! Requests and bids: one test for each edge of an auction.

use crate::{AcceptedBids, Deals, Error, Listings, Manifests, Requests, mock::*};
use frame_support::{assert_noop, assert_ok, traits::fungible::InspectHold as _};
use sp_runtime::DispatchResult;
use x0_limits::{BID_WINDOW_SLOTS_MAX, BIDS_PER_REQUEST_MAX, BIDS_RETURNED_PER_WAKE, CONFIRM_DEADLINE_SLOTS};
use x0_types::{
    Balance,
    deal::{
        Attribute, AttributeValue, Attributes, Capacity, CloseReason, DealState, ListingState, Offer, PriceTerms, Rate,
        SlaPolicy, SlaTerms, Wanted,
    },
    market::{DealId, DealQueue, ListingId},
};

type Fails = Error<Test>;

/// The deposit of the usual request: 100 slots of at most 9.
const DEPOSIT: u128 = 1_000;
const MOST: Rate = Rate { num: 9, den: 1 };

fn price(num: u128) -> Rate {
    Rate { num, den: 1 }
}

fn ask_for(renter: u64, capacity: Capacity, wanted: Wanted) -> DealId {
    let deal = crate::NextDeal::<Test>::get();
    assert_ok!(Market::request(signed(renter), capacity, 100, MOST, DEPOSIT, wanted, 20, manifest()));
    deal
}

fn ask() -> DealId {
    ask_for(RENTER, SMALL, Wanted::default())
}

fn bid(deal: DealId, listing: ListingId, rate: Rate) -> DispatchResult {
    let provider = Listings::<Test>::get(listing).unwrap().provider;
    Market::bid(signed(provider), deal, listing, rate, 0)
}

fn held(who: u64) -> Balance {
    Balances::balance_on_hold(&crate::HoldReason::Bid.into(), &who)
}

fn pledged(listing: ListingId) -> (Capacity, u32) {
    let listing = Listings::<Test>::get(listing).unwrap();
    (listing.pledged, listing.pledged_deals)
}

const NOTHING: (Capacity, u32) = (Capacity { bandwidth_kbps: 0, sessions: 0 }, 0);

/// Three listings of two providers, with everybody's money counted from here on.
fn three() -> [ListingId; 3] {
    [NODE, NODE_2, OTHER_NODE].map(|node| list_node(node).unwrap())
}

/// M2, M26: a bid below the most is taken, the losers are free in the same transition, and the provider
/// confirms the manifest. I18: deposits of bids are what the open bids hold.
#[test]
fn the_lowest_bid_can_be_taken_and_the_others_are_free_at_once() {
    with_chain(|| {
        let [first, second, third] = three();
        let [one, two] = [PROVIDER, PROVIDER_2].map(free);
        let deal = ask();
        assert_eq!(free(RENTER), RICH - DEPOSIT);
        assert_ok!(bid(deal, first, price(8)));
        assert_ok!(bid(deal, second, price(7)));
        assert_ok!(bid(deal, third, price(6)));
        assert_eq!((held(PROVIDER), held(PROVIDER_2)), (2 * BID_DEPOSIT, BID_DEPOSIT));
        assert_eq!([first, second, third].map(pledged), [(SMALL, 1); 3]);
        assert_noop!(Market::accept(signed(RENTER_2), deal, 2), Fails::NotRenter);
        assert_noop!(Market::accept(signed(RENTER), deal, 3), Fails::UnknownBid);
        assert_ok!(Market::accept(signed(RENTER), deal, 2));
        check();

        assert_eq!((held(PROVIDER), held(PROVIDER_2)), (0, BID_DEPOSIT));
        assert_eq!((free(PROVIDER), free(PROVIDER_2)), (one, two - BID_DEPOSIT));
        assert_eq!([first, second, third].map(pledged), [NOTHING, NOTHING, (SMALL, 1)]);
        assert!(Requests::<Test>::get(deal).is_none());
        let funded = deal_of(deal);
        assert_eq!((funded.state, funded.provider, funded.node), (DealState::Funded, PROVIDER_2, OTHER_NODE));
        assert_eq!((funded.rate, funded.deposit, funded.bond), (price(6), DEPOSIT, BOND / 10));
        assert_noop!(Market::accept(signed(RENTER), deal, 1), Fails::UnknownRequest);
        assert_noop!(Market::bid(signed(PROVIDER), deal, first, price(1), 0), Fails::UnknownRequest);

        assert_ok!(confirm(deal));
        assert_eq!((held(PROVIDER_2), pledged(third)), (0, NOTHING));
        assert_eq!(Listings::<Test>::get(third).unwrap().reserved, SMALL);
        close_up_to(110);
        forward(1);
        assert_eq!((state(deal), outcome(deal).gross), (DealState::Completed, 600));
    });
}

/// M2: a provider that does not confirm its accepted bid in time pays its deposit to the renter.
#[test]
fn a_provider_that_does_not_confirm_its_bid_pays_the_renter() {
    with_chain(|| {
        let [first, ..] = three();
        let before = free(PROVIDER);
        let deal = ask();
        assert_ok!(bid(deal, first, price(5)));
        assert_ok!(Market::accept(signed(RENTER), deal, 0));
        block_at(10 + CONFIRM_DEADLINE_SLOTS);
        assert_eq!(state(deal), DealState::Funded);
        forward(1);
        assert_eq!(state(deal), DealState::Expired);
        assert_eq!((free(RENTER), free(PROVIDER)), (RICH + BID_DEPOSIT, before - BID_DEPOSIT));
        assert_eq!((pledged(first), AcceptedBids::<Test>::get(deal)), (NOTHING, None));
        assert_eq!(outcome(deal).refund, DEPOSIT, "the renter's own deposit is whole");
    });
}

/// M26: a provider that says no does not keep the renter waiting, and a bid that it had made binds.
#[test]
fn a_provider_can_decline_and_a_bid_still_binds_it() {
    with_chain(|| {
        let [first, ..] = three();
        let before = free(PROVIDER);
        let rented = rent(RENTER, first, SMALL, 50, DEPOSIT).unwrap();
        assert_noop!(Market::decline(signed(RENTER), rented), Fails::NotProvider);
        assert_ok!(Market::decline(signed(PROVIDER), rented));
        assert_eq!((state(rented), free(RENTER), free(PROVIDER)), (DealState::Expired, RICH, before));
        assert_noop!(Market::decline(signed(PROVIDER), rented), Fails::NotFunded);
        assert!(!Janitor::is_queued(rented));

        let deal = ask();
        assert_ok!(bid(deal, first, price(5)));
        assert_ok!(Market::accept(signed(RENTER), deal, 0));
        assert_ok!(Market::decline(signed(PROVIDER), deal));
        assert_eq!((free(RENTER), free(PROVIDER)), (RICH + BID_DEPOSIT, before - BID_DEPOSIT));
        assert_eq!(pledged(first), NOTHING);
    });
}

/// M2: when the time for bids is over everything returns, a few bids at a time. Mutant: the deposit is
/// kept when a request expires.
#[test]
fn a_request_that_nobody_accepts_expires_and_everything_returns() {
    with_chain(|| {
        let nodes: Vec<u64> = (0..8).map(|n| NODE + n).collect();
        let listings: Vec<_> = nodes.iter().map(|node| list_node(*node).unwrap()).collect();
        let before = free(PROVIDER);
        let deal = ask();
        for listing in &listings {
            assert_ok!(bid(deal, *listing, price(4)));
        }
        block_at(30);
        assert_ok!(bid(deal, 0, price(3)));
        assert_noop!(bid(deal, 0, price(3)), Fails::BidNotLower);
        assert_eq!(Requests::<Test>::get(deal).unwrap().bids.len(), 8, "the last slot itself is in time");
        block_at(31);
        let left = |_| Requests::<Test>::get(deal).map_or(0, |request| request.bids.len());
        assert_eq!(left(()), 8 - BIDS_RETURNED_PER_WAKE as usize);
        assert_noop!(Market::accept(signed(RENTER), deal, 1), Fails::BiddingOver);
        assert_noop!(bid(deal, 0, price(2)), Fails::BiddingOver);
        let mut blocks = 1;
        while Requests::<Test>::contains_key(deal) {
            forward(0);
            blocks += 1;
        }
        assert_eq!(blocks, 8u32.div_ceil(BIDS_RETURNED_PER_WAKE) + 1);
        assert_eq!((free(RENTER), free(PROVIDER)), (RICH, before));
        assert!(listings.iter().all(|listing| pledged(*listing) == NOTHING));
        assert!(!Janitor::is_queued(deal) && Manifests::<Test>::get(deal).is_none());
        assert!(Deals::<Test>::get(deal).is_none());
        let closed = RuntimeEvent::Market(crate::Event::RequestClosed {
            deal,
            renter: RENTER,
            reason: CloseReason::NoBidTaken,
            deposit: DEPOSIT,
        });
        assert!(System::events().iter().any(|record| record.event == closed));
    });
}

/// I7 for requests: a janitor that works off one entry a block returns the same as one without a limit.
#[test]
fn the_janitors_cap_does_not_change_what_expired_requests_return() {
    let run = |cap: u32| {
        let mut end = None;
        with_chain(|| {
            Cap::set(cap);
            let [first, second, third] = three();
            for round in 0..5u128 {
                let deal = ask_for(if round % 2 == 0 { RENTER } else { RENTER_2 }, SMALL, Wanted::default());
                for listing in [first, second, third] {
                    assert_ok!(bid(deal, listing, price(1 + round)));
                }
            }
            while Requests::<Test>::iter().next().is_some() {
                forward(1);
            }
            end = Some(balances());
        });
        end.unwrap()
    };
    assert_eq!(run(1), run(1_000));
}

/// M2: at most twenty bids stand. A lower one takes the place of the highest, an equal one does not.
#[test]
fn a_full_request_takes_only_lower_bids() {
    with_chain(|| {
        let many = u64::from(BIDS_PER_REQUEST_MAX) + 2;
        let listings: Vec<_> = (0..many).map(|n| list_node(NODE + n).unwrap()).collect();
        let deal = ask();
        let (last, most) = listings.split_last().unwrap();
        let (extra, first) = most.split_last().unwrap();
        for (n, listing) in first.iter().enumerate() {
            assert_ok!(bid(deal, *listing, price(if n == 7 { 8 } else { 6 })));
        }
        assert_eq!(held(PROVIDER), Balance::from(BIDS_PER_REQUEST_MAX) * BID_DEPOSIT);
        assert_noop!(bid(deal, *extra, price(8)), Fails::TooManyBids);
        assert_ok!(bid(deal, *extra, price(7)));
        assert_eq!(pledged(first[7]), NOTHING, "the highest bid has lost its place");
        assert_eq!(held(PROVIDER), Balance::from(BIDS_PER_REQUEST_MAX) * BID_DEPOSIT);
        assert_noop!(bid(deal, *last, price(7)), Fails::TooManyBids);
        // A listing that bids lower itself takes its own place.
        assert_ok!(bid(deal, first[0], price(5)));
        assert_eq!(Requests::<Test>::get(deal).unwrap().bids.len(), BIDS_PER_REQUEST_MAX as usize);
        check();
        assert_ok!(Market::withdraw_request(signed(RENTER), deal));
        assert_eq!((held(PROVIDER), free(RENTER)), (0, RICH));
    });
}

/// M2: a listing bids once, and again only lower; the renter names the bid that it read.
#[test]
fn a_listing_underbids_itself_but_never_raises() {
    with_chain(|| {
        let [first, second, _] = three();
        let deal = ask();
        assert_ok!(bid(deal, first, price(6)));
        assert_noop!(bid(deal, first, price(6)), Fails::BidNotLower);
        assert_noop!(bid(deal, first, price(7)), Fails::BidNotLower);
        assert_noop!(bid(deal, first, Rate { num: 12, den: 2 }), Fails::BidNotLower);
        assert_ok!(bid(deal, first, Rate { num: 11, den: 2 }));
        assert_eq!((held(PROVIDER), pledged(first)), (BID_DEPOSIT, (SMALL, 1)), "one bid, one deposit");
        assert_noop!(Market::accept(signed(RENTER), deal, 0), Fails::UnknownBid);
        assert_ok!(bid(deal, second, price(6)));
        assert_ok!(Market::accept(signed(RENTER), deal, 1));
        assert_eq!(deal_of(deal).rate, Rate { num: 11, den: 2 });
    });
}

/// M2, M16: only listings that offer what is wanted may bid, at most at the renter's price.
#[test]
fn bids_must_meet_what_is_wanted() {
    with_chain(|| {
        let attribute = |key: &str, value| Attribute { key: key.as_bytes().to_vec().try_into().unwrap(), value };
        let attributes = |list: Vec<Attribute>| Attributes(list.try_into().unwrap());
        let offered = attributes(vec![
            attribute("cpu.cores", AttributeValue::Number(8)),
            attribute("kvm", AttributeValue::Flag(true)),
        ]);
        let sla = SlaTerms {
            availability_ppm_min: 990_000,
            round_trip_ms_max: 50,
            throughput_kbps_min: 500,
            cancel_notice_slots: 5,
            ..SlaTerms::default()
        };
        let offer = Offer { attributes: offered, sla, ..offer(PRICE, CAPACITY, region("eu"), 10, 100, BOND) };
        assert_ok!(Market::list(signed(PROVIDER), NODE, offer));
        let base = Wanted { cancel_notice_slots_max: 5, ..Wanted::default() };
        let refused = [
            Wanted { region: Some(region("us")), ..base.clone() },
            Wanted { attributes: attributes(vec![attribute("kvm", AttributeValue::Flag(false))]), ..base.clone() },
            Wanted { attributes: attributes(vec![attribute("cpu.cores", AttributeValue::Number(9))]), ..base.clone() },
            Wanted { attributes: attributes(vec![attribute("tpm", AttributeValue::Flag(true))]), ..base.clone() },
            Wanted { policy: Some(SlaPolicy::ForfeitWindow), ..base.clone() },
            Wanted { availability_ppm_min: 990_001, ..base.clone() },
            Wanted { round_trip_ms_max: 49, ..base.clone() },
            Wanted { throughput_kbps_min: 501, ..base.clone() },
            Wanted { cancel_notice_slots_max: 4, ..base.clone() },
            Wanted { notice_slots_min: 700, ..base.clone() },
        ];
        for wanted in refused {
            let deal = ask_for(RENTER, SMALL, wanted);
            let bid = Market::bid(signed(PROVIDER), deal, 0, price(5), 600);
            assert_eq!(bid, Err(Fails::NotWanted.into()), "{:?}", Requests::<Test>::get(deal));
        }
        let all = Wanted {
            region: Some(region("eu")),
            attributes: attributes(vec![
                attribute("cpu.cores", AttributeValue::Number(4)),
                attribute("kvm", AttributeValue::Flag(true)),
            ]),
            policy: Some(SlaPolicy::ProRata),
            availability_ppm_min: 990_000,
            round_trip_ms_max: 50,
            throughput_kbps_min: 500,
            notice_slots_min: 600,
            cancel_notice_slots_max: 5,
        };
        let deal = ask_for(RENTER, SMALL, all);
        let bid = |rate, notice| Market::bid(signed(PROVIDER), deal, 0, rate, notice);
        assert_noop!(bid(price(10), 600), Fails::PriceAboveMax);
        assert_noop!(bid(Rate { num: 0, den: 1 }, 600), Fails::InvalidPrice);
        assert_noop!(bid(price(5), 599), Fails::InvalidSla);
        assert_noop!(Market::bid(signed(PROVIDER_2), deal, 0, price(5), 0), Fails::NotProvider);
        assert_noop!(Market::bid(signed(PROVIDER), 999, 0, price(5), 0), Fails::UnknownRequest);
        assert_ok!(bid(MOST, 700));
        // M23: the notice that was bid is the notice of the deal.
        assert_ok!(Market::accept(signed(RENTER), deal, 0));
        assert_eq!(deal_of(deal).sla, SlaTerms { notice_slots: 700, ..sla });
    });
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    with_chain(|| {
        let request = |capacity, term, rate, deposit, slots| {
            Market::request(signed(RENTER), capacity, term, rate, deposit, Wanted::default(), slots, manifest())
        };
        let none = Capacity::default();
        assert_noop!(request(none, 100, MOST, DEPOSIT, 20), Fails::InvalidCapacity);
        assert_noop!(request(SMALL, 9, MOST, DEPOSIT, 20), Fails::InvalidTerm);
        assert_noop!(request(SMALL, 432_001, MOST, DEPOSIT, 20), Fails::InvalidTerm);
        assert_noop!(request(SMALL, 100, Rate { num: 1, den: 0 }, DEPOSIT, 20), Fails::InvalidPrice);
        assert_noop!(request(SMALL, 100, Rate { num: u128::MAX, den: 1 }, DEPOSIT, 20), Fails::PriceTooHigh);
        // Ten slots at nine are the least, and a record in state has its own.
        assert_noop!(request(SMALL, 100, MOST, 89, 20), Fails::DepositTooSmall);
        assert_noop!(request(SMALL, 100, price(1), 49, 20), Fails::DepositTooSmall);
        assert_noop!(request(SMALL, 100, MOST, DEPOSIT, 1), Fails::InvalidBidWindow);
        assert_noop!(request(SMALL, 100, MOST, DEPOSIT, BID_WINDOW_SLOTS_MAX + 1), Fails::InvalidBidWindow);
        let uncovered = pallet_x0_escrow::Error::<Test>::DepositNotCovered;
        assert_noop!(request(SMALL, 100, MOST, RICH, 20), uncovered);
        assert_ok!(request(SMALL, 100, MOST, 90, 20));
        // A request whose deposit is below the listing's own shortest term gets no bid from it.
        assert_ok!(Market::list(signed(PROVIDER), NODE, offer(PRICE, CAPACITY, region("eu"), 50, 100, BOND)));
        assert_noop!(bid(0, 0, price(2)), Fails::DepositTooSmall);
        assert_ok!(bid(0, 0, price(1)));
    });
}

/// I15: what is bid is kept, so that a bidder can always keep its word; the rest can still be rented.
#[test]
fn capacity_that_is_bid_is_not_rented_to_others() {
    with_chain(|| {
        let [first, ..] = three();
        let most = Capacity { bandwidth_kbps: 950, sessions: 5 };
        let early = rent(RENTER_2, first, most, 50, DEPOSIT).unwrap();
        let deal = ask();
        assert_ok!(bid(deal, first, price(5)));
        assert_noop!(rent(RENTER_2, first, most, 50, DEPOSIT), Fails::CapacityNotFree);
        assert_noop!(confirm(early), Fails::CapacityNotFree);
        let other = ask_for(RENTER_2, most, Wanted::default());
        assert_noop!(bid(other, first, price(5)), Fails::CapacityNotFree);
        let narrow = |capacity| offer(PRICE, capacity, region("eu"), 10, 1_000, BOND);
        let too_narrow = Capacity { bandwidth_kbps: 99, sessions: 1 };
        assert_noop!(Market::update_listing(signed(PROVIDER), first, narrow(too_narrow)), Fails::CapacityInUse);
        assert_ok!(Market::update_listing(signed(PROVIDER), first, narrow(SMALL)));
        assert_ok!(Market::accept(signed(RENTER), deal, 0));
        assert_eq!(deal_of(deal).source.version, 0, "the bid stands on the terms that it was made with");
        assert_ok!(confirm(deal));
        assert_eq!(deal_of(deal).bond, BOND / 10);
    });
}

/// A bid counts as a deal of its node: whoever wins can confirm.
#[test]
fn bids_count_against_the_number_of_deals() {
    with_chain(|| {
        let wide = Capacity { bandwidth_kbps: 1_000, sessions: 1_000 };
        let one = Capacity { bandwidth_kbps: 1, sessions: 1 };
        assert_ok!(Market::list(signed(PROVIDER), NODE, offer(PRICE, wide, region("eu"), 10, 1_000, BOND)));
        let most = x0_limits::DEALS_PER_NODE_MAX;
        for _ in 1..most {
            let deal = rent(RENTER, 0, one, 50, DEPOSIT).unwrap();
            assert_ok!(confirm(deal));
        }
        let deal = ask_for(RENTER, one, Wanted::default());
        assert_ok!(bid(deal, 0, price(5)));
        assert_noop!(rent(RENTER, 0, one, 50, DEPOSIT), Fails::TooManyDeals);
        let other = ask_for(RENTER, one, Wanted::default());
        assert_noop!(bid(other, 0, price(5)), Fails::TooManyDeals);
        assert_ok!(Market::accept(signed(RENTER), deal, 0));
        assert_ok!(confirm(deal));
    });
}

/// A bid backs its own bond: the deposit is free before the bond is held.
#[test]
fn the_bids_deposit_pays_for_the_bond() {
    with_chain(|| {
        let [first, ..] = three();
        let deal = ask();
        let bond = BOND / 10;
        Market::set_price_terms(
            RuntimeOrigin::root(),
            crate::Prices::<Test>::get(),
            PriceTerms { bid_deposit: bond, ..crate::Prices::<Test>::get() },
        )
        .unwrap();
        assert_ok!(bid(deal, first, price(5)));
        assert_ok!(Market::accept(signed(RENTER), deal, 0));
        let rest = free(PROVIDER) - EXISTENTIAL;
        assert_ok!(Balances::transfer_allow_death(signed(PROVIDER), PROVIDER_2, rest));
        assert_eq!((free(PROVIDER), held(PROVIDER)), (EXISTENTIAL, bond));
        assert_ok!(confirm(deal));
        assert_eq!((free(PROVIDER), held(PROVIDER)), (EXISTENTIAL, 0));
    });
}

/// A bid that was made with one deposit returns that deposit, whatever governance has set since.
#[test]
fn governance_changes_new_bids_only() {
    with_chain(|| {
        let [first, second, _] = three();
        let deal = ask();
        let before = free(PROVIDER);
        assert_ok!(bid(deal, first, price(5)));
        let old = crate::Prices::<Test>::get();
        let new = PriceTerms { bid_deposit: 2 * BID_DEPOSIT, ..old };
        assert_ok!(Market::set_price_terms(RuntimeOrigin::root(), old, new));
        assert_ok!(bid(deal, second, price(4)));
        assert_ok!(bid(deal, first, price(3)));
        assert_eq!(held(PROVIDER), 3 * BID_DEPOSIT);
        assert_ok!(Market::withdraw_request(signed(RENTER), deal));
        assert_eq!((free(PROVIDER), held(PROVIDER)), (before, 0));
        // Nobody bids without the money for it.
        let poor = PriceTerms { bid_deposit: RICH, ..new };
        assert_ok!(Market::set_price_terms(RuntimeOrigin::root(), new, poor));
        let other = ask();
        assert_noop!(bid(other, first, price(5)), Fails::BidDepositNotCovered);
    });
}

/// Only the renter takes a request back, before or after the deadline, and everything returns at once.
#[test]
fn a_renter_takes_its_request_back() {
    with_chain(|| {
        let listings = three();
        let money = balances();
        let deal = ask();
        for listing in listings {
            assert_ok!(bid(deal, listing, price(5)));
        }
        assert_noop!(Market::withdraw_request(signed(RENTER_2), deal), Fails::NotRenter);
        assert_ok!(Market::withdraw_request(signed(RENTER), deal));
        assert_eq!(balances(), money);
        assert_eq!(listings.map(pledged), [NOTHING; 3]);
        assert!(!Janitor::is_queued(deal));
        assert_noop!(Market::withdraw_request(signed(RENTER), deal), Fails::UnknownRequest);
    });
}

/// M38, M40: nobody bids for its own request, for that of its owner, or where one has blocked the other.
#[test]
fn bids_keep_the_parties_apart() {
    with_chain(|| {
        let [first, _, third] = three();
        let own = ask_for(PROVIDER, SMALL, Wanted::default());
        assert_noop!(bid(own, first, price(5)), Fails::SelfDealing);
        assert_ok!(bid(own, third, price(5)));
        let deal = ask();
        world(|w| w.owners.extend([(RENTER, 4), (PROVIDER, 4)]));
        assert_noop!(bid(deal, first, price(5)), Fails::SelfDealing);
        assert_ok!(bid(deal, third, price(5)));
        // An owner that is registered after the bid ends it too.
        world(|w| w.owners.insert(PROVIDER_2, 4));
        assert_noop!(Market::accept(signed(RENTER), deal, 0), Fails::SelfDealing);
        world(|w| w.owners.clear());
        assert_ok!(Market::block(signed(RENTER), PROVIDER));
        assert_noop!(bid(deal, first, price(4)), Fails::Blocked);
        assert_ok!(Market::block(signed(PROVIDER_2), RENTER));
        assert_noop!(Market::accept(signed(RENTER), deal, 0), Fails::Blocked);
    });
}

/// A listing that went away, is paused, or whose node was revoked cannot win; another bid can.
#[test]
fn a_bid_of_a_listing_that_takes_no_deals_cannot_win() {
    with_chain(|| {
        let [first, second, third] = three();
        let deal = ask();
        for listing in [first, second, third] {
            assert_ok!(bid(deal, listing, price(5)));
        }
        let accept = |bid| Market::accept(signed(RENTER), deal, bid);
        assert_ok!(Market::retire(signed(PROVIDER), first));
        assert_eq!(Listings::<Test>::get(first).unwrap().state, ListingState::Draining, "its bid still stands");
        assert_noop!(accept(0), Fails::ListingRetired);
        world(|w| w.suspended.insert(NODE_2));
        assert_noop!(accept(1), Fails::ListingPaused);
        world(|w| w.suspended.clear());
        world(|w| w.revoked.insert(NODE_2));
        assert_noop!(accept(1), Fails::NodeNotLive);
        assert_ok!(accept(2));
        assert!(Listings::<Test>::get(first).is_none(), "the last bid is gone, and the listing with it");
        assert_eq!(held(PROVIDER), 0);
    });
}
