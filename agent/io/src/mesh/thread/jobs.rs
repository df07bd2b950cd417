//! Threads of ordinary priority for signatures and key encapsulation.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel},
    },
    thread::JoinHandle,
};

use parking_lot::Mutex;
use x0_crypto::SigningKey;
use x0_mesh::node::{Job, JobDone};

use crate::mesh::{
    error::{MeshIoError, Result},
    sys::Waker,
};

/// Most jobs that wait: at 0.1 to 0.5 ms each, what one thread does in the time after which a handshake
/// is tried again.
const WAITING_MAX: usize = 256;

/// What a job came to.
pub enum Finished {
    /// The answer.
    Done(JobDone),
    /// It panicked, with these words.
    Panicked(String),
}

/// The job threads.
pub struct Jobs {
    queue: Option<SyncSender<Job>>,
    finished: Receiver<Finished>,
    threads: Vec<JoinHandle<()>>,
    /// Handed out and not yet answered.
    pub under_way: usize,
}

impl Jobs {
    /// Starts the threads. They ring `waker` for every answer.
    pub fn start(threads: usize, key: &SigningKey, waker: &Arc<Waker>) -> Result<Self> {
        let (queue, jobs) = sync_channel(WAITING_MAX);
        let (answers, finished) = channel();
        let jobs = Arc::new(Mutex::new(jobs));
        let threads = (0..threads)
            .map(|_| {
                let worker = Worker {
                    jobs: Arc::clone(&jobs),
                    answers: answers.clone(),
                    waker: Arc::clone(waker),
                    key: key.clone(),
                };
                std::thread::Builder::new()
                    .name("x0-mesh-job".into())
                    .spawn(move || worker.run())
                    .map_err(|source| MeshIoError::System { call: "a job thread", source })
            })
            .collect::<Result<_>>()?;
        Ok(Self { queue: Some(queue), finished, threads, under_way: 0 })
    }

    /// Hands a job over; gives its refusal back when too many wait.
    pub fn push(&mut self, job: Job) -> Option<JobDone> {
        let Some(queue) = &self.queue else { return Some(job.refuse()) };
        match queue.try_send(job) {
            Ok(()) => {
                self.under_way += 1;
                None
            }
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => Some(job.refuse()),
        }
    }

    /// The next answer that is there.
    pub fn next(&mut self) -> Option<Finished> {
        let finished = self.finished.try_recv().ok()?;
        self.under_way = self.under_way.saturating_sub(1);
        Some(finished)
    }

    /// Ends the threads; each finishes the job that it is at.
    pub fn stop(mut self) -> usize {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // Panics of jobs are caught inside; there is nothing else that a thread could fail with.
            let _ = thread.join();
        }
        self.under_way
    }
}

struct Worker {
    jobs: Arc<Mutex<Receiver<Job>>>,
    answers: Sender<Finished>,
    waker: Arc<Waker>,
    key: SigningKey,
}

impl Worker {
    fn run(self) {
        loop {
            // The lock is held while waiting: one idle thread waits for the queue, the others for the lock.
            let next = self.jobs.lock().recv();
            let Ok(job) = next else { return };
            // A job is used up by its run, and the key is only read: nothing half-changed is seen later.
            let finished = match catch_unwind(AssertUnwindSafe(|| job.run(&self.key))) {
                Ok(done) => Finished::Done(done),
                Err(panic) => Finished::Panicked(reason(&*panic)),
            };
            if self.answers.send(finished).is_err() {
                return;
            }
            self.waker.wake();
        }
    }
}

/// The words of a panic.
pub fn reason(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}
