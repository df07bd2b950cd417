//! A thousand seeds, in four parts so that they share the machine's cores.
#![allow(clippy::panic, missing_docs)]

use x0_simulation::{Plan, Report, replay_command, run};

/// Runs a range of seeds; the first one that breaks a promise is shown with the command that shows it again.
fn check(seeds: std::ops::Range<u64>) {
    let reports: Vec<Report> = seeds.map(|seed| run(Plan::draw(seed), false)).collect();
    for report in &reports {
        let broken: Vec<_> = report.violations.iter().map(ToString::to_string).collect();
        assert!(report.passed(), "seed {}: {}\n{}", report.seed, broken.join("; "), replay_command(report.seed));
    }
    // Runs in which nothing happens would show nothing.
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    assert!(sum(|report| report.heights) > 1_000);
    assert!(sum(|report| report.crashes) > 200);
    assert!(sum(|report| report.contradictions as u64) > 50);
    assert!(sum(|report| report.changes as u64) > 50);
    assert!(sum(|report| u64::from(report.round_max)) > 100);
}

#[test]
fn seeds_from_0() {
    check(0..250);
}

#[test]
fn seeds_from_250() {
    check(250..500);
}

#[test]
fn seeds_from_500() {
    check(500..750);
}

#[test]
fn seeds_from_750() {
    check(750..1_000);
}
