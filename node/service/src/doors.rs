//! What others ask the node over, open from the start: the RPC's sockets, and the listener for metrics and health.
//!
//! ```text
//!   no chain yet:  sockets --> methods about the node          telemetry --> [`Starting`]
//!   chain open:    sockets --> all methods                     telemetry --> Observer
//! ```

use crate::{
    exit::{Exit, Failure},
    observe::{Look, Stage, Starting},
    parts::{Plan, node_info},
    standing::Standing,
};
use std::{net::SocketAddr, sync::Arc};
use x0_rpc::{ListenerConfig, Node, RpcServer, Sockets};
use x0_telemetry::{Samples, Source as _, Telemetry};

/// Why methods that need a chain are refused.
const FETCHING: &str = "The node fetches a snapshot of the chain and cannot answer this yet; ask system_health";

/// The open doors.
pub struct Doors {
    sockets: Sockets,
    stage: Arc<Stage>,
    rpc: Option<RpcServer>,
    telemetry: Option<x0_telemetry::Server>,
}

impl Doors {
    /// Binds everything, and says how the node is from now on.
    ///
    /// # Errors
    /// One line that names the listener.
    pub async fn open(plan: &Plan, listeners: &[ListenerConfig], standing: &Arc<Standing>) -> Result<Self, Failure> {
        let sockets = Sockets::bind(listeners).map_err(Failure::configuration)?;
        let stage = Arc::new(Stage::new(Starting::new(plan, Arc::clone(standing), Box::new(sockets.stats()))));
        let telemetry = match plan.config.metrics {
            Some(address) => {
                let source = Arc::clone(&stage);
                let collect = move |samples: &mut Samples| source.collect(samples);
                let telemetry = Telemetry::new(Arc::clone(&stage)).with(collect);
                Some(x0_telemetry::serve(address, Arc::new(telemetry)).await.map_err(Failure::configuration)?)
            }
            None => None,
        };
        Ok(Self { sockets, stage, rpc: None, telemetry })
    }

    /// Serves what a node without a chain can say.
    ///
    /// # Errors
    /// When a listener fails.
    pub fn serve_starting(&mut self, plan: &Plan, standing: &Arc<Standing>) -> Result<(), Failure> {
        let info = node_info(&plan.spec, &plan.keys);
        let neighbours = Arc::clone(standing) as Arc<dyn x0_rpc::Neighbours>;
        self.rpc = Some(self.sockets.serve_starting(info, neighbours, FETCHING).map_err(Failure::configuration)?);
        Ok(())
    }

    /// Serves everything. Connections of the phase before are closed: clients connect again.
    ///
    /// # Errors
    /// When a listener fails.
    pub async fn serve(&mut self, node: &Arc<Node>, observer: impl Look) -> Result<(), Failure> {
        self.stage.enter(observer);
        if let Some(starting) = self.rpc.take() {
            starting.stop().await;
        }
        self.rpc = Some(self.sockets.serve(node).map_err(Failure::configuration)?);
        Ok(())
    }

    /// Gives what went over the RPC.
    pub fn rpc_stats(&self) -> Box<dyn Fn() -> x0_rpc::RpcStats + Send + Sync> {
        Box::new(self.sockets.stats())
    }

    /// Where the RPC listens, in the order of the listeners.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.addresses()
    }

    /// Where metrics and health are.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.telemetry.as_ref().map(x0_telemetry::Server::address)
    }

    /// Waits until a listener fails.
    pub async fn failed(&mut self) -> Failure {
        match &mut self.rpc {
            Some(rpc) => Failure::new(Exit::Restartable, rpc.failed().await),
            None => std::future::pending().await,
        }
    }

    /// Closes them.
    pub async fn close(self) {
        if let Some(telemetry) = self.telemetry {
            telemetry.stop().await;
        }
        if let Some(rpc) = self.rpc {
            rpc.stop().await;
        }
    }
}
