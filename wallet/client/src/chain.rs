//! How this chain differs from a stock one, told to subxt: signatures, addresses, versions.

use std::{
    collections::BTreeMap,
    marker::PhantomData,
    sync::{Arc, PoisonError, RwLock},
};

use scale_decode::{IntoVisitor, TypeResolver, Visitor};
use scale_encode::EncodeAsType;
use subxt::{
    ArcMetadata, Config,
    config::{DefaultTransactionExtensions, HashFor, SubstrateConfig},
    utils::{AccountId32, MultiAddress},
};
use x0_types::key::{PUBLIC_KEY_BYTES, SIGNATURE_BYTES};

/// Variant index of the inline form in the chain's signature enum (`runtime` design, 3.3).
const VARIANT_INLINE: u8 = 3;
/// Variant index of the registered form.
const VARIANT_REGISTERED: u8 = 4;

/// A transaction signature as it stands in an extrinsic.
#[derive(Clone)]
pub enum ChainSignature {
    /// The key travels with the signature (5.3 kB): for accounts whose key is not on chain.
    Inline {
        /// The account's ML-DSA-65 public key.
        public: Box<[u8; PUBLIC_KEY_BYTES]>,
        /// Signature under `x0/tx/v1`.
        signature: Box<[u8; SIGNATURE_BYTES]>,
    },
    /// The chain knows the key (3.4 kB).
    Registered {
        /// Signature under `x0/tx-registered/v1`.
        signature: Box<[u8; SIGNATURE_BYTES]>,
    },
}

impl std::fmt::Debug for ChainSignature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline { signature, .. } => write!(f, "Inline({}..)", hex::encode(&signature[..8])),
            Self::Registered { signature } => write!(f, "Registered({}..)", hex::encode(&signature[..8])),
        }
    }
}

impl EncodeAsType for ChainSignature {
    /// Writes the variant by its index: the chain's enum is fixed by the format of transactions, and
    /// a type-driven encoding of 3,309 single bytes would only be slower.
    fn encode_as_type_to<R: TypeResolver>(
        &self,
        _type_id: R::TypeId,
        _types: &R,
        out: &mut Vec<u8>,
    ) -> Result<(), scale_encode::Error> {
        match self {
            Self::Inline { public, signature } => {
                out.push(VARIANT_INLINE);
                out.extend_from_slice(&public[..]);
                out.extend_from_slice(&signature[..]);
            }
            Self::Registered { signature } => {
                out.push(VARIANT_REGISTERED);
                out.extend_from_slice(&signature[..]);
            }
        }
        Ok(())
    }
}

impl IntoVisitor for ChainSignature {
    type AnyVisitor<R: TypeResolver> = NoSignature<R>;
    fn into_visitor<R: TypeResolver>() -> NoSignature<R> {
        NoSignature(PhantomData)
    }
}

/// Refuses to read signatures: [`Config`] asks for a reader, and nothing here reads them back.
pub struct NoSignature<R>(PhantomData<R>);

impl<R: TypeResolver> Visitor for NoSignature<R> {
    type Value<'scale, 'resolver> = ChainSignature;
    type Error = scale_decode::Error;
    type TypeResolver = R;
}

/// What fixes the versions of an offline client.
#[derive(Clone, Copy, Debug)]
struct Versions {
    genesis: HashFor<SubstrateConfig>,
    spec: u32,
    transaction: u32,
}

/// The chain's configuration for subxt.
///
/// Clones share one store of metadata, so that a runtime's description is fetched once per process.
#[derive(Clone, Debug, Default)]
pub struct ChainConfig {
    fixed: Option<Versions>,
    metadata: Arc<RwLock<BTreeMap<u32, ArcMetadata>>>,
}

impl ChainConfig {
    /// A configuration that needs no node: everything it would ask is given.
    #[must_use]
    pub fn offline(
        genesis: x0_types::Hash,
        spec_version: u32,
        transaction_version: u32,
        metadata: ArcMetadata,
    ) -> Self {
        let config = Self {
            fixed: Some(Versions {
                genesis: subxt::utils::H256(genesis.0),
                spec: spec_version,
                transaction: transaction_version,
            }),
            metadata: Arc::default(),
        };
        config.set_metadata_for_spec_version(spec_version, metadata);
        config
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
        self.fixed.map(|fixed| fixed.genesis)
    }

    fn spec_and_transaction_version_for_block_number(&self, _block: u64) -> Option<(u32, u32)> {
        self.fixed.map(|fixed| (fixed.spec, fixed.transaction))
    }

    fn metadata_for_spec_version(&self, version: u32) -> Option<ArcMetadata> {
        self.metadata.read().unwrap_or_else(PoisonError::into_inner).get(&version).cloned()
    }

    fn set_metadata_for_spec_version(&self, version: u32, metadata: ArcMetadata) {
        self.metadata.write().unwrap_or_else(PoisonError::into_inner).insert(version, metadata);
    }
}
