//! Token buckets of one 64-bit word: the generic cell rate algorithm (ITU-T I.371, virtual scheduling).
//!
//! The word is the time at which the bucket would be full again. Taking tokens moves it into the
//! future by their cost; more than the window ahead of now is refused. One word can be exchanged
//! atomically, needs no refill, and a fresh bucket is zero.

/// The bucket's next word when `cost_ns` may be taken now, or `None` when the bucket is too empty.
///
/// One request never costs more than the whole window, so that a super-packet of more datagrams than
/// the burst empties the bucket instead of never passing.
#[inline(always)]
#[must_use]
pub const fn take(word: u64, now_ns: u64, cost_ns: u64, window_ns: u64) -> Option<u64> {
    let cost = if cost_ns > window_ns { window_ns } else { cost_ns };
    let base = if word > now_ns { word } else { now_ns };
    let ahead = base.wrapping_sub(now_ns);
    // No overflow: the subtraction is behind the comparison, and time plus a window fits 64 bits.
    if ahead > window_ns - cost { None } else { Some(base.wrapping_add(cost)) }
}

/// What a number of bytes costs at a price for each of 2^-10 nanoseconds.
#[inline(always)]
#[must_use]
pub const fn bytes_cost_ns(bytes: u32, byte_cost_q10: u64) -> u64 {
    (bytes as u64).wrapping_mul(byte_cost_q10) >> 10
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The textbook bucket in exact fractions: tokens times cost, refilled by elapsed time.
    struct Model {
        level_ns: u128,
        at_ns: u64,
    }

    impl Model {
        fn take(&mut self, now_ns: u64, cost_ns: u64, window_ns: u64) -> bool {
            let elapsed = u128::from(now_ns - self.at_ns);
            self.at_ns = now_ns;
            self.level_ns = (self.level_ns + elapsed).min(u128::from(window_ns));
            let cost = u128::from(cost_ns.min(window_ns));
            let enough = self.level_ns >= cost;
            if enough {
                self.level_ns -= cost;
            }
            enough
        }
    }

    proptest! {
        /// The word decides as a bucket of tokens does, at every step of any history.
        #[test]
        fn the_word_is_a_token_bucket(
            cost in 1u64..2_000_000,
            burst in 1u64..500,
            steps in proptest::collection::vec((0u64..5_000_000, 1u64..130), 1..200),
        ) {
            let window = cost * burst;
            let mut now = 1_000_000_000;
            let mut word = 0;
            let mut model = Model { level_ns: u128::from(window), at_ns: now };
            for (pause, datagrams) in steps {
                now += pause;
                let taken = take(word, now, cost * datagrams, window);
                prop_assert_eq!(taken.is_some(), model.take(now, cost * datagrams, window));
                word = taken.unwrap_or(word);
            }
        }

        /// No input overflows into a wrong permission: a word beyond the window refuses.
        #[test]
        fn a_word_ahead_of_the_window_refuses(now in 0u64..1 << 62, cost in 1u64..1 << 40, window in 1u64..1 << 50) {
            prop_assert_eq!(take(now + window + 1, now, cost, window), None);
            prop_assert!(take(0, now, cost, window).is_some());
        }
    }

    #[test]
    fn bytes_cost_what_the_rate_says() {
        // 1 MB/s is 1,000 ns for each byte.
        assert_eq!(bytes_cost_ns(1_500, 1_000 << 10), 1_500_000);
        assert_eq!(bytes_cost_ns(0, u64::MAX), 0);
    }
}
