//! Control of links and sessions, and probes. All of it travels sealed.

use crate::{
    WireError,
    header::{put, take},
    limits::{CONTROL_FRAGMENTS_MAX, PROBE_BYTES_MIN},
};

/// Bytes before the payload of a control fragment.
pub const CONTROL_HEAD_BYTES: usize = 5;

/// One fragment of a control message, of a link (kind Control) or of a session (inner type 1). A
/// message that fits a datagram is one fragment.
///
/// `kind u8 | message u16 | index u8 | count u8 | payload`; what a kind means is told by those who
/// use it. All fragments of a message but the last have the same length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlFragment<'a> {
    /// What the message is.
    pub kind: u8,
    /// Which message, counted by the sender on this link or session.
    pub message: u16,
    /// Which fragment, from zero.
    pub index: u8,
    /// How many fragments the message has.
    pub count: u8,
    /// The fragment.
    pub payload: &'a [u8],
}

/// The kinds of control messages. Numbers below 64 are used by links and sessions alike.
pub mod kind {
    /// What arrived: `message u16 | bitmap u32` of the fragments that did.
    pub const ACK: u8 = 0;
    /// A ratchet's fresh ML-KEM-768 key: `number u32 | encapsulation key`.
    pub const RATCHET_OFFER: u8 = 1;
    /// The answer: `number u32 | ciphertext`.
    pub const RATCHET_ANSWER: u8 = 2;
    /// The sender ends the link or session: `reason u8`.
    pub const CLOSE: u8 = 3;
    /// The sender holds the keys of this ratchet and asks the peer to show that it does: `number u32`.
    pub const RATCHET_CONFIRM: u8 = 4;
    /// Links: signed link-state records and changes of them.
    pub const LINK_STATE: u8 = 64;
    /// Links: a link of the sender is down.
    pub const LINK_DOWN: u8 = 65;
    /// Links: which records the sender has.
    pub const LINK_STATE_DIGEST: u8 = 66;
    /// Links: a request for records.
    pub const LINK_STATE_REQUEST: u8 = 67;
    /// Sessions: which packets arrived: `largest u64 | base u64 | 4 x bitmap u64` from the base on; nothing below the
    /// base is wanted any more.
    pub const SESSION_ACKNOWLEDGEMENT: u8 = 128;
}

impl<'a> ControlFragment<'a> {
    /// Reads a fragment.
    ///
    /// # Errors
    /// [`WireError::TooShort`], [`WireError::Range`] when the count is zero or too large or the index
    /// is not below it.
    pub fn read(plain: &'a [u8]) -> Result<Self, WireError> {
        let [kind, m0, m1, index, count] = take::<CONTROL_HEAD_BYTES>(plain, 0)?;
        let fragment = Self {
            kind,
            message: u16::from_be_bytes([m0, m1]),
            index,
            count,
            payload: plain.get(CONTROL_HEAD_BYTES..).unwrap_or(&[]),
        };
        fragment.check()?;
        Ok(fragment)
    }

    fn check(&self) -> Result<(), WireError> {
        if self.count == 0 || usize::from(self.count) > CONTROL_FRAGMENTS_MAX {
            return Err(WireError::Range { found: u64::from(self.count), limit: CONTROL_FRAGMENTS_MAX as u64 });
        }
        if self.index >= self.count {
            return Err(WireError::Range { found: u64::from(self.index), limit: u64::from(self.count) - 1 });
        }
        Ok(())
    }

    /// Writes the fragment to the start of `place` and tells its length.
    ///
    /// # Errors
    /// [`WireError::Range`] as in [`ControlFragment::read`], [`WireError::NoSpace`].
    pub fn write(&self, place: &mut [u8]) -> Result<usize, WireError> {
        self.check()?;
        let [m0, m1] = self.message.to_be_bytes();
        put(place, 0, &[self.kind, m0, m1, self.index, self.count])?;
        put(place, CONTROL_HEAD_BYTES, self.payload)?;
        Ok(CONTROL_HEAD_BYTES + self.payload.len())
    }
}

/// The plaintext of a probe of a link's path MTU: `echo u8 | number u32 | size u16 | zeros`. A probe
/// is padded to the size that it tests; its echo is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Whether this answers a probe.
    pub echo: bool,
    /// Which probe.
    pub number: u32,
    /// Size of the UDP payload that is tested.
    pub size_bytes: u16,
}

impl Probe {
    /// Reads a probe. Its padding must be zeros.
    ///
    /// # Errors
    /// [`WireError::TooShort`], [`WireError::UnknownKind`] when the first byte is neither 0 nor 1,
    /// [`WireError::Reserved`] when the padding is not zeros.
    pub fn read(plain: &[u8]) -> Result<Self, WireError> {
        let [echo, n0, n1, n2, n3, s0, s1] = take::<PROBE_BYTES_MIN>(plain, 0)?;
        if echo > 1 {
            return Err(WireError::UnknownKind { found: echo });
        }
        if plain.get(PROBE_BYTES_MIN..).unwrap_or(&[]).iter().any(|byte| *byte != 0) {
            return Err(WireError::Reserved { offset: PROBE_BYTES_MIN });
        }
        let number = u32::from_be_bytes([n0, n1, n2, n3]);
        Ok(Self { echo: echo == 1, number, size_bytes: u16::from_be_bytes([s0, s1]) })
    }

    /// Fills all of `place` with the probe and its padding.
    ///
    /// # Errors
    /// [`WireError::NoSpace`].
    pub fn write(&self, place: &mut [u8]) -> Result<(), WireError> {
        place.fill(0);
        put(place, 0, &[u8::from(self.echo)])?;
        put(place, 1, &self.number.to_be_bytes())?;
        put(place, 5, &self.size_bytes.to_be_bytes())
    }
}

/// The payload of a session's probe of one of its paths (inner type 2):
/// `echo u8 | route u8 | number u32 | zeros`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathProbe {
    /// Whether this answers a probe.
    pub echo: bool,
    /// The prober's number of the path.
    pub route: u8,
    /// Which probe.
    pub number: u32,
}

impl PathProbe {
    /// Bytes without padding.
    pub const BYTES: usize = 6;

    /// Reads a probe. Its padding must be zeros.
    ///
    /// # Errors
    /// Those of [`Probe::read`].
    pub fn read(plain: &[u8]) -> Result<Self, WireError> {
        let [echo, route, n0, n1, n2, n3] = take::<{ Self::BYTES }>(plain, 0)?;
        if echo > 1 {
            return Err(WireError::UnknownKind { found: echo });
        }
        if plain.get(Self::BYTES..).unwrap_or(&[]).iter().any(|byte| *byte != 0) {
            return Err(WireError::Reserved { offset: Self::BYTES });
        }
        Ok(Self { echo: echo == 1, route, number: u32::from_be_bytes([n0, n1, n2, n3]) })
    }

    /// Fills all of `place` with the probe and its padding.
    ///
    /// # Errors
    /// [`WireError::NoSpace`].
    pub fn write(&self, place: &mut [u8]) -> Result<(), WireError> {
        place.fill(0);
        put(place, 0, &[u8::from(self.echo), self.route])?;
        put(place, 2, &self.number.to_be_bytes())
    }
}
