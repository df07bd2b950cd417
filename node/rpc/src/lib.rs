//! JSON-RPC over HTTP and WebSocket, for wallets, agents, explorers and operators.
//!
//! The crate exists so that unmodified Substrate clients (polkadot-api, subxt, polkadot.js for
//! reading) and our own programs can use the chain through one set of methods.
//!
//! ```text
//!   plain (loopback) --+                         +-- quick methods: answered on the async thread
//!   native PQ TLS -----+-> access -> rate limit -+-- blocking methods: spawn_blocking, bounded
//!   web TLS -----------+   (host,     (bucket)   +-- subscriptions: pulled from the database, so
//!                           origin)                  that a slow reader costs no memory
//! ```
//!
//! `docs/rpc.md` lists every method and error; `rpc_methods` lists exactly what a listener serves.
//!
//! # Correctness
//! * An answer about a block is read from that block's state, and from nothing newer.
//! * Head subscriptions send each finalised block once, in order, without gaps.
//! * Nothing that executes or touches the disk runs on an async thread.
//! * A connection that does not read its answers is not read from (`flow`).
//! * `admin_*` methods exist only on listeners that were asked for them, on loopback.
//!
//! # Limits
//! The `RPC_*` constants of `x0-limits`: sizes, connections, subscriptions, batches, request rate,
//! executions at the same time, list lengths, timeouts.
//!
//! # Errors
//! Starting fails with [`RpcError`]; methods answer the codes of `x0_rpc_types::error`.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap
    )
)]

mod about;
mod access;
mod admin;
mod admission;
mod author;
mod chain;
mod did;
mod error;
mod feed;
mod flow;
mod governance;
mod history;
mod light;
mod listener;
mod market;
mod measurement;
mod module;
mod node;
mod notices;
mod offers;
mod params;
mod payment;
mod per_block;
mod rate;
mod search;
mod state;
mod system;
mod traffic;
mod trust;
mod validators;

pub use about::Neighbours;
pub use access::Origins;
pub use error::RpcError;
pub use listener::{ListenerConfig, Transport};
pub use node::{LogControl, Node, NodeInfo};
pub use traffic::{ClassStats, LATENCY_BOUNDS_US, RpcStats};

use about::About;
use jsonrpsee::{RpcModule, server::Methods};
use listener::{Bound, Listener};
use std::{net::SocketAddr, sync::Arc};
use tokio::sync::mpsc;
use traffic::{Table, Traffic};

pub use x0_rpc_types::RPC_ALPN;

/// The method table of a listener.
///
/// # Errors
/// [`RpcError::Methods`] when two methods share a name, which the tests exclude.
pub fn methods(node: &Arc<Node>, unsafe_methods: bool) -> Result<Methods, RpcError> {
    let mut module = RpcModule::new(node.clone());
    system::register(&mut module, node)?;
    chain::register(&mut module)?;
    state::register(&mut module)?;
    author::register(&mut module)?;
    payment::register(&mut module)?;
    did::register(&mut module)?;
    market::register(&mut module)?;
    offers::register(&mut module)?;
    notices::register(&mut module)?;
    search::register(&mut module)?;
    measurement::register(&mut module)?;
    history::register(&mut module)?;
    validators::register(&mut module)?;
    governance::register(&mut module)?;
    trust::register(&mut module)?;
    light::register(&mut module)?;
    if unsafe_methods {
        admin::register(&mut module)?;
    }
    system::register_methods(&mut module)?;
    Ok(module.into())
}

/// The bound sockets of all listeners, and what they count. They outlive the servers on them: a node serves what it
/// can while it fetches a chain, and then everything, at the same addresses. A connection that comes in between waits.
pub struct Sockets {
    bound: Vec<Bound>,
    traffic: Arc<Traffic>,
}

impl Sockets {
    /// Checks and binds all listeners. Either all are bound or none is.
    ///
    /// # Errors
    /// [`RpcError`] names the listener and the rule or the system's answer.
    pub fn bind(configs: &[ListenerConfig]) -> Result<Self, RpcError> {
        for config in configs {
            config.check()?;
        }
        let bound = configs.iter().map(Bound::new).collect::<Result<_, _>>()?;
        Ok(Self { bound, traffic: Arc::default() })
    }

    /// Where the listeners listen, in the order of their configurations.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.bound.iter().map(|bound| bound.address).collect()
    }

    /// Gives what went over the listeners since they were bound, as often as it is called.
    pub fn stats(&self) -> impl Fn() -> RpcStats + Send + Sync + use<> {
        let traffic = Arc::clone(&self.traffic);
        move || traffic.stats()
    }

    /// Serves all methods. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`RpcError::Methods`], [`RpcError::Bind`].
    pub fn serve(&self, node: &Arc<Node>) -> Result<RpcServer, RpcError> {
        self.start(|bound| Ok(Table::new(methods(node, bound.unsafe_methods())?, &self.traffic, None)))
    }

    /// Serves what a node without a chain can say: about itself. Everything else is refused with the code
    /// [`STARTING`](x0_rpc_types::error::STARTING) and the given reason. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// As [`Sockets::serve`].
    pub fn serve_starting(
        &self,
        info: NodeInfo,
        neighbours: Arc<dyn Neighbours>,
        reason: &str,
    ) -> Result<RpcServer, RpcError> {
        let about = Arc::new(About::new(info, None, Some(neighbours)));
        let mut module = RpcModule::new(());
        system::register_starting(&mut module, &about)?;
        let methods = Methods::from(module);
        self.start(|_| Ok(Table::new(methods.clone(), &self.traffic, Some(reason.to_owned()))))
    }

    fn start(&self, table: impl Fn(&Bound) -> Result<Table, RpcError>) -> Result<RpcServer, RpcError> {
        // One slot for each listener, since each reports at most once.
        let (failed, failures) = mpsc::channel(self.bound.len().max(1));
        let listener = |bound| Listener::start(bound, table(bound)?, &self.traffic, failed.clone());
        let listeners = self.bound.iter().map(listener).collect::<Result<_, _>>()?;
        Ok(RpcServer { listeners, failures })
    }
}

/// The running RPC: all listeners.
pub struct RpcServer {
    listeners: Vec<Listener>,
    failures: mpsc::Receiver<RpcError>,
}

impl RpcServer {
    /// Checks and binds all listeners, and serves them. Either all run or none does.
    ///
    /// # Errors
    /// [`RpcError`] names the listener and the rule or the system's answer.
    #[expect(clippy::unused_async, reason = "a server starts within a runtime, which an asynchronous call shows")]
    pub async fn start(node: &Arc<Node>, configs: &[ListenerConfig]) -> Result<Self, RpcError> {
        Sockets::bind(configs)?.serve(node)
    }

    /// Where the listeners listen, in the order of their configurations.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|listener| listener.address).collect()
    }

    /// Waits until a listener fails. Does not return while all of them run.
    pub async fn failed(&mut self) -> RpcError {
        match self.failures.recv().await {
            Some(failure) => failure,
            // Every listener has ended without a failure: they were stopped.
            None => std::future::pending().await,
        }
    }

    /// Stops accepting, lets running requests end, closes connections.
    pub async fn stop(self) {
        futures::future::join_all(self.listeners.into_iter().map(Listener::stop)).await;
    }
}
