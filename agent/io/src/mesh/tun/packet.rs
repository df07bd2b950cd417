//! What segmentation and coalescing need to know of an IP packet.

use super::checksum::Sum;

/// TCP's number (RFC 9293).
pub const TCP: u8 = 6;
/// UDP's number (RFC 768).
pub const UDP: u8 = 17;
/// Bytes of an IPv6 header without extensions (RFC 8200).
pub const IPV6_BYTES: usize = 40;
/// Bytes of an IPv4 header without options (RFC 791).
pub const IPV4_BYTES: usize = 20;
/// Bytes of a UDP header.
pub const UDP_BYTES: usize = 8;

/// TCP flag: the sender pushes; the last segment of a burst keeps it.
pub const TCP_PSH: u8 = 0x08;
/// TCP flag: this side acknowledges.
pub const TCP_ACK: u8 = 0x10;
/// TCP flag: this side is done.
pub const TCP_FIN: u8 = 0x01;
/// TCP flag: the congestion window was reduced (RFC 3168).
pub const TCP_CWR: u8 = 0x80;

/// Two bytes in network order; zero past the end.
pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]))
}

/// Four bytes in network order; zero past the end.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
}

/// Writes bytes; nothing past the end.
pub fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(slot) = bytes.get_mut(at..at + N) {
        slot.copy_from_slice(&value);
    }
}

/// The IP version of a packet: 4 or 6, anything else is no packet.
pub fn version(packet: &[u8]) -> u8 {
    packet.first().map_or(0, |first| first >> 4)
}

/// The sum over the pseudo-header of a transport protocol (RFC 9293 section 3.1, RFC 8200 section 8.1).
pub fn pseudo_header(packet: &[u8], protocol: u8, transport_bytes: usize) -> Sum {
    let addresses = if version(packet) == 6 { 8..IPV6_BYTES } else { 12..IPV4_BYTES };
    let length = u32::try_from(transport_bytes).unwrap_or(0);
    Sum::default().bytes(packet.get(addresses).unwrap_or(&[])).number(length).number(protocol.into())
}

/// Sets the length of a packet and, for IPv4, the checksum of its header.
pub fn set_length(packet: &mut [u8], total_bytes: usize) {
    if version(packet) == 6 {
        let payload = u16::try_from(total_bytes.saturating_sub(IPV6_BYTES)).unwrap_or(u16::MAX);
        put(packet, 4, payload.to_be_bytes());
        return;
    }
    put(packet, 2, u16::try_from(total_bytes).unwrap_or(u16::MAX).to_be_bytes());
    put(packet, 10, [0, 0]);
    let header_bytes = usize::from(packet.first().map_or(0, |first| first & 0x0f)) * 4;
    let field = Sum::default().bytes(packet.get(..header_bytes).unwrap_or(&[])).field();
    put(packet, 10, field);
}

/// A packet of TCP or UDP that is plain enough to be joined with others: whole, without fragments,
/// without IPv4 options and IPv6 extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// [`TCP`] or [`UDP`].
    pub protocol: u8,
    /// Bytes of the IP header.
    pub ip_bytes: usize,
    /// Bytes of IP and transport header.
    pub header_bytes: usize,
}

impl Transport {
    /// What a packet is; `None` for everything that is left alone.
    #[must_use]
    pub fn of(packet: &[u8]) -> Option<Self> {
        let (ip_bytes, protocol) = match version(packet) {
            4 if packet.len() >= IPV4_BYTES => {
                let plain = packet[0] == 0x45
                    && usize::from(u16_at(packet, 2)) == packet.len()
                    // Neither "more fragments" nor an offset (RFC 791).
                    && u16_at(packet, 6) & 0x3fff == 0;
                (plain.then_some(IPV4_BYTES)?, packet[9])
            }
            6 if packet.len() >= IPV6_BYTES => {
                let whole = usize::from(u16_at(packet, 4)) + IPV6_BYTES == packet.len();
                (whole.then_some(IPV6_BYTES)?, packet[6])
            }
            _ => return None,
        };
        let transport_bytes = match protocol {
            TCP => {
                let bytes = usize::from(*packet.get(ip_bytes + 12)? >> 4) * 4;
                (bytes >= 20).then_some(bytes)?
            }
            UDP => {
                let length = usize::from(u16_at(packet, ip_bytes + 4));
                (length == packet.len() - ip_bytes).then_some(UDP_BYTES)?
            }
            _ => return None,
        };
        let header_bytes = ip_bytes + transport_bytes;
        (packet.len() >= header_bytes).then_some(Self { protocol, ip_bytes, header_bytes })
    }

    /// Where the checksum's field is, from the start of the transport header.
    #[must_use]
    pub const fn checksum_at(&self) -> usize {
        if self.protocol == TCP { 16 } else { 6 }
    }
}
