//! Joins packets of one flow into a super-packet before they are written to the tunnel device, so that
//! the host's stack works once for many (generic receive offload, `net/core/gro.c`).
//!
//! # Correctness
//! * Only packets are joined that segmentation gives back byte for byte: the same headers but for
//!   lengths, checksums, sequence numbers that go on, identifications that go on, and PSH on the last.
//! * Their checksums have been checked: a damaged packet passes alone, damaged.
//! * Packets of one flow keep their order.
//!
//! # Limits
//! [`FLOWS_MAX`] flows at once; an older one is written out for a newer.

use super::{
    checksum::Sum,
    packet::{TCP, TCP_ACK, TCP_PSH, Transport, UDP, pseudo_header, put, set_length, u16_at, u32_at},
    vnet::{GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, HEADER_BYTES, NEEDS_CSUM, VnetHeader},
};

/// Flows that are joined side by side.
pub const FLOWS_MAX: usize = 8;
/// Most bytes of a super-packet: what an IPv4 length says; IPv6 could say 40 more.
const PACKET_BYTES_MAX: usize = 65_535;
/// Most packets in one: `UDP_MAX_SEGMENTS`, and more than fit at ordinary sizes.
const SEGMENTS_MAX: usize = 64;

/// A super-packet that grows.
struct Flow {
    transport: Transport,
    is_v6: bool,
    /// The device's header and the packet.
    bytes: Vec<u8>,
    segment_bytes: usize,
    count: usize,
    next_sequence: u32,
    next_identification: u16,
    /// A push or a shorter segment has ended it.
    closed: bool,
}

/// Packets that wait to be written, joined where they fit.
#[derive(Default)]
pub struct Coalescer {
    flows: Vec<Flow>,
    spare: Vec<Vec<u8>>,
    /// Whether the device takes joined UDP datagrams.
    udp: bool,
}

impl Coalescer {
    /// A coalescer; `udp` says whether the device takes joined UDP datagrams (Linux 6.2).
    #[must_use]
    pub fn new(udp: bool) -> Self {
        Self { udp, ..Self::default() }
    }

    /// Takes a packet. `write` gets what is ready: the device's header and a packet.
    pub fn push(&mut self, packet: &[u8], mut write: impl FnMut(&[u8])) {
        let Some(transport) = Transport::of(packet) else { return self.alone(packet, write) };
        let found = self.flows.iter().position(|flow| flow.is_of(packet, &transport));
        if !self.may_join(packet, &transport) {
            if let Some(index) = found {
                self.end(index, &mut write);
            }
            return self.alone(packet, write);
        }
        if let Some(index) = found {
            if self.flows[index].takes(packet, &transport) {
                self.flows[index].join(packet, &transport);
                return;
            }
            self.end(index, &mut write);
        } else if self.flows.len() >= FLOWS_MAX {
            self.end(0, &mut write);
        }
        let bytes = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(HEADER_BYTES + PACKET_BYTES_MAX));
        self.flows.push(Flow::start(packet, transport, bytes));
    }

    /// Writes out everything that waits.
    pub fn flush(&mut self, mut write: impl FnMut(&[u8])) {
        while !self.flows.is_empty() {
            self.end(0, &mut write);
        }
    }

    fn end(&mut self, index: usize, write: &mut impl FnMut(&[u8])) {
        // The order of flows is the order of their first packets, so that the oldest goes first.
        let mut flow = self.flows.remove(index);
        flow.finish();
        write(&flow.bytes);
        self.spare.push(flow.bytes);
    }

    fn alone(&mut self, packet: &[u8], mut write: impl FnMut(&[u8])) {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(&VnetHeader::default().bytes());
        bytes.extend_from_slice(packet);
        write(&bytes);
        if self.spare.len() < FLOWS_MAX {
            self.spare.push(bytes);
        }
    }

    /// Whether a packet may be part of a super-packet at all.
    fn may_join(&self, packet: &[u8], transport: &Transport) -> bool {
        let at = transport.ip_bytes;
        if packet.len() == transport.header_bytes {
            return false;
        }
        let field = u16_at(packet, at + transport.checksum_at());
        let fits = match transport.protocol {
            // 0xffff is a second form of zero that nobody computes, so it would not come back.
            TCP => packet[at + 13] & !TCP_PSH == TCP_ACK && field != 0xffff,
            UDP => self.udp && field != 0,
            _ => false,
        };
        fits && whole(packet, transport)
    }
}

/// Whether the checksums of a packet are right.
fn whole(packet: &[u8], transport: &Transport) -> bool {
    let header = Sum::default().bytes(&packet[..transport.ip_bytes]);
    let header_is_whole = packet[0] >> 4 == 6 || (header.is_whole() && u16_at(packet, 10) != 0xffff);
    let body = &packet[transport.ip_bytes..];
    header_is_whole && pseudo_header(packet, transport.protocol, body.len()).bytes(body).is_whole()
}

impl Flow {
    fn start(packet: &[u8], transport: Transport, mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        bytes.extend_from_slice(&[0; HEADER_BYTES]);
        let mut flow = Self {
            transport,
            is_v6: packet[0] >> 4 == 6,
            bytes,
            segment_bytes: packet.len() - transport.header_bytes,
            count: 0,
            next_sequence: u32_at(packet, transport.ip_bytes + 4),
            next_identification: u16_at(packet, 4),
            closed: false,
        };
        flow.bytes.extend_from_slice(&packet[..transport.header_bytes]);
        flow.join(packet, &transport);
        flow
    }

    fn packet(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..]
    }

    /// Whether a packet belongs to the same flow: protocol, addresses, ports.
    fn is_of(&self, packet: &[u8], transport: &Transport) -> bool {
        let own = self.packet();
        let addresses = if self.is_v6 { 8..40 } else { 12..20 };
        let ports = transport.ip_bytes..transport.ip_bytes + 4;
        self.transport.protocol == transport.protocol
            && own[0] >> 4 == packet[0] >> 4
            && own[addresses.clone()] == packet[addresses]
            && own[ports.clone()] == packet[ports]
    }

    /// Whether a packet of the flow continues the super-packet.
    fn takes(&self, packet: &[u8], transport: &Transport) -> bool {
        let payload = packet.len() - transport.header_bytes;
        !self.closed
            && payload <= self.segment_bytes
            && self.packet().len() + payload <= PACKET_BYTES_MAX
            && self.transport == *transport
            && self.same_ip(packet)
            && (self.transport.protocol == UDP || self.same_tcp(packet))
    }

    fn same_ip(&self, packet: &[u8]) -> bool {
        let own = self.packet();
        if self.is_v6 {
            // Version, class, flow label; next header and hop limit.
            own[..4] == packet[..4] && own[6..8] == packet[6..8]
        } else {
            // Class; "don't fragment"; time to live and protocol.
            own[..2] == packet[..2] && own[6..10] == packet[6..10] && u16_at(packet, 4) == self.next_identification
        }
    }

    fn same_tcp(&self, packet: &[u8]) -> bool {
        let (own, at) = (self.packet(), self.transport.ip_bytes);
        let same = |from: usize, to: usize| own[at + from..at + to] == packet[at + from..at + to];
        u32_at(packet, at + 4) == self.next_sequence
            // Acknowledgement, data offset; window; urgent pointer and options. Flags are ACK and perhaps PSH.
            && same(8, 13)
            && same(14, 16)
            && own[at + 18..self.transport.header_bytes] == packet[at + 18..self.transport.header_bytes]
    }

    fn join(&mut self, packet: &[u8], transport: &Transport) {
        let payload = &packet[transport.header_bytes..];
        self.bytes.extend_from_slice(payload);
        self.count += 1;
        self.next_identification = self.next_identification.wrapping_add(1);
        self.closed = payload.len() < self.segment_bytes || self.count >= SEGMENTS_MAX;
        if transport.protocol == TCP {
            let flags = packet[transport.ip_bytes + 13];
            self.next_sequence = self.next_sequence.wrapping_add(u32::try_from(payload.len()).unwrap_or(0));
            self.closed |= flags & TCP_PSH != 0;
            let at = HEADER_BYTES + transport.ip_bytes + 13;
            self.bytes[at] |= flags & TCP_PSH;
        }
    }

    /// Makes the headers those of the whole, for the kernel to cut or to keep.
    fn finish(&mut self) {
        if self.count == 1 {
            return;
        }
        let Transport { protocol, ip_bytes, header_bytes } = self.transport;
        let checksum_at = self.transport.checksum_at();
        let (device, packet) = self.bytes.split_at_mut(HEADER_BYTES);
        let total = packet.len();
        set_length(packet, total);
        let transport_bytes = total - ip_bytes;
        if protocol == UDP {
            put(packet, ip_bytes + 4, u16::try_from(transport_bytes).unwrap_or(u16::MAX).to_be_bytes());
        }
        let partial = pseudo_header(packet, protocol, transport_bytes).folded();
        put(packet, ip_bytes + checksum_at, partial.to_ne_bytes());
        let number = |value: usize| u16::try_from(value).unwrap_or(0);
        let header = VnetHeader {
            flags: NEEDS_CSUM,
            gso_type: match (protocol, self.is_v6) {
                (TCP, false) => GSO_TCPV4,
                (TCP, true) => GSO_TCPV6,
                _ => GSO_UDP_L4,
            },
            hdr_len: number(header_bytes),
            gso_size: number(self.segment_bytes),
            csum_start: number(ip_bytes),
            csum_offset: number(checksum_at),
        };
        device.copy_from_slice(&header.bytes());
    }
}

#[cfg(test)]
#[path = "coalesce_tests.rs"]
mod tests;
