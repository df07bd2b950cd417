//! What arrived: the replay window, and what is told the sender about it.

use crate::{Time, window::ReplayWindow};
use x0_mesh_wire::WireError;

/// Words of the window: 16,384 packets. Routes that differ by 100 ms need 10,000 at 100,000 packets a second.
const WINDOW_WORDS: usize = 257;
/// Packets that a session's window remembers.
pub const WINDOW_PACKETS: u64 = ReplayWindow::<WINDOW_WORDS>::SPAN;
/// An acknowledgement waits so long for more packets, milliseconds: a fifth of what a tail holds.
pub const ACKNOWLEDGE_MS: u64 = 5;
/// A packet that is missing for so long is given up, milliseconds: news of a failure on the longest way has arrived, and
/// no tail of a busy session holds it any more.
const GIVE_UP_MS: u64 = 200;

/// An acknowledgement: `largest u64 | base u64 | bits 4 x u64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acknowledgement {
    /// The largest number that arrived.
    pub(super) largest: u64,
    /// Nothing below is wanted any more.
    pub(super) base: u64,
    /// Which packets from `base` on arrived.
    pub(super) bits: [u64; 4],
}

impl Acknowledgement {
    pub(super) const BYTES: usize = 48;

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let [a, b, c, d] = self.bits;
        for (place, value) in bytes.chunks_exact_mut(8).zip([self.largest, self.base, a, b, c, d]) {
            place.copy_from_slice(&value.to_be_bytes());
        }
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() != Self::BYTES {
            return Err(WireError::TooShort { needed: Self::BYTES, found: bytes.len() });
        }
        let mut values = [0; 6];
        for (value, part) in values.iter_mut().zip(bytes.chunks_exact(8)) {
            *value = part.first_chunk().map_or(0, |part| u64::from_be_bytes(*part));
        }
        let [largest, base, a, b, c, d] = values;
        Ok(Self { largest, base, bits: [a, b, c, d] })
    }
}

/// What one session has received.
#[derive(Debug)]
pub(super) struct Receipts {
    pub(super) window: Box<ReplayWindow<WINDOW_WORDS>>,
    base: u64,
    /// A moment, and the number after the highest one seen then.
    looked: (Time, u64),
    pub(super) due: Option<Time>,
}

impl Receipts {
    pub(super) fn new(now: Time) -> Self {
        Self { window: Box::default(), base: 0, looked: (now, 0), due: None }
    }

    /// A packet arrived that is to be acknowledged.
    pub(super) fn owe(&mut self, now: Time, at_once: bool) {
        let due = if at_once { now } else { now.plus_ms(ACKNOWLEDGE_MS) };
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
    }

    /// What is to be told now, if anything is due.
    pub(super) fn acknowledge(&mut self, now: Time) -> Option<Acknowledgement> {
        if self.due.is_none_or(|due| now < due) {
            return None;
        }
        self.due = None;
        let largest = self.window.highest()?;
        if now.since_ns(self.looked.0) >= GIVE_UP_MS * 1_000_000 {
            self.base = self.base.max(self.looked.1);
            self.looked = (now, largest + 1);
        }
        self.base = self.window.first_missing(self.base);
        let mut bits = [0; 4];
        for (word, step) in bits.iter_mut().zip(0..) {
            *word = self.window.bits_from(self.base + 64 * step);
        }
        Some(Acknowledgement { largest, base: self.base, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// An acknowledgement never claims a packet that did not arrive, unless it was missing for long.
        #[test]
        fn what_is_acknowledged_has_arrived(lost in proptest::collection::vec(any::<bool>(), 1..400)) {
            let mut receipts = Receipts::new(Time(0));
            let mut now = Time(0);
            let mut arrived_at = vec![None; lost.len()];
            for (pn, lost) in lost.iter().enumerate() {
                now = now.plus_us(250);
                if *lost { continue; }
                receipts.window.mark(pn as u64);
                arrived_at[pn] = Some(now);
                receipts.owe(now, false);
                let Some(told) = receipts.acknowledge(now) else { continue };
                prop_assert_eq!(Acknowledgement::read(&told.to_bytes()).unwrap(), told);
                prop_assert_eq!(told.largest, pn as u64);
                for (other, arrived) in arrived_at.iter().enumerate() {
                    let sent_us = 250 * (other as u64 + 1);
                    let other = other as u64;
                    if other < told.base {
                        prop_assert!(arrived.is_some() || now.0 / 1_000 >= sent_us + GIVE_UP_MS * 1_000);
                    } else if other < told.base + 256 {
                        let bit = told.bits[((other - told.base) / 64) as usize] >> ((other - told.base) % 64) & 1 == 1;
                        prop_assert_eq!(bit, arrived.is_some());
                    }
                }
            }
        }
    }
}
