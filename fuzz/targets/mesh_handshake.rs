//! Two nodes that do handshakes, and a network that the input controls: it loses, repeats, changes and
//! forges. Neither side panics, and who ends with a session has it with the other, with the same keys.
#![no_main]
#![allow(missing_docs, reason = "the macro makes an undocumented entry point")]

use std::{collections::VecDeque, net::SocketAddr, sync::OnceLock};
use x0_crypto::{PublicKey, SigningKey, mesh::hello_mac_key};
use x0_mesh::{
    Entropy, NodeId, Time,
    handshake::{Action, Authority, Handshakes, Job, Local, Purpose, Role, Via},
};
use x0_mesh_wire::{HopKey, Kind, Labels, handshake::Envelope};

const GENESIS: [u8; 32] = [1; 32];
const MESH: [u8; 32] = [2; 32];
const NODES: usize = 2;
const DATAGRAMS_MAX: usize = 64;

struct Counting(u64);

impl Entropy for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let random = (self.0 ^ self.0 >> 29).to_le_bytes();
            chunk.iter_mut().zip(random).for_each(|(place, random)| *place = random);
        }
    }
}

/// The keys are made once: they do not depend on the input.
fn keys() -> &'static [SigningKey] {
    static KEYS: OnceLock<Vec<SigningKey>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let names = ["fuzz-a", "fuzz-b"];
        names.iter().filter_map(|name| SigningKey::from_seed(&x0_crypto::dev::seed(name, "agent")).ok()).collect()
    })
}

fn name_of(key: &PublicKey) -> NodeId {
    NodeId(x0_crypto::blake2b_256_of(&[b"x0/account/v1", key.as_bytes()]))
}

struct Everyone;

impl Authority for Everyone {
    fn may_connect(&self, peer: &NodeId, _: Purpose) -> bool {
        keys().iter().any(|key| name_of(key.public()) == *peer)
    }

    fn public_key(&self, peer: &NodeId) -> Option<PublicKey> {
        keys().iter().map(SigningKey::public).find(|key| name_of(key) == *peer).cloned()
    }
}

struct World {
    now: Time,
    nodes: Vec<Handshakes>,
    entropy: Counting,
    /// Receiver and bytes, and whether they travel end to end.
    wire: VecDeque<(usize, Vec<u8>, bool)>,
    jobs: VecDeque<(usize, Job)>,
    /// Node, role, own id, peer's id and name of the keys.
    sessions: Vec<(usize, Role, u32, u32, [u8; 32])>,
}

fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(node).unwrap_or(9)], 7))
}

impl World {
    fn new() -> Self {
        let mut entropy = Counting(1);
        let local = |key: &SigningKey| Local {
            node: name_of(key.public()),
            key: key.public().clone(),
            genesis: GENESIS,
            mesh_id: MESH,
        };
        let nodes = keys().iter().map(|key| Handshakes::new(local(key), Time(0), &mut entropy)).collect();
        let (wire, jobs, sessions) = (VecDeque::new(), VecDeque::new(), Vec::new());
        Self { now: Time(0), nodes, entropy, wire, jobs, sessions }
    }

    fn act(&mut self, node: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send { via, bytes } if self.wire.len() < DATAGRAMS_MAX => {
                    self.wire.push_back((1 - node, bytes, matches!(via, Via::Route { .. })));
                }
                Action::Job(job) => self.jobs.push_back((node, job)),
                Action::Established(established) => {
                    let ids = (established.local_id, established.peer_id);
                    self.sessions.push((node, established.role, ids.0, ids.1, established.keys.transcript));
                }
                Action::Send { .. } | Action::Failed { .. } => {}
            }
        }
    }

    fn connect(&mut self, node: usize, end_to_end: bool) {
        let via = if end_to_end {
            Via::Route { link: 1, labels: Labels::NONE, back: Labels::NONE }
        } else {
            Via::Socket { underlay: 0, address: address(1 - node) }
        };
        let Some(peer) = keys().get(1 - node).map(|key| name_of(key.public())) else { return };
        let mut out = Vec::new();
        if let Some(handshakes) = self.nodes.get_mut(node) {
            let _ = handshakes.connect(self.now, peer, &[via], &Everyone, &mut self.entropy, &mut out);
        }
        self.act(node, out);
    }

    fn deliver(&mut self, to: usize, bytes: &[u8], end_to_end: bool) {
        let mut out = Vec::new();
        let Some(handshakes) = self.nodes.get_mut(to) else { return };
        let _ = if end_to_end {
            let bytes = bytes.get(4..).unwrap_or(&[]);
            handshakes.end_to_end_datagram(self.now, 1, bytes, &Everyone, &mut self.entropy, &mut out)
        } else {
            let from = address(1 - to);
            handshakes.link_datagram(self.now, 0, from, bytes, &Everyone, &mut self.entropy, &mut out)
        };
        self.act(to, out);
    }

    fn run_job(&mut self) {
        let Some((node, job)) = self.jobs.pop_front() else { return };
        let (Some(key), Some(handshakes)) = (keys().get(node), self.nodes.get_mut(node)) else { return };
        let mut out = Vec::new();
        let _ = handshakes.complete(self.now, job.run(key), &Everyone, &mut self.entropy, &mut out);
        self.act(node, out);
    }

    fn wait(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        for node in 0..NODES {
            let mut out = Vec::new();
            if let Some(handshakes) = self.nodes.get_mut(node) {
                handshakes.tick(self.now, &Everyone, &mut self.entropy, &mut out);
            }
            self.act(node, out);
        }
    }

    /// Makes the MAC of a changed hello right again, as anyone can who knows the name.
    fn repair(&self, to: usize, bytes: &mut [u8]) {
        let Some(name) = keys().get(to).map(|key| name_of(key.public())) else { return };
        let key = HopKey::new(hello_mac_key(&GENESIS, &MESH, &name.0));
        let mut copy = bytes.to_vec();
        let written = Envelope::read_link(bytes)
            .is_ok_and(|read| Envelope::seal(Kind::Hello, 0, read.body, &key).write_link(&mut copy).is_ok());
        if written {
            bytes.copy_from_slice(&copy);
        }
    }

    fn check(&self) {
        for (node, role, own, peer, keys) in &self.sessions {
            let others = self.sessions.iter().filter(|other| other.0 != *node && (other.2, other.3) == (*peer, *own));
            let others: Vec<_> = others.collect();
            assert!(others.iter().all(|other| other.4 == *keys && other.1 != *role), "two ends with different keys");
            assert!(*role == Role::Responder || others.len() == 1, "an initiator alone");
        }
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut world = World::new();
    let mut input = bytes.iter().copied();
    let mut steps = 0;
    while let Some(step) = input.next().filter(|_| steps < 200) {
        steps += 1;
        let mut next = || usize::from(input.next().unwrap_or(0));
        match step % 12 {
            0..3 => {
                if let Some((to, bytes, end_to_end)) = world.wire.pop_front() {
                    world.deliver(to, &bytes, end_to_end);
                }
            }
            3 | 4 => world.run_job(),
            5 => drop(world.wire.pop_front()),
            6 => {
                if let Some(first) = world.wire.front().cloned().filter(|_| world.wire.len() < DATAGRAMS_MAX) {
                    world.wire.push_back(first);
                }
            }
            7 | 8 => {
                let (at, change) = (next() << 8 | next(), next());
                if let Some((to, mut bytes, end_to_end)) = world.wire.front().cloned() {
                    let length = bytes.len().max(1);
                    if let Some(byte) = bytes.get_mut(at % length) {
                        *byte ^= u8::try_from(change).unwrap_or(1);
                    }
                    if step % 12 == 8 {
                        world.repair(to, &mut bytes);
                    }
                    world.deliver(to, &bytes, end_to_end);
                }
            }
            9 => {
                let ms = next() as u64 * 8;
                world.wait(ms);
            }
            10 => {
                let which = next();
                world.connect(which % NODES, which & 2 != 0);
            }
            _ => {
                let (to, length) = (next() % NODES, next());
                let raw: Vec<u8> = (0..length).map(|_| u8::try_from(next()).unwrap_or(0)).collect();
                world.deliver(to, &raw, length % 2 == 0);
            }
        }
        world.check();
    }
});
