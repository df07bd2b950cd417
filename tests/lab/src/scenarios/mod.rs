//! The scenarios. Each reads as a script, returns its figures, and fails with what it saw.

pub mod clocks;
pub mod crashes;
pub mod disks;
pub mod equivocation;
pub mod handshakes;
pub mod manual;
pub mod partitions;
pub mod site;
pub mod upgrade;
pub mod wide_area;

use std::collections::BTreeMap;

/// Figures of a scenario, by name with unit.
pub type Figures = BTreeMap<&'static str, f64>;

/// Median and 95th percentile of durations, in seconds.
pub(crate) fn percentiles(mut times: Vec<std::time::Duration>) -> (f64, f64) {
    times.sort_unstable();
    let at = |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
    let seconds = |time: Option<&std::time::Duration>| time.map_or(f64::NAN, std::time::Duration::as_secs_f64);
    (seconds(at(50)), seconds(at(95)))
}
