//! What governance stores.
#![allow(clippy::cast_possible_truncation, reason = "the codec's macro casts the index of a variant")]

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{BoundedVec, traits::ConstU32};
use scale_info::TypeInfo;
use sp_runtime::DispatchError;
use x0_accounting::{BallotCount, Gates};
use x0_types::{
    AccountId, Balance, Hash,
    governance::{EpochIndex, OwnerId, ProposalId, TrackId},
    market::Slot,
};

/// How sealed votes of a track work.
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
#[serde(deny_unknown_fields)]
pub struct Sealing {
    /// Slots for opening votes after the time for commitments; at least [`x0_limits::REVEAL_SLOTS_MIN`].
    pub reveal_slots: u64,
    /// Credits that each commitment locks, whatever it hides. The hidden votes cost at most as much.
    pub envelope: u32,
}

/// The rules of one track. A proposal keeps the rules under which its ballot began.
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
#[serde(deny_unknown_fields)]
pub struct Track {
    /// Held from the proposer until the proposal ends, base units.
    pub deposit: Balance,
    /// Proposals that are decided at a time; 1 to [`x0_limits::GOVERNANCE_DECIDING_MAX`].
    pub deciding_max: u32,
    /// Slots between a proposal and the beginning of its ballot.
    pub prepare_slots: u64,
    /// Slots that a prepared proposal waits for a place before it expires.
    pub waiting_slots: u64,
    /// Slots of the ballot.
    pub decide_slots: u64,
    /// Slots for which a ballot must pass without interruption.
    pub confirm_slots: u64,
    /// Fewest slots between the decision and its enactment: the time to contest it.
    pub enact_slots: u64,
    /// The thresholds; their slots count from the beginning of the ballot.
    pub gates: Gates,
    /// Set when votes stay sealed until the ballot ends.
    pub sealing: Option<Sealing>,
}

impl Track {
    /// Whether every value lies within its bounds.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let periods = [self.prepare_slots, self.waiting_slots, self.decide_slots, self.confirm_slots, self.enact_slots];
        let curve = |curve: &x0_accounting::Curve| curve.is_valid() && curve.over_slots <= self.decide_slots;
        let sealing = |sealing: &Sealing| {
            (x0_limits::REVEAL_SLOTS_MIN..=x0_limits::GOVERNANCE_PERIOD_SLOTS_MAX).contains(&sealing.reveal_slots)
                && (1..=x0_limits::VOTE_CREDITS).contains(&sealing.envelope)
        };
        self.deposit > 0
            && (1..=x0_limits::GOVERNANCE_DECIDING_MAX).contains(&self.deciding_max)
            && periods.iter().all(|slots| *slots <= x0_limits::GOVERNANCE_PERIOD_SLOTS_MAX)
            && self.decide_slots >= 1
            && self.confirm_slots >= 1
            && self.enact_slots >= 1
            && curve(&self.gates.approval)
            && curve(&self.gates.support)
            && self.sealing.as_ref().is_none_or(sealing)
    }

    /// Slots by which a ballot goes on that begins to pass at its very end, and the length of that end.
    #[must_use]
    pub fn late_slots(&self) -> u64 {
        x0_accounting::mul_div_ceil(
            self.decide_slots.into(),
            x0_limits::LATE_QUORUM_PPM.into(),
            x0_accounting::PPM.into(),
        )
        .and_then(|slots| u64::try_from(slots).ok())
        .unwrap_or(0)
    }
}

/// The waiting and deciding proposals of one track.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct TrackQueue {
    /// How many are decided now.
    pub deciding: u32,
    /// Those that prepare or wait, oldest first.
    pub waiting: BoundedVec<ProposalId, ConstU32<{ x0_limits::GOVERNANCE_WAITING_MAX }>>,
}

/// What was counted of one ballot.
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
pub struct Tally {
    /// Votes in favour.
    pub ayes: u64,
    /// Votes against.
    pub nays: u64,
    /// Voters in favour.
    pub heads_for: u32,
    /// Voters against.
    pub heads_against: u32,
    /// Voters who call the proposal spam.
    pub spam: u32,
}

impl Tally {
    /// Voters whose votes are not zero, each once.
    #[must_use]
    pub const fn heads(&self) -> u32 {
        self.heads_for.saturating_add(self.heads_against)
    }
}

/// One ballot about a proposal.
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
pub struct Ballot {
    /// The epoch whose credits pay for the votes, and the last one by which voters had to be eligible.
    pub epoch: EpochIndex,
    /// Owners that could vote when it began: the whole of the support gate.
    pub electorate: u32,
    /// The slot in which it began.
    pub began: Slot,
    /// The first slot in which no vote counts any more.
    pub ends: Slot,
    /// What was counted so far.
    pub tally: Tally,
}

impl Ballot {
    /// The count as the gates judge it: support is by heads in favour.
    #[must_use]
    pub fn count(&self) -> BallotCount {
        BallotCount {
            ayes: self.tally.ayes,
            nays: self.tally.nays,
            heads: self.tally.heads_for.into(),
            electorate: self.electorate.into(),
        }
    }
}

/// Names one ballot: a proposal has a second one when its decision is contested.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct BallotId {
    /// The proposal.
    pub proposal: ProposalId,
    /// 0, or 1 for the ballot about a contested decision.
    pub round: u8,
}

/// How far a proposal came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum ProposalState {
    /// It waits for the end of its preparation or for a place.
    Preparing,
    /// Votes are cast and it does not pass yet.
    Deciding,
    /// It passes since `since`; it is decided at `until` unless it falls back before.
    Confirming {
        /// The slot in which it began to pass.
        since: Slot,
        /// The slot in which it is decided.
        until: Slot,
    },
    /// Sealed votes are committed.
    Committing,
    /// Sealed votes are opened.
    Revealing {
        /// The slot in which the votes are counted.
        until: Slot,
    },
    /// It is decided and waits for its enactment.
    Passed {
        /// The slot of the next attempt.
        at: Slot,
        /// Attempts that failed.
        attempts: u8,
    },
    /// Validators contested the decision; a second ballot runs.
    Contested,
    /// Its call was carried out.
    Executed,
    /// It did not pass in time.
    Rejected {
        /// Whether the voters called it spam: its deposit went to the treasury.
        spam: bool,
    },
    /// It found no place in time.
    Expired,
    /// Its second ballot failed, its proposer took it back, or its track may not carry it out any more.
    Cancelled,
    /// Its call failed as often as it may.
    EnactmentFailed {
        /// The last error.
        error: DispatchError,
    },
}

impl ProposalState {
    /// Whether nothing follows this state.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::Executed | Self::Rejected { .. } | Self::Expired | Self::Cancelled | Self::EnactmentFailed { .. }
        )
    }

    /// Whether the proposal holds one of its track's places.
    #[must_use]
    pub const fn is_deciding(&self) -> bool {
        matches!(self, Self::Deciding | Self::Confirming { .. } | Self::Committing | Self::Revealing { .. })
    }

    /// The name in lower case, as people read it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Deciding => "deciding",
            Self::Confirming { .. } => "confirming",
            Self::Committing => "committing",
            Self::Revealing { .. } => "revealing",
            Self::Passed { .. } => "passed",
            Self::Contested => "contested",
            Self::Executed => "executed",
            Self::Rejected { spam: false } => "rejected",
            Self::Rejected { spam: true } => "rejected as spam",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::EnactmentFailed { .. } => "enactment failed",
        }
    }
}

/// A proposal.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Proposal {
    /// What kind of decision it asks for.
    pub track: TrackId,
    /// The track's rules: those of the proposal's block until its ballot begins, then those of that block.
    pub terms: Track,
    /// Who opened it and whose deposit is held.
    pub proposer: AccountId,
    /// BLAKE2b-256 of the SCALE call, whose bytes are pinned as a preimage.
    pub call: Hash,
    /// Length of the call in bytes.
    pub call_bytes: u32,
    /// Hash of the changes that the proposer saw the call make (see the runtime's dry run).
    pub dry_run: Option<Hash>,
    /// Held from the proposer, base units; 0 once disposed of.
    pub deposit: Balance,
    /// Slots between decision and enactment that the proposer asked for.
    pub delay_slots: u64,
    /// The slot in which it was opened.
    pub submitted: Slot,
    /// How far it came.
    pub state: ProposalState,
    /// The first ballot; zeroes before it begins.
    pub ballot: Ballot,
    /// The ballot about the contested decision.
    pub second: Option<Ballot>,
    /// Whether its ballot was extended because it began to pass late.
    pub extended: bool,
    /// The slot of its entry among the alarms.
    pub alarm: Option<Slot>,
}

impl Proposal {
    /// The ballot that runs, if one does, with its number.
    #[must_use]
    pub const fn running(&self) -> Option<(u8, &Ballot)> {
        match (&self.state, &self.second) {
            (ProposalState::Contested, Some(second)) => Some((1, second)),
            (state, _) if state.is_deciding() => Some((0, &self.ballot)),
            _ => None,
        }
    }
}

/// An owner's votes in one ballot.
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
pub struct Vote {
    /// Votes, negative against.
    pub votes: i8,
    /// Whether the owner cast them itself; a delegate never overwrites those.
    pub own: bool,
    /// Whether the owner calls the proposal spam.
    pub spam: bool,
}

/// What an owner used of one epoch's credits.
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
pub struct Spending {
    /// For votes that are counted.
    pub spent: u32,
    /// In envelopes of sealed votes that are not opened.
    pub locked: u32,
}

impl Spending {
    /// What is left.
    #[must_use]
    pub const fn remaining(&self) -> u32 {
        x0_limits::VOTE_CREDITS.saturating_sub(self.spent).saturating_sub(self.locked)
    }
}

/// A sealed vote that is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Commitment {
    /// See [`x0_types::governance::SealedVote`].
    pub hash: Hash,
    /// The credits that it locks.
    pub envelope: u32,
}

/// A decided call in the enactment queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Enactment {
    /// Hash of the call.
    pub call: Hash,
}

/// A tally at one moment.
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
pub struct TallyPoint {
    /// The slot of the last vote in it.
    pub slot: Slot,
    /// The tally after that vote.
    pub tally: Tally,
}

/// The timeline of a ballot, in order.
pub type Timeline = BoundedVec<TallyPoint, ConstU32<{ x0_limits::TALLY_POINTS_MAX }>>;

/// Owners that delegate to one owner.
pub type DelegatorList = BoundedVec<OwnerId, ConstU32<{ x0_limits::DELEGATORS_MAX }>>;

/// The reason that a voter gives, in UTF-8.
pub type Reason = BoundedVec<u8, ConstU32<{ x0_limits::VOTE_REASON_BYTES_MAX }>>;

/// Validators that contest a decision.
pub type ContestList = BoundedVec<AccountId, ConstU32<{ x0_limits::VALIDATORS_MAX }>>;
