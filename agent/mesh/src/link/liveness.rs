//! Whether a link lives: ages, suspicion, "down", damping and the guard against judging by a clock that stood still.

use crate::Time;

/// Longest slack that jitter adds to the thresholds, nanoseconds.
pub const JITTER_SLACK_NS_MAX: u64 = 2_000_000;
/// First time of damping after a link that was stable went down, milliseconds.
pub const DAMPING_MS_FIRST: u64 = 100;
/// Longest time of damping, milliseconds.
pub const DAMPING_MS_MAX: u64 = 30_000;
/// A link that was up for so long is stable again: damping starts anew, milliseconds.
pub const STABLE_MS: u64 = 60_000;

/// What a link is believed to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// New or back, and not yet carrying: waits for evidence of both directions and for its time of damping.
    Recovering,
    /// Alive in both directions.
    Up,
    /// Late: copies travel elsewhere too.
    Suspect,
    /// Dead in at least one direction.
    Down,
}

/// Why a link's state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Both directions are heard.
    Heard,
    /// Nothing came for the time.
    Silence,
    /// The other end says that it hears nothing.
    ReportedSilence,
    /// The interface has no carrier.
    Carrier,
    /// The operating system refused to send.
    SendFailed,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// The state before.
    pub from: State,
    /// The state now.
    pub to: State,
    /// Why.
    pub reason: Reason,
    /// Age of the link when it was judged, microseconds.
    pub age_us: u64,
}

/// What the other end reports about the direction towards it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Its age since our last frame, nanoseconds.
    pub age_ns: u64,
    /// It suspects our direction.
    pub suspect: bool,
    /// It holds our direction for dead.
    pub down: bool,
    /// It has seen a frame of ours.
    pub confirms: bool,
}

/// The state of a link and the times that it follows from.
#[derive(Clone, Debug)]
pub struct Liveness {
    state: State,
    since: Time,
    created: Time,
    /// When the last new frame arrived.
    heard: Option<Time>,
    /// Time since then in which this process could not have noticed an arrival.
    stalled_ns: u64,
    report: Report,
    report_at: Option<Time>,
    carrier: bool,
    /// What the other end says that it sends every, nanoseconds.
    interval_ns: u64,
    misses: u8,
    slack_ns: u64,
    /// How often the link went down without being stable between.
    level: u32,
    damping_ms: u64,
    stalls: u64,
    /// Something was heard or told that may change the state.
    look_at: Option<Time>,
}

impl Liveness {
    /// A link whose handshake is done.
    #[must_use]
    pub fn new(now: Time, interval_ns: u64, misses: u8) -> Self {
        Self {
            state: State::Recovering,
            since: now,
            created: now,
            heard: None,
            stalled_ns: 0,
            report: Report::default(),
            report_at: None,
            carrier: true,
            interval_ns,
            misses,
            slack_ns: 0,
            level: 0,
            damping_ms: 0,
            stalls: 0,
            look_at: None,
        }
    }

    /// A link with fresh keys in place of this one: on trial until both directions are heard, without a time of
    /// damping beyond what this one still has to wait for.
    #[must_use]
    pub fn renewed(&self, now: Time) -> Self {
        let waits = self.state == State::Recovering || self.state == State::Down;
        Self {
            level: self.level,
            damping_ms: if waits { self.damping_ms } else { 0 },
            slack_ns: self.slack_ns,
            carrier: self.carrier,
            ..Self::new(now, self.interval_ns, self.misses)
        }
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Since when the state holds.
    #[must_use]
    pub const fn since(&self) -> Time {
        self.since
    }

    /// Damping that the link has to wait for, or waited for last, milliseconds.
    #[must_use]
    pub const fn damping_ms(&self) -> u64 {
        self.damping_ms
    }

    /// How often this process was late to judge.
    #[must_use]
    pub const fn stalls(&self) -> u64 {
        self.stalls
    }

    /// When the last new frame arrived.
    #[must_use]
    pub const fn heard_at(&self) -> Option<Time> {
        self.heard
    }

    /// S of the design: suspicion after this age, nanoseconds.
    #[must_use]
    pub const fn suspect_after_ns(&self) -> u64 {
        self.interval_ns + self.interval_ns / 2 + self.slack_ns
    }

    /// D of the design: "down" after this age, nanoseconds.
    #[must_use]
    pub fn down_after_ns(&self) -> u64 {
        self.interval_ns * u64::from(self.misses) + self.slack_ns
    }

    /// Sets what the thresholds follow from: the other end's interval, the misses that the loss allows, and the
    /// variation of round trips.
    pub fn tune(&mut self, interval_ns: u64, misses: u8, rtt_variation_ns: u64) {
        self.interval_ns = interval_ns;
        self.misses = misses;
        self.slack_ns = rtt_variation_ns.saturating_mul(4).min(JITTER_SLACK_NS_MAX);
    }

    /// Age of the direction towards this node, as far as this process could notice, nanoseconds. Counts from the
    /// handshake before anything was heard.
    #[must_use]
    pub fn own_age_ns(&self, now: Time) -> u64 {
        now.since_ns(self.heard.unwrap_or(self.created)).saturating_sub(self.stalled_ns)
    }

    /// The age of the link: the larger of both directions, nanoseconds.
    ///
    /// The other end's age is taken as it was reported. It is not carried on from the moment of the report: the ends
    /// do not beat in step, so that would suspect a healthy link; while reports arrive they are one interval old at
    /// most, and when they stop, this end's own age grows.
    #[must_use]
    pub fn age_ns(&self, now: Time) -> u64 {
        self.own_age_ns(now).max(self.report.age_ns)
    }

    /// Whether this end, by what it hears itself, suspects the direction towards it. Not before anything
    /// was heard: a new link is on trial anyway.
    #[must_use]
    pub fn hears_late(&self, now: Time) -> bool {
        self.heard.is_some() && self.own_age_ns(now) > self.suspect_after_ns()
    }

    /// Whether this end, by what it hears itself, holds the direction towards it for dead.
    #[must_use]
    pub fn hears_nothing(&self, now: Time) -> bool {
        self.heard.is_some() && self.own_age_ns(now) > self.down_after_ns()
    }

    /// A new and authentic frame arrived.
    pub fn heard(&mut self, at: Time) {
        if self.heard.is_none_or(|before| at > before) {
            self.heard = Some(at);
            self.stalled_ns = 0;
            if self.state != State::Up {
                self.look_at = Some(at);
            }
        }
    }

    /// A heartbeat that is newer than all before told this.
    pub fn reported(&mut self, now: Time, report: Report) {
        let told = |report: &Report| (report.suspect, report.down, report.confirms);
        if self.state != State::Up || told(&report) != told(&self.report) {
            self.look_at = Some(now);
        }
        self.report = report;
        self.report_at = Some(now);
    }

    /// Judges the link.
    ///
    /// `late_ns`: how long ago this call was due. Time in which the process did not run is no evidence: a datagram may
    /// have come and wait in a queue, or the whole machine stood still. Without evidence of the kernel it does not
    /// count at all. With the kernel's own stamp of the last arrival the age counts from there, and what is left
    /// uncounted is one interval, for a datagram that a paused machine has yet to receive.
    pub fn judge(&mut self, now: Time, late_ns: u64, kernel_last_seen: Option<Time>) -> Option<Change> {
        if late_ns > self.interval_ns / 4 {
            self.stalls = self.stalls.saturating_add(1);
            if let (Some(seen), Some(heard)) = (kernel_last_seen, self.heard)
                && seen <= now
            {
                self.heard = Some(heard.max(seen));
                self.stalled_ns = if seen > heard { 0 } else { self.stalled_ns.max(late_ns.min(self.interval_ns)) };
            } else {
                self.stalled_ns = self.stalled_ns.saturating_add(late_ns).saturating_add(self.interval_ns / 2);
            }
        }
        self.look_at = None;
        self.step(now)
    }

    /// The interface got or lost its carrier.
    pub fn carrier(&mut self, now: Time, up: bool) -> Option<Change> {
        self.carrier = up;
        if up || self.state == State::Down { None } else { Some(self.enter(now, State::Down, Reason::Carrier)) }
    }

    /// The operating system refused to send for lack of a route.
    pub fn send_failed(&mut self, now: Time) -> Option<Change> {
        if self.state == State::Down {
            // Evidence from before this refusal no longer counts.
            self.since = now;
            return None;
        }
        Some(self.enter(now, State::Down, Reason::SendFailed))
    }

    /// The next moment at which `judge` may find something without a new arrival.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        if self.look_at.is_some() {
            return self.look_at;
        }
        let heard = self.heard?.plus_ns(self.stalled_ns);
        // Judged "older than", so one nanosecond later.
        let down = heard.plus_ns(self.down_after_ns() + 1);
        match self.state {
            State::Up => Some(heard.plus_ns(self.suspect_after_ns() + 1)),
            State::Suspect => Some(down),
            State::Recovering => {
                let damped = self.since.plus_ms(self.damping_ms);
                Some(if self.proven() { down.min(damped) } else { down })
            }
            State::Down => None,
        }
    }

    /// Whether both directions were heard since the state began.
    fn proven(&self) -> bool {
        self.report.confirms && self.report_at.is_some()
    }

    fn step(&mut self, now: Time) -> Option<Change> {
        let heard = self.heard?;
        let dead = if !self.carrier {
            Some(Reason::Carrier)
        } else if self.hears_nothing(now) {
            Some(Reason::Silence)
        } else if self.report.down {
            Some(Reason::ReportedSilence)
        } else {
            None
        };
        let late = if self.hears_late(now) {
            Some(Reason::Silence)
        } else if self.report.suspect {
            Some(Reason::ReportedSilence)
        } else {
            None
        };
        match (self.state, dead, late) {
            (State::Up | State::Suspect | State::Recovering, Some(reason), _) => {
                Some(self.enter(now, State::Down, reason))
            }
            (State::Up, None, Some(reason)) => Some(self.enter(now, State::Suspect, reason)),
            (State::Suspect, None, None) => Some(self.enter(now, State::Up, Reason::Heard)),
            (State::Down, None, _) if heard > self.since && self.report_at > Some(self.since) && self.proven() => {
                Some(self.enter(now, State::Recovering, Reason::Heard))
            }
            (State::Recovering, None, None) if self.proven() && now >= self.since.plus_ms(self.damping_ms) => {
                Some(self.enter(now, State::Up, Reason::Heard))
            }
            _ => None,
        }
    }

    fn enter(&mut self, now: Time, to: State, reason: Reason) -> Change {
        let change = Change { from: self.state, to, reason, age_us: self.age_ns(now) / 1_000 };
        match (self.state, to) {
            // Damping grows with each failure of a link that had carried, and not while it is still on trial.
            (State::Up | State::Suspect, State::Down) => {
                self.level = self.level.saturating_add(1);
                self.damping_ms = match self.level {
                    0 | 1 => DAMPING_MS_FIRST,
                    level => (1_000 << (level - 2).min(8)).min(DAMPING_MS_MAX),
                };
            }
            (State::Suspect, State::Up) | (State::Up, State::Suspect) => {
                // Suspicion does not end a time of being up, so `since` stays.
                self.state = to;
                return change;
            }
            _ => {}
        }
        self.state = to;
        self.since = now;
        change
    }

    /// Lets a link that has been up for long start its damping anew. Called with each report, so that it needs no
    /// timer.
    pub fn settle(&mut self, now: Time) {
        if self.state == State::Up && now.since_ns(self.since) >= STABLE_MS * 1_000_000 {
            self.level = 0;
        }
    }
}
