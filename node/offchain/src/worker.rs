//! The worker: slot after slot, whatever happens in one of them.

use crate::{
    chain::{Chain, ChainError, Target, blocking},
    clock::{Clock, SlotClock},
    diary::Diary,
    endpoint::EndpointPolicy,
    private::PrivateDraw,
    probe::Prober,
    receipts::{ReceiptStore, SlotReceipts},
    reporter::{Finished, Hidden, Reporter},
    slot::{Eye, Seen, probe_all},
    trial::{self, Trial},
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::{JoinHandle, JoinSet},
};
use x0_crypto::CryptoError;
use x0_types::{
    AccountId,
    market::{Observation, Slot},
};

/// Pause after the chain could not be read, milliseconds.
const READ_RETRY_MS: u64 = 500;

/// Settings of the worker.
#[derive(Clone, Debug)]
pub struct ProbeConfig {
    /// Which endpoints are probed.
    pub endpoints: EndpointPolicy,
    /// Where reports and receipts outlive the process; `None` keeps them in memory only.
    pub diary: Option<PathBuf>,
}

/// What the worker did, for status pages and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeStatus {
    /// The last slot whose probes are done.
    pub probed_slot: Option<Slot>,
    /// Nodes that were up in it.
    pub up: usize,
    /// Nodes that were down in it.
    pub down: usize,
    /// Nodes that were not probed in it.
    pub not_probed: usize,
    /// The last slot whose commitment entered the mempool.
    pub reported_slot: Option<Slot>,
    /// Commitments that entered the mempool.
    pub reports: u64,
    /// The last slot whose report was shown: it entered the mempool.
    pub shown_slot: Option<Slot>,
    /// Reports that were shown.
    pub shown: u64,
    /// Receipts that were shown because somebody asked.
    pub answers: u64,
    /// Receipts that somebody asked for and that this validator does not have: offences.
    pub unanswerable: u64,
    /// Nodes whose deals' promises were begun to be tried.
    pub trials_begun: u64,
    /// Those whose trials are booked.
    pub trials_booked: u64,
    /// Broken promises of deals that were complained about.
    pub complaints: u64,
    /// Slots that were reported before, by an earlier run.
    pub already_reported: u64,
    /// Slots without a report although nodes were probed.
    pub missed: u64,
    /// Slot and reason of the last of these.
    pub last_missed: Option<(Slot, String)>,
}

/// State that the tasks of a worker share.
#[derive(Debug, Default)]
pub(crate) struct Shared(Mutex<ProbeStatus>);

impl Shared {
    pub(crate) fn probed(&self, slot: Slot, seen: &[Seen]) {
        let count = |wanted| seen.iter().filter(|one| one.observation() == wanted).count();
        let mut status = self.0.lock();
        status.probed_slot = Some(slot);
        (status.up, status.down) = (count(Observation::Up), count(Observation::Down));
        status.not_probed = count(Observation::None);
    }

    pub(crate) fn reported(&self, slot: Slot) {
        let mut status = self.0.lock();
        status.reported_slot = Some(slot);
        status.reports = status.reports.saturating_add(1);
    }

    pub(crate) fn shown(&self, slot: Slot) {
        let mut status = self.0.lock();
        status.shown_slot = Some(slot);
        status.shown = status.shown.saturating_add(1);
    }

    pub(crate) fn count(&self, counter: impl FnOnce(&mut ProbeStatus) -> &mut u64) {
        let mut status = self.0.lock();
        let counter = counter(&mut status);
        *counter = counter.saturating_add(1);
    }

    pub(crate) fn skipped(&self) {
        let mut status = self.0.lock();
        status.already_reported = status.already_reported.saturating_add(1);
    }

    pub(crate) fn missed(&self, slot: Slot, reason: String) {
        let mut status = self.0.lock();
        status.missed = status.missed.saturating_add(1);
        status.last_missed = Some((slot, reason));
    }
}

/// A running worker.
#[derive(Debug)]
pub struct ProbeHandle {
    stop: watch::Sender<bool>,
    tasks: [JoinHandle<()>; 2],
    shared: Arc<Shared>,
    store: Arc<ReceiptStore>,
}

impl ProbeHandle {
    /// What the worker did so far.
    #[must_use]
    pub fn status(&self) -> ProbeStatus {
        self.shared.0.lock().clone()
    }

    /// The receipts behind a recent report.
    #[must_use]
    pub fn receipts(&self, slot: Slot) -> Option<Arc<SlotReceipts>> {
        self.store.get(slot)
    }

    /// Whether the worker's tasks still run: they end before [`ProbeHandle::stop`] only by a defect.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.tasks.iter().any(JoinHandle::is_finished)
    }

    /// Stops probing at once; a report that is being submitted is finished first.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the probing worker failed");
            }
        }
    }
}

/// Probes every enrolled node in every slot and reports.
pub struct ProbeWorker<C> {
    chain: C,
    clock: Arc<dyn Clock>,
    eye: Eye,
    shared: Arc<Shared>,
    finished: mpsc::Sender<Finished>,
    tried: mpsc::Sender<(Slot, Vec<Trial>)>,
}

impl<C: Chain> ProbeWorker<C> {
    /// Starts the worker on the current tokio runtime. Reads the diary first, which blocks on the disk; a diary that
    /// cannot be opened is named in the log, and the worker does without.
    ///
    /// # Errors
    /// [`CryptoError`] when the system has no random bytes for the private draws.
    pub fn start(chain: C, clock: Arc<dyn Clock>, config: &ProbeConfig) -> Result<ProbeHandle, CryptoError> {
        let (stop, stopped) = watch::channel(false);
        let (finished, waiting) = mpsc::channel(x0_limits::REPORTS_WAITING_MAX);
        let (tried, results) = mpsc::channel(x0_limits::TRIALS_WAITING_MAX);
        let shared = Arc::new(Shared::default());
        let store = Arc::new(ReceiptStore::new(x0_limits::RECEIPTS_SLOTS_KEPT, x0_limits::RECEIPTS_BYTES_KEPT));
        let (diary, hidden) = remembered(config, &store);
        let reporter = Reporter {
            chain: chain.clone(),
            clock: clock.clone(),
            store: store.clone(),
            diary,
            shared: shared.clone(),
            last_seen: HashMap::new(),
            hidden,
            answered: HashMap::new(),
            trials: Default::default(),
        };
        let eye = Eye {
            prober: Prober::new(chain.genesis_hash(), config.endpoints),
            draw: PrivateDraw::new()?,
            in_flight: Arc::new(Semaphore::new(x0_limits::PROBES_IN_FLIGHT_MAX)),
            trials: Arc::new(Semaphore::new(x0_limits::TRIALS_IN_FLIGHT_MAX)),
        };
        let worker = Self { chain, clock, eye, shared: shared.clone(), finished, tried };
        let tasks = [tokio::spawn(worker.run(stopped.clone())), tokio::spawn(reporter.run(waiting, results, stopped))];
        Ok(ProbeHandle { stop, tasks, shared, store })
    }

    async fn run(self, mut stopped: watch::Receiver<bool>) {
        let (mut slots, mut trials) = (JoinSet::new(), JoinSet::new());
        let (due, mut wanted) = mpsc::channel(x0_limits::TRIALS_WAITING_MAX);
        let mut last = None;
        loop {
            tokio::select! {
                biased;
                // Also ends when the handle is gone.
                _ = stopped.wait_for(|stop| *stop) => break,
                begun = self.next_slot(last) => {
                    let Some((clock, slot)) = begun else { continue };
                    last = Some(slot);
                    slots.spawn(probe_slot(
                        self.chain.clone(),
                        self.clock.clone(),
                        self.eye.clone(),
                        clock,
                        slot,
                        due.clone(),
                    ));
                }
                Some(done) = slots.join_next() => self.pass_on(done),
                Some((slot, target)) = wanted.recv() => {
                    self.shared.count(|status| &mut status.trials_begun);
                    trials.spawn(trial::all(self.eye.clone(), slot, target));
                }
                Some(done) = trials.join_next() => match done {
                    Ok(done) => {
                        if let Err(error) = self.tried.try_send(done) {
                            tracing::warn!(%error, "a trial was made in vain");
                        }
                    }
                    Err(error) => tracing::error!(%error, "a trial failed"),
                },
            }
        }
        // Probes and trials that are under way end here; the reporter ends because the channel does.
        slots.shutdown().await;
        trials.shutdown().await;
    }

    /// Waits for the next slot that leaves time for a probe, and comes after `last`.
    async fn next_slot(&self, last: Option<Slot>) -> Option<(SlotClock, Slot)> {
        let slots = match blocking(&self.chain, C::slot_clock).await {
            Ok(slots) => slots,
            Err(error) => {
                tracing::error!(%error, "the probing worker cannot read the chain's clock");
                tokio::time::sleep(Duration::from_millis(READ_RETRY_MS)).await;
                return None;
            }
        };
        let now = self.clock.now_ms();
        let mut slot = slots.slot_at(now);
        if now > slots.last_probe_start(slot) {
            slot = slot.saturating_add(1);
        }
        // A clock that was set back must not make a slot happen twice.
        if let Some(last) = last {
            slot = slot.max(last.saturating_add(1));
        }
        self.clock.sleep_until(slots.start_of(slot)).await;
        // A machine that slept wakes up long after: that slot is gone.
        (self.clock.now_ms() <= slots.last_probe_start(slot)).then_some((slots, slot))
    }

    fn pass_on(&self, done: Result<Result<Option<Finished>, (Slot, ChainError)>, tokio::task::JoinError>) {
        match done {
            Ok(Ok(Some(finished))) => {
                let slot = finished.slot;
                if self.finished.try_send(finished).is_err() {
                    tracing::error!(slot, "reports pile up; the slot stays without one");
                    self.shared.missed(slot, "too many reports wait".to_owned());
                }
            }
            // Nothing is enrolled.
            Ok(Ok(None)) => {}
            Ok(Err((slot, error))) => {
                tracing::error!(slot, %error, "the slot cannot be probed");
                self.shared.missed(slot, error.to_string());
            }
            Err(error) => tracing::error!(%error, "the probing of a slot failed"),
        }
    }
}

/// The diary with the reports that may still have to be shown; the receipts go into the store.
fn remembered(config: &ProbeConfig, store: &ReceiptStore) -> (Option<Arc<Diary>>, BTreeMap<Slot, Hidden>) {
    let Some(folder) = &config.diary else { return Default::default() };
    let (diary, pages) = match Diary::open(folder, x0_limits::RECEIPTS_SLOTS_KEPT, x0_limits::RECEIPTS_BYTES_KEPT) {
        Ok(opened) => opened,
        Err(error) => {
            tracing::error!(folder = %folder.display(), %error, "reports will not outlive a restart: no diary");
            return Default::default();
        }
    };
    let mut hidden = BTreeMap::new();
    for page in pages {
        // What is settled already, the first look at the chain removes.
        hidden.insert(page.slot, Hidden { report: page.report.clone(), sent: None });
        store.insert(page.receipts());
    }
    while hidden.len() > x0_limits::REVEALS_WAITING_MAX {
        hidden.pop_first();
    }
    (Some(Arc::new(diary)), hidden)
}

/// Probes one slot; `None` when nothing is enrolled.
async fn probe_slot<C: Chain>(
    chain: C,
    clock: Arc<dyn Clock>,
    eye: Eye,
    slots: SlotClock,
    slot: Slot,
    due: mpsc::Sender<(Slot, Target)>,
) -> Result<Option<Finished>, (Slot, ChainError)> {
    let targets = blocking(&chain, C::targets).await.map_err(|error| (slot, error))?;
    if targets.is_empty() {
        return Ok(None);
    }
    for target in &targets {
        let promises = trial::due(&eye, slot, target);
        // When too many wait already, this one is not tried in this slot.
        if !promises.is_empty() && due.try_send((slot, Target { promises, ..target.clone() })).is_err() {
            tracing::debug!(slot, node = %target.node, "too many trials wait");
        }
    }
    // Who is in no set learns what it can see, and reports nothing.
    let validator = blocking(&chain, C::validator).await.map_err(|error| (slot, error))?;
    let validator = validator.unwrap_or_else(|| AccountId::new([0; 32]));
    let seen = probe_all(&eye, &*clock, slots, slot, &validator, targets).await;
    Ok(Some(Finished { slots, slot, seen }))
}
