//! The verified mark: how a signature that was checked in parallel is not checked again.
//!
//! The executor hands what it knows of a transaction's signature over on the side, through a thread-local cell, right
//! around the one call that consumes it:
//!
//! ```text
//!   worker threads:   prove_many(candidates)              -> marks          full verification, many at once
//!                     with_mark(hash, None, check)        -> (result, mark) full verification of one
//!   execution thread: with_mark(hash, Some(mark), apply)  -> Verify::verify finds the mark, compares the payload,
//!                                                            and skips hashing the key and the arithmetic
//! ```
//!
//! # Correctness
//! A mark says: in *the transaction with this hash*, *this key* signed *this payload* in *this form*. It can be made by
//! a full verification only, because its fields are private to this module and [`prove`] is private to the crate. The
//! hash covers every byte of the transaction, its key and signature included, so that a mark that fits the hash belongs
//! to the very key inside; the caller states the hash of the bytes that it decoded the transaction from. Whether the
//! key may sign for the account is judged from the state each time. If a key rotation or a version change makes key or
//! payload differ, the mark does not fit and the full verification runs.

use crate::{
    hashing::blake2_256_many,
    signature::{ChainSignature, named_key},
};
use sp_runtime::traits::Verify as _;
use std::cell::Cell;
use x0_types::{AccountId, Hash, MlDsa65PublicKey, MlDsa65Signature, account::ACCOUNT_DOMAIN, key::PUBLIC_KEY_BYTES};

/// The hashes of a public key that the chain's rules ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyHashes {
    account: [u8; 32],
    fingerprint: Hash,
}

impl KeyHashes {
    /// Hashes a key.
    pub(crate) fn of(public: &MlDsa65PublicKey) -> Self {
        Self { account: public.account_id().into(), fingerprint: public.fingerprint() }
    }

    /// Of a key that stands on chain: nobody asks for its fingerprint.
    pub(crate) fn named(public: &MlDsa65PublicKey) -> Self {
        Self { account: public.account_id().into(), fingerprint: Hash::zero() }
    }

    /// Of an Ed25519 key, which is the account and has no other name.
    #[cfg(feature = "bench-ed25519")]
    pub(crate) fn classical(account: &AccountId) -> Self {
        Self { account: *account.as_ref(), fingerprint: Hash::zero() }
    }

    /// The account id that belongs to the key.
    pub(crate) fn account(&self) -> AccountId {
        AccountId::new(self.account)
    }

    /// The key's name in the registry of used keys.
    pub(crate) fn fingerprint(&self) -> Hash {
        self.fingerprint
    }
}

/// Proof, within this process, that the signature of a transaction was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedMark {
    extrinsic: Hash,
    key: KeyHashes,
    payload: [u8; 32],
    form: Form,
}

/// Which of the two signature forms was verified; each signs under its own prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The public key travels with the signature.
    Inline,
    /// The public key stands on chain.
    Registered,
}

thread_local! {
    /// Hash of the transaction at hand.
    static EXTRINSIC: Cell<Hash> = const { Cell::new(Hash::zero()) };
    /// The mark that the next verification on this thread may use.
    static OFFERED: Cell<Option<VerifiedMark>> = const { Cell::new(None) };
    /// The mark that the last successful verification on this thread made.
    static PROVED: Cell<Option<VerifiedMark>> = const { Cell::new(None) };
}

/// Clears the cells when it goes out of scope, also when the runtime panics: a mark that stayed
/// behind could meet another transaction.
struct Clear;

impl Drop for Clear {
    fn drop(&mut self) {
        EXTRINSIC.set(Hash::zero());
        OFFERED.set(None);
        PROVED.set(None);
    }
}

/// Runs `f`, which checks the signature of the transaction with the hash `extrinsic`, with a mark on offer for the
/// first check inside, and returns the mark that the check made or confirmed. A mark of another transaction is not
/// offered.
pub fn with_mark<R>(extrinsic: Hash, mark: Option<VerifiedMark>, f: impl FnOnce() -> R) -> (R, Option<VerifiedMark>) {
    let _clear = Clear;
    EXTRINSIC.set(extrinsic);
    OFFERED.set(mark.filter(|mark| mark.extrinsic == extrinsic));
    PROVED.set(None);
    let result = f();
    (result, PROVED.take())
}

/// The hashes of the key inside the transaction at hand: those of the mark on offer, which belongs to the same bytes,
/// or new ones.
pub(crate) fn inline_key_hashes(public: &MlDsa65PublicKey) -> KeyHashes {
    match OFFERED.get() {
        Some(VerifiedMark { key, form: Form::Inline, .. }) => key,
        _ => KeyHashes::of(public),
    }
}

/// Whether the signature of the transaction at hand holds: by the mark on offer if it fits, by `verify` otherwise.
///
/// `key` are the hashes of the signer's key (not necessarily of the signing account's first one).
pub(crate) fn prove(key: KeyHashes, payload: &[u8], form: Form, verify: impl FnOnce() -> bool) -> bool {
    let payload = sp_io::hashing::blake2_256(payload);
    let mark = VerifiedMark { extrinsic: EXTRINSIC.get(), key, payload, form };
    let holds = OFFERED.take() == Some(mark) || verify();
    if holds {
        PROVED.set(Some(mark));
    }
    holds
}

/// A transaction whose signature is to be verified ahead of its execution.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// Hash of the transaction's bytes.
    pub extrinsic: Hash,
    /// The signature that it carries.
    pub signature: &'a ChainSignature,
    /// Who it says has signed.
    pub signer: &'a AccountId,
    /// What is signed, as of the state at hand.
    pub payload: Vec<u8>,
}

/// Verifies many signatures; inside externalities. A signature that does not hold gets no mark, and neither does one
/// by a key that cannot be the signer's.
#[must_use]
pub fn prove_many(candidates: &[Candidate<'_>]) -> Vec<Option<VerifiedMark>> {
    let mut inline = hash_inline(candidates).into_iter();
    candidates
        .iter()
        .map(|candidate| match candidate.signature {
            ChainSignature::MlDsa65 { public, signature } => {
                let (key, payload) = inline.next()?;
                prove_inline(candidate, public, signature, key, payload)
            }
            other => {
                let check = || other.verify(candidate.payload.as_slice(), candidate.signer);
                with_mark(candidate.extrinsic, None, check).1
            }
        })
        .collect()
}

/// The hashes of key and payload of those candidates that carry their key, in their order.
fn hash_inline(candidates: &[Candidate<'_>]) -> Vec<(KeyHashes, [u8; 32])> {
    const PREIMAGE_BYTES: usize = ACCOUNT_DOMAIN.len() + PUBLIC_KEY_BYTES;
    let carried = || {
        candidates.iter().filter_map(|candidate| match candidate.signature {
            ChainSignature::MlDsa65 { public, .. } => Some((&public.0, &candidate.payload)),
            _ => None,
        })
    };
    let mut preimages = Vec::with_capacity(candidates.len().saturating_mul(PREIMAGE_BYTES));
    for (public, _) in carried() {
        preimages.extend_from_slice(ACCOUNT_DOMAIN);
        preimages.extend_from_slice(&public[..]);
    }
    // The long inputs come first: the short ones fill the lanes at the end.
    let mut inputs: Vec<&[u8]> = preimages.chunks_exact(PREIMAGE_BYTES).collect();
    inputs.extend(carried().map(|(public, _)| &public[..]));
    inputs.extend(carried().map(|(_, payload)| payload.as_slice()));
    let digests = blake2_256_many(&inputs);
    let count = digests.len() / 3;
    (0..count)
        .map(|index| {
            let (account, fingerprint) = (digests[index], Hash::from(digests[count + index]));
            (KeyHashes { account, fingerprint }, digests[2 * count + index])
        })
        .collect()
}

fn prove_inline(
    candidate: &Candidate<'_>,
    public: &MlDsa65PublicKey,
    signature: &MlDsa65Signature,
    key: KeyHashes,
    payload: [u8; 32],
) -> Option<VerifiedMark> {
    // The account's own key is judged again where the mark is used. A key of another name can only be one that the
    // chain names for the account, and everything else is not worth the arithmetic.
    let possible =
        key.account() == *candidate.signer || named_key(candidate.signer).is_some_and(|named| named == *public);
    let holds = possible && x0_crypto::verify_transaction(&public.0, &candidate.payload, &signature.0);
    holds.then_some(VerifiedMark { extrinsic: candidate.extrinsic, key, payload, form: Form::Inline })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> KeyHashes {
        KeyHashes { account: [byte; 32], fingerprint: Hash::repeat_byte(byte) }
    }

    const ONE: Hash = Hash::repeat_byte(1);

    /// A mark made by one verification is accepted for the same transaction, key, payload and form, and spares
    /// the second verification.
    #[test]
    fn a_mark_replaces_the_same_check_only() {
        let (held, mark) = with_mark(ONE, None, || prove(key(1), b"payload", Form::Inline, || true));
        assert!(held);
        let mark = mark.unwrap();
        let (held, _) = with_mark(ONE, Some(mark), || prove(key(1), b"payload", Form::Inline, || false));
        assert!(held, "the mark stands in for the arithmetic");
        for (extrinsic, k, payload, form) in [
            (Hash::repeat_byte(2), key(1), &b"payload"[..], Form::Inline),
            (ONE, key(2), &b"payload"[..], Form::Inline),
            (ONE, key(1), &b"payloae"[..], Form::Inline),
            (ONE, key(1), &b"payload"[..], Form::Registered),
        ] {
            let (held, made) = with_mark(extrinsic, Some(mark), || prove(k, payload, form, || false));
            assert!(!held, "a mark for something else must not help");
            assert_eq!(made, None);
        }
    }

    /// One mark serves one check, and nothing stays behind on the thread, not even after a panic.
    #[test]
    fn a_mark_is_used_once_and_never_stays() {
        let (_, mark) = with_mark(ONE, None, || prove(key(1), b"p", Form::Inline, || true));
        let ((first, second), _) = with_mark(ONE, mark, || {
            (prove(key(1), b"p", Form::Inline, || false), prove(key(1), b"p", Form::Inline, || false))
        });
        assert!(first && !second);
        let caught = std::panic::catch_unwind(|| with_mark(ONE, mark, || panic!("in the runtime")));
        assert!(caught.is_err());
        assert!(!prove(key(1), b"p", Form::Inline, || false));
    }

    /// The hashes of a key come from a mark of the same transaction only; a mark of another one, or of a key that
    /// stands on chain, says nothing about the key inside.
    #[test]
    fn hashes_are_taken_from_the_transactions_own_mark() {
        let public = MlDsa65PublicKey(Box::new([7; PUBLIC_KEY_BYTES]));
        let mark = |form| VerifiedMark { extrinsic: ONE, key: key(9), payload: [0; 32], form };
        let hashes = |extrinsic, form| with_mark(extrinsic, Some(mark(form)), || inline_key_hashes(&public)).0;
        assert_eq!(hashes(ONE, Form::Inline), key(9));
        assert_eq!(hashes(ONE, Form::Registered), KeyHashes::of(&public));
        assert_eq!(hashes(Hash::repeat_byte(2), Form::Inline), KeyHashes::of(&public));
    }
}
