//! Map layouts that the BPF programs and the loader share.
//!
//! Both sides compile this crate, so a key or a value cannot be read differently from how it was
//! written. Everything is `repr(C)`, a multiple of eight bytes and free of padding.
//!
//! # Limits
//! [`PEERS_MAX`] peers are counted; the least recently seen one gives way to a new one.
#![no_std]

/// Most peers that the counters hold at once.
pub const PEERS_MAX: u32 = 4096;
/// Name of the map from [`PeerKey`] to [`PeerCounters`], one value per CPU.
pub const PEERS_MAP: &str = "X0_PEERS";
/// Name of the one-element array that holds [`Settings`].
pub const SETTINGS_MAP: &str = "X0_SETTINGS";
/// Name of the TC ingress program.
pub const INGRESS_PROGRAM: &str = "x0_ingress";

/// Who sent a packet: an IPv6 address, or an IPv4 address mapped into `::ffff:0:0/96`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PeerKey {
    /// The sixteen bytes of the address in network order.
    pub address: [u8; 16],
}

impl PeerKey {
    /// The key of an IPv4 sender.
    #[inline(always)]
    #[must_use]
    pub const fn from_v4(v4: [u8; 4]) -> Self {
        Self { address: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4[0], v4[1], v4[2], v4[3]] }
    }
}

/// What came in from one peer on the agent's port.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounters {
    /// Packets.
    pub packets: u64,
    /// Bytes, link-layer header included.
    pub bytes: u64,
    /// Kernel monotonic time of the last packet, nanoseconds.
    pub last_seen_ns: u64,
}

/// What the loader tells the program.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The agent's port in host order; zero counts nothing.
    pub port: u16,
    /// Keeps the size a multiple of eight.
    pub reserved: [u8; 6],
}

const _: () = assert!(size_of::<PeerKey>() == 16);
const _: () = assert!(size_of::<PeerCounters>() == 24);
const _: () = assert!(size_of::<Settings>() == 8);
