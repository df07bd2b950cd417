//! A frame with the labels of an adversary in a network of the input's making, whose records may lie and whose links
//! change before each decision. It ends after nine links at most, and is repaired once at most.
#![no_main]
#![allow(missing_docs, reason = "the macro makes an undocumented entry point")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use x0_mesh::{
    NodeId,
    route::{Adjacency, Decision, Graph, LinkState, RelayInput, RelayTable, bypasses},
};

const NODES: u8 = 7;

const fn name(node: u8) -> NodeId {
    NodeId([node; 32])
}

/// Reads the input byte by byte; zeros after its end.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }
}

const fn state(byte: u8) -> LinkState {
    match byte % 4 {
        0 => LinkState::Down,
        1 => LinkState::Recovering,
        2 => LinkState::Suspect,
        _ => LinkState::Up,
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    // Links with the labels of both ends; labels are small, so that nodes share some.
    let mut ends: BTreeMap<(u8, u32), u8> = BTreeMap::new();
    let mut claims: BTreeMap<u8, Vec<Adjacency>> = (0..NODES).map(|node| (node, Vec::new())).collect();
    for _ in 0..input.byte() % 24 {
        let (a, b) = (input.byte() % NODES, input.byte() % NODES);
        let (label_a, label_b) = (u32::from(input.byte() % 16) + 1, u32::from(input.byte() % 16) + 1);
        let quality = u16::from_be_bytes([input.byte(), 255]);
        if a == b || ends.contains_key(&(a, label_a)) || ends.contains_key(&(b, label_b)) {
            continue;
        }
        for (from, to, label) in [(a, b, label_a), (b, a, label_b)] {
            ends.insert((from, label), to);
            let claim = Adjacency { neighbour: name(to), label, underlay: 0, quality, up: true };
            claims.entry(from).or_default().push(claim);
        }
    }
    // Lies: claims without a link.
    for _ in 0..input.byte() % 8 {
        let (node, to, label) = (input.byte() % NODES, input.byte() % NODES, u32::from(input.byte() % 20) + 1);
        let lies = claims.entry(node).or_default();
        if node != to && !lies.iter().any(|claim| claim.label == label) {
            lies.push(Adjacency {
                neighbour: name(to),
                label,
                underlay: 1,
                quality: u16::MAX,
                up: input.byte() % 2 == 0,
            });
        }
    }
    let graph =
        Arc::new(Graph::build(claims.iter().map(|(node, claims)| (name(*node), claims.as_slice())), &BTreeSet::new()));
    let mut relays: Vec<RelayTable> = (0..NODES)
        .map(|node| {
            let mut table = RelayTable::new(name(node));
            table.set_bypasses(graph.clone(), bypasses(&graph, &name(node)));
            table
        })
        .collect();
    for ((node, label), to) in &ends {
        if let Some(table) = relays.get_mut(usize::from(*node)) {
            table.set_link(*label, name(*to), LinkState::Up);
        }
    }
    let mut labels: Vec<u32> = (0..input.byte() % 9).map(|_| u32::from(input.byte() % 17)).collect();
    let (mut from, mut at, mut pointer, mut ttl) = (input.byte() % NODES, input.byte() % NODES, 0u8, input.byte());
    let (mut repaired, mut hops) = (false, 1);
    loop {
        assert!(hops <= 9, "a frame passed {hops} links");
        for _ in 0..input.byte() % 4 {
            let pick = usize::from(input.byte()) % ends.len().max(1);
            let change = state(input.byte());
            if let Some(((node, label), to)) = ends.iter().nth(pick)
                && let Some(table) = relays.get_mut(usize::from(*node))
            {
                table.set_link(*label, name(*to), change);
            }
        }
        let Some(table) = relays.get(usize::from(at)) else { return };
        let out = match table.decide(&RelayInput { from: name(from), labels: &labels, pointer, ttl, repaired }) {
            Decision::Local | Decision::Drop(_) => return,
            Decision::Forward { label } => label,
            Decision::Repair { label, ahead } => {
                assert!(!repaired, "repaired twice");
                repaired = true;
                labels.truncate(usize::from(pointer));
                labels.extend_from_slice(ahead.as_slice());
                label
            }
        };
        assert!(labels.len() <= 8 && labels.get(usize::from(pointer)) == Some(&out), "the label is not the next one");
        let Some(to) = ends.get(&(at, out)) else { return };
        (from, at, pointer, ttl, hops) = (at, *to, pointer + 1, ttl.saturating_sub(1), hops + 1);
    }
});
