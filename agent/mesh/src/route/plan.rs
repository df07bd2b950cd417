//! The slow part of routing as one piece of work, for whichever thread has time.

use super::{Bypasses, Graph, Path, bypasses, disjoint_paths, shortest_path};
use crate::NodeId;
use std::{collections::BTreeMap, sync::Arc};

/// What is to be found, with the graph as it was.
#[derive(Clone, Debug)]
pub struct PlanRequest {
    pub(super) number: u64,
    pub(super) graph: Arc<Graph>,
    pub(super) me: NodeId,
    pub(super) wanted: Vec<NodeId>,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) number: u64,
    pub(super) graph: Arc<Graph>,
    pub(super) paths: BTreeMap<NodeId, Vec<Path>>,
    pub(super) bypasses: Bypasses,
}

/// The candidates for one destination: the disjoint routes, and the cheapest one when it is not among them.
#[must_use]
pub fn candidates(graph: &Graph, me: &NodeId, destination: &NodeId) -> Vec<Path> {
    let mut paths = disjoint_paths(graph, me, destination);
    if let Some(shortest) = shortest_path(graph, me, destination)
        && !paths.iter().any(|path| path.id() == shortest.id())
    {
        paths.push(shortest);
    }
    paths
}

impl PlanRequest {
    /// Does the work: about a millisecond for each wanted destination in a mesh of 500 nodes.
    #[must_use]
    pub fn run(self) -> Plan {
        let Self { number, graph, me, wanted } = self;
        let paths = wanted.iter().map(|destination| (*destination, candidates(&graph, &me, destination))).collect();
        let bypasses = bypasses(&graph, &me);
        Plan { number, graph, paths, bypasses }
    }
}
