//! Addresses of peers in text.

use crate::PeerKey;
use std::{fmt, net::IpAddr, str::FromStr};

/// Longest host name, characters (RFC 1035).
const HOST_CHARACTERS_MAX: usize = 253;

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no `:PORT`, or it is not a port other than 0.
    #[error("'{0}' ends with no port")]
    Port(String),
    /// The host is empty, too long, or has a character that no host has.
    #[error("'{0}' is no host name and no IP address")]
    Host(String),
    /// There is no `KEY@`, or it is not 64 hexadecimal digits.
    #[error("'{0}' does not begin with a peer key of 64 hexadecimal digits and '@'")]
    Key(String),
}

/// A host, by name or IP address, and a port: `validator.example:30300`, `[2001:db8::1]:30300`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// The host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The IP address, when the host is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The address of this socket.
    #[must_use]
    pub fn from_socket(address: std::net::SocketAddr) -> Self {
        Self { host: address.ip().to_canonical().to_string(), port: address.port() }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for HostPort {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let shown = || text.chars().take(HOST_CHARACTERS_MAX).collect::<String>();
        let (host, port) = text.rsplit_once(':').ok_or_else(|| AddressError::Port(shown()))?;
        let port = port
            .parse()
            .ok()
            .filter(|number| *number != 0 && port.bytes().all(|byte| byte.is_ascii_digit()))
            .ok_or_else(|| AddressError::Port(shown()))?;
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let valid = match bracketed {
            Some(inside) => inside.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                (1..=HOST_CHARACTERS_MAX).contains(&host.len())
                    && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
            }
        };
        if !valid {
            return Err(AddressError::Host(shown()));
        }
        Ok(Self { host: bracketed.unwrap_or(host).to_ascii_lowercase(), port })
    }
}

/// A peer and where it listens: `KEY@HOST:PORT`, with the key's fingerprint in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerAddress {
    /// The peer's name.
    pub key: PeerKey,
    /// Where it listens.
    pub address: HostPort,
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", hex::encode(self.key.0), self.address)
    }
}

impl FromStr for PeerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError::Key(text.chars().take(HOST_CHARACTERS_MAX).collect());
        let (key, address) = text.split_once('@').ok_or_else(wrong)?;
        Ok(Self { key: key_from_hex(key).ok_or_else(wrong)?, address: address.parse()? })
    }
}

/// A peer's name from 64 hexadecimal digits, with or without `0x`.
pub(super) fn key_from_hex(text: &str) -> Option<PeerKey> {
    let mut key = [0; 32];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut key).ok()?;
    Some(PeerKey(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        let key = hex::encode([0xab; 32]);
        for (text, host) in
            [("10.0.0.1:1", "10.0.0.1"), ("[2001:db8::1]:65535", "2001:db8::1"), ("v-1.example:30300", "v-1.example")]
        {
            let address: HostPort = text.parse().unwrap();
            assert_eq!((address.host(), address.to_string().as_str()), (host, text));
            let peer: PeerAddress = format!("0x{key}@{text}").parse().unwrap();
            assert_eq!(peer.to_string(), format!("{key}@{text}"));
        }
        assert_eq!("[::1]:5".parse::<HostPort>().unwrap().ip(), Some("::1".parse().unwrap()));
    }

    #[test]
    fn anything_else_is_refused_with_the_reason() {
        for text in ["", "host", "host:", "host:0", "host:65536", "host:+1", "host:1 "] {
            assert!(matches!(text.parse::<HostPort>(), Err(AddressError::Port(_))), "{text}");
        }
        for text in [":1", "a b:1", "[host]:1", "::1:1", "ho/st:1", &format!("{}:1", "a".repeat(254))] {
            assert!(matches!(text.parse::<HostPort>(), Err(AddressError::Host(_))), "{text}");
        }
        for text in ["host:1", "ab@host:1", &format!("{}@host:1", "zz".repeat(32))] {
            assert!(matches!(text.parse::<PeerAddress>(), Err(AddressError::Key(_))), "{text}");
        }
    }
}
