//! The check of a signature, by either of two libraries.

use crate::{PUBLIC_KEY_BYTES, SIGNATURE_BYTES, message::Message};

/// Something that judges ML-DSA-65 signatures. Both implementations give the same answer on every
/// input; the differential tests of this crate hold them to it.
pub trait SignatureVerifier {
    /// Whether `signature` was made over `message` by the holder of the secret to `key`.
    fn verify(&self, key: &[u8; PUBLIC_KEY_BYTES], message: Message<'_>, signature: &[u8; SIGNATURE_BYTES]) -> bool;
}

/// Verifies with the `ml-dsa` crate: pure Rust, `no_std`, about a seventh of the speed of [`Native`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Portable;

impl SignatureVerifier for Portable {
    fn verify(&self, key: &[u8; PUBLIC_KEY_BYTES], message: Message<'_>, signature: &[u8; SIGNATURE_BYTES]) -> bool {
        crate::portable::verify_parts(key, &message.parts(), signature)
    }
}

/// Verifies with AWS-LC: the fast implementation of nodes.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Native;

#[cfg(feature = "std")]
impl SignatureVerifier for Native {
    fn verify(&self, key: &[u8; PUBLIC_KEY_BYTES], message: Message<'_>, signature: &[u8; SIGNATURE_BYTES]) -> bool {
        message.with_bytes(|bytes| verify_bytes(key, bytes, signature))
    }
}

/// Verifies plain bytes with AWS-LC, for [`Native`] and for TLS, which has its own prefixes.
#[cfg(feature = "std")]
pub(crate) fn verify_bytes(key: &[u8], bytes: &[u8], signature: &[u8]) -> bool {
    use aws_lc_rs::signature::{ML_DSA_65, UnparsedPublicKey};
    UnparsedPublicKey::new(&ML_DSA_65, key).verify(bytes, signature).is_ok()
}

/// The fastest verifier of this build.
#[cfg(feature = "std")]
pub type DefaultVerifier = Native;
/// The fastest verifier of this build.
#[cfg(not(feature = "std"))]
pub type DefaultVerifier = Portable;

/// Whether this is a valid signature of a transaction that carries its key.
#[must_use]
pub fn verify_transaction(key: &[u8; PUBLIC_KEY_BYTES], payload: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
    DefaultVerifier::default().verify(key, Message::transaction(payload), signature)
}

/// Whether this is a valid signature of a transaction whose key stands on chain.
#[must_use]
pub fn verify_transaction_registered(
    key: &[u8; PUBLIC_KEY_BYTES],
    payload: &[u8],
    signature: &[u8; SIGNATURE_BYTES],
) -> bool {
    DefaultVerifier::default().verify(key, Message::transaction_registered(payload), signature)
}

/// Whether this is a valid proof that the holder of `key` made the statement `body` on this chain.
#[must_use]
pub fn verify_possession(
    key: &[u8; PUBLIC_KEY_BYTES],
    genesis: &[u8; 32],
    body: &[u8],
    signature: &[u8; SIGNATURE_BYTES],
) -> bool {
    DefaultVerifier::default().verify(key, Message::possession(genesis, body), signature)
}

/// Whether the holder of an agent's `key` attested `body` on this chain.
#[must_use]
pub fn verify_attestation(
    key: &[u8; PUBLIC_KEY_BYTES],
    genesis: &[u8; 32],
    body: &[u8],
    signature: &[u8; SIGNATURE_BYTES],
) -> bool {
    DefaultVerifier::default().verify(key, Message::attestation(genesis, body), signature)
}
