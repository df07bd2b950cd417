//! What the kernel counted, summed over its CPUs.

use super::config::PeerId;
use x0_ebpf_shared::{INTERVAL_BUCKETS, Reason, TagStats};

/// What arrived under one tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams that passed; each segment of a super-packet is one.
    pub packets: u64,
    /// Their bytes on the wire, headers of all layers included.
    pub bytes: u64,
    /// Datagrams that a rule dropped.
    pub dropped: u64,
    /// When the last arrived, passed or not; nanoseconds of CLOCK_MONOTONIC, zero for never.
    pub last_seen_ns: u64,
    /// Times between arrivals on one CPU: element 0 counts those below 2 µs, element `i` those of
    /// 2^i to 2^(i+1) µs, the last all from 32.8 ms.
    pub intervals: [u64; INTERVAL_BUCKETS],
    /// Mean time between arrivals, ns: gain 1/8, as RFC 6298 smooths; of the CPU that saw the last.
    pub interval_mean_ns: u64,
    /// Mean deviation from that, ns: gain 1/4, of the same CPU.
    pub interval_deviation_ns: u64,
}

impl Traffic {
    /// The sum over the CPUs.
    pub(crate) fn sum(values: impl IntoIterator<Item = TagStats>) -> Self {
        values.into_iter().fold(Self::default(), |sum, value| sum.join(&Self::of(&value)))
    }

    fn of(value: &TagStats) -> Self {
        Self {
            packets: value.packets,
            bytes: value.bytes,
            dropped: value.dropped,
            last_seen_ns: value.last_seen_ns,
            intervals: value.intervals,
            interval_mean_ns: value.interval_mean_ns,
            interval_deviation_ns: value.interval_deviation_ns,
        }
    }

    /// Adds another's counts; the smoothed values are those of who was seen last.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        let last = if other.last_seen_ns > self.last_seen_ns { other } else { self };
        let mut intervals = self.intervals;
        for (sum, more) in intervals.iter_mut().zip(other.intervals) {
            *sum = sum.saturating_add(more);
        }
        Self {
            packets: self.packets.saturating_add(other.packets),
            bytes: self.bytes.saturating_add(other.bytes),
            dropped: self.dropped.saturating_add(other.dropped),
            last_seen_ns: last.last_seen_ns,
            intervals,
            interval_mean_ns: last.interval_mean_ns,
            interval_deviation_ns: last.interval_deviation_ns,
        }
    }
}

/// What arrived from one peer, over all its links; tags that are gone count too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerTraffic {
    /// The peer.
    pub peer: PeerId,
    /// The sum.
    pub traffic: Traffic,
}

/// Datagrams on the mesh's ports by what became of them, since the filter was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    counts: [u64; Reason::COUNT],
}

impl Totals {
    pub(crate) const fn new(counts: [u64; Reason::COUNT]) -> Self {
        Self { counts }
    }

    /// Datagrams with this fate.
    #[must_use]
    pub fn of(&self, reason: Reason) -> u64 {
        self.counts.get(reason.index()).copied().unwrap_or(0)
    }

    /// All fates with their counts, in the order of [`Reason::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.iter().map(|reason| (*reason, self.of(*reason)))
    }

    /// Datagrams that were dropped, whatever the reason.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.iter().filter(|(reason, _)| reason.drops()).fold(0, |sum, (_, count)| sum.saturating_add(count))
    }
}
