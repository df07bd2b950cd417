//! Figures and their text.

use std::time::Duration;

/// Percentiles of a set of latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// Median.
    pub p50: Duration,
    /// 95th percentile.
    pub p95: Duration,
    /// 99th percentile.
    pub p99: Duration,
    /// Slowest.
    pub max: Duration,
}

impl Latency {
    /// Nearest-rank percentiles; `None` without samples.
    #[must_use]
    pub fn of(mut samples: Vec<Duration>) -> Option<Self> {
        samples.sort_unstable();
        let rank = |percent: usize| samples.get((samples.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Self { p50: rank(50)?, p95: rank(95)?, p99: rank(99)?, max: *samples.last()? })
    }
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |duration: Duration| duration.as_secs_f64() * 1_000.0;
        write!(
            f,
            "p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            ms(self.p50),
            ms(self.p95),
            ms(self.p99),
            ms(self.max)
        )
    }
}

/// One line of the report: what was measured, the goal, the figure, whether it was met.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// The goal in words.
    pub goal: String,
    /// The figure in words.
    pub measured: String,
    /// Whether the goal was met.
    pub met: bool,
    /// What limits the figure; the report says it of rows that miss their goal.
    pub limit: &'static str,
}

/// The table of a report; rows that miss their goal say so.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from("| what | goal | measured | |\n|---|---|---|---|\n");
    for row in rows {
        let verdict = if row.met { "met" } else { "**missed**" };
        text.push_str(&format!("| {} | {} | {} | {verdict} |\n", row.what, row.goal, row.measured));
    }
    text
}

/// What limits the figures of the rows that miss their goal; nothing when all meet theirs.
#[must_use]
pub fn losses(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows.iter().filter(|row| !row.met) {
        if text.is_empty() {
            text.push_str(
                "\n## Rows that miss their goal\n\nThe profile behind this is in [profile.md](profile.md).\n\n",
            );
        }
        text.push_str(&format!("* **{}**: {}\n", row.what, row.limit));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let samples: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        let latency = Latency::of(samples).unwrap();
        assert_eq!(latency.p50, Duration::from_millis(50));
        assert_eq!(latency.p99, Duration::from_millis(99));
        assert_eq!(latency.max, Duration::from_millis(100));
        assert!(Latency::of(Vec::new()).is_none());
        let one = Latency::of(vec![Duration::from_millis(3)]).unwrap();
        assert_eq!((one.p50, one.max), (Duration::from_millis(3), Duration::from_millis(3)));
    }

    #[test]
    fn a_missed_goal_is_visible() {
        let row = |met| Row { what: "a".into(), goal: "b".into(), measured: "c".into(), met, limit: "the disk" };
        assert!(table(&[row(true), row(false)]).contains("**missed**"));
        assert!(losses(&[row(true), row(false)]).ends_with("* **a**: the disk\n"));
        assert_eq!(losses(&[row(true)]), "");
    }
}
