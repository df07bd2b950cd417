//! The signature of a transaction.
//!
//! Five variants stand in the enum and two of them can be valid. The first three exist because
//! wallets look for these names to estimate fees; they never verify. The fourth carries the public
//! key, the fifth refers to the key that the `did` pallet names for the account.
//!
//! # Correctness
//! * The two forms sign under different domain prefixes, so that nobody can re-encode one into the
//!   other and change a transaction's hash and fee.
//! * If `did` names a key for the account, only this key verifies, in either form. Otherwise the
//!   inline key must hash to the account. This is judged from the state on every check.
#![allow(clippy::cast_possible_truncation, reason = "the codec derive casts variant indices, which are small")]

use crate::preverify::{Form, KeyHashes, inline_key_hashes, prove};
use codec::{Decode, DecodeWithMemTracking, Encode};
use scale_info::TypeInfo;
use sp_runtime::traits::{IdentifyAccount, Lazy, Verify};
use x0_types::{AccountId, MlDsa65PublicKey, MlDsa65Signature};

/// A transaction's signature.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub enum ChainSignature {
    /// Never valid: the name and the size let wallets estimate fees.
    Ed25519([u8; 64]),
    /// Never valid: the name and the size let wallets estimate fees.
    Sr25519([u8; 64]),
    /// Never valid: the name and the size let wallets estimate fees.
    Ecdsa([u8; 65]),
    /// ML-DSA-65 with the public key inside (domain `x0/tx/v1`).
    MlDsa65 {
        /// The signer's key.
        public: MlDsa65PublicKey,
        /// Over the domain prefix and the payload.
        signature: MlDsa65Signature,
    },
    /// ML-DSA-65 by the key that stands on chain for the account (domain `x0/tx-registered/v1`).
    MlDsa65Registered {
        /// Over the domain prefix and the payload.
        signature: MlDsa65Signature,
    },
}

impl ChainSignature {
    /// Bytes that are missing if this is a placeholder that a wallet used to estimate a fee: the
    /// real signature carries key and signature inline.
    #[must_use]
    pub const fn missing_bytes(&self) -> u32 {
        const INLINE: u32 = (x0_types::key::PUBLIC_KEY_BYTES + x0_types::key::SIGNATURE_BYTES) as u32;
        match self {
            Self::Ed25519(_) | Self::Sr25519(_) => INLINE - 64,
            Self::Ecdsa(_) => INLINE - 65,
            Self::MlDsa65 { .. } | Self::MlDsa65Registered { .. } => 0,
        }
    }
}

/// The signer behind a signature: a public key whose account id is its hash.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct ChainSigner(pub MlDsa65PublicKey);

impl IdentifyAccount for ChainSigner {
    type AccountId = AccountId;
    fn into_account(self) -> AccountId {
        self.0.account_id()
    }
}

impl Verify for ChainSignature {
    type Signer = ChainSigner;

    fn verify<L: Lazy<[u8]>>(&self, mut message: L, signer: &AccountId) -> bool {
        match self {
            Self::MlDsa65 { public, signature } => {
                let key = inline_key_hashes(public);
                let allowed = match named_key(signer) {
                    Some(named) => named == *public,
                    None => {
                        key.account() == *signer && crate::configs::identity::may_sign_transactions(&key.fingerprint())
                    }
                };
                allowed && {
                    let payload = message.get();
                    prove(key, payload, Form::Inline, || {
                        x0_crypto::verify_transaction(&public.0, payload, &signature.0)
                    })
                }
            }
            Self::MlDsa65Registered { signature } => named_key(signer).is_some_and(|public| {
                let payload = message.get();
                prove(KeyHashes::named(&public), payload, Form::Registered, || {
                    x0_crypto::verify_transaction_registered(&public.0, payload, &signature.0)
                })
            }),
            #[cfg(feature = "bench-ed25519")]
            Self::Ed25519(signature) => {
                let payload = message.get();
                prove(KeyHashes::classical(signer), payload, Form::Inline, || classical(signature, payload, signer))
            }
            #[cfg(not(feature = "bench-ed25519"))]
            Self::Ed25519(_) => false,
            Self::Sr25519(_) | Self::Ecdsa(_) => false,
        }
    }
}

/// Substrate's rule for Ed25519, where the account is the key. The build that has this measures what post-quantum
/// signatures cost; [`crate::version`] gives its chains another name.
#[cfg(feature = "bench-ed25519")]
fn classical(signature: &[u8; 64], payload: &[u8], signer: &AccountId) -> bool {
    use sp_core::{Pair as _, ed25519};
    let (signature, key) =
        (ed25519::Signature::from_raw(*signature), ed25519::Public::from_raw(*AsRef::<[u8; 32]>::as_ref(signer)));
    ed25519::Pair::verify(&signature, payload, &key)
}

/// The key that the chain names for an account, if any.
pub(crate) fn named_key(account: &AccountId) -> Option<MlDsa65PublicKey> {
    crate::configs::identity::account_key(account)
}
