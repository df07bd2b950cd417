//! Unmodified subxt against the live node: its own configuration and signer, about forty lines.
//!
//! This crate is deliberately independent of `x0-client`: it shows what anybody who uses subxt has to
//! write, and that it is enough.

use scale_decode::Visitor;
use scale_encode::EncodeAsType;
use subxt::{
    config::{Config, DefaultTransactionExtensions, HashFor, SubstrateConfig},
    transactions::Signer,
    utils::{AccountId32, MultiAddress},
};
use x0_crypto::SigningKey;

/// The chain as subxt sees it: like Substrate, with another signature.
#[derive(Debug, Clone, Default)]
pub struct ChainConfig(SubstrateConfig);

/// Variant 3 of the chain's signature enum: the public key and the ML-DSA-65 signature.
#[derive(Debug, Clone)]
pub struct ChainSignature {
    public: Vec<u8>,
    signature: Vec<u8>,
}

impl EncodeAsType for ChainSignature {
    fn encode_as_type_to<R: scale_encode::TypeResolver>(
        &self,
        _: R::TypeId,
        _: &R,
        out: &mut Vec<u8>,
    ) -> Result<(), scale_encode::Error> {
        out.push(3);
        out.extend_from_slice(&self.public);
        out.extend_from_slice(&self.signature);
        Ok(())
    }
}

/// Decodes nothing: subxt asks for a visitor, and these tests read no signatures.
#[derive(Debug)]
pub struct NoVisitor<R>(core::marker::PhantomData<R>);

impl<R: scale_decode::TypeResolver> Visitor for NoVisitor<R> {
    type Value<'scale, 'resolver> = ChainSignature;
    type Error = scale_decode::Error;
    type TypeResolver = R;
}

impl scale_decode::IntoVisitor for ChainSignature {
    type AnyVisitor<R: scale_decode::TypeResolver> = NoVisitor<R>;
    fn into_visitor<R: scale_decode::TypeResolver>() -> NoVisitor<R> {
        NoVisitor(core::marker::PhantomData)
    }
}

impl Config for ChainConfig {
    type AccountId = AccountId32;
    type Address = MultiAddress<AccountId32, ()>;
    type Signature = ChainSignature;
    type AssetId = u32;
    type Hasher = <SubstrateConfig as Config>::Hasher;
    type Header = <SubstrateConfig as Config>::Header;
    type TransactionExtensions = DefaultTransactionExtensions<Self>;
    fn genesis_hash(&self) -> Option<HashFor<Self>> {
        self.0.genesis_hash()
    }
    fn metadata_for_spec_version(&self, version: u32) -> Option<subxt::ArcMetadata> {
        self.0.metadata_for_spec_version(version)
    }
    fn set_metadata_for_spec_version(&self, version: u32, metadata: subxt::ArcMetadata) {
        self.0.set_metadata_for_spec_version(version, metadata);
    }
}

/// Signs subxt's payloads with a development key.
#[derive(Debug)]
pub struct DevelopmentSigner {
    key: SigningKey,
    account: AccountId32,
}

impl DevelopmentSigner {
    /// The signer of a named development account.
    ///
    /// # Errors
    /// When the key cannot be derived.
    pub fn new(name: &str) -> Result<Self, x0_crypto::CryptoError> {
        let key = SigningKey::from_seed(&x0_crypto::dev::seed(name, "account"))?;
        let mut preimage = b"x0/account/v1".to_vec();
        preimage.extend_from_slice(key.public().as_bytes());
        let account = AccountId32(x0_crypto::blake2b_256(&preimage));
        Ok(Self { key, account })
    }
}

impl Signer<ChainConfig> for DevelopmentSigner {
    fn account_id(&self) -> AccountId32 {
        self.account
    }

    fn sign(&self, payload: &[u8]) -> ChainSignature {
        // The trait has no error; an empty signature is one that the node refuses by name.
        let signature = self.key.sign_transaction(payload).map(|s| s.as_bytes().to_vec()).unwrap_or_default();
        ChainSignature { public: self.key.public().as_bytes().to_vec(), signature }
    }
}
