//! The body of data frames, and what is inside of a sealed packet.

use crate::{
    WireError,
    header::{put, take},
    limits::TAG_BYTES,
};

/// Bytes before the ciphertext: session index and packet number. They are what the seal covers besides.
pub const DATA_PREFIX_BYTES: usize = 12;
/// Bit of the packet number that carries the key phase. It is covered by the seal and no part of the nonce.
pub const KEY_PHASE_BIT: u64 = 1 << 63;
/// The session index of end-to-end handshakes.
pub const HANDSHAKE_SESSION: u32 = 0;

/// The body of a data frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataBody<'a> {
    /// A packet of a session.
    Packet {
        /// The receiver's index of the session, never zero.
        session_index: u32,
        /// Packet number without the key phase.
        pn: u64,
        /// The key phase: which of two successive keys sealed the packet.
        key_phase: bool,
        /// Ciphertext and tag.
        sealed: &'a [u8],
    },
    /// A datagram of an end-to-end handshake; see [`crate::handshake::EndToEnd`].
    Handshake(&'a [u8]),
}

impl<'a> DataBody<'a> {
    /// Reads the body of a data frame.
    ///
    /// # Errors
    /// [`WireError::TooShort`].
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let session_index = u32::from_be_bytes(take(body, 0)?);
        if session_index == HANDSHAKE_SESSION {
            return Ok(Self::Handshake(body.get(4..).unwrap_or(&[])));
        }
        let number = u64::from_be_bytes(take(body, 4)?);
        // The least packet is a type and a tag.
        let needed = DATA_PREFIX_BYTES + 1 + TAG_BYTES;
        let sealed = body
            .get(DATA_PREFIX_BYTES..)
            .filter(|sealed| sealed.len() > TAG_BYTES)
            .ok_or(WireError::TooShort { needed, found: body.len() })?;
        Ok(Self::Packet { session_index, pn: number & !KEY_PHASE_BIT, key_phase: number & KEY_PHASE_BIT != 0, sealed })
    }
}

/// Writes what stands before the ciphertext, which is also what the seal covers besides.
///
/// # Errors
/// [`WireError::Range`] for session index 0 or a packet number with the bit of the key phase.
pub fn data_prefix(session_index: u32, pn: u64, key_phase: bool) -> Result<[u8; DATA_PREFIX_BYTES], WireError> {
    if session_index == HANDSHAKE_SESSION {
        return Err(WireError::Range { found: 0, limit: u64::from(u32::MAX) });
    }
    if pn & KEY_PHASE_BIT != 0 {
        return Err(WireError::Range { found: pn, limit: !KEY_PHASE_BIT });
    }
    let number = if key_phase { pn | KEY_PHASE_BIT } else { pn };
    let [a, b, c, d] = session_index.to_be_bytes();
    let [e, f, g, h, i, j, k, l] = number.to_be_bytes();
    Ok([a, b, c, d, e, f, g, h, i, j, k, l])
}

/// What a sealed packet of a session holds: its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum InnerKind {
    /// An IP packet.
    Packet = 0,
    /// Control of the session: one [`crate::ControlFragment`].
    Control = 1,
    /// A probe of a path or its echo: a [`crate::PathProbe`].
    PathProbe = 2,
    /// The first half of an IP packet, after an id.
    FirstFragment = 3,
    /// The last half of an IP packet, after an id.
    LastFragment = 4,
}

/// The plaintext of a sealed packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inner<'a> {
    /// An IP packet.
    Packet(&'a [u8]),
    /// Control of the session.
    Control(&'a [u8]),
    /// A probe of a path.
    PathProbe(&'a [u8]),
    /// Half of an IP packet.
    Fragment {
        /// Which packet, counted by the sender.
        id: u16,
        /// Whether this is the second half.
        last: bool,
        /// The half.
        payload: &'a [u8],
    },
}

impl<'a> Inner<'a> {
    /// Bytes before the payload of a fragment.
    pub const FRAGMENT_HEAD_BYTES: usize = 3;

    /// Reads the plaintext of a packet.
    ///
    /// # Errors
    /// [`WireError::TooShort`], [`WireError::UnknownKind`].
    pub fn read(plain: &'a [u8]) -> Result<Self, WireError> {
        let (kind, payload) = plain.split_first().ok_or(WireError::TooShort { needed: 1, found: 0 })?;
        Ok(match kind {
            0 => Self::Packet(payload),
            1 => Self::Control(payload),
            2 => Self::PathProbe(payload),
            3 | 4 => {
                let id = u16::from_be_bytes(take(plain, 1)?);
                Self::Fragment { id, last: *kind == 4, payload: plain.get(Self::FRAGMENT_HEAD_BYTES..).unwrap_or(&[]) }
            }
            found => return Err(WireError::UnknownKind { found: *found }),
        })
    }

    /// Bytes that this takes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        match self {
            Self::Packet(payload) | Self::Control(payload) | Self::PathProbe(payload) => 1 + payload.len(),
            Self::Fragment { payload, .. } => Self::FRAGMENT_HEAD_BYTES + payload.len(),
        }
    }

    /// Writes the plaintext to the start of `place` and tells its length.
    ///
    /// # Errors
    /// [`WireError::NoSpace`].
    pub fn write(&self, place: &mut [u8]) -> Result<usize, WireError> {
        let (kind, payload) = match *self {
            Self::Packet(payload) => (InnerKind::Packet, payload),
            Self::Control(payload) => (InnerKind::Control, payload),
            Self::PathProbe(payload) => (InnerKind::PathProbe, payload),
            Self::Fragment { id, last, payload } => {
                put(place, 1, &id.to_be_bytes())?;
                (if last { InnerKind::LastFragment } else { InnerKind::FirstFragment }, payload)
            }
        };
        put(place, 0, &[kind as u8])?;
        put(place, self.bytes() - payload.len(), payload)?;
        Ok(self.bytes())
    }
}
