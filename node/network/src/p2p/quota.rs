//! How much a peer may send on each channel. A peer that sends more is read more slowly, so that it
//! fills its own queues and nobody else's. No clock in here.

use crate::Channel;

/// What one peer may send on one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelQuota {
    /// Frames per second over a longer time.
    pub frames_per_second: u64,
    /// Bytes per second over a longer time.
    pub bytes_per_second: u64,
}

impl ChannelQuota {
    /// The quota of a channel unless the operator says otherwise.
    #[must_use]
    pub const fn of(channel: Channel) -> Self {
        let frames_per_second = match channel {
            Channel::Consensus => x0_limits::LINK_CONSENSUS_FRAMES_PER_SECOND,
            Channel::Liveness | Channel::Status | Channel::SyncRequest | Channel::SnapshotRequest => {
                x0_limits::LINK_CONTROL_FRAMES_PER_SECOND
            }
            Channel::Parts => x0_limits::LINK_PARTS_PER_SECOND,
            Channel::Transactions => x0_limits::LINK_TRANSACTION_FRAMES_PER_SECOND,
            Channel::SyncResponse | Channel::SnapshotResponse => x0_limits::LINK_ANSWERS_PER_SECOND,
        };
        Self { frames_per_second, bytes_per_second: x0_limits::LINK_BYTES_PER_SECOND }
    }
}

/// Seconds of unused quota that a peer may save up.
const BURST_SECONDS: i128 = 4;
const MILLI: i128 = 1_000;

/// The account of one channel of one link. A frame that was read is always taken; the debt is paid
/// by waiting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quota {
    rate: ChannelQuota,
    /// Thousandths of frames and of bytes; negative for a debt.
    frames: i128,
    bytes: i128,
    at_ms: u64,
    /// How long this peer had to wait lately, milliseconds.
    waited_ms: u64,
}

impl Quota {
    pub(super) fn new(rate: ChannelQuota, now_ms: u64) -> Self {
        Self {
            rate,
            frames: i128::from(rate.frames_per_second) * MILLI * BURST_SECONDS,
            bytes: i128::from(rate.bytes_per_second) * MILLI * BURST_SECONDS,
            at_ms: now_ms,
            waited_ms: 0,
        }
    }

    /// Takes a frame into account; how long to wait before the next is read, milliseconds.
    pub(super) fn take(&mut self, bytes: usize, now_ms: u64) -> u64 {
        let elapsed = now_ms.saturating_sub(self.at_ms);
        self.at_ms = self.at_ms.max(now_ms);
        self.waited_ms = self.waited_ms.saturating_sub(elapsed);
        let refill = |tokens: i128, rate: u64| {
            (tokens + i128::from(elapsed) * i128::from(rate)).min(i128::from(rate) * MILLI * BURST_SECONDS)
        };
        let bytes = i128::try_from(bytes).unwrap_or(i128::MAX / MILLI) * MILLI;
        self.frames = refill(self.frames, self.rate.frames_per_second) - MILLI;
        self.bytes = refill(self.bytes, self.rate.bytes_per_second) - bytes;
        let wait =
            debt_ms(self.frames, self.rate.frames_per_second).max(debt_ms(self.bytes, self.rate.bytes_per_second));
        // Twice, since the wait itself is taken off again.
        self.waited_ms = self.waited_ms.saturating_add(wait.saturating_mul(2));
        wait
    }

    /// Whether the peer has been above its quota for so long that it is no burst any more. Asking
    /// starts the count anew.
    pub(super) fn floods(&mut self) -> bool {
        let floods = self.waited_ms > x0_limits::LINK_FLOOD_PATIENCE_MS;
        if floods {
            self.waited_ms = 0;
        }
        floods
    }
}

fn debt_ms(tokens: i128, rate: u64) -> u64 {
    if tokens >= 0 {
        return 0;
    }
    u64::try_from((-tokens).div_euclid(i128::from(rate.max(1))) + 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_slowed_to_the_rate_and_noticed_a_burst_is_neither() {
        let rate = ChannelQuota { frames_per_second: 100, bytes_per_second: 1_000_000 };
        let mut quota = Quota::new(rate, 0);
        for _ in 0..400 {
            assert_eq!(quota.take(1_000, 0), 0);
        }
        assert!(!quota.floods());
        let (mut now, mut frames, mut floods) = (0, 0u64, 0);
        while now < 60_000 {
            now += quota.take(1_000, now);
            frames += 1;
            floods += u64::from(quota.floods());
        }
        assert!((5_900..=6_100).contains(&frames), "{frames}");
        assert!(floods >= 2, "{floods}");
    }

    #[test]
    fn bytes_count_as_well_as_frames() {
        let mut quota = Quota::new(ChannelQuota { frames_per_second: 1_000_000, bytes_per_second: 1_000 }, 0);
        assert_eq!(quota.take(4_000, 0), 0);
        assert!((2_000..2_010).contains(&quota.take(2_000, 0)));
    }
}
