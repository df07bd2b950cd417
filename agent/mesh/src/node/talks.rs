//! Conversations: one with each peer that this node exchanges packets with.

use super::{
    peers::PeerIx,
    slots::{Probes, Slots, Waiting},
};
use crate::{
    NodeId, Time,
    route::{PathId, Scheduler},
    session::SessionSet,
};
use std::{collections::BTreeMap, net::Ipv6Addr};

/// Most conversations at once.
pub const TALKS_MAX: usize = 1024;
/// A conversation without packets for this long is closed, milliseconds.
pub const TALK_IDLE_MS: u64 = 300_000;
/// A packet waits at most this long for its session, milliseconds.
pub const WAITING_MS: u64 = 5_000;

/// A session whose other end is silent for so long is begun anew, milliseconds. Routes are probed at least
/// once a second.
const FORGOTTEN_MS: u64 = 3_000;

/// The smoothed round trip of one route (RFC 6298, section 2) and its share of lost probes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trip {
    pub(super) srtt_us: u32,
    pub(super) rttvar_us: u32,
}

impl Trip {
    /// Takes in a round trip: gains of 1/8 and 1/4.
    pub(super) fn sample(&mut self, rtt_us: u32) {
        if self.srtt_us == 0 {
            *self = Self { srtt_us: rtt_us.max(1), rttvar_us: rtt_us / 2 };
            return;
        }
        let off = self.srtt_us.abs_diff(rtt_us);
        self.rttvar_us = (u64::from(self.rttvar_us) * 3 + u64::from(off)).div_ceil(4).try_into().unwrap_or(u32::MAX);
        self.srtt_us = (u64::from(self.srtt_us) * 7 + u64::from(rtt_us)).div_ceil(8).try_into().unwrap_or(u32::MAX);
    }
}

/// A conversation with a peer.
pub(super) struct Talk {
    pub(super) peer: PeerIx,
    pub(super) name: NodeId,
    pub(super) address: Ipv6Addr,
    pub(super) sessions: SessionSet,
    pub(super) scheduler: Scheduler,
    pub(super) slots: Slots,
    pub(super) trips: BTreeMap<PathId, Trip>,
    pub(super) waiting: Waiting,
    pub(super) probes: Probes,
    /// When a packet of a host passed last.
    pub(super) used: Time,
    /// When the other end was heard last on the session that this end sends on.
    pub(super) heard: Time,
    /// When a handshake may begin again.
    pub(super) connect_at: Time,
    /// Handshakes in a row that gave no keys.
    pub(super) failures: u32,
    /// The first session was begun by the other end, which has not shown yet that it has the keys: a
    /// packet that overtakes the last message of the handshake could not be opened.
    pub(super) unconfirmed: bool,
    /// The primary route whose doubt has been answered with a replay.
    pub(super) doubted: Option<PathId>,
    /// Held back acknowledgements go out with the next flush.
    pub(super) touched: bool,
}

impl Talk {
    /// When something is due: probes and ticks of the routes, acknowledgements and ratchets.
    pub(super) fn deadline(&self) -> Time {
        // Probes need a session that can be sent on. A deadline that nothing can meet would keep the data
        // thread awake, at its real-time priority, and the worker from the jobs that open the session.
        let ready = self.is_ready();
        let routes = if ready { self.scheduler.deadline() } else { self.scheduler.deadline_without_probes() };
        self.sessions.deadline().map_or(routes, |due| due.min(routes))
    }

    /// Whether the other end has forgotten the session, as far as can be told: the host sends, and nothing
    /// comes back, not even answers to probes. A node that started anew cannot say so itself, because
    /// what it would say could be forged.
    pub(super) fn seems_forgotten(&self, now: Time) -> bool {
        let silent = now.since_ns(self.heard) > FORGOTTEN_MS * 1_000_000;
        silent && now.since_ns(self.used) < 10 * FORGOTTEN_MS * 1_000_000
    }

    /// Whether a packet could be sent now.
    pub(super) fn is_ready(&self) -> bool {
        !self.unconfirmed && self.sessions.current().is_some() && self.scheduler.primary().is_some()
    }
}

/// All conversations, by the number of their peer, and which session index belongs to which.
#[derive(Default)]
pub(super) struct Talks {
    by_peer: Vec<Option<Box<Talk>>>,
    /// Sorted by index.
    indices: Vec<(u32, PeerIx)>,
    count: usize,
    /// Bytes of packets that wait, of all conversations.
    pub(super) waiting_bytes: usize,
}

impl Talks {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Puts a conversation in place of the peer's earlier one.
    pub(super) fn put(&mut self, talk: Talk) {
        let at = talk.peer.0;
        if self.by_peer.len() <= at {
            self.by_peer.resize_with(at + 1, || None);
        }
        if let Some(slot) = self.by_peer.get_mut(at) {
            self.count += usize::from(slot.is_none());
            *slot = Some(Box::new(talk));
        }
    }

    /// Takes a conversation out, and gives the session indices that belonged to it.
    pub(super) fn take(&mut self, peer: PeerIx) -> Option<(Box<Talk>, Vec<u32>)> {
        let mut talk = self.by_peer.get_mut(peer.0)?.take()?;
        self.count -= 1;
        talk.waiting.clear(&mut self.waiting_bytes);
        let freed = self.indices.iter().filter(|(_, owner)| *owner == peer).map(|(index, _)| *index).collect();
        self.indices.retain(|(_, owner)| *owner != peer);
        Some((talk, freed))
    }

    pub(super) fn get(&self, peer: PeerIx) -> Option<&Talk> {
        self.by_peer.get(peer.0)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, peer: PeerIx) -> Option<&mut Talk> {
        self.by_peer.get_mut(peer.0)?.as_deref_mut()
    }

    /// A conversation and the count of waiting bytes, to change both.
    pub(super) fn with_waiting(&mut self, peer: PeerIx) -> Option<(&mut Talk, &mut usize)> {
        Some((self.by_peer.get_mut(peer.0)?.as_deref_mut()?, &mut self.waiting_bytes))
    }

    /// Notes whose packets carry this session index.
    pub(super) fn add_index(&mut self, index: u32, peer: PeerIx) {
        match self.indices.binary_search_by_key(&index, |(index, _)| *index) {
            Ok(at) => self.indices[at].1 = peer,
            Err(at) => self.indices.insert(at, (index, peer)),
        }
    }

    /// Forgets a session index.
    pub(super) fn remove_index(&mut self, index: u32) {
        self.indices.retain(|(known, _)| *known != index);
    }

    /// Whose packets carry this session index.
    pub(super) fn owner(&self, index: u32) -> Option<PeerIx> {
        let at = self.indices.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        self.indices.get(at).map(|(_, peer)| *peer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Talk> {
        self.by_peer.iter().filter_map(|slot| slot.as_deref())
    }

    /// Numbers of the peers with whom something holds. Control rate only: it allocates.
    pub(super) fn which(&self, holds: impl Fn(&Talk) -> bool) -> Vec<PeerIx> {
        self.iter().filter(|talk| holds(talk)).map(|talk| talk.peer).collect()
    }
}
