//! The header that a tunnel device with `IFF_VNET_HDR` puts before each packet: `virtio_net_hdr` of
//! `include/uapi/linux/virtio_net.h`, in native byte order.

/// Bytes of the header.
pub const HEADER_BYTES: usize = 10;

/// `flags`: the checksum is to be completed from `csum_start` on.
pub const NEEDS_CSUM: u8 = 1;
/// `gso_type`: an ordinary packet.
pub const GSO_NONE: u8 = 0;
/// `gso_type`: TCP over IPv4.
pub const GSO_TCPV4: u8 = 1;
/// `gso_type`: TCP over IPv6.
pub const GSO_TCPV6: u8 = 4;
/// `gso_type`: UDP datagrams of equal size.
pub const GSO_UDP_L4: u8 = 5;
/// `gso_type`: the TCP packet has the CWR flag, which only the first segment keeps.
pub const GSO_ECN: u8 = 0x80;

/// The header's fields, named as in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetHeader {
    /// [`NEEDS_CSUM`] or zero; other bits are advice.
    pub flags: u8,
    /// Which kind of super-packet, if any.
    pub gso_type: u8,
    /// Bytes of all headers; advice.
    pub hdr_len: u16,
    /// Payload bytes of each segment.
    pub gso_size: u16,
    /// Where the checksum starts to count.
    pub csum_start: u16,
    /// Where its field is, from there.
    pub csum_offset: u16,
}

impl VnetHeader {
    /// Reads the header from the first bytes of what the device gave.
    #[must_use]
    pub fn read(bytes: &[u8; HEADER_BYTES]) -> Self {
        let number = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        Self {
            flags: bytes[0],
            gso_type: bytes[1],
            hdr_len: number(2),
            gso_size: number(4),
            csum_start: number(6),
            csum_offset: number(8),
        }
    }

    /// The header's bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = self.flags;
        bytes[1] = self.gso_type;
        for (at, value) in [(2, self.hdr_len), (4, self.gso_size), (6, self.csum_start), (8, self.csum_offset)] {
            bytes[at..at + 2].copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }
}
