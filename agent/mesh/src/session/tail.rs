//! What was sent last, sealed, so that it can be sent again on another route.
//!
//! One pool for all sessions: a ring of bytes that newer packets overwrite, whoever sent them. A session keeps only
//! where its packets lie, so the oldest of all sessions go first without any bookkeeping between them.

use super::PathSet;
use crate::Time;
use std::collections::VecDeque;

/// Packets younger than this are kept, milliseconds: the detection time of a link (10 ms with the most slack for
/// jitter), the way of the news, and as much again for a loop that is late.
pub const TAIL_MS: u64 = 25;
/// So many packets are kept even when they are older.
pub const TAIL_PACKETS: usize = 64;
/// Most bytes of one session.
pub const TAIL_SESSION_BYTES: usize = 1 << 20;
/// Most packets of one session.
pub const TAIL_SESSION_PACKETS: usize = 4_096;
/// Bytes of the pool in the product.
pub const TAIL_POOL_BYTES: usize = 8 << 20;
/// Packets kept for their number only are dropped at this age: whoever waited for them has given up, milliseconds.
const TAIL_MS_MAX: u64 = 1_000;

/// The pool.
#[derive(Debug)]
pub struct TailPool {
    ring: Box<[u8]>,
    /// Bytes ever written, gaps at the end of the ring included; the next write goes to this, modulo the length.
    written: u64,
}

impl TailPool {
    /// A pool of so many bytes. It never grows; the memory is touched as it is first used.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { ring: vec![0; bytes].into_boxed_slice(), written: 0 }
    }

    /// Bytes of the pool.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.ring.len()
    }

    /// Copies a packet in, over the oldest ones; where it lies. `None` when it is longer than the pool.
    fn put(&mut self, packet: &[u8]) -> Option<u64> {
        let size = self.ring.len() as u64;
        let length = packet.len() as u64;
        if length > size || length == 0 {
            return None;
        }
        let mut at = self.written;
        if at % size + length > size {
            // A packet lies in one piece.
            at += size - at % size;
        }
        let start = usize::try_from(at % size).ok()?;
        self.ring.get_mut(start..start + packet.len())?.copy_from_slice(packet);
        self.written = at + length;
        Some(at)
    }

    /// The packet that was put there, unless newer ones have overwritten it.
    fn get(&self, at: u64, length: u32) -> Option<&[u8]> {
        let size = self.ring.len() as u64;
        if self.written > at.checked_add(size)? || at + u64::from(length) > self.written {
            return None;
        }
        let start = usize::try_from(at % size).ok()?;
        self.ring.get(start..start + usize::try_from(length).ok()?)
    }
}

/// One packet of a tail.
#[derive(Clone, Copy, Debug)]
struct Entry {
    pn: u64,
    at: u64,
    sent: Time,
    length: u32,
    paths: PathSet,
    acknowledged: bool,
}

/// The tail of one session.
#[derive(Debug, Default)]
pub(super) struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Tail {
    /// Remembers a packet that was sent. Packet numbers only grow.
    pub(super) fn push(&mut self, now: Time, pool: &mut TailPool, paths: PathSet, pn: u64, packet: &[u8]) {
        let (Some(at), Ok(length)) = (pool.put(packet), u32::try_from(packet.len())) else { return };
        self.entries.push_back(Entry { pn, at, sent: now, length, paths, acknowledged: false });
        self.bytes += packet.len();
        while let Some(first) = self.entries.front() {
            let old = now.since_ns(first.sent);
            let spare = self.entries.len() > TAIL_PACKETS && old > TAIL_MS * 1_000_000;
            let over = self.bytes > TAIL_SESSION_BYTES || self.entries.len() > TAIL_SESSION_PACKETS;
            if !(spare || over || first.acknowledged || old > TAIL_MS_MAX * 1_000_000) {
                break;
            }
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= usize::try_from(entry.length).unwrap_or(0);
        }
    }

    /// The peer needs nothing below `base`, and of the packets from it on it has those in `bits` (bit 0 is `base`).
    /// Tells over which paths packets arrived that travelled one path only.
    pub(super) fn acknowledged(&mut self, base: u64, bits: &[u64; 4]) -> PathSet {
        let mut over = PathSet::NONE;
        for entry in self.entries.iter_mut().filter(|entry| !entry.acknowledged) {
            let arrived = match entry.pn.checked_sub(base) {
                None => true,
                Some(offset) if offset < 256 => {
                    let word = usize::try_from(offset / 64).ok().and_then(|word| bits.get(word)).copied().unwrap_or(0);
                    word >> (offset % 64) & 1 == 1
                }
                Some(_) => break,
            };
            entry.acknowledged = arrived;
            if arrived && entry.paths.0.is_power_of_two() {
                over = over.with(entry.paths);
            }
        }
        while self.entries.front().is_some_and(|entry| entry.acknowledged) {
            self.pop();
        }
        over
    }

    /// Packets, oldest first, that are not acknowledged, lie in the window and travelled only on `dead` paths.
    pub(super) fn of<'a>(
        &'a self,
        now: Time,
        pool: &'a TailPool,
        dead: PathSet,
    ) -> impl Iterator<Item = (u64, &'a [u8])> + 'a {
        let spare = self.entries.len().saturating_sub(TAIL_PACKETS);
        self.entries
            .iter()
            .enumerate()
            .filter(move |(index, entry)| {
                let young = now.since_ns(entry.sent) <= TAIL_MS * 1_000_000;
                !entry.acknowledged && entry.paths.is_within(dead) && (young || *index >= spare)
            })
            .filter_map(move |(_, entry)| Some((entry.pn, pool.get(entry.at, entry.length)?)))
    }

    /// What travelled only on `dead` travels on `onto` too from now on.
    pub(super) fn moved(&mut self, dead: PathSet, onto: PathSet) {
        for entry in &mut self.entries {
            if entry.paths.is_within(dead) {
                entry.paths = entry.paths.with(onto);
            }
        }
    }

    /// Packets and bytes that are remembered.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const A: PathSet = PathSet(1);
    const B: PathSet = PathSet(2);

    fn packet(session: usize, pn: u64, length: usize) -> Vec<u8> {
        let mut packet = vec![session as u8 ^ 0x5A; length];
        for (place, byte) in packet.iter_mut().zip(pn.to_be_bytes()) {
            *place = byte;
        }
        packet
    }

    #[derive(Clone, Debug)]
    enum Step {
        Send { session: usize, length: usize, path: u8, wait_us: u64 },
        Acknowledge { session: usize, back: u64, bits: u64 },
        Move { session: usize },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let send = (0usize..3, 8usize..1_500, 1u8..4, 0u64..3_000)
            .prop_map(|(session, length, path, wait_us)| Step::Send { session, length, path, wait_us });
        let acknowledge = (0usize..3, 0u64..80, any::<u64>()).prop_map(|(session, back, bits)| Step::Acknowledge {
            session,
            back,
            bits,
        });
        let moved = (0usize..3).prop_map(|session| Step::Move { session });
        proptest::collection::vec(prop_oneof![12 => send, 2 => acknowledge, 1 => moved], 1..600)
    }

    #[derive(Default)]
    struct Model {
        sent: BTreeMap<u64, (Vec<u8>, Time, u8, bool)>,
        next: u64,
    }

    proptest! {
        /// What is replayed: in order, byte for byte what was sent, of dead paths only, never what was acknowledged;
        /// nothing younger than the window is missing unless pool or cap pushed it out.
        #[test]
        fn the_tail_is_what_was_sent(steps in steps()) {
            const POOL: usize = 64 * 1_024;
            let mut pool = TailPool::new(POOL);
            let mut tails: Vec<Tail> = (0..3).map(|_| Tail::default()).collect();
            let mut models: Vec<Model> = (0..3).map(|_| Model::default()).collect();
            let mut order: Vec<(usize, u64, usize)> = vec![];
            let mut now = Time(0);
            for step in steps {
                match step {
                    Step::Send { session, length, path, wait_us } => {
                        now = now.plus_us(wait_us);
                        let model = &mut models[session];
                        let pn = model.next;
                        model.next += 1;
                        let bytes = packet(session, pn, length);
                        tails[session].push(now, &mut pool, PathSet(path), pn, &bytes);
                        model.sent.insert(pn, (bytes, now, path, false));
                        order.push((session, pn, length));
                    }
                    Step::Acknowledge { session, back, bits } => {
                        let model = &mut models[session];
                        let Some(floor) = model.next.checked_sub(back + 1) else { continue };
                        tails[session].acknowledged(floor + 1, &[bits, 0, 0, 0]);
                        for (pn, entry) in &mut model.sent {
                            let offset = pn.wrapping_sub(floor + 1);
                            entry.3 |= *pn <= floor || (offset < 64 && bits >> offset & 1 == 1);
                        }
                    }
                    Step::Move { session } => {
                        tails[session].moved(A, B);
                        // The oracle only knows of packets that are still remembered; a set is enough.
                        for entry in models[session].sent.values_mut() {
                            if entry.2 == A.0 { entry.2 |= B.0; }
                        }
                    }
                }
                prop_assert_eq!(pool.bytes(), POOL);
                // Bytes of newer packets than each, over all sessions: what the ring may have overwritten.
                let mut newer = 0usize;
                let mut surely = std::collections::HashSet::new();
                for (session, pn, length) in order.iter().rev() {
                    newer += length;
                    // One gap of less than a packet at the end of the ring.
                    if newer + 1_500 <= POOL { surely.insert((*session, *pn)); }
                }
                for (session, (tail, model)) in tails.iter().zip(&models).enumerate() {
                    prop_assert!(tail.size().1 <= TAIL_SESSION_BYTES);
                    for dead in [A, B, PathSet(3)] {
                        let replayed: Vec<(u64, &[u8])> = tail.of(now, &pool, dead).collect();
                        prop_assert!(replayed.windows(2).all(|pair| pair[0].0 < pair[1].0));
                        for (pn, bytes) in &replayed {
                            let (sent, _, path, acknowledged) = &model.sent[pn];
                            prop_assert_eq!(*bytes, &sent[..]);
                            prop_assert!(!acknowledged && path & !dead.0 == 0);
                        }
                        for (pn, (_, sent, path, acknowledged)) in &model.sent {
                            let young = now.since_ns(*sent) <= TAIL_MS * 1_000_000;
                            if young && !acknowledged && path & !dead.0 == 0 && surely.contains(&(session, *pn)) {
                                prop_assert!(replayed.iter().any(|(found, _)| found == pn), "{} is missing", pn);
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn slow_sessions_keep_64_packets_and_busy_ones_25_milliseconds() {
        let mut pool = TailPool::new(TAIL_POOL_BYTES);
        let mut tail = Tail::default();
        // 1 kHz: 64 packets are 64 ms.
        for pn in 0..500 {
            tail.push(Time(pn * 1_000_000), &mut pool, A, pn, &packet(0, pn, 200));
        }
        let now = Time(499_000_000);
        let replayed: Vec<u64> = tail.of(now, &pool, A).map(|(pn, _)| pn).collect();
        assert_eq!(replayed, (436..500).collect::<Vec<_>>());
        // 100 kHz: 25 ms are 2,500 packets; long ones are cut by a mebibyte.
        let mut tail = Tail::default();
        for pn in 0..5_000 {
            tail.push(Time(pn * 10_000), &mut pool, A, pn, &packet(0, pn, 200));
        }
        assert_eq!(tail.of(Time(49_990_000), &pool, A).count(), 2_501);
        for pn in 5_000..10_000 {
            tail.push(Time(pn * 10_000), &mut pool, A, pn, &packet(0, pn, 1_400));
            assert!(tail.size().1 <= TAIL_SESSION_BYTES);
        }
        assert_eq!(tail.of(Time(99_990_000), &pool, A).count(), TAIL_SESSION_BYTES / 1_400);
    }

    #[test]
    fn a_busy_session_takes_the_pool_and_nothing_wrong_is_replayed() {
        let mut pool = TailPool::new(16 * 1_024);
        let (mut quiet, mut busy) = (Tail::default(), Tail::default());
        quiet.push(Time(0), &mut pool, A, 7, &packet(0, 7, 1_000));
        assert_eq!(quiet.of(Time(0), &pool, A).count(), 1);
        for pn in 0..100 {
            busy.push(Time(0), &mut pool, A, pn, &packet(1, pn, 1_000));
        }
        assert_eq!(quiet.of(Time(0), &pool, A).count(), 0);
        assert!(busy.of(Time(0), &pool, A).all(|(pn, bytes)| bytes == packet(1, pn, 1_000)));
        assert!(busy.of(Time(0), &pool, A).count() >= 15);
    }
}
