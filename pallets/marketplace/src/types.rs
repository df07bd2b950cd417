//! What the marketplace keeps about a deal. Types that others read too live in `x0_types::deal`.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_core::{ConstU32, H256};
use sp_runtime::BoundedVec;
use x0_types::{
    Balance,
    deal::{Capacity, CloseReason, DealState, DealTerms, ListingRef, Outcome, Rate, SlaTerms},
    market::{Counters, Slot},
};

/// Bytes of a bitmap with one bit for each validator.
pub const REPORTERS_BYTES_MAX: u32 = x0_limits::VALIDATORS_MAX.div_ceil(8);

/// One bit for each index of the validator set.
pub type Reporters = BoundedVec<u8, ConstU32<REPORTERS_BYTES_MAX>>;

/// What happened between confirmation and end.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Run {
    /// The slot in which the provider confirmed; the slots after it are billed.
    pub confirmed_slot: Slot,
    /// The last slot that is billed.
    pub end_slot: Slot,
    /// The parameters that hold for this deal, whatever governance changes later.
    pub terms: DealTerms,
    /// The node's counters when `confirmed_slot` closed; `None` until then.
    pub start: Option<Counters>,
}

/// What became of the slots of a deal.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct SlotCounts {
    /// Closed slots since the start.
    pub slots: u64,
    /// DOWN.
    pub bad: u64,
    /// UNKNOWN or CONFLICT.
    pub unknown: u64,
    /// VOID for all nodes.
    pub void: u64,
}

impl SlotCounts {
    /// What happened between two readings of a node's counters.
    #[must_use]
    pub const fn between(start: &Counters, now: &Counters) -> Self {
        Self {
            slots: now.closed.saturating_sub(start.closed),
            bad: now.bad.saturating_sub(start.bad),
            unknown: now.unknown.saturating_sub(start.unknown),
            void: now.void.saturating_sub(start.void),
        }
    }
}

/// How a deal was frozen.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Frozen {
    /// Why.
    pub reason: CloseReason,
    /// The last closed slot at that time.
    pub slot: Slot,
    /// The block in which it was frozen.
    pub height: u32,
    /// Good slots that are billed.
    pub good_slots: u64,
    /// What became of the deal's slots up to then. The node's own counters go on, and are lost when
    /// it is dismissed.
    pub counts: SlotCounts,
    /// Step on the slash ladder, from 0; `None` without a slash.
    pub ladder_step: Option<u8>,
    /// What the verdict rested on, for a node that was DOWN.
    pub evidence: Option<Suspicion>,
}

/// A deal.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Deal<AccountId> {
    /// The listing and the version that the renter agreed to.
    pub source: ListingRef,
    /// Who rents.
    pub renter: AccountId,
    /// Who serves.
    pub provider: AccountId,
    /// Subject of the node's agent.
    pub node: AccountId,
    /// What is rented.
    pub capacity: Capacity,
    /// The price of a good slot for that capacity.
    pub rate: Rate,
    /// Slots from confirmation to end.
    pub term_slots: u64,
    /// What the renter paid in.
    pub deposit: Balance,
    /// What the provider posts on confirmation.
    pub bond: Balance,
    /// BLAKE2b-256 of the manifest that both sides accepted.
    pub manifest_hash: H256,
    /// What the provider promised when the deal was accepted.
    pub sla: SlaTerms,
    /// The slot in which the deposit was held.
    pub funded_slot: Slot,
    /// The last slot in which the provider can confirm.
    pub confirm_by_slot: Slot,
    /// Where the deal stands.
    pub state: DealState,
    /// Set on confirmation.
    pub run: Option<Run>,
    /// Set when the deal is over.
    pub frozen: Option<Frozen>,
    /// Set when the deal is paid out.
    pub outcome: Option<Outcome>,
}

/// Consecutive DOWN verdicts inside a deal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Suspicion {
    /// How many.
    pub run: u32,
    /// The slot of the first.
    pub since_slot: Slot,
    /// Who saw the node down in any of them.
    pub reporters: Reporters,
    /// Validators that might judge the node at the last of them.
    pub validators: u32,
}

impl Suspicion {
    /// Distinct reporters.
    #[must_use]
    pub fn reporter_count(&self) -> u32 {
        self.reporters.iter().map(|byte| byte.count_ones()).sum()
    }

    /// Takes in a further DOWN verdict.
    pub fn add(&mut self, slot: Slot, down_reporters: &[u8], validators: u32) {
        if self.run == 0 {
            self.since_slot = slot;
        }
        self.run = self.run.saturating_add(1);
        self.validators = validators;
        for (index, byte) in down_reporters.iter().enumerate().take(REPORTERS_BYTES_MAX as usize) {
            match self.reporters.get_mut(index) {
                Some(known) => *known |= byte,
                // The vector is bounded by the same constant as the loop, so this cannot be refused.
                None => drop(self.reporters.try_push(*byte)),
            }
        }
    }

    /// Whether the run is long enough and more than two thirds of the validators saw it.
    #[must_use]
    pub fn is_proven(&self, fail_run_slots: u32) -> bool {
        self.run >= fail_run_slots && u64::from(self.reporter_count()) * 3 > u64::from(self.validators) * 2
    }
}

/// A failure of one of a provider's nodes, for the slash ladder. All deals that fail with the same
/// node in the same slot are one failure.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Failure<AccountId> {
    /// The node.
    pub node: AccountId,
    /// The slot of the verdict.
    pub slot: Slot,
    /// The step on the ladder that it took.
    pub step: u8,
}

/// The last failures of a provider: as many as the ladder has steps, since a further failure takes
/// the last step anyway.
pub type Failures<AccountId> = BoundedVec<Failure<AccountId>, ConstU32<3>>;

/// An entry of an account's blocklist.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Blocked<AccountId> {
    /// With whom the account makes no deals.
    pub account: AccountId,
    /// Held for the entry.
    pub deposit: Balance,
}
