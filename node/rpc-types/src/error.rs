//! Error codes of the RPC.
//!
//! Codes from 1000 to 4999 are those that Substrate clients know; codes from 7000 on are our own.
//! JSON-RPC's reserved codes keep their meaning: -32700 parse error, -32600 invalid request, -32601
//! method not found, -32602 invalid params, -32603 internal error, and jsonrpsee's -32007 and below
//! for oversized messages, subscriptions and batches.

use serde::{Deserialize, Serialize};

/// The bytes are no transaction: undecodable, too long, too deeply nested or with a rest.
pub const BAD_FORMAT: i32 = 1001;
/// The transaction is invalid for good at this state; `data` is [`InvalidTransactionData`].
pub const INVALID_TRANSACTION: i32 = 1010;
/// The validity could not be judged.
pub const UNKNOWN_VALIDITY: i32 = 1011;
/// The transaction is in the chain already; Substrate's clients know the code as "temporarily banned"
/// and do not send again.
pub const TEMPORARILY_BANNED: i32 = 1012;
/// The same transaction waits already.
pub const ALREADY_IMPORTED: i32 = 1013;
/// Another transaction of the same sender and nonce waits with at least this priority.
pub const PRIORITY_TOO_LOW: i32 = 1014;
/// The pool, or the account's share of it, is full of transactions that are as good.
pub const IMMEDIATELY_DROPPED: i32 = 1016;

/// A block that this node does not have, or whose state it no longer keeps.
pub const UNKNOWN_BLOCK: i32 = 4003;
/// More keys or results were asked for than one answer holds.
pub const INVALID_COUNT: i32 = 4002;

/// A runtime function that is not served, or that failed on these arguments.
pub const RUNTIME_CALL_FAILED: i32 = 7001;
/// The node is working at its limit: try again later.
pub const BUSY: i32 = 7002;
/// This connection sent more requests than it may.
pub const RATE_LIMITED: i32 = 7003;
/// The node has no chain yet: it fetches a snapshot, and answers about itself only.
pub const STARTING: i32 = 7004;
/// The listing, deal, identity or certificate does not exist in this state.
pub const NOT_FOUND: i32 = 7006;

/// What comes as `data` with every refusal of a transaction ([`BAD_FORMAT`], 1010 to 1016).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvalidTransactionData {
    /// A stable word for programs: `tooLarge`, `malformed`, `notSigned`, `alreadyKnown`,
    /// `alreadyIncluded`, `badSignature`, `staleNonce`, `nonceTooFarAhead`, `unpayable`, `expired`,
    /// `underpriced`, `accountFull`, `full` or `invalid`.
    pub kind: String,
    /// The broken rule with its numbers, for people.
    pub reason: String,
}
