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
use sp_runtime::{Rounding, helpers_128bit::multiply_by_rational_with_rounding};

use crate::{
    account::Balance,
    market::{DealId, Slot},
};

mod attributes;
mod listing;
mod manifest;
mod request;
pub mod sla;

pub use attributes::{Attribute, AttributeKey, AttributeValue, Attributes};
pub use listing::{CongestionCurve, CongestionStep, Listing, ListingRef, ListingState, Offer, Quote, Region};
pub use manifest::{CheckPath, Manifest, ManifestChange, ServiceCheck, ServiceChecks};
pub use request::{Bid, BidDeposit, Bids, PriceTerms, Reputation, Request, Wanted};
pub use sla::{SlaPolicy, SlaTerms};

/// One million: parts per million are the unit of every share in the market.
pub const PPM: u32 = 1_000_000;

/// `floor(a * b / c)` over a 256-bit product; `None` when `c` is zero or the result does not fit.
#[must_use]
pub const fn mul_div_floor(a: Balance, b: Balance, c: Balance) -> Option<Balance> {
    multiply_by_rational_with_rounding(a, b, c, Rounding::Down)
}

/// `ceil(a * b / c)` over a 256-bit product; `None` when `c` is zero or the result does not fit.
#[must_use]
pub const fn mul_div_ceil(a: Balance, b: Balance, c: Balance) -> Option<Balance> {
    multiply_by_rational_with_rounding(a, b, c, Rounding::Up)
}

/// `floor(amount * ppm / 1_000_000)`. A share above the whole counts as the whole, so the result
/// never exceeds `amount`.
#[must_use]
pub fn share_floor(amount: Balance, ppm: u32) -> Balance {
    let ppm = ppm.min(PPM);
    mul_div_floor(amount, Balance::from(ppm), Balance::from(PPM)).unwrap_or(0)
}

/// A price: `num / den` base units for each good slot.
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
pub struct Rate {
    /// Base units for `den` good slots; at least 1.
    pub num: Balance,
    /// Good slots for which `num` is the price; at least 1.
    pub den: Balance,
}

impl Rate {
    /// Whether both parts are positive.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.num > 0 && self.den > 0
    }

    /// What this many good slots cost: floored once, in favour of the renter. `None` for an invalid
    /// rate or an amount beyond 128 bits.
    #[must_use]
    pub fn amount_floor(&self, good_slots: u64) -> Option<Balance> {
        mul_div_floor(Balance::from(good_slots), self.num, self.den)
    }

    /// What covers this many good slots for certain: ceiled. `None` for an invalid rate or an
    /// amount beyond 128 bits.
    #[must_use]
    pub fn amount_ceil(&self, good_slots: u64) -> Option<Balance> {
        mul_div_ceil(Balance::from(good_slots), self.num, self.den)
    }

    /// Good slots that a deposit affords: floored, at most [`u64::MAX`], 0 for an invalid rate.
    #[must_use]
    pub fn affordable_slots(&self, deposit: Balance) -> u64 {
        if !self.is_valid() {
            return 0;
        }
        // A count beyond 128 bits is beyond 64 bits too.
        mul_div_floor(deposit, self.den, self.num).map_or(u64::MAX, |slots| u64::try_from(slots).unwrap_or(u64::MAX))
    }

    /// What a deposit owes after this many good slots: never more than the deposit, because it stops
    /// at the last affordable slot.
    #[must_use]
    pub fn accrued(&self, deposit: Balance, good_slots: u64) -> Balance {
        // min(good, floor(D*den/num)) * num/den <= D, so the product always fits.
        self.amount_floor(good_slots.min(self.affordable_slots(deposit))).unwrap_or(0).min(deposit)
    }

    /// The price of a part of what this rate prices: `rate * part / whole`, in lowest terms. `None`
    /// when a part or the whole is zero or a product does not fit.
    #[must_use]
    pub fn scaled(&self, part: u32, whole: u32) -> Option<Self> {
        if part == 0 || whole == 0 || !self.is_valid() {
            return None;
        }
        let num = self.num.checked_mul(Balance::from(part))?;
        let den = self.den.checked_mul(Balance::from(whole))?;
        let divisor = gcd(num, den);
        Some(Self { num: num / divisor, den: den / divisor })
    }
}

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

/// The greatest common divisor of two positive numbers.
const fn gcd(mut a: Balance, mut b: Balance) -> Balance {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
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

/// Where a deal stands.
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
pub enum DealState {
    /// The renter's deposit is held; the provider has not confirmed yet.
    Funded,
    /// Confirmed; good slots are billed from the slot after the confirmation's.
    Active,
    /// Active, and the last verdicts on the node were DOWN.
    Suspect,
    /// Over; amounts are fixed and the janitor pays them in the next block.
    Frozen,
    /// The term was served.
    Completed,
    /// The renter ended the deal.
    Cancelled,
    /// The deposit was used up before the term.
    Exhausted,
    /// The node failed: the renter was refunded and compensated.
    Failed,
    /// The provider did not confirm in time.
    Expired,
}

impl DealState {
    /// Whether nothing can happen to the deal any more.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Exhausted | Self::Failed | Self::Expired)
    }

    /// Whether slots are measured for the deal.
    #[must_use]
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Active | Self::Suspect)
    }
}

/// Why a deal ended.
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
pub enum CloseReason {
    /// The end slot closed.
    TermServed,
    /// The renter cancelled.
    CancelledByRenter,
    /// All slots that the deposit affords were good.
    DepositExhausted,
    /// The node was DOWN for the agreed run of slots, seen by more than two thirds.
    NodeDown,
    /// The confirm deadline passed.
    NotConfirmed,
    /// The node is not measured, so that nothing can be billed or blamed.
    NotMeasured,
}

impl CloseReason {
    /// The terminal state that this reason leads to.
    #[must_use]
    pub const fn terminal_state(self) -> DealState {
        match self {
            Self::TermServed => DealState::Completed,
            Self::CancelledByRenter | Self::NotMeasured => DealState::Cancelled,
            Self::DepositExhausted => DealState::Exhausted,
            Self::NodeDown => DealState::Failed,
            Self::NotConfirmed => DealState::Expired,
        }
    }

    /// The name in events, logs and RPC answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TermServed => "TermServed",
            Self::CancelledByRenter => "CancelledByRenter",
            Self::DepositExhausted => "DepositExhausted",
            Self::NodeDown => "NodeDown",
            Self::NotConfirmed => "NotConfirmed",
            Self::NotMeasured => "NotMeasured",
        }
    }
}

/// Market parameters that governance may change; a deal keeps those of its confirmation.
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
pub struct DealTerms {
    /// The treasury's share of what the provider earns, ppm, floored.
    pub fee_ppm: u32,
    /// The renter's share of a slash, ppm, floored; the rest goes to the treasury.
    pub compensation_ppm: u32,
    /// Share of the bond that is slashed at the provider's first, second and each further failure
    /// within [`x0_limits::SLASH_WINDOW_MS`], ppm, floored.
    pub slash_ladder_ppm: [u32; 3],
    /// Consecutive DOWN slots inside the deal after which it fails.
    pub fail_run_slots: u32,
}

impl Default for DealTerms {
    fn default() -> Self {
        Self {
            fee_ppm: x0_limits::FEE_PPM,
            compensation_ppm: x0_limits::COMPENSATION_PPM,
            slash_ladder_ppm: x0_limits::SLASH_LADDER_PPM,
            fail_run_slots: x0_limits::FAIL_RUN_SLOTS,
        }
    }
}

impl DealTerms {
    /// Whether every share is at most the whole and the fail run at least one slot.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.fee_ppm <= PPM
            && self.compensation_ppm <= PPM
            && self.slash_ladder_ppm.iter().all(|share| *share <= PPM)
            && self.fail_run_slots > 0
    }
}

/// Who got what at the end of a deal: `to_provider + fee + refund = deposit` and
/// `slash + bond_back = bond`, exactly.
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
pub struct Outcome {
    /// Good slots that were billed.
    pub good_slots: u64,
    /// What the renter paid in all.
    pub gross: Balance,
    /// The provider's part of `gross`, in all.
    pub to_provider: Balance,
    /// The treasury's part of `gross`, in all.
    pub fee: Balance,
    /// The part of the deposit that went back to the renter.
    pub refund: Balance,
    /// The part of the bond that the provider lost.
    pub slash: Balance,
    /// The part of `slash` that went to the renter; the rest went to the treasury.
    pub compensation: Balance,
    /// The part of the bond that went back to the provider.
    pub bond_back: Balance,
}

#[cfg(test)]
mod tests;
