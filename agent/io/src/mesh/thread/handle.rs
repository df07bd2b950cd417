//! The asynchronous side's way to the data thread.

use std::sync::{
    Arc,
    mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
};

use tokio::sync::oneshot;
use x0_mesh::{
    Time,
    node::{Mesh, Sink},
};

use super::{output::CaptureRequest, stats::IoStatus};
use crate::mesh::{
    config::DeniedSource,
    error::{MeshIoError, Result},
    sys::Waker,
};

/// Most commands that wait.
pub const COMMANDS_MAX: usize = 64;

/// What is run on the data thread.
pub type Work = Box<dyn FnOnce(&mut Mesh, Time, &mut dyn Sink) + Send>;

/// A command.
pub enum Command {
    /// Uses the mesh.
    Mesh(Work),
    /// Replaces the sources that are not listened to.
    Deny(Vec<DeniedSource>),
    /// Starts or ends the capture of headers.
    Capture(Option<CaptureRequest>),
    /// Asks for the counters.
    Status(oneshot::Sender<IoStatus>),
}

/// Sends commands to the data thread. Every method waits without blocking the asynchronous thread, and
/// fails at once when the queue is full.
#[derive(Clone, Debug)]
pub struct MeshHandle {
    commands: SyncSender<Command>,
    waker: Arc<Waker>,
}

impl MeshHandle {
    /// A handle, and the end that the data thread reads.
    pub(super) fn new(waker: Arc<Waker>) -> (Self, Receiver<Command>) {
        let (commands, receiver) = sync_channel(COMMANDS_MAX);
        (Self { commands, waker }, receiver)
    }

    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    fn send(&self, command: Command) -> Result<()> {
        self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => MeshIoError::Busy { waiting: COMMANDS_MAX },
            TrySendError::Disconnected(_) => MeshIoError::Stopped,
        })?;
        self.waker.wake();
        Ok(())
    }

    /// Runs `work` with the mesh on the data thread and gives its result: `update_authority`,
    /// `set_rules`, `status`, `paths_explain`. Datagrams wait meanwhile, so it must be short: copy out,
    /// and work on the copy here.
    ///
    /// # Errors
    /// [`MeshIoError::Busy`] and [`MeshIoError::Stopped`].
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Mesh, Time, &mut dyn Sink) -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Mesh(Box::new(move |mesh, now, sink| {
            // Who asked may have given up; then nobody needs the answer.
            let _ = answer.send(work(mesh, now, sink));
        })))?;
        answered.await.map_err(|_| MeshIoError::Stopped)
    }

    /// Replaces the sources of whose datagrams nothing is read.
    ///
    /// # Errors
    /// [`MeshIoError::OutOfBounds`] for more than [`super::DENIED_SOURCES_MAX`], [`MeshIoError::Busy`]
    /// and [`MeshIoError::Stopped`].
    pub fn deny_sources(&self, sources: Vec<DeniedSource>) -> Result<()> {
        let max = super::DENIED_SOURCES_MAX;
        if sources.len() > max {
            let (value, max) = (sources.len() as u64, max as u64);
            return Err(MeshIoError::OutOfBounds { name: "denied sources", value, min: 0, max });
        }
        self.send(Command::Deny(sources))
    }

    /// Starts the capture of decrypted headers, or ends it with `None`.
    ///
    /// # Errors
    /// [`MeshIoError::Busy`] and [`MeshIoError::Stopped`].
    pub fn capture(&self, request: Option<CaptureRequest>) -> Result<()> {
        self.send(Command::Capture(request))
    }

    /// The counters of sockets, tunnel and loop.
    ///
    /// # Errors
    /// [`MeshIoError::Busy`] and [`MeshIoError::Stopped`].
    pub async fn status(&self) -> Result<IoStatus> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Status(answer))?;
        answered.await.map_err(|_| MeshIoError::Stopped)
    }
}
