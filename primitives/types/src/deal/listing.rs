//! What providers offer and how it stands.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_runtime::{BoundedVec, traits::ConstU32};

use super::{Attributes, Capacity, Rate, SlaTerms};
use crate::{
    account::Balance,
    market::{ListingId, Slot},
};

pub use x0_accounting::price::CongestionStep;

/// A region's name: printable ASCII.
pub type Region = BoundedVec<u8, ConstU32<{ x0_limits::REGION_BYTES_MAX }>>;

/// The steps by which a listing's price rises with its occupancy; empty for one price.
pub type CongestionCurve = BoundedVec<CongestionStep, ConstU32<{ x0_limits::CONGESTION_STEPS_MAX }>>;

/// Where a listing stands. A closed listing is not stored.
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
pub enum ListingState {
    /// Takes new deals.
    Open,
    /// Retired; goes away with its last deal.
    Draining,
    /// Takes no new deals while its node's trust is suspended; Open again when it recovers.
    Paused,
}

/// What a listing offers and asks.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Offer {
    /// The price of the whole capacity for each good slot, before the factors of the network and of
    /// `congestion`.
    pub price: Rate,
    /// What the node can serve in all.
    pub capacity: Capacity,
    /// Where the node stands.
    pub region: Region,
    /// Shortest term, slots.
    pub term_min_slots: u64,
    /// Longest term, slots.
    pub term_max_slots: u64,
    /// The bond for a deal over the whole capacity; a deal over a part posts its share, ceiled.
    pub bond: Balance,
    /// What the provider says of the node.
    pub attributes: Attributes,
    /// What the provider promises.
    pub sla: SlaTerms,
    /// How the price rises with what is taken already.
    pub congestion: CongestionCurve,
}

impl Offer {
    /// An offer at one price, without attributes and with the usual promise ([`SlaTerms::default`]).
    #[must_use]
    pub fn plain(
        price: Rate,
        capacity: Capacity,
        region: Region,
        term_slots: core::ops::RangeInclusive<u64>,
        bond: Balance,
    ) -> Self {
        let (term_min_slots, term_max_slots) = term_slots.into_inner();
        Self {
            price,
            capacity,
            region,
            term_min_slots,
            term_max_slots,
            bond,
            attributes: Attributes::default(),
            sla: SlaTerms::default(),
            congestion: CongestionCurve::default(),
        }
    }
}

/// A listing as it stands in state.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Listing<AccountId> {
    /// Who offers.
    pub provider: AccountId,
    /// Subject of the node's agent.
    pub node: AccountId,
    /// Grows by one with each update; a renter names the version it read.
    pub version: u32,
    /// What is offered.
    pub offer: Offer,
    /// Whether it takes new deals.
    pub state: ListingState,
    /// Capacity of the confirmed deals that have not ended.
    pub reserved: Capacity,
    /// Capacity kept for bids that are open or accepted and not confirmed yet.
    pub pledged: Capacity,
    /// Bids that are open, or accepted and not confirmed yet.
    pub pledged_deals: u32,
    /// Deals that wait for the provider's confirmation.
    pub funded_deals: u32,
    /// Confirmed deals that have not ended.
    pub confirmed_deals: u32,
    /// Storage deposit held from the provider.
    pub storage_deposit: Balance,
    /// When it was listed.
    pub since_slot: Slot,
}

impl<AccountId> Listing<AccountId> {
    /// What confirmed deals and bids have taken; `None` when it does not fit.
    #[must_use]
    pub fn taken(&self) -> Option<Capacity> {
        self.reserved.checked_add(&self.pledged)
    }

    /// What a new deal can have.
    #[must_use]
    pub fn free(&self) -> Capacity {
        let taken = self.taken().unwrap_or(self.offer.capacity);
        Capacity {
            bandwidth_kbps: self.offer.capacity.bandwidth_kbps.saturating_sub(taken.bandwidth_kbps),
            sessions: self.offer.capacity.sessions.saturating_sub(taken.sessions),
        }
    }
}

/// Number of a listing and its version: what a renter agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct ListingRef {
    /// The listing.
    pub listing: ListingId,
    /// Its version.
    pub version: u32,
}

/// What a part of a listing costs at this block: the RPC's quote and the chain's price are this value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Quote {
    /// The version of the listing that was read.
    pub version: u32,
    /// The price of a good slot for the capacity asked for, all factors included.
    pub rate: Rate,
    /// The network's factor, ppm.
    pub factor_ppm: u32,
    /// The factor of the listing's congestion curve, ppm.
    pub congestion_ppm: u32,
    /// The smallest deposit that the market takes for it, base units.
    pub deposit_min: Balance,
    /// The bond before the discount for trust, base units.
    pub bond: Balance,
}
