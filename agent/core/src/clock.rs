//! Time as a value, and the slots of the chain.

use core::ops::RangeInclusive;
use x0_limits::{PROBE_CLOCK_SKEW_MS_MAX, PROBE_SLOT_TOLERANCE};
use x0_types::{Moment, market::Slot};

/// The time at which something happens, by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// A clock that never jumps, milliseconds from any start: for rates and lifetimes.
    pub monotonic_ms: u64,
    /// The wall clock, milliseconds since the Unix epoch: for slots and for the receipt.
    pub unix_ms: Moment,
}

/// Turns wall-clock time into slots, with the numbers of one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotClock {
    genesis_time_ms: Moment,
    slot_ms: u64,
}

impl SlotClock {
    /// The slots of a chain that started at this time. A slot length of 0 counts as 1 ms.
    #[must_use]
    pub fn new(genesis_time_ms: Moment, slot_ms: u64) -> Self {
        Self { genesis_time_ms, slot_ms: slot_ms.max(1) }
    }

    /// The slot in which this time lies, rounded down; times before genesis are in slot 0.
    #[must_use]
    pub const fn slot_at(&self, unix_ms: Moment) -> Slot {
        unix_ms.saturating_sub(self.genesis_time_ms) / self.slot_ms
    }

    /// The slots for which a probe is credible at this time: [`PROBE_SLOT_TOLERANCE`] around now,
    /// after allowing for clocks that differ by [`PROBE_CLOCK_SKEW_MS_MAX`].
    #[must_use]
    pub const fn credible(&self, unix_ms: Moment) -> RangeInclusive<Slot> {
        let earliest = self.slot_at(unix_ms.saturating_sub(PROBE_CLOCK_SKEW_MS_MAX));
        let latest = self.slot_at(unix_ms.saturating_add(PROBE_CLOCK_SKEW_MS_MAX));
        earliest.saturating_sub(PROBE_SLOT_TOLERANCE)..=latest.saturating_add(PROBE_SLOT_TOLERANCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_whole_lengths_since_genesis() {
        let clock = SlotClock::new(10_000, 1_000);
        for (time, slot) in [(0, 0), (10_000, 0), (10_999, 0), (11_000, 1), (70_500, 60)] {
            assert_eq!(clock.slot_at(time), slot);
        }
        assert_eq!(clock.credible(70_500), 56..=64);
        assert_eq!(clock.credible(10_000), 0..=4);
        assert!(!clock.credible(u64::MAX).contains(&0));
        let long = SlotClock::new(0, 6_000);
        assert_eq!(long.credible(60_000), 7..=12);
    }
}
