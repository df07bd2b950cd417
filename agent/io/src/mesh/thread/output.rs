//! What the data thread says to the daemon.

use tokio::sync::mpsc;
use x0_mesh::{NodeId, Time, node::Event};

/// Most outputs that wait for the daemon; what does not fit is counted in [`super::IoStatus`].
pub const OUTPUTS_MAX: usize = 4_096;
/// Bytes of a captured header at most: IPv6 and the longest TCP header.
pub const CAPTURED_BYTES_MAX: usize = 100;

/// Where the data thread's outputs arrive.
pub type Outputs = mpsc::Receiver<Output>;

/// Something that the data thread says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Output {
    /// The mesh says what happened.
    Mesh(Time, Event),
    /// Earlier outputs were lost because the queue was full, this many. Whoever follows tags asks the
    /// mesh anew.
    Lost(u64),
    /// An underlay's device got or lost its carrier.
    Carrier {
        /// The underlay's name.
        underlay: String,
        /// Whether it carries now.
        up: bool,
    },
    /// Addresses of some interface changed: locators may be stale.
    AddressesChanged,
    /// The loop came later than it wanted by more than a heartbeat interval.
    Stalled {
        /// How late, microseconds.
        late_us: u64,
    },
    /// A header, while a capture runs.
    Captured(Captured),
    /// The capture ended: its time or its packets are used up.
    CaptureEnded,
    /// A job panicked. It is not answered; the handshake that asked tries again.
    JobPanicked(String),
}

/// What to capture. Payload is never captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureRequest {
    /// Packets after which it ends.
    pub packets_max: u64,
    /// Milliseconds after which it ends.
    pub duration_ms: u64,
    /// Only packets to or from this peer; only for packets that come in, because the peer of a packet
    /// that goes out is known by the mesh alone.
    pub from: Option<NodeId>,
}

/// Which way a captured packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the mesh to this host.
    In,
    /// From this host into the mesh.
    Out,
}

/// The headers of one inner packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// When it passed the data thread.
    pub at: Time,
    /// Which way.
    pub direction: Direction,
    /// Who sent it, for packets that come in.
    pub from: Option<NodeId>,
    /// Bytes of the whole packet.
    pub packet_bytes: usize,
    /// IP and transport header, without payload.
    pub header: Vec<u8>,
}
