//! The mempool: worker threads in front, the pool in the middle, watchers behind.

use crate::{
    admission,
    door::{PERMIT_BYTES, refuse_known},
    error::SubmitError,
    line::Line,
    pool::{Event, Limits, Pool},
    recent::Recent,
    stats::{Counters, Stats, count},
    watch::{TxStatus, Watchers},
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{collections::HashSet, sync::Arc};
use tokio::sync::{Notify, Semaphore, broadcast, mpsc};
use x0_executor::{Admitted, Executor, ExtrinsicError, ImportedBlock, TransactionSource};
use x0_types::{AccountId, BlockNumber, Hash, Nonce};

/// Stack of a worker thread. Calls nest up to a limit, and each level costs stack.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// Settings of a mempool.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Bounds of the waiting transactions.
    pub limits: Limits,
    /// Submissions that may wait for their check.
    pub checking_max: usize,
    /// Bytes of submissions that may wait for their check.
    pub checking_bytes_max: usize,
    /// Threads that check; `None` for one per core.
    pub threads: Option<usize>,
    /// Hashes of included transactions that are remembered.
    pub recent_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits {
                count: x0_limits::MEMPOOL_TRANSACTIONS_MAX,
                bytes: x0_limits::MEMPOOL_BYTES_MAX,
                per_account: x0_limits::MEMPOOL_PER_ACCOUNT_MAX,
            },
            checking_max: x0_limits::ADMISSION_QUEUE_MAX,
            checking_bytes_max: x0_limits::ADMISSION_BYTES_MAX,
            threads: None,
            recent_max: x0_limits::MEMPOOL_RECENT_MAX,
        }
    }
}

/// Waiting transactions of one node. Clones share everything.
#[derive(Clone)]
pub struct Mempool(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) executor: Executor,
    pub(crate) config: Config,
    pub(crate) workers: rayon::ThreadPool,
    pub(crate) line: Line<Inner>,
    pub(crate) checking: Arc<Semaphore>,
    pub(crate) checking_bytes: Arc<Semaphore>,
    pub(crate) state: Mutex<State>,
    work: Notify,
    /// Tells those who spread transactions what has entered the pool.
    pub(crate) entered: broadcast::Sender<(Hash, Bytes)>,
    pub(crate) counters: Counters,
}

/// Everything behind the lock. Nothing slow happens while it is held.
pub(crate) struct State {
    pub(crate) pool: Pool<Arc<Admitted>>,
    pub(crate) watchers: Watchers,
    pub(crate) recent: Recent,
    /// The last imported block that the pool knows of.
    pub(crate) imported: BlockNumber,
    /// What the block builder was last given, in order.
    offered: Vec<Hash>,
    /// The first one that it did not take.
    left_over: Option<Hash>,
}

impl std::fmt::Debug for Mempool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mempool").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Mempool {
    /// An empty mempool with its worker threads.
    ///
    /// # Errors
    /// [`SubmitError::Node`] when the system gives no threads.
    pub fn new(executor: Executor, config: Config) -> Result<Self, SubmitError> {
        let threads =
            config.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), |n| n.max(1));
        let workers = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .stack_size(STACK_BYTES)
            .thread_name(|index| format!("admission-{index}"))
            // Work catches its panics itself; without this line one beside it would abort the process.
            .panic_handler(|_| tracing::error!("a thread of the mempool panicked"))
            .build()
            .map_err(|error| SubmitError::Node(format!("cannot start the admission threads: {error}")))?;
        let imported = executor.head().number;
        Ok(Self(Arc::new(Inner {
            workers,
            line: Line::new(threads),
            checking: Arc::new(Semaphore::new(config.checking_max)),
            checking_bytes: Arc::new(Semaphore::new(config.checking_bytes_max.div_ceil(PERMIT_BYTES))),
            state: Mutex::new(State {
                pool: Pool::new(config.limits),
                watchers: Watchers::default(),
                recent: Recent::new(config.recent_max),
                imported,
                offered: Vec::new(),
                left_over: None,
            }),
            work: Notify::new(),
            entered: broadcast::Sender::new(x0_limits::MEMPOOL_FOLLOW_MAX),
            counters: Counters::default(),
            executor,
            config,
        })))
    }

    /// Submits an encoded transaction; returns its hash once it waits for a block.
    ///
    /// # Errors
    /// Why it does not; see [`SubmitError`].
    pub async fn submit(&self, bytes: Bytes) -> Result<Hash, SubmitError> {
        self.check(bytes, TransactionSource::External, None).await
    }

    /// Submits a transaction of this node itself: the runtime then knows that it came from within.
    ///
    /// # Errors
    /// As [`Mempool::submit`].
    pub async fn submit_local(&self, bytes: Bytes) -> Result<Hash, SubmitError> {
        self.check(bytes, TransactionSource::Local, None).await
    }

    /// Submits a transaction and follows it. The channel ends after the last status.
    ///
    /// # Errors
    /// As [`Mempool::submit`].
    pub async fn submit_and_watch(&self, bytes: Bytes) -> Result<(Hash, mpsc::Receiver<TxStatus>), SubmitError> {
        let (sender, receiver) = mpsc::channel(x0_limits::MEMPOOL_WATCH_MAX);
        let hash = self.check(bytes, TransactionSource::External, Some(sender)).await?;
        Ok((hash, receiver))
    }

    /// The best transactions for the next block, in an order in which each can be applied.
    #[must_use]
    pub fn ready(&self, bytes_max: usize, count_max: usize) -> Vec<Arc<Admitted>> {
        let mut state = self.0.state.lock();
        let chosen: Vec<_> =
            state.pool.ready(bytes_max, count_max).into_iter().map(|transaction| transaction.payload.clone()).collect();
        state.offered = chosen.iter().map(|transaction| transaction.hash).collect();
        chosen
    }

    /// Takes note of a committed block: what it contains goes, what it makes possible becomes ready.
    /// Repeating a block is no error. Call it in the order of blocks, before the next one is built.
    pub fn on_imported(&self, block: &ImportedBlock) {
        let mut state = self.0.state.lock();
        if block.number <= state.imported {
            return;
        }
        state.imported = block.number;
        let included: HashSet<Hash> =
            block.results.iter().filter(|outcome| outcome.signer.is_some()).map(|outcome| outcome.hash).collect();
        let foreign: HashSet<AccountId> = block
            .results
            .iter()
            .filter(|outcome| !state.pool.contains(&outcome.hash))
            .filter_map(|outcome| outcome.signer.clone())
            .collect();
        for hash in &included {
            state.recent.insert(*hash, block.hash);
        }
        let suspects = passed_over(&mut state, &included);
        let mut events = Vec::new();
        state.pool.included(&included, &mut events);
        state.pool.expire(block.number, &mut events);
        self.0.tell(&mut state, &events, Some(block.hash));
        drop(state);
        self.0.wake(&events);
        if !foreign.is_empty() || !suspects.is_empty() {
            let chore = Box::new(move |inner: &Inner| inner.after_block(&foreign, &suspects));
            if self.0.line.chore(chore) {
                self.wake_worker();
            }
        }
    }

    /// Removes transactions that the block builder found impossible.
    pub fn on_rejected(&self, rejected: &[(Hash, ExtrinsicError)]) {
        let mut state = self.0.state.lock();
        for (hash, error) in rejected {
            self.0.invalidate(&mut state, hash, error);
        }
    }

    /// Removes a transaction at an operator's command. Whether it was there.
    pub fn remove(&self, hash: &Hash) -> bool {
        let mut state = self.0.state.lock();
        let removed = state.pool.remove(hash).is_some();
        if removed {
            state.watchers.tell(hash, TxStatus::Dropped);
        }
        removed
    }

    /// Every waiting transaction, each account's in the order of nonces.
    #[must_use]
    pub fn pending(&self) -> Vec<Arc<Admitted>> {
        self.0.state.lock().pool.iter().map(|transaction| transaction.payload.clone()).collect()
    }

    /// Every transaction that enters the pool from now on, with its hash, in order. A follower that
    /// falls [`x0_limits::MEMPOOL_FOLLOW_MAX`] behind is told that it missed some, and finds them in
    /// [`Mempool::pending`].
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<(Hash, Bytes)> {
        self.0.entered.subscribe()
    }

    /// A waiting transaction.
    #[must_use]
    pub fn get(&self, hash: &Hash) -> Option<Arc<Admitted>> {
        self.0.state.lock().pool.get(hash).map(|transaction| transaction.payload.clone())
    }

    /// Whether the transaction waits here or is remembered as part of a block.
    #[must_use]
    pub fn knows(&self, hash: &Hash) -> bool {
        refuse_known(&self.0.state.lock(), *hash).is_err()
    }

    /// Whether the transaction waits here.
    #[must_use]
    pub fn contains(&self, hash: &Hash) -> bool {
        self.0.state.lock().pool.contains(hash)
    }

    /// The nonce that the account's next transaction should have, when `state_nonce` is its nonce on
    /// chain: the first one that no waiting transaction uses.
    #[must_use]
    pub fn next_nonce(&self, account: &AccountId, state_nonce: Nonce) -> Nonce {
        self.0.state.lock().pool.next_nonce(account, state_nonce)
    }

    /// Whether a transaction can go into the next block.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.0.state.lock().pool.ready_len() > 0
    }

    /// Waits until a transaction can go into the next block.
    pub async fn wait_for_work(&self) {
        loop {
            let woken = self.0.work.notified();
            tokio::pin!(woken);
            // Registered before the look, so that what arrives in between is not missed.
            woken.as_mut().enable();
            if self.has_work() {
                return;
            }
            woken.await;
        }
    }

    /// What happened so far and how full the pool is.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (waiting, ready, bytes) = {
            let state = self.0.state.lock();
            (state.pool.len(), state.pool.ready_len(), state.pool.bytes())
        };
        let checking = self.0.config.checking_max.saturating_sub(self.0.checking.available_permits());
        self.0.counters.fill(Stats { waiting, ready, bytes, checking, ..Stats::default() })
    }
}

impl Inner {
    /// Runs on a worker thread after a block: nonces that transactions of others moved, and
    /// transactions that the builder passed over although it took later ones.
    fn after_block(&self, foreign: &HashSet<AccountId>, suspects: &[Arc<Admitted>]) {
        let mut events = Vec::new();
        for account in foreign {
            match admission::nonce_on_head(&self.executor, account) {
                Ok((nonce, _)) => self.state.lock().pool.advance(account, nonce, &mut events),
                Err(error) => tracing::error!(%error, "cannot read a nonce after a block"),
            }
        }
        self.tell(&mut self.state.lock(), &events, None);
        self.wake(&events);
        for suspect in suspects {
            match self.executor.validate(&suspect.bytes, TransactionSource::Local) {
                Ok(_) => {}
                Err(error) if error.may_become_valid() => {}
                Err(error) => self.invalidate(&mut self.state.lock(), &suspect.hash, &error),
            }
        }
    }

    fn invalidate(&self, state: &mut State, hash: &Hash, error: &ExtrinsicError) {
        if state.pool.remove(hash).is_some() {
            tracing::debug!(?hash, %error, "a waiting transaction became invalid");
            count(&self.counters.invalidated);
            state.watchers.tell(hash, TxStatus::Invalid(error.to_string()));
        }
    }

    /// Counts events and passes them to watchers.
    pub(crate) fn tell(&self, state: &mut State, events: &[Event], block: Option<Hash>) {
        for event in events {
            match event {
                Event::Ready(hash) => state.watchers.tell(hash, TxStatus::Ready),
                Event::Future(hash) => state.watchers.tell(hash, TxStatus::Future),
                Event::Usurped { old, by } => state.watchers.tell(old, TxStatus::Usurped(*by)),
                Event::Evicted(hash) => {
                    count(&self.counters.evicted);
                    state.watchers.tell(hash, TxStatus::Dropped);
                }
                Event::Expired(hash) => {
                    count(&self.counters.expired);
                    state.watchers.tell(hash, TxStatus::Invalid("the transaction's era is over".to_owned()));
                }
                Event::Stale(hash) => {
                    count(&self.counters.invalidated);
                    let reason = "another transaction with this nonce is in a block".to_owned();
                    state.watchers.tell(hash, TxStatus::Invalid(reason));
                }
                Event::Included(hash) => {
                    count(&self.counters.included);
                    if let Some(block) = block {
                        // Finality is instant here: a committed block never goes away.
                        state.watchers.tell(hash, TxStatus::InBlock(block));
                        state.watchers.tell(hash, TxStatus::Finalized(block));
                    }
                }
            }
        }
    }

    pub(crate) fn wake(&self, events: &[Event]) {
        if events.iter().any(|event| matches!(event, Event::Ready(_))) {
            self.work.notify_waiters();
        }
    }
}

/// Transactions that may have become invalid, since the builder was offered them and did not take
/// them: those before the last one that it took, and the first one that it left over twice in a row.
/// A full block leaves over many, but then the first of these is in the next block.
fn passed_over(state: &mut State, included: &HashSet<Hash>) -> Vec<Arc<Admitted>> {
    let offered = std::mem::take(&mut state.offered);
    let end = offered.iter().rposition(|hash| included.contains(hash)).unwrap_or(0);
    let left_over = offered.iter().find(|hash| !included.contains(*hash)).copied();
    let twice = left_over.filter(|hash| state.left_over == Some(*hash));
    state.left_over = left_over;
    offered[..end]
        .iter()
        .filter(|hash| !included.contains(*hash))
        .chain(twice.as_ref())
        .filter_map(|hash| state.pool.get(hash))
        .map(|transaction| transaction.payload.clone())
        .take(x0_limits::MEMPOOL_REVALIDATED_MAX)
        .collect()
}
