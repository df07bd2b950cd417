//! Which routes carry a session's packets.
//!
//! ```text
//!   evidence: own links, deliveries, probes, notices --> state of each candidate --+
//!   pheromone --> hysteresis: 9/8 for eight ticks --------------------------------+--> lanes 1, 2, 3 --> choose
//! ```
//!
//! # Correctness
//! * All packets of a class take the primary route while it is up, so the order of a flow is kept; nothing is striped
//!   packet by packet.
//! * While the primary is up it changes only for a route that was better by an eighth in eight ticks in a row; a
//!   suspect one is left at a tick. Both happen at most once in [`DAMPING_MS`]. Only a dead primary is left at once.
//! * A route that went down is held: it is not primary again for 1 s, 2 s, 4 s, up to 30 s, unless nothing else is up.
//! * The same calls with the same arguments give the same choices; reading changes nothing.

use super::{
    Choice, Class, Disjointness, LinkState, Path, PathId, Tick,
    candidate::{Candidate, Lane, Measure},
    explain::{Explanation, PathExplanation, PathState, Switch, SwitchReason},
    pheromone::{PREFERENCE_NEUTRAL, TICK_NS, TRUST_FULL_Q16, tick_of},
};
use crate::{NodeId, Time};
use std::collections::{BTreeMap, VecDeque};
use x0_mesh_wire::limits::{ROUTE_CANDIDATES_MAX, ROUTE_SWITCHES_MAX, ROUTES_MAX};

/// Shortest time between two changes of a primary that is not dead, milliseconds: the eight ticks of the hysteresis.
pub const DAMPING_MS: u64 = 800;
/// Ticks in a row in which another route must be better.
const BETTER_TICKS: u8 = 8;
/// Time between two probes of a live route of a session in use, milliseconds (design 3.5: 25 to 50 ms).
const PROBE_MS: u64 = 50;
/// Time between two probes of a route that is down over a link that is up, milliseconds.
const PROBE_DOWN_MS: u64 = 200;
/// Time between two probes of any route of a session that is not in use, milliseconds.
const PROBE_IDLE_MS: u64 = 1_000;
/// A session without packets for this long is not in use, milliseconds.
const IDLE_MS: u64 = 2_000;

/// The routes of one session.
#[derive(Clone, Debug)]
pub struct Scheduler {
    destination: NodeId,
    seed: u64,
    links: BTreeMap<u32, LinkState>,
    candidates: Vec<Candidate>,
    primary: Option<PathId>,
    live: [Option<PathId>; ROUTES_MAX],
    /// Live routes that bulk may take and their weights, as of the last change of their set: flows stay where they are.
    spread: [(Option<PathId>, u32); ROUTES_MAX],
    last_tick: u64,
    last_switch: Option<Time>,
    last_used: Option<Time>,
    switches: VecDeque<Switch>,
    switches_total: u64,
}

/// A number from a seed and a counter (Steele, Lea, Flood 2014: splitmix64's output function).
pub(super) const fn mix(seed: u64, counter: u64) -> u64 {
    let mut z = seed.wrapping_add(counter.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Scheduler {
    /// A session to `destination` without routes. `seed` decides which of the other candidates is tried when.
    #[must_use]
    pub fn new(destination: NodeId, seed: u64, now: Time) -> Self {
        Self {
            destination,
            seed,
            links: BTreeMap::new(),
            candidates: Vec::new(),
            primary: None,
            live: [None; ROUTES_MAX],
            spread: [(None, 0); ROUTES_MAX],
            last_tick: tick_of(now),
            last_switch: None,
            last_used: None,
            switches: VecDeque::new(),
            switches_total: 0,
        }
    }

    /// Where the session goes.
    #[must_use]
    pub const fn destination(&self) -> &NodeId {
        &self.destination
    }

    /// Takes over new candidates, the best first; at most [`ROUTE_CANDIDATES_MAX`]. What is known of those that stay is
    /// kept. A primary that delivers stays a candidate although the records no longer name it: what it does counts more.
    pub fn set_paths(&mut self, now: Time, paths: &[Path]) -> Option<Switch> {
        let mut old = core::mem::take(&mut self.candidates);
        let keeper = old
            .iter()
            .position(|candidate| Some(candidate.id()) == self.primary && candidate.state >= PathState::Suspect)
            .filter(|at| !old.get(*at).is_some_and(|kept| paths.iter().any(|path| path.id() == kept.id())));
        let mut keeper = keeper.map(|at| old.remove(at));
        if let Some(kept) = &mut keeper {
            kept.planned = false;
        }
        let room = ROUTE_CANDIDATES_MAX - usize::from(keeper.is_some());
        for path in paths.iter().filter(|path| path.destination() == Some(self.destination)).take(room) {
            if self.candidates.iter().any(|candidate| candidate.id() == path.id()) {
                continue;
            }
            let known = old.iter().position(|candidate| candidate.id() == path.id()).map(|at| old.swap_remove(at));
            let link = self.links.get(&path.first_label()).copied().unwrap_or(LinkState::Down);
            let mut candidate = known.unwrap_or_else(|| Candidate::new(path.clone(), link, now));
            // Costs may have changed with the records; the links have not.
            candidate.path.clone_from(path);
            candidate.planned = true;
            self.candidates.push(candidate);
        }
        self.candidates.extend(keeper);
        self.update(now)
    }

    /// An own link has this state. Tell every link before and whenever it changes.
    pub fn link(&mut self, now: Time, label: u32, state: LinkState) -> Option<Switch> {
        self.links.insert(label, state);
        for candidate in self.candidates.iter_mut().filter(|candidate| candidate.lane.first_label == label) {
            candidate.link_changed(now, state);
        }
        self.update(now)
    }

    /// An own link is gone for good.
    pub fn link_gone(&mut self, now: Time, label: u32) -> Option<Switch> {
        let switch = self.link(now, label, LinkState::Down);
        self.links.remove(&label);
        switch
    }

    /// A relay says that a link of `owner` is dead. Routes over it are suspected until they deliver a packet that was
    /// sent later; nothing else follows from a notice, since a relay may lie.
    pub fn notice(&mut self, now: Time, owner: &NodeId, label: u32) -> Option<Switch> {
        for candidate in self.candidates.iter_mut().filter(|candidate| candidate.path.uses(owner, label)) {
            candidate.noticed(now, label);
        }
        self.update(now)
    }

    /// A packet or a probe that was sent over this route at `sent` is known to have arrived.
    pub fn delivered(&mut self, now: Time, id: PathId, sent: Time) -> Option<Switch> {
        let srtt_us_min = self.srtt_us_min();
        let candidate = self.candidates.iter_mut().find(|candidate| candidate.id() == id)?;
        if candidate.delivered(now, sent, srtt_us_min) && candidate.state != PathState::Up {
            return self.update(now);
        }
        None
    }

    /// A probe was sent over this route.
    pub fn probe_sent(&mut self, now: Time, id: PathId) {
        if let Some(candidate) = self.candidates.iter_mut().find(|candidate| candidate.id() == id) {
            candidate.probe_sent(now);
        }
    }

    /// Round-trip time, variation and loss of this route, as measured end to end.
    pub fn measured(&mut self, id: PathId, measure: Measure) {
        if let Some(candidate) = self.candidates.iter_mut().find(|candidate| candidate.id() == id) {
            candidate.measure = Some(measure);
        }
    }

    /// Trust in the least trusted node of this route (65,536 for full) and the operator's weight for it (16 neutral).
    pub fn weigh(&mut self, id: PathId, trust_q16: u32, preference: u8) {
        if let Some(candidate) = self.candidates.iter_mut().find(|candidate| candidate.id() == id) {
            candidate.trust_q16 = trust_q16.min(TRUST_FULL_Q16);
            candidate.preference = preference.min(PREFERENCE_NEUTRAL);
        }
    }

    /// The candidates.
    pub fn paths(&self) -> impl Iterator<Item = &Path> + '_ {
        self.candidates.iter().map(|candidate| &candidate.path)
    }

    /// How packets are put on this route.
    #[must_use]
    pub fn lane(&self, id: PathId) -> Option<&Lane> {
        self.find(id).map(|candidate| &candidate.lane)
    }

    /// What this route is believed to be.
    #[must_use]
    pub fn state(&self, id: PathId) -> Option<PathState> {
        self.find(id).map(|candidate| candidate.state)
    }

    /// The primary route.
    #[must_use]
    pub const fn primary(&self) -> Option<PathId> {
        self.primary
    }

    /// The live routes, the primary first.
    pub fn live(&self) -> impl Iterator<Item = PathId> + '_ {
        self.live.iter().flatten().copied()
    }

    /// Does what is due at `now`.
    pub fn tick(&mut self, now: Time) -> Tick {
        let tick = tick_of(now);
        let mut switched = self.update(now);
        let mut due = Tick::default();
        if tick > self.last_tick {
            self.last_tick = tick;
            // The tick before is complete: every route had its chance to deposit.
            switched = switched.or_else(|| self.compare(now, tick - 1));
            if self.last_used.is_some_and(|last| now < last.plus_ms(IDLE_MS))
                && let Some(id) = self.explore(tick)
            {
                due.push(id);
            }
        }
        for candidate in &self.candidates {
            if self.probe_due(candidate).is_some_and(|at| at <= now) {
                due.push(candidate.id());
            }
        }
        due.switched = switched;
        due
    }

    /// When [`Scheduler::tick`] is due next.
    #[must_use]
    pub fn deadline(&self) -> Time {
        let due = self.candidates.iter().filter_map(|candidate| self.probe_due(candidate));
        due.fold(self.deadline_without_probes(), Ord::min)
    }

    /// The same while no probe can be sent, because there is no session yet: one that is due would stay due.
    #[must_use]
    pub fn deadline_without_probes(&self) -> Time {
        let next_tick = Time((self.last_tick + 1).saturating_mul(TICK_NS));
        let judged = self
            .candidates
            .iter()
            .filter(|candidate| candidate.state >= PathState::Probing)
            .filter_map(Candidate::next_judgement)
            .filter(|at| *at > Time(self.last_tick.saturating_mul(TICK_NS)));
        judged.fold(next_tick, Ord::min)
    }

    /// The routes for a packet of this class. `flow` is a hash of its addresses and ports. Constant time, no allocation.
    pub fn choose(&mut self, now: Time, class: Class, flow: u32) -> Choice {
        self.last_used = Some(now);
        let mut choice = Choice::default();
        let first = match class {
            Class::Critical | Class::Normal => self.primary,
            Class::Bulk => self.spread_over(flow).or(self.primary),
        };
        let Some(first) = first.and_then(|id| self.find(id)) else { return choice };
        choice.push(&first.lane);
        let mut copies = usize::from(class == Class::Critical);
        let mut reliable = first.state == PathState::Up;
        for id in self.live.iter().flatten().filter(|id| **id != first.id()) {
            // A copy is worth its bytes when the packet may be lost without it, and when it may arrive itself.
            let Some(other) = self.find(*id).filter(|other| other.state != PathState::Down) else { continue };
            if copies == 0 && reliable {
                break;
            }
            copies = copies.saturating_sub(1);
            reliable |= other.state == PathState::Up;
            choice.push(&other.lane);
        }
        choice
    }

    fn spread_over(&self, flow: u32) -> Option<PathId> {
        let total: u64 = self.spread.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut place = (u64::from(flow) * total) >> 32;
        for (id, weight) in &self.spread {
            let weight = u64::from(*weight);
            if place < weight {
                return *id;
            }
            place -= weight;
        }
        None
    }

    fn find(&self, id: PathId) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.id() == id)
    }

    fn srtt_us_min(&self) -> u32 {
        let measured = self.candidates.iter().filter_map(|candidate| candidate.measure);
        measured.map(|measure| measure.srtt_us).min().unwrap_or(0)
    }

    /// Brings all states up to date, leaves a dead primary, and orders the lanes when something changed.
    fn update(&mut self, now: Time) -> Option<Switch> {
        let mut changed = false;
        for candidate in &mut self.candidates {
            changed |= candidate.refresh(now);
        }
        let switch = self.leave_dead(now);
        if switch.is_some() || changed || self.is_stale() {
            self.order(now);
        }
        switch
    }

    /// Whether lanes name routes that are no candidates, or candidates are missing on free lanes.
    fn is_stale(&self) -> bool {
        let missing = self.live().any(|id| self.find(id).is_none());
        missing || self.live().count() < self.candidates.len().min(ROUTES_MAX)
    }

    /// Changes the primary at once when there is none, when it is dead, and when it never was up and another is.
    fn leave_dead(&mut self, now: Time) -> Option<Switch> {
        let tick = tick_of(now);
        // Among equals the earlier candidate wins, which is the cheaper by the records.
        let rank = |candidate: &Candidate| (candidate.rank(now), candidate.trail(tick));
        let best = self.candidates.iter().rev().max_by_key(|candidate| rank(candidate))?;
        let (to, best_rank) = (best.id(), best.rank(now));
        let Some(current) = self.primary.and_then(|id| self.find(id)) else {
            let reason = if self.primary.is_some() { SwitchReason::Withdrawn } else { SwitchReason::First };
            return self.switch(now, to, reason);
        };
        let damped = self.last_switch.is_some_and(|last| now < last.plus_ms(DAMPING_MS)) && self.switches_total > 1;
        match current.state {
            PathState::Down if best_rank > 0 => self.switch(now, to, SwitchReason::Down),
            PathState::Probing | PathState::Recovering if best_rank >= 4 && !damped => {
                self.switch(now, to, SwitchReason::Unproved)
            }
            _ => None,
        }
    }

    /// At the end of a tick: counts who was better, and changes the primary when one was for long enough.
    fn compare(&mut self, now: Time, tick: u64) -> Option<Switch> {
        let current = self.primary.and_then(|id| self.find(id))?;
        let (current_id, suspect) = (current.id(), current.state == PathState::Suspect);
        let current_tau = u64::from(current.trail(tick));
        let needed = if suspect { 1 } else { BETTER_TICKS };
        let mut best: Option<(u32, PathId)> = None;
        for candidate in self.candidates.iter_mut().rev() {
            let tau = candidate.trail(tick);
            let better = candidate.id() != current_id
                && candidate.state == PathState::Up
                && now >= candidate.hold_until
                && u64::from(tau) * 8 > current_tau * 9;
            candidate.better_ticks = if better { candidate.better_ticks.saturating_add(1) } else { 0 };
            if candidate.better_ticks >= needed && best.is_none_or(|(most, _)| tau >= most) {
                best = Some((tau, candidate.id()));
            }
        }
        let (_, to) = best?;
        if self.last_switch.is_some_and(|last| now < last.plus_ms(DAMPING_MS)) {
            return None;
        }
        let reason = if suspect { SwitchReason::Suspected } else { SwitchReason::Better };
        let switch = self.switch(now, to, reason);
        self.order(now);
        switch
    }

    fn switch(&mut self, now: Time, to: PathId, reason: SwitchReason) -> Option<Switch> {
        let tick = tick_of(now);
        let before = self.primary.and_then(|id| self.find(id));
        let after = self.find(to)?;
        let switch = Switch {
            at_ns: now.0,
            from: self.primary.map(|id| id.0),
            to: to.0,
            reason,
            from_state: before.map(|candidate| candidate.state),
            to_state: after.state,
            from_tau: before.map_or(0, |candidate| candidate.trail(tick)),
            to_tau: after.trail(tick),
            evidence: before.map(|candidate| candidate.evidence).unwrap_or_default(),
        };
        if self.primary == Some(to) {
            return None;
        }
        self.primary = Some(to);
        self.last_switch = Some(now);
        self.switches_total = self.switches_total.saturating_add(1);
        for candidate in &mut self.candidates {
            candidate.better_ticks = 0;
        }
        // A primary that the records no longer name stayed for what it did; as a spare it has no place.
        self.candidates.retain(|candidate| candidate.planned || candidate.id() == to);
        if self.switches.len() >= ROUTE_SWITCHES_MAX {
            self.switches.pop_front();
        }
        self.switches.push_back(switch);
        Some(switch)
    }

    /// Chooses the second and the third route by pheromone and disjointness, and the weights for bulk.
    fn order(&mut self, now: Time) {
        let (tick, srtt_us_min) = (tick_of(now), self.srtt_us_min());
        let old = (self.live, self.spread);
        let mut live: [Option<PathId>; ROUTES_MAX] = [None; ROUTES_MAX];
        let mut chosen: Vec<usize> = Vec::with_capacity(ROUTES_MAX);
        chosen.extend(self.candidates.iter().position(|candidate| Some(candidate.id()) == self.primary));
        while chosen.len() < ROUTES_MAX {
            let score = |at: &usize| {
                let candidate = self.candidates.get(*at)?;
                let shared = chosen
                    .iter()
                    .filter_map(|other| self.candidates.get(*other))
                    .map(|other| candidate.path.disjointness(&other.path))
                    .min()
                    .unwrap_or(Disjointness::Full);
                // A route that is rarely tried has little pheromone; what it would have in use is sixteen qualities.
                let promise = candidate.trail(tick).max(u32::from(candidate.quality(srtt_us_min)) * 16);
                Some((candidate.state >= PathState::Suspect, candidate.state, u64::from(promise) * shared.quarters()))
            };
            let next = (0..self.candidates.len()).rev().filter(|at| !chosen.contains(at)).max_by_key(score);
            let Some(next) = next else { break };
            chosen.push(next);
        }
        for (place, at) in live.iter_mut().zip(&chosen) {
            *place = self.candidates.get(*at).map(Candidate::id);
        }
        self.live = live;
        let up = |id: &PathId| self.find(*id).is_some_and(|candidate| candidate.state == PathState::Up);
        let mut spread = [(None, 0); ROUTES_MAX];
        for (place, id) in spread.iter_mut().zip(self.live().filter(up)) {
            let tau = self.find(id).map_or(0, |candidate| candidate.trail(tick));
            *place = (Some(id), tau.max(1));
        }
        // Weights change with the set only, so that flows are not moved by every tick.
        let same = spread.iter().zip(&old.1).all(|((id, _), (before, _))| id == before);
        self.spread = if same { old.1 } else { spread };
    }

    /// One candidate that is not live, drawn for this tick.
    fn explore(&self, tick: u64) -> Option<PathId> {
        let others: Vec<PathId> = self
            .candidates
            .iter()
            .filter(|candidate| candidate.can_be_probed() && !self.live().any(|id| id == candidate.id()))
            .map(Candidate::id)
            .collect();
        let count = u64::try_from(others.len()).ok().filter(|count| *count > 0)?;
        others.get(usize::try_from(mix(self.seed, tick) % count).ok()?).copied()
    }

    /// When a probe of this candidate is due; none when it is tried by exploration only.
    fn probe_due(&self, candidate: &Candidate) -> Option<Time> {
        if !candidate.can_be_probed() {
            return None;
        }
        let since = candidate.probed.unwrap_or(Time(0));
        let in_use = self.last_used.is_some_and(|last| since < last.plus_ms(IDLE_MS));
        let is_live = self.live().any(|id| id == candidate.id());
        let interval_ms = match candidate.state {
            _ if !in_use => PROBE_IDLE_MS,
            PathState::Down => PROBE_DOWN_MS,
            PathState::Probing | PathState::Recovering => PROBE_MS,
            PathState::Suspect | PathState::Up if is_live => PROBE_MS,
            PathState::Suspect | PathState::Up => return None,
        };
        Some(since.plus_ms(interval_ms))
    }

    /// Why the routes stand where they stand, and the last changes with their reasons.
    #[must_use]
    pub fn explain(&self, now: Time) -> Explanation {
        let (tick, srtt_us_min) = (tick_of(now), self.srtt_us_min());
        let primary = self.primary.and_then(|id| self.find(id));
        let mut paths: Vec<PathExplanation> = self
            .candidates
            .iter()
            .map(|candidate| {
                let rank = self.live().position(|id| id == candidate.id()).and_then(|at| u8::try_from(at + 1).ok());
                candidate.explain(tick, srtt_us_min, rank, primary.map(|primary| &primary.path))
            })
            .collect();
        paths.sort_by_key(|path| (path.rank.unwrap_or(u8::MAX), path.id));
        Explanation {
            destination: self.destination.to_string(),
            at_ns: now.0,
            primary: self.primary.map(|id| id.0),
            paths,
            switches: self.switches.iter().copied().collect(),
            switches_total: self.switches_total,
        }
    }
}
