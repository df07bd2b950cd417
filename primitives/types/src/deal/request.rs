//! Reverse auctions: a renter says what it wants and pays at most, providers bid below.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_core::H256;
use sp_runtime::{BoundedVec, traits::ConstU32};

use super::{Attributes, Capacity, ListingRef, Offer, Rate, Region, SlaPolicy, SlaTerms};
use crate::{account::Balance, market::Slot};

/// What a listing must offer to bid for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Wanted {
    /// The region, when it matters.
    pub region: Option<Region>,
    /// Attributes: flags and texts as they are, numbers at least as large.
    pub attributes: Attributes,
    /// Which slots are paid, when it matters.
    pub policy: Option<SlaPolicy>,
    /// Least promised availability, ppm.
    pub availability_ppm_min: u32,
    /// Longest promised round trip, milliseconds; 0 asks for none.
    pub round_trip_ms_max: u32,
    /// Least promised throughput, kilobits per second; 0 asks for none.
    pub throughput_kbps_min: u32,
    /// Shortest notice of a provider that may end the deal early, slots; one that may not is always
    /// welcome.
    pub notice_slots_min: Slot,
    /// Most slots that a cancelling renter still pays for.
    pub cancel_notice_slots_max: Slot,
}

impl Wanted {
    /// Whether the attributes are in order and the rest within bounds.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.attributes.is_valid()
            && self.region.as_ref().is_none_or(|region| !region.is_empty())
            && self.availability_ppm_min <= super::PPM
    }

    /// Whether an offer, with the terms of a bid, is what is wanted.
    #[must_use]
    pub fn met_by(&self, offer: &Offer, sla: &SlaTerms) -> bool {
        let round_trip = sla.round_trip_ms_max > 0 && sla.round_trip_ms_max <= self.round_trip_ms_max;
        self.region.as_ref().is_none_or(|region| *region == offer.region)
            && offer.attributes.meets(&self.attributes)
            && self.policy.is_none_or(|policy| policy == sla.policy)
            && sla.availability_ppm_min >= self.availability_ppm_min
            && (self.round_trip_ms_max == 0 || round_trip)
            && sla.throughput_kbps_min >= self.throughput_kbps_min
            && (sla.notice_slots == 0 || sla.notice_slots >= self.notice_slots_min)
            && sla.cancel_notice_slots <= self.cancel_notice_slots_max
    }
}

/// A provider's bid: binding until it loses or the request ends.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Bid<AccountId> {
    /// Number of the bid within the request; a lower bid of the same listing has a new number.
    pub number: u32,
    /// Who bids.
    pub provider: AccountId,
    /// Subject of the node's agent.
    pub node: AccountId,
    /// The listing and the version whose terms are bid.
    pub source: ListingRef,
    /// The price of a good slot for the capacity that is asked for.
    pub rate: Rate,
    /// The bond that the deal is posted with, before the discount for trust.
    pub bond: Balance,
    /// What is promised, the notice of the bid included.
    pub sla: SlaTerms,
    /// Held from the provider while the bid stands.
    pub deposit: Balance,
}

/// The bids of a request.
pub type Bids<AccountId> = BoundedVec<Bid<AccountId>, ConstU32<{ x0_limits::BIDS_PER_REQUEST_MAX }>>;

/// What a renter asks for. It has the number of the deal that it becomes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Request<AccountId> {
    /// Who asks.
    pub renter: AccountId,
    /// What is asked for.
    pub capacity: Capacity,
    /// Slots from confirmation to end.
    pub term_slots: u64,
    /// The highest price of a good slot for that capacity.
    pub rate_max: Rate,
    /// What the renter has paid in.
    pub deposit: Balance,
    /// What a listing must offer.
    pub wanted: Wanted,
    /// BLAKE2b-256 of the manifest.
    pub manifest_hash: H256,
    /// When it was made.
    pub since_slot: Slot,
    /// The last slot in which providers bid and the renter accepts.
    pub bids_until_slot: Slot,
    /// The number of the next bid.
    pub next_bid: u32,
    /// The bids that stand.
    pub bids: Bids<AccountId>,
}

/// A provider's bid deposit while its accepted bid waits for the confirmation.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct BidDeposit<AccountId> {
    /// Whose it is.
    pub provider: AccountId,
    /// How much.
    pub amount: Balance,
}

/// Parameters of prices and auctions that governance may change; standing bids and deals keep those they
/// were made with.
#[derive(
    Clone,
    Copy,
    Debug,
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
pub struct PriceTerms {
    /// The network's factor on every list price, ppm: within [`x0_limits::PRICE_FACTOR_PPM_MIN`] and
    /// [`x0_limits::PRICE_FACTOR_PPM_MAX`].
    pub factor_ppm: u32,
    /// Held from a provider for each bid, base units: at least [`x0_limits::BID_DEPOSIT_MIN`].
    pub bid_deposit: Balance,
}

impl Default for PriceTerms {
    fn default() -> Self {
        Self { factor_ppm: super::PPM, bid_deposit: x0_limits::BID_DEPOSIT }
    }
}

impl PriceTerms {
    /// Whether both parts lie within their bounds.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        x0_accounting::price::is_factor(self.factor_ppm)
            && self.bid_deposit >= x0_limits::BID_DEPOSIT_MIN
            && self.bid_deposit <= x0_limits::BID_DEPOSIT_MAX
    }
}

/// What became of the confirmed deals of an account. Deals that nobody confirmed do not count, so that
/// nobody can give another a bad name by asking.
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
pub struct Reputation {
    /// Confirmed deals, running ones included.
    pub confirmed: u32,
    /// Of these: served to their end, or until the deposit was used up.
    pub completed: u32,
    /// Ended early by the renter.
    pub cancelled: u32,
    /// Ended early by the provider, with notice.
    pub reclaimed: u32,
    /// Failed by a verdict.
    pub failed: u32,
    /// Good slots that were paid.
    pub good_slots: u64,
    /// Slots in which the node was down.
    pub bad_slots: u64,
}
