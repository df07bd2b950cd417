//! What two nodes that want each other get.

use crate::world::{World, match_up};
use x0_mesh::handshake::{ALGORITHMS, ConnectError, Failure, Purpose, Role, Via};

/// Kind of each datagram and its bytes, in order.
fn flights(world: &World) -> Vec<(u8, usize)> {
    let kind = |bytes: &[u8], via: &Via| if matches!(via, Via::Socket { .. }) { bytes[0] & 0x0F } else { bytes[4] };
    world.log.iter().map(|packet| (kind(&packet.bytes, &packet.via), packet.bytes.len())).collect()
}

#[test]
fn two_neighbours_agree_in_four_flights_that_fit_the_smallest_underlay() {
    let mut world = World::new(2, 1);
    let way = world.link(1);
    let id = world.connect(0, 1, &[way]).unwrap();
    let start = world.now;
    world.run_ms(1_000);
    let [ours] = &world.nodes[0].established[..] else { panic!("one session") };
    let [theirs] = &world.nodes[1].established[..] else { panic!("one session") };
    assert!(match_up(ours, theirs));
    assert_eq!((ours.peer, theirs.peer), (world.id(1), world.id(0)));
    assert_eq!(ours.peer_key, *world.nodes[1].key.public());
    assert_eq!((ours.role, theirs.role), (Role::Initiator, Role::Responder));
    assert_eq!((ours.purpose, ours.local_id, ours.algorithms), (Purpose::Link, id, ALGORITHMS));
    let flights = flights(&world);
    assert_eq!(flights[..2], [(1, 1228), (2, 1148)]);
    // Three fragments and their parity each way: no key travels between nodes that know each other.
    assert_eq!(flights[2..].len(), 8, "{flights:?}");
    assert!(flights[2..].iter().all(|(kind, bytes)| *kind == 3 && *bytes <= 1232), "{flights:?}");
    // Four flights of 5 ms and five jobs of 0.3 ms.
    assert_eq!(ours.took_ns, 4 * 5_000_000 + 5 * 300_000);
    assert!(world.nodes[0].handshakes.counters().retransmitted == 0 && start < world.now);
}

#[test]
fn the_ends_of_a_session_agree_over_several_routes_at_once() {
    let mut world = World::new(2, 2);
    let ways = [world.route(1, 10), world.route(1, 20), world.route(1, 30)];
    let id = world.connect(0, 1, &ways).unwrap();
    assert_eq!(world.connect(0, 1, &ways[..1]), Err(ConnectError::Running { id }));
    world.run_ms(1_000);
    let (ours, theirs) = (&world.nodes[0].established, &world.nodes[1].established);
    assert_eq!((ours.len(), theirs.len()), (1, 1));
    assert!(match_up(&ours[0], &theirs[0]));
    assert_eq!(ours[0].purpose, Purpose::EndToEnd);
    // The responder answers along the labels that lead back.
    let answers: Vec<&Via> = world.log.iter().filter(|packet| packet.from == 1).map(|packet| &packet.via).collect();
    assert!(answers.iter().all(|via| matches!(via, Via::Route { link: 0, labels, back }
        if back.is_empty() && [[11, 10], [21, 20], [31, 30]].iter().any(|back| labels.as_slice() == back))));
    // Everything fits the smallest underlay with its frame and two labels; the hello in two halves.
    assert!(world.log.iter().all(|packet| packet.bytes.len() + 20 + 8 <= 1232));
    assert_eq!(world.log.iter().filter(|packet| packet.bytes[4] & 0x80 != 0).count(), 6);
}

#[test]
fn halves_of_a_hello_fit_together_whatever_way_they_came() {
    let mut world = World::new(2, 37);
    // Of the first route the first half arrives, of the second the last.
    world.lose = Box::new(|number, _| number == 1 || number == 2);
    let ways = [world.route(1, 10), world.route(1, 20)];
    world.connect(0, 1, &ways).unwrap();
    world.run_ms(50);
    assert!(match_up(&world.nodes[0].established[0], &world.nodes[1].established[0]));
    assert_eq!(world.nodes[0].handshakes.counters().retransmitted, 0);
}

#[test]
fn any_single_fragment_of_a_proof_may_be_lost() {
    for lost in 2..10 {
        let mut world = World::new(2, 3);
        world.lose = Box::new(move |number, _| number == lost);
        let way = world.link(1);
        world.connect(0, 1, &[way]).unwrap();
        world.run_ms(55);
        assert!(match_up(&world.nodes[0].established[0], &world.nodes[1].established[0]), "fragment {lost}");
        let used: u64 = world.nodes.iter().map(|node| node.handshakes.counters().parity_used).sum();
        let again: u64 = world.nodes.iter().map(|node| node.handshakes.counters().retransmitted).sum();
        // Without losses the parity comes last and is not needed.
        let is_parity = lost == 5 || lost == 9;
        assert_eq!((used, again), (u64::from(!is_parity), 0), "fragment {lost}");
    }
}

#[test]
fn what_is_lost_is_sent_again_and_only_that() {
    let mut world = World::new(2, 4);
    // Of the responder's proof two fragments are lost: one more than the parity replaces.
    world.lose = Box::new(|number, _| number == 6 || number == 7);
    let way = world.link(1);
    world.connect(0, 1, &[way]).unwrap();
    world.run_ms(80);
    assert!(match_up(&world.nodes[0].established[0], &world.nodes[1].established[0]));
    let counters = world.nodes[1].handshakes.counters();
    assert_eq!(counters.retransmitted, 2, "two of four fragments, of which one would do");
}

#[test]
fn both_at_once_end_with_one_session_that_the_lower_name_began() {
    for (purpose, delay_us, lag_us) in [
        (Purpose::Link, 1, 0),
        (Purpose::Link, 5_000, 0),
        (Purpose::Link, 5_000, 5_500),
        (Purpose::EndToEnd, 9_000, 8_000),
        (Purpose::EndToEnd, 5_000, 15_000),
    ] {
        for first in [0, 1] {
            let mut world = World::new(2, 5);
            world.weather.delay_us = delay_us;
            let way = |world: &World, to| if purpose == Purpose::Link { world.link(to) } else { world.route(to, 5) };
            let there = way(&world, 1 - first);
            world.connect(first, 1 - first, &[there]).unwrap();
            let until = world.now.plus_us(lag_us);
            while world.step(until) {}
            world.now = until;
            let back = way(&world, first);
            let second = world.connect(1 - first, first, &[back]);
            world.run_ms(10_000);
            let (a, b) = (&world.nodes[0].established, &world.nodes[1].established);
            assert_eq!((a.len(), b.len()), (1, 1), "{purpose:?} {delay_us} {lag_us} {first}");
            assert!(match_up(&a[0], &b[0]));
            if lag_us == 0 && second.is_ok() {
                let lower = usize::from(world.id(1) < world.id(0));
                assert_eq!(world.nodes[lower].established[0].role, Role::Initiator);
                assert_eq!(world.nodes[1 - lower].failed[0].2, Failure::Superseded);
            }
        }
    }
}

#[test]
fn a_higher_name_behind_a_wall_may_begin() {
    let mut world = World::new(2, 6);
    let lower = usize::from(world.id(1) < world.id(0));
    // What the lower one begins never arrives.
    world.lose = Box::new(move |_, packet| packet.from == lower && packet.bytes[0] & 0x0F == 1);
    for (from, to) in [(lower, 1 - lower), (1 - lower, lower)] {
        let way = world.link(to);
        world.connect(from, to, &[way]).unwrap();
    }
    world.run_ms(500);
    assert!(match_up(&world.nodes[0].established[0], &world.nodes[1].established[0]));
    assert_eq!(world.nodes[1 - lower].established[0].role, Role::Initiator);
    assert_eq!(world.nodes[lower].failed[0].2, Failure::Superseded);
}

#[test]
fn a_node_whose_key_the_peer_does_not_know_sends_it_with_the_second_try() {
    let mut world = World::new(2, 7);
    let (a, b) = (world.id(0), world.id(1));
    // Both authorise the other by name only.
    world.nodes[0].members.keys.insert(b, None);
    world.nodes[1].members.keys.insert(a, None);
    let way = world.link(1);
    world.connect(0, 1, &[way]).unwrap();
    world.run_ms(9_000);
    assert_eq!(world.nodes[0].failed[0].2, Failure::NoProof);
    assert!(world.nodes[1].handshakes.counters().refused_key_unknown >= 1);
    world.connect(0, 1, &[way]).unwrap();
    world.run_ms(1_000);
    assert!(match_up(&world.nodes[0].established[0], &world.nodes[1].established[0]));
    assert_eq!(world.nodes[0].established[0].peer_key, *world.nodes[1].key.public());
}

#[test]
fn calls_that_cannot_start_say_why() {
    let mut world = World::new(3, 8);
    let (link, route) = (world.link(1), world.route(1, 1));
    assert_eq!(world.connect(0, 0, &[link]), Err(ConnectError::OwnIdentity));
    assert_eq!(world.connect(0, 1, &[]), Err(ConnectError::Ways { found: 0, limit: 1 }));
    assert_eq!(world.connect(0, 1, &[link, link]), Err(ConnectError::Ways { found: 2, limit: 1 }));
    assert_eq!(world.connect(0, 1, &[route; 4]), Err(ConnectError::Ways { found: 4, limit: 3 }));
    assert_eq!(world.connect(0, 1, &[route, link]), Err(ConnectError::Ways { found: 2, limit: 3 }));
    let stranger = world.id(2);
    world.nodes[0].members.keys.remove(&stranger);
    assert_eq!(world.connect(0, 2, &[link]), Err(ConnectError::Unauthorised));
    let id = world.connect(0, 1, &[link]).unwrap();
    let peer = world.id(1);
    assert!(world.nodes[0].handshakes.is_running(&peer, Purpose::Link));
    assert!(!world.nodes[0].handshakes.is_running(&peer, Purpose::EndToEnd));
    world.nodes[0].handshakes.cancel(id);
    assert!(!world.nodes[0].handshakes.is_running(&peer, Purpose::Link));
    world.run_ms(100);
    assert!(world.log.is_empty() && world.nodes[0].established.is_empty());
}

#[test]
fn nobody_there_is_told_after_the_time() {
    let mut world = World::new(2, 9);
    world.lose = Box::new(|_, packet| packet.from == 1);
    let way = world.link(1);
    let id = world.connect(0, 1, &[way]).unwrap();
    world.run_ms(7_999);
    assert!(world.nodes[0].failed.is_empty());
    world.run_ms(10);
    assert_eq!(world.nodes[0].failed, [(id, world.id(1), Failure::NoAnswer)]);
    // 60 ms, each wait half as long again, at most a second: 14 hellos in 8 seconds.
    assert_eq!(world.log.iter().filter(|packet| packet.from == 0).count(), 14);
    world.run_ms(12_000);
    assert_eq!(world.nodes[1].handshakes.counters().expired, 1);
    assert_eq!(world.nodes[1].handshakes.deadline(), None);
}
