//! The validators: who decides now and next, who may join, and what they decide together.

use crate::{HexBytes, Number};
use serde::{Deserialize, Serialize};
use x0_types::{AccountId, Hash};

/// A validator of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidatorPower {
    /// The account that answers for it.
    pub controller: AccountId,
    /// Voting power.
    pub power: Number,
    /// BLAKE2b-256 of the key that signs its votes.
    pub consensus_key: Hash,
}

/// A set that is decided and not in force yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpcomingSet {
    /// First height at which it decides.
    pub from: u32,
    /// The set.
    pub validators: Vec<ValidatorPower>,
}

/// A validator that contradicted itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Barred {
    /// The account.
    pub controller: AccountId,
    /// The block that barred it.
    pub since: u32,
}

/// A call that waits for the validators' approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// Its number.
    pub number: u32,
    /// Who approved it first.
    pub opener: AccountId,
    /// The last block in which it can be approved.
    pub expires_at: u32,
    /// `Pallet.call`; absent when these rules do not know the call.
    pub name: Option<String>,
    /// The SCALE call.
    pub call: HexBytes,
    /// Who approves it.
    pub approvals: Vec<AccountId>,
}

/// New rules that take over at a height.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Upgrade {
    /// Their version.
    pub spec_version: u32,
    /// The first block under them.
    pub height: u32,
}

/// The answer of `validators_status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidatorsStatus {
    /// The block that this is read from.
    pub block: Hash,
    /// Its height.
    pub number: u32,
    /// The set of this block.
    pub current: Vec<ValidatorPower>,
    /// Sets that follow, by height.
    pub upcoming: Vec<UpcomingSet>,
    /// Accounts whose nodes may link to the validators' without having power.
    pub candidates: Vec<AccountId>,
    /// Who may not come back before it is readmitted.
    pub barred: Vec<Barred>,
    /// Number of the next new proposal.
    pub next_proposal: u32,
    /// Open proposals, by number.
    pub proposals: Vec<Proposal>,
    /// Version of the rules in force.
    pub spec_version: u32,
    /// The announced next rules.
    pub upgrade: Option<Upgrade>,
}
