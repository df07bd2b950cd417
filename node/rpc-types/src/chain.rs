//! Certificates, account history and admission statistics.

use crate::{Amount, HexBytes, Number};
use serde::{Deserialize, Serialize};
use x0_types::{AccountId, Hash};

/// The answer of `chain_certificate`: a decided block and the validators' signatures over it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// Height.
    pub number: u32,
    /// BLAKE2b-256 of the header.
    pub block_hash: Hash,
    /// The header, SCALE.
    pub header: HexBytes,
    /// The commit certificate in the consensus encoding; a client checks it with the validator set.
    pub certificate: HexBytes,
}

/// One transaction in an account's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Height of the block.
    pub block: u32,
    /// Hash of the block.
    pub block_hash: Hash,
    /// Place in the block.
    pub index: u32,
    /// The block's timestamp, milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// BLAKE2b-256 of the encoded transaction.
    pub hash: Hash,
    /// Who signed; absent for inherents.
    pub signer: Option<AccountId>,
    /// `Pallet.call`.
    pub call: String,
    /// Whether the call succeeded; absent when the node no longer has the state of that block.
    pub success: Option<bool>,
    /// Why it failed: `Pallet.Error` or the name of a general dispatch error.
    pub error: Option<String>,
    /// What the signer paid for it, base units; absent like `success`.
    pub fee: Option<Amount>,
}

/// The answer of `account_history`, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// The page.
    pub entries: Vec<HistoryEntry>,
    /// Pass this as `before` for the next page; absent at the end.
    pub next: Option<HistoryCursor>,
}

/// A place in an account's history: entries before it are older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryCursor {
    /// Height.
    pub block: u32,
    /// Place in the block.
    pub index: u32,
}

/// The answer of `admin_mempool`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MempoolStatus {
    /// Transactions that wait.
    pub transactions: Number,
    /// Their bytes.
    pub bytes: Number,
    /// Transactions that could go into the next block.
    pub ready: Number,
}
