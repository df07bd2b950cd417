//! What a relay does with a data frame: a pure function of the frame's route and of tables made before.
//!
//! # Loop freedom
//! 1. A source writes routes whose nodes are distinct ([`super::Path::new`]).
//! 2. Each relay moves the pointer one label further; a repair keeps the labels before the pointer and never makes the
//!    stack longer than [`LABELS_MAX`]. So a frame leaves at most `LABELS_MAX` relays, whatever is in its labels.
//! 3. Each relay lowers the ttl, and none sends a frame whose ttl is used up.
//! 4. A frame is repaired once, by a bypass whose relays are distinct from every node that the frame passed after its
//!    source, from this node, and from every node still ahead. What cannot be resolved is not repaired.
//!
//! `docs/mesh/routing.md` has the argument, `tests/model_loops.rs` the check of all small cases.

use super::{Bypass, Bypasses, Graph};
use crate::NodeId;
use std::{collections::BTreeMap, sync::Arc};
use x0_mesh_wire::{Labels, limits::LABELS_MAX};

/// What is known of an own link, as far as packets care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// Dead in at least one direction.
    Down,
    /// New or back, and not yet trusted with packets.
    Recovering,
    /// Late; still used, and copied by sources.
    Suspect,
    /// Alive both ways.
    Up,
}

impl LinkState {
    /// Whether packets of routes that name the link are sent over it.
    #[must_use]
    pub const fn carries(self) -> bool {
        matches!(self, Self::Up | Self::Suspect)
    }
}

/// The route of a frame as it arrives at a relay.
#[derive(Clone, Copy, Debug)]
pub struct RelayInput<'a> {
    /// The neighbour that sent it, as the MAC of the hop proves.
    pub from: NodeId,
    /// All labels.
    pub labels: &'a [u32],
    /// The label of this node.
    pub pointer: u8,
    /// Hops left.
    pub ttl: u8,
    /// Whether it was repaired before.
    pub repaired: bool,
}

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It has arrived: open it.
    Local,
    /// Send it over the own link with this label; pointer one further, ttl one lower.
    Forward {
        /// The own link.
        label: u32,
    },
    /// Replace the labels from the pointer on by `ahead`, set REPAIRED, and send it over the own link `label`, which is
    /// the first of them; pointer one further, ttl one lower.
    Repair {
        /// The own link.
        label: u32,
        /// The labels from the pointer on.
        ahead: Labels,
    },
    /// Count it and forget it.
    Drop(DropReason),
}

/// Why a frame is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// The pointer is behind the labels, or there are too many.
    Malformed,
    /// No hops are left.
    TtlExpired,
    /// No own link has this label.
    NoSuchLink,
    /// It would go back to where it came from.
    UTurn,
    /// The link is down, and the frame was repaired before.
    RepairedBefore,
    /// The link is down, and no bypass is known or can be used now.
    NoBypass,
    /// The link is down, and a label before or after names no known link, so that no bypass can be judged.
    Unresolved,
    /// The link is down, and each bypass meets the frame's own route.
    NotDisjoint,
    /// The link is down, and no bypass fits into the labels that are left.
    TooLong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OwnLink {
    neighbour: NodeId,
    state: LinkState,
}

/// Everything that a relay looks at: own links by label, and the ways around them.
#[derive(Clone, Debug)]
pub struct RelayTable {
    me: NodeId,
    links: BTreeMap<u32, OwnLink>,
    graph: Arc<Graph>,
    bypasses: Bypasses,
}

/// The nodes of a route as far as it must not meet a bypass, without allocation.
#[derive(Clone, Copy)]
struct Visits {
    nodes: [u16; Self::MAX],
    count: usize,
}

impl Visits {
    /// Nodes before and after a repair; labels with several owners count each of them.
    const MAX: usize = 4 * LABELS_MAX;

    const fn new() -> Self {
        Self { nodes: [0; Self::MAX], count: 0 }
    }

    fn as_slice(&self) -> &[u16] {
        self.nodes.get(..self.count).unwrap_or(&self.nodes)
    }

    fn has(&self, node: u16) -> bool {
        self.as_slice().contains(&node)
    }

    /// Adds a node; false when there is no room, which ends the repair.
    fn add(&mut self, node: u16) -> bool {
        let Some(place) = self.nodes.get_mut(self.count) else { return false };
        *place = node;
        self.count += 1;
        true
    }
}

impl RelayTable {
    /// A relay without links.
    #[must_use]
    pub fn new(me: NodeId) -> Self {
        Self { me, links: BTreeMap::new(), graph: Arc::default(), bypasses: Bypasses::new() }
    }

    /// Sets what is known of an own link.
    pub fn set_link(&mut self, label: u32, neighbour: NodeId, state: LinkState) {
        self.links.insert(label, OwnLink { neighbour, state });
    }

    /// Forgets an own link.
    pub fn remove_link(&mut self, label: u32) {
        self.links.remove(&label);
    }

    /// Takes over new ways around and the graph in which they were found.
    pub fn set_bypasses(&mut self, graph: Arc<Graph>, bypasses: Bypasses) {
        self.graph = graph;
        self.bypasses = bypasses;
    }

    /// The graph in which the bypasses were found.
    #[must_use]
    pub const fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// The neighbour at the other end of an own link.
    #[must_use]
    pub fn neighbour(&self, label: u32) -> Option<NodeId> {
        self.links.get(&label).map(|link| link.neighbour)
    }

    /// The state of an own link.
    #[must_use]
    pub fn state(&self, label: u32) -> Option<LinkState> {
        self.links.get(&label).map(|link| link.state)
    }

    /// What to do with a frame. Constant time for a link that carries, a few searches for one that does not.
    #[must_use]
    pub fn decide(&self, input: &RelayInput<'_>) -> Decision {
        let pointer = usize::from(input.pointer);
        if input.labels.len() > LABELS_MAX || pointer > input.labels.len() {
            return Decision::Drop(DropReason::Malformed);
        }
        let Some(label) = input.labels.get(pointer).copied() else { return Decision::Local };
        if input.ttl <= 1 {
            return Decision::Drop(DropReason::TtlExpired);
        }
        let Some(link) = self.links.get(&label) else { return Decision::Drop(DropReason::NoSuchLink) };
        if link.neighbour == input.from {
            return Decision::Drop(DropReason::UTurn);
        }
        if link.state.carries() {
            return Decision::Forward { label };
        }
        if input.repaired {
            return Decision::Drop(DropReason::RepairedBefore);
        }
        let (before, from_here) = input.labels.split_at(pointer);
        let after = from_here.get(1..).unwrap_or(&[]);
        self.repair(input.from, before, link.neighbour, after).unwrap_or_else(Decision::Drop)
    }

    /// Looks for a way around the link to `failed`: another link to it, a way around the node, a way around the link.
    fn repair(&self, from: NodeId, before: &[u32], failed: NodeId, after: &[u32]) -> Result<Decision, DropReason> {
        // Another link between the same two nodes needs no knowledge of the route: the nodes stay the same.
        let parallel = self.links.iter().find(|(_, link)| link.neighbour == failed && link.state == LinkState::Up);
        if let Some((label, _)) = parallel {
            return Self::replace(*label, &[*label], before.len(), after);
        }
        let index = |node: &NodeId| self.graph.index(node).ok_or(DropReason::Unresolved);
        let (me, failed) = (index(&self.me)?, index(&failed)?);
        let mut visited = Visits::new();
        let mut room = visited.add(me) && visited.add(index(&from)?);
        for label in before {
            let mut known = false;
            for owner in self.graph.owners(*label) {
                known = true;
                // The frame just came from here, and that is no second visit.
                room &= visited.has(owner) || visited.add(owner);
            }
            if !known {
                return Err(DropReason::Unresolved);
            }
        }
        if !room {
            return Err(DropReason::Unresolved);
        }
        let mut failure = DropReason::NoBypass;
        if let Some((next, rest)) = after.split_first() {
            let merge = self.graph.resolve(failed, *next).ok_or(DropReason::Unresolved)?;
            match self.around(&visited, before.len(), (failed, merge), rest) {
                Ok(decision) => return Ok(decision),
                Err(reason) => failure = reason,
            }
        }
        self.around(&visited, before.len(), (failed, failed), after).map_err(|reason| match reason {
            DropReason::NoBypass => failure,
            other => other,
        })
    }

    /// Tries the bypasses of one kind, those over a link in the best state first.
    fn around(
        &self,
        visited: &Visits,
        before: usize,
        (failed, merge): (u16, u16),
        after: &[u32],
    ) -> Result<Decision, DropReason> {
        let ways = self.bypasses.get(&(failed, merge)).ok_or(DropReason::NoBypass)?;
        let mut ahead = Visits::new();
        let mut at = merge;
        if !ahead.add(merge) {
            return Err(DropReason::Unresolved);
        }
        for label in after {
            at = self.graph.resolve(at, *label).ok_or(DropReason::Unresolved)?;
            if ahead.has(at) || !ahead.add(at) {
                return Err(DropReason::NotDisjoint);
            }
        }
        if ahead.as_slice().iter().any(|node| visited.has(*node)) {
            return Err(DropReason::NotDisjoint);
        }
        let mut failure = DropReason::NoBypass;
        for state in [LinkState::Up, LinkState::Suspect] {
            for Bypass { labels, relays } in ways {
                let Some(first) = labels.as_slice().first().copied() else { continue };
                if self.state(first) != Some(state) {
                    continue;
                }
                if relays.iter().any(|relay| visited.has(*relay) || ahead.has(*relay)) {
                    failure = DropReason::NotDisjoint;
                    continue;
                }
                match Self::replace(first, labels.as_slice(), before, after) {
                    Ok(decision) => return Ok(decision),
                    Err(reason) => failure = reason,
                }
            }
        }
        Err(failure)
    }

    /// The decision to send over `label` with the labels of a bypass before those that stay.
    fn replace(label: u32, bypass: &[u32], before: usize, after: &[u32]) -> Result<Decision, DropReason> {
        let count = bypass.len() + after.len();
        let mut ahead = [0; LABELS_MAX];
        let place = ahead.get_mut(..count).filter(|_| before + count <= LABELS_MAX).ok_or(DropReason::TooLong)?;
        for (place, label) in place.iter_mut().zip(bypass.iter().chain(after)) {
            *place = *label;
        }
        let ahead = Labels::new(place).map_err(|_| DropReason::TooLong)?;
        Ok(Decision::Repair { label, ahead })
    }
}
