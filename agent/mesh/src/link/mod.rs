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
mod receive;
mod rtt;
mod sent;
mod transmit;
mod types;

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

pub use types::{Due, LinkConfig, LinkCounters, Measured, Received};

use crate::{Time, handshake::Keys, window::ReplayWindow};
use behaviour::Behaviour;
use keys::Way;
use liveness::Liveness;
use loss::Loss;
use pace::Pace;
use pmtu::Pmtu;
use rtt::{Jitter, Rtt};
use sent::Sizes;
use x0_mesh_wire::Probe;

/// Words of a link's sequence window: 1,024 frames.
const WINDOW_WORDS: usize = 17;
/// A link's keys are renewed by a new handshake after this time, milliseconds.
pub const LINK_KEYS_MS: u64 = 3_600_000;
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
    /// Frames that the present key has sealed.
    sealed: u64,
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
            sealed: 0,
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
            behaviour: Behaviour::new(),
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

    /// Judges the age of the link. `kernel_last_seen`: when the kernel last saw a frame with one of our tags, if it
    /// tells. A call that comes later than [`Link::deadline`] asked for does not take the delay for silence.
    pub fn judge(&mut self, now: Time, kernel_last_seen: Option<Time>) -> Option<Change> {
        let late_ns = self.due().map_or(0, |due| now.since_ns(due));
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
        if self.is_exhausted() {
            return self.due();
        }
        let probe = self.pmtu.deadline().filter(|_| self.liveness.state() != State::Down);
        let echo = self.echo.map(|(since, _)| since);
        self.due().into_iter().chain(probe).chain(echo).min()
    }

    /// When the link is to be judged, or speaks: what a process that runs is never late for.
    fn due(&self) -> Option<Time> {
        let beat = (!self.is_exhausted()).then(|| self.pace.due());
        self.liveness.deadline().into_iter().chain(beat).min()
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
            lost_in: self.loss_in.totals().1,
            lost_out: self.loss_out.totals().1,
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
