//! Hellos that came in two halves.

use crate::Time;
use std::collections::BTreeMap;
use x0_mesh_wire::{
    Kind,
    handshake::{HELLO_BYTES, Half},
    limits::{HALVES_MAX, HALVES_MS},
};

/// What both halves have in common: receiver's id and the MAC of the whole. Halves of the same whole fit
/// together whatever way each came.
type Key = (u32, [u8; 8]);

/// The halves that wait for their other half.
#[derive(Debug, Default)]
pub(super) struct Halves {
    waiting: BTreeMap<Key, (Time, bool, Vec<u8>)>,
}

impl Halves {
    /// Adds a half; the whole body, when this completes it. Only hellos are that long.
    pub(super) fn add(&mut self, now: Time, half: &Half<'_>) -> Option<Vec<u8>> {
        let envelope = &half.envelope;
        if envelope.kind != Kind::Hello || envelope.body.len() > HELLO_BYTES {
            return None;
        }
        let key = (envelope.id, envelope.mac);
        if let Some((_, last, other)) = self.waiting.get(&key) {
            if *last == half.last {
                return None;
            }
            let whole = if half.last { [other, envelope.body].concat() } else { [envelope.body, other].concat() };
            self.waiting.remove(&key);
            return Some(whole);
        }
        if self.waiting.len() >= HALVES_MAX {
            self.waiting.retain(|_, (since, _, _)| now.since_ns(*since) < HALVES_MS * 1_000_000);
        }
        if self.waiting.len() >= HALVES_MAX {
            let oldest = self.waiting.iter().min_by_key(|(_, (since, _, _))| *since).map(|(key, _)| *key);
            oldest.map(|key| self.waiting.remove(&key));
        }
        self.waiting.insert(key, (now, half.last, envelope.body.to_vec()));
        None
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}
