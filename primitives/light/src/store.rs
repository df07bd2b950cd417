//! Trust as bytes, for a wallet's or agent's file.

use crate::{Conflict, LightError, TrustedState, ValidatorSet, Witness, set::SET_BYTES_MAX, state::ScheduledSet};
use alloc::{boxed::Box, vec::Vec};
use codec::{Decode, DecodeAll, Encode};
use x0_crypto::certificate::CERTIFICATE_BYTES_MAX;
use x0_limits::{LIGHT_CERTIFICATES_KEPT, LIGHT_SETS_KEPT};

/// The version that this module writes and reads.
const VERSION: u8 = 1;
/// Largest stored trust: a file that is larger was not written by this module.
const BYTES_MAX: usize =
    LIGHT_SETS_KEPT * SET_BYTES_MAX + (LIGHT_CERTIFICATES_KEPT + 2) * (CERTIFICATE_BYTES_MAX + 128) + 1_024;

#[derive(Encode, Decode)]
struct Stored {
    version: u8,
    genesis: [u8; 32],
    number: u32,
    hash: [u8; 32],
    state_root: [u8; 32],
    trusted_at_ms: u64,
    sets: Vec<(u32, Vec<u8>)>,
    changes_known_to: u32,
    awaited_from: Option<u32>,
    witnesses: Vec<Witness>,
    conflict: Option<Conflict>,
}

impl TrustedState {
    /// The whole trust, a conflict included, as bytes. Whoever stores them must protect them from
    /// change: they are what everything else is checked against.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        Stored {
            version: VERSION,
            genesis: self.genesis,
            number: self.number,
            hash: self.hash,
            state_root: self.state_root,
            trusted_at_ms: self.trusted_at_ms,
            sets: self.sets.iter().map(|scheduled| (scheduled.from, scheduled.set.encode())).collect(),
            changes_known_to: self.changes_known_to,
            awaited_from: self.awaited_from,
            witnesses: self.witnesses.clone(),
            conflict: self.conflict.as_deref().cloned(),
        }
        .encode()
    }

    /// Reads what [`TrustedState::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`LightError::Stored`], [`LightError::Set`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LightError> {
        if bytes.len() > BYTES_MAX {
            return Err(LightError::Stored("too long"));
        }
        if bytes.first() != Some(&VERSION) {
            return Err(LightError::Stored("unknown version"));
        }
        let stored = Stored::decode_all(&mut &bytes[..]).map_err(|_| LightError::Stored("malformed"))?;
        let sets: Vec<_> = stored
            .sets
            .into_iter()
            .map(|(from, set)| Ok(ScheduledSet { from, set: ValidatorSet::decode(&set)? }))
            .collect::<Result<_, LightError>>()?;
        if sets.is_empty() || !sets.is_sorted_by(|left, right| left.from < right.from) {
            return Err(LightError::Stored("its validator sets are out of order"));
        }
        Ok(Self {
            genesis: stored.genesis,
            number: stored.number,
            hash: stored.hash,
            state_root: stored.state_root,
            trusted_at_ms: stored.trusted_at_ms,
            sets,
            changes_known_to: stored.changes_known_to,
            awaited_from: stored.awaited_from,
            witnesses: stored.witnesses,
            conflict: stored.conflict.map(Box::new),
        })
    }
}
