//! What the module keeps about a node, an auditor and a conflict.
#![allow(clippy::cast_possible_truncation, reason = "the codec's macro casts the index of a variant")]

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_core::{ConstU32, H256};
use sp_runtime::BoundedVec;
use x0_accounting::trust::{Gaps, MISS_BUCKETS};
use x0_types::{
    Balance,
    market::{Counters, Slot},
    trust::{ScoreTerms, Severity, TrustTier},
};

/// The last thing that an agent said about its binary.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Attestation {
    /// BLAKE2b-256 of the binary.
    pub measurement: H256,
    /// BLAKE2b-256 of a TPM quote; an auditor's word gives it weight.
    pub quote: Option<H256>,
    /// When it was said.
    pub slot: Slot,
    /// Fingerprint of the key that signed it.
    pub key: H256,
}

/// What became of a node's heartbeats and what it is blamed for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Behaviour {
    /// Gaps between heartbeats that the validators saw.
    pub gaps: Gaps,
    /// The node's counters up to which heartbeats are taken in.
    pub folded: Counters,
    /// DOWN slots since the last heartbeat.
    pub missed_run: u32,
    /// The node's counter of DOWN slots when the epoch began.
    pub bad_at_epoch: u64,
    /// Judged slots since the node is known.
    pub samples: u64,
    /// Blame when it was last written, ppm.
    pub penalty_ppm: u32,
    /// When that was.
    pub penalty_slot: Slot,
}

/// Everything about one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Standing {
    /// Its last attestation.
    pub attestation: Option<Attestation>,
    /// What it did.
    pub behaviour: Behaviour,
    /// The score as it was last computed, with all its terms.
    pub score: ScoreTerms,
    /// The class after hysteresis.
    pub tier: TrustTier,
    /// The class that the last scores would give, and for how many epochs in a row.
    pub candidate: (TrustTier, u8),
    /// Fingerprint of the key that a critical offence revoked.
    pub revoked_key: Option<H256>,
    /// The first epoch in which the gate opens again after a revocation.
    pub probation_until_epoch: u64,
    /// Epochs in a row in which the gate of an attested node was closed.
    pub closed_epochs: u8,
}

/// An account that governance lets judge binaries and quotes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Auditor {
    /// What it posted; its audits count while this is at least the smallest bond.
    pub bond: Balance,
    /// Open conflicts; the bond is frozen while there is one.
    pub conflicts: u32,
    /// Audits of it that stand.
    pub audits: u32,
    /// Whether governance took its right away.
    pub dismissed: bool,
}

/// An auditor's word on a node's binary.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Audit<AccountId> {
    /// Whose word.
    pub auditor: AccountId,
    /// How far it goes, from 1 to [`x0_limits::AUDIT_TIER_MAX`].
    pub tier: u8,
    /// The binary that was judged.
    pub measurement: H256,
    /// The quote that was checked.
    pub quote: Option<H256>,
    /// BLAKE2b-256 of the report.
    pub evidence: H256,
    /// When.
    pub slot: Slot,
    /// Void: another auditor contradicted it.
    pub void: bool,
}

/// Audits of one node.
pub type Audits<AccountId> = BoundedVec<Audit<AccountId>, ConstU32<{ x0_limits::AUDITS_PER_NODE_MAX }>>;

/// Two auditors who contradicted each other about a node.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Conflict<AccountId> {
    /// The node.
    pub node: AccountId,
    /// The two, in the order of their audits.
    pub auditors: [AccountId; 2],
    /// Their tiers.
    pub tiers: [u8; 2],
    /// When it is over by itself.
    pub until_slot: Slot,
}

/// Why an entry stands in a node's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum Entry {
    /// The agent attested a binary.
    Attested,
    /// An auditor judged it.
    Audited,
    /// Two auditors contradicted each other.
    AuditsVoid,
    /// An offence.
    Offence(Severity),
    /// The node came back with a new key.
    Readmitted,
}

/// An entry of a node's log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct LogEntry {
    /// When.
    pub slot: Slot,
    /// What.
    pub entry: Entry,
    /// BLAKE2b-256 of what proves it.
    pub evidence: H256,
}

/// The latest entries of a node's log, oldest first.
pub type Log = BoundedVec<LogEntry, ConstU32<{ x0_limits::AUDIT_LOG_ENTRIES }>>;

/// A place in the map of nodes: the raw key of the last node that was passed.
pub type Cursor = BoundedVec<u8, ConstU32<128>>;

/// The parts of an epoch's computation, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum Part {
    /// Regions are counted.
    Counting,
    /// Scores are computed.
    Scoring,
    /// The regions' counts are dropped.
    Clearing,
}

/// How far the computation of an epoch came.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Sweep {
    /// The epoch that is computed.
    pub epoch: u64,
    /// What is done.
    pub part: Part,
    /// The last node that was passed; `None` at the beginning of a part.
    pub after: Option<Cursor>,
}

/// How many nodes of a region missed how many slots in the epoch.
pub type MissCounts = [u32; MISS_BUCKETS];
