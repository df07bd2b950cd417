//! A block that a person vouches for, as text that can be read out, printed and put into settings.

use alloc::{borrow::ToOwned, string::String};
use core::{fmt, str::FromStr};

/// A block, and when somebody who knows said that it is of the chain: `HEIGHT:0xHASH:TIME`.
///
/// Trust in it lasts [`x0_limits::LIGHT_TRUST_PERIOD_MS`] from its time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Height.
    pub number: u32,
    /// BLAKE2b-256 of the header.
    pub hash: [u8; 32],
    /// When it was vouched for, milliseconds since the Unix epoch.
    pub vouched_at_ms: u64,
}

/// Why a text is no checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// There are not three parts.
    #[error("a checkpoint is HEIGHT:0xHASH:TIME, the time in milliseconds since 1970; `x0-node checkpoint` prints one")]
    Shape,
    /// The first part is no height.
    #[error("'{0}' is no height")]
    Number(String),
    /// The second part is no hash.
    #[error("'{0}' is no block hash: 0x and 64 hex digits")]
    Hash(String),
    /// The third part is no time.
    #[error("'{0}' is no time in milliseconds since 1970")]
    Time(String),
}

/// The part of a text that an error quotes.
const QUOTED_CHARS: usize = 80;

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:0x{}:{}", self.number, hex::encode(self.hash), self.vouched_at_ms)
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let quoted = |text: &str| text.chars().take(QUOTED_CHARS).collect::<String>();
        let mut parts = text.trim().split(':');
        let (Some(number), Some(hash), Some(time), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(CheckpointError::Shape);
        };
        let mut bytes = [0; 32];
        let digits = hash.strip_prefix("0x").unwrap_or_default().to_owned();
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| CheckpointError::Hash(quoted(hash)))?;
        Ok(Self {
            number: number.parse().map_err(|_| CheckpointError::Number(quoted(number)))?,
            hash: bytes,
            vouched_at_ms: time.parse().map_err(|_| CheckpointError::Time(quoted(time)))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::ToString as _};

    #[test]
    fn what_is_printed_is_what_is_read() {
        let checkpoint = Checkpoint { number: 7, hash: [0xab; 32], vouched_at_ms: 1_700_000_000_000 };
        let text = format!("7:0x{}:1700000000000", "ab".repeat(32));
        assert_eq!(checkpoint.to_string(), text);
        assert_eq!(format!(" {text}\n").parse(), Ok(checkpoint));
    }

    #[test]
    fn wrong_parts_are_named() {
        let hash = format!("0x{}", "ab".repeat(32));
        for (text, part) in [
            (String::new(), "HEIGHT"),
            (format!("7:{hash}"), "HEIGHT"),
            (format!("7:{hash}:1:2"), "HEIGHT"),
            (format!("-7:{hash}:1"), "height"),
            (format!("4294967296:{hash}:1"), "height"),
            (format!("7:{}:1", &hash[2..]), "block hash"),
            (format!("7:{hash}00:1"), "block hash"),
            (format!("7:{hash}:soon"), "time"),
        ] {
            let error = text.parse::<Checkpoint>().unwrap_err();
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
        let long = format!("{}:{hash}:1", "9".repeat(10_000)).parse::<Checkpoint>().unwrap_err();
        assert!(long.to_string().len() < 200);
    }
}
