//! What sessions are made with and what they tell.

use crate::handshake::Role;

/// A set of paths of a session: bit n is path slot n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PathSet(pub u8);

impl PathSet {
    /// No path.
    pub const NONE: Self = Self(0);

    /// The set of one path slot, below 8; a higher number gives no path.
    #[must_use]
    pub const fn of(slot: u8) -> Self {
        if slot < 8 { Self(1 << slot) } else { Self::NONE }
    }

    /// Both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all paths of this set are in the other.
    #[must_use]
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether a path slot is in the set.
    #[must_use]
    pub const fn has(self, slot: u8) -> bool {
        self.0 & Self::of(slot).0 != 0
    }
}

/// A sealed body, at the start of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its packet number.
    pub pn: u64,
    /// Its length.
    pub bytes: usize,
}

/// What was in a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened<'a> {
    /// An IP packet.
    Packet(&'a [u8]),
    /// A probe of a path or its echo.
    PathProbe(&'a [u8]),
    /// A control message that belongs to the node: one [`ControlFragment`], such as a close.
    Control(&'a [u8]),
    /// Absorbed: an acknowledgement, a part of a ratchet, half a packet.
    Nothing,
}

/// When keys change. The defaults are the product's; tests shorten them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Packets after which a direction's key moves to its next phase (AES-GCM, RFC 9001 section 6.6: at most 2^23).
    pub phase_packets: u64,
    /// Packets that one key seals at most, when the peer does not confirm it.
    pub phase_packets_max: u64,
    /// Time between ratchets, milliseconds, a tenth more or less.
    pub ratchet_ms: u64,
    /// Nothing is sealed or opened when no ratchet succeeded for so long, milliseconds.
    pub expire_ms: u64,
    /// A replaced key still opens packets for so long, milliseconds.
    pub old_keys_ms: u64,
    /// Shortest time between two changes of a sending key, milliseconds: more than routes reorder.
    pub spacing_ms: u64,
    /// A new handshake with signatures is due after this time, milliseconds.
    pub handshake_ms: u64,
    /// First and longest wait before something unanswered is repeated, milliseconds.
    pub repeat_ms: (u64, u64),
}

impl SessionLimits {
    /// The limits of the product.
    pub const PRODUCT: Self = Self {
        phase_packets: 1 << 22,
        phase_packets_max: 1 << 23,
        ratchet_ms: 120_000,
        expire_ms: 180_000,
        old_keys_ms: 10_000,
        spacing_ms: 1_000,
        handshake_ms: 3_600_000,
        repeat_ms: (250, 2_000),
    };
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self::PRODUCT
    }
}

/// What happened in a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct SessionCounters {
    /// Packets sealed, control included.
    pub sealed: u64,
    /// Bytes of their bodies.
    pub sealed_bytes: u64,
    /// Packets opened, control included.
    pub opened: u64,
    /// Bytes of their bodies.
    pub opened_bytes: u64,
    /// Packets that came again: copies of other routes, and replays.
    pub repeated: u64,
    /// Packets older than the window.
    pub too_old: u64,
    /// Packets that no key opens.
    pub forged: u64,
    /// Packets that open and hold what breaks a rule.
    pub malformed: u64,
    /// Acknowledgements sent.
    pub acknowledgements: u64,
    /// Packets that were sent again from the tail.
    pub replayed: u64,
}

/// A session as `status` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SessionStatus {
    /// Which end began its handshake.
    pub role: Role,
    /// Age since the handshake, milliseconds.
    pub age_ms: u64,
    /// Age since the last ratchet, milliseconds.
    pub keys_age_ms: u64,
    /// Ratchets done.
    pub ratchets: u32,
    /// Changes of this end's sending key.
    pub phases: u64,
    /// Whether the peer has proved by a packet that it holds the keys.
    pub confirmed: bool,
    /// Packets in the tail.
    pub tail_packets: usize,
    /// Bytes in the tail.
    pub tail_bytes: usize,
    /// What happened.
    pub counters: SessionCounters,
}
