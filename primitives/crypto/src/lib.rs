//! Post-quantum keys, signatures, key agreement, keystores and TLS; the only crate that names a
//! cryptographic library.
//!
//! ```text
//!   Seed --> SigningKey --sign_vote(genesis, body)--> Signature      named purposes only
//!    |  \         |                                      |
//!    |   \        +--> TlsIdentity --> client/server     v
//!    |    \                            configuration   PublicKey::verify_vote(genesis, body, sig)
//!    |     +--> mnemonic (24 words)                      |
//!    +--> keystore (password)              Native (aws-lc-rs) or Portable (ml-dsa, no_std)
//! ```
//!
//! # Correctness
//! * There is no `sign(bytes)`. Each purpose has its own method and its own domain prefix inside the
//!   message, so a signature made for one purpose, or on one chain, is worthless for another. The
//!   FIPS 204 context is always empty, because the fast library cannot set it.
//! * Two independent libraries implement ML-DSA-65. They derive the same key from the same seed and
//!   accept the same signatures; tests hold them against each other and against published vectors.
//! * Secrets are cleared when dropped: [`Seed`] and everything derived from a password by this crate,
//!   the expanded key by AWS-LC, which clears each block of memory that it frees.
//!
//! # Limits
//! Argon2id parameters, password and file sizes are bounded by the `KEYSTORE_*` constants of
//! `x0-limits`, so that a planted file cannot make a reader allocate without end.
//!
//! # Errors
//! [`CryptoError`] for keys and signatures, [`kem::KemError`], [`keystore::KeystoreError`], [`mesh::MeshError`],
//! [`mnemonic::MnemonicError`] and [`tls::TlsError`] for their modules. Why a signature is invalid
//! is not told on purpose: there is nothing that a caller could do about it.
//!
//! Without the feature `std` this crate is `no_std` (with `alloc`), contains no C code and offers
//! verification of signatures, certificates and what validators say ([`statement`]), seeds and deterministic signing by the `ml-dsa` crate.
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap
    )
)]

extern crate alloc;

pub mod certificate;
pub mod dev;
mod key;
mod message;
pub mod portable;
pub mod statement;
mod verify;

#[cfg(feature = "std")]
pub mod kem;
#[cfg(feature = "std")]
pub mod keystore;
#[cfg(feature = "std")]
pub mod mesh;
#[cfg(feature = "std")]
pub mod mnemonic;
#[cfg(feature = "std")]
mod signing;
#[cfg(feature = "std")]
pub mod tls;

#[cfg(all(test, feature = "std"))]
mod tests;

#[cfg(feature = "std")]
pub use key::random_salt;
pub use key::{CryptoError, PUBLIC_KEY_BYTES, PublicKey, SEED_BYTES, SIGNATURE_BYTES, Seed, Signature};
pub use message::{
    ATTESTATION_DOMAIN, LINK_STATE_DOMAIN, MESH_INIT_DOMAIN, MESH_RESPONSE_DOMAIN, Message, NODE_RECORD_DOMAIN,
    PLAYBOOK_DOMAIN, POSSESSION_DOMAIN, PROPOSAL_DOMAIN, PROPOSAL_PART_DOMAIN, RECEIPT_DOMAIN, TRANSACTION_DOMAIN,
    TRANSACTION_REGISTERED_DOMAIN, VOTE_DOMAIN,
};
#[cfg(feature = "std")]
pub use signing::SigningKey;
#[cfg(feature = "std")]
pub use verify::Native;
pub use verify::{
    DefaultVerifier, Portable, SignatureVerifier, verify_attestation, verify_possession, verify_transaction,
    verify_transaction_registered,
};

/// BLAKE2b with a digest of 32 bytes: the hash of the chain.
#[must_use]
pub fn blake2b_256(bytes: &[u8]) -> [u8; 32] {
    blake2b_256_of(&[bytes])
}

/// BLAKE2b-256 of the concatenation of `parts`, without building it.
#[must_use]
pub fn blake2b_256_of(parts: &[&[u8]]) -> [u8; 32] {
    use blake2::digest::{Digest, consts::U32};
    let mut hasher = blake2::Blake2b::<U32>::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}
