//! Numbers that do not fit a JSON reader's double: decimal text on the wire.

use core::{fmt, str::FromStr};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// An amount of base units (10^-12 X0T), as decimal text in JSON: `"1500000000000"`.
///
/// Reading also accepts a JSON number, because people write `curl` by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub u128);

/// A counter of 64 bits (a slot, a deal's number), as decimal text in JSON: `"42"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(pub u64);

macro_rules! decimal_text {
    ($name:ident, $inner:ty) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
        impl FromStr for $name {
            type Err = core::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
        impl From<$name> for $inner {
            fn from(value: $name) -> Self {
                value.0
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(untagged)]
                enum Form {
                    Number(u64),
                    Text(String),
                }
                match Form::deserialize(deserializer)? {
                    Form::Number(number) => Ok(Self(<$inner>::from(number))),
                    Form::Text(text) => text.parse().map_err(D::Error::custom),
                }
            }
        }
    };
}
decimal_text!(Amount, u128);
decimal_text!(Number, u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_amounts_keep_every_unit() {
        for value in [0, 1, u128::from(u64::MAX) + 1, u128::MAX] {
            let json = serde_json::to_string(&Amount(value)).unwrap();
            assert_eq!(json, format!("\"{value}\""));
            assert_eq!(serde_json::from_str::<Amount>(&json).unwrap(), Amount(value));
        }
        assert_eq!(serde_json::from_str::<Amount>("7").unwrap(), Amount(7));
        assert_eq!(serde_json::from_str::<Number>("\"18446744073709551615\"").unwrap(), Number(u64::MAX));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in [
            "\"-1\"",
            "\"1.5\"",
            "\"\"",
            "-1",
            "1.5",
            "null",
            "\"0x10\"",
            "\"340282366920938463463374607431768211456\"",
        ] {
            assert!(serde_json::from_str::<Amount>(text).is_err(), "{text}");
        }
    }
}
