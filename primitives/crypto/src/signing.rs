//! The key pair of nodes, agents and wallets.

use crate::{
    CryptoError, PublicKey, SIGNATURE_BYTES, Seed, Signature,
    message::{Message, for_each_bound_purpose, for_each_transaction_purpose},
    portable::{sign_bound, sign_transactions},
};
use aws_lc_rs::signature::{KeyPair, ML_DSA_65_SIGNING, PqdsaKeyPair};
use std::sync::Arc;

/// An ML-DSA-65 key pair. Clones share one secret, which AWS-LC clears when the last is dropped.
///
/// Signatures are hedged with fresh randomness (FIPS 204, section 3.4), so two signatures over the
/// same message differ. One takes about 100 us: async code signs on a blocking thread.
#[derive(Clone)]
pub struct SigningKey(Arc<Pair>);

struct Pair {
    key: PqdsaKeyPair,
    public: PublicKey,
}

impl core::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SigningKey({:?})", self.0.public)
    }
}

impl SigningKey {
    /// Derives the key pair from its seed (FIPS 204, algorithm 6).
    ///
    /// # Errors
    /// [`CryptoError::Derivation`] when the library fails, for example without memory.
    pub fn from_seed(seed: &Seed) -> Result<Self, CryptoError> {
        let key = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, seed.expose()).map_err(|_| CryptoError::Derivation)?;
        let public = PublicKey::from_bytes(key.public_key().as_ref())?;
        Ok(Self(Arc::new(Pair { key, public })))
    }

    /// A key pair from a fresh seed that nobody sees: for links and tests, not for keys that need a
    /// backup.
    ///
    /// # Errors
    /// [`CryptoError::Randomness`] or [`CryptoError::Derivation`].
    pub fn generate() -> Result<Self, CryptoError> {
        Self::from_seed(&Seed::generate()?)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.0.public
    }

    for_each_bound_purpose!(sign_bound);
    for_each_transaction_purpose!(sign_transactions);

    fn sign(&self, message: Message<'_>) -> Result<Signature, CryptoError> {
        message.with_bytes(|bytes| self.sign_bytes(bytes))
    }

    /// Signs plain bytes, for [`SigningKey::sign`] and for TLS, which has its own prefixes.
    pub(crate) fn sign_bytes(&self, bytes: &[u8]) -> Result<Signature, CryptoError> {
        let mut signature = Box::new([0; SIGNATURE_BYTES]);
        match self.0.key.sign(bytes, &mut signature[..]) {
            Ok(SIGNATURE_BYTES) => Ok(Signature::from(signature)),
            _ => Err(CryptoError::Signing),
        }
    }
}
