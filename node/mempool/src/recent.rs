//! Hashes of included transactions, for an honest "already included".

use std::collections::{HashMap, VecDeque};
use x0_types::Hash;

/// A bounded memory of which block contains which transaction; the oldest entries go first.
#[derive(Debug)]
pub struct Recent {
    blocks: HashMap<Hash, Hash>,
    order: VecDeque<Hash>,
    max: usize,
}

impl Recent {
    /// An empty memory for `max` transactions.
    pub fn new(max: usize) -> Self {
        Self { blocks: HashMap::new(), order: VecDeque::new(), max }
    }

    /// Notes that `block` contains `transaction`.
    pub fn insert(&mut self, transaction: Hash, block: Hash) {
        if self.blocks.insert(transaction, block).is_none() {
            self.order.push_back(transaction);
        }
        while self.order.len() > self.max {
            if let Some(oldest) = self.order.pop_front() {
                self.blocks.remove(&oldest);
            }
        }
    }

    /// The block that contains the transaction, if it is remembered.
    pub fn block_of(&self, transaction: &Hash) -> Option<Hash> {
        self.blocks.get(transaction).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_none_is_forgotten_early() {
        let mut recent = Recent::new(3);
        let hash = Hash::from_low_u64_be;
        for number in 0..5 {
            recent.insert(hash(number), hash(100 + number));
            recent.insert(hash(number), hash(100 + number));
        }
        let known: Vec<_> =
            (0..5).filter(|number| recent.block_of(&hash(*number)) == Some(hash(100 + number))).collect();
        assert_eq!(known, [2, 3, 4]);
    }
}
