//! Token buckets in whole numbers, with time as an argument.

use core::hash::Hash;
use std::collections::HashMap;

/// Parts of one token.
const SCALE: u64 = 1_000;

/// Lets each key act `burst` times at once and `per_second` times a second over a longer time, and
/// remembers a bounded number of keys.
///
/// When there are more keys, the one that was silent longest is forgotten, which gives it a full
/// bucket again. Keys that cost nothing to make are therefore not bounded by this limiter; limit what
/// they stand on (addresses) as well.
#[derive(Clone, Debug)]
pub struct RateLimiter<K> {
    buckets: HashMap<K, Bucket>,
    burst: u64,
    per_second: u64,
    entries_max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths of tokens.
    filling: u64,
    updated_ms: u64,
}

impl<K: Eq + Hash + Clone> RateLimiter<K> {
    /// A limiter without any history.
    #[must_use]
    pub fn new(burst: u32, per_second: u32, entries_max: usize) -> Self {
        Self { buckets: HashMap::new(), burst: u64::from(burst), per_second: u64::from(per_second), entries_max }
    }

    /// Whether this key may act now; if so, it has acted. Time that runs backwards counts as no time.
    pub fn allow(&mut self, key: &K, monotonic_ms: u64) -> bool {
        self.allow_many(key, 1, monotonic_ms)
    }

    /// Whether this key may act so often at once; if so, it has, and otherwise not at all.
    pub fn allow_many(&mut self, key: &K, times: u32, monotonic_ms: u64) -> bool {
        let full = self.burst * SCALE;
        if !self.buckets.contains_key(key) && self.buckets.len() >= self.entries_max {
            self.forget_one();
        }
        let bucket = self.buckets.entry(key.clone()).or_insert(Bucket { filling: full, updated_ms: monotonic_ms });
        let passed_ms = monotonic_ms.saturating_sub(bucket.updated_ms);
        // A thousandth of a token per millisecond is one token per second.
        bucket.filling = bucket.filling.saturating_add(passed_ms.saturating_mul(self.per_second)).min(full);
        bucket.updated_ms = bucket.updated_ms.max(monotonic_ms);
        let cost = u64::from(times) * SCALE;
        if bucket.filling < cost {
            return false;
        }
        bucket.filling -= cost;
        true
    }

    /// Keys that the limiter remembers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Whether the limiter remembers no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    fn forget_one(&mut self) {
        let oldest = self.buckets.iter().min_by_key(|(_, bucket)| bucket.updated_ms).map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            self.buckets.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// In no stretch of time does a key act more often than the burst and the rate allow, and it
        /// is never held back while it keeps to the rate.
        #[test]
        fn no_window_exceeds_burst_and_rate(
            steps in proptest::collection::vec(0u64..400, 1..200), burst in 1u32..10, per_second in 1u32..20,
        ) {
            let mut limiter = RateLimiter::new(burst, per_second, 4);
            let mut now = 0;
            let mut acted = Vec::new();
            for step in steps {
                now += step;
                if limiter.allow(&"key", now) {
                    acted.push(now);
                }
            }
            for (first, start) in acted.iter().enumerate() {
                for (last, end) in acted.iter().enumerate().skip(first) {
                    let count = (last - first + 1) as u64;
                    prop_assert!((count - u64::from(burst).min(count)) * 1_000 <= (end - start) * u64::from(per_second));
                }
            }
            prop_assert!(limiter.allow(&"key", now + 1_000), "a second later the key may act again");
        }

        /// The memory is bounded whatever keys come, and keys do not share buckets.
        #[test]
        fn the_memory_is_bounded(keys in proptest::collection::vec(0u32..1_000, 1..300)) {
            let mut limiter = RateLimiter::new(2, 1, 16);
            for (time, key) in keys.iter().enumerate() {
                limiter.allow(key, time as u64);
                prop_assert!(limiter.len() <= 16);
            }
        }
    }

    #[test]
    fn one_key_does_not_use_up_the_rate_of_another() {
        let mut limiter = RateLimiter::new(2, 1, 16);
        assert!(limiter.allow(&1, 0) && limiter.allow(&1, 0) && !limiter.allow(&1, 0));
        assert!(limiter.allow(&2, 0));
        assert!(!limiter.allow(&1, 999));
        assert!(limiter.allow(&1, 1_000));
        assert!(!limiter.allow(&1, 0), "time that runs backwards gives nothing");
    }
}
