//! The handshakes that others began: bounded, found by id and by hello, the oldest first to go.

use super::responder::HalfOpen;
use crate::Time;
use std::collections::{BTreeMap, HashMap, VecDeque};
use x0_mesh_wire::limits::{HALF_OPEN_LIFE_MS, HALF_OPEN_MAX, PROOFS_PENDING_MAX};

/// The table of half-open handshakes.
#[derive(Debug, Default)]
pub(super) struct Table {
    by_id: HashMap<u32, HalfOpen>,
    by_hello: HashMap<[u8; 32], u32>,
    /// All have the same life, so the order of arrival is the order of expiry.
    order: VecDeque<(Time, u32)>,
    groups: HashMap<[u8; 9], usize>,
    answering: usize,
    /// Those that hold parts of a proof, in the order of their first part.
    parts: BTreeMap<u64, u32>,
    parts_serial: u64,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// How many answers are being made.
    pub(super) const fn answering(&self) -> usize {
        self.answering
    }

    /// How many handshakes count to this quota.
    pub(super) fn in_group(&self, group: &[u8; 9]) -> usize {
        self.groups.get(group).copied().unwrap_or(0)
    }

    pub(super) fn contains(&self, id: u32) -> bool {
        self.by_id.contains_key(&id)
    }

    pub(super) fn by_hello(&mut self, hello: &[u8; 32]) -> Option<&mut HalfOpen> {
        self.by_id.get_mut(self.by_hello.get(hello)?)
    }

    /// Adds a handshake and answers how many were pushed out for it.
    pub(super) fn insert(&mut self, half: HalfOpen) -> u64 {
        let mut evicted = 0;
        while self.by_id.len() >= HALF_OPEN_MAX {
            let Some((_, oldest)) = self.order.pop_front() else { break };
            evicted += u64::from(self.remove(oldest).is_some());
        }
        self.order.push_back((half.opened.plus_ms(HALF_OPEN_LIFE_MS), half.id));
        self.by_hello.insert(half.hello, half.id);
        *self.groups.entry(half.group).or_default() += 1;
        self.answering += usize::from(half.is_answering());
        self.by_id.insert(half.id, half);
        evicted
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<HalfOpen> {
        let half = self.by_id.remove(&id)?;
        self.by_hello.remove(&half.hello);
        self.answering -= usize::from(half.is_answering());
        if let Some(count) = self.groups.get_mut(&half.group) {
            *count -= 1;
            if *count == 0 {
                self.groups.remove(&half.group);
            }
        }
        Some(half)
    }

    /// Changes a handshake, and keeps the sums right.
    pub(super) fn update<R>(&mut self, id: u32, change: impl FnOnce(&mut HalfOpen) -> R) -> Option<R> {
        let half = self.by_id.get_mut(&id)?;
        let (answering, parts) = (half.is_answering(), half.holds_parts());
        let result = change(half);
        self.answering = self.answering - usize::from(answering) + usize::from(half.is_answering());
        if !parts && half.holds_parts() {
            self.parts_serial += 1;
            self.parts.insert(self.parts_serial, id);
            self.trim_parts();
        }
        Some(result)
    }

    /// Parts of proofs take the most memory: of too many the oldest goes.
    fn trim_parts(&mut self) {
        while self.parts.len() > PROOFS_PENDING_MAX {
            let Some((_, oldest)) = self.parts.pop_first() else { break };
            // One that moved on holds no parts any more and stays.
            if self.by_id.get(&oldest).is_some_and(HalfOpen::holds_parts) {
                self.remove(oldest);
            }
        }
    }

    /// Removes what is over and answers how many there were that nobody finished.
    pub(super) fn expire(&mut self, now: Time) -> u64 {
        let mut unfinished = 0;
        while let Some((end, id)) = self.order.front().copied() {
            if end > now {
                break;
            }
            self.order.pop_front();
            // An id may have been given again since; then this end is not its own.
            let own = self.by_id.get(&id).is_some_and(|half| half.opened.plus_ms(HALF_OPEN_LIFE_MS) <= now);
            if own && let Some(half) = self.remove(id) {
                unfinished += u64::from(half.peer.is_none());
            }
        }
        unfinished
    }

    /// When the next one is over.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.order.front().map(|(end, _)| *end)
    }

    /// Removes all of which the test holds.
    pub(super) fn remove_if(&mut self, test: impl Fn(&HalfOpen) -> bool) {
        let ids: Vec<u32> = self.by_id.values().filter(|half| test(half)).map(|half| half.id).collect();
        for id in ids {
            self.remove(id);
        }
    }
}
