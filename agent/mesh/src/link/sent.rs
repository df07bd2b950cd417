//! What is remembered of sent frames: which were large, so that their fate tells about the path MTU.

/// Frames that are remembered.
const SPAN: u64 = 8_192;
const WORDS: usize = 128;

/// Which of the last 8,192 frames were larger than the base size.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    large: [u64; WORDS],
    highest: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { large: [0; WORDS], highest: 0 }
    }
}

impl Sizes {
    fn word(seq: u64) -> usize {
        usize::try_from(seq / 64 % (SPAN / 64)).unwrap_or(0)
    }

    /// The frame with the next number was sent.
    pub(super) fn sent(&mut self, seq: u64, large: bool) {
        self.highest = seq;
        if let Some(word) = self.large.get_mut(Self::word(seq)) {
            *word = *word & !(1 << (seq % 64)) | u64::from(large) << (seq % 64);
        }
    }

    /// Whether a frame was large; `None` when it is forgotten.
    pub(super) fn was_large(&self, seq: u64) -> Option<bool> {
        if seq > self.highest || self.highest - seq >= SPAN {
            return None;
        }
        self.large.get(Self::word(seq)).map(|word| word >> (seq % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_remembered_and_forgotten() {
        let mut sizes = Sizes::default();
        for seq in 1..20_000 {
            sizes.sent(seq, seq % 3 == 0);
            assert_eq!(sizes.was_large(seq), Some(seq % 3 == 0));
            assert_eq!(sizes.was_large(seq + 1), None);
            if seq >= SPAN {
                assert_eq!(sizes.was_large(seq - SPAN), None);
                assert_eq!(sizes.was_large(seq - SPAN + 1), Some((seq - SPAN + 1).is_multiple_of(3)));
            }
        }
    }
}
