//! Where the node stands on its way: which links it has now, and what it waits for before it takes part.
//!
//! Each phase has links of its own ([`crate::catchup`]). What is asked about peers is answered from those that stand.

use crate::{config::NetworkSection, links::Links};
use parking_lot::RwLock;
use x0_network::p2p::P2pMetrics;
use x0_rpc::Neighbours;
use x0_rpc_types::node::Peer;

/// What the node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has no chain and looks for a snapshot.
    Restoring,
    /// It follows without its key until the chain has passed this height.
    Following {
        /// The height that the key has signed for.
        until: u64,
    },
    /// It takes part.
    Running,
}

/// The present phase and links.
pub struct Standing {
    phase: RwLock<Phase>,
    links: RwLock<Option<Links>>,
    wanted: bool,
}

impl Standing {
    /// A node at its beginning.
    pub fn new(network: &NetworkSection, phase: Phase) -> Self {
        Self { phase: RwLock::new(phase), links: RwLock::new(None), wanted: !network.is_solo() }
    }

    /// A phase begins.
    pub fn enter(&self, phase: Phase) {
        *self.phase.write() = phase;
    }

    /// What the node does.
    pub fn phase(&self) -> Phase {
        *self.phase.read()
    }

    /// These links stand now; `None` between two phases.
    pub fn link(&self, links: Option<Links>) {
        *self.links.write() = links;
    }

    /// The peers with a standing link.
    pub fn peers(&self) -> Vec<Peer> {
        self.links.read().as_ref().map(Links::peers).unwrap_or_default()
    }

    /// Admitted peers without a link.
    pub fn missing(&self) -> usize {
        self.links.read().as_ref().map_or(0, Links::missing)
    }

    /// The carrier's counters; they begin anew with each phase.
    pub fn metrics(&self) -> P2pMetrics {
        self.links.read().as_ref().map(Links::metrics).unwrap_or_default()
    }
}

impl Neighbours for Standing {
    fn peers(&self) -> Vec<Peer> {
        Self::peers(self)
    }
    fn listening(&self) -> Vec<String> {
        let listening = self.links.read().as_ref().map(Links::listening).unwrap_or_default();
        listening.iter().map(ToString::to_string).collect()
    }
    fn wanted(&self) -> bool {
        self.wanted
    }
    fn catching_up(&self) -> bool {
        self.phase() != Phase::Running
    }
}
