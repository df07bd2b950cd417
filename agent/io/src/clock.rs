//! The clocks of the machine.

use std::time::{Instant, SystemTime, UNIX_EPOCH};
use x0_agent_core::Now;

/// Reads the clocks for [`x0_agent_core::Agent`]. Clones share their start, so their monotonic times
/// can be compared; use one clock and its clones for one agent.
#[derive(Clone, Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock that starts at 0 now.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// The time by both clocks. A wall clock before 1970 reads 0.
    #[must_use]
    pub fn now(&self) -> Now {
        let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Now {
            monotonic_ms: millis(self.started.elapsed()),
            unix_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis),
        }
    }
}
