//! What the operating system says about this process and its disk.

use crate::{Metric, Samples};
use std::{
    ffi::CString,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// Memory of the process in RAM.
pub const RESIDENT: Metric = Metric::gauge("x0_process_resident_bytes", "Memory of the process in RAM");
/// Processor time of the process.
pub const CPU: Metric =
    Metric::counter("x0_process_cpu_seconds_total", "Processor time of the process, user and system");
/// Open file descriptors.
pub const DESCRIPTORS: Metric = Metric::gauge("x0_process_open_files", "Open file descriptors");
/// Most file descriptors that the process may open.
pub const DESCRIPTORS_MAX: Metric =
    Metric::gauge("x0_process_open_files_max", "Most file descriptors that the process may open");
/// Threads.
pub const THREADS: Metric = Metric::gauge("x0_process_threads", "Threads");
/// Free space of the data directory's file system.
pub const DISK_FREE: Metric =
    Metric::gauge("x0_disk_free_bytes", "Space of the data directory's file system that the node may use");
/// Size of that file system.
pub const DISK_SIZE: Metric = Metric::gauge("x0_disk_size_bytes", "Size of the data directory's file system");

/// Every metric of this module.
pub const ALL: &[Metric] = &[RESIDENT, CPU, DESCRIPTORS, DESCRIPTORS_MAX, THREADS, DISK_FREE, DISK_SIZE];

/// Space of a file system, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What an ordinary process may still use.
    pub free: u64,
    /// All of it.
    pub size: u64,
}

/// Space of the file system that holds this path.
///
/// # Errors
/// What the operating system says.
pub fn space(path: &Path) -> std::io::Result<Space> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: `statvfs` is plain numbers, for which all zeros is a value.
    let mut found: libc::statvfs = unsafe { core::mem::zeroed() };
    // SAFETY: the path ends with a zero byte and lives through the call; the structure is ours to write.
    if unsafe { libc::statvfs(path.as_ptr(), &raw mut found) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    let unit = found.f_frsize;
    Ok(Space { free: found.f_bavail.saturating_mul(unit), size: found.f_blocks.saturating_mul(unit) })
}

/// Memory of this process in RAM, bytes.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    // SAFETY: `sysconf` has no preconditions.
    let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
    pages.checked_mul(page)
}

/// Processor time of this process, seconds.
fn cpu_seconds() -> Option<f64> {
    // SAFETY: `rusage` is plain numbers, for which all zeros is a value.
    let mut usage: libc::rusage = unsafe { core::mem::zeroed() };
    // SAFETY: the structure is ours to write.
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) } != 0 {
        return None;
    }
    let micros = |time: libc::timeval| {
        u64::try_from(time.tv_sec).ok()?.checked_mul(1_000_000)?.checked_add(u64::try_from(time.tv_usec).ok()?)
    };
    let all = std::time::Duration::from_micros(micros(usage.ru_utime)?.checked_add(micros(usage.ru_stime)?)?);
    Some(all.as_secs_f64())
}

/// Most file descriptors that this process may open.
#[must_use]
pub fn descriptors_max() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is ours to write.
    (unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0).then_some(limit.rlim_cur)
}

/// The clock, seconds since the Unix epoch.
#[must_use]
pub fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Adds what can be read; what cannot be read is left out, which a dashboard shows as a gap.
pub fn collect(data: &Path, samples: &mut Samples) {
    if let Some(bytes) = resident_bytes() {
        samples.put(&RESIDENT, bytes);
    }
    if let Some(seconds) = cpu_seconds() {
        samples.put(&CPU, seconds);
    }
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        samples.put(&DESCRIPTORS, entries.count());
    }
    if let Some(most) = descriptors_max() {
        samples.put(&DESCRIPTORS_MAX, most);
    }
    if let Ok(entries) = std::fs::read_dir("/proc/self/task") {
        samples.put(&THREADS, entries.count());
    }
    if let Ok(space) = space(data) {
        samples.put(&DISK_FREE, space.free);
        samples.put(&DISK_SIZE, space.size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_has_all_of_them() {
        let mut samples = Samples::default();
        collect(Path::new("/"), &mut samples);
        let names: Vec<_> = samples.names().collect();
        for metric in ALL {
            assert!(names.contains(&metric.name), "{}", metric.name);
        }
        assert!(resident_bytes().unwrap() > 1 << 20);
        let space = space(Path::new("/")).unwrap();
        assert!(space.free <= space.size && space.size > 0);
        assert!(super::space(Path::new("/nonexistent")).is_err());
    }
}
