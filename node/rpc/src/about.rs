//! What the node says about itself: also before it has a chain.

use crate::node::NodeInfo;
use std::sync::Arc;
use x0_executor::Executor;
use x0_limits::READY_LAG_BLOCKS_MAX;
use x0_rpc_types::node::Peer;

/// The node's links to others, as the RPC tells of them. Asked on async threads: answers come at once.
pub trait Neighbours: Send + Sync + 'static {
    /// The peers with a standing link.
    fn peers(&self) -> Vec<Peer>;
    /// Where the node listens for others, `ip:port`.
    fn listening(&self) -> Vec<String>;
    /// Whether the node is meant to have peers: not on one that is alone by its settings.
    fn wanted(&self) -> bool;
    /// Whether the node fetches what it lacks before it takes part.
    fn catching_up(&self) -> bool;
}

/// No links, and none are wanted.
struct Alone;

impl Neighbours for Alone {
    fn peers(&self) -> Vec<Peer> {
        Vec::new()
    }
    fn listening(&self) -> Vec<String> {
        Vec::new()
    }
    fn wanted(&self) -> bool {
        false
    }
    fn catching_up(&self) -> bool {
        false
    }
}

/// What the methods about the node answer from.
pub(crate) struct About {
    /// Fixed facts.
    pub(crate) info: NodeInfo,
    /// The links.
    pub(crate) neighbours: Arc<dyn Neighbours>,
    /// The chain; none while a snapshot is fetched.
    executor: Option<Executor>,
    /// Height at start.
    started_at: u32,
}

/// Heights: at the start, now, and the highest that anybody is known to have.
pub(crate) struct Heights {
    pub(crate) start: u32,
    pub(crate) now: u32,
    pub(crate) highest: u64,
}

impl About {
    pub(crate) fn new(info: NodeInfo, executor: Option<Executor>, neighbours: Option<Arc<dyn Neighbours>>) -> Self {
        let started_at = executor.as_ref().map_or(0, |executor| executor.head().number);
        Self { info, neighbours: neighbours.unwrap_or_else(|| Arc::new(Alone)), executor, started_at }
    }

    pub(crate) fn heights(&self, peers: &[Peer]) -> Heights {
        let now = self.executor.as_ref().map_or(0, |executor| executor.head().number);
        let best = peers.iter().map(|peer| peer.tip).max().unwrap_or(0);
        Heights { start: self.started_at, now, highest: best.max(u64::from(now)) }
    }

    /// Whether others are so far ahead that this node should not be relied on.
    pub(crate) fn is_syncing(&self, peers: &[Peer]) -> bool {
        let heights = self.heights(peers);
        let behind = heights.highest.saturating_sub(u64::from(heights.now));
        self.neighbours.catching_up() || behind > READY_LAG_BLOCKS_MAX
    }
}
