//! Ways around a neighbour or around the link to it, made before they are needed.

use super::Graph;
use crate::NodeId;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};
use x0_mesh_wire::{
    Labels,
    limits::{LABELS_MAX, ROUTE_BYPASSES_MAX},
};

/// A way from this node to the node where the packet is back on its route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bypass {
    /// The labels: this node's own for the first link, then one for each relay.
    pub labels: Labels,
    /// The relays between this node and the merging node, by index in the graph.
    pub relays: Vec<u16>,
}

/// Ways around, by the neighbour that fails and the node where the packet is back on its route.
///
/// With another merging node than the neighbour, they avoid the neighbour: they help when it died. With the neighbour
/// itself, they avoid the links between the two: they help when only the link died.
pub type Bypasses = BTreeMap<(u16, u16), Vec<Bypass>>;

/// Cheapest ways from one node to all others: for each node the cost and the edge by which it is reached.
struct Tree {
    by: Vec<Option<usize>>,
}

/// Grows the tree from `source` until all `targets` are in it. Nodes and edges for which `usable` says no are not used.
fn grow(graph: &Graph, source: u16, targets: &BTreeSet<u16>, usable: &dyn Fn(usize) -> bool) -> Tree {
    let mut costs = vec![u64::MAX; graph.len()];
    let mut by = vec![None; graph.len()];
    let mut missing = targets.clone();
    let mut heap = BinaryHeap::new();
    if let Some(cost) = costs.get_mut(usize::from(source)) {
        *cost = 0;
    }
    heap.push(Reverse((0u64, source)));
    while let Some(Reverse((cost, at))) = heap.pop() {
        if costs.get(usize::from(at)).is_none_or(|known| cost > *known) {
            continue;
        }
        missing.remove(&at);
        if missing.is_empty() {
            break;
        }
        for number in graph.leaving(at).filter(|number| usable(*number)) {
            let Some(edge) = graph.edges().get(number) else { continue };
            let further = cost + u64::from(edge.cost_us);
            let to = usize::from(edge.to);
            if let (Some(known), Some(reached)) = (costs.get_mut(to), by.get_mut(to))
                && further < *known
            {
                *known = further;
                *reached = Some(number);
                heap.push(Reverse((further, edge.to)));
            }
        }
    }
    Tree { by }
}

impl Tree {
    /// The way from `source` to `target`, when it is there and short enough.
    fn way(&self, graph: &Graph, source: u16, target: u16) -> Option<Bypass> {
        let (mut labels, mut relays, mut at) = (Vec::new(), Vec::new(), target);
        while at != source {
            let number = self.by.get(usize::from(at)).copied().flatten()?;
            let edge = graph.edges().get(number)?;
            labels.push(edge.label);
            if edge.from != source {
                relays.push(edge.from);
            }
            at = edge.from;
            if labels.len() > LABELS_MAX {
                return None;
            }
        }
        labels.reverse();
        relays.reverse();
        Some(Bypass { labels: Labels::new(&labels).ok()?, relays })
    }
}

/// Finds the ways around every neighbour of `me`, up to [`ROUTE_BYPASSES_MAX`] for each merging node; the second starts
/// with another neighbour than the first where there is one.
///
/// Costs at most `d * (d + 1)` searches for `d` neighbours; each stops when it has reached the neighbour's neighbours.
#[must_use]
pub fn bypasses(graph: &Graph, me: &NodeId) -> Bypasses {
    let mut all = Bypasses::new();
    let Some(me) = graph.index(me) else { return all };
    let neighbours_of = |node: u16| -> BTreeSet<u16> {
        graph.leaving(node).filter_map(|number| graph.edges().get(number)).map(|edge| edge.to).collect()
    };
    let edge = |number: usize| graph.edges().get(number);
    // A link that is down needs its ways around all the more: they stay until routes no longer name it.
    let mut failing = neighbours_of(me);
    failing.extend(graph.claimed(me).filter(|node| *node != me));
    for failed in failing {
        let mut merges = neighbours_of(failed);
        merges.remove(&me);
        let around_node = |number: usize| edge(number).is_some_and(|edge| edge.to != failed && edge.to != me);
        collect(&mut all, graph, me, failed, &merges, &around_node);
        let around_link =
            |number: usize| edge(number).is_some_and(|edge| !(edge.from == me && edge.to == failed) && edge.to != me);
        collect(&mut all, graph, me, failed, &BTreeSet::from([failed]), &around_link);
    }
    all
}

/// Adds first and second ways from `me` to each of `merges`.
fn collect(
    all: &mut Bypasses,
    graph: &Graph,
    me: u16,
    failed: u16,
    merges: &BTreeSet<u16>,
    usable: &dyn Fn(usize) -> bool,
) {
    let tree = grow(graph, me, merges, usable);
    let mut by_first: BTreeMap<u16, BTreeSet<u16>> = BTreeMap::new();
    for merge in merges {
        if let Some(way) = tree.way(graph, me, *merge) {
            by_first.entry(way.relays.first().copied().unwrap_or(*merge)).or_default().insert(*merge);
            all.entry((failed, *merge)).or_default().push(way);
        }
    }
    for (first, merges) in by_first {
        let elsewhere = |number: usize| {
            usable(number) && graph.edges().get(number).is_some_and(|edge| !(edge.from == me && edge.to == first))
        };
        let tree = grow(graph, me, &merges, &elsewhere);
        for merge in merges {
            let ways = all.entry((failed, merge)).or_default();
            if let Some(way) = tree.way(graph, me, merge).filter(|_| ways.len() < ROUTE_BYPASSES_MAX) {
                ways.push(way);
            }
        }
    }
}
