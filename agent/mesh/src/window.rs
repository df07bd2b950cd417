//! Which sequence numbers have been seen: the sliding window of RFC 6479, with a block more than it promises, so that
//! moving on clears whole blocks only.

/// Whether a sequence number was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Freshness {
    /// Never seen.
    New,
    /// Seen before: a copy of another route, or a replay.
    Repeated,
    /// Older than the window remembers.
    TooOld,
}

/// A window over the last `(WORDS - 1) * 64` numbers up to the highest one seen.
///
/// Looking and marking are two calls, so that a number moves the window only after its tag was checked.
#[derive(Clone, Debug)]
pub struct ReplayWindow<const WORDS: usize> {
    words: [u64; WORDS],
    /// Highest number seen, plus one; zero before the first.
    next: u64,
}

impl<const WORDS: usize> Default for ReplayWindow<WORDS> {
    fn default() -> Self {
        Self { words: [0; WORDS], next: 0 }
    }
}

impl<const WORDS: usize> ReplayWindow<WORDS> {
    /// Numbers that the window remembers, the highest included.
    pub const SPAN: u64 = (WORDS as u64 - 1) * 64;

    const WORDS_U64: u64 = WORDS as u64;

    /// The word of a number. The remainder is below `WORDS`, so the conversion cannot fail.
    fn word(number: u64) -> usize {
        usize::try_from((number / 64) % Self::WORDS_U64).unwrap_or(0)
    }

    /// The highest number seen.
    #[must_use]
    pub const fn highest(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    /// Whether a number is new. Changes nothing.
    #[must_use]
    pub fn look(&self, number: u64) -> Freshness {
        if number >= self.next {
            Freshness::New
        } else if self.next - 1 - number >= Self::SPAN {
            Freshness::TooOld
        } else if self.words[Self::word(number)] >> (number % 64) & 1 == 1 {
            Freshness::Repeated
        } else {
            Freshness::New
        }
    }

    /// Marks a number as seen and says what it was before. Call it after the number was authenticated.
    pub fn mark(&mut self, number: u64) -> Freshness {
        let freshness = self.look(number);
        if freshness != Freshness::New {
            return freshness;
        }
        if number >= self.next {
            // Blocks between the highest one in use and the new one hold bits of long ago.
            let used = if self.next == 0 { 0 } else { (self.next - 1) / 64 };
            let steps = (number / 64 - used).min(Self::WORDS_U64);
            for step in 1..=steps {
                self.words[Self::word((used + step) * 64)] = 0;
            }
            self.next = number.saturating_add(1);
        }
        self.words[Self::word(number)] |= 1 << (number % 64);
        freshness
    }

    /// Whether a number was seen; false for one that is too old to know.
    #[must_use]
    pub fn seen(&self, number: u64) -> bool {
        self.look(number) == Freshness::Repeated
    }

    /// The 64 numbers from `first` on, bit 0 for `first`.
    #[must_use]
    pub fn bits_from(&self, first: u64) -> u64 {
        if self.next > 0 && first < self.next && self.next - 1 - first < Self::SPAN {
            let shift = first % 64;
            let low = self.words[Self::word(first)] >> shift;
            // The block after the highest one still holds bits of long ago.
            let above = first.saturating_add(64) / 64;
            if shift == 0 || above > (self.next - 1) / 64 {
                return low;
            }
            return low | self.words[Self::word(above * 64)] << (64 - shift);
        }
        (0..64u32).fold(0, |bits, bit| bits | u64::from(self.seen(first.saturating_add(bit.into()))) << bit)
    }

    /// The 64 numbers before the highest one, bit 0 for the one right before it.
    #[must_use]
    pub fn before_highest(&self) -> u64 {
        let Some(highest) = self.highest() else { return 0 };
        if highest >= 64 {
            return self.bits_from(highest - 64).reverse_bits();
        }
        (0..64u64).fold(0, |bits, bit| {
            bits | highest.checked_sub(bit + 1).map_or(0, |number| u64::from(self.seen(number)) << bit)
        })
    }

    /// The first number from `from` on that was not seen and that the window still remembers.
    #[must_use]
    pub fn first_missing(&self, from: u64) -> u64 {
        let mut at = from.max(self.next.saturating_sub(Self::SPAN));
        while at < self.next {
            let missing = !self.bits_from(at);
            if missing != 0 {
                return at + u64::from(missing.trailing_zeros());
            }
            at += 64;
        }
        at.max(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const WORDS: usize = 5;
    const SPAN: u64 = 256;

    /// The rule, restated: everything ever seen, and the highest.
    #[derive(Default)]
    struct Model {
        seen: HashSet<u64>,
        highest: Option<u64>,
    }

    impl Model {
        fn look(&self, number: u64) -> Freshness {
            match self.highest {
                Some(highest) if number <= highest && highest - number >= SPAN => Freshness::TooOld,
                _ if self.seen.contains(&number) => Freshness::Repeated,
                _ => Freshness::New,
            }
        }
    }

    fn numbers() -> impl Strategy<Value = Vec<(u64, bool)>> {
        // Steps forward and backward of all sizes around a moving position; `true` is a forged number, which is only
        // looked at.
        proptest::collection::vec((0u64..6, 0u64..700, any::<bool>(), 0u8..8), 1..400).prop_map(|steps| {
            let mut at = 1_000u64;
            steps
                .into_iter()
                .map(|(size, by, back, forged)| {
                    let by = by >> size;
                    let number = if back { at.saturating_sub(by) } else { at + by };
                    if forged != 0 {
                        at = at.max(number);
                    }
                    (number, forged == 0)
                })
                .collect()
        })
    }

    proptest! {
        /// Reordering, repetition and forged numbers: the window says what the set of all numbers says.
        #[test]
        fn the_window_agrees_with_a_set(steps in numbers()) {
            let mut window = ReplayWindow::<WORDS>::default();
            let mut model = Model::default();
            for (number, forged) in steps {
                prop_assert_eq!(window.look(number), model.look(number));
                if forged {
                    continue;
                }
                let expected = model.look(number);
                prop_assert_eq!(window.mark(number), expected);
                if expected == Freshness::New {
                    model.seen.insert(number);
                    model.highest = model.highest.max(Some(number));
                }
                prop_assert_eq!(window.highest(), model.highest);
                let highest = model.highest.unwrap();
                for bit in 0..64u64 {
                    let is = window.before_highest() >> bit & 1 == 1;
                    prop_assert_eq!(is, highest > bit && model.seen.contains(&(highest - bit - 1)));
                }
                for first in [highest.saturating_sub(SPAN - 1), highest.saturating_sub(70), highest, highest + 3, number] {
                    let bits = window.bits_from(first);
                    for bit in 0..64u64 {
                        let known = first + bit + SPAN > highest;
                        prop_assert_eq!(bits >> bit & 1 == 1, known && model.seen.contains(&(first + bit)), "{} + {}", first, bit);
                    }
                    let missing = (first.max((highest + 1).saturating_sub(SPAN))..).find(|n| !model.seen.contains(n)).unwrap();
                    prop_assert_eq!(window.first_missing(first), missing.max(first));
                }
            }
        }
    }

    #[test]
    fn the_session_window_holds_16384_packets() {
        let mut window = ReplayWindow::<257>::default();
        assert_eq!(ReplayWindow::<257>::SPAN, 16_384);
        window.mark(20_000);
        assert_eq!(window.look(20_000 - 16_383), Freshness::New);
        assert_eq!(window.look(20_000 - 16_384), Freshness::TooOld);
    }

    #[test]
    fn zero_is_a_number_like_others() {
        let mut window = ReplayWindow::<WORDS>::default();
        assert_eq!(window.highest(), None);
        assert_eq!(window.mark(0), Freshness::New);
        assert_eq!(window.mark(0), Freshness::Repeated);
        assert_eq!(window.mark(63), Freshness::New);
        assert_eq!(window.before_highest(), 1 << 62);
    }
}
