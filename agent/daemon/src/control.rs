//! The control socket: a Unix socket on which root and the agent's own user ask and command.
//!
//! ```text
//!   x0-agent status|peers|paths|capture|reload --one line of JSON--> agent
//!                                              <--lines of JSON, each {"ok": …} or {"error": "…"}--
//! ```
//!
//! # Correctness
//! Who asks is read from the kernel (`SO_PEERCRED`), so that a socket whose mode somebody loosened still tells
//! strangers nothing. Every exchange has an end: one request, a bounded answer, a time-out.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixStream as BlockingStream,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
};
use x0_limits::AGENT_STATUS_BYTES_MAX;

use crate::error::{AgentError, Result};

/// How long a request, and the answer to it, may take; a capture may take its seconds longer.
const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of a request at most.
const REQUEST_BYTES_MAX: u64 = 4_096;
/// Exchanges at once; further ones wait.
const EXCHANGES_MAX: usize = 8;
/// Longest capture.
pub const CAPTURE_SECONDS_MAX: u64 = 3_600;

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "camelCase", deny_unknown_fields)]
pub enum Request {
    /// How the agent is.
    Status,
    /// Whom the mesh deals with.
    Peers,
    /// The paths of sessions and why they stand where they stand.
    Paths {
        /// Of one peer only.
        peer: Option<String>,
    },
    /// Headers, as they pass.
    Capture {
        /// For how long.
        seconds: u64,
        /// The headers of decrypted packets in place of those on the wire.
        decrypted: bool,
    },
    /// Reads the configuration again.
    Reload,
}

/// One line of an answer.
#[derive(Debug, Deserialize)]
struct Line {
    ok: Option<Value>,
    error: Option<String>,
}

/// Where an answer goes.
pub struct Answer<'a> {
    stream: &'a mut UnixStream,
}

impl Answer<'_> {
    /// Sends one line.
    ///
    /// # Errors
    /// When whoever asked is gone or too slow.
    pub async fn line(&mut self, value: Value) -> std::io::Result<()> {
        self.send(&json!({ "ok": value })).await
    }

    async fn send(&mut self, line: &Value) -> std::io::Result<()> {
        let text = format!("{line}\n");
        tokio::time::timeout(EXCHANGE_TIME_MAX, self.stream.write_all(text.as_bytes())).await?
    }

    /// Waits until whoever asked has gone away.
    pub async fn gone(&mut self) {
        // Nothing more is expected from there: a byte, an end, or an error, whichever way it is over.
        let mut byte = [0];
        let _ = self.stream.read(&mut byte).await;
    }
}

/// Answers requests.
pub trait Answers: Send + Sync + 'static {
    /// Answers one request by lines; an error is its last line.
    fn answer(
        &self,
        request: Request,
        answer: &mut Answer<'_>,
    ) -> impl Future<Output = std::result::Result<(), String>> + Send;
}

/// The socket; removed when dropped.
pub struct ControlSocket {
    path: PathBuf,
    listener: UnixListener,
}

impl ControlSocket {
    /// Opens the socket for its owner only. Takes the place of a socket that a killed agent left, not
    /// of one on which an agent answers.
    ///
    /// # Errors
    /// [`AgentError::StatusSocket`].
    pub fn bind(path: &Path) -> Result<Self> {
        let wrong = |reason: String| AgentError::StatusSocket { path: path.to_owned(), reason };
        if let Ok(metadata) = path.symlink_metadata() {
            if !metadata.file_type().is_socket() {
                return Err(wrong("there is a file of this name, and it is no socket".into()));
            }
            if BlockingStream::connect(path).is_ok() {
                return Err(wrong("another agent answers here already".into()));
            }
            std::fs::remove_file(path).map_err(|error| wrong(error.to_string()))?;
        }
        let listener = UnixListener::bind(path).map_err(|error| wrong(error.to_string()))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Self { path: path.to_owned(), listener })
    }

    /// Answers until it is dropped.
    pub async fn serve(&self, answers: Arc<impl Answers>) {
        let places = Arc::new(Semaphore::new(EXCHANGES_MAX));
        let mut exchanges = tokio::task::JoinSet::new();
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            while exchanges.try_join_next().is_some() {}
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let answers = Arc::clone(&answers);
                    exchanges.spawn(async move {
                        if let Err(error) = converse(stream, &*answers).await {
                            tracing::debug!(%error, "whoever asked went away");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting on the control socket failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // A socket that is left behind is taken over by the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn converse(mut stream: UnixStream, answers: &impl Answers) -> std::io::Result<()> {
    // SAFETY: the call takes no arguments and cannot fail.
    let own = unsafe { libc::geteuid() };
    let asks = stream.peer_cred()?.uid();
    // It is read in any case: who hangs up on a request that was not read takes his answer back with it.
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new((&mut stream).take(REQUEST_BYTES_MAX));
    tokio::time::timeout(EXCHANGE_TIME_MAX, reader.read_line(&mut line)).await??;
    let refusal = if asks == 0 || asks == own {
        match serde_json::from_str::<Request>(&line) {
            Ok(request) => answers.answer(request, &mut Answer { stream: &mut stream }).await.err(),
            Err(error) => Some(format!("no request: {error}")),
        }
    } else {
        tracing::warn!(uid = asks, "a stranger on the control socket");
        Some(format!("refused: user {asks} is neither root nor the agent's own user"))
    };
    if let Some(reason) = refusal {
        Answer { stream: &mut stream }.send(&json!({ "error": reason })).await?;
    }
    tokio::time::timeout(EXCHANGE_TIME_MAX, stream.shutdown()).await?
}

/// Asks a running agent; gives each line of the answer to `each`.
///
/// # Errors
/// [`AgentError::NoAgent`] when none answers, [`AgentError::Refused`] when it says no, and what `each` says.
pub fn ask(path: &Path, request: &Request, mut each: impl FnMut(Value) -> Result<()>) -> Result<()> {
    let none = |reason: String| AgentError::NoAgent { path: path.to_owned(), reason };
    let mut stream = BlockingStream::connect(path).map_err(|error| none(error.to_string()))?;
    let longer =
        if let Request::Capture { seconds, .. } = request { Duration::from_secs(*seconds) } else { Duration::ZERO };
    // Data from the kernel's tables and a data plane that starts take their time as well.
    let patience = 3 * EXCHANGE_TIME_MAX + longer;
    stream.set_read_timeout(Some(patience)).map_err(|error| none(error.to_string()))?;
    let text = serde_json::to_string(request).map_err(|error| none(error.to_string()))?;
    stream.write_all(format!("{text}\n").as_bytes()).map_err(|error| none(error.to_string()))?;
    let most = if longer.is_zero() { AGENT_STATUS_BYTES_MAX } else { u64::MAX };
    let mut lines = 0;
    for line in BufReader::new(stream.take(most)).lines() {
        let line = line.map_err(|error| none(error.to_string()))?;
        let line: Line =
            serde_json::from_str(&line).map_err(|error| none(format!("its answer does not read: {error}")))?;
        lines += 1;
        if let Some(reason) = line.error {
            return Err(AgentError::Refused { reason });
        }
        each(line.ok.unwrap_or_default())?;
    }
    if lines == 0 && longer.is_zero() { Err(none("it said nothing".into())) } else { Ok(()) }
}
