//! What the marketplace keeps about a deal. Types that others read too live in `x0_types::deal`.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_core::{ConstU32, H256};
use sp_runtime::BoundedVec;
use x0_accounting::window_end;
use x0_types::{
    Balance,
    deal::{Capacity, CloseReason, DealState, DealTerms, ListingRef, Outcome, Rate, SlaPolicy, SlaTerms},
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
    /// The last slot that is billed: later after a renewal, earlier after a provider's notice.
    pub end_slot: Slot,
    /// The parameters that hold for this deal, whatever governance changes later.
    pub terms: DealTerms,
    /// The node's trust at the confirmation, ppm: it set the bond, and later scores do not change it.
    pub trust_ppm: u32,
    /// What the provider posted: the deal's bond weighted with that trust.
    pub bond: Balance,
    /// The node's counters when `confirmed_slot` closed; `None` until then.
    pub start: Option<Counters>,
    /// The term that runs: the first, or a renewal.
    pub period: Period,
    /// The open SLA window and what the closed ones confirmed.
    pub window: Window,
    /// The slot in which the provider gave notice.
    pub notice_slot: Option<Slot>,
}

impl Run {
    /// Most good slots that the deal can have when its end comes.
    #[must_use]
    pub const fn reachable_slots(&self) -> u64 {
        self.period.good_before.saturating_add(self.end_slot.saturating_sub(self.period.since_slot))
    }
}

/// A term of a deal.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Period {
    /// The slots after this one belong to it.
    pub since_slot: Slot,
    /// Good slots of the terms before.
    pub good_before: u64,
    /// Renewals up to it.
    pub renewals: u32,
}

/// The SLA window that is open.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Window {
    /// Its number, from 0.
    pub index: u64,
    /// The node's counters when it began; `None` before the deal's first slot.
    pub opened: Option<Counters>,
    /// Good slots of the windows before it, which all kept the promise.
    pub confirmed_good: u64,
}

/// What is written down about a deal only when its node is not UP, beside [`Suspicion`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Marks {
    /// CONFLICT slots in a row up to `conflict_slot`.
    pub conflict_run: u32,
    /// The last CONFLICT slot.
    pub conflict_slot: Slot,
    /// The longest row of CONFLICT slots.
    pub conflict_longest: u32,
    /// DOWN slots that announced maintenance covered.
    pub excused: u64,
    /// Of these, in the window with number `excused_window`.
    pub excused_here: u64,
    /// The window in which the last one lay.
    pub excused_window: u64,
}

impl Marks {
    /// Takes in a CONFLICT verdict. Rows are rows of slots: a slot with any other verdict, VOID too,
    /// ends them.
    pub fn conflict(&mut self, slot: Slot) {
        self.conflict_run =
            if self.conflict_slot.checked_add(1) == Some(slot) { self.conflict_run.saturating_add(1) } else { 1 };
        self.conflict_slot = slot;
        self.conflict_longest = self.conflict_longest.max(self.conflict_run);
    }

    /// Takes in a DOWN verdict that maintenance covers.
    pub const fn excuse(&mut self, window: u64) {
        if self.excused_window != window {
            self.excused_here = 0;
        }
        self.excused_window = window;
        self.excused_here = self.excused_here.saturating_add(1);
        self.excused = self.excused.saturating_add(1);
    }

    /// DOWN slots of a window that maintenance covers.
    #[must_use]
    pub const fn excused_in(&self, window: u64) -> u64 {
        if self.excused_window == window { self.excused_here } else { 0 }
    }
}

/// A stretch of slots in which a provider said beforehand that its node may be down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Maintenance {
    /// The first slot.
    pub from_slot: Slot,
    /// The last slot.
    pub to_slot: Slot,
}

/// The maintenance announced for a node.
pub type Calendar = BoundedVec<Maintenance, ConstU32<{ x0_limits::MAINTENANCE_ANNOUNCED_MAX }>>;

/// How a contested deal is to be paid.
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
pub struct Ruling {
    /// How many of the contested slots count as good after all.
    pub counted_slots: u64,
    /// Whether the recorded slash is taken. A ruling can let a provider off; it cannot slash one whom
    /// the record does not.
    pub slash: bool,
}

/// A dispute about a deal.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Dispute<AccountId> {
    /// Who opened it; `None` when the record itself did.
    pub opened_by: Option<AccountId>,
    /// When.
    pub opened_slot: Slot,
    /// The last slot in which validators may rule; then the record stands.
    pub deadline_slot: Slot,
    /// The last word of each validator.
    pub votes: BoundedVec<(AccountId, Ruling), ConstU32<{ x0_limits::VALIDATORS_MAX }>>,
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
    /// Slots that are billed: the good ones that the policy pays for, and `notice_slots`.
    pub good_slots: u64,
    /// Slots beyond the good ones that a cancelling renter pays by agreement.
    pub notice_slots: u64,
    /// Good slots of windows that were not confirmed, which nobody pays.
    pub forfeited_slots: u64,
    /// What became of the deal's slots up to then. The node's own counters go on, and are lost when
    /// it is dismissed.
    pub counts: SlotCounts,
    /// Step on the slash ladder, from 0; `None` without a slash.
    pub ladder_step: Option<u8>,
    /// What the verdict rested on, for a node that was DOWN.
    pub evidence: Option<Suspicion>,
    /// What else was written down while the deal ran.
    pub marks: Marks,
    /// Set when the record is contested: the last slot in which the deal waits for a dispute.
    pub contested_until: Option<Slot>,
    /// Whether a contested deal's good slots are paid and its capacity is free again.
    pub is_part_paid: bool,
    /// What the validators ruled.
    pub ruling: Option<Ruling>,
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
    /// Slots of one term.
    pub term_slots: u64,
    /// What was paid in: by the renter, by those who topped up, and by renewals.
    pub deposit: Balance,
    /// The bond before it is weighted with the node's trust, which happens at the confirmation.
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

impl<AccountId> Deal<AccountId> {
    /// Whether windows are judged for this deal.
    #[must_use]
    pub const fn has_windows(&self) -> bool {
        self.sla.availability_ppm_min > 0 || matches!(self.sla.policy, SlaPolicy::ForfeitWindow)
    }

    /// The next slot whose closing asks something of the deal: the end of its window or its own.
    #[must_use]
    pub fn milestone(&self) -> Option<Slot> {
        let run = self.run.as_ref()?;
        let window = window_end(run.confirmed_slot, self.sla.window_slots, run.window.index);
        Some(if self.has_windows() { window.min(run.end_slot) } else { run.end_slot })
    }

    /// Whether the deal occupies capacity of its listing.
    #[must_use]
    pub fn occupies(&self) -> bool {
        self.run.is_some() && !self.state.is_terminal() && !self.frozen.as_ref().is_some_and(|f| f.is_part_paid)
    }

    /// The bond that is posted: nothing before the confirmation.
    #[must_use]
    pub fn posted_bond(&self) -> Balance {
        self.run.as_ref().map_or(0, |run| run.bond)
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
