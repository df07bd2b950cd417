//! What `market_subscribe` sends: events of deals and listings as they become final, and warnings.

use crate::Number;
use serde::{Deserialize, Serialize};
use x0_types::{AccountId, Hash};

/// What a subscriber wants to hear of; a filter without account, deals and listings lets everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NoticeFilter {
    /// What concerns this account: as renter, provider, node, bidder or payer.
    pub account: Option<AccountId>,
    /// What concerns one of these deals, at most [`x0_limits::NOTICE_DEALS_MAX`].
    pub deals: Vec<Number>,
    /// What concerns one of these listings, at most [`x0_limits::NOTICE_DEALS_MAX`].
    pub listings: Vec<Number>,
    /// Warn once (`DepositLow`) when a deal's deposit pays for at most so many further good slots.
    pub low_slots: Option<Number>,
}

/// The notices of one block; blocks without any are not sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notices {
    /// The block.
    pub block: Hash,
    /// Its height.
    pub number: u32,
    /// Its time, milliseconds since 1970; absent when the node no longer keeps its state.
    pub timestamp_ms: Option<u64>,
    /// Whether the reader was so slow that the node no longer knows what happened here.
    pub missed: bool,
    /// What happened, in order.
    pub notices: Vec<Notice>,
}

/// One notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// The event's name (`DealFrozen`), or `DepositLow`.
    pub event: String,
    /// The deal it concerns.
    pub deal: Option<Number>,
    /// The listing it concerns.
    pub listing: Option<Number>,
    /// The event's other fields by name; amounts and numbers of slots as decimal text.
    pub details: serde_json::Map<String, serde_json::Value>,
}
