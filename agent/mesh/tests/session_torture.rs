//! Sessions under loss, reordering, copies, replays and changes of keys: alive both ways, and nothing twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod session_lab;

use proptest::prelude::*;
use session_lab::{Lab, MS, Network, pair};
use std::collections::BTreeSet;
use x0_mesh::{
    Time,
    handshake::Role,
    session::{Opened, PathSet, Session, SessionError, SessionLimits},
};
use x0_mesh_wire::Inner;

/// Keys that change all the time.
const HASTY: SessionLimits = SessionLimits {
    phase_packets: 150,
    phase_packets_max: 4_000,
    ratchet_ms: 700,
    expire_ms: 60_000,
    old_keys_ms: 1_000,
    spacing_ms: 250,
    handshake_ms: 3_600_000,
    repeat_ms: (60, 500),
};

/// What was delivered is what arrived, once each.
fn delivered_once(lab: &Lab) {
    for to in 0..2 {
        let delivered = &lab.peers[to].delivered;
        let once: BTreeSet<u64> = delivered.iter().copied().collect();
        assert_eq!(once.len(), delivered.len(), "a packet was delivered twice");
        let missing: Vec<_> = lab.arrived[1 - to].difference(&once).take(5).collect();
        assert!(missing.is_empty(), "arrived and not delivered: {missing:?}");
        assert!(once.is_subset(&lab.arrived[1 - to]));
    }
}

fn torture(seed: u64, network: Network, seconds: u64) -> Lab {
    let mut lab = Lab::new(seed, HASTY);
    lab.network = network;
    for step in 0..seconds * 1_000 {
        for end in 0..2 {
            assert!(lab.send(end), "blocked at {step} ms");
        }
        // What was recorded comes again, at both ends.
        if !lab.tape.is_empty() && lab.random.chance(200_000) {
            let at = usize::try_from(lab.random.below(lab.tape.len() as u64)).unwrap();
            let (from, body) = lab.tape[at].clone();
            lab.inject(1 - from, body.clone());
            lab.inject(from, body);
        }
        lab.run_ms(1);
    }
    lab.run_ms(1_000);
    lab
}

#[test]
fn loss_reordering_copies_and_replays_deliver_everything_that_arrived_once() {
    for (seed, network) in [
        (1, Network { delay_ms: (1, 60), loss_ppm: 100_000, copies_ppm: 300_000, ..Network::default() }),
        (2, Network { delay_ms: (1, 3), loss_ppm: 300_000, copies_ppm: 0, ..Network::default() }),
        (3, Network { delay_ms: (80, 200), loss_ppm: 20_000, copies_ppm: 500_000, ..Network::default() }),
    ] {
        let lab = torture(seed, network, 20);
        // A replay of a packet whose every copy was lost counts as its arrival; the oracle of the lab does not know.
        let mut lab = lab;
        for to in 0..2 {
            let delivered: Vec<u64> = lab.peers[to].delivered.clone();
            lab.arrived[1 - to].extend(delivered);
        }
        delivered_once(&lab);
        for end in 0..2 {
            let now = lab.now;
            let status = lab.session(end).status(now);
            assert!(status.ratchets >= 10 && status.phases >= 20, "{status:?}");
            assert!(lab.peers[end].delivered.iter().any(|number| *number > 19_900), "alive to the end");
            assert!(lab.peers[end].refused.iter().all(|error| matches!(
                error,
                SessionError::Repeated { .. }
                    | SessionError::TooOld { .. }
                    | SessionError::Index { .. }
                    | SessionError::Seal { .. }
            )));
        }
    }
}

#[test]
fn without_replays_no_packet_is_refused_for_its_key() {
    // Keys change every 150 packets and at each ratchet, late packets included: none may meet the wrong key.
    let mut lab = Lab::new(4, HASTY);
    lab.network = Network { delay_ms: (1, 60), loss_ppm: 150_000, copies_ppm: 0, ..Network::default() };
    for _ in 0..20_000 {
        for end in 0..2 {
            lab.send(end);
        }
        lab.run_ms(1);
    }
    lab.run_ms(1_000);
    delivered_once(&lab);
    for peer in &lab.peers {
        assert!(peer.refused.is_empty(), "{:?}", &peer.refused[..peer.refused.len().min(5)]);
        assert_eq!(peer.blocked, 0);
    }
}

#[test]
fn an_hour_with_the_limits_of_the_product() {
    // Half of everything is lost, and little is said: the ratchet gets through all the same.
    let mut lab = Lab::new(5, SessionLimits::PRODUCT);
    lab.network = Network { delay_ms: (50, 150), loss_ppm: 500_000, ..Network::default() };
    let mut ratchets = vec![];
    for minute in 0..60 {
        assert!(lab.send(0) && lab.send(1), "minute {minute}");
        lab.run_ms(60_000);
        let now = lab.now;
        ratchets.push(lab.session(0).status(now).ratchets);
        assert!(lab.session(1).status(now).keys_age_ms < 180_000);
    }
    // Every 108 to 132 s.
    assert!((25..=33).contains(ratchets.last().unwrap()), "{ratchets:?}");
    let now = lab.now;
    assert!(lab.session(0).wants_handshake(now) && lab.session(1).wants_handshake(now));
    assert!(!lab.session(0).wants_handshake(Time(now.0 - 10 * MS)));
}

#[test]
fn a_session_whose_ratchet_fails_ends_after_three_minutes_at_both_ends() {
    for cut in 0..2 {
        let mut lab = Lab::new(6, SessionLimits::PRODUCT);
        lab.run_ms(1_000);
        lab.network.cut[cut] = true;
        lab.run_ms(178_000);
        assert!(lab.send(0) && lab.send(1));
        lab.run_ms(2_000);
        assert!(!lab.send(0) && !lab.send(1));
        assert!(lab.peers.iter().all(|peer| peer.sessions.is_empty()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A changed bit anywhere: refused, and the packet itself and others are taken afterwards.
    #[test]
    fn a_forged_packet_moves_nothing(bit in 0usize..100 * 8, earlier in 0u64..40) {
        let (a, b) = pair::keys(40);
        let mut random = pair::Random(1);
        let mut a = Session::new(a, Role::Initiator, (1, 2), Time(0), &mut random);
        let mut b = Session::new(b, Role::Responder, (2, 1), Time(0), &mut random);
        let mut seal = |inner: &[u8]| {
            let mut out = vec![0; 200];
            let sealed = a.seal(Time(1), &Inner::Packet(inner), &mut out).unwrap();
            assert_eq!(sealed.bytes, inner.len() + Session::OVERHEAD_BYTES);
            out.truncate(sealed.bytes);
            out
        };
        let late = seal(&[1; 71]);
        for _ in 0..earlier {
            seal(&[2; 71]);
        }
        let body = seal(&[3; 71]);
        let mut forged = body.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(b.open(Time(2), &mut forged).is_err());
        prop_assert!(!b.confirmed());
        let (mut copy, mut late, mut again) = (body.clone(), late, body.clone());
        prop_assert_eq!(b.open(Time(3), &mut copy), Ok(Opened::Packet(&[3u8; 71][..])));
        prop_assert_eq!(b.open(Time(3), &mut late), Ok(Opened::Packet(&[1u8; 71][..])));
        prop_assert_eq!(b.open(Time(4), &mut again), Err(SessionError::Repeated { pn: earlier + 1 }));
        prop_assert!(a.open(Time(4), &mut body.clone()).is_err(), "a reflection is refused");
    }

    /// Any bytes are refused without harm.
    #[test]
    fn any_bytes_are_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), own in any::<bool>()) {
        let mut session = Session::new(pair::keys(41).0, Role::Initiator, (7, 2), Time(0), &mut pair::Random(1));
        if own && bytes.len() >= 4 {
            bytes[..4].copy_from_slice(&7u32.to_be_bytes());
        }
        prop_assert!(session.open(Time(1), &mut bytes).is_err());
    }

    /// Packets that are larger than the path: cut, sent, joined.
    #[test]
    fn split_packets_arrive_whole(bytes in 2usize..2_200, swap in any::<bool>()) {
        let (a, b) = pair::keys(42);
        let mut random = pair::Random(1);
        let mut a = Session::new(a, Role::Initiator, (1, 2), Time(0), &mut random);
        let mut b = Session::new(b, Role::Responder, (2, 1), Time(0), &mut random);
        let packet: Vec<u8> = (0..bytes).map(|at| u8::try_from(at % 256).unwrap()).collect();
        let (mut first, mut last) = (vec![0; 1_180], vec![0; 1_180]);
        let [one, two] = a.seal_split(Time(1), &packet, 1_180, &mut first, &mut last).unwrap();
        prop_assert!(one.bytes <= 1_180 && two.bytes <= 1_180);
        first.truncate(one.bytes);
        last.truncate(two.bytes);
        if swap { core::mem::swap(&mut first, &mut last); }
        prop_assert_eq!(b.open(Time(2), &mut first), Ok(Opened::Nothing));
        prop_assert_eq!(b.open(Time(2), &mut last), Ok(Opened::Packet(&packet[..])));
    }
}

#[test]
fn a_switch_with_the_tail_loses_nothing() {
    for seed in 0..40u64 {
        let mut lab = Lab::new(100 + seed, SessionLimits::PRODUCT);
        lab.run_ms(50);
        // 1 kHz on a path that dies at a random moment; 8 ms later this is known, and the tail goes over another.
        let dies = 20 + lab.random.below(40);
        for step in 0..100 {
            lab.network.cut[0] = (dies..dies + 8).contains(&step);
            if step == dies + 8 {
                let now = lab.now;
                let mut again = vec![];
                let peer = &mut lab.peers[0];
                let session = peer.sessions.sending().unwrap();
                for (pn, body) in session.tail(now, &peer.pool, PathSet::of(0)) {
                    assert!(again.last().is_none_or(|(before, _)| *before < pn), "in order");
                    again.push((pn, body.to_vec()));
                }
                session.tail_moved(PathSet::of(0), PathSet::of(1), again.len() as u64);
                assert_eq!(session.tail(now, &peer.pool, PathSet::of(0)).count(), 0, "once");
                // What was acknowledged is not sent again: at most the outage, an acknowledgement and a way there and back.
                assert!((8..=8 + 5 + 4 + 3).contains(&again.len()), "{} packets again", again.len());
                for (_, body) in again {
                    lab.fly(0, body, None);
                }
            }
            lab.send(0);
            lab.run_ms(1);
        }
        lab.run_ms(50);
        let delivered: BTreeSet<u64> = lab.peers[1].delivered.iter().copied().collect();
        assert_eq!(lab.peers[1].delivered.len(), 100, "nothing twice");
        assert_eq!(delivered, (0..100).collect(), "nothing lost");
        assert!(lab.session(0).take_delivered().has(0));
    }
}

#[test]
fn a_body_for_another_session_is_named_as_such() {
    let mut session = Session::new(pair::keys(43).0, Role::Initiator, (7, 2), Time(0), &mut pair::Random(1));
    let mut body = [0; 60];
    body[3] = 9;
    assert_eq!(session.open(Time(1), &mut body), Err(SessionError::Index { own: 7, found: 9 }));
    body[3] = 0;
    assert_eq!(session.open(Time(1), &mut body), Err(SessionError::Index { own: 7, found: 0 }));
    let mut small = [0; 30];
    assert_eq!(
        session.seal(Time(1), &Inner::Packet(&[0; 10]), &mut small),
        Err(SessionError::NoSpace { needed: 39, found: 30 })
    );
}
