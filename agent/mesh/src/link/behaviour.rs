//! How a neighbour's heartbeats behave: rhythm, spread and drift of their arrivals, compared with their own history.
//!
//! The sender shortens each interval by 0 to 25 % (RFC 5880, section 6.8.7, does the same against synchronisation).
//! How much is drawn from a keyed function of the heartbeat's number, so the other end can compute where each arrival
//! belongs; who delays, stores and forwards, or imitates the heartbeats shows in the residuals. The score feeds trust
//! slowly and never drops anything by itself.

use x0_mesh_wire::HopKey;

/// Windows whose means make the history.
const HISTORY: usize = 64;
/// Fewest windows before a score is given.
const HISTORY_MIN: usize = 8;
/// Arrivals of one window.
const WINDOW_ARRIVALS: u32 = 64;
/// Largest score, 256 for one robust standard deviation.
pub const SCORE_Q8_MAX: u32 = 256 * 64;

/// The rhythm that both ends can compute.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    key: HopKey,
}

impl Rhythm {
    /// A rhythm of this key.
    #[must_use]
    pub const fn new(key: HopKey) -> Self {
        Self { key }
    }

    /// The time after the frame with this number until the next heartbeat, nanoseconds: 75 to 100 % of the interval.
    #[must_use]
    pub fn gap_ns(&self, seq: u64, interval_ns: u64) -> u64 {
        let [draw, ..] = self.key.mac(&seq.to_be_bytes());
        interval_ns - interval_ns / 1_024 * u64::from(draw)
    }
}

/// What is known about the arrivals of one neighbour's heartbeats.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Mean and mean deviation of the gaps, times 16 (gain 1/16).
    gap_x16_ns: u64,
    deviation_x16_ns: u64,
    /// Mean signed residual, times 16: the drift of the phase per heartbeat.
    drift_x16_ns: i64,
    histogram: [u32; 16],
    arrivals: u64,
    window_sum_ns: u64,
    window_arrivals: u32,
    history: [u64; HISTORY],
    windows: usize,
    score_q8: u32,
}

/// The statistics as others read them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct BehaviourSummary {
    /// Mean gap between heartbeats, microseconds.
    pub gap_us: u64,
    /// Mean deviation of the gaps from their mean, microseconds.
    pub gap_deviation_us: u64,
    /// Mean residual against the keyed rhythm, signed, nanoseconds for each heartbeat.
    pub drift_ns: i64,
    /// Residuals by size: entry n counts those of 2^n to 2^(n+1) microseconds, the last all above, the first all below.
    pub residuals_log2_us: [u32; 16],
    /// Heartbeats compared.
    pub arrivals: u64,
    /// How far the last window lies from the median of the history, 256 for one robust standard deviation; zero while
    /// the history is short.
    pub score_q8: u32,
}

impl Behaviour {
    /// Nothing is known yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            gap_x16_ns: 0,
            deviation_x16_ns: 0,
            drift_x16_ns: 0,
            histogram: [0; 16],
            arrivals: 0,
            window_sum_ns: 0,
            window_arrivals: 0,
            history: [0; HISTORY],
            windows: 0,
            score_q8: 0,
        }
    }

    /// Takes the gap between two heartbeats that followed on one another, and the gap that the rhythm puts there.
    pub fn arrived(&mut self, gap_ns: u64, expected_ns: u64) {
        let residual = gap_ns.abs_diff(expected_ns);
        if self.arrivals == 0 {
            self.gap_x16_ns = gap_ns.saturating_mul(16);
        }
        self.arrivals = self.arrivals.saturating_add(1);
        self.deviation_x16_ns = ewma(self.deviation_x16_ns, gap_ns.abs_diff(self.gap_x16_ns / 16));
        self.gap_x16_ns = ewma(self.gap_x16_ns, gap_ns);
        let signed = i64::try_from(residual).unwrap_or(i64::MAX / 32).min(i64::MAX / 32);
        let signed = if gap_ns >= expected_ns { signed } else { -signed };
        self.drift_x16_ns += signed - self.drift_x16_ns / 16;
        let bucket = (residual / 1_000).checked_ilog2().unwrap_or(0).min(15);
        if let Some(count) = usize::try_from(bucket).ok().and_then(|bucket| self.histogram.get_mut(bucket)) {
            *count = count.saturating_add(1);
        }
        self.window_sum_ns = self.window_sum_ns.saturating_add(residual);
        self.window_arrivals += 1;
        if self.window_arrivals == WINDOW_ARRIVALS {
            self.close();
        }
    }

    /// Compares the mean residual of a full window with those before it, and adds it to them.
    fn close(&mut self) {
        let mean = self.window_sum_ns / u64::from(WINDOW_ARRIVALS);
        self.window_sum_ns = 0;
        self.window_arrivals = 0;
        let known = self.windows.min(HISTORY);
        if known >= HISTORY_MIN {
            self.score_q8 = robust_score_q8(mean, self.history.get(..known).unwrap_or(&[]));
        }
        let at = self.windows % HISTORY;
        if let Some(place) = self.history.get_mut(at) {
            *place = mean;
        }
        self.windows = self.windows.saturating_add(1);
    }

    /// The statistics.
    #[must_use]
    pub const fn summary(&self) -> BehaviourSummary {
        BehaviourSummary {
            gap_us: self.gap_x16_ns / 16_000,
            gap_deviation_us: self.deviation_x16_ns / 16_000,
            drift_ns: self.drift_x16_ns / 16,
            residuals_log2_us: self.histogram,
            arrivals: self.arrivals,
            score_q8: self.score_q8,
        }
    }
}

const fn ewma(x16: u64, sample: u64) -> u64 {
    (x16 - x16 / 16).saturating_add(sample)
}

/// The distance of a value from the median, in robust standard deviations (1.4826 times the median absolute
/// deviation), 256 for one. A deviation below 1 % of the median or 20 us counts as that: an undisturbed history is so
/// even that any breath would look like an event.
fn robust_score_q8(value: u64, history: &[u64]) -> u32 {
    let mut sorted = [0u64; HISTORY];
    let Some(sorted) = sorted.get_mut(..history.len()) else { return 0 };
    sorted.copy_from_slice(history);
    let median = median(sorted);
    for (place, value) in sorted.iter_mut().zip(history) {
        *place = value.abs_diff(median);
    }
    let deviation = self::median(sorted).max(median / 100).max(20_000);
    // 256 / 1.4826 = 172.67
    let score = u128::from(value.abs_diff(median)) * 173 / u128::from(deviation);
    u32::try_from(score).unwrap_or(SCORE_Q8_MAX).min(SCORE_Q8_MAX)
}

/// The lower median; zero for nothing.
fn median(values: &mut [u64]) -> u64 {
    if values.is_empty() {
        return 0;
    }
    let middle = (values.len() - 1) / 2;
    *values.select_nth_unstable(middle).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};

    #[test]
    fn the_rhythm_shortens_by_at_most_a_quarter_and_differs_by_key() {
        let (one, other) = (Rhythm::new(HopKey::new([1; 16])), Rhythm::new(HopKey::new([2; 16])));
        let gaps: Vec<u64> = (0..1_000).map(|seq| one.gap_ns(seq, 2_000_000)).collect();
        assert!(gaps.iter().all(|gap| (1_500_000..=2_000_000).contains(gap)));
        let mean = gaps.iter().sum::<u64>() / 1_000;
        assert!((1_700_000..1_800_000).contains(&mean), "{mean}");
        assert!((0..1_000).filter(|seq| other.gap_ns(*seq, 2_000_000) == gaps[*seq as usize]).count() < 50);
    }

    /// Feeds windows of heartbeats whose residual is `noise` plus `extra`, and tells the score.
    fn feed(behaviour: &mut Behaviour, random: &mut rand_chacha::ChaCha8Rng, windows: u32, extra: u64) -> u32 {
        let rhythm = Rhythm::new(HopKey::new([7; 16]));
        for seq in 0..u64::from(windows * WINDOW_ARRIVALS) {
            let expected = rhythm.gap_ns(seq, 2_000_000);
            behaviour.arrived(expected + random.random_range(0..100_000) + extra, expected);
        }
        behaviour.summary().score_q8
    }

    #[test]
    fn a_change_of_rhythm_scores_and_an_even_one_does_not() {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let mut behaviour = Behaviour::new();
        assert_eq!(feed(&mut behaviour, &mut random, 8, 0), 0, "no score before there is a history");
        assert!(feed(&mut behaviour, &mut random, 40, 0) < 4 * 256);
        assert!(feed(&mut behaviour, &mut random, 1, 400_000) > 8 * 256);
        let summary = behaviour.summary();
        assert!(summary.drift_ns > 400_000, "{summary:?}");
        assert_eq!(summary.arrivals, 49 * 64);
        assert_eq!(summary.residuals_log2_us.iter().map(|count| u64::from(*count)).sum::<u64>(), summary.arrivals);
    }

    #[test]
    fn an_imitator_without_the_key_cannot_keep_the_rhythm() {
        let rhythm = Rhythm::new(HopKey::new([7; 16]));
        let mut behaviour = Behaviour::new();
        for seq in 0..64 * 20 {
            let expected = rhythm.gap_ns(seq, 2_000_000);
            behaviour.arrived(expected, expected);
        }
        assert_eq!(behaviour.summary().score_q8, 0);
        // The mean interval, evenly: right on average and wrong each time.
        for seq in 0..64 {
            behaviour.arrived(1_750_000, rhythm.gap_ns(seq, 2_000_000));
        }
        assert!(behaviour.summary().score_q8 > 4 * 256, "{:?}", behaviour.summary());
    }

    proptest! {
        #[test]
        fn the_median_is_that_of_the_sorted_list(values in proptest::collection::vec(any::<u64>(), 1..64)) {
            let mut sorted = values.clone();
            sorted.sort_unstable();
            prop_assert_eq!(median(&mut values.clone()), sorted[(sorted.len() - 1) / 2]);
        }

        #[test]
        fn extreme_gaps_do_not_overflow(gaps in proptest::collection::vec((any::<u64>(), any::<u64>()), 1..200)) {
            let mut behaviour = Behaviour::new();
            for (gap, expected) in gaps {
                behaviour.arrived(gap, expected);
            }
            prop_assert!(behaviour.summary().score_q8 <= SCORE_Q8_MAX);
        }
    }
}
