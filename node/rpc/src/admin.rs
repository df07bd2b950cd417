//! `admin_*`: for the operator on the same machine; served only on loopback listeners with
//! `rpc.unsafe` switched on.

use crate::{
    error::{RpcResult, error, invalid_params},
    module::{Module, Registered, quick},
    node::Node,
    params::Args,
};
use std::sync::Arc;
use x0_rpc_types::{chain::MempoolStatus, error as code, node::Peer};

/// Adds the methods.
pub(crate) fn register(module: &mut Module) -> Registered {
    quick(module, "admin_mempool", mempool)?;
    quick(module, "admin_peers", peers)?;
    quick(module, "admin_setLogFilter", set_log_filter)
}

fn set_log_filter(node: &Arc<Node>, mut args: Args) -> RpcResult<()> {
    let filter: String = args.required("filter")?;
    args.end()?;
    let Some(control) = &node.log else {
        return Err(error(code::NOT_FOUND, "This process has no log filter to change"));
    };
    tracing::info!(target: "x0::rpc", filter, "log filter changes by request");
    control(&filter).map_err(|cause| invalid_params(format!("'filter': {cause}")))
}

fn peers(node: &Arc<Node>, args: Args) -> RpcResult<Vec<Peer>> {
    args.end()?;
    Ok(node.about.neighbours.peers())
}

fn mempool(node: &Arc<Node>, args: Args) -> RpcResult<MempoolStatus> {
    args.end()?;
    let stats = node.mempool.stats();
    let wide = |count: usize| x0_rpc_types::Number(u64::try_from(count).unwrap_or(u64::MAX));
    Ok(MempoolStatus { transactions: wide(stats.waiting), bytes: wide(stats.bytes), ready: wide(stats.ready) })
}
