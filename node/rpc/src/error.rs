//! Errors of this crate, and how the node's errors become JSON-RPC error objects.

use jsonrpsee::types::ErrorObjectOwned;
use serde_json::json;
use std::net::SocketAddr;
use x0_rpc_types::error as code;

/// What an RPC method returns.
pub type RpcResult<R> = Result<R, ErrorObjectOwned>;

/// Why the RPC cannot start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// Plain (unencrypted) RPC on an address that other machines can reach.
    #[error(
        "a plain RPC listener may only bind a loopback address, not {0}; use a native or web TLS listener (architecture D4)"
    )]
    PlainNotLoopback(SocketAddr),
    /// Unsafe methods on an address that other machines can reach.
    #[error("unsafe RPC methods may only be served on a loopback address, not {0}")]
    UnsafeNotLoopback(SocketAddr),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Two methods with one name, or an alias of nothing: a mistake in this crate.
    #[error("RPC method table: {0}")]
    Methods(#[from] jsonrpsee::core::RegisterMethodError),
    /// The accept loop of a listener ended although nobody stopped it.
    #[error("the RPC listener on {address} ended: {reason}")]
    ListenerEnded {
        /// The listener.
        address: SocketAddr,
        /// What ended it.
        reason: String,
    },
}

/// An error object without data.
pub(crate) fn error(code: i32, message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code, message, None::<()>)
}

/// Invalid params (-32602) with the place and the rule.
pub(crate) fn invalid_params(message: impl Into<String>) -> ErrorObjectOwned {
    error(jsonrpsee::types::error::INVALID_PARAMS_CODE, format!("Invalid params: {}", message.into()))
}

/// An error inside the node that the caller can do nothing about; the log has the details.
pub(crate) fn internal(context: &str, cause: &dyn core::fmt::Display) -> ErrorObjectOwned {
    tracing::error!(target: "x0::rpc", context, %cause, "request failed inside the node");
    error(jsonrpsee::types::error::INTERNAL_ERROR_CODE, format!("Internal error: {context}: {cause}"))
}

/// A block that the node does not have, or whose state it no longer keeps.
pub(crate) fn unknown_block(what: impl core::fmt::Display) -> ErrorObjectOwned {
    error(code::UNKNOWN_BLOCK, format!("Unknown block: {what}"))
}

/// What this node does not keep any more; `data` has the lowest height that it keeps, under `floor`.
pub(crate) fn pruned(rpc_code: i32, message: String, floor: &str, lowest: u32) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(rpc_code, message, Some(json!({ floor: lowest })))
}

/// A transaction that is refused: a title by the code, a stable kind for programs, a reason for
/// people.
pub(crate) fn invalid_transaction(rpc_code: i32, kind: &str, reason: &str) -> ErrorObjectOwned {
    let title = match rpc_code {
        code::BAD_FORMAT => "Extrinsic has invalid format",
        code::TEMPORARILY_BANNED => "Transaction is temporarily banned",
        code::ALREADY_IMPORTED => "Transaction Already Imported",
        code::PRIORITY_TOO_LOW => "Priority is too low",
        code::IMMEDIATELY_DROPPED => "Immediately Dropped",
        _ => "Invalid Transaction",
    };
    ErrorObjectOwned::owned(rpc_code, format!("{title}: {reason}"), Some(json!({ "kind": kind, "reason": reason })))
}
