//! Nodes, wires and virtual time in one process.

use super::{
    oracle::Oracle,
    random::Random,
    wires::{Port, Wire, Wires},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    net::{Ipv4Addr, SocketAddr},
};
use x0_crypto::{Seed, SigningKey};
use x0_mesh::{
    NodeId, Time,
    node::{
        AuthorityView, Config, Event, Identity, Job, JobDone, Mesh, Peer, Rights, Sink, Underlay, UnderlayId, Urgency,
    },
};

/// Datagrams that wait for a frozen node; more are dropped, as a socket buffer does.
const FROZEN_QUEUE: usize = 2_000;
const GENESIS: [u8; 32] = [0xAB; 32];
const MESH: [u8; 32] = [0xCD; 32];

/// Whether a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Runs,
    /// SIGSTOP: what arrives waits, nothing is answered.
    Frozen,
    /// SIGKILL: what arrives is gone.
    Dead,
}

/// A node and what surrounds it.
pub struct Node {
    pub mesh: Mesh,
    pub id: NodeId,
    pub key: SigningKey,
    pub life: Life,
    pub view: AuthorityView,
    /// Its address on each underlay.
    pub addresses: BTreeMap<u16, SocketAddr>,
    /// How often its timer woke it.
    pub ticks: u64,
    /// Everything it said.
    pub events: Vec<(u64, Event)>,
    waiting: Vec<(u64, u16, SocketAddr, Vec<u8>)>,
    timer_us: u64,
    worker_free_us: u64,
    unanswered: Vec<JobDone>,
}

/// What happens at a moment.
enum Happening {
    Arrival { node: usize, underlay: u16, from: SocketAddr, bytes: Vec<u8> },
    Timer { node: usize },
    Answer { node: usize, done: JobDone },
    Packet { stream: usize },
}

struct Scheduled {
    at_us: u64,
    order: u64,
    what: Happening,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at_us, self.order) == (other.at_us, other.order)
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.order).cmp(&(other.at_us, other.order))
    }
}

/// A steady stream of packets from one host to another.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    pub from: usize,
    pub to: usize,
    pub every_us: u64,
    pub bytes: usize,
    pub until_us: u64,
}

/// Everything.
pub struct World {
    pub now_us: u64,
    pub nodes: Vec<Node>,
    pub wires: Wires,
    pub oracle: Oracle,
    pub random: Random,
    /// Datagrams put on wires, by kind.
    pub frames: [u64; 16],
    /// The last frame that node 0 put on a wire.
    pub last_frame: Option<Vec<u8>>,
    /// Data frames put on wires, by port.
    pub data_out: BTreeMap<Port, u64>,
    /// Shortest time that a job takes, and the span above it, microseconds.
    pub job_us: (u64, u64),
    streams: Vec<Stream>,
    queue: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
}

/// Collects what a call into a mesh hands out.
#[derive(Default)]
struct Collected {
    sends: Vec<(u16, SocketAddr, Vec<u8>)>,
    delivered: Vec<(NodeId, Vec<u8>)>,
    jobs: Vec<Job>,
    events: Vec<Event>,
}

impl Sink for Collected {
    fn send(&mut self, underlay: UnderlayId, to: SocketAddr, _: Urgency, bytes: &[u8]) {
        self.sends.push((underlay.0, to, bytes.to_vec()));
    }
    fn deliver(&mut self, from: &NodeId, packet: &[u8]) {
        self.delivered.push((*from, packet.to_vec()));
    }
    fn job(&mut self, job: Job) {
        self.jobs.push(job);
    }
    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
}

/// The address of a node on an underlay.
pub fn address(node: usize, underlay: u16) -> SocketAddr {
    let [high, low] = u16::try_from(node).unwrap().to_be_bytes();
    (Ipv4Addr::new(10, u8::try_from(underlay).unwrap(), high, low), 7000).into()
}

/// The signing key of a node: the same in every run.
pub fn signing_key(node: usize) -> SigningKey {
    let mut seed = [0x5A; 32];
    seed[..8].copy_from_slice(&(node as u64).to_le_bytes());
    SigningKey::from_seed(&Seed::from_bytes(seed)).unwrap()
}

/// A node that knows nothing yet.
fn start(key: &SigningKey, underlays: u16, start_number: u64, seed: u64, now: Time) -> Mesh {
    let underlays = (0..underlays)
        .map(|u| Underlay { id: UnderlayId(u), name: format!("eth{u}"), payload_bytes_max: 1472, srlg: u32::from(u) })
        .collect();
    let config = Config { genesis: GENESIS, mesh_id: MESH, start_number, underlays };
    let identity = Identity { id: x0_mesh::node::node_id(key.public()), key: key.public().clone() };
    Mesh::new(config, identity, Box::new(Random(seed)), now).unwrap()
}

impl World {
    /// So many nodes with so many underlays each, without wires; nobody knows anybody.
    pub fn new(seed: u64, nodes: usize, underlays: u16) -> Self {
        let mut random = Random(seed ^ 0x6D65_7368);
        let nodes = (0..nodes)
            .map(|n| {
                let key = signing_key(n);
                let mesh = start(&key, underlays, 1, random.next(), Time(0));
                Node {
                    mesh,
                    id: x0_mesh::node::node_id(key.public()),
                    key,
                    life: Life::Runs,
                    view: AuthorityView::default(),
                    addresses: (0..underlays).map(|u| (u, address(n, u))).collect(),
                    ticks: 0,
                    events: Vec::new(),
                    waiting: Vec::new(),
                    timer_us: u64::MAX,
                    worker_free_us: 0,
                    unanswered: Vec::new(),
                }
            })
            .collect();
        Self {
            now_us: 0,
            nodes,
            wires: Wires::default(),
            oracle: Oracle::default(),
            random,
            frames: [0; 16],
            last_frame: None,
            data_out: BTreeMap::new(),
            job_us: (80, 250),
            streams: Vec::new(),
            queue: BinaryHeap::new(),
            order: 0,
        }
    }

    /// Tells everybody about everybody, with the addresses that a wire joins, and full rights.
    pub fn introduce_all(&mut self) {
        for n in 0..self.nodes.len() {
            let peers = (0..self.nodes.len()).filter(|m| *m != n).map(|m| self.peer_of(n, m)).collect();
            self.set_view(n, peers);
        }
    }

    /// What `n` is told about `m`: addresses are those that a wire of `n` leads to.
    pub fn peer_of(&self, n: usize, m: usize) -> Peer {
        let addresses = self
            .wires
            .0
            .keys()
            .filter(|(from, to)| from.0 == n && to.0 == m)
            .map(|(from, to)| (UnderlayId(from.1), self.nodes[m].addresses[&to.1]))
            .collect();
        let node = &self.nodes[m];
        Peer { id: node.id, key: node.key.public().clone(), addresses, trust_q16: 65_536, rights: Rights::ALL }
    }

    /// Gives a node a new view of the authority.
    pub fn set_view(&mut self, n: usize, peers: Vec<Peer>) {
        let height = self.nodes[n].view.height + 1;
        self.nodes[n].view = AuthorityView { height, peers };
        let view = self.nodes[n].view.clone();
        self.call(n, |mesh, now, sink| mesh.update_authority(now, view, sink).unwrap());
    }

    /// Takes a peer out of a node's view.
    pub fn expel(&mut self, n: usize, m: usize) {
        let id = self.nodes[m].id;
        let peers = self.nodes[n].view.peers.iter().filter(|peer| peer.id != id).cloned().collect();
        self.set_view(n, peers);
    }

    /// Adds a stream of packets that starts now.
    pub fn stream(&mut self, stream: Stream) {
        self.streams.push(stream);
        self.schedule(self.now_us, Happening::Packet { stream: self.streams.len() - 1 });
    }

    /// Sends one packet of so many bytes.
    pub fn send(&mut self, from: usize, to: usize, bytes: usize) {
        let (source, target) = (self.nodes[from].mesh.address(), self.nodes[to].mesh.address());
        let packet = self.oracle.packet(self.now_us, from, to, source, target, bytes);
        self.send_raw(from, &packet);
    }

    /// Hands any bytes to a node's TUN side.
    pub fn send_raw(&mut self, from: usize, packet: &[u8]) {
        if self.nodes[from].life == Life::Runs {
            self.call(from, |mesh, now, sink| {
                mesh.packet(now, packet, sink);
                mesh.flush(now, sink);
            });
        }
    }

    /// Puts any bytes on the way to a node.
    pub fn inject(&mut self, node: usize, underlay: u16, from: SocketAddr, bytes: Vec<u8>, after_us: u64) {
        self.schedule(self.now_us + after_us, Happening::Arrival { node, underlay, from, bytes });
    }

    /// Kills a node and starts it again with nothing but its key and the authority's view.
    pub fn restart(&mut self, n: usize) {
        let (seed, now) = (self.random.next(), Time(self.now_us * 1_000));
        let node = &mut self.nodes[n];
        let underlays = u16::try_from(node.addresses.len()).unwrap();
        node.mesh = start(&node.key, underlays, 2, seed, now);
        (node.timer_us, node.life) = (u64::MAX, Life::Runs);
        (node.waiting, node.unanswered) = (Vec::new(), Vec::new());
        let peers = node.view.peers.clone();
        self.set_view(n, peers);
    }

    /// Stops, kills or resumes a node.
    pub fn set_life(&mut self, n: usize, life: Life) {
        self.nodes[n].life = life;
        if life == Life::Runs {
            for (received, underlay, from, bytes) in std::mem::take(&mut self.nodes[n].waiting) {
                self.arrive(n, received, underlay, from, bytes);
            }
            for done in std::mem::take(&mut self.nodes[n].unanswered) {
                self.call(n, |mesh, now, sink| mesh.complete(now, done, sink));
            }
            self.call(n, |mesh, now, sink| mesh.tick(now, sink));
        } else if life == Life::Dead {
            self.nodes[n].waiting.clear();
        }
    }

    /// Lets virtual time pass.
    pub fn run_us(&mut self, span_us: u64) {
        let end_us = self.now_us + span_us;
        while self.queue.peek().is_some_and(|Reverse(next)| next.at_us <= end_us) {
            let Some(Reverse(next)) = self.queue.pop() else { break };
            self.now_us = next.at_us;
            self.happen(next.what);
        }
        self.now_us = end_us;
    }

    /// Lets virtual time pass until something is true, at most so long; says whether it came true.
    pub fn run_until(&mut self, most_us: u64, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end_us = self.now_us + most_us;
        while self.now_us < end_us {
            if done(self) {
                return true;
            }
            self.run_us(1_000.min(end_us - self.now_us));
        }
        done(self)
    }

    /// The underlay that carries most of a node's data, measured over the next 40 ms.
    pub fn busiest_underlay(&mut self, n: usize) -> u16 {
        let before = self.data_out.clone();
        self.run_us(40_000);
        let gained = |port: &Port, count: &u64| count - before.get(port).copied().unwrap_or(0);
        let most = self.data_out.iter().filter(|(port, _)| port.0 == n).max_by_key(|(port, count)| gained(port, count));
        most.expect("the node sends data").0.1
    }

    /// Sends a packet each way every 20 ms until both arrived, and says how long that took.
    pub fn connect(&mut self, a: usize, b: usize, most_us: u64) -> u64 {
        let start_us = self.now_us;
        let arrived = |world: &Self, from, to| world.oracle.first_after(from, to, start_us).is_some();
        while !(arrived(self, a, b) && arrived(self, b, a)) {
            assert!(self.now_us < start_us + most_us, "nodes {a} and {b} did not reach each other:\n{}", self.state());
            self.send(a, b, 100);
            self.send(b, a, 100);
            self.run_us(20_000);
        }
        self.now_us - start_us
    }

    /// What all nodes say about themselves, for a failed test.
    pub fn state(&self) -> String {
        let now = Time(self.now_us * 1_000);
        self.nodes
            .iter()
            .map(|node| format!("{:#?}\n{:#?}\n", node.mesh.status(now), node.mesh.paths_explain(now)))
            .collect()
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Arrival { node, underlay, from, bytes } => match self.nodes[node].life {
                Life::Runs => self.arrive(node, self.now_us, underlay, from, bytes),
                Life::Frozen if self.nodes[node].waiting.len() < FROZEN_QUEUE => {
                    self.nodes[node].waiting.push((self.now_us, underlay, from, bytes));
                }
                Life::Frozen | Life::Dead => {}
            },
            Happening::Timer { node } => {
                if self.nodes[node].timer_us <= self.now_us {
                    self.nodes[node].timer_us = u64::MAX;
                    if self.nodes[node].life == Life::Runs {
                        self.nodes[node].ticks += 1;
                        self.call(node, |mesh, now, sink| mesh.tick(now, sink));
                    }
                }
            }
            Happening::Answer { node, done } => match self.nodes[node].life {
                Life::Runs => self.call(node, |mesh, now, sink| mesh.complete(now, done, sink)),
                Life::Frozen => self.nodes[node].unanswered.push(done),
                Life::Dead => {}
            },
            Happening::Packet { stream } => {
                let Stream { from, to, every_us, bytes, until_us } = self.streams[stream];
                if self.now_us < until_us {
                    self.send(from, to, bytes);
                    self.schedule(self.now_us + every_us, Happening::Packet { stream });
                }
            }
        }
    }

    fn arrive(&mut self, node: usize, received_us: u64, underlay: u16, from: SocketAddr, mut bytes: Vec<u8>) {
        let received = Time(received_us * 1_000);
        self.call(node, |mesh, now, sink| {
            mesh.datagram(now, received, UnderlayId(underlay), from, &mut bytes, sink);
            mesh.flush(now, sink);
        });
    }

    /// Calls into a node and does what it asks for.
    pub fn call<T>(&mut self, n: usize, work: impl FnOnce(&mut Mesh, Time, &mut dyn Sink) -> T) -> T {
        let mut out = Collected::default();
        let result = work(&mut self.nodes[n].mesh, Time(self.now_us * 1_000), &mut out);
        for (underlay, to, bytes) in out.sends {
            self.transmit(n, underlay, to, &bytes);
        }
        for (from, packet) in out.delivered {
            let named = self.nodes.iter().position(|node| node.id == from).expect("the sender is a node");
            assert_eq!(packet[8..24], self.nodes[named].mesh.address().octets(), "a packet of somebody else's address");
            self.oracle.deliver(self.now_us, n, &packet);
        }
        for job in out.jobs {
            let took_us = self.job_us.0 + self.random.below(self.job_us.1);
            let node = &mut self.nodes[n];
            node.worker_free_us = node.worker_free_us.max(self.now_us) + took_us;
            let at_us = node.worker_free_us;
            let done = job.run(&node.key);
            self.schedule(at_us, Happening::Answer { node: n, done });
        }
        for event in out.events {
            self.nodes[n].events.push((self.now_us, event));
        }
        self.set_timer(n);
        result
    }

    fn set_timer(&mut self, n: usize) {
        let Some(deadline) = self.nodes[n].mesh.deadline() else { return };
        // The thread wakes at the first microsecond that is not before the deadline.
        let at_us = deadline.0.div_ceil(1_000).max(self.now_us + 1);
        if at_us < self.nodes[n].timer_us || self.nodes[n].timer_us <= self.now_us {
            self.nodes[n].timer_us = at_us;
            self.schedule(at_us, Happening::Timer { node: n });
        }
    }

    fn transmit(&mut self, n: usize, underlay: u16, to: SocketAddr, bytes: &[u8]) {
        let kind = usize::from(bytes.first().map_or(0, |first| first & 15));
        self.frames[kind] += 1;
        if kind == 6 {
            *self.data_out.entry((n, underlay)).or_default() += 1;
        }
        if n == 0 {
            self.last_frame = Some(bytes.to_vec());
        }
        let Some(from) = self.nodes[n].addresses.get(&underlay).copied() else { return };
        let Some(target) = self.port_of(to) else { return };
        let Some(wire) = self.wires.0.get(&((n, underlay), target)) else { return };
        let fate = wire.fate(bytes, &mut self.random);
        for (after_us, flipped) in fate.arrivals {
            let mut bytes = bytes.to_vec();
            if let Some(bit) = flipped {
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            self.inject(target.0, target.1, from, bytes, after_us);
        }
        if let Some(after_us) = fate.reflected {
            self.inject(n, underlay, to, bytes.to_vec(), after_us);
        }
    }

    fn port_of(&self, address: SocketAddr) -> Option<Port> {
        self.nodes.iter().enumerate().find_map(|(n, node)| {
            node.addresses.iter().find(|(_, has)| **has == address).map(|(underlay, _)| (n, *underlay))
        })
    }

    fn schedule(&mut self, at_us: u64, what: Happening) {
        self.order += 1;
        self.queue.push(Reverse(Scheduled { at_us, order: self.order, what }));
    }
}

/// Two nodes joined by so many wires, each over underlays of its own, introduced to each other.
pub fn pair(seed: u64, wires: u16, wire: &Wire) -> World {
    let mut world = World::new(seed, 2, wires);
    for u in 0..wires {
        world.wires.join((0, u), (1, u), wire);
    }
    world.introduce_all();
    world
}
