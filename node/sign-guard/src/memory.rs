//! The guard's decision, without its files: a simulator drives this very code.

use crate::guard::{GuardError, Signed};
use std::collections::BTreeMap;
use x0_crypto::{
    Signature,
    statement::{Place, Statement},
};
use x0_limits::GUARD_RECORDS_PER_SLOT_MAX;

/// The signatures of the last height, by place.
#[derive(Clone, Debug, Default)]
pub struct Memory(BTreeMap<Place, Signed>);

impl Memory {
    /// The last place that was signed.
    #[must_use]
    pub fn last(&self) -> Option<Place> {
        self.0.last_key_value().map(|(place, _)| *place)
    }

    /// Everything that is remembered, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Signed> {
        self.0.values()
    }

    /// The stored signature of this very statement; `None` when its place is ahead of all others.
    ///
    /// # Errors
    /// [`GuardError::Conflict`], [`GuardError::Regression`].
    pub fn recorded(&self, statement: &Statement) -> Result<Option<Signature>, GuardError> {
        self.admit(statement.place(), &x0_crypto::blake2b_256(&statement.body()))
    }

    /// The stored signature at this place when it is for this digest; `None` when the place is ahead of all others.
    pub(crate) fn admit(&self, place: Place, digest: &[u8; 32]) -> Result<Option<Signature>, GuardError> {
        if let Some(recorded) = self.0.get(&place) {
            if recorded.digest == *digest {
                return Ok(Some(recorded.signature.clone()));
            }
            return Err(GuardError::Conflict { recorded: Box::new(recorded.clone()) });
        }
        match self.last() {
            Some(last) if place < last => Err(GuardError::Regression { asked: place, last }),
            _ => Ok(None),
        }
    }

    /// Whether statements of this height begin another height than the one that is remembered.
    pub(crate) fn begins(&self, height: u64) -> bool {
        self.last().is_some_and(|last| last.height != height)
    }

    /// Remembers statements that follow one another. Those of another height take the place of everything.
    pub fn note(&mut self, records: Vec<Signed>) {
        let Some(first) = records.first() else { return };
        if self.begins(first.place.height) {
            self.0.clear();
        }
        // Only the places of the last slots' worth of rounds are kept: older ones are refused as regressions.
        while self.0.len() >= 2 * GUARD_RECORDS_PER_SLOT_MAX {
            self.0.pop_first();
        }
        self.0.extend(records.into_iter().map(|signed| (signed.place, signed)));
    }

    /// Puts back what the disk holds of the last height.
    pub(crate) fn restore(&mut self, signed: Signed) {
        self.0.insert(signed.place, signed);
    }
}
