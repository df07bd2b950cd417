//! How regularly datagrams arrive: a histogram by powers of two, and a smoothed mean and deviation.

/// Elements of the histogram.
pub const BUCKETS: usize = 16;
/// Longest interval that enters the smoothed values, nanoseconds: one silent night is no jitter.
pub const INTERVAL_CAP_NS: u64 = 1 << 30;

/// The histogram's element for an interval: 0 below 2 µs, `i` from 2^i µs, 15 from 32,768 µs.
#[inline(always)]
#[must_use]
pub const fn bucket(interval_ns: u64) -> usize {
    let us = interval_ns / 1_000;
    let mut index = 0;
    while index < BUCKETS - 1 && us >= 2 << index {
        index += 1;
    }
    // The mask tells the kernel's verifier what the loop means.
    index & (BUCKETS - 1)
}

/// The smoothed mean and deviation after one more interval: gains 1/8 and 1/4, and the first sample is
/// the mean with half of it as deviation (RFC 6298, section 2). Zeros mean that there was none yet.
#[inline(always)]
#[must_use]
pub const fn smooth(mean_ns: u64, deviation_ns: u64, interval_ns: u64) -> (u64, u64) {
    let sample = if interval_ns > INTERVAL_CAP_NS { INTERVAL_CAP_NS } else { interval_ns };
    if mean_ns == 0 && deviation_ns == 0 {
        return (sample, sample / 2);
    }
    let error = sample.abs_diff(mean_ns);
    let deviation = deviation_ns - deviation_ns / 4 + error / 4;
    let mean = mean_ns - mean_ns / 8 + sample / 8;
    (mean, deviation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_bucket_is_the_binary_logarithm(ns in 0u64..1 << 45) {
            let us = ns / 1_000;
            let expected = if us < 2 { 0 } else { (us.ilog2() as usize).min(BUCKETS - 1) };
            prop_assert_eq!(bucket(ns), expected);
        }

        /// The mean stays between the smallest and the largest sample (but for rounding down by
        /// less than eight), the deviation below their distance or half the first sample.
        #[test]
        fn smoothed_values_stay_within_the_samples(samples in proptest::collection::vec(1_000u64..1 << 32, 1..200)) {
            let capped: std::vec::Vec<u64> = samples.iter().map(|ns| (*ns).min(INTERVAL_CAP_NS)).collect();
            let (low, high) = (*capped.iter().min().unwrap(), *capped.iter().max().unwrap());
            let (mut mean, mut deviation) = (0, 0);
            for sample in &samples {
                (mean, deviation) = smooth(mean, deviation, *sample);
                prop_assert!(mean + 8 * 8 >= low && mean <= high + 8, "{low} <= {mean} <= {high}");
                prop_assert!(deviation <= (high - low).max(capped[0] / 2) + 4 * 64, "{deviation}");
            }
        }
    }

    #[test]
    fn steady_arrivals_have_their_interval_as_mean_and_no_deviation() {
        let (mut mean, mut deviation) = (0, 0);
        for _ in 0..200 {
            (mean, deviation) = smooth(mean, deviation, 2_000_000);
        }
        assert!((1_999_900..=2_000_000).contains(&mean), "{mean}");
        assert!(deviation < 200, "{deviation}");
    }
}
