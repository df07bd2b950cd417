//! Judging transactions before they enter the mempool.

use crate::{
    Executor, dispatch,
    error::{ExecutorError, ExtrinsicError},
    extrinsic::{Signed, extrinsic_hash},
    view::View,
};
use bytes::Bytes;
use sp_runtime::transaction_validity::{
    InvalidTransaction, TransactionLongevity, TransactionPriority, TransactionSource, TransactionTag,
    TransactionValidityError,
};
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

/// What the signature stage found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Proof {
    /// The signature holds over the payload of this state.
    Holds(VerifiedMark),
    /// It does not, or the key cannot be the signer's.
    Fails,
    /// The stage has not judged it: the payload cannot be made on this state.
    Unknown,
}

/// A transaction to judge.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The encoded transaction with its length prefix.
    pub bytes: Bytes,
    /// [`extrinsic_hash`] of the bytes.
    pub hash: Hash,
    /// Where it comes from.
    pub source: TransactionSource,
}

impl Executor {
    /// Judges a transaction against the head's state, the signature included. May run on any number
    /// of threads at once.
    ///
    /// # Errors
    /// Why the transaction cannot be taken. A nonce ahead of the account's is no error: the
    /// transaction then `requires` the ones before it.
    pub fn validate(&self, bytes: &[u8], source: TransactionSource) -> Result<Admitted, ExtrinsicError> {
        let submission = Submission { bytes: Bytes::copy_from_slice(bytes), hash: extrinsic_hash(bytes), source };
        let mut judged = self.validate_many(&[submission]);
        judged.pop().unwrap_or_else(|| Err(ExtrinsicError::Node { message: "no answer to one question".to_owned() }))
    }

    /// Judges transactions as [`Executor::validate`] does, each by itself, in one view of the state. The answers come
    /// in the same order.
    #[must_use]
    pub fn validate_many(&self, submissions: &[Submission]) -> Vec<Result<Admitted, ExtrinsicError>> {
        self.with_view(|view| self.judge_many(view, submissions)).unwrap_or_else(|error| {
            let failed = |_| Err(ExtrinsicError::Node { message: error.to_string() });
            submissions.iter().map(failed).collect()
        })
    }

    /// Verifies the signatures of all and judges those that hold.
    fn judge_many(&self, view: &mut View, submissions: &[Submission]) -> Vec<Result<Admitted, ExtrinsicError>> {
        let decoded: Vec<_> = submissions.iter().map(|one| Signed::decode_hashed(&one.bytes, one.hash)).collect();
        let proofs = self.verify_on(view, &decoded.iter().map(|signed| signed.as_ref().ok()).collect::<Vec<_>>());
        decoded
            .into_iter()
            .zip(proofs)
            .zip(submissions)
            .map(|((signed, proof), submission)| self.judge(view, signed?, proof, submission))
            .collect()
    }

    fn judge(
        &self,
        view: &mut View,
        signed: Signed,
        proof: Proof,
        submission: &Submission,
    ) -> Result<Admitted, ExtrinsicError> {
        let Signed { extrinsic, hash, sender, nonce, tip } = signed;
        let mark = match proof {
            Proof::Holds(mark) => Some(mark),
            // What the check below would find, at the price of the arithmetic once more.
            Proof::Fails => return Err(TransactionValidityError::from(InvalidTransaction::BadProof).into()),
            Proof::Unknown => None,
        };
        let length = submission.bytes.len();
        let (valid, mark) = view
            .run(|| preverify::with_mark(hash, mark, || dispatch::validate(submission.source, extrinsic, length)))
            .map_err(|panic| ExtrinsicError::Panicked { message: panic.0 })?;
        let valid = valid?;
        let verified = mark.ok_or(ExtrinsicError::NotSigned)?;
        self.0.marks.insert(hash, verified);
        Ok(Admitted {
            hash,
            bytes: submission.bytes.clone(),
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

    /// Verifies the signatures that this node has not seen, in one go. `None` stands for a transaction that is none.
    pub(crate) fn verify_on(&self, view: &mut View, transactions: &[Option<&Signed>]) -> Vec<Proof> {
        let mut proofs: Vec<_> = transactions
            .iter()
            .map(|signed| signed.and_then(|signed| self.0.marks.get(&signed.hash)).map_or(Proof::Unknown, Proof::Holds))
            .collect();
        let mut implicits = std::mem::take(&mut view.implicits);
        let verified = view.run(|| {
            let (mut candidates, mut wanted) = (Vec::new(), Vec::new());
            for (signed, proof) in transactions.iter().zip(&mut proofs) {
                if let (Some(signed), Proof::Unknown) = (signed, &proof)
                    && let Ok(Some(candidate)) = dispatch::candidate(&signed.extrinsic, signed.hash, &mut implicits)
                {
                    candidates.push(candidate);
                    wanted.push(proof);
                }
            }
            for (proof, mark) in wanted.into_iter().zip(preverify::prove_many(&candidates)) {
                *proof = mark.map_or(Proof::Fails, Proof::Holds);
            }
        });
        view.implicits = implicits;
        if let Err(panic) = verified {
            // What was not verified here is verified where it is judged, by itself, and panics there if it must.
            tracing::error!(message = %panic.0, "the signature stage panicked");
        }
        proofs
    }

    /// The next nonce of an account on the head.
    ///
    /// # Errors
    /// When the state cannot be opened or the runtime panics.
    pub fn head_nonce(&self, account: &AccountId) -> Result<Nonce, ExecutorError> {
        self.with_view(|view| view.run(|| x0_runtime::apis::account_nonce(account.clone())))?
            .map_err(|panic| ExecutorError::Panicked { place: "a look at an account", message: panic.0 })
    }
}
