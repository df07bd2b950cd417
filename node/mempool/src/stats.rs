//! What the mempool counts.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Counters since the start of the node, and the present filling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Transactions that wait.
    pub waiting: usize,
    /// Of these, how many can go into the next block.
    pub ready: usize,
    /// Bytes that wait.
    pub bytes: usize,
    /// Submissions in the queue of the worker threads.
    pub checking: usize,
    /// Submissions that entered the pool.
    pub admitted: u64,
    /// Submissions that were refused after their check.
    pub refused: u64,
    /// Submissions that were refused because too many waited.
    pub busy: u64,
    /// Transactions that blocks took.
    pub included: u64,
    /// Transactions that others displaced.
    pub evicted: u64,
    /// Transactions whose era ran out.
    pub expired: u64,
    /// Transactions that became invalid while they waited.
    pub invalidated: u64,
    /// Submissions whose signature and validity were checked.
    pub checked: u64,
    /// Processor time of these checks over all threads, nanoseconds.
    pub check_ns: u64,
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) admitted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) busy: AtomicU64,
    pub(crate) included: AtomicU64,
    pub(crate) evicted: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) invalidated: AtomicU64,
    checked: AtomicU64,
    check_ns: AtomicU64,
}

/// Counts one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn checked(&self, checks: usize, took: Duration) {
        self.checked.fetch_add(u64::try_from(checks).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.check_ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn fill(&self, stats: Stats) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            admitted: read(&self.admitted),
            refused: read(&self.refused),
            busy: read(&self.busy),
            included: read(&self.included),
            evicted: read(&self.evicted),
            expired: read(&self.expired),
            invalidated: read(&self.invalidated),
            checked: read(&self.checked),
            check_ns: read(&self.check_ns),
            ..stats
        }
    }
}
