//! What a sender signs with: ML-DSA-65, as everywhere in the product, or Ed25519 in the build that measures what
//! post-quantum signatures cost (feature `bench-ed25519`, which no other build has).

use anyhow::{Context, Result};
use x0_runtime::ChainSignature;
use x0_types::AccountId;

#[cfg(not(feature = "bench-ed25519"))]
pub use ml_dsa::AccountKey;

#[cfg(feature = "bench-ed25519")]
pub use ed25519::AccountKey;

/// Name of the scheme in reports.
pub const SCHEME: &str = if cfg!(feature = "bench-ed25519") { "Ed25519" } else { "ML-DSA-65" };

#[cfg(not(feature = "bench-ed25519"))]
mod ml_dsa {
    use super::{AccountId, ChainSignature, Context, Result};
    use x0_crypto::{Seed, SigningKey};
    use x0_types::{MlDsa65PublicKey, MlDsa65Signature};

    /// The key of an account.
    #[derive(Clone, Debug)]
    pub struct AccountKey(SigningKey);

    impl AccountKey {
        /// The key that belongs to a seed.
        pub fn from_seed(seed: [u8; 32]) -> Result<Self> {
            Ok(Self(SigningKey::from_seed(&Seed::from_bytes(seed)).context("key of a sender")?))
        }

        fn public(&self) -> MlDsa65PublicKey {
            MlDsa65PublicKey(Box::new(*self.0.public().as_bytes()))
        }

        /// Its account.
        #[must_use]
        pub fn account(&self) -> AccountId {
            self.public().account_id()
        }

        /// Signs a payload with the key inline.
        pub fn sign(&self, payload: &[u8]) -> Result<ChainSignature> {
            let signature = self.0.sign_transaction(payload).context("sign")?;
            Ok(ChainSignature::MlDsa65 {
                public: self.public(),
                signature: MlDsa65Signature(Box::new(*signature.as_bytes())),
            })
        }
    }
}

#[cfg(feature = "bench-ed25519")]
mod ed25519 {
    use super::{AccountId, ChainSignature, Context, Result};
    use sp_core::{Pair as _, ed25519::Pair};

    /// The key of an account.
    #[derive(Clone)]
    pub struct AccountKey(Pair);

    impl std::fmt::Debug for AccountKey {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_tuple("AccountKey").field(&self.account()).finish()
        }
    }

    impl AccountKey {
        /// The key that belongs to a seed.
        pub fn from_seed(seed: [u8; 32]) -> Result<Self> {
            Ok(Self(Pair::from_seed_slice(&seed).ok().context("key of a sender")?))
        }

        /// Its account: the public key itself, as in Substrate.
        #[must_use]
        pub fn account(&self) -> AccountId {
            AccountId::new(self.0.public().0)
        }

        /// Signs a payload.
        pub fn sign(&self, payload: &[u8]) -> Result<ChainSignature> {
            Ok(ChainSignature::Ed25519(self.0.sign(payload).0))
        }
    }
}
