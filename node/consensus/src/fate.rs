//! How a running engine ends, and who notices.

use crate::signer::SignError;
use malachite_app::metrics::Metrics;
use malachite_engine::node::{NodeMsg, NodeRef};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinHandle};
use x0_sign_guard::GuardError;

/// How often the supervisor's state is looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

/// Why a running engine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Something happened after which this node must not sign: neither the process nor a machine may
    /// restart it before an operator has looked.
    SafetyHalt(String),
    /// The engine ended; starting the process again is safe.
    Restartable(String),
}

/// Where the parts of the engine say that it must not or cannot go on.
#[derive(Clone)]
pub(crate) struct Fate {
    node: NodeRef,
    pub(crate) halted: Arc<Mutex<Option<String>>>,
    failed: Arc<Mutex<Option<String>>>,
}

impl Fate {
    pub(crate) fn new(node: NodeRef) -> Self {
        Self { node, halted: Arc::default(), failed: Arc::default() }
    }

    /// The node must not go on, and must not be restarted by a machine either.
    pub(crate) fn halt(&self, reason: String) {
        tracing::error!(%reason, "safety halt");
        self.halted.lock().get_or_insert_with(|| reason.clone());
        // Without a supervisor the engine is gone already.
        let _ = self.node.cast(NodeMsg::SafetyFailure(reason));
    }

    /// The node cannot go on; a restart may help.
    pub(crate) fn fail(&self, reason: &str) {
        tracing::error!(%reason, "consensus stops");
        self.failed.lock().get_or_insert_with(|| reason.to_owned());
        self.node.stop(Some(reason.to_owned()));
    }

    /// There is no signature. A signer in another process may come back; a guard that refuses or fails does not.
    pub(crate) fn cannot_sign(&self, error: &SignError) {
        match error {
            SignError::Guard(GuardError::Unavailable { .. }) => self.fail(&format!("cannot sign: {error}")),
            _ => self.halt(format!("cannot sign: {error}")),
        }
    }
}

/// Tells a safety halt (the supervisor stays, its gauge is set) from an end that a restart may mend.
pub(crate) async fn supervise<T: Send + 'static>(
    mut ended: JoinHandle<()>,
    metrics: Metrics,
    fate: Fate,
    mut stopping: watch::Receiver<bool>,
    report: watch::Sender<Option<Failure>>,
    // Kept alive with the engine.
    _sync_port: T,
) {
    let halted = || fate.halted.lock().clone().map(Failure::SafetyHalt);
    loop {
        if metrics.node_safety_failure.get() != 0 {
            let unnamed = || Failure::SafetyHalt("the engine halted for safety; its log names the reason".into());
            report.send_replace(Some(halted().unwrap_or_else(unnamed)));
            break;
        }
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => return,
            _ = &mut ended => {
                let reason = fate.failed.lock().clone().unwrap_or_else(|| "the consensus engine ended".into());
                report.send_replace(Some(halted().unwrap_or(Failure::Restartable(reason))));
                break;
            }
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
        }
    }
    // The report stays readable as long as this task lives. A closed channel is a stop, too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
