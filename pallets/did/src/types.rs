//! What the identity module stores, and the shape of its genesis.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{BoundedVec, traits::ConstU32};
use scale_info::TypeInfo;
use x0_types::{AccountId, Balance, BlockNumber, KeyRole, MlDsa65PublicKey};

/// A network endpoint in text, `ip:port`.
pub type Endpoint = BoundedVec<u8, ConstU32<{ x0_limits::ENDPOINT_BYTES_MAX }>>;

/// An identity: an account that is its own subject, or an agent that an account controls.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Identity {
    /// The account that acts for the subject and pays its deposits. It never changes.
    pub controller: AccountId,
    /// Where an agent listens, `ip:port`; `None` for accounts.
    pub endpoint: Option<Endpoint>,
    /// Whether the identity was given up. It stays as a tombstone: its subject never lives again.
    pub revoked: bool,
    /// Number of keys that the subject holds now.
    pub keys: u32,
    /// Storage deposit held from the controller for this entry, base units.
    pub deposit: Balance,
    /// Height at which the identity came to be.
    pub since: BlockNumber,
}

/// A key that is valid now.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct KeyEntry {
    /// The key.
    pub public: MlDsa65PublicKey,
    /// Storage deposit held from the controller for this entry, base units.
    pub deposit: Balance,
    /// Height from which the key is valid.
    pub since: BlockNumber,
}

/// The one use of a key, remembered for ever.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct KeyUse {
    /// The identity that the key belongs or belonged to.
    pub subject: AccountId,
    /// The role that the key has or had.
    pub role: KeyRole,
}

/// An identity that exists from genesis on. Its keys need no proof: who writes the genesis is
/// trusted with it, and it pays no deposit.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisIdentity {
    /// The subject, SS58.
    pub subject: AccountId,
    /// The controlling account, SS58; the subject itself when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<AccountId>,
    /// Where an agent listens, `ip:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The keys, at most one for each role.
    #[serde(default)]
    pub keys: Vec<GenesisKey>,
}

/// A key of a [`GenesisIdentity`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisKey {
    /// The role, in lower case: `consensus`, `network`, `reporter`, ...
    pub role: KeyRole,
    /// The ML-DSA-65 public key, `0x` and hexadecimal digits.
    pub public: MlDsa65PublicKey,
}

/// Reads `ip:port` with a literal address and a port that is not zero. Names are refused: looking
/// them up differs from place to place, and the chain must not.
#[must_use]
pub fn parse_endpoint(text: &[u8]) -> Option<core::net::SocketAddr> {
    let address: core::net::SocketAddr = core::str::from_utf8(text).ok()?.parse().ok()?;
    (address.port() != 0).then_some(address)
}
