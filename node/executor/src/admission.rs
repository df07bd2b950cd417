//! Judging transactions before they enter the mempool.

use crate::{
    Executor, dispatch,
    error::ExtrinsicError,
    extrinsic::{Signed, extrinsic_hash},
    state::{self, Overlay, Reader},
};
use bytes::Bytes;
use sp_runtime::transaction_validity::{TransactionLongevity, TransactionPriority, TransactionSource, TransactionTag};
use x0_runtime::{VerifiedMark, preverify};
use x0_types::{AccountId, Balance, Hash, Nonce};

/// A transaction that may enter a block after the head at which it was judged.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// BLAKE2b-256 of `bytes`.
    pub hash: Hash,
    /// The encoded transaction with its length prefix.
    pub bytes: Bytes,
    /// Who signed it.
    pub sender: AccountId,
    /// The sender's number of it.
    pub nonce: Nonce,
    /// What the sender offers beyond the fee.
    pub tip: Balance,
    /// Higher goes first among different senders.
    pub priority: TransactionPriority,
    /// What it makes possible.
    pub provides: Vec<TransactionTag>,
    /// What must come before it.
    pub requires: Vec<TransactionTag>,
    /// Blocks for which this judgement holds.
    pub longevity: TransactionLongevity,
    /// That the signature was verified, for the block builder.
    pub verified: VerifiedMark,
}

impl Executor {
    /// Judges a transaction against the head's state, the signature included. May run on any number
    /// of threads at once.
    ///
    /// # Errors
    /// Why the transaction cannot be taken. A nonce ahead of the account's is no error: the
    /// transaction then `requires` the ones before it.
    pub fn validate(&self, bytes: &[u8], source: TransactionSource) -> Result<Admitted, ExtrinsicError> {
        self.validate_hashed(&Bytes::copy_from_slice(bytes), extrinsic_hash(bytes), source)
    }

    /// The same for a caller who knows the hash of the bytes ([`extrinsic_hash`]) already.
    ///
    /// # Errors
    /// As [`Executor::validate`].
    pub fn validate_hashed(
        &self,
        bytes: &Bytes,
        hash: Hash,
        source: TransactionSource,
    ) -> Result<Admitted, ExtrinsicError> {
        let Signed { extrinsic, hash, sender, nonce, tip } = Signed::decode_hashed(bytes, hash)?;
        let (head, state) =
            self.head_state(Reader::Query).map_err(|error| ExtrinsicError::Node { message: error.to_string() })?;
        let mut overlay = Overlay::default();
        let known = self.0.marks.get(&hash);
        let (valid, mark) = state::run(&state.backend, &mut overlay, || {
            preverify::with_mark(known, || dispatch::validate(source, extrinsic, bytes.len(), head.hash))
        })
        .map_err(|panic| ExtrinsicError::Panicked { message: panic.0 })?;
        let valid = valid?;
        let verified = mark.ok_or(ExtrinsicError::NotSigned)?;
        self.0.marks.insert(hash, verified);
        Ok(Admitted {
            hash,
            bytes: bytes.clone(),
            sender,
            nonce,
            tip,
            priority: valid.priority,
            provides: valid.provides,
            requires: valid.requires,
            longevity: valid.longevity,
            verified,
        })
    }
}
