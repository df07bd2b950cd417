//! The machine: clock, disk, limits.

use super::Findings;
use std::{
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use x0_chain_spec::ChainSpec;
use x0_limits as limits;
use x0_telemetry::process;

/// Writes that the disk is tried with.
const SYNCS: usize = 32;
/// Size of one such write: a record of the sign guard.
const SYNC_BYTES: usize = 4 * 1024;
/// Median time of a write above which blocks become slow.
const SYNC_SLOW: Duration = Duration::from_millis(20);
/// Median time of a write with which a validator misses its turns.
const SYNC_USELESS: Duration = Duration::from_millis(1_000);
/// File descriptors that a node with many clients needs.
const DESCRIPTORS_MIN: u64 = 4_096;

/// The clock: a voter refuses timestamps far from its own, so a wrong clock makes a validator useless.
pub fn clock(spec: &ChainSpec, findings: &mut Findings) {
    let now_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or(0);
    if now_ms < spec.genesis_time_ms {
        let behind = Duration::from_millis(spec.genesis_time_ms - now_ms);
        findings.failure("clock", format!("the clock stands {} s before the chain's first slot", behind.as_secs()));
    }
    // SAFETY: `timex` is plain numbers, for which all zeros is a value: "change nothing".
    let mut state: libc::timex = unsafe { core::mem::zeroed() };
    // SAFETY: the structure is ours to write, and mode 0 only reads.
    let answer = unsafe { libc::adjtimex(&raw mut state) };
    if answer == libc::TIME_ERROR || state.status & libc::STA_UNSYNC != 0 {
        findings.warning("clock", "the system says that no time service keeps the clock right");
    } else {
        findings.good("clock", format!("synchronised, error at most {} ms", state.maxerror / 1_000));
    }
}

/// Space, and the time until a write is safe: a vote waits for one such write.
pub fn disk(path: &Path, findings: &mut Findings) {
    match process::space(path) {
        Ok(space) => {
            let text = format!("{} MiB free of {} MiB at {}", space.free >> 20, space.size >> 20, path.display());
            if space.free < limits::DISK_FREE_BYTES_MIN {
                findings
                    .failure("disk", format!("{text}: at least {} MiB are needed", limits::DISK_FREE_BYTES_MIN >> 20));
            } else {
                findings.good("disk", text);
            }
        }
        Err(cause) => findings.failure("disk", format!("{}: {cause}", path.display())),
    }
    match sync_times(path) {
        Ok(mut times) => {
            times.sort_unstable();
            let at = |place: usize| times.get(place).copied().unwrap_or_default();
            let (median, longest) = (at(times.len() / 2), at(times.len().saturating_sub(1)));
            let text = format!("a safe write takes {median:.1?}, the slowest of {SYNCS} {longest:.1?}");
            if median > SYNC_USELESS {
                findings.failure("disk", text);
            } else if median > SYNC_SLOW {
                findings.warning("disk", text);
            } else {
                findings.good("disk", text);
            }
        }
        Err(cause) => findings.failure("disk", format!("cannot write in {}: {cause}", path.display())),
    }
}

/// Times of writes that wait for the disk, in a file that has no name and goes with its handle.
fn sync_times(path: &Path) -> std::io::Result<Vec<Duration>> {
    let mut file = tempfile::tempfile_in(path)?;
    let bytes = vec![0xA5; SYNC_BYTES];
    (0..SYNCS)
        .map(|_| {
            let start = Instant::now();
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&bytes)?;
            file.sync_data()?;
            Ok(start.elapsed())
        })
        .collect()
}

/// Limits that the system sets.
pub fn limits(findings: &mut Findings) {
    match process::descriptors_max() {
        Some(most) if most < DESCRIPTORS_MIN => {
            findings.warning("limits", format!("{most} open files are allowed, below {DESCRIPTORS_MIN} (ulimit -n)"));
        }
        Some(most) => findings.good("limits", format!("{most} open files are allowed")),
        None => findings.warning("limits", "the system does not say how many files may be open"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_cannot_be_written_is_a_failure() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(sync_times(directory.path()).unwrap().len(), SYNCS);
        let mut findings = Findings::default();
        disk(&directory.path().join("missing"), &mut findings);
        assert_eq!(findings.failures(), 2);
    }

    #[test]
    fn a_clock_before_the_chain_is_a_failure() {
        let mut spec = ChainSpec::dev().unwrap();
        let mut findings = Findings::default();
        clock(&spec, &mut findings);
        assert_eq!(findings.failures(), 0);
        spec.genesis_time_ms = u64::MAX;
        clock(&spec, &mut findings);
        assert_eq!(findings.failures(), 1);
    }
}
