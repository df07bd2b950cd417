//! What every part of the protocol shares: time, randomness, names.

use core::fmt;

/// A moment of the monotonic clock, nanoseconds since an arbitrary start. Wall-clock steps do not move it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// Nanoseconds from `earlier` to this moment; zero when `earlier` is later.
    #[must_use]
    pub const fn since_ns(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This moment and some nanoseconds, saturating.
    #[must_use]
    pub const fn plus_ns(self, ns: u64) -> Self {
        Self(self.0.saturating_add(ns))
    }

    /// This moment and some microseconds, saturating.
    #[must_use]
    pub const fn plus_us(self, us: u64) -> Self {
        self.plus_ns(us.saturating_mul(1_000))
    }

    /// This moment and some milliseconds, saturating.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        self.plus_ns(ms.saturating_mul(1_000_000))
    }
}

/// Where random bytes come from: the operating system in the product, a seed in tests.
pub trait Entropy {
    /// Fills all of `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// An agent's name in the mesh: the account that its ML-DSA-65 key gives (architecture D3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, codec::Encode, codec::Decode)]
pub struct NodeId(pub [u8; 32]);

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({}..)", hex::encode(&self.0[..6]))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl serde::Serialize for NodeId {
    /// Writes 64 hexadecimal digits.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl serde::Serialize for Time {
    /// Writes whole microseconds.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0 / 1_000)
    }
}
