//! The key schedule: transcripts, and HKDF-SHA-384 (RFC 5869) with one label for each use.

use super::{Aead, MeshError, PacketKey, ProofKey, X25519Shared};
use crate::{PublicKey, kem::SharedSecret};
use aws_lc_rs::{
    digest::{Context, SHA384},
    hkdf::{HKDF_SHA384, KeyType, Prk, Salt},
    hmac,
};
use zeroize::Zeroizing;

/// Bytes of SHA-384 and of the secrets derived with it.
const HASH_BYTES: usize = 48;
/// Bytes that a proof of identity signs: a transcript.
pub const SIGNED_BYTES: usize = HASH_BYTES;

const LABEL_OPENING: &[u8] = b"x0/mesh-opening/v1";
const LABEL_INITIATOR: &[u8] = b"x0/mesh-initiator/v1";
const LABEL_RESPONDER: &[u8] = b"x0/mesh-responder/v1";
const LABEL_RATCHET: &[u8] = b"x0/mesh-ratchet/v1";
const LABEL_HELLO_MAC: &[u8] = b"x0/mesh-hello-mac/v1";
const LABEL_ANSWER_MAC: &[u8] = b"x0/mesh-answer-mac/v1";

/// A secret of the schedule. Cleared when dropped.
pub(super) type Secret = Zeroizing<[u8; HASH_BYTES]>;

/// SHA-384 of a label and parts of known lengths.
pub(super) fn hash(label: &[u8], parts: &[&[u8]]) -> [u8; HASH_BYTES] {
    let mut context = Context::new(&SHA384);
    context.update(label);
    for part in parts {
        context.update(part);
    }
    let mut digest = [0; HASH_BYTES];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// The transcript after hello and answer. Every part has a fixed length, so no two different openings
/// have the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpeningTranscript([u8; HASH_BYTES]);

impl OpeningTranscript {
    /// Binds chain, mesh, and both first messages, which hold version, algorithms, purpose and ids.
    /// `hello` is without its cookie MAC.
    #[must_use]
    pub fn new(genesis: &[u8; 32], mesh_id: &[u8; 32], hello: &[u8], answer: &[u8]) -> Self {
        Self(hash(LABEL_OPENING, &[genesis, mesh_id, hello, answer]))
    }
}

/// What the initiator signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitiatorTranscript([u8; HASH_BYTES]);

impl InitiatorTranscript {
    /// Adds both names, the initiator's key and its X25519 key.
    #[must_use]
    pub fn new(
        opening: &OpeningTranscript,
        initiator: &[u8; 32],
        responder: &[u8; 32],
        key: &PublicKey,
        x25519: &[u8; 32],
    ) -> Self {
        Self(hash(LABEL_INITIATOR, &[&opening.0, initiator, responder, &key.fingerprint(), x25519]))
    }

    /// The body of the signature.
    #[must_use]
    pub const fn signed(&self) -> &[u8; SIGNED_BYTES] {
        &self.0
    }
}

/// What the responder signs, and what the traffic keys are bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponderTranscript([u8; HASH_BYTES]);

impl ResponderTranscript {
    /// Adds the initiator's whole proof and the responder's key. The names are in the transcript before.
    #[must_use]
    pub fn new(initiator: &InitiatorTranscript, proof: &[u8], key: &PublicKey) -> Self {
        Self(hash(LABEL_RESPONDER, &[&initiator.0, &hash(LABEL_RESPONDER, &[proof]), &key.fingerprint()]))
    }

    /// The body of the signature.
    #[must_use]
    pub const fn signed(&self) -> &[u8; SIGNED_BYTES] {
        &self.0
    }
}

/// A number of bytes to expand to.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand.
pub(super) fn expand<const N: usize>(prk: &Prk, label: &[u8], context: &[u8]) -> Result<Zeroizing<[u8; N]>, MeshError> {
    let mut out = Zeroizing::new([0; N]);
    prk.expand(&[label, context], Length(N)).and_then(|okm| okm.fill(&mut out[..])).map_err(|_| MeshError::Library)?;
    Ok(out)
}

fn aead(prk: &Prk) -> Result<Aead, MeshError> {
    let key: Zeroizing<[u8; 32]> = expand(prk, b"x0/mesh-key/v1", &[])?;
    Aead::new(&key, expand(prk, b"x0/mesh-iv/v1", &[])?)
}

fn prk(secret: &Secret) -> Prk {
    Prk::new_less_safe(HKDF_SHA384, &secret[..])
}

fn packet_key(secret: Secret) -> Result<PacketKey, MeshError> {
    Ok(PacketKey { aead: aead(&prk(&secret))?, secret })
}

/// The key of the next phase of a direction.
pub(super) fn next_phase(secret: &Secret) -> Result<PacketKey, MeshError> {
    packet_key(expand(&prk(secret), b"x0/mesh-phase/v1", &[])?)
}

/// What seals the proofs of identity: known to both sides after hello and answer, to nobody else, and
/// bound to nobody's identity yet.
pub struct HandshakeKeys {
    /// Seals what the initiator sends.
    pub initiator: ProofKey,
    /// Seals what the responder sends.
    pub responder: ProofKey,
    /// Key of the MAC on what the initiator sends.
    pub initiator_mac: Zeroizing<[u8; 16]>,
    /// Key of the MAC on what the responder sends.
    pub responder_mac: Zeroizing<[u8; 16]>,
}

impl core::fmt::Debug for HandshakeKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HandshakeKeys(secret)")
    }
}

impl HandshakeKeys {
    /// Derives the keys from the ML-KEM secret and the first two messages.
    ///
    /// # Errors
    /// [`MeshError::Library`].
    pub fn new(kem: &SharedSecret, opening: &OpeningTranscript) -> Result<Self, MeshError> {
        let root = Salt::new(HKDF_SHA384, &opening.0).extract(kem.expose());
        let initiator: Secret = expand(&root, b"x0/mesh-proof-i/v1", &[])?;
        let responder: Secret = expand(&root, b"x0/mesh-proof-r/v1", &[])?;
        Ok(Self {
            initiator: ProofKey(aead(&prk(&initiator))?),
            responder: ProofKey(aead(&prk(&responder))?),
            initiator_mac: expand(&root, b"x0/mesh-proof-mac-i/v1", &[])?,
            responder_mac: expand(&root, b"x0/mesh-proof-mac-r/v1", &[])?,
        })
    }
}

/// The keys of what one side sends.
pub struct Direction {
    /// Seals packets or frames.
    pub packet: PacketKey,
    /// Key of the hop MAC.
    pub mac: Zeroizing<[u8; 16]>,
    /// Names the link on frames of this direction.
    pub tags: TagKey,
}

impl core::fmt::Debug for Direction {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Direction(secret)")
    }
}

/// The keys of a link or session.
#[derive(Debug)]
pub struct Traffic {
    /// What the initiator sends.
    pub initiator: Direction,
    /// What the responder sends.
    pub responder: Direction,
    /// From which later keys come.
    pub chain: ChainKey,
    /// A public name of these keys, equal on both sides and bound to everything that they agreed on.
    pub id: [u8; 32],
}

impl Traffic {
    /// Derives the keys from both secrets and the whole transcript.
    ///
    /// # Errors
    /// [`MeshError::Library`].
    pub fn new(kem: &SharedSecret, x25519: &X25519Shared, transcript: &ResponderTranscript) -> Result<Self, MeshError> {
        let mut input = Zeroizing::new([0; 64]);
        input[..32].copy_from_slice(kem.expose());
        input[32..].copy_from_slice(&x25519.0[..]);
        Self::expand(&Salt::new(HKDF_SHA384, &transcript.0).extract(&input[..]))
    }

    fn expand(root: &Prk) -> Result<Self, MeshError> {
        Ok(Self {
            initiator: Direction {
                packet: packet_key(expand(root, b"x0/mesh-packet-i/v1", &[])?)?,
                mac: expand(root, b"x0/mesh-hop-i/v1", &[])?,
                tags: TagKey(expand(root, b"x0/mesh-tag-i/v1", &[])?),
            },
            responder: Direction {
                packet: packet_key(expand(root, b"x0/mesh-packet-r/v1", &[])?)?,
                mac: expand(root, b"x0/mesh-hop-r/v1", &[])?,
                tags: TagKey(expand(root, b"x0/mesh-tag-r/v1", &[])?),
            },
            chain: ChainKey(expand(root, b"x0/mesh-chain/v1", &[])?),
            id: *expand(root, b"x0/mesh-id/v1", &[])?,
        })
    }
}

/// The key from which the next keys of a link or session come.
#[derive(Clone)]
pub struct ChainKey(Secret);

impl core::fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ChainKey(secret)")
    }
}

impl ChainKey {
    /// Mixes in a fresh ML-KEM secret. `encapsulation_key` and `ciphertext` are the messages that
    /// agreed on it, and `number` counts the ratchets; both sides must have seen the same. Who holds
    /// only this key, or only the fresh secret, does not get the new keys.
    ///
    /// # Errors
    /// [`MeshError::Library`].
    pub fn ratchet(
        &self,
        number: u32,
        kem: &SharedSecret,
        encapsulation_key: &[u8; crate::kem::ENCAPSULATION_KEY_BYTES],
        ciphertext: &[u8; crate::kem::CIPHERTEXT_BYTES],
    ) -> Result<Traffic, MeshError> {
        let salt = hash(LABEL_RATCHET, &[&number.to_be_bytes(), encapsulation_key, ciphertext]);
        let mut input = Zeroizing::new([0; HASH_BYTES + 32]);
        input[..HASH_BYTES].copy_from_slice(&self.0[..]);
        input[HASH_BYTES..].copy_from_slice(kem.expose());
        Traffic::expand(&Salt::new(HKDF_SHA384, &salt).extract(&input[..]))
    }
}

/// Gives a link its changing names: who does not hold the key cannot tell that two of them belong
/// together.
#[derive(Clone)]
pub struct TagKey(Secret);

impl core::fmt::Debug for TagKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("TagKey(secret)")
    }
}

impl TagKey {
    /// The tag of this epoch, never zero: the first 32 bits of HMAC-SHA-384 over the epoch's number.
    #[must_use]
    pub fn tag(&self, epoch: u64) -> u32 {
        let key = hmac::Key::new(hmac::HMAC_SHA384, &self.0[..]);
        let mac = hmac::sign(&key, &epoch.to_be_bytes());
        let tag = mac.as_ref().first_chunk::<4>().map_or(0, |first| u32::from_be_bytes(*first));
        tag.max(1)
    }
}

/// The first 16 bytes of a hash, as a key for SipHash.
fn mac_key(label: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(&hash(label, parts)[..16]);
    key
}

/// Key of the MAC on a hello. Whoever knows the responder's name in this mesh can make it: it shows
/// that the hello is meant for this node, and no more.
#[must_use]
pub fn hello_mac_key(genesis: &[u8; 32], mesh_id: &[u8; 32], responder: &[u8; 32]) -> [u8; 16] {
    mac_key(LABEL_HELLO_MAC, &[genesis, mesh_id, responder])
}

/// Key of the MAC on the answer to a hello and on a cookie. Whoever saw the hello can make it: it
/// keeps out those who cannot see the path. `hello` is without its cookie MAC.
#[must_use]
pub fn answer_mac_key(genesis: &[u8; 32], mesh_id: &[u8; 32], responder: &[u8; 32], hello: &[u8]) -> [u8; 16] {
    mac_key(LABEL_ANSWER_MAC, &[genesis, mesh_id, responder, hello])
}
