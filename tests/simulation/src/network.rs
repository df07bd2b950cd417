//! Which frames arrive, and when.

use crate::plan::{Bandwidth, Permanent, Plan};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};

/// Delay and jitter after the healing, microseconds.
const GOOD_DELAY_US: u64 = 50_000;
const GOOD_JITTER_US: u64 = 10_000;
/// Bytes that links add: a TLS record each 16 KiB, a stream header, and TCP and IP headers for each segment.
const RECORD_BYTES: u64 = 16 * 1024;
const RECORD_OVERHEAD: u64 = 22;
const STREAM_OVERHEAD: u64 = 12;
const SEGMENT_BYTES: u64 = 1_448;
const SEGMENT_OVERHEAD: u64 = 52;
const MILLION: u32 = 1_000_000;

/// Bytes that a frame takes on a link.
#[must_use]
pub fn wire_bytes(frame: u64) -> u64 {
    let records = frame.div_ceil(RECORD_BYTES).max(1);
    let stream = frame + STREAM_OVERHEAD + records * RECORD_OVERHEAD;
    stream + stream.div_ceil(SEGMENT_BYTES) * SEGMENT_OVERHEAD
}

/// The links of a run.
pub(crate) struct Network {
    /// Cut directions.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// The part that each node is in, while the network is parted.
    pub(crate) parts: Option<Vec<bool>>,
    /// Validators that nobody hears, and those that hear nobody.
    mute: BTreeSet<usize>,
    deaf: BTreeSet<usize>,
    /// When the last part of a block arrives on each link.
    last_part_us: BTreeMap<(usize, usize), u64>,
    up_free_us: Vec<u64>,
    down_free_us: Vec<u64>,
    /// Bytes out and in of each node.
    pub(crate) bytes_out: Vec<u64>,
    pub(crate) bytes_in: Vec<u64>,
}

impl Network {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            cut: BTreeSet::new(),
            parts: None,
            mute: BTreeSet::new(),
            deaf: BTreeSet::new(),
            last_part_us: BTreeMap::new(),
            up_free_us: vec![0; nodes],
            down_free_us: vec![0; nodes],
            bytes_out: vec![0; nodes],
            bytes_in: vec![0; nodes],
        }
    }

    /// Ends what ends, and begins what stays.
    pub(crate) fn heal(&mut self, plan: &Plan) {
        self.cut.clear();
        self.parts = None;
        for (identity, fault) in &plan.permanent {
            if matches!(fault, Permanent::Mute | Permanent::Gone) {
                self.mute.insert(*identity);
            }
            if matches!(fault, Permanent::Deaf | Permanent::Gone) {
                self.deaf.insert(*identity);
            }
        }
    }

    fn blocked(&self, from: (usize, usize), to: (usize, usize)) -> bool {
        self.cut.contains(&(from.0, to.0))
            || self.parts.as_ref().is_some_and(|parts| parts[from.0] != parts[to.0])
            || self.mute.contains(&from.1)
            || self.deaf.contains(&to.1)
    }

    /// After how many microseconds a frame arrives, once or twice or never. Nodes are named by their number and
    /// their validator.
    pub(crate) fn carry(
        &mut self,
        plan: &Plan,
        healed: bool,
        rng: &mut ChaCha8Rng,
        from: (usize, usize),
        to: (usize, usize),
    ) -> impl Iterator<Item = u64> + use<> {
        let mut arrivals = [None, None];
        if !self.blocked(from, to) {
            let faults = &plan.network;
            let (delay, jitter) = if healed {
                (faults.delay_us.min(GOOD_DELAY_US), faults.jitter_us.min(GOOD_JITTER_US))
            } else {
                (faults.delay_us, faults.jitter_us)
            };
            let mut draw = || delay + rng.random_range(0..=jitter);
            let (first, second) = (draw(), draw());
            if healed || rng.random_range(0..MILLION) >= faults.loss {
                arrivals[0] = Some(first);
            }
            if rng.random_range(0..MILLION) < faults.duplication {
                arrivals[1] = Some(second);
            }
        }
        arrivals.into_iter().flatten()
    }

    /// Keeps the parts of blocks in order on each link, as a real link does.
    pub(crate) fn in_order(&mut self, now_us: u64, from: usize, to: usize, after: u64) -> u64 {
        let last = self.last_part_us.entry((from, to)).or_default();
        *last = (now_us + after).max(*last + 1);
        *last - now_us
    }

    /// When a frame of this size arrives over links of limited speed: each node sends and receives one frame after
    /// the other.
    pub(crate) fn carry_bytes(
        &mut self,
        bandwidth: &Bandwidth,
        now_us: u64,
        from: usize,
        to: usize,
        frame_bytes: u64,
    ) -> u64 {
        let bytes = wire_bytes(frame_bytes);
        let takes_us = (bytes * 8 * 1_000_000).div_ceil(bandwidth.bits_per_second);
        let sent = self.up_free_us[from].max(now_us) + takes_us;
        self.up_free_us[from] = sent;
        let regions = bandwidth.latency_us.len();
        let here = sent + bandwidth.latency_us[from % regions][to % regions];
        // The last byte comes in no sooner than it was sent and travelled; frames of others may be before it.
        let received = here.max(self.down_free_us[to] + takes_us);
        self.down_free_us[to] = received;
        self.bytes_out[from] += bytes;
        self.bytes_in[to] += bytes;
        received - now_us
    }
}
