//! Nodes that do handshakes over a wire that loses, repeats, delays and cuts, all from one seed.

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};
use x0_crypto::{PublicKey, Seed, SigningKey};
use x0_mesh::{
    Entropy, NodeId, Time,
    handshake::{Action, Authority, Established, Failure, Handshakes, Job, JobDone, Local, Purpose, Refusal, Via},
};
use x0_mesh_wire::Labels;

pub const GENESIS: [u8; 32] = [0xC4; 32];
pub const MESH: [u8; 32] = [0x3E; 32];

pub struct Seeded(pub ChaCha8Rng);

impl Entropy for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

/// Whom a node knows, and whether it may connect.
#[derive(Clone, Default)]
pub struct Members {
    pub keys: HashMap<NodeId, Option<PublicKey>>,
}

impl Authority for Members {
    fn may_connect(&self, peer: &NodeId, _: Purpose) -> bool {
        self.keys.contains_key(peer)
    }

    fn public_key(&self, peer: &NodeId) -> Option<PublicKey> {
        self.keys.get(peer).cloned().flatten()
    }
}

pub fn name_of(key: &PublicKey) -> NodeId {
    NodeId(x0_crypto::blake2b_256_of(&[b"x0/account/v1", key.as_bytes()]))
}

pub fn signing_key(number: u8) -> SigningKey {
    SigningKey::from_seed(&Seed::from_bytes([number; 32])).unwrap()
}

pub struct Node {
    pub id: NodeId,
    pub key: SigningKey,
    pub address: SocketAddr,
    pub members: Members,
    pub handshakes: Handshakes,
    pub established: Vec<Established>,
    pub failed: Vec<(u32, NodeId, Failure)>,
    pub refused: Vec<Refusal>,
    pub jobs_run: usize,
    /// Bytes from and to each address, until this node verified an initiator there.
    pub balance: HashMap<SocketAddr, (usize, usize)>,
}

#[derive(Clone, Debug)]
pub struct Packet {
    pub from: usize,
    pub to: usize,
    pub via: Via,
    pub bytes: Vec<u8>,
}

enum Event {
    Packet(Packet),
    Done(usize, JobDone),
}

/// What the wire does to packets, in thousandths.
#[derive(Clone, Copy, Default, Debug)]
pub struct Weather {
    pub loss: u32,
    pub copy: u32,
    pub cut: u32,
    pub delay_us: u64,
    pub jitter_us: u64,
}

/// Whether a packet is lost, by its number in the log.
pub type Lose = Box<dyn FnMut(usize, &Packet) -> bool>;

pub struct World {
    pub now: Time,
    pub nodes: Vec<Node>,
    pub weather: Weather,
    pub rng: ChaCha8Rng,
    pub entropy: Seeded,
    /// Everything that was sent, in order.
    pub log: Vec<Packet>,
    /// Decides about each sent packet by its number in the log: whether it is lost.
    pub lose: Lose,
    /// Whether no node may send more than it received before it verified the other end.
    pub judge_amplification: bool,
    queue: BTreeMap<(Time, u64), Event>,
    serial: u64,
}

pub fn address(number: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number as u8], 7000))
}

impl World {
    /// This many nodes that all know one another.
    pub fn new(count: u8, seed: u64) -> Self {
        let keys: Vec<SigningKey> = (1..=count).map(signing_key).collect();
        let members =
            Members { keys: keys.iter().map(|key| (name_of(key.public()), Some(key.public().clone()))).collect() };
        let mut world = Self {
            now: Time(1_000_000_000),
            nodes: Vec::new(),
            weather: Weather { delay_us: 5_000, ..Weather::default() },
            rng: ChaCha8Rng::seed_from_u64(seed),
            entropy: Seeded(ChaCha8Rng::seed_from_u64(seed ^ 0xE27)),
            log: Vec::new(),
            lose: Box::new(|_, _| false),
            judge_amplification: true,
            queue: BTreeMap::new(),
            serial: 0,
        };
        for key in keys {
            let id = name_of(key.public());
            world.add(id, key, members.clone());
        }
        world
    }

    pub fn add(&mut self, id: NodeId, key: SigningKey, members: Members) -> usize {
        let local = Local { node: id, key: key.public().clone(), genesis: GENESIS, mesh_id: MESH };
        self.add_local(local, key, members)
    }

    pub fn add_local(&mut self, local: Local, key: SigningKey, members: Members) -> usize {
        let number = self.nodes.len();
        self.nodes.push(Node {
            id: local.node,
            key,
            address: address(number),
            members,
            handshakes: Handshakes::new(local, self.now, &mut self.entropy),
            established: Vec::new(),
            failed: Vec::new(),
            refused: Vec::new(),
            jobs_run: 0,
            balance: HashMap::new(),
        });
        number
    }

    pub fn id(&self, node: usize) -> NodeId {
        self.nodes[node].id
    }

    pub fn link(&self, to: usize) -> Via {
        Via::Socket { underlay: 0, address: self.nodes[to].address }
    }

    /// A route whose first hop is a link that only leads there; the labels are told apart by `marker`.
    pub fn route(&self, to: usize, marker: u32) -> Via {
        let labels = Labels::new(&[marker, marker + 1]).unwrap();
        Via::Route { link: to as u32, labels, back: Labels::new(&[marker + 1, marker]).unwrap() }
    }

    pub fn connect(&mut self, from: usize, to: usize, ways: &[Via]) -> Result<u32, x0_mesh::handshake::ConnectError> {
        let peer = self.id(to);
        self.connect_to(from, peer, ways)
    }

    pub fn connect_to(
        &mut self,
        from: usize,
        peer: NodeId,
        ways: &[Via],
    ) -> Result<u32, x0_mesh::handshake::ConnectError> {
        let mut out = Vec::new();
        let node = &mut self.nodes[from];
        let result = node.handshakes.connect(self.now, peer, ways, &node.members, &mut self.entropy, &mut out);
        self.act(from, out);
        result
    }

    fn push(&mut self, after_us: u64, event: Event) {
        self.serial += 1;
        self.queue.insert((self.now.plus_us(after_us), self.serial), event);
    }

    fn act(&mut self, node: usize, actions: Vec<Action>) {
        // From the moment of verification on a responder owes nobody restraint.
        for action in &actions {
            if let Action::Established(established) = action
                && let Via::Socket { address, .. } = established.via
            {
                self.nodes[node].balance.remove(&address);
            }
        }
        for action in actions {
            match action {
                Action::Send { via, bytes } => self.send(node, via, bytes),
                Action::Job(job) => self.run(node, job),
                Action::Established(established) => self.nodes[node].established.push(*established),
                Action::Failed { id, peer, reason, .. } => self.nodes[node].failed.push((id, peer, reason)),
            }
        }
    }

    fn run(&mut self, node: usize, job: Job) {
        self.nodes[node].jobs_run += 1;
        let done = job.run(&self.nodes[node].key);
        self.push(300, Event::Done(node, done));
    }

    fn send(&mut self, from: usize, via: Via, bytes: Vec<u8>) {
        let to = match via {
            Via::Socket { address, .. } => match self.nodes.iter().position(|node| node.address == address) {
                Some(to) => to,
                None => usize::MAX,
            },
            Via::Route { link, .. } => link as usize,
        };
        // What a node sends as an initiator it decides itself.
        let responds = match bytes[0] & 0x0F {
            1 => false,
            3 => to < self.nodes.len() && !self.nodes[from].handshakes.is_running(&self.nodes[to].id, Purpose::Link),
            _ => true,
        };
        if let Via::Socket { address, .. } = via
            && responds
            && let Some((received, sent)) = self.nodes[from].balance.get_mut(&address)
        {
            *sent += bytes.len();
            assert!(!self.judge_amplification || *sent <= *received, "{sent} bytes sent for {received} received");
        }
        let packet = Packet { from, to, via, bytes };
        let number = self.log.len();
        let lost = (self.lose)(number, &packet) || self.rng.random_range(0..1000) < self.weather.loss;
        self.log.push(packet.clone());
        if lost || to == usize::MAX {
            return;
        }
        let copies = if self.rng.random_range(0..1000) < self.weather.copy { 2 } else { 1 };
        for _ in 0..copies {
            let mut packet = packet.clone();
            if self.rng.random_range(0..1000) < self.weather.cut {
                let length = self.rng.random_range(0..packet.bytes.len());
                packet.bytes.truncate(length);
            }
            let delay = self.weather.delay_us + self.rng.random_range(0..=self.weather.jitter_us);
            self.push(delay, Event::Packet(packet));
        }
    }

    /// Hands a packet to its receiver at once; what it led to, as a refusal or how much was done.
    pub fn deliver(&mut self, packet: &Packet) -> Result<usize, Refusal> {
        let from = self.nodes.get(packet.from).map_or(address(250), |node| node.address);
        self.deliver_from(packet, from)
    }

    pub fn deliver_from(&mut self, packet: &Packet, from: SocketAddr) -> Result<usize, Refusal> {
        let mut out = Vec::new();
        let node = &mut self.nodes[packet.to];
        let members = node.members.clone();
        let result = match packet.via {
            Via::Socket { underlay, .. } => {
                // Only who has not been verified is judged by what it sent.
                let verified =
                    node.established.iter().any(|e| matches!(e.via, Via::Socket { address, .. } if address == from));
                match packet.bytes.first().map(|byte| byte & 0x0F) {
                    Some(1) if !verified => node.balance.entry(from).or_default().0 += packet.bytes.len(),
                    Some(3) => {
                        if let Some(balance) = node.balance.get_mut(&from) {
                            balance.0 += packet.bytes.len();
                        }
                    }
                    _ => {}
                }
                node.handshakes.link_datagram(
                    self.now,
                    underlay,
                    from,
                    &packet.bytes,
                    &members,
                    &mut self.entropy,
                    &mut out,
                )
            }
            Via::Route { .. } => {
                let bytes = packet.bytes.get(4..).unwrap_or(&[]);
                let link = packet.from as u32;
                node.handshakes.end_to_end_datagram(self.now, link, bytes, &members, &mut self.entropy, &mut out)
            }
        };
        if let Err(refusal) = result {
            node.refused.push(refusal);
        }
        let actions = out.len();
        self.act(packet.to, out);
        result.map(|()| actions)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Packet(packet) => {
                let _ = self.deliver(&packet);
            }
            Event::Done(number, done) => {
                let mut out = Vec::new();
                let node = &mut self.nodes[number];
                let members = node.members.clone();
                if let Err(refusal) = node.handshakes.complete(self.now, done, &members, &mut self.entropy, &mut out) {
                    node.refused.push(refusal);
                }
                self.act(number, out);
            }
        }
    }

    /// When something happens next.
    fn next(&self) -> Option<Time> {
        let timers = self.nodes.iter().filter_map(|node| node.handshakes.deadline());
        timers.chain(self.queue.first_key_value().map(|((at, _), _)| *at)).min()
    }

    /// Does what happens next, unless it is after `until`.
    pub fn step(&mut self, until: Time) -> bool {
        let Some(next) = self.next().filter(|next| *next <= until) else { return false };
        self.now = self.now.max(next);
        if let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= self.now
        {
            let event = entry.remove();
            self.handle(event);
            return true;
        }
        for number in 0..self.nodes.len() {
            let node = &mut self.nodes[number];
            if node.handshakes.deadline().is_some_and(|due| due <= self.now) {
                let mut out = Vec::new();
                let members = node.members.clone();
                node.handshakes.tick(self.now, &members, &mut self.entropy, &mut out);
                self.act(number, out);
            }
        }
        true
    }

    /// Runs for this long.
    pub fn run_ms(&mut self, ms: u64) {
        let until = self.now.plus_ms(ms);
        while self.step(until) {}
        self.now = until;
    }

    /// Runs until the next packet would be delivered and takes it out.
    pub fn catch(&mut self, ms: u64) -> Option<Packet> {
        let until = self.now.plus_ms(ms);
        loop {
            let next = self.next().filter(|next| *next <= until)?;
            if let Some(entry) = self.queue.first_entry()
                && entry.key().0 <= next
                && matches!(entry.get(), Event::Packet(_))
            {
                self.now = self.now.max(next);
                let Event::Packet(packet) = entry.remove() else { return None };
                return Some(packet);
            }
            self.step(until);
        }
    }
}

/// Whether two ends hold the same keys, the right way round.
pub fn match_up(a: &Established, b: &Established) -> bool {
    let sealed = |keys: &x0_mesh::handshake::Keys, other: &x0_mesh::handshake::Keys| {
        let mut bytes = b"a packet".to_vec();
        let tag = keys.send.seal_in_place(7, b"aad", &mut bytes).unwrap();
        bytes.extend(tag);
        other.receive.open_in_place(7, b"aad", &mut bytes).is_ok_and(|plain| plain == b"a packet")
            && keys.send_mac == other.receive_mac
            && keys.send_tags.tag(3) == other.receive_tags.tag(3)
    };
    a.keys.transcript == b.keys.transcript
        && a.local_id == b.peer_id
        && b.local_id == a.peer_id
        && a.role != b.role
        && a.purpose == b.purpose
        && sealed(&a.keys, &b.keys)
        && sealed(&b.keys, &a.keys)
}
