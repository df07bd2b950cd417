//! Carrier and address events from the kernel (`rtnetlink`), as they happen.
//!
//! # Correctness
//! * A device that loses its carrier, is set down or removed is reported by the kernel's own message,
//!   without a timer in between.
//! * When the kernel says that messages were lost, all devices are asked for anew.

use std::{
    io,
    net::Ipv6Addr,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
};

use crate::mesh::{
    error::{MeshIoError, Result},
    sys,
};

/// Bytes of one read: more than the kernel puts into one message block of a dump.
const READ_BYTES: usize = 32_768;
/// Reads at once, so that a storm of events cannot keep the data thread.
const READS_AT_ONCE: usize = 16;
/// Bytes of `nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// Bytes of `ifinfomsg`.
const LINK_BYTES: usize = 16;

/// What the kernel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetlinkEvent {
    /// The state of a device: sent at every change, and for every device at the start.
    Link {
        /// The device's number.
        index: u32,
        /// Its name; empty where the message has none.
        name: String,
        /// Up, with a carrier.
        up: bool,
    },
    /// An address of a device came or went.
    Address {
        /// The device's number.
        index: u32,
    },
}

/// The kernel's events about devices and addresses of one network namespace.
#[derive(Debug)]
pub struct Netlink {
    descriptor: OwnedFd,
    buffer: Vec<u8>,
    /// A dump that the kernel refused because another was under way is asked for again.
    dump_due: bool,
}

impl Netlink {
    /// Subscribes, and asks for the present state of all devices.
    ///
    /// # Errors
    /// [`MeshIoError::System`].
    pub fn open() -> Result<Self> {
        let descriptor = sys::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)
            .map_err(|source| MeshIoError::System { call: "a netlink socket", source })?;
        // SAFETY: `sockaddr_nl` is plain data for which zeroes are valid.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = libc::sa_family_t::try_from(libc::AF_NETLINK).unwrap_or_default();
        let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
        address.nl_groups = u32::try_from(groups).unwrap_or_default();
        let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_nl>()).unwrap_or(0);
        // SAFETY: pointer and length describe `address`, which lives during the call.
        sys::check(unsafe { libc::bind(descriptor.as_raw_fd(), (&raw const address).cast(), length) })
            .map_err(|source| MeshIoError::System { call: "subscribing to carrier events", source })?;
        let mut netlink = Self { descriptor, buffer: vec![0; READ_BYTES], dump_due: false };
        netlink.ask().map_err(|source| MeshIoError::System { call: "asking for devices", source })?;
        Ok(netlink)
    }

    /// Asks for the state of all devices (`RTM_GETLINK`, dump).
    fn ask(&mut self) -> io::Result<()> {
        let mut request = [0_u8; HEADER_BYTES + LINK_BYTES];
        let length = u32::try_from(request.len()).unwrap_or(0);
        let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_DUMP).unwrap_or(0);
        request[..4].copy_from_slice(&length.to_ne_bytes());
        request[4..6].copy_from_slice(&libc::RTM_GETLINK.to_ne_bytes());
        request[6..8].copy_from_slice(&flags.to_ne_bytes());
        // SAFETY: pointer and length describe `request`, which lives during the call.
        sys::check_size(unsafe {
            libc::send(self.descriptor.as_raw_fd(), request.as_ptr().cast(), request.len(), libc::MSG_DONTWAIT)
        })?;
        self.dump_due = false;
        Ok(())
    }

    /// Reads what waits.
    ///
    /// # Errors
    /// What the system says, except that nothing waits.
    pub fn events(&mut self, found: &mut Vec<NetlinkEvent>) -> io::Result<()> {
        for _ in 0..READS_AT_ONCE {
            // SAFETY: pointer and length describe the buffer, which lives during the call.
            let read = sys::check_size(unsafe {
                libc::recv(
                    self.descriptor.as_raw_fd(),
                    self.buffer.as_mut_ptr().cast(),
                    self.buffer.len(),
                    libc::MSG_DONTWAIT,
                )
            });
            match read {
                Ok(length) => {
                    let refused = parse(self.buffer.get(..length).unwrap_or(&[]), found);
                    self.dump_due |= refused;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Messages were lost: the present state replaces them.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.dump_due = true,
                Err(error) => return Err(error),
            }
        }
        if self.dump_due { self.ask() } else { Ok(()) }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Gives a device an IPv6 address that may be used at once: without the search for duplicates (RFC 4862
/// section 5.4), during which binding to it fails. The kernel makes the prefix a route to the device.
pub(crate) fn add_address(index: u32, address: Ipv6Addr, prefix_bits: u8) -> io::Result<()> {
    let socket = sys::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
    let mut body = vec![u8::try_from(libc::AF_INET6).unwrap_or(0), prefix_bits];
    // `ifaddrmsg`: family, prefix length, flags, scope (zero is global), device.
    body.extend_from_slice(&[u8::try_from(libc::IFA_F_NODAD).unwrap_or(0), 0]);
    body.extend_from_slice(&index.to_ne_bytes());
    for kind in [libc::IFA_LOCAL, libc::IFA_ADDRESS] {
        body.extend_from_slice(&20_u16.to_ne_bytes());
        body.extend_from_slice(&kind.to_ne_bytes());
        body.extend_from_slice(&address.octets());
    }
    let length = u32::try_from(HEADER_BYTES + body.len()).unwrap_or(0);
    let mut request = length.to_ne_bytes().to_vec();
    request.extend_from_slice(&libc::RTM_NEWADDR.to_ne_bytes());
    request.extend_from_slice(&u16::try_from(flags).unwrap_or(0).to_ne_bytes());
    request.extend_from_slice(&[0; 8]);
    request.extend_from_slice(&body);
    // SAFETY: pointer and length describe `request`, which lives during the call.
    sys::check_size(unsafe { libc::send(socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) })?;
    let mut answer = [0_u8; 1_024];
    // The kernel answers a request before the call that sends it returns.
    // SAFETY: pointer and length describe `answer`, which lives during the call.
    let length =
        sys::check_size(unsafe { libc::recv(socket.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0) })?;
    // `nlmsgerr`: a negative error number, or zero.
    match u32_at(answer.get(..length).unwrap_or(&[]), HEADER_BYTES) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(code.to_ne_bytes()).wrapping_neg())),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
}

/// Reads messages; says whether the kernel refused a request. What is not understood is skipped.
fn parse(mut bytes: &[u8], found: &mut Vec<NetlinkEvent>) -> bool {
    let mut refused = false;
    while let (Some(length), Some(kind)) = (u32_at(bytes, 0), u16_at(bytes, 4)) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(body) = bytes.get(HEADER_BYTES..length) else { break };
        match kind {
            libc::RTM_NEWLINK | libc::RTM_DELLINK => found.extend(link(body, kind == libc::RTM_DELLINK)),
            libc::RTM_NEWADDR | libc::RTM_DELADDR => {
                found.extend(u32_at(body, 4).map(|index| NetlinkEvent::Address { index }));
            }
            // A zero is an acknowledgement.
            kind if libc::c_int::from(kind) == libc::NLMSG_ERROR => refused |= u32_at(body, 0) != Some(0),
            _ => {}
        }
        let next = length.next_multiple_of(4).min(bytes.len());
        bytes = &bytes[next..];
    }
    refused
}

/// `ifinfomsg`: family u8, pad u8, type u16, index i32, flags u32, change u32; then attributes.
fn link(body: &[u8], removed: bool) -> Option<NetlinkEvent> {
    let index = u32_at(body, 4)?;
    let flags = u32_at(body, 8)?;
    let wanted = u32::try_from(libc::IFF_UP | libc::IFF_LOWER_UP).unwrap_or(u32::MAX);
    let up = !removed && flags & wanted == wanted;
    let name = attribute(body.get(LINK_BYTES..)?, libc::IFLA_IFNAME)
        .map(|bytes| String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or(&[])).into_owned())
        .unwrap_or_default();
    Some(NetlinkEvent::Link { index, name, up })
}

/// The value of the first attribute of a kind (`rtattr`: length u16, kind u16, value, padding to 4).
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    while let (Some(length), Some(kind)) = (u16_at(bytes, 0), u16_at(bytes, 2)) {
        let length = usize::from(length);
        let value = bytes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER_BYTES + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&[0; 10]);
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn device(index: u32, flags: libc::c_int, name: &str) -> Vec<u8> {
        let mut body = vec![0; 4];
        body.extend_from_slice(&index.to_ne_bytes());
        body.extend_from_slice(&(flags as u32).to_ne_bytes());
        body.extend_from_slice(&[0; 4]);
        body.extend_from_slice(&[8, 0, 13, 0, 0xe8, 3, 0, 0]);
        body.extend_from_slice(&((name.len() + 5) as u16).to_ne_bytes());
        body.extend_from_slice(&libc::IFLA_IFNAME.to_ne_bytes());
        body.extend_from_slice(name.as_bytes());
        body.push(0);
        body
    }

    #[test]
    fn a_device_is_up_only_with_a_carrier() {
        let carrier = libc::IFF_UP | libc::IFF_LOWER_UP;
        let mut bytes = message(libc::RTM_NEWLINK, &device(7, carrier, "wan0"));
        bytes.extend(message(libc::RTM_NEWLINK, &device(7, libc::IFF_UP, "wan0")));
        bytes.extend(message(libc::RTM_NEWLINK, &device(7, libc::IFF_LOWER_UP, "wan0")));
        bytes.extend(message(libc::RTM_DELLINK, &device(7, carrier, "wan0")));
        bytes.extend(message(libc::RTM_NEWADDR, &[10, 64, 0, 0, 9, 0, 0, 0]));
        let mut found = Vec::new();
        assert!(!parse(&bytes, &mut found));
        let link = |up| NetlinkEvent::Link { index: 7, name: "wan0".into(), up };
        assert_eq!(found, [link(true), link(false), link(false), link(false), NetlinkEvent::Address { index: 9 }]);
    }

    #[test]
    fn a_refusal_is_told_from_an_acknowledgement() {
        let refused = |error: i32| parse(&message(libc::NLMSG_ERROR as u16, &error.to_ne_bytes()), &mut Vec::new());
        assert!(refused(-libc::EBUSY));
        assert!(!refused(0));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), kind in 14_u16..24) {
            parse(&bytes, &mut Vec::new());
            parse(&message(kind, &bytes), &mut Vec::new());
        }
    }
}
