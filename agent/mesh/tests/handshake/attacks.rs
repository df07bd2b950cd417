//! What strangers, liars, floods and the network itself get: nothing.

use crate::world::{GENESIS, MESH, Packet, World, address, match_up, signing_key};
use std::net::SocketAddr;
use x0_crypto::{
    kem::DecapsulationKey,
    mesh::{answer_mac_key, hello_mac_key},
};
use x0_mesh::{
    NodeId,
    handshake::{Failure, Local, Refusal, Via},
};
use x0_mesh_wire::{
    HopKey, Kind,
    handshake::{Envelope, HELLO_BYTES, Hello, Opening, SUITE_1},
};

fn kind(packet: &Packet) -> u8 {
    packet.bytes[0] & 0x0F
}

fn no_session(world: &World) -> bool {
    world.nodes.iter().all(|node| node.established.is_empty())
}

/// A flipped bit anywhere in any datagram has no effect at all: the true datagram still counts after it.
#[test]
fn a_changed_byte_in_any_flight_has_no_effect() {
    let mut world = World::new(2, 20);
    let way = world.link(1);
    world.connect(0, 1, &[way]).unwrap();
    let mut flights = Vec::new();
    while let Some(packet) = world.catch(1_000) {
        for at in 0..packet.bytes.len() {
            let mut changed = packet.clone();
            changed.bytes[at] ^= 1 << (at % 8);
            let sent = world.log.len();
            let result = world.deliver(&changed);
            // A responder that is busy with the whole proof does not look at more of it.
            assert!(matches!(result, Err(_) | Ok(0)), "flight {} byte {at}: {result:?}", flights.len());
            assert_eq!(world.log.len(), sent, "an answer to a forged datagram");
        }
        for length in 0..packet.bytes.len() {
            let cut = Packet { bytes: packet.bytes[..length].to_vec(), ..packet.clone() };
            assert!(matches!(world.deliver(&cut), Err(_) | Ok(0)), "flight {} cut to {length}", flights.len());
        }
        flights.push(kind(&packet));
        world.deliver(&packet).unwrap();
    }
    assert_eq!(flights, [1, 2, 3, 3, 3, 3, 3, 3, 3, 3]);
    assert!(match_up(&world.nodes[0].established[0], &world.nodes[1].established[0]));
}

/// Someone on the path who knows every name and makes every MAC anew still cannot change what the
/// transcript covers.
#[test]
fn a_man_in_the_middle_who_repairs_the_macs_gets_no_session() {
    let mut fields: Vec<usize> = (0..8).collect();
    fields.extend((8..HELLO_BYTES).step_by(131));
    fields.extend([1191, 1192, 1207]);
    for at in fields {
        for change_answer in [false, true] {
            let mut world = World::new(2, 21);
            let way = world.link(1);
            world.connect(0, 1, &[way]).unwrap();
            let responder = world.id(1).0;
            let mut hello = world.catch(100).unwrap();
            let original = hello.bytes[20..].to_vec();
            let mut sent = original.clone();
            if !change_answer {
                sent[at] ^= 2;
            }
            let key = HopKey::new(hello_mac_key(&GENESIS, &MESH, &responder));
            let length = Envelope::seal(Kind::Hello, 0, &sent, &key).write_link(&mut hello.bytes).unwrap();
            assert_eq!(length, hello.bytes.len());
            let _ = world.deliver(&hello);
            if let Some(mut answer) = world.catch(30).filter(|packet| kind(packet) == 2) {
                let id = u32::from_be_bytes(original[4..8].try_into().unwrap());
                let mut body = answer.bytes[20..].to_vec();
                if change_answer && at < body.len() {
                    body[at] ^= 2;
                }
                let key = HopKey::new(answer_mac_key(&GENESIS, &MESH, &responder, &original[..1192]));
                Envelope::seal(Kind::Answer, id, &body, &key).write_link(&mut answer.bytes).unwrap();
                let _ = world.deliver(&answer);
            }
            world.lose = Box::new(|_, packet| kind(packet) < 3);
            world.run_ms(9_000);
            // The MAC of a cookie is no part of what both agree on; beyond the answer's end nothing changed.
            let harmless = if change_answer { at >= 1128 } else { at >= 1192 };
            if harmless {
                assert!(match_up(&world.nodes[0].established[0], &world.nodes[1].established[0]), "byte {at}");
            } else {
                assert!(no_session(&world), "byte {at} of the {}", if change_answer { "answer" } else { "hello" });
            }
        }
    }
}

#[test]
fn who_is_not_authorised_sees_at_most_the_second_message_and_no_name() {
    let mut world = World::new(2, 22);
    let initiator = world.id(0);
    world.nodes[1].members.keys.remove(&initiator);
    let way = world.link(1);
    world.connect(0, 1, &[way]).unwrap();
    world.run_ms(30_000);
    assert!(no_session(&world));
    assert_eq!(world.nodes[0].failed[0].2, Failure::NoProof);
    let answers: Vec<&Packet> = world.log.iter().filter(|packet| packet.from == 1).collect();
    assert_eq!(answers.iter().map(|packet| kind(packet)).collect::<Vec<_>>(), [2]);
    let name = world.id(1).0;
    assert!(world.log.iter().all(|packet| !packet.bytes.windows(8).any(|bytes| bytes == &name[..8])));
    assert_eq!(world.nodes[1].handshakes.counters().refused_unauthorised, 1);
    // No signature was made or checked for it.
    assert_eq!(world.nodes[1].jobs_run, 1);
}

#[test]
fn who_does_not_know_the_name_the_chain_or_the_mesh_hears_nothing() {
    let world = World::new(2, 23);
    let key = signing_key(1);
    let (node, members) = (world.id(0), world.nodes[0].members.clone());
    let other = |genesis, mesh_id| Local { node, key: key.public().clone(), genesis, mesh_id };
    for (local, peer) in [
        (other(GENESIS, MESH), NodeId([9; 32])),
        (other([1; 32], MESH), world.id(1)),
        (other(GENESIS, [1; 32]), world.id(1)),
    ] {
        let mut world = World::new(2, 23);
        let stranger = world.add_local(local, key.clone(), members.clone());
        world.nodes[stranger].members.keys.insert(peer, None);
        let way = world.link(1);
        world.connect_to(stranger, peer, &[way]).unwrap();
        world.run_ms(9_000);
        assert!(no_session(&world) && world.log.iter().all(|packet| packet.from == stranger));
        let counters = world.nodes[1].handshakes.counters();
        assert_eq!(counters.refused_mac, 14);
    }
}

#[test]
fn a_liar_with_another_name_is_found_out_in_both_roles() {
    for key_known in [true, false] {
        let mut world = World::new(2, 24);
        let (victim, members) = (world.id(1), world.nodes[0].members.clone());
        let liar = world.add(victim, signing_key(99), members);
        if !key_known {
            world.nodes[0].members.keys.insert(victim, None);
        }
        let way = world.link(liar);
        world.connect_to(0, victim, &[way]).unwrap();
        world.run_ms(9_000);
        assert!(world.nodes[0].established.is_empty());
        assert_eq!(world.nodes[0].failed[0].2, Failure::BadProof);
        // The other way round: the liar begins.
        let way = world.link(0);
        for _ in 0..2 {
            world.connect(liar, 0, &[way]).unwrap();
            world.run_ms(9_000);
        }
        assert!(world.nodes[0].established.is_empty() && world.nodes[1].established.is_empty());
        let counters = world.nodes[0].handshakes.counters();
        let expected = if key_known {
            // Its first try is a wrong signature; the second brings another key along.
            (counters.refused_signature, counters.refused_key_mismatch) == (2, 1)
        } else {
            (counters.refused_key_unknown, counters.refused_key_mismatch) == (1, 2)
        };
        assert!(expected, "{counters:?}");
    }
}

#[test]
fn a_key_that_was_replaced_and_a_right_that_was_withdrawn_count_at_once() {
    let mut world = World::new(2, 25);
    let initiator = world.id(0);
    world.nodes[1].members.keys.insert(initiator, Some(signing_key(77).public().clone()));
    let way = world.link(1);
    world.connect(0, 1, &[way]).unwrap();
    world.run_ms(9_000);
    assert!(no_session(&world));
    assert_eq!(world.nodes[1].handshakes.counters().refused_signature, 1);

    for forget in [false, true] {
        let mut world = World::new(2, 26);
        let way = world.link(1);
        world.connect(0, 1, &[way]).unwrap();
        while world.nodes[1].jobs_run < 2 {
            let until = world.now.plus_ms(1);
            world.step(until);
            world.now = world.now.max(until);
        }
        // The signature is being checked when the authority changes its mind.
        world.nodes[1].members.keys.remove(&initiator);
        if forget {
            world.nodes[1].handshakes.forget(&initiator);
        }
        world.run_ms(9_000);
        assert!(no_session(&world));
        let counters = world.nodes[1].handshakes.counters();
        assert_eq!((counters.refused_unauthorised, counters.refused_unknown_id >= 1), (u64::from(!forget), true));
    }
}

#[test]
fn what_was_recorded_is_worth_nothing_later_or_elsewhere() {
    let mut world = World::new(3, 27);
    world.judge_amplification = false;
    let way = world.link(1);
    world.connect(0, 1, &[way]).unwrap();
    world.run_ms(1_000);
    let recorded = world.log.clone();
    for from in [address(0), address(1), SocketAddr::from(([192, 0, 2, 7], 9))] {
        for packet in &recorded {
            for to in 0..3 {
                let _ = world.deliver_from(&Packet { to, ..packet.clone() }, from);
            }
        }
        world.run_ms(100);
    }
    assert_eq!(world.nodes.iter().map(|node| node.established.len()).collect::<Vec<_>>(), [1, 1, 0]);
    world.run_ms(60_000);
    // And in the next life of the responder, with the same key.
    let mut later = World::new(2, 28);
    for packet in &recorded {
        let _ = later.deliver(packet);
    }
    later.run_ms(1_000);
    assert!(no_session(&later));
    let counters = later.nodes[1].handshakes.counters();
    assert_eq!(counters.refused_unknown_id, 4, "the four fragments of a proof for another life");
}

#[test]
fn a_node_does_not_talk_to_its_own_echo() {
    let mut world = World::new(2, 29);
    let way = world.link(1);
    world.connect(0, 1, &[way]).unwrap();
    world.run_ms(1_000);
    for packet in world.log.clone() {
        let sent = world.log.len();
        let own = Packet { to: packet.from, from: packet.to, ..packet.clone() };
        assert!(matches!(world.deliver(&own), Err(_) | Ok(0)), "{}", kind(&packet));
        assert_eq!(world.log.len(), sent);
    }
    // A mirror between two handshakes: everything that the initiator sends comes back to it.
    let mut world = World::new(2, 30);
    world.connect(0, 1, &[way]).unwrap();
    while let Some(packet) = world.catch(8_500) {
        let _ = world.deliver(&Packet { to: packet.from, from: packet.to, ..packet });
    }
    assert!(no_session(&world));
}

/// A hello as anyone can make it who knows the name.
fn forged_hello(responder: &NodeId, sender: u32) -> Vec<u8> {
    let key = DecapsulationKey::from_seed(&[8; 64]).unwrap();
    let body = Hello::body(Opening { suites: SUITE_1, purpose: 1, sender }, key.encapsulation_key().as_bytes());
    let mac = HopKey::new(hello_mac_key(&GENESIS, &MESH, &responder.0));
    let mut bytes = vec![0; 1228];
    Envelope::seal(Kind::Hello, 0, &body, &mac).write_link(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_flood_costs_cookies_and_an_honest_node_passes_through_it() {
    let mut world = World::new(2, 31);
    let responder = world.id(1);
    let template = forged_hello(&responder, 1);
    let mac = HopKey::new(hello_mac_key(&GENESIS, &MESH, &responder.0));
    let mut sender = 1;
    let mut flood = |world: &mut World, hellos: u32| {
        for _ in 0..hellos {
            sender += 1;
            let mut body = template[20..].to_vec();
            body[4..8].copy_from_slice(&u32::to_be_bytes(sender));
            let mut bytes = vec![0; 1228];
            Envelope::seal(Kind::Hello, 0, &body, &mac).write_link(&mut bytes).unwrap();
            let [_, b, c, d] = sender.to_be_bytes();
            let packet =
                Packet { from: usize::MAX, to: 1, via: Via::Socket { underlay: 0, address: address(1) }, bytes };
            let _ = world.deliver_from(&packet, SocketAddr::from(([172, b, c, d], 5)));
        }
    };
    flood(&mut world, 3_000);
    let counters = *world.nodes[1].handshakes.counters();
    // A quarter of a second's worth is answered, limited by the answers that may be under way.
    assert_eq!(world.nodes[1].jobs_run, 64);
    assert_eq!((counters.cookies_sent, counters.refused_busy), (2_900, 36));
    let way = world.link(1);
    world.connect(0, 1, &[way]).unwrap();
    for _ in 0..100 {
        flood(&mut world, 50);
        world.run_ms(1);
    }
    assert!(match_up(&world.nodes[0].established[0], &world.nodes[1].established[0]));
    assert!(world.log.iter().any(|packet| kind(packet) == 4 && packet.to == 0), "through a cookie");
    assert!(world.nodes[1].jobs_run < 64 + 2 + 50, "{}", world.nodes[1].jobs_run);
}

#[test]
fn a_cookie_is_worth_nothing_at_another_port_or_after_its_time() {
    let mut world = World::new(2, 32);
    world.judge_amplification = false;
    let responder = world.id(1);
    let exhaust = |world: &mut World| {
        // The same hello over and over counts to the rate and leaves one half-open handshake.
        let bytes = forged_hello(&responder, 5);
        let packet = Packet { from: usize::MAX, to: 1, via: Via::Socket { underlay: 0, address: address(1) }, bytes };
        for _ in 0..101 {
            let _ = world.deliver_from(&packet, SocketAddr::from(([172, 16, 0, 1], 5)));
        }
    };
    let way = world.link(1);
    world.connect(0, 1, &[way]).unwrap();
    let hello = world.catch(100).unwrap();
    exhaust(&mut world);
    assert_eq!(world.deliver(&hello), Err(Refusal::CookieNeeded));
    let with_cookie = loop {
        let packet = world.catch(100).unwrap();
        if packet.from == 0 {
            break packet;
        }
        let _ = world.deliver(&packet);
    };
    assert_ne!(with_cookie.bytes, hello.bytes);
    let mut elsewhere = address(0);
    elsewhere.set_port(7001);
    exhaust(&mut world);
    assert_eq!(world.deliver_from(&with_cookie, elsewhere), Err(Refusal::CookieNeeded));
    world.now = world.now.plus_ms(119_000);
    exhaust(&mut world);
    assert_eq!(world.deliver(&with_cookie), Ok(1), "a job");
    world.now = world.now.plus_ms(125_000);
    let members = world.nodes[1].members.clone();
    world.nodes[1].handshakes.tick(
        world.now,
        &members,
        &mut crate::world::Seeded(rand::SeedableRng::seed_from_u64(1)),
        &mut Vec::new(),
    );
    world.now = world.now.plus_ms(125_000);
    exhaust(&mut world);
    assert_eq!(world.deliver(&with_cookie), Err(Refusal::CookieNeeded));
}

#[test]
fn one_address_holds_a_bounded_number_of_half_open_handshakes() {
    let mut world = World::new(2, 33);
    let responder = world.id(1);
    for sender in 1..=80 {
        let bytes = forged_hello(&responder, sender);
        let packet = Packet { from: usize::MAX, to: 1, via: Via::Socket { underlay: 0, address: address(1) }, bytes };
        let result = world.deliver_from(&packet, SocketAddr::from(([172, 16, 0, 1], sender as u16)));
        assert_eq!(result.is_ok(), sender <= 64, "{sender}: {result:?}");
        world.run_ms(5);
    }
    world.run_ms(11_000);
    let counters = world.nodes[1].handshakes.counters();
    assert_eq!((counters.refused_quota, counters.expired), (16, 64));
}

#[test]
fn two_machines_with_one_key_are_held_to_a_rate() {
    let mut world = World::new(2, 34);
    let way = world.link(1);
    for _ in 0..60 {
        world.connect(0, 1, &[way]).unwrap();
        world.run_ms(100);
    }
    assert_eq!(world.nodes[0].established.len(), 60);
    world.connect(0, 1, &[way]).unwrap();
    world.run_ms(9_000);
    assert_eq!((world.nodes[0].established.len(), world.nodes[0].failed[0].2), (60, Failure::NoProof));
    assert_eq!(world.nodes[1].handshakes.counters().refused_too_frequent, 1);
    world.run_ms(50_000);
    world.connect(0, 1, &[way]).unwrap();
    world.run_ms(100);
    assert_eq!(world.nodes[0].established.len(), 61);
}

#[test]
fn a_handshake_for_one_purpose_is_refused_for_the_other() {
    let mut world = World::new(2, 35);
    let way = world.link(1);
    world.connect(0, 1, &[way]).unwrap();
    let hello = world.catch(100).unwrap();
    // The same message, carried as if it came end to end.
    let envelope = Envelope::read_link(&hello.bytes).unwrap();
    let mut bytes = vec![0; 4 + 14 + envelope.body.len()];
    envelope.write_end_to_end(&x0_mesh_wire::Labels::NONE, &mut bytes[4..]).unwrap();
    let route = world.route(1, 1);
    assert_eq!(world.deliver(&Packet { via: route, bytes, ..hello }), Err(Refusal::Purpose));
}
