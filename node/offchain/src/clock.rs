//! Wall time, and the slots that it falls into.

use futures::future::BoxFuture;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x0_types::{Moment, market::Slot};

/// Longest sleep between two looks at the wall clock, milliseconds: somebody may set the clock.
const LOOK_MS: u64 = 500;

/// The wall clock. Tests have their own.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> Moment;
    /// Waits until the clock shows this time; ends at once when it is past.
    fn sleep_until(&self, at_ms: Moment) -> BoxFuture<'_, ()>;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> Moment {
        // A clock before 1970 is a clock that was never set: slot 0 is as wrong as any other.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment::try_from(since.as_millis()).unwrap_or(Moment::MAX)
    }

    fn sleep_until(&self, at_ms: Moment) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                let left = at_ms.saturating_sub(self.now_ms());
                if left == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(left.min(LOOK_MS))).await;
            }
        })
    }
}

/// When the chain's slots begin and how long they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotClock {
    /// Start of slot 0, milliseconds since the Unix epoch.
    pub genesis_time_ms: Moment,
    /// Length of a slot, milliseconds; not zero.
    pub slot_ms: u64,
}

impl SlotClock {
    /// The slot in which this time lies; times before genesis lie in slot 0.
    #[must_use]
    pub fn slot_at(&self, now_ms: Moment) -> Slot {
        now_ms.saturating_sub(self.genesis_time_ms).checked_div(self.slot_ms).unwrap_or_default()
    }

    /// First millisecond of a slot.
    #[must_use]
    pub const fn start_of(&self, slot: Slot) -> Moment {
        self.genesis_time_ms.saturating_add(slot.saturating_mul(self.slot_ms))
    }

    /// First millisecond after a slot.
    #[must_use]
    pub const fn end_of(&self, slot: Slot) -> Moment {
        self.start_of(slot).saturating_add(self.slot_ms)
    }

    /// The last time at which a probe of this slot may start so that it ends within the slot.
    #[must_use]
    pub const fn last_probe_start(&self, slot: Slot) -> Moment {
        self.end_of(slot).saturating_sub(x0_limits::PROBE_TIMEOUT_MS + x0_limits::PROBE_MARGIN_MS)
    }
}
