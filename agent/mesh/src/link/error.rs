//! Why a link refuses a frame.

use x0_mesh_wire::{Kind, WireError};

/// A broken rule of a link, with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The bytes are no frame of the mesh, or a frame without this hop's MAC.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A frame of this kind does not belong to an established link.
    #[error("a frame of kind {found:?} does not belong to an established link")]
    Kind {
        /// The kind found.
        found: Kind,
    },
    /// The sequence number was seen before, or is older than the window remembers.
    #[error("frame {seq} was seen before, or is older than the window")]
    Replayed {
        /// The number, as far as it could be told.
        seq: u64,
    },
    /// The seal does not fit.
    #[error("the seal of frame {seq} does not fit")]
    Seal {
        /// The number, as far as it could be told.
        seq: u64,
    },
    /// The cryptographic library refused to seal.
    #[error("frame {seq} could not be sealed")]
    CannotSeal {
        /// The number.
        seq: u64,
    },
    /// A heartbeat confirms a number that was never sent.
    #[error("a heartbeat confirms frame {confirmed}, {sent} were sent")]
    ConfirmsUnsent {
        /// The number confirmed, low 32 bits.
        confirmed: u32,
        /// Frames sent.
        sent: u64,
    },
    /// The heartbeat's interval is outside what links use.
    #[error("an interval of {found_us} us, allowed are {least_us} to {most_us} us")]
    Interval {
        /// The interval found.
        found_us: u32,
        /// Shortest allowed.
        least_us: u32,
        /// Longest allowed.
        most_us: u32,
    },
    /// The buffer is too small for the frame.
    #[error("{needed} bytes do not fit in {found}")]
    NoSpace {
        /// Bytes of the frame.
        needed: usize,
        /// Bytes of the buffer.
        found: usize,
    },
}
