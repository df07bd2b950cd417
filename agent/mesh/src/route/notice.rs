//! Notices of dead links: one hop at a time, to those who sent packets over the link a moment ago.

use super::{Refusal, schedule::mix};
use crate::{NodeId, Time};
use std::collections::{BTreeMap, BTreeSet};
use x0_mesh_wire::{
    Labels,
    limits::{LABELS_MAX, ROUTE_NOTICE_INTERVAL_MS, ROUTE_USED_MAX, ROUTE_USED_MS},
};

/// A route on which a packet passed.
#[derive(Clone, Copy, Debug)]
struct Used {
    from: NodeId,
    /// The labels from this node's own on.
    ahead: Labels,
    at: Time,
}

/// Who sent packets over which labels, lately. Each route has one place by its hash, so that remembering one costs a
/// few nanoseconds and no allocation; two routes on one place cost a notice, which costs time and no packet.
#[derive(Clone, Debug)]
pub(super) struct Usage(Vec<Option<Used>>);

impl Usage {
    pub fn new() -> Self {
        Self(vec![None; ROUTE_USED_MAX])
    }

    /// A packet passed from `from` with these labels ahead.
    pub fn passed(&mut self, now: Time, from: NodeId, ahead: &[u32]) {
        let mut hash = 0;
        for word in from
            .0
            .first_chunk::<8>()
            .map(|word| u64::from_be_bytes(*word))
            .into_iter()
            .chain(ahead.iter().map(|label| u64::from(*label)))
        {
            hash = mix(hash ^ word, 1);
        }
        let Ok(ahead) = Labels::new(ahead.get(..ahead.len().min(LABELS_MAX)).unwrap_or(&[])) else { return };
        let places = u64::try_from(self.0.len().max(1)).unwrap_or(1);
        if let Some(place) = usize::try_from(hash % places).ok().and_then(|at| self.0.get_mut(at)) {
            *place = Some(Used { from, ahead, at: now });
        }
    }

    /// Who sent packets lately whose labels ahead fit.
    pub fn senders(&self, now: Time, fits: impl Fn(&[u32]) -> bool) -> BTreeSet<NodeId> {
        let recent = |used: &&Used| now <= used.at.plus_ms(ROUTE_USED_MS);
        self.0
            .iter()
            .flatten()
            .filter(recent)
            .filter(|used| fits(used.ahead.as_slice()))
            .map(|used| used.from)
            .collect()
    }
}

/// Which notices went to whom, so that none goes twice in a short time.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent(BTreeMap<(NodeId, NodeId, u32), Time>);

impl Sent {
    /// Whether this neighbour may get a notice about this link now; remembers it.
    pub fn may(&mut self, now: Time, to: NodeId, owner: NodeId, label: u32) -> bool {
        self.0.retain(|_, at| now < at.plus_ms(ROUTE_NOTICE_INTERVAL_MS));
        match self.0.entry((to, owner, label)) {
            std::collections::btree_map::Entry::Occupied(_) => false,
            std::collections::btree_map::Entry::Vacant(place) => {
                // What is remembered is at most what all neighbours may send within the interval.
                place.insert(now);
                true
            }
        }
    }
}

/// Checks a notice against what the records say: whoever owns the link must claim it.
///
/// # Errors
/// [`Refusal::NoticeUnknown`].
pub(super) fn check(me: &NodeId, owner: NodeId, label: u32, claimed: bool) -> Result<(), Refusal> {
    if owner == *me || !claimed {
        return Err(Refusal::NoticeUnknown { owner, label });
    }
    Ok(())
}
