//! Remembers which transactions' signatures were verified, so that a block that brings them does not
//! verify them again.

use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use x0_runtime::VerifiedMark;
use x0_types::Hash;

/// Verified marks by the hash of the transaction's bytes; the oldest go first when it is full.
pub(crate) struct Marks(Mutex<Inner>);

struct Inner {
    marks: HashMap<Hash, VerifiedMark>,
    order: VecDeque<Hash>,
    max: usize,
}

impl Marks {
    pub(crate) fn new(max: usize) -> Self {
        Self(Mutex::new(Inner { marks: HashMap::new(), order: VecDeque::new(), max }))
    }

    pub(crate) fn insert(&self, hash: Hash, mark: VerifiedMark) {
        let mut inner = self.0.lock();
        if inner.marks.insert(hash, mark).is_none() {
            inner.order.push_back(hash);
        }
        while inner.order.len() > inner.max {
            if let Some(oldest) = inner.order.pop_front() {
                inner.marks.remove(&oldest);
            }
        }
    }

    pub(crate) fn get(&self, hash: &Hash) -> Option<VerifiedMark> {
        self.0.lock().marks.get(hash).copied()
    }

    /// Forgets included transactions. Their places in the queue stay until they come to its front,
    /// which costs nothing but a few bytes.
    pub(crate) fn forget(&self, hashes: impl Iterator<Item = Hash>) {
        let mut inner = self.0.lock();
        for hash in hashes {
            inner.marks.remove(&hash);
        }
    }
}
