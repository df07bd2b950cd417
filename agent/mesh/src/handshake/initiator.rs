//! One handshake that this node began.

use super::{
    Action, Authority, Established, Failure, Keys, Local, Purpose, Refusal, Role, Via,
    fragments::{self, Incoming, Outgoing, Sealer},
    job::{Confirm, Job, Outcome, Prove, Proved, Work},
    keys::ALGORITHMS,
    proof::ProofMessage,
};
use crate::{Entropy, NodeId, Time};
use std::sync::Arc;
use x0_crypto::{
    PublicKey,
    kem::{DecapsulationKey, SharedSecret},
    mesh::{
        COOKIE_BYTES, CookieKey, HandshakeKeys, InitiatorTranscript, OpeningTranscript, X25519Shared, answer_mac_key,
        hello_mac_key,
    },
};
use x0_mesh_wire::{
    HopKey, Kind,
    handshake::{Answer, CookieBody, Envelope, HELLO_BYTES, Hello, Opening, SUITE_1},
    limits::{
        COOKIES_PER_HANDSHAKE_MAX, HANDSHAKE_GAP_MS, HANDSHAKE_GIVE_UP_MS, HANDSHAKE_RETRY_MS, HANDSHAKE_RETRY_MS_MAX,
    },
};
use zeroize::Zeroizing;

/// A way and the MAC of the cookie that was given for it, zeros without one.
#[derive(Debug)]
struct Way {
    via: Via,
    cookie_mac: [u8; COOKIE_BYTES],
}

/// What a step leads to.
#[derive(Debug)]
pub(super) enum Step {
    /// The handshake goes on.
    On,
    /// It gave keys.
    Done(Box<Established>),
    /// It gave none.
    Fail(Failure),
}

/// A handshake that this node began.
#[derive(Debug)]
pub(super) struct Initiator {
    pub(super) id: u32,
    pub(super) peer: NodeId,
    pub(super) purpose: Purpose,
    /// When something is due next.
    pub(super) due: Time,
    /// The peer's own handshake is being judged: this one waits.
    pub(super) held: bool,
    local: Arc<Local>,
    ways: Vec<Way>,
    started: Time,
    retry_ms: u64,
    send_key: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Generating,
    Greeting(Box<Greeting>),
    Proving { peer_id: u32, rtt_ns: u64 },
    Presenting(Box<Presenting>),
    Confirming { peer_id: u32, peer_key: PublicKey, via: Via },
    Over,
}

/// The hello was sent.
#[derive(Debug)]
struct Greeting {
    key: DecapsulationKey,
    body: Box<[u8; HELLO_BYTES]>,
    hello_mac: HopKey,
    answer_mac: HopKey,
    cookies: u32,
    sent: Time,
}

/// The proof was sent.
#[derive(Debug)]
struct Presenting {
    keys: HandshakeKeys,
    kem: SharedSecret,
    x25519: X25519Shared,
    initiator: InitiatorTranscript,
    message: Vec<u8>,
    outgoing: Outgoing,
    sealer: Sealer,
    peer_id: u32,
    incoming: Incoming,
    /// The peer's proof began to arrive, so it has ours.
    heard: bool,
}

impl Initiator {
    /// Begins: the first job makes a key pair.
    pub(super) fn begin(
        local: &Arc<Local>,
        id: u32,
        peer: NodeId,
        ways: &[Via],
        send_key: bool,
        now: Time,
        entropy: &mut dyn Entropy,
    ) -> (Self, Job) {
        let mut random = Zeroizing::new([0; 64]);
        entropy.fill(&mut random[..]);
        let initiator = Self {
            id,
            peer,
            purpose: ways.first().map_or(Purpose::Link, Via::purpose),
            due: now.plus_ms(HANDSHAKE_GIVE_UP_MS),
            held: false,
            local: Arc::clone(local),
            ways: ways.iter().map(|via| Way { via: *via, cookie_mac: [0; COOKIE_BYTES] }).collect(),
            started: now,
            retry_ms: HANDSHAKE_RETRY_MS,
            send_key,
            stage: Stage::Generating,
        };
        (initiator, Job { id, work: Work::Generate { random } })
    }

    /// Whether this handshake is for the same link, or for the same session.
    pub(super) fn is_for(&self, peer: &NodeId, via: &Via) -> bool {
        self.peer == *peer
            && self.purpose == via.purpose()
            && (self.purpose == Purpose::EndToEnd || self.ways.iter().any(|way| way.via.same_place(via)))
    }

    /// Whether the peer has answered, so that the way there and back is known to work.
    pub(super) const fn is_answered(&self) -> bool {
        !matches!(self.stage, Stage::Generating | Stage::Greeting(_))
    }

    /// The routes to the peer are these now: the handshake goes on over them, and what waits for an answer
    /// is sent at once when one of them is new. A route that was good when the handshake began may carry
    /// nothing, or lack its first link, long before the handshake would be given up.
    pub(super) fn reroute(&mut self, now: Time, ways: &[Via]) {
        let cookie_of = |via: &Via| {
            let known = self.ways.iter().find(|way| way.via.same_place(via));
            (known.is_some(), known.map_or([0; COOKIE_BYTES], |way| way.cookie_mac))
        };
        let found: Vec<_> = ways.iter().map(|via| (*via, cookie_of(via))).collect();
        let gained = found.iter().any(|(_, (known, _))| !known);
        self.ways = found.into_iter().map(|(via, (_, cookie_mac))| Way { via, cookie_mac }).collect();
        if gained && matches!(self.stage, Stage::Greeting(_) | Stage::Presenting(_)) && !self.held {
            self.retry_ms = HANDSHAKE_RETRY_MS;
            self.due = now;
        }
    }

    /// The moment after which the handshake fails.
    const fn give_up(&self) -> Time {
        self.started.plus_ms(HANDSHAKE_GIVE_UP_MS)
    }

    /// Sets the next retransmission, and the wait after it.
    fn retry_after(&mut self, now: Time, least_ms: u64) {
        let wait_ms = self.retry_ms.max(least_ms);
        self.due = now.plus_ms(wait_ms).min(self.give_up());
        self.retry_ms = (wait_ms + wait_ms / 2).min(HANDSHAKE_RETRY_MS_MAX);
    }

    fn send_hello(&self, only: Option<usize>, out: &mut Vec<Action>) -> Result<(), Refusal> {
        let Stage::Greeting(greeting) = &self.stage else { return Ok(()) };
        let chosen = self.ways.iter().enumerate().filter(|(index, _)| only.is_none_or(|only| only == *index));
        for (_, way) in chosen {
            let mut body = *greeting.body;
            Hello::set_cookie_mac(&mut body, way.cookie_mac);
            let envelope = Envelope::seal(Kind::Hello, 0, &body, &greeting.hello_mac);
            way.via.send(&envelope, out)?;
        }
        Ok(())
    }

    /// A job is done.
    pub(super) fn complete(
        &mut self,
        now: Time,
        outcome: Result<Outcome, Refusal>,
        authority: &dyn Authority,
        out: &mut Vec<Action>,
    ) -> (Step, Result<(), Refusal>) {
        let result = outcome.and_then(|outcome| match (core::mem::replace(&mut self.stage, Stage::Over), outcome) {
            (Stage::Generating, Outcome::Generated(key)) => self.greet(now, key, out).map(|()| Step::On),
            (Stage::Proving { peer_id, rtt_ns }, Outcome::Proved(proved)) => {
                self.present(now, *proved, peer_id, rtt_ns, authority, out).map(|()| Step::On)
            }
            (Stage::Confirming { peer_id, peer_key, via }, Outcome::Confirmed { traffic }) => {
                if !authority.may_connect(&self.peer, self.purpose) {
                    return Err(Refusal::Unauthorised);
                }
                Ok(Step::Done(Box::new(Established {
                    purpose: self.purpose,
                    role: Role::Initiator,
                    peer: self.peer,
                    peer_key,
                    via,
                    local_id: self.id,
                    peer_id,
                    keys: Keys::new(*traffic, Role::Initiator),
                    algorithms: ALGORITHMS,
                    took_ns: now.since_ns(self.started),
                })))
            }
            _ => Err(Refusal::OutOfTurn),
        });
        match result {
            Ok(step) => (step, Ok(())),
            Err(refusal) => (Step::Fail(failure_of(refusal)), Err(refusal)),
        }
    }

    fn greet(&mut self, now: Time, key: DecapsulationKey, out: &mut Vec<Action>) -> Result<(), Refusal> {
        let opening = Opening { suites: SUITE_1, purpose: self.purpose.code(), sender: self.id };
        let body = Box::new(Hello::body(opening, key.encapsulation_key().as_bytes()));
        let covered = &body[..Hello::COOKIE_MAC_OFFSET];
        let Local { genesis, mesh_id, .. } = &*self.local;
        let hello_mac = HopKey::new(hello_mac_key(genesis, mesh_id, &self.peer.0));
        let answer_mac = HopKey::new(answer_mac_key(genesis, mesh_id, &self.peer.0, covered));
        self.stage = Stage::Greeting(Box::new(Greeting { key, body, hello_mac, answer_mac, cookies: 0, sent: now }));
        self.retry_after(now, 0);
        self.send_hello(None, out)
    }

    /// A cookie came: the hello goes again, with proof that we receive there.
    pub(super) fn cookie(
        &mut self,
        now: Time,
        via: &Via,
        envelope: &Envelope<'_>,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let Stage::Greeting(greeting) = &mut self.stage else { return Err(Refusal::OutOfTurn) };
        envelope.check(&greeting.answer_mac)?;
        if self.held || greeting.cookies >= COOKIES_PER_HANDSHAKE_MAX {
            return Err(Refusal::OutOfTurn);
        }
        let body = CookieBody::read(envelope.body)?;
        let covered = &greeting.body[..Hello::COOKIE_MAC_OFFSET];
        let Local { genesis, mesh_id, .. } = &*self.local;
        let key = CookieKey::new(genesis, mesh_id, &self.peer.0, covered);
        let cookie = key.open(&body.nonce, body.sealed).map_err(|_| Refusal::Cookie)?;
        greeting.cookies += 1;
        let mac = cookie.mac(covered);
        // An answer through the mesh tells only its last link; with several ways the first fits best.
        let index = self.ways.iter().position(|way| matches_way(&way.via, via)).unwrap_or(0);
        if let Some(way) = self.ways.get_mut(index) {
            way.cookie_mac = mac;
        }
        self.retry_after(now, 0);
        self.send_hello(Some(index), out)
    }

    /// An answer came: its secrets are agreed on and our proof is signed.
    pub(super) fn answer(
        &mut self,
        now: Time,
        envelope: &Envelope<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<Job, Refusal> {
        let Stage::Greeting(greeting) = &self.stage else { return Err(Refusal::OutOfTurn) };
        envelope.check(&greeting.answer_mac)?;
        if self.held {
            return Err(Refusal::OutOfTurn);
        }
        let answer = Answer::read(envelope.body)?;
        if answer.opening.purpose != self.purpose.code() {
            return Err(Refusal::Purpose);
        }
        if answer.opening.suites != SUITE_1 {
            return Err(Refusal::Suite { offered: answer.opening.suites });
        }
        let covered = &greeting.body[..Hello::COOKIE_MAC_OFFSET];
        let opening = OpeningTranscript::new(&self.local.genesis, &self.local.mesh_id, covered, envelope.body);
        let next = Stage::Proving { peer_id: answer.opening.sender, rtt_ns: now.since_ns(greeting.sent) };
        let Stage::Greeting(greeting) = core::mem::replace(&mut self.stage, next) else {
            return Err(Refusal::OutOfTurn);
        };
        let mut random = Zeroizing::new([0; 32]);
        entropy.fill(&mut random[..]);
        self.due = self.give_up();
        let work = Prove {
            local: Arc::clone(&self.local),
            key: greeting.key,
            ciphertext: Box::new(*answer.ciphertext),
            random,
            peer_x25519: *answer.x25519,
            opening,
            responder: self.peer,
        };
        Ok(Job { id: self.id, work: Work::Prove(Box::new(work)) })
    }

    fn present(
        &mut self,
        now: Time,
        proved: Proved,
        peer_id: u32,
        rtt_ns: u64,
        authority: &dyn Authority,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let message = ProofMessage {
            node: self.local.node,
            wants_key: authority.public_key(&self.peer).is_none(),
            x25519: proved.x25519_public,
            key: self.send_key.then(|| self.local.key.clone()),
            signature: proved.signature,
        }
        .write(Role::Initiator);
        let outgoing = Outgoing::cut(&message, Via::fragment_bytes_max(self.purpose));
        let mac = HopKey::new(*proved.keys.initiator_mac);
        let Proved { keys, kem, x25519, initiator, .. } = proved;
        let sealer = Sealer { mac, next: 0, id: peer_id };
        let incoming = Incoming::default();
        self.stage = Stage::Presenting(Box::new(Presenting {
            keys,
            kem,
            x25519,
            initiator,
            message,
            outgoing,
            sealer,
            peer_id,
            incoming,
            heard: false,
        }));
        self.retry_ms = HANDSHAKE_RETRY_MS;
        self.retry_after(now, rtt_ns / 1_000_000 * 3 / 2);
        self.send_proof(out)
    }

    /// Sends all fragments of our proof, each with a fresh number, the same bytes over every way.
    fn send_proof(&mut self, out: &mut Vec<Action>) -> Result<(), Refusal> {
        let Stage::Presenting(presenting) = &mut self.stage else { return Ok(()) };
        let Presenting { keys, outgoing, sealer, incoming, .. } = &mut **presenting;
        let mut bodies = Vec::new();
        for (index, payload) in outgoing.all() {
            bodies.push(sealer.seal(&keys.initiator, index, outgoing.count(), incoming.seen(), payload)?);
        }
        self.send_bodies(&bodies, out)
    }

    fn send_bodies(&self, bodies: &[Vec<u8>], out: &mut Vec<Action>) -> Result<(), Refusal> {
        let Stage::Presenting(presenting) = &self.stage else { return Ok(()) };
        for body in bodies {
            let envelope = presenting.sealer.envelope(body);
            for way in &self.ways {
                way.via.send(&envelope, out)?;
            }
        }
        Ok(())
    }

    /// Tells the peer which fragments of its proof are here, so that it sends the others.
    fn send_seen(&mut self, out: &mut Vec<Action>) -> Result<(), Refusal> {
        let Stage::Presenting(presenting) = &mut self.stage else { return Ok(()) };
        let Presenting { keys, sealer, incoming, .. } = &mut **presenting;
        let body = sealer.seal(&keys.initiator, 0, 0, incoming.seen(), &[])?;
        self.send_bodies(&[body], out)
    }

    /// A fragment of the peer's proof came. `Ok(Some)` when it completed the proof by parity or without.
    pub(super) fn proof(
        &mut self,
        now: Time,
        via: &Via,
        envelope: &Envelope<'_>,
        authority: &dyn Authority,
        parity_used: &mut u64,
    ) -> Result<Option<Job>, Refusal> {
        let presenting = match &mut self.stage {
            Stage::Presenting(presenting) => presenting,
            // The proof is whole and being judged; what comes after it is a copy or the parity.
            Stage::Confirming { .. } => return Ok(None),
            _ => return Err(Refusal::OutOfTurn),
        };
        let mac = HopKey::new(*presenting.keys.responder_mac);
        let (head, payload) = fragments::open(envelope, &presenting.keys.responder, &mac)?;
        if self.held {
            return Err(Refusal::OutOfTurn);
        }
        let first = !core::mem::replace(&mut presenting.heard, true);
        let Some(whole) = presenting.incoming.add(&head, &payload)? else {
            let gap = now.plus_ms(HANDSHAKE_GAP_MS);
            self.due = if first { gap } else { self.due.min(gap) };
            return Ok(None);
        };
        *parity_used += u64::from(whole.parity_used);
        let (message, _) = ProofMessage::read(&whole.message, Role::Responder)?;
        if message.node != self.peer {
            return Err(Refusal::WrongPeer);
        }
        if !authority.may_connect(&self.peer, self.purpose) {
            return Err(Refusal::Unauthorised);
        }
        let peer_key = message.resolve_key(authority.public_key(&self.peer))?;
        let next = Stage::Confirming { peer_id: presenting.peer_id, peer_key: peer_key.clone(), via: *via };
        let Stage::Presenting(presenting) = core::mem::replace(&mut self.stage, next) else {
            return Err(Refusal::OutOfTurn);
        };
        self.due = self.give_up();
        let work = Confirm {
            local: Arc::clone(&self.local),
            initiator: presenting.initiator,
            message: presenting.message,
            responder_key: peer_key,
            signature: message.signature,
            kem: presenting.kem,
            x25519: presenting.x25519,
        };
        Ok(Some(Job { id: self.id, work: Work::Confirm(Box::new(work)) }))
    }

    /// Does what is due. Tells how many datagrams were sent again.
    pub(super) fn tick(&mut self, now: Time, out: &mut Vec<Action>) -> Result<(Step, u64), Refusal> {
        if now >= self.give_up() {
            let failure = if self.is_answered() { Failure::NoProof } else { Failure::NoAnswer };
            return Ok((Step::Fail(failure), 0));
        }
        let before = out.len();
        // The judgement that it waited for is over by now, or its outcome was lost.
        self.held = false;
        match &self.stage {
            Stage::Greeting(_) => {
                self.retry_after(now, 0);
                self.send_hello(None, out)?;
            }
            Stage::Presenting(presenting) => {
                let heard = presenting.heard;
                self.retry_after(now, 0);
                if heard { self.send_seen(out) } else { self.send_proof(out) }?;
            }
            // A job is under way; only its answer or the end of the time changes anything.
            Stage::Generating | Stage::Proving { .. } | Stage::Confirming { .. } | Stage::Over => {
                self.due = self.give_up();
            }
        }
        let sent = out.len().saturating_sub(before);
        Ok((Step::On, u64::try_from(sent).unwrap_or(u64::MAX)))
    }
}

/// Whether an answer that came this way belongs to the way.
fn matches_way(way: &Via, came: &Via) -> bool {
    match (way, came) {
        (Via::Route { link, .. }, Via::Route { link: came, .. }) => link == came,
        _ => way.same_place(came),
    }
}

/// What a refusal at the end of a handshake is to the caller.
pub(super) const fn failure_of(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Unauthorised => Failure::Unauthorised,
        Refusal::Signature | Refusal::WrongPeer | Refusal::KeyMismatch | Refusal::KeyUnknown | Refusal::Proof => {
            Failure::BadProof
        }
        _ => Failure::Job,
    }
}
