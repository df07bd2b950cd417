//! The simulator repeats itself exactly, and its oracle notices what is broken on purpose.
#![allow(clippy::panic, clippy::unwrap_used, missing_docs)]

use x0_simulation::{
    Plan, Report, Sabotage, Violation, run,
    soak::{Progress, SoakError, range},
    study::{SMALL_SIGNATURE, measure},
};

/// Networks with a twin that splits its audience.
const TWINS: u64 = 100;

/// Runs seeds until one breaks a promise of the kind looked for.
fn found(sabotage: Sabotage, seeds: u64, kind: fn(&Violation) -> bool) -> (u64, Report) {
    for seed in 0..seeds {
        let report = run(Plan::sabotaged(seed, sabotage), false);
        if report.violations.iter().any(kind) {
            return (seed, report);
        }
    }
    panic!("{sabotage:?} was not noticed in {seeds} seeds");
}

#[test]
fn a_seed_is_one_run() {
    let mut hashes = Vec::new();
    for seed in 0..40 {
        let (first, second) = (run(Plan::draw(seed), false), run(Plan::draw(seed), false));
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert_eq!(first.events, second.events, "seed {seed}");
        assert_eq!(first.final_us, second.final_us, "seed {seed}");
        hashes.push(first.hash);
    }
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), 40, "different seeds are different runs");
}

#[test]
fn real_signatures_change_nothing() {
    for seed in 0..6 {
        let plan = Plan { real_signatures: true, ..Plan::draw(seed) };
        let (real, stand_in) = (run(plan, false), run(Plan::draw(seed), false));
        assert!(real.passed(), "seed {seed}: {:?}", real.violations);
        assert_eq!(real.events, stand_in.events, "seed {seed}");
        assert_eq!(real.heights, stand_in.heights, "seed {seed}");
        assert_eq!(real.final_us, stand_in.final_us, "seed {seed}");
    }
}

#[test]
fn a_validator_without_its_guard_is_caught() {
    found(Sabotage::NoGuard, 200, |violation| matches!(violation, Violation::DoubleSign { .. }));
}

#[test]
fn words_repeated_without_their_lock_fork_the_chain() {
    found(Sabotage::SignBeforeLog, 400, |violation| matches!(violation, Violation::Fork { .. }));
}

#[test]
fn half_a_quorum_is_caught() {
    found(Sabotage::HalfQuorum, 50, |violation| {
        matches!(violation, Violation::Certificate { .. } | Violation::Fork { .. } | Violation::Panic(_))
    });
}

#[test]
fn more_twins_than_the_protocol_bears_fork_the_chain() {
    found(Sabotage::ManyTwins, 300, |violation| matches!(violation, Violation::Fork { .. }));
}

#[test]
fn votes_for_broken_blocks_are_caught() {
    found(Sabotage::BlindVotes, 300, |violation| matches!(violation, Violation::Invalid { .. }));
}

#[test]
fn a_lost_block_is_caught() {
    found(Sabotage::ForgetfulChain, 100, |violation| matches!(violation, Violation::Rewound { .. }));
}

#[test]
fn a_twin_that_splits_its_audience_is_proven_within_two_blocks_and_nobody_else() {
    let (mut exposed, mut slowest, mut broken) = (0, 0, Vec::new());
    for seed in 0..TWINS {
        let report = run(Plan::split_twin(seed), false);
        if !report.passed() {
            broken.push((seed, report.violations));
        }
        assert!(report.accused <= 1);
        exposed += report.exposed;
        slowest = slowest.max(report.proof_blocks);
    }
    println!("{exposed} of {TWINS} twins were heard to contradict themselves; the slowest proof took {slowest} blocks");
    assert!(broken.is_empty(), "{broken:?}");
    assert!(10 * exposed > 9 * usize::try_from(TWINS).unwrap(), "{exposed}");
}

#[test]
fn a_range_goes_on_where_it_stopped() {
    let directory = std::env::temp_dir().join(format!("x0-simulation-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let state = directory.join("range.json");
    let mut progress = Progress::load(&state, 5).unwrap();
    range(&mut progress, 9, 2, |progress| progress.save(&state)).unwrap();
    let mut again = Progress::load(&state, 5).unwrap();
    assert_eq!((again.first, again.next), (5, 9));
    range(&mut again, 12, 1, |progress| progress.save(&state)).unwrap();
    let mut whole = Progress { first: 5, next: 5, ..Progress::default() };
    range(&mut whole, 12, 1, |_| Ok::<(), SoakError>(())).unwrap();
    let counts = |progress: &Progress| (progress.next, progress.events, progress.heights, progress.crashes);
    assert_eq!(counts(&again), counts(&whole));
    assert!(matches!(Progress::load(&state, 6), Err(SoakError::OtherRange { found: 5, asked: 6, .. })));
    std::fs::write(&state, "no state").unwrap();
    assert!(matches!(Progress::load(&state, 5), Err(SoakError::Format { .. })));
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn the_study_counts_bytes_and_distance() {
    let signature = x0_crypto::SIGNATURE_BYTES as u64;
    let near = measure(4, 1_000_000_000, false, 200, SMALL_SIGNATURE).unwrap();
    let far = measure(4, 1_000_000_000, true, 200, SMALL_SIGNATURE).unwrap();
    let large = measure(4, 1_000_000_000, false, 200, signature).unwrap();
    // Two votes, a proposal and an opening, to three others.
    let votes = 2 * 3 * (signature - SMALL_SIGNATURE);
    assert!(large.bytes_out - near.bytes_out > votes, "{} and {}", large.bytes_out, near.bytes_out);
    assert!(large.bytes_out - near.bytes_out < 3 * votes, "{} and {}", large.bytes_out, near.bytes_out);
    assert!(far.height_us > near.height_us + 50_000, "three hops between regions");
    assert!(large.height_us >= near.height_us);
}
