//! What a link is made with and what it tells.

use super::Freshness;

/// What does not change while a link lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkConfig {
    /// Largest UDP payload that the interface takes without fragments, bytes.
    pub payload_bytes_max: u16,
}

/// What a frame was.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A heartbeat, a probe or an echo; it is absorbed.
    Nothing,
    /// A data frame whose hop MAC holds. A repeated one is a replay on this link: drop it. One that is too old to tell
    /// may be opened here, because the session knows its packets, but is not relayed.
    Data(Freshness),
    /// The body of a control frame, opened in place.
    Control(&'a [u8]),
}

/// A frame that is due; it lies at the start of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its length.
    pub bytes: usize,
    /// Whether it tests a size: send it with "don't fragment", not coalesced.
    pub sized: bool,
}

/// What happened on a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct LinkCounters {
    /// New frames that were received, of all kinds.
    pub received: u64,
    /// Bytes of them.
    pub received_bytes: u64,
    /// Frames that were sent, of all kinds.
    pub sent: u64,
    /// Bytes of them.
    pub sent_bytes: u64,
    /// Heartbeats sent.
    pub heartbeats_sent: u64,
    /// Frames without the MAC of this hop, or with a broken header.
    pub junk: u64,
    /// Sealed frames whose seal does not fit.
    pub forged: u64,
    /// Frames whose number was seen before or is too old.
    pub repeated: u64,
    /// Sealed frames with a valid seal and content that breaks a rule.
    pub malformed: u64,
    /// How often the link was suspected.
    pub suspected: u64,
    /// How often it went down.
    pub downs: u64,
    /// How often it came up.
    pub ups: u64,
    /// How often this process was late to judge it.
    pub stalls: u64,
}

/// What has been measured on a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Measured {
    /// Smoothed round-trip time, microseconds; `None` before the first measurement.
    pub srtt_us: Option<u64>,
    /// Its variation, microseconds.
    pub rttvar_us: u64,
    /// Smallest round trip of the last minute, microseconds.
    pub rtt_us_min: u64,
    /// Mean deviation of heartbeats from their rhythm, microseconds.
    pub jitter_us: u64,
    /// Loss of what the other end sends, 65,536 for all.
    pub loss_in_q16: u32,
    /// Loss of what this end sends, 65,536 for all.
    pub loss_out_q16: u32,
    /// Frames of the other end that were lost so far.
    pub lost_in: u64,
    /// Frames of this end that were lost so far, as far as reports cover them.
    pub lost_out: u64,
    /// Age of the link, the larger of both directions, microseconds.
    pub age_us: u64,
    /// Suspicion begins at this age, microseconds.
    pub suspect_after_us: u64,
    /// The link is down at this age, microseconds.
    pub down_after_us: u64,
    /// Consecutive misses that mean "down".
    pub misses: u8,
    /// How often this end sends a heartbeat, microseconds.
    pub interval_us: u32,
    /// How often the other end says that it does, microseconds.
    pub peer_interval_us: u32,
    /// Load of the other end, 255ths.
    pub peer_load: u8,
    /// Time of damping after the last failure, milliseconds.
    pub damping_ms: u64,
    /// Largest UDP payload that passes, bytes.
    pub payload_bytes: u16,
    /// How often large frames vanished while small ones passed.
    pub black_holes: u64,
}
