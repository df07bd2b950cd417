//! Owners, tracks, and what other modules ask about them.
//!
//! An owner is a person or a company that the validators have attested: one owner has one vote budget,
//! however many accounts, providers and nodes belong to it.
#![allow(clippy::cast_possible_truncation, reason = "the codec's macro casts the index of a variant")]

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// Number of an owner.
pub type OwnerId = u32;
/// Number of an epoch of vote credits.
pub type EpochIndex = u32;
/// Number of a governance proposal.
pub type ProposalId = u32;

/// Tells which accounts belong together.
pub trait OwnerRegistry<AccountId> {
    /// The owner to whom an account belongs; `None` for an account that nobody has registered.
    fn owner_of(account: &AccountId) -> Option<OwnerId>;

    /// Whether two accounts are known to belong to one owner. Accounts that nobody has registered
    /// belong together only when they are the same.
    fn same_owner(first: &AccountId, second: &AccountId) -> bool
    where
        AccountId: PartialEq,
    {
        first == second
            || match (Self::owner_of(first), Self::owner_of(second)) {
                (Some(first), Some(second)) => first == second,
                _ => false,
            }
    }
}

/// Nobody is registered.
impl<AccountId> OwnerRegistry<AccountId> for () {
    fn owner_of(_: &AccountId) -> Option<OwnerId> {
        None
    }
}

/// Tells who may vote: what governance asks of the owners' registry.
///
/// An owner may vote on what is decided from the epoch [`Electorate::eligible_from`] on. The number of
/// such owners changes upwards only when an epoch begins.
pub trait Electorate<AccountId>: OwnerRegistry<AccountId> {
    /// The epoch of this block.
    fn epoch() -> EpochIndex;
    /// The first epoch in whose decisions the owner votes; `None` for one that is unknown or revoked.
    fn eligible_from(owner: OwnerId) -> Option<EpochIndex>;
    /// Owners that may vote on what begins to be decided in this block.
    fn electorate() -> u32;
}

/// What kind of decision a proposal asks for. Each track has its own deposit, capacity, periods,
/// thresholds and calls.
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
pub enum TrackId {
    /// The rules themselves: upgrades, the validator set, the tracks.
    Root,
    /// Bounded parameters of the market, trust, fees and measuring.
    Parameters,
    /// Spending from the treasury.
    Treasury,
    /// Owners: appeals against a revocation.
    Membership,
    /// Pausing and resuming calls.
    Emergency,
}

impl TrackId {
    /// Every track.
    pub const ALL: [Self; 5] = [Self::Root, Self::Parameters, Self::Treasury, Self::Membership, Self::Emergency];

    /// The name in lower case, as people write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Parameters => "parameters",
            Self::Treasury => "treasury",
            Self::Membership => "membership",
            Self::Emergency => "emergency",
        }
    }
}

/// Says which calls a track may carry out.
pub trait TrackFilter<Call> {
    /// Whether the track may carry out this call, with everything inside it.
    fn allows(track: TrackId, call: &Call) -> bool;
}

/// What a voter hides until the time for opening sealed votes.
///
/// The commitment is BLAKE2b-256 of `"x0/sealed-vote/v1"`, the genesis hash and the SCALE encoding of this.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct SealedVote {
    /// The proposal.
    pub proposal: ProposalId,
    /// The voter.
    pub owner: OwnerId,
    /// Votes, negative against.
    pub votes: i8,
    /// Whether the voter calls the proposal spam.
    pub spam: bool,
    /// 32 random bytes, so that nobody finds the votes by trying.
    pub salt: [u8; 32],
}

impl SealedVote {
    /// Separates commitments from every other use of the hash function.
    pub const DOMAIN: &'static [u8] = b"x0/sealed-vote/v1";

    /// What the voter commits to on the chain with this genesis hash: the input of BLAKE2b-256.
    #[must_use]
    pub fn preimage(&self, genesis: &crate::Hash) -> Vec<u8> {
        let mut bytes = Self::DOMAIN.to_vec();
        bytes.extend_from_slice(genesis.as_bytes());
        self.encode_to(&mut bytes);
        bytes
    }
}
