//! How long routing takes in meshes of up to 500 nodes. Prints; asserts nothing.
//!
//! `cargo run --release -p x0-mesh --example route_scale`
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a measuring tool")]

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeSet, hint::black_box, sync::Arc, time::Instant};
use x0_mesh::{
    NodeId, Time,
    route::{Adjacency, Class, Graph, LinkState, RelayInput, RelayTable, Scheduler, bypasses, candidates},
};

fn name(node: usize) -> NodeId {
    let mut name = [0; 32];
    name[..8].copy_from_slice(&(node as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    name[8..16].copy_from_slice(&(node as u64).to_be_bytes());
    NodeId(name)
}

/// A random mesh in which each node opens `degree / 2` links to others.
fn claims(nodes: usize, degree: usize, random: &mut ChaCha8Rng) -> Vec<Vec<Adjacency>> {
    let mut claims: Vec<Vec<Adjacency>> = vec![Vec::new(); nodes];
    for node in 0..nodes {
        let mut others = BTreeSet::from([(node + 1) % nodes]);
        while others.len() < degree / 2 {
            let other = random.random_range(0..nodes);
            if other != node {
                others.insert(other);
            }
        }
        for other in others {
            let (underlay, quality) = (random.random_range(0..3), random.random_range(20_000..65_535));
            for (a, b) in [(node, other), (other, node)] {
                if claims[a].len() < 32 {
                    let label = random.random_range(1..u32::MAX);
                    claims[a].push(Adjacency { neighbour: name(b), label, underlay, quality, up: true });
                }
            }
        }
    }
    claims
}

/// Runs `work` for `items` and prints median, 99th percentile and maximum.
fn measure<T>(what: &str, items: impl Iterator<Item = T>, mut work: impl FnMut(T)) {
    let mut times: Vec<u128> = items
        .map(|item| {
            let start = Instant::now();
            work(item);
            start.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100] as f64 / 1_000.0;
    println!("  {what:<44} p50 {:>9.2} us  p99 {:>9.2} us  max {:>9.2} us  n {}", at(50), at(99), at(100), times.len());
}

fn main() {
    for (nodes, degree) in [(50, 6), (200, 6), (500, 6), (500, 16)] {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let claims = claims(nodes, degree, &mut random);
        let build = || {
            Graph::build(claims.iter().enumerate().map(|(node, all)| (name(node), all.as_slice())), &BTreeSet::new())
        };
        let graph = Arc::new(build());
        println!("{nodes} nodes, {} links", graph.edges().len() / 2);
        measure("graph from records", 0..20, |_| drop(black_box(build())));
        let mut found = [0usize; 5];
        measure("candidates for one destination", 1..nodes, |to| {
            found[candidates(&graph, &name(0), &name(to)).len().min(4)] += 1;
        });
        println!("  destinations by number of candidates (0 to 4): {found:?}");
        measure("all bypasses of one relay", 0..nodes.min(50), |node| drop(black_box(bypasses(&graph, &name(node)))));
        relay(&claims, &graph);
        schedule(&graph, nodes);
    }
}

fn relay(claims: &[Vec<Adjacency>], graph: &Arc<Graph>) {
    let path = candidates(graph, &name(0), &name(claims.len() / 2)).pop().unwrap();
    let hop = path.hops()[1.min(path.hops().len() - 1)];
    let node = (0..claims.len()).find(|node| name(*node) == hop.from).unwrap();
    let mut table = RelayTable::new(hop.from);
    for claim in &claims[node] {
        table.set_link(claim.label, claim.neighbour, LinkState::Up);
    }
    table.set_bypasses(graph.clone(), bypasses(graph, &hop.from));
    let labels = path.labels();
    let input =
        RelayInput { from: path.hops()[0].from, labels: labels.as_slice(), pointer: 0, ttl: 20, repaired: false };
    measure("1,000 forward decisions", 0..200, |_| {
        (0..1_000).for_each(|_| {
            black_box(table.decide(black_box(&input)));
        })
    });
    table.set_link(hop.label, hop.to, LinkState::Down);
    println!("  with the link down: {:?}", table.decide(&input));
    measure("1,000 repair decisions", 0..200, |_| {
        (0..1_000).for_each(|_| {
            black_box(table.decide(black_box(&input)));
        })
    });
}

fn schedule(graph: &Graph, nodes: usize) {
    let destination = name(nodes / 2);
    let paths = candidates(graph, &name(0), &destination);
    let mut now = Time(1_000_000_000);
    let mut scheduler = Scheduler::new(destination, 1, now);
    for path in &paths {
        scheduler.link(now, path.first_label(), LinkState::Up);
    }
    scheduler.set_paths(now, &paths);
    measure("1,000 choices", 0..200, |_| {
        (0..1_000).for_each(|flow| {
            black_box(scheduler.choose(now, Class::Normal, flow));
        });
    });
    measure("tick of one session", 0..2_000, |_| {
        now = now.plus_ms(50);
        let tick = scheduler.tick(now);
        for id in tick.probes() {
            scheduler.probe_sent(now, id);
            scheduler.delivered(now.plus_ms(1), id, now);
        }
    });
}
