//! Why a node has its trust score.

use crate::{Amount, Number};
use serde::{Deserialize, Serialize};
use x0_types::{
    AccountId, Hash,
    trust::{ScoreTerms, TrustReading, TrustTerms, TrustTier},
};

/// What an agent said last about its binary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attestation {
    /// BLAKE2b-256 of the binary.
    pub measurement: Hash,
    /// BLAKE2b-256 of a TPM quote.
    pub quote: Option<Hash>,
    /// When it was said, slot.
    pub slot: Number,
}

/// An auditor's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// Whose.
    pub auditor: AccountId,
    /// How far it goes, 1 to 4.
    pub tier: u8,
    /// The binary.
    pub measurement: Hash,
    /// BLAKE2b-256 of the report.
    pub evidence: Hash,
    /// When, slot.
    pub slot: Number,
    /// Another auditor contradicted it.
    pub void: bool,
}

/// An event of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// When, slot.
    pub slot: Number,
    /// What, by name.
    pub entry: String,
    /// BLAKE2b-256 of what proves it.
    pub evidence: Hash,
}

/// The answer of `trust_explain`: everything that is needed to compute the score again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The block.
    pub block: Hash,
    /// The node.
    pub node: AccountId,
    /// What the market and the mesh read.
    pub reading: TrustReading,
    /// The gate in this slot; 0 closes it at once.
    pub gate_now_ppm: u32,
    /// The best tier of the audits that count now.
    pub audited_tier: u8,
    /// The terms of the last computed score.
    pub score: ScoreTerms,
    /// The class that the last scores would give, and for how many epochs in a row.
    pub candidate: (TrustTier, u8),
    /// The numbers of the formula's version.
    pub terms: TrustTerms,
    /// Mean gap between heartbeats, milliseconds.
    pub gap_mean_ms: Number,
    /// Mean deviation of the gaps, milliseconds.
    pub gap_deviation_ms: Number,
    /// DOWN slots since the last heartbeat.
    pub missed_run: u32,
    /// The last attestation.
    pub attestation: Option<Attestation>,
    /// Audits that stand.
    pub audits: Vec<Audit>,
    /// The latest events, oldest first.
    pub log: Vec<LogEntry>,
}

/// An auditor: an element of `trust_auditors`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Auditor {
    /// The account.
    pub auditor: AccountId,
    /// What it posted, base units.
    pub bond: Amount,
    /// Open conflicts; they freeze the bond.
    pub conflicts: u32,
    /// Words of it that stand.
    pub audits: u32,
    /// Whether governance took its right away.
    pub dismissed: bool,
}
