//! Packets that are larger than the path: two tunnel fragments, joined again at the other end.

use super::SessionError;
use crate::Time;

/// Packets of which one half has arrived, at most.
const HALVES: usize = 8;
/// Longest half that is kept, bytes.
pub const HALF_BYTES_MAX: usize = 2_048;
/// A half waits so long for the other, milliseconds: routes differ by less, and a sender that lost one resends both.
pub const HALF_MS: u64 = 500;

/// Where a packet is cut: in two halves, the first not shorter, each at most `piece_bytes_max`.
pub(super) fn cut(bytes: usize, piece_bytes_max: usize) -> Result<usize, SessionError> {
    let first = bytes.div_ceil(2);
    if first > piece_bytes_max.min(HALF_BYTES_MAX) {
        return Err(SessionError::TooLong { bytes, piece_bytes_max: piece_bytes_max.min(HALF_BYTES_MAX) });
    }
    Ok(first)
}

#[derive(Debug)]
struct Half {
    id: u16,
    last: bool,
    arrived: Time,
    bytes: Vec<u8>,
}

/// Halves that wait for the other one.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    waiting: Vec<Half>,
    joined: Vec<u8>,
    /// Halves that were given up.
    pub(super) given_up: u64,
}

impl Joiner {
    /// Takes one half; the packet when it was the second.
    pub(super) fn half(
        &mut self,
        now: Time,
        id: u16,
        last: bool,
        payload: &[u8],
    ) -> Result<Option<&[u8]>, SessionError> {
        if payload.len() > HALF_BYTES_MAX {
            return Err(SessionError::TooLong { bytes: payload.len(), piece_bytes_max: HALF_BYTES_MAX });
        }
        let waited = self.waiting.len();
        self.waiting.retain(|half| now.since_ns(half.arrived) <= HALF_MS * 1_000_000);
        self.given_up += (waited - self.waiting.len()) as u64;
        if let Some(at) = self.waiting.iter().position(|half| half.id == id && half.last != last) {
            let other = self.waiting.swap_remove(at);
            self.joined.clear();
            let (first, second) = if last { (&other.bytes[..], payload) } else { (payload, &other.bytes[..]) };
            self.joined.extend_from_slice(first);
            self.joined.extend_from_slice(second);
            return Ok(Some(&self.joined));
        }
        // The same half again is another packet with a number that came round: the older one is given up.
        if let Some(at) = self.waiting.iter().position(|half| half.id == id) {
            self.waiting.swap_remove(at);
            self.given_up += 1;
        }
        if self.waiting.len() >= HALVES
            && let Some(oldest) =
                (0..self.waiting.len()).min_by_key(|at| self.waiting.get(*at).map(|half| half.arrived))
        {
            self.waiting.swap_remove(oldest);
            self.given_up += 1;
        }
        self.waiting.push(Half { id, last, arrived: now, bytes: payload.to_vec() });
        Ok(None)
    }

    /// Halves that wait.
    #[cfg(test)]
    pub(super) const fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Halves in any order, some lost, some of many packets at once: what comes out is what went in, once, and no
        /// more waits than is allowed.
        #[test]
        fn halves_join_again(
            packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 2..2_000), 1..6),
            lost in proptest::collection::vec(any::<bool>(), 12),
            order in proptest::collection::vec(any::<u16>(), 12),
        ) {
            let mut halves = vec![];
            for (id, packet) in packets.iter().enumerate() {
                let at = cut(packet.len(), 1_000).unwrap();
                halves.push((id as u16, false, packet[..at].to_vec()));
                halves.push((id as u16, true, packet[at..].to_vec()));
            }
            let mut halves: Vec<_> = halves.into_iter().zip(lost).zip(order).collect();
            halves.sort_by_key(|(_, order)| *order);
            let mut joiner = Joiner::default();
            let mut arrived = vec![[false; 2]; packets.len()];
            for (((id, last, bytes), lost), _) in halves {
                if lost { continue; }
                let joined = joiner.half(Time(0), id, last, &bytes).unwrap().map(<[u8]>::to_vec);
                arrived[usize::from(id)][usize::from(last)] = true;
                let complete = arrived[usize::from(id)] == [true; 2];
                prop_assert_eq!(joined, complete.then(|| packets[usize::from(id)].clone()));
            }
        }
    }

    #[test]
    fn waiting_halves_are_bounded_in_number_and_time() {
        let mut joiner = Joiner::default();
        for id in 0..1_000u16 {
            joiner.half(Time(u64::from(id)), id, false, &[1; 100]).unwrap();
            assert!(joiner.waiting() <= HALVES);
        }
        assert_eq!(joiner.given_up, 1_000 - HALVES as u64);
        let late = Time(0).plus_ms(HALF_MS + 1);
        assert_eq!(joiner.half(late, 999, true, &[2; 100]).unwrap(), None, "the first half was given up");
        assert_eq!(joiner.waiting(), 1);
        assert!(joiner.half(late, 1, true, &[0; HALF_BYTES_MAX + 1]).is_err());
        assert!(cut(3_000, 1_200).is_err());
    }
}
