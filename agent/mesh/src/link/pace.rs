//! How often a link speaks, and when next.

use super::behaviour::Rhythm;
use crate::Time;

/// Interval of a link that carries traffic, microseconds.
pub const INTERVAL_ACTIVE_US: u32 = 2_000;
/// Interval of a link that carries traffic and loses so much that many misses mean "down", microseconds.
pub const INTERVAL_LOSSY_US: u32 = 1_000;
/// Interval of a link that stands by, microseconds.
pub const INTERVAL_STANDBY_US: u32 = 20_000;
/// Interval of a link that nobody uses, microseconds.
pub const INTERVAL_IDLE_US: u32 = 200_000;
/// Shortest and longest interval that a neighbour may announce, microseconds.
pub const INTERVAL_US: (u32, u32) = (500, 1_000_000);
/// A link counts as carrying for so long after the last data, milliseconds.
pub const ACTIVE_MS: u64 = 2_000;
/// More data frames than this within this time are traffic, milliseconds.
const BURST_FRAMES: u8 = 8;
const BURST_MS: u64 = 500;
/// With more misses than this the interval shrinks, so that "down" still takes at most 8 ms.
const MISSES_CALM: u8 = 4;
/// A new link speaks fast for so long, so that both ends soon know each other, milliseconds.
const GREETING_MS: u64 = 200;
/// Heartbeats whose sending is remembered.
const BEATS: usize = 64;
/// Processor time of one heartbeat, sent and received, microseconds; and the share of a core for all of them.
const BEAT_COST_US: u32 = 10;
const BUDGET_PERCENT: u32 = 5;

/// Smallest heartbeat interval that keeps the probing of so many active links under 5 % of a core, microseconds.
#[must_use]
pub const fn governed_interval_us(links: u32) -> u32 {
    links.saturating_mul(BEAT_COST_US * 100 / BUDGET_PERCENT)
}

/// How eagerly a link is probed while nothing passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// In no route of a session: every 200 ms.
    Idle,
    /// In a route of a session: every 20 ms.
    Standby,
    /// Must be known exactly though nothing passes: every 2 ms.
    Active,
}

/// A heartbeat that was sent.
#[derive(Clone, Copy, Debug, Default)]
struct Beat {
    seq: u64,
    at: Time,
}

/// When this end speaks.
#[derive(Clone, Debug)]
pub struct Pace {
    rhythm: Rhythm,
    created: Time,
    duty: Duty,
    minimum_us: u32,
    carried: Option<Time>,
    /// Data frames since a moment: a few in a while are probes of an idle session, and no traffic.
    burst: (Time, u8),
    /// What the heartbeats say.
    announced_us: u32,
    /// The first heartbeat that said so. Older ones with the same words were taken back since.
    announced_by: Option<u64>,
    /// What is kept. Shorter than what is announced until the other end has heard the announcement: it would take the
    /// longer gaps for silence.
    interval_us: u32,
    last_sent: Option<(Time, u64)>,
    last_beat: Option<Time>,
    /// Since when a heartbeat is due at once.
    urgent: Option<Time>,
    /// When the interval last shrank: what is due by the new one was not due before.
    shrank: Time,
    beats: [Beat; BEATS],
    beats_sent: usize,
}

impl Pace {
    /// A link that has not spoken yet; its first heartbeat is due at once.
    #[must_use]
    pub const fn new(now: Time, rhythm: Rhythm) -> Self {
        Self {
            rhythm,
            created: now,
            duty: Duty::Standby,
            minimum_us: 0,
            carried: None,
            burst: (now, 0),
            announced_us: INTERVAL_ACTIVE_US,
            announced_by: None,
            interval_us: INTERVAL_ACTIVE_US,
            last_sent: None,
            last_beat: None,
            urgent: None,
            shrank: now,
            beats: [Beat { seq: 0, at: Time(0) }; BEATS],
            beats_sent: 0,
        }
    }

    /// A pace for fresh keys of the same link.
    #[must_use]
    pub const fn renewed(&self, now: Time, rhythm: Rhythm) -> Self {
        let mut new = Self::new(now, rhythm);
        new.duty = self.duty;
        new.minimum_us = self.minimum_us;
        new.carried = self.carried;
        new
    }

    /// Sets how eagerly the link is probed.
    pub const fn set_duty(&mut self, duty: Duty) {
        self.duty = duty;
    }

    /// How eagerly the link is probed.
    #[must_use]
    pub const fn duty(&self) -> Duty {
        self.duty
    }

    /// Sets the lower bound of the governor, microseconds.
    pub const fn set_minimum_us(&mut self, us: u32) {
        self.minimum_us = us;
    }

    /// A data frame passed, in either direction. Idle sessions probe their routes about once a second, which must not
    /// keep the link at its fastest: traffic is what comes more often.
    pub const fn carried(&mut self, now: Time) {
        let (since, frames) = self.burst;
        let frames = if now.since_ns(since) < BURST_MS * 1_000_000 { frames.saturating_add(1) } else { 1 };
        self.burst = (if frames == 1 { now } else { since }, frames);
        if frames > BURST_FRAMES {
            self.carried = Some(now);
        }
    }

    /// Interval that is kept, microseconds.
    #[must_use]
    pub const fn interval_us(&self) -> u32 {
        self.interval_us
    }

    /// Interval that the next heartbeat announces, microseconds.
    #[must_use]
    pub const fn announced_us(&self) -> u32 {
        self.announced_us
    }

    /// A heartbeat is due now: the other end must learn something.
    pub const fn urge(&mut self, now: Time) {
        if self.urgent.is_none() {
            self.urgent = Some(now);
        }
    }

    /// Follows duty, traffic and the misses that the other end needs at its loss.
    pub fn follow(&mut self, now: Time, misses_out: u8) {
        let active =
            self.duty == Duty::Active || self.carried.is_some_and(|at| now.since_ns(at) < ACTIVE_MS * 1_000_000);
        let wanted = if active && misses_out > MISSES_CALM {
            INTERVAL_LOSSY_US
        } else if active || now.since_ns(self.created) < GREETING_MS * 1_000_000 {
            INTERVAL_ACTIVE_US
        } else if self.duty == Duty::Standby {
            INTERVAL_STANDBY_US
        } else {
            INTERVAL_IDLE_US
        };
        let wanted = wanted.max(self.minimum_us).clamp(INTERVAL_US.0, INTERVAL_US.1);
        if wanted != self.announced_us {
            self.announced_us = wanted;
            self.announced_by = None;
        }
        if self.announced_us < self.interval_us {
            self.interval_us = self.announced_us;
            self.shrank = now;
        }
    }

    /// A frame was sent.
    pub const fn sent(&mut self, now: Time, seq: u64) {
        self.last_sent = Some((now, seq));
    }

    /// A heartbeat was sent.
    pub fn beat(&mut self, now: Time, seq: u64) {
        self.sent(now, seq);
        self.last_beat = Some(now);
        self.announced_by.get_or_insert(seq);
        self.urgent = None;
        let at = self.beats_sent % BEATS;
        if let Some(place) = self.beats.get_mut(at) {
            *place = Beat { seq, at: now };
        }
        self.beats_sent = self.beats_sent.wrapping_add(1);
    }

    /// When the heartbeat with this number was sent, if that is still remembered.
    #[must_use]
    pub fn sent_at(&self, low_seq: u32) -> Option<Time> {
        self.beats
            .iter()
            .find(|beat| beat.seq != 0 && beat.seq & u64::from(u32::MAX) == u64::from(low_seq))
            .map(|beat| beat.at)
    }

    /// The other end has seen some of our frames: when a heartbeat with the present announcement is among them, the
    /// longer interval may be kept.
    pub fn confirmed(&mut self, seen: impl Fn(u64) -> bool) {
        let Some(first) = self.announced_by.filter(|_| self.interval_us < self.announced_us) else { return };
        if self.beats.iter().any(|beat| beat.seq >= first && seen(beat.seq)) {
            self.interval_us = self.announced_us;
        }
    }

    /// When the next heartbeat is due. Data takes its place, but not for more than one: the other end needs the
    /// reports, and data may be lost for its size.
    #[must_use]
    pub fn due(&self) -> Time {
        let (Some((sent, seq)), Some(beat)) = (self.last_sent, self.last_beat) else { return self.created };
        if let Some(urgent) = self.urgent {
            return urgent;
        }
        let interval_ns = u64::from(self.interval_us) * 1_000;
        sent.plus_ns(self.rhythm.gap_ns(seq, interval_ns)).min(beat.plus_ns(2 * interval_ns)).max(self.shrank)
    }
}
