//! What the registry stores, and the shape of its genesis.
#![allow(clippy::cast_possible_truncation, reason = "the codec's macro casts the index of a variant")]

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{BoundedVec, traits::ConstU32};
use scale_info::TypeInfo;
use x0_types::{
    AccountId, Balance, Hash,
    governance::{EpochIndex, OwnerId},
    market::Slot,
};

/// Accounts of one owner.
pub type AccountList = BoundedVec<AccountId, ConstU32<{ x0_limits::OWNER_ACCOUNTS_MAX }>>;

/// Validators that attested a motion.
pub type AttestationList = BoundedVec<AccountId, ConstU32<{ x0_limits::VALIDATORS_MAX }>>;

/// An owner: a person or a company, whatever it runs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Owner {
    /// Its accounts. They stay with it after a revocation, so that nobody slips away under a new record.
    pub accounts: AccountList,
    /// Hash of the documents that the validators saw last.
    pub evidence: Hash,
    /// The slot of its first attestation.
    pub since: Slot,
    /// The first epoch in whose ballots it votes.
    pub eligible_from: EpochIndex,
    /// Why and when it was revoked, if it was.
    pub revoked: Option<Revocation>,
    /// Who pays for the record's place in the state.
    pub payer: AccountId,
    /// Held from the payer, base units.
    pub deposit: Balance,
}

/// The end of an owner's rights.
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
pub struct Revocation {
    /// Hash of the evidence.
    pub evidence: Hash,
    /// The slot.
    pub at: Slot,
}

/// What a motion asks the validators to attest.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum MotionKind {
    /// These accounts belong to one owner that is not registered.
    Admit {
        /// The accounts.
        accounts: AccountList,
    },
    /// The owner has these accounts now.
    Change {
        /// The owner.
        owner: OwnerId,
        /// All of its accounts.
        accounts: AccountList,
    },
    /// The owner is not what it said it is, or one of several records of the same person.
    Revoke {
        /// The owner.
        owner: OwnerId,
    },
}

/// A motion that waits for attestations.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Motion {
    /// Who opened it.
    pub opener: AccountId,
    /// What it asks.
    pub kind: MotionKind,
    /// Hash of the evidence.
    pub evidence: Hash,
    /// What validators attest: BLAKE2b-256 of `"x0/owner-motion/v1"` and the SCALE encoding of number, kind
    /// and evidence.
    pub digest: Hash,
    /// Held from the opener, base units; 0 for validators, who are few.
    pub deposit: Balance,
    /// The last slot in which it can be attested.
    pub expires_at: Slot,
}

/// A motion in the list of all open ones, which is in the order of their expiry.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct OpenMotion {
    /// Its number.
    pub number: u32,
    /// Who opened it.
    pub opener: AccountId,
    /// The last slot in which it can be attested.
    pub expires_at: Slot,
}

/// The clock of vote credits.
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
pub struct EpochClock {
    /// The epoch of this block.
    pub index: EpochIndex,
    /// Its first slot.
    pub start: Slot,
    /// Length of an epoch, slots.
    pub slots: u64,
}

/// How many owners may vote, now and in the next epochs.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Counts {
    /// Owners that may vote in this epoch.
    pub now: u32,
    /// Owners that may from the next epoch on.
    pub next: u32,
    /// Owners that may from the epoch after the next one on.
    pub after_next: u32,
}

/// An owner that exists from genesis on and may vote at once.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisOwner {
    /// Its accounts, SS58.
    pub accounts: Vec<AccountId>,
    /// Hash of the documents; zeroes when there are none.
    #[serde(default)]
    pub evidence: Hash,
}
