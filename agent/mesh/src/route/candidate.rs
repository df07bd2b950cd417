//! One route of a session and what is known of it.

use super::{
    Hop, LinkState, Path, PathId,
    explain::{Cause, Evidence, HopExplanation, PathExplanation, PathState},
    pheromone::{PREFERENCE_NEUTRAL, Pheromone, QualityInput, TAU_MIN, TRUST_FULL_Q16, quality},
};
use crate::Time;
use x0_mesh_wire::Labels;

/// A route that came back delivers this long before it counts as up, milliseconds (design 3.5: 100 ms clean).
const RECOVER_MS: u64 = 100;
/// Deliveries within that time.
const RECOVER_DELIVERIES: u32 = 3;
/// Hold-down after the first failure, milliseconds; it doubles with each.
const HOLD_MS: u64 = 1_000;
/// Longest hold-down, milliseconds.
const HOLD_MS_MAX: u64 = 30_000;
/// A route without a failure for this long starts over, milliseconds.
const HOLD_FORGET_MS: u64 = 60_000;
/// Round-trip time that is assumed before the first measurement, microseconds.
const SRTT_US_ASSUMED: u32 = 100_000;
/// What a peer may add before it answers a probe, microseconds.
const ANSWER_US: u64 = 10_000;
/// Unanswered probes after which a route is suspected.
const SUSPECT_PROBES: u32 = 2;

/// How a packet is put on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    /// The route.
    pub id: PathId,
    /// The own link over which it leaves.
    pub first_label: u32,
    /// The labels that travel.
    pub labels: Labels,
}

/// What has been measured end to end on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Smoothed round-trip time, microseconds.
    pub srtt_us: u32,
    /// Its variation, microseconds.
    pub rttvar_us: u32,
    /// Share of packets lost, 65,536 for all.
    pub loss_q16: u32,
}

/// A route and what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub path: Path,
    pub lane: Lane,
    tau: Pheromone,
    pub measure: Option<Measure>,
    pub trust_q16: u32,
    pub preference: u8,
    pub state: PathState,
    pub planned: bool,
    pub better_ticks: u8,
    pub hold_until: Time,
    pub evidence: Evidence,
    pub probed: Option<Time>,
    link: LinkState,
    notice: Option<(Time, u32)>,
    first_unanswered: Option<Time>,
    /// Since when it has delivered without a failure, and how often; none before the first delivery.
    clean: Option<(Time, u32)>,
    failed: Option<Time>,
    flaps: u32,
}

impl Candidate {
    pub fn new(path: Path, link: LinkState, now: Time) -> Self {
        let lane = Lane { id: path.id(), first_label: path.first_label(), labels: path.labels() };
        Self {
            path,
            lane,
            tau: Pheromone::new(now),
            measure: None,
            trust_q16: TRUST_FULL_Q16,
            preference: PREFERENCE_NEUTRAL,
            state: if link.carries() { PathState::Probing } else { PathState::Down },
            planned: true,
            better_ticks: 0,
            hold_until: Time(0),
            evidence: Evidence::default(),
            probed: None,
            link,
            notice: None,
            first_unanswered: None,
            clean: None,
            failed: None,
            flaps: 0,
        }
    }

    /// Its pheromone in this tick: half of it while it is suspect. A suspicion that was wrong leaves no trace, since
    /// links are suspected for a millisecond all day long, and the loss that caused it lowers the quality anyway.
    pub fn trail(&self, tick: u64) -> u32 {
        let halved = u32::from(self.state == PathState::Suspect);
        (self.tau.value(tick) >> halved).max(TAU_MIN)
    }

    pub fn id(&self) -> PathId {
        self.lane.id
    }

    /// Its rank among routes that could carry packets: state first, and among those that are up, the held ones last.
    pub fn rank(&self, now: Time) -> u8 {
        match self.state {
            PathState::Up if now >= self.hold_until => 5,
            PathState::Up => 4,
            PathState::Suspect => 3,
            PathState::Probing => 2,
            PathState::Recovering => 1,
            PathState::Down => 0,
        }
    }

    /// Its quality by the rule of pheromones.
    pub fn quality(&self, srtt_us_min: u32) -> u16 {
        let assumed = Measure { srtt_us: SRTT_US_ASSUMED.max(srtt_us_min), rttvar_us: 0, loss_q16: 0 };
        let Measure { srtt_us, rttvar_us, loss_q16 } = self.measure.unwrap_or(assumed);
        let (trust_q16, preference) = (self.trust_q16, self.preference);
        quality(&QualityInput { srtt_us, rttvar_us, srtt_us_min, loss_q16, trust_q16, preference })
    }

    pub fn link_changed(&mut self, now: Time, link: LinkState) {
        if self.link != link {
            self.link = link;
            self.evidence.link_ns = Some(now.0);
        }
    }

    pub fn can_be_probed(&self) -> bool {
        self.link.carries()
    }

    pub fn noticed(&mut self, now: Time, label: u32) {
        self.notice = Some((now, label));
        self.evidence.notice_ns = Some(now.0);
    }

    /// A packet that was sent over it at `sent` arrived. True when it says something new: a packet from before a
    /// failure says nothing about the time after it.
    pub fn delivered(&mut self, now: Time, sent: Time, srtt_us_min: u32) -> bool {
        if self.failed.is_some_and(|failed| sent < failed) {
            return false;
        }
        self.evidence.delivered_ns = Some(now.0);
        self.evidence.unanswered = 0;
        self.first_unanswered = None;
        if self.notice.is_some_and(|(since, _)| sent > since) {
            self.notice = None;
        }
        let (since, count) = self.clean.unwrap_or((now, 0));
        self.clean = Some((since, count.saturating_add(1)));
        let quality = self.quality(srtt_us_min);
        if self.state != PathState::Down {
            self.tau.deposit(now, quality);
        }
        true
    }

    pub fn probe_sent(&mut self, now: Time) {
        self.probed = Some(now);
        self.first_unanswered.get_or_insert(now);
        self.evidence.unanswered = self.evidence.unanswered.saturating_add(1);
    }

    /// How long an answer may take, microseconds.
    fn patience_us(&self) -> u64 {
        let (srtt, rttvar) = self.measure.map_or((SRTT_US_ASSUMED, 0), |measure| (measure.srtt_us, measure.rttvar_us));
        u64::from(srtt) + 4 * u64::from(rttvar) + ANSWER_US
    }

    /// Unanswered probes after which the route is down. By loss `p` each way, `n` probes in a row stay away with
    /// `(2p)^n`; the numbers keep that below one in ten thousand. A notice is evidence too, so fewer are needed.
    fn down_probes(&self) -> u32 {
        let loss_q16 = self.measure.map_or(0, |measure| measure.loss_q16);
        match (self.notice.is_some(), loss_q16) {
            (true, _) => SUSPECT_PROBES,
            (false, 0..=655) => 4,
            (false, 656..=3_276) => 6,
            (false, _) => 8,
        }
    }

    /// When silence will make a difference next, while probes are unanswered.
    pub fn next_judgement(&self) -> Option<Time> {
        let since = self.first_unanswered?;
        let patience = self.patience_us();
        let suspect = since.plus_us(patience);
        Some(if self.state == PathState::Suspect { since.plus_us(patience.saturating_mul(2)) } else { suspect })
    }

    /// What it is by everything that is known, and what that rests on.
    fn judge(&self, now: Time) -> (PathState, Option<Cause>) {
        let own_link = Some(Cause::OwnLink { label: self.lane.first_label, state: self.link });
        if !self.link.carries() {
            return (PathState::Down, own_link);
        }
        let probes = self.evidence.unanswered;
        let waited_us = self.first_unanswered.map_or(0, |since| now.since_ns(since) / 1_000);
        let silent = Some(Cause::Unanswered { probes, waited_us });
        if probes >= self.down_probes() && waited_us >= self.patience_us().saturating_mul(2) {
            return (PathState::Down, silent);
        }
        let Some((since, count)) = self.clean else {
            let state = if self.failed.is_some() { PathState::Recovering } else { PathState::Probing };
            // A route that is down stays down until something arrives.
            return if self.state == PathState::Down && self.failed.is_some() {
                (PathState::Down, self.evidence.cause)
            } else {
                (state, None)
            };
        };
        if self.failed.is_some() && (now < since.plus_ms(RECOVER_MS) || count < RECOVER_DELIVERIES) {
            return (PathState::Recovering, None);
        }
        if self.link == LinkState::Suspect {
            return (PathState::Suspect, own_link);
        }
        if let Some((_, label)) = self.notice {
            return (PathState::Suspect, Some(Cause::Notice { label }));
        }
        if probes >= SUSPECT_PROBES && waited_us >= self.patience_us() {
            return (PathState::Suspect, silent);
        }
        (PathState::Up, None)
    }

    /// Brings the state up to date; true when it changed.
    pub fn refresh(&mut self, now: Time) -> bool {
        let (state, cause) = self.judge(now);
        if cause.is_some() {
            self.evidence.cause = cause;
        }
        if state == self.state {
            return false;
        }
        match state {
            PathState::Suspect => self.evidence.suspect_ns = Some(now.0),
            PathState::Down => self.fail(now),
            PathState::Up => self.evidence.cause = None,
            PathState::Probing | PathState::Recovering => {}
        }
        self.state = state;
        true
    }

    /// Everything that its rank rests on. `rank` is its place among the live routes.
    pub fn explain(&self, tick: u64, srtt_us_min: u32, rank: Option<u8>, primary: Option<&Path>) -> PathExplanation {
        let hop = |hop: &Hop| HopExplanation {
            from: hop.from.to_string(),
            to: hop.to.to_string(),
            label: hop.label,
            underlay: hop.underlay_from,
            cost_us: hop.cost_us,
        };
        let primary = primary.filter(|primary| primary.id() != self.id());
        PathExplanation {
            id: self.id().0,
            rank,
            hops: self.path.hops().iter().map(hop).collect(),
            state: self.state,
            tau: self.trail(tick),
            quality: self.quality(srtt_us_min),
            loss_q16: self.measure.map_or(0, |measure| measure.loss_q16),
            srtt_us: self.measure.map(|measure| measure.srtt_us),
            rttvar_us: self.measure.map(|measure| measure.rttvar_us),
            trust_q16: self.trust_q16,
            preference: self.preference,
            disjointness: primary.map(|primary| self.path.disjointness(primary)),
            better_ticks: self.better_ticks,
            held_until_ns: self.hold_until.0,
            planned: self.planned,
            evidence: self.evidence,
        }
    }

    fn fail(&mut self, now: Time) {
        self.tau.floor(now);
        self.evidence.down_ns = Some(now.0);
        let recent = self.failed.is_some_and(|last| now < last.plus_ms(HOLD_FORGET_MS));
        self.flaps = if recent { self.flaps.saturating_add(1) } else { 0 };
        self.failed = Some(now);
        self.clean = None;
        self.notice = None;
        self.better_ticks = 0;
        let hold_ms = HOLD_MS.checked_shl(self.flaps.min(8)).unwrap_or(HOLD_MS_MAX).min(HOLD_MS_MAX);
        self.hold_until = now.plus_ms(hold_ms);
    }
}
