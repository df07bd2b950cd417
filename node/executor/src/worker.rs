//! A thread of its own for blocks.
//!
//! Calls nest up to `CALL_DEPTH_MAX` and each level of dispatch takes stack, so blocks run on a
//! thread with a large one, and never on an async runtime's thread.

use crate::{Executor, error::ExecutorError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::sync::{mpsc, oneshot};

/// Stack of an execution thread, bytes. Only what is used takes memory.
pub const STACK_BYTES: usize = 64 * 1024 * 1024;
/// Jobs that wait at one worker before callers wait.
const JOBS_WAITING_MAX: usize = 64;

type Job = Box<dyn FnOnce(&Executor) + Send>;

/// A handle to an execution thread. The thread ends when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct Worker {
    jobs: mpsc::Sender<Job>,
}

impl Executor {
    /// Starts an execution thread.
    ///
    /// # Errors
    /// [`ExecutorError::Thread`] when the system gives no thread.
    pub fn spawn_worker(&self) -> Result<Worker, ExecutorError> {
        let (jobs, mut queue) = mpsc::channel::<Job>(JOBS_WAITING_MAX);
        let executor = self.clone();
        std::thread::Builder::new()
            .name("x0-execute".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    // A job that panics loses its own answer: its caller sees the channel close.
                    if catch_unwind(AssertUnwindSafe(|| job(&executor))).is_err() {
                        tracing::error!("a job of the execution thread panicked");
                    }
                }
            })
            .map_err(ExecutorError::Thread)?;
        Ok(Worker { jobs })
    }
}

impl Worker {
    /// Runs `f` on the execution thread, after the jobs before it.
    ///
    /// # Errors
    /// [`ExecutorError::WorkerStopped`] when the thread is gone, [`ExecutorError::WorkerPanicked`]
    /// when `f` panicked.
    pub async fn run<R: Send + 'static>(
        &self,
        f: impl FnOnce(&Executor) -> R + Send + 'static,
    ) -> Result<R, ExecutorError> {
        let (answer, wait) = oneshot::channel();
        let job: Job = Box::new(move |executor| {
            // The caller may have gone meanwhile; then nobody needs the answer.
            let _ = answer.send(f(executor));
        });
        self.jobs.send(job).await.map_err(|_| ExecutorError::WorkerStopped)?;
        wait.await.map_err(|_| ExecutorError::WorkerPanicked)
    }
}
