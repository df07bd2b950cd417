//! Why a session refuses a body.

use x0_crypto::{kem::KemError, mesh::MeshError};
use x0_mesh_wire::WireError;

/// A broken rule of a session, with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The bytes are no body of a session, or an open one holds bytes of no known form.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The body belongs to another session.
    #[error("the body is for session {found}, this is {own}")]
    Index {
        /// This session's index.
        own: u32,
        /// The index found.
        found: u32,
    },
    /// The packet number was opened before: a copy of another route, or a replay.
    #[error("packet {pn} was received before")]
    Repeated {
        /// The number.
        pn: u64,
    },
    /// The packet number is older than the window remembers.
    #[error("packet {pn} is older than the window")]
    TooOld {
        /// The number.
        pn: u64,
    },
    /// No key of the session opens the packet.
    #[error("no key opens packet {pn}")]
    Seal {
        /// The number.
        pn: u64,
    },
    /// No ratchet succeeded for too long.
    #[error("the keys are {age_ms} ms old, {limit_ms} ms are allowed")]
    Expired {
        /// Age of the keys.
        age_ms: u64,
        /// Largest allowed.
        limit_ms: u64,
    },
    /// One key has sealed as much as it may.
    #[error("the key has sealed {sealed} packets without the peer confirming it")]
    KeyExhausted {
        /// Packets sealed.
        sealed: u64,
    },
    /// The buffer is too small.
    #[error("{needed} bytes do not fit in {found}")]
    NoSpace {
        /// Bytes needed.
        needed: usize,
        /// Bytes of the buffer.
        found: usize,
    },
    /// A packet is too long for two tunnel fragments.
    #[error("a packet of {bytes} bytes does not fit in two fragments of {piece_bytes_max}")]
    TooLong {
        /// Bytes of the packet.
        bytes: usize,
        /// Bytes of a fragment's payload.
        piece_bytes_max: usize,
    },
    /// A ratchet message that fits neither the role nor the number of this session's ratchet.
    #[error("ratchet message {found}, number {expected} is expected")]
    Ratchet {
        /// The number found.
        found: u32,
        /// The number that would fit.
        expected: u32,
    },
    /// A ratchet message of another length.
    #[error("a ratchet message of {found} bytes, {needed} are needed")]
    RatchetLength {
        /// Bytes found.
        found: usize,
        /// Bytes needed.
        needed: usize,
    },
    /// An acknowledgement of packets that were never sent.
    #[error("packet {acknowledged} is acknowledged, {sent} were sent")]
    AcknowledgesUnsent {
        /// The number.
        acknowledged: u64,
        /// Packets sent.
        sent: u64,
    },
    /// The key agreement refused.
    #[error(transparent)]
    Kem(#[from] KemError),
    /// A key could not be derived or used.
    #[error(transparent)]
    Keys(#[from] MeshError),
}
