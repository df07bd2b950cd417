//! The two gates of a quadratic vote: how strongly it is wanted, and by how many.

use crate::{Curve, Slots, at_least_share};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// What was counted of one ballot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BallotCount {
    /// Votes in favour.
    pub ayes: u64,
    /// Votes against.
    pub nays: u64,
    /// Voters in favour, each counted once.
    pub heads: u64,
    /// Everybody who may vote.
    pub electorate: u64,
}

/// The thresholds of one ballot; both fall with time.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Gates {
    /// Share of the votes that must be in favour.
    pub approval: Curve,
    /// Share of the electorate that must be in favour, by heads.
    pub support: Curve,
}

impl Gates {
    /// Whether the ballot passes this many slots after its start. A ballot without a vote in favour never does.
    #[must_use]
    pub fn pass(&self, count: &BallotCount, at_slot: Slots) -> bool {
        count.ayes > 0
            && self.approval.is_reached(count.ayes, count.ayes.saturating_add(count.nays), at_slot)
            && self.support.is_reached(count.heads, count.electorate, at_slot)
    }

    /// The first slot in `from..=until`, counted from the start, at which this count passes. Thresholds never
    /// rise, so that what passes once passes later too, and halving finds it.
    #[must_use]
    pub fn first_pass(&self, count: &BallotCount, from: Slots, until: Slots) -> Option<Slots> {
        if from > until || !self.pass(count, until) {
            return None;
        }
        let (mut low, mut high) = (from, until);
        while low < high {
            let middle = low.midpoint(high);
            if self.pass(count, middle) {
                high = middle;
            } else {
                low = middle.saturating_add(1);
            }
        }
        Some(low)
    }

    /// Whether the count passes fixed thresholds, ppm: the second ballot about a contested proposal.
    #[must_use]
    pub fn pass_fixed(count: &BallotCount, approval_ppm: u32, heads: (u64, u64)) -> bool {
        let (part, of) = heads;
        let total = count.ayes.saturating_add(count.nays);
        let wanted = u128::from(count.heads).checked_mul(of.into());
        let needed = u128::from(count.electorate).checked_mul(part.into());
        count.ayes > 0
            && at_least_share(count.ayes, total, approval_ppm)
            && matches!((wanted, needed), (Some(wanted), Some(needed)) if wanted >= needed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gates(decide: Slots) -> Gates {
        Gates {
            approval: Curve { from_ppm: 1_000_000, to_ppm: 500_000, over_slots: decide / 2 },
            support: Curve { from_ppm: 500_000, to_ppm: 100_000, over_slots: decide },
        }
    }

    /// The default curves, by hand: 100 % to 50 % over the first half, 50 % to 10 % over the whole.
    #[test]
    fn thresholds_at_known_slots() {
        let gates = gates(100);
        let count = |ayes, nays, heads| BallotCount { ayes, nays, heads, electorate: 10 };
        for (counted, at, passes) in [
            (count(0, 0, 0), 100, false),
            // Nobody voted in favour: nothing is not all of nothing.
            (count(0, 0, 10), 100, false),
            (count(9, 0, 5), 0, true),
            (count(9, 0, 4), 24, false),
            (count(9, 0, 4), 25, true),
            (count(3, 1, 5), 24, false),
            (count(3, 1, 5), 25, true),
            (count(1, 1, 10), 49, false),
            (count(1, 1, 10), 50, true),
            (count(9, 10, 10), 100, false),
            (count(9, 0, 1), 99, false),
            (count(9, 0, 1), 100, true),
        ] {
            assert_eq!(gates.pass(&counted, at), passes, "{counted:?} at {at}");
        }
    }

    #[test]
    fn a_search_of_one_slot_finds_it() {
        let count = BallotCount { ayes: 9, nays: 0, heads: 5, electorate: 10 };
        assert_eq!(gates(100).first_pass(&count, 7, 7), Some(7));
        assert_eq!(gates(100).first_pass(&count, 8, 7), None);
    }

    #[test]
    fn fixed_thresholds_count_exactly() {
        let count = |ayes, nays, heads, electorate| BallotCount { ayes, nays, heads, electorate };
        let passes = |counted| Gates::pass_fixed(&counted, 667_000, (1, 3));
        assert!(passes(count(667, 333, 1, 3)));
        assert!(!passes(count(666, 334, 1, 3)));
        assert!(!passes(count(667, 333, 1, 4)));
        assert!(passes(count(667, 333, 2, 6)));
        assert!(!passes(count(0, 0, 3, 3)));
    }

    proptest! {
        /// The found slot is the first of all, as trying each of them finds it.
        #[test]
        fn first_pass_is_the_first(
            ayes in 0u64..200, nays in 0u64..200, heads in 0u64..12, electorate in 0u64..12,
            decide in 1u64..120, from in 0u64..130,
        ) {
            let gates = gates(decide);
            let count = BallotCount { ayes, nays, heads, electorate };
            let expected = (from..=decide).find(|at| gates.pass(&count, *at));
            prop_assert_eq!(gates.first_pass(&count, from, decide), expected);
        }
    }
}
