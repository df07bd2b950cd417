//! Moves bytes between validators. It knows channels and peers, and no rule of blocks or votes.
//!
//! ```text
//!   consensus (adapter)                                   consensus (adapter)
//!        | broadcast / send          events ^                  ^
//!        v                                  |                  |
//!   +---------+   one bounded queue for each link and channel  +---------+
//!   | Carrier | ============================================> | Carrier |
//!   +---------+                                                +---------+
//! ```
//!
//! # Correctness
//! * A frame arrives at most once, unchanged, and names the authenticated key of the peer that sent it.
//! * Frames may be lost (a full queue drops its oldest frame, a cut link drops all): consensus repeats
//!   itself and synchronisation fills the gaps.
//! * Votes never wait behind blocks: a link sends its channels in the order of [`Channel`].
//!
//! # Limits
//! Each channel has a largest frame ([`Channel::frame_bytes_max`]) and a largest number of waiting
//! frames per link ([`Channel::queue_frames_max`]), all named in `x0-limits`.
//!
//! # Errors
//! [`SendError`] has a variant for each refused frame. Receiving reports through [`CarrierEvent`].
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap
    )
)]

mod fork;
pub mod memory;
pub mod p2p;
mod queue;

pub use fork::{ForkError, fork};

use bytes::Bytes;
use tokio::sync::mpsc;

/// A peer's name: BLAKE2b-256 of its ML-DSA-65 network key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub [u8; 32]);

impl PeerKey {
    /// The name of the peer that holds this network key.
    #[must_use]
    pub fn of(public: &x0_crypto::PublicKey) -> Self {
        Self(x0_crypto::blake2b_256(public.as_bytes()))
    }
}

impl core::fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

impl core::fmt::Display for PeerKey {
    /// The first four bytes in hex: enough to tell the validators of one network apart in logs.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for byte in &self.0[..4] {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// What a frame is for. A link sends the channels in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Votes and proposals.
    Consensus,
    /// Repeated votes and certificates that get a stuck round going.
    Liveness,
    /// Heights of peers and wake-ups.
    Status,
    /// Requests for decided blocks.
    SyncRequest,
    /// Parts of proposed blocks.
    Parts,
    /// Transactions for mempools.
    Transactions,
    /// Requests for pieces of a snapshot.
    SnapshotRequest,
    /// Decided blocks.
    SyncResponse,
    /// Pieces of a snapshot.
    SnapshotResponse,
}

impl Channel {
    /// Every channel, in the order of sending.
    pub const ALL: [Self; 9] = [
        Self::Consensus,
        Self::Liveness,
        Self::Status,
        Self::SyncRequest,
        Self::Parts,
        Self::Transactions,
        Self::SnapshotRequest,
        Self::SyncResponse,
        Self::SnapshotResponse,
    ];

    /// The channel's place in [`Channel::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The channel's name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consensus => "consensus",
            Self::Liveness => "liveness",
            Self::Status => "status",
            Self::SyncRequest => "sync_request",
            Self::Parts => "parts",
            Self::Transactions => "transactions",
            Self::SnapshotRequest => "snapshot_request",
            Self::SyncResponse => "sync_response",
            Self::SnapshotResponse => "snapshot_response",
        }
    }

    /// Largest frame of this channel, bytes.
    #[must_use]
    pub const fn frame_bytes_max(self) -> usize {
        match self {
            Self::Consensus => x0_limits::CONSENSUS_FRAME_BYTES_MAX,
            Self::Liveness => x0_limits::LIVENESS_FRAME_BYTES_MAX,
            Self::Status | Self::SyncRequest => x0_limits::CONTROL_FRAME_BYTES_MAX,
            Self::Parts => x0_limits::PART_FRAME_BYTES_MAX,
            Self::Transactions => x0_limits::TRANSACTIONS_FRAME_BYTES_MAX,
            Self::SnapshotRequest => x0_limits::SNAPSHOT_REQUEST_BYTES_MAX,
            Self::SyncResponse => x0_limits::SYNC_RESPONSE_BYTES_MAX,
            Self::SnapshotResponse => x0_limits::SNAPSHOT_RESPONSE_BYTES_MAX,
        }
    }

    /// Most frames of this channel that wait on one link.
    #[must_use]
    pub const fn queue_frames_max(self) -> usize {
        match self {
            Self::Consensus | Self::Liveness | Self::Status | Self::SyncRequest => x0_limits::LINK_QUEUE_FRAMES_MAX,
            Self::Parts => x0_limits::LINK_QUEUE_PARTS_MAX,
            Self::Transactions => x0_limits::LINK_QUEUE_TRANSACTIONS_MAX,
            Self::SnapshotRequest => x0_limits::LINK_QUEUE_SNAPSHOT_REQUESTS_MAX,
            Self::SyncResponse => x0_limits::LINK_QUEUE_SYNC_MAX,
            Self::SnapshotResponse => x0_limits::LINK_QUEUE_SNAPSHOT_MAX,
        }
    }
}

/// What a peer did wrong. Whoever finds it tells the carrier, which keeps the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Offence {
    /// A frame that does not decode.
    Malformed,
    /// A frame above its size.
    Oversized,
    /// A signature that does not verify.
    BadSignature,
    /// An answer that nobody asked for.
    NotAsked,
    /// More than its share, for long.
    Flooding,
    /// Data of another chain.
    WrongChain,
}

/// What a carrier tells the node.
#[derive(Clone, Debug)]
pub enum CarrierEvent {
    /// The carrier is up; told once, first.
    Listening,
    /// A link to this peer stands in both directions.
    PeerUp(PeerKey),
    /// The link to this peer is gone.
    PeerDown(PeerKey),
    /// A frame came in.
    Frame {
        /// The authenticated peer that sent it.
        from: PeerKey,
        /// Its channel.
        channel: Channel,
        /// Its bytes, at most [`Channel::frame_bytes_max`].
        bytes: Bytes,
    },
}

/// Why a frame is not taken for sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No link to the peer stands.
    #[error("no link to peer {0}")]
    NoLink(PeerKey),
    /// The frame is larger than its channel allows.
    #[error("a frame of {bytes} bytes on channel {channel:?}, which takes {max} at most")]
    TooLarge {
        /// The channel.
        channel: Channel,
        /// Size of the frame, bytes.
        bytes: usize,
        /// Largest size, bytes.
        max: usize,
    },
    /// The carrier is closed.
    #[error("the carrier is closed")]
    Closed,
}

/// Counters of a carrier since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CarrierStats {
    /// Frames handed to a link.
    pub sent: u64,
    /// Frames that gave way to newer ones in a full queue.
    pub dropped: u64,
    /// Frames received.
    pub received: u64,
}

/// Moves frames to the other validators. All methods return at once.
pub trait Carrier: Send + Sync + 'static {
    /// The name of this node.
    fn local(&self) -> PeerKey;

    /// Queues the frame for every peer with a standing link.
    ///
    /// # Errors
    /// [`SendError::TooLarge`] and [`SendError::Closed`].
    fn broadcast(&self, channel: Channel, bytes: Bytes) -> Result<(), SendError>;

    /// Queues the frame for one peer.
    ///
    /// # Errors
    /// Each variant of [`SendError`].
    fn send(&self, peer: &PeerKey, channel: Channel, bytes: Bytes) -> Result<(), SendError>;

    /// The stream of events; `None` from the second call on.
    fn take_events(&self) -> Option<mpsc::Receiver<CarrierEvent>>;

    /// Counters since the start.
    fn stats(&self) -> CarrierStats;

    /// Notes an offence of a peer. A carrier with real links disconnects a peer that collects too
    /// many and refuses it for a while; one without does nothing.
    fn penalize(&self, _peer: &PeerKey, _offence: Offence) {}
}

impl<C: Carrier + ?Sized> Carrier for std::sync::Arc<C> {
    fn local(&self) -> PeerKey {
        (**self).local()
    }
    fn broadcast(&self, channel: Channel, bytes: Bytes) -> Result<(), SendError> {
        (**self).broadcast(channel, bytes)
    }
    fn send(&self, peer: &PeerKey, channel: Channel, bytes: Bytes) -> Result<(), SendError> {
        (**self).send(peer, channel, bytes)
    }
    fn take_events(&self) -> Option<mpsc::Receiver<CarrierEvent>> {
        (**self).take_events()
    }
    fn stats(&self) -> CarrierStats {
        (**self).stats()
    }
    fn penalize(&self, peer: &PeerKey, offence: Offence) {
        (**self).penalize(peer, offence);
    }
}

/// Checks a frame against its channel's limit.
///
/// # Errors
/// [`SendError::TooLarge`].
pub fn check_size(channel: Channel, bytes: &[u8]) -> Result<(), SendError> {
    let max = channel.frame_bytes_max();
    if bytes.len() > max {
        return Err(SendError::TooLarge { channel, bytes: bytes.len(), max });
    }
    Ok(())
}
