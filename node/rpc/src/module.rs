//! Small helpers to register methods, so that each method is one line of registration and one
//! function, and the method table stays exact.

use crate::{error::RpcResult, node::Node, params::Args};
use futures::future::BoxFuture;
use jsonrpsee::{RpcModule, core::RegisterMethodError};
use serde::Serialize;
use std::sync::Arc;

/// The method table under construction.
pub(crate) type Module = RpcModule<Arc<Node>>;
/// What registration returns.
pub(crate) type Registered = Result<(), RegisterMethodError>;

/// Registers a method that needs no blocking work: its function runs on the async thread.
pub(crate) fn quick<R>(module: &mut Module, name: &'static str, f: fn(&Arc<Node>, Args) -> RpcResult<R>) -> Registered
where
    R: Serialize + Clone + Send + 'static,
{
    module
        .register_method(name, move |params, node: &Arc<Node>, _| -> RpcResult<R> { f(node, Args::new(&params)?) })?;
    Ok(())
}

/// Registers a method that reads the database or executes: its function runs on a blocking thread.
pub(crate) fn blocking<R>(module: &mut Module, name: &'static str, f: fn(&Node, Args) -> RpcResult<R>) -> Registered
where
    R: Serialize + Clone + Send + 'static,
{
    module.register_async_method(name, move |params, node: Arc<Arc<Node>>, _| async move {
        let args = Args::new(&params)?;
        node.run(move |node| f(node, args)).await
    })?;
    Ok(())
}

/// What an asynchronous method returns.
type Answer<R> = BoxFuture<'static, RpcResult<R>>;

/// Registers a method that waits for others; it runs its own blocking work with [`Node::run`].
pub(crate) fn asynchronous<R>(
    module: &mut Module,
    name: &'static str,
    f: fn(Arc<Node>, Args) -> Answer<R>,
) -> Registered
where
    R: Serialize + Clone + Send + 'static,
{
    module.register_async_method(name, move |params, node: Arc<Arc<Node>>, _| async move {
        f(Arc::clone(&node), Args::new(&params)?).await
    })?;
    Ok(())
}

/// Registers other names of a method.
pub(crate) fn aliases(module: &mut Module, name: &'static str, others: &[&'static str]) -> Registered {
    for other in others {
        module.register_alias(other, name)?;
    }
    Ok(())
}
