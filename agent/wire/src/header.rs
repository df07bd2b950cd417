//! The link header, which starts every datagram, and what a relay changes in it.

use crate::{
    HopKey, Labels, WireError,
    limits::{DATAGRAM_BYTES_MAX, HEADER_BYTES, HOP_MAC_BODY_BYTES, LABEL_BYTES, LABELS_MAX, TAG_BYTES, WIRE_VERSION},
};

/// What a frame is for: the low nibble of its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// First flight of a handshake (M1).
    Hello = 1,
    /// Its answer (M2).
    Answer = 2,
    /// A fragment of a proof of identity (M3 and M4).
    Proof = 3,
    /// The answer of a responder under load: prove that you receive at your address.
    Cookie = 4,
    /// Liveness of a link, sealed.
    Heartbeat = 5,
    /// A packet of a session, or a datagram of an end-to-end handshake.
    Data = 6,
    /// Control of a link, sealed, one hop.
    Control = 7,
    /// A padded probe of the path MTU, or its echo; sealed, one hop.
    Probe = 8,
}

impl Kind {
    /// The kind with this number.
    ///
    /// # Errors
    /// [`WireError::UnknownKind`].
    pub const fn from_code(code: u8) -> Result<Self, WireError> {
        Ok(match code {
            1 => Self::Hello,
            2 => Self::Answer,
            3 => Self::Proof,
            4 => Self::Cookie,
            5 => Self::Heartbeat,
            6 => Self::Data,
            7 => Self::Control,
            8 => Self::Probe,
            found => return Err(WireError::UnknownKind { found }),
        })
    }

    /// The number of this kind.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether frames of this kind belong to a handshake.
    #[must_use]
    pub const fn is_handshake(self) -> bool {
        matches!(self, Self::Hello | Self::Answer | Self::Proof | Self::Cookie)
    }

    /// Whether the body is sealed by the key of the link.
    #[must_use]
    pub const fn is_sealed_by_link(self) -> bool {
        matches!(self, Self::Heartbeat | Self::Control | Self::Probe)
    }
}

/// Marks of a data frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// No mark.
    pub const NONE: Self = Self(0);
    /// A copy of a packet that travels another route too.
    pub const DUP: Self = Self(1);
    /// A relay replaced the rest of the route; it may do so once.
    pub const REPAIRED: Self = Self(2);
    /// The network marked congestion on the way (RFC 3168).
    pub const ECN_CE: Self = Self(4);
    const ALL: u8 = 7;

    /// The flags in this byte.
    ///
    /// # Errors
    /// [`WireError::UnknownFlags`].
    pub const fn from_byte(found: u8) -> Result<Self, WireError> {
        if found & !Self::ALL == 0 { Ok(Self(found)) } else { Err(WireError::UnknownFlags { found }) }
    }

    /// The byte as it travels.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self.0
    }

    /// These flags and those of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all flags of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The fields of a link header, by value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is for.
    pub kind: Kind,
    /// Marks; none on other frames than data.
    pub flags: Flags,
    /// How many labels follow the header.
    pub labels: u8,
    /// The label of the node that reads the frame; equal to `labels` at the destination.
    pub pointer: u8,
    /// Hops that are left.
    pub ttl: u8,
    /// The receiver's name for the link, or its handshake id.
    pub link_tag: u32,
    /// Number of the frame on its link, the low 32 bits; zero in handshakes.
    pub link_seq: u32,
    /// MAC of this hop.
    pub hop_mac: [u8; 8],
}

impl Header {
    /// Offset of the MAC, and so the number of bytes before it, which are what a seal of the link covers.
    pub const MAC_OFFSET: usize = 12;

    /// Reads the header at the start of `bytes` and checks everything but the MAC.
    ///
    /// # Errors
    /// [`WireError::TooShort`], [`WireError::Version`], [`WireError::UnknownKind`],
    /// [`WireError::UnknownFlags`], [`WireError::TooManyLabels`], [`WireError::LabelsOnKind`],
    /// [`WireError::Pointer`].
    pub fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(WireError::TooShort { needed: HEADER_BYTES, found: bytes.len() });
        };
        let [version_kind, flags, labels_pointer, ttl, t0, t1, t2, t3, s0, s1, s2, s3, hop_mac @ ..] = *head;
        if version_kind >> 4 != WIRE_VERSION {
            return Err(WireError::Version { found: version_kind >> 4 });
        }
        let kind = Kind::from_code(version_kind & 0x0F)?;
        let flags = Flags::from_byte(flags)?;
        let (labels, pointer) = (labels_pointer >> 4, labels_pointer & 0x0F);
        if usize::from(labels) > LABELS_MAX {
            return Err(WireError::TooManyLabels { found: usize::from(labels) });
        }
        if kind != Kind::Data {
            if flags != Flags::NONE {
                return Err(WireError::UnknownFlags { found: flags.byte() });
            }
            if labels != 0 {
                return Err(WireError::LabelsOnKind { kind, labels });
            }
        }
        if pointer > labels {
            return Err(WireError::Pointer { pointer, labels });
        }
        let link_tag = u32::from_be_bytes([t0, t1, t2, t3]);
        let link_seq = u32::from_be_bytes([s0, s1, s2, s3]);
        Ok(Self { kind, flags, labels, pointer, ttl, link_tag, link_seq, hop_mac })
    }

    /// The header as it travels.
    ///
    /// # Errors
    /// [`WireError::TooManyLabels`] or [`WireError::Pointer`], [`WireError::LabelsOnKind`] or
    /// [`WireError::UnknownFlags`], when no reader would take it.
    pub fn to_bytes(&self) -> Result<[u8; HEADER_BYTES], WireError> {
        let mut bytes = [0; HEADER_BYTES];
        let (first, mac) = bytes.split_at_mut(Self::MAC_OFFSET);
        let [t0, t1, t2, t3] = self.link_tag.to_be_bytes();
        let [s0, s1, s2, s3] = self.link_seq.to_be_bytes();
        // A nibble each: a number above 15 would spill into its neighbour, so it is refused first.
        if usize::from(self.labels) > LABELS_MAX {
            return Err(WireError::TooManyLabels { found: usize::from(self.labels) });
        }
        if self.pointer > self.labels {
            return Err(WireError::Pointer { pointer: self.pointer, labels: self.labels });
        }
        first.copy_from_slice(&[
            WIRE_VERSION << 4 | self.kind.code(),
            self.flags.byte(),
            self.labels << 4 | self.pointer,
            self.ttl,
            t0,
            t1,
            t2,
            t3,
            s0,
            s1,
            s2,
            s3,
        ]);
        mac.copy_from_slice(&self.hop_mac);
        Self::read(&bytes)?;
        Ok(bytes)
    }

    /// Writes the header to the start of `place` and tells how many bytes that took: always
    /// [`HEADER_BYTES`]. Labels and body follow; [`seal_hop`] sets the MAC when they stand.
    ///
    /// # Errors
    /// [`WireError::NoSpace`] and those of [`Header::to_bytes`].
    pub fn write(&self, place: &mut [u8]) -> Result<usize, WireError> {
        let found = place.len();
        let place =
            place.first_chunk_mut::<HEADER_BYTES>().ok_or(WireError::NoSpace { needed: HEADER_BYTES, found })?;
        *place = self.to_bytes()?;
        Ok(HEADER_BYTES)
    }

    /// Offset of the body in the datagram.
    #[must_use]
    pub const fn body_offset(&self) -> usize {
        HEADER_BYTES + self.labels as usize * LABEL_BYTES
    }

    /// Whether the node that reads this frame is its destination.
    #[must_use]
    pub const fn is_for_this_node(&self) -> bool {
        self.pointer == self.labels
    }
}

/// A datagram that was read: header, labels and body, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The header.
    pub header: Header,
    bytes: &'a [u8],
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads a datagram and checks everything but the MAC.
    ///
    /// # Errors
    /// Those of [`Header::read`]; [`WireError::TooLong`]; [`WireError::TooShort`] when labels or the
    /// least body of this kind are cut.
    pub fn read(bytes: &'a [u8]) -> Result<Self, WireError> {
        let header = Header::read(bytes)?;
        if bytes.len() > DATAGRAM_BYTES_MAX {
            return Err(WireError::TooLong { limit: DATAGRAM_BYTES_MAX, found: bytes.len() });
        }
        let needed = header.body_offset() + if header.kind.is_handshake() { 0 } else { HOP_MAC_BODY_BYTES };
        let body = match bytes.get(header.body_offset()..) {
            Some(body) if bytes.len() >= needed => body,
            _ => return Err(WireError::TooShort { needed, found: bytes.len() }),
        };
        Ok(Self { header, bytes, body })
    }

    /// The whole datagram.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What follows header and labels.
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// What the link's seal covers besides the body: the header without its MAC, which is made later.
    #[must_use]
    pub fn aad(&self) -> &'a [u8] {
        self.bytes.get(..Header::MAC_OFFSET).unwrap_or(&[])
    }

    /// The label at this place of the route.
    #[must_use]
    pub fn label(&self, index: usize) -> Option<u32> {
        if index >= usize::from(self.header.labels) {
            return None;
        }
        let at = HEADER_BYTES + index * LABEL_BYTES;
        self.bytes.get(at..)?.first_chunk::<LABEL_BYTES>().map(|label| u32::from_be_bytes(*label))
    }

    /// The label that names the outgoing link of the node that reads this; none at the destination.
    #[must_use]
    pub fn next_label(&self) -> Option<u32> {
        self.label(usize::from(self.header.pointer))
    }

    /// All labels.
    ///
    /// # Errors
    /// Never for a frame that was read; the type of [`Labels::read`] is kept.
    pub fn labels(&self) -> Result<Labels, WireError> {
        Labels::read(self.bytes.get(HEADER_BYTES..self.header.body_offset()).unwrap_or(&[]))
    }

    /// Checks the MAC of this hop.
    ///
    /// # Errors
    /// [`WireError::HopMac`].
    pub fn check_hop(&self, key: &HopKey) -> Result<(), WireError> {
        if u64::from_be_bytes(hop_mac(self.bytes, self.header.body_offset(), key))
            == u64::from_be_bytes(self.header.hop_mac)
        {
            Ok(())
        } else {
            Err(WireError::HopMac)
        }
    }
}

/// Longest input of the hop MAC.
const MAC_INPUT_BYTES: usize = HEADER_BYTES + LABELS_MAX * LABEL_BYTES + HOP_MAC_BODY_BYTES;

/// The hop MAC of a frame whose body starts at `body_offset`: header with a MAC of zeros, labels and
/// the first bytes of the body.
fn hop_mac(bytes: &[u8], body_offset: usize, key: &HopKey) -> [u8; 8] {
    let end = (body_offset + HOP_MAC_BODY_BYTES).min(bytes.len()).min(MAC_INPUT_BYTES);
    let mut input = [0; MAC_INPUT_BYTES];
    for (place, source) in [(0, 0..Header::MAC_OFFSET), (HEADER_BYTES, HEADER_BYTES..end)] {
        if let (Some(place), Some(source)) = (input.get_mut(place..source.end), bytes.get(source)) {
            place.copy_from_slice(source);
        }
    }
    key.mac(input.get(..end).unwrap_or(&input))
}

/// Sets the MAC of this hop, when header, labels and the start of the body stand.
///
/// # Errors
/// Those of [`Frame::read`].
pub fn seal_hop(bytes: &mut [u8], key: &HopKey) -> Result<(), WireError> {
    let offset = Frame::read(bytes)?.header.body_offset();
    let mac = hop_mac(bytes, offset, key);
    put(bytes, Header::MAC_OFFSET, &mac)
}

/// What a relay or a sender sets for the next hop.
#[derive(Clone, Copy, Debug)]
pub struct NextHop<'a> {
    /// The next node's name for the link.
    pub link_tag: u32,
    /// Number of the frame on that link.
    pub link_seq: u32,
    /// The key that the next node checks the MAC with.
    pub key: &'a HopKey,
}

/// Rewrites a data frame in place for the next hop: pointer one further, one hop less, and tag,
/// number and MAC of the next link.
///
/// # Errors
/// Those of [`Frame::read`], [`WireError::WrongKind`] when it is not data, [`WireError::Pointer`] when
/// this node is the destination, [`WireError::TtlExpired`].
pub fn relay(bytes: &mut [u8], next: &NextHop<'_>) -> Result<(), WireError> {
    let frame = Frame::read(bytes)?;
    let header = frame.header;
    if header.kind != Kind::Data {
        return Err(WireError::WrongKind { found: header.kind });
    }
    if header.is_for_this_node() {
        return Err(WireError::Pointer { pointer: header.pointer, labels: header.labels });
    }
    // A frame that arrives with its last hop used up must not leave again.
    let ttl = header.ttl.checked_sub(1).filter(|left| *left > 0).ok_or(WireError::TtlExpired)?;
    put(bytes, 2, &[header.labels << 4 | (header.pointer + 1), ttl])?;
    address(bytes, header.body_offset(), next)
}

/// Sets tag, number and MAC for a link, without touching the route: what the source does to one
/// sealed packet for each route that it travels.
///
/// # Errors
/// Those of [`Frame::read`].
pub fn send_over(bytes: &mut [u8], next: &NextHop<'_>) -> Result<(), WireError> {
    let offset = Frame::read(bytes)?.header.body_offset();
    address(bytes, offset, next)
}

fn address(bytes: &mut [u8], body_offset: usize, next: &NextHop<'_>) -> Result<(), WireError> {
    put(bytes, 4, &next.link_tag.to_be_bytes())?;
    put(bytes, 8, &next.link_seq.to_be_bytes())?;
    let mac = hop_mac(bytes, body_offset, next.key);
    put(bytes, Header::MAC_OFFSET, &mac)
}

/// Replaces the labels that are still ahead of this node by `bypass` and marks the frame as
/// repaired. `buffer` holds the frame in its first `length` bytes; the new length is returned. The
/// part of the route that was travelled stays, so that a later node sees it. [`relay`] or
/// [`send_over`] must follow, which make the MAC again.
///
/// # Errors
/// Those of [`Frame::read`]; [`WireError::WrongKind`]; [`WireError::UnknownFlags`] when it was
/// repaired before; [`WireError::Pointer`] when this node is the destination or the bypass has no
/// label; [`WireError::TooManyLabels`]; [`WireError::NoSpace`].
pub fn replace_route(buffer: &mut [u8], length: usize, bypass: &[u32]) -> Result<usize, WireError> {
    let space = buffer.len();
    let bytes = buffer.get(..length).ok_or(WireError::TooShort { needed: length, found: space })?;
    let header = Frame::read(bytes)?.header;
    if header.kind != Kind::Data {
        return Err(WireError::WrongKind { found: header.kind });
    }
    if header.flags.has(Flags::REPAIRED) {
        return Err(WireError::UnknownFlags { found: header.flags.byte() });
    }
    if header.is_for_this_node() || bypass.is_empty() {
        return Err(WireError::Pointer { pointer: header.pointer, labels: header.labels });
    }
    let found = usize::from(header.pointer) + bypass.len();
    let labels = u8::try_from(found).ok().filter(|_| found <= LABELS_MAX).ok_or(WireError::TooManyLabels { found })?;
    let from = header.body_offset();
    let to = HEADER_BYTES + found * LABEL_BYTES;
    let needed = length - from + to;
    if needed > space {
        return Err(WireError::NoSpace { needed, found: space });
    }
    buffer.copy_within(from..length, to);
    put(buffer, 1, &[header.flags.with(Flags::REPAIRED).byte(), labels << 4 | header.pointer])?;
    let mut at = HEADER_BYTES + usize::from(header.pointer) * LABEL_BYTES;
    for label in bypass {
        put(buffer, at, &label.to_be_bytes())?;
        at += LABEL_BYTES;
    }
    Ok(needed)
}

/// Marks in place that the network signalled congestion; the MAC must be made again.
///
/// # Errors
/// Those of [`Frame::read`], [`WireError::WrongKind`] when it is not data.
pub fn mark_congestion(bytes: &mut [u8]) -> Result<(), WireError> {
    let header = Frame::read(bytes)?.header;
    if header.kind != Kind::Data {
        return Err(WireError::WrongKind { found: header.kind });
    }
    put(bytes, 1, &[header.flags.with(Flags::ECN_CE).byte()])
}

/// Writes a whole datagram of the link: header and body, with the MAC, which covers the route and
/// the start of the body. Sealing happens before. Returns the length.
///
/// # Errors
/// Those of [`Header::to_bytes`] and [`Frame::read`], [`WireError::NoSpace`].
pub fn write_frame(
    place: &mut [u8],
    header: &Header,
    labels: &Labels,
    body: &[u8],
    key: &HopKey,
) -> Result<usize, WireError> {
    let found = place.len();
    let needed = HEADER_BYTES + labels.wire_bytes() + body.len();
    let place = place.get_mut(..needed).ok_or(WireError::NoSpace { needed, found })?;
    if usize::from(header.labels) != labels.len() {
        return Err(WireError::TooManyLabels { found: labels.len() });
    }
    header.write(place)?;
    let (_, rest) = place.split_at_mut(HEADER_BYTES);
    let used = labels.write(rest)?;
    if let Some(rest) = rest.get_mut(used..) {
        rest.copy_from_slice(body);
    }
    seal_hop(place, key)?;
    Ok(needed)
}

/// Bytes that a sealed link frame takes besides its plaintext.
pub const SEALED_OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;

pub(crate) fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> Result<(), WireError> {
    let found = bytes.len();
    let needed = at + value.len();
    bytes.get_mut(at..needed).ok_or(WireError::NoSpace { needed, found })?.copy_from_slice(value);
    Ok(())
}

/// The `N` bytes at this offset.
pub(crate) fn take<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], WireError> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk::<N>())
        .copied()
        .ok_or(WireError::TooShort { needed: at + N, found: bytes.len() })
}
