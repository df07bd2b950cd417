//! What the measuring module stores.
#![allow(clippy::cast_possible_truncation, reason = "the codec's macro casts the index of a variant")]

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{BoundedVec, traits::ConstU32};
use scale_info::TypeInfo;
use x0_types::{
    AccountId, Balance, BlockNumber, Hash, MlDsa65PublicKey,
    market::{NodeIndex, SlaBreach, Slot, Verdict},
};

/// Packed observations of a report, two bits for each node index.
pub type Observations = BoundedVec<u8, ConstU32<{ x0_limits::OBSERVATION_BYTES_MAX }>>;

/// What one validator reported of one slot.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Report {
    /// Two bits for each node index, see [`x0_types::market::pack_observations`].
    pub observations: Observations,
    /// Root over the signed receipts that back the report.
    pub receipts_root: Hash,
}

/// What a validator committed to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Commitment {
    /// See [`x0_types::receipt::report_commitment`].
    pub hash: Hash,
    /// Whether the validator showed something else.
    pub mismatched: bool,
}

/// A slot with commitments that is not closed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct OpenSlot {
    /// The slot.
    pub slot: Slot,
    /// Validators that committed to a report.
    pub commits: u32,
    /// Validators that showed it.
    pub reveals: u32,
    /// Since when reports are shown: the slot of that block's parent, and the block.
    pub revealing: Option<(Slot, BlockNumber)>,
}

/// How a validator kept to its duty, counted over slots on which anybody reported.
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
#[serde(rename_all = "camelCase")]
pub struct Conduct {
    /// Slots with its report.
    pub reported: u64,
    /// Slots without even a commitment.
    pub missing: u64,
    /// Slots whose commitment it never opened.
    pub unrevealed: u64,
    /// Slots for which it showed something else than it had committed to, and nothing right.
    pub mismatched: u64,
    /// Nodes that it was to judge, summed over slots.
    pub asked: u64,
    /// Those of which its report says neither up nor down, or which it did not report on.
    pub unknown: u64,
    /// Receipts that it showed when asked.
    pub proved: u64,
    /// Receipts that it did not show: offences.
    pub unproven: u64,
}

impl Conduct {
    /// Share of the nodes that it was to judge of which it said nothing, ppm, floored.
    #[must_use]
    pub fn unknown_ppm(&self) -> u32 {
        let share = u128::from(self.unknown).saturating_mul(1_000_000).checked_div(self.asked.into());
        share.and_then(|ppm| u32::try_from(ppm).ok()).unwrap_or_default()
    }
}

/// A receipt that a validator is asked for: what is needed to count and to end it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct OpenChallenge {
    /// Its number.
    pub number: u64,
    /// Who is asked.
    pub validator: AccountId,
    /// Who asks.
    pub challenger: AccountId,
    /// What the challenger left, base units; 0 from a validator.
    pub deposit: Balance,
    /// The slot of the report.
    pub slot: Slot,
    /// The node's place in the report.
    pub index: NodeIndex,
    /// The last slot for an answer.
    pub answer_by: Slot,
    /// The block in which it was made.
    pub since: BlockNumber,
}

/// What an answer must show.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Challenge {
    /// The node whose receipt is asked for.
    pub node: AccountId,
    /// The slot of the report.
    pub slot: Slot,
    /// The node's place in the report.
    pub index: NodeIndex,
    /// The root that the report names.
    pub receipts_root: Hash,
    /// The node's key in role Agent.
    pub key: MlDsa65PublicKey,
}

/// What was said about one deal in one window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Complaint {
    /// Seats of the validators that found the round trip too long.
    pub round_trip: SeatBits,
    /// Seats of the validators that found the throughput too low.
    pub throughput: SeatBits,
    /// What a usage receipt of both agents shows.
    pub usage: SlaBreach,
    /// What the market was told.
    pub settled: SlaBreach,
}

/// Parameters that governance may change.
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
#[serde(rename_all = "camelCase")]
pub struct MeasuringTerms {
    /// What a challenger that is no validator leaves, base units.
    pub challenge_deposit: Balance,
    /// Slots for an answer.
    pub answer_slots: Slot,
}

impl Default for MeasuringTerms {
    fn default() -> Self {
        Self { challenge_deposit: x0_limits::CHALLENGE_DEPOSIT, answer_slots: x0_limits::ANSWER_SLOTS }
    }
}

impl MeasuringTerms {
    /// Whether each lies within its bounds: a deposit of [`x0_limits::CHALLENGE_DEPOSIT_MIN`] to
    /// [`x0_limits::CHALLENGE_DEPOSIT_MAX`], and [`x0_limits::ANSWER_SLOTS_MIN`] to [`x0_limits::ANSWER_SLOTS_MAX`]
    /// slots for an answer.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.challenge_deposit >= x0_limits::CHALLENGE_DEPOSIT_MIN
            && self.challenge_deposit <= x0_limits::CHALLENGE_DEPOSIT_MAX
            && self.answer_slots >= x0_limits::ANSWER_SLOTS_MIN
            && self.answer_slots <= x0_limits::ANSWER_SLOTS_MAX
    }
}

/// A measured node.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct NodeRecord {
    /// Its place in every report.
    pub index: NodeIndex,
    /// The account that controls it; the validator of this account does not judge it.
    pub owner: AccountId,
    /// The last slot that was closed when the node was enrolled; it is judged from the next one on.
    pub since: Slot,
    /// The number of VOID slots up to `since`.
    pub void_before: u64,
    /// Closed slots in which the node was DOWN.
    pub bad: u64,
    /// Closed slots in which the node was UNKNOWN or CONFLICT.
    pub unknown: u64,
    /// Its latest exceptions, for display.
    pub exceptions: SlotRing,
}

/// What became of one slot for one node, for display.
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
#[serde(rename_all = "UPPERCASE")]
pub enum SlotOutcome {
    /// Billed.
    Up,
    /// Not billed, and counted against the node.
    Down,
    /// Not billed: validators disagree.
    Conflict,
    /// Not billed: too few saw anything.
    Unknown,
    /// Not billed: too few reports for any verdict on any node.
    Void,
}

/// How far the closing of a slot has come.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct ClosingState {
    /// The slot that is being closed.
    pub slot: Slot,
    /// What is left to do.
    pub stage: ClosingStage,
}

/// What is left to do for a slot that is being closed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum ClosingStage {
    /// Verdicts, from this node index on. Nodes below it have their verdict of the slot already.
    Verdicts {
        /// The next node index to judge.
        next: NodeIndex,
        /// Nodes so far whose verdict is not UP.
        exceptions: u32,
    },
    /// The market's work of the slot; all verdicts are in.
    Work,
}

/// Bytes of a [`SlotRing`]: two bits for each remembered slot.
const RING_BYTES: usize = 32;
const _: () = assert!(RING_BYTES as u64 * 4 == x0_limits::VERDICT_HISTORY_SLOTS);

/// Two bits for each of the latest [`x0_limits::VERDICT_HISTORY_SLOTS`] slots, zero unless marked.
///
/// A slot's bits lie at `slot % length`. Only marks are written; slots between two marks are
/// cleared when the later one is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct SlotRing {
    newest: Slot,
    codes: [u8; RING_BYTES],
}

impl SlotRing {
    /// The mark of a slot; zero for slots that are too old, too new or not marked.
    #[must_use]
    pub fn get(&self, slot: Slot) -> u8 {
        if slot > self.newest || slot.saturating_add(x0_limits::VERDICT_HISTORY_SLOTS) <= self.newest {
            return 0;
        }
        let (byte, shift) = Self::place(slot);
        self.codes.get(byte).map_or(0, |codes| (codes >> shift) & 0b11)
    }

    /// Marks every slot from `first` to `last`. Slots come in order: marks before the newest one
    /// are not made.
    pub fn mark(&mut self, first: Slot, last: Slot, code: u8) {
        if last <= self.newest {
            return;
        }
        let oldest = last.saturating_add(1).saturating_sub(x0_limits::VERDICT_HISTORY_SLOTS);
        let from = self.newest.saturating_add(1).max(oldest);
        for slot in from..=last {
            self.put(slot, if slot >= first { code } else { 0 });
        }
        self.newest = last;
    }

    fn put(&mut self, slot: Slot, code: u8) {
        let (byte, shift) = Self::place(slot);
        if let Some(codes) = self.codes.get_mut(byte) {
            *codes = (*codes & !(0b11 << shift)) | ((code & 0b11) << shift);
        }
    }

    fn place(slot: Slot) -> (usize, u32) {
        let position = slot % x0_limits::VERDICT_HISTORY_SLOTS;
        let byte = usize::try_from(position / 4).unwrap_or_default();
        let shift = u32::try_from(position % 4).unwrap_or_default().saturating_mul(2);
        (byte, shift)
    }
}

/// The mark that an exception leaves; UP leaves none.
pub(crate) const fn code_of(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Up => 0,
        Verdict::Down => 1,
        Verdict::Conflict => 2,
        Verdict::Unknown => 3,
    }
}

/// What a mark says.
pub(crate) const fn outcome_of(code: u8) -> SlotOutcome {
    match code & 0b11 {
        0 => SlotOutcome::Up,
        1 => SlotOutcome::Down,
        2 => SlotOutcome::Conflict,
        _ => SlotOutcome::Unknown,
    }
}

/// One bit for each node index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct NodeBits(BoundedVec<u8, ConstU32<{ x0_limits::MEASURED_NODES_MAX / 8 }>>);

impl NodeBits {
    /// Whether the bit of this index is set; clear beyond the end.
    #[must_use]
    pub fn get(&self, index: NodeIndex) -> bool {
        bit(&self.0, index)
    }

    /// Sets or clears the bit of an index; indices beyond the limit are ignored.
    pub fn set(&mut self, index: NodeIndex, value: bool) {
        let Ok(byte) = usize::try_from(index / 8) else { return };
        if byte >= self.0.len() && (!value || self.0.try_grow(byte.saturating_add(1)).is_err()) {
            return;
        }
        if let Some(bits) = self.0.get_mut(byte) {
            let mask = 1u8 << (index % 8);
            *bits = if value { *bits | mask } else { *bits & !mask };
        }
    }

    /// The indices whose bits are set, in order.
    pub fn iter(&self) -> impl Iterator<Item = NodeIndex> + '_ {
        let end = NodeIndex::try_from(self.0.len()).unwrap_or(NodeIndex::MAX).saturating_mul(8);
        (0..end).filter(|index| self.get(*index))
    }
}

/// One bit for each seat of a validator, see [`crate::Seats`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct SeatBits(BoundedVec<u8, ConstU32<{ x0_limits::VALIDATORS_MAX.div_ceil(8) }>>);

impl SeatBits {
    /// Whether the bit of this seat is set.
    #[must_use]
    pub fn contains(&self, seat: usize) -> bool {
        u32::try_from(seat).is_ok_and(|seat| bit(&self.0, seat))
    }

    /// Sets the bit of a seat; says whether it was clear. There are no more seats than bits.
    pub fn insert(&mut self, seat: usize) -> bool {
        let byte = seat / 8;
        if self.contains(seat) || self.0.try_grow(byte.saturating_add(1)).is_err() {
            return false;
        }
        if let Some(bits) = self.0.get_mut(byte) {
            *bits |= 1 << (seat % 8);
        }
        true
    }
}

/// Grows a bounded list of bytes with zeros.
trait TryGrow {
    fn try_grow(&mut self, len: usize) -> Result<(), ()>;
}

impl<const MAX: u32> TryGrow for BoundedVec<u8, ConstU32<MAX>> {
    fn try_grow(&mut self, len: usize) -> Result<(), ()> {
        while self.len() < len {
            self.try_push(0).map_err(|_| ())?;
        }
        Ok(())
    }
}

/// Whether a bit of a little-endian bitmap is set; clear beyond the end.
#[must_use]
pub(crate) fn bit(bits: &[u8], index: u32) -> bool {
    usize::try_from(index / 8).ok().and_then(|byte| bits.get(byte)).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}
