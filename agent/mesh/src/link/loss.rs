//! Loss of one direction, from sequence numbers, and what follows for how many misses mean "down".

use crate::Time;

/// Fewest consecutive misses that mean "down".
pub const MISSES_MIN: u8 = 3;
/// Most consecutive misses that mean "down".
pub const MISSES_MAX: u8 = 8;
/// A number is judged lost when this many higher ones were seen; until then it may be late.
pub const REORDER_SPAN: u64 = 32;

/// Shortest time that a sample of the loss covers, nanoseconds.
const BUCKET_NS: u64 = 100_000_000;
/// Fewest numbers that a sample of the loss covers.
const BUCKET_NUMBERS: u32 = 32;
/// Samples that the mean reaches back over.
const MEAN_SPAN: u32 = 16;

/// Mean loss of one direction over about 1.6 s, in 65,536ths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Loss {
    judged: u32,
    lost: u32,
    began: Time,
    /// The mean in 2^-24, so that steps of 1/16 are not rounded away at small loss.
    mean_q24: u32,
    samples: u32,
    total_judged: u64,
    total_lost: u64,
}

impl Loss {
    /// Takes the verdict over some numbers.
    pub fn add(&mut self, now: Time, judged: u32, lost: u32) {
        if judged == 0 {
            return;
        }
        if self.judged == 0 {
            self.began = now;
        }
        self.judged = self.judged.saturating_add(judged);
        self.lost = self.lost.saturating_add(lost.min(judged));
        self.total_judged = self.total_judged.saturating_add(judged.into());
        self.total_lost = self.total_lost.saturating_add(lost.min(judged).into());
        if self.judged >= BUCKET_NUMBERS && now.since_ns(self.began) >= BUCKET_NS {
            self.close();
        }
    }

    fn close(&mut self) {
        let sample = (u64::from(self.lost) << 24) / u64::from(self.judged);
        self.samples = self.samples.saturating_add(1);
        // The first samples weigh evenly; a sudden rise weighs more, because too few misses for "down" cost a needless
        // switch and too many only a moment. Rounded up, so that the mean does not stick below a constant loss.
        let mut span = u64::from(self.samples.min(MEAN_SPAN));
        let mean = u64::from(self.mean_q24);
        if sample > 2 * mean + (1 << 24) / 32 {
            span = span.min(4);
        }
        let next = if sample >= mean { mean + (sample - mean).div_ceil(span) } else { mean - (mean - sample) / span };
        self.mean_q24 = u32::try_from(next).unwrap_or(1 << 24);
        self.judged = 0;
        self.lost = 0;
    }

    /// The mean loss, 65,536 for all.
    #[must_use]
    pub const fn q16(&self) -> u32 {
        self.mean_q24 >> 8
    }

    /// The mean loss as it travels: 65,535 for all.
    #[must_use]
    pub fn wire_q16(&self) -> u16 {
        u16::try_from(self.q16()).unwrap_or(u16::MAX)
    }

    /// Whether enough was judged for the mean to be worth something.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.samples >= MEAN_SPAN / 2
    }

    /// How many consecutive misses mean "down" at this loss; the most while the loss is not known.
    #[must_use]
    pub fn misses(&self) -> u8 {
        if self.is_known() { misses_for(self.q16()) } else { MISSES_MAX }
    }

    /// Numbers judged since the start, and those of them that were lost.
    #[must_use]
    pub const fn totals(&self) -> (u64, u64) {
        (self.total_judged, self.total_lost)
    }

    /// Forgets the mean; the totals stay.
    pub fn reset(&mut self) {
        *self = Self { total_judged: self.total_judged, total_lost: self.total_lost, ..Self::default() };
    }
}

/// How many consecutive misses mean "down" at a loss, so that independent losses alone give fewer than one false alarm
/// in an hour at an interval of 1 ms: the smallest M in 3..=8 with `3600 s / 1 ms * p^M < 1`, that is
/// `M >= 15.1 / ln(1/p)`. Above 12 % eight misses are not enough for that bound, and still what the limit allows.
#[must_use]
pub fn misses_for(loss_q16: u32) -> u8 {
    /// The largest loss (65,536ths) that M = 3 ..= 7 serves: 65,536 * exp(-15.0965 / M), rounded down.
    const LARGEST_Q16: [u32; 5] = [427, 1_504, 3_199, 5_293, 7_582];
    let beyond = LARGEST_Q16.iter().filter(|largest| loss_q16 > **largest).count();
    u8::try_from(beyond).unwrap_or(MISSES_MAX).saturating_add(MISSES_MIN).min(MISSES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};

    #[test]
    fn misses_keep_false_alarms_below_one_an_hour() {
        // Oracle: the formula of the rule, in floating point, for every loss that eight misses can serve.
        for loss_q16 in 1..=9_900u32 {
            let p = f64::from(loss_q16) / 65_536.0;
            let alarms = |misses: u8| 3_600.0 / 0.001 * p.powi(i32::from(misses));
            let misses = misses_for(loss_q16);
            assert!(alarms(misses) < 1.0, "loss {p}: {misses} misses, {} false alarms an hour", alarms(misses));
            assert!(misses == 3 || alarms(misses - 1) > 0.999, "loss {p}: {misses} misses are more than needed");
        }
        assert_eq!(misses_for(0), 3);
        assert_eq!(misses_for(65_536), 8);
    }

    #[test]
    fn the_mean_follows_a_seeded_loss() {
        for percent in [0u32, 1, 5, 10, 30] {
            let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(percent.into());
            let mut loss = Loss::default();
            for number in 0..30_000u64 {
                let lost = random.random_range(0..100) < percent;
                loss.add(Time(number * 2_000_000), 1, u32::from(lost));
            }
            let found = i64::from(loss.q16());
            let expected = i64::from(percent) * 65_536 / 100;
            assert!((found - expected).abs() < 65_536 / 40, "{percent} %: {found}, expected {expected}");
            let (judged, lost) = loss.totals();
            assert_eq!(judged, 30_000);
            assert!(lost.abs_diff(u64::from(percent) * 300) < 300);
        }
    }

    proptest! {
        #[test]
        fn the_mean_is_a_share(samples in proptest::collection::vec((0u32..500, 0u32..600, 0u64..300_000_000), 0..200)) {
            let mut loss = Loss::default();
            let mut now = Time(0);
            for (judged, lost, step) in samples {
                now = now.plus_ns(step);
                loss.add(now, judged, lost);
                prop_assert!(loss.q16() <= 65_536);
            }
        }
    }
}
