//! How the agent is: what `x0-agent status` shows.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use x0_agent_core::{Counters, Phase};
use x0_agent_io::{ProbeResponder, ResponderStats, SharedAgent, SystemClock};
use x0_types::{AccountId, Hash};

use crate::{
    counters::{KernelCounters, PacketCounters},
    follow::Line,
    mesh::MeshService,
};

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
    /// Its identity; none before a node said the network's name.
    pub did: Option<String>,
    /// Where it answers probes; none before it does.
    pub listen: Option<String>,
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
    /// The mesh, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Value>,
}

/// The chain that the agent follows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainReport {
    /// The node's address.
    pub url: String,
    /// Hash of the first block, once a node said it.
    pub genesis_hash: Option<Hash>,
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

/// What the status reads once the agent serves.
pub struct Serving {
    /// The agent.
    pub agent: SharedAgent,
    /// Its clock.
    pub clock: SystemClock,
    /// Its listener's totals.
    pub responder: ProbeResponder,
    /// Its line to the node.
    pub line: watch::Receiver<Line>,
    /// Its counters in the kernel.
    pub kernel: KernelCounters,
    /// Its identity.
    pub did: String,
    /// Hash of the first block.
    pub genesis_hash: Hash,
}

/// Everything that answers on the control socket are made of.
pub struct Sources {
    /// The node's account.
    pub node: AccountId,
    /// The configuration file, for reading it again.
    pub config: PathBuf,
    /// The node's address, or that none is asked.
    pub url: String,
    /// Whether the configuration says that no node is asked.
    pub offline: bool,
    /// What there is once the agent serves.
    pub serving: RwLock<Option<Arc<Serving>>>,
    /// The mesh, once the chain is known.
    pub mesh: OnceLock<MeshService>,
}

impl Sources {
    /// The report as of now.
    pub async fn report(&self) -> Report {
        let mesh = match self.mesh.get() {
            Some(mesh) => Some(mesh.report().await),
            None => None,
        };
        // Reading the kernel's counters is quick, but it is no async work.
        let serving = self.serving.read().clone();
        tokio::task::block_in_place(|| match serving {
            Some(serving) => self.of_serving(&serving, mesh),
            None => self.of_start(mesh),
        })
    }

    fn of_serving(&self, serving: &Serving, mesh: Option<Value>) -> Report {
        let line = serving.line.borrow().clone();
        let now = serving.clock.now().monotonic_ms;
        let packets = serving.kernel.read();
        let agent = serving.agent.lock();
        let admitted = agent
            .admissions(now)
            .iter()
            .map(|admission| Admitted { deal: admission.deal, mesh: admission.mesh, agents: admission.agents.clone() })
            .collect();
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            phase: agent.phase(),
            node: self.node.clone(),
            did: Some(serving.did.clone()),
            listen: Some(serving.responder.local_addr().to_string()),
            chain: ChainReport {
                url: self.url.clone(),
                genesis_hash: Some(serving.genesis_hash),
                connected: line.connected,
                height: line.height,
                view_height: agent.view_height(),
                reconnects: line.reconnects,
                last_error: line.last_error,
            },
            admitted,
            answers: agent.counters().into(),
            listener: serving.responder.stats(),
            packets,
            mesh,
        }
    }

    /// Before the node has answered for the first time.
    fn of_start(&self, mesh: Option<Value>) -> Report {
        let why = if self.offline { "the configuration says offline" } else { "the node has not answered yet" };
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            phase: Phase::Starting,
            node: self.node.clone(),
            did: None,
            listen: None,
            chain: ChainReport {
                url: self.url.clone(),
                genesis_hash: None,
                connected: false,
                height: None,
                view_height: None,
                reconnects: 0,
                last_error: Some(why.to_owned()),
            },
            admitted: Vec::new(),
            answers: Answers { receipts: 0, admission_lists: 0, refusals: 0 },
            listener: ResponderStats::default(),
            packets: PacketCounters::Absent { reason: "the agent does not listen yet".to_owned() },
            mesh,
        }
    }
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
        format!("  identity  {}", report.did.clone().unwrap_or_else(|| report.node.to_string())),
        format!("  listens   {}", report.listen.as_deref().unwrap_or("not yet")),
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
    lines.extend(report.mesh.iter().flat_map(crate::show::mesh));
    lines.join("\n")
}
