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
