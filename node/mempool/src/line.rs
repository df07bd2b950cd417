//! The line in front of the worker threads.
//!
//! ```text
//!   submissions --> [ bounded by permits ] --+
//!   chores (after a block) -------------------> next(): chores first, then a thread's share of the submissions
//! ```
//!
//! A thread takes its share of what waits, up to a limit, because many transactions are judged together at less cost
//! than one by one; when little waits, it takes one, and nobody waits for others.

use crate::error::SubmitError;
use crate::watch::TxStatus;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use x0_executor::TransactionSource;
use x0_types::Hash;

/// A submission that the queue took: its places are free again when this is dropped.
pub(crate) struct Place {
    pub(crate) _count: OwnedSemaphorePermit,
    pub(crate) _bytes: OwnedSemaphorePermit,
}

/// A submission that waits for its check.
pub(crate) struct Waiter {
    pub(crate) bytes: Bytes,
    pub(crate) source: TransactionSource,
    pub(crate) watcher: Option<mpsc::Sender<TxStatus>>,
    pub(crate) answer: oneshot::Sender<Result<Hash, SubmitError>>,
    pub(crate) place: Place,
}

/// Work that is no submission; `I` is what it works on.
pub(crate) type Chore<I> = Box<dyn FnOnce(&I) + Send>;

/// What a thread does next.
pub(crate) enum Work<I> {
    /// Something that other work waits for.
    Chore(Chore<I>),
    /// Submissions, in the order of their arrival.
    Submissions(Vec<Waiter>),
}

/// What waits for the worker threads.
pub(crate) struct Line<I> {
    waiting: Mutex<Waiting<I>>,
    threads: usize,
}

struct Waiting<I> {
    submissions: VecDeque<Waiter>,
    chores: VecDeque<Chore<I>>,
    /// Threads that ask for more when they are done.
    working: usize,
}

impl<I> Line<I> {
    /// An empty line in front of this many threads.
    pub(crate) fn new(threads: usize) -> Self {
        let waiting = Waiting { submissions: VecDeque::new(), chores: VecDeque::new(), working: 0 };
        Self { waiting: Mutex::new(waiting), threads }
    }

    /// Adds a submission. Whether the caller has to wake a thread.
    #[must_use]
    pub(crate) fn submit(&self, waiter: Waiter) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.submissions.push_back(waiter);
        waiting.wake(self.threads)
    }

    /// Adds a chore. Whether the caller has to wake a thread.
    #[must_use]
    pub(crate) fn chore(&self, chore: Chore<I>) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.chores.push_back(chore);
        waiting.wake(self.threads)
    }

    /// The next work of a thread that was woken; after `None` it must not ask again.
    pub(crate) fn next(&self) -> Option<Work<I>> {
        let mut waiting = self.waiting.lock();
        if let Some(chore) = waiting.chores.pop_front() {
            return Some(Work::Chore(chore));
        }
        let share = waiting.submissions.len().div_ceil(self.threads).min(x0_limits::ADMISSION_BATCH_MAX);
        if share == 0 {
            waiting.working = waiting.working.saturating_sub(1);
            return None;
        }
        Some(Work::Submissions(waiting.submissions.drain(..share).collect()))
    }
}

impl<I> Waiting<I> {
    fn wake(&mut self, threads: usize) -> bool {
        let wake = self.working < threads;
        self.working += usize::from(wake);
        wake
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    fn waiter(number: u8) -> Waiter {
        let permit = || Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let place = Place { _count: permit(), _bytes: permit() };
        let bytes = Bytes::copy_from_slice(&[number]);
        Waiter { bytes, source: TransactionSource::External, watcher: None, answer: oneshot::channel().0, place }
    }

    fn numbers(work: Option<Work<()>>) -> Vec<u8> {
        match work {
            Some(Work::Submissions(waiters)) => waiters.iter().map(|waiter| waiter.bytes[0]).collect(),
            Some(Work::Chore(_)) => panic!("a chore"),
            None => Vec::new(),
        }
    }

    /// Threads share what waits evenly and in order, and each is woken once until it finds nothing.
    #[test]
    fn threads_share_what_waits() {
        let line = Line::<()>::new(2);
        let woken: Vec<bool> = (0..5).map(|number| line.submit(waiter(number))).collect();
        assert_eq!(woken, [true, true, false, false, false]);
        assert_eq!(numbers(line.next()), [0, 1, 2]);
        assert_eq!(numbers(line.next()), [3]);
        assert_eq!(numbers(line.next()), [4]);
        assert!(line.next().is_none());
        assert!(line.submit(waiter(5)), "a thread that found nothing has to be woken again");
        assert!(!line.submit(waiter(6)), "the other one has not asked yet");
    }

    /// A long line is worked off in pieces of bounded size, and what a block left to do comes before them.
    #[test]
    fn pieces_are_bounded_and_chores_come_first() {
        let line = Line::<()>::new(1);
        for _ in 0..2 * x0_limits::ADMISSION_BATCH_MAX {
            let _woken = line.submit(waiter(0));
        }
        assert_eq!(numbers(line.next()).len(), x0_limits::ADMISSION_BATCH_MAX);
        assert!(!line.chore(Box::new(|()| ())));
        assert!(matches!(line.next(), Some(Work::Chore(_))));
        assert_eq!(numbers(line.next()).len(), x0_limits::ADMISSION_BATCH_MAX);
        assert!(line.next().is_none());
    }
}
