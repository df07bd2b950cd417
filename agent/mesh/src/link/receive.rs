//! What a link does with a frame that arrived.

use super::{
    Freshness, Link, LinkError, PeerBeat, Received, State, WINDOW_WORDS, keys,
    liveness::Report,
    loss::REORDER_SPAN,
    pace::{INTERVAL_ACTIVE_US, INTERVAL_US},
};
use crate::{Time, window::ReplayWindow};
use x0_mesh_wire::{Frame, Header, Heartbeat, Kind, Probe};

impl Link {
    /// Takes a frame that arrived at `received` (the kernel's stamp). Nothing moves before MAC and seal were checked.
    ///
    /// # Errors
    /// [`LinkError::Wire`], [`LinkError::Kind`], [`LinkError::Replayed`], [`LinkError::Seal`]; all are counted.
    pub fn receive<'a>(&mut self, now: Time, received: Time, frame: &'a mut [u8]) -> Result<Received<'a>, LinkError> {
        let bytes = frame.len();
        let header = self.check(frame)?;
        let seq = keys::extend(header.link_seq, self.window.highest().map_or(1, |highest| highest + 1));
        let freshness = self.window.look(seq);
        if freshness != Freshness::New {
            self.counters.repeated += 1;
            if header.kind == Kind::Data {
                return Ok(Received::Data(freshness));
            }
            return Err(LinkError::Replayed { seq });
        }
        if header.kind == Kind::Data {
            self.arrived(received, seq, bytes);
            self.pace.carried(now);
            self.pace.follow(now, self.loss_out.misses());
            return Ok(Received::Data(Freshness::New));
        }
        let plain: &'a [u8] = match self.inward.open(seq, frame) {
            Ok(plain) => plain,
            Err(error) => {
                self.counters.forged += 1;
                return Err(error);
            }
        };
        self.arrived(received, seq, bytes);
        let absorbed = match header.kind {
            Kind::Control => return Ok(Received::Control(plain)),
            Kind::Heartbeat => self.heartbeat(now, received, seq, plain),
            _ => self.probe(now, plain, bytes),
        };
        if absorbed.is_err() {
            self.counters.malformed += 1;
        }
        absorbed.map(|()| Received::Nothing)
    }

    fn check(&mut self, bytes: &[u8]) -> Result<Header, LinkError> {
        let checked = Frame::read(bytes).map_err(LinkError::from).and_then(|frame| {
            let kind = frame.header.kind;
            if kind.is_handshake() {
                return Err(LinkError::Kind { found: kind });
            }
            self.inward.check_hop(&frame)?;
            Ok(frame.header)
        });
        if checked.is_err() {
            self.counters.junk += 1;
        }
        checked
    }

    /// An authentic frame with a new number arrived.
    fn arrived(&mut self, at: Time, seq: u64, bytes: usize) {
        self.counters.received += 1;
        self.counters.received_bytes += bytes as u64;
        // What is missing after a silence was lost by an outage. Were it counted as loss, each outage would make the
        // detection of the next one slower.
        let outage = self.liveness.heard_at().is_none_or(|heard| at.since_ns(heard) > self.liveness.down_after_ns());
        self.window.mark(seq);
        let highest = self.window.highest().unwrap_or(seq);
        if outage && highest == seq {
            self.in_judged = seq;
        }
        if let Some(until) = highest.checked_sub(REORDER_SPAN).filter(|until| *until > self.in_judged) {
            let from = self.in_judged.max(highest.saturating_sub(ReplayWindow::<WINDOW_WORDS>::SPAN - 1)) + 1;
            let (judged, seen) = count_seen(&self.window, from, until);
            self.loss_in.add(at, judged, judged - seen);
            self.in_judged = until;
            self.tune();
        }
        self.liveness.heard(at);
    }

    pub(super) fn tune(&mut self) {
        let interval_us = self.peer_beat.map_or(INTERVAL_ACTIVE_US, |beat| beat.interval_us);
        self.liveness.tune(u64::from(interval_us) * 1_000, self.loss_in.misses(), self.rtt.variation_ns());
    }

    fn heartbeat(&mut self, now: Time, received: Time, seq: u64, plain: &[u8]) -> Result<(), LinkError> {
        let beat = Heartbeat::read(plain)?;
        if beat.interval_us < INTERVAL_US.0 || beat.interval_us > INTERVAL_US.1 {
            return Err(LinkError::Interval {
                found_us: beat.interval_us,
                least_us: INTERVAL_US.0,
                most_us: INTERVAL_US.1,
            });
        }
        let highest = keys::extend(beat.highest_seen, self.next_seq - 1);
        if highest >= self.next_seq {
            return Err(LinkError::ConfirmsUnsent { confirmed: beat.highest_seen, sent: self.next_seq - 1 });
        }
        if self.peer_beat.is_some_and(|before| before.seq > seq) {
            // A late one: what it reports has been overtaken.
            return Ok(());
        }
        self.rhythm(received, seq, &beat);
        self.round_trip(now, received, &beat);
        self.peer_beat = Some(PeerBeat {
            seq,
            arrived: received,
            interval_us: beat.interval_us,
            flags: (beat.suspect, beat.down),
            load: beat.load,
        });
        self.confirmed(now, highest, &beat);
        self.tune();
        self.liveness.reported(
            now,
            Report {
                age_ns: u64::from(beat.age_us) * 1_000,
                suspect: beat.suspect,
                down: beat.down,
                confirms: beat.highest_seen != 0,
            },
        );
        self.liveness.settle(now);
        Ok(())
    }

    /// Compares the arrival with the keyed rhythm, when nothing came between this heartbeat and the one before.
    fn rhythm(&mut self, received: Time, seq: u64, beat: &Heartbeat) {
        let Some(before) = self.peer_beat else { return };
        // A heartbeat that tells of new suspicion comes early, and one of another interval does not fit either.
        if before.seq + 1 != seq
            || before.interval_us != beat.interval_us
            || before.flags != (beat.suspect, beat.down)
            || self.liveness.state() == State::Down
        {
            return;
        }
        let gap_ns = received.since_ns(before.arrived);
        let expected_ns = self.inward.rhythm.gap_ns(before.seq, u64::from(beat.interval_us) * 1_000);
        if gap_ns.saturating_mul(4) < expected_ns {
            // The other end still beats faster than it has announced.
            return;
        }
        self.jitter.sample(gap_ns.abs_diff(expected_ns));
        self.behaviour.arrived(gap_ns, expected_ns);
    }

    fn round_trip(&mut self, now: Time, received: Time, beat: &Heartbeat) {
        if beat.echo_seq == 0 || self.echoed == Some(beat.echo_seq.into()) {
            return;
        }
        if let Some(sent) = self.pace.sent_at(beat.echo_seq) {
            self.echoed = Some(beat.echo_seq.into());
            let away_ns = received.since_ns(sent);
            // A hold longer than the whole way is a lie or a clock that runs off: no sample.
            if let Some(rtt_ns) = away_ns.checked_sub(u64::from(beat.hold_us) * 1_000) {
                self.rtt.sample(now, rtt_ns);
            }
        }
    }

    /// The other end tells which of our frames it has seen, `highest` and 64 before it.
    fn confirmed(&mut self, now: Time, highest: u64, beat: &Heartbeat) {
        if beat.highest_seen == 0 {
            return;
        }
        let seen = |seq: u64| {
            seq == highest
                || highest.checked_sub(seq + 1).is_some_and(|back| back < 64 && beat.seen_before >> back & 1 == 1)
        };
        self.pace.confirmed(seen);
        if self.liveness.state() == State::Down || beat.down || beat.age_us > self.pace.interval_us().saturating_mul(8)
        {
            // What is missing now was lost by an outage.
            self.out_judged = self.out_judged.max(highest);
            return;
        }
        let until = highest.saturating_sub(REORDER_SPAN);
        let from = (self.out_judged + 1).max(highest.saturating_sub(64)).max(1);
        if until < from {
            return;
        }
        let (mut judged, mut lost) = (0, 0);
        for seq in from..=until {
            judged += 1;
            lost += u32::from(!seen(seq));
            if let Some(large) = self.sizes.was_large(seq) {
                self.pmtu.observed(now, large, seen(seq));
            }
        }
        self.loss_out.add(now, judged, lost);
        self.out_judged = until;
    }

    fn probe(&mut self, now: Time, plain: &[u8], bytes: usize) -> Result<(), LinkError> {
        let probe = Probe::read(plain)?;
        if probe.echo {
            self.pmtu.echoed(now, probe.number, probe.size_bytes);
        } else if usize::from(probe.size_bytes) == bytes {
            self.echo = Some((now, Probe { echo: true, ..probe }));
        }
        Ok(())
    }
}

/// How many of the numbers `from..=until` there are, and how many of them were seen.
fn count_seen<const WORDS: usize>(window: &ReplayWindow<WORDS>, from: u64, until: u64) -> (u32, u32) {
    let (mut at, mut judged, mut seen) = (from, 0, 0);
    while at <= until {
        let width = (until - at + 1).min(64);
        let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
        seen += (window.bits_from(at) & mask).count_ones();
        judged += mask.count_ones();
        at += width;
    }
    (judged, seen)
}
