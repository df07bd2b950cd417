//! Records and their table: what is refused, and that nothing refused leaves a trace.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod route_common;

use proptest::prelude::*;
use route_common::name;
use std::collections::BTreeSet;
use x0_mesh::{
    NodeId, Time,
    route::{
        Adjacency, DeltaClaim, LinkRecord, LinkStateTable, Message, Refusal, SignedRecord, Verdict, VerifiedRecord,
    },
};
use x0_mesh_wire::limits::{
    ROUTE_ADJACENCIES_MAX, ROUTE_LIFETIME_S_MAX, ROUTE_MESSAGE_BYTES_MAX, ROUTE_NODES_MAX, ROUTE_RECORD_BODY_BYTES_MAX,
    ROUTE_RECORD_BYTES_MAX,
};

const MESH: [u8; 32] = [9; 32];
const S: u64 = 1_000_000_000;

fn claim(neighbour: usize, label: u32) -> Adjacency {
    Adjacency { neighbour: name(neighbour), label, underlay: 1, quality: 50_000, up: true }
}

fn record(node: usize, seq: u64, adjacencies: Vec<Adjacency>) -> LinkRecord {
    LinkRecord { mesh: MESH, node: name(node), seq, lifetime_s: 100, adjacencies }
}

fn signed(record: LinkRecord) -> SignedRecord {
    SignedRecord::new(record, &[7; 3_309])
}

fn verified(record: LinkRecord) -> VerifiedRecord {
    VerifiedRecord::judge(signed(record), Verdict::Valid).unwrap()
}

fn table() -> LinkStateTable {
    LinkStateTable::new(name(0), MESH)
}

#[test]
fn each_broken_rule_of_a_record_has_its_refusal() {
    let read = |record: &LinkRecord| LinkRecord::read(&record.body());
    let good = record(1, 5, vec![claim(2, 1), claim(2, 2), claim(3, 3)]);
    assert_eq!(read(&good), Ok(good.clone()));
    for lifetime_s in [0, ROUTE_LIFETIME_S_MAX + 1] {
        let bad = LinkRecord { lifetime_s, ..good.clone() };
        assert_eq!(read(&bad), Err(Refusal::Lifetime { lifetime_s }));
    }
    let own = record(1, 5, vec![claim(1, 1)]);
    assert_eq!(read(&own), Err(Refusal::SelfAdjacency { node: name(1) }));
    let twice = record(1, 5, vec![claim(2, 4), claim(3, 4)]);
    assert_eq!(read(&twice), Err(Refusal::Label { node: name(1), label: 4 }));
    let zero = record(1, 5, vec![claim(2, 0)]);
    assert_eq!(read(&zero), Err(Refusal::Label { node: name(1), label: 0 }));
    let parallel = record(1, 5, (1..=5).map(|label| claim(2, label)).collect());
    assert_eq!(read(&parallel), Err(Refusal::TooManyParallel { neighbour: name(2), claims: 5 }));
    let many = record(1, 5, (0..33).map(|label| claim(2 + label, 1 + label as u32)).collect());
    assert_eq!(read(&many), Err(Refusal::TooManyAdjacencies { claims: 33 }));
    let mut long = good.body();
    long.push(0);
    assert!(matches!(LinkRecord::read(&long), Err(Refusal::Malformed { .. })));
    let huge = vec![0; ROUTE_RECORD_BYTES_MAX + 1];
    assert_eq!(SignedRecord::read(&huge), Err(Refusal::RecordTooLong { bytes: huge.len() }));
}

#[test]
fn the_longest_record_and_the_longest_messages_fit_their_limits() {
    let full = record(1, u64::MAX, (0..ROUTE_ADJACENCIES_MAX).map(|at| claim(2 + at, 1 + at as u32)).collect());
    assert_eq!(full.body().len(), ROUTE_RECORD_BODY_BYTES_MAX);
    let full = signed(full);
    assert_eq!(full.bytes().len(), ROUTE_RECORD_BYTES_MAX);
    assert_eq!(SignedRecord::read(full.bytes()), Ok(full.clone()));
    let have = Message::Have { entries: vec![(name(1), u64::MAX); 28], first: true, last: true };
    let (node, seq, total) = (name(1), u64::MAX, full.bytes().len() as u16);
    let chunk = Message::Chunk { node, seq, age_s: 1, total, index: 0, bytes: full.bytes()[..1_024].to_vec() };
    let changes = vec![DeltaClaim { label: 1, quality: 1, up: true }; ROUTE_ADJACENCIES_MAX];
    let delta = Message::Delta { base: u64::MAX, number: 1, changes };
    for message in [have, chunk, delta] {
        assert!(message.bytes().len() <= ROUTE_MESSAGE_BYTES_MAX, "{}", message.bytes().len());
        assert_eq!(Message::read(&message.bytes()), Ok(message));
    }
}

#[test]
fn a_record_without_a_valid_signature_never_gets_in() {
    for (verdict, refusal) in [
        (Verdict::Invalid, Refusal::Forged { node: name(1), seq: 5 }),
        (Verdict::UnknownNode, Refusal::UnknownNode { node: name(1) }),
        (Verdict::Unjudged, Refusal::PendingFull),
    ] {
        assert_eq!(VerifiedRecord::judge(signed(record(1, 5, vec![])), verdict).err(), Some(refusal));
    }
}

#[test]
fn only_a_higher_number_replaces_and_the_dead_stay_dead() {
    let mut table = table();
    let now = Time(S);
    table.accept(now, verified(record(1, 5, vec![claim(2, 1)])), 40).unwrap();
    for seq in [0, 4, 5] {
        let stale = Refusal::Stale { node: name(1), seq, known: 5 };
        assert_eq!(table.accept(now, verified(record(1, seq, vec![])), 0), Err(stale));
    }
    assert_eq!(table.claims(&name(1)).unwrap().len(), 1);
    assert_eq!(table.outgoing(now, &name(1)).map(|(_, seq, age_s)| (seq, age_s)), Some((5, 40)));
    assert_eq!(table.outgoing(Time(S + 1), &name(1)).map(|out| out.2), Some(41), "ages are rounded up");
    // 100 s of life, 40 of them spent on the way.
    assert!(table.expire(Time(60 * S)).is_empty());
    assert_eq!(table.expire(Time(61 * S)), [name(1)]);
    assert!(table.is_empty());
    let replay = table.accept(Time(62 * S), verified(record(1, 5, vec![claim(2, 1)])), 0);
    assert_eq!(replay, Err(Refusal::Stale { node: name(1), seq: 5, known: 5 }));
    assert!(table.accept(Time(62 * S), verified(record(1, 6, vec![])), 0).is_ok());
}

#[test]
fn other_meshes_and_records_that_were_too_long_on_the_way_are_refused() {
    let mut table = table();
    let other = LinkRecord { mesh: [8; 32], ..record(1, 1, vec![]) };
    assert_eq!(table.accept(Time(0), verified(other), 0), Err(Refusal::OtherMesh));
    let late = table.accept(Time(0), verified(record(1, 1, vec![])), 100);
    assert_eq!(late, Err(Refusal::Expired { age_s: 100, lifetime_s: 100 }));
    assert!(table.is_empty());
}

#[test]
fn a_full_table_keeps_room_for_this_node_and_takes_newer_records() {
    let mut table = table();
    let id = |at: usize| {
        let mut id = [0xEE; 32];
        id[..8].copy_from_slice(&(at as u64).to_be_bytes());
        NodeId(id)
    };
    let of = |at: usize, seq| verified(LinkRecord { node: id(at), ..record(1, seq, vec![]) });
    for at in 0..ROUTE_NODES_MAX - 1 {
        table.accept(Time(0), of(at, 1), 0).unwrap();
    }
    let node = id(ROUTE_NODES_MAX);
    assert_eq!(table.accept(Time(0), of(ROUTE_NODES_MAX, 1), 0), Err(Refusal::TableFull { node }));
    assert!(table.accept(Time(0), of(3, 2), 0).is_ok());
    assert!(table.accept(Time(0), verified(record(0, 1, vec![])), 0).is_ok(), "this node itself");
    assert_eq!(table.len(), ROUTE_NODES_MAX);
}

#[test]
fn a_delta_changes_what_was_signed_and_adds_nothing() {
    let mut table = table();
    table.accept(Time(0), verified(record(1, 5, vec![claim(2, 1), claim(3, 2)])), 0).unwrap();
    let change = |label, quality, up| [DeltaClaim { label, quality, up }];
    assert_eq!(table.apply_delta(&name(1), 5, 1, &change(1, 7, false)), Ok(true));
    let claims = table.claims(&name(1)).unwrap();
    assert_eq!((claims[0].quality, claims[0].up, claims[1]), (7, false, claim(3, 2)));
    let again = table.apply_delta(&name(1), 5, 1, &change(1, 9, true));
    assert_eq!(again, Err(Refusal::Delta { node: name(1), base: 5, known: 5 }), "an old delta");
    let other = table.apply_delta(&name(1), 4, 2, &change(1, 9, true));
    assert_eq!(other, Err(Refusal::Delta { node: name(1), base: 4, known: 5 }), "another record");
    let new = table.apply_delta(&name(1), 5, 2, &[change(1, 9, true), change(99, 9, true)].concat());
    assert_eq!(new, Err(Refusal::Label { node: name(1), label: 99 }));
    assert_eq!(table.claims(&name(1)).unwrap()[0].quality, 7, "a refused delta changes nothing");
    assert!(table.apply_delta(&name(7), 5, 2, &[]).is_err(), "of a node without a record");
    table.accept(Time(0), verified(record(1, 6, vec![claim(2, 1)])), 0).unwrap();
    assert_eq!(table.claims(&name(1)).unwrap(), [claim(2, 1)], "a new record ends the deltas");
}

#[test]
fn a_real_signature_holds_for_its_purpose_its_chain_and_its_bytes() {
    let key = x0_crypto::SigningKey::generate().unwrap();
    let (genesis, record) = ([3; 32], record(1, 5, vec![claim(2, 1)]));
    let signature = key.sign_link_state(&genesis, &record.body()).unwrap();
    let signed = SignedRecord::new(record, signature.as_bytes());
    let read = SignedRecord::read(signed.bytes()).unwrap();
    let signature = x0_crypto::Signature::from_bytes(read.signature().unwrap()).unwrap();
    assert!(key.public().verify_link_state(&genesis, read.body(), &signature).is_ok());
    assert!(key.public().verify_link_state(&[4; 32], read.body(), &signature).is_err());
    assert!(key.public().verify_playbook(&genesis, read.body(), &signature).is_err());
    let mut other = read.body().to_vec();
    other[70] ^= 1;
    assert!(key.public().verify_link_state(&genesis, &other, &signature).is_err());
}

proptest! {
    #[test]
    fn reading_never_panics_and_what_is_read_is_written_the_same(bytes in prop::collection::vec(any::<u8>(), 0..1_500)) {
        if let Ok(record) = LinkRecord::read(&bytes) {
            prop_assert_eq!(record.body(), bytes.clone());
        }
        if let Ok(message) = Message::read(&bytes) {
            prop_assert_eq!(message.bytes(), bytes.clone());
        }
        drop(SignedRecord::read(&bytes));
    }

    #[test]
    fn a_damaged_record_reads_as_something_else_or_not_at_all(at in 0usize..200, bit in 0u8..8) {
        let good = record(1, 5, vec![claim(2, 1), claim(3, 2), claim(4, 3)]);
        let mut bytes = good.body();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        prop_assert_ne!(LinkRecord::read(&bytes), Ok(good));
    }

    #[test]
    fn the_table_is_the_highest_number_of_each_node(order in prop::collection::vec((1usize..6, 1u64..20), 1..60)) {
        let mut table = table();
        let mut highest = std::collections::BTreeMap::new();
        for (node, seq) in order {
            let result = table.accept(Time(0), verified(record(node, seq, vec![claim(node + 1, seq as u32)])), 0);
            let known = highest.entry(node).or_insert(0);
            prop_assert_eq!(result.is_ok(), seq > *known);
            *known = seq.max(*known);
        }
        let living: Vec<_> = table.living().collect();
        let expected: Vec<_> = highest.iter().map(|(node, seq)| (name(*node), *seq)).collect();
        prop_assert_eq!(living, expected);
        for (node, seq) in highest {
            prop_assert_eq!(table.claims(&name(node)).unwrap()[0].label, seq as u32);
        }
        prop_assert!(table.graph(&[], &BTreeSet::new()).len() <= 6);
    }
}
