//! `system_*` and `rpc_methods`: what the node is and how it is.

use crate::{
    error::{RpcResult, internal},
    module::{Module, Registered, aliases, blocking, quick},
    node::Node,
    params::Args,
};
use serde_json::{Value, json};
use std::sync::Arc;
use x0_types::{AccountId, Nonce};

/// Adds the methods, except `rpc_methods`, which needs the finished table.
pub(crate) fn register(module: &mut Module) -> Registered {
    quick(module, "system_name", |_, args| args.end().map(|()| "x0-node"))?;
    quick(module, "system_version", |node, args| args.end().map(|()| node.info.version.clone()))?;
    quick(module, "system_chain", |node, args| args.end().map(|()| node.info.chain.clone()))?;
    quick(module, "system_chainType", |node, args| args.end().map(|()| node.info.chain_type.clone()))?;
    quick(module, "system_properties", properties)?;
    quick(module, "system_health", health)?;
    quick(module, "system_localPeerId", |node, args| args.end().map(|()| node.info.peer_id.clone()))?;
    // This node has no peer-to-peer links yet: its answers say so.
    quick(module, "system_localListenAddresses", |_, args| args.end().map(|()| Vec::<String>::new()))?;
    quick(module, "system_peers", |_, args| args.end().map(|()| Vec::<Value>::new()))?;
    quick(module, "system_nodeRoles", |node, args| {
        args.end().map(|()| [if node.info.validator { "Authority" } else { "Full" }])
    })?;
    quick(module, "system_syncState", sync_state)?;
    blocking(module, "system_accountNextIndex", account_next_index)?;
    aliases(module, "system_accountNextIndex", &["account_nextIndex"])
}

/// Adds `rpc_methods`: exactly the names that this listener serves, its own included.
pub(crate) fn register_methods(module: &mut Module) -> Registered {
    let mut names: Vec<&'static str> = module.method_names().chain(["rpc_methods"]).collect();
    names.sort_unstable();
    module.register_method("rpc_methods", move |params, _, _| -> RpcResult<Value> {
        Args::new(&params)?.end()?;
        Ok(json!({ "methods": names }))
    })?;
    Ok(())
}

fn properties(node: &Arc<Node>, args: Args) -> RpcResult<Value> {
    args.end()?;
    Ok(json!({
        "ss58Format": node.info.ss58_prefix,
        "tokenDecimals": x0_types::account::DECIMALS,
        "tokenSymbol": x0_types::account::SYMBOL,
        "x0Network": node.info.network,
    }))
}

fn health(_: &Arc<Node>, args: Args) -> RpcResult<Value> {
    args.end()?;
    Ok(json!({ "peers": 0, "isSyncing": false, "shouldHavePeers": false }))
}

fn sync_state(node: &Arc<Node>, args: Args) -> RpcResult<Value> {
    args.end()?;
    let head = node.head().number;
    Ok(json!({ "startingBlock": node.started_at, "currentBlock": head, "highestBlock": head }))
}

/// The nonce that the account's next transaction carries, those that wait included.
fn account_next_index(node: &Node, mut args: Args) -> RpcResult<Nonce> {
    let account: AccountId = account(&mut args, "account")?;
    args.end()?;
    let reader = account.clone();
    let state_nonce = node.read(None, move |_| x0_runtime::apis::account_nonce(reader))?;
    Ok(node.mempool.next_nonce(&account, state_nonce))
}

/// An account as ss58 text or as 32 bytes in hex.
pub(crate) fn account(args: &mut Args, name: &str) -> RpcResult<AccountId> {
    use core::str::FromStr as _;
    let text: String = args.required_text(name)?;
    let wrong = |why: &str| crate::error::invalid_params(format!("'{name}': {why}"));
    if text.starts_with("0x") {
        let bytes = x0_rpc_types::HexBytes::parse(&text).map_err(|cause| wrong(&cause.to_string()))?;
        return <[u8; 32]>::try_from(bytes.0.as_slice())
            .map(AccountId::new)
            .map_err(|_| wrong(&format!("an account has 32 bytes, not {}", bytes.0.len())));
    }
    AccountId::from_str(&text).map_err(|why| wrong(&format!("no ss58 account ({why})")))
}

/// Serialises a value that has a JSON form by construction.
pub(crate) fn to_json(value: &impl serde::Serialize) -> RpcResult<Value> {
    serde_json::to_value(value).map_err(|cause| internal("an answer has no JSON form", &cause))
}
