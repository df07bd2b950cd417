//! Disjoint routes: a flow of least cost, path by path.
//!
//! Up to three units of flow go from source to destination; each unit is a route. A link carries one unit. A relay
//! carries one for free and more at [`VERTEX_PENALTY`], an underlay of the source or of the destination one for free
//! and more at [`SRLG_PENALTY`]. So routes share no relay when that is possible, then no underlay at the ends when that
//! is possible, and cost least among these. Successive shortest paths with potentials find the exact minimum (Suurballe
//! and Tarjan 1984 for two routes; Bhandari, Survivable Networks, 1999; Edmonds and Karp 1972 for the potentials).

use super::Graph;
use crate::NodeId;
use std::{cmp::Reverse, collections::BinaryHeap};
use x0_mesh_wire::{
    Labels,
    limits::{LABELS_MAX, ROUTES_MAX},
};

/// What a hop adds when routes would have too many of them: more than the delays of any route.
const HOP_PENALTY: i64 = 1 << 33;
/// What two routes over the same underlay of an end cost: more than the hops of any routes.
pub const SRLG_PENALTY: i64 = 1 << 44;
/// What two routes over the same relay cost: more than all underlays shared.
pub const VERTEX_PENALTY: i64 = 1 << 48;

/// One link of a route, in the direction of travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hop {
    /// Who sends.
    pub from: NodeId,
    /// Who receives.
    pub to: NodeId,
    /// The sender's label for the link.
    pub label: u32,
    /// The sender's underlay.
    pub underlay_from: u32,
    /// The receiver's underlay.
    pub underlay_to: u32,
    /// Its cost, microseconds.
    pub cost_us: u32,
}

/// Names a route by what it passes: the same links give the same name in every process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(pub u64);

/// What two routes have in common, from the worst to the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Disjointness {
    /// A link.
    SharedLink,
    /// A relay.
    SharedRelay,
    /// An underlay of the source or of the destination.
    SharedUnderlay,
    /// The ends alone.
    Full,
}

impl Disjointness {
    /// Its weight in the choice of the second and the third route, in quarters.
    #[must_use]
    pub const fn quarters(self) -> u64 {
        match self {
            Self::SharedLink => 1,
            Self::SharedRelay => 2,
            Self::SharedUnderlay => 3,
            Self::Full => 4,
        }
    }
}

/// A route from this node: at least one link, at most [`LABELS_MAX`] relays, no node twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    cost_us: u64,
    hops: Vec<Hop>,
    id: PathId,
    labels: Labels,
}

impl Path {
    /// A route over these links; none when they do not follow one another, visit a node twice or have too many relays.
    #[must_use]
    pub fn new(hops: Vec<Hop>) -> Option<Self> {
        let first = hops.first()?;
        let relays = hops.get(1..)?;
        let follows = hops.iter().zip(relays).all(|(hop, next)| hop.to == next.from);
        let repeats = hops
            .iter()
            .enumerate()
            .any(|(at, hop)| hop.to == first.from || hops.iter().skip(at + 1).any(|later| later.to == hop.to));
        if !follows || repeats || relays.len() > LABELS_MAX {
            return None;
        }
        let numbers: Vec<u32> = relays.iter().map(|hop| hop.label).collect();
        let labels = Labels::new(&numbers).ok()?;
        let bytes: Vec<u8> =
            hops.iter().flat_map(|hop| hop.from.0.into_iter().chain(hop.to.0).chain(hop.label.to_be_bytes())).collect();
        let [a, b, c, d, e, f, g, h, ..] = x0_crypto::blake2b_256(&bytes);
        let cost_us = hops.iter().map(|hop| u64::from(hop.cost_us)).sum();
        Some(Self { cost_us, hops, id: PathId(u64::from_be_bytes([a, b, c, d, e, f, g, h])), labels })
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> PathId {
        self.id
    }

    /// Its links.
    #[must_use]
    pub fn hops(&self) -> &[Hop] {
        &self.hops
    }

    /// The label of this node's own link, over which packets leave; it does not travel.
    #[must_use]
    pub fn first_label(&self) -> u32 {
        self.hops.first().map_or(0, |hop| hop.label)
    }

    /// The neighbour that gets the packets.
    #[must_use]
    pub fn first_neighbour(&self) -> Option<NodeId> {
        self.hops.first().map(|hop| hop.to)
    }

    /// The labels that travel in packets: one for each relay.
    #[must_use]
    pub const fn labels(&self) -> Labels {
        self.labels
    }

    /// The relays in order.
    pub fn relays(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.hops.iter().skip(1).map(|hop| hop.from)
    }

    /// Where it ends.
    #[must_use]
    pub fn destination(&self) -> Option<NodeId> {
        self.hops.last().map(|hop| hop.to)
    }

    /// Its cost by the records, microseconds.
    #[must_use]
    pub const fn cost_us(&self) -> u64 {
        self.cost_us
    }

    /// Whether it passes the link of this node with this label.
    #[must_use]
    pub fn uses(&self, owner: &NodeId, label: u32) -> bool {
        self.hops.iter().any(|hop| hop.label == label && hop.from == *owner)
    }

    /// What it has in common with another route between the same nodes.
    #[must_use]
    pub fn disjointness(&self, other: &Self) -> Disjointness {
        let shares_link = self.hops.iter().any(|hop| other.uses(&hop.from, hop.label));
        let shares_relay = self.relays().any(|relay| other.relays().any(|also| also == relay));
        let leaves = |path: &Self| path.hops.first().map(|hop| hop.underlay_from);
        let arrives = |path: &Self| path.hops.last().map(|hop| hop.underlay_to);
        if shares_link {
            Disjointness::SharedLink
        } else if shares_relay {
            Disjointness::SharedRelay
        } else if leaves(self) == leaves(other) || arrives(self) == arrives(other) {
            Disjointness::SharedUnderlay
        } else {
            Disjointness::Full
        }
    }
}

/// A direction of the flow network and, at the next odd number, its way back.
#[derive(Clone, Copy)]
struct Arc {
    to: u32,
    capacity: u8,
    cost: i64,
    /// The edge of the graph that this arc is.
    edge: Option<u32>,
}

/// The network whose flow of least cost is sought.
struct Network {
    arcs: Vec<Arc>,
    leaving: Vec<Vec<u32>>,
    source: u32,
    target: u32,
}

/// Numbers of vertices: a relay has one where packets come in and one where they go out.
const fn incoming(node: u16) -> u32 {
    node as u32 * 2
}
const fn outgoing(node: u16) -> u32 {
    node as u32 * 2 + 1
}

impl Network {
    fn add(&mut self, from: u32, to: u32, capacity: u8, cost: i64, edge: Option<u32>) {
        for (from, to, capacity, cost) in [(from, to, capacity, cost), (to, from, 0, -cost)] {
            let number = u32::try_from(self.arcs.len()).unwrap_or(u32::MAX);
            self.arcs.push(Arc { to, capacity, cost, edge });
            if let Some(list) = self.leaving.get_mut(from as usize) {
                list.push(number);
            }
        }
    }

    /// One unit for free, the rest at a penalty.
    fn add_shared(&mut self, from: u32, to: u32, penalty: i64) {
        self.add(from, to, 1, 0, None);
        self.add(from, to, u8::try_from(ROUTES_MAX - 1).unwrap_or(1), penalty, None);
    }

    /// The network of `graph` between two nodes. `hop_penalty` is added for each link.
    fn build(graph: &Graph, source: u16, target: u16, hop_penalty: i64) -> Self {
        let nodes = u32::try_from(graph.len()).unwrap_or(0);
        let underlays = |pick: &dyn Fn(&super::Edge) -> Option<u32>| {
            let mut all: Vec<u32> = graph.edges().iter().filter_map(pick).collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        let leave = underlays(&|edge| (edge.from == source).then_some(edge.underlay_from));
        let arrive = underlays(&|edge| (edge.to == target).then_some(edge.underlay_to));
        let first_leave = nodes * 2;
        let first_arrive = first_leave + u32::try_from(leave.len()).unwrap_or(0);
        let vertices = first_arrive as usize + arrive.len();
        let place = |list: &[u32], first: u32, underlay: u32| {
            first + list.binary_search(&underlay).ok().and_then(|at| u32::try_from(at).ok()).unwrap_or(0)
        };
        let mut network = Self {
            arcs: Vec::with_capacity(graph.edges().len() * 2 + vertices * 4),
            leaving: vec![Vec::new(); vertices],
            source: outgoing(source),
            target: incoming(target),
        };
        for node in (0..u16::try_from(nodes).unwrap_or(0)).filter(|node| *node != source && *node != target) {
            network.add_shared(incoming(node), outgoing(node), VERTEX_PENALTY);
        }
        for underlay in &leave {
            network.add_shared(outgoing(source), place(&leave, first_leave, *underlay), SRLG_PENALTY);
        }
        for underlay in &arrive {
            network.add_shared(place(&arrive, first_arrive, *underlay), incoming(target), SRLG_PENALTY);
        }
        for (number, edge) in (0u32..).zip(graph.edges()) {
            if edge.to == source || edge.from == target {
                continue;
            }
            let from =
                if edge.from == source { place(&leave, first_leave, edge.underlay_from) } else { outgoing(edge.from) };
            let to = if edge.to == target { place(&arrive, first_arrive, edge.underlay_to) } else { incoming(edge.to) };
            network.add(from, to, 1, i64::from(edge.cost_us) + hop_penalty, Some(number));
        }
        network
    }

    fn arc(&self, number: u32) -> Option<&Arc> {
        self.arcs.get(number as usize)
    }

    /// Sends one more unit along the cheapest way left; false when there is none.
    fn augment(&mut self, potentials: &mut [i64]) -> bool {
        const FAR: i64 = i64::MAX;
        let mut distances = vec![FAR; self.leaving.len()];
        let mut came_by = vec![u32::MAX; self.leaving.len()];
        let mut heap = BinaryHeap::new();
        let potential = |list: &[i64], at: u32| list.get(at as usize).copied().unwrap_or(0);
        if let Some(place) = distances.get_mut(self.source as usize) {
            *place = 0;
        }
        heap.push(Reverse((0i64, self.source)));
        let mut reached = None;
        while let Some(Reverse((distance, at))) = heap.pop() {
            if distance > potential(&distances, at) {
                continue;
            }
            if at == self.target {
                reached = Some(distance);
                break;
            }
            for number in self.leaving.get(at as usize).into_iter().flatten() {
                let Some(arc) = self.arc(*number).filter(|arc| arc.capacity > 0) else { continue };
                let further = distance + arc.cost + potential(potentials, at) - potential(potentials, arc.to);
                if let (Some(known), Some(by)) = (distances.get_mut(arc.to as usize), came_by.get_mut(arc.to as usize))
                    && further < *known
                {
                    *known = further;
                    *by = *number;
                    heap.push(Reverse((further, arc.to)));
                }
            }
        }
        let Some(reached) = reached else { return false };
        for (potential, distance) in potentials.iter_mut().zip(&distances) {
            *potential += (*distance).min(reached);
        }
        let mut at = self.target;
        while at != self.source {
            let number = came_by.get(at as usize).copied().unwrap_or(u32::MAX);
            let back = number ^ 1;
            let Some(previous) = self.arc(back).map(|arc| arc.to) else { return false };
            if let Some(arc) = self.arcs.get_mut(number as usize) {
                arc.capacity -= 1;
            }
            if let Some(arc) = self.arcs.get_mut(back as usize) {
                arc.capacity += 1;
            }
            at = previous;
        }
        true
    }

    /// Takes the flow apart into routes, each as numbers of edges.
    fn routes(mut self) -> Vec<Vec<u32>> {
        let mut routes = Vec::new();
        loop {
            let (mut at, mut route) = (self.source, Vec::new());
            while at != self.target {
                // An arc carries flow when its way back has capacity; ways back themselves are the odd numbers.
                let carrying = self.leaving.get(at as usize).into_iter().flatten().copied().find(|number| {
                    number.is_multiple_of(2) && self.arc(number ^ 1).is_some_and(|back| back.capacity > 0)
                });
                let Some(number) = carrying else { return routes };
                let Some(arc) = self.arc(number).copied() else { return routes };
                if let Some(back) = self.arcs.get_mut((number ^ 1) as usize) {
                    back.capacity -= 1;
                }
                route.extend(arc.edge);
                at = arc.to;
            }
            routes.push(route);
        }
    }
}

fn hop(graph: &Graph, number: u32) -> Option<Hop> {
    let edge = graph.edges().get(number as usize)?;
    Some(Hop {
        from: graph.node(edge.from)?,
        to: graph.node(edge.to)?,
        label: edge.label,
        underlay_from: edge.underlay_from,
        underlay_to: edge.underlay_to,
        cost_us: edge.cost_us,
    })
}

/// The cheapest flow of at most `most` units, and whether each of its routes has few enough relays.
fn flow(graph: &Graph, ends: (u16, u16), most: usize, hop_penalty: i64) -> (Vec<Path>, bool) {
    let mut network = Network::build(graph, ends.0, ends.1, hop_penalty);
    let mut potentials = vec![0; network.leaving.len()];
    let mut units = 0;
    while units < most && network.augment(&mut potentials) {
        units += 1;
    }
    let paths: Vec<Path> = network
        .routes()
        .into_iter()
        .filter_map(|route| Path::new(route.into_iter().map(|number| hop(graph, number)).collect::<Option<_>>()?))
        .collect();
    let complete = paths.len() == units;
    (paths, complete)
}

/// Up to [`ROUTES_MAX`] routes that share no link, sorted by cost.
///
/// Among the sets with the most routes it takes one that shares the fewest relays, then the fewest underlays at the
/// ends, then costs least; equal sets are decided by the order of node names, so every run finds the same.
/// When a set needs more than [`LABELS_MAX`] relays on a route, the one with the fewest hops is tried, and smaller
/// sets; a set of several routes within that limit may be missed then, never a single one.
#[must_use]
pub fn disjoint_paths(graph: &Graph, source: &NodeId, destination: &NodeId) -> Vec<Path> {
    let (Some(from), Some(to)) = (graph.index(source), graph.index(destination)) else { return Vec::new() };
    if from == to {
        return Vec::new();
    }
    let mut best: Vec<Path> = Vec::new();
    for (most, hop_penalty) in
        [(ROUTES_MAX, 0), (ROUTES_MAX, HOP_PENALTY), (ROUTES_MAX - 1, HOP_PENALTY), (1, HOP_PENALTY)]
    {
        let (paths, complete) = flow(graph, (from, to), most, hop_penalty);
        if paths.len() > best.len() {
            best = paths;
        }
        if complete {
            break;
        }
    }
    best.sort_unstable();
    best
}

/// The single cheapest route.
#[must_use]
pub fn shortest_path(graph: &Graph, source: &NodeId, destination: &NodeId) -> Option<Path> {
    let (from, to) = (graph.index(source)?, graph.index(destination)?);
    if from == to {
        return None;
    }
    flow(graph, (from, to), 1, 0).0.pop()
}
