//! What goes into the fetching state machine and what comes out of it.

use crate::{
    manifest::Manifest,
    wire::{Question, WireError},
};
use bytes::Bytes;
use x0_light::LightError;
use x0_network::{Offence, PeerKey};

/// The time of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// A steady clock, milliseconds from anywhere.
    pub steady_ms: u64,
    /// The wall clock, milliseconds since the Unix epoch; only trust is measured with it.
    pub unix_ms: u64,
}

/// What a peer did wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerFault {
    /// Its answer does not decode.
    #[error("an answer that does not decode: {0}")]
    Malformed(#[from] WireError),
    /// It answered what nobody asked.
    #[error("an answer that nobody asked for")]
    NotAsked,
    /// Its answer is of another kind than the question.
    #[error("an answer of another kind than the question")]
    OtherKind,
    /// Header, certificate or set do not convince.
    #[error("a proof that does not convince: {0}")]
    Unproven(LightError),
    /// The named checkpoint is not among the set changes.
    #[error("set changes without the trusted checkpoint {0}")]
    CheckpointMissing(u32),
    /// The manifest is not the offered one, or of another chain.
    #[error("a manifest that is not the offered one")]
    OtherManifest,
    /// A chunk is not the one that the manifest names.
    #[error("chunk {0} is not the one that the manifest names")]
    WrongChunk(u32),
    /// The chunks it offered are not the state of the header.
    #[error("a manifest whose chunks are not the state of its header")]
    FalseManifest,
}

impl PeerFault {
    /// The offence in the carrier's account.
    #[must_use]
    pub const fn offence(&self) -> Offence {
        match self {
            Self::NotAsked => Offence::NotAsked,
            Self::Unproven(_) | Self::CheckpointMissing(_) | Self::FalseManifest => Offence::BadSignature,
            Self::Malformed(_) | Self::OtherKind | Self::OtherManifest | Self::WrongChunk(_) => Offence::Malformed,
        }
    }
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a question.
    Ask {
        /// To whom.
        peer: PeerKey,
        /// Its number.
        id: u32,
        /// The question.
        question: Question,
    },
    /// Report a peer.
    Penalize {
        /// The peer.
        peer: PeerKey,
        /// What it did.
        fault: PeerFault,
    },
    /// Make room for the chunks of this verified manifest, and say by [`crate::Fetcher::have`] which of them
    /// an earlier attempt left on the disk.
    Begin(Box<Manifest>),
    /// Keep a chunk, which is the one that the manifest names.
    Store {
        /// Its place in the manifest.
        index: u32,
        /// Its bytes.
        bytes: Bytes,
    },
    /// All chunks are there.
    Complete,
    /// No peer can mend this: stop and tell the operator.
    Fail(LightError),
}

/// The block whose hash a person vouches for. Restoring ends only on a chain that contains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Height: 0 for the genesis block, otherwise of a block that announced a validator set.
    pub number: u32,
    /// Its hash.
    pub hash: [u8; 32],
    /// When it was vouched for, milliseconds since the Unix epoch: trust lasts from then on.
    pub vouched_at_ms: u64,
}
