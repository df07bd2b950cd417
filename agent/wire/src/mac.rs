//! The hop MAC: SipHash-2-4 with 64 bits (Aumasson and Bernstein, 2012).

use core::{fmt, hash::Hasher};
use siphasher::sip::SipHasher24;

/// The key of a MAC between neighbours. It keeps junk and frames of strangers from costing more than
/// a hash; what must be authentic is sealed besides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HopKey([u8; 16]);

impl fmt::Debug for HopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HopKey(secret)")
    }
}

impl HopKey {
    /// Takes over these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the maps of the packet filter.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 16] {
        &self.0
    }

    /// The MAC of `bytes`.
    #[must_use]
    pub fn mac(&self, bytes: &[u8]) -> [u8; 8] {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(bytes);
        hasher.finish().to_be_bytes()
    }

    /// The MAC of two parts after one another.
    #[must_use]
    pub fn mac_of(&self, head: &[u8], rest: &[u8]) -> [u8; 8] {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(head);
        hasher.write(rest);
        hasher.finish().to_be_bytes()
    }

    /// Whether `mac` is the MAC of `bytes`, compared as one number and so in constant time.
    #[must_use]
    pub fn fits(&self, bytes: &[u8], mac: [u8; 8]) -> bool {
        u64::from_be_bytes(self.mac(bytes)) == u64::from_be_bytes(mac)
    }
}
