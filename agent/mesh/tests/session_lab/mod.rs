//! Two ends of a session and a network that loses, delays, reorders and repeats, in simulated time.
#![allow(dead_code, reason = "each test binary uses its part")]

#[path = "../pair/mod.rs"]
pub mod pair;

use pair::Random;
use std::{cmp::Reverse, collections::BinaryHeap};
use x0_mesh::{
    Time,
    handshake::Role,
    session::{Opened, PathSet, Session, SessionError, SessionLimits, SessionSet, TailPool},
};
use x0_mesh_wire::Inner;

pub const MS: u64 = 1_000_000;

/// The network, both directions alike.
#[derive(Clone, Debug)]
pub struct Network {
    pub delay_ms: (u64, u64),
    pub loss_ppm: u64,
    pub copies_ppm: u64,
    /// What end n sends is lost.
    pub cut: [bool; 2],
}

impl Default for Network {
    fn default() -> Self {
        Self { delay_ms: (1, 2), loss_ppm: 0, copies_ppm: 0, cut: [false; 2] }
    }
}

pub struct Peer {
    pub sessions: SessionSet,
    pub pool: TailPool,
    pub random: Random,
    /// Numbers of the packets that were delivered, in order.
    pub delivered: Vec<u64>,
    pub refused: Vec<SessionError>,
    /// Bodies of data that arrived, by the number in them, whether opened or not.
    pub next: u64,
    pub blocked: u64,
}

/// A body on its way: when it arrives, in which order it was sent, at which end, its bytes, and the number of its
/// packet.
type Flying = (Time, u64, usize, Vec<u8>, Option<u64>);

pub struct Lab {
    pub now: Time,
    pub network: Network,
    pub random: Random,
    pub peers: [Peer; 2],
    flying: BinaryHeap<Reverse<Flying>>,
    sent: u64,
    /// Bodies that were sent, for replays.
    pub tape: Vec<(usize, Vec<u8>)>,
    /// For each end the numbers of its packets of which at least one copy arrived.
    pub arrived: [std::collections::BTreeSet<u64>; 2],
}

impl Lab {
    pub fn empty(seed: u64) -> Self {
        let peer = |seed| Peer {
            sessions: SessionSet::new(),
            pool: TailPool::new(1 << 20),
            random: Random(seed),
            delivered: vec![],
            refused: vec![],
            next: 0,
            blocked: 0,
        };
        Self {
            now: Time(0),
            network: Network::default(),
            random: Random(seed),
            peers: [peer(seed + 1), peer(seed + 2)],
            flying: BinaryHeap::new(),
            sent: 0,
            tape: vec![],
            arrived: Default::default(),
        }
    }

    /// One session; end 0 has begun it.
    pub fn new(seed: u64, limits: SessionLimits) -> Self {
        let mut lab = Self::empty(seed);
        lab.install(0, Role::Initiator, 1, limits);
        lab.install(1, Role::Responder, 1, limits);
        lab
    }

    /// Gives an end its half of the handshake with this number.
    pub fn install(&mut self, end: usize, role: Role, number: u8, limits: SessionLimits) {
        let (initiator, responder) = pair::keys(number);
        let keys = if role == Role::Initiator { initiator } else { responder };
        let index = |end: usize| u32::from(number) * 10 + u32::from(end == 1);
        let peer = &mut self.peers[end];
        let session =
            Session::with_limits(keys, role, (index(end), index(1 - end)), self.now, &mut peer.random, limits);
        peer.sessions.install(self.now, session);
    }

    pub fn session(&mut self, end: usize) -> &mut Session {
        self.peers[end].sessions.sending().unwrap()
    }

    /// Sends the next numbered packet of an end. False when its session refuses.
    pub fn send(&mut self, end: usize) -> bool {
        let peer = &mut self.peers[end];
        let mut out = vec![0; 300];
        let number = peer.next;
        let mut packet = number.to_be_bytes().to_vec();
        packet.resize(8 + (number % 100) as usize, 0x45);
        let Some(session) = peer.sessions.sending() else { return false };
        match session.seal(self.now, &Inner::Packet(&packet), &mut out) {
            Ok(sealed) => {
                peer.next += 1;
                out.truncate(sealed.bytes);
                session.sent(self.now, &mut peer.pool, PathSet::of(0), sealed.pn, &out);
                self.fly(end, out, Some(number));
                true
            }
            Err(_) => {
                peer.blocked += 1;
                false
            }
        }
    }

    pub fn fly(&mut self, from: usize, body: Vec<u8>, number: Option<u64>) {
        self.tape.push((from, body.clone()));
        let copies = 1 + usize::from(self.random.chance(self.network.copies_ppm));
        for _ in 0..copies {
            if self.network.cut[from] || self.random.chance(self.network.loss_ppm) {
                continue;
            }
            let (least, most) = self.network.delay_ms;
            let at = self.now.plus_us(least * 1_000 + self.random.below((most - least) * 1_000 + 1));
            self.sent += 1;
            self.flying.push(Reverse((at, self.sent, 1 - from, body.clone(), number)));
        }
    }

    /// Hands a body to an end now.
    pub fn inject(&mut self, to: usize, mut body: Vec<u8>) {
        let peer = &mut self.peers[to];
        match peer.sessions.open(self.now, &mut body) {
            Ok(Opened::Packet(packet)) => {
                peer.delivered.push(u64::from_be_bytes(packet[..8].try_into().unwrap()));
            }
            Ok(_) => {}
            Err(error) => peer.refused.push(error),
        }
    }

    /// Lets time pass.
    pub fn run_ms(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        loop {
            for from in 0..2 {
                self.talk(from);
            }
            let flying = self.flying.peek().map(|Reverse((at, ..))| *at);
            let due = self.peers.iter().filter_map(|peer| peer.sessions.deadline());
            let Some(next) = flying.into_iter().chain(due).min().filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            while let Some(Reverse((at, ..))) = self.flying.peek()
                && *at <= self.now
            {
                let Reverse((_, _, to, body, number)) = self.flying.pop().unwrap();
                if let Some(number) = number {
                    self.arrived[1 - to].insert(number);
                }
                self.inject(to, body);
            }
            for peer in &mut self.peers {
                peer.sessions.prune(self.now);
            }
        }
    }

    fn talk(&mut self, from: usize) {
        let mut out = vec![];
        let peer = &mut self.peers[from];
        for session in peer.sessions.iter_mut() {
            let mut buffer = vec![0; 1_500];
            let mut said = 0;
            while let Some(sealed) = session.transmit(self.now, &mut peer.random, &mut buffer).unwrap() {
                out.push(buffer[..sealed.bytes].to_vec());
                said += 1;
                assert!(said < 20, "a session that never stops talking");
            }
            assert!(
                session.expired(self.now) || session.deadline() > self.now,
                "something is due after all was said: {session:?}"
            );
        }
        for body in out {
            self.fly(from, body, None);
        }
    }
}
