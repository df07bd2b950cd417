//! `author_*`: submitting transactions and following them.

use crate::{
    error::{RpcResult, error, internal, invalid_transaction},
    feed::Waiting,
    module::{Module, Registered, blocking},
    node::Node,
    params::Args,
};
use jsonrpsee::{core::SubscriptionResult, types::ErrorObjectOwned};
use serde_json::{Value, json};
use std::sync::Arc;
use x0_limits::RPC_RESPONSE_BYTES_MAX;
use x0_mempool::{SubmitError, TxStatus};
use x0_rpc_types::{HexBytes, error as code};
use x0_types::Hash;

/// Adds the methods.
pub(crate) fn register(module: &mut Module) -> Registered {
    module.register_async_method("author_submitExtrinsic", |params, node: Arc<Arc<Node>>, _| async move {
        let bytes = extrinsic(Args::new(&params))?;
        submit(&node, bytes).await
    })?;
    blocking(module, "author_pendingExtrinsics", pending)?;
    module.register_subscription(
        "author_submitAndWatchExtrinsic",
        "author_extrinsicUpdate",
        "author_unwatchExtrinsic",
        |params, pending, node, extensions| {
            watch(extrinsic(Args::new(&params)), Waiting::new(pending, &extensions), Arc::clone(&node))
        },
    )?;
    Ok(())
}

/// The one parameter: the encoded transaction.
fn extrinsic(args: RpcResult<Args>) -> RpcResult<Vec<u8>> {
    let mut args = args?;
    let bytes = args.bytes("extrinsic")?;
    args.end()?;
    Ok(bytes)
}

async fn submit(node: &Node, bytes: Vec<u8>) -> RpcResult<Hash> {
    node.mempool.submit(bytes.into()).await.map_err(|cause| submit_error(&cause))
}

/// Everything that waits, as long as it fits into one answer: a full mempool holds hundreds of MB.
fn pending(node: &Node, args: Args) -> RpcResult<Vec<HexBytes>> {
    args.end()?;
    let stats = node.mempool.stats();
    let answer_bytes = stats.bytes.saturating_mul(2);
    if answer_bytes > RPC_RESPONSE_BYTES_MAX as usize {
        let (waiting, bytes) = (stats.waiting, stats.bytes);
        return Err(error(
            code::INVALID_COUNT,
            format!("{waiting} transactions of {bytes} bytes wait: too many for one answer"),
        ));
    }
    Ok(node.mempool.pending().iter().map(|transaction| HexBytes(transaction.bytes.to_vec())).collect())
}

/// Submits a transaction and sends `ready`, `inBlock`, `finalized` (or how it ended otherwise).
async fn watch(bytes: RpcResult<Vec<u8>>, waiting: Waiting, node: Arc<Node>) -> SubscriptionResult {
    let submitted = match bytes {
        Ok(bytes) => node.mempool.submit_and_watch(bytes.into()).await.map_err(|cause| submit_error(&cause)),
        Err(refusal) => Err(refusal),
    };
    let Some(((_, mut updates), feed)) = waiting.judged(submitted).await? else { return Ok(()) };
    loop {
        let status = tokio::select! {
            status = updates.recv() => status,
            () = feed.closed() => return Ok(()),
        };
        let Some(status) = status else { return Ok(()) };
        let (update, last) = status_json(&status);
        feed.send(&update).await?;
        if last {
            return Ok(());
        }
    }
}

/// A refusal as the client reads it: the code that Substrate's clients know, the reason in words, a
/// stable kind for programs.
fn submit_error(cause: &SubmitError) -> ErrorObjectOwned {
    let reason = cause.to_string();
    let kind = match cause {
        SubmitError::Busy { .. } => return error(code::BUSY, reason),
        SubmitError::Node(message) => return internal("judging a transaction", message),
        SubmitError::TooLarge { .. } => "tooLarge",
        SubmitError::Malformed(_) => "malformed",
        SubmitError::NotSigned => "notSigned",
        SubmitError::AlreadyKnown(_) => "alreadyKnown",
        SubmitError::AlreadyIncluded { .. } => "alreadyIncluded",
        SubmitError::BadSignature => "badSignature",
        SubmitError::StaleNonce { .. } => "staleNonce",
        SubmitError::NonceTooFarAhead { .. } => "nonceTooFarAhead",
        SubmitError::Unpayable => "unpayable",
        SubmitError::Expired => "expired",
        SubmitError::Underpriced { .. } => "underpriced",
        SubmitError::AccountFull { .. } => "accountFull",
        SubmitError::Full { .. } => "full",
        SubmitError::Invalid(_) => "invalid",
    };
    invalid_transaction(cause.rpc_code(), kind, &reason)
}

/// A transaction's status in Substrate's form, and whether it is the last.
fn status_json(status: &TxStatus) -> (Value, bool) {
    let update = match status {
        TxStatus::Future => json!("future"),
        TxStatus::Ready => json!("ready"),
        TxStatus::InBlock(hash) => json!({ "inBlock": hash }),
        TxStatus::Finalized(hash) => json!({ "finalized": hash }),
        TxStatus::Usurped(hash) => json!({ "usurped": hash }),
        TxStatus::Dropped => json!("dropped"),
        TxStatus::Invalid(reason) => {
            // The form has no room for the reason; the log has it.
            tracing::debug!(target: "x0::rpc", reason, "a watched transaction became invalid");
            json!("invalid")
        }
    };
    (update, status.is_last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_keep_the_codes_that_clients_know() {
        let known = submit_error(&SubmitError::AlreadyKnown(Hash::zero()));
        assert_eq!(known.code(), code::ALREADY_IMPORTED);
        let stale = submit_error(&SubmitError::StaleNonce { nonce: 3, expected: Some(5) });
        assert_eq!(stale.code(), code::INVALID_TRANSACTION);
        assert!(stale.message().contains("next nonce is 5"), "{}", stale.message());
        assert!(stale.data().unwrap().get().contains("\"kind\":\"staleNonce\""));
        assert_eq!(
            submit_error(&SubmitError::Underpriced { nonce: 0, waiting: 2, offered: 1 }).code(),
            code::PRIORITY_TOO_LOW
        );
        assert_eq!(submit_error(&SubmitError::Malformed("x".into())).code(), code::BAD_FORMAT);
        assert_eq!(submit_error(&SubmitError::Busy { waiting: 9 }).code(), code::BUSY);
    }

    #[test]
    fn statuses_have_substrates_form() {
        let hash = Hash::repeat_byte(1);
        assert_eq!(status_json(&TxStatus::Ready), (json!("ready"), false));
        assert_eq!(status_json(&TxStatus::InBlock(hash)), (json!({ "inBlock": hash }), false));
        assert_eq!(status_json(&TxStatus::Finalized(hash)), (json!({ "finalized": hash }), true));
        assert!(status_json(&TxStatus::Dropped).1 && status_json(&TxStatus::Invalid("x".into())).1);
    }
}
