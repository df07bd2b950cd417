//! The verified mark: how a signature that was checked in parallel is not checked again.
//!
//! FRAME decodes a transaction anew before it checks the signature, so nothing inside the
//! transaction can say "checked already". The executor therefore hands the mark over on the side,
//! through a thread-local cell, right around the one call that consumes it:
//!
//! ```text
//!   worker thread:    with_mark(None, check)       -> (result, Some(mark))      full verification
//!   execution thread: with_mark(Some(mark), apply) -> Verify::verify finds the mark, compares key
//!                                                     and payload, and skips the arithmetic only
//! ```
//!
//! # Correctness
//! A mark says: *this key* signed *this payload* in *this form*. It can be made by a full
//! verification only, because its fields are private to this module and [`prove`] is private to the
//! crate. Whether the key may sign for the account is judged from the state each time. If a key
//! rotation or a version change makes key or payload differ, the mark does not fit and the full
//! verification runs. The caller keeps a mark next to the bytes whose signature was checked.

use std::cell::Cell;
use x0_types::AccountId;

/// Proof, within this process, that a signature over a payload was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedMark {
    key: [u8; 32],
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
    /// The mark that the next verification on this thread may use.
    static OFFERED: Cell<Option<VerifiedMark>> = const { Cell::new(None) };
    /// The mark that the last successful verification on this thread made.
    static PROVED: Cell<Option<VerifiedMark>> = const { Cell::new(None) };
}

/// Clears both cells when it goes out of scope, also when the runtime panics: a mark that stayed
/// behind could meet another transaction.
struct Clear;

impl Drop for Clear {
    fn drop(&mut self) {
        OFFERED.set(None);
        PROVED.set(None);
    }
}

/// Runs `f` with a mark on offer for the first signature check inside, and returns the mark that
/// the check made or confirmed.
pub fn with_mark<R>(mark: Option<VerifiedMark>, f: impl FnOnce() -> R) -> (R, Option<VerifiedMark>) {
    let _clear = Clear;
    OFFERED.set(mark);
    PROVED.set(None);
    let result = f();
    (result, PROVED.take())
}

/// Whether the signature holds: by the mark on offer if it fits, by `verify` otherwise.
///
/// `signer_key` is the account id that belongs to the key (not necessarily the signing account).
pub(crate) fn prove(signer_key: &AccountId, payload: &[u8], form: Form, verify: impl FnOnce() -> bool) -> bool {
    let mark = VerifiedMark { key: *signer_key.as_ref(), payload: sp_io::hashing::blake2_256(payload), form };
    let holds = OFFERED.take() == Some(mark) || verify();
    if holds {
        PROVED.set(Some(mark));
    }
    holds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> AccountId {
        AccountId::new([byte; 32])
    }

    /// A mark made by one verification is accepted for the same key, payload and form, and spares
    /// the second verification.
    #[test]
    fn a_mark_replaces_the_same_check_only() {
        let (held, mark) = with_mark(None, || prove(&key(1), b"payload", Form::Inline, || true));
        assert!(held);
        let mark = mark.unwrap();
        let (held, _) = with_mark(Some(mark), || prove(&key(1), b"payload", Form::Inline, || false));
        assert!(held, "the mark stands in for the arithmetic");
        for (k, payload, form) in [
            (key(2), &b"payload"[..], Form::Inline),
            (key(1), &b"payloae"[..], Form::Inline),
            (key(1), &b"payload"[..], Form::Registered),
        ] {
            let (held, made) = with_mark(Some(mark), || prove(&k, payload, form, || false));
            assert!(!held, "a mark for something else must not help");
            assert_eq!(made, None);
        }
    }

    /// One mark serves one check, and nothing stays behind on the thread, not even after a panic.
    #[test]
    fn a_mark_is_used_once_and_never_stays() {
        let (_, mark) = with_mark(None, || prove(&key(1), b"p", Form::Inline, || true));
        let ((first, second), _) = with_mark(mark, || {
            (prove(&key(1), b"p", Form::Inline, || false), prove(&key(1), b"p", Form::Inline, || false))
        });
        assert!(first && !second);
        let caught = std::panic::catch_unwind(|| with_mark(mark, || panic!("in the runtime")));
        assert!(caught.is_err());
        assert!(!prove(&key(1), b"p", Form::Inline, || false));
    }
}
