//! The way of a submission from the caller through the worker threads into the pool.

use crate::{
    Mempool,
    admission::{self, Checked},
    error::SubmitError,
    line::{Place, Waiter, Work},
    mempool::{Inner, State},
    stats::count,
    watch::TxStatus,
};
use bytes::Bytes;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};
use tokio::sync::{mpsc, oneshot};
use x0_executor::{Submission, TransactionSource, extrinsic_hashes};
use x0_types::{Balance, Hash};

/// Unit in which the bytes of waiting submissions are counted.
pub(crate) const PERMIT_BYTES: usize = 1024;

/// A verdict and the one who waits for it.
type Answer = (oneshot::Sender<Result<Hash, SubmitError>>, Result<Hash, SubmitError>);

/// What a full pool asks of a newcomer.
struct Price {
    /// The tip that it must exceed.
    tip: Balance,
    /// What it hears otherwise.
    full: SubmitError,
}

impl Mempool {
    /// Queues a submission for the worker threads and waits for their verdict.
    pub(crate) async fn check(
        &self,
        bytes: Bytes,
        source: TransactionSource,
        watcher: Option<mpsc::Sender<TxStatus>>,
    ) -> Result<Hash, SubmitError> {
        let max = x0_limits::EXTRINSIC_BYTES_MAX;
        if bytes.len() > max {
            return Err(SubmitError::TooLarge { bytes: bytes.len(), max });
        }
        let place = self.place(bytes.len())?;
        let (answer, verdict) = oneshot::channel();
        if self.0.line.submit(Waiter { bytes, source, watcher, answer, place }) {
            self.wake_worker();
        }
        verdict.await.map_err(|_| SubmitError::Node("the check did not finish".to_owned()))?
    }

    /// Starts a worker thread on what waits.
    pub(crate) fn wake_worker(&self) {
        let inner = self.0.clone();
        self.0.workers.spawn(move || work(inner));
    }

    fn place(&self, bytes: usize) -> Result<Place, SubmitError> {
        let units = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        let place = || {
            let count = self.0.checking.clone().try_acquire_owned().ok()?;
            let bytes = self.0.checking_bytes.clone().try_acquire_many_owned(units).ok()?;
            Some(Place { _count: count, _bytes: bytes })
        };
        place().ok_or_else(|| {
            count(&self.0.counters.busy);
            SubmitError::Busy { waiting: self.0.config.checking_max - self.0.checking.available_permits() }
        })
    }
}

/// Runs on a worker thread: works off the line until nothing waits.
fn work(inner: Arc<Inner>) {
    let mut answers = Vec::new();
    while let Some(work) = inner.line.next() {
        tell(answers);
        // Nothing half done is left behind a panic: locks are free, permits go with the submissions, and the
        // submitters learn of it because their answers never come.
        answers = catch_unwind(AssertUnwindSafe(|| inner.do_work(work))).unwrap_or_else(|_| {
            tracing::error!("a check of transactions panicked");
            Vec::new()
        });
    }
    // Before the last answers: a submitter that ends now must be the last holder of the database,
    // because closing it on this thread while the process exits would abort the process.
    drop(inner);
    tell(answers);
}

fn tell(answers: Vec<Answer>) {
    for (submitter, result) in answers {
        // A submitter that went away does not want the answer.
        let _ = submitter.send(result);
    }
}

impl Inner {
    fn do_work(&self, work: Work<Self>) -> Vec<Answer> {
        match work {
            Work::Chore(chore) => {
                chore(self);
                Vec::new()
            }
            Work::Submissions(waiters) => self.admit(waiters),
        }
    }

    /// Everything from duplicate to pool.
    fn admit(&self, waiters: Vec<Waiter>) -> Vec<Answer> {
        let bytes: Vec<&Bytes> = waiters.iter().map(|waiter| &waiter.bytes).collect();
        let submissions: Vec<Submission> = waiters
            .iter()
            .zip(extrinsic_hashes(&bytes))
            .map(|(waiter, hash)| Submission { bytes: waiter.bytes.clone(), hash, source: waiter.source })
            .collect();
        let doors = self.refuse_early(&submissions);
        let open: Vec<Submission> = submissions
            .into_iter()
            .zip(&doors)
            .filter_map(|(submission, door)| door.is_ok().then_some(submission))
            .collect();
        let start = Instant::now();
        let mut checked = admission::check_many(&self.executor, &open).into_iter();
        self.counters.checked(open.len(), start.elapsed());
        waiters
            .into_iter()
            .zip(doors)
            .map(|(waiter, door)| {
                let Waiter { watcher, answer, place, .. } = waiter;
                let result = door.and_then(|()| {
                    let missing = || Err(SubmitError::Node("the check gave no answer".to_owned()));
                    self.insert(checked.next().unwrap_or_else(missing)?, watcher)
                });
                count(if result.is_ok() { &self.counters.admitted } else { &self.counters.refused });
                drop(place);
                (answer, result)
            })
            .collect()
    }

    /// Refuses what needs no check to be refused: what is known, and what a full pool would not take at any
    /// priority. Without this the check of refused submissions would take the processor from the blocks that make
    /// room. Transactions of this node itself are judged in full.
    fn refuse_early(&self, submissions: &[Submission]) -> Vec<Result<(), SubmitError>> {
        let prices: Vec<Result<Option<Price>, SubmitError>> = {
            let state = self.state.lock();
            submissions.iter().map(|submission| price(&state, submission)).collect()
        };
        let pays = |(submission, price): (&Submission, Result<Option<Price>, SubmitError>)| {
            let Some(Price { tip, full }) = price? else { return Ok(()) };
            let offered = admission::offer(&submission.bytes).map_or(0, |(_, tip)| tip);
            if submission.source == TransactionSource::External && offered <= tip { Err(full) } else { Ok(()) }
        };
        submissions.iter().zip(prices).map(pays).collect()
    }

    fn insert(&self, checked: Checked, watcher: Option<mpsc::Sender<TxStatus>>) -> Result<Hash, SubmitError> {
        let Checked { transaction, mut state_nonce, mut read_at } = checked;
        let hash = transaction.hash;
        loop {
            let mut state = self.state.lock();
            refuse_known(&state, hash)?;
            if read_at < state.imported {
                // A block came in between, and may have used this nonce.
                drop(state);
                (state_nonce, read_at) = admission::nonce_on_head(&self.executor, &transaction.sender)?;
                continue;
            }
            let mut events = Vec::new();
            let bytes = transaction.payload.bytes.clone();
            let result = state.pool.insert(transaction, state_nonce, &mut events);
            if let (Ok(()), Some(watcher)) = (&result, watcher) {
                state.watchers.insert(hash, watcher);
            }
            self.tell(&mut state, &events, None);
            drop(state);
            if result.is_ok() {
                // A node without peers has no followers.
                let _ = self.entered.send((hash, bytes));
            }
            self.wake(&events);
            return result.map(|()| hash).map_err(|error| SubmitError::from_pool(error, hash));
        }
    }
}

fn price(state: &State, submission: &Submission) -> Result<Option<Price>, SubmitError> {
    refuse_known(state, submission.hash)?;
    Ok(state
        .pool
        .entry_tip(submission.bytes.len())
        .map(|tip| Price { tip, full: SubmitError::Full { count: state.pool.len(), bytes: state.pool.bytes() } }))
}

/// Refuses a transaction that waits or was included.
pub(crate) fn refuse_known(state: &State, hash: Hash) -> Result<(), SubmitError> {
    if let Some(block) = state.recent.block_of(&hash) {
        return Err(SubmitError::AlreadyIncluded { hash, block });
    }
    if state.pool.contains(&hash) {
        return Err(SubmitError::AlreadyKnown(hash));
    }
    Ok(())
}
