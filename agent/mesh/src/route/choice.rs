//! What a scheduler answers: the routes of a packet, and what is due.

use super::{Lane, PathId, Switch};
use x0_mesh_wire::limits::{ROUTE_CANDIDATES_MAX, ROUTES_MAX};

/// How much a packet matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Always on two routes (DSCP EF and CS6, control, what the operator names).
    Critical,
    /// On the primary; copied while it is suspect.
    Normal,
    /// Spread over the live routes flow by flow; copied while its route is suspect.
    Bulk,
}

/// The routes that a packet takes, the first one first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    lanes: [Option<Lane>; ROUTES_MAX],
}

impl Choice {
    /// The routes in order; all after the first carry copies.
    pub fn iter(&self) -> impl Iterator<Item = &Lane> + '_ {
        self.lanes.iter().flatten()
    }

    /// The route of the packet itself; none when there is no route.
    #[must_use]
    pub const fn first(&self) -> Option<&Lane> {
        let [first, ..] = &self.lanes;
        first.as_ref()
    }

    pub(super) fn push(&mut self, lane: &Lane) {
        if !self.iter().any(|taken| taken.id == lane.id)
            && let Some(place) = self.lanes.iter_mut().find(|place| place.is_none())
        {
            *place = Some(*lane);
        }
    }
}

/// What is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick {
    probes: [Option<PathId>; ROUTE_CANDIDATES_MAX],
    /// The primary changed: replay the tail.
    pub switched: Option<Switch>,
}

impl Tick {
    /// Routes on which a probe is due; call [`super::Scheduler::probe_sent`] for each that was sent.
    pub fn probes(&self) -> impl Iterator<Item = PathId> + '_ {
        self.probes.iter().flatten().copied()
    }

    pub(super) fn push(&mut self, id: PathId) {
        if !self.probes().any(|taken| taken == id)
            && let Some(place) = self.probes.iter_mut().find(|place| place.is_none())
        {
            *place = Some(id);
        }
    }
}
