//! Datagrams of equal size to one destination leave with one call (`UDP_SEGMENT`).

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd as _,
};

use super::{
    UnderlaySocket,
    address::RawAddress,
    control::{Control, Writer, put_source},
};
use crate::mesh::sys;

/// Most datagrams of one call (`UDP_MAX_SEGMENTS` of every kernel that has the option).
const SEGMENTS_MAX: usize = 64;
/// Most bytes of one call: the largest UDP payload over IPv4.
const BATCH_BYTES_MAX: usize = 65_507;
/// Destinations of one socket that are batched side by side; a packet duplicated on two paths over one
/// underlay would otherwise end every batch after one datagram.
const DESTINATIONS: usize = 4;
/// Local addresses remembered for answers.
const SOURCES_MAX: usize = 1_024;

/// Why datagrams did not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The system has no way to there, or forbids it.
    Unreachable(SocketAddr),
    /// The device carries less than this many bytes.
    TooLong(SocketAddr, usize),
    /// The buffers are full: it says nothing about the path. This many datagrams were dropped.
    Full(usize),
}

/// The local address at which each remote one was heard.
#[derive(Debug, Default)]
pub struct Sources(HashMap<SocketAddr, IpAddr>);

impl Sources {
    /// Remembers where a datagram came to.
    pub fn note(&mut self, remote: SocketAddr, local: IpAddr) {
        if self.0.get(&remote) == Some(&local) {
            return;
        }
        if self.0.len() >= SOURCES_MAX {
            // Whoever floods with invented senders costs answers their preferred source, nothing more.
            self.0.clear();
        }
        self.0.insert(remote, local);
    }
}

/// Datagrams to one destination that wait for the end of the batch.
struct Batch {
    to: SocketAddr,
    segment_bytes: usize,
    count: usize,
    /// A shorter datagram has ended it.
    closed: bool,
    bytes: Vec<u8>,
}

impl Batch {
    fn takes(&self, length: usize) -> bool {
        !self.closed
            && self.count < SEGMENTS_MAX
            && length <= self.segment_bytes
            && self.bytes.len() + length <= BATCH_BYTES_MAX
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.count += 1;
        self.closed = bytes.len() < self.segment_bytes;
    }

    fn start(&mut self, to: SocketAddr, bytes: &[u8]) {
        self.bytes.clear();
        self.to = to;
        self.segment_bytes = bytes.len();
        self.count = 0;
        self.push(bytes);
    }
}

/// What one socket has to send before the data thread sleeps.
#[derive(Default)]
pub struct Batches {
    waiting: Vec<Batch>,
    /// Emptied batches, kept for their room.
    spare: Vec<Batch>,
}

impl Batches {
    /// Takes a datagram; sends a batch that it does not fit.
    pub fn push(&mut self, socket: &mut UnderlaySocket, to: SocketAddr, bytes: &[u8], failures: &mut Vec<Failure>) {
        if bytes.is_empty() || bytes.len() > BATCH_BYTES_MAX {
            failures.push(Failure::TooLong(to, bytes.len()));
            return;
        }
        if let Some(index) = self.waiting.iter().position(|batch| batch.to == to) {
            let batch = &mut self.waiting[index];
            if batch.takes(bytes.len()) {
                batch.push(bytes);
            } else {
                socket.send_batch(batch.to, batch.segment_bytes, batch.count, &batch.bytes, failures);
                batch.start(to, bytes);
            }
            return;
        }
        if self.waiting.len() >= DESTINATIONS {
            let batch = self.waiting.remove(0);
            socket.send_batch(batch.to, batch.segment_bytes, batch.count, &batch.bytes, failures);
            self.spare.push(batch);
        }
        let mut batch = self.spare.pop().unwrap_or_else(|| Batch {
            to,
            segment_bytes: 0,
            count: 0,
            closed: false,
            bytes: Vec::with_capacity(BATCH_BYTES_MAX),
        });
        batch.start(to, bytes);
        self.waiting.push(batch);
    }

    /// Sends everything that waits.
    pub fn flush(&mut self, socket: &mut UnderlaySocket, failures: &mut Vec<Failure>) {
        for batch in self.waiting.drain(..) {
            socket.send_batch(batch.to, batch.segment_bytes, batch.count, &batch.bytes, failures);
            self.spare.push(batch);
        }
    }
}

impl UnderlaySocket {
    /// Sends one datagram at once.
    pub fn send_now(&mut self, to: SocketAddr, bytes: &[u8], failures: &mut Vec<Failure>) {
        self.send_batch(to, bytes.len(), 1, bytes, failures);
    }

    fn send_batch(
        &mut self,
        to: SocketAddr,
        segment_bytes: usize,
        count: usize,
        bytes: &[u8],
        failures: &mut Vec<Failure>,
    ) {
        if count > 1 && self.offloads.gso {
            match self.attempt(to, bytes, Some(segment_bytes)) {
                Ok(()) => return,
                Err(error) if error.raw_os_error() == Some(libc::EIO) => {
                    // The device cannot fill in checksums, which segmentation needs.
                    self.offloads.gso = false;
                    self.offloads
                        .warnings
                        .push(format!("{}: the device has no checksum offload, so no UDP_SEGMENT", self.name));
                }
                // The segments are larger than the device's MTU: one by one they say so.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EMSGSIZE)) => {}
                Err(error) => return note(&error, to, segment_bytes, count, failures),
            }
        }
        for datagram in bytes.chunks(segment_bytes.max(1)) {
            if let Err(error) = self.attempt(to, datagram, None) {
                note(&error, to, datagram.len(), 1, failures);
            }
        }
    }

    /// Sends, once more where the first error may be another datagram's.
    fn attempt(&mut self, to: SocketAddr, bytes: &[u8], segment: Option<usize>) -> io::Result<()> {
        let source = if self.unspecified { self.sources.0.get(&to).copied() } else { None };
        match self.send_message(to, bytes, segment, source) {
            // The kernel reports an ICMP error of an earlier datagram by refusing one call; and a local address
            // that is gone refuses every call that names it.
            Err(error) if again(&error) || (source.is_some() && !full(&error)) => {
                self.sources.0.remove(&to);
                self.send_message(to, bytes, segment, None)
            }
            result => result,
        }
    }

    fn send_message(
        &self,
        to: SocketAddr,
        bytes: &[u8],
        segment: Option<usize>,
        source: Option<IpAddr>,
    ) -> io::Result<()> {
        let Some(mut raw) = RawAddress::for_socket(to, self.is_v6) else {
            return Err(io::Error::from_raw_os_error(libc::ENETUNREACH));
        };
        let mut control = Control::empty();
        let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        // SAFETY: `msghdr` is plain data for which zeroes are valid.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_name = (&raw mut raw.storage).cast();
        header.msg_namelen = raw.length;
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        if segment.is_some() || source.is_some() {
            header.msg_control = (&raw mut control).cast();
            // SAFETY: the control pointer is the local room, which outlives the header.
            let mut writer = unsafe { Writer::new(&mut header) };
            if let Some(segment) = segment.and_then(|bytes| u16::try_from(bytes).ok()) {
                writer.put(libc::SOL_UDP, libc::UDP_SEGMENT, segment);
            }
            if let Some(source) = source {
                put_source(&mut writer, source, self.is_v6);
            }
        }
        // SAFETY: every pointer of the header describes memory that lives during the call; the kernel only reads
        // the payload.
        sys::check_size(unsafe { libc::sendmsg(self.descriptor.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT) })
            .map(drop)
    }
}

/// Whether an error may belong to a datagram sent earlier.
fn again(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EMSGSIZE
                | libc::EACCES
                | libc::EHOSTDOWN
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::EINTR
        )
    )
}

/// Whether an error only says that there is no room.
fn full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM))
}

fn note(error: &io::Error, to: SocketAddr, bytes: usize, count: usize, failures: &mut Vec<Failure>) {
    failures.push(match error.raw_os_error() {
        Some(libc::EMSGSIZE) => Failure::TooLong(to, bytes),
        _ if full(error) => Failure::Full(count),
        _ => Failure::Unreachable(to),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(first: &[u8]) -> Batch {
        let to = "127.0.0.1:9".parse().unwrap();
        let mut batch = Batch { to, segment_bytes: 0, count: 0, closed: true, bytes: Vec::new() };
        batch.start(to, first);
        batch
    }

    #[test]
    fn a_batch_takes_equal_sizes_and_ends_with_a_shorter_one() {
        let mut batch = batch(&[1; 1_000]);
        assert!(!batch.takes(1_001));
        batch.push(&[2; 1_000]);
        batch.push(&[3; 10]);
        assert!(!batch.takes(10) && !batch.takes(1_000));
        assert_eq!((batch.count, batch.bytes.len()), (3, 2_010));
    }

    #[test]
    fn a_batch_ends_at_64_datagrams_and_at_the_largest_payload() {
        let mut small = batch(&[1; 10]);
        while small.takes(10) {
            small.push(&[1; 10]);
        }
        assert_eq!(small.count, SEGMENTS_MAX);
        let mut large = batch(&[1; 1_400]);
        while large.takes(1_400) {
            large.push(&[1; 1_400]);
        }
        assert_eq!(large.count, 46);
    }

    #[test]
    fn a_flood_of_senders_does_not_grow_the_memory_of_sources() {
        let mut sources = Sources::default();
        for port in 0..3_000 {
            sources.note(SocketAddr::from(([192, 0, 2, 1], port)), IpAddr::from([10, 0, 0, 1]));
        }
        assert!(sources.0.len() <= SOURCES_MAX);
    }
}
