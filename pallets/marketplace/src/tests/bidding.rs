//! Random histories of auctions, rents and everything that can come between, against a model.
//!
//! The model shares no code with the pallet: it keeps bids in lists, compares prices by cross-multiplying,
//! and says of each call whether the rules allow it and, at the end, what everybody owns. All nodes are up
//! in every slot, so a deal's good slots are the slots that passed.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Error, Listings, Requests, mock::*};
use proptest::prelude::*;
use sp_runtime::{DispatchError, DispatchResult};
use x0_types::{
    deal::{Capacity, CongestionStep, DealState, ListingState, Offer, PriceTerms, Rate, Wanted},
    market::{DealId, ListingId, Slot},
};

const NODES: [u64; 3] = [NODE, NODE_2, OTHER_NODE];
const RENTERS: [u64; 2] = [RENTER, RENTER_2];
/// What one thousand kilobits cost for a slot, before factors, and the steps of the third listing.
const PRICE_NUM: u128 = 7;

#[derive(Clone, Debug)]
enum Op {
    Request { renter: usize, kbps: u32, term: u64, most: u128, deposit: u128, slots: u64 },
    Bid { request: usize, listing: usize, num: u128, den: u128 },
    Accept { request: usize, bid: usize },
    Withdraw(usize),
    Rent { renter: usize, listing: usize, kbps: u32, term: u64, deposit: u128, most: u128 },
    Confirm(usize),
    Decline(usize),
    Cancel(usize),
    Agents(usize, u64),
    Suspend(usize, bool),
    Owner(usize, usize, bool),
    BlockAccount(usize, usize, bool),
    Prices { factor_ppm: u32, bid_deposit: u128 },
    Slots(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let any = any::<usize>;
    prop_oneof![
        4 => (0usize..2, 50u32..700, 10u64..30, 2u128..9, 100u128..600, 2u64..12).prop_map(
            |(renter, kbps, term, most, deposit, slots)| Op::Request { renter, kbps, term, most, deposit, slots }
        ),
        8 => (any(), 0usize..3, 1u128..20, 1u128..4)
            .prop_map(|(request, listing, num, den)| Op::Bid { request, listing, num, den }),
        4 => (any(), any()).prop_map(|(request, bid)| Op::Accept { request, bid }),
        1 => any().prop_map(Op::Withdraw),
        3 => (0usize..2, 0usize..3, 50u32..700, 10u64..30, 60u128..600, 3u128..30).prop_map(
            |(renter, listing, kbps, term, deposit, most)| Op::Rent { renter, listing, kbps, term, deposit, most }
        ),
        5 => any().prop_map(Op::Confirm),
        1 => any().prop_map(Op::Decline),
        1 => any().prop_map(Op::Cancel),
        1 => (any(), 900u64..904).prop_map(|(deal, agent)| Op::Agents(deal, agent)),
        1 => (0usize..3, proptest::bool::weighted(0.3)).prop_map(|(node, on)| Op::Suspend(node, on)),
        1 => (0usize..2, 0usize..2, proptest::bool::weighted(0.2))
            .prop_map(|(renter, provider, on)| Op::Owner(renter, provider, on)),
        1 => (0usize..2, 0usize..2, proptest::bool::weighted(0.3))
            .prop_map(|(renter, provider, on)| Op::BlockAccount(renter, provider, on)),
        1 => (500_000u32..2_000_000, 1u128..5_000)
            .prop_map(|(factor_ppm, bid_deposit)| Op::Prices { factor_ppm, bid_deposit }),
        8 => prop_oneof![6 => Just(1u64), 2 => 2u64..6, 1 => Just(40u64)].prop_map(Op::Slots),
    ]
}

#[derive(Clone, Debug)]
struct ModelBid {
    number: u32,
    listing: usize,
    rate: (u128, u128),
    deposit: u128,
}

#[derive(Clone, Debug)]
struct ModelRequest {
    renter: u64,
    term: u64,
    most: u128,
    deposit: u128,
    until: Slot,
    next: u32,
    bids: Vec<ModelBid>,
}

#[derive(Clone, Debug)]
struct ModelDeal {
    renter: u64,
    listing: usize,
    term: u64,
    deposit: u128,
    /// Base units and slots: exact, not in lowest terms.
    rate: (u128, u128),
    /// Of an accepted bid.
    bid_deposit: Option<u128>,
    by: Slot,
    confirmed: Option<Slot>,
    declined: bool,
    cancelled: Option<Slot>,
    agents: u64,
}

#[derive(Default)]
struct Model {
    requests: BTreeMap<DealId, ModelRequest>,
    deals: BTreeMap<DealId, ModelDeal>,
    suspended: BTreeSet<usize>,
    owners: BTreeSet<(u64, u64)>,
    blocked: BTreeSet<(u64, u64)>,
    factor_ppm: u128,
    bid_deposit: u128,
}

fn provider(listing: usize) -> u64 {
    NODES[listing] / 100
}

/// `a <= b`, as products of small numbers.
fn at_most(a: (u128, u128), b: (u128, u128)) -> bool {
    a.0 * b.1 <= b.0 * a.1
}

/// Steps of the third listing: three quarters more from half of the bandwidth on.
fn curve(listing: usize) -> Vec<CongestionStep> {
    let steps = vec![CongestionStep { from_ppm: 500_000, factor_ppm: 1_750_000 }];
    if listing == 2 { steps } else { Vec::new() }
}

impl Model {
    /// Whether the two may make deals and the listing takes any: rules that do not depend on capacity.
    fn apart(&self, renter: u64, listing: usize) -> bool {
        let pair = (renter, provider(listing));
        !self.owners.contains(&pair) && !self.blocked.contains(&pair) && !self.suspended.contains(&listing)
    }

    fn may_bid(&self, deal: DealId, listing: usize, rate: (u128, u128), now: Slot) -> bool {
        let Some(request) = self.requests.get(&deal) else { return false };
        let own = request.bids.iter().find(|bid| bid.listing == listing);
        now <= request.until
            && self.apart(request.renter, listing)
            && at_most(rate, (request.most, 1))
            && request.deposit * rate.1 >= 10 * rate.0
            && own.is_none_or(|own| !at_most(own.rate, rate))
    }

    /// Free money of the parties and the treasury at the end. Deals end at their terms at the latest.
    fn money(&self) -> Vec<u128> {
        let mut money: BTreeMap<u64, i128> = ACCOUNTS.iter().map(|who| (*who, RICH as i128)).collect();
        let mut treasury = EXISTENTIAL as i128;
        for deal in self.deals.values() {
            let Some(confirmed) = deal.confirmed else {
                // Nobody confirmed: the deposit of an accepted bid went to the renter.
                let forfeited = deal.bid_deposit.unwrap_or(0) as i128;
                *money.get_mut(&provider(deal.listing)).unwrap() -= forfeited;
                *money.get_mut(&deal.renter).unwrap() += forfeited;
                continue;
            };
            let last = deal.cancelled.unwrap_or(confirmed + deal.term);
            let slots = u128::from(last.saturating_sub(confirmed).min(deal.term));
            let afford = deal.deposit * deal.rate.1 / deal.rate.0;
            let gross = slots.min(afford) * deal.rate.0 / deal.rate.1;
            let fee = gross * 25_000 / 1_000_000;
            *money.get_mut(&provider(deal.listing)).unwrap() += (gross - fee) as i128;
            *money.get_mut(&deal.renter).unwrap() -= gross as i128;
            treasury += fee as i128;
        }
        for (renter, _) in &self.blocked {
            *money.get_mut(renter).unwrap() -= BLOCK_DEPOSIT as i128;
        }
        *money.get_mut(&PROVIDER).unwrap() -= 2 * LISTING_DEPOSIT as i128;
        *money.get_mut(&PROVIDER_2).unwrap() -= LISTING_DEPOSIT as i128;
        ACCOUNTS.iter().map(|who| money[who]).chain([treasury]).map(|amount| amount as u128).collect()
    }
}

/// Refusals that depend on how much is free at the moment, which the model leaves to the invariants.
fn is_crowded(error: DispatchError) -> bool {
    [Error::<Test>::CapacityNotFree, Error::<Test>::TooManyDeals, Error::<Test>::TooManyBids]
        .into_iter()
        .any(|crowded| error == crowded.into())
}

/// The chain does what the model allows, and refuses the rest; only lack of room is its own affair.
/// Returns whether it did it.
fn agree(result: DispatchResult, allowed: bool, what: &Op) -> bool {
    match result {
        Ok(()) => assert!(allowed, "{what:?} was accepted"),
        Err(error) => assert!(!allowed || is_crowded(error), "{what:?} was refused: {error:?}"),
    }
    result.is_ok()
}

fn pick<V>(map: &BTreeMap<DealId, V>, index: usize) -> Option<DealId> {
    map.keys().nth(index.checked_rem(map.len())?).copied()
}

/// The price by the book: list price, share, factor and step, as one fraction.
fn book_rate(model: &Model, listing: usize, kbps: u32) -> (u128, u128) {
    let taken = Listings::<Test>::get(listing as ListingId).unwrap().taken().unwrap();
    // Half of a thousand kilobits or of a thousand sessions.
    let crowded = taken.bandwidth_kbps >= 500 || taken.sessions >= 500;
    let step = if listing == 2 && crowded { 1_750_000 } else { 1_000_000 };
    (PRICE_NUM * u128::from(kbps) * model.factor_ppm * step, 1_000 * 1_000_000 * 1_000_000)
}

fn ask(model: &mut Model, op: &Op, now: Slot) {
    let deal = crate::NextDeal::<Test>::get();
    match *op {
        Op::Request { renter, kbps, term, most, deposit, slots } => {
            let (renter, capacity) = (RENTERS[renter], Capacity { bandwidth_kbps: kbps, sessions: 1 });
            let rate = Rate { num: most, den: 1 };
            let wanted = Wanted::default();
            let result = Market::request(signed(renter), capacity, term, rate, deposit, wanted, slots, manifest());
            if agree(result, deposit >= 10 * most, op) {
                let until = now + slots;
                let bids = Vec::new();
                let request = ModelRequest { renter, term, most, deposit, until, next: 0, bids };
                model.requests.insert(deal, request);
            }
        }
        Op::Rent { renter, listing, kbps, term, deposit, most } => {
            let (renter, capacity) = (RENTERS[renter], Capacity { bandwidth_kbps: kbps, sessions: 1 });
            let rate = book_rate(model, listing, kbps);
            let least = (10 * rate.0).div_ceil(rate.1).max(50);
            let allowed = model.apart(renter, listing) && at_most(rate, (most, 1)) && deposit >= least;
            let rate_max = Rate { num: most, den: 1 };
            let id = listing as ListingId;
            let result = Market::rent(signed(renter), id, 0, capacity, term, deposit, rate_max, manifest());
            if agree(result, allowed, op) {
                let by = now + 100;
                model.deals.insert(
                    deal,
                    ModelDeal {
                        renter,
                        listing,
                        term,
                        deposit,
                        rate,
                        bid_deposit: None,
                        by,
                        confirmed: None,
                        declined: false,
                        cancelled: None,
                        agents: 0,
                    },
                );
            }
        }
        _ => {}
    }
}

fn auction(model: &mut Model, op: &Op, now: Slot) {
    match *op {
        Op::Bid { request, listing, num, den } => {
            let Some(deal) = pick(&model.requests, request) else { return };
            let allowed = model.may_bid(deal, listing, (num, den), now);
            let rate = Rate { num, den };
            let result = Market::bid(signed(provider(listing)), deal, listing as ListingId, rate, 0);
            if agree(result, allowed, op) {
                let fresh = model.bid_deposit;
                let request = model.requests.get_mut(&deal).unwrap();
                let own = request.bids.iter().position(|bid| bid.listing == listing);
                let deposit = own.map_or(fresh, |place| request.bids.remove(place).deposit);
                request.bids.push(ModelBid { number: request.next, listing, rate: (num, den), deposit });
                request.next += 1;
            }
        }
        Op::Accept { request, bid } => {
            let Some(deal) = pick(&model.requests, request) else { return };
            let asked = model.requests[&deal].clone();
            let chosen = asked.bids.get(bid % (asked.bids.len() + 1)).cloned();
            let allowed =
                now <= asked.until && chosen.as_ref().is_some_and(|bid| model.apart(asked.renter, bid.listing));
            let number = chosen.as_ref().map_or(asked.next, |bid| bid.number);
            if agree(Market::accept(signed(asked.renter), deal, number), allowed, op) {
                let bid = chosen.unwrap();
                model.requests.remove(&deal);
                let ModelRequest { renter, term, deposit, .. } = asked;
                model.deals.insert(
                    deal,
                    ModelDeal {
                        renter,
                        listing: bid.listing,
                        term,
                        deposit,
                        rate: bid.rate,
                        bid_deposit: Some(bid.deposit),
                        by: now + 100,
                        confirmed: None,
                        declined: false,
                        cancelled: None,
                        agents: 0,
                    },
                );
            }
        }
        Op::Withdraw(index) => {
            let Some(deal) = pick(&model.requests, index) else { return };
            let renter = model.requests[&deal].renter;
            // The janitor may have been first.
            let gone = !Requests::<Test>::contains_key(deal);
            assert!(!gone || now > model.requests[&deal].until, "it went before its time");
            if agree(Market::withdraw_request(signed(renter), deal), !gone, op) || gone {
                model.requests.remove(&deal);
            }
        }
        _ => {}
    }
}

fn deals(model: &mut Model, op: &Op, now: Slot) {
    let (Op::Confirm(index) | Op::Decline(index) | Op::Cancel(index) | Op::Agents(index, _)) = *op else { return };
    let Some(id) = pick(&model.deals, index) else { return };
    let deal = model.deals[&id].clone();
    let waits = deal.confirmed.is_none() && !deal.declined && now <= deal.by;
    let who = provider(deal.listing);
    let running = state(id).is_running();
    match *op {
        Op::Confirm(_) => {
            let allowed = waits && !model.suspended.contains(&deal.listing);
            let done = agree(Market::confirm(signed(who), id, manifest().hash()), allowed, op);
            // An accepted bid has its place, whatever else was rented meanwhile.
            assert!(done || !allowed || deal.bid_deposit.is_none(), "deal {id}: a bid found no room");
            if done {
                model.deals.get_mut(&id).unwrap().confirmed = Some(now);
            }
        }
        Op::Decline(_) => {
            let waits = state(id) == DealState::Funded;
            if agree(Market::decline(signed(who), id), waits, op) {
                model.deals.get_mut(&id).unwrap().declined = true;
            }
        }
        Op::Cancel(_) => {
            let done = agree(Market::cancel(signed(deal.renter), id), running, op);
            if done && state(id) == DealState::Cancelled {
                model.deals.get_mut(&id).unwrap().cancelled = Some(world(|w| w.closed));
            }
        }
        Op::Agents(_, agent) => {
            let agents = vec![agent].try_into().unwrap();
            let result = Market::set_agents(signed(deal.renter), id, agents);
            if agree(result, running && deal.agents != agent, op) {
                model.deals.get_mut(&id).unwrap().agents = agent;
            }
        }
        _ => {}
    }
}

fn settings(model: &mut Model, op: &Op) {
    match *op {
        Op::Suspend(node, on) => {
            let changed = if on { model.suspended.insert(node) } else { model.suspended.remove(&node) };
            world(|w| if on { w.suspended.insert(NODES[node]) } else { w.suspended.remove(&NODES[node]) });
            if changed {
                Market::refresh_listing(signed(RENTER), node as ListingId).unwrap();
                let paused = Listings::<Test>::get(node as ListingId).unwrap().state == ListingState::Paused;
                assert_eq!(paused, on);
            }
        }
        Op::Owner(renter, other, on) => {
            // Everybody is registered as one owner with a single other account, or not at all.
            let pair = (RENTERS[renter], [PROVIDER, PROVIDER_2][other]);
            model.owners.clear();
            world(|w| w.owners.clear());
            if on {
                model.owners.insert(pair);
                world(|w| w.owners.extend([(pair.0, 1), (pair.1, 1)]));
            }
        }
        Op::BlockAccount(renter, other, on) => {
            let (renter, other) = (RENTERS[renter], [PROVIDER, PROVIDER_2][other]);
            let known = model.blocked.contains(&(renter, other));
            if on {
                if agree(Market::block(signed(renter), other), !known, op) {
                    model.blocked.insert((renter, other));
                }
            } else if agree(Market::unblock(signed(renter), other), known, op) {
                model.blocked.remove(&(renter, other));
            }
        }
        Op::Prices { factor_ppm, bid_deposit } => {
            let old = crate::Prices::<Test>::get();
            let new = PriceTerms { factor_ppm, bid_deposit };
            Market::set_price_terms(RuntimeOrigin::root(), old, new).unwrap();
            (model.factor_ppm, model.bid_deposit) = (factor_ppm.into(), bid_deposit);
        }
        _ => {}
    }
}

/// M31: whoever follows the events knows what is listed, in which state, and how much of it is free.
#[derive(Default)]
struct Index {
    read: usize,
    listings: BTreeMap<ListingId, (ListingState, Option<Capacity>)>,
}

impl Index {
    fn follow(&mut self) {
        let events: Vec<_> = System::events().into_iter().skip(self.read).collect();
        self.read += events.len();
        for record in events {
            let RuntimeEvent::Market(event) = record.event else { continue };
            match event {
                crate::Event::Listed { listing, .. } => {
                    self.listings.insert(listing, (ListingState::Open, None));
                }
                crate::Event::ListingPaused { listing } => self.state(listing, ListingState::Paused),
                crate::Event::ListingResumed { listing } => self.state(listing, ListingState::Open),
                crate::Event::ListingRetired { listing } => self.state(listing, ListingState::Draining),
                crate::Event::FreeCapacityChanged { listing, free } => {
                    self.listings.get_mut(&listing).unwrap().1 = Some(free);
                }
                crate::Event::ListingClosed { listing } => drop(self.listings.remove(&listing)),
                _ => {}
            }
        }
        assert_eq!(self.listings.len(), Listings::<Test>::iter().count());
        for (id, listing) in Listings::<Test>::iter() {
            let (state, free) = self.listings[&id];
            assert_eq!(
                (state, free.unwrap_or(listing.offer.capacity)),
                (listing.state, listing.free()),
                "listing {id}"
            );
        }
    }

    fn state(&mut self, listing: ListingId, state: ListingState) {
        self.listings.get_mut(&listing).unwrap().0 = state;
    }
}

fn run(ops: &[Op], cap: u32) -> Vec<u128> {
    let mut end = None;
    with_chain(|| {
        Cap::set(cap);
        let wide = Capacity { bandwidth_kbps: 1_000, sessions: 1_000 };
        for (listing, node) in NODES.iter().enumerate() {
            let price = Rate { num: PRICE_NUM, den: 1 };
            let offer = Offer {
                congestion: curve(listing).try_into().unwrap(),
                ..offer(price, wide, region("eu"), 10, 1_000, BOND)
            };
            Market::list(signed(node / 100), *node, offer).unwrap();
        }
        let mut model = Model { factor_ppm: 1_000_000, bid_deposit: BID_DEPOSIT, ..Model::default() };
        let mut index = Index::default();
        for op in ops {
            let now = world(|w| w.current);
            match op {
                Op::Request { .. } | Op::Rent { .. } => ask(&mut model, op, now),
                Op::Bid { .. } | Op::Accept { .. } | Op::Withdraw(_) => auction(&mut model, op, now),
                Op::Confirm(_) | Op::Decline(_) | Op::Cancel(_) | Op::Agents(..) => deals(&mut model, op, now),
                Op::Suspend(..) | Op::Owner(..) | Op::BlockAccount(..) | Op::Prices { .. } => settings(&mut model, op),
                Op::Slots(slots) => forward(*slots),
            }
            check();
            index.follow();
        }
        // Every request and every deal ends without a user.
        let mut blocks = 0;
        while Requests::<Test>::iter().next().is_some()
            || crate::Deals::<Test>::iter_values().any(|deal| !deal.state.is_terminal())
        {
            forward(1);
            blocks += 1;
            assert!(blocks < 1_000, "a deal does not end");
        }
        index.follow();
        assert!(Listings::<Test>::iter_values().all(|listing| listing.taken() == Some(Capacity::default())));
        assert_eq!(balances(), model.money());
        end = Some(balances());
    });
    end.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 4_000, ..ProptestConfig::default() })]

    /// M2, M3, M26, M31, M38, M40: every call is accepted or refused as the model says, the invariants
    /// (I15 and I18 among them) hold after each, an index of events is never wrong, and in the end everybody
    /// owns what the model says.
    #[test]
    fn auctions_and_rents_agree_with_the_model(ops in proptest::collection::vec(op(), 20..150)) {
        run(&ops, 100);
    }
}
