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
#[serde(rename_all = "camelCase")]
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

/// What an agent says about itself, after the domain prefix and the genesis hash: signed by the agent's
/// key, so that classical evidence travels inside a post-quantum signature.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct AttestationStatement<AccountId> {
    /// The node that speaks.
    pub node: AccountId,
    /// BLAKE2b-256 of the agent's binary.
    pub measurement: sp_core::H256,
    /// BLAKE2b-256 of a TPM quote over the same binary, which auditors check off the chain.
    pub quote: Option<sp_core::H256>,
    /// The slot in which it was said; it may be a little old and never newer than the block.
    pub slot: crate::market::Slot,
}

/// How grave an event is for trust.
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
pub enum Severity {
    /// Only written down.
    Notice,
    /// A penalty that fades.
    Minor,
    /// A large penalty that fades.
    Major,
    /// The node is revoked: it comes back with a new key and after a probation only.
    Critical,
}

/// The numbers of one version of the score's formula. A version is never edited: a change is a new one.
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
pub struct TrustTerms {
    /// Slots for which an attestation counts in full; at twice as many it counts nothing.
    pub attestation_life_slots: u64,
    /// Share of the gate that a self-measured binary reaches, ppm.
    pub self_measured_ppm: u32,
    /// What each tier of an audit adds to that share, ppm.
    pub audit_tier_ppm: u32,
    /// Weight of stability, ppm; behaviour has the rest.
    pub stability_weight_ppm: u32,
    /// Loss of stability for a mean deviation of one slot, ppm.
    pub jitter_factor_ppm: u32,
    /// Penalty for each missed slot beyond what the region missed, ppm.
    pub miss_penalty_ppm: u32,
    /// Penalty for a minor and for a major offence, ppm.
    pub offence_penalty_ppm: [u32; 2],
    /// Slots in which a penalty halves.
    pub half_life_slots: u64,
    /// Epochs for which a node must stay in another tier before it moves.
    pub hysteresis_epochs: u8,
    /// Judged slots without which a node stays new.
    pub samples_min: u64,
    /// Nodes of a region without which nothing is compared with it.
    pub region_nodes_min: u32,
    /// Lower ends of the tiers Fair, Good and High, ppm.
    pub tier_from_ppm: [u32; 3],
}

impl Default for TrustTerms {
    fn default() -> Self {
        Self {
            attestation_life_slots: x0_limits::ATTESTATION_LIFE_SLOTS,
            self_measured_ppm: 500_000,
            audit_tier_ppm: 125_000,
            stability_weight_ppm: 500_000,
            jitter_factor_ppm: 4_000_000,
            miss_penalty_ppm: 2_000,
            offence_penalty_ppm: [50_000, 250_000],
            half_life_slots: x0_limits::TRUST_HALF_LIFE_SLOTS,
            hysteresis_epochs: 3,
            samples_min: 32,
            region_nodes_min: 8,
            tier_from_ppm: [250_000, 500_000, 750_000],
        }
    }
}

impl TrustTerms {
    /// Whether every share is at most the whole, tiers rise, and times are positive.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        const PPM: u32 = x0_accounting::PPM;
        let shares = [
            self.self_measured_ppm,
            self.audit_tier_ppm,
            self.stability_weight_ppm,
            self.miss_penalty_ppm,
            self.offence_penalty_ppm[0],
            self.offence_penalty_ppm[1],
        ];
        shares.iter().all(|share| *share <= PPM)
            && self.attestation_life_slots > 0
            && self.attestation_life_slots <= x0_limits::TRUST_SLOTS_MAX
            && self.half_life_slots > 0
            && self.half_life_slots <= x0_limits::TRUST_SLOTS_MAX
            && self.hysteresis_epochs > 0
            && self.region_nodes_min > 0
            && 0 < self.tier_from_ppm[0]
            && self.tier_from_ppm[0] < self.tier_from_ppm[1]
            && self.tier_from_ppm[1] < self.tier_from_ppm[2]
            && self.tier_from_ppm[2] <= PPM
    }

    /// The tier of a score. The tiers are half-open: a score on a lower end belongs to the tier above.
    #[must_use]
    pub const fn tier_of(&self, score_ppm: u32) -> TrustTier {
        let [fair, good, high] = self.tier_from_ppm;
        if score_ppm >= high {
            TrustTier::High
        } else if score_ppm >= good {
            TrustTier::Good
        } else if score_ppm >= fair {
            TrustTier::Fair
        } else {
            TrustTier::Low
        }
    }
}

/// The terms of a score: what anybody needs to compute it again.
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
pub struct ScoreTerms {
    /// Version of the formula.
    pub version: u16,
    /// The epoch in which it was computed.
    pub epoch: u64,
    /// The gate: freshness times the reach of the attestation, ppm.
    pub gate_ppm: u32,
    /// Stability, ppm.
    pub stability_ppm: u32,
    /// Behaviour, ppm.
    pub behaviour_ppm: u32,
    /// The score, ppm.
    pub score_ppm: u32,
    /// Missed slots of the epoch.
    pub misses: u64,
    /// Missed slots of the epoch that the region had in common.
    pub common_misses: u64,
    /// Judged slots since the node is known.
    pub samples: u64,
}

/// Takes offences that other modules prove.
pub trait OffenceSink<AccountId> {
    /// Writes an offence of a node down and lets it count.
    fn offence(node: &AccountId, severity: Severity, evidence: sp_core::H256);
}

/// Nobody takes them.
impl<AccountId> OffenceSink<AccountId> for () {
    fn offence(_: &AccountId, _: Severity, _: sp_core::H256) {}
}

/// Tells where a node stands, for comparison with its neighbours.
pub trait NodeRegions<AccountId> {
    /// The region's name; empty for a node without one.
    fn region(node: &AccountId) -> Vec<u8>;
}

/// All nodes stand in one region.
impl<AccountId> NodeRegions<AccountId> for () {
    fn region(_: &AccountId) -> Vec<u8> {
        Vec::new()
    }
}
