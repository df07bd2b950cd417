//! Many datagrams with one call: `recvmmsg`, and `UDP_GRO` inside each of its buffers.

use std::{io, net::SocketAddr, os::fd::AsRawFd as _};

use x0_mesh::Time;

use super::{
    UnderlaySocket,
    address::RawAddress,
    control::{self, Control},
    usable,
};
use crate::mesh::sys;

/// Buffers that one call fills.
pub const BUFFERS: usize = 8;
/// Bytes of a buffer: the most that `UDP_GRO` joins.
const BUFFER_BYTES: usize = 65_536;

/// Sender, stamp of arrival, and bytes of each datagram where the kernel joined several.
pub type Note = (Option<SocketAddr>, Time, Option<usize>);

/// Room for one call, shared by all sockets of a thread.
pub struct ReceiveBuffers {
    bytes: Vec<u8>,
    names: [RawAddress; BUFFERS],
    controls: [Control; BUFFERS],
    lengths: [usize; BUFFERS],
}

impl Default for ReceiveBuffers {
    fn default() -> Self {
        Self {
            bytes: vec![0; BUFFERS * BUFFER_BYTES],
            names: [RawAddress::empty(); BUFFERS],
            controls: [Control::empty(); BUFFERS],
            lengths: [0; BUFFERS],
        }
    }
}

/// One filled buffer: datagrams of one sender.
pub struct Datagrams<'a> {
    /// Who sent them.
    pub from: SocketAddr,
    /// When the first of them arrived, by the kernel's stamp; now where it does not stamp.
    pub received: Time,
    /// Bytes of each but the last, which may be shorter.
    segment_bytes: usize,
    bytes: &'a mut [u8],
}

impl Datagrams<'_> {
    /// The datagrams in their order of arrival.
    pub fn each(&mut self) -> impl Iterator<Item = &mut [u8]> {
        // A datagram without bytes gives no chunk: nobody's format is empty.
        self.bytes.chunks_mut(self.segment_bytes)
    }
}

impl UnderlaySocket {
    /// Fills the buffers with what waits in the socket. Returns how many were filled; fewer than
    /// [`BUFFERS`] say that the socket is empty.
    ///
    /// # Errors
    /// What the system says, except that nothing waits. An ICMP error that waits for a reader is none.
    pub fn receive(&mut self, buffers: &mut ReceiveBuffers) -> io::Result<usize> {
        // SAFETY: `mmsghdr` and `iovec` are plain data for which zeroes are valid.
        let mut headers: [libc::mmsghdr; BUFFERS] = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        let mut parts: [libc::iovec; BUFFERS] = unsafe { std::mem::zeroed() };
        let rooms = buffers.bytes.chunks_exact_mut(BUFFER_BYTES);
        let names = buffers.names.iter_mut().zip(&mut buffers.controls);
        for (((header, part), room), (name, control)) in headers.iter_mut().zip(&mut parts).zip(rooms).zip(names) {
            *part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
            let header = &mut header.msg_hdr;
            header.msg_name = (&raw mut name.storage).cast();
            header.msg_namelen = RawAddress::empty().length;
            header.msg_iov = part;
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut *control).cast();
            header.msg_controllen = size_of::<Control>() as _;
        }
        let count = libc::c_uint::try_from(BUFFERS).unwrap_or(1);
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: every pointer of the headers describes memory that lives during the call and is used by one
        // header only.
        let result = sys::check(unsafe {
            libc::recvmmsg(self.descriptor.as_raw_fd(), headers.as_mut_ptr(), count, flags, std::ptr::null_mut())
        });
        let filled = match result {
            Ok(filled) => usize::try_from(filled).unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return self.take_error(error),
        };
        for (index, header) in headers.iter().take(filled).enumerate() {
            buffers.names[index].length = header.msg_hdr.msg_namelen;
            // A buffer that was too small is not a datagram that anybody sent.
            let cut = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            buffers.lengths[index] = if cut { 0 } else { usize::try_from(header.msg_len).unwrap_or(0) };
        }
        self.note(buffers, &headers[..filled]);
        Ok(filled)
    }

    /// A pending ICMP error makes any call fail once, although datagrams may wait behind it.
    fn take_error(&self, error: io::Error) -> io::Result<usize> {
        match error.raw_os_error() {
            Some(
                libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EMSGSIZE
                | libc::EACCES
                | libc::EHOSTDOWN
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::EINTR,
            ) => Ok(0),
            _ => Err(error),
        }
    }

    /// Reads what the kernel says beside the bytes, and turns stamps into the monotonic clock.
    fn note(&mut self, buffers: &mut ReceiveBuffers, headers: &[libc::mmsghdr]) {
        let (now, wall_ns) = (sys::now(), sys::realtime_ns());
        self.notes.clear();
        for (header, name) in headers.iter().zip(&buffers.names) {
            // SAFETY: the kernel has filled in the header; the control room belongs to the buffers.
            let beside = unsafe { control::read(&header.msg_hdr) };
            if let Some(overflowed) = beside.overflowed {
                self.overflowed = overflowed;
            }
            let from = name.get();
            if let (true, Some(from), Some(local)) = (self.unspecified, from, beside.local.and_then(usable)) {
                self.sources.note(from, local);
            }
            let received = stamp(now, wall_ns, beside.stamp_ns, self.empty_at);
            self.notes.push((from, received, beside.segment_bytes));
        }
        if headers.len() < BUFFERS {
            self.empty_at = now;
        }
    }

    /// One of the buffers that the last [`Self::receive`] filled.
    pub fn datagrams<'a>(&self, buffers: &'a mut ReceiveBuffers, index: usize) -> Option<Datagrams<'a>> {
        let (from, received, segment) = *self.notes.get(index)?;
        let length = *buffers.lengths.get(index)?;
        let bytes = buffers.bytes.chunks_exact_mut(BUFFER_BYTES).nth(index)?.get_mut(..length)?;
        Some(Datagrams { from: from?, received, segment_bytes: segment.unwrap_or(length).max(1), bytes })
    }
}

/// The kernel's stamp by the monotonic clock: as old as the stamp is by the wall clock, but neither in
/// the future nor older than the last moment at which the socket was empty.
fn stamp(now: Time, wall_ns: u64, stamp_ns: Option<u64>, empty_at: Time) -> Time {
    let age_ns = stamp_ns.map_or(0, |stamp_ns| wall_ns.saturating_sub(stamp_ns));
    Time(now.0.saturating_sub(age_ns)).max(empty_at).min(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_keeps_its_age_whatever_the_wall_clock_does() {
        let (now, empty_at) = (Time(10_000), Time(7_000));
        assert_eq!(stamp(now, 500_000, Some(499_000), empty_at), Time(9_000));
        assert_eq!(stamp(now, 500_000, None, empty_at), now);
        // The wall clock went back: the stamp seems to come from the future.
        assert_eq!(stamp(now, 400_000, Some(499_000), empty_at), now);
        // The wall clock went forward: the stamp seems older than the socket's emptiness.
        assert_eq!(stamp(now, 900_000, Some(499_000), empty_at), empty_at);
    }
}
