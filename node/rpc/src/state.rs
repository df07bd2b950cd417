//! `state_*`: storage, proofs, metadata, runtime calls, and subscriptions to storage.

use crate::{
    error::{RpcResult, error, internal, invalid_params, pruned, unknown_block},
    feed::Waiting,
    module::{Module, Registered, aliases, blocking},
    node::Node,
    params::Args,
};
use codec::{Decode, Encode};
use jsonrpsee::{core::SubscriptionResult, types::ErrorObjectOwned};
use serde_json::{Value, json};
use std::sync::Arc;
use x0_executor::ExecutorError;
use x0_limits::{RPC_KEY_BYTES_MAX, RPC_KEYS_PAGE_MAX, RPC_KEYS_PER_QUERY_MAX};
use x0_rpc_types::{HexBytes, error as code, light::ReadProof};
use x0_storage::StorageError;
use x0_types::Hash;

/// Adds the methods.
pub(crate) fn register(module: &mut Module) -> Registered {
    blocking(module, "state_call", call)?;
    aliases(module, "state_call", &["state_callAt"])?;
    blocking(module, "state_getStorage", get_storage)?;
    aliases(module, "state_getStorage", &["state_getStorageAt"])?;
    blocking(module, "state_getStorageHash", get_storage_hash)?;
    aliases(module, "state_getStorageHash", &["state_getStorageHashAt"])?;
    blocking(module, "state_getStorageSize", get_storage_size)?;
    aliases(module, "state_getStorageSize", &["state_getStorageSizeAt"])?;
    blocking(module, "state_getKeysPaged", get_keys_paged)?;
    aliases(module, "state_getKeysPaged", &["state_getKeysPagedAt"])?;
    blocking(module, "state_queryStorageAt", query_storage_at)?;
    blocking(module, "state_getReadProof", get_read_proof)?;
    blocking(module, "state_getMetadata", get_metadata)?;
    blocking(module, "state_getRuntimeVersion", get_runtime_version)?;
    aliases(module, "state_getRuntimeVersion", &["chain_getRuntimeVersion"])?;
    module.register_subscription(
        "state_subscribeRuntimeVersion",
        "state_runtimeVersion",
        "state_unsubscribeRuntimeVersion",
        |params, pending, node, extensions| {
            let params = Args::new(&params).and_then(Args::end);
            follow_version(params, Waiting::new(pending, &extensions), Arc::clone(&node))
        },
    )?;
    aliases(module, "state_subscribeRuntimeVersion", &["chain_subscribeRuntimeVersion"])?;
    aliases(module, "state_unsubscribeRuntimeVersion", &["chain_unsubscribeRuntimeVersion"])?;
    module.register_subscription(
        "state_subscribeStorage",
        "state_storage",
        "state_unsubscribeStorage",
        |params, pending, node, extensions| {
            let keys = storage_keys(Args::new(&params));
            follow_storage(keys, Waiting::new(pending, &extensions), Arc::clone(&node))
        },
    )?;
    Ok(())
}

/// An executor's error as the caller reads it.
pub(crate) fn executor_error(cause: &ExecutorError) -> ErrorObjectOwned {
    match cause {
        ExecutorError::UnknownBlock(hash) => unknown_block(format!("{hash:?}")),
        ExecutorError::Storage(StorageError::StateUnavailable { oldest, .. }) => pruned(
            code::UNKNOWN_BLOCK,
            format!("Unknown block: State already discarded: {cause}"),
            "oldestState",
            *oldest,
        ),
        ExecutorError::UnknownFunction { .. } | ExecutorError::Panicked { .. } => {
            error(code::RUNTIME_CALL_FAILED, cause.to_string())
        }
        ExecutorError::Parameters { .. } => invalid_params(cause.to_string()),
        _ => internal("the executor failed", cause),
    }
}

fn call(node: &Node, mut args: Args) -> RpcResult<HexBytes> {
    let function: String = args.required("function")?;
    let data = args.bytes("data")?;
    let at = args.block()?;
    args.end()?;
    let (hash, _) = node.block(at)?;
    node.executor.runtime_call(hash, &function, &data).map(HexBytes).map_err(|cause| executor_error(&cause))
}

/// Key and block of the storage readers.
fn key_at(node: &Node, mut args: Args) -> RpcResult<(Vec<u8>, Hash)> {
    let key = args.bytes("key")?;
    let at = args.block()?;
    args.end()?;
    Ok((key, node.block(at)?.0))
}

fn get_storage(node: &Node, args: Args) -> RpcResult<Option<HexBytes>> {
    let (key, at) = key_at(node, args)?;
    storage(node, at, &key)
}

/// One value.
fn storage(node: &Node, at: Hash, key: &[u8]) -> RpcResult<Option<HexBytes>> {
    node.executor.storage(at, key).map(|value| value.map(HexBytes)).map_err(|cause| executor_error(&cause))
}

fn get_storage_hash(node: &Node, args: Args) -> RpcResult<Option<Hash>> {
    let (key, at) = key_at(node, args)?;
    node.executor.storage_hash(at, &key).map_err(|cause| executor_error(&cause))
}

fn get_storage_size(node: &Node, args: Args) -> RpcResult<Option<u64>> {
    let (key, at) = key_at(node, args)?;
    let size = node.executor.storage_size(at, &key).map_err(|cause| executor_error(&cause))?;
    Ok(size.map(|bytes| bytes as u64))
}

fn get_keys_paged(node: &Node, mut args: Args) -> RpcResult<Vec<HexBytes>> {
    let prefix = args.optional::<HexBytes>("prefix")?.unwrap_or_default();
    let count: u32 = args.required("count")?;
    let start = args.optional::<HexBytes>("startKey")?;
    let at = args.block()?;
    args.end()?;
    if count > RPC_KEYS_PAGE_MAX {
        return Err(error(
            code::INVALID_COUNT,
            format!("{count} keys asked for, a page has at most {RPC_KEYS_PAGE_MAX}"),
        ));
    }
    let (hash, _) = node.block(at)?;
    let keys = node
        .executor
        .keys_paged(hash, &prefix.0, count as usize, start.as_ref().map(|key| key.0.as_slice()))
        .map_err(|cause| executor_error(&cause))?;
    Ok(keys.into_iter().map(HexBytes).collect())
}

/// A list of keys with the product's bound.
fn keys(args: &mut Args) -> RpcResult<Vec<HexBytes>> {
    let keys: Vec<HexBytes> = args.required("keys")?;
    if keys.len() > RPC_KEYS_PER_QUERY_MAX {
        return Err(error(
            code::INVALID_COUNT,
            format!("{} keys named, at most {RPC_KEYS_PER_QUERY_MAX} are read at once", keys.len()),
        ));
    }
    match keys.iter().map(|key| key.0.len()).max() {
        Some(bytes) if bytes > RPC_KEY_BYTES_MAX => {
            Err(invalid_params(format!("'keys': a key of {bytes} bytes, at most {RPC_KEY_BYTES_MAX} are read")))
        }
        _ => Ok(keys),
    }
}

/// Values of several keys in the form of a Substrate storage change set.
fn change_set(at: Hash, changes: Vec<(HexBytes, Option<HexBytes>)>) -> Value {
    json!({ "block": at, "changes": changes })
}

fn query_storage_at(node: &Node, mut args: Args) -> RpcResult<Vec<Value>> {
    let keys = keys(&mut args)?;
    let at = args.block()?;
    args.end()?;
    let (hash, _) = node.block(at)?;
    let changes = read_all(node, hash, keys)?;
    Ok(vec![change_set(hash, changes)])
}

/// Each key with its value.
fn read_all(node: &Node, at: Hash, keys: Vec<HexBytes>) -> RpcResult<Vec<(HexBytes, Option<HexBytes>)>> {
    keys.into_iter().map(|key| storage(node, at, &key.0).map(|value| (key, value))).collect()
}

fn get_read_proof(node: &Node, mut args: Args) -> RpcResult<ReadProof> {
    let keys = keys(&mut args)?;
    let at = args.block()?;
    args.end()?;
    let (hash, _) = node.block(at)?;
    let keys: Vec<Vec<u8>> = keys.into_iter().map(|key| key.0).collect();
    let proof = node.executor.read_proof(hash, &keys).map_err(|cause| executor_error(&cause))?;
    Ok(ReadProof { at: hash, proof: proof.into_iter().map(HexBytes).collect() })
}

fn get_metadata(node: &Node, mut args: Args) -> RpcResult<HexBytes> {
    let at = args.block()?;
    args.end()?;
    let (hash, _) = node.block(at)?;
    let encoded = node.executor.runtime_call(hash, "Metadata_metadata", &[]).map_err(|cause| executor_error(&cause))?;
    // The call answers an opaque byte string; clients of this method expect what is inside it.
    Vec::<u8>::decode(&mut &encoded[..]).map(HexBytes).map_err(|cause| internal("the metadata does not decode", &cause))
}

/// The version of the rules at a block.
fn version(node: &Node, at: Option<Hash>) -> RpcResult<Value> {
    let version = node.read(at, |_| x0_runtime::apis::version())?;
    serde_json::to_value(&version).map_err(|cause| internal("the runtime version has no JSON form", &cause))
}

fn get_runtime_version(node: &Node, mut args: Args) -> RpcResult<Value> {
    let at = args.block()?;
    args.end()?;
    version(node, at)
}

/// Sends the version of the rules now and whenever it changes.
async fn follow_version(params: RpcResult<()>, waiting: Waiting, node: Arc<Node>) -> SubscriptionResult {
    let mut updates = node.heads();
    let Some(((), feed)) = waiting.judged(params).await? else { return Ok(()) };
    let mut last = Value::Null;
    loop {
        let head = updates.borrow_and_update().hash;
        let current =
            node.run(move |node| version(node, Some(head))).await.map_err(|cause| cause.message().to_owned())?;
        if current != last {
            feed.send(&current).await?;
            last = current;
        }
        tokio::select! {
            changed = updates.changed() => changed?,
            () = feed.closed() => return Ok(()),
        }
    }
}

/// The keys of a storage subscription: at least one, since all keys of every block would be too many.
fn storage_keys(args: RpcResult<Args>) -> RpcResult<Vec<HexBytes>> {
    let mut args = args?;
    let keys = keys(&mut args)?;
    args.end()?;
    if keys.is_empty() { Err(invalid_params("'keys' is empty: name the keys to follow")) } else { Ok(keys) }
}

/// Sends the values of some keys now and those that changed with each later head.
async fn follow_storage(keys: RpcResult<Vec<HexBytes>>, waiting: Waiting, node: Arc<Node>) -> SubscriptionResult {
    let mut updates = node.heads();
    let Some((keys, feed)) = waiting.judged(keys).await? else { return Ok(()) };
    // The hash of what was sent last stands for the value, so that a subscription to large values
    // does not keep a copy of them.
    let mut sent: Option<Vec<[u8; 32]>> = None;
    loop {
        let head = updates.borrow_and_update().hash;
        let wanted = keys.clone();
        let values =
            node.run(move |node| read_all(node, head, wanted)).await.map_err(|cause| cause.message().to_owned())?;
        let marks: Vec<[u8; 32]> = values
            .iter()
            .map(|(_, value)| x0_crypto::blake2b_256(&value.as_ref().map(|bytes| &bytes.0).encode()))
            .collect();
        let changed: Vec<_> = values
            .into_iter()
            .enumerate()
            .filter(|(place, _)| sent.as_ref().is_none_or(|sent| sent.get(*place) != marks.get(*place)))
            .map(|(_, change)| change)
            .collect();
        if !changed.is_empty() {
            feed.send(&change_set(head, changed)).await?;
        }
        sent = Some(marks);
        tokio::select! {
            changed = updates.changed() => changed?,
            () = feed.closed() => return Ok(()),
        }
    }
}
