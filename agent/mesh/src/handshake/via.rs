//! Where a handshake's datagrams go and come from.

use super::{Action, Purpose};
use std::net::{IpAddr, SocketAddr};
use x0_mesh_wire::{
    Labels, WireError,
    data::HANDSHAKE_SESSION,
    handshake::{END_TO_END_HEAD_BYTES, Envelope, Half, PROOF_HEAD_BYTES},
    limits::{
        DATAGRAM_BYTES_MIN_MTU, HEADER_BYTES, LABEL_BYTES, LABELS_MAX, PROOF_FRAGMENT_BYTES_MAX,
        PROOF_FRAGMENT_BYTES_MIN, TAG_BYTES,
    },
};

/// A way to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// A socket of an underlay and the peer's address there.
    Socket {
        /// Number of the underlay.
        underlay: u16,
        /// The peer's address.
        address: SocketAddr,
    },
    /// A route through the mesh.
    Route {
        /// The local link that is the first hop.
        link: u32,
        /// The labels after it.
        labels: Labels,
        /// The labels by which the peer answers, from its first relay on. The peer's first hop is the
        /// link on which it heard us. None for a peer that was heard already.
        back: Labels,
    },
}

// A fragment fits, with the longest routes there and back.
const FRAGMENT_HEAD_BYTES: usize = HEADER_BYTES + PROOF_HEAD_BYTES + TAG_BYTES;
const ROUTE_BYTES_MAX: usize = 2 * LABELS_MAX * LABEL_BYTES + 4 + END_TO_END_HEAD_BYTES;
const _: () = assert!(FRAGMENT_HEAD_BYTES + PROOF_FRAGMENT_BYTES_MAX <= DATAGRAM_BYTES_MIN_MTU);
const _: () = assert!(FRAGMENT_HEAD_BYTES + ROUTE_BYTES_MAX + PROOF_FRAGMENT_BYTES_MIN <= DATAGRAM_BYTES_MIN_MTU);

/// Bytes of the longest place.
const PLACE_BYTES_MAX: usize = 1 + 4 + LABELS_MAX * LABEL_BYTES;

/// What a cookie binds: whoever receives there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    bytes: [u8; PLACE_BYTES_MAX],
    length: usize,
}

impl Place {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Via {
    /// What keys over this way are for.
    #[must_use]
    pub const fn purpose(&self) -> Purpose {
        match self {
            Self::Socket { .. } => Purpose::Link,
            Self::Route { .. } => Purpose::EndToEnd,
        }
    }

    /// The place for cookies: underlay, address and port, or link and way back.
    pub(super) fn place(&self) -> Place {
        let mut place = Place { bytes: [0; PLACE_BYTES_MAX], length: 0 };
        let mut put = |bytes: &[u8]| {
            let end = place.length + bytes.len();
            place.bytes[place.length..end].copy_from_slice(bytes);
            place.length = end;
        };
        match self {
            Self::Socket { underlay, address } => {
                put(&[4]);
                put(&underlay.to_be_bytes());
                match address.ip() {
                    IpAddr::V4(ip) => put(&ip.octets()),
                    IpAddr::V6(ip) => put(&ip.octets()),
                }
                put(&address.port().to_be_bytes());
            }
            Self::Route { link, labels, .. } => {
                put(&[6]);
                put(&link.to_be_bytes());
                for label in labels.as_slice() {
                    put(&label.to_be_bytes());
                }
            }
        }
        place
    }

    /// Who shares a quota of half-open handshakes: an IPv4 address, an IPv6 /64, or a link.
    pub(super) fn quota_group(&self) -> [u8; 9] {
        let mut group = [0; 9];
        match self {
            Self::Socket { address, .. } => match address.ip() {
                IpAddr::V4(ip) => {
                    group[0] = 4;
                    group[1..5].copy_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    group[0] = 6;
                    group[1..].copy_from_slice(&ip.octets()[..8]);
                }
            },
            Self::Route { link, .. } => group[1..5].copy_from_slice(&link.to_be_bytes()),
        }
        group
    }

    /// Whether both lead to the same place; the way back may differ.
    pub(super) fn same_place(&self, other: &Self) -> bool {
        self.place() == other.place()
    }

    /// The most payload of a proof fragment that fits the smallest underlay, whatever route it takes: routes
    /// change while a proof is on its way, and its fragments must fit those that come later too.
    pub(super) const fn fragment_bytes_max(purpose: Purpose) -> usize {
        match purpose {
            Purpose::Link => PROOF_FRAGMENT_BYTES_MAX,
            Purpose::EndToEnd => PROOF_FRAGMENT_BYTES_MIN,
        }
    }

    /// Frames a datagram for this way: one, or two halves when it does not fit the smallest underlay.
    pub(super) fn frame(&self, envelope: &Envelope<'_>) -> Result<Vec<Vec<u8>>, WireError> {
        let space = HEADER_BYTES + END_TO_END_HEAD_BYTES + LABELS_MAX * LABEL_BYTES + envelope.body.len();
        let Self::Route { labels, back, .. } = self else {
            let mut bytes = vec![0; space];
            let length = envelope.write_link(&mut bytes)?;
            bytes.truncate(length);
            return Ok(vec![bytes]);
        };
        let end_to_end = |write: &dyn Fn(&mut [u8]) -> Result<usize, WireError>| {
            let mut bytes = vec![0; space];
            let (session, rest) = bytes.split_at_mut(4);
            session.copy_from_slice(&HANDSHAKE_SESSION.to_be_bytes());
            let length = 4 + write(rest)?;
            bytes.truncate(length);
            Ok(bytes)
        };
        let whole = end_to_end(&|place| envelope.write_end_to_end(back, place))?;
        if HEADER_BYTES + labels.wire_bytes() + whole.len() <= DATAGRAM_BYTES_MIN_MTU {
            return Ok(vec![whole]);
        }
        let (first, last) = envelope.body.split_at(envelope.body.len() / 2);
        [(false, first), (true, last)]
            .into_iter()
            .map(|(last, body)| {
                let half = Half { last, envelope: Envelope { body, ..*envelope }, back: *back };
                end_to_end(&|place| half.write(place))
            })
            .collect()
    }

    /// Frames a datagram and asks to send it.
    pub(super) fn send(&self, envelope: &Envelope<'_>, out: &mut Vec<Action>) -> Result<(), WireError> {
        out.extend(self.frame(envelope)?.into_iter().map(|bytes| Action::Send { via: *self, bytes }));
        Ok(())
    }
}
