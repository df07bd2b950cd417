//! How a running engine ends, and who notices.
//!
//! A disk that fails is met by whichever part writes next: the guard, the engine's log, which says so in its log only, or
//! the database. So that the end has one name whatever the part, every failure asks the disk ([`probe`]) before it is
//! reported.

use crate::{context::ChainContext, signer::SignError};
use malachite_app::metrics::Metrics;
use malachite_engine::{
    node::{NodeMsg, NodeRef},
    util::events::{Event, RxEvent},
};
use parking_lot::Mutex;
use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{broadcast::error::RecvError, watch},
    task::JoinHandle,
};
use x0_sign_guard::GuardError;

/// How often the supervisor's state is looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);
/// The file with which the disk is asked whether it works, and its size: more than a file system keeps elsewhere.
const PROBE_FILE: &str = "probe.tmp";
const PROBE_BYTES: usize = 16 * 1024;
/// How long a disk may take to answer that.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

/// Why a running engine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Something happened after which this node must not sign: neither the process nor a machine may
    /// restart it before an operator has looked.
    SafetyHalt(String),
    /// The disk failed, or has no room: nothing more is signed, and a restart would come to the same end until an
    /// operator has looked.
    Storage(String),
    /// The engine ended; starting the process again is safe.
    Restartable(String),
}

/// Where the parts of the engine say that it must not or cannot go on.
#[derive(Clone)]
pub(crate) struct Fate {
    node: NodeRef,
    pub(crate) halted: Arc<Mutex<Option<String>>>,
    disk: Arc<Mutex<Option<String>>>,
    failed: Arc<Mutex<Option<String>>>,
}

impl Fate {
    pub(crate) fn new(node: NodeRef) -> Self {
        Self { node, halted: Arc::default(), disk: Arc::default(), failed: Arc::default() }
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
        let reason = format!("cannot sign: {error}");
        match error {
            SignError::Guard(GuardError::Unavailable { .. }) => self.fail(&reason),
            // A guard that was not written once signs nothing more, and neither does an engine without its log.
            SignError::Guard(GuardError::Io { .. } | GuardError::Poisoned) | SignError::Log(_) => {
                self.disk.lock().get_or_insert_with(|| reason.clone());
                self.halt(reason);
            }
            _ => self.halt(reason),
        }
    }

    /// The failure that is reported for this one: the disk's, when it does not work.
    async fn named(&self, failure: Failure, directory: PathBuf) -> Failure {
        if let Some(reason) = self.disk.lock().clone() {
            return Failure::Storage(reason);
        }
        let (Failure::SafetyHalt(reason) | Failure::Storage(reason) | Failure::Restartable(reason)) = &failure;
        let shown = directory.display().to_string();
        let asked = tokio::task::spawn_blocking(move || probe(&directory));
        match tokio::time::timeout(PROBE_PATIENCE, asked).await {
            Ok(Ok(Ok(()))) => failure,
            Ok(Ok(Err(error))) => Failure::Storage(format!("{shown}: {error}; {reason}")),
            Ok(Err(error)) => Failure::Storage(format!("{shown}: {error}; {reason}")),
            Err(_) => Failure::Storage(format!("{shown}: the disk does not answer; {reason}")),
        }
    }
}

/// Whether the disk takes bytes and keeps them. Blocks on it.
fn probe(directory: &Path) -> io::Result<()> {
    let path = directory.join(PROBE_FILE);
    let mut file = File::create(&path)?;
    file.write_all(&[0x55; PROBE_BYTES])?;
    file.sync_all()?;
    drop(file);
    std::fs::remove_file(&path)?;
    File::open(directory)?.sync_all()
}

/// Notes when the engine finds its log damaged: a halt for which the disk that works now is no excuse.
pub(crate) async fn watch_log(mut events: RxEvent<ChainContext>, fate: Fate) {
    loop {
        let reason = match events.recv().await {
            Ok(Event::WalCorrupted(error)) => format!("an entry of the engine's log is damaged: {error}"),
            Ok(Event::WalReplayError(error)) => format!("an entry of the engine's log does not fit: {error}"),
            // The engine stands still after either, so that they are never among the oldest events, which are lost.
            Ok(_) | Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        fate.halted.lock().get_or_insert(reason);
    }
}

/// Tells a safety halt (the supervisor stays, its gauge is set) from an end that a restart may mend.
pub(crate) async fn supervise<T: Send + 'static>(
    mut ended: JoinHandle<()>,
    metrics: Metrics,
    fate: Fate,
    mut stopping: watch::Receiver<bool>,
    report: watch::Sender<Option<Failure>>,
    directory: PathBuf,
    // Kept alive with the engine.
    _sync_port: T,
) {
    let halted = || fate.halted.lock().clone().map(Failure::SafetyHalt);
    let failure = loop {
        if metrics.node_safety_failure.get() != 0 {
            // Whatever else halts the running engine has a name here: this is its log, of which a write failed, and a
            // disk that fails now and then may work again by now.
            let unwritten =
                || Failure::Storage("the engine cannot write its log; the messages above name the error".into());
            break halted().unwrap_or_else(unwritten);
        }
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => return,
            _ = &mut ended => {
                let reason = fate.failed.lock().clone().unwrap_or_else(|| "the consensus engine ended".into());
                break halted().unwrap_or(Failure::Restartable(reason));
            }
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
        }
    };
    report.send_replace(Some(fate.named(failure, directory).await));
    // The report stays readable as long as this task lives. A closed channel is a stop, too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_works_is_left_as_it_was_and_one_that_does_not_is_named() {
        let directory = tempfile::tempdir().unwrap();
        probe(directory.path()).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(probe(&directory.path().join("gone")).is_err());
        // A device that is always full.
        std::os::unix::fs::symlink("/dev/full", directory.path().join(PROBE_FILE)).unwrap();
        assert_eq!(probe(directory.path()).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
