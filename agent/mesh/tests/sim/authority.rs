//! Who may do what: the end of a deal closes everything at once, strangers get nothing, rules filter.

use super::{
    wires::Wire,
    world::{Stream, World, pair},
};
use x0_mesh::{
    Time,
    node::{Rights, Rule},
};

fn counters(world: &World, n: usize) -> x0_mesh::node::Counters {
    world.nodes[n].mesh.status(Time(world.now_us * 1_000)).counters
}

#[test]
fn the_end_of_a_deal_closes_links_and_sessions_within_the_update() {
    let mut world = pair(1, 2, &Wire::default());
    world.connect(0, 1, 3_000_000);
    world.stream(Stream { from: 0, to: 1, every_us: 1_000, bytes: 200, until_us: 10_000_000 });
    world.run_us(300_000);
    world.expel(1, 0);
    // No time has passed.
    let status = world.nodes[1].mesh.status(Time(world.now_us * 1_000));
    assert!(status.links.is_empty(), "{status:#?}");
    assert!(status.sessions.is_empty(), "{status:#?}");
    let delivered = world.oracle.delivered();
    world.run_us(5_000_000);
    assert_eq!(world.oracle.delivered(), delivered, "something was delivered after the end of the deal");
    let status = world.nodes[1].mesh.status(Time(world.now_us * 1_000));
    assert!(status.links.is_empty(), "a link came back: {status:#?}");
}

#[test]
fn a_peer_that_comes_back_is_reached_again() {
    let mut world = pair(2, 2, &Wire::default());
    world.connect(0, 1, 3_000_000);
    world.expel(1, 0);
    world.run_us(2_000_000);
    let peer = world.peer_of(1, 0);
    world.set_view(1, vec![peer]);
    let took_us = world.connect(0, 1, 40_000_000);
    println!("a returning peer is reached after {took_us} us");
}

#[test]
fn a_revoked_key_closes_at_once_although_the_name_stays() {
    let mut world = pair(3, 2, &Wire::default());
    world.connect(0, 1, 3_000_000);
    let mut peer = world.peer_of(1, 0);
    peer.key = super::world::signing_key(77).public().clone();
    world.set_view(1, vec![peer]);
    let status = world.nodes[1].mesh.status(Time(world.now_us * 1_000));
    assert!(status.links.is_empty() && status.sessions.is_empty(), "{status:#?}");
    let delivered = world.oracle.delivered();
    world.stream(Stream { from: 0, to: 1, every_us: 10_000, bytes: 200, until_us: world.now_us + 3_000_000 });
    world.run_us(3_000_000);
    assert_eq!(world.oracle.delivered(), delivered);
}

#[test]
fn a_stranger_gets_no_link_and_nothing_is_relayed_for_it() {
    // 0 knows 1, 1 knows 2 and not 0; 0 claims the way over 1.
    let mut world = World::new(4, 3, 1);
    world.wires.join((0, 0), (1, 0), &Wire::default());
    world.wires.join((1, 0), (2, 0), &Wire::default());
    world.introduce_all();
    world.expel(1, 0);
    world.stream(Stream { from: 0, to: 2, every_us: 10_000, bytes: 200, until_us: 5_000_000 });
    world.stream(Stream { from: 0, to: 1, every_us: 10_000, bytes: 200, until_us: 5_000_000 });
    world.run_us(6_000_000);
    assert_eq!(world.oracle.delivered(), 0);
    assert_eq!(counters(&world, 1).relayed, 0);
    assert_eq!(counters(&world, 1).links_opened, 1, "the link to node 2 only");
}

#[test]
fn a_neighbour_without_the_right_to_relay_is_not_relayed_for() {
    let mut world = World::new(5, 3, 1);
    world.wires.join((0, 0), (1, 0), &Wire::default());
    world.wires.join((1, 0), (2, 0), &Wire::default());
    world.introduce_all();
    let mut peers = world.nodes[1].view.peers.clone();
    for peer in &mut peers {
        if peer.id == world.nodes[0].id {
            peer.rights = Rights { relay: false, ..Rights::ALL };
        }
    }
    world.set_view(1, peers);
    world.stream(Stream { from: 0, to: 2, every_us: 10_000, bytes: 200, until_us: 5_000_000 });
    world.run_us(6_000_000);
    assert_eq!(world.oracle.delivered(), 0);
    assert_eq!(counters(&world, 1).relayed, 0);
    assert!(counters(&world, 1).refused_relay_right > 0, "the refusals are counted");
    world.connect(0, 1, 3_000_000);
}

#[test]
fn a_denied_peer_is_cut_off_and_comes_back_when_the_rule_goes() {
    let mut world = pair(6, 1, &Wire::default());
    world.connect(0, 1, 3_000_000);
    let peer = world.nodes[0].id;
    world.call(1, |mesh, now, sink| mesh.set_rules(now, &[Rule::Deny { peer }], sink)).unwrap();
    assert!(world.nodes[1].mesh.status(Time(world.now_us * 1_000)).links.is_empty());
    world.run_us(2_000_000);
    world.call(1, |mesh, now, sink| mesh.set_rules(now, &[], sink)).unwrap();
    world.connect(0, 1, 40_000_000);
}

#[test]
fn a_quarantined_peer_keeps_its_link_and_gets_nothing_through() {
    let mut world = pair(7, 1, &Wire::default());
    world.connect(0, 1, 3_000_000);
    let peer = world.nodes[0].id;
    world.call(1, |mesh, now, sink| mesh.set_rules(now, &[Rule::Quarantine { peer }], sink)).unwrap();
    let delivered = world.oracle.delivered();
    world.stream(Stream { from: 0, to: 1, every_us: 10_000, bytes: 200, until_us: world.now_us + 2_000_000 });
    world.run_us(2_000_000);
    assert_eq!(world.oracle.delivered(), delivered);
    assert_eq!(world.nodes[1].mesh.status(Time(world.now_us * 1_000)).links.len(), 1);
}

#[test]
fn a_rate_limit_holds() {
    let mut world = pair(8, 1, &Wire::default());
    world.connect(0, 1, 3_000_000);
    let peer = world.nodes[0].id;
    let rule = Rule::RateLimit { peer, bytes_per_s: 100_000, burst_bytes: 10_000 };
    world.call(1, |mesh, now, sink| mesh.set_rules(now, &[rule], sink)).unwrap();
    let start_us = world.now_us;
    world.stream(Stream { from: 0, to: 1, every_us: 1_000, bytes: 1_000, until_us: start_us + 5_000_000 });
    world.run_us(5_000_000);
    let sent = world.oracle.sent(0, 1, start_us, u64::MAX);
    let lost = world.oracle.lost(0, 1, start_us, u64::MAX).len();
    let bytes = (sent - lost) * 1_000;
    println!("5 MB in 5 s against a limit of 100 kB/s: {bytes} bytes passed");
    assert!(bytes <= 510_000, "{bytes} bytes passed");
    assert!(bytes >= 200_000, "{bytes} bytes passed");
    assert!(counters(&world, 1).refused_rate > 0);
}

#[test]
fn a_packet_with_somebody_elses_source_address_is_not_sent_and_not_delivered() {
    let mut world = pair(9, 1, &Wire::default());
    world.connect(0, 1, 3_000_000);
    let (a, b) = (world.nodes[0].mesh.address(), world.nodes[1].mesh.address());
    let mut stranger = a.octets();
    stranger[15] ^= 1;
    let packet = super::oracle::Oracle::default().packet(0, 0, 1, stranger.into(), b, 100);
    let before = world.oracle.delivered();
    world.send_raw(0, &packet);
    world.run_us(100_000);
    assert_eq!(world.oracle.delivered(), before);
    assert_eq!(counters(&world, 0).refused_source, 1);
}

#[test]
fn fresh_keys_on_demand_break_nothing() {
    for seed in 0..5 {
        let mut world = pair(seed, 2, &Wire::default());
        world.connect(0, 1, 3_000_000);
        // Handshakes that are close to each other count as crossing ones; these are not.
        world.run_us(12_000_000);
        let start_us = world.now_us;
        let until_us = start_us + 5_000_000;
        world.stream(Stream { from: 0, to: 1, every_us: 1_000, bytes: 200, until_us });
        world.stream(Stream { from: 1, to: 0, every_us: 1_000, bytes: 200, until_us });
        world.run_us(500_000);
        let asked_us = world.now_us;
        let peer = world.nodes[1].id;
        world.call(0, |mesh, now, sink| mesh.rekey(now, &peer, sink));
        world.run_us(until_us - world.now_us + 500_000);
        let status = world.nodes[0].mesh.status(Time(world.now_us * 1_000));
        assert_eq!(status.links.len(), 2, "seed {seed}: {status:#?}");
        assert!(status.links.iter().all(|link| link.opened_us.0 > asked_us * 1_000), "seed {seed}: {status:#?}");
        let age_us = status.sessions[0].session.unwrap().age_ms * 1_000;
        assert!(world.now_us - age_us > asked_us, "seed {seed}: the session is {age_us} us old");
        assert_eq!(world.oracle.lost(0, 1, start_us, until_us), Vec::<u64>::new(), "seed {seed}");
        assert_eq!(world.oracle.lost(1, 0, start_us, until_us), Vec::<u64>::new(), "seed {seed}");
    }
}
