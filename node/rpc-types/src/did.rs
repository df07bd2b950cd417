//! Decentralised identifiers: `did:x0`, `did:key`, Multikey text, and W3C DID documents.
//!
//! ```text
//!   did:x0:<network>:<ss58 account>            resolved from the chain's state
//!   did:key:z<base58btc(varint codec || key)>  carries its own key; resolved without any state
//! ```
//!
//! Sources: W3C DID Core 1.1, Controlled Identifiers 1.0 (Multikey), the multicodec table
//! (`mldsa-65-pub` 0x1211, `mlkem-768-pub` 0x120c), the `did:key` method.

mod document;

pub use document::{
    DidDocument, DidDocumentMetadata, DidResolution, DidResolutionMetadata, Identity, IdentityKey, Service,
    VerificationMethod, document, key_document, role_name,
};

use crate::multibase;
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use x0_types::{AccountId, key::PUBLIC_KEY_BYTES};

/// Multicodec of an ML-DSA-65 public key.
pub const CODEC_ML_DSA_65: u32 = 0x1211;
/// Multicodec of an ML-KEM-768 public key (encapsulation key).
pub const CODEC_ML_KEM_768: u32 = 0x120c;
/// Bytes of an ML-KEM-768 public key (FIPS 203, table 3).
pub const ML_KEM_768_KEY_BYTES: usize = 1184;
/// Longest Multikey text that is decoded, characters: an ML-DSA-65 key in base58btc and its codec.
pub const MULTIKEY_TEXT_MAX: usize = 2_700;
/// Longest network name in a DID, characters.
pub const NETWORK_NAME_MAX: usize = 32;
/// JSON-LD contexts of the documents that this product writes.
pub const DID_CONTEXTS: [&str; 2] = ["https://www.w3.org/ns/did/v1.1", "https://w3id.org/security/multikey/v1"];

/// Why a text is no DID or key of this product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DidError {
    /// The text does not start with `did:x0:` or `did:key:`.
    Method,
    /// The network name is empty, too long, or has characters other than `a-z`, `0-9` and `-`.
    Network(String),
    /// The account is not ss58 text with a right checksum.
    Account(String),
    /// The multibase letter is neither `u` (base64url) nor `z` (base58btc).
    Multibase,
    /// The text is longer than [`MULTIKEY_TEXT_MAX`]; its length.
    TooLong(usize),
    /// The characters after the multibase letter do not decode.
    Encoding,
    /// The codec in front of the key is not one that is known here.
    Codec(u32),
    /// The key has the wrong length for its codec, bytes.
    KeyLength {
        /// What the codec asks for.
        expected: usize,
        /// What was there.
        found: usize,
    },
}

impl core::fmt::Display for DidError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Method => f.write_str("a DID here starts with did:x0: or did:key:"),
            Self::Network(name) => write!(f, "'{name}' is no network name (1 to {NETWORK_NAME_MAX} of a-z, 0-9, -)"),
            Self::Account(text) => write!(f, "'{text}' is no ss58 account with a right checksum"),
            Self::Multibase => f.write_str("the key text must start with u (base64url) or z (base58btc)"),
            Self::TooLong(length) => {
                write!(f, "the key text has {length} characters, at most {MULTIKEY_TEXT_MAX} are read")
            }
            Self::Encoding => f.write_str("the key text does not decode"),
            Self::Codec(codec) => write!(f, "multicodec 0x{codec:x} is not known here"),
            Self::KeyLength { expected, found } => {
                write!(f, "the key has {found} bytes, its codec asks for {expected}")
            }
        }
    }
}

impl std::error::Error for DidError {}

/// A `did:x0` identifier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Did {
    /// The network that the account lives on (`dev`, ...).
    pub network: String,
    /// The subject.
    pub account: AccountId,
}

impl Did {
    /// A DID of an account on a network.
    #[must_use]
    pub fn new(network: impl Into<String>, account: AccountId) -> Self {
        Self { network: network.into(), account }
    }
}

impl core::fmt::Display for Did {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "did:x0:{}:{}", self.network, self.account)
    }
}

impl FromStr for Did {
    type Err = DidError;
    fn from_str(text: &str) -> Result<Self, DidError> {
        let rest = text.strip_prefix("did:x0:").ok_or(DidError::Method)?;
        let (network, account) = rest.split_once(':').ok_or_else(|| DidError::Network(clip(rest)))?;
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if network.is_empty() || network.len() > NETWORK_NAME_MAX || !network.bytes().all(good) {
            return Err(DidError::Network(clip(network)));
        }
        let account = AccountId::from_str(account).map_err(|_| DidError::Account(clip(account)))?;
        Ok(Self::new(network, account))
    }
}

impl Serialize for Did {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Did {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The first characters of a text that goes into an error message.
fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

/// A public key with its multicodec, as Multikey and `did:key` carry it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Multikey {
    /// An ML-DSA-65 verification key.
    MlDsa65(Box<[u8; PUBLIC_KEY_BYTES]>),
    /// An ML-KEM-768 encapsulation key.
    MlKem768(Box<[u8; ML_KEM_768_KEY_BYTES]>),
}

impl Multikey {
    /// The unsigned varint of the codec followed by the key.
    fn tagged(&self) -> Vec<u8> {
        let (codec, key): (u32, &[u8]) = match self {
            Self::MlDsa65(key) => (CODEC_ML_DSA_65, &key[..]),
            Self::MlKem768(key) => (CODEC_ML_KEM_768, &key[..]),
        };
        // Both codecs lie between 2^7 and 2^14, so that their varint has two bytes.
        let low = u8::try_from(codec & 0x7f).unwrap_or(0) | 0x80;
        let high = u8::try_from(codec >> 7).unwrap_or(0);
        let mut bytes = Vec::with_capacity(2 + key.len());
        bytes.extend_from_slice(&[low, high]);
        bytes.extend_from_slice(key);
        bytes
    }

    /// Multikey text in base64url (`u…`), the form of the W3C drafts for post-quantum keys.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("u{}", multibase::base64url_encode(&self.tagged()))
    }

    /// The `did:key` of this key, in base58btc as the method asks.
    #[must_use]
    pub fn to_did_key(&self) -> String {
        format!("did:key:z{}", multibase::base58btc_encode(&self.tagged()))
    }

    /// Reads Multikey text in base64url or base58btc.
    ///
    /// # Errors
    /// [`DidError`] names the broken rule.
    pub fn from_text(text: &str) -> Result<Self, DidError> {
        if text.len() > MULTIKEY_TEXT_MAX {
            return Err(DidError::TooLong(text.len()));
        }
        let bytes = if let Some(rest) = text.strip_prefix('u') {
            multibase::base64url_decode(rest)
        } else if let Some(rest) = text.strip_prefix('z') {
            multibase::base58btc_decode(rest)
        } else {
            return Err(DidError::Multibase);
        };
        let bytes = bytes.ok_or(DidError::Encoding)?;
        let [low, high, key @ ..] = bytes.as_slice() else { return Err(DidError::Encoding) };
        if low & 0x80 == 0 || high & 0x80 != 0 {
            return Err(DidError::Encoding);
        }
        let codec = u32::from(low & 0x7f) | u32::from(*high) << 7;
        match codec {
            CODEC_ML_DSA_65 => fixed(key).map(Self::MlDsa65),
            CODEC_ML_KEM_768 => fixed(key).map(Self::MlKem768),
            other => Err(DidError::Codec(other)),
        }
    }

    /// Reads a `did:key`.
    ///
    /// # Errors
    /// [`DidError`] names the broken rule.
    pub fn from_did_key(text: &str) -> Result<Self, DidError> {
        Self::from_text(text.strip_prefix("did:key:").ok_or(DidError::Method)?)
    }
}

/// A key of exactly the length that its codec asks for.
fn fixed<const N: usize>(key: &[u8]) -> Result<Box<[u8; N]>, DidError> {
    <[u8; N]>::try_from(key).map(Box::new).map_err(|_| DidError::KeyLength { expected: N, found: key.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(byte: u8) -> AccountId {
        AccountId::new([byte; 32])
    }

    fn key(byte: u8) -> Multikey {
        Multikey::MlDsa65(Box::new([byte; PUBLIC_KEY_BYTES]))
    }

    #[test]
    fn did_text_round_trips_and_names_what_is_wrong() {
        let did = Did::new("dev", account(7));
        assert_eq!(did.to_string().parse::<Did>().unwrap(), did);
        assert_eq!(serde_json::from_str::<Did>(&serde_json::to_string(&did).unwrap()).unwrap(), did);
        assert_eq!("did:web:example.org".parse::<Did>(), Err(DidError::Method));
        assert!(matches!("did:x0:Dev:5x".parse::<Did>(), Err(DidError::Network(_))));
        assert!(matches!("did:x0:dev".parse::<Did>(), Err(DidError::Network(_))));
        let mut flipped = did.to_string();
        flipped.pop();
        flipped.push('1');
        assert!(matches!(flipped.parse::<Did>(), Err(DidError::Account(_))));
    }

    #[test]
    fn multikey_carries_the_registered_codecs() {
        // The multicodec table says mldsa-65-pub = 0x1211, whose varint is 0x91 0x24.
        let text = key(0).to_text();
        assert_eq!(&multibase::base64url_decode(&text[1..]).unwrap()[..2], &[0x91, 0x24]);
        let kem = Multikey::MlKem768(Box::new([1; ML_KEM_768_KEY_BYTES]));
        assert_eq!(&multibase::base64url_decode(&kem.to_text()[1..]).unwrap()[..2], &[0x8c, 0x24]);
        for key in [key(3), kem] {
            assert_eq!(Multikey::from_text(&key.to_text()).unwrap(), key);
            let did = key.to_did_key();
            assert!(did.len() <= MULTIKEY_TEXT_MAX + 8, "{}", did.len());
            assert_eq!(Multikey::from_did_key(&did).unwrap(), key);
        }
    }

    #[test]
    fn wrong_key_text_is_refused_by_name() {
        assert_eq!(Multikey::from_text("x00"), Err(DidError::Multibase));
        assert_eq!(Multikey::from_text("u"), Err(DidError::Encoding));
        assert_eq!(Multikey::from_text(&"u".repeat(3_000)), Err(DidError::TooLong(3_000)));
        let ed25519 = format!("u{}", multibase::base64url_encode(&[&[0xed, 0x01][..], &[0; 32]].concat()));
        assert_eq!(Multikey::from_text(&ed25519), Err(DidError::Codec(0xed)));
        let short = format!("u{}", multibase::base64url_encode(&[0x91, 0x24, 1, 2]));
        assert_eq!(Multikey::from_text(&short), Err(DidError::KeyLength { expected: PUBLIC_KEY_BYTES, found: 2 }));
    }
}
