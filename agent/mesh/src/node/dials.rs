//! Whom to open links to, and when to try again.

use super::{UnderlayId, peers::PeerIx};
use crate::{NodeId, Time};
use std::net::SocketAddr;

/// Wait after the first handshake of a link that gave no keys, milliseconds; it doubles each time.
pub const REDIAL_MS_FIRST: u64 = 500;
/// Longest wait, milliseconds.
pub const REDIAL_MS_MAX: u64 = 8_000;
/// The node with the higher name waits for the other's hello before it sends its own, milliseconds.
pub const YIELD_MS: u64 = 150;
/// A link gets fresh keys by a new handshake after this time, milliseconds.
pub const LINK_LIFE_MS: u64 = 3_600_000;

/// An address of a peer to which a link is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dial {
    pub(super) peer: PeerIx,
    pub(super) name: NodeId,
    pub(super) underlay: UnderlayId,
    pub(super) address: SocketAddr,
    /// When to look again whether a handshake is wanted.
    pub(super) next: Time,
    pub(super) failures: u32,
    /// The handshake that runs.
    pub(super) running: Option<u32>,
}

impl Dial {
    /// How long to wait after the failures so far.
    pub(super) fn backoff_ms(&self) -> u64 {
        REDIAL_MS_FIRST.checked_shl(self.failures.min(8)).unwrap_or(REDIAL_MS_MAX).min(REDIAL_MS_MAX)
    }
}

/// All addresses of all peers.
#[derive(Debug, Default)]
pub(super) struct Dials(Vec<Dial>);

impl Dials {
    /// Takes over what is wanted; what is known of addresses that stay is kept. The handshakes of those
    /// that go.
    pub(super) fn update(&mut self, mut wanted: Vec<Dial>) -> Vec<u32> {
        for dial in &mut wanted {
            if let Some(known) =
                self.find(dial.peer, dial.underlay, &dial.address).filter(|known| known.name == dial.name)
            {
                (dial.next, dial.failures, dial.running) = (known.next, known.failures, known.running);
            }
        }
        let kept = |id: &u32| wanted.iter().any(|dial| dial.running == Some(*id));
        let dropped = self.0.iter().filter_map(|dial| dial.running).filter(|id| !kept(id)).collect();
        self.0 = wanted;
        dropped
    }

    pub(super) fn find(&self, peer: PeerIx, underlay: UnderlayId, address: &SocketAddr) -> Option<&Dial> {
        self.0.iter().find(|dial| dial.peer == peer && dial.underlay == underlay && dial.address == *address)
    }

    pub(super) fn find_mut(&mut self, peer: PeerIx, underlay: UnderlayId, address: &SocketAddr) -> Option<&mut Dial> {
        self.0.iter_mut().find(|dial| dial.peer == peer && dial.underlay == underlay && dial.address == *address)
    }

    /// The address whose handshake has this id.
    pub(super) fn running(&mut self, id: u32) -> Option<&mut Dial> {
        self.0.iter_mut().find(|dial| dial.running == Some(id))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Dial> {
        self.0.iter_mut()
    }

    /// The number of one whose time has come.
    pub(super) fn due(&self, now: Time) -> Option<usize> {
        self.0.iter().position(|dial| dial.next <= now)
    }

    pub(super) fn at_mut(&mut self, number: usize) -> Option<&mut Dial> {
        self.0.get_mut(number)
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.0.iter().map(|dial| dial.next).min()
    }
}
