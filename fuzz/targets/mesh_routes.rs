//! A router among neighbours of which each says what the input wants: messages, records with signatures that hold or
//! not, links that come and go, time that passes. Nothing panics, memory and messages stay bounded, and nobody but a
//! signature changes what is believed of a node.
#![no_main]
#![allow(missing_docs, reason = "the macro makes an undocumented entry point")]

use std::collections::BTreeMap;
use x0_mesh::{
    NodeId, Time,
    route::{
        Adjacency, DeltaClaim, LinkRecord, LinkState, Message, Output, OwnLink, Router, RouterConfig, SignedRecord,
        Verdict,
    },
};
use x0_mesh_wire::limits::{
    ROUTE_CHUNK_BYTES, ROUTE_MESSAGE_BYTES_MAX, ROUTE_NODES_MAX, ROUTE_SIGNATURE_BYTES, ROUTE_VERIFY_PENDING_MAX,
};

const MESH: [u8; 32] = [2; 32];
/// Own links: labels 1 to 4, two of them to the same neighbour.
const NEIGHBOURS: [u8; 4] = [1, 1, 2, 3];

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

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }

    fn state(&mut self) -> LinkState {
        match self.byte() % 4 {
            0 => LinkState::Down,
            1 => LinkState::Recovering,
            2 => LinkState::Suspect,
            _ => LinkState::Up,
        }
    }

    fn claims(&mut self) -> Vec<Adjacency> {
        let count = self.byte() % 36;
        (0..count)
            .map(|_| Adjacency {
                neighbour: name(self.byte() % 8),
                label: u32::from(self.byte()),
                underlay: u32::from(self.byte() % 3),
                quality: u16::from_be_bytes([self.byte(), 0]),
                up: !self.byte().is_multiple_of(4),
            })
            .collect()
    }
}

struct Fuzzed {
    router: Router,
    now: Time,
    /// Tickets that wait, with the node whose record it is and its number.
    tickets: BTreeMap<u64, (NodeId, u64)>,
    /// The highest number of each node whose signature held.
    signed: BTreeMap<NodeId, u64>,
}

impl Fuzzed {
    fn carry_out(&mut self, out: Vec<Output>, input: &mut Input<'_>) {
        for output in out {
            match output {
                Output::Send { label, bytes } => {
                    assert!(bytes.len() <= ROUTE_MESSAGE_BYTES_MAX, "a message is too long");
                    assert!(Message::read(&bytes).is_ok(), "an own message cannot be read");
                    assert!((1..=4).contains(&label), "a message over no link");
                }
                Output::Sign { seq, .. } => self.router.signed(self.now, seq, Some(&[1; ROUTE_SIGNATURE_BYTES])),
                Output::Verify { ticket, record } => {
                    self.tickets.insert(ticket, (record.record.node, record.record.seq));
                    let limit = ROUTE_VERIFY_PENDING_MAX * NEIGHBOURS.len();
                    assert!(self.tickets.len() <= limit + 256, "too many verifications wait");
                }
                Output::Plan(request) => {
                    if !input.byte().is_multiple_of(4) {
                        self.router.planned(request.run());
                    }
                }
                Output::Suspect { .. } | Output::Refused { .. } => {}
            }
        }
    }

    fn say(&mut self, label: u32, bytes: &[u8], input: &mut Input<'_>) {
        let mut out = Vec::new();
        // Refused or not, both are right; what it may change is checked after each step.
        let refused = self.router.message(self.now, label, bytes, &mut out).is_err();
        assert!(!refused || out.is_empty(), "a refused message has consequences");
        self.carry_out(out, input);
    }

    fn say_record(&mut self, label: u32, record: LinkRecord, age_s: u16, input: &mut Input<'_>) {
        let (node, seq) = (record.node, record.seq);
        let signed = SignedRecord::new(record, &[1; ROUTE_SIGNATURE_BYTES]);
        let total = u16::try_from(signed.bytes().len()).unwrap_or(u16::MAX);
        for (index, piece) in (0u8..).zip(signed.bytes().chunks(ROUTE_CHUNK_BYTES)) {
            let chunk = Message::Chunk { node, seq, age_s, total, index, bytes: piece.to_vec() };
            self.say(label, &chunk.bytes(), input);
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let label = u32::from(input.byte() % 5);
        let mut out = Vec::new();
        match input.byte() % 9 {
            0 => {
                let length = usize::from(input.byte()) * 5;
                let bytes = input.bytes(length);
                self.say(label, &bytes, input);
            }
            1 | 2 => {
                let (node, seq, age_s) = (name(input.byte() % 8), u64::from(input.byte()), u16::from(input.byte()));
                let lifetime_s = u16::from_be_bytes([input.byte() % 2, input.byte()]);
                let record = LinkRecord { mesh: MESH, node, seq, lifetime_s, adjacencies: input.claims() };
                self.say_record(label, record, age_s, input);
            }
            3 => {
                if let Some((ticket, (node, seq))) = self.tickets.pop_first() {
                    let verdict = match input.byte() % 4 {
                        0 => Verdict::Invalid,
                        1 => Verdict::UnknownNode,
                        _ => Verdict::Valid,
                    };
                    if verdict == Verdict::Valid {
                        let highest = self.signed.entry(node).or_default();
                        *highest = seq.max(*highest);
                    }
                    let done = self.router.verified(self.now, ticket, verdict, &mut out).is_ok();
                    assert!(!done || verdict == Verdict::Valid, "a record without a valid signature is taken over");
                }
            }
            4 => {
                let neighbour = NEIGHBOURS.get(usize::from(input.byte() % 4)).copied().unwrap_or(1);
                let label = u32::from(neighbour) + u32::from(neighbour > 1) * (label % 2);
                let (quality, state) = (u16::from_be_bytes([input.byte(), 0]), input.state());
                let link = OwnLink { label, neighbour: name(neighbour), underlay: label % 2, quality, state };
                self.router.link(self.now, link, &mut out);
            }
            5 => self.router.link_gone(self.now, label, &mut out),
            6 => {
                let changes = input.claims().into_iter().map(|claim| DeltaClaim {
                    label: claim.label,
                    quality: claim.quality,
                    up: claim.up,
                });
                let (base, number) = (u64::from(input.byte()), u32::from(input.byte()));
                let delta = Message::Delta { base, number, changes: changes.collect() };
                self.say(label, &delta.bytes(), input);
            }
            7 => {
                self.router.used(self.now, name(input.byte() % 8), &[label, u32::from(input.byte())]);
                let (owner, dead, hops) = (name(input.byte() % 8), u32::from(input.byte()), input.byte() % 10);
                self.say(label, &Message::LinkDown { owner, label: dead, hops }.bytes(), input);
            }
            _ => {
                self.now = self.now.plus_ms(u64::from(input.byte()) * u64::from(input.byte()));
                self.router.tick(self.now, &mut out);
            }
        }
        self.carry_out(out, input);
        let table = self.router.table();
        assert!(table.len() <= ROUTE_NODES_MAX);
        for (node, seq) in table.living().filter(|(node, _)| *node != name(0)) {
            assert!(self.signed.get(&node).is_some_and(|highest| seq <= *highest), "believed without a signature");
        }
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    x0_fuzz::round_trip(bytes, Message::read, Message::bytes);
    x0_fuzz::round_trip(bytes, LinkRecord::read, LinkRecord::body);
    x0_fuzz::round_trip(bytes, SignedRecord::read, |record| record.bytes().to_vec());
    let now = Time(1_000_000_000);
    let mut router = Router::new(RouterConfig { me: name(0), mesh: MESH, first_seq: 1, seed: 7 }, now);
    router.want(name(5));
    let mut fuzzed = Fuzzed { router, now, tickets: BTreeMap::new(), signed: BTreeMap::new() };
    for (label, neighbour) in (1u32..).zip(NEIGHBOURS) {
        let link =
            OwnLink { label, neighbour: name(neighbour), underlay: label % 2, quality: 60_000, state: LinkState::Up };
        fuzzed.router.link(now, link, &mut Vec::new());
    }
    let mut input = Input(bytes);
    for _ in 0..256 {
        if input.0.is_empty() {
            break;
        }
        fuzzed.step(&mut input);
    }
});
