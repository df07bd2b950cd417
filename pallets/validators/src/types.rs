//! What the validator module stores, and the shape of its genesis.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{BoundedVec, traits::ConstU32};
use scale_info::TypeInfo;
use x0_types::{AccountId, BlockNumber, MlDsa65PublicKey};

/// A validator, as the consensus engine sees it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Validator {
    /// The account that answers for the validator.
    pub controller: AccountId,
    /// The key that signs votes and proposals. It stands here as it was when the set was made, so
    /// that the keys of a height never change after the fact.
    pub consensus_key: MlDsa65PublicKey,
    /// Voting power, at least one.
    pub power: u64,
}

/// A validator set in its order: by controller, so that the order follows from the members.
pub type ValidatorList = BoundedVec<Validator, ConstU32<{ x0_limits::VALIDATORS_MAX }>>;

/// Controllers and powers of a set, without the keys.
pub type PowerList = BoundedVec<(AccountId, u64), ConstU32<{ x0_limits::VALIDATORS_MAX }>>;

/// A set that is decided but not yet in force.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct UpcomingSet {
    /// First height at which the set decides.
    pub from: BlockNumber,
    /// The set.
    pub validators: ValidatorList,
}

/// A run of heights in which a validator stood in the set with one consensus key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct KeySpan {
    /// The key.
    pub key: MlDsa65PublicKey,
    /// The first height.
    pub from: BlockNumber,
    /// The first height after it; `None` while it lasts.
    pub until: Option<BlockNumber>,
}

/// The latest spans of one validator, in the order of heights.
pub type KeySpans = BoundedVec<KeySpan, ConstU32<{ x0_limits::KEY_SPANS_MAX }>>;

/// How often a validator's blocks were decided.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Proposer {
    /// The height at which it first stood in the set.
    pub since: BlockNumber,
    /// Decided blocks that it proposed.
    pub blocks: u64,
    /// Height of the latest of them; 0 when there is none.
    pub last: BlockNumber,
}

/// A call that waits for the approval of validators.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Proposal {
    /// Who approved it first.
    pub opener: AccountId,
    /// The last block in which it can be approved.
    pub expires_at: BlockNumber,
    /// The SCALE call.
    pub call: BoundedVec<u8, ConstU32<{ x0_limits::PROPOSAL_CALL_BYTES_MAX }>>,
}

/// An open proposal in the list of all of them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct OpenProposal {
    /// Its number.
    pub number: u32,
    /// Who opened it.
    pub opener: AccountId,
    /// The last block in which it can be approved.
    pub expires_at: BlockNumber,
}

/// Who approved a proposal.
pub type ApprovalList = BoundedVec<AccountId, ConstU32<{ x0_limits::VALIDATORS_MAX }>>;

/// A validator of the genesis. Its consensus key is the one that the identity module's genesis
/// names for the controller.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisValidator {
    /// The controlling account, SS58.
    pub controller: AccountId,
    /// Voting power, at least one.
    pub power: u64,
}
