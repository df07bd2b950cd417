//! Searching listings, quotes, requests with their bids, close reasons, and proofs of refunds.

use crate::{
    Amount, HexBytes, Number,
    market::{Capacity, Listing, Rate},
};
use serde::{Deserialize, Serialize};
use x0_types::{
    AccountId, Hash,
    deal::{SlaPolicy, SlaTerms},
    trust::TrustTier,
};

/// In which order `market_search` answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SearchOrder {
    /// Cheapest first: price of a kilobit per second and slot.
    #[default]
    Price,
    /// Most trusted first.
    Trust,
    /// Most free bandwidth first.
    Capacity,
    /// Oldest first.
    Number,
}

/// What `market_search` looks for; absent fields do not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Search {
    /// Only in this region.
    pub region: Option<String>,
    /// Least free bandwidth, kbit/s.
    pub bandwidth_kbps_min: u32,
    /// Least free sessions.
    pub sessions_min: u32,
    /// Highest list price of a megabit per second and slot, base units.
    pub price_per_mbps_max: Option<Amount>,
    /// Highest bond of the whole listing is at least this, base units.
    pub bond_min: Option<Amount>,
    /// Least class of trust.
    pub tier_min: Option<TrustTier>,
    /// Only with this policy.
    pub policy: Option<SlaPolicy>,
    /// Least promised availability, ppm.
    pub availability_ppm_min: u32,
    /// A term of this many slots must be possible.
    pub term_slots: Option<Number>,
    /// Attributes by name: a flag or a text as it is, a number at least as large.
    pub attributes: Vec<AttributeWish>,
    /// The order.
    pub order: SearchOrder,
    /// Goes on after the page whose `next` this is.
    pub cursor: Option<String>,
    /// Most results.
    pub limit: Option<u32>,
}

/// A wish about an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AttributeWish {
    /// Its name.
    pub name: String,
    /// Its value, or what is asked for.
    pub value: AttributeValue,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttributeValue {
    /// The node has a property or not.
    Flag(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(String),
}

/// One find.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// The listing.
    pub listing: Listing,
    /// What the provider promises.
    pub sla: SlaTerms,
    /// Attributes.
    pub attributes: Vec<AttributeWish>,
    /// The node's score as of its last epoch, ppm.
    pub score_ppm: u32,
    /// The node's class of trust.
    pub tier: TrustTier,
}

/// The answer of `market_search`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SearchPage {
    /// The block as of which the index stands.
    pub block: Hash,
    /// One page.
    pub found: Vec<Found>,
    /// How many match in all.
    pub total: u32,
    /// The cursor of the next page; `null` at the end.
    pub next: Option<String>,
}

/// The answer of `market_quote`: what a part of a listing costs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quote {
    /// The listing's version; a renter names it.
    pub version: u32,
    /// The price of a good slot, factors included.
    pub rate: Rate,
    /// Governance's factor, ppm.
    pub factor_ppm: u32,
    /// Factor of the listing's congestion, ppm.
    pub congestion_ppm: u32,
    /// Smallest deposit, base units.
    pub deposit_min: Amount,
    /// Deposit that covers the asked-for term for certain, base units.
    pub deposit_for_term: Amount,
    /// The bond before it is weighted with trust, base units.
    pub bond: Amount,
    /// The bond that the provider would post with its trust now, base units.
    pub bond_now: Amount,
    /// The treasury's share of what the provider earns, ppm.
    pub fee_ppm: u32,
}

/// A bid on a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bid {
    /// Its number in the request.
    pub bid: u32,
    /// Who bids.
    pub provider: AccountId,
    /// With which node.
    pub node: AccountId,
    /// Of which listing.
    pub listing: Number,
    /// The price of a good slot.
    pub rate: Rate,
    /// The bond before it is weighted with trust, base units.
    pub bond: Amount,
    /// What is promised.
    pub sla: SlaTerms,
    /// Held for the bid, base units.
    pub deposit: Amount,
}

/// A request that waits for bids or for the renter's choice: an element of `market_requests`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Its number, which is the deal's when a bid is taken.
    pub request: Number,
    /// Who asks.
    pub renter: AccountId,
    /// What for.
    pub capacity: Capacity,
    /// For how long, slots.
    pub term_slots: Number,
    /// The highest price of a good slot.
    pub rate_max: Rate,
    /// The renter's deposit, base units.
    pub deposit: Amount,
    /// BLAKE2b-256 of the manifest.
    pub manifest_hash: Hash,
    /// The last slot in which bids are taken.
    pub bids_until_slot: Number,
    /// The bids, in the order of their numbers.
    pub bids: Vec<Bid>,
}

/// An element of `market_closeReasons`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloseReason {
    /// Its name.
    pub name: String,
    /// Its number, which keeps its meaning for ever.
    pub code: u16,
    /// The state to which it leads, unless the deal is disputed.
    pub state: String,
    /// Whether the provider broke its promise.
    pub failure: bool,
}

/// The answer of `market_refundProof`: the record of an ended deal with the proof that it stands in the state
/// whose root the header names. The validators' signatures over the header come by `light_header`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefundProof {
    /// The block on whose state the proof is.
    pub block: Hash,
    /// Its height.
    pub number: u32,
    /// The key under which the record stands.
    pub key: HexBytes,
    /// The record, SCALE.
    pub leaf: HexBytes,
    /// Nodes of the trie from the root to the record.
    pub proof: Vec<HexBytes>,
}
