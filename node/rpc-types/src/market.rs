//! Listings, deals, meters and the market's solvency.

use crate::{Amount, Number};
use serde::{Deserialize, Serialize};
use x0_types::{AccountId, Hash};

/// An amount per good slot, as an exact fraction of base units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Numerator, base units.
    pub num: Amount,
    /// Denominator, slots; at least 1.
    pub den: Amount,
}

/// Relay capacity of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Bandwidth, kbit/s.
    pub bandwidth_kbps: u32,
    /// Sessions at the same time.
    pub sessions: u32,
}

/// The life of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListingState {
    /// New deals are possible.
    Open,
    /// Retired: running deals go on, new ones are refused; it goes away with its last deal.
    Draining,
    /// The trust of the node is suspended: new deals are refused until it recovers.
    Paused,
}

/// One listing: an element of `market_listings`, the answer of `market_listing`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listing {
    /// Number of the listing.
    pub id: Number,
    /// Who is paid.
    pub provider: AccountId,
    /// The mesh node that is rented.
    pub node: AccountId,
    /// Where the node's agent listens, `host:port`, if its identity says so.
    pub endpoint: Option<String>,
    /// Version of the terms; a renter names the version that it agrees to.
    pub version: u32,
    /// State.
    pub state: ListingState,
    /// Price of the whole capacity.
    pub price: Rate,
    /// Whole capacity.
    pub capacity: Capacity,
    /// Capacity that no deal has reserved.
    pub free: Capacity,
    /// Region, as the provider wrote it.
    pub region: String,
    /// Shortest term, slots.
    pub term_min_slots: Number,
    /// Longest term, slots.
    pub term_max_slots: Number,
    /// Bond that the provider posts for a deal over the whole capacity, base units.
    pub bond: Amount,
}

/// Which listings `market_listings` returns; absent fields do not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ListingFilter {
    /// Only this provider's.
    pub provider: Option<AccountId>,
    /// Only this node's.
    pub node: Option<AccountId>,
    /// Only with this region.
    pub region: Option<String>,
    /// Retired listings as well.
    pub include_retired: bool,
    /// Only listings with a larger number: the last of the page before.
    pub after: Option<Number>,
    /// Most results; the node's own bound is smaller or equal to [`PAGE_MAX`].
    pub limit: Option<u32>,
}

/// Which deals `market_deals` returns; absent fields do not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DealFilter {
    /// Only this renter's.
    pub renter: Option<AccountId>,
    /// Only this provider's.
    pub provider: Option<AccountId>,
    /// Only on this node.
    pub node: Option<AccountId>,
    /// Only in this state, one of [`DEAL_STATES`]; other names are refused.
    pub state: Option<String>,
    /// Only deals that are not over.
    pub live: bool,
    /// Only deals with a larger number: the last of the page before.
    pub after: Option<Number>,
    /// Most results; the node's own bound is smaller or equal to [`PAGE_MAX`].
    pub limit: Option<u32>,
}

/// The names of all states of a deal, in the order of its life.
pub const DEAL_STATES: [&str; 15] = [
    "Funded",
    "Active",
    "Suspect",
    "Frozen",
    "Completed",
    "Cancelled",
    "Exhausted",
    "Failed",
    "Expired",
    "Requested",
    "Bidding",
    "Reclaiming",
    "Disputed",
    "Reclaimed",
    "Resolved",
];

/// Most elements of one page of listings, deals or history.
pub const PAGE_MAX: u32 = 256;

/// What the renter's mesh is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The renter's mesh.
    pub mesh: Hash,
    /// The renter's agents that may peer and relay.
    pub agents: Vec<AccountId>,
}

/// One deal: an element of `market_deals`, the answer of `market_deal`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deal {
    /// Number of the deal.
    pub id: Number,
    /// The listing it came from.
    pub listing: Number,
    /// Version of the listing's terms that both agreed to.
    pub version: u32,
    /// Who pays.
    pub renter: AccountId,
    /// Who is paid.
    pub provider: AccountId,
    /// The mesh node.
    pub node: AccountId,
    /// State by name: `Funded`, `Active`, `Suspect`, `Frozen`, `Completed`, `Cancelled`,
    /// `Exhausted`, `Failed` or `Expired`.
    pub state: String,
    /// Why the deal is frozen or over, by name, if it is.
    pub reason: Option<String>,
    /// Whether the state is final.
    pub terminal: bool,
    /// Price of the rented capacity.
    pub rate: Rate,
    /// Rented capacity.
    pub capacity: Capacity,
    /// Agreed length, slots.
    pub term_slots: Number,
    /// The renter's deposit, base units.
    pub deposit: Amount,
    /// The provider's bond for this deal, base units.
    pub bond: Amount,
    /// Slot in which the deposit was held.
    pub funded_slot: Number,
    /// The last slot in which the provider can confirm.
    pub confirm_by_slot: Number,
    /// Slot of the confirmation, once confirmed; the slots after it are billed.
    pub start_slot: Option<Number>,
    /// The last slot that is billed, once confirmed.
    pub end_slot: Option<Number>,
    /// The last closed slot when the deal was frozen, if it is.
    pub frozen_slot: Option<Number>,
    /// The block in which the deal was frozen, if it is.
    pub frozen_block: Option<u32>,
    /// BLAKE2b-256 of the manifest.
    pub manifest_hash: Hash,
    /// The renter's mesh; absent when the chain no longer keeps it.
    pub manifest: Option<Manifest>,
    /// Who got what, once the deal is paid out.
    pub outcome: Option<Outcome>,
}

/// Who got what at the end of a deal: `toProvider + fee + refund` is the deposit and
/// `slash + bondBack` the bond, exactly. Amounts in base units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Good slots that were billed.
    pub good_slots: Number,
    /// What the renter paid in all.
    pub gross: Amount,
    /// The provider's part of `gross`.
    pub to_provider: Amount,
    /// The treasury's part of `gross`.
    pub fee: Amount,
    /// The part of the deposit that went back to the renter.
    pub refund: Amount,
    /// The part of the bond that the provider lost.
    pub slash: Amount,
    /// The part of `slash` that went to the renter.
    pub compensation: Amount,
    /// The part of the bond that went back to the provider.
    pub bond_back: Amount,
}

/// What became of one slot for one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotVerdict {
    /// The slot.
    pub slot: Number,
    /// `UP`, `DOWN`, `CONFLICT`, `UNKNOWN` or `VOID`.
    pub verdict: String,
}

/// The answer of `market_dealMeter`: a deal's money and slots as of the last closed slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DealMeter {
    /// The deal.
    pub deal: Number,
    /// Block whose state this is.
    pub block: Hash,
    /// Last closed slot.
    pub closed_slot: Number,
    /// Slots since the start.
    pub slots: Number,
    /// Of these: billed.
    pub good: Number,
    /// DOWN.
    pub bad: Number,
    /// UNKNOWN or CONFLICT.
    pub unknown: Number,
    /// VOID for all nodes.
    pub void: Number,
    /// DOWN slots in a row up to now.
    pub down_run: u32,
    /// Earned so far, base units: floor of good slots times the rate, at most the deposit.
    pub gross: Amount,
    /// Of it paid out already, base units.
    pub paid: Amount,
    /// Deposit that is not earned, base units.
    pub remaining: Amount,
    /// Good slots that the deposit pays for.
    pub affordable_slots: Number,
    /// The janitor looks at the deal at this slot, if it waits for one.
    pub wakes_at_slot: Option<Number>,
    /// The node's latest slots, oldest first, at most [`RECENT_SLOTS_MAX`].
    pub recent: Vec<SlotVerdict>,
}

/// Most verdicts in [`DealMeter::recent`].
pub const RECENT_SLOTS_MAX: u64 = 100;

/// The answer of `market_solvency`: whether what the market owes is what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Solvency {
    /// Block whose state this is.
    pub block: Hash,
    /// Its height.
    pub number: u32,
    /// Deals that are not over.
    pub live_deals: u32,
    /// Sum over live deals of deposit minus paid, base units.
    pub escrow_owed: Amount,
    /// Sum of the balances held for deposits, base units.
    pub escrow_held: Amount,
    /// Sum over live deals of bonds, base units.
    pub bonds_owed: Amount,
    /// Sum of the balances held for bonds, base units.
    pub bonds_held: Amount,
    /// Total issuance, base units.
    pub issuance: Amount,
    /// Sum of all accounts' balances, base units.
    pub accounts_total: Amount,
    /// Whether held equals owed in both columns and issuance equals the sum of accounts.
    pub solvent: bool,
    /// What the escrow's own invariant check says when it fails.
    pub violation: Option<String>,
}

/// A node in measurement: an element of [`MeasurementStatus::nodes`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeasuredNode {
    /// The node.
    pub node: AccountId,
    /// Its two bits in every report have this index.
    pub index: u32,
    /// The account whose validator may not judge it.
    pub owner: AccountId,
    /// The node is judged from the slot after this one on.
    pub since: Number,
    /// DOWN slots since then.
    pub bad: Number,
    /// UNKNOWN and CONFLICT slots since then.
    pub unknown: Number,
    /// Whether the node was DOWN and has not been UP since.
    pub down: bool,
}

/// The answer of `measurement_status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeasurementStatus {
    /// Block whose state this is.
    pub block: Hash,
    /// Length of a slot, milliseconds.
    pub slot_ms: u64,
    /// Slot of this block.
    pub current_slot: Number,
    /// Last closed slot.
    pub closed_slot: Number,
    /// Closed slots that were VOID.
    pub void: Number,
    /// Nodes in measurement, by index; at most [`PAGE_MAX`] from the asked-for index on.
    pub nodes: Vec<MeasuredNode>,
    /// Nodes in measurement altogether.
    pub nodes_total: u32,
}
