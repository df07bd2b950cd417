//! Slow work: key agreement and signatures. It goes to a worker and comes back.

use super::{Local, Refusal};
use crate::NodeId;
use core::fmt;
use std::sync::Arc;
use x0_crypto::{
    PublicKey, Signature, SigningKey,
    kem::{DecapsulationKey, EncapsulationKey, SharedSecret},
    mesh::{
        HandshakeKeys, InitiatorTranscript, OpeningTranscript, ResponderTranscript, Traffic, X25519Secret, X25519Shared,
    },
};
use x0_mesh_wire::limits::{CIPHERTEXT_BYTES, ENCAPSULATION_KEY_BYTES};
use zeroize::Zeroizing;

/// Which work a job is, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Key pairs and key agreement: 15 to 80 microseconds.
    Agree,
    /// Key agreement and a signature: 100 to 400 microseconds.
    Sign,
    /// A signature is checked, and perhaps another made.
    Verify,
}

/// A piece of slow work of a handshake. It holds secrets, so only its kind is printed.
pub struct Job {
    /// Our id of the handshake.
    pub(super) id: u32,
    pub(super) work: Work,
}

/// The answer to a job. It holds secrets, so only whether it succeeded is printed.
pub struct JobDone {
    pub(super) id: u32,
    pub(super) outcome: Result<Outcome, Refusal>,
}

pub(super) enum Work {
    /// A fresh ML-KEM key pair.
    Generate { random: Zeroizing<[u8; 64]> },
    /// A responder's secrets for a hello.
    Answer { encapsulation_key: Box<[u8; ENCAPSULATION_KEY_BYTES]>, random: Zeroizing<[u8; 32]> },
    /// An initiator's secrets for an answer, and its signature.
    Prove(Box<Prove>),
    /// A responder's judgement of a proof, and its own signature.
    Accept(Box<Accept>),
    /// An initiator's judgement of a proof.
    Confirm(Box<Confirm>),
}

pub(super) struct Prove {
    pub(super) local: Arc<Local>,
    pub(super) key: DecapsulationKey,
    pub(super) ciphertext: Box<[u8; CIPHERTEXT_BYTES]>,
    pub(super) random: Zeroizing<[u8; 32]>,
    pub(super) peer_x25519: [u8; 32],
    pub(super) opening: OpeningTranscript,
    pub(super) responder: NodeId,
}

pub(super) struct Accept {
    pub(super) local: Arc<Local>,
    pub(super) opening: OpeningTranscript,
    pub(super) initiator: NodeId,
    pub(super) initiator_key: PublicKey,
    pub(super) initiator_x25519: [u8; 32],
    pub(super) signature: Signature,
    /// The initiator's message without padding.
    pub(super) message: Vec<u8>,
    pub(super) kem: SharedSecret,
    pub(super) x25519: X25519Secret,
}

pub(super) struct Confirm {
    pub(super) local: Arc<Local>,
    pub(super) initiator: InitiatorTranscript,
    /// Our own message.
    pub(super) message: Vec<u8>,
    pub(super) responder_key: PublicKey,
    pub(super) signature: Signature,
    pub(super) kem: SharedSecret,
    pub(super) x25519: X25519Shared,
}

pub(super) enum Outcome {
    Generated(DecapsulationKey),
    Answered { ciphertext: Box<[u8; CIPHERTEXT_BYTES]>, kem: SharedSecret, x25519: X25519Secret },
    Proved(Box<Proved>),
    Accepted { signature: Signature, traffic: Box<Traffic> },
    Confirmed { traffic: Box<Traffic> },
}

pub(super) struct Proved {
    pub(super) keys: HandshakeKeys,
    pub(super) kem: SharedSecret,
    pub(super) x25519: X25519Shared,
    pub(super) x25519_public: [u8; 32],
    pub(super) initiator: InitiatorTranscript,
    pub(super) signature: Signature,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Job({}, {:?})", self.id, self.kind())
    }
}

impl fmt::Debug for JobDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobDone({}, {:?})", self.id, self.outcome.as_ref().map(|_| ()))
    }
}

impl Job {
    /// Which work it is.
    #[must_use]
    pub const fn kind(&self) -> JobKind {
        match self.work {
            Work::Generate { .. } | Work::Answer { .. } => JobKind::Agree,
            Work::Prove(_) => JobKind::Sign,
            Work::Accept(_) | Work::Confirm(_) => JobKind::Verify,
        }
    }

    /// Does the work on this thread. `key` is this node's agent key.
    #[must_use]
    pub fn run(self, key: &SigningKey) -> JobDone {
        let outcome = match self.work {
            Work::Generate { random } => generate(&random),
            Work::Answer { encapsulation_key, random } => answer(&encapsulation_key[..], &random),
            Work::Prove(work) => prove(&work, key),
            Work::Accept(work) => accept(&work, key),
            Work::Confirm(work) => confirm(&work),
        };
        JobDone { id: self.id, outcome }
    }

    /// Answers without doing the work: the queue is full.
    #[must_use]
    pub fn refuse(self) -> JobDone {
        JobDone { id: self.id, outcome: Err(Refusal::Busy) }
    }
}

fn generate(random: &[u8; 64]) -> Result<Outcome, Refusal> {
    DecapsulationKey::from_seed(random).map(Outcome::Generated).map_err(|_| Refusal::Job)
}

fn answer(encapsulation_key: &[u8], random: &[u8; 32]) -> Result<Outcome, Refusal> {
    // A key with coefficients that are not reduced is the sender's fault (FIPS 203, section 7.2).
    let key = EncapsulationKey::from_bytes(encapsulation_key).map_err(|_| Refusal::Proof)?;
    let (ciphertext, kem) = key.encapsulate().map_err(|_| Refusal::Job)?;
    Ok(Outcome::Answered { ciphertext, kem, x25519: X25519Secret::from_random(random)? })
}

fn prove(work: &Prove, key: &SigningKey) -> Result<Outcome, Refusal> {
    let kem = work.key.decapsulate(&work.ciphertext[..]).map_err(|_| Refusal::Job)?;
    let keys = HandshakeKeys::new(&kem, &work.opening)?;
    let x25519 = X25519Secret::from_random(&work.random)?;
    let x25519_public = *x25519.public();
    let shared = x25519.agree(&work.peer_x25519)?;
    let Local { node, key: public, genesis, .. } = &*work.local;
    let initiator = InitiatorTranscript::new(&work.opening, &node.0, &work.responder.0, public, &x25519_public);
    let signature = key.sign_mesh_handshake_init(genesis, initiator.signed()).map_err(|_| Refusal::Job)?;
    Ok(Outcome::Proved(Box::new(Proved { keys, kem, x25519: shared, x25519_public, initiator, signature })))
}

fn accept(work: &Accept, key: &SigningKey) -> Result<Outcome, Refusal> {
    let Local { node, key: public, genesis, .. } = &*work.local;
    let theirs = &work.initiator_key;
    let initiator = InitiatorTranscript::new(&work.opening, &work.initiator.0, &node.0, theirs, &work.initiator_x25519);
    theirs.verify_mesh_handshake_init(genesis, initiator.signed(), &work.signature).map_err(|_| Refusal::Signature)?;
    let whole = ResponderTranscript::new(&initiator, &work.message, public);
    let traffic = Traffic::new(&work.kem, &work.x25519.agree(&work.initiator_x25519)?, &whole)?;
    let signature = key.sign_mesh_handshake_resp(genesis, whole.signed()).map_err(|_| Refusal::Job)?;
    Ok(Outcome::Accepted { signature, traffic: Box::new(traffic) })
}

fn confirm(work: &Confirm) -> Result<Outcome, Refusal> {
    let whole = ResponderTranscript::new(&work.initiator, &work.message, &work.responder_key);
    work.responder_key
        .verify_mesh_handshake_resp(&work.local.genesis, whole.signed(), &work.signature)
        .map_err(|_| Refusal::Signature)?;
    Ok(Outcome::Confirmed { traffic: Box::new(Traffic::new(&work.kem, &work.x25519, &whole)?) })
}
