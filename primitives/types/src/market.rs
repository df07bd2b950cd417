//! Slots, verdicts and the traits that join the market pallets.
//!
//! ```text
//!   measurement --MarketHooks--> marketplace --DealQueue--> janitor --DealWorker--> marketplace
//!        ^                            |
//!        +--------- Meter ------------+            escrow is called by marketplace alone
//! ```
//!
//! Slots are time, not blocks: `slot = floor((parent timestamp - genesis time) / slot length)`.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// A measuring slot.
pub type Slot = u64;
/// Dense index of a measured node; its two bits in every report.
pub type NodeIndex = u32;
/// Number of a listing.
pub type ListingId = u64;
/// Number of a deal.
pub type DealId = u64;

/// What one validator saw of one node in one slot: two bits of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum Observation {
    /// Not probed.
    None = 0,
    /// A signed receipt over the nonce came back in time.
    Up = 1,
    /// No valid receipt came back.
    Down = 2,
    /// The validator's own probes disagree.
    Conflict = 3,
}

impl Observation {
    /// The observation whose two bits are the low bits of `bits`.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0 => Self::None,
            1 => Self::Up,
            2 => Self::Down,
            _ => Self::Conflict,
        }
    }

    /// The two bits of this observation.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }
}

/// Packs observations, four to a byte, lowest index in the lowest bits.
#[must_use]
pub fn pack_observations(observations: &[Observation]) -> Vec<u8> {
    observations
        .chunks(4)
        .map(|chunk| {
            chunk.iter().enumerate().fold(0, |byte, (place, observation)| byte | (observation.bits() << (2 * place)))
        })
        .collect()
}

/// The observation of the node with this index; [`Observation::None`] beyond the end.
#[must_use]
pub fn observation_at(packed: &[u8], index: NodeIndex) -> Observation {
    usize::try_from(index / 4)
        .ok()
        .and_then(|byte| packed.get(byte))
        .map_or(Observation::None, |byte| Observation::from_bits(byte >> (2 * (index % 4))))
}

/// What the validators together conclude about one node in one slot.
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
pub enum Verdict {
    /// More than a third of the power saw it up, at most a third down.
    Up,
    /// More than a third of the power saw it down, at most a third up.
    Down,
    /// More than a third each way.
    Conflict,
    /// Neither reached a third.
    Unknown,
}

/// Cumulative counters of closed slots; a deal takes the difference of two snapshots.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Counters {
    /// Slots up to and including this one are closed.
    pub closed: Slot,
    /// Closed slots that were VOID for all nodes.
    pub void: u64,
    /// Closed slots in which this node was DOWN.
    pub bad: u64,
    /// Closed slots in which this node was UNKNOWN or CONFLICT.
    pub unknown: u64,
}

impl Counters {
    /// Slots between two snapshots in which the node was good: neither DOWN, UNKNOWN, CONFLICT nor
    /// VOID. Saturates at zero, so that no bookkeeping error can bill more than the time that passed.
    #[must_use]
    pub const fn good_since(&self, start: &Self) -> u64 {
        self.closed
            .saturating_sub(start.closed)
            .saturating_sub(self.void.saturating_sub(start.void))
            .saturating_sub(self.bad.saturating_sub(start.bad))
            .saturating_sub(self.unknown.saturating_sub(start.unknown))
    }
}

/// How far the closing of a slot came within the block's budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotWork {
    /// Units of work done (one deal each).
    pub used: u32,
    /// Whether all work of the slot is done. If not, the slot's closing goes on in the next block.
    pub done: bool,
}

/// What the market asks of the measuring module.
pub trait Meter<AccountId> {
    /// The slot in which this block lies.
    fn current_slot() -> Slot;
    /// The last closed slot.
    fn closed_slot() -> Slot;
    /// Counters of a node as of the last closed slot; `None` for a node that is not measured.
    fn counters(node: &AccountId) -> Option<Counters>;
    /// Takes a node into measurement and gives it an index; idempotent.
    ///
    /// # Errors
    /// When [`x0_limits::MEASURED_NODES_MAX`] nodes are measured already.
    fn enrol(node: &AccountId, owner: &AccountId) -> Result<NodeIndex, sp_runtime::DispatchError>;
    /// Ends the measuring of a node and frees its index; unknown nodes are ignored.
    fn dismiss(node: &AccountId);
}

/// What the measuring module tells the market, in the order of slots.
///
/// For each closed slot it calls [`MarketHooks::verdict`] for each node whose verdict is not UP and
/// for each node whose run of DOWN slots an UP ends, then [`MarketHooks::slot_closed`] until the
/// answer says `done`. The counters of [`Meter`] already include the slot at that time.
pub trait MarketHooks<AccountId> {
    /// A verdict on a node. `down_reporters` are the validators that saw it down in this slot: one
    /// bit for each seat, least significant bit first, empty unless the verdict is DOWN. A validator
    /// keeps its seat when the set changes, so that bitmaps of different slots can be united; there
    /// are at most [`x0_limits::VALIDATORS_MAX`] seats. `validators` is the number of validators that
    /// may judge this node.
    fn verdict(slot: Slot, node: &AccountId, verdict: Verdict, down_reporters: &[u8], validators: u32);
    /// All verdicts of the slot are in: start and end the deals whose time this is.
    fn slot_closed(slot: Slot, budget: u32) -> SlotWork;
    /// The smallest slot after `after` that has work in [`MarketHooks::slot_closed`]; slots without
    /// work and without reports are closed in one step.
    fn next_slot_with_work(after: Slot) -> Option<Slot>;
}

/// What a deal promises of round trip and throughput, and between whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlaPromise<AccountId> {
    /// The node that serves.
    pub node: AccountId,
    /// Who provides it: validators of the same owner have no say.
    pub provider: AccountId,
    /// Who rents it: validators of the same owner have no say.
    pub renter: AccountId,
    /// Longest round trip, milliseconds; 0 promises nothing.
    pub round_trip_ms_max: u32,
    /// Least throughput, kilobits per second; 0 promises nothing.
    pub throughput_kbps_min: u32,
    /// The first slot that the deal bills.
    pub first_slot: Slot,
}

/// Which promises were broken.
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
pub struct SlaBreach {
    /// Round trips were longer than promised.
    pub round_trip: bool,
    /// The throughput was lower than promised.
    pub throughput: bool,
}

impl SlaBreach {
    /// Whether any promise was broken.
    #[must_use]
    pub const fn any(self) -> bool {
        self.round_trip || self.throughput
    }

    /// What both say.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { round_trip: self.round_trip && other.round_trip, throughput: self.throughput && other.throughput }
    }
}

/// Who knows what deals promise of round trip and throughput, and hears when validators together found a
/// promise broken: the market.
///
/// A window is `window_slots` slots; `first` is its first one. At most one call for each deal, window and kind
/// of breach.
pub trait SlaObserver<AccountId> {
    /// The promise of a running deal whose slots are billed; `None` for deals that promise nothing of these or do
    /// not run.
    fn promise(deal: DealId) -> Option<SlaPromise<AccountId>>;
    /// Validators found that the deal's promise was broken in the window of slots from `first` to `last`: more than
    /// two thirds of the power that may judge, or more than a third together with the provider's own signature.
    fn broken(deal: DealId, first: Slot, last: Slot, breach: SlaBreach);
}

/// No deal promises anything.
impl<AccountId> SlaObserver<AccountId> for () {
    fn promise(_: DealId) -> Option<SlaPromise<AccountId>> {
        None
    }
    fn broken(_: DealId, _: Slot, _: Slot, _: SlaBreach) {}
}

/// Who else hears of verdicts: the trust module.
pub trait VerdictListener<AccountId> {
    /// A verdict on a node that is not UP, or the UP that ends a run of such verdicts, in the order of slots.
    fn verdict(slot: Slot, node: &AccountId, verdict: Verdict);
    /// Measuring of a node begins, with new counters.
    fn enrolled(node: &AccountId) {
        let _ = node;
    }
}

/// Nobody listens.
impl<AccountId> VerdictListener<AccountId> for () {
    fn verdict(_: Slot, _: &AccountId, _: Verdict) {}
}

/// The queue that wakes deals.
pub trait DealQueue {
    /// Wakes the deal at the first block whose current slot is at least `slot`. Replaces an
    /// earlier entry of the deal.
    fn wake_at_slot(deal: DealId, slot: Slot);
    /// Wakes the deal in the next block.
    fn wake_next_block(deal: DealId);
    /// Removes the deal from the queue.
    fn forget(deal: DealId);
    /// Whether the deal has exactly one entry.
    fn is_queued(deal: DealId) -> bool;
}

/// What the janitor does with a deal that wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DealProgress {
    /// The deal reached a terminal state.
    Terminal,
    /// The deal is not due: wake it at this slot.
    NotBefore(Slot),
    /// Part of the work is done: wake it in the next block.
    NextBlock,
}

/// Works off deals that wake.
pub trait DealWorker {
    /// Brings the deal as far as it can come now. All or nothing: the janitor rolls the storage
    /// back when this fails.
    ///
    /// # Errors
    /// Any error of the deal's money movements; the janitor keeps the deal and tries again.
    fn work(deal: DealId) -> Result<DealProgress, sp_runtime::DispatchError>;
    /// The close reason's name for events and logs, if the deal is known.
    fn reason(deal: DealId) -> Option<Vec<u8>>;
}

/// Maps a node to its controlling account and its agent key: what marketplace, measurement and
/// validators ask of the identity module.
pub trait Identities<AccountId> {
    /// The account that controls a subject; `None` when unknown or revoked.
    fn controller(subject: &AccountId) -> Option<AccountId>;
    /// The valid key of a subject in a role.
    fn key(subject: &AccountId, role: crate::KeyRole) -> Option<crate::MlDsa65PublicKey>;
    /// Height from which the subject's present key in a role is valid; `None` without such a key.
    fn key_since(subject: &AccountId, role: crate::KeyRole) -> Option<crate::BlockNumber> {
        let _ = (subject, role);
        None
    }
    /// Whether the subject is live and has a valid key in the role.
    fn has_key(subject: &AccountId, role: crate::KeyRole) -> bool {
        Self::key(subject, role).is_some()
    }
}

/// What the measuring module asks of the validator module.
pub trait ValidatorSet<AccountId> {
    /// Controllers and powers of the validators of this block, in the order of the set.
    fn current() -> Vec<(AccountId, u64)>;
    /// Index in the set of the validator whose reporter account this is.
    fn index_of_reporter(reporter: &AccountId) -> Option<u32>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What a report packs is what the chain reads, for every length and every index.
        #[test]
        fn observations_round_trip(bits in proptest::collection::vec(0u8..4, 0..300)) {
            let observations: Vec<_> = bits.iter().map(|b| Observation::from_bits(*b)).collect();
            let packed = pack_observations(&observations);
            prop_assert_eq!(packed.len(), observations.len().div_ceil(4));
            for (index, expected) in observations.iter().enumerate() {
                prop_assert_eq!(observation_at(&packed, u32::try_from(index).unwrap()), *expected);
            }
            prop_assert_eq!(observation_at(&packed, 4 * u32::try_from(packed.len()).unwrap()), Observation::None);
        }
    }

    #[test]
    fn good_slots_are_the_rest() {
        let start = Counters { closed: 100, void: 5, bad: 1, unknown: 2 };
        let end = Counters { closed: 120, void: 8, bad: 3, unknown: 3 };
        assert_eq!(end.good_since(&start), 20 - 3 - 2 - 1);
        assert_eq!(start.good_since(&end), 0, "a snapshot from the future bills nothing");
    }
}
