//! What a carrier is told at its start, and what it tells of its peers.

use super::{ChannelQuota, GateLimits, HostPort, PeerAddress};
use crate::{Channel, PeerKey};
use std::{io, net::SocketAddr, path::PathBuf, time::SystemTime};

/// Settings of a carrier.
#[derive(Clone, Debug)]
pub struct P2pConfig {
    /// Where to listen. Port 0 takes a free one. Empty: dial only.
    pub listen: Vec<SocketAddr>,
    /// Where others reach this node, `HOST:PORT`. Empty: the listening addresses, and for unspecified
    /// ones the address that each peer sees.
    pub advertise: Vec<HostPort>,
    /// Peers that are always admitted, and where they are: sentries, and the first contacts of a new node.
    pub peers: Vec<PeerAddress>,
    /// The file in which addresses survive a restart; `None` to keep none.
    pub store: Option<PathBuf>,
    /// Name and version of the software, as peers see it.
    pub software: String,
    /// Bounds of what others may do.
    pub limits: P2pLimits,
}

impl P2pConfig {
    /// The settings of a node that listens at an address and knows these peers.
    #[must_use]
    pub fn new(listen: SocketAddr, peers: Vec<PeerAddress>) -> Self {
        Self {
            listen: vec![listen],
            advertise: Vec::new(),
            peers,
            store: None,
            software: concat!("x0-node/", env!("CARGO_PKG_VERSION")).to_owned(),
            limits: P2pLimits::default(),
        }
    }
}

/// Bounds of what others may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct P2pLimits {
    /// Handshakes.
    pub gate: GateLimits,
    /// What one peer may send, by channel in the order of [`Channel::ALL`].
    pub quotas: [ChannelQuota; Channel::ALL.len()],
}

impl Default for P2pLimits {
    fn default() -> Self {
        Self { gate: GateLimits::default(), quotas: Channel::ALL.map(ChannelQuota::of) }
    }
}

/// Why a carrier does not start.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The peer store can be neither read nor set aside.
    #[error("cannot use the peer store {path}: {source}")]
    Store {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system gives no threads.
    #[error("cannot start the threads of the network: {0}")]
    Threads(#[source] io::Error),
    /// The network key cannot be used for links.
    #[error("the network key gives no link identity")]
    Identity,
    /// The software's name is too long to be told.
    #[error("the software's name has {bytes} bytes, {max} are the most", max = x0_limits::LINK_SOFTWARE_BYTES_MAX)]
    Software {
        /// Its length, bytes.
        bytes: usize,
    },
}

/// Who opened a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The peer.
    In,
    /// This node.
    Out,
}

/// A peer with a standing link.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// Its name.
    pub key: PeerKey,
    /// The other end of the link.
    pub address: SocketAddr,
    /// Who opened the link.
    pub direction: Direction,
    /// Name and version of its software.
    pub version: String,
    /// The height that it last told.
    pub tip: u64,
    /// Since when the link stands.
    pub since: SystemTime,
    /// Round trip of the last ping, milliseconds; `None` before the first answer.
    pub rtt_ms: Option<f64>,
    /// How far its clock was ahead of this node's when the link began, milliseconds.
    pub clock_ahead_ms: i64,
    /// Whether blocks and transactions have a connection of their own, so that no vote waits behind them.
    pub bulk_apart: bool,
    /// Frames sent on the connections that stand.
    pub sent: u64,
    /// Frames received on them.
    pub received: u64,
    /// Frames that gave way to newer ones in a full queue of theirs.
    pub dropped: u64,
    /// Points on its account of offences; [`x0_limits::LINK_BAN_POINTS`] is a ban.
    pub penalties: u32,
}
