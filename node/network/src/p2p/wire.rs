//! What travels on the streams of a link.
//!
//! ```text
//!   control stream:  length (4 bytes, big-endian) | SCALE of a `Control`, a `Hello` first
//!   frame streams:   channel (1 byte) | length (4 bytes, big-endian) | bytes
//! ```
//!
//! Each stream goes one way. A length is compared with its limit before anything is allocated, and a
//! frame's memory grows with the bytes that came in, not with the length that was claimed.
#![allow(clippy::cast_possible_truncation, reason = "the codec's derive casts the indices of variants")]

use super::address::HostPort;
use crate::{Channel, PeerKey, queue::Class};
use bytes::{BufMut, Bytes, BytesMut};
use codec::{Decode, DecodeAll, Encode};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::{io, sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Version of the protocol on links. It is part of the TLS protocol name as well, so that two
/// versions do not even shake hands.
pub const LINK_VERSION: u16 = 1;

/// How much of a frame is read or written at once, bytes.
const PIECE_BYTES: usize = 64 * 1024;
const STALL: Duration = Duration::from_millis(x0_limits::LINK_STALL_MS);

/// Why a stream ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("the peer closed the stream")]
    Closed,
    #[error("no byte moved for {} ms within a frame", x0_limits::LINK_STALL_MS)]
    Stalled,
    #[error(transparent)]
    Io(io::Error),
    #[error("a frame of {bytes} bytes where {max} are the most")]
    Oversized { bytes: usize, max: usize },
    #[error("tag {0} is no channel of this stream")]
    Channel(u8),
    #[error("a control message does not decode: {0}")]
    Malformed(&'static str),
}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Closed } else { Self::Io(error) }
    }
}

/// The first message in each direction.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Hello {
    pub version: u16,
    pub genesis: [u8; 32],
    /// Name and version of the software, for people.
    pub software: String,
    pub tip: u64,
    /// The sender's clock, milliseconds since 1970.
    pub time_ms: u64,
    /// Where the sender listens. An unspecified IP address stands for the one that the receiver sees.
    pub addresses: Vec<String>,
    pub peers: Vec<Told>,
}

/// Where another peer is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Told {
    pub key: [u8; 32],
    pub addresses: Vec<String>,
}

/// A message of the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) enum Control {
    #[codec(index = 0)]
    Hello(Hello),
    #[codec(index = 1)]
    Ping { number: u64, tip: u64 },
    #[codec(index = 2)]
    Pong { number: u64 },
    #[codec(index = 3)]
    Addresses(Vec<Told>),
}

impl Control {
    pub(super) fn to_frame(&self) -> Bytes {
        let body = self.encode();
        let mut frame = BytesMut::with_capacity(4 + body.len());
        frame.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
        frame.put_slice(&body);
        frame.freeze()
    }

    fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let control = Self::decode_all(&mut &*bytes).map_err(|_| WireError::Malformed("unknown form"))?;
        let told = match &control {
            Self::Hello(hello) => {
                if hello.software.len() > x0_limits::LINK_SOFTWARE_BYTES_MAX {
                    return Err(WireError::Malformed("a long software name"));
                }
                if hello.addresses.len() > x0_limits::LINK_ADDRESSES_PER_PEER_MAX {
                    return Err(WireError::Malformed("too many addresses"));
                }
                &hello.peers
            }
            Self::Addresses(told) => told,
            Self::Ping { .. } | Self::Pong { .. } => return Ok(control),
        };
        if told.len() > x0_limits::LINK_TOLD_PEERS_MAX
            || told.iter().any(|told| told.addresses.len() > x0_limits::LINK_ADDRESSES_PER_PEER_MAX)
        {
            return Err(WireError::Malformed("too many addresses"));
        }
        Ok(control)
    }
}

/// Addresses in the form in which they are told, as many as one frame takes.
pub(super) fn told<'a>(addresses: impl Iterator<Item = (&'a PeerKey, &'a Vec<HostPort>)>) -> Vec<Told> {
    // Half a frame, so that a hello with its other fields fits as well.
    let mut room = x0_limits::LINK_CONTROL_FRAME_BYTES_MAX / 2;
    let mut all = Vec::new();
    for (key, places) in addresses.take(x0_limits::LINK_TOLD_PEERS_MAX) {
        let told = Told {
            key: key.0,
            addresses: places.iter().take(x0_limits::LINK_ADDRESSES_PER_PEER_MAX).map(ToString::to_string).collect(),
        };
        let Some(rest) = room.checked_sub(told.encoded_size()) else { break };
        room = rest;
        all.push(told);
    }
    all
}

/// Reads the next control message.
pub(super) async fn read_control<R: AsyncRead + Unpin>(reader: &mut R) -> Result<Control, WireError> {
    let mut length = [0; 4];
    reader.read_exact(&mut length).await?;
    let bytes = read_body(reader, u32::from_be_bytes(length), x0_limits::LINK_CONTROL_FRAME_BYTES_MAX).await?;
    Control::parse(&bytes)
}

/// Bytes of large frames that a node holds, over all links. A frame counts until its last copy is
/// gone, so that peers cannot fill the memory faster than the node works off what they send.
pub(super) type Budget = Arc<Semaphore>;

/// Unit in which a budget is counted, bytes.
const BUDGET_UNIT: usize = 1_024;

/// A budget for all links of a node.
pub(super) fn budget() -> Budget {
    Arc::new(Semaphore::new(x0_limits::LINK_BULK_BYTES_MAX / BUDGET_UNIT))
}

/// A frame that gives its share of the budget back with its last copy.
struct Counted {
    bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads the next frame of a class. A large frame waits for its share of the budget first.
pub(super) async fn read_frame<R: AsyncRead + Unpin>(
    reader: &mut R,
    class: Class,
    budget: &Budget,
) -> Result<(Channel, Bytes), WireError> {
    let mut header = [0; 5];
    reader.read_exact(&mut header).await?;
    let [tag, length @ ..] = header;
    let channel = Channel::ALL
        .get(usize::from(tag))
        .copied()
        .filter(|channel| Class::of(*channel) == class)
        .ok_or(WireError::Channel(tag))?;
    let (length, max) = (u32::from_be_bytes(length), channel.frame_bytes_max());
    if class != Class::Bulk {
        return Ok((channel, read_body(reader, length, max).await?));
    }
    let bytes = usize::try_from(length).unwrap_or(usize::MAX);
    if bytes > max {
        return Err(WireError::Oversized { bytes, max });
    }
    let units = u32::try_from(bytes.div_ceil(BUDGET_UNIT)).unwrap_or(u32::MAX);
    // The budget is never closed and takes several of the largest frame.
    let Ok(share) = Arc::clone(budget).acquire_many_owned(units).await else { return Err(WireError::Closed) };
    let bytes = read_body(reader, length, max).await?;
    Ok((channel, Bytes::from_owner(Counted { bytes, _share: share })))
}

async fn read_body<R: AsyncRead + Unpin>(reader: &mut R, length: u32, max: usize) -> Result<Bytes, WireError> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > max {
        return Err(WireError::Oversized { bytes: length, max });
    }
    let mut body = BytesMut::with_capacity(length.min(PIECE_BYTES));
    while body.len() < length {
        let start = body.len();
        body.resize(length.min(start + PIECE_BYTES), 0);
        let piece = body.get_mut(start..).unwrap_or_default();
        tokio::time::timeout(STALL, reader.read_exact(piece)).await.map_err(|_| WireError::Stalled)??;
    }
    Ok(body.freeze())
}

/// Reads bytes as whatever a peer may send on the streams of a link, for fuzzing: `false` when a
/// control message that was read reads back otherwise than it was written.
#[must_use]
pub fn reads_back(bytes: &[u8]) -> bool {
    // The limits of time need a runtime to exist, even though nothing waits when it reads from memory.
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return true };
    for class in Class::ALL {
        drop(runtime.block_on(read_frame(&mut &*bytes, class, &budget())));
    }
    match Control::parse(bytes) {
        Ok(control) => {
            control.to_frame().get(4..).is_some_and(|body| Control::parse(body).is_ok_and(|again| again == control))
        }
        Err(_) => true,
    }
}

/// Puts a frame's header in front of a buffer that takes the frame.
pub(super) fn put_header(buffer: &mut BytesMut, channel: Channel, bytes: &Bytes) {
    // Channels are few and frames are checked against their size before they are queued.
    buffer.put_u8(u8::try_from(channel.index()).unwrap_or(u8::MAX));
    buffer.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
}

/// Writes and flushes, as long as the peer takes some bytes now and then.
pub(super) async fn write<W: AsyncWrite + Unpin>(writer: &mut W, bytes: &[u8]) -> Result<(), WireError> {
    for piece in bytes.chunks(PIECE_BYTES) {
        tokio::time::timeout(STALL, writer.write_all(piece)).await.map_err(|_| WireError::Stalled)??;
    }
    tokio::time::timeout(STALL, writer.flush()).await.map_err(|_| WireError::Stalled)??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            version: LINK_VERSION,
            genesis: [7; 32],
            software: "x0-node 0.1.0".into(),
            tip: 2,
            time_ms: 3,
            addresses: vec!["10.0.0.1:1".into()],
            peers: vec![Told { key: [1; 32], addresses: vec!["10.0.0.2:2".into()] }],
        }
    }

    #[tokio::test]
    async fn control_messages_arrive_as_they_were() {
        for control in [
            Control::Hello(hello()),
            Control::Ping { number: 1, tip: 9 },
            Control::Pong { number: 1 },
            Control::Addresses(hello().peers),
        ] {
            assert_eq!(read_control(&mut &control.to_frame()[..]).await.unwrap(), control);
        }
    }

    #[tokio::test]
    async fn a_network_of_the_largest_size_fits_into_a_hello() {
        let place: HostPort = "2001:0db8:ffff:ffff:ffff:ffff:ffff:ffff.validators.example:30300"
            .replace(':', "-")
            .replacen("-30300", ":30300", 1)
            .parse()
            .unwrap();
        let book: std::collections::BTreeMap<_, _> = (0..x0_limits::VALIDATORS_MAX)
            .map(|tag| (PeerKey([u8::try_from(tag).unwrap(); 32]), vec![place.clone(); 2]))
            .collect();
        let told = told(book.iter());
        assert_eq!(told.len(), x0_limits::VALIDATORS_MAX as usize);
        let frame = Control::Hello(Hello { peers: told, ..hello() }).to_frame();
        assert!(read_control(&mut &frame[..]).await.is_ok());
    }

    #[tokio::test]
    async fn what_is_too_large_or_unknown_is_refused_by_its_header() {
        let huge = [&[0xff; 4][..], &[0; 16]].concat();
        assert!(matches!(read_control(&mut &huge[..]).await, Err(WireError::Oversized { .. })));
        for channel in Channel::ALL {
            let mut header = BytesMut::new();
            header.put_u8(u8::try_from(channel.index()).unwrap());
            header.put_u32(u32::try_from(channel.frame_bytes_max()).unwrap() + 1);
            let read = read_frame(&mut &header[..], Class::of(channel), &budget()).await;
            assert!(matches!(read, Err(WireError::Oversized { .. })), "{read:?}");
            let other = Class::ALL.into_iter().find(|class| *class != Class::of(channel)).unwrap();
            assert!(matches!(read_frame(&mut &header[..], other, &budget()).await, Err(WireError::Channel(_))));
        }
        let read = async |bytes: &[u8]| read_frame(&mut &bytes[..], Class::Votes, &budget()).await;
        assert!(matches!(read(&[200, 0, 0, 0, 0]).await, Err(WireError::Channel(200))));
        assert!(matches!(read(&[0, 0, 0, 0, 9, 1]).await, Err(WireError::Closed)));
    }

    #[tokio::test]
    async fn large_frames_share_a_budget_until_they_are_worked_off() {
        let budget = budget();
        let all = budget.available_permits();
        let mut frame = BytesMut::new();
        let body = Bytes::from(vec![7; Channel::SyncResponse.frame_bytes_max()]);
        put_header(&mut frame, Channel::SyncResponse, &body);
        frame.extend_from_slice(&body);
        let mut held = Vec::new();
        for _ in 0..x0_limits::LINK_BULK_BYTES_MAX / body.len() {
            let (_, bytes) = read_frame(&mut &frame[..], Class::Bulk, &budget).await.unwrap();
            assert_eq!(bytes, body);
            held.push(bytes.slice(5..10));
        }
        let mut bytes = &frame[..];
        let mut waiting = Box::pin(read_frame(&mut bytes, Class::Bulk, &budget));
        assert!(futures::poll!(&mut waiting).is_pending(), "there is no room for another");
        held.pop();
        assert!(futures::poll!(&mut waiting).is_ready());
        drop(waiting);
        held.clear();
        assert_eq!(budget.available_permits(), all);
    }

    #[tokio::test]
    async fn too_much_within_a_hello_is_refused() {
        let many = vec![Told { key: [0; 32], addresses: vec![] }; x0_limits::LINK_TOLD_PEERS_MAX + 1];
        for bad in [
            Hello { software: "x".repeat(x0_limits::LINK_SOFTWARE_BYTES_MAX + 1), ..hello() },
            Hello { addresses: vec![String::new(); x0_limits::LINK_ADDRESSES_PER_PEER_MAX + 1], ..hello() },
            Hello { peers: many, ..hello() },
        ] {
            let frame = Control::Hello(bad).to_frame();
            assert!(matches!(read_control(&mut &frame[..]).await, Err(WireError::Malformed(_))));
        }
    }

    proptest::proptest! {
        /// Bytes of any kind end in a message or in an error.
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600)) {
            proptest::prop_assert!(reads_back(&bytes));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _ = runtime.block_on(read_control(&mut &bytes[..]));
        }
    }
}
