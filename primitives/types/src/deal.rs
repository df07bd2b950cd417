//! What providers offer and renters rent: rates, capacities, manifests, states and outcomes.
//!
//! The market pallets store these types, and the RPC, the wallet and the agent read and quote with
//! the same code, so that a quote and a bill never differ by a rounding.
//!
//! Rounding: what a renter owes is floored once on the cumulative amount; what a renter must bring
//! before a deal is ceiled.
#![allow(clippy::cast_possible_truncation, reason = "the derive of Encode casts the index of a variant to a byte")]

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

use crate::market::{DealId, Slot};

mod attributes;
mod leaf;
mod listing;
mod manifest;
mod request;
pub mod sla;
mod state;
mod terms;

pub use attributes::{Attribute, AttributeKey, AttributeValue, Attributes};
pub use leaf::{DealLeaf, LeafEvidence};
pub use listing::{CongestionCurve, CongestionStep, Listing, ListingRef, ListingState, Offer, Quote, Region};
pub use manifest::{CheckPath, Manifest, ManifestChange, ServiceCheck, ServiceChecks};
pub use request::{Bid, BidDeposit, Bids, PriceTerms, Reputation, Request, Wanted};
pub use sla::{SlaPolicy, SlaTerms};
pub use state::{CloseReason, DealState};
pub use terms::DealTerms;
pub use x0_accounting::{Outcome, PPM, Rate, mul_div_ceil, mul_div_floor, share_floor};

/// A key of a queue that is ordered by slot, then by deal: both big-endian, for a map with an
/// identity hasher, whose first key is then the next entry.
#[must_use]
pub const fn queue_key(slot: Slot, deal: DealId) -> [u8; 16] {
    (((slot as u128) << 64) | deal as u128).to_be_bytes()
}

/// Slot and deal of a [`queue_key`].
#[must_use]
pub const fn split_queue_key(key: [u8; 16]) -> (Slot, DealId) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = key;
    (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes([i, j, k, l, m, n, o, p]))
}

/// Relay capacity of a node.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Capacity {
    /// Relay bandwidth, kilobits per second.
    pub bandwidth_kbps: u32,
    /// Mesh sessions at once.
    pub sessions: u32,
}

impl Capacity {
    /// Whether both parts are positive.
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        self.bandwidth_kbps > 0 && self.sessions > 0
    }

    /// Whether this capacity fits into another.
    #[must_use]
    pub const fn fits(&self, into: &Self) -> bool {
        self.bandwidth_kbps <= into.bandwidth_kbps && self.sessions <= into.sessions
    }

    /// The sum, `None` on overflow.
    #[must_use]
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        Some(Self {
            bandwidth_kbps: self.bandwidth_kbps.checked_add(other.bandwidth_kbps)?,
            sessions: self.sessions.checked_add(other.sessions)?,
        })
    }

    /// The difference, `None` below zero.
    #[must_use]
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        Some(Self {
            bandwidth_kbps: self.bandwidth_kbps.checked_sub(other.bandwidth_kbps)?,
            sessions: self.sessions.checked_sub(other.sessions)?,
        })
    }
}

#[cfg(test)]
mod tests;
