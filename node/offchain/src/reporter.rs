//! Reports, one after the other, each right after its slot.

use crate::{
    chain::{Chain, Gate, blocking},
    clock::{Clock, SlotClock},
    receipts::{ReceiptStore, SlotReceipts},
    slot::{Seen, pack},
    worker::Shared,
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};
use x0_mempool::SubmitError;
use x0_types::{
    AccountId,
    market::{Observation, Slot},
};

/// Pause before a report is submitted again, milliseconds.
const RETRY_PAUSE_MS: u64 = 50;

/// A slot whose probes are done.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) slots: SlotClock,
    pub(crate) slot: Slot,
    pub(crate) seen: Vec<Seen>,
}

/// Sends reports. One task runs it, so that reports take their nonces one after the other.
pub(crate) struct Reporter<C> {
    pub(crate) chain: C,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<ReceiptStore>,
    pub(crate) shared: Arc<Shared>,
    /// What was last seen of each node, to log changes loudly and repetitions quietly.
    pub(crate) last_seen: HashMap<AccountId, Observation>,
}

impl<C: Chain> Reporter<C> {
    /// Reports finished slots until the worker stops. A stop ends the waiting for the end of a slot,
    /// but not the submitting of a report.
    pub(crate) async fn run(mut self, mut finished: mpsc::Receiver<Finished>, mut stopped: watch::Receiver<bool>) {
        while let Some(slot) = finished.recv().await {
            self.log(&slot);
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return,
                () = self.clock.sleep_until(slot.slots.end_of(slot.slot)) => {}
            }
            self.report(slot).await;
        }
    }

    async fn report(&self, finished: Finished) {
        let slot = finished.slot;
        let observations = pack(&finished.seen);
        let receipts = finished.seen.into_iter().filter_map(|one| Some((one.index, one.result.ok()?))).collect();
        let receipts = Arc::new(SlotReceipts::new(slot, receipts));
        self.store.insert(receipts.clone());
        for attempt in 1..=x0_limits::REPORT_ATTEMPTS_MAX {
            match self.attempt(slot, observations.clone(), &receipts).await {
                Ok(()) => return,
                Err(failure) if failure.passes && attempt < x0_limits::REPORT_ATTEMPTS_MAX => {
                    tracing::debug!(slot, attempt, reason = failure.reason, "the report is tried again");
                    tokio::time::sleep(Duration::from_millis(RETRY_PAUSE_MS)).await;
                }
                Err(failure) => {
                    tracing::error!(slot, attempt, reason = failure.reason, "the slot stays without a report");
                    self.shared.missed(slot, failure.reason);
                    return;
                }
            }
        }
    }

    async fn attempt(&self, slot: Slot, observations: Vec<u8>, receipts: &SlotReceipts) -> Result<(), Failure> {
        let now_ms = self.clock.now_ms();
        match blocking(&self.chain, move |chain| chain.gate(slot, now_ms)).await.map_err(Failure::lasting)? {
            Gate::Open => {}
            Gate::AlreadyReported => {
                tracing::info!(slot, "the chain has this validator's report of the slot already");
                self.shared.skipped();
                return Ok(());
            }
            Gate::TooLate => return Err(Failure::lasting("the time for reports on the slot is over")),
            Gate::NoReporter => {
                return Err(Failure::lasting("the reporter key belongs to no validator of the current set"));
            }
        }
        let root = receipts.root;
        let transaction = blocking(&self.chain, move |chain| chain.report(slot, observations, root))
            .await
            .map_err(Failure::lasting)?;
        match self.chain.submit(transaction).await {
            Ok(hash) => {
                tracing::debug!(slot, ?hash, "reported");
                self.shared.reported(slot);
                Ok(())
            }
            Err(error) => Err(Failure { passes: passes(&error), reason: error.to_string() }),
        }
    }

    fn log(&mut self, finished: &Finished) {
        let slot = finished.slot;
        let before = std::mem::take(&mut self.last_seen);
        for one in &finished.seen {
            let observation = one.observation();
            let changed = before.get(&one.node) != Some(&observation);
            match &one.result {
                Ok(_) if changed => tracing::info!(slot, node = %one.node, "node is up"),
                Ok(_) => {}
                Err(reason) if changed => {
                    tracing::warn!(slot, node = %one.node, %reason, ?observation, "node is not up")
                }
                Err(reason) => tracing::debug!(slot, node = %one.node, %reason, ?observation, "node is still not up"),
            }
            self.last_seen.insert(one.node.clone(), observation);
        }
        self.shared.probed(slot, &finished.seen);
    }
}

/// Why a report was not sent.
struct Failure {
    /// Whether the reason passes by itself within a slot.
    passes: bool,
    reason: String,
}

impl Failure {
    fn lasting(reason: impl ToString) -> Self {
        Self { passes: false, reason: reason.to_string() }
    }
}

/// A block may use the nonce, or the queue may be full, between reading the state and submitting.
const fn passes(error: &SubmitError) -> bool {
    matches!(error, SubmitError::Busy { .. } | SubmitError::StaleNonce { .. } | SubmitError::Underpriced { .. })
}
