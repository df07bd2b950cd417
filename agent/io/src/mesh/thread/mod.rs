//! The data thread: sockets, tunnel, timers and the protocol in one loop, with nothing shared.
//!
//! ```text
//!   daemon (tokio) --MeshHandle, bounded queue, eventfd--> data thread --Outputs, bounded--> daemon
//!                                                            |    ^
//!                                                       Job  v    | JobDone, eventfd
//!                                                          job threads
//! ```
//!
//! # Correctness
//! * One thread owns the [`Mesh`]: no lock is ever waited for between a datagram and its forwarding.
//! * Timers run after what has arrived has been handed in, so that a stall of this thread is not taken
//!   for silence of the links.
//! * Every job is answered once, also when the queue is full.
//! * A panic ends the thread it happens in, is caught there, and comes back from [`MeshThread::stop`];
//!   the sockets and the tunnel close, so that neighbours see silence instead of half a node.

mod handle;
mod jobs;
mod output;
mod run;
mod sink;
mod stats;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use x0_crypto::SigningKey;
use x0_mesh::node::Mesh;

use crate::mesh::{
    config::MeshThreadConfig,
    error::{MeshIoError, Result},
};

pub use handle::MeshHandle;
pub use output::{CaptureRequest, Captured, Direction, Output, Outputs};
pub use run::{KernelSeen, Opened};
pub use stats::{IoStatus, StartReport, StopReport, UnderlayReport};

/// Most source prefixes that are denied at once.
pub const DENIED_SOURCES_MAX: usize = 1_024;

/// The running data plane of one agent. Dropping it ends the data thread without waiting for it.
#[derive(Debug)]
pub struct MeshThread {
    handle: MeshHandle,
    report: StartReport,
    stop: Arc<AtomicBool>,
    data: Option<JoinHandle<Result<StopReport>>>,
}

impl Drop for MeshThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.handle.wake();
    }
}

impl MeshThread {
    /// Opens the sockets and the tunnel in the calling thread's network namespace and starts the data
    /// thread and its job threads. `key` signs for the mesh's identity; it stays with the job threads.
    /// `kernel_seen`, where there is one, is the kernel filter's table of last arrivals.
    ///
    /// # Errors
    /// What does not open, and what the configuration breaks. Missing rights for priority and memory
    /// are no errors: [`Self::report`] names them.
    pub fn start(
        config: &MeshThreadConfig,
        mesh: Mesh,
        key: SigningKey,
        kernel_seen: Option<Box<dyn KernelSeen>>,
    ) -> Result<(Self, Outputs)> {
        let opened = Opened::open(config)?;
        Self::start_opened(config, opened, mesh, key, kernel_seen)
    }

    /// Starts on sockets that are open already: whoever lets the system choose ports reads them from
    /// [`Opened::underlays`] before the mesh is made.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start_opened(
        config: &MeshThreadConfig,
        opened: Opened,
        mesh: Mesh,
        key: SigningKey,
        kernel_seen: Option<Box<dyn KernelSeen>>,
    ) -> Result<(Self, Outputs)> {
        config.check()?;
        run::start(config, opened, mesh, key, kernel_seen)
    }

    /// The way to the data thread, for the asynchronous side; clones are cheap.
    #[must_use]
    pub fn handle(&self) -> MeshHandle {
        self.handle.clone()
    }

    /// What the machine offers and what it refuses.
    #[must_use]
    pub const fn report(&self) -> &StartReport {
        &self.report
    }

    /// Whether the data thread has ended, by a failure, without being asked to.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.data.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends the data thread: what waits to be sent is sent, then everything closes. Blocks for as long
    /// as the job at work takes.
    ///
    /// # Errors
    /// [`MeshIoError::Panicked`] and what else ended the thread before.
    pub fn stop(mut self) -> Result<StopReport> {
        self.stop.store(true, Ordering::Release);
        self.handle.wake();
        let data = self.data.take().ok_or(MeshIoError::Stopped)?;
        data.join().map_err(|panic| MeshIoError::Panicked { thread: "data", reason: jobs::reason(&*panic) })?
    }
}
