//! The node itself: its links to others.

use serde::{Deserialize, Serialize};

/// Who opened a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LinkDirection {
    /// The peer.
    In,
    /// This node.
    Out,
}

/// A peer with a standing link, one of the answer of `admin_peers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Fingerprint of its network key, hex without `0x`.
    pub peer_id: String,
    /// The other end of the link, `ip:port`.
    pub address: String,
    /// Who opened the link.
    pub direction: LinkDirection,
    /// Name and version of its software, as it says.
    pub software: String,
    /// The height that it told last.
    pub tip: u64,
    /// Since when the link stands, milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// Time of a ping and its answer, milliseconds; absent before the first answer.
    pub rtt_ms: Option<f64>,
    /// How far its clock was ahead of this node's when the link began, milliseconds.
    pub clock_ahead_ms: i64,
    /// Frames sent on this link.
    pub sent: u64,
    /// Frames received on this link.
    pub received: u64,
    /// Frames that gave way to newer ones in a full queue of this link.
    pub dropped: u64,
    /// Points on its account of offences.
    pub penalties: u32,
}
