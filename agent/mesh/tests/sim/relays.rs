//! Routes over relays: relays that die, freeze and lie, and many nodes at once.

use super::{
    faults::report,
    random::Random,
    wires::Wire,
    world::{Life, Stream, World},
};

/// Two ends, 0 and 1, and so many relays between them; no wire joins the ends.
fn relayed(seed: u64, relays: usize) -> World {
    let mut world = World::new(seed, 2 + relays, 2);
    let wire = Wire { delay_us: 400, ..Wire::default() };
    for relay in 2..2 + relays {
        let underlay = u16::try_from(relay % 2).unwrap();
        world.wires.join((0, underlay), (relay, 0), &wire);
        world.wires.join((1, underlay), (relay, 1), &wire);
    }
    world.introduce_all();
    world
}

/// The relay that forwarded most of the last 40 ms.
fn busiest_relay(world: &mut World) -> usize {
    let before: Vec<u64> = (0..world.nodes.len()).map(|n| relayed_by(world, n)).collect();
    world.run_us(40_000);
    (0..world.nodes.len()).max_by_key(|n| relayed_by(world, *n) - before[*n]).unwrap()
}

fn relayed_by(world: &World, n: usize) -> u64 {
    world.nodes[n].mesh.counters().relayed
}

/// What happens to the relay in use.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Killed,
    Frozen,
    /// Heartbeats pass, data does not.
    Lies,
}

fn relay_fault(seed: u64, relays: usize, fault: Fault) -> (Vec<u64>, u64) {
    let mut world = relayed(seed, relays);
    world.connect(0, 1, 10_000_000);
    world.run_us(1_000_000);
    let start_us = world.now_us;
    let until_us = start_us + 1_000_000;
    world.stream(Stream { from: 0, to: 1, every_us: 1_000, bytes: 200, until_us });
    let phase_us = world.random.below(50_000);
    world.run_us(200_000 + phase_us);
    let relay = busiest_relay(&mut world);
    match fault {
        Fault::Killed => world.set_life(relay, Life::Dead),
        Fault::Frozen => world.set_life(relay, Life::Frozen),
        Fault::Lies => world.wires.change_from(relay, |wire| wire.drops_data = true),
    }
    world.run_us(until_us - world.now_us + 500_000);
    if std::env::var_os("X0_SIM_STATE").is_some() {
        println!("{}", world.state());
    }
    (world.oracle.lost(0, 1, start_us, until_us), world.oracle.gap_us(0, 1, start_us, until_us))
}

fn relay_faults(relays: usize, fault: Fault, seeds: u64) {
    let mut gaps = Vec::new();
    for seed in 0..seeds {
        let (lost, gap_us) = relay_fault(seed, relays, fault);
        assert_eq!(lost, Vec::<u64>::new(), "seed {seed}, {relays} relays, {fault:?}");
        gaps.push(gap_us);
    }
    report(&format!("{relays} relays, one {fault:?}: gap"), gaps);
}

#[test]
fn a_killed_relay_loses_nothing() {
    relay_faults(2, Fault::Killed, 30);
}

#[test]
fn a_frozen_relay_loses_nothing() {
    relay_faults(2, Fault::Frozen, 30);
}

/// It takes every frame, says so in its heartbeats, and passes no data on: nobody but the probes of the ends can see it.
#[test]
fn a_relay_that_passes_heartbeats_and_drops_data_is_left() {
    let (mut gaps, mut losses) = (Vec::new(), Vec::new());
    for seed in 0..20 {
        let (lost, gap_us) = relay_fault(seed, 2, Fault::Lies);
        // What was sent before the second probe stayed away and is older than the tail is gone.
        assert!(lost.len() < 150, "seed {seed}: {} lost", lost.len());
        assert!(gap_us < 150_000, "seed {seed}: a gap of {gap_us} us");
        gaps.push(gap_us);
        losses.push(lost.len() as u64);
    }
    report("lying relay: gap", gaps);
    losses.sort_unstable();
    println!("lying relay: of 1,000 packets a second lost, in order: {losses:?}");
}

/// The wire behind the relay in use goes dark: the relay says so, and goes around where it can.
fn dark_behind_relay(seed: u64, bypass: bool) -> (Vec<u64>, u64, u64) {
    let mut world = relayed(seed, 2);
    if bypass {
        world.wires.join((2, 0), (3, 1), &Wire { delay_us: 400, ..Wire::default() });
        world.introduce_all();
    }
    world.connect(0, 1, 10_000_000);
    world.run_us(3_000_000);
    let start_us = world.now_us;
    let until_us = start_us + 800_000;
    world.stream(Stream { from: 0, to: 1, every_us: 1_000, bytes: 200, until_us });
    let phase_us = world.random.below(50_000);
    world.run_us(200_000 + phase_us);
    let relay = busiest_relay(&mut world);
    let underlay = u16::try_from(relay % 2).unwrap();
    world.wires.change_both((1, underlay), (relay, 1), |wire| wire.black_hole = true);
    world.run_us(until_us - world.now_us + 500_000);
    let repaired = world.nodes[relay].mesh.counters().repaired;
    (world.oracle.lost(0, 1, start_us, until_us), world.oracle.gap_us(0, 1, start_us, until_us), repaired)
}

#[test]
fn a_dark_wire_behind_a_relay_loses_nothing() {
    for bypass in [false, true] {
        let (mut gaps, mut repairs) = (Vec::new(), 0);
        for seed in 0..20 {
            let (lost, gap_us, repaired) = dark_behind_relay(seed, bypass);
            assert_eq!(lost, Vec::<u64>::new(), "seed {seed}, bypass {bypass}");
            gaps.push(gap_us);
            repairs += repaired;
        }
        report(&format!("dark behind a relay, bypass {bypass}: gap"), gaps);
        assert_eq!(repairs > 0, bypass, "{repairs} frames went around");
    }
}

/// The deal with a relay ends while it carries the stream.
#[test]
fn a_relay_that_is_expelled_while_it_carries_loses_nothing() {
    for seed in 0..10 {
        let mut world = relayed(seed, 2);
        world.connect(0, 1, 10_000_000);
        world.run_us(1_000_000);
        let start_us = world.now_us;
        let until_us = start_us + 800_000;
        world.stream(Stream { from: 0, to: 1, every_us: 1_000, bytes: 200, until_us });
        world.run_us(200_000);
        let relay = busiest_relay(&mut world);
        world.expel(0, relay);
        world.expel(1, relay);
        let before = relayed_by(&world, relay);
        world.run_us(until_us - world.now_us + 500_000);
        assert_eq!(world.oracle.lost(0, 1, start_us, until_us), Vec::<u64>::new(), "seed {seed}");
        // What was on the wires at that moment: packets, acknowledgements, probes and their answers.
        assert!(relayed_by(&world, relay) <= before + 8, "the relay went on");
    }
}

/// Of two equal relays the trusted one carries; a rule moves the stream as well.
#[test]
fn trust_and_rules_choose_the_relay() {
    let mut world = relayed(3, 2);
    for n in [0, 1] {
        let mut peers = world.nodes[n].view.peers.clone();
        let doubted = world.nodes[2].id;
        peers.iter_mut().filter(|peer| peer.id == doubted).for_each(|peer| peer.trust_q16 = 8_192);
        world.set_view(n, peers);
    }
    world.connect(0, 1, 10_000_000);
    world.stream(Stream { from: 0, to: 1, every_us: 2_000, bytes: 200, until_us: 60_000_000 });
    world.run_us(5_000_000);
    assert_eq!(busiest_relay(&mut world), 3, "{}", world.state());
    let peer = world.nodes[3].id;
    world
        .call(0, |mesh, now, sink| mesh.set_rules(now, &[x0_mesh::node::Rule::Prefer { peer, weight: 0 }], sink))
        .unwrap();
    world.run_us(5_000_000);
    assert_eq!(busiest_relay(&mut world), 2, "{}", world.state());
}

#[test]
fn three_routes_survive_two_relays() {
    for seed in 0..10 {
        let mut world = relayed(seed, 3);
        world.connect(0, 1, 10_000_000);
        world.run_us(1_000_000);
        let start_us = world.now_us;
        let until_us = start_us + 2_000_000;
        world.stream(Stream { from: 0, to: 1, every_us: 1_000, bytes: 200, until_us });
        for life in [Life::Dead, Life::Frozen] {
            world.run_us(400_000);
            let relay = busiest_relay(&mut world);
            world.set_life(relay, life);
        }
        world.run_us(until_us - world.now_us + 500_000);
        assert_eq!(world.oracle.lost(0, 1, start_us, until_us), Vec::<u64>::new(), "seed {seed}");
    }
}

/// The longest route that labels can name: eight relays in a row, the largest packets.
#[test]
fn packets_cross_eight_relays() {
    let mut world = World::new(9, 10, 1);
    // Without jitter the wires keep the order of a burst, so that the nodes have to.
    let wire = Wire { jitter_us: 0, ..Wire::default() };
    for n in 0..9 {
        world.wires.join((n, 0), (n + 1, 0), &wire);
    }
    world.introduce_all();
    let took_us = world.connect(0, 9, 30_000_000);
    let start_us = world.now_us;
    world.stream(Stream { from: 0, to: 9, every_us: 2_000, bytes: 1_400, until_us: start_us + 1_000_000 });
    world.stream(Stream { from: 9, to: 0, every_us: 2_000, bytes: 1_400, until_us: start_us + 1_000_000 });
    world.run_us(1_500_000);
    println!("eight relays: connected after {took_us} us");
    assert_eq!(world.oracle.lost(0, 9, start_us, u64::MAX), Vec::<u64>::new());
    assert_eq!(world.oracle.lost(9, 0, start_us, u64::MAX), Vec::<u64>::new());
    assert_eq!(world.oracle.overtaken(0, 9), [], "one route keeps the order");
}

/// A random graph that is connected: a ring and chords.
fn random_graph(seed: u64, nodes: usize, chords: usize) -> World {
    let mut world = World::new(seed, nodes, 1);
    let mut random = Random(seed);
    let mut edges: Vec<(usize, usize)> = (0..nodes).map(|n| (n, (n + 1) % nodes)).collect();
    while edges.len() < nodes + chords {
        let a = usize::try_from(random.below(nodes as u64)).unwrap();
        let b = usize::try_from(random.below(nodes as u64)).unwrap();
        if a != b && !edges.contains(&(a, b)) && !edges.contains(&(b, a)) {
            edges.push((a, b));
        }
    }
    for (a, b) in edges {
        let wire = Wire { delay_us: 200 + random.below(800), ..Wire::default() };
        world.wires.join((a, 0), (b, 0), &wire);
    }
    world.introduce_all();
    world
}

#[test]
fn twenty_nodes_find_each_other_and_every_pair_delivers() {
    let mut world = random_graph(11, 20, 20);
    world.run_us(10_000_000);
    for from in 0..20 {
        for to in (0..20).filter(|to| *to != from) {
            world.send(from, to, 200);
            world.run_us(500);
        }
    }
    world.run_us(3_000_000);
    let mut missing = Vec::new();
    for from in 0..20 {
        for to in (0..20).filter(|to| *to != from) {
            if !world.oracle.lost(from, to, 0, u64::MAX).is_empty() {
                missing.push((from, to));
            }
        }
    }
    assert_eq!(missing, [], "pairs whose packet did not arrive");
    println!("20 nodes, 40 wires: {} packets delivered", world.oracle.delivered());
}
