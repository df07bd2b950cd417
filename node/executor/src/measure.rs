//! What a piece of runtime code costs, for the tool that measures weights.

use crate::{
    Executor,
    error::ExecutorError,
    state::{self, Overlay, Reader, State},
};
use sp_core::storage::StateVersion;
use std::time::{Duration, Instant};

/// How long a piece of runtime code took on the head's state.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The code itself, with its reads.
    pub execute: Duration,
    /// What its writes add to the computation of the state root.
    pub root: Duration,
}

impl Timing {
    /// Both parts.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.execute.saturating_add(self.root)
    }
}

impl Executor {
    /// Runs `prepare` and then, with a clock, `f` on the head's state, and throws the result away.
    ///
    /// The views of the state are new each time, with the shared cache as it is, so the first reads
    /// cost what they cost in a block.
    ///
    /// # Errors
    /// As [`Executor::with_state`].
    pub fn measure<R>(&self, prepare: impl FnOnce(), f: impl FnOnce() -> R) -> Result<(R, Timing), ExecutorError> {
        let head = self.head();
        let State { backend, .. } =
            &State::open(&self.0.database, &self.0.cache, head.number, head.state_root, Reader::Block)?;
        let mut overlay = Overlay::default();
        let contained =
            |panic: crate::guard::Contained| ExecutorError::Panicked { place: "a measurement", message: panic.0 };
        state::run(backend, &mut overlay, prepare).map_err(contained)?;
        let root_before = time(|| overlay.storage_root(backend, StateVersion::V1)).1;
        let (result, execute) = time(|| state::run(backend, &mut overlay, f));
        let root_after = time(|| overlay.storage_root(backend, StateVersion::V1)).1;
        Ok((result.map_err(contained)?, Timing { execute, root: root_after.saturating_sub(root_before) }))
    }
}

fn time<R>(f: impl FnOnce() -> R) -> (R, Duration) {
    let start = Instant::now();
    let result = f();
    (result, start.elapsed())
}
