//! Numbers about sockets, tunnel and loop.

use std::net::SocketAddr;

use crate::mesh::{realtime::PriorityReport, tun::TunnelOffloads, udp::Offloads};

/// One underlay as it was opened.
#[derive(Clone, Debug, serde::Serialize)]
pub struct UnderlayReport {
    /// Its number.
    pub id: u16,
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// The device that it is bound to.
    pub interface: Option<String>,
    /// Largest UDP payload that the device takes.
    pub payload_bytes_max: u16,
    /// What the socket can do.
    pub offloads: Offloads,
}

/// What the machine offers and what it refuses, for the log and for `status`.
#[derive(Clone, Debug, serde::Serialize)]
pub struct StartReport {
    /// The sockets.
    pub underlays: Vec<UnderlayReport>,
    /// The tunnel device, by its name and abilities.
    pub tunnel: Option<(String, TunnelOffloads)>,
    /// Priority and memory.
    pub priority: PriorityReport,
}

impl StartReport {
    /// Everything that is missing and what follows from it, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let sockets = self.underlays.iter().flat_map(|underlay| &underlay.offloads.warnings);
        let tunnel = self.tunnel.iter().flat_map(|(_, offloads)| &offloads.warnings);
        sockets.chain(tunnel).chain(&self.priority.warnings).cloned().collect()
    }
}

/// Counters since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct IoStatus {
    /// Turns of the loop.
    pub turns: u64,
    /// Datagrams read.
    pub datagrams_in: u64,
    /// Bytes of them.
    pub bytes_in: u64,
    /// Datagrams handed to the system.
    pub datagrams_out: u64,
    /// Bytes of them.
    pub bytes_out: u64,
    /// Datagrams dropped because the system's buffers were full.
    pub full: u64,
    /// Datagrams that the system refused for lack of a way.
    pub unreachable: u64,
    /// ICMP errors about datagrams of ours: counted and not believed, because anybody can send them.
    pub icmp: u64,
    /// Datagrams dropped because their source is denied.
    pub denied: u64,
    /// Datagrams that the kernel dropped because the loop was too slow to read them.
    pub overflowed: u64,
    /// Packets read from the tunnel, after segmentation.
    pub packets_out: u64,
    /// Packets written to the tunnel, before coalescing.
    pub packets_in: u64,
    /// Reads of the tunnel: fewer than `packets_out` by what segmentation gains.
    pub tunnel_reads: u64,
    /// Writes to the tunnel: fewer than `packets_in` by what coalescing gains.
    pub tunnel_writes: u64,
    /// Packets that the tunnel device refused.
    pub tunnel_errors: u64,
    /// Packets from the host that are not what their headers say.
    pub malformed: u64,
    /// Jobs handed to the job threads.
    pub jobs: u64,
    /// Jobs refused because too many waited.
    pub jobs_refused: u64,
    /// Outputs that the daemon did not fetch in time.
    pub outputs_lost: u64,
    /// Times that the loop came more than a heartbeat interval late.
    pub stalls: u64,
    /// The latest that the loop ever came, microseconds.
    pub late_us_max: u64,
    /// How late timers ran: counts below 64 us, 128 us, 256 us, and so on, the last without bound.
    pub late_histogram: [u64; 12],
    /// Times that the loop gave up its priority because its share was used up.
    pub demotions: u64,
    /// Times that the watch gave the loop its priority back for a timer that was due.
    pub rescues: u64,
}

impl IoStatus {
    /// Counts how late a timer ran.
    pub(super) fn late(&mut self, late_us: u64) {
        self.late_us_max = self.late_us_max.max(late_us);
        let bucket = usize::try_from((late_us >> 6).checked_ilog2().map_or(0, |log| log + 1)).unwrap_or(0);
        let last = self.late_histogram.len() - 1;
        self.late_histogram[bucket.min(last)] += 1;
    }
}

/// How the data thread ended.
#[derive(Clone, Debug, Default)]
pub struct StopReport {
    /// The counters at the end.
    pub status: IoStatus,
    /// Jobs that were not answered any more.
    pub jobs_dropped: usize,
}
