//! What neighbours tell one another about routes: bodies of control frames, so the seal of the link proves who speaks.
//!
//! Each message fits one datagram on the smallest underlay. SCALE, with every length bounded before it is believed.
#![allow(clippy::cast_possible_truncation, reason = "the codec's macro casts the index of a variant")]

use super::{DeltaClaim, Refusal};
use crate::NodeId;
use codec::{Decode, DecodeAll, Encode};
use x0_mesh_wire::limits::{
    ROUTE_ADJACENCIES_MAX, ROUTE_CHUNK_BYTES, ROUTE_HAVE_MAX, ROUTE_MESSAGE_BYTES_MAX, ROUTE_NOTICE_HOPS_MAX,
    ROUTE_RECORD_BYTES_MAX,
};

/// A message between neighbours.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// The newest records that the sender holds: all of them after a link came up and from time to time, and each that
    /// has just arrived, as its confirmation.
    #[codec(index = 1)]
    Have {
        /// Nodes and the numbers of their records.
        entries: Vec<(NodeId, u64)>,
        /// Whether a list of all begins here.
        first: bool,
        /// Whether a list of all ends here.
        last: bool,
    },
    /// A piece of a signed record.
    #[codec(index = 2)]
    Chunk {
        /// Whose record.
        node: NodeId,
        /// Its number.
        seq: u64,
        /// How long it has been on the way, seconds rounded up.
        age_s: u16,
        /// Bytes of the whole record.
        total: u16,
        /// Which piece.
        index: u8,
        /// The piece; all but the last have [`ROUTE_CHUNK_BYTES`].
        bytes: Vec<u8>,
    },
    /// What changed in the sender's own record since it was signed.
    #[codec(index = 3)]
    Delta {
        /// The number of the record.
        base: u64,
        /// Counts the deltas to it, from 1.
        number: u32,
        /// The changes against the record, all of them.
        changes: Vec<DeltaClaim>,
    },
    /// A link is down that the receiver sent packets over in the last second.
    #[codec(index = 4)]
    LinkDown {
        /// Whose link.
        owner: NodeId,
        /// Its label.
        label: u32,
        /// Nodes that passed the notice on.
        hops: u8,
    },
}

/// How many pieces a record of so many bytes has.
#[must_use]
pub const fn chunks(total: usize) -> usize {
    total.div_ceil(ROUTE_CHUNK_BYTES)
}

impl Message {
    /// The bytes as they travel.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.encode()
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`Refusal::MessageTooLong`], [`Refusal::Malformed`], [`Refusal::RecordTooLong`], [`Refusal::NoticeTooFar`],
    /// [`Refusal::TooManyAdjacencies`].
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > ROUTE_MESSAGE_BYTES_MAX {
            return Err(Refusal::MessageTooLong { bytes: bytes.len() });
        }
        let malformed = |what| Refusal::Malformed { what, bytes: bytes.len() };
        let message = Self::decode_all(&mut &*bytes).map_err(|_| malformed("message about routes"))?;
        match &message {
            Self::Have { entries, .. } if entries.len() > ROUTE_HAVE_MAX => Err(malformed("list of records")),
            Self::Chunk { total, index, bytes: piece, .. } => {
                let (total, index) = (usize::from(*total), usize::from(*index));
                if total > ROUTE_RECORD_BYTES_MAX {
                    return Err(Refusal::RecordTooLong { bytes: total });
                }
                let start = index * ROUTE_CHUNK_BYTES;
                let expected = total.saturating_sub(start).min(ROUTE_CHUNK_BYTES);
                if expected == 0 || piece.len() != expected {
                    return Err(malformed("piece of a record"));
                }
                Ok(message)
            }
            Self::Delta { changes, .. } if changes.len() > ROUTE_ADJACENCIES_MAX => {
                Err(Refusal::TooManyAdjacencies { claims: changes.len() })
            }
            Self::LinkDown { hops, .. } if *hops >= ROUTE_NOTICE_HOPS_MAX => Err(Refusal::NoticeTooFar { hops: *hops }),
            _ => Ok(message),
        }
    }
}
