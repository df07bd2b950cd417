//! `market_search`: listings by attribute, region, price, trust, capacity and bond.
//!
//! ```text
//!   request --> index as of the head? --no--> events of the blocks since --> listings that changed, read again
//!                     | yes                    (too many blocks: all listings, once)
//!                     v
//!              filter and order in memory --> one page of listings, read from the state
//! ```
//!
//! # Correctness
//! * The market tells of every change of a listing, of its free capacity, and the trust module of every change
//!   of a score; so an index that takes in each block's events is what a walk over the state would give.
//! * A page is read from the state of the block that the index stands for.
//!
//! # Limits
//! One index; a page of at most [`PAGE_MAX`]; [`CATCH_UP_BLOCKS_MAX`] blocks of events, then a new walk.

use crate::{
    error::{RpcResult, invalid_params},
    market::listing_shape,
    module::{Module, Registered, blocking},
    node::Node,
    params::Args,
};
use pallet_x0_marketplace::{self as market, Event as MarketEvent};
use pallet_x0_trust::Event as TrustEvent;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};
use x0_rpc_types::{
    Number,
    market::PAGE_MAX,
    offers::{AttributeValue as ValueShape, AttributeWish, Found, Search, SearchOrder, SearchPage},
};
use x0_runtime::{Runtime, RuntimeEvent, System, Trust};
use x0_types::{
    AccountId, Hash,
    deal::{Attribute, AttributeKey, AttributeValue, Attributes, Capacity, Listing, ListingState, SlaTerms},
    market::ListingId,
    trust::{TrustSource as _, TrustTier},
};

/// Blocks whose events are taken in one by one; an index that is further behind is built again.
const CATCH_UP_BLOCKS_MAX: u32 = 256;
/// Kilobits in a megabit: prices are compared for a megabit per second.
const KBPS_PER_MBPS: u128 = 1_000;

/// Adds the method.
pub(crate) fn register(module: &mut Module) -> Registered {
    blocking(module, "market_search", search)
}

/// What the index knows of a listing.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    region: Vec<u8>,
    free: Capacity,
    /// List price of a megabit per second and slot, base units, ceiled.
    price: u128,
    bond: u128,
    terms: (u64, u64),
    sla: SlaTerms,
    attributes: Attributes,
    score_ppm: u32,
    tier: TrustTier,
}

/// The open listings as of a block.
#[derive(Debug, Default)]
pub(crate) struct Index {
    at: Option<(Hash, u32)>,
    entries: BTreeMap<ListingId, Entry>,
}

impl Index {
    /// Brings the index to a block.
    fn follow(&mut self, node: &Node, block: Hash, number: u32) -> RpcResult<()> {
        match self.at {
            Some((known, _)) if known == block => return Ok(()),
            Some((_, known)) if known < number && number - known <= CATCH_UP_BLOCKS_MAX => {
                match self.take_in(node, known, block, number) {
                    Ok(()) => {
                        self.at = Some((block, number));
                        return Ok(());
                    }
                    // A block in between is pruned: what it changed is found by reading everything.
                    Err(_) => self.at = None,
                }
            }
            _ => {}
        }
        self.entries = node.read(Some(block), |_| {
            market::Listings::<Runtime>::iter().filter_map(|(id, listing)| Some((id, entry(&listing)?))).collect()
        })?;
        self.at = Some((block, number));
        Ok(())
    }

    /// Takes in what changed after block `known`.
    fn take_in(&mut self, node: &Node, known: u32, block: Hash, number: u32) -> RpcResult<()> {
        let mut changed = BTreeSet::new();
        for height in known.saturating_add(1)..=number {
            let hash = if height == number { Some(block) } else { node.database.hash_of(height) };
            let Some(hash) = hash else { return Err(invalid_params("a block in between is not kept")) };
            node.read(Some(hash), |_| changed_by_events(&mut changed))?;
        }
        let read = node.read(Some(block), |_| {
            let read = |id: ListingId| (id, market::Listings::<Runtime>::get(id).as_ref().and_then(entry));
            changed.into_iter().map(read).collect::<Vec<_>>()
        })?;
        for (id, entry) in read {
            match entry {
                Some(entry) => self.entries.insert(id, entry),
                None => self.entries.remove(&id),
            };
        }
        Ok(())
    }

    /// The numbers of a page of what matches, with how many match and where the next page begins.
    fn page(&self, wish: &Wish) -> (Vec<ListingId>, usize, Option<Cursor>) {
        let matching = self.entries.iter().filter(|(_, entry)| wish.matches(entry));
        let mut found: Vec<_> = matching.map(|(id, entry)| (wish.rank(entry), *id)).collect();
        let total = found.len();
        if let Some(after) = wish.after {
            found.retain(|place| *place > after);
        }
        let more = found.len() > wish.limit;
        if more {
            found.select_nth_unstable(wish.limit);
            found.truncate(wish.limit);
        }
        found.sort_unstable();
        let next = found.last().copied().filter(|_| more);
        (found.into_iter().map(|(_, id)| id).collect(), total, next)
    }
}

/// Listings whose entries the events of the state at hand may have changed.
fn changed_by_events(changed: &mut BTreeSet<ListingId>) {
    for record in System::read_events_no_consensus() {
        match record.event {
            RuntimeEvent::Marketplace(
                MarketEvent::Listed { listing, .. }
                | MarketEvent::ListingUpdated { listing, .. }
                | MarketEvent::ListingRetired { listing }
                | MarketEvent::ListingClosed { listing }
                | MarketEvent::ListingPaused { listing }
                | MarketEvent::ListingResumed { listing }
                | MarketEvent::FreeCapacityChanged { listing, .. },
            ) => {
                changed.insert(listing);
            }
            RuntimeEvent::Trust(TrustEvent::ScoreChanged { node, .. } | TrustEvent::TierChanged { node, .. }) => {
                changed.extend(market::ListingOf::<Runtime>::get(&node));
            }
            _ => {}
        }
    }
}

/// The entry of a listing; `None` for one that takes no new deals. Call it on the state of a block.
fn entry(listing: &Listing<AccountId>) -> Option<Entry> {
    if listing.state != ListingState::Open {
        return None;
    }
    let offer = &listing.offer;
    let bandwidth = u128::from(offer.capacity.bandwidth_kbps);
    let per_slot = offer.price.den.checked_mul(bandwidth)?;
    let trust = Trust::reading(&listing.node);
    Some(Entry {
        region: offer.region.to_vec(),
        free: listing.free(),
        price: x0_accounting::mul_div_ceil(offer.price.num, KBPS_PER_MBPS, per_slot)?,
        bond: offer.bond,
        terms: (offer.term_min_slots, offer.term_max_slots),
        sla: offer.sla,
        attributes: offer.attributes.clone(),
        score_ppm: trust.score_ppm,
        tier: trust.tier,
    })
}

/// Where an entry stands in an order; smaller comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Rising(u128),
    Falling(Reverse<u64>),
}

/// The last place of a page.
type Cursor = (Rank, ListingId);

/// What is looked for, checked.
struct Wish {
    search: Search,
    attributes: Attributes,
    after: Option<Cursor>,
    limit: usize,
}

impl Wish {
    fn new(search: Search) -> RpcResult<Self> {
        let attributes = search.attributes.iter().map(attribute).collect::<RpcResult<Vec<_>>>()?;
        let many = |_| invalid_params(format!("'attributes': at most {}", x0_limits::ATTRIBUTES_MAX));
        let attributes = Attributes(attributes.try_into().map_err(many)?);
        let after = search.cursor.as_deref().map(|text| parse_cursor(search.order, text)).transpose()?;
        let limit = search.limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX) as usize;
        Ok(Self { search, attributes, after, limit })
    }

    fn matches(&self, entry: &Entry) -> bool {
        let wish = &self.search;
        entry.free.bandwidth_kbps >= wish.bandwidth_kbps_min.max(1)
            && entry.free.sessions >= wish.sessions_min.max(1)
            && wish.region.as_ref().is_none_or(|region| region.as_bytes() == entry.region)
            && wish.price_per_mbps_max.is_none_or(|most| entry.price <= most.0)
            && wish.bond_min.is_none_or(|least| entry.bond >= least.0)
            && wish.tier_min.is_none_or(|least| entry.tier >= least)
            && wish.policy.is_none_or(|policy| entry.sla.policy == policy)
            && entry.sla.availability_ppm_min >= wish.availability_ppm_min
            && wish.term_slots.is_none_or(|Number(term)| (entry.terms.0..=entry.terms.1).contains(&term))
            && entry.attributes.meets(&self.attributes)
    }

    fn rank(&self, entry: &Entry) -> Rank {
        match self.search.order {
            SearchOrder::Price => Rank::Rising(entry.price),
            SearchOrder::Trust => Rank::Falling(Reverse(entry.score_ppm.into())),
            SearchOrder::Capacity => Rank::Falling(Reverse(entry.free.bandwidth_kbps.into())),
            SearchOrder::Number => Rank::Rising(0),
        }
    }
}

fn attribute(wish: &AttributeWish) -> RpcResult<Attribute> {
    let wrong = || invalid_params(format!("'attributes': '{:.40}' is too long or empty", wish.name));
    let key = AttributeKey::try_from(wish.name.as_bytes().to_vec()).map_err(|_| wrong())?;
    let value = match &wish.value {
        ValueShape::Flag(flag) => AttributeValue::Flag(*flag),
        ValueShape::Number(Number(number)) => AttributeValue::Number(*number),
        ValueShape::Text(text) => AttributeValue::Text(text.as_bytes().to_vec().try_into().map_err(|_| wrong())?),
    };
    Ok(Attribute { key, value })
}

/// A cursor as text: the rank and the number of the last find.
fn cursor_text((rank, id): Cursor) -> String {
    match rank {
        Rank::Rising(value) => format!("{value}.{id}"),
        Rank::Falling(Reverse(value)) => format!("{value}.{id}"),
    }
}

fn parse_cursor(order: SearchOrder, text: &str) -> RpcResult<Cursor> {
    let wrong = || invalid_params("'cursor': not one that this method gave for this order");
    let (rank, id) = text.split_once('.').ok_or_else(wrong)?;
    let id = id.parse().map_err(|_| wrong())?;
    let rank = match order {
        SearchOrder::Price | SearchOrder::Number => Rank::Rising(rank.parse().map_err(|_| wrong())?),
        SearchOrder::Trust | SearchOrder::Capacity => Rank::Falling(Reverse(rank.parse().map_err(|_| wrong())?)),
    };
    Ok((rank, id))
}

fn search(node: &Node, mut args: Args) -> RpcResult<SearchPage> {
    let wish = Wish::new(args.optional("search")?.unwrap_or_default())?;
    args.end()?;
    let (block, number) = node.block(None)?;
    let mut index = node.listings.lock();
    index.follow(node, block, number)?;
    let (ids, total, next) = index.page(&wish);
    drop(index);
    let found = node.read(Some(block), |_| ids.into_iter().filter_map(found_shape).collect())?;
    Ok(SearchPage { block, found, total: u32::try_from(total).unwrap_or(u32::MAX), next: next.map(cursor_text) })
}

/// Call it on the state of a block.
fn found_shape(id: ListingId) -> Option<Found> {
    let listing = market::Listings::<Runtime>::get(id)?;
    let trust = Trust::reading(&listing.node);
    let attributes = listing.offer.attributes.0.iter().map(|attribute| AttributeWish {
        name: String::from_utf8_lossy(&attribute.key).into_owned(),
        value: match &attribute.value {
            AttributeValue::Flag(flag) => ValueShape::Flag(*flag),
            AttributeValue::Number(number) => ValueShape::Number(Number(*number)),
            AttributeValue::Text(text) => ValueShape::Text(String::from_utf8_lossy(text).into_owned()),
        },
    });
    Some(Found {
        attributes: attributes.collect(),
        sla: listing.offer.sla,
        score_ppm: trust.score_ppm,
        tier: trust.tier,
        listing: listing_shape(id, listing),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(price: u128, score_ppm: u32, free_kbps: u32, region: &str) -> Entry {
        Entry {
            region: region.as_bytes().to_vec(),
            free: Capacity { bandwidth_kbps: free_kbps, sessions: 10 },
            price,
            bond: 5,
            terms: (10, 100),
            sla: SlaTerms::default(),
            attributes: Attributes::default(),
            score_ppm,
            tier: TrustTier::Good,
        }
    }

    fn index(entries: impl IntoIterator<Item = Entry>) -> Index {
        Index { at: None, entries: (1..).zip(entries).collect() }
    }

    fn ids(index: &Index, search: Search) -> Vec<ListingId> {
        index.page(&Wish::new(search).unwrap()).0
    }

    /// M31: filters, orders, and pages that neither repeat nor leave out.
    #[test]
    fn pages_follow_one_another_in_every_order() {
        let index = index((0..50).map(|n| some(u128::from(n % 7), n * 1_000 % 9_000, 100 + n % 11, "eu")));
        for order in [SearchOrder::Price, SearchOrder::Trust, SearchOrder::Capacity, SearchOrder::Number] {
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let search = Search { order, cursor: cursor.clone(), limit: Some(8), ..Search::default() };
                let (page, total, next) = index.page(&Wish::new(search).unwrap());
                assert_eq!(total, 50);
                seen.extend(page);
                let Some(next) = next else { break };
                cursor = Some(cursor_text(next));
            }
            let mut all = seen.clone();
            all.sort_unstable();
            assert_eq!(all, (1..=50).collect::<Vec<_>>(), "{order:?}");
            let key = |id: &ListingId| {
                let entry = &index.entries[id];
                match order {
                    SearchOrder::Price => entry.price,
                    SearchOrder::Trust => u128::from(u32::MAX - entry.score_ppm),
                    SearchOrder::Capacity => u128::from(u32::MAX - entry.free.bandwidth_kbps),
                    SearchOrder::Number => u128::from(*id),
                }
            };
            assert!(seen.is_sorted_by_key(key), "{order:?}");
        }
    }

    #[test]
    fn wishes_filter() {
        let index = index([some(1, 0, 100, "eu"), some(2, 0, 5_000, "us"), some(3, 0, 5_000, "eu")]);
        let eu = Search { region: Some("eu".into()), ..Search::default() };
        assert_eq!(ids(&index, eu.clone()), [1, 3]);
        assert_eq!(ids(&index, Search { bandwidth_kbps_min: 1_000, ..eu.clone() }), [3]);
        assert_eq!(ids(&index, Search { price_per_mbps_max: Some(x0_rpc_types::Amount(2)), ..eu.clone() }), [1]);
        assert_eq!(ids(&index, Search { term_slots: Some(Number(101)), ..eu.clone() }), [0; 0]);
        assert_eq!(ids(&index, Search { tier_min: Some(TrustTier::High), ..eu.clone() }), [0; 0]);
        let wish = AttributeWish { name: "gpu".into(), value: ValueShape::Flag(true) };
        assert_eq!(ids(&index, Search { attributes: vec![wish], ..eu }), [0; 0]);
    }

    #[test]
    fn wrong_wishes_are_refused() {
        let cursor = |text: &str| Wish::new(Search { cursor: Some(text.into()), ..Search::default() });
        assert!(cursor("12").is_err() && cursor("a.1").is_err() && cursor("1.b").is_err());
        assert!(cursor("12.7").is_ok());
        let long = AttributeWish { name: "x".repeat(1_000), value: ValueShape::Flag(true) };
        assert!(Wish::new(Search { attributes: vec![long], ..Search::default() }).is_err());
    }
}
