//! Names and addresses of the overlay, and what is read of inner packets.

use crate::NodeId;
use std::net::Ipv6Addr;
use x0_crypto::PublicKey;

/// Bits of the overlay address that all nodes of a mesh share: `fd` and 40 bits of the mesh's hash.
pub const PREFIX_BITS: u8 = 48;

/// Domain of the hash that turns a mesh's id into its address prefix.
const PREFIX_DOMAIN: &[u8] = b"x0/mesh-prefix/v1";
const IPV6_HEADER_BYTES: usize = 40;

/// The name of the node with this ML-DSA-65 agent key: the account of the key (architecture D3).
#[must_use]
pub fn node_id(key: &PublicKey) -> NodeId {
    NodeId(x0_crypto::blake2b_256_of(&[x0_types::account::ACCOUNT_DOMAIN, key.as_bytes()]))
}

/// The overlay address of a node: `fd`, the first 40 bits of a hash of the mesh's id, the first 80 bits
/// of the node's name (mesh.md 3.1; the prefix is a unique local one, RFC 4193). The 80 bits only
/// locate; who answers proves its whole name in the handshake.
#[must_use]
pub fn overlay_address(mesh_id: &[u8; 32], node: &NodeId) -> Ipv6Addr {
    let prefix = x0_crypto::blake2b_256_of(&[PREFIX_DOMAIN, mesh_id]);
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..6].copy_from_slice(&prefix[..5]);
    octets[6..].copy_from_slice(&node.0[..10]);
    octets.into()
}

/// What the mesh reads of an inner packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inner {
    /// Source address.
    pub(super) source: Ipv6Addr,
    /// Destination address.
    pub(super) target: Ipv6Addr,
    /// A hash of what packets of one flow have in common, so that a flow keeps to one path.
    pub(super) flow: u32,
}

/// Why an inner packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InnerError {
    /// Not an IPv6 packet; the overlay has no other addresses.
    Version,
    /// Shorter or longer than its header says.
    Length,
}

impl Inner {
    /// Reads an inner packet: exactly one IPv6 packet (RFC 8200, section 3), no jumbogram.
    pub(super) fn read(packet: &[u8]) -> Result<Self, InnerError> {
        if packet.first().is_none_or(|first| first >> 4 != 6) {
            return Err(InnerError::Version);
        }
        let header = packet.first_chunk::<IPV6_HEADER_BYTES>().ok_or(InnerError::Length)?;
        let payload = usize::from(u16::from_be_bytes([header[4], header[5]]));
        if packet.len() != IPV6_HEADER_BYTES + payload {
            return Err(InnerError::Length);
        }
        let mut source = [0; 16];
        source.copy_from_slice(&header[8..24]);
        let mut target = [0; 16];
        target.copy_from_slice(&header[24..40]);
        Ok(Self { source: source.into(), target: target.into(), flow: flow(header, packet) })
    }
}

/// Mixes the flow label, next header and, for TCP and UDP, the ports (FNV-1a): it spreads flows over
/// paths and protects nothing.
fn flow(header: &[u8; IPV6_HEADER_BYTES], packet: &[u8]) -> u32 {
    let ports = match header[6] {
        6 | 17 => packet.get(IPV6_HEADER_BYTES..IPV6_HEADER_BYTES + 4).unwrap_or(&[]),
        _ => &[],
    };
    header[1..4]
        .iter()
        .chain(&header[6..7])
        .chain(&header[8..40])
        .chain(ports)
        .fold(0x811C_9DC5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_of_a_mesh_share_48_bits_and_keep_80_of_the_name() {
        let name = NodeId(core::array::from_fn(|n| n as u8));
        let a = overlay_address(&[1; 32], &name).octets();
        let b = overlay_address(&[1; 32], &NodeId([9; 32])).octets();
        let elsewhere = overlay_address(&[2; 32], &name).octets();
        assert_eq!(a[0], 0xfd);
        assert_eq!(a[..6], b[..6]);
        assert_eq!(a[6..], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_ne!(a[1..6], elsewhere[1..6]);
        assert_eq!(a[6..], elsewhere[6..]);
    }

    #[test]
    fn a_packet_that_is_not_as_long_as_it_says_is_refused() {
        let mut packet = vec![0; 60];
        packet[0] = 0x60;
        packet[5] = 20;
        assert!(Inner::read(&packet).is_ok());
        assert_eq!(Inner::read(&packet[..59]), Err(InnerError::Length));
        packet.push(0);
        assert_eq!(Inner::read(&packet), Err(InnerError::Length));
        packet[0] = 0x45;
        assert_eq!(Inner::read(&packet), Err(InnerError::Version));
        assert_eq!(Inner::read(&[]), Err(InnerError::Version));
    }

    proptest! {
        #[test]
        fn reading_any_bytes_ends(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Inner::read(&bytes);
        }
    }
}
