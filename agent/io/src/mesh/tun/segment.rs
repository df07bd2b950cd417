//! Cuts what the kernel hands over as one super-packet into the packets that it stands for.
//!
//! # Correctness
//! The segments are those that the kernel would make (`tcp_gso_segment`, `__udp_gso_segment`): equal
//! payloads but the last; sequence numbers and IPv4 identifications that go on; FIN and PSH on the last
//! segment only, CWR on the first only; whole checksums. The cut is made in place: a segment's headers
//! are written over the end of the payload before it, which has been handed out already.

use super::{
    checksum::Sum,
    packet::{self, TCP, TCP_CWR, TCP_FIN, TCP_PSH, UDP, UDP_BYTES, pseudo_header, put, set_length, u16_at, u32_at},
    vnet::{GSO_ECN, GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NEEDS_CSUM, VnetHeader},
};

/// Room for the headers of a super-packet: IPv6 with extensions and the longest TCP header.
const HEADERS_MAX: usize = 256;

/// A packet of the host whose headers contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Hands out the packets that a super-packet stands for, with whole checksums. Returns how many.
///
/// # Errors
/// [`Malformed`] before anything is handed out.
pub fn segment(header: &VnetHeader, bytes: &mut [u8], mut each: impl FnMut(&[u8])) -> Result<usize, Malformed> {
    let protocol = match header.gso_type & !GSO_ECN {
        GSO_NONE => {
            if header.flags & NEEDS_CSUM != 0 {
                complete(bytes, header.csum_start.into(), header.csum_offset.into())?;
            }
            each(bytes);
            return Ok(1);
        }
        GSO_TCPV4 | GSO_TCPV6 => TCP,
        GSO_UDP_L4 => UDP,
        _ => return Err(Malformed),
    };
    let plan = Plan::new(header, bytes, protocol)?;
    let payload_bytes = bytes.len() - plan.header_bytes;
    let count = payload_bytes.div_ceil(plan.segment_bytes).max(1);
    let mut template = [0; HEADERS_MAX];
    let template = &mut template[..plan.header_bytes];
    template.copy_from_slice(&bytes[..plan.header_bytes]);
    for index in 0..count {
        let start = index * plan.segment_bytes;
        let end = (start + plan.header_bytes + plan.segment_bytes).min(bytes.len());
        let segment = &mut bytes[start..end];
        segment[..plan.header_bytes].copy_from_slice(template);
        plan.finish(segment, index, index + 1 == count);
        each(segment);
    }
    Ok(count)
}

/// Completes a checksum of which the kernel has filled in the pseudo-header.
fn complete(bytes: &mut [u8], start: usize, offset: usize) -> Result<(), Malformed> {
    let at = start + offset;
    if at + 2 > bytes.len() {
        return Err(Malformed);
    }
    let sum = Sum::default().bytes(&bytes[start..]);
    // UDP's field is at 6; zero there would say that there is no checksum.
    let field = if offset == 6 { sum.udp_field() } else { sum.field() };
    put(bytes, at, field);
    Ok(())
}

/// How a super-packet is cut.
struct Plan {
    protocol: u8,
    transport_at: usize,
    header_bytes: usize,
    segment_bytes: usize,
    is_v6: bool,
    identification: u16,
    sequence: u32,
    flags: u8,
}

impl Plan {
    fn new(header: &VnetHeader, bytes: &[u8], protocol: u8) -> Result<Self, Malformed> {
        let version = packet::version(bytes);
        let kind_fits = match header.gso_type & !GSO_ECN {
            GSO_TCPV4 => version == 4,
            GSO_TCPV6 => version == 6,
            _ => version == 4 || version == 6,
        };
        let transport_at = usize::from(header.csum_start);
        let segment_bytes = usize::from(header.gso_size);
        let least = if version == 6 { packet::IPV6_BYTES } else { packet::IPV4_BYTES };
        if !kind_fits || transport_at < least || segment_bytes == 0 || header.flags & NEEDS_CSUM == 0 {
            return Err(Malformed);
        }
        if version == 4 && usize::from(bytes[0] & 0x0f) * 4 != transport_at {
            return Err(Malformed);
        }
        let transport_bytes = if protocol == TCP {
            usize::from(bytes.get(transport_at + 12).ok_or(Malformed)? >> 4) * 4
        } else {
            UDP_BYTES
        };
        let header_bytes = transport_at + transport_bytes;
        let tcp_short = protocol == TCP && transport_bytes < 20;
        if tcp_short || header_bytes > HEADERS_MAX || header_bytes >= bytes.len() {
            return Err(Malformed);
        }
        Ok(Self {
            protocol,
            transport_at,
            header_bytes,
            segment_bytes,
            is_v6: version == 6,
            identification: u16_at(bytes, 4),
            sequence: u32_at(bytes, transport_at + 4),
            flags: bytes[transport_at + if protocol == TCP { 13 } else { 0 }],
        })
    }

    /// Makes the copied headers those of one segment.
    fn finish(&self, segment: &mut [u8], index: usize, last: bool) {
        let total = segment.len();
        if !self.is_v6 {
            // Identifications wrap like the kernel's.
            let step = u16::try_from(index & 0xffff).unwrap_or(0);
            put(segment, 4, self.identification.wrapping_add(step).to_be_bytes());
        }
        set_length(segment, total);
        let transport_bytes = total - self.transport_at;
        let at = self.transport_at;
        if self.protocol == TCP {
            let offset = u32::try_from(index * self.segment_bytes).unwrap_or(0);
            put(segment, at + 4, self.sequence.wrapping_add(offset).to_be_bytes());
            let mut flags = self.flags;
            if !last {
                flags &= !(TCP_FIN | TCP_PSH);
            }
            if index > 0 {
                flags &= !TCP_CWR;
            }
            put(segment, at + 13, [flags]);
            put(segment, at + 16, [0, 0]);
        } else {
            put(segment, at + 4, u16::try_from(transport_bytes).unwrap_or(0).to_be_bytes());
            put(segment, at + 6, [0, 0]);
        }
        let sum = pseudo_header(segment, self.protocol, transport_bytes);
        let sum = sum.bytes(segment.get(at..).unwrap_or(&[]));
        if self.protocol == TCP {
            put(segment, at + 16, sum.field());
        } else {
            put(segment, at + 6, sum.udp_field());
        }
    }
}
