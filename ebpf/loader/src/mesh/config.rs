//! What the filter is told: ports, limits, rules, and how to attach.

use super::error::FilterError;
use std::net::IpAddr;
use x0_ebpf_shared::{PORTS_MAX, RULES_MAX};

/// A node of the mesh: the 32 bytes of its account (`x0_mesh::NodeId`).
pub type PeerId = [u8; 32];

/// Most ports that one filter watches.
pub const FILTER_PORTS_MAX: usize = PORTS_MAX;
/// Most rules on peers, and most rules on prefixes.
pub const FILTER_RULES_MAX: usize = RULES_MAX as usize;
/// Ordinary bound of tags: two epochs of 2,048 links.
pub const TAGS_MAX_DEFAULT: u32 = 4096;

/// How the program is attached to an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// At TC ingress, behind the receive offloads: one run for a whole super-packet. The default.
    #[default]
    Tc,
    /// In the driver, before the kernel makes a socket buffer: cheapest to drop, but the kernel then
    /// gives up the receive offloads. Refused on interfaces without hardware, because a veth peer
    /// loses its segmentation offload: each byte costs six to eight times as much.
    Xdp,
    /// As [`Mode::Xdp`] without that refusal; falls back to the generic hook where the driver has none.
    XdpForced,
}

/// Where the program runs on one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// A TCX link (Linux 6.6 and newer); ends with the process.
    Tcx,
    /// A classifier at the clsact qdisc (older kernels). It survives a killed process, so it never
    /// enforces tags, and the next start removes it.
    Clsact,
    /// A native XDP link; ends with the process.
    XdpDriver,
    /// A generic XDP link; ends with the process.
    XdpGeneric,
}

/// Rate and burst of one bucket for handshake datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketConfig {
    /// Datagrams per second that refill the bucket, 1 to 1,000,000.
    pub per_s: u32,
    /// Datagrams that a full bucket holds, 1 to 1,000,000.
    pub burst: u32,
}

impl BucketConfig {
    /// The most that either number may be.
    pub const MAX: u32 = 1_000_000;

    /// Checks the bounds.
    pub(crate) fn check(&self, name: &'static str) -> Result<(), FilterError> {
        for value in [self.per_s, self.burst] {
            if value == 0 || value > Self::MAX {
                return Err(FilterError::Bucket { name, value, max: Self::MAX });
            }
        }
        Ok(())
    }
}

/// What a filter is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterConfig {
    /// UDP ports of the mesh, 1 to [`FILTER_PORTS_MAX`]; zero is no port.
    pub ports: Vec<u16>,
    /// The port of the agent's availability service, whose packets are counted per sender.
    pub probe_port: Option<u16>,
    /// Handshake datagrams from one prefix: a /32 of IPv4, a /64 of IPv6.
    pub per_prefix: BucketConfig,
    /// Handshake datagrams from everybody except favoured prefixes.
    pub global: BucketConfig,
    /// Most tags at once; two for each link, because two epochs are valid.
    pub tags_max: u32,
}

impl FilterConfig {
    /// Ordinary limits for these ports. One handshake is up to six datagrams in one direction, and all
    /// peers behind one translated address share its bucket.
    #[must_use]
    pub fn new(ports: &[u16]) -> Self {
        Self {
            ports: ports.to_vec(),
            probe_port: None,
            per_prefix: BucketConfig { per_s: 100, burst: 200 },
            global: BucketConfig { per_s: 2_000, burst: 4_000 },
            tags_max: TAGS_MAX_DEFAULT,
        }
    }

    /// Checks the bounds.
    ///
    /// # Errors
    /// [`FilterError::Ports`], [`FilterError::Bucket`] and [`FilterError::TagBound`].
    pub fn check(&self) -> Result<(), FilterError> {
        Self::check_ports(&self.ports)?;
        if self.tags_max == 0 || self.tags_max > x0_ebpf_shared::TAGS_MAX {
            return Err(FilterError::TagBound { value: self.tags_max, max: x0_ebpf_shared::TAGS_MAX });
        }
        self.per_prefix.check("per_prefix")?;
        self.global.check("global")
    }

    pub(crate) fn check_ports(ports: &[u16]) -> Result<(), FilterError> {
        if ports.is_empty() || ports.len() > FILTER_PORTS_MAX || ports.contains(&0) {
            return Err(FilterError::Ports { count: ports.len(), max: FILTER_PORTS_MAX });
        }
        Ok(())
    }
}

/// What a rule does with one peer. Several rules on one peer add up to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAction {
    /// Nothing of the peer's links passes.
    Deny,
    /// Only heartbeats and link control pass.
    Quarantine,
    /// Data and probes pass at this rate; heartbeats and link control always do.
    RateLimit {
        /// Bytes of UDP payload per second, at least 1,000.
        bytes_per_s: u64,
        /// Bytes that pass at once after silence; at least 65,536 so that a super-packet fits.
        burst_bytes: u64,
    },
}

/// A rule on a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerRule {
    /// Whom it meets.
    pub peer: PeerId,
    /// What it does.
    pub action: PeerAction,
}

/// What a rule does with a prefix of source addresses. The longest matching prefix decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixAction {
    /// Nothing from there reaches the mesh's ports.
    Deny,
    /// Its handshakes do not draw on the bucket that everybody shares, so that a flood from elsewhere
    /// does not keep known peers out; they still draw on the prefix's own.
    Favour,
}

/// A rule on a prefix of source addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixRule {
    /// The address; bits beyond the length do not count.
    pub address: IpAddr,
    /// The prefix's length in bits: up to 32 for IPv4, up to 128 for IPv6.
    pub bits: u8,
    /// What it does.
    pub action: PrefixAction,
}
