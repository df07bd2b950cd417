//! How large a datagram may be on a link: datagram packetization layer path MTU discovery (RFC 8899).
//!
//! ```text
//!   Base --probes--> Searching --found--> SearchComplete --raise timer--> Searching
//!     ^                  |                      |
//!     +------ black hole: large ones are lost while small ones live
//! ```
//!
//! Sizes are UDP payloads. The base size passes every underlay (IPv6's minimum MTU), so it is never tested: a link that
//! does not carry it is down anyway.

use crate::Time;
use x0_mesh_wire::limits::{DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN_MTU};

/// The base size, bytes.
pub const BASE_BYTES: u16 = 1_232;
const _: () = assert!(BASE_BYTES as usize == DATAGRAM_BYTES_MIN_MTU);
/// Probes of one size before it counts as too large (MAX_PROBES of RFC 8899, section 5.1.2).
pub const PROBES_MAX: u8 = 3;
/// The search ends when it knows the size so exactly, bytes.
pub const SEARCH_STEP_BYTES: u16 = 8;
/// A new search after this time (PMTU_RAISE_TIMER of RFC 8899, section 5.1.1), milliseconds.
pub const RAISE_MS: u64 = 600_000;
/// A new search after a black hole, milliseconds: not at once, or a hole that comes and goes would flap.
pub const RETRY_MS: u64 = 10_000;
/// Shortest and longest wait for the echo of a probe, milliseconds.
pub const PROBE_WAIT_MS: (u64, u64) = (50, 1_000);
/// Large frames lost in a row that make a black hole, when small ones arrived meanwhile.
pub const HOLE_LARGE_LOST: u32 = 12;
/// Small frames that must have arrived meanwhile.
pub const HOLE_SMALL_SEEN: u32 = 3;

/// Phase of the discovery (RFC 8899, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PmtuPhase {
    /// Only the base size is used.
    Base,
    /// A larger size is being tested.
    Searching,
    /// The largest size is known.
    SearchComplete,
}

/// The discovery of one link.
#[derive(Clone, Debug)]
pub struct Pmtu {
    phase: PmtuPhase,
    interface_max: u16,
    confirmed: u16,
    /// The smallest size that is known, or suspected, not to pass.
    refused: u16,
    /// The probe that is on its way.
    flying: Option<Flying>,
    next_number: u32,
    tries: u8,
    due: Option<Time>,
    large_lost: u32,
    small_seen: u32,
    black_holes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Flying {
    number: u32,
    bytes: u16,
    until: Time,
}

/// A probe to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeOut {
    /// Its number, for the echo.
    pub number: u32,
    /// UDP payload that it must have, bytes.
    pub bytes: u16,
}

impl Pmtu {
    /// A discovery that begins at once, up to what the interface takes.
    #[must_use]
    pub fn new(now: Time, payload_bytes_max: u16) -> Self {
        let limit = u16::try_from(DATAGRAM_BYTES_MAX).unwrap_or(u16::MAX);
        let interface_max = payload_bytes_max.min(limit);
        let mut pmtu = Self {
            phase: PmtuPhase::Base,
            interface_max,
            // An interface below the base size is used as it is.
            confirmed: BASE_BYTES.min(interface_max),
            refused: interface_max.saturating_add(1),
            flying: None,
            next_number: 0,
            tries: 0,
            due: None,
            large_lost: 0,
            small_seen: 0,
            black_holes: 0,
        };
        pmtu.search(now);
        pmtu
    }

    /// Largest UDP payload that is known to pass, bytes.
    #[must_use]
    pub const fn bytes(&self) -> u16 {
        self.confirmed
    }

    /// The phase.
    #[must_use]
    pub const fn phase(&self) -> PmtuPhase {
        self.phase
    }

    /// How often large frames vanished while small ones passed.
    #[must_use]
    pub const fn black_holes(&self) -> u64 {
        self.black_holes
    }

    /// When something is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.flying.map_or(self.due, |flying| Some(flying.until))
    }

    /// The probe to send now, if one is due. `rtt_ns`: the smoothed round trip, when known.
    pub fn poll(&mut self, now: Time, rtt_ns: Option<u64>) -> Option<ProbeOut> {
        if let Some(flying) = self.flying {
            if now < flying.until {
                return None;
            }
            self.flying = None;
            self.unanswered(now, flying.bytes);
        }
        if self.due.is_none_or(|due| now < due) {
            return None;
        }
        self.due = None;
        if self.phase != PmtuPhase::Searching {
            self.refused = self.interface_max.saturating_add(1);
            self.tries = 0;
            self.phase = PmtuPhase::Searching;
        }
        let Some(bytes) = self.candidate() else {
            self.finish(now);
            return None;
        };
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        let wait =
            rtt_ns.unwrap_or(0).saturating_mul(3).clamp(PROBE_WAIT_MS.0 * 1_000_000, PROBE_WAIT_MS.1 * 1_000_000);
        self.flying = Some(Flying { number, bytes, until: now.plus_ns(wait) });
        Some(ProbeOut { number, bytes })
    }

    /// The echo of a probe came.
    pub fn echoed(&mut self, now: Time, number: u32, bytes: u16) {
        let Some(flying) = self.flying.filter(|flying| flying.number == number && flying.bytes == bytes) else {
            return;
        };
        self.flying = None;
        self.tries = 0;
        self.confirmed = self.confirmed.max(flying.bytes);
        self.large_lost = 0;
        self.due = Some(now);
    }

    /// The operating system says that this is too long for the interface or for the path it knows.
    pub fn too_long(&mut self, now: Time, bytes: u16) {
        if bytes <= BASE_BYTES {
            return;
        }
        self.refused = self.refused.min(bytes);
        if self.flying.is_some_and(|flying| flying.bytes >= bytes) {
            self.flying = None;
            self.tries = 0;
            self.due = Some(now);
        }
        if self.confirmed >= bytes {
            self.confirmed = BASE_BYTES.min(self.interface_max);
            self.phase = PmtuPhase::Searching;
            self.due = Some(now);
        }
    }

    /// What became of frames that were sent: large means above the base size.
    pub fn observed(&mut self, now: Time, large: bool, arrived: bool) {
        match (large, arrived) {
            (true, true) => {
                self.large_lost = 0;
                self.small_seen = 0;
            }
            (true, false) => self.large_lost = self.large_lost.saturating_add(1),
            (false, true) if self.large_lost > 0 => self.small_seen = self.small_seen.saturating_add(1),
            (false, _) => {}
        }
        if self.large_lost >= HOLE_LARGE_LOST && self.small_seen >= HOLE_SMALL_SEEN && self.confirmed > BASE_BYTES {
            self.black_holes = self.black_holes.saturating_add(1);
            self.large_lost = 0;
            self.small_seen = 0;
            self.confirmed = BASE_BYTES;
            self.phase = PmtuPhase::Base;
            self.flying = None;
            self.due = Some(now.plus_ms(RETRY_MS));
        }
    }

    /// The path below changed: everything that was found is void.
    pub fn reset(&mut self, now: Time) {
        *self =
            Self { black_holes: self.black_holes, next_number: self.next_number, ..Self::new(now, self.interface_max) };
    }

    fn search(&mut self, now: Time) {
        if self.interface_max > self.confirmed {
            self.phase = PmtuPhase::Searching;
            self.due = Some(now);
        } else {
            self.phase = PmtuPhase::SearchComplete;
        }
    }

    /// The largest size first, which most often passes; then halves of what is unknown.
    fn candidate(&self) -> Option<u16> {
        let largest = self.refused.saturating_sub(1);
        if largest <= self.confirmed {
            return None;
        }
        if self.refused > self.interface_max {
            return Some(largest);
        }
        if largest - self.confirmed < SEARCH_STEP_BYTES {
            return None;
        }
        Some(self.confirmed + (largest - self.confirmed).div_ceil(2))
    }

    fn unanswered(&mut self, now: Time, bytes: u16) {
        self.tries += 1;
        if self.tries >= PROBES_MAX {
            self.tries = 0;
            self.refused = self.refused.min(bytes);
        }
        self.due = Some(now);
    }

    fn finish(&mut self, now: Time) {
        self.phase = PmtuPhase::SearchComplete;
        self.due = (self.confirmed < self.interface_max).then(|| now.plus_ms(RAISE_MS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Runs the discovery against a path that passes `path` bytes and loses some probes, until nothing is due for a
    /// minute.
    fn discover(pmtu: &mut Pmtu, mut now: Time, path: u16, mut lose: impl FnMut() -> bool) -> (u16, u32, Time) {
        let mut probes = 0;
        let end = now.plus_ms(60_000);
        while let Some(due) = pmtu.deadline().filter(|due| *due < end) {
            now = now.max(due);
            if let Some(probe) = pmtu.poll(now, Some(10_000_000)) {
                probes += 1;
                assert!(probes < 200);
                now = now.plus_ms(10);
                if probe.bytes <= path && !lose() {
                    pmtu.echoed(now, probe.number, probe.bytes);
                }
            }
        }
        (pmtu.bytes(), probes, now)
    }

    proptest! {
        /// The size that is found passes, and no more than the search step is given away (no loss).
        #[test]
        fn the_search_finds_the_size(path in 1_232u16..1_500, interface in 1_232u16..1_500) {
            let mut pmtu = Pmtu::new(Time(0), interface);
            let (found, probes, _) = discover(&mut pmtu, Time(0), path, || false);
            let best = path.min(interface);
            prop_assert!(found <= best && best - found <= SEARCH_STEP_BYTES, "{} of {}", found, best);
            prop_assert!(probes <= 30);
        }

        /// Loss never makes it believe in a size that does not pass, and never in less than the base.
        #[test]
        fn loss_is_safe(path in 1_232u16..1_500, lost in proptest::collection::vec(any::<bool>(), 200)) {
            let mut lost = lost.into_iter();
            let mut pmtu = Pmtu::new(Time(0), 1_472);
            let (found, _, _) = discover(&mut pmtu, Time(0), path, || lost.next().unwrap_or(false));
            prop_assert!((BASE_BYTES..=path).contains(&found));
        }
    }

    #[test]
    fn a_black_hole_for_large_frames_falls_back_and_searches_again() {
        let mut pmtu = Pmtu::new(Time(0), 1_472);
        let (found, _, now) = discover(&mut pmtu, Time(0), 1_472, || false);
        assert_eq!((found, pmtu.phase()), (1_472, PmtuPhase::SearchComplete));
        for _ in 0..HOLE_LARGE_LOST {
            pmtu.observed(now, true, false);
            assert_eq!(pmtu.bytes(), 1_472, "while nothing small passes it is no matter of size");
        }
        for _ in 0..HOLE_SMALL_SEEN {
            pmtu.observed(now, false, true);
        }
        assert_eq!((pmtu.bytes(), pmtu.phase(), pmtu.black_holes()), (BASE_BYTES, PmtuPhase::Base, 1));
        assert_eq!(pmtu.deadline(), Some(now.plus_ms(RETRY_MS)));
        let (found, _, _) = discover(&mut pmtu, now, 1_400, || false);
        assert!((1_392..=1_400).contains(&found), "{found}");
    }

    #[test]
    fn random_loss_is_no_black_hole() {
        let mut pmtu = Pmtu::new(Time(0), 1_472);
        let (_, _, now) = discover(&mut pmtu, Time(0), 1_472, || false);
        for number in 0..100_000u32 {
            // Three of ten large frames are lost.
            pmtu.observed(now, true, number % 10 > 2);
            pmtu.observed(now, false, true);
        }
        assert_eq!((pmtu.bytes(), pmtu.black_holes()), (1_472, 0));
    }

    #[test]
    fn a_refusal_of_the_system_ends_a_size_at_once() {
        let mut pmtu = Pmtu::new(Time(0), 1_472);
        let probe = pmtu.poll(Time(0), None).unwrap();
        assert_eq!(probe.bytes, 1_472);
        pmtu.too_long(Time(1), 1_472);
        let next = pmtu.poll(Time(1), None).unwrap();
        assert!(next.bytes < 1_472);
        pmtu.echoed(Time(2), probe.number, probe.bytes);
        assert_eq!(pmtu.bytes(), BASE_BYTES, "an echo of a probe that is given up counts for nothing");
    }

    #[test]
    fn an_interface_below_the_base_is_used_as_it_is() {
        let pmtu = Pmtu::new(Time(0), 1_000);
        assert_eq!((pmtu.bytes(), pmtu.deadline()), (1_000, None));
    }
}
