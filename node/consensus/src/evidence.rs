//! Proof that a validator contradicted itself: kept in files until it is on chain.
//!
//! ```text
//!   network's edge, certificates, engine --> keep (file, fsync) --> [`EvidenceBox::listen`] --> reporter
//!                                                |                                                |
//!                                                +-- again after a restart, until acknowledged <--+
//! ```
//!
//! A file `evidence/<height>-<address>-<round>-<step>.bin` holds one [`Evidence`] in SCALE.
//!
//! # Limits
//! [`x0_limits::EVIDENCE_WAITING_MAX`] proofs wait; further ones are counted and dropped: a validator that
//! contradicts itself at every height is punished for the first of them.

use crate::{
    book::Book,
    context::Address,
    witness::{Contradiction, Said},
};
use codec::{DecodeAll as _, Encode as _};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::mpsc;
use x0_limits::{EVIDENCE_WAITING_MAX, WITNESS_HEIGHTS_KEPT};
use x0_sign_guard::{Place, Step};
use x0_types::{
    AccountId, MlDsa65Signature,
    evidence::{self, Evidence, SignedBody},
};

/// Whom a proof is about, and where.
type Key = (u64, [u8; 32], u32, Step);

const fn step(step: Step) -> evidence::Step {
    match step {
        Step::Opening => evidence::Step::Opening,
        Step::Proposal => evidence::Step::Proposal,
        Step::Prevote => evidence::Step::Prevote,
        Step::Precommit => evidence::Step::Precommit,
    }
}

fn signed(said: &Said) -> Option<SignedBody> {
    let body = evidence::Body::try_from(said.statement.body()).ok()?;
    Some(SignedBody { body, signature: MlDsa65Signature(said.signature.inner().clone().to_boxed()) })
}

#[derive(Default)]
struct State {
    /// Proofs that are not acknowledged, by the name of their file.
    waiting: BTreeMap<String, Evidence>,
    /// What was proven lately, acknowledged or not: the engine tells again what the edge has told.
    proven: BTreeSet<Key>,
    listeners: Vec<mpsc::Sender<Evidence>>,
}

/// The proofs of this node.
pub(crate) struct EvidenceBox {
    directory: PathBuf,
    state: Mutex<State>,
    found: AtomicU64,
    dropped: AtomicU64,
}

impl EvidenceBox {
    /// Reads what an earlier run left. Blocks on the disk.
    pub(crate) fn open(directory: PathBuf) -> std::io::Result<Self> {
        let mut waiting = BTreeMap::new();
        std::fs::create_dir_all(&directory)?;
        for entry in std::fs::read_dir(&directory)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with(".bin"))
            else {
                continue;
            };
            match Evidence::decode_all(&mut &std::fs::read(&path)?[..]) {
                Ok(evidence) => drop(waiting.insert(name.to_owned(), evidence)),
                // Damaged, or of another version: it stays for whoever wants to look.
                Err(error) => tracing::error!(path = %path.display(), %error, "evidence does not read back"),
            }
        }
        let state = Mutex::new(State { waiting, ..State::default() });
        Ok(Self { directory, state, found: AtomicU64::new(0), dropped: AtomicU64::new(0) })
    }

    /// Proofs found since the start.
    pub(crate) fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }

    /// Proofs that wait for their acknowledgement.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Whether nothing was proven yet about this signer at this place. Says so once.
    fn first_of(&self, place: Place, signer: [u8; 32]) -> bool {
        let mut state = self.state.lock();
        let oldest = place.height.saturating_sub(2 * WITNESS_HEIGHTS_KEPT);
        state.proven.retain(|(height, ..)| *height >= oldest);
        state.proven.insert((place.height, signer, place.round, place.step))
    }

    /// Makes a proof durable and tells the listeners. A disk that refuses is reported, and costs the file only.
    pub(crate) async fn keep(self: &Arc<Self>, book: &Book, contradiction: Contradiction) {
        let (place, signer) = (contradiction.first.statement.place(), *contradiction.first.statement.signer());
        let address = Address(signer);
        if !self.first_of(place, signer) {
            return;
        }
        tracing::error!(%place, %address, "a validator contradicts itself");
        self.found.fetch_add(1, Ordering::Relaxed);
        let Some(evidence) = self.proof(book, place, &address, &contradiction) else { return };
        let name = format!("{}-{}-{}-{}.bin", place.height, hex::encode(signer), place.round, place.step.byte());
        {
            let mut state = self.state.lock();
            if state.waiting.len() >= EVIDENCE_WAITING_MAX {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return tracing::warn!(%place, %address, "too much evidence waits; this one is dropped");
            }
            state.waiting.insert(name.clone(), evidence.clone());
        }
        let (directory, bytes) = (self.directory.clone(), evidence.encode());
        match tokio::task::spawn_blocking(move || write(&directory, &name, &bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%place, %error, "cannot keep evidence"),
            Err(error) => tracing::error!(%place, %error, "cannot keep evidence"),
        }
        self.state.lock().listeners.retain(|listener| {
            // A full listener reads nothing; after a restart it gets everything again.
            !matches!(listener.try_send(evidence.clone()), Err(mpsc::error::TrySendError::Closed(_)))
        });
    }

    fn proof(&self, book: &Book, place: Place, address: &Address, proof: &Contradiction) -> Option<Evidence> {
        let (Some(controller), Ok(height), Some(first), Some(second)) = (
            book.controller(place.height, address),
            u32::try_from(place.height),
            signed(&proof.first),
            signed(&proof.second),
        ) else {
            tracing::error!(%place, %address, "no account answers for this validator; the proof cannot be reported");
            return None;
        };
        let (validator, round) = (AccountId::new(controller), place.round);
        Some(Evidence { validator, height, round, step: step(place.step), first, second })
    }

    /// All proofs that are not acknowledged, and all later ones.
    pub(crate) fn listen(&self) -> mpsc::Receiver<Evidence> {
        let (sender, receiver) = mpsc::channel(2 * EVIDENCE_WAITING_MAX);
        let mut state = self.state.lock();
        for evidence in state.waiting.values() {
            // There is room for as many as can wait.
            let _ = sender.try_send(evidence.clone());
        }
        state.listeners.push(sender);
        receiver
    }

    /// Forgets a proof that is on chain, or never will be. Blocks on the disk.
    pub(crate) fn acknowledge(&self, evidence: &Evidence) -> std::io::Result<()> {
        let names: Vec<_> = {
            let mut state = self.state.lock();
            let names = state.waiting.iter().filter(|(_, known)| *known == evidence).map(|(name, _)| name.clone());
            let names: Vec<_> = names.collect();
            names.iter().for_each(|name| drop(state.waiting.remove(name)));
            names
        };
        for name in names {
            match std::fs::remove_file(self.directory.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let path = directory.join(name);
    let draft = path.with_extension("tmp");
    let mut file = File::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(draft, path)?;
    File::open(directory)?.sync_all()
}
