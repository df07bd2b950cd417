//! What the node says about itself: health, readiness and metrics.
//!
//! ```text
//!   no chain yet: links, RPC --------> [`Starting`] --+
//!   executor's heads --> [`Progress`] --+             +--> [`Stage`] --> x0-telemetry --> /metrics, /health, /ready
//!   engine, mempool, database, links ---+--> [`Observer`]
//! ```

mod metrics;
mod starting;

pub use starting::{Look, Stage, Starting};

use crate::{
    ground::Neighbourly,
    standing::{Phase, Standing},
};
use parking_lot::Mutex;
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use x0_consensus::{EngineHandle, EngineStatus};
use x0_executor::Executor;
use x0_limits as limits;
use x0_mempool::Mempool;
use x0_runtime::{
    Runtime,
    network::{Scheduled, Upgrade},
    version::SUPPORTED_SPECS,
};
use x0_sign_guard::ConsensusKey;
use x0_storage::Database;
use x0_telemetry::{Report, Status, process};

/// The engine while it runs; the node takes it out to stop it.
pub type EngineSlot = Arc<Mutex<Option<Arc<EngineHandle>>>>;

/// What serves the other nodes while it runs.
pub type NeighbourlySlot = Arc<Mutex<Option<Arc<Neighbourly>>>>;

/// When the height grew last.
#[derive(Debug)]
pub struct Progress(Mutex<(u64, Instant)>);

impl Progress {
    /// Follows the executor's heads until the executor is gone.
    #[must_use]
    pub fn follow(executor: &Executor) -> Arc<Self> {
        let mut heads = executor.subscribe_heads();
        let number = u64::from(heads.borrow_and_update().number);
        let progress = Arc::new(Self(Mutex::new((number, Instant::now()))));
        let weak = Arc::downgrade(&progress);
        tokio::spawn(async move {
            while heads.changed().await.is_ok() {
                let Some(progress) = weak.upgrade() else { return };
                *progress.0.lock() = (u64::from(heads.borrow_and_update().number), Instant::now());
            }
        });
        progress
    }

    /// The height, and for how long it has been that.
    #[must_use]
    pub fn height(&self) -> (u64, Duration) {
        let (height, since) = *self.0.lock();
        (height, since.elapsed())
    }
}

/// Looks at the parts of a running node.
pub struct Observer {
    /// The chain's name for machines.
    pub chain: String,
    /// The data directory.
    pub base: PathBuf,
    /// The blocks.
    pub database: Database,
    /// The head.
    pub executor: Executor,
    /// The waiting transactions.
    pub mempool: Mempool,
    /// The engine.
    pub engine: EngineSlot,
    /// The consensus key.
    pub key: Arc<dyn ConsensusKey>,
    /// The links and the phase.
    pub standing: Arc<Standing>,
    /// What serves the other nodes, once the node takes part.
    pub neighbourly: NeighbourlySlot,
    /// What went over the RPC.
    pub rpc: Box<dyn Fn() -> x0_rpc::RpcStats + Send + Sync>,
    /// When the height grew last.
    pub progress: Arc<Progress>,
    /// Longest wait of a healthy node for a block.
    pub patience: Duration,
}

impl Observer {
    fn engine_status(&self) -> Option<EngineStatus> {
        self.engine.lock().as_ref().map(|engine| engine.status())
    }

    /// The rules that take over next, if any are announced. Heads move on: when this one's state is gone, so is the
    /// question.
    fn upgrade(&self) -> Option<Upgrade> {
        self.executor.with_state(self.executor.head().hash, Scheduled::<Runtime>::get).ok().flatten()
    }

    /// Why the disk stands in the way of signing on, if it does.
    fn disk(&self, report: &mut Report) {
        match process::space(&self.base) {
            Ok(space) => {
                report.detail("diskFreeBytes", space.free);
                if space.free < limits::DISK_FREE_BYTES_MIN {
                    report.against(format!(
                        "the disk has {} MiB left, below {} MiB",
                        space.free >> 20,
                        limits::DISK_FREE_BYTES_MIN >> 20
                    ));
                }
            }
            Err(cause) => report.against(format!("the disk cannot be looked at: {cause}")),
        }
    }
}

impl Status for Observer {
    fn health(&self) -> Report {
        let mut report = Report::good();
        let (height, age) = self.progress.height();
        report.detail("height", height);
        report.detail("heightAgeMs", u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        report.detail("patienceMs", u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX));
        if age > self.patience {
            report.against(format!(
                "the height has been {height} for {} s, longer than {} s",
                age.as_secs(),
                self.patience.as_secs()
            ));
        }
        if self.engine_status().is_none() {
            report.against("the consensus engine does not run");
        }
        report
    }

    fn ready(&self) -> Report {
        let mut report = self.health();
        let peers = self.standing.peers();
        report.detail("peers", peers.len());
        if let Phase::Following { until } = self.standing.phase() {
            report.detail("followUntil", until);
            report.against(format!("the node follows until height {until}, for which its consensus key has signed"));
        }
        let Some(engine) = self.engine_status() else { return report };
        report.detail("round", engine.round);
        report.detail("validator", engine.validator);
        // The only validator of a network wants nobody.
        let missing = self.standing.missing();
        if peers.is_empty() && missing > 0 {
            report.against(format!("there are no peers, and {missing} are wanted"));
        }
        let best = peers.iter().map(|peer| peer.tip).max().unwrap_or(0);
        report.detail("bestPeerHeight", best);
        report.detail("peersMissing", missing);
        let behind = best.saturating_sub(engine.tip.height);
        if behind > limits::READY_LAG_BLOCKS_MAX {
            report.against(format!("the node is {behind} blocks behind its best peer"));
        }
        self.disk(&mut report);
        if let Some(upgrade) = self.upgrade() {
            report.detail("upgradeHeight", upgrade.height);
            report.detail("upgradeVersion", upgrade.spec_version);
            if !SUPPORTED_SPECS.contains(&upgrade.spec_version) {
                report.against(format!(
                    "version {} of the rules takes over at height {}, and this program does not know it",
                    upgrade.spec_version, upgrade.height
                ));
            }
        }
        report
    }
}
