//! Why a route carries packets, and why it was another one before: values to print, to store and to compare.

use super::{Disjointness, LinkState};
use serde::Serialize;

/// What a candidate is believed to be, from the worst to the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathState {
    /// Its own link is down, or its probes stay away.
    Down,
    /// It was down and answers again, for less than the time of damping.
    Recovering,
    /// Nothing has arrived over it yet.
    Probing,
    /// A link on it is late, a relay calls a link on it dead, or probes are late.
    Suspect,
    /// It delivers.
    Up,
}

/// What a suspicion or a failure rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Cause {
    /// The own first link changed its state.
    OwnLink {
        /// Its label.
        label: u32,
        /// Its state.
        state: LinkState,
    },
    /// A relay called a link dead.
    Notice {
        /// The label of the link.
        label: u32,
    },
    /// Probes were not answered.
    Unanswered {
        /// How many.
        probes: u32,
        /// Since the first of them, microseconds.
        waited_us: u64,
    },
}

/// Why the primary route changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SwitchReason {
    /// There was none before.
    First,
    /// Another had more pheromone by an eighth for eight ticks.
    Better,
    /// The primary was suspect at a tick, and another had more pheromone by an eighth.
    Suspected,
    /// The primary went down.
    Down,
    /// The primary never was up, and another is.
    Unproved,
    /// The primary is no route any more.
    Withdrawn,
}

/// What was known of a route at a moment. Times are of the monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// When the last packet is known to have arrived, nanoseconds.
    pub delivered_ns: Option<u64>,
    /// When the own first link changed last, nanoseconds.
    pub link_ns: Option<u64>,
    /// When a relay called a link of it dead, nanoseconds.
    pub notice_ns: Option<u64>,
    /// When it was suspected last, nanoseconds.
    pub suspect_ns: Option<u64>,
    /// When it went down last, nanoseconds.
    pub down_ns: Option<u64>,
    /// Probes without answer.
    pub unanswered: u32,
    /// What suspicion or failure rests on.
    pub cause: Option<Cause>,
}

/// One change of the primary route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Switch {
    /// When, nanoseconds of the monotonic clock.
    pub at_ns: u64,
    /// The route before.
    pub from: Option<u64>,
    /// The route after.
    pub to: u64,
    /// Why.
    pub reason: SwitchReason,
    /// State of the route before.
    pub from_state: Option<PathState>,
    /// State of the route after.
    pub to_state: PathState,
    /// Pheromone of the route before.
    pub from_tau: u32,
    /// Pheromone of the route after.
    pub to_tau: u32,
    /// What was known of the route before.
    pub evidence: Evidence,
}

/// One link of a route, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HopExplanation {
    /// Who sends, hex.
    pub from: String,
    /// Who receives, hex.
    pub to: String,
    /// The sender's label.
    pub label: u32,
    /// The sender's underlay.
    pub underlay: u32,
    /// Its cost by the records, microseconds.
    pub cost_us: u32,
}

/// A candidate with everything that its rank rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PathExplanation {
    /// Its name.
    pub id: u64,
    /// 1, 2 or 3 for live routes.
    pub rank: Option<u8>,
    /// Its links.
    pub hops: Vec<HopExplanation>,
    /// What it is believed to be.
    pub state: PathState,
    /// Its pheromone.
    pub tau: u32,
    /// Its quality.
    pub quality: u16,
    /// Share of packets lost, 65,536 for all.
    pub loss_q16: u32,
    /// Smoothed round-trip time, microseconds; none before the first measurement.
    pub srtt_us: Option<u32>,
    /// Its variation, microseconds.
    pub rttvar_us: Option<u32>,
    /// Trust in its least trusted node.
    pub trust_q16: u32,
    /// The operator's weight.
    pub preference: u8,
    /// What it has in common with the primary.
    pub disjointness: Option<Disjointness>,
    /// Ticks in a row in which it was better than the primary by an eighth.
    pub better_ticks: u8,
    /// Not primary before this moment unless nothing else is left, nanoseconds.
    pub held_until_ns: u64,
    /// Whether the records still name it.
    pub planned: bool,
    /// What is known of it.
    pub evidence: Evidence,
}

/// Why the routes to a destination stand where they stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The destination, hex.
    pub destination: String,
    /// When this was asked, nanoseconds of the monotonic clock.
    pub at_ns: u64,
    /// The primary route.
    pub primary: Option<u64>,
    /// All candidates, the live ones first.
    pub paths: Vec<PathExplanation>,
    /// The last changes of the primary route, oldest first.
    pub switches: Vec<Switch>,
    /// Changes since the session began.
    pub switches_total: u64,
}
