//! Proof that a validator contradicted itself.
//!
//! Two statements of one step, height and round with different bodies, both signed by the consensus
//! key that the validator had at that height, are a proof that anybody can check and nobody else can
//! make. The bodies are the bytes that validators sign (`x0_crypto::statement`), without the domain
//! prefix and the genesis hash, which the reader adds.
#![allow(clippy::cast_possible_truncation, reason = "the codec's macro casts the index of a variant")]

use crate::{AccountId, BlockNumber, MlDsa65Signature};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_runtime::{BoundedVec, traits::ConstU32};

/// What a validator signs in a round, at most once each.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// The opening part of a block that the validator sends.
    Opening,
    /// The proposal of a block.
    Proposal,
    /// A prevote.
    Prevote,
    /// A precommit.
    Precommit,
}

impl Step {
    /// The number with which `x0_crypto::statement` names the step.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Opening => 0,
            Self::Proposal => 1,
            Self::Prevote => 2,
            Self::Precommit => 3,
        }
    }
}

/// The body of a statement: bounded before anything is read.
pub type Body = BoundedVec<u8, ConstU32<{ x0_limits::STATEMENT_BYTES_MAX }>>;

/// A statement and its signature.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct SignedBody {
    /// What was signed, without domain and genesis hash.
    pub body: Body,
    /// By the validator's consensus key.
    pub signature: MlDsa65Signature,
}

/// Two statements that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Evidence {
    /// Controller of the validator.
    pub validator: AccountId,
    /// Height of both statements.
    pub height: BlockNumber,
    /// Round of both.
    pub round: u32,
    /// Step of both.
    pub step: Step,
    /// One of them.
    pub first: SignedBody,
    /// The other one.
    pub second: SignedBody,
}
