//! What a link sends, and when.

use super::{Due, Link, LinkError, State, pmtu::BASE_BYTES};
use crate::Time;
use x0_crypto::mesh::TAG_BYTES;
use x0_mesh_wire::{
    Flags, Header, Heartbeat, Kind, Probe,
    header::{NextHop, send_over},
    heartbeat::HEARTBEAT_BYTES,
    limits::{HEADER_BYTES, PROBE_BYTES_MIN},
};

/// Largest number of a link's frame.
const SEQ_MAX: u64 = 1 << 40;
/// Most frames that one key of a link seals. RFC 9001, appendix B.1, allows 2^33 blocks; a heartbeat has five, so this is
/// a fifth of it, and three days of heartbeats at 1 kHz. Keys are renewed each hour; a link whose keys never were falls
/// silent here, and so goes down at the other end.
const SEALED_MAX: u64 = 1 << 28;

impl Link {
    /// Gives a laid-out data frame (header, labels, sealed body) tag, number and MAC of this link.
    ///
    /// # Errors
    /// [`LinkError::Wire`] for a frame that no reader would take.
    pub fn stamp(&mut self, now: Time, frame: &mut [u8]) -> Result<(), LinkError> {
        let (link_tag, seq) = (self.peer_tag(now), self.next_seq);
        send_over(frame, &NextHop { link_tag, link_seq: low(seq), key: &self.out.mac })?;
        self.count_sent(seq, frame.len());
        self.pace.sent(now, seq);
        self.pace.carried(now);
        self.pace.follow(now, self.loss_out.misses());
        Ok(())
    }

    /// Seals a control frame; its length. It fits the link when `body` is at most [`Link::control_bytes_max`] long.
    ///
    /// # Errors
    /// [`LinkError::NoSpace`], [`LinkError::CannotSeal`].
    pub fn seal_control(&mut self, now: Time, body: &[u8], out: &mut [u8]) -> Result<usize, LinkError> {
        self.seal(now, Kind::Control, out, body.len(), |place| {
            place.copy_from_slice(body);
            Ok(())
        })
    }

    /// Longest body of a control frame that fits a datagram on this link, bytes.
    #[must_use]
    pub fn control_bytes_max(&self) -> usize {
        usize::from(self.pmtu.bytes()) - HEADER_BYTES - TAG_BYTES
    }

    fn seal(
        &mut self,
        now: Time,
        kind: Kind,
        out: &mut [u8],
        plain_bytes: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), LinkError>,
    ) -> Result<usize, LinkError> {
        let (seq, found) = (self.next_seq, out.len());
        let needed = HEADER_BYTES + plain_bytes + TAG_BYTES;
        if needed > found {
            return Err(LinkError::NoSpace { needed, found });
        }
        if self.is_exhausted() {
            return Err(LinkError::CannotSeal { seq });
        }
        let header = Header {
            kind,
            flags: Flags::NONE,
            labels: 0,
            pointer: 0,
            ttl: 1,
            link_tag: self.peer_tag(now),
            link_seq: low(seq),
            hop_mac: [0; 8],
        };
        let place =
            out.get_mut(HEADER_BYTES..HEADER_BYTES + plain_bytes).ok_or(LinkError::NoSpace { needed, found })?;
        fill(place)?;
        // The number is spent before it is used, so that no error can make it be used twice.
        self.count_sent(seq, needed);
        self.sealed += 1;
        self.out.seal(&header, seq, plain_bytes, out)?;
        if kind == Kind::Heartbeat {
            self.pace.beat(now, seq);
            self.counters.heartbeats_sent += 1;
        } else {
            self.pace.sent(now, seq);
        }
        Ok(needed)
    }

    /// Whether the keys have sealed all that they may.
    pub(super) const fn is_exhausted(&self) -> bool {
        self.sealed >= SEALED_MAX || self.next_seq >= SEQ_MAX
    }

    fn count_sent(&mut self, seq: u64, bytes: usize) {
        self.next_seq = seq + 1;
        self.sizes.sent(seq, bytes > usize::from(BASE_BYTES));
        self.counters.sent += 1;
        self.counters.sent_bytes += bytes as u64;
    }

    /// Writes the next heartbeat, probe or echo that is due. Call it until it gives `None`.
    ///
    /// # Errors
    /// [`LinkError::NoSpace`] for a buffer below the largest datagram of the interface.
    pub fn transmit(&mut self, now: Time, out: &mut [u8]) -> Result<Option<Due>, LinkError> {
        if self.is_exhausted() {
            return Ok(None);
        }
        if let Some((_, echo)) = self.echo.take() {
            let bytes = self.seal(now, Kind::Probe, out, PROBE_BYTES_MIN, |place| Ok(echo.write(place)?))?;
            return Ok(Some(Due { bytes, sized: false }));
        }
        if self.liveness.state() != State::Down
            && let Some(due) = self.pmtu.poll(now, self.rtt.smoothed_ns())
        {
            let plain = usize::from(due.bytes).saturating_sub(HEADER_BYTES + TAG_BYTES);
            let probe = Probe { echo: false, number: due.number, size_bytes: due.bytes };
            let bytes = self.seal(now, Kind::Probe, out, plain, |place| Ok(probe.write(place)?))?;
            return Ok(Some(Due { bytes, sized: true }));
        }
        self.pace.follow(now, self.loss_out.misses());
        if now < self.pace.due() {
            return Ok(None);
        }
        let beat = self.compose(now);
        self.told = (beat.suspect, beat.down);
        let bytes = self.seal(now, Kind::Heartbeat, out, HEARTBEAT_BYTES, |place| {
            place.copy_from_slice(&beat.to_bytes());
            Ok(())
        })?;
        Ok(Some(Due { bytes, sized: false }))
    }

    fn compose(&self, now: Time) -> Heartbeat {
        let hold = self.peer_beat.map_or(0, |beat| now.since_ns(beat.arrived) / 1_000);
        Heartbeat {
            highest_seen: low(self.window.highest().unwrap_or(0)),
            seen_before: self.window.before_highest(),
            age_us: clamp_u32(self.liveness.own_age_ns(now) / 1_000),
            hold_us: clamp_u32(hold),
            echo_seq: self.peer_beat.map_or(0, |beat| low(beat.seq)),
            loss_q16: self.loss_in.wire_q16(),
            suspect: self.liveness.hears_late(now),
            down: self.liveness.hears_nothing(now),
            interval_us: self.pace.announced_us(),
            load: self.load,
        }
    }
}

/// The low 32 bits, as numbers travel.
pub(super) const fn low(seq: u64) -> u32 {
    let [_, _, _, _, a, b, c, d] = seq.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

fn clamp_u32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
