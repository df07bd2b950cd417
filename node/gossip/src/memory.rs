//! Which peers have which transactions, within bounds.

use std::collections::{HashMap, VecDeque};
use x0_network::PeerKey;
use x0_types::Hash;

/// Peers whose transactions are remembered; a node has fewer.
const SLOTS: usize = 128;

/// A set of peers, one bit each.
type Holders = u128;

/// Remembers holders of the last transactions; the oldest go first.
pub(crate) struct Memory {
    slots: Vec<Option<PeerKey>>,
    holders: HashMap<Hash, Holders>,
    order: VecDeque<Hash>,
    max: usize,
}

impl Memory {
    pub(crate) fn new(max: usize) -> Self {
        Self { slots: vec![None; SLOTS], holders: HashMap::new(), order: VecDeque::new(), max }
    }

    pub(crate) fn add_peer(&mut self, peer: PeerKey) {
        if self.slots.contains(&Some(peer)) {
            return;
        }
        // Without a slot a peer is told of everything, which costs only bytes.
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(peer);
        }
    }

    pub(crate) fn remove_peer(&mut self, peer: &PeerKey) {
        let Some(index) = self.slots.iter().position(|slot| slot.as_ref() == Some(peer)) else { return };
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = None;
        }
        // What this peer had must not be ascribed to the next one in its place.
        let others = !(1 << index);
        self.holders.values_mut().for_each(|holders| *holders &= others);
    }

    fn bit(&self, peer: &PeerKey) -> Holders {
        self.slots.iter().position(|slot| slot.as_ref() == Some(peer)).map_or(0, |index| 1 << index)
    }

    /// Notes that a peer has a transaction, or is about to.
    pub(crate) fn note(&mut self, hash: Hash, peer: &PeerKey) {
        let bit = self.bit(peer);
        match self.holders.get_mut(&hash) {
            Some(holders) => *holders |= bit,
            None => {
                self.holders.insert(hash, bit);
                self.order.push_back(hash);
                while self.order.len() > self.max {
                    if let Some(oldest) = self.order.pop_front() {
                        self.holders.remove(&oldest);
                    }
                }
            }
        }
    }

    /// Whether the peer has the transaction, as far as is known.
    pub(crate) fn has(&self, hash: &Hash, peer: &PeerKey) -> bool {
        let bit = self.bit(peer);
        self.holders.get(hash).is_some_and(|holders| holders & bit != 0)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.holders.len()
    }
}

/// Remembers for a while what the mempool did not take, so that each peer that names it is not asked
/// for it again.
pub(crate) struct Refusals {
    until_ms: HashMap<Hash, u64>,
    order: VecDeque<Hash>,
    max: usize,
}

impl Refusals {
    pub(crate) fn new(max: usize) -> Self {
        Self { until_ms: HashMap::new(), order: VecDeque::new(), max }
    }

    pub(crate) fn note(&mut self, hash: Hash, now_ms: u64) {
        if self.until_ms.insert(hash, now_ms + x0_limits::GOSSIP_REFUSAL_MS).is_none() {
            self.order.push_back(hash);
        }
        while self.order.len() > self.max {
            if let Some(oldest) = self.order.pop_front() {
                self.until_ms.remove(&oldest);
            }
        }
    }

    pub(crate) fn is_recent(&self, hash: &Hash, now_ms: u64) -> bool {
        self.until_ms.get(hash).is_some_and(|until| now_ms < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_remembered_per_peer_and_within_bounds() {
        let mut memory = Memory::new(3);
        let (a, b, c) = (PeerKey([1; 32]), PeerKey([2; 32]), PeerKey([3; 32]));
        memory.add_peer(a);
        memory.add_peer(b);
        let hash = Hash::repeat_byte;
        memory.note(hash(1), &a);
        assert!(memory.has(&hash(1), &a) && !memory.has(&hash(1), &b));
        memory.remove_peer(&a);
        memory.add_peer(c);
        assert!(!memory.has(&hash(1), &c), "the next peer inherits nothing");
        for tag in 2..10 {
            memory.note(hash(tag), &b);
        }
        assert_eq!(memory.len(), 3);
        assert!(memory.has(&hash(9), &b) && !memory.has(&hash(2), &b));
        for tag in 0..=u8::MAX {
            memory.add_peer(PeerKey([tag; 32]));
        }
        memory.note(hash(50), &PeerKey([250; 32]));
        assert!(!memory.has(&hash(50), &PeerKey([250; 32])), "a peer without a slot is told of everything");
    }
}
