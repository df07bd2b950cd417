//! `system_*` and `rpc_methods`: what the node is and how it is.

use crate::{
    about::About,
    error::{RpcResult, internal},
    module::{Module, Registered, aliases, blocking},
    node::Node,
    params::Args,
};
use jsonrpsee::RpcModule;
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use x0_rpc_types::node::Peer;
use x0_types::{AccountId, Hash, Nonce};

/// Adds the methods, except `rpc_methods`, which needs the finished table.
pub(crate) fn register(module: &mut Module, node: &Node) -> Registered {
    register_about(module, &node.about)?;
    blocking(module, "system_peers", |node, args| {
        let hash_of = |tip| u32::try_from(tip).ok().and_then(|number| node.database.hash_of(number));
        peers(&node.about, args, hash_of)
    })?;
    blocking(module, "system_accountNextIndex", account_next_index)?;
    aliases(module, "system_accountNextIndex", &["account_nextIndex"])
}

/// Adds what a node serves that has no chain yet.
pub(crate) fn register_starting(module: &mut RpcModule<()>, about: &Arc<About>) -> Registered {
    register_about(module, about)?;
    answer(module, about, "system_peers", |about, args| peers(about, args, |_| None))?;
    register_methods(module)
}

/// Adds the methods that need no chain.
fn register_about<C: Send + Sync + 'static>(module: &mut RpcModule<C>, about: &Arc<About>) -> Registered {
    answer(module, about, "system_name", |_, args| args.end().map(|()| "x0-node"))?;
    answer(module, about, "system_version", |about, args| args.end().map(|()| about.info.version.clone()))?;
    answer(module, about, "system_chain", |about, args| args.end().map(|()| about.info.chain.clone()))?;
    answer(module, about, "system_chainType", |about, args| args.end().map(|()| about.info.chain_type.clone()))?;
    answer(module, about, "system_properties", properties)?;
    answer(module, about, "system_health", health)?;
    answer(module, about, "system_localPeerId", |about, args| args.end().map(|()| about.info.peer_id.clone()))?;
    answer(module, about, "system_localListenAddresses", |about, args| {
        args.end().map(|()| about.neighbours.listening())
    })?;
    answer(module, about, "system_nodeRoles", |about, args| {
        args.end().map(|()| [if about.info.validator { "Authority" } else { "Full" }])
    })?;
    answer(module, about, "system_syncState", sync_state)
}

/// Registers a method about the node.
fn answer<C, R>(
    module: &mut RpcModule<C>,
    about: &Arc<About>,
    name: &'static str,
    f: fn(&About, Args) -> RpcResult<R>,
) -> Registered
where
    C: Send + Sync + 'static,
    R: Serialize + Clone + Send + 'static,
{
    let about = Arc::clone(about);
    module.register_method(name, move |params, _, _| -> RpcResult<R> { f(&about, Args::new(&params)?) })?;
    Ok(())
}

/// Adds `rpc_methods`: exactly the names that this listener serves, its own included.
pub(crate) fn register_methods<C: Send + Sync + 'static>(module: &mut RpcModule<C>) -> Registered {
    let mut names: Vec<&'static str> = module.method_names().chain(["rpc_methods"]).collect();
    names.sort_unstable();
    module.register_method("rpc_methods", move |params, _, _| -> RpcResult<Value> {
        Args::new(&params)?.end()?;
        Ok(json!({ "methods": names }))
    })?;
    Ok(())
}

fn properties(about: &About, args: Args) -> RpcResult<Value> {
    args.end()?;
    Ok(json!({
        "ss58Format": about.info.ss58_prefix,
        "tokenDecimals": x0_types::account::DECIMALS,
        "tokenSymbol": x0_types::account::SYMBOL,
        "x0Network": about.info.network,
    }))
}

fn health(about: &About, args: Args) -> RpcResult<Value> {
    args.end()?;
    let peers = about.neighbours.peers();
    Ok(json!({
        "peers": peers.len(),
        "isSyncing": about.is_syncing(&peers),
        "shouldHavePeers": about.neighbours.wanted(),
    }))
}

/// Peers in Substrate's form, without their addresses, which are the operator's business (`admin_peers`). A peer says
/// its height and no hash: the hash is the one that this node has for that height, if it has it.
fn peers(about: &About, args: Args, hash_of: impl Fn(u64) -> Option<Hash>) -> RpcResult<Vec<Value>> {
    args.end()?;
    let peer = |peer: Peer| json!({ "peerId": peer.peer_id, "roles": "FULL", "bestHash": hash_of(peer.tip), "bestNumber": peer.tip });
    Ok(about.neighbours.peers().into_iter().map(peer).collect())
}

fn sync_state(about: &About, args: Args) -> RpcResult<Value> {
    args.end()?;
    let heights = about.heights(&about.neighbours.peers());
    Ok(json!({ "startingBlock": heights.start, "currentBlock": heights.now, "highestBlock": heights.highest }))
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
