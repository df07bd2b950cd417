//! An explicit-state model of relaying: every connected graph of up to five nodes, every route, one failure of a link
//! (either end or both) or of a node, at any moment, which heals at any later moment or never. Every state of every
//! frame is visited.
//!
//! The specification is in `docs/mesh/routing.md`; the states here are its states:
//! (node, came from, labels, pointer, ttl, repaired, phase: before the failure, during it, after it).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod route_common;

use route_common::{Link, Net, label, name, owner};
use std::{collections::BTreeSet, sync::Arc};
use x0_mesh::route::{Decision, Graph, LinkState, Path, RelayInput, RelayTable, bypasses, candidates};

/// What fails.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// A link, as both ends see it.
    Link(usize),
    /// A link, as one end sees it, which is the first or the second.
    End(usize, bool),
    /// A node: each neighbour sees its link down, and what reaches the node is lost.
    Node(usize),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    at: usize,
    from: usize,
    labels: Vec<u32>,
    pointer: u8,
    ttl: u8,
    repaired: bool,
    phase: u8,
}

/// While the failure lasts.
const FAILED: u8 = 1;
/// After it has healed.
const HEALED: u8 = 2;

struct Model {
    net: Net,
    /// Relays before and after the failure. Plans are those of before: the failure is new.
    relays: [Vec<RelayTable>; 2],
    dead: Option<usize>,
}

fn fails(net: &Net, failure: Failure, node: usize, link: usize) -> bool {
    match failure {
        Failure::Link(failed) => failed == link,
        Failure::End(failed, first) => failed == link && (net.links[link].a == node) == first,
        Failure::Node(dead) => net.links[link].a == dead || net.links[link].b == dead,
    }
}

impl Model {
    fn new(net: &Net, graph: &Arc<Graph>, tables: &[RelayTable], failure: Failure) -> Self {
        let mut after = tables.to_vec();
        for (node, table) in after.iter_mut().enumerate() {
            for (number, link) in net.links.iter().enumerate().filter(|(_, link)| link.a == node || link.b == node) {
                if fails(net, failure, node, number) {
                    let other = if link.a == node { link.b } else { link.a };
                    table.set_link(label(node, number), name(other), LinkState::Down);
                }
            }
        }
        assert_eq!(graph.len(), net.nodes);
        let dead = match failure {
            Failure::Node(dead) => Some(dead),
            Failure::Link(_) | Failure::End(..) => None,
        };
        Self { net: net.clone(), relays: [tables.to_vec(), after], dead }
    }

    /// The states that follow: the failure happens or heals, or the frame moves. None left: the frame has ended.
    fn next(&self, state: &State) -> Vec<State> {
        let mut next = Vec::new();
        if state.phase < HEALED {
            next.push(State { phase: state.phase + 1, ..state.clone() });
        }
        let decision = self.decision(state);
        let (out, labels, repaired) = match decision {
            Decision::Local | Decision::Drop(_) => return next,
            Decision::Forward { label } => (label, state.labels.clone(), state.repaired),
            Decision::Repair { label, ahead } => {
                assert!(!state.repaired, "repaired twice");
                let kept = &state.labels[..usize::from(state.pointer)];
                (label, [kept, ahead.as_slice()].concat(), true)
            }
        };
        assert!(labels.len() <= 8);
        let (node, link) = owner(out);
        assert_eq!(node, state.at);
        let at = self.net.other(node, link);
        next.push(State {
            at,
            from: node,
            labels,
            pointer: state.pointer + 1,
            ttl: state.ttl - 1,
            repaired,
            phase: state.phase,
        });
        next
    }

    fn decision(&self, state: &State) -> Decision {
        if state.phase == FAILED && self.dead == Some(state.at) {
            return Decision::Drop(x0_mesh::route::DropReason::NoSuchLink);
        }
        self.relays[usize::from(state.phase == FAILED)][state.at].decide(&RelayInput {
            from: name(state.from),
            labels: &state.labels,
            pointer: state.pointer,
            ttl: state.ttl,
            repaired: state.repaired,
        })
    }

    /// Visits all runs from `state`. `visits` are the nodes of the run so far.
    fn explore(&self, state: &State, visits: &mut Vec<usize>, seen: &mut Vec<State>, totals: &mut Totals) {
        totals.states += 1;
        assert!(!seen.contains(state), "a state comes back: {state:?}");
        seen.push(state.clone());
        let distinct: BTreeSet<_> = visits[1..].iter().filter(|node| **node != visits[0]).collect();
        let again = visits[1..].iter().filter(|node| **node == visits[0]).count();
        assert_eq!(distinct.len() + again, visits.len() - 1, "a relay is visited twice: {visits:?}");
        assert!(again <= usize::from(state.repaired), "the source is visited again without a repair: {visits:?}");
        let next = self.next(state);
        match self.decision(state) {
            Decision::Local => {
                totals.delivered += 1;
                totals.repaired += u64::from(state.repaired);
                assert_eq!(state.at, self.net.nodes - 1, "delivered elsewhere");
            }
            Decision::Drop(_) => {
                totals.dropped += 1;
                assert!(state.phase == FAILED, "dropped without a failure: {state:?}");
            }
            Decision::Forward { .. } | Decision::Repair { .. } => {}
        }
        for state in &next {
            let moved = state.pointer as usize + 1 >= visits.len();
            if moved {
                visits.push(state.at);
            }
            self.explore(state, visits, seen, totals);
            if moved {
                visits.pop();
            }
        }
        seen.pop();
    }
}

#[derive(Debug, Default)]
struct Totals {
    graphs: u64,
    runs: u64,
    states: u64,
    delivered: u64,
    repaired: u64,
    dropped: u64,
}

/// Every route between the ends that visits no node twice, as the graph's own search never offers more.
fn all_paths(net: &Net, graph: &Graph) -> Vec<Path> {
    let mut all = candidates(graph, &name(0), &name(net.nodes - 1));
    let mut stack = vec![(0usize, vec![0usize], Vec::new())];
    while let Some((at, seen, hops)) = stack.pop() {
        for edge in graph.leaving(at as u16).map(|number| graph.edges()[number]) {
            let to = usize::from(edge.to);
            if seen.contains(&to) {
                continue;
            }
            let mut hops: Vec<x0_mesh::route::Hop> = hops.clone();
            hops.push(x0_mesh::route::Hop {
                from: name(at),
                to: name(to),
                label: edge.label,
                underlay_from: edge.underlay_from,
                underlay_to: edge.underlay_to,
                cost_us: edge.cost_us,
            });
            if to == net.nodes - 1 {
                let path = Path::new(hops).unwrap();
                if !all.iter().any(|known| known.id() == path.id()) {
                    all.push(path);
                }
            } else {
                stack.push((to, [seen.clone(), vec![to]].concat(), hops));
            }
        }
    }
    all
}

#[test]
fn no_frame_loops_in_any_graph_of_five_nodes_with_a_failure_at_any_moment() {
    let mut totals = Totals::default();
    for nodes in 2usize..=5 {
        let pairs: Vec<(usize, usize)> = (0..nodes).flat_map(|a| (a + 1..nodes).map(move |b| (a, b))).collect();
        for chosen in 0u32..1 << pairs.len() {
            let links: Vec<Link> = pairs
                .iter()
                .enumerate()
                .filter(|(number, _)| chosen >> number & 1 == 1)
                .map(|(number, (a, b))| Link {
                    a: *a,
                    b: *b,
                    underlay_a: 0,
                    underlay_b: 0,
                    quality: 60_000 - number as u16,
                })
                .collect();
            let net = Net { nodes, links };
            let graph = Arc::new(net.graph());
            let paths = all_paths(&net, &graph);
            if paths.is_empty() {
                continue;
            }
            totals.graphs += 1;
            let tables: Vec<RelayTable> = (0..nodes)
                .map(|node| {
                    let mut table = RelayTable::new(name(node));
                    for claim in net.claims(node) {
                        table.set_link(claim.label, claim.neighbour, LinkState::Up);
                    }
                    table.set_bypasses(graph.clone(), bypasses(&graph, &name(node)));
                    table
                })
                .collect();
            let links = 0..net.links.len();
            let failures = links
                .clone()
                .map(Failure::Link)
                .chain(links.clone().map(|link| Failure::End(link, true)))
                .chain(links.map(|link| Failure::End(link, false)))
                .chain((0..nodes).map(Failure::Node));
            for failure in failures {
                let model = Model::new(&net, &graph, &tables, failure);
                for path in &paths {
                    totals.runs += 1;
                    let at = net.other(0, owner(path.first_label()).1);
                    let labels = path.labels().as_slice().to_vec();
                    let start = State { at, from: 0, labels, pointer: 0, ttl: 24, repaired: false, phase: 0 };
                    model.explore(&start, &mut vec![0, at], &mut Vec::new(), &mut totals);
                }
            }
        }
    }
    println!("{totals:?}");
    assert!(totals.graphs > 700 && totals.repaired > 6_000, "the model is smaller than it should be: {totals:?}");
}
