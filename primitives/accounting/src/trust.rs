//! The trust score: a gate by attestation, times what a node did.
//!
//! ```text
//!   age of the attestation --gate_ppm--+
//!   gaps between heartbeats --stability_ppm--+-- score_ppm = gate * (wS * S + wB * B)
//!   faults, halved again and again --behaviour--+
//! ```

use crate::{PPM, Slots};

/// Mean and mean deviation of the gaps between a node's heartbeats: Jacobson's estimator with the gains
/// of RFC 6298 (1/8 and 1/4), kept scaled by 8 and 4 so that it never sticks away from the truth.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    codec::Encode,
    codec::Decode,
    codec::DecodeWithMemTracking,
    codec::MaxEncodedLen,
    scale_info::TypeInfo,
)]
pub struct Gaps {
    /// Mean gap, milliseconds times 8.
    pub mean_ms_8: u64,
    /// Mean deviation from it, milliseconds times 4.
    pub deviation_ms_4: u64,
}

/// Gaps after which equal gaps change nothing any more, whatever was before: both parts shrink by a
/// fixed share until they stand still.
const EQUAL_GAPS_MAX: u64 = 512;

impl Gaps {
    /// Takes in one gap. The first gap of a node is its mean, without a deviation.
    #[must_use]
    pub const fn after(self, gap_ms: u64) -> Self {
        if self.mean_ms_8 == 0 {
            return Self { mean_ms_8: gap_ms.saturating_mul(8), deviation_ms_4: 0 };
        }
        let mean = self.mean_ms_8 >> 3;
        let off = gap_ms.abs_diff(mean);
        Self {
            // Both subtractions take a part of the number itself, so they cannot go below zero.
            mean_ms_8: (self.mean_ms_8 - mean).saturating_add(gap_ms),
            deviation_ms_4: (self.deviation_ms_4 - (self.deviation_ms_4 >> 2)).saturating_add(off),
        }
    }

    /// Takes in the same gap many times: the result is that of taking it in one by one.
    #[must_use]
    pub fn after_many(self, gap_ms: u64, times: u64) -> Self {
        let mut gaps = self;
        for _ in 0..times.min(EQUAL_GAPS_MAX) {
            let next = gaps.after(gap_ms);
            if next == gaps {
                break;
            }
            gaps = next;
        }
        gaps
    }
}

/// Stability, ppm: `max(0, 1e6 - factor * deviation / expected)`, the quotient floored. A node without
/// any gap, and an expectation of zero, give 0.
#[must_use]
pub fn stability_ppm(gaps: Gaps, expected_ms: u64, factor_ppm: u32) -> u32 {
    if gaps.mean_ms_8 == 0 || expected_ms == 0 {
        return 0;
    }
    let deviation = u128::from(gaps.deviation_ms_4 >> 2);
    let loss = u128::from(factor_ppm) * deviation / u128::from(expected_ms);
    PPM.saturating_sub(u32::try_from(loss).unwrap_or(PPM))
}

/// Freshness of an attestation, ppm: the whole until `ttl`, then linear, floored, to 0 at twice `ttl`.
#[must_use]
pub fn freshness_ppm(age: Slots, ttl: Slots) -> u32 {
    if age <= ttl {
        return PPM;
    }
    // 0 at exactly twice the life and beyond, and for a life of zero.
    let left = ttl.saturating_mul(2).saturating_sub(age);
    let share = u128::from(PPM) * u128::from(left) / u128::from(ttl.max(1));
    u32::try_from(share).unwrap_or(0)
}

/// What is left of a penalty, ppm, floored: halved for each whole `half_life`, linear in between.
#[must_use]
pub fn decayed_ppm(penalty_ppm: u32, age: Slots, half_life: Slots) -> u32 {
    let Some(halvings) = age.checked_div(half_life) else { return 0 };
    let Some(whole) = u32::try_from(halvings).ok().and_then(|halvings| penalty_ppm.checked_shr(halvings)) else {
        return 0;
    };
    let rest = u128::from(age % half_life);
    let twice = u128::from(half_life) * 2;
    u32::try_from(u128::from(whole) * (twice - rest) / twice).unwrap_or(0)
}

/// The score, ppm: `gate * (stability_weight * S + (1e6 - stability_weight) * B) / 1e6 / 1e6`, floored at
/// each division. Shares above the whole count as the whole.
#[must_use]
pub fn score_ppm(gate_ppm: u32, stability_ppm: u32, behaviour_ppm: u32, stability_weight_ppm: u32) -> u32 {
    let whole = u64::from(PPM);
    let clamp = |share: u32| u64::from(share.min(PPM));
    let weight = clamp(stability_weight_ppm);
    // At most 1e12, and the product of two shares below 2^40.
    let sum = (weight * clamp(stability_ppm) + (whole - weight) * clamp(behaviour_ppm)) / whole;
    u32::try_from(clamp(gate_ppm) * sum / whole).unwrap_or(PPM)
}

/// Buckets of a region's count of misses: 0, 1, 2, 3-4, 5-8, ... so that a day of slots fits.
pub const MISS_BUCKETS: usize = 18;

/// The bucket of a number of misses.
#[must_use]
pub const fn miss_bucket(misses: u64) -> usize {
    match misses {
        0 => 0,
        1 => 1,
        // 2 is bucket 2, 3-4 bucket 3, 5-8 bucket 4, ...
        _ => {
            let bits = (u64::BITS - (misses - 1).leading_zeros()) as usize + 1;
            if bits < MISS_BUCKETS { bits } else { MISS_BUCKETS - 1 }
        }
    }
}

/// The smallest number of misses in a bucket.
const fn bucket_start(bucket: usize) -> u64 {
    match bucket {
        0 => 0,
        1 => 1,
        _ => (1u64 << (bucket - 2)) + 1,
    }
}

/// What counts as nobody's own fault in a region: the misses at the 75th percentile of its nodes, as
/// the lower end of their bucket. 0 where too few nodes stand for a judgement.
#[must_use]
pub fn common_misses(buckets: &[u32; MISS_BUCKETS], nodes_min: u32) -> u64 {
    let nodes: u64 = buckets.iter().map(|count| u64::from(*count)).sum();
    if nodes < u64::from(nodes_min.max(1)) {
        return 0;
    }
    let mut below = 0u64;
    for (bucket, count) in buckets.iter().enumerate() {
        below += u64::from(*count);
        // At least three quarters of the nodes had no more than this.
        if below * 4 >= nodes * 3 {
            return bucket_start(bucket);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn freshness_is_whole_then_linear_then_nothing() {
        for (age, expected) in [(0, PPM), (100, PPM), (101, 990_000), (150, 500_000), (199, 10_000), (200, 0), (900, 0)]
        {
            assert_eq!(freshness_ppm(age, 100), expected, "age {age}");
        }
        assert_eq!(freshness_ppm(101, 3 * 50), PPM);
        assert_eq!(freshness_ppm(4, 3), 666_666, "floored");
        assert_eq!((freshness_ppm(0, 0), freshness_ppm(1, 0)), (PPM, 0));
        assert_eq!(freshness_ppm(u64::MAX, u64::MAX), PPM);
    }

    #[test]
    fn penalties_halve() {
        for (age, expected) in [(0, 1_000), (50, 750), (100, 500), (150, 375), (200, 250), (100 * 40, 0)] {
            assert_eq!(decayed_ppm(1_000, age, 100), expected, "age {age}");
        }
        assert_eq!(decayed_ppm(1_000, 1, 100), 995);
        assert_eq!(decayed_ppm(1_000, 5, 0), 0, "without a half-life nothing stays");
        assert_eq!(decayed_ppm(1_000, u64::MAX, 1), 0);
    }

    #[test]
    fn the_score_is_gated() {
        assert_eq!(score_ppm(PPM, PPM, PPM, 500_000), PPM);
        assert_eq!(score_ppm(0, PPM, PPM, 500_000), 0);
        assert_eq!(score_ppm(500_000, PPM, 0, 250_000), 125_000);
        assert_eq!(score_ppm(PPM, 0, PPM, 250_000), 750_000);
        assert_eq!(score_ppm(PPM, 333_333, 666_666, 500_000), 499_999, "floored");
        assert_eq!(score_ppm(u32::MAX, u32::MAX, u32::MAX, u32::MAX), PPM);
    }

    #[test]
    fn one_missed_heartbeat_and_the_way_back() {
        let steady = Gaps::default().after(1_000);
        assert_eq!(stability_ppm(steady, 1_000, 4_000_000), PPM);
        let missed = steady.after(2_000);
        assert_eq!(missed, Gaps { mean_ms_8: 9_000, deviation_ms_4: 1_000 });
        assert_eq!(stability_ppm(missed, 1_000, 4_000_000), 0);
        assert_eq!(stability_ppm(missed, 1_000, 1_000_000), 750_000);
        // The way back does not stick: perfect again after at most 60 heartbeats.
        assert_eq!(stability_ppm(missed.after_many(1_000, 60), 1_000, 4_000_000), PPM);
        assert_eq!(stability_ppm(Gaps::default(), 1_000, 1), 0, "nothing is known");
        assert_eq!(stability_ppm(steady, 0, 1), 0);
    }

    #[test]
    fn common_outages_are_nobodys_fault() {
        let mut buckets = [0; MISS_BUCKETS];
        for misses in [0, 0, 40, 40, 40, 40, 40, 100] {
            buckets[miss_bucket(misses)] += 1;
        }
        assert_eq!(common_misses(&buckets, 8), 33, "the lower end of 33 to 64");
        assert_eq!(common_misses(&buckets, 9), 0, "too few nodes");
        assert_eq!(common_misses(&[0; MISS_BUCKETS], 0), 0);
        let mut calm = [0; MISS_BUCKETS];
        (calm[0], calm[5]) = (6, 2);
        assert_eq!(common_misses(&calm, 8), 0, "three quarters missed nothing");
    }

    #[test]
    fn buckets_cover_everything_without_gaps() {
        assert_eq!([0, 1, 2, 3, 4, 5, 8, 9].map(miss_bucket), [0, 1, 2, 3, 3, 4, 4, 5]);
        assert_eq!(miss_bucket(u64::MAX), MISS_BUCKETS - 1);
        for bucket in 0..MISS_BUCKETS {
            assert_eq!(miss_bucket(bucket_start(bucket)), bucket);
            assert!(bucket == 0 || miss_bucket(bucket_start(bucket) - 1) == bucket - 1);
        }
    }

    proptest! {
        /// T-I1, T-I3: scores stay in range, and no input that is worse gives a better score.
        #[test]
        fn worse_inputs_never_raise_a_score(
            gate in 0..=PPM, s in 0..=PPM, b in 0..=PPM, w in 0..=PPM, less in 0..=PPM,
        ) {
            let score = score_ppm(gate, s, b, w);
            prop_assert!(score <= PPM && score <= gate);
            prop_assert!(score_ppm(gate.saturating_sub(less), s, b, w) <= score);
            prop_assert!(score_ppm(gate, s.saturating_sub(less), b, w) <= score);
            prop_assert!(score_ppm(gate, s, b.saturating_sub(less), w) <= score);
        }

        /// Folding equal gaps at once is folding them one by one.
        #[test]
        fn many_equal_gaps_are_single_gaps(mean in 1u64..1_000_000, dev in 0u64..1_000_000, gap in 1u64..100_000, n in 0u64..600) {
            let start = Gaps { mean_ms_8: mean, deviation_ms_4: dev };
            let single = (0..n).fold(start, |gaps, _| gaps.after(gap));
            prop_assert_eq!(start.after_many(gap, n), single);
        }

        /// T-I3: from any state, perfect behaviour leads to perfect stability within 400 heartbeats.
        #[test]
        fn stability_never_sticks(mean in 1u64..8_000_000, dev in 0u64..8_000_000) {
            let gaps = Gaps { mean_ms_8: mean, deviation_ms_4: dev }.after_many(1_000, 400);
            prop_assert_eq!(stability_ppm(gaps, 1_000, 4_000_000), PPM);
        }

        /// Penalties only fall with time, and never below nothing.
        #[test]
        fn penalties_only_fall(p in 0..=PPM, age in 0u64..5_000, more in 0u64..500, half in 1u64..1_000) {
            prop_assert!(decayed_ppm(p, age + more, half) <= decayed_ppm(p, age, half));
            prop_assert!(decayed_ppm(p, age, half) <= p);
        }
    }
}
