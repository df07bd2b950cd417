//! The link header of a mesh datagram, as far as the filter needs it: its first eight bytes.
//!
//! ```text
//!   version:4 kind:4 | flags | labels:4 pointer:4 | ttl | link_tag u32
//! ```
//!
//! [`read`] takes exactly the datagrams that `x0_mesh_wire::Frame::read` takes; a property test holds
//! the two together.

use crate::Reason;

/// Version of the formats, the high nibble of the first byte.
pub const VERSION: u8 = 1;
/// The first kind that carries a tag of a link; smaller ones, from 1, belong to handshakes.
pub const KIND_HEARTBEAT: u8 = 5;
/// A packet of a session; the only kind with flags and labels.
pub const KIND_DATA: u8 = 6;
/// Link control.
pub const KIND_CONTROL: u8 = 7;
/// The last kind.
pub const KIND_PROBE: u8 = 8;
/// Bytes of the header that [`read`] looks at.
pub const HEAD_BYTES: usize = 8;
/// Bytes of the whole header.
const HEADER_BYTES: u32 = 20;
const LABELS_MAX: u8 = 8;
const LABEL_BYTES: u32 = 4;
/// Least body of a kind that carries a MAC of the hop.
const BODY_BYTES_MIN: u32 = 16;
/// Longest datagram that an agent sends: an Ethernet jumbo frame without the headers of IPv6 and UDP.
const DATAGRAM_BYTES_MAX: u32 = 9_000 - 40 - 8;
const FLAGS_ALL: u8 = 7;

/// What the filter needs to know of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// 1 to 8.
    pub kind: u8,
    /// The receiver's name for the link.
    pub tag: u32,
}

impl Link {
    /// Whether the datagram belongs to a handshake, and so carries no tag of a link.
    #[inline(always)]
    #[must_use]
    pub const fn is_handshake(self) -> bool {
        self.kind < KIND_HEARTBEAT
    }

    /// Whether a peer in quarantine may send it, and a limit does not meet it.
    #[inline(always)]
    #[must_use]
    pub const fn is_upkeep(self) -> bool {
        self.kind == KIND_HEARTBEAT || self.kind == KIND_CONTROL
    }
}

/// Reads the start of a datagram of this length, or says why nobody would take it.
///
/// # Errors
/// [`Reason::Length`], [`Reason::Version`], [`Reason::Kind`] and [`Reason::Fields`].
#[inline(always)]
pub const fn read(head: [u8; HEAD_BYTES], datagram_bytes: u32) -> Result<Link, Reason> {
    if datagram_bytes < HEADER_BYTES || datagram_bytes > DATAGRAM_BYTES_MAX {
        return Err(Reason::Length);
    }
    if head[0] >> 4 != VERSION {
        return Err(Reason::Version);
    }
    let kind = head[0] & 0x0f;
    if kind == 0 || kind > KIND_PROBE {
        return Err(Reason::Kind);
    }
    let (flags, labels, pointer) = (head[1], head[2] >> 4, head[2] & 0x0f);
    let (flags_all, labels_max) = if kind == KIND_DATA { (FLAGS_ALL, LABELS_MAX) } else { (0, 0) };
    if flags & !flags_all != 0 || labels > labels_max || pointer > labels {
        return Err(Reason::Fields);
    }
    let body_min = if kind < KIND_HEARTBEAT { 0 } else { BODY_BYTES_MIN };
    if datagram_bytes < HEADER_BYTES + labels as u32 * LABEL_BYTES + body_min {
        return Err(Reason::Length);
    }
    Ok(Link { kind, tag: tag(head) })
}

/// The tag, whatever the rest is.
#[inline(always)]
#[must_use]
pub const fn tag(head: [u8; HEAD_BYTES]) -> u32 {
    u32::from_be_bytes([head[4], head[5], head[6], head[7]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{vec, vec::Vec};
    use x0_mesh_wire::{Frame, WireError, limits};

    fn ours(datagram: &[u8]) -> Result<Link, Reason> {
        let mut head = [0; HEAD_BYTES];
        for (place, byte) in head.iter_mut().zip(datagram) {
            *place = *byte;
        }
        read(head, datagram.len() as u32)
    }

    /// What the reader of the formats says, in the filter's words.
    fn theirs(datagram: &[u8]) -> Result<Link, Reason> {
        match Frame::read(datagram) {
            Ok(frame) => Ok(Link { kind: frame.header.kind.code(), tag: frame.header.link_tag }),
            Err(WireError::Version { .. }) => Err(Reason::Version),
            Err(WireError::UnknownKind { .. }) => Err(Reason::Kind),
            Err(WireError::TooShort { .. } | WireError::TooLong { .. }) => Err(Reason::Length),
            Err(_) => Err(Reason::Fields),
        }
    }

    fn datagrams() -> impl Strategy<Value = Vec<u8>> {
        let first = prop_oneof![8 => (0u8..16).prop_map(|kind| 0x10 | kind), 1 => any::<u8>()];
        let flags = prop_oneof![3 => Just(0u8), 1 => any::<u8>()];
        let labels = prop_oneof![3 => Just(0u8), 2 => (0u8..9, 0u8..9).prop_map(|(n, p)| n << 4 | p), 1 => any::<u8>()];
        (first, flags, labels, proptest::collection::vec(any::<u8>(), 0..80)).prop_map(
            |(first, flags, labels, rest)| {
                let mut datagram = vec![first, flags, labels];
                datagram.extend(rest);
                datagram
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        /// The filter takes what the formats' reader takes, and nothing else, for the same reason.
        #[test]
        fn agrees_with_the_reader_of_the_formats(datagram in datagrams()) {
            // Too long a datagram breaks a rule of the header too, perhaps; either may be named.
            prop_assert_eq!(ours(&datagram), theirs(&datagram));
        }

        #[test]
        fn agrees_on_anything(datagram in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(ours(&datagram).is_ok(), theirs(&datagram).is_ok());
        }
    }

    #[test]
    fn agrees_at_the_longest_datagram() {
        for (length, taken) in [(limits::DATAGRAM_BYTES_MAX, true), (limits::DATAGRAM_BYTES_MAX + 1, false)] {
            let mut datagram = vec![0; length];
            datagram[0] = 0x16;
            assert_eq!((ours(&datagram).is_ok(), theirs(&datagram).is_ok()), (taken, taken), "{length}");
        }
    }

    #[test]
    fn upkeep_is_heartbeats_and_control() {
        let upkeep: Vec<u8> = (1..=8).filter(|kind| Link { kind: *kind, tag: 0 }.is_upkeep()).collect();
        assert_eq!(upkeep, [x0_mesh_wire::Kind::Heartbeat.code(), x0_mesh_wire::Kind::Control.code()]);
        for kind in 1..=8 {
            let theirs = x0_mesh_wire::Kind::from_code(kind).unwrap();
            assert_eq!(Link { kind, tag: 0 }.is_handshake(), theirs.is_handshake());
        }
    }
}
