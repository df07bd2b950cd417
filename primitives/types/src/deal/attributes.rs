//! Typed properties of a node: claims of its provider, which auditors attest one by one.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_core::H256;
use sp_runtime::{BoundedVec, traits::ConstU32};

/// Name of an attribute: lower-case ASCII letters, digits, `-`, `.` and `_`; not empty.
pub type AttributeKey = BoundedVec<u8, ConstU32<{ x0_limits::ATTRIBUTE_KEY_BYTES_MAX }>>;

/// Value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum AttributeValue {
    /// The node has a property or not.
    Flag(bool),
    /// An amount in the unit that the key names; more is better.
    Number(u64),
    /// Printable ASCII.
    Text(BoundedVec<u8, ConstU32<{ x0_limits::ATTRIBUTE_TEXT_BYTES_MAX }>>),
}

impl AttributeValue {
    /// BLAKE2b-256 of the SCALE encoding. Attestations name it beside the key, so that changing one
    /// attribute voids the attestations of that attribute alone.
    #[must_use]
    pub fn hash(&self) -> H256 {
        H256(sp_io::hashing::blake2_256(&self.encode()))
    }

    /// Whether an offered value is what a wanted value asks for: the same, or for numbers at least as much.
    #[must_use]
    pub fn meets(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::Number(offered), Self::Number(wanted)) => offered >= wanted,
            _ => self == wanted,
        }
    }
}

/// One property.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Attribute {
    /// Its name.
    pub key: AttributeKey,
    /// Its value.
    pub value: AttributeValue,
}

impl Attribute {
    /// Whether key and value are made of allowed characters.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let key = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
        let text = match &self.value {
            AttributeValue::Text(text) => text.iter().all(|byte| (0x20..0x7f).contains(byte)),
            AttributeValue::Flag(_) | AttributeValue::Number(_) => true,
        };
        !self.key.is_empty() && self.key.iter().all(key) && text
    }
}

/// The properties of a listing, or those that a request asks for: ordered by key, each key once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Attributes(pub BoundedVec<Attribute, ConstU32<{ x0_limits::ATTRIBUTES_MAX }>>);

impl Attributes {
    /// Whether each attribute is valid and the keys rise strictly.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.0.iter().all(Attribute::is_valid)
            && self.0.iter().zip(self.0.iter().skip(1)).all(|(first, second)| first.key < second.key)
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&AttributeValue> {
        let index = self.0.binary_search_by(|attribute| attribute.key.as_slice().cmp(key)).ok()?;
        self.0.get(index).map(|attribute| &attribute.value)
    }

    /// Whether every wanted attribute is offered.
    #[must_use]
    pub fn meets(&self, wanted: &Self) -> bool {
        wanted.0.iter().all(|wanted| self.get(&wanted.key).is_some_and(|offered| offered.meets(&wanted.value)))
    }
}
