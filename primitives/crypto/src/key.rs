//! Seeds, public keys and signatures.

use crate::{
    message::{Message, for_each_bound_purpose, for_each_transaction_purpose},
    verify::{DefaultVerifier, SignatureVerifier},
};
use alloc::boxed::Box;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of an ML-DSA-65 public key (FIPS 204, table 2).
pub const PUBLIC_KEY_BYTES: usize = 1952;
/// Bytes of an ML-DSA-65 signature (FIPS 204, table 2).
pub const SIGNATURE_BYTES: usize = 3309;
/// Bytes of the seed from which a key pair is derived (FIPS 204, algorithm 1).
pub const SEED_BYTES: usize = 32;

/// What can go wrong with keys and signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// The bytes have another length than a public key.
    #[error("a public key has {PUBLIC_KEY_BYTES} bytes, found {found}")]
    PublicKeyLength {
        /// Bytes that were given.
        found: usize,
    },
    /// The bytes have another length than a signature.
    #[error("a signature has {SIGNATURE_BYTES} bytes, found {found}")]
    SignatureLength {
        /// Bytes that were given.
        found: usize,
    },
    /// The signature does not belong to this key, purpose, chain and body.
    #[error("the signature is not valid")]
    InvalidSignature,
    /// The library could not make a signature.
    #[error("signing failed")]
    Signing,
    /// The library could not derive a key pair from the seed.
    #[error("deriving a key from its seed failed")]
    Derivation,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Randomness,
}

/// The 32 secret bytes from which a key pair is derived. Cleared when dropped, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; SEED_BYTES]);

/// 32 random bytes of the operating system, for what is no key: salts of commitments.
///
/// # Errors
/// [`CryptoError::Randomness`] when the system has no random bytes.
#[cfg(feature = "std")]
pub fn random_salt() -> Result<[u8; 32], CryptoError> {
    let mut salt = [0; 32];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| CryptoError::Randomness)?;
    Ok(salt)
}

impl Seed {
    /// Takes over these bytes. The caller clears its own copy.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; SEED_BYTES]) -> Self {
        Self(bytes)
    }

    /// A fresh seed from the random generator of the operating system.
    ///
    /// # Errors
    /// [`CryptoError::Randomness`] when the system has no random bytes.
    #[cfg(feature = "std")]
    pub fn generate() -> Result<Self, CryptoError> {
        let mut seed = Self([0; SEED_BYTES]);
        aws_lc_rs::rand::fill(&mut seed.0).map_err(|_| CryptoError::Randomness)?;
        Ok(seed)
    }

    /// The secret bytes. Do not copy them to a place that is not cleared.
    #[must_use]
    pub const fn expose(&self) -> &[u8; SEED_BYTES] {
        &self.0
    }
}

impl core::fmt::Debug for Seed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Seed(secret)")
    }
}

/// An ML-DSA-65 public key. Every string of the right length is a public key (FIPS 204, algorithm
/// 23, cannot fail), so the length is all that there is to check.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(Box<[u8; PUBLIC_KEY_BYTES]>);

/// An ML-DSA-65 signature, not yet judged.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature(Box<[u8; SIGNATURE_BYTES]>);

macro_rules! byte_string {
    ($name:ident, $length:ident, $error:ident, $what:literal) => {
        impl $name {
            #[doc = concat!("Reads ", $what, ".")]
            ///
            /// # Errors
            #[doc = concat!("[`CryptoError::", stringify!($error), "`] when the length is not [`", stringify!($length), "`].")]
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoError> {
                Box::<[u8]>::from(bytes)
                    .try_into()
                    .map(Self)
                    .map_err(|_| CryptoError::$error { found: bytes.len() })
            }

            /// The bytes as they travel.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }

            /// The bytes, without copying them.
            #[must_use]
            pub fn to_boxed(self) -> Box<[u8; $length]> {
                self.0
            }
        }

        impl From<Box<[u8; $length]>> for $name {
            fn from(bytes: Box<[u8; $length]>) -> Self {
                Self(bytes)
            }
        }

        impl From<&[u8; $length]> for $name {
            fn from(bytes: &[u8; $length]) -> Self {
                Self(Box::new(*bytes))
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0[..]
            }
        }

        impl core::fmt::Debug for $name {
            /// Prints the first eight bytes only: logs hold many of these.
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(concat!(stringify!($name), "("))?;
                for byte in &self.0[..8] {
                    write!(f, "{byte:02x}")?;
                }
                f.write_str("..)")
            }
        }
    };
}
byte_string!(PublicKey, PUBLIC_KEY_BYTES, PublicKeyLength, "a public key");
byte_string!(Signature, SIGNATURE_BYTES, SignatureLength, "a signature");

macro_rules! verify_bound {
    ($($sign:ident, $verify:ident, $message:ident, $what:literal;)*) => {$(
        #[doc = concat!("Checks the signature of ", $what, " on the chain with this genesis hash.")]
        ///
        /// # Errors
        /// [`CryptoError::InvalidSignature`] when it is not valid.
        pub fn $verify(&self, genesis: &[u8; 32], body: &[u8], signature: &Signature) -> Result<(), CryptoError> {
            self.verify(Message::$message(genesis, body), signature)
        }
    )*};
}

macro_rules! verify_transactions {
    ($($sign:ident, $verify:ident, $message:ident, $what:literal;)*) => {$(
        #[doc = concat!("Checks the signature of ", $what, ".")]
        ///
        /// # Errors
        /// [`CryptoError::InvalidSignature`] when it is not valid.
        pub fn $verify(&self, payload: &[u8], signature: &Signature) -> Result<(), CryptoError> {
            self.verify(Message::$message(payload), signature)
        }
    )*};
}

impl PublicKey {
    for_each_bound_purpose!(verify_bound);
    for_each_transaction_purpose!(verify_transactions);

    /// BLAKE2b-256 of the key: its short name in receipts and in the registry of used keys.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        crate::blake2b_256(&self.0[..])
    }

    fn verify(&self, message: Message<'_>, signature: &Signature) -> Result<(), CryptoError> {
        if DefaultVerifier::default().verify(&self.0, message, &signature.0) {
            Ok(())
        } else {
            Err(CryptoError::InvalidSignature)
        }
    }
}
