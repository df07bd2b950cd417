//! The consensus key as the rest of the node sees it.

use crate::guard::{Guard, GuardError, binding};
use parking_lot::Mutex;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use x0_crypto::{
    PublicKey, Signature, SigningKey,
    statement::{Place, Statement},
};

/// What a key has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignStats {
    /// Signatures given, repeated ones included.
    pub signed: u64,
    /// Requests that the guard refused: contradictions and steps backwards.
    pub refused: u64,
    /// Requests that could not be answered: the disk failed, or the remote signer was away.
    pub failed: u64,
}

/// Counts for [`SignStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    signed: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

impl Counters {
    pub(crate) fn count<T>(&self, signatures: u64, outcome: &Result<T, GuardError>) {
        match outcome {
            Ok(_) => self.signed.fetch_add(signatures, Ordering::Relaxed),
            Err(GuardError::Conflict { .. } | GuardError::Regression { .. } | GuardError::OtherSigner { .. }) => {
                self.refused.fetch_add(1, Ordering::Relaxed)
            }
            Err(_) => self.failed.fetch_add(1, Ordering::Relaxed),
        };
    }

    pub(crate) fn stats(&self) -> SignStats {
        SignStats {
            signed: self.signed.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

/// A consensus key behind a guard. The methods that sign block: on the disk, or on the way to a remote signer.
pub trait ConsensusKey: Send + Sync + 'static {
    /// The public half.
    fn public(&self) -> &PublicKey;

    /// Signs a statement, or repeats its stored signature.
    ///
    /// # Errors
    /// [`GuardError`]. After [`GuardError::Unavailable`] the same request may be made again.
    fn sign(&self, statement: &Statement) -> Result<Signature, GuardError>;

    /// Signs two statements with one wait for the disk; the second place must follow the first. If either is
    /// refused, nothing is signed.
    ///
    /// # Errors
    /// As [`ConsensusKey::sign`].
    fn sign_pair(&self, statements: [&Statement; 2]) -> Result<[Signature; 2], GuardError>;

    /// The last place that was signed, as far as this process knows.
    fn last(&self) -> Option<Place>;

    /// The places of this height at which something was signed, as far as this process knows.
    fn places(&self, _height: u64) -> Vec<Place> {
        Vec::new()
    }

    /// What was done since the key was opened.
    fn stats(&self) -> SignStats;
}

/// A key and its guard in this process.
pub struct LocalKey {
    key: SigningKey,
    name: [u8; 32],
    genesis: [u8; 32],
    guard: Mutex<Guard>,
    counters: Counters,
}

impl core::fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "LocalKey({})", hex::encode(&self.name[..4]))
    }
}

impl LocalKey {
    /// Takes the key in charge. The guard's files live in `directory` and belong to this key and chain.
    ///
    /// # Errors
    /// Each error of [`Guard::open`].
    pub fn open(directory: &Path, key: SigningKey, genesis: [u8; 32]) -> Result<Self, GuardError> {
        let guard = Mutex::new(Guard::open(directory, binding(&genesis, key.public()))?);
        let name = key.public().fingerprint();
        Ok(Self { key, name, genesis, guard, counters: Counters::default() })
    }

    /// The chain that it signs for.
    #[must_use]
    pub const fn genesis(&self) -> &[u8; 32] {
        &self.genesis
    }

    fn own(&self, statement: &Statement) -> Result<(), GuardError> {
        if *statement.signer() == self.name {
            return Ok(());
        }
        Err(GuardError::OtherSigner { asked: hex::encode(statement.signer()), own: hex::encode(self.name) })
    }
}

impl ConsensusKey for LocalKey {
    fn public(&self) -> &PublicKey {
        self.key.public()
    }

    fn sign(&self, statement: &Statement) -> Result<Signature, GuardError> {
        let outcome = self
            .own(statement)
            .and_then(|()| self.guard.lock().sign(statement, || statement.sign(&self.key, &self.genesis)));
        self.counters.count(1, &outcome);
        outcome
    }

    fn sign_pair(&self, statements: [&Statement; 2]) -> Result<[Signature; 2], GuardError> {
        let outcome = statements.iter().try_for_each(|statement| self.own(statement)).and_then(|()| {
            self.guard.lock().sign_pair(statements, |statement| statement.sign(&self.key, &self.genesis))
        });
        self.counters.count(2, &outcome);
        outcome
    }

    fn last(&self) -> Option<Place> {
        self.guard.lock().last()
    }

    fn places(&self, height: u64) -> Vec<Place> {
        self.guard.lock().recent().map(|signed| signed.place).filter(|place| place.height == height).collect()
    }

    fn stats(&self) -> SignStats {
        self.counters.stats()
    }
}

impl From<LocalKey> for Arc<dyn ConsensusKey> {
    fn from(key: LocalKey) -> Self {
        Arc::new(key)
    }
}

impl From<crate::RemoteKey> for Arc<dyn ConsensusKey> {
    fn from(key: crate::RemoteKey) -> Self {
        Arc::new(key)
    }
}
