//! Disjoint routes against brute force, and the graph against liars.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod route_common;

use proptest::prelude::*;
use route_common::{Link, Net, label, name, number};
use std::collections::{BTreeMap, BTreeSet};
use x0_mesh::route::{Adjacency, Disjointness, Graph, Path, candidates, cost_us, disjoint_paths, shortest_path};

/// A route as the oracle sees it: links in order of travel.
type Route = Vec<usize>;

/// Every route without a repeated node and with at most eight relays.
fn all_routes(net: &Net, from: usize, to: usize) -> Vec<Route> {
    fn walk(net: &Net, at: usize, to: usize, seen: &mut Vec<usize>, route: &mut Route, all: &mut Vec<Route>) {
        if at == to {
            all.push(route.clone());
            return;
        }
        if route.len() >= 9 {
            return;
        }
        for (number, link) in net.links.iter().enumerate() {
            if (link.a == at || link.b == at) && !seen.contains(&net.other(at, number)) {
                let next = net.other(at, number);
                seen.push(next);
                route.push(number);
                walk(net, next, to, seen, route, all);
                seen.pop();
                route.pop();
            }
        }
    }
    let mut all = Vec::new();
    walk(net, from, to, &mut vec![from], &mut Vec::new(), &mut all);
    all
}

/// What a set of routes is worth: more routes, fewer shared relays, fewer shared underlays at the ends, less cost.
/// None when two of them share a link.
fn worth(net: &Net, from: usize, set: &[&Route]) -> Option<(usize, u64, u64, u64)> {
    let mut used = BTreeSet::new();
    let (mut relays, mut leaves, mut arrives) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut cost = 0;
    for route in set {
        let mut at = from;
        for (place, number) in route.iter().enumerate() {
            if !used.insert(*number) {
                return None;
            }
            let link = &net.links[*number];
            let (here, there) =
                if link.a == at { (link.underlay_a, link.underlay_b) } else { (link.underlay_b, link.underlay_a) };
            if place == 0 {
                *leaves.entry(here).or_insert(0u64) += 1;
            }
            at = net.other(at, *number);
            if place + 1 == route.len() {
                *arrives.entry(there).or_insert(0u64) += 1;
            } else {
                *relays.entry(at).or_insert(0u64) += 1;
            }
            let quality = u64::from(link.quality.max(64));
            cost += 200 + 5_000 * (65_536 - quality) / quality;
        }
    }
    let extra = |uses: &BTreeMap<u32, u64>| uses.values().map(|uses| uses - 1).sum::<u64>();
    let shared_relays = relays.values().map(|uses| uses - 1).sum::<u64>();
    Some((3 - set.len(), shared_relays, extra(&leaves) + extra(&arrives), cost))
}

fn best(net: &Net, from: usize, to: usize) -> Option<(usize, u64, u64, u64)> {
    let all = all_routes(net, from, to);
    let mut best = None;
    let mut consider = |set: &[&Route]| {
        if let Some(worth) = worth(net, from, set) {
            best = Some(best.map_or(worth, |other: (usize, u64, u64, u64)| other.min(worth)));
        }
    };
    for (i, a) in all.iter().enumerate() {
        consider(&[a]);
        for (j, b) in all.iter().enumerate().skip(i + 1) {
            consider(&[a, b]);
            for c in all.iter().skip(j + 1) {
                consider(&[a, b, c]);
            }
        }
    }
    best
}

/// The links of a found route, as the oracle numbers them.
fn route_of(path: &Path) -> Route {
    path.hops().iter().map(|hop| (hop.label % 1_000) as usize).collect()
}

/// Networks of up to six nodes and fourteen links, with parallel links over distinct underlays.
fn nets() -> impl Strategy<Value = Net> {
    let link = (0usize..6, 0usize..6, 0u32..3, 0u32..3, prop_oneof![Just(65_535u16), 1u16..65_535, Just(0u16)]);
    (2usize..=6, prop::collection::vec(link, 1..=14)).prop_map(|(nodes, raw)| {
        let mut links: Vec<Link> = Vec::new();
        for (a, b, underlay_a, underlay_b, quality) in raw {
            let (a, b) = (a % nodes, b % nodes);
            let between = |link: &Link| (link.a, link.b) == (a, b) || (link.a, link.b) == (b, a);
            let parallel = links.iter().filter(|link| between(link)).count();
            if a == b || parallel >= 3 {
                continue;
            }
            // Links between the same nodes get underlay numbers of their own, equal at both ends, so that it is clear
            // which claim belongs to which.
            links.push(Link { a, b, underlay_a, underlay_b, quality });
            for (rank, link) in links.iter_mut().filter(|link| between(link)).enumerate() {
                if parallel > 0 {
                    (link.underlay_a, link.underlay_b) = (rank as u32, rank as u32);
                }
            }
        }
        Net { nodes, links }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn the_set_of_routes_is_the_best_by_brute_force(net in nets()) {
        let graph = net.graph();
        let (from, to) = (0, net.nodes - 1);
        let found = disjoint_paths(&graph, &name(from), &name(to));
        let routes: Vec<Route> = found.iter().map(route_of).collect();
        let known = all_routes(&net, from, to);
        for route in &routes {
            prop_assert!(known.contains(route), "{route:?} is no route");
        }
        let worth = worth(&net, from, &routes.iter().collect::<Vec<_>>()).expect("routes share a link");
        prop_assert_eq!(Some(worth).filter(|worth| worth.0 < 3), best(&net, from, to));
    }

    #[test]
    fn the_cheapest_route_is_the_cheapest_by_brute_force(net in nets()) {
        let graph = net.graph();
        let to = net.nodes - 1;
        let cost = |route: &Route| worth(&net, 0, &[route]).unwrap().3;
        let expected = all_routes(&net, 0, to).iter().map(cost).min();
        prop_assert_eq!(shortest_path(&graph, &name(0), &name(to)).map(|path| path.cost_us()), expected);
        let all = candidates(&graph, &name(0), &name(to));
        prop_assert_eq!(all.iter().map(Path::cost_us).min(), expected, "a candidate is the cheapest route");
        let names: BTreeSet<_> = all.iter().map(Path::id).collect();
        prop_assert_eq!(names.len(), all.len(), "no candidate twice");
    }

    #[test]
    fn the_order_of_records_does_not_matter(net in nets(), turn in 0usize..6) {
        let mut claims: Vec<_> = (0..net.nodes).map(|node| (name(node), net.claims(node))).collect();
        claims.rotate_left(turn % net.nodes);
        for (_, all) in &mut claims {
            all.reverse();
        }
        let turned = Graph::build(claims.iter().map(|(node, all)| (*node, all.as_slice())), &BTreeSet::new());
        prop_assert_eq!(&turned, &net.graph());
        let to = name(net.nodes - 1);
        prop_assert_eq!(disjoint_paths(&turned, &name(0), &to), disjoint_paths(&net.graph(), &name(0), &to));
    }

    #[test]
    fn a_liar_neither_invents_nor_praises_links_of_honest_nodes(
        net in nets(),
        lies in prop::collection::vec((0usize..6, 1u32..9_000, 0u32..3, any::<u16>()), 0..8),
    ) {
        let liar = 1;
        let honest = net.graph();
        let mut claims: Vec<_> = (0..net.nodes).map(|node| net.claims(node)).collect();
        for claim in &mut claims[liar] {
            claim.quality = u16::MAX;
        }
        for (neighbour, label, underlay, quality) in lies {
            let neighbour = neighbour % net.nodes;
            if neighbour != liar && !claims[liar].iter().any(|claim| claim.label == label) {
                claims[liar].push(Adjacency { neighbour: name(neighbour), label, underlay, quality, up: true });
            }
        }
        let lied =
            Graph::build(claims.iter().enumerate().map(|(n, all)| (name(n), all.as_slice())), &BTreeSet::new());
        let between = |graph: &Graph| -> BTreeMap<(usize, usize), Vec<u32>> {
            let mut all: BTreeMap<_, Vec<u32>> = BTreeMap::new();
            for edge in graph.edges() {
                let ends = (number(&graph.node(edge.from).unwrap()), number(&graph.node(edge.to).unwrap()));
                all.entry(ends).or_default().push(edge.cost_us);
            }
            all
        };
        let (before, after) = (between(&honest), between(&lied));
        for (ends, costs) in after {
            let known = before.get(&ends).cloned().unwrap_or_default();
            prop_assert_eq!(costs.len(), known.len(), "as many links between {:?} as the honest end claims", ends);
            let (cheapest, honest_cheapest) = (costs.iter().min(), known.iter().min());
            prop_assert!(cheapest >= honest_cheapest, "no link is cheaper than the honest end says");
        }
    }

    #[test]
    fn better_quality_never_costs_more(a in any::<u16>(), b in any::<u16>()) {
        let (worse, better) = (a.min(b), a.max(b));
        prop_assert!(cost_us(better) <= cost_us(worse));
        prop_assert!(cost_us(better) > 0);
    }
}

fn link(a: usize, b: usize, underlay: u32, quality: u16) -> Link {
    Link { a, b, underlay_a: underlay, underlay_b: underlay, quality }
}

#[test]
fn direct_links_over_distinct_underlays_are_disjoint_routes() {
    let links = vec![link(0, 1, 1, 60_000), link(0, 1, 2, 50_000), link(0, 1, 3, 40_000), link(0, 1, 4, 65_535)];
    let net = Net { nodes: 2, links };
    let paths = disjoint_paths(&net.graph(), &name(0), &name(1));
    let routes: Vec<_> = paths.iter().map(route_of).collect();
    assert_eq!(routes, [vec![3], vec![0], vec![1]], "the three best of four, the cheapest first");
    assert_eq!(paths[0].disjointness(&paths[1]), Disjointness::Full);
    assert!(paths.iter().all(|path| path.labels().is_empty()));
}

#[test]
fn another_underlay_is_worth_any_delay() {
    // Three cheap relays over one cable, one bad relay over another: the bad one must be among the routes.
    let mut links = Vec::new();
    for relay in 1..=4 {
        let (underlay, quality) = if relay == 4 { (2, 300) } else { (1, 65_535) };
        links.push(link(0, relay, underlay, quality));
        links.push(link(relay, 5, underlay, quality));
    }
    let paths = disjoint_paths(&Net { nodes: 6, links }.graph(), &name(0), &name(5));
    assert_eq!(paths.len(), 3);
    assert!(paths.iter().any(|path| path.relays().any(|relay| relay == name(4))));
}

#[test]
fn the_trap_in_which_the_shortest_route_blocks_two_disjoint_ones() {
    // 0-1-2-5 is the cheapest; the disjoint pair is 0-1-4-5 and 0-3-2-5 (Suurballe 1974, figure 1, in spirit).
    let (good, bad) = (65_535, 30_000);
    let links = vec![
        link(0, 1, 0, good),
        link(1, 2, 0, good),
        link(2, 5, 1, good),
        link(0, 3, 1, bad),
        link(3, 2, 0, bad),
        link(1, 4, 0, bad),
        link(4, 5, 0, bad),
    ];
    let net = Net { nodes: 6, links };
    let paths = disjoint_paths(&net.graph(), &name(0), &name(5));
    let routes: BTreeSet<_> = paths.iter().map(route_of).collect();
    assert_eq!(routes, BTreeSet::from([vec![0, 5, 6], vec![3, 4, 2]]));
    let all = candidates(&net.graph(), &name(0), &name(5));
    assert_eq!(all.len(), 3, "the cheapest route is a candidate besides");
    assert_eq!(route_of(&all[2]), [0, 1, 2]);
}

#[test]
fn routes_have_at_most_eight_relays() {
    for relays in [8, 9] {
        let links = (0..=relays).map(|at| link(at, at + 1, 0, 65_535)).collect();
        let net = Net { nodes: relays + 2, links };
        let paths = disjoint_paths(&net.graph(), &name(0), &name(relays + 1));
        assert_eq!(paths.len(), usize::from(relays == 8), "{relays} relays");
    }
}

#[test]
fn a_long_cheap_route_does_not_hide_a_short_dear_one() {
    // Ten cheap links in a row, and one dear link between the ends of the row's first part.
    let mut links: Vec<_> = (0..11).map(|at| link(at, at + 1, 0, 65_535)).collect();
    links.push(link(0, 8, 1, 100));
    let net = Net { nodes: 12, links };
    let paths = disjoint_paths(&net.graph(), &name(0), &name(11));
    assert_eq!(paths.len(), 1);
    assert_eq!(route_of(&paths[0]), [11, 8, 9, 10]);
}

#[test]
fn a_claim_counts_only_when_both_ends_make_it_and_call_it_up() {
    let net = Net { nodes: 2, links: vec![link(0, 1, 0, 65_535)] };
    assert_eq!(net.graph().edges().len(), 2);
    let (ours, mut theirs) = (net.claims(0), net.claims(1));
    theirs[0].up = false;
    let build = |theirs: &[Adjacency], excluded: &BTreeSet<_>| {
        Graph::build([(name(0), ours.as_slice()), (name(1), theirs)].into_iter(), excluded)
    };
    assert!(build(&theirs, &BTreeSet::new()).edges().is_empty(), "down at one end");
    assert!(build(&[], &BTreeSet::new()).edges().is_empty(), "claimed by one end");
    theirs[0].up = true;
    assert!(build(&theirs, &BTreeSet::from([name(1)])).edges().is_empty(), "an excluded node has no links");
    assert_eq!(build(&theirs, &BTreeSet::new()).resolve(0, label(0, 0)), Some(1));
}
