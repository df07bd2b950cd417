//! What is remembered about peers between handshakes, bounded.

use crate::{NodeId, Time};
use std::collections::{BTreeMap, BTreeSet};
use x0_mesh_wire::limits::{HANDSHAKE_PEERS_REMEMBERED_MAX, HANDSHAKES_PER_PEER_PER_MINUTE};

const MINUTE_NS: u64 = 60_000_000_000;

/// What is remembered about peers.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// Handshakes that each name completed as initiator, and since when they are counted.
    completed: BTreeMap<NodeId, (Time, u32)>,
    /// Peers that answered and then gave no proof: perhaps they do not know our key. Who needed it once
    /// needs it again after a restart, so names stay until newer ones push them out.
    want_key: BTreeSet<NodeId>,
}

impl Peers {
    /// Whether our key should go along.
    pub(super) fn wants_key(&self, peer: &NodeId) -> bool {
        self.want_key.contains(peer)
    }

    pub(super) fn no_proof(&mut self, peer: NodeId) {
        if self.want_key.len() >= HANDSHAKE_PEERS_REMEMBERED_MAX {
            self.want_key.pop_first();
        }
        self.want_key.insert(peer);
    }

    /// Whether the name has completed as many handshakes within a minute as are allowed.
    pub(super) fn is_too_frequent(&self, peer: &NodeId, now: Time) -> bool {
        self.completed
            .get(peer)
            .is_some_and(|(since, count)| now.since_ns(*since) < MINUTE_NS && *count >= HANDSHAKES_PER_PEER_PER_MINUTE)
    }

    /// Counts a completed handshake.
    pub(super) fn count(&mut self, peer: NodeId, now: Time) {
        if !self.completed.contains_key(&peer) && self.completed.len() >= HANDSHAKE_PEERS_REMEMBERED_MAX {
            self.completed.retain(|_, (since, _)| now.since_ns(*since) < MINUTE_NS);
            if self.completed.len() >= HANDSHAKE_PEERS_REMEMBERED_MAX {
                self.completed.pop_first();
            }
        }
        let entry = self.completed.entry(peer).or_insert((now, 0));
        if now.since_ns(entry.0) >= MINUTE_NS {
            *entry = (now, 0);
        }
        entry.1 += 1;
    }

    /// How many names are remembered for either reason.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.completed.len(), self.want_key.len())
    }
}
