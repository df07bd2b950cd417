//! Transactions of the market, and a market that runs.

use super::{
    Reader,
    world::{CAST, PROVIDER_OF, World},
};
use pallet_x0_marketplace::{Call, Deals, ListingOf, Listings, NextDeal, NextListing, Ruling};
use sp_runtime::BoundedVec;
use x0_runtime::{AccountId, Balance, Measurement, Runtime, RuntimeCall};
use x0_types::{
    account::{MILLI, UNIT},
    deal::{
        Attribute, AttributeValue, Attributes, Capacity, CongestionStep, DealState, DealTerms, Manifest, Offer, Rate,
        ServiceCheck, SlaPolicy, SlaTerms, Wanted,
    },
    market::{DealId, Meter as _},
};

const WHOLE: Capacity = Capacity { bandwidth_kbps: 1_000, sessions: 10 };
const PRICE: Rate = Rate { num: MILLI / 100, den: 1 };
/// What a request pays at most: some times the list price.
const HIGH_PRICE: Rate = Rate { num: MILLI / 10, den: 1 };
/// The list price of [`PART`], for which a node may bid.
const BID_PRICE: Rate = Rate { num: MILLI / 400, den: 1 };
const PART: Capacity = Capacity { bandwidth_kbps: 200, sessions: 2 };
const ANY_PRICE: Rate = Rate { num: u128::MAX, den: 1 };
const TERMS: [u64; 7] = [10, 12, 40, 200, 1_000, 400_000, 0];

/// Somebody and a call of the market.
pub(super) fn read(reader: &mut Reader<'_>) -> (AccountId, RuntimeCall) {
    match reader.below(12) {
        0 | 1 => listing(reader),
        2 | 3 => renting(reader),
        4 | 5 => auction(reader),
        6 => maintenance(reader),
        _ => running(reader),
    }
}

fn person(reader: &mut Reader<'_>) -> AccountId {
    CAST.people[reader.below(CAST.people.len() as u64) as usize].clone()
}

/// Mostly the account that may make the call, sometimes anybody.
fn mostly(who: Option<AccountId>, reader: &mut Reader<'_>) -> AccountId {
    match who {
        Some(who) if reader.byte() < 240 => who,
        _ => person(reader),
    }
}

/// Mostly a deal in one of the fitting states, sometimes any or the one that comes next.
fn deal(reader: &mut Reader<'_>, fits: impl Fn(DealState) -> bool) -> DealId {
    let (choice, next) = (reader.byte(), NextDeal::<Runtime>::get());
    let mut fitting: Vec<_> = Deals::<Runtime>::iter().filter(|(_, deal)| fits(deal.state)).map(|(id, _)| id).collect();
    fitting.sort_unstable();
    match fitting.len() {
        count @ 1.. if choice < 230 => fitting[usize::from(choice) % count],
        _ => u64::from(choice) % (next + 1),
    }
}

fn capacity(reader: &mut Reader<'_>) -> Capacity {
    match reader.byte() {
        0..100 => Capacity { bandwidth_kbps: 100, sessions: 1 },
        100..200 => Capacity { bandwidth_kbps: u32::from(reader.byte()) * 4, sessions: u32::from(reader.byte() % 12) },
        200..240 => WHOLE,
        _ => Capacity { bandwidth_kbps: u32::MAX, sessions: u32::MAX },
    }
}

fn rate(reader: &mut Reader<'_>) -> Rate {
    match reader.byte() {
        0..150 => PRICE,
        150..230 => Rate { num: Balance::from(reader.byte()) * MILLI / 1_000, den: 1 + u128::from(reader.byte() % 8) },
        _ => Rate { num: reader.number(), den: reader.number() },
    }
}

fn bid_rate(reader: &mut Reader<'_>) -> Rate {
    match reader.byte() {
        0..100 => BID_PRICE,
        100..220 => Rate { num: BID_PRICE.num - Balance::from(reader.byte()) * 1_000, den: 1 },
        _ => rate(reader),
    }
}

/// An amount in the order of what deals cost, or any.
fn amount(reader: &mut Reader<'_>) -> Balance {
    match reader.byte() {
        0..200 => Balance::from(reader.byte()) * 2 * MILLI + 10 * MILLI,
        200..245 => Balance::from(reader.byte()) * UNIT,
        _ => reader.number(),
    }
}

fn offer(reader: &mut Reader<'_>) -> Offer {
    let bond = if reader.byte() < 200 { UNIT } else { amount(reader) };
    let price = rate(reader);
    let region = BoundedVec::truncate_from(reader.pick(&[&b"eu"[..], b"us", b"eu", b"us", b"eu", b""]).to_vec());
    let mut offer = Offer::plain(price, WHOLE, region, 10..=reader.pick(&[1_000, 1_000, 40, 400_000, 0]), bond);
    if reader.flag() {
        offer.sla = sla(reader);
    }
    if reader.flag() {
        let steps = (0..reader.below(4))
            .map(|n| CongestionStep { from_ppm: 250_000 * n as u32, factor_ppm: 1_000_000 + 300_000 * n as u32 });
        offer.congestion = BoundedVec::truncate_from(steps.collect());
    }
    if reader.flag() {
        offer.attributes = attributes(reader);
    }
    offer
}

fn attributes(reader: &mut Reader<'_>) -> Attributes {
    let cores = AttributeValue::Number(reader.below(4));
    let attribute = Attribute { key: BoundedVec::truncate_from(b"cores".to_vec()), value: cores };
    Attributes(BoundedVec::truncate_from(vec![attribute]))
}

fn sla(reader: &mut Reader<'_>) -> SlaTerms {
    SlaTerms {
        policy: reader.pick(&[SlaPolicy::ProRata, SlaPolicy::ForfeitWindow]),
        window_slots: reader.pick(&[10, 12, 100, 14_400, 10, 12, 100, 0]),
        availability_ppm_min: reader.pick(&[0, 500_000, 900_000, 1_000_000, 1, 500_000, 900_000, 1_000_001]),
        round_trip_ms_max: reader.pick(&[0, 100]),
        throughput_kbps_min: reader.pick(&[0, 1_000]),
        notice_slots: reader.pick(&[600, 700, 600, 0, 0, 600, 700, 1]),
        cancel_notice_slots: reader.pick(&[0, 4, 600]),
        renewal: reader.flag(),
    }
}

fn manifest(reader: &mut Reader<'_>) -> Manifest<AccountId> {
    let checks = if reader.byte() < 200 { vec![] } else { vec![ServiceCheck::Port { port: reader.byte().into() }] };
    Manifest {
        mesh: x0_types::Hash::repeat_byte(7),
        agents: BoundedVec::truncate_from(CAST.nodes[2..].to_vec()),
        checks: BoundedVec::truncate_from(checks),
    }
}

fn listing(reader: &mut Reader<'_>) -> (AccountId, RuntimeCall) {
    let (kind, n) = (reader.below(6), reader.below(4) as usize);
    let (provider, node) = (CAST.people[PROVIDER_OF[n]].clone(), CAST.nodes[n].clone());
    let listing = ListingOf::<Runtime>::get(&node).unwrap_or_else(NextListing::<Runtime>::get);
    let call = match kind {
        0 | 1 => Call::list { node, offer: offer(reader) },
        2 => Call::update_listing { listing, offer: offer(reader) },
        3 if reader.byte() < 60 => Call::retire { listing },
        3 | 4 => Call::refresh_listing { listing },
        _ if reader.flag() => Call::block { account: person(reader) },
        _ => Call::unblock { account: person(reader) },
    };
    (mostly(Some(provider), reader), call.into())
}

fn renting(reader: &mut Reader<'_>) -> (AccountId, RuntimeCall) {
    if reader.flag() {
        let deal = deal(reader, |state| state == DealState::Funded);
        let record = Deals::<Runtime>::get(deal);
        let hash = record.as_ref().map_or_else(x0_types::Hash::zero, |record| record.manifest_hash);
        let who = mostly(record.map(|record| record.provider), reader);
        let call =
            if reader.byte() < 220 { Call::confirm { deal, manifest_hash: hash } } else { Call::decline { deal } };
        return (who, call.into());
    }
    let listing = reader.pick(&[0, 1, 2, 1, 0, 2, 1, 3]);
    let version = Listings::<Runtime>::get(listing).map_or(0, |listing| listing.version);
    let call = Call::rent {
        listing,
        version,
        capacity: capacity(reader),
        term_slots: reader.pick(&TERMS),
        deposit: amount(reader),
        rate_max: if reader.byte() < 230 { ANY_PRICE } else { rate(reader) },
        manifest: manifest(reader),
    };
    (person(reader), call.into())
}

fn auction(reader: &mut Reader<'_>) -> (AccountId, RuntimeCall) {
    let request = deal(reader, |state| matches!(state, DealState::Requested | DealState::Bidding));
    let open = pallet_x0_marketplace::Requests::<Runtime>::get(request);
    match reader.below(5) {
        0 => {
            let wanted = Wanted {
                notice_slots_min: reader.pick(&[0, 0, 0, 600]),
                cancel_notice_slots_max: 600,
                attributes: if reader.byte() > 200 { attributes(reader) } else { Attributes::default() },
                ..Wanted::default()
            };
            let call = Call::request {
                capacity: capacity(reader),
                term_slots: reader.pick(&TERMS),
                rate_max: if reader.byte() < 200 { HIGH_PRICE } else { rate(reader) },
                deposit: amount(reader),
                wanted,
                bid_slots: reader.pick(&[5, 100, 5, 30, 2, 5, 100, 0]),
                manifest: manifest(reader),
            };
            (person(reader), call.into())
        }
        1 | 2 => {
            let listing = reader.pick(&[0, 1, 2, 1, 0, 2, 1, 3]);
            let provider = Listings::<Runtime>::get(listing).map(|listing| listing.provider);
            let call =
                Call::bid { request, listing, rate: bid_rate(reader), notice_slots: reader.pick(&[600, 600, 0, 1]) };
            (mostly(provider, reader), call.into())
        }
        3 => {
            let bid = reader.below(4) as u32;
            (mostly(open.map(|open| open.renter), reader), Call::accept { request, bid }.into())
        }
        _ => (mostly(open.map(|open| open.renter), reader), Call::withdraw_request { request }.into()),
    }
}

fn maintenance(reader: &mut Reader<'_>) -> (AccountId, RuntimeCall) {
    let n = reader.below(4) as usize;
    let listing = ListingOf::<Runtime>::get(&CAST.nodes[n]).unwrap_or_default();
    let from_slot = Measurement::current_slot().saturating_add(reader.pick(&[600, 620, 700, 0, u64::MAX]));
    let call = if reader.flag() {
        Call::announce_maintenance { listing, from_slot, slots: reader.pick(&[1, 50, 14_400, 0]) }
    } else {
        let planned = pallet_x0_marketplace::Calendars::<Runtime>::get(&CAST.nodes[n]);
        let first = planned.first().map_or(from_slot, |entry| entry.from_slot);
        Call::withdraw_maintenance { listing, from_slot: first }
    };
    (mostly(Some(CAST.people[PROVIDER_OF[n]].clone()), reader), call.into())
}

fn running(reader: &mut Reader<'_>) -> (AccountId, RuntimeCall) {
    let kind = reader.below(9);
    let deal = match kind {
        5 => deal(reader, |state| state == DealState::Frozen),
        6 | 7 => deal(reader, |state| state == DealState::Disputed),
        _ => deal(reader, DealState::is_running),
    };
    let record = Deals::<Runtime>::get(deal);
    let (renter, provider) = record.map(|record| (record.renter, record.provider)).unzip();
    let (who, call) = match kind {
        0 => (None, Call::settle { deal }),
        1 => (renter, Call::cancel { deal }),
        2 => (None, Call::top_up { deal, amount: amount(reader) }),
        3 => (renter, Call::set_renewal { deal, limit: amount(reader) }),
        4 => (provider, Call::reclaim { deal }),
        5 => (if reader.flag() { renter } else { provider }, Call::dispute { deal }),
        6 | 7 => {
            let ruling = Ruling { counted_slots: reader.below(4), slash: reader.flag() };
            let judge = CAST.validators[reader.below(CAST.validators.len() as u64) as usize].clone();
            (Some(judge), Call::rule { deal, ruling })
        }
        _ => {
            let agents = BoundedVec::truncate_from(CAST.nodes[..reader.below(5) as usize].to_vec());
            (renter, Call::set_agents { deal, agents })
        }
    };
    (mostly(who, reader), call.into())
}

/// Lists three nodes, rents each of them, confirms two of the deals, asks for bids and gets one; short times for
/// disputes, and two auditors.
pub(super) fn open(world: &mut World) {
    let by =
        |world: &mut World, who: &AccountId, call: RuntimeCall| assert!(world.transact(who, call), "a market opens");
    let expected = pallet_x0_marketplace::Parameters::<Runtime>::get();
    let new = DealTerms {
        conflict_run_slots: 2,
        contested_ppm: 50_000,
        dispute_window_slots: 20,
        ruling_slots: 30,
        ..expected
    };
    by(world, &CAST.people[0], superuser(Call::set_parameters { expected, new }.into()));
    for auditor in &CAST.people[2..4] {
        let admit = pallet_x0_trust::Call::admit_auditor { auditor: auditor.clone() };
        by(world, &CAST.people[0], superuser(admit.into()));
        by(world, auditor, pallet_x0_trust::Call::bond_auditor { amount: 1_000 * UNIT }.into());
    }
    let region = BoundedVec::truncate_from(b"eu".to_vec());
    for (n, (node, provider)) in CAST.nodes.iter().zip(PROVIDER_OF).take(3).enumerate() {
        let policy = if n == 2 { SlaPolicy::ForfeitWindow } else { SlaPolicy::ProRata };
        let sla = SlaTerms {
            policy,
            window_slots: 12,
            notice_slots: 600,
            availability_ppm_min: 500_000,
            renewal: true,
            ..SlaTerms::default()
        };
        let offer = Offer { sla, ..Offer::plain(PRICE, WHOLE, region.clone(), 10..=1_000, UNIT) };
        by(world, &CAST.people[provider], Call::list { node: node.clone(), offer }.into());
    }
    for (listing, term_slots) in [(0, 40), (2, 1_000), (1, 40)] {
        let deal = NextDeal::<Runtime>::get();
        let rent = Call::rent {
            listing,
            version: Listings::<Runtime>::get(listing).map_or(0, |listing| listing.version),
            capacity: PART,
            term_slots,
            deposit: 5 * UNIT,
            rate_max: ANY_PRICE,
            manifest: manifest(&mut Reader(&[])),
        };
        by(world, &CAST.people[0], rent.into());
        if listing != 1 {
            let record = Deals::<Runtime>::get(deal).expect("it was made");
            by(world, &record.provider, Call::confirm { deal, manifest_hash: record.manifest_hash }.into());
        }
    }
    let request = NextDeal::<Runtime>::get();
    let ask = Call::request {
        capacity: PART,
        term_slots: 40,
        rate_max: HIGH_PRICE,
        deposit: UNIT,
        wanted: Wanted { notice_slots_min: 600, cancel_notice_slots_max: 600, ..Wanted::default() },
        bid_slots: 30,
        manifest: manifest(&mut Reader(&[])),
    };
    by(world, &CAST.people[3], ask.into());
    by(world, &CAST.people[1], Call::bid { request, listing: 0, rate: BID_PRICE, notice_slots: 600 }.into());
}

/// A call of the superuser.
fn superuser(call: RuntimeCall) -> RuntimeCall {
    pallet_sudo::Call::sudo { call: Box::new(call) }.into()
}
