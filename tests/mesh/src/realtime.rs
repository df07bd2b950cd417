//! Time, and threads that run when they want to.

use std::{io, mem};

/// Priority of the prober and the impairer among real-time threads: above the agent's own.
pub const PRIORITY: i32 = 70;

/// Nanoseconds in a second.
pub const SECOND_NS: u64 = 1_000_000_000;
/// Nanoseconds in a millisecond.
pub const MILLISECOND_NS: u64 = 1_000_000;

fn clock(id: libc::clockid_t) -> u64 {
    // SAFETY: `timespec` is plain data for which zeroes are valid.
    let mut time: libc::timespec = unsafe { mem::zeroed() };
    // SAFETY: the pointer is to a local that lives during the call. Clocks that exist cannot fail.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * SECOND_NS + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// The monotonic clock of this machine, nanoseconds.
#[must_use]
pub fn now_ns() -> u64 {
    clock(libc::CLOCK_MONOTONIC)
}

/// How far the wall clock is ahead of the monotonic one now, nanoseconds; the kernel stamps arrivals by the wall clock.
#[must_use]
pub fn wall_ahead_ns() -> u64 {
    let before = now_ns();
    let wall = clock(libc::CLOCK_REALTIME);
    let after = now_ns();
    wall.saturating_sub(before + (after - before) / 2)
}

/// Sleeps until this time of the monotonic clock; signals do not shorten it.
pub fn sleep_until(at_ns: u64) {
    let seconds = libc::time_t::try_from(at_ns / SECOND_NS).unwrap_or(libc::time_t::MAX);
    let time = libc::timespec { tv_sec: seconds, tv_nsec: libc::c_long::try_from(at_ns % SECOND_NS).unwrap_or(0) };
    loop {
        // SAFETY: the pointer is to a local that lives during the call; no remainder is asked for.
        let result = unsafe {
            libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &raw const time, std::ptr::null_mut())
        };
        if result != libc::EINTR {
            return;
        }
    }
}

/// Makes the calling thread a real-time thread whose memory stays in place.
///
/// # Errors
/// When the system does not allow it, for example in a group without a real-time budget. Measuring goes on without, and
/// the report says so.
pub fn become_realtime(priority: i32) -> io::Result<()> {
    // SAFETY: no pointers.
    if unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let parameter = libc::sched_param { sched_priority: priority };
    // SAFETY: the pointer is to a local that lives during the call; thread 0 is the calling one.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
