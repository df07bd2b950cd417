//! What the mesh says while it works, on its way to sockets, tunnel, job threads and daemon.

use std::net::SocketAddr;

use tokio::sync::mpsc;
use x0_mesh::{
    NodeId, Time,
    node::{Event, Job, JobDone, Sink, UnderlayId, Urgency},
};

use super::{
    jobs::Jobs,
    output::{CAPTURED_BYTES_MAX, CaptureRequest, Captured, Direction, Output},
    stats::IoStatus,
};
use crate::mesh::{
    tun::{Coalescer, Tunnel},
    udp::{Batches, Failure, UnderlaySocket},
};

/// One underlay's socket and what waits for it.
pub struct Port {
    /// The socket.
    pub socket: UnderlaySocket,
    urgent: Batches,
    data: Batches,
}

impl Port {
    /// A socket for which nothing waits.
    pub fn new(socket: UnderlaySocket) -> Self {
        Self { socket, urgent: Batches::default(), data: Batches::default() }
    }
}

/// A capture that runs.
struct Capture {
    request: CaptureRequest,
    until: Time,
    left: u64,
}

/// Takes what comes out of the mesh.
pub struct Out {
    /// The sockets.
    pub ports: Vec<Port>,
    /// The tunnel device.
    pub tunnel: Option<(Tunnel, Coalescer)>,
    /// The job threads.
    pub jobs: Jobs,
    /// Jobs that the queue did not take, to be answered at once.
    pub refused: Vec<JobDone>,
    /// Datagrams that did not leave, by underlay.
    pub failures: Vec<(UnderlayId, Failure)>,
    /// Counters.
    pub status: IoStatus,
    /// The time of the call into the mesh.
    pub now: Time,
    outputs: mpsc::Sender<Output>,
    lost: u64,
    capture: Option<Capture>,
    urgent_waits: bool,
    scratch: Vec<Failure>,
}

impl Out {
    /// Sinks into these.
    pub fn new(
        ports: Vec<Port>,
        tunnel: Option<(Tunnel, Coalescer)>,
        jobs: Jobs,
        outputs: mpsc::Sender<Output>,
        now: Time,
    ) -> Self {
        Self {
            ports,
            tunnel,
            jobs,
            refused: Vec::new(),
            failures: Vec::new(),
            status: IoStatus::default(),
            now,
            outputs,
            lost: 0,
            capture: None,
            urgent_waits: false,
            scratch: Vec::new(),
        }
    }

    /// Sends what other nodes judge paths by; called after each piece of work.
    pub fn flush_urgent(&mut self) {
        if std::mem::take(&mut self.urgent_waits) {
            for port in &mut self.ports {
                port.urgent.flush(&mut port.socket, &mut self.scratch);
                take_failures(&mut self.scratch, port.socket.id, &mut self.failures, &mut self.status);
            }
        }
    }

    /// Sends and writes everything that waits.
    pub fn flush(&mut self) {
        self.flush_urgent();
        for port in &mut self.ports {
            port.data.flush(&mut port.socket, &mut self.scratch);
            take_failures(&mut self.scratch, port.socket.id, &mut self.failures, &mut self.status);
        }
        let Self { tunnel, status, .. } = self;
        if let Some((tunnel, coalescer)) = tunnel {
            coalescer.flush(|bytes| write(tunnel, bytes, status));
        }
    }

    /// Says something to the daemon; never waits.
    pub fn say(&mut self, output: Output) {
        if self.lost > 0 && self.outputs.try_send(Output::Lost(self.lost)).is_ok() {
            self.lost = 0;
        }
        if self.outputs.try_send(output).is_err() {
            self.lost += 1;
            self.status.outputs_lost += 1;
        }
    }

    /// Starts or ends a capture.
    pub fn set_capture(&mut self, request: Option<CaptureRequest>, now: Time) {
        if self.capture.is_some() {
            self.say(Output::CaptureEnded);
        }
        self.capture = request.map(|request| Capture {
            request,
            until: now.plus_ms(request.duration_ms),
            left: request.packets_max,
        });
    }

    /// Notes a packet's headers while a capture runs.
    pub fn note_packet(&mut self, direction: Direction, from: Option<&NodeId>, packet: &[u8]) {
        let Some(capture) = &mut self.capture else { return };
        if capture.left == 0 || self.now >= capture.until {
            self.capture = None;
            self.say(Output::CaptureEnded);
            return;
        }
        if capture.request.from.is_some() && capture.request.from.as_ref() != from {
            return;
        }
        capture.left -= 1;
        let header = packet.get(..header_bytes(packet)).unwrap_or(packet).to_vec();
        let (at, packet_bytes) = (self.now, packet.len());
        self.say(Output::Captured(Captured { at, direction, from: from.copied(), packet_bytes, header }));
    }

    /// Ends the job threads; says how many jobs were not answered.
    pub fn stop(self) -> (IoStatus, usize) {
        (self.status, self.jobs.stop())
    }
}

/// Bytes of a packet that are headers: a capture shows no payload.
fn header_bytes(packet: &[u8]) -> usize {
    let (ip_bytes, protocol) = match packet.first().map(|first| first >> 4) {
        Some(4) => (usize::from(packet[0] & 0x0f) * 4, packet.get(9)),
        Some(6) => (40, packet.get(6)),
        _ => return 0,
    };
    let transport_bytes = match protocol {
        Some(6) => packet.get(ip_bytes + 12).map_or(0, |offset| usize::from(offset >> 4) * 4),
        Some(1 | 17 | 58) => 8,
        _ => 0,
    };
    (ip_bytes + transport_bytes).min(CAPTURED_BYTES_MAX).min(packet.len())
}

fn take_failures(
    scratch: &mut Vec<Failure>,
    underlay: UnderlayId,
    failures: &mut Vec<(UnderlayId, Failure)>,
    status: &mut IoStatus,
) {
    for failure in scratch.drain(..) {
        match failure {
            Failure::Full(count) => status.full += count as u64,
            Failure::Unreachable(_) => status.unreachable += 1,
            Failure::TooLong(..) => {}
        }
        // A full buffer says nothing about a path; and one datagram of many says as much as all of them.
        if !matches!(failure, Failure::Full(_)) && failures.last() != Some(&(underlay, failure)) {
            failures.push((underlay, failure));
        }
    }
}

fn write(tunnel: &Tunnel, bytes: &[u8], status: &mut IoStatus) {
    status.tunnel_writes += 1;
    if tunnel.write(bytes).is_err() {
        // The host's stack has no room or does not like this packet; the next may pass.
        status.tunnel_errors += 1;
    }
}

impl Sink for Out {
    fn send(&mut self, underlay: UnderlayId, to: SocketAddr, urgency: Urgency, bytes: &[u8]) {
        let Some(port) = self.ports.iter_mut().find(|port| port.socket.id == underlay) else {
            self.failures.push((underlay, Failure::Unreachable(to)));
            return;
        };
        self.status.datagrams_out += 1;
        self.status.bytes_out += bytes.len() as u64;
        match urgency {
            Urgency::Now => {
                port.urgent.push(&mut port.socket, to, bytes, &mut self.scratch);
                self.urgent_waits = true;
            }
            Urgency::Data => port.data.push(&mut port.socket, to, bytes, &mut self.scratch),
            Urgency::Sized => port.socket.send_now(to, bytes, &mut self.scratch),
        }
        if !self.scratch.is_empty() {
            take_failures(&mut self.scratch, underlay, &mut self.failures, &mut self.status);
        }
    }

    fn deliver(&mut self, from: &NodeId, packet: &[u8]) {
        self.status.packets_in += 1;
        if self.capture.is_some() {
            self.note_packet(Direction::In, Some(from), packet);
        }
        let Self { tunnel, status, .. } = self;
        if let Some((tunnel, coalescer)) = tunnel {
            coalescer.push(packet, |bytes| write(tunnel, bytes, status));
        }
    }

    fn job(&mut self, job: Job) {
        self.status.jobs += 1;
        if let Some(refusal) = self.jobs.push(job) {
            self.status.jobs_refused += 1;
            self.refused.push(refusal);
        }
    }

    fn event(&mut self, event: Event) {
        let now = self.now;
        self.say(Output::Mesh(now, event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_holds_headers_and_no_payload() {
        let mut tcp = vec![0xaa; 200];
        (tcp[0], tcp[6], tcp[52]) = (0x60, 6, 0x80);
        assert_eq!(header_bytes(&tcp), 40 + 32);
        let mut udp = vec![0xaa; 200];
        (udp[0], udp[9]) = (0x45, 17);
        assert_eq!(header_bytes(&udp), 28);
        let mut unknown = vec![0xaa; 200];
        (unknown[0], unknown[6]) = (0x60, 200);
        assert_eq!(header_bytes(&unknown), 40);
        assert_eq!(header_bytes(&udp[..10]), 10);
        assert_eq!((header_bytes(&[]), header_bytes(&[0x10; 30])), (0, 0));
    }
}
