//! What a node says about itself before it has a chain, and the change to what it says later.

use super::metrics;
use crate::{parts::Plan, standing::Standing};
use parking_lot::RwLock;
use std::{path::PathBuf, sync::Arc, time::Instant};
use x0_telemetry::{Report, Samples, Source, Status, process};

/// Looks at the node: for health and for metrics.
pub trait Look: Status + Source {}

impl<T: Status + Source> Look for T {}

/// Who looks at the node now.
pub struct Stage(RwLock<Arc<dyn Look>>);

impl Stage {
    /// The first one to look.
    pub fn new(first: impl Look) -> Self {
        Self(RwLock::new(Arc::new(first)))
    }

    /// From now on this one looks.
    pub fn enter(&self, next: impl Look) {
        *self.0.write() = Arc::new(next);
    }

    fn now(&self) -> Arc<dyn Look> {
        Arc::clone(&self.0.read())
    }
}

impl Status for Stage {
    fn health(&self) -> Report {
        self.now().health()
    }
    fn ready(&self) -> Report {
        self.now().ready()
    }
}

impl Source for Stage {
    fn collect(&self, samples: &mut Samples) {
        self.now().collect(samples);
    }
}

/// Looks at a node that fetches a snapshot.
pub struct Starting {
    chain: String,
    base: PathBuf,
    standing: Arc<Standing>,
    rpc: Box<dyn Fn() -> x0_rpc::RpcStats + Send + Sync>,
    since: Instant,
}

impl Starting {
    /// A node that begins now.
    pub fn new(plan: &Plan, standing: Arc<Standing>, rpc: Box<dyn Fn() -> x0_rpc::RpcStats + Send + Sync>) -> Self {
        Self { chain: plan.spec.id.clone(), base: plan.base.clone(), standing, rpc, since: Instant::now() }
    }
}

impl Status for Starting {
    /// A node that fetches what it lacks does its work; how long that may take nobody knows.
    fn health(&self) -> Report {
        let mut report = Report::good();
        let peers = self.standing.peers();
        report.detail("phase", "fetching a snapshot");
        report.detail("sinceMs", u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX));
        report.detail("peers", peers.len());
        report.detail("bestPeerHeight", peers.iter().map(|peer| peer.tip).max().unwrap_or(0));
        report
    }

    fn ready(&self) -> Report {
        let mut report = self.health();
        report.against("the node has no chain yet: it fetches a snapshot of the state from its peers");
        report
    }
}

impl Source for Starting {
    fn collect(&self, samples: &mut Samples) {
        metrics::identity(samples, &self.chain);
        metrics::verdicts(samples, self);
        metrics::network(samples, &self.standing);
        metrics::rpc(samples, &(self.rpc)());
        process::collect(&self.base, samples);
    }
}
