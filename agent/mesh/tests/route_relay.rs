//! Loop freedom as a property: whatever the network, the failures and the labels, a frame ends soon.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod route_common;

use proptest::prelude::*;
use route_common::{Link, Net, label, name, number, owner};
use std::{collections::BTreeSet, sync::Arc};
use x0_mesh::route::{Decision, DropReason, LinkState, RelayInput, RelayTable, bypasses, candidates};
use x0_mesh_wire::limits::LABELS_MAX;

/// Every node's relay, with the same graph and everything up.
fn relays(net: &Net) -> Vec<RelayTable> {
    let graph = Arc::new(net.graph());
    (0..net.nodes)
        .map(|node| {
            let mut table = RelayTable::new(name(node));
            for (number, link) in net.links.iter().enumerate().filter(|(_, link)| link.a == node || link.b == node) {
                let other = if link.a == node { link.b } else { link.a };
                table.set_link(label(node, number), name(other), LinkState::Up);
            }
            table.set_bypasses(graph.clone(), bypasses(&graph, &name(node)));
            table
        })
        .collect()
}

/// What became of a frame.
#[derive(Debug)]
struct Journey {
    /// Nodes in the order of visits, the source first.
    visits: Vec<usize>,
    repairs: Vec<usize>,
    end: Decision,
}

/// Sends a frame from `source` over its link `first` and follows it. `weather` changes links before each decision.
fn follow(
    net: &Net,
    relays: &mut [RelayTable],
    (source, first): (usize, usize),
    labels: &[u32],
    ttl: u8,
    mut weather: impl FnMut(usize, &mut [RelayTable]),
) -> Journey {
    let (mut labels, mut pointer, mut ttl, mut repaired) = (labels.to_vec(), 0u8, ttl, false);
    let (mut from, mut at) = (source, net.other(source, first));
    let mut journey = Journey { visits: vec![source, at], repairs: Vec::new(), end: Decision::Local };
    loop {
        assert!(journey.visits.len() < 1_000, "a frame that does not end");
        weather(journey.visits.len(), relays);
        let decision = relays[at].decide(&RelayInput { from: name(from), labels: &labels, pointer, ttl, repaired });
        let out = match decision {
            Decision::Local | Decision::Drop(_) => {
                journey.end = decision;
                return journey;
            }
            Decision::Forward { label } => label,
            Decision::Repair { label, ahead } => {
                journey.repairs.push(at);
                assert!(!repaired, "repaired twice");
                repaired = true;
                labels.truncate(usize::from(pointer));
                labels.extend_from_slice(ahead.as_slice());
                assert_eq!(labels.get(usize::from(pointer)), Some(&label), "the link is the first label ahead");
                label
            }
        };
        let (node, link) = owner(out);
        assert_eq!(node, at, "a relay sends over its own links");
        pointer += 1;
        ttl -= 1;
        (from, at) = (at, net.other(at, link));
        journey.visits.push(at);
    }
}

fn nets() -> impl Strategy<Value = Net> {
    let link = (0usize..9, 0usize..9, 0u32..3, 20_000u16..65_535);
    (3usize..=9, prop::collection::vec(link, 4..24)).prop_map(|(nodes, raw)| {
        let mut links: Vec<Link> = Vec::new();
        for (a, b, underlay, quality) in raw {
            let (a, b) = (a % nodes, b % nodes);
            let parallel = links.iter().filter(|l| (l.a, l.b) == (a, b) || (l.a, l.b) == (b, a)).count();
            if a != b && parallel < 2 {
                // Parallel links have an underlay each, so that both ends pair them alike.
                let underlay = underlay + 10 * parallel as u32;
                links.push(Link { a, b, underlay_a: underlay, underlay_b: underlay, quality });
            }
        }
        Net { nodes, links }
    })
}

/// A change of the weather: before which visit, whose link, and its state.
fn storms() -> impl Strategy<Value = Vec<(usize, usize, usize, u8)>> {
    prop::collection::vec((0usize..10, 0usize..9, 0usize..24, 0u8..4), 0..30)
}

fn weather(net: &Net, storms: &[(usize, usize, usize, u8)]) -> impl FnMut(usize, &mut [RelayTable]) {
    move |visit, relays| {
        for (when, node, link, state) in storms {
            let (node, link) = (node % net.nodes, link % net.links.len());
            let ends = [net.links[link].a, net.links[link].b];
            if *when == visit && ends.contains(&node) {
                let state =
                    [LinkState::Up, LinkState::Suspect, LinkState::Recovering, LinkState::Down][usize::from(*state)];
                relays[node].set_link(label(node, link), name(net.other(node, link)), state);
            }
        }
    }
}

/// Links that node `at` has.
fn links_of(net: &Net, at: usize) -> Vec<usize> {
    (0..net.links.len()).filter(|link| net.links[*link].a == at || net.links[*link].b == at).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, ..ProptestConfig::default() })]

    #[test]
    fn labels_of_an_adversary_end_after_nine_hops_and_one_repair(
        net in nets(),
        source in 0usize..9,
        raw in prop::collection::vec((0usize..9, 0usize..24, 0u8..8), 0..=8),
        storms in storms(),
        ttl in any::<u8>(),
    ) {
        prop_assume!(!net.links.is_empty());
        let source = source % net.nodes;
        let Some(first) = links_of(&net, source).first().copied() else { return Ok(()) };
        // Labels that lead somewhere as long as possible: the adversary wants the frame to travel.
        let mut at = net.other(source, first);
        let mut labels = Vec::new();
        for (node, link, honest) in raw {
            let own = links_of(&net, at);
            if honest > 1 && !own.is_empty() {
                let link = own[link % own.len()];
                labels.push(label(at, link));
                at = net.other(at, link);
            } else {
                labels.push(if honest == 0 { 77 } else { label(node % net.nodes, link % net.links.len()) });
            }
        }
        let mut relays = relays(&net);
        let journey = follow(&net, &mut relays, (source, first), &labels, ttl, weather(&net, &storms));
        prop_assert!(journey.visits.len() - 1 <= LABELS_MAX + 1, "{:?}", journey);
        prop_assert!(journey.visits.len() - 1 <= usize::from(ttl.max(1)), "{:?}", journey);
        prop_assert!(journey.repairs.len() <= 1);
    }

    #[test]
    fn frames_of_honest_sources_visit_no_relay_twice(net in nets(), pick in any::<u16>(), storms in storms()) {
        let to = net.nodes - 1;
        let paths = candidates(&net.graph(), &name(0), &name(to));
        prop_assume!(!paths.is_empty());
        let path = &paths[usize::from(pick) % paths.len()];
        let first = owner(path.first_label()).1;
        let mut relays = relays(&net);
        let journey =
            follow(&net, &mut relays, (0, first), path.labels().as_slice(), 24, weather(&net, &storms));
        let after_source = &journey.visits[1..];
        let distinct: BTreeSet<_> = after_source.iter().filter(|node| **node != 0).collect();
        let again = after_source.iter().filter(|node| **node == 0).count();
        // A relay beyond the first cannot know the source, so a bypass may pass it, once.
        prop_assert_eq!(distinct.len() + again, after_source.len(), "a relay was visited twice: {:?}", journey);
        prop_assert!(again <= usize::from(!journey.repairs.is_empty()), "{:?}", journey);
        if journey.end == Decision::Local {
            prop_assert_eq!(journey.visits.last().copied(), Some(to), "opened elsewhere: {:?}", journey);
        }
        let planned: Vec<usize> = path.hops().iter().map(|hop| number(&hop.to)).collect();
        if journey.repairs.is_empty() {
            prop_assert!(planned.starts_with(after_source), "off its route: {:?}", journey);
        }
    }

    #[test]
    fn a_dead_link_is_repaired_whenever_a_short_way_around_it_is_free(net in nets(), pick in any::<u16>(), which in any::<u16>()) {
        let to = net.nodes - 1;
        let paths = candidates(&net.graph(), &name(0), &name(to));
        let paths: Vec<_> = paths.iter().filter(|path| path.hops().len() > 1).collect();
        prop_assume!(!paths.is_empty());
        let path = paths[usize::from(pick) % paths.len()];
        let failed = &path.hops()[1..][usize::from(which) % (path.hops().len() - 1)];
        let mut relays = relays(&net);
        relays[number(&failed.from)].set_link(failed.label, failed.to, LinkState::Down);
        let first = owner(path.first_label()).1;
        let journey = follow(&net, &mut relays, (0, first), path.labels().as_slice(), 24, |_, _| {});
        // Oracle: the neighbour itself is one link away, or one relay away that is not on the route.
        let (from, over) = (number(&failed.from), number(&failed.to));
        let on_route: BTreeSet<usize> = path.hops().iter().flat_map(|hop| [number(&hop.from), number(&hop.to)]).collect();
        let joined = |a: usize, b: usize| {
            links_of(&net, a).into_iter().filter(|link| net.other(a, *link) == b).collect::<Vec<_>>()
        };
        let parallel = joined(from, over).into_iter().any(|link| label(from, link) != failed.label);
        if parallel {
            prop_assert_eq!(journey.end, Decision::Local, "{:?}", journey);
            prop_assert_eq!(journey.repairs, vec![from]);
        } else if let Decision::Drop(reason) = journey.end {
            // It may be dropped only when the table holds no bypass that is free, which it says.
            prop_assert!(
                matches!(reason, DropReason::NoBypass | DropReason::NotDisjoint | DropReason::TooLong),
                "{:?}", journey
            );
            let free = (0..net.nodes)
                .filter(|relay| !on_route.contains(relay))
                .filter(|relay| !joined(from, *relay).is_empty() && !joined(*relay, over).is_empty());
            // Two bypasses are kept for each link; when no more than those are conceivable, one was found.
            let others: BTreeSet<usize> = links_of(&net, from).iter().map(|link| net.other(from, *link)).filter(|node| *node != over).collect();
            prop_assert!(free.count() == 0 || others.len() > 1, "a free way was not taken: {:?}", journey);
        }
    }
}

/// 0-1-2-3 with 1-4-3 and 1-5-2 around.
fn ladder() -> Net {
    let link = |a, b| Link { a, b, underlay_a: 0, underlay_b: 0, quality: 60_000 };
    Net { nodes: 6, links: vec![link(0, 1), link(1, 2), link(2, 3), link(1, 4), link(4, 3), link(1, 5), link(5, 2)] }
}

fn decide(table: &RelayTable, from: usize, labels: &[u32], pointer: u8, repaired: bool) -> Decision {
    table.decide(&RelayInput { from: name(from), labels, pointer, ttl: 9, repaired })
}

#[test]
fn a_dead_neighbour_is_passed_by_a_way_to_the_node_after_it() {
    let net = ladder();
    let mut relays = relays(&net);
    let route = [label(1, 1), label(2, 2)];
    assert_eq!(decide(&relays[1], 0, &route, 0, false), Decision::Forward { label: label(1, 1) });
    relays[1].set_link(label(1, 1), name(2), LinkState::Down);
    let Decision::Repair { label: out, ahead } = decide(&relays[1], 0, &route, 0, false) else { panic!("no repair") };
    assert_eq!((out, ahead.as_slice()), (label(1, 3), &[label(1, 3), label(4, 4)][..]), "around node 2 over node 4");
    assert_eq!(decide(&relays[1], 0, &route, 0, true), Decision::Drop(DropReason::RepairedBefore));
    // Without node 4 the link alone is passed by, over node 5.
    relays[1].set_link(label(1, 3), name(4), LinkState::Down);
    let Decision::Repair { label: out, ahead } = decide(&relays[1], 0, &route, 0, false) else { panic!("no repair") };
    assert_eq!((out, ahead.as_slice()), (label(1, 5), &[label(1, 5), label(5, 6), label(2, 2)][..]));
    relays[1].set_link(label(1, 5), name(5), LinkState::Recovering);
    assert_eq!(decide(&relays[1], 0, &route, 0, false), Decision::Drop(DropReason::NoBypass));
}

#[test]
fn each_refusal_has_its_reason() {
    let net = ladder();
    let mut relays = relays(&net);
    let table = &mut relays[1];
    let route = [label(1, 1), label(2, 2)];
    assert_eq!(decide(table, 0, &route, 2, false), Decision::Local);
    assert_eq!(decide(table, 0, &route, 3, false), Decision::Drop(DropReason::Malformed));
    assert_eq!(decide(table, 0, &[1; 9], 0, false), Decision::Drop(DropReason::Malformed));
    assert_eq!(decide(table, 0, &[5], 0, false), Decision::Drop(DropReason::NoSuchLink));
    assert_eq!(decide(table, 2, &route, 0, false), Decision::Drop(DropReason::UTurn));
    let ttl = RelayInput { from: name(0), labels: &route, pointer: 0, ttl: 1, repaired: false };
    assert_eq!(table.decide(&ttl), Decision::Drop(DropReason::TtlExpired));
    table.set_link(label(1, 1), name(2), LinkState::Down);
    assert_eq!(decide(table, 0, &[label(1, 1), 99], 0, false), Decision::Drop(DropReason::Unresolved), "ahead");
    assert_eq!(decide(table, 0, &[98, label(1, 1)], 1, false), Decision::Drop(DropReason::Unresolved), "behind");
    let visited = [label(4, 4), label(5, 6), label(1, 1), label(2, 2)];
    assert_eq!(decide(table, 0, &visited, 2, false), Decision::Drop(DropReason::NotDisjoint), "over 4 and 5 it came");
    let long: Vec<u32> = [vec![label(0, 0); 6], vec![label(1, 1), label(2, 2)]].concat();
    assert!(matches!(decide(table, 0, &long, 6, false), Decision::Repair { .. }), "around the node, just as long");
    table.set_link(label(1, 3), name(4), LinkState::Down);
    assert_eq!(decide(table, 0, &long, 6, false), Decision::Drop(DropReason::TooLong), "around the link, one longer");
}

#[test]
fn two_nodes_with_the_same_label_both_count_as_visited() {
    // Node 4 claims a label that node 0 uses: whoever was meant, a bypass over node 4 is not taken.
    let net = ladder();
    let mut claims: Vec<_> = (0..net.nodes).map(|node| net.claims(node)).collect();
    let stolen = label(0, 0);
    claims[4].push(x0_mesh::route::Adjacency { neighbour: name(5), label: stolen, underlay: 0, quality: 1, up: false });
    let graph = Arc::new(x0_mesh::route::Graph::build(
        claims.iter().enumerate().map(|(node, all)| (name(node), all.as_slice())),
        &BTreeSet::new(),
    ));
    let table = &mut relays(&net)[1];
    table.set_bypasses(graph.clone(), bypasses(&graph, &name(1)));
    table.set_link(label(1, 1), name(2), LinkState::Down);
    let Decision::Repair { label: out, .. } = decide(table, 0, &[stolen, label(1, 1), label(2, 2)], 1, false) else {
        panic!("no repair")
    };
    assert_eq!(out, label(1, 5), "over node 5 instead");
}
