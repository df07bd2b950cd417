//! The links that both ends claim, as a directed graph.

use super::Adjacency;
use crate::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// What a hop costs besides its delay, microseconds: between equal links, fewer relays win.
pub const HOP_COST_US: u32 = 200;
/// The delay in excess of the best at which a link has half the quality, microseconds: `R` of the pheromone rule.
pub const QUALITY_HALF_US: u32 = 5_000;
/// Quality below which a link gets no more expensive: about five seconds.
const QUALITY_MIN: u32 = 64;

/// The cost of a link of this quality, microseconds: the delay that would lower a perfect link to it, which is the
/// pheromone rule `q = R/(R + d)` read backwards, and a constant for each hop.
///
/// Never zero, and never higher for a better link.
#[must_use]
pub const fn cost_us(quality: u16) -> u32 {
    let quality = if (quality as u32) < QUALITY_MIN { QUALITY_MIN } else { quality as u32 };
    HOP_COST_US + (QUALITY_HALF_US * (65_536 - quality)) / quality
}

/// One direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// Index of the sending node.
    pub from: u16,
    /// Index of the receiving node.
    pub to: u16,
    /// The sender's underlay.
    pub underlay_from: u32,
    /// The sender's label.
    pub label: u32,
    /// The receiver's underlay.
    pub underlay_to: u32,
    /// Cost by the worse of the two ends' claims, microseconds.
    pub cost_us: u32,
}

/// A claim of either kind, for reading labels: a packet's labels may name links that are down by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    label: u32,
    owner: u16,
    to: u16,
}

/// Links that both ends claim and call up, and what every label names.
///
/// # Correctness
/// * A link is in it only when both ends claim it, so a node cannot make up a link to an honest one.
/// * It costs what the worse of the two claims says, so a node cannot praise a link to an honest one.
/// * It is a function of the set of claims: the order in which records came does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    nodes: Vec<NodeId>,
    edges: Vec<Edge>,
    starts: Vec<usize>,
    claims: Vec<Claim>,
}

/// A usable claim: underlay, label, quality.
type Usable = (u32, u32, u16);
/// Claims of a node to one neighbour, the usable ones.
type Parallel = Vec<Usable>;

/// Pairs the two ends' claims of the links between them: those of one underlay number first, the rest by rank.
fn pair(mut ours: Parallel, mut theirs: Parallel) -> Vec<(Usable, Usable)> {
    ours.sort_unstable();
    theirs.sort_unstable();
    let mut pairs = Vec::new();
    ours.retain(|our| match theirs.iter().position(|their| their.0 == our.0) {
        Some(at) => {
            pairs.push((*our, theirs.remove(at)));
            false
        }
        None => true,
    });
    pairs.extend(ours.into_iter().zip(theirs));
    pairs
}

impl Graph {
    /// Builds the graph of what these nodes claim; `excluded` nodes have no links in it.
    #[must_use]
    pub fn build<'a>(claims: impl Iterator<Item = (NodeId, &'a [Adjacency])>, excluded: &BTreeSet<NodeId>) -> Self {
        let by_node: BTreeMap<NodeId, &[Adjacency]> = claims.collect();
        let nodes: Vec<NodeId> = by_node.keys().copied().collect();
        let index = |node: &NodeId| nodes.binary_search(node).ok().and_then(|at| u16::try_from(at).ok());
        let mut between: BTreeMap<(u16, u16), Parallel> = BTreeMap::new();
        let mut all = Vec::new();
        for (node, adjacencies) in &by_node {
            let Some(owner) = index(node) else { continue };
            for claim in *adjacencies {
                // A neighbour without a record has no index; the label's owner is known all the same.
                let to = index(&claim.neighbour);
                all.push(Claim { label: claim.label, owner, to: to.unwrap_or(u16::MAX) });
                let Some(to) = to else { continue };
                if claim.up && !excluded.contains(node) && !excluded.contains(&claim.neighbour) {
                    between.entry((owner, to)).or_default().push((claim.underlay, claim.label, claim.quality));
                }
            }
        }
        let mut edges = Vec::new();
        for ((a, b), ours) in between.iter().filter(|((a, b), _)| a < b) {
            let Some(theirs) = between.get(&(*b, *a)) else { continue };
            for (our, their) in pair(ours.clone(), theirs.clone()) {
                let cost_us = cost_us(our.2.min(their.2));
                let (underlay_a, underlay_b) = (our.0, their.0);
                edges.push(Edge {
                    from: *a,
                    to: *b,
                    underlay_from: underlay_a,
                    label: our.1,
                    underlay_to: underlay_b,
                    cost_us,
                });
                edges.push(Edge {
                    from: *b,
                    to: *a,
                    underlay_from: underlay_b,
                    label: their.1,
                    underlay_to: underlay_a,
                    cost_us,
                });
            }
        }
        edges.sort_unstable();
        all.sort_unstable();
        let starts =
            (0..=nodes.len()).map(|node| edges.partition_point(|edge| usize::from(edge.from) < node)).collect();
        Self { nodes, edges, starts, claims: all }
    }

    /// How many nodes there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Every usable direction of a link, sorted by sender.
    #[must_use]
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// The nodes, sorted; an index is a place in this list.
    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// The index of a node.
    #[must_use]
    pub fn index(&self, node: &NodeId) -> Option<u16> {
        self.nodes.binary_search(node).ok().and_then(|at| u16::try_from(at).ok())
    }

    /// The node with this index.
    #[must_use]
    pub fn node(&self, index: u16) -> Option<NodeId> {
        self.nodes.get(usize::from(index)).copied()
    }

    /// The numbers of the edges that leave a node.
    #[must_use]
    pub fn leaving(&self, node: u16) -> core::ops::Range<usize> {
        let at = usize::from(node);
        match (self.starts.get(at), self.starts.get(at + 1)) {
            (Some(start), Some(end)) => *start..*end,
            _ => 0..0,
        }
    }

    /// Every node that uses this label. More than one when two nodes drew the same number, or one copies another's.
    pub fn owners(&self, label: u32) -> impl Iterator<Item = u16> + '_ {
        let start = self.claims.partition_point(|claim| claim.label < label);
        self.claims.iter().skip(start).take_while(move |claim| claim.label == label).map(|claim| claim.owner)
    }

    /// The nodes to which this one claims a link, up or not, as far as they have an index.
    pub fn claimed(&self, owner: u16) -> impl Iterator<Item = u16> + '_ {
        self.claims.iter().filter(move |claim| claim.owner == owner && claim.to != u16::MAX).map(|claim| claim.to)
    }

    /// Where the link of this node with this label leads, up or not.
    #[must_use]
    pub fn resolve(&self, owner: u16, label: u32) -> Option<u16> {
        let at = self.claims.partition_point(|claim| (claim.label, claim.owner) < (label, owner));
        let claim = self.claims.get(at).filter(|claim| claim.label == label && claim.owner == owner)?;
        (claim.to != u16::MAX).then_some(claim.to)
    }
}
