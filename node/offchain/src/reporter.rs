//! Reports, one after the other: committed to right after their slot, shown when nobody can commit any more; and
//! what the chain asks of this validator beside them.

use crate::{
    chain::{Asked, Chain, Gate, Message, Showing, blocking},
    clock::{Clock, SlotClock},
    diary::{Diary, Noted, Page},
    receipts::{ReceiptStore, SlotReceipts},
    slot::{Seen, pack},
    trial::{Trial, TrialBook},
    worker::Shared,
};
use futures::StreamExt as _;
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    io,
    sync::Arc,
    time::Duration,
};
use tokio::sync::{mpsc, watch};
use x0_mempool::SubmitError;
use x0_types::{
    AccountId, Hash,
    market::{Observation, Slot},
    receipt::report_commitment,
};

/// Pause before a message is submitted again, milliseconds.
const RETRY_PAUSE_MS: u64 = 50;

/// A slot whose probes are done.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) slots: SlotClock,
    pub(crate) slot: Slot,
    pub(crate) seen: Vec<Seen>,
}

/// A report that was committed to.
#[derive(Clone, Debug)]
pub(crate) struct Hidden {
    pub(crate) report: Noted,
    /// The transaction that was sent last for it by this process, if any.
    pub(crate) sent: Option<Hash>,
}

/// What the reporter waits for.
enum News {
    /// A slot's probes are done; `None` when no more come.
    Finished(Option<Finished>),
    /// The first of these slots is over.
    SlotOver,
    /// The chain has a new head.
    Head,
    /// Promises were tried.
    Tried(Slot, Vec<Trial>),
}

/// Sends reports. One task runs it, so that messages take their nonces one after the other.
pub(crate) struct Reporter<C> {
    pub(crate) chain: C,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<ReceiptStore>,
    /// Where reports outlive the process, if the disk has a place for them.
    pub(crate) diary: Option<Arc<Diary>>,
    pub(crate) shared: Arc<Shared>,
    /// What was last seen of each node, to log changes loudly and repetitions quietly.
    pub(crate) last_seen: HashMap<AccountId, Observation>,
    /// Reports that wait to be shown.
    pub(crate) hidden: BTreeMap<Slot, Hidden>,
    /// The transactions that answer open challenges; `None` where there is no answer.
    pub(crate) answered: HashMap<u64, Option<Hash>>,
    pub(crate) trials: TrialBook,
}

impl<C: Chain> Reporter<C> {
    /// Reports finished slots until the worker stops. A stop ends the waiting for the end of a slot,
    /// but not the submitting of a message.
    pub(crate) async fn run(
        mut self,
        mut finished: mpsc::Receiver<Finished>,
        mut tried: mpsc::Receiver<(Slot, Vec<Trial>)>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let mut heads = self.chain.heads();
        let mut waiting: VecDeque<Finished> = VecDeque::new();
        let clock = self.clock.clone();
        loop {
            let end = waiting.front().map(|front| front.slots.end_of(front.slot));
            let over = async {
                match end {
                    Some(end) => clock.sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            // What is done about it must not end with the waiting.
            let news = tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return,
                received = finished.recv() => News::Finished(received),
                () = over => News::SlotOver,
                Some((slot, trials)) = tried.recv() => News::Tried(slot, trials),
                Some(()) = heads.next() => News::Head,
            };
            match news {
                News::Finished(None) => return,
                News::Finished(Some(slot)) => {
                    self.log(&slot);
                    waiting.push_back(slot);
                }
                News::SlotOver => {
                    if let Some(slot) = waiting.pop_front() {
                        self.report(slot).await;
                    }
                }
                News::Head => self.tend().await,
                News::Tried(slot, trials) => {
                    self.trials.note(slot, &trials);
                    self.shared.count(|status| &mut status.trials_booked);
                }
            }
        }
    }

    /// Commits to a report.
    async fn report(&mut self, finished: Finished) {
        let slot = finished.slot;
        // An earlier run of this process committed to what it saw: that is what can be shown.
        if self.store.get(slot).is_some() {
            return self.shared.skipped();
        }
        let observations = pack(&finished.seen);
        let receipts = finished.seen.into_iter().filter_map(|one| Some((one.index, one.result.ok()?))).collect();
        let receipts = Arc::new(SlotReceipts::new(slot, receipts));
        let gone = self.store.insert(Arc::clone(&receipts));
        self.forget(gone).await;
        match self.commit(observations, &receipts).await {
            Ok(Some(hidden)) => {
                tracing::debug!(slot, "committed");
                self.hidden.insert(slot, hidden);
                while self.hidden.len() > x0_limits::REVEALS_WAITING_MAX {
                    self.hidden.pop_first();
                }
                self.shared.reported(slot);
            }
            Ok(None) => {
                tracing::info!(slot, "the chain has this validator's report of the slot already");
                self.shared.skipped();
            }
            Err(failure) => {
                tracing::error!(slot, reason = failure.reason, "the slot stays without a report");
                self.shared.missed(slot, failure.reason);
            }
        }
        self.complain(slot.saturating_sub(x0_limits::TRIAL_PATIENCE_SLOTS)).await;
    }

    /// `None` when the chain has a commitment already.
    async fn commit(&self, observations: Vec<u8>, receipts: &SlotReceipts) -> Result<Option<Hidden>, Failure> {
        let (slot, root) = (receipts.slot, receipts.root);
        let now_ms = self.clock.now_ms();
        match blocking(&self.chain, move |chain| chain.gate(slot, now_ms)).await.map_err(Failure::lasting)? {
            Gate::Open => {}
            Gate::AlreadyReported => return Ok(None),
            Gate::TooLate => return Err(Failure::lasting("the time for reports on the slot is over")),
            Gate::NoReporter => return Err(Failure::lasting(NO_REPORTER)),
        }
        let validator = blocking(&self.chain, C::validator).await.map_err(Failure::lasting)?;
        let validator = validator.ok_or_else(|| Failure::lasting(NO_REPORTER))?;
        let salt: [u8; 32] = rand::random();
        let commitment = report_commitment(&validator, slot, &observations, &root, &salt);
        let report = Noted { observations, root, salt, commitment };
        // Before the chain knows of it: a commitment that cannot be shown any more is worth nothing.
        self.note(Page::new(slot, report.clone(), receipts)).await;
        let sent = self.send(Message::Commit { slot, commitment }).await?;
        Ok(Some(Hidden { report, sent: Some(sent) }))
    }

    /// Writes a page of the diary. Without it the report is still good as long as the process lives.
    async fn note(&self, page: Page) {
        let slot = page.slot;
        self.with_diary(
            move |diary| diary.write(&page),
            &format!("the report on slot {slot} will not outlive a restart"),
        )
        .await;
    }

    async fn forget(&self, slots: Vec<Slot>) {
        if !slots.is_empty() {
            self.with_diary(move |diary| diary.forget(&slots), "old pages of the diary stay").await;
        }
    }

    async fn with_diary(&self, work: impl FnOnce(&Diary) -> io::Result<()> + Send + 'static, otherwise: &str) {
        let Some(diary) = self.diary.clone() else { return };
        match tokio::task::spawn_blocking(move || work(&diary)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "{otherwise}"),
            Err(error) => tracing::error!(%error, "{otherwise}"),
        }
    }

    /// Looks at the newest head: shows what may be shown, repeats what got lost, answers what is asked.
    async fn tend(&mut self) {
        // The pool is asked before the state: what has left the pool by now stands in the state that is read next, or
        // is lost. The other way round, a block in between would make a message go out twice, and the second one pays.
        let waits = |sent: &Hash| self.chain.waits(sent);
        let reports: Vec<(Slot, bool)> =
            self.hidden.iter().map(|(slot, one)| (*slot, one.sent.as_ref().is_some_and(waits))).collect();
        let answers: Vec<u64> = self
            .answered
            .iter()
            .filter(|(_, sent)| sent.as_ref().is_none_or(waits))
            .map(|(number, _)| *number)
            .collect();
        let asking: Vec<Slot> = reports.iter().map(|(slot, _)| *slot).collect();
        let (showing, asked) = match blocking(&self.chain, move |chain| chain.duties(&asking)).await {
            Ok(duties) => duties,
            Err(error) => return tracing::warn!(%error, "the chain's questions could not be read"),
        };
        for ((slot, waits), showing) in reports.into_iter().zip(showing) {
            self.tend_report(slot, showing, waits).await;
        }
        self.answered.retain(|challenge, _| asked.iter().any(|one| one.challenge == *challenge));
        for one in asked.into_iter().filter(|one| !answers.contains(&one.challenge)) {
            self.answer(one).await;
        }
    }

    async fn tend_report(&mut self, slot: Slot, showing: Showing, waits: bool) {
        let Some(hidden) = self.hidden.get(&slot).cloned() else { return };
        let message = match showing {
            Showing::Hidden => return,
            Showing::Settled => {
                self.hidden.remove(&slot);
                return;
            }
            _ if waits => return,
            Showing::Uncommitted => Message::Commit { slot, commitment: hidden.report.commitment },
            Showing::Open => Message::Reveal {
                slot,
                observations: hidden.report.observations,
                receipts_root: hidden.report.root,
                salt: hidden.report.salt,
            },
        };
        match self.send(message).await {
            Ok(sent) => {
                if showing == Showing::Open {
                    tracing::debug!(slot, "shown");
                    self.shared.shown(slot);
                }
                if let Some(hidden) = self.hidden.get_mut(&slot) {
                    hidden.sent = Some(sent);
                }
            }
            // The next head is another chance.
            Err(failure) => tracing::warn!(slot, reason = failure.reason, "a report is not taken yet"),
        }
    }

    /// Shows a receipt that somebody asked for.
    async fn answer(&mut self, asked: Asked) {
        let Asked { challenge, slot, index } = asked;
        let Some(proof) = self.store.get(slot).and_then(|receipts| receipts.prove(index)) else {
            tracing::error!(challenge, slot, index, "a receipt is asked for that this validator does not have");
            self.answered.insert(challenge, None);
            return self.shared.count(|status| &mut status.unanswerable);
        };
        match self.send(Message::Answer { challenge, proof: Box::new(proof) }).await {
            Ok(sent) => {
                if self.answered.insert(challenge, Some(sent)).is_none() {
                    self.shared.count(|status| &mut status.answers);
                }
            }
            Err(failure) => tracing::warn!(challenge, reason = failure.reason, "an answer is not taken yet"),
        }
    }

    /// Complains about the promises that most trials of the windows before this slot found broken.
    async fn complain(&mut self, slot: Slot) {
        for (window, deal, breach) in self.trials.close_before(slot) {
            match self.send(Message::Complain { deal, window, breach }).await {
                Ok(_) => {
                    tracing::warn!(deal, window, ?breach, "a deal's promise was broken in most trials");
                    self.shared.count(|status| &mut status.complaints);
                }
                Err(failure) => tracing::warn!(deal, window, reason = failure.reason, "a complaint is not taken"),
            }
        }
    }

    /// Signs and submits a message; tries again a few times for reasons that pass by themselves.
    async fn send(&self, message: Message) -> Result<Hash, Failure> {
        let mut attempt = 1;
        loop {
            let signing = message.clone();
            let signed = blocking(&self.chain, move |chain| chain.sign(signing)).await.map_err(Failure::lasting)?;
            match self.chain.submit(signed).await {
                Ok(hash) => return Ok(hash),
                Err(error) if passes(&error) && attempt < x0_limits::REPORT_ATTEMPTS_MAX => {
                    tracing::debug!(attempt, %error, "a message is tried again");
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(RETRY_PAUSE_MS)).await;
                }
                Err(error) => return Err(Failure::lasting(error)),
            }
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

const NO_REPORTER: &str = "the reporter key belongs to no validator of the current set";

/// Why a message was not sent.
struct Failure {
    reason: String,
}

impl Failure {
    fn lasting(reason: impl ToString) -> Self {
        Self { reason: reason.to_string() }
    }
}

/// A block may use the nonce, or the queue may be full, between reading the state and submitting.
const fn passes(error: &SubmitError) -> bool {
    matches!(error, SubmitError::Busy { .. } | SubmitError::StaleNonce { .. } | SubmitError::Underpriced { .. })
}
