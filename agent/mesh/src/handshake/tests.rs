//! Parts that have rules of their own: fragments, the rate of hellos, the table, what is remembered.

use super::{
    Purpose, Refusal, Via,
    cookies::{Cookies, Rate},
    fragments::{Incoming, Outgoing},
    peers::Peers,
};
use crate::{Entropy, NodeId, Time};
use proptest::prelude::*;
use x0_mesh_wire::{
    HopKey, Kind, Labels,
    handshake::{Envelope, PROOF_HEAD_BYTES, Proof},
    limits::{HANDSHAKE_PEERS_REMEMBERED_MAX, PROOF_FRAGMENT_BYTES_MAX, PROOF_FRAGMENT_BYTES_MIN, TAG_BYTES},
};

struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0 = self.0.wrapping_add(1);
        bytes.fill(self.0);
    }
}

fn head(index: u8, count: u8) -> Proof {
    Proof { number: 0, index, count, seen: 0 }
}

proptest! {
    /// Whatever arrives in whatever order and how often: as many fragments as there are without the
    /// parity make the message, and none fewer.
    #[test]
    fn any_fragments_but_one_give_the_message(
        message in prop::collection::vec(any::<u8>(), 1..5_400), bytes_max in PROOF_FRAGMENT_BYTES_MIN..=PROOF_FRAGMENT_BYTES_MAX,
        order in prop::collection::vec(0u8..7, 1..40),
    ) {
        let outgoing = Outgoing::cut(&message, bytes_max);
        let count = outgoing.count();
        prop_assert_eq!(usize::from(count), message.len().div_ceil(bytes_max));
        let fragments: Vec<Vec<u8>> = outgoing.all().map(|(_, payload)| payload.to_vec()).collect();
        prop_assert!(fragments.iter().all(|fragment| fragment.len() == fragments[0].len() && fragment.len() <= bytes_max));
        let mut incoming = Incoming::default();
        let mut seen = std::collections::BTreeSet::new();
        for index in order.into_iter().filter(|index| *index <= count) {
            let whole = incoming.add(&head(index, count), &fragments[usize::from(index)]).unwrap();
            let was_done = seen.len() >= usize::from(count);
            if !was_done {
                seen.insert(index);
            }
            prop_assert_eq!(whole.is_some(), !was_done && seen.len() == usize::from(count));
            if let Some(whole) = whole {
                prop_assert_eq!(&whole.message[..message.len()], &message[..]);
                prop_assert!(whole.message[message.len()..].iter().all(|byte| *byte == 0));
                prop_assert_eq!(whole.parity_used, seen.contains(&count));
            }
            let missing: Vec<u8> = outgoing.missing(incoming.seen()).map(|(index, _)| index).collect();
            let expected: Vec<u8> = if seen.len() >= usize::from(count) { Vec::new() } else { (0..count).filter(|index| !seen.contains(index)).collect() };
            prop_assert_eq!(missing, expected);
        }
    }
}

#[test]
fn the_rate_of_hellos_without_cookies_is_what_the_limit_says() {
    let mut rate = Rate::new(Time(0));
    let mut passed = 0;
    for ms in 0..10_000 {
        for _ in 0..3 {
            passed += u64::from(!rate.exceeded(Time(ms * 1_000_000)));
        }
    }
    // 400 per second for ten seconds, and a quarter of a second's credit at the start.
    assert!((4_095..=4_100).contains(&passed), "{passed}");
    assert!(rate.exceeded(Time(0)) || !rate.exceeded(Time(0)), "time that goes back is no time");
}

#[test]
fn a_cookie_lives_for_one_to_two_periods() {
    let via = |port| Via::Socket { underlay: 1, address: std::net::SocketAddr::from(([10, 0, 0, 1], port)) };
    let mut entropy = Counting(0);
    let mut cookies = Cookies::new(Time(0), &mut entropy);
    let mac = cookies.cookie(&via(5)).mac(b"hello");
    let second = 1_000_000_000;
    for (at_s, valid) in [(0, true), (119, true), (121, true), (239, true), (243, false)] {
        cookies.turn(Time(at_s * second), &mut entropy);
        assert_eq!(cookies.fits(&via(5), b"hello", &mac), valid, "after {at_s} s");
        assert!(!cookies.fits(&via(6), b"hello", &mac) && !cookies.fits(&via(5), b"hullo", &mac));
        assert!(!cookies.fits(&via(5), b"hello", &[0; 16]));
    }
    let mac = cookies.cookie(&via(5)).mac(b"hello");
    cookies.turn(Time(1_000 * second), &mut entropy);
    assert!(!cookies.fits(&via(5), b"hello", &mac), "a secret that was not turned in time is not the one before");
}

#[test]
fn places_are_told_apart_by_everything_but_the_way_back() {
    let labels = |labels: &[u32]| Labels::new(labels).unwrap();
    let socket = |underlay, address: &str| Via::Socket { underlay, address: address.parse().unwrap() };
    let route = |link, there: &[u32], back: &[u32]| Via::Route { link, labels: labels(there), back: labels(back) };
    let places = [
        socket(0, "10.0.0.1:5"),
        socket(1, "10.0.0.1:5"),
        socket(0, "10.0.0.1:6"),
        socket(0, "10.0.0.2:5"),
        socket(0, "[2001:db8::1]:5"),
        route(1, &[2], &[]),
        route(2, &[2], &[]),
        route(1, &[3], &[]),
        route(1, &[2, 3], &[]),
    ];
    for (i, a) in places.iter().enumerate() {
        assert!(places.iter().enumerate().all(|(j, b)| a.same_place(b) == (i == j)), "{a:?}");
    }
    assert!(route(1, &[2], &[9]).same_place(&places[5]));
    assert_eq!((places[0].purpose(), places[5].purpose()), (Purpose::Link, Purpose::EndToEnd));
    // One IPv6 customer has a /64; one IPv4 customer has an address.
    assert_eq!(socket(0, "[2001:db8::1]:5").quota_group(), socket(0, "[2001:db8::2]:6").quota_group());
    assert_ne!(socket(0, "[2001:db8::1]:5").quota_group(), socket(0, "[2001:db8:0:1::1]:5").quota_group());
    assert_ne!(places[0].quota_group(), places[3].quota_group());
    // A fragment of a proof for sessions is never cut again, whatever route it takes.
    let body = vec![0; PROOF_HEAD_BYTES + Via::fragment_bytes_max(Purpose::EndToEnd) + TAG_BYTES];
    let fragment = Envelope::seal(Kind::Proof, 1, &body, &HopKey::new([0; 16]));
    assert_eq!(route(1, &[1; 8], &[1; 8]).frame(&fragment).unwrap().len(), 1);
}

#[test]
fn what_is_remembered_about_peers_is_bounded() {
    let mut peers = Peers::default();
    for number in 0..HANDSHAKE_PEERS_REMEMBERED_MAX as u64 + 50 {
        let mut name = [0; 32];
        name[..8].copy_from_slice(&number.to_be_bytes());
        peers.count(NodeId(name), Time(0));
        peers.no_proof(NodeId(name));
        assert!(peers.wants_key(&NodeId(name)));
    }
    assert_eq!(peers.sizes(), (HANDSHAKE_PEERS_REMEMBERED_MAX, HANDSHAKE_PEERS_REMEMBERED_MAX));
}

#[test]
fn every_refusal_has_its_own_counter() {
    use x0_mesh_wire::WireError;
    let all = [
        Refusal::Malformed(WireError::TtlExpired),
        Refusal::Mac,
        Refusal::Purpose,
        Refusal::Suite { offered: 2 },
        Refusal::UnknownId { id: 1 },
        Refusal::OutOfTurn,
        Refusal::CookieNeeded,
        Refusal::Cookie,
        Refusal::Quota { limit: 1 },
        Refusal::Seal,
        Refusal::Fragment,
        Refusal::Proof,
        Refusal::OwnIdentity,
        Refusal::WrongPeer,
        Refusal::Unauthorised,
        Refusal::KeyUnknown,
        Refusal::KeyMismatch,
        Refusal::Signature,
        Refusal::SimultaneousOpen,
        Refusal::TooFrequent { limit: 1 },
        Refusal::Job,
        Refusal::Busy,
    ];
    let mut counters = super::HandshakeCounters::default();
    for (index, refusal) in all.into_iter().enumerate() {
        counters.count(refusal);
        let counted = counters.each().filter(|(name, count)| name.starts_with("refused_") && *count == 1).count();
        assert_eq!(counted, index + 1, "{refusal:?}");
    }
    assert_eq!(counters.each().filter(|(name, _)| name.starts_with("refused_")).count(), all.len());
}

#[test]
fn halves_are_bounded_and_make_a_whole_in_either_order() {
    use super::halves::Halves;
    use x0_mesh_wire::{
        Kind,
        handshake::{Envelope, Half},
        limits::HALVES_MAX,
    };
    let half = |id, last, body| Half {
        last,
        envelope: Envelope { kind: Kind::Hello, id, mac: [1; 8], body },
        back: Labels::NONE,
    };
    let mut halves = Halves::default();
    for (first, second) in [(false, true), (true, false)] {
        let body = |last: bool| if last { &b"last"[..] } else { &b"first"[..] };
        assert_eq!(halves.add(Time(0), &half(1, first, body(first))), None);
        assert_eq!(halves.add(Time(0), &half(1, first, body(first))), None, "a copy");
        assert_eq!(halves.add(Time(0), &half(2, second, body(second))), None, "of another whole");
        assert_eq!(halves.add(Time(0), &half(1, second, body(second))).unwrap(), b"firstlast");
        halves = Halves::default();
    }
    for id in 0..10 * HALVES_MAX as u32 {
        halves.add(Time(u64::from(id)), &half(id, false, b"x"));
        assert!(halves.len() <= HALVES_MAX);
    }
    assert!(halves.add(Time(9_999), &half(10 * HALVES_MAX as u32 - 1, true, b"y")).is_some(), "the newest stay");
    let mut other = half(1, false, b"x");
    other.envelope.kind = Kind::Proof;
    assert_eq!(Halves::default().add(Time(0), &other), None);
}

#[test]
fn jobs_do_not_print_their_secrets() {
    use super::job::{Job, Work};
    let key = x0_crypto::SigningKey::from_seed(&x0_crypto::dev::seed("mesh", "agent")).unwrap();
    let job = Job { id: 7, work: Work::Generate { random: zeroize::Zeroizing::new([9; 64]) } };
    assert_eq!(format!("{job:?}"), "Job(7, Agree)");
    assert_eq!(format!("{:?}", job.run(&key)), "JobDone(7, Ok(()))");
    let job = Job { id: 8, work: Work::Generate { random: zeroize::Zeroizing::new([9; 64]) } };
    assert_eq!(format!("{:?}", job.refuse()), "JobDone(8, Err(Busy))");
}
