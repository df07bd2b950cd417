//! Names, keys and values of the maps.

use crate::arrivals::BUCKETS;

/// Most senders that the availability service's counters hold; the least recently seen gives way.
pub const PEERS_MAX: u32 = 4096;
/// Most tags that may be allowed at once, whatever the configuration.
pub const TAGS_MAX: u32 = 65_536;
/// Most rules on peers, and most on prefixes.
pub const RULES_MAX: u32 = 1024;
/// Most source prefixes whose handshakes are told apart; the least recently seen gives way.
pub const PREFIXES_MAX: u32 = 16_384;
/// Most UDP ports of the mesh.
pub const PORTS_MAX: usize = 16;
/// Elements of [`TagStats::intervals`].
pub const INTERVAL_BUCKETS: usize = BUCKETS;

/// Name of the map from [`PeerKey`] to [`PeerCounters`], one value per CPU.
pub const PEERS_MAP: &str = "X0_PEERS";
/// Name of the one-element array that holds [`Settings`].
pub const SETTINGS_MAP: &str = "X0_SETTINGS";
/// Name of the map from tag (`u32`) to [`TagStats`], one value per CPU; only user space adds to it.
pub const TAGS_MAP: &str = "X0_TAGS";
/// Name of the map from a peer's number (`u32`) to [`RuleEntry`].
pub const RULES_MAP: &str = "X0_RULES";
/// Name of the longest-prefix map from an address to one of the `PREFIX_` actions.
pub const PREFIX_RULES_MAP: &str = "X0_PREFIX_RULES";
/// Name of the map from [`PeerKey`] with the bits behind the prefix zeroed to a bucket's word.
pub const PREFIXES_MAP: &str = "X0_PREFIXES";
/// Name of the one-element array that holds the word of everybody's bucket.
pub const GLOBAL_MAP: &str = "X0_GLOBAL";
/// Name of the array of counters by [`crate::Reason`], one value per CPU.
pub const TOTALS_MAP: &str = "X0_TOTALS";

/// TC ingress program for interfaces with Ethernet headers; loopback has them too.
pub const INGRESS_PROGRAM: &str = "x0_ingress";
/// TC ingress program for tunnels whose packets begin with the IP header.
pub const INGRESS_IP_PROGRAM: &str = "x0_ingress_ip";
/// XDP program for interfaces with Ethernet headers.
pub const XDP_PROGRAM: &str = "x0_xdp";

/// An address: IPv6, or IPv4 mapped into `::ffff:0:0/96`.
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

    /// The key of the prefix whose handshakes share a bucket: all 32 bits of IPv4, the first 64 of
    /// IPv6, which is what one site is given at least (RFC 6177).
    #[inline(always)]
    #[must_use]
    pub const fn prefix(&self, v6: bool) -> Self {
        if !v6 {
            return *self;
        }
        let a = &self.address;
        Self { address: [a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], 0, 0, 0, 0, 0, 0, 0, 0] }
    }
}

/// What came in from one sender on the port of the availability service.
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

/// Unknown tags are dropped; without it they are counted and pass.
pub const FLAG_ARMED: u32 = 1;
/// There are rules on peers.
pub const FLAG_PEER_RULES: u32 = 2;
/// There are rules on prefixes.
pub const FLAG_PREFIX_RULES: u32 = 4;

/// What the loader tells the programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Nanoseconds that one handshake datagram costs its prefix's bucket.
    pub prefix_cost_ns: u64,
    /// Nanoseconds that the prefix's bucket may run ahead: its burst times the cost.
    pub prefix_window_ns: u64,
    /// As `prefix_cost_ns`, for everybody's bucket.
    pub global_cost_ns: u64,
    /// As `prefix_window_ns`, for everybody's bucket.
    pub global_window_ns: u64,
    /// UDP ports of the mesh in host order, those in use first; zero is no port.
    pub mesh_ports: [u16; PORTS_MAX],
    /// The port of the availability service in host order; zero counts nothing.
    pub probe_port: u16,
    /// Keeps the size a multiple of eight.
    pub reserved: u16,
    /// The `FLAG_` bits.
    pub flags: u32,
}

/// Everything that is known of one tag on one CPU; that the entry exists allows the tag.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TagStats {
    /// Datagrams that passed.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Datagrams that a rule dropped.
    pub dropped: u64,
    /// Kernel monotonic time of the last arrival, nanoseconds; zero for never.
    pub last_seen_ns: u64,
    /// Smoothed time between arrivals, nanoseconds.
    pub interval_mean_ns: u64,
    /// Smoothed deviation from it, nanoseconds.
    pub interval_deviation_ns: u64,
    /// Times between arrivals by powers of two, see [`crate::arrivals::bucket`].
    pub intervals: [u64; INTERVAL_BUCKETS],
    /// Number of the peer in the map of rules.
    pub peer: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}

/// Nothing of the peer passes.
pub const RULE_DENY: u32 = 1;
/// Only heartbeats and link control of the peer pass.
pub const RULE_QUARANTINE: u32 = 2;
/// The peer's data and probes are limited.
pub const RULE_LIMIT: u32 = 4;

/// What the rules say about one peer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleEntry {
    /// The bucket's word, see [`crate::rate`]; the program writes it.
    pub word: u64,
    /// Cost of a byte in units of 2^-10 nanoseconds.
    pub byte_cost_q10: u64,
    /// Nanoseconds that the bucket may run ahead.
    pub window_ns: u64,
    /// The `RULE_` bits.
    pub actions: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}

/// Nothing from the prefix reaches the mesh's ports.
pub const PREFIX_DENY: u32 = 1;
/// Handshakes from the prefix do not draw on everybody's bucket.
pub const PREFIX_FAVOUR: u32 = 2;

const _: () = assert!(size_of::<PeerKey>() == 16);
const _: () = assert!(size_of::<PeerCounters>() == 24);
const _: () = assert!(size_of::<Settings>() == 4 * 8 + PORTS_MAX * 2 + 8);
const _: () = assert!(size_of::<TagStats>() == 6 * 8 + INTERVAL_BUCKETS * 8 + 8);
const _: () = assert!(size_of::<RuleEntry>() == 32);
