//! Key agreement by ML-KEM-768 (FIPS 203).
//!
//! Key pairs are kept as their 64-byte seed, the only form that needs no validation. The pure-Rust
//! crate expands the seed and checks public keys (FIPS 203, section 7.2); AWS-LC does the work that
//! is done for each session.

use aws_lc_rs::kem::{self, ML_KEM_768};
use ml_kem::{KeyExport, ml_kem_768};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes of an encapsulation key (FIPS 203, table 3).
pub const ENCAPSULATION_KEY_BYTES: usize = 1184;
/// Bytes of a ciphertext (FIPS 203, table 3).
pub const CIPHERTEXT_BYTES: usize = 1088;
/// Bytes of a shared secret (FIPS 203, table 3).
pub const SHARED_SECRET_BYTES: usize = 32;
/// Bytes of the seed of a key pair (FIPS 203, section 7.1: `d || z`).
pub const KEM_SEED_BYTES: usize = 64;

/// What can go wrong in key agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KemError {
    /// The bytes have another length than an encapsulation key.
    #[error("an encapsulation key has {ENCAPSULATION_KEY_BYTES} bytes, found {found}")]
    EncapsulationKeyLength {
        /// Bytes that were given.
        found: usize,
    },
    /// The bytes have another length than a ciphertext.
    #[error("a ciphertext has {CIPHERTEXT_BYTES} bytes, found {found}")]
    CiphertextLength {
        /// Bytes that were given.
        found: usize,
    },
    /// The encapsulation key has a coefficient that is not reduced.
    #[error("the encapsulation key is not in canonical form")]
    EncapsulationKey,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Randomness,
    /// The library failed.
    #[error("the key agreement failed")]
    Library,
}

/// A secret that both sides of a key agreement hold. Cleared when dropped, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SharedSecret([u8; SHARED_SECRET_BYTES]);

impl SharedSecret {
    fn from_slice(bytes: &[u8]) -> Result<Self, KemError> {
        bytes.try_into().map(Self).map_err(|_| KemError::Library)
    }

    /// The secret bytes; derive keys from them, do not use them as they are for two things.
    #[must_use]
    pub const fn expose(&self) -> &[u8; SHARED_SECRET_BYTES] {
        &self.0
    }
}

impl core::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SharedSecret(secret)")
    }
}

/// The public half of a key pair, checked to be in canonical form.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EncapsulationKey(Box<[u8; ENCAPSULATION_KEY_BYTES]>);

impl core::fmt::Debug for EncapsulationKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "EncapsulationKey({}..)", hex::encode(&self.0[..8]))
    }
}

impl EncapsulationKey {
    /// Reads and checks an encapsulation key.
    ///
    /// # Errors
    /// [`KemError::EncapsulationKeyLength`], or [`KemError::EncapsulationKey`] when a coefficient is
    /// not below q.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KemError> {
        let bytes: Box<[u8; ENCAPSULATION_KEY_BYTES]> =
            Box::<[u8]>::from(bytes).try_into().map_err(|_| KemError::EncapsulationKeyLength { found: bytes.len() })?;
        ml_kem_768::EncapsulationKey::new(&(*bytes).into()).map_err(|_| KemError::EncapsulationKey)?;
        Ok(Self(bytes))
    }

    /// The bytes as they travel.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; ENCAPSULATION_KEY_BYTES] {
        &self.0
    }

    /// Makes a fresh shared secret and the ciphertext that tells it to the holder of the key pair.
    ///
    /// # Errors
    /// [`KemError::Library`] when the library fails.
    pub fn encapsulate(&self) -> Result<(Box<[u8; CIPHERTEXT_BYTES]>, SharedSecret), KemError> {
        let key = kem::EncapsulationKey::new(&ML_KEM_768, &self.0[..]).map_err(|_| KemError::Library)?;
        let (ciphertext, secret) = key.encapsulate().map_err(|_| KemError::Library)?;
        let ciphertext = Box::<[u8]>::from(ciphertext.as_ref()).try_into().map_err(|_| KemError::Library)?;
        Ok((ciphertext, SharedSecret::from_slice(secret.as_ref())?))
    }
}

/// A key pair for key agreement. The seed is cleared when dropped; AWS-LC clears its expanded form.
pub struct DecapsulationKey {
    seed: Zeroizing<[u8; KEM_SEED_BYTES]>,
    key: kem::DecapsulationKey,
    public: EncapsulationKey,
}

impl core::fmt::Debug for DecapsulationKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "DecapsulationKey({:?})", self.public)
    }
}

impl DecapsulationKey {
    /// A fresh key pair.
    ///
    /// # Errors
    /// [`KemError::Randomness`] or [`KemError::Library`].
    pub fn generate() -> Result<Self, KemError> {
        let mut seed = Zeroizing::new([0; KEM_SEED_BYTES]);
        aws_lc_rs::rand::fill(&mut seed[..]).map_err(|_| KemError::Randomness)?;
        Self::from_seed(&seed)
    }

    /// The key pair of a seed (FIPS 203, algorithm 16, with `d || z`).
    ///
    /// # Errors
    /// [`KemError::Library`] when the library fails.
    pub fn from_seed(seed: &[u8; KEM_SEED_BYTES]) -> Result<Self, KemError> {
        let portable = ml_kem_768::DecapsulationKey::from_seed((*seed).into());
        let public: [u8; ENCAPSULATION_KEY_BYTES] = portable.encapsulation_key().to_bytes().into();
        let key = expand(&portable)?;
        Ok(Self { seed: Zeroizing::new(*seed), key, public: EncapsulationKey(Box::new(public)) })
    }

    /// The seed from which [`DecapsulationKey::from_seed`] makes this key pair again. Keep it secret.
    #[must_use]
    pub fn expose_seed(&self) -> &[u8; KEM_SEED_BYTES] {
        &self.seed
    }

    /// The public half.
    #[must_use]
    pub const fn encapsulation_key(&self) -> &EncapsulationKey {
        &self.public
    }

    /// The shared secret of a ciphertext. A ciphertext that was made for another key or changed on
    /// its way gives an unrelated secret, not an error (FIPS 203, implicit rejection).
    ///
    /// # Errors
    /// [`KemError::CiphertextLength`], or [`KemError::Library`] when the library fails.
    pub fn decapsulate(&self, ciphertext: &[u8]) -> Result<SharedSecret, KemError> {
        if ciphertext.len() != CIPHERTEXT_BYTES {
            return Err(KemError::CiphertextLength { found: ciphertext.len() });
        }
        let secret = self.key.decapsulate(ciphertext.into()).map_err(|_| KemError::Library)?;
        SharedSecret::from_slice(secret.as_ref())
    }
}

/// Hands the expanded key to AWS-LC, which takes no seed.
#[allow(deprecated, reason = "the expanded form never leaves memory; only seeds are stored")]
fn expand(portable: &ml_kem_768::DecapsulationKey) -> Result<kem::DecapsulationKey, KemError> {
    use ml_kem::ExpandedKeyEncoding;
    let mut expanded = portable.to_expanded_bytes();
    let key = kem::DecapsulationKey::new(&ML_KEM_768, &expanded).map_err(|_| KemError::Library);
    expanded.as_mut_slice().zeroize();
    key
}
