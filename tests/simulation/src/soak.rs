//! Long ranges of seeds, in several threads, with a file from which a stopped range goes on.

use crate::{Plan, Report, replay_command, run};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

/// Seeds between two writes of the file.
const BATCH: u64 = 200;

/// A seed that broke a promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The promises, in words.
    pub violations: Vec<String>,
    /// The command that shows it again.
    pub replay: String,
}

/// What a range has shown so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The first seed.
    pub first: u64,
    /// The next seed to run.
    pub next: u64,
    /// Seeds that failed.
    pub failures: Vec<Failure>,
    /// Events of all runs.
    pub events: u64,
    /// Final blocks of all runs.
    pub heights: u64,
    /// Crashes of all runs.
    pub crashes: u64,
    /// Contradictions of twins in all runs.
    pub contradictions: u64,
    /// Heights that needed more than three rounds after the healing.
    #[serde(default)]
    pub late: u64,
    /// Simulated time, milliseconds.
    pub simulated_ms: u64,
    /// Real time, milliseconds.
    pub real_ms: u64,
}

/// Why a range does not go on.
#[derive(Debug, thiserror::Error)]
pub enum SoakError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The failure.
        source: std::io::Error,
    },
    /// The file is not a range's.
    #[error("{} is not the state of a range of seeds: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The file belongs to another range.
    #[error("{} is the state of a range from seed {found}, not {asked}", path.display())]
    OtherRange {
        /// The file.
        path: PathBuf,
        /// The first seed in the file.
        found: u64,
        /// The first seed asked for.
        asked: u64,
    },
}

impl Progress {
    /// The range in a file, or a new one.
    ///
    /// # Errors
    /// Each variant of [`SoakError`].
    pub fn load(path: &Path, first: u64) -> Result<Self, SoakError> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { first, next: first, ..Self::default() });
            }
            Err(source) => return Err(SoakError::Io { path: path.to_owned(), source }),
        };
        let progress: Self =
            serde_json::from_slice(&text).map_err(|source| SoakError::Format { path: path.to_owned(), source })?;
        if progress.first != first {
            return Err(SoakError::OtherRange { path: path.to_owned(), found: progress.first, asked: first });
        }
        Ok(progress)
    }

    /// Writes the range to its file, whole or not at all.
    ///
    /// # Errors
    /// [`SoakError::Io`].
    pub fn save(&self, path: &Path) -> Result<(), SoakError> {
        let io = |source| SoakError::Io { path: path.to_owned(), source };
        let draft = path.with_extension("tmp");
        let text = serde_json::to_vec_pretty(self).map_err(std::io::Error::other).map_err(io)?;
        std::fs::write(&draft, text).and_then(|()| std::fs::rename(&draft, path)).map_err(io)
    }

    fn add(&mut self, report: &Report) {
        self.events += report.events;
        self.heights += report.heights;
        self.crashes += report.crashes;
        self.contradictions += u64::try_from(report.contradictions).unwrap_or(u64::MAX);
        self.late += u64::try_from(report.late).unwrap_or(u64::MAX);
        self.simulated_ms += report.simulated_ms;
        if !report.passed() {
            self.failures.push(Failure {
                seed: report.seed,
                violations: report.violations.iter().map(ToString::to_string).collect(),
                replay: replay_command(report.seed),
            });
        }
    }

    /// Seeds run per second of real time.
    #[must_use]
    pub fn rate(&self) -> u64 {
        ((self.next - self.first) * 1_000).checked_div(self.real_ms).unwrap_or(0)
    }
}

/// Runs seeds from `progress.next` up to `end`, and calls `after` with each finished batch.
///
/// # Errors
/// What `after` returns.
pub fn range<E>(
    progress: &mut Progress,
    end: u64,
    threads: usize,
    mut after: impl FnMut(&Progress) -> Result<(), E>,
) -> Result<(), E> {
    while progress.next < end {
        let started = Instant::now();
        let batch_end = end.min(progress.next + BATCH);
        let mut reports = batch(progress.next, batch_end, threads);
        reports.sort_by_key(|report| report.seed);
        reports.iter().for_each(|report| progress.add(report));
        progress.next = batch_end;
        progress.real_ms += u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        after(progress)?;
    }
    Ok(())
}

fn batch(first: u64, end: u64, threads: usize) -> Vec<Report> {
    let next = AtomicU64::new(first);
    let reports = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let report = run(Plan::draw(seed), false);
                    // A run catches panics, so that nothing poisons the list.
                    reports.lock().unwrap_or_else(PoisonError::into_inner).push(report);
                }
            });
        }
    });
    reports.into_inner().unwrap_or_else(PoisonError::into_inner)
}
