//! Why bytes are no datagram of the mesh.

use crate::Kind;
use core::fmt;

/// A broken rule of the formats, with its numbers.
///
/// `Display` is written by hand, because the packet filter builds this crate with another compiler
/// and the fewer crates it needs, the fewer can break that build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// The bytes end before the part that is being read.
    TooShort {
        /// Bytes that the part needs.
        needed: usize,
        /// Bytes that there are.
        found: usize,
    },
    /// More bytes than the format allows.
    TooLong {
        /// Most bytes allowed.
        limit: usize,
        /// Bytes that there are.
        found: usize,
    },
    /// The version is not [`crate::limits::WIRE_VERSION`].
    Version {
        /// The version found.
        found: u8,
    },
    /// No kind, type or code has this number.
    UnknownKind {
        /// The number found.
        found: u8,
    },
    /// The frame is of another kind than the reader reads.
    WrongKind {
        /// The kind found.
        found: Kind,
    },
    /// A flag that no version defines, or one that this kind does not carry.
    UnknownFlags {
        /// The flags found.
        found: u8,
    },
    /// More labels than [`crate::limits::LABELS_MAX`].
    TooManyLabels {
        /// Labels found.
        found: usize,
    },
    /// Only data carries labels.
    LabelsOnKind {
        /// The kind of the frame.
        kind: Kind,
        /// Labels found.
        labels: u8,
    },
    /// The pointer stands behind the last label.
    Pointer {
        /// The pointer found.
        pointer: u8,
        /// Labels that there are.
        labels: u8,
    },
    /// No hop is left.
    TtlExpired,
    /// A field that must be zero is not.
    Reserved {
        /// Offset of the field in what is being read.
        offset: usize,
    },
    /// A number is outside its range.
    Range {
        /// The number found.
        found: u64,
        /// The largest allowed.
        limit: u64,
    },
    /// The hop MAC does not fit the frame and the key.
    HopMac,
    /// The place to write to is smaller than what is written.
    NoSpace {
        /// Bytes that are written.
        needed: usize,
        /// Bytes that there is place for.
        found: usize,
    },
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooShort { needed, found } => write!(f, "{needed} bytes are needed, found {found}"),
            Self::TooLong { limit, found } => write!(f, "at most {limit} bytes are allowed, found {found}"),
            Self::Version { found } => write!(f, "version {found} is unknown"),
            Self::UnknownKind { found } => write!(f, "kind {found} is unknown"),
            Self::WrongKind { found } => write!(f, "a frame of kind {found:?} is not expected here"),
            Self::UnknownFlags { found } => write!(f, "flags {found:#04x} are not defined here"),
            Self::TooManyLabels { found } => write!(f, "{found} labels are too many"),
            Self::LabelsOnKind { kind, labels } => write!(f, "a frame of kind {kind:?} carries {labels} labels"),
            Self::Pointer { pointer, labels } => write!(f, "pointer {pointer} stands behind {labels} labels"),
            Self::TtlExpired => f.write_str("no hop is left"),
            Self::Reserved { offset } => write!(f, "the reserved field at offset {offset} is not zero"),
            Self::Range { found, limit } => write!(f, "{found} is more than {limit}"),
            Self::HopMac => f.write_str("the hop MAC is wrong"),
            Self::NoSpace { needed, found } => write!(f, "{needed} bytes do not fit in {found}"),
        }
    }
}

impl core::error::Error for WireError {}
