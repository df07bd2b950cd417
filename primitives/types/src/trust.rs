//! What the market and the mesh ask of the trust module.
//!
//! A score is parts per million; it changes the bond that a provider posts, the rank of a listing and
//! the weight of a route. It never takes money by itself.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// Coarse class of a node's score; it changes only after the score stayed in another class for several
/// epochs.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
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
pub enum TrustTier {
    /// Too few samples for a judgement, whatever the score.
    #[default]
    New,
    /// The lowest judged class.
    Low,
    /// The second class.
    Fair,
    /// The third class.
    Good,
    /// The highest class.
    High,
}

/// What is known about a node at this block.
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
pub struct TrustReading {
    /// The score, ppm: 0 for a node without a fresh attestation.
    pub score_ppm: u32,
    /// The class after hysteresis.
    pub tier: TrustTier,
    /// Version of the formula that gave the score; 0 when no score was computed.
    pub version: u16,
    /// Whether the node may take new deals: false after an offence or while its attestation has been
    /// void for longer than the market tolerates.
    pub suspended: bool,
}

/// Gives the reading of a node.
pub trait TrustSource<AccountId> {
    /// The reading as of this block; the default reading for a node that is not known.
    fn reading(node: &AccountId) -> TrustReading;
}

/// Nobody is known: every node is new.
impl<AccountId> TrustSource<AccountId> for () {
    fn reading(_: &AccountId) -> TrustReading {
        TrustReading::default()
    }
}

/// Who hears of nodes whose [`TrustReading::suspended`] changed: the market, which pauses their listings and
/// opens them again.
pub trait SuspensionListener<AccountId> {
    /// The reading of this node says something else than before.
    fn suspension_changed(node: &AccountId);
}

/// Nobody listens.
impl<AccountId> SuspensionListener<AccountId> for () {
    fn suspension_changed(_: &AccountId) {}
}
