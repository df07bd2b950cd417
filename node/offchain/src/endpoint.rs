//! Which addresses a validator connects to.
//!
//! Providers write their endpoints on chain themselves. Without a rule, one could make every
//! validator knock on addresses inside the validators' own networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Reads an endpoint as it stands on chain: `ip:port`, no names.
pub(crate) fn parse(text: &[u8]) -> Option<SocketAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Which endpoints are probed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndpointPolicy {
    /// Public unicast addresses only: production.
    #[default]
    Public,
    /// All addresses, also loopback and private ones: development and closed networks.
    Any,
}

impl EndpointPolicy {
    /// Whether an address may be probed.
    #[must_use]
    pub fn admits(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::Any, _) => true,
            (Self::Public, IpAddr::V4(address)) => is_public_v4(address),
            (Self::Public, IpAddr::V6(address)) => is_public_v6(address),
        }
    }
}

/// By the registry of special-purpose addresses (RFC 6890 and later).
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19)))
}

/// Global unicast (2000::/3) without documentation and without forms that carry an IPv4 address.
fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(v4) = address.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let [first, second, ..] = address.segments();
    let global = first & 0xe000 == 0x2000;
    let documentation = (first == 0x2001 && second == 0x0db8) || (first == 0x3fff && second < 0x1000);
    let protocol = first == 0x2001 && second < 0x0200;
    let six_to_four = first == 0x2002;
    global && !documentation && !protocol && !six_to_four
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_probed_in_production() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "2001:db8::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "2001::1",
        ] {
            assert!(!EndpointPolicy::Public.admits(inside.parse().unwrap()), "{inside}");
            assert!(EndpointPolicy::Any.admits(inside.parse().unwrap()));
        }
        for outside in ["1.1.1.1", "193.0.14.129", "172.32.0.1", "2606:4700::1111", "2a00:1450::1", "::ffff:1.1.1.1"] {
            assert!(EndpointPolicy::Public.admits(outside.parse().unwrap()), "{outside}");
        }
    }
}
