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

/// A movement of an account's money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Movement {
    /// The chain's word for it, an event of Balances: `Transfer`, `TransferOnHold` (out of what was held
    /// to somebody else's free balance), `TransferAndHold`, `Released` (held money became free),
    /// `Slashed` or `BurnedHeld` (money was lost).
    pub kind: String,
    /// Whose money it was.
    pub from: AccountId,
    /// Whose it is now; absent when it is nobody's.
    pub to: Option<AccountId>,
    /// Base units.
    pub amount: Amount,
    /// What it was held for, for example `Escrow.DealEscrow`.
    pub reason: Option<String>,
}

/// One transaction in an account's history, or what a block did to the account by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Height of the block.
    pub block: u32,
    /// Hash of the block.
    pub block_hash: Hash,
    /// Place in the block; 0 for what the block did by itself.
    pub index: u32,
    /// The block's timestamp, milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// BLAKE2b-256 of the encoded transaction; absent for what the block did by itself.
    pub hash: Option<Hash>,
    /// Who signed; absent for what the block did by itself.
    pub signer: Option<AccountId>,
    /// `Pallet.call`; absent for what the block did by itself.
    pub call: Option<String>,
    /// Whether the call succeeded; absent when the node no longer has the state of that block.
    pub success: Option<bool>,
    /// Why it failed: `Pallet.Error` or the name of a general dispatch error.
    pub error: Option<String>,
    /// What the signer paid for it, base units; absent like `success`.
    pub fee: Option<Amount>,
    /// What moved of this account's money, the fee left out; absent like `success`.
    pub money: Option<Vec<Movement>>,
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
