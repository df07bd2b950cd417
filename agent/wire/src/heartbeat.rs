//! The plaintext of a heartbeat: what one end of a link tells the other every few milliseconds.

use crate::{WireError, header::take};

/// Bytes of a heartbeat's plaintext.
pub const HEARTBEAT_BYTES: usize = 36;

/// One heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// The highest number seen from the peer on this link.
    pub highest_seen: u32,
    /// Which of the 64 numbers before it were seen: bit 0 is `highest_seen - 1`.
    pub seen_before: u64,
    /// Time since anything arrived on this link, saturating.
    pub age_us: u32,
    /// Time between the kernel's stamp of the echoed heartbeat and the sending of this one.
    pub hold_us: u32,
    /// The number of the peer's heartbeat that this one echoes; zero before there is one.
    pub echo_seq: u32,
    /// Loss of what the peer sent, as seen here, in 65,536ths; saturating.
    pub loss_q16: u16,
    /// Whether this end suspects the link.
    pub suspect: bool,
    /// Whether this end holds the link for down.
    pub down: bool,
    /// How often this end sends.
    pub interval_us: u32,
    /// Load of this node in 255ths.
    pub load: u8,
}

impl Heartbeat {
    const SUSPECT: u8 = 1;
    const DOWN: u8 = 2;

    /// Reads a heartbeat.
    ///
    /// # Errors
    /// [`WireError::TooShort`], [`WireError::TooLong`], [`WireError::UnknownFlags`],
    /// [`WireError::Reserved`].
    pub fn read(plain: &[u8]) -> Result<Self, WireError> {
        if plain.len() > HEARTBEAT_BYTES {
            return Err(WireError::TooLong { limit: HEARTBEAT_BYTES, found: plain.len() });
        }
        if plain.len() < HEARTBEAT_BYTES {
            return Err(WireError::TooShort { needed: HEARTBEAT_BYTES, found: plain.len() });
        }
        let [flags] = take::<1>(plain, 26)?;
        if flags & !(Self::SUSPECT | Self::DOWN) != 0 {
            return Err(WireError::UnknownFlags { found: flags });
        }
        if take::<4>(plain, 32)? != [0; 4] {
            return Err(WireError::Reserved { offset: 32 });
        }
        Ok(Self {
            highest_seen: u32::from_be_bytes(take(plain, 0)?),
            seen_before: u64::from_be_bytes(take(plain, 4)?),
            age_us: u32::from_be_bytes(take(plain, 12)?),
            hold_us: u32::from_be_bytes(take(plain, 16)?),
            echo_seq: u32::from_be_bytes(take(plain, 20)?),
            loss_q16: u16::from_be_bytes(take(plain, 24)?),
            suspect: flags & Self::SUSPECT != 0,
            down: flags & Self::DOWN != 0,
            load: take::<1>(plain, 27)?[0],
            interval_us: u32::from_be_bytes(take(plain, 28)?),
        })
    }

    /// The heartbeat as it travels, before sealing.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEARTBEAT_BYTES] {
        let mut bytes = [0; HEARTBEAT_BYTES];
        let flags = if self.suspect { Self::SUSPECT } else { 0 } | if self.down { Self::DOWN } else { 0 };
        bytes[0..4].copy_from_slice(&self.highest_seen.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.seen_before.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.age_us.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.hold_us.to_be_bytes());
        bytes[20..24].copy_from_slice(&self.echo_seq.to_be_bytes());
        bytes[24..26].copy_from_slice(&self.loss_q16.to_be_bytes());
        bytes[26] = flags;
        bytes[27] = self.load;
        bytes[28..32].copy_from_slice(&self.interval_us.to_be_bytes());
        bytes
    }
}
