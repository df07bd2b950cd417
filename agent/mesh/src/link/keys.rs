//! The keys of a link in use: seals, hop MACs, rhythm and the tags of the present epoch.

use super::{LinkError, behaviour::Rhythm};
use crate::Time;
use x0_crypto::mesh::{PacketKey, TAG_BYTES, TagKey};
use x0_mesh_wire::{Frame, Header, HopKey, header::seal_hop, limits::HEADER_BYTES};

/// How long a link is called by the same tag, milliseconds.
pub const TAG_EPOCH_MS: u64 = 600_000;
const TAG_EPOCH_NS: u64 = TAG_EPOCH_MS * 1_000_000;

/// One direction's keys, ready to use.
pub(super) struct Way {
    packet: PacketKey,
    tags: TagKey,
    pub(super) mac: HopKey,
    pub(super) rhythm: Rhythm,
    /// The last epoch asked for and its tag: HMAC is too dear for each frame.
    cached: (u64, u32),
}

impl core::fmt::Debug for Way {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Way(secret)")
    }
}

impl Way {
    pub(super) fn new(packet: PacketKey, mac: HopKey, tags: TagKey) -> Self {
        // Inputs of the hop MAC are longer than a header, so these never meet one.
        let mut rhythm = [0; 16];
        let (left, right) = rhythm.split_at_mut(8);
        left.copy_from_slice(&mac.mac(b"rhythm 0"));
        right.copy_from_slice(&mac.mac(b"rhythm 1"));
        let cached = (0, tags.tag(0));
        Self { packet, tags, mac, rhythm: Rhythm::new(HopKey::new(rhythm)), cached }
    }

    pub(super) fn tag(&mut self, epoch: u64) -> u32 {
        if self.cached.0 != epoch {
            self.cached = (epoch, self.tags.tag(epoch));
        }
        self.cached.1
    }

    /// Seals a frame whose header is `header` and whose plaintext of `plain_bytes` stands behind the header's place.
    pub(super) fn seal(
        &self,
        header: &Header,
        seq: u64,
        plain_bytes: usize,
        out: &mut [u8],
    ) -> Result<usize, LinkError> {
        let bytes = HEADER_BYTES + plain_bytes + TAG_BYTES;
        let found = out.len();
        let frame = out.get_mut(..bytes).ok_or(LinkError::NoSpace { needed: bytes, found })?;
        header.write(frame)?;
        let (head, body) = frame.split_at_mut(HEADER_BYTES);
        let (plain, tag) = body.split_at_mut(plain_bytes);
        let aad = head.get(..Header::MAC_OFFSET).unwrap_or(&[]);
        let made = self.packet.seal_in_place(seq, aad, plain).map_err(|_| LinkError::CannotSeal { seq })?;
        tag.copy_from_slice(&made);
        seal_hop(frame, &self.mac)?;
        Ok(bytes)
    }

    /// Opens a sealed frame whose hop MAC was checked; its plaintext.
    pub(super) fn open<'a>(&self, seq: u64, frame: &'a mut [u8]) -> Result<&'a mut [u8], LinkError> {
        let (head, body) = frame.split_at_mut_checked(HEADER_BYTES).ok_or(LinkError::Seal { seq })?;
        let aad = head.get(..Header::MAC_OFFSET).unwrap_or(&[]);
        self.packet.open_in_place(seq, aad, body).map_err(|_| LinkError::Seal { seq })
    }

    pub(super) fn check_hop(&self, frame: &Frame<'_>) -> Result<(), LinkError> {
        Ok(frame.check_hop(&self.mac)?)
    }
}

/// The number of the tag epoch, and whether its first half is over. The ends count from the end of their handshake,
/// which they do not see at the same moment: so a receiver takes the tags of two epochs, the present one and the one
/// whose border is nearer.
pub(super) const fn epoch(created: Time, now: Time) -> (u64, bool) {
    let age = now.since_ns(created);
    (age / TAG_EPOCH_NS, age % TAG_EPOCH_NS >= TAG_EPOCH_NS / 2)
}

/// When the set of valid tags changes next.
pub(super) const fn epoch_changes(created: Time, now: Time) -> Time {
    let half = TAG_EPOCH_NS / 2;
    created.plus_ns((now.since_ns(created) / half + 1) * half)
}

/// The 64-bit number that a 32-bit one stands for: the one nearest to what is expected next.
pub(super) fn extend(low: u32, expected: u64) -> u64 {
    const SPAN: u64 = 1 << 32;
    let candidate = expected & !(SPAN - 1) | u64::from(low);
    if candidate + SPAN / 2 <= expected {
        candidate.saturating_add(SPAN)
    } else if candidate > expected.saturating_add(SPAN / 2) && candidate >= SPAN {
        candidate - SPAN
    } else {
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A number within half the span of the expected one is recovered from its low half.
        #[test]
        fn numbers_are_extended(expected in 0u64..1 << 48, off in -(1i64 << 31) + 1..1i64 << 31) {
            if let Some(number) = expected.checked_add_signed(off) {
                prop_assert_eq!(extend(number as u32, expected), number);
            }
        }
    }

    #[test]
    fn two_tags_are_valid_and_the_ends_may_differ_by_minutes() {
        let created = Time(5);
        let own = |now: Time| {
            let (epoch, late) = epoch(created, now);
            if late { [epoch, epoch + 1] } else { [epoch, epoch.saturating_sub(1)] }
        };
        for minute in 0..60u64 {
            let now = created.plus_ms(minute * 60_000 + 1);
            for skew_ms in [0u64, 1_000, 240_000] {
                let sender = epoch(created, now.plus_ms(skew_ms)).0;
                assert!(own(now).contains(&sender), "{minute} {skew_ms}");
                let sender = epoch(created, Time(now.0.saturating_sub(skew_ms * 1_000_000))).0;
                assert!(own(now).contains(&sender), "{minute} -{skew_ms}");
            }
            assert!(epoch_changes(created, now) > now);
            assert_ne!(own(epoch_changes(created, now)), own(now), "{minute}");
        }
    }
}
