//! ML-DSA-65 keys and signatures as they stand on chain, and the roles of keys.
//!
//! Sizes are those of FIPS 204, parameter set ML-DSA-65.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::{Path, Type, TypeInfo, build::Fields};

/// Bytes of an ML-DSA-65 public key (FIPS 204, table 2).
pub const PUBLIC_KEY_BYTES: usize = 1952;
/// Bytes of an ML-DSA-65 signature (FIPS 204, table 2).
pub const SIGNATURE_BYTES: usize = 3309;

/// An ML-DSA-65 public key.
#[derive(Clone, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct MlDsa65PublicKey(pub Box<[u8; PUBLIC_KEY_BYTES]>);

/// An ML-DSA-65 signature.
///
/// The bytes are `[u8; 3309]`; the type description says `[[u8; 1103]; 3]`, which encodes to the
/// same bytes, because polkadot.js refuses arrays of more than 2048 elements.
#[derive(Clone, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
pub struct MlDsa65Signature(pub Box<[u8; SIGNATURE_BYTES]>);

impl TypeInfo for MlDsa65Signature {
    type Identity = Self;
    fn type_info() -> Type {
        Type::builder()
            .path(Path::new("MlDsa65Signature", "x0_types::key"))
            .composite(Fields::unnamed().field(|field| field.ty::<[[u8; 1103]; 3]>()))
    }
}

macro_rules! short_debug {
    ($name:ident) => {
        impl core::fmt::Debug for $name {
            /// Prints the first eight bytes only: logs hold many of these.
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({}..)"), hex::encode(&self.0[..8]))
            }
        }
    };
}
short_debug!(MlDsa65PublicKey);
short_debug!(MlDsa65Signature);

impl MlDsa65PublicKey {
    /// The account id that belongs to this key.
    #[must_use]
    pub fn account_id(&self) -> crate::AccountId {
        crate::account::account_id(&self.0)
    }

    /// BLAKE2b-256 of the key: its name in the registry of used keys.
    #[must_use]
    pub fn fingerprint(&self) -> crate::Hash {
        crate::Hash::from(sp_io::hashing::blake2_256(&self.0[..]))
    }
}

impl serde::Serialize for MlDsa65PublicKey {
    /// Writes `0x` and 3904 hexadecimal digits.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("0x{}", hex::encode(&self.0[..])))
    }
}

impl<'de> serde::Deserialize<'de> for MlDsa65PublicKey {
    /// Reads what `serialize` writes; the error says how many bytes there were.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
        let digits = text.strip_prefix("0x").ok_or_else(|| D::Error::custom("a public key starts with 0x"))?;
        let bytes = hex::decode(digits).map_err(|error| D::Error::custom(format!("public key: {error}")))?;
        let found = bytes.len();
        let public: Box<[u8; PUBLIC_KEY_BYTES]> = bytes
            .into_boxed_slice()
            .try_into()
            .map_err(|_| D::Error::custom(format!("a public key has {PUBLIC_KEY_BYTES} bytes, found {found}")))?;
        Ok(Self(public))
    }
}

/// What a key may be used for. A key has one role for all of its life (architecture D13).
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum KeyRole {
    /// Signs transactions of an account.
    Account,
    /// Signs consensus votes and proposals.
    Consensus,
    /// Authenticates a validator's links.
    Network,
    /// Signs a validator's measurement reports.
    Reporter,
    /// Approves playbooks.
    Playbook,
    /// Authenticates a mesh agent and signs its receipts.
    Agent,
    /// Signs release manifests.
    Release,
}

/// What a proof of possession signs, after the domain prefix and the genesis hash.
///
/// The signature shows that who registers a key holds it, for this chain, this role and this
/// subject, and only until the given time, so that the proof cannot be replayed elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PossessionStatement {
    /// The role that the key takes.
    pub role: KeyRole,
    /// The identity that the key belongs to.
    pub subject: crate::AccountId,
    /// The account that registers the key.
    pub controller: crate::AccountId,
    /// End of the proof's life, milliseconds since the Unix epoch.
    pub expires_at_ms: crate::Moment,
}

/// A proof of possession: the signature over a [`PossessionStatement`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct KeyProof {
    /// End of the proof's life, milliseconds since the Unix epoch.
    pub expires_at_ms: crate::Moment,
    /// Signature by the key that is being registered.
    pub signature: MlDsa65Signature,
}
