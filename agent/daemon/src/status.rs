//! How the agent is: a Unix socket that gives one JSON document to whoever connects, and its reader.

use std::{
    io::Read,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixStream as BlockingStream,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{io::AsyncWriteExt, net::UnixListener, sync::watch};
use x0_agent_core::{Counters, Phase};
use x0_agent_io::{ProbeResponder, ResponderStats, SharedAgent, SystemClock};
use x0_limits::AGENT_STATUS_BYTES_MAX;
use x0_types::{AccountId, Hash};

use crate::{
    counters::{KernelCounters, PacketCounters},
    error::{AgentError, Result},
    follow::Line,
};

/// How long a reader may take.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// What `x0-agent status --json` prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The program's version.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Where the agent stands.
    pub phase: Phase,
    /// The node's account.
    pub node: AccountId,
    /// Its identity.
    pub did: String,
    /// Where it answers probes.
    pub listen: String,
    /// The chain it follows.
    pub chain: ChainReport,
    /// Whom it admits now, by deal.
    pub admitted: Vec<Admitted>,
    /// What it answered.
    pub answers: Answers,
    /// What its listener saw.
    pub listener: ResponderStats,
    /// Packets by peer, or why they are not counted.
    pub packets: PacketCounters,
}

/// The chain that the agent follows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainReport {
    /// The node's address.
    pub url: String,
    /// Hash of the first block.
    pub genesis_hash: Hash,
    /// Whether the last request was answered.
    pub connected: bool,
    /// Last finalised block that was read.
    pub height: Option<u64>,
    /// Height of the view in force.
    pub view_height: Option<u32>,
    /// Times the line was opened again.
    pub reconnects: u64,
    /// What broke the line last.
    pub last_error: Option<String>,
}

/// Whom the agent admits on account of one deal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Admitted {
    /// The deal.
    pub deal: u64,
    /// The renter's mesh.
    pub mesh: Hash,
    /// The renter's agents.
    pub agents: Vec<AccountId>,
}

/// What the agent answered.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answers {
    /// Receipts that were handed out for signing.
    pub receipts: u64,
    /// Admission lists that were sent.
    pub admission_lists: u64,
    /// Requests that were refused.
    pub refusals: u64,
}

impl From<Counters> for Answers {
    fn from(counters: Counters) -> Self {
        Self { receipts: counters.receipts, admission_lists: counters.admission_lists, refusals: counters.refusals }
    }
}

/// Everything that the status reads.
pub struct Sources {
    /// The agent.
    pub agent: SharedAgent,
    /// Its clock.
    pub clock: SystemClock,
    /// Its listener's totals.
    pub responder: Arc<ProbeResponder>,
    /// Its line to the node.
    pub line: watch::Receiver<Line>,
    /// Its counters in the kernel.
    pub kernel: KernelCounters,
    /// Its identity.
    pub did: String,
    /// The node's address.
    pub url: String,
    /// Hash of the first block.
    pub genesis_hash: Hash,
}

impl Sources {
    fn report(&self) -> Report {
        let line = self.line.borrow().clone();
        let now = self.clock.now().monotonic_ms;
        let agent = self.agent.lock();
        let admitted = agent
            .admissions(now)
            .iter()
            .map(|admission| Admitted { deal: admission.deal, mesh: admission.mesh, agents: admission.agents.clone() })
            .collect();
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            phase: agent.phase(),
            node: agent.node().clone(),
            did: self.did.clone(),
            listen: self.responder.local_addr().to_string(),
            chain: ChainReport {
                url: self.url.clone(),
                genesis_hash: self.genesis_hash,
                connected: line.connected,
                height: line.height,
                view_height: agent.view_height(),
                reconnects: line.reconnects,
                last_error: line.last_error,
            },
            admitted,
            answers: agent.counters().into(),
            listener: self.responder.stats(),
            packets: self.kernel.read(),
        }
    }
}

/// The socket; removed when dropped.
pub struct StatusSocket {
    path: PathBuf,
    listener: UnixListener,
}

impl StatusSocket {
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

    /// Answers for ever, one reader after the other.
    pub async fn serve(&self, sources: Arc<Sources>) {
        loop {
            let mut stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accepting a status reader failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let sources = Arc::clone(&sources);
            // Reading the kernel's counters and serialising are quick, but they are not async.
            let text = tokio::task::spawn_blocking(move || serde_json::to_vec(&sources.report())).await;
            match text {
                Ok(Ok(text)) => {
                    let written = tokio::time::timeout(READ_TIMEOUT, async {
                        stream.write_all(&text).await?;
                        stream.shutdown().await
                    });
                    if !matches!(written.await, Ok(Ok(()))) {
                        tracing::debug!("a status reader went away");
                    }
                }
                Ok(Err(error)) => tracing::error!(%error, "the status has no JSON form"),
                Err(error) => tracing::error!(%error, "reading the status failed"),
            }
        }
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        // A socket that is left behind is taken over by the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Asks a running agent.
///
/// # Errors
/// [`AgentError::NoAgent`].
pub fn ask(path: &Path) -> Result<Report> {
    let none = |reason: String| AgentError::NoAgent { path: path.to_owned(), reason };
    let stream = BlockingStream::connect(path).map_err(|error| none(error.to_string()))?;
    stream.set_read_timeout(Some(READ_TIMEOUT)).map_err(|error| none(error.to_string()))?;
    let mut text = Vec::new();
    stream.take(AGENT_STATUS_BYTES_MAX).read_to_end(&mut text).map_err(|error| none(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| none(format!("its answer does not read: {error}")))
}

/// The report in words.
#[must_use]
pub fn words(report: &Report) -> String {
    let chain = &report.chain;
    let line = match (chain.connected, &chain.last_error) {
        (true, _) => "connected".to_owned(),
        (false, Some(error)) => format!("not connected: {error}"),
        (false, None) => "not connected".to_owned(),
    };
    let height = chain.height.map_or_else(|| "none".to_owned(), |height| height.to_string());
    let mut lines = vec![
        format!("{} (process {}, version {})", report.phase.name(), report.pid, report.version),
        format!("  identity  {}", report.did),
        format!("  listens   {}", report.listen),
        format!("  node      {} ({line}, {} reconnects)", chain.url, chain.reconnects),
        format!("  block     {height}"),
        format!(
            "  answered  {} receipts, {} admission lists, {} refusals",
            report.answers.receipts, report.answers.admission_lists, report.answers.refusals
        ),
        format!(
            "  listener  {} connections, {} turned away, {} failed handshakes",
            report.listener.connections, report.listener.turned_away, report.listener.handshakes_failed
        ),
    ];
    if report.admitted.is_empty() {
        lines.push("  admits    nobody".to_owned());
    }
    for admitted in &report.admitted {
        lines.push(format!("  admits    for deal {} (mesh {:?}):", admitted.deal, admitted.mesh));
        lines.extend(admitted.agents.iter().map(|agent| format!("              {agent}")));
    }
    lines.extend(report.packets.words());
    lines.join("\n")
}
