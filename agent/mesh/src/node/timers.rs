//! When something is due, over everything that has a deadline.

use crate::Time;

/// No deadline.
const NEVER: u64 = u64::MAX;

/// A tournament tree over numbered deadlines: the earliest is read in constant time, one is set in
/// logarithmic time, and nothing is allocated except when the highest number grows.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// A complete binary tree, the root at index 1; leaf `n` is `leaves + n`; a node holds the minimum
    /// of its children.
    tree: Vec<u64>,
    leaves: usize,
}

impl Timers {
    /// Sets the deadline with this number, or clears it.
    pub(super) fn set(&mut self, number: usize, deadline: Option<Time>) {
        if number >= self.leaves {
            self.grow(number);
        }
        let mut at = self.leaves + number;
        let mut value = deadline.map_or(NEVER, |time| time.0.min(NEVER - 1));
        while self.tree[at] != value {
            self.tree[at] = value;
            if at == 1 {
                break;
            }
            value = value.min(self.tree[at ^ 1]);
            at >>= 1;
        }
    }

    /// The deadline with this number.
    pub(super) fn get(&self, number: usize) -> Option<Time> {
        if number >= self.leaves {
            return None;
        }
        self.tree.get(self.leaves + number).filter(|value| **value != NEVER).map(|value| Time(*value))
    }

    /// The earliest deadline.
    pub(super) fn first(&self) -> Option<Time> {
        self.tree.get(1).filter(|value| **value != NEVER).map(|value| Time(*value))
    }

    /// The number of a deadline that is not after `now`: the earliest of all.
    pub(super) fn due(&self, now: Time) -> Option<usize> {
        let first = *self.tree.get(1)?;
        if first == NEVER || first > now.0 {
            return None;
        }
        let mut at = 1;
        while at < self.leaves {
            at *= 2;
            if self.tree[at] != first {
                at += 1;
            }
        }
        Some(at - self.leaves)
    }

    fn grow(&mut self, number: usize) {
        let leaves = (number + 1).next_power_of_two().max(64);
        let mut tree = vec![NEVER; leaves * 2];
        if self.leaves > 0 {
            tree[leaves..leaves + self.leaves].copy_from_slice(&self.tree[self.leaves..]);
        }
        for at in (1..leaves).rev() {
            tree[at] = tree[2 * at].min(tree[2 * at + 1]);
        }
        self.tree = tree;
        self.leaves = leaves;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// The tree agrees with a sorted list about the first deadline after any history.
        #[test]
        fn the_first_is_the_smallest(steps in proptest::collection::vec((0usize..200, proptest::option::of(0u64..1000)), 1..300)) {
            let mut timers = Timers::default();
            let mut model: BTreeMap<usize, u64> = BTreeMap::new();
            for (number, deadline) in steps {
                timers.set(number, deadline.map(Time));
                match deadline {
                    Some(at) => model.insert(number, at),
                    None => model.remove(&number),
                };
                let smallest = model.values().min().copied();
                prop_assert_eq!(timers.first(), smallest.map(Time));
                if let Some(smallest) = smallest {
                    prop_assert_eq!(timers.due(Time(smallest)).and_then(|n| model.get(&n)).copied(), Some(smallest));
                    if smallest > 0 {
                        prop_assert_eq!(timers.due(Time(smallest - 1)), None);
                    }
                } else {
                    prop_assert_eq!(timers.due(Time(u64::MAX)), None);
                }
            }
        }
    }
}
