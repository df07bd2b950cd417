//! One UDP socket for each underlay.
//!
//! ```text
//!   Mesh --send--> Batches (equal sizes, one destination) --sendmsg + UDP_SEGMENT--> device
//!   device --recvmmsg + UDP_GRO, kernel stamps--> split --> Mesh
//!   the device's own refusals --MSG_ERRQUEUE--> Mesh::send_failed, Mesh::too_long; ICMP is counted
//! ```
//!
//! # Correctness
//! * A batch keeps the order of the datagrams to one destination, except that urgent datagrams overtake.
//! * A datagram leaves with "don't fragment" and with no regard to what ICMP says about the path
//!   (`IP_PMTUDISC_PROBE`): sizes are found by the protocol's own authenticated probes.
//! * Stamps of arrival lie between the last moment at which the socket was seen empty and now, so that a
//!   step of the wall clock cannot invent or hide silence.
//! * What the kernel lacks is found at start ([`Offloads`]) or at first use, and reported.

mod address;
mod control;
mod errors;
mod receive;
mod send;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
};

use x0_mesh::{Time, node::UnderlayId};

use crate::mesh::{
    config::UnderlayConfig,
    error::{MeshIoError, Result},
    sys,
};

use address::RawAddress;
pub use errors::SocketProblem;
pub use receive::{BUFFERS, Datagrams, ReceiveBuffers};
pub use send::{Batches, Failure};

/// Bytes that a socket's buffers should hold each way: 20 ms at 1.6 Gbit/s.
pub const SOCKET_BUFFER_BYTES: libc::c_int = 4 << 20;

/// What one socket can do on this kernel, with this process's rights.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Offloads {
    /// Many datagrams leave with one call (`UDP_SEGMENT`, Linux 4.18).
    pub gso: bool,
    /// Many datagrams arrive with one call (`UDP_GRO`, Linux 5.0).
    pub gro: bool,
    /// The kernel stamps arrivals (`SO_TIMESTAMPNS`).
    pub stamps: bool,
    /// The kernel says which local address a datagram came to.
    pub packet_info: bool,
    /// ICMP errors are read (`IP_RECVERR`).
    pub error_queue: bool,
    /// "Don't fragment" holds (`IP_PMTUDISC_PROBE`).
    pub dont_fragment: bool,
    /// Bytes of the receive buffer, as the kernel counts them.
    pub receive_buffer_bytes: u32,
    /// Bytes of the send buffer, as the kernel counts them.
    pub send_buffer_bytes: u32,
    /// What is missing and what follows from it, one sentence each.
    pub warnings: Vec<String>,
}

/// The socket of one underlay.
#[derive(Debug)]
pub struct UnderlaySocket {
    /// The underlay's number.
    pub id: UnderlayId,
    name: String,
    descriptor: OwnedFd,
    is_v6: bool,
    /// Whether the socket hears several local addresses, so that answers name theirs.
    unspecified: bool,
    local: SocketAddr,
    interface: Option<String>,
    payload_bytes_max: u16,
    offloads: Offloads,
    /// When the socket was last seen empty: nothing that is read later arrived before.
    empty_at: Time,
    /// Datagrams that the kernel dropped because the buffer was full.
    overflowed: u32,
    sources: send::Sources,
    /// Sender, stamp and segment size of each buffer that the last call filled.
    notes: Vec<receive::Note>,
}

impl UnderlaySocket {
    /// Opens the socket of an underlay in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`MeshIoError::Bind`], [`MeshIoError::NoInterface`], [`MeshIoError::NotPermitted`] where the
    /// kernel refuses the device, and [`MeshIoError::System`].
    pub fn open(config: &UnderlayConfig) -> Result<Self> {
        let is_v6 = config.listen.is_ipv6();
        let family = if is_v6 { libc::AF_INET6 } else { libc::AF_INET };
        let descriptor = sys::socket(family, libc::SOCK_DGRAM, libc::IPPROTO_UDP)
            .map_err(|source| MeshIoError::System { call: "a UDP socket", source })?;
        if is_v6 {
            let only = libc::c_int::from(!config.listen.ip().is_unspecified());
            sys::set_option(&descriptor, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &only)
                .map_err(|source| MeshIoError::System { call: "IPV6_V6ONLY", source })?;
        }
        if let Some(interface) = &config.interface {
            bind_to_device(&descriptor, interface)?;
        }
        let offloads = prepare(&descriptor, is_v6, &config.name);
        bind(&descriptor, config)?;
        let local = local_address(&descriptor)?;
        Ok(Self {
            id: config.id,
            name: config.name.clone(),
            is_v6,
            unspecified: config.listen.ip().is_unspecified(),
            local,
            interface: config.interface.clone(),
            payload_bytes_max: payload_bytes(config.interface.as_deref(), is_v6),
            offloads,
            empty_at: sys::now(),
            overflowed: 0,
            sources: send::Sources::default(),
            notes: Vec::with_capacity(receive::BUFFERS),
            descriptor,
        })
    }

    /// Where the socket listens, with the port that the system chose.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The underlay's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The device that the socket is bound to.
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// What the socket can do.
    #[must_use]
    pub const fn offloads(&self) -> &Offloads {
        &self.offloads
    }

    /// Datagrams that the kernel dropped because nobody read them in time.
    #[must_use]
    pub const fn overflowed(&self) -> u32 {
        self.overflowed
    }

    /// Binds to the device of the same name again: one that was removed and made anew has another
    /// number, and the socket would wait for the old one for ever.
    ///
    /// # Errors
    /// When the device is gone again, or the right is.
    pub fn bind_again(&mut self) -> Result<()> {
        self.interface.as_deref().map_or(Ok(()), |name| bind_to_device(&self.descriptor, name))
    }

    /// Largest UDP payload that the device takes without fragments, bytes: its MTU when the socket was
    /// opened, less the IP and UDP headers. Without a device, what Ethernet carries.
    #[must_use]
    pub const fn payload_bytes_max(&self) -> u16 {
        self.payload_bytes_max
    }
}

impl AsFd for UnderlaySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Sets what an ordinary socket does not do; what is refused becomes a warning.
fn prepare(descriptor: &OwnedFd, is_v6: bool, name: &str) -> Offloads {
    let mut offloads = Offloads::default();
    let on: libc::c_int = 1;
    let mut warnings = Vec::new();
    let mut ask =
        |level, option, value: libc::c_int, what: &str| match sys::set_option(descriptor, level, option, &value) {
            Ok(()) => true,
            Err(error) => {
                warnings.push(format!("{name}: {what} ({error})"));
                false
            }
        };
    offloads.stamps = ask(
        libc::SOL_SOCKET,
        libc::SO_TIMESTAMPNS,
        on,
        "no kernel time stamps: a stall of this process looks like silence of a link",
    );
    offloads.gro = ask(libc::SOL_UDP, libc::UDP_GRO, on, "no UDP_GRO: receiving costs about 15 times as much");
    ask(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, on, "drops of a full receive buffer are not counted");
    offloads.packet_info = ask(libc::IPPROTO_IP, libc::IP_PKTINFO, on, "answers may leave from another local IPv4");
    offloads.error_queue = ask(libc::IPPROTO_IP, libc::IP_RECVERR, on, "ICMP errors are not seen");
    offloads.dont_fragment =
        ask(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE, "IPv4 datagrams may be fragmented");
    if is_v6 {
        offloads.packet_info &=
            ask(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, on, "answers may leave from another local IPv6");
        offloads.error_queue &= ask(libc::IPPROTO_IPV6, libc::IPV6_RECVERR, on, "ICMPv6 errors are not seen");
        offloads.dont_fragment &= ask(
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_PROBE,
            "IPv6 datagrams may be fragmented",
        );
    }
    // Setting the segment size to zero changes nothing and fails on a kernel without it.
    offloads.gso = ask(libc::SOL_UDP, libc::UDP_SEGMENT, 0, "no UDP_SEGMENT: sending costs about 25 times as much");
    offloads.receive_buffer_bytes =
        buffer(descriptor, (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), "receive", name, &mut warnings);
    offloads.send_buffer_bytes =
        buffer(descriptor, (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF), "send", name, &mut warnings);
    offloads.warnings = warnings;
    offloads
}

fn payload_bytes(interface: Option<&str>, is_v6: bool) -> u16 {
    let headers = if is_v6 { 48 } else { 28 };
    let mtu = interface.and_then(|name| sys::interface_mtu(name).ok()).unwrap_or(1_500);
    u16::try_from(mtu.saturating_sub(headers).clamp(1_232, 65_507)).unwrap_or(1_232)
}

/// Sizes a buffer, beyond the system's limit where the process may (CAP_NET_ADMIN), else up to it.
fn buffer(
    descriptor: &OwnedFd,
    (force, ordinary): (libc::c_int, libc::c_int),
    which: &str,
    name: &str,
    warnings: &mut Vec<String>,
) -> u32 {
    if sys::set_option(descriptor, libc::SOL_SOCKET, force, &SOCKET_BUFFER_BYTES).is_err() {
        // The ordinary option cannot fail for a size; the kernel cuts it to its limit.
        let _ = sys::set_option(descriptor, libc::SOL_SOCKET, ordinary, &SOCKET_BUFFER_BYTES);
    }
    let given = sys::get_option(descriptor, libc::SOL_SOCKET, ordinary).unwrap_or(0);
    // The kernel doubles what is asked for, for its own overhead.
    if given < SOCKET_BUFFER_BYTES {
        warnings.push(format!(
            "{name}: the {which} buffer has {given} of {SOCKET_BUFFER_BYTES} bytes: bursts are lost \
             (CAP_NET_ADMIN, or a larger net.core.{}mem_max, is needed)",
            if which == "send" { "w" } else { "r" }
        ));
    }
    u32::try_from(given).unwrap_or(0)
}

fn bind_to_device(descriptor: &OwnedFd, interface: &str) -> Result<()> {
    let text = sys::interface_name(interface)?;
    let mut name = [0_u8; libc::IFNAMSIZ];
    for (slot, byte) in name.iter_mut().zip(text.as_bytes()) {
        *slot = *byte;
    }
    sys::set_option(descriptor, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, &name).map_err(|source| {
        match source.raw_os_error() {
            Some(libc::ENODEV) => MeshIoError::NoInterface { name: interface.to_owned() },
            Some(libc::EPERM) => {
                MeshIoError::NotPermitted { action: "bind a socket to a device", right: "CAP_NET_RAW" }
            }
            _ => MeshIoError::System { call: "SO_BINDTODEVICE", source },
        }
    })
}

fn bind(descriptor: &OwnedFd, config: &UnderlayConfig) -> Result<()> {
    let failed = |source| MeshIoError::Bind { name: config.name.clone(), address: config.listen, source };
    let raw = RawAddress::for_socket(config.listen, config.listen.is_ipv6())
        .ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    // SAFETY: pointer and length describe `raw`, which lives during the call.
    sys::check(unsafe { libc::bind(descriptor.as_raw_fd(), (&raw const raw.storage).cast(), raw.length) })
        .map(drop)
        .map_err(failed)
}

fn local_address(descriptor: &OwnedFd) -> Result<SocketAddr> {
    let mut raw = RawAddress::empty();
    // SAFETY: pointer and length describe `raw`, which lives during the call.
    sys::check(unsafe {
        libc::getsockname(descriptor.as_raw_fd(), (&raw mut raw.storage).cast(), &raw mut raw.length)
    })
    .map_err(|source| MeshIoError::System { call: "getsockname", source })?;
    raw.get().ok_or(MeshIoError::System { call: "getsockname", source: io::ErrorKind::InvalidData.into() })
}

/// An address that may be a source: not unspecified, not multicast.
fn usable(address: IpAddr) -> Option<IpAddr> {
    (!address.is_unspecified() && !address.is_multicast()).then_some(address)
}
