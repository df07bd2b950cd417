//! Where the transport header of a packet is.
//!
//! Reads what can reach a UDP socket: IPv4 with options (RFC 791) and IPv6 with extension headers
//! (RFC 8200, section 4), behind an Ethernet header or none. What it does not understand is foreign and
//! passes.

use crate::PeerKey;

/// Bytes of an Ethernet header without VLAN tag; the kernel takes the tag off before TC ingress.
pub const ETHERNET_BYTES: u32 = 14;
/// Extension headers that are walked.
pub const EXTENSIONS_MAX: u32 = 8;
/// TCP's number (RFC 9293).
pub const TCP: u8 = 6;
/// UDP's number (RFC 768).
pub const UDP: u8 = 17;
/// Bytes of a UDP header.
pub const UDP_BYTES: u32 = 8;

const ETHERTYPE_V4: u16 = 0x0800;
const ETHERTYPE_V6: u16 = 0x86dd;
const V4_BYTES: u32 = 20;
const V6_BYTES: u32 = 40;
const V6_SOURCE: u32 = 8;
const V6_DESTINATION: u32 = 24;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// A packet whose bytes can be read within its bounds.
pub trait Packet {
    /// The bytes from this offset on, or `None` when the packet ends before.
    fn load<const N: usize>(&self, at: u32) -> Option<[u8; N]>;
    /// The Ethernet type, `None` when the frame belongs to a VLAN of its own interface or is too short.
    fn ethertype(&self) -> Option<u16>;
}

/// A packet whose transport header was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its sender.
    pub source: PeerKey,
    /// Whether it is IPv6.
    pub v6: bool,
    /// The transport protocol.
    pub protocol: u8,
    /// Offset of the transport header.
    pub at: u32,
    /// Whether it is the first fragment of several.
    pub fragment: bool,
}

/// Why there is no transport header to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// Another protocol, a later fragment, or too short for its own headers.
    Foreign,
    /// More extension headers than [`EXTENSIONS_MAX`].
    TooManyHeaders,
}

/// Finds the transport header of a packet whose IP header starts at `LINK_BYTES`:
/// [`ETHERNET_BYTES`] or zero.
///
/// # Errors
/// [`Other`].
#[inline(always)]
pub fn locate<P: Packet, const LINK_BYTES: u32>(packet: &P) -> Result<Place, Other> {
    let head = packet.load::<20>(LINK_BYTES).ok_or(Other::Foreign)?;
    let version = head[0] >> 4;
    if LINK_BYTES != 0 {
        match (packet.ethertype(), version) {
            (Some(ETHERTYPE_V4), 4) | (Some(ETHERTYPE_V6), 6) => {}
            _ => return Err(Other::Foreign),
        }
    }
    match version {
        4 => v4(&head, LINK_BYTES),
        6 => v6(packet, head[6], LINK_BYTES),
        _ => Err(Other::Foreign),
    }
}

#[inline(always)]
fn v4(head: &[u8; 20], at: u32) -> Result<Place, Other> {
    let header_bytes = (head[0] as u32 & 0x0f) * 4;
    let fragment = u16::from_be_bytes([head[6], head[7]]);
    // A later fragment carries no ports.
    if header_bytes < V4_BYTES || fragment & 0x1fff != 0 {
        return Err(Other::Foreign);
    }
    Ok(Place {
        source: PeerKey::from_v4([head[12], head[13], head[14], head[15]]),
        v6: false,
        protocol: head[9],
        at: at + header_bytes,
        fragment: fragment & 0x2000 != 0,
    })
}

#[inline(always)]
fn v6<P: Packet>(packet: &P, first: u8, start: u32) -> Result<Place, Other> {
    let address = packet.load::<16>(start + V6_SOURCE).ok_or(Other::Foreign)?;
    let mut place =
        Place { source: PeerKey { address }, v6: true, protocol: first, at: start + V6_BYTES, fragment: false };
    let mut walked = 0;
    while walked <= EXTENSIONS_MAX {
        walked += 1;
        match place.protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                let head = packet.load::<2>(place.at).ok_or(Other::Foreign)?;
                place.protocol = head[0];
                place.at += (head[1] as u32 + 1) * 8;
            }
            AUTHENTICATION => {
                let head = packet.load::<2>(place.at).ok_or(Other::Foreign)?;
                place.protocol = head[0];
                place.at += (head[1] as u32 + 2) * 4;
            }
            FRAGMENT => {
                let head = packet.load::<4>(place.at).ok_or(Other::Foreign)?;
                if u16::from_be_bytes([head[2], head[3]]) & 0xfff8 != 0 {
                    return Err(Other::Foreign);
                }
                place.protocol = head[0];
                place.fragment |= head[3] & 1 != 0;
                place.at += 8;
            }
            _ => return Ok(place),
        }
    }
    Err(Other::TooManyHeaders)
}

/// The destination of an IPv4 packet whose header starts at `LINK_BYTES`.
#[inline(always)]
pub fn destination_v4<P: Packet, const LINK_BYTES: u32>(packet: &P) -> Option<[u8; 4]> {
    packet.load::<4>(LINK_BYTES + 16)
}

/// The destination of an IPv6 packet whose header starts at `LINK_BYTES`.
#[inline(always)]
pub fn destination_v6<P: Packet, const LINK_BYTES: u32>(packet: &P) -> Option<[u8; 16]> {
    packet.load::<16>(LINK_BYTES + V6_DESTINATION)
}

/// Bytes of the Ethernet type of a frame that starts at offset zero.
#[inline(always)]
pub fn ethertype_of<P: Packet>(packet: &P) -> Option<u16> {
    packet.load::<2>(12).map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{vec, vec::Vec};

    struct Bytes(Vec<u8>);

    impl Packet for Bytes {
        fn load<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
            self.0.get(at as usize..)?.first_chunk::<N>().copied()
        }
        fn ethertype(&self) -> Option<u16> {
            ethertype_of(self)
        }
    }

    fn ethernet(ethertype: u16, rest: Vec<u8>) -> Bytes {
        let mut frame = vec![0; 12];
        frame.extend(ethertype.to_be_bytes());
        frame.extend(rest);
        Bytes(frame)
    }

    fn ipv4(options: usize, fragment: u16, protocol: u8) -> Vec<u8> {
        let mut head = vec![0; 20 + options];
        head[0] = 0x40 | (5 + options as u8 / 4);
        head[6..8].copy_from_slice(&fragment.to_be_bytes());
        head[9] = protocol;
        head[12..16].copy_from_slice(&[10, 1, 2, 3]);
        head.extend([0; 8]);
        head
    }

    /// An IPv6 packet with these extension headers: number and units of eight bytes beyond the first.
    fn ipv6(extensions: &[(u8, u8)], protocol: u8) -> (Vec<u8>, u32) {
        let mut packet = vec![0; 40];
        packet[0] = 0x60;
        packet[8..24].copy_from_slice(&[0xfd; 16]);
        let mut next_at = 6;
        for (number, units) in extensions {
            packet[next_at] = *number;
            next_at = packet.len();
            let bytes = if *number == FRAGMENT { 8 } else { (usize::from(*units) + 1) * 8 };
            packet.extend(vec![0; bytes]);
            packet[next_at + 1] = if *number == FRAGMENT { 0 } else { *units };
        }
        packet[next_at] = protocol;
        let at = packet.len() as u32;
        packet.extend([0; 8]);
        (packet, at)
    }

    proptest! {
        /// Whatever the bytes are, reading them ends, and what is found lies behind the IP header.
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200), v6: bool) {
            let frame = ethernet(if v6 { ETHERTYPE_V6 } else { ETHERTYPE_V4 }, bytes.clone());
            if let Ok(place) = locate::<_, ETHERNET_BYTES>(&frame) {
                prop_assert!(place.at >= ETHERNET_BYTES + V4_BYTES);
            }
            let _read = locate::<_, 0>(&Bytes(bytes));
        }

        #[test]
        fn ipv4_options_are_stepped_over(words in 0usize..11, more: bool) {
            let packet = ipv4(words * 4, if more { 0x2000 } else { 0x4000 }, UDP);
            let expected = Place {
                source: PeerKey::from_v4([10, 1, 2, 3]),
                v6: false,
                protocol: UDP,
                at: 20 + words as u32 * 4,
                fragment: more,
            };
            prop_assert_eq!(locate::<_, 0>(&Bytes(packet.clone())), Ok(expected));
            let framed = Place { at: expected.at + ETHERNET_BYTES, ..expected };
            prop_assert_eq!(locate::<_, ETHERNET_BYTES>(&ethernet(ETHERTYPE_V4, packet)), Ok(framed));
        }

        #[test]
        fn ipv6_extension_headers_are_walked(
            extensions in proptest::collection::vec(
                (prop_oneof![Just(HOP_BY_HOP), Just(ROUTING), Just(DESTINATION_OPTIONS), Just(FRAGMENT)], 0u8..5),
                0..12,
            ),
        ) {
            let (packet, at) = ipv6(&extensions, UDP);
            let found = locate::<_, ETHERNET_BYTES>(&ethernet(ETHERTYPE_V6, packet));
            if extensions.len() > EXTENSIONS_MAX as usize {
                prop_assert_eq!(found, Err(Other::TooManyHeaders));
            } else {
                let place = found.unwrap();
                prop_assert_eq!((place.at, place.protocol, place.v6), (at + ETHERNET_BYTES, UDP, true));
            }
        }
    }

    #[test]
    fn later_fragments_are_foreign_and_first_ones_are_marked() {
        assert_eq!(locate::<_, 0>(&Bytes(ipv4(0, 0x2001, UDP))), Err(Other::Foreign));
        let (mut packet, _) = ipv6(&[(FRAGMENT, 0)], UDP);
        packet[43] = 1;
        assert!(locate::<_, 0>(&Bytes(packet.clone())).unwrap().fragment);
        packet[43] = 8;
        assert_eq!(locate::<_, 0>(&Bytes(packet)), Err(Other::Foreign));
    }

    #[test]
    fn an_authentication_header_counts_in_words() {
        let (mut packet, _) = ipv6(&[(AUTHENTICATION, 2)], UDP);
        packet.extend([0; 8]);
        assert_eq!(locate::<_, 0>(&Bytes(packet)).unwrap().at, 40 + 16);
    }

    #[test]
    fn other_protocols_vlans_and_lies_about_the_version_are_foreign() {
        assert_eq!(locate::<_, ETHERNET_BYTES>(&ethernet(0x0806, ipv4(0, 0, UDP))), Err(Other::Foreign));
        assert_eq!(locate::<_, ETHERNET_BYTES>(&ethernet(0x8100, ipv4(0, 0, UDP))), Err(Other::Foreign));
        assert_eq!(locate::<_, ETHERNET_BYTES>(&ethernet(ETHERTYPE_V6, ipv4(0, 0, UDP))), Err(Other::Foreign));
        let mut short = ipv4(0, 0, UDP);
        short[0] = 0x44;
        assert_eq!(locate::<_, 0>(&Bytes(short)), Err(Other::Foreign));
    }
}
