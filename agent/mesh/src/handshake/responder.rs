//! One handshake that another node began.

use super::{
    Action, Established, Keys, Local, Purpose, Refusal, Role, Via,
    fragments::{self, Incoming, Outgoing, Sealer},
    job::{Accept, Job, Work},
    keys::ALGORITHMS,
    proof::ProofMessage,
};
use crate::{Entropy, NodeId, Time};
use std::sync::Arc;
use x0_crypto::{
    PublicKey, Signature,
    kem::SharedSecret,
    mesh::{HandshakeKeys, OpeningTranscript, Traffic, X25519Secret, answer_mac_key},
};
use x0_mesh_wire::{
    HopKey, Kind,
    handshake::{ANSWER_BYTES, Answer, Envelope, HELLO_BYTES, Hello, Opening, SUITE_1},
    limits::{CIPHERTEXT_BYTES, HANDSHAKE_WAYS_MAX, PROOF_RESEND_MS, PROOF_RESENDS_MAX},
};
use zeroize::Zeroizing;

// An answer is never longer than the hello that it answers, whatever way both go.
const _: () = assert!(ANSWER_BYTES <= HELLO_BYTES);

/// A handshake that another node began.
#[derive(Debug)]
pub(super) struct HalfOpen {
    pub(super) id: u32,
    pub(super) purpose: Purpose,
    /// Hash of the hello: a copy of it finds this handshake again.
    pub(super) hello: [u8; 32],
    /// Who shares its quota.
    pub(super) group: [u8; 9],
    pub(super) opened: Time,
    /// The peer, once its proof is being judged.
    pub(super) peer: Option<NodeId>,
    local: Arc<Local>,
    peer_id: u32,
    answer_mac: HopKey,
    /// The ways on which the initiator was heard.
    ways: Vec<Via>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Answering { covered: Box<[u8]> },
    Answered(Box<Answered>),
    Accepting(Box<Accepting>),
    Proved(Box<Proved>),
    Over,
}

#[derive(Debug)]
struct Answered {
    body: Box<[u8; ANSWER_BYTES]>,
    keys: HandshakeKeys,
    kem: SharedSecret,
    x25519: X25519Secret,
    opening: OpeningTranscript,
    incoming: Incoming,
    /// First number that no flight of the initiator so far has used.
    next_flight: u32,
}

#[derive(Debug)]
struct Accepting {
    next_flight: u32,
    keys: HandshakeKeys,
    peer_key: PublicKey,
    wants_key: bool,
    via: Via,
}

#[derive(Debug)]
struct Proved {
    keys: HandshakeKeys,
    outgoing: Outgoing,
    sealer: Sealer,
    /// First number of the initiator with which it asks for our proof again.
    next_flight: u32,
    resends: u32,
    resent: Time,
}

/// What a fragment led to.
#[derive(Debug)]
pub(super) enum Fragment {
    /// Nothing to do.
    Kept,
    /// The whole proof is here, unjudged.
    Whole(Box<Whole>),
    /// The initiator lacks parts of our proof, which were sent again.
    SentAgain(u64),
}

/// A whole proof, unjudged.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) message: ProofMessage,
    /// Its bytes, which the transcript covers.
    pub(super) bytes: Vec<u8>,
    pub(super) parity_used: bool,
    pub(super) via: Via,
}

impl HalfOpen {
    /// A hello was taken: the first job makes our secrets.
    pub(super) fn begin(
        local: &Arc<Local>,
        id: u32,
        via: Via,
        hello: &Hello<'_>,
        hash: [u8; 32],
        now: Time,
        entropy: &mut dyn Entropy,
    ) -> (Self, Job) {
        let mut random = Zeroizing::new([0; 32]);
        entropy.fill(&mut random[..]);
        let Local { node, genesis, mesh_id, .. } = &**local;
        let half = Self {
            id,
            purpose: via.purpose(),
            hello: hash,
            group: via.quota_group(),
            opened: now,
            peer: None,
            local: Arc::clone(local),
            peer_id: hello.opening.sender,
            answer_mac: HopKey::new(answer_mac_key(genesis, mesh_id, &node.0, hello.covered)),
            ways: vec![via],
            stage: Stage::Answering { covered: hello.covered.into() },
        };
        (half, Job { id, work: Work::Answer { encapsulation_key: Box::new(*hello.encapsulation_key), random } })
    }

    /// Whether an answer is being made.
    pub(super) const fn is_answering(&self) -> bool {
        matches!(self.stage, Stage::Answering { .. })
    }

    /// Whether parts of a proof are held.
    pub(super) fn holds_parts(&self) -> bool {
        matches!(&self.stage, Stage::Answered(answered) if !answered.incoming.is_empty())
    }

    /// Notes where the initiator was heard. Those heard last stay: its routes may have changed.
    fn remember(&mut self, via: Via) {
        self.ways.retain(|way| !way.same_place(&via));
        if self.ways.len() >= HANDSHAKE_WAYS_MAX {
            self.ways.remove(0);
        }
        self.ways.push(via);
    }

    /// A copy of the hello came: its answer goes again, to where the copy came from.
    pub(super) fn hello_again(&mut self, via: Via, out: &mut Vec<Action>) -> Result<(), Refusal> {
        match &self.stage {
            Stage::Answering { .. } => self.remember(via),
            Stage::Answered(answered) => self.answer_to(via, &answered.body[..], out)?,
            Stage::Accepting(_) | Stage::Proved(_) | Stage::Over => return Err(Refusal::OutOfTurn),
        }
        Ok(())
    }

    fn answer_to(&self, via: Via, body: &[u8], out: &mut Vec<Action>) -> Result<(), Refusal> {
        let envelope = Envelope::seal(Kind::Answer, self.peer_id, body, &self.answer_mac);
        Ok(via.send(&envelope, out)?)
    }

    /// Our secrets are made: the answer goes to every way on which the hello came, once each.
    pub(super) fn answered(
        &mut self,
        ciphertext: &[u8; CIPHERTEXT_BYTES],
        kem: SharedSecret,
        x25519: X25519Secret,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let Stage::Answering { covered } = &self.stage else { return Err(Refusal::OutOfTurn) };
        let opening = Opening { suites: SUITE_1, purpose: self.purpose.code(), sender: self.id };
        let body = Box::new(Answer::body(opening, ciphertext, x25519.public()));
        let Local { genesis, mesh_id, .. } = &*self.local;
        let opening = OpeningTranscript::new(genesis, mesh_id, covered, &body[..]);
        let keys = HandshakeKeys::new(&kem, &opening)?;
        for via in &self.ways {
            self.answer_to(*via, &body[..], out)?;
        }
        // From here on only ways count on which a fragment came that opens.
        self.ways.clear();
        let incoming = Incoming::default();
        self.stage = Stage::Answered(Box::new(Answered { body, keys, kem, x25519, opening, incoming, next_flight: 0 }));
        Ok(())
    }

    /// A fragment of the initiator's proof came.
    pub(super) fn proof(
        &mut self,
        now: Time,
        via: Via,
        envelope: &Envelope<'_>,
        out: &mut Vec<Action>,
    ) -> Result<Fragment, Refusal> {
        match &mut self.stage {
            Stage::Answered(answered) => {
                let mac = HopKey::new(*answered.keys.initiator_mac);
                let (head, payload) = fragments::open(envelope, &answered.keys.initiator, &mac)?;
                let whole = answered.incoming.add(&head, &payload)?;
                // Until it hears us, the initiator sends its whole proof each time, with successive numbers.
                let flight = u32::from(head.count) + 1;
                answered.next_flight =
                    answered.next_flight.max((head.number / flight).saturating_add(1).saturating_mul(flight));
                self.remember(via);
                let Some(whole) = whole else { return Ok(Fragment::Kept) };
                let (message, bytes) = ProofMessage::read(&whole.message, Role::Initiator)?;
                let (bytes, parity_used) = (bytes.to_vec(), whole.parity_used);
                Ok(Fragment::Whole(Box::new(Whole { message, bytes, parity_used, via })))
            }
            Stage::Proved(proved) => {
                let mac = HopKey::new(*proved.keys.initiator_mac);
                let (head, _) = fragments::open(envelope, &proved.keys.initiator, &mac)?;
                let early = now.since_ns(proved.resent) < PROOF_RESEND_MS * 1_000_000;
                // Copies of the first flight and what the network repeats ask for nothing.
                if head.number < proved.next_flight || early || proved.resends >= PROOF_RESENDS_MAX {
                    return Ok(Fragment::Kept);
                }
                proved.next_flight = head.number.saturating_add(1);
                proved.resends += 1;
                proved.resent = now;
                let before = out.len();
                self.remember(via);
                self.send_proof(Some(head.seen), out)?;
                let sent = out.len().saturating_sub(before);
                Ok(Fragment::SentAgain(u64::try_from(sent).unwrap_or(u64::MAX)))
            }
            Stage::Accepting(_) => Ok(Fragment::Kept),
            Stage::Answering { .. } | Stage::Over => Err(Refusal::OutOfTurn),
        }
    }

    /// The proof is of a peer that may connect: a job checks its signature and makes ours.
    pub(super) fn accept(&mut self, whole: Whole, peer_key: PublicKey) -> Result<Job, Refusal> {
        let Stage::Answered(answered) = core::mem::replace(&mut self.stage, Stage::Over) else {
            return Err(Refusal::OutOfTurn);
        };
        let Whole { message, bytes, via, .. } = whole;
        self.peer = Some(message.node);
        let Answered { keys, kem, x25519, opening, next_flight, .. } = *answered;
        let work = Accept {
            local: Arc::clone(&self.local),
            opening,
            initiator: message.node,
            initiator_key: peer_key.clone(),
            initiator_x25519: message.x25519,
            signature: message.signature,
            message: bytes,
            kem,
            x25519,
        };
        self.stage =
            Stage::Accepting(Box::new(Accepting { next_flight, keys, peer_key, wants_key: message.wants_key, via }));
        Ok(Job { id: self.id, work: Work::Accept(Box::new(work)) })
    }

    /// The peer is verified: our proof goes out, and the keys are ready.
    pub(super) fn accepted(
        &mut self,
        now: Time,
        signature: Signature,
        traffic: Traffic,
        out: &mut Vec<Action>,
    ) -> Result<Established, Refusal> {
        let (Stage::Accepting(accepting), Some(peer)) = (core::mem::replace(&mut self.stage, Stage::Over), self.peer)
        else {
            return Err(Refusal::OutOfTurn);
        };
        let Accepting { next_flight, keys, peer_key, wants_key, via } = *accepting;
        let message = ProofMessage {
            node: self.local.node,
            wants_key: false,
            x25519: [0; 32],
            key: wants_key.then(|| self.local.key.clone()),
            signature,
        }
        .write(Role::Responder);
        let sealer = Sealer { mac: HopKey::new(*keys.responder_mac), next: 0, id: self.peer_id };
        let outgoing = Outgoing::cut(&message, Via::fragment_bytes_max(self.purpose));
        let proved = Proved { keys, outgoing, sealer, next_flight, resends: 0, resent: now };
        self.stage = Stage::Proved(Box::new(proved));
        self.send_proof(None, out)?;
        Ok(Established {
            purpose: self.purpose,
            role: Role::Responder,
            peer,
            peer_key,
            via,
            local_id: self.id,
            peer_id: self.peer_id,
            keys: Keys::new(traffic, Role::Responder),
            algorithms: ALGORITHMS,
            took_ns: now.since_ns(self.opened),
        })
    }

    /// Sends our proof over every way on which the initiator was heard: the data fragments that it
    /// lacks, or in the first flight all, with the parity.
    fn send_proof(&mut self, seen: Option<u8>, out: &mut Vec<Action>) -> Result<(), Refusal> {
        let Stage::Proved(proved) = &mut self.stage else { return Ok(()) };
        let Proved { keys, outgoing, sealer, .. } = &mut **proved;
        let chosen: Vec<_> = match seen {
            Some(seen) => outgoing.missing(seen).collect(),
            None => outgoing.all().collect(),
        };
        for (index, payload) in chosen {
            let body = sealer.seal(&keys.responder, index, outgoing.count(), u8::MAX, payload)?;
            let envelope = sealer.envelope(&body);
            for via in &self.ways {
                via.send(&envelope, out)?;
            }
        }
        Ok(())
    }
}
