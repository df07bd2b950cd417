//! Keys of the mesh: the key schedule of the handshake, the seals of packets, X25519 and cookies.
//!
//! ```text
//!   ML-KEM secret --+--> HandshakeKeys      seal the proofs of identity (M3, M4)
//!        transcript |
//!                   +--> Traffic ----> two Directions: PacketKey, MAC key, tags
//!   X25519 secret --+       |
//!                           +--> ChainKey --ratchet(ML-KEM secret)--> Traffic --> ...
//!   PacketKey --next_phase--> PacketKey --> ...
//! ```
//!
//! # Correctness
//! * Only named derivations: every label stands in one place of this module, and no two derivations
//!   share one. `docs/mesh/handshake.md` tells them byte by byte.
//! * Secrets are cleared when dropped and never printed. Later keys do not tell earlier ones, because
//!   each step is HKDF (RFC 5869), which runs one way.
//! * A nonce is the IV of the key XOR a number. Whoever seals must not use a number twice; the
//!   numbers of a handshake and of packets belong to different types of keys.
//!
//! # Errors
//! [`MeshError`]. Why a seal does not open is not told: there is nothing that a caller could do about it.

mod cookie;
mod schedule;

pub use cookie::{COOKIE_BYTES, Cookie, CookieKey, CookieSecret};
pub use schedule::{
    ChainKey, Direction, HandshakeKeys, InitiatorTranscript, OpeningTranscript, ResponderTranscript, SIGNED_BYTES,
    TagKey, Traffic, answer_mac_key, hello_mac_key,
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, PrivateKey, UnparsedPublicKey, X25519},
};
use schedule::Secret;
use zeroize::Zeroizing;

/// Bytes of the tag of AES-256-GCM (NIST SP 800-38D).
pub const TAG_BYTES: usize = 16;
/// Bytes of an X25519 key or secret (RFC 7748).
pub const X25519_BYTES: usize = 32;
/// The bit of a packet number that is no part of the nonce: it tells the key phase.
const PHASE_BIT: u64 = 1 << 63;

/// What can go wrong with the keys of the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeshError {
    /// The seal was made with another key, number or cover, or it was changed.
    #[error("the seal is not valid")]
    Seal,
    /// The peer's X25519 key gives no secret: it is of low order (RFC 7748, section 6.1).
    #[error("the X25519 key of the peer gives no secret")]
    LowOrder,
    /// The library failed.
    #[error("the cryptographic library failed")]
    Library,
}

/// AES-256-GCM with an IV that numbers are mixed into.
struct Aead {
    key: LessSafeKey,
    iv: Zeroizing<[u8; 12]>,
}

impl Aead {
    fn new(key: &[u8; 32], iv: Zeroizing<[u8; 12]>) -> Result<Self, MeshError> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| MeshError::Library)?;
        Ok(Self { key: LessSafeKey::new(key), iv })
    }

    /// The IV XOR the number in its last eight bytes (RFC 8446, section 5.3).
    fn nonce(&self, number: u64) -> Nonce {
        let mut nonce = *self.iv;
        for (byte, mixed) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= mixed;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(&self, number: u64, aad: &[u8], bytes: &mut [u8]) -> Result<[u8; TAG_BYTES], MeshError> {
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(number), Aad::from(aad), bytes)
            .map_err(|_| MeshError::Library)?;
        tag.as_ref().try_into().map_err(|_| MeshError::Library)
    }

    fn open<'a>(&self, number: u64, aad: &[u8], sealed: &'a mut [u8]) -> Result<&'a mut [u8], MeshError> {
        self.key.open_in_place(self.nonce(number), Aad::from(aad), sealed).map_err(|_| MeshError::Seal)
    }
}

/// Seals the packets of one direction of a session, or the frames of one direction of a link.
pub struct PacketKey {
    secret: Secret,
    aead: Aead,
}

impl core::fmt::Debug for PacketKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("PacketKey(secret)")
    }
}

impl PacketKey {
    /// Seals `bytes` in place and gives the tag, which the caller appends. The highest bit of `pn` is
    /// no part of the nonce; no other two packets of this key may have the same number.
    ///
    /// # Errors
    /// [`MeshError::Library`].
    pub fn seal_in_place(&self, pn: u64, aad: &[u8], bytes: &mut [u8]) -> Result<[u8; TAG_BYTES], MeshError> {
        self.aead.seal(pn & !PHASE_BIT, aad, bytes)
    }

    /// Opens ciphertext and tag in place and gives the plaintext. After an error `sealed` holds nothing
    /// of use.
    ///
    /// # Errors
    /// [`MeshError::Seal`].
    pub fn open_in_place<'a>(&self, pn: u64, aad: &[u8], sealed: &'a mut [u8]) -> Result<&'a mut [u8], MeshError> {
        self.aead.open(pn & !PHASE_BIT, aad, sealed)
    }

    /// The key of the next phase. It does not tell this one.
    ///
    /// # Errors
    /// [`MeshError::Library`].
    pub fn next_phase(&self) -> Result<Self, MeshError> {
        schedule::next_phase(&self.secret)
    }
}

/// Seals the fragments of one side's proof of identity.
pub struct ProofKey(Aead);

impl core::fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ProofKey(secret)")
    }
}

impl ProofKey {
    /// Seals a fragment in place and gives the tag. Each number is used once.
    ///
    /// # Errors
    /// [`MeshError::Library`].
    pub fn seal_in_place(&self, number: u32, aad: &[u8], bytes: &mut [u8]) -> Result<[u8; TAG_BYTES], MeshError> {
        self.0.seal(u64::from(number), aad, bytes)
    }

    /// Opens a fragment and its tag in place.
    ///
    /// # Errors
    /// [`MeshError::Seal`].
    pub fn open_in_place<'a>(&self, number: u32, aad: &[u8], sealed: &'a mut [u8]) -> Result<&'a mut [u8], MeshError> {
        self.0.open(u64::from(number), aad, sealed)
    }
}

/// A fresh X25519 key pair, for one handshake. AWS-LC clears it when dropped.
pub struct X25519Secret {
    key: PrivateKey,
    public: [u8; X25519_BYTES],
}

impl core::fmt::Debug for X25519Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("X25519Secret(secret)")
    }
}

impl X25519Secret {
    /// The key pair of these 32 random bytes. The caller clears its own copy.
    ///
    /// # Errors
    /// [`MeshError::Library`].
    pub fn from_random(random: &[u8; X25519_BYTES]) -> Result<Self, MeshError> {
        let key = PrivateKey::from_private_key(&X25519, random).map_err(|_| MeshError::Library)?;
        let public = key.compute_public_key().map_err(|_| MeshError::Library)?;
        let public = public.as_ref().try_into().map_err(|_| MeshError::Library)?;
        Ok(Self { key, public })
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &[u8; X25519_BYTES] {
        &self.public
    }

    /// The secret that this side and the holder of `peer` share.
    ///
    /// # Errors
    /// [`MeshError::LowOrder`] when it would be zero.
    pub fn agree(&self, peer: &[u8; X25519_BYTES]) -> Result<X25519Shared, MeshError> {
        let peer = UnparsedPublicKey::new(&X25519, &peer[..]);
        agreement::agree(&self.key, peer, MeshError::LowOrder, |secret| {
            let secret: [u8; X25519_BYTES] = secret.try_into().map_err(|_| MeshError::Library)?;
            Ok(X25519Shared(Zeroizing::new(secret)))
        })
    }
}

/// The outcome of X25519; it only enters [`Traffic::new`].
pub struct X25519Shared(Zeroizing<[u8; X25519_BYTES]>);

impl core::fmt::Debug for X25519Shared {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("X25519Shared(secret)")
    }
}

#[cfg(test)]
mod tests;
