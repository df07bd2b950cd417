//! ML-DSA-65 by the pure-Rust crate `ml-dsa`: for small places, and as the independent second
//! opinion on every answer of the fast library.

use crate::{
    CryptoError, PUBLIC_KEY_BYTES, PublicKey, SIGNATURE_BYTES, Seed, Signature,
    message::{Message, for_each_bound_purpose, for_each_transaction_purpose},
};
use alloc::boxed::Box;
use ml_dsa::{
    EncodedSignature, EncodedVerifyingKey, Keypair, MlDsa65, VerifyingKey,
    signature::{MultipartSigner, MultipartVerifier},
};

/// Whether `signature` is valid for the concatenation of `parts`.
pub(crate) fn verify_parts(key: &[u8; PUBLIC_KEY_BYTES], parts: &[&[u8]], signature: &[u8; SIGNATURE_BYTES]) -> bool {
    let encoded = EncodedVerifyingKey::<MlDsa65>::from(*key);
    // Decoding refuses signatures that are out of range or whose hints are not in canonical form.
    let Some(signature) = ml_dsa::Signature::<MlDsa65>::decode(&EncodedSignature::<MlDsa65>::from(*signature)) else {
        return false;
    };
    VerifyingKey::decode(&encoded).multipart_verify(parts, &signature).is_ok()
}

/// A key pair of the portable implementation. It signs deterministically (FIPS 204, section 3.4),
/// because a small place may have no source of randomness.
#[derive(Clone)]
pub struct SigningKey {
    key: ml_dsa::SigningKey<MlDsa65>,
    public: PublicKey,
}

impl core::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "portable::SigningKey({:?})", self.public)
    }
}

macro_rules! sign_bound {
    ($($sign:ident, $verify:ident, $message:ident, $what:literal;)*) => {$(
        #[doc = concat!("Signs ", $what, " for the chain with this genesis hash.")]
        ///
        /// # Errors
        /// [`CryptoError::Signing`] when the library fails.
        pub fn $sign(&self, genesis: &[u8; 32], body: &[u8]) -> Result<Signature, CryptoError> {
            self.sign(Message::$message(genesis, body))
        }
    )*};
}

macro_rules! sign_transactions {
    ($($sign:ident, $verify:ident, $message:ident, $what:literal;)*) => {$(
        #[doc = concat!("Signs ", $what, ".")]
        ///
        /// # Errors
        /// [`CryptoError::Signing`] when the library fails.
        pub fn $sign(&self, payload: &[u8]) -> Result<Signature, CryptoError> {
            self.sign(Message::$message(payload))
        }
    )*};
}
#[cfg(feature = "std")]
pub(crate) use {sign_bound, sign_transactions};

impl SigningKey {
    /// Derives the key pair from its seed (FIPS 204, algorithm 6). Cannot fail.
    #[must_use]
    pub fn from_seed(seed: &Seed) -> Self {
        let mut secret = ml_dsa::Seed::from(*seed.expose());
        let key = ml_dsa::SigningKey::<MlDsa65>::from_seed(&secret);
        zeroize::Zeroize::zeroize(secret.as_mut_slice());
        let encoded: [u8; PUBLIC_KEY_BYTES] = key.verifying_key().encode().into();
        Self { key, public: PublicKey::from(Box::new(encoded)) }
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    for_each_bound_purpose!(sign_bound);
    for_each_transaction_purpose!(sign_transactions);

    fn sign(&self, message: Message<'_>) -> Result<Signature, CryptoError> {
        self.sign_parts(&message.parts())
    }

    /// Signs the concatenation of `parts`, for [`SigningKey::sign`] and for tests with vectors.
    pub(crate) fn sign_parts(&self, parts: &[&[u8]]) -> Result<Signature, CryptoError> {
        let signature = self.key.try_multipart_sign(parts).map_err(|_| CryptoError::Signing)?;
        let encoded: [u8; SIGNATURE_BYTES] = signature.encode().into();
        Ok(Signature::from(Box::new(encoded)))
    }
}
