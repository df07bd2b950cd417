//! One link: a neighbour over one underlay. Is it alive, how good is it, how large may a datagram be.
//!
//! ```text
//!   frames in --receive--> [hop MAC] -> [seal] -> [sequence window] --+--> Liveness --judge--> Change
//!                                                                     +--> rtt, loss, behaviour
//!   frames out <--transmit-- heartbeats, probes, echoes (what is due) +--> Pmtu
//!              <--stamp, seal_control-- data and control of the node
//! ```
//!
//! # How it is used
//! ```text
//!   loop {
//!     each datagram of the link (found by its tag):              link.receive(now, received, frame)
//!     link.judge(now, kernel_last_seen)                          -> Option<Change>
//!     while let Some(due) = link.transmit(now, &mut buffer)?     -> send buffer[..due.bytes] (sized: don't fragment)
//!     sleep until link.deadline()
//!   }
//! ```
//! `judge` comes after all waiting datagrams were handed in, so that nothing is judged that the process has only not
//! read yet.
//!
//! # Detection
//! With P the interval that the other end announces, and J four times the variation of round trips (at most 2 ms):
//! suspect after S = 1.5 P + J, down after D = M P + J. M follows from the measured loss (3 to 8), and P shrinks from
//! 2 ms to 1 ms when M exceeds 4, so D stays within 8 ms + J. Each end judges what it hears, and tells the other at once
//! when it begins to suspect or to miss it: a cut of one direction is known to both after D and one way.

mod behaviour;
mod error;
mod keys;
mod liveness;
mod loss;
mod pace;
mod pmtu;
mod rtt;
mod sent;

pub use crate::window::Freshness;
pub use behaviour::{BehaviourSummary, SCORE_Q8_MAX};
pub use error::LinkError;
pub use keys::TAG_EPOCH_MS;
pub use liveness::{Change, DAMPING_MS_FIRST, DAMPING_MS_MAX, JITTER_SLACK_NS_MAX, Reason, STABLE_MS, State};
pub use loss::{MISSES_MAX, MISSES_MIN, misses_for};
pub use pace::{
    ACTIVE_MS, Duty, INTERVAL_ACTIVE_US, INTERVAL_IDLE_US, INTERVAL_LOSSY_US, INTERVAL_STANDBY_US, governed_interval_us,
};
pub use pmtu::{BASE_BYTES, PmtuPhase};

use crate::{Time, handshake::Keys, window::ReplayWindow};
use behaviour::Behaviour;
use keys::Way;
use liveness::{Liveness, Report};
use loss::{Loss, REORDER_SPAN};
use pace::{INTERVAL_US, Pace};
use pmtu::Pmtu;
use rtt::{Jitter, Rtt};
use sent::Sizes;
use x0_crypto::mesh::TAG_BYTES;
use x0_mesh_wire::{
    Flags, Frame, Header, Heartbeat, Kind, Probe,
    header::{NextHop, send_over},
    heartbeat::HEARTBEAT_BYTES,
    limits::{HEADER_BYTES, PROBE_BYTES_MIN},
};

/// Words of a link's sequence window: 1,024 frames.
const WINDOW_WORDS: usize = 17;
/// A link's keys are renewed by a new handshake after this time, milliseconds.
pub const LINK_KEYS_MS: u64 = 3_600_000;
/// Largest number of a link's frame; one key seals no more (the bound of AES-GCM is 2^23 sealed frames at full size,
/// and heartbeats, the most of what is sealed, need 52 days for it at 2 ms).
const SEQ_MAX: u64 = 1 << 40;

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

/// The newest heartbeat of the other end.
#[derive(Clone, Copy, Debug)]
struct PeerBeat {
    seq: u64,
    arrived: Time,
    interval_us: u32,
    flags: (bool, bool),
    load: u8,
}

/// One link.
#[derive(Debug)]
pub struct Link {
    out: Way,
    inward: Way,
    config: LinkConfig,
    created: Time,
    next_seq: u64,
    sizes: Sizes,
    pace: Pace,
    /// Frames up to this number were judged lost or arrived.
    out_judged: u64,
    loss_out: Loss,
    window: ReplayWindow<WINDOW_WORDS>,
    in_judged: u64,
    loss_in: Loss,
    peer_beat: Option<PeerBeat>,
    /// What the last heartbeat told of suspicion and silence.
    told: (bool, bool),
    load: u8,
    echoed: Option<u64>,
    rtt: Rtt,
    jitter: Jitter,
    behaviour: Behaviour,
    liveness: Liveness,
    pmtu: Pmtu,
    /// A probe that waits for its echo, and since when.
    echo: Option<(Time, Probe)>,
    counters: LinkCounters,
}

impl Link {
    /// A link whose handshake is done. It is `Recovering`, and `Up` with the first heartbeat that confirms one of ours.
    #[must_use]
    pub fn new(keys: Keys, config: LinkConfig, now: Time) -> Self {
        let out = Way::new(keys.send, keys.send_mac, keys.send_tags);
        let inward = Way::new(keys.receive, keys.receive_mac, keys.receive_tags);
        let pace = Pace::new(now, out.rhythm);
        Self {
            config,
            created: now,
            next_seq: 1,
            sizes: Sizes::default(),
            pace,
            out_judged: 0,
            loss_out: Loss::default(),
            window: ReplayWindow::default(),
            in_judged: 0,
            loss_in: Loss::default(),
            peer_beat: None,
            told: (false, false),
            load: 0,
            echoed: None,
            rtt: Rtt::default(),
            jitter: Jitter::default(),
            behaviour: Behaviour::new(now),
            liveness: Liveness::new(now, u64::from(INTERVAL_ACTIVE_US) * 1_000, MISSES_MAX),
            pmtu: Pmtu::new(now, config.payload_bytes_max),
            echo: None,
            counters: LinkCounters::default(),
            out,
            inward,
        }
    }

    /// The same link with fresh keys: measurements, path MTU and damping are taken over, and it is on trial until both
    /// ends have heard each other with the new keys. Use this one until the new one is `Up`.
    #[must_use]
    pub fn renewed(&self, keys: Keys, now: Time) -> Self {
        let fresh = Self::new(keys, self.config, now);
        Self {
            pace: self.pace.renewed(now, fresh.out.rhythm),
            loss_out: self.loss_out,
            loss_in: self.loss_in,
            load: self.load,
            rtt: self.rtt,
            jitter: self.jitter,
            behaviour: self.behaviour.clone(),
            liveness: self.liveness.renewed(now),
            pmtu: self.pmtu.clone(),
            ..fresh
        }
    }

    /// The two tags that the other end may put on frames to us now, and when this changes.
    pub fn own_tags(&mut self, now: Time) -> ([u32; 2], Time) {
        let (epoch, late) = keys::epoch(self.created, now);
        let beside = if late { epoch + 1 } else { epoch.saturating_sub(1) };
        let beside = self.inward.tag(beside);
        ([self.inward.tag(epoch), beside], keys::epoch_changes(self.created, now))
    }

    /// The tag for frames to the other end now.
    pub fn peer_tag(&mut self, now: Time) -> u32 {
        self.out.tag(keys::epoch(self.created, now).0)
    }

    /// Takes a frame that arrived at `received` (the kernel's stamp). Nothing moves before MAC and seal were checked.
    ///
    /// # Errors
    /// [`LinkError::Wire`], [`LinkError::Kind`], [`LinkError::Replayed`], [`LinkError::Seal`]; all are counted.
    pub fn receive<'a>(
        &mut self,
        now: Time,
        received: Time,
        frame: &'a mut [u8],
    ) -> Result<Received<'a>, LinkError> {
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
        let outage = self
            .liveness
            .heard_at()
            .is_none_or(|heard| at.since_ns(heard) > self.liveness.down_after_ns());
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

    fn tune(&mut self) {
        let interval_us = self.peer_beat.map_or(INTERVAL_ACTIVE_US, |beat| beat.interval_us);
        self.liveness.tune(u64::from(interval_us) * 1_000, self.loss_in.misses(), self.rtt.variation_ns());
    }

    fn heartbeat(&mut self, now: Time, received: Time, seq: u64, plain: &[u8]) -> Result<(), LinkError> {
        let beat = Heartbeat::read(plain)?;
        if beat.interval_us < INTERVAL_US.0 || beat.interval_us > INTERVAL_US.1 {
            return Err(LinkError::Interval { found_us: beat.interval_us, least_us: INTERVAL_US.0, most_us: INTERVAL_US.1 });
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
            seq == highest || highest.checked_sub(seq + 1).is_some_and(|back| back < 64 && beat.seen_before >> back & 1 == 1)
        };
        self.pace.confirmed(seen);
        if self.liveness.state() == State::Down || beat.down || beat.age_us > self.pace.interval_us().saturating_mul(8) {
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
        if seq >= SEQ_MAX {
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
        let place = out.get_mut(HEADER_BYTES..HEADER_BYTES + plain_bytes).ok_or(LinkError::NoSpace { needed, found })?;
        fill(place)?;
        // The number is spent before it is used, so that no error can make it be used twice.
        self.count_sent(seq, needed);
        self.out.seal(&header, seq, plain_bytes, out)?;
        if kind == Kind::Heartbeat {
            self.pace.beat(now, seq);
            self.counters.heartbeats_sent += 1;
        } else {
            self.pace.sent(now, seq);
        }
        Ok(needed)
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

    /// Judges the age of the link. `kernel_last_seen`: when the kernel last saw a frame with one of our tags, if it
    /// tells. A call that comes later than [`Link::deadline`] asked for does not take the delay for silence.
    pub fn judge(&mut self, now: Time, kernel_last_seen: Option<Time>) -> Option<Change> {
        let due = self.liveness.deadline().map_or(self.pace.due(), |due| due.min(self.pace.due()));
        let late_ns = now.since_ns(due);
        let change = self.liveness.judge(now, late_ns, kernel_last_seen);
        self.counters.stalls = self.liveness.stalls();
        let hears = (self.liveness.hears_late(now), self.liveness.hears_nothing(now));
        if hears.0 && !self.told.0 || hears.1 && !self.told.1 {
            self.pace.urge(now);
        }
        self.count_change(change)
    }

    fn count_change(&mut self, change: Option<Change>) -> Option<Change> {
        match change.map(|change| (change.from, change.to)) {
            Some((_, State::Suspect)) => self.counters.suspected += 1,
            Some((_, State::Down)) => self.counters.downs += 1,
            Some((State::Recovering, State::Up)) => self.counters.ups += 1,
            _ => {}
        }
        change
    }

    /// The interface got or lost its carrier.
    pub fn carrier(&mut self, now: Time, up: bool) -> Option<Change> {
        let change = self.liveness.carrier(now, up);
        self.count_change(change)
    }

    /// The operating system refused a datagram for lack of a route.
    pub fn send_failed(&mut self, now: Time) -> Option<Change> {
        let change = self.liveness.send_failed(now);
        self.count_change(change)
    }

    /// The operating system refused a datagram of this length (EMSGSIZE).
    pub fn too_long(&mut self, now: Time, bytes: usize) {
        self.pmtu.too_long(now, u16::try_from(bytes).unwrap_or(u16::MAX));
    }

    /// The other end's address changed: round trips and path MTU start anew, liveness goes on.
    pub fn moved(&mut self, now: Time) {
        self.rtt.reset();
        self.pmtu.reset(now);
        self.loss_in.reset();
        self.loss_out.reset();
        self.tune();
    }

    /// When something is due next: `judge`, then `transmit`.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let mut due = self.pace.due();
        if let Some(judge) = self.liveness.deadline() {
            due = due.min(judge);
        }
        if self.liveness.state() != State::Down
            && let Some(probe) = self.pmtu.deadline()
        {
            due = due.min(probe);
        }
        if let Some((since, _)) = self.echo {
            due = due.min(since);
        }
        Some(due)
    }

    /// Sets how eagerly the link is probed while nothing passes.
    pub const fn set_duty(&mut self, duty: Duty) {
        self.pace.set_duty(duty);
    }

    /// How eagerly the link is probed while nothing passes.
    #[must_use]
    pub const fn duty(&self) -> Duty {
        self.pace.duty()
    }

    /// Sets the lower bound of the heartbeat interval: [`governed_interval_us`] of the number of active links.
    pub const fn set_interval_us_min(&mut self, us: u32) {
        self.pace.set_minimum_us(us);
    }

    /// Sets the load of this node that heartbeats tell, 255ths.
    pub const fn set_load(&mut self, load: u8) {
        self.load = load;
    }

    /// What the link is believed to be.
    #[must_use]
    pub const fn state(&self) -> State {
        self.liveness.state()
    }

    /// Since when the state holds; suspicion does not end a time of being up.
    #[must_use]
    pub const fn since(&self) -> Time {
        self.liveness.since()
    }

    /// When the keys were agreed on.
    #[must_use]
    pub const fn created(&self) -> Time {
        self.created
    }

    /// When the last new frame arrived.
    #[must_use]
    pub const fn heard_at(&self) -> Option<Time> {
        self.liveness.heard_at()
    }

    /// Whether the keys are so old that a new handshake is due. The ends' spread keeps them from starting together.
    #[must_use]
    pub fn wants_handshake(&self, now: Time) -> bool {
        now.since_ns(self.created) >= LINK_KEYS_MS * 1_000_000
    }

    /// Largest UDP payload that is known to pass, bytes.
    #[must_use]
    pub const fn payload_bytes(&self) -> u16 {
        self.pmtu.bytes()
    }

    /// Phase of the path MTU discovery.
    #[must_use]
    pub const fn pmtu_phase(&self) -> PmtuPhase {
        self.pmtu.phase()
    }

    /// What has been measured.
    #[must_use]
    pub fn measured(&self, now: Time) -> Measured {
        Measured {
            srtt_us: self.rtt.smoothed_ns().map(|ns| ns / 1_000),
            rttvar_us: self.rtt.variation_ns() / 1_000,
            rtt_us_min: self.rtt.minimum_ns() / 1_000,
            jitter_us: self.jitter.mean_ns() / 1_000,
            loss_in_q16: self.loss_in.q16(),
            loss_out_q16: self.loss_out.q16(),
            age_us: self.liveness.age_ns(now) / 1_000,
            suspect_after_us: self.liveness.suspect_after_ns() / 1_000,
            down_after_us: self.liveness.down_after_ns() / 1_000,
            misses: self.loss_in.misses(),
            interval_us: self.pace.interval_us(),
            peer_interval_us: self.peer_beat.map_or(0, |beat| beat.interval_us),
            peer_load: self.peer_beat.map_or(0, |beat| beat.load),
            damping_ms: self.liveness.damping_ms(),
            payload_bytes: self.pmtu.bytes(),
            black_holes: self.pmtu.black_holes(),
        }
    }

    /// How the other end's heartbeats behave.
    #[must_use]
    pub const fn behaviour(&self) -> BehaviourSummary {
        self.behaviour.summary()
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> &LinkCounters {
        &self.counters
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

/// The low 32 bits, as numbers travel.
const fn low(seq: u64) -> u32 {
    let [_, _, _, _, a, b, c, d] = seq.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

fn clamp_u32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
