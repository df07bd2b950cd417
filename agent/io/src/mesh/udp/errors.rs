//! What ICMP and the device say about datagrams that left: the socket's error queue.

use std::{io, net::SocketAddr, os::fd::AsRawFd as _};

use super::{UnderlaySocket, address::RawAddress, control::Control};
use crate::mesh::sys;

/// Most entries read at once, so that a flood of forged ICMP cannot keep the data thread.
const ENTRIES_AT_ONCE: usize = 32;

/// One entry of the error queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketProblem {
    /// Nobody is reached there: an ICMP error, or the local routing table.
    Unreachable(SocketAddr),
    /// The device carries packets of at most this many bytes to there.
    TooLong(SocketAddr, u32),
    /// Somebody says so by ICMP. Anybody who knows the ports can: it is counted, and heartbeats decide.
    Icmp(SocketAddr),
}

impl UnderlaySocket {
    /// Reads the error queue, as far as it is known what an entry means.
    pub fn problems(&self, found: &mut Vec<SocketProblem>) {
        for _ in 0..ENTRIES_AT_ONCE {
            match self.problem() {
                Ok(Some(problem)) => found.push(problem),
                Ok(None) => {}
                Err(_) => break,
            }
        }
    }

    fn problem(&self) -> io::Result<Option<SocketProblem>> {
        let mut to = RawAddress::empty();
        let mut control = Control::empty();
        let mut payload = [0_u8; 8];
        let mut part = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
        // SAFETY: `msghdr` is plain data for which zeroes are valid.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_name = (&raw mut to.storage).cast();
        header.msg_namelen = to.length;
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut control).cast();
        header.msg_controllen = size_of::<Control>() as _;
        let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
        // SAFETY: every pointer of the header describes a local value that lives during the call.
        sys::check_size(unsafe { libc::recvmsg(self.descriptor.as_raw_fd(), &raw mut header, flags) })?;
        to.length = header.msg_namelen;
        let Some(address) = to.get() else { return Ok(None) };
        // SAFETY: the kernel has filled in the header; the control room is alive.
        Ok(unsafe { extended(&header) }.and_then(|error| meaning(address, &error)))
    }
}

/// # Safety
/// The kernel has filled in the header; its control room is alive.
unsafe fn extended(header: &libc::msghdr) -> Option<libc::sock_extended_err> {
    // SAFETY: the caller's promise; the macros stay within `msg_controllen`.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: the macros only give pointers to whole messages.
        unsafe {
            let kind = ((*message).cmsg_level, (*message).cmsg_type);
            let length = ((*message).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            if matches!(kind, (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR))
                && length >= size_of::<libc::sock_extended_err>()
            {
                return Some(libc::CMSG_DATA(message).cast::<libc::sock_extended_err>().read_unaligned());
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    None
}

fn meaning(address: SocketAddr, error: &libc::sock_extended_err) -> Option<SocketProblem> {
    if error.ee_origin != libc::SO_EE_ORIGIN_LOCAL {
        return Some(SocketProblem::Icmp(address));
    }
    match i32::try_from(error.ee_errno).unwrap_or(0) {
        libc::EMSGSIZE => Some(SocketProblem::TooLong(address, error.ee_info)),
        libc::ENETUNREACH
        | libc::EHOSTUNREACH
        | libc::ECONNREFUSED
        | libc::EHOSTDOWN
        | libc::ENETDOWN
        | libc::EACCES => Some(SocketProblem::Unreachable(address)),
        _ => None,
    }
}
