//! Calls of the market beside listing, renting and settling.

use codec::Encode;
use x0_types::{
    AccountId, Balance, Hash,
    deal::{Capacity, Rate, ServiceChecks, Wanted},
    market::{DealId, ListingId, Slot},
};

use super::{Call, Encoded};

/// What a renter asks bids for: the arguments of `Marketplace.request`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTerms {
    /// Capacity wanted.
    pub capacity: Capacity,
    /// Length, slots.
    pub term_slots: u64,
    /// The highest price of a good slot.
    pub rate_max: Rate,
    /// Deposit, base units.
    pub deposit: Balance,
    /// What a bid has to promise.
    pub wanted: Wanted,
    /// For how many slots bids are taken.
    pub bid_slots: Slot,
    /// The renter's mesh.
    pub mesh: Hash,
    /// The renter's agents.
    pub agents: Vec<AccountId>,
}

/// Asks for bids.
#[must_use]
pub fn request(terms: &RequestTerms) -> Call {
    let manifest = (terms.mesh, &terms.agents, ServiceChecks::default());
    let arguments = (
        (terms.capacity, terms.term_slots, terms.rate_max, terms.deposit),
        (&terms.wanted, terms.bid_slots),
        Encoded(&manifest.encode()),
    );
    Call::encoded("Marketplace", "request", arguments)
}

/// Bids for a request with a listing.
#[must_use]
pub fn bid(request: DealId, listing: ListingId, rate: Rate, notice_slots: Slot) -> Call {
    Call::encoded("Marketplace", "bid", (request, listing, rate, notice_slots))
}

/// Takes a bid.
#[must_use]
pub fn accept(request: DealId, bid: u32) -> Call {
    Call::encoded("Marketplace", "accept", (request, bid))
}

/// Takes a request back.
#[must_use]
pub fn withdraw_request(request: DealId) -> Call {
    Call::encoded("Marketplace", "withdraw_request", request)
}

/// Refuses a deal as its provider.
#[must_use]
pub fn decline(deal: DealId) -> Call {
    Call::encoded("Marketplace", "decline", deal)
}

/// Names other agents that the node admits.
#[must_use]
pub fn set_agents(deal: DealId, agents: &[AccountId]) -> Call {
    Call::encoded("Marketplace", "set_agents", (deal, agents))
}

/// Keeps an account out of one's own deals.
#[must_use]
pub fn block(who: &AccountId) -> Call {
    Call::encoded("Marketplace", "block", who)
}

/// Ends that.
#[must_use]
pub fn unblock(who: &AccountId) -> Call {
    Call::encoded("Marketplace", "unblock", who)
}

/// Adds to a deal's deposit, whoever pays.
#[must_use]
pub fn top_up(deal: DealId, amount: Balance) -> Call {
    Call::encoded("Marketplace", "top_up", (deal, amount))
}

/// Sets how much renewals of a deal may take from the renter.
#[must_use]
pub fn set_renewal(deal: DealId, limit: Balance) -> Call {
    Call::encoded("Marketplace", "set_renewal", (deal, limit))
}

/// Gives notice as the provider.
#[must_use]
pub fn reclaim(deal: DealId) -> Call {
    Call::encoded("Marketplace", "reclaim", deal)
}

/// Announces maintenance of a listed node.
#[must_use]
pub fn announce_maintenance(listing: ListingId, from_slot: Slot, slots: Slot) -> Call {
    Call::encoded("Marketplace", "announce_maintenance", (listing, from_slot, slots))
}

/// Takes announced maintenance back.
#[must_use]
pub fn withdraw_maintenance(listing: ListingId, from_slot: Slot) -> Call {
    Call::encoded("Marketplace", "withdraw_maintenance", (listing, from_slot))
}

/// Disputes the record of a contested deal.
#[must_use]
pub fn dispute(deal: DealId) -> Call {
    Call::encoded("Marketplace", "dispute", deal)
}

/// Rules on a dispute as a validator.
#[must_use]
pub fn rule(deal: DealId, counted_slots: u64, slash: bool) -> Call {
    Call::encoded("Marketplace", "rule", (deal, counted_slots, slash))
}
