//! The loop.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Receiver,
    },
    time::Duration,
};

use std::os::fd::AsFd as _;
use tokio::sync::mpsc;
use x0_crypto::SigningKey;
use x0_mesh::{
    Time,
    node::{Mesh, UnderlayId},
};

use super::{
    MeshThread,
    handle::{Command, MeshHandle},
    jobs::{Finished, Jobs, reason},
    output::{Direction, OUTPUTS_MAX, Output, Outputs},
    sink::{Out, Port},
    stats::{StartReport, StopReport, UnderlayReport},
};
use crate::mesh::{
    config::{DeniedSource, MeshThreadConfig},
    error::{MeshIoError, Result},
    netlink::{Netlink, NetlinkEvent},
    realtime::{self, Governor, PriorityReport},
    sys::{self, Waker},
    tun::{Coalescer, Tunnel, TunnelBuffer, segment},
    udp::{Failure, ReceiveBuffers, SocketProblem, UnderlaySocket},
};

/// A loop that comes later than this after a timer has been stalled: two heartbeat intervals at the
/// fastest (mesh.md 3.5).
const STALL_US: u64 = 2_000;
/// Super-packets read from the tunnel in one turn: a bound on the turn, about 0.3 ms.
const TUNNEL_READS: usize = 8;
/// Rounds of reading before a timer that is due runs, when sockets hold more than one round's worth.
const CATCH_UP_ROUNDS: usize = 4;
/// Commands and answers of jobs taken in one turn.
const TAKEN_AT_ONCE: usize = 64;

/// The kernel filter's table of last arrivals (`ebpf`): what arrived while this thread did not run.
pub trait KernelSeen: Send {
    /// Calls `each` with every link tag and the monotonic time of its last frame.
    fn read(&mut self, each: &mut dyn FnMut(u32, Time));
}

/// Sockets and devices that are open.
pub struct Opened {
    sockets: Vec<UnderlaySocket>,
    tunnel: Option<Tunnel>,
    netlink: Netlink,
}

impl Opened {
    /// Opens everything in the calling thread's network namespace.
    ///
    /// # Errors
    /// What does not open.
    pub fn open(config: &MeshThreadConfig) -> Result<Self> {
        config.check()?;
        let sockets = config.underlays.iter().map(UnderlaySocket::open).collect::<Result<_>>()?;
        let tunnel = config.tunnel.as_ref().map(Tunnel::open).transpose()?;
        Ok(Self { sockets, tunnel, netlink: Netlink::open()? })
    }

    /// The underlays, with the ports that the system chose and the sizes that the devices take.
    #[must_use]
    pub fn underlays(&self) -> Vec<UnderlayReport> {
        self.sockets
            .iter()
            .map(|socket| UnderlayReport {
                id: socket.id.0,
                name: socket.name().to_owned(),
                listen: socket.local_addr(),
                interface: socket.interface().map(str::to_owned),
                payload_bytes_max: socket.payload_bytes_max(),
                offloads: socket.offloads().clone(),
            })
            .collect()
    }

    /// The tunnel device's name, as the kernel chose it.
    #[must_use]
    pub fn tunnel_name(&self) -> Option<&str> {
        self.tunnel.as_ref().map(Tunnel::name)
    }
}

/// Starts the threads.
pub fn start(
    config: &MeshThreadConfig,
    opened: Opened,
    mesh: Mesh,
    key: SigningKey,
    kernel_seen: Option<Box<dyn KernelSeen>>,
) -> Result<(MeshThread, Outputs)> {
    let priority = realtime::prepare(config.priority, config.lock_memory);
    let tunnel = opened.tunnel.as_ref().map(|tunnel| (tunnel.name().to_owned(), tunnel.offloads().clone()));
    let report = StartReport { underlays: opened.underlays(), tunnel, priority: priority.clone() };
    let waker = Arc::new(Waker::new()?);
    let stop = Arc::new(AtomicBool::new(false));
    let (handle, commands) = MeshHandle::new(Arc::clone(&waker));
    let jobs = Jobs::start(config.job_threads, &key, &waker)?;
    let (sender, outputs) = mpsc::channel(OUTPUTS_MAX);
    let tunnel = opened.tunnel.map(|tunnel| {
        let coalescer = Coalescer::new(tunnel.offloads().udp);
        (tunnel, coalescer)
    });
    let ports: Vec<Port> = opened.sockets.into_iter().map(Port::new).collect();
    let carriers = vec![true; ports.len()];
    let data = DataThread {
        mesh,
        out: Out::new(ports, tunnel, jobs, sender, sys::now()),
        netlink: opened.netlink,
        carriers,
        denied: Vec::new(),
        received: ReceiveBuffers::default(),
        read: TunnelBuffer::default(),
        commands,
        waker,
        stop: Arc::clone(&stop),
        kernel_seen,
        more: false,
        last_turn: sys::now(),
    };
    let configured = config.priority;
    let thread = std::thread::Builder::new()
        .name("x0-mesh-data".into())
        .spawn(move || data.contained(configured, &priority))
        .map_err(|source| MeshIoError::System { call: "the data thread", source })?;
    Ok((MeshThread { handle, report, stop, data: Some(thread) }, outputs))
}

/// Everything that the data thread owns.
struct DataThread {
    mesh: Mesh,
    out: Out,
    netlink: Netlink,
    /// What each underlay's device said last.
    carriers: Vec<bool>,
    denied: Vec<DeniedSource>,
    received: ReceiveBuffers,
    read: TunnelBuffer,
    commands: Receiver<Command>,
    waker: Arc<Waker>,
    stop: Arc<AtomicBool>,
    kernel_seen: Option<Box<dyn KernelSeen>>,
    /// Something was left for the next turn.
    more: bool,
    /// When the last turn began. A timer that was due before has been set backwards since, as when traffic
    /// wakes an idle link: it is not late.
    last_turn: Time,
}

impl DataThread {
    fn contained(mut self, priority: crate::mesh::config::Priority, report: &PriorityReport) -> Result<StopReport> {
        // After a panic the thread ends and its state is dropped: nothing half-changed is used again.
        let result = catch_unwind(AssertUnwindSafe(|| self.run(priority, report)));
        let (status, jobs_dropped) = self.out.stop();
        match result {
            Ok(Ok(())) => Ok(StopReport { status, jobs_dropped }),
            Ok(Err(error)) => Err(error),
            Err(panic) => Err(MeshIoError::Panicked { thread: "data", reason: reason(&*panic) }),
        }
    }

    fn run(&mut self, priority: crate::mesh::config::Priority, report: &PriorityReport) -> Result<()> {
        let mut governor = Governor::start(priority, report)?;
        while !self.stop.load(Ordering::Acquire) {
            self.turn(&mut governor)
                .map_err(|source| MeshIoError::System { call: "the data thread's turn", source })?;
        }
        self.out.flush();
        Ok(())
    }

    fn turn(&mut self, governor: &mut Governor) -> io::Result<()> {
        let before = sys::now();
        let deadline = self.mesh.deadline();
        let timeout = if self.more {
            Some(Duration::ZERO)
        } else {
            deadline.map(|deadline| Duration::from_nanos(deadline.since_ns(before)))
        };
        governor.before_wait(before, timeout != Some(Duration::ZERO), deadline);
        let mut entries = [libc::pollfd { fd: -1, events: 0, revents: 0 }; 3 + crate::mesh::config::UNDERLAYS_MAX];
        entries[0] = sys::poll_entry(self.waker.as_fd(), libc::POLLIN);
        entries[1] = sys::poll_entry(self.netlink.as_fd(), libc::POLLIN);
        if let Some((tunnel, _)) = &self.out.tunnel {
            entries[2] = sys::poll_entry(tunnel.as_fd(), libc::POLLIN);
        }
        for (entry, port) in entries.iter_mut().skip(3).zip(&self.out.ports) {
            *entry = sys::poll_entry(port.socket.as_fd(), libc::POLLIN);
        }
        let count = 3 + self.out.ports.len();
        sys::poll(entries.get_mut(..count).unwrap_or_default(), timeout)?;
        let now = sys::now();
        governor.after_wait(now);
        self.out.now = now;
        self.out.status.turns += 1;
        self.out.status.demotions = governor.demotions();
        self.out.status.rescues = governor.rescues();
        self.more = false;

        let due = deadline.filter(|deadline| now >= *deadline);
        let late_us = due.map(|deadline| now.since_ns(deadline.max(self.last_turn)) / 1_000);
        self.last_turn = now;
        if let Some(late_us) = late_us {
            self.out.status.late(late_us);
            if late_us > STALL_US {
                self.out.status.stalls += 1;
                self.out.say(Output::Stalled { late_us });
                self.ask_kernel();
            }
        }
        if entries[0].revents != 0 {
            self.waker.clear();
            self.take_commands(now);
        }
        self.take_answers();
        if entries[1].revents != 0 {
            self.take_events()?;
        }
        self.take_datagrams(&entries[3..count])?;
        // A timer that is due goes before the host's own packets, and after everything that has arrived.
        self.run_timers(late_us.is_some())?;
        if entries[2].revents != 0 {
            self.take_packets()?;
        }
        self.mesh.flush(self.out.now, &mut self.out);
        self.out.flush();
        self.take_failures();
        Ok(())
    }

    /// Takes the time anew; a turn may last half a millisecond.
    fn tell_time(&mut self) -> Time {
        self.out.now = sys::now();
        self.out.now
    }

    fn ask_kernel(&mut self) {
        if let Some(seen) = &mut self.kernel_seen {
            seen.read(&mut |tag, at| self.mesh.kernel_seen(tag, at));
        }
    }

    fn take_commands(&mut self, now: Time) {
        for _ in 0..TAKEN_AT_ONCE {
            match self.commands.try_recv() {
                Ok(Command::Mesh(work)) => work(&mut self.mesh, now, &mut self.out),
                Ok(Command::Deny(sources)) => self.denied = sources,
                Ok(Command::Capture(request)) => self.out.set_capture(request, now),
                Ok(Command::Status(answer)) => {
                    self.out.status.overflowed =
                        self.out.ports.iter().map(|port| u64::from(port.socket.overflowed())).sum();
                    // Who asked may have given up.
                    let _ = answer.send(self.out.status.clone());
                }
                // Without handles there are no commands; the thread goes on until it is stopped.
                Err(_) => return,
            }
            self.out.flush_urgent();
        }
        self.waker.wake();
    }

    /// Hands in finished and refused jobs.
    fn take_answers(&mut self) {
        for _ in 0..TAKEN_AT_ONCE {
            match self.out.jobs.next() {
                Some(Finished::Done(done)) => self.mesh.complete(self.out.now, done, &mut self.out),
                Some(Finished::Panicked(words)) => self.out.say(Output::JobPanicked(words)),
                None => break,
            }
        }
        // Refusing may make the mesh try others, which are refused in the next turn.
        for done in std::mem::take(&mut self.out.refused) {
            self.mesh.complete(self.out.now, done, &mut self.out);
        }
        self.more |= !self.out.refused.is_empty();
        self.out.flush_urgent();
    }

    fn take_events(&mut self) -> io::Result<()> {
        let mut events = Vec::new();
        self.netlink.events(&mut events)?;
        for event in events {
            match event {
                NetlinkEvent::Address { .. } => self.out.say(Output::AddressesChanged),
                NetlinkEvent::Link { name, up, .. } => self.take_carrier(&name, up),
            }
        }
        self.out.flush_urgent();
        Ok(())
    }

    fn take_carrier(&mut self, device: &str, up: bool) {
        for index in 0..self.out.ports.len() {
            let socket = &mut self.out.ports[index].socket;
            if socket.interface() != Some(device) || self.carriers.get(index) == Some(&up) {
                continue;
            }
            if up {
                // A device that was made anew has another number, which the socket is not bound to yet.
                let _ = socket.bind_again();
            }
            let (id, underlay) = (socket.id, socket.name().to_owned());
            self.carriers[index] = up;
            self.mesh.carrier(self.out.now, id, up, &mut self.out);
            self.out.say(Output::Carrier { underlay, up });
        }
    }

    fn take_datagrams(&mut self, entries: &[libc::pollfd]) -> io::Result<()> {
        for (index, entry) in entries.iter().enumerate() {
            if entry.revents & libc::POLLERR != 0 {
                self.take_problems(index);
            }
            if entry.revents & (libc::POLLIN | libc::POLLERR) != 0 {
                self.more |= self.receive(index)?;
            }
        }
        Ok(())
    }

    /// Hands in one round of one socket's datagrams; says whether the socket holds more.
    fn receive(&mut self, index: usize) -> io::Result<bool> {
        let Some(port) = self.out.ports.get_mut(index) else { return Ok(false) };
        let id = port.socket.id;
        let filled = port.socket.receive(&mut self.received)?;
        let now = self.tell_time();
        for buffer in 0..filled {
            let socket = &self.out.ports[index].socket;
            let Some(mut datagrams) = socket.datagrams(&mut self.received, buffer) else { continue };
            if !self.denied.is_empty() && self.denied.iter().any(|denied| denied.holds(datagrams.from.ip())) {
                self.out.status.denied += datagrams.each().count() as u64;
                continue;
            }
            let (from, received) = (datagrams.from, datagrams.received);
            for bytes in datagrams.each() {
                self.out.status.datagrams_in += 1;
                self.out.status.bytes_in += bytes.len() as u64;
                self.mesh.datagram(now, received, id, from, bytes, &mut self.out);
            }
            self.out.flush_urgent();
        }
        Ok(filled == crate::mesh::udp::BUFFERS)
    }

    fn take_problems(&mut self, index: usize) {
        let mut problems = Vec::new();
        let Some(port) = self.out.ports.get(index) else { return };
        let id = port.socket.id;
        port.socket.problems(&mut problems);
        for problem in problems {
            match problem {
                SocketProblem::Unreachable(to) => self.out.failures.push((id, Failure::Unreachable(to))),
                // The number is the most that fits: one byte more does not.
                SocketProblem::TooLong(to, mtu) => {
                    let bytes = usize::try_from(mtu).unwrap_or(usize::MAX).saturating_add(1);
                    self.out.failures.push((id, Failure::TooLong(to, bytes)));
                }
                SocketProblem::Icmp(_) => self.out.status.icmp += 1,
            }
        }
    }

    /// Runs the timers that are due, after the sockets have been read empty or for as many rounds as
    /// a bounded turn allows.
    fn run_timers(&mut self, was_due: bool) -> io::Result<()> {
        let due = |thread: &Self| thread.mesh.deadline().is_some_and(|deadline| deadline <= thread.out.now);
        self.tell_time();
        if !was_due && !due(self) {
            return Ok(());
        }
        for _ in 0..CATCH_UP_ROUNDS {
            if !self.more {
                break;
            }
            self.more = false;
            for index in 0..self.out.ports.len() {
                self.more |= self.receive(index)?;
            }
        }
        let now = self.tell_time();
        self.mesh.tick(now, &mut self.out);
        self.out.flush_urgent();
        Ok(())
    }

    fn take_packets(&mut self) -> io::Result<()> {
        for _ in 0..TUNNEL_READS {
            let Some((tunnel, _)) = &self.out.tunnel else { return Ok(()) };
            let Some((header, bytes)) = tunnel.read(&mut self.read)? else { return Ok(()) };
            self.out.status.tunnel_reads += 1;
            let (mesh, out) = (&mut self.mesh, &mut self.out);
            let cut = segment(&header, bytes, |packet| {
                out.status.packets_out += 1;
                out.note_packet(Direction::Out, None, packet);
                mesh.packet(out.now, packet, out);
            });
            if cut.is_err() {
                self.out.status.malformed += 1;
            }
            self.out.flush_urgent();
        }
        self.more = true;
        Ok(())
    }

    /// Tells the mesh what did not leave. What that makes it send fails in the next turn.
    fn take_failures(&mut self) {
        if self.out.failures.is_empty() {
            return;
        }
        let now = self.tell_time();
        for (underlay, failure) in std::mem::take(&mut self.out.failures) {
            self.tell_failure(now, underlay, failure);
        }
        self.out.flush();
        self.more |= !self.out.failures.is_empty();
    }

    fn tell_failure(&mut self, now: Time, underlay: UnderlayId, failure: Failure) {
        match failure {
            Failure::Unreachable(to) => self.mesh.send_failed(now, underlay, to, &mut self.out),
            Failure::TooLong(to, bytes) => self.mesh.too_long(now, underlay, to, bytes),
            Failure::Full(_) => {}
        }
    }
}
