//! Views of the head's state in which transactions are judged.
//!
//! Opening a state, reading what every transaction asks for (genesis hash, versions, fee rate, the upper nodes of the
//! trie) and merging its cache back cost more than what one transaction reads besides. So a view is used again until
//! the next block:
//!
//! ```text
//!   with_view: an idle view of the head, or a new one --> each judgement in a storage transaction of its own,
//!              rolled back --> idle again, if the head is still the same
//!   commit:    head moves --> idle views go: their pins must not keep old states from being pruned
//! ```

use crate::{
    Executor,
    dispatch::{self, Implicits},
    error::ExecutorError,
    guard::Contained,
    state::{self, Overlay, Reader, State},
};
use parking_lot::Mutex;
use x0_storage::Head;

/// Idle views that are kept: about one for each thread that judges. Each holds a bounded cache.
const IDLE_MAX: usize = 8;

/// The head's state, ready to judge transactions of the next block.
pub(crate) struct View {
    head: Head,
    state: State,
    overlay: Overlay,
    /// What transactions sign without carrying it, on this state.
    pub(crate) implicits: Implicits,
    spoiled: bool,
}

impl View {
    /// Runs runtime code, and forgets what it wrote.
    pub(crate) fn run<R>(&mut self, f: impl FnOnce() -> R) -> Result<R, Contained> {
        self.overlay.start_transaction();
        let result = state::run(&self.state.backend, &mut self.overlay, f);
        state::roll_back(&mut self.overlay);
        // What a panic left behind beside the storage is not known.
        self.spoiled |= result.is_err();
        result
    }
}

/// Views that nobody uses at the moment.
#[derive(Default)]
pub(crate) struct Views(Mutex<Vec<View>>);

impl Views {
    /// Drops all idle views. Call it after the head has moved.
    pub(crate) fn clear(&self) {
        let idle = std::mem::take(&mut *self.0.lock());
        drop(idle);
    }
}

impl Executor {
    /// Runs `f` with a view of the head's state.
    ///
    /// # Errors
    /// When the state cannot be opened.
    pub(crate) fn with_view<R>(&self, f: impl FnOnce(&mut View) -> R) -> Result<R, ExecutorError> {
        let mut view = self.take_view()?;
        let result = f(&mut view);
        let mut idle = self.0.views.0.lock();
        // The head is read under the lock: a commit that moved it before has yet to clear, and one that moves it
        // after this clears what is put here.
        let useful = !view.spoiled && view.head == self.head() && idle.len() < IDLE_MAX;
        if useful {
            idle.push(view);
        } else {
            drop(idle);
            drop(view);
        }
        Ok(result)
    }

    fn take_view(&self) -> Result<View, ExecutorError> {
        let idle = self.0.views.0.lock().pop();
        if let Some(view) = idle
            && view.head == self.head()
        {
            return Ok(view);
        }
        let (head, state) = self.head_state(Reader::Query)?;
        let mut overlay = Overlay::default();
        state::run(&state.backend, &mut overlay, || dispatch::begin(&head))
            .map_err(|panic| ExecutorError::Panicked { place: "the start of a judgement", message: panic.0 })?;
        Ok(View { head, state, overlay, implicits: Implicits::default(), spoiled: false })
    }
}
