//! The Internet checksum (RFC 1071), fast enough to be computed for each packet.
//!
//! The sum does not depend on the byte order of the machine as long as words are read and written in
//! the same one (RFC 1071 section 2 B), so everything here is in native order.

/// Bytes that are summed at once.
const BLOCK_BYTES: usize = 64;

/// A running one's complement sum. Parts before the last have an even number of bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes; an odd last byte counts as followed by zero.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let (blocks, rest) = bytes.split_at(bytes.len() - bytes.len() % BLOCK_BYTES);
        let mut sum = carry(self.0, blocks_sum(blocks));
        let mut words = rest.chunks_exact(2);
        for word in &mut words {
            sum = carry(sum, u16::from_ne_bytes([word[0], word[1]]).into());
        }
        if let [last] = words.remainder() {
            sum = carry(sum, u16::from_ne_bytes([*last, 0]).into());
        }
        Self(sum)
    }

    /// Adds a number in network order.
    #[must_use]
    pub fn number(self, value: u32) -> Self {
        Self(carry(self.0, u32::from_ne_bytes(value.to_be_bytes()).into()))
    }

    /// The sum in 16 bits, in native order.
    #[must_use]
    pub fn folded(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap_or(0)
    }

    /// The bytes of the checksum field: the complement of the sum.
    #[must_use]
    pub fn field(self) -> [u8; 2] {
        (!self.folded()).to_ne_bytes()
    }

    /// The bytes of the checksum field of UDP, where zero means that there is none (RFC 768).
    #[must_use]
    pub fn udp_field(self) -> [u8; 2] {
        match self.field() {
            [0, 0] => [0xff, 0xff],
            field => field,
        }
    }

    /// Whether bytes that include their checksum are whole.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.folded() == 0xffff
    }
}

/// The sum of whole blocks, by the widest vectors that the processor has.
fn blocks_sum(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() >= 4 * BLOCK_BYTES && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has just been found to have AVX2.
        return unsafe { blocks_sum_avx2(bytes) };
    }
    lanes_sum(bytes)
}

/// The same code, compiled for 32-byte vectors.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn blocks_sum_avx2(bytes: &[u8]) -> u64 {
    lanes_sum(bytes)
}

/// Independent lanes of 32-bit words, which the compiler turns into vectors. A lane holds 2^32 words.
#[inline(always)]
fn lanes_sum(bytes: &[u8]) -> u64 {
    let mut lanes = [0_u64; BLOCK_BYTES / 4];
    for block in bytes.chunks_exact(BLOCK_BYTES) {
        for (lane, word) in lanes.iter_mut().zip(block.chunks_exact(4)) {
            *lane = lane.wrapping_add(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]).into());
        }
    }
    lanes.iter().fold(0, |sum, lane| carry(sum, *lane))
}

fn carry(sum: u64, value: u64) -> u64 {
    let (sum, overflowed) = sum.overflowing_add(value);
    sum + u64::from(overflowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 as it is written: 16-bit words in network order, carries added at the end.
    fn plain(bytes: &[u8]) -> u16 {
        let mut sum = 0_u128;
        for pair in bytes.chunks(2) {
            sum += u128::from(pair[0]) << 8 | u128::from(*pair.get(1).unwrap_or(&0));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().bytes(&bytes).field(), (!0xddf2_u16).to_be_bytes());
    }

    proptest! {
        #[test]
        fn fast_and_plain_agree(bytes in proptest::collection::vec(any::<u8>(), 0..2_000), number: u32) {
            prop_assert_eq!(Sum::default().bytes(&bytes).field(), plain(&bytes).to_be_bytes());
            let mut both = number.to_be_bytes().to_vec();
            both.extend_from_slice(&bytes);
            prop_assert_eq!(Sum::default().number(number).bytes(&bytes).field(), plain(&both).to_be_bytes());
        }
    }
}
