//! The measuring stream: a packet each way every millisecond, with a number and a stamp.
//!
//! ```text
//!   one real-time thread:  send number n on both sockets  |  wait, at most until n + 1 is due  |  read both
//!   socket in namespace a  <------ the system under test ------>  socket in namespace b
//! ```
//!
//! Arrivals of datagrams carry the kernel's own stamp, so that the prober's stalls do not look like the system's. Where
//! the prober itself came late, [`Record::stalls`] says when and for how long.

use crate::realtime::{self, MILLISECOND_NS, now_ns};
use crate::stream::Messages;
use anyhow::{Context as _, Result, anyhow, ensure};
use std::{
    io, mem,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use x0_test_support::netns::Namespace;

/// Distance of two packets of a direction.
pub const PERIOD_NS: u64 = MILLISECOND_NS;
/// Bytes of a packet's payload: with UDP and IPv4 headers 200, like a voice packet.
pub const PAYLOAD_BYTES: usize = 172;
/// From here on the prober's own lateness is noted.
const STALL_NS: u64 = 1_500_000;
/// How many missed packets are sent at once after a stall; the rest is skipped.
const CATCH_UP: u64 = 5;
/// How long the first packet may take.
const FIRST_PATIENCE: Duration = Duration::from_secs(40);

/// What carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Messages on a TCP connection.
    Tcp,
    /// Messages on a multipath TCP connection.
    Mptcp,
}

/// Between whom the stream flows.
#[derive(Clone, Debug)]
pub struct Ends {
    /// Namespace and address of `a`.
    pub a: (Namespace, IpAddr),
    /// Namespace and address of `b`.
    pub b: (Namespace, IpAddr),
    /// What carries it.
    pub transport: Transport,
}

/// One packet of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// When it was sent.
    pub sent_ns: u64,
    /// When its first copy arrived; zero if none did.
    pub arrived_ns: u64,
    /// Copies that arrived.
    pub copies: u32,
}

/// When the prober itself did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stall {
    /// When it should have.
    pub due_ns: u64,
    /// How much later it did.
    pub late_ns: u64,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Packets from `a` to `b` by number, and from `b` to `a`.
    pub directions: [Vec<Packet>; 2],
    /// The prober's own stalls.
    pub stalls: Vec<Stall>,
    /// Whether the prober had real-time priority.
    pub realtime: bool,
    /// Packets that the system refused to send.
    pub refused: u64,
}

/// A running stream.
#[derive(Debug)]
pub struct Prober {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Record>>>,
}

impl Prober {
    /// Waits until packets pass in both directions, then starts the stream; there is room for so many seconds of it.
    ///
    /// # Errors
    /// When nothing passes, or the addresses are not there.
    pub fn start(ends: &Ends, seconds_max: u64) -> Result<Self> {
        let mut wires = Wires::open(ends)?;
        wires.first_packets()?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let room = usize::try_from(seconds_max * (realtime::SECOND_NS / PERIOD_NS))?;
        let thread = std::thread::Builder::new().name("lab-prober".into()).spawn(move || {
            let mut record =
                Record { directions: [Vec::with_capacity(room), Vec::with_capacity(room)], ..Record::default() };
            record.realtime = realtime::become_realtime(realtime::PRIORITY).is_ok();
            probe(&mut wires, &mut record, room, &told)?;
            Ok(record)
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Whether it still runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Ends the stream, after a last look for packets under way.
    ///
    /// # Errors
    /// When a socket broke.
    pub fn finish(mut self) -> Result<Record> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("a prober ends once")?;
        thread.join().map_err(|_| anyhow!("the prober panicked"))?
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Only after a failure elsewhere, which is the one to report.
            let _ = thread.join();
        }
    }
}

fn probe(wires: &mut Wires, record: &mut Record, room: usize, stop: &AtomicBool) -> Result<()> {
    let mut due = now_ns() + PERIOD_NS;
    while !stop.load(Ordering::Relaxed) && record.directions[0].len() < room {
        let now = now_ns();
        if now >= due {
            if now - due > STALL_NS {
                record.stalls.push(Stall { due_ns: due, late_ns: now - due });
                due = due.max(now.saturating_sub(CATCH_UP * PERIOD_NS));
            }
            due += PERIOD_NS;
            wires.send(record);
        }
        wires.receive(record)?;
        wires.wait(due);
    }
    // What is under way gets a moment to arrive.
    let end = now_ns() + 300 * MILLISECOND_NS;
    while now_ns() < end {
        wires.receive(record)?;
        wires.wait(end);
    }
    Ok(())
}

/// The two ends of the stream.
#[derive(Debug)]
enum Wires {
    Datagrams { sockets: [UdpSocket; 2], to: [SocketAddr; 2] },
    Messages([Messages; 2]),
}

impl Wires {
    fn open(ends: &Ends) -> Result<Self> {
        if ends.transport != Transport::Udp {
            return Ok(Self::Messages(Messages::pair(ends)?));
        }
        let open = |(namespace, address): &(Namespace, IpAddr)| {
            let address = *address;
            namespace.inside(move || {
                let socket = UdpSocket::bind((address, 0)).with_context(|| format!("a socket at {address}"))?;
                socket.set_nonblocking(true)?;
                stamped(&socket)?;
                Ok(socket)
            })
        };
        let sockets = [open(&ends.a)?, open(&ends.b)?];
        let to = [sockets[1].local_addr()?, sockets[0].local_addr()?];
        Ok(Self::Datagrams { sockets, to })
    }

    /// Sends until a packet of each direction arrives, and then reads what is left.
    fn first_packets(&mut self) -> Result<()> {
        let Self::Datagrams { .. } = self else { return Ok(()) };
        let deadline = Instant::now() + FIRST_PATIENCE;
        let mut record = Record::default();
        while record.directions.iter().any(|packets| packets.iter().all(|packet| packet.arrived_ns == 0)) {
            ensure!(Instant::now() < deadline, "no packet passes between the ends");
            self.send(&mut record);
            std::thread::sleep(Duration::from_millis(20));
            self.receive(&mut record)?;
        }
        // Late first packets would count as copies of the stream's own.
        std::thread::sleep(Duration::from_millis(300));
        self.receive(&mut record)
    }

    fn send(&mut self, record: &mut Record) {
        for side in 0..2 {
            let number = record.directions[side].len();
            let payload = payload(number);
            record.directions[side].push(Packet { sent_ns: now_ns(), ..Packet::default() });
            let sent = match self {
                Self::Datagrams { sockets, to } => sockets[side].send_to(&payload, to[side]).is_ok(),
                Self::Messages(ends) => ends[side].send(&payload),
            };
            record.refused += u64::from(!sent);
        }
    }

    fn receive(&mut self, record: &mut Record) -> Result<()> {
        // What arrives at an end belongs to the other direction.
        for side in 0..2 {
            let packets = &mut record.directions[1 - side];
            match self {
                Self::Datagrams { sockets, .. } => {
                    let mut buffer = [0; PAYLOAD_BYTES];
                    while let Some((bytes, arrived_ns)) = receive(&sockets[side], &mut buffer)? {
                        note(packets, &buffer[..bytes], arrived_ns);
                    }
                }
                Self::Messages(ends) => ends[side].receive(|message, at| note(packets, message, at))?,
            }
        }
        Ok(())
    }

    fn wait(&self, until_ns: u64) {
        let descriptors = match self {
            Self::Datagrams { sockets, .. } => [sockets[0].as_raw_fd(), sockets[1].as_raw_fd()],
            Self::Messages(ends) => [ends[0].descriptor(), ends[1].descriptor()],
        };
        let mut polled = descriptors.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
        let left = until_ns.saturating_sub(now_ns()).min(realtime::SECOND_NS - 1);
        let time = libc::timespec { tv_sec: 0, tv_nsec: libc::c_long::try_from(left).unwrap_or(0) };
        // SAFETY: the array and the time are locals that live during the call, with the array's own length.
        unsafe { libc::ppoll(polled.as_mut_ptr(), 2, &raw const time, std::ptr::null()) };
    }
}

fn payload(number: usize) -> [u8; PAYLOAD_BYTES] {
    let mut payload = [0; PAYLOAD_BYTES];
    payload[..8].copy_from_slice(&number.to_be_bytes());
    payload
}

fn note(packets: &mut [Packet], payload: &[u8], arrived_ns: u64) {
    let number = payload.first_chunk().map(|bytes| usize::from_be_bytes(*bytes));
    if let Some(packet) = number.and_then(|number| packets.get_mut(number)) {
        packet.copies += 1;
        if packet.arrived_ns == 0 {
            packet.arrived_ns = arrived_ns;
        }
    }
}

/// Asks for the kernel's stamp with every datagram.
fn stamped(socket: &UdpSocket) -> Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the pointer is to a local of the given size that lives during the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            libc::socklen_t::try_from(mem::size_of_val(&on))?,
        )
    };
    ensure!(result == 0, "stamps of arrivals: {}", io::Error::last_os_error());
    Ok(())
}

/// Room for one control message with a `timespec`, aligned for its header.
type Control = [u64; 8];

/// Reads a datagram, and when the kernel got it on the monotonic clock.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Result<Option<(usize, u64)>> {
    let mut control: Control = [0; 8];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `msghdr` is plain data for which zeroes are valid.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = mem::size_of::<Control>();
    // SAFETY: the message points to locals that live during the call, with their own lengths.
    let bytes = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    let Ok(bytes) = usize::try_from(bytes) else {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
            // What the network said about an earlier packet, which counts as lost.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Ok(None)
            }
            _ => Err(error).context("reading a probe"),
        };
    };
    let mut arrived = now_ns();
    // SAFETY: the kernel has filled the message; the macro's successor checks the length that it wrote.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: a header that is not null lies within `control`, which is aligned for it.
    if let Some(header) = unsafe { header.as_ref() }
        && header.cmsg_level == libc::SOL_SOCKET
        && header.cmsg_type == libc::SCM_TIMESTAMPNS
    {
        // SAFETY: a message of this type carries a `timespec`, and there was room for it.
        let stamp: libc::timespec = unsafe { std::ptr::read_unaligned(libc::CMSG_DATA(header).cast()) };
        let wall = u64::try_from(stamp.tv_sec)? * realtime::SECOND_NS + u64::try_from(stamp.tv_nsec)?;
        // A stamp of the future would be a stepped wall clock; the time of reading is then the better one.
        arrived = wall.saturating_sub(realtime::wall_ahead_ns()).min(arrived);
    }
    Ok(Some((bytes, arrived)))
}
