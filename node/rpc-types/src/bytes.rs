//! Bytes as `0x` hex text.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Bytes that stand in JSON as lower-case hex with a `0x` in front.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HexBytes(pub Vec<u8>);

/// Why a text is not hex bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HexError {
    /// The number of digits is odd.
    OddDigits(usize),
    /// A character is not a hex digit; its place, a `0x` in front not counted.
    NotHex(usize),
}

impl core::fmt::Display for HexError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::OddDigits(digits) => write!(f, "hex text has an odd number of digits ({digits})"),
            Self::NotHex(place) => write!(f, "digit {place} of the hex text is not a hex digit"),
        }
    }
}

impl std::error::Error for HexError {}

impl HexBytes {
    /// Reads hex text, with or without the `0x` in front: polkadot-api leaves it out of empty bytes.
    ///
    /// # Errors
    /// [`HexError`] names the broken rule.
    pub fn parse(text: &str) -> Result<Self, HexError> {
        let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
        if !digits.len().is_multiple_of(2) {
            return Err(HexError::OddDigits(digits.len()));
        }
        let mut bytes = Vec::with_capacity(digits.len() / 2);
        // A marked nibble has a high bit, so that one comparison per byte finds any bad digit; a
        // transaction is ten thousand digits, and a node reads thousands of them a second.
        for (place, pair) in digits.chunks_exact(2).enumerate() {
            let [high, low] = [pair[0], pair[1]].map(|digit| NIBBLES[usize::from(digit)]);
            if (high | low) >= NOT_A_NIBBLE {
                return Err(HexError::NotHex(2 * place + usize::from(high < NOT_A_NIBBLE)));
            }
            bytes.push(high << 4 | low);
        }
        Ok(Self(bytes))
    }
}

/// Marks a byte that is not a hex digit in [`NIBBLES`].
const NOT_A_NIBBLE: u8 = 0x80;

/// The value of each byte as a hex digit.
const NIBBLES: [u8; 256] = {
    let mut table = [NOT_A_NIBBLE; 256];
    let mut value = 0u8;
    while value < 16 {
        let digit = b"0123456789abcdef"[value as usize];
        table[digit as usize] = value;
        table[digit.to_ascii_uppercase() as usize] = value;
        value += 1;
    }
    table
};

impl core::fmt::Display for HexBytes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

/// Bytes as `0x` hex text.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("0x");
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

impl From<Vec<u8>> for HexBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for HexBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for HexBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip() {
        let all: Vec<u8> = (0..=255).collect();
        let text = serde_json::to_string(&HexBytes(all.clone())).unwrap();
        assert_eq!(serde_json::from_str::<HexBytes>(&text).unwrap().0, all);
        assert_eq!(HexBytes::parse("0x").unwrap().0, Vec::<u8>::new());
        assert_eq!(HexBytes::parse("").unwrap().0, Vec::<u8>::new());
        assert_eq!(HexBytes::parse("ab").unwrap().0, [0xab]);
        assert_eq!(HexBytes::parse("0xAbCd").unwrap().0, [0xab, 0xcd]);
    }

    #[test]
    fn errors_name_the_rule() {
        assert_eq!(HexBytes::parse("xyz0"), Err(HexError::NotHex(0)));
        assert_eq!(HexBytes::parse("0xabc"), Err(HexError::OddDigits(3)));
        assert_eq!(HexBytes::parse("0xabcg"), Err(HexError::NotHex(3)));
        assert_eq!(HexBytes::parse("0x\u{e9}a"), Err(HexError::OddDigits(3)));
    }
}
