//! The last events, for explaining a fault after it is over.

use super::Event;
use crate::Time;
use std::collections::VecDeque;

/// Events that are kept.
pub const HISTORY_MAX: usize = 512;

/// A ring of the last events.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<(Time, Event)>);

impl History {
    /// Adds an event; the oldest goes when there are too many.
    pub(super) fn push(&mut self, now: Time, event: Event) {
        if self.0.len() >= HISTORY_MAX {
            self.0.pop_front();
        }
        self.0.push_back((now, event));
    }

    /// Oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(Time, Event)> {
        self.0.iter()
    }
}
