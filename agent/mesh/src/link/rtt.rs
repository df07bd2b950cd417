//! Round-trip time and jitter, in integers.

use crate::Time;

/// How long the smallest round trip is remembered: two spans of this length, nanoseconds.
const MINIMUM_SPAN_NS: u64 = 30_000_000_000;
/// A longer round trip is a fault of measurement, nanoseconds.
const RTT_NS_MAX: u64 = 60_000_000_000;

/// Smoothed round-trip time and its variation (RFC 6298, section 2), and the smallest of the last minute.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rtt {
    smoothed_ns: u64,
    variation_ns: u64,
    minimum_ns: [u64; 2],
    span_began: Time,
    samples: u64,
}

impl Rtt {
    /// Takes one measurement.
    pub fn sample(&mut self, now: Time, rtt_ns: u64) {
        if rtt_ns > RTT_NS_MAX {
            return;
        }
        if self.samples == 0 {
            self.smoothed_ns = rtt_ns;
            self.variation_ns = rtt_ns / 2;
            self.minimum_ns = [rtt_ns; 2];
            self.span_began = now;
        } else {
            // RFC 6298: the variation first, with the old smoothed value; alpha 1/8, beta 1/4.
            self.variation_ns = self.variation_ns - self.variation_ns / 4 + self.smoothed_ns.abs_diff(rtt_ns) / 4;
            self.smoothed_ns = self.smoothed_ns - self.smoothed_ns / 8 + rtt_ns / 8;
            if now.since_ns(self.span_began) > MINIMUM_SPAN_NS {
                self.minimum_ns = [self.minimum_ns[1], rtt_ns];
                self.span_began = now;
            }
            self.minimum_ns[1] = self.minimum_ns[1].min(rtt_ns);
        }
        self.samples = self.samples.saturating_add(1);
    }

    /// Forgets everything: the path below changed.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Smoothed round-trip time, nanoseconds; `None` before the first measurement.
    #[must_use]
    pub const fn smoothed_ns(&self) -> Option<u64> {
        if self.samples == 0 { None } else { Some(self.smoothed_ns) }
    }

    /// Variation, nanoseconds.
    #[must_use]
    pub const fn variation_ns(&self) -> u64 {
        self.variation_ns
    }

    /// Smallest round trip of the last 30 to 60 s, nanoseconds.
    #[must_use]
    pub fn minimum_ns(&self) -> u64 {
        self.minimum_ns[0].min(self.minimum_ns[1])
    }
}

/// Mean deviation of arrivals from where the sender's rhythm puts them (RFC 3550, section 6.4.1: gain 1/16).
#[derive(Clone, Copy, Debug, Default)]
pub struct Jitter {
    /// Sixteen times the deviation, so that small ones are not rounded away.
    deviation_x16_ns: u64,
}

impl Jitter {
    /// Takes the distance of one arrival from its expected moment.
    pub fn sample(&mut self, deviation_ns: u64) {
        self.deviation_x16_ns = self.deviation_x16_ns - self.deviation_x16_ns / 16 + deviation_ns;
    }

    /// The mean deviation, nanoseconds.
    #[must_use]
    pub const fn mean_ns(&self) -> u64 {
        self.deviation_x16_ns / 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_sample_sets_both_as_rfc_6298_says() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.smoothed_ns(), None);
        rtt.sample(Time(0), 8_000_000);
        assert_eq!((rtt.smoothed_ns(), rtt.variation_ns()), (Some(8_000_000), 4_000_000));
        rtt.sample(Time(1), 16_000_000);
        // RTTVAR = 3/4 * 4 + 1/4 * |8 - 16| = 5; SRTT = 7/8 * 8 + 1/8 * 16 = 9.
        assert_eq!((rtt.smoothed_ns(), rtt.variation_ns()), (Some(9_000_000), 5_000_000));
    }

    #[test]
    fn the_minimum_forgets_after_a_minute() {
        let mut rtt = Rtt::default();
        rtt.sample(Time(0), 1_000);
        for second in 1..30 {
            rtt.sample(Time(second * 1_000_000_000), 5_000);
        }
        assert_eq!(rtt.minimum_ns(), 1_000);
        for second in 30..95 {
            rtt.sample(Time(second * 1_000_000_000), 5_000);
        }
        assert_eq!(rtt.minimum_ns(), 5_000);
    }

    proptest! {
        /// The estimates stay between the smallest and the largest sample (floats as the oracle's bound).
        #[test]
        fn estimates_stay_within_the_samples(samples in proptest::collection::vec(1u64..1_000_000_000, 1..200)) {
            let mut rtt = Rtt::default();
            let (mut low, mut high) = (u64::MAX, 0);
            let (mut srtt, mut var) = (0f64, 0f64);
            for (at, sample) in samples.iter().enumerate() {
                rtt.sample(Time(at as u64), *sample);
                low = low.min(*sample);
                high = high.max(*sample);
                let r = *sample as f64;
                if at == 0 { srtt = r; var = r / 2.0; } else { var = 0.75 * var + 0.25 * (srtt - r).abs(); srtt = 0.875 * srtt + 0.125 * r; }
                prop_assert!((rtt.smoothed_ns().unwrap() as f64 - srtt).abs() < 32.0);
                prop_assert!((rtt.variation_ns() as f64 - var).abs() < 64.0);
            }
            prop_assert!(rtt.smoothed_ns().unwrap() + 16 >= low && rtt.smoothed_ns().unwrap() <= high + 16);
        }
    }
}
