//! Control messages of `sendmsg` and `recvmsg`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Room for every control message that this module asks for, aligned as the kernel wants it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub struct Control(pub [u8; 256]);

impl Control {
    /// Room without messages.
    pub const fn empty() -> Self {
        Self([0; 256])
    }
}

/// What the control messages of one received buffer say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Received {
    /// Bytes of each datagram in a buffer that the kernel coalesced (`UDP_GRO`).
    pub segment_bytes: Option<usize>,
    /// The kernel's stamp of arrival by `CLOCK_REALTIME`, nanoseconds.
    pub stamp_ns: Option<u64>,
    /// The local address that the datagram came to.
    pub local: Option<IpAddr>,
    /// Datagrams that this socket has dropped so far because its buffer was full (`SO_RXQ_OVFL`).
    pub overflowed: Option<u32>,
}

/// Appends control messages to a message header whose control pointer is a [`Control`].
pub struct Writer<'a> {
    header: &'a mut libc::msghdr,
    used: usize,
}

impl<'a> Writer<'a> {
    /// Starts with no messages.
    ///
    /// # Safety
    /// `header.msg_control` points to a [`Control`] that lives as long as the header is used.
    pub unsafe fn new(header: &'a mut libc::msghdr) -> Self {
        header.msg_controllen = 0;
        Self { header, used: 0 }
    }

    /// Adds one message of plain data; does nothing when the room is used up.
    pub fn put<T: Copy>(&mut self, level: libc::c_int, kind: libc::c_int, value: T) {
        let payload = u32::try_from(size_of::<T>()).unwrap_or(u32::MAX);
        // SAFETY: both only compute sizes.
        let (space, length) = unsafe { (libc::CMSG_SPACE(payload) as usize, libc::CMSG_LEN(payload) as usize) };
        if self.used + space > size_of::<Control>() {
            return;
        }
        // SAFETY: the control pointer has room for `used + space` bytes, checked above, and is aligned because
        // every space is a multiple of the alignment.
        unsafe {
            let message = self.header.msg_control.cast::<u8>().add(self.used).cast::<libc::cmsghdr>();
            (*message).cmsg_level = level;
            (*message).cmsg_type = kind;
            (*message).cmsg_len = length as _;
            libc::CMSG_DATA(message).cast::<T>().write_unaligned(value);
        }
        self.used += space;
        self.header.msg_controllen = self.used as _;
    }
}

/// Reads the control messages of a received header.
///
/// # Safety
/// The kernel has filled in the header; its control room is alive.
pub unsafe fn read(header: &libc::msghdr) -> Received {
    let mut received = Received::default();
    // SAFETY: the caller's promise; the macros stay within `msg_controllen`.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: the macros only give pointers to whole messages.
        unsafe {
            let data = libc::CMSG_DATA(message);
            let length = ((*message).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::SOL_UDP, libc::UDP_GRO) if length >= size_of::<libc::c_int>() => {
                    received.segment_bytes = usize::try_from(data.cast::<libc::c_int>().read_unaligned()).ok();
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) if length >= size_of::<libc::timespec>() => {
                    let stamp = data.cast::<libc::timespec>().read_unaligned();
                    received.stamp_ns = Some(crate::mesh::sys::spec_ns(&stamp));
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) if length >= size_of::<u32>() => {
                    received.overflowed = Some(data.cast::<u32>().read_unaligned());
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) if length >= size_of::<libc::in_pktinfo>() => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    received.local = Some(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if length >= size_of::<libc::in6_pktinfo>() => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    received.local = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).to_canonical());
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    received
}

/// Asks that a datagram leaves with this source address.
pub fn put_source(writer: &mut Writer<'_>, source: IpAddr, socket_is_v6: bool) {
    match (source, socket_is_v6) {
        (IpAddr::V4(v4), false) => {
            let spec_dst = libc::in_addr { s_addr: u32::from_ne_bytes(v4.octets()) };
            let any = libc::in_addr { s_addr: 0 };
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: spec_dst, ipi_addr: any };
            writer.put(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        (address, true) => {
            let octets = match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                IpAddr::V6(v6) => v6.octets(),
            };
            let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: octets }, ipi6_ifindex: 0 };
            writer.put(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
        (IpAddr::V6(_), false) => {}
    }
}
