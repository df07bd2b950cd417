//! The tunnel device, with super-packets both ways.
//!
//! ```text
//!   host's TCP --64 KiB--> read --segment--> packets of the inner MTU --> Mesh
//!   host's TCP <--64 KiB-- write <--coalesce-- packets <-- Mesh
//! ```
//!
//! # Correctness
//! * Cutting and joining are inverse: what the other side reads is what this side's host sent, byte for
//!   byte ([`segment`], [`coalesce`]).
//! * The device and its addresses live as long as the descriptor: they go with the process.

mod checksum;
pub mod coalesce;
mod packet;
pub mod segment;
pub mod vnet;

use std::{
    fs::OpenOptions,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd},
        unix::fs::OpenOptionsExt as _,
    },
};

use crate::mesh::{
    config::TunnelConfig,
    error::{MeshIoError, Result},
    netlink, sys,
};
use vnet::{HEADER_BYTES, VnetHeader};

pub use coalesce::Coalescer;
pub use segment::{Malformed, segment};

/// Bytes of the largest read: the device's header, and an IPv6 packet of the largest length.
const READ_BYTES_MAX: usize = HEADER_BYTES + 65_535 + packet::IPV6_BYTES;

/// What the tunnel device can do on this kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct TunnelOffloads {
    /// The host hands over checksums to complete.
    pub checksum: bool,
    /// TCP comes and goes as super-packets (TSO).
    pub tcp: bool,
    /// UDP comes and goes as super-packets (USO, Linux 6.2).
    pub udp: bool,
    /// What is missing and what follows from it, one sentence each.
    pub warnings: Vec<String>,
}

/// Room for one read.
pub struct TunnelBuffer(Vec<u8>);

impl Default for TunnelBuffer {
    fn default() -> Self {
        Self(vec![0; READ_BYTES_MAX])
    }
}

/// The tunnel device.
#[derive(Debug)]
pub struct Tunnel {
    file: std::fs::File,
    name: String,
    offloads: TunnelOffloads,
}

impl Tunnel {
    /// Makes the device in the calling thread's network namespace, gives it its address, its MTU and
    /// the route of the mesh's prefix, and sets it up.
    ///
    /// # Errors
    /// [`MeshIoError::NotPermitted`] without CAP_NET_ADMIN, [`MeshIoError::System`] where the device or
    /// its settings are refused.
    pub fn open(config: &TunnelConfig) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")
            .map_err(|source| refused("opening /dev/net/tun", source))?;
        let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        let flags = libc::c_short::try_from(flags).unwrap_or(0);
        let made = sys::interface_request(&file, libc::TUNSETIFF, &config.name, |request| {
            request.ifr_ifru.ifru_flags = flags;
        });
        let made = made.map_err(|error| match error {
            MeshIoError::System { source, .. } => refused("TUNSETIFF", source),
            other => other,
        })?;
        let name = made.ifr_name.iter().take_while(|byte| **byte != 0).map(|byte| char::from(byte.to_ne_bytes()[0]));
        let name: String = name.collect();
        let mut offloads = offloads(&file);
        configure(&name, config, &mut offloads.warnings)?;
        Ok(Self { file, name, offloads })
    }

    /// The device's name, as the kernel chose it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the device can do.
    #[must_use]
    pub const fn offloads(&self) -> &TunnelOffloads {
        &self.offloads
    }

    /// Reads one packet or super-packet; `None` when nothing waits.
    ///
    /// # Errors
    /// What the system says.
    pub fn read<'a>(&self, buffer: &'a mut TunnelBuffer) -> io::Result<Option<(VnetHeader, &'a mut [u8])>> {
        let length = match (&self.file).read(&mut buffer.0) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Some((header, packet)) = buffer.0.get_mut(..length).and_then(|bytes| bytes.split_first_chunk_mut()) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        Ok(Some((VnetHeader::read(header), packet)))
    }

    /// Writes what a [`Coalescer`] gives: the device's header and a packet.
    ///
    /// # Errors
    /// What the system says of this packet; the next may pass.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.file).write(bytes).map(drop)
    }
}

impl AsFd for Tunnel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn refused(call: &'static str, source: io::Error) -> MeshIoError {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            MeshIoError::NotPermitted { action: "make a tunnel device", right: "CAP_NET_ADMIN" }
        }
        _ => MeshIoError::System { call, source },
    }
}

/// Asks for the most that the kernel has.
fn offloads(file: &std::fs::File) -> TunnelOffloads {
    let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    let all = tcp | libc::TUN_F_USO4 | libc::TUN_F_USO6;
    let ask = |features: libc::c_uint| {
        // SAFETY: the request takes its features by value.
        sys::check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(features)) }).is_ok()
    };
    let mut offloads = TunnelOffloads::default();
    if ask(all) {
        (offloads.checksum, offloads.tcp, offloads.udp) = (true, true, true);
    } else if ask(tcp) {
        (offloads.checksum, offloads.tcp) = (true, true);
        offloads.warnings.push("tunnel: no USO (Linux 6.2 has it): UDP passes datagram by datagram".into());
    } else {
        offloads.warnings.push("tunnel: no TSO: TCP passes packet by packet, at a fraction of the speed".into());
    }
    offloads
}

fn configure(name: &str, config: &TunnelConfig, warnings: &mut Vec<String>) -> Result<()> {
    // Link-local addresses and router solicitations have no place in a mesh without links of its own.
    let path = format!("/proc/sys/net/ipv6/conf/{name}/addr_gen_mode");
    if let Err(error) = std::fs::write(&path, "1") {
        warnings.push(format!("tunnel: the device gets a link-local address that nothing uses ({path}: {error})"));
    }
    let plain = sys::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)
        .map_err(|source| MeshIoError::System { call: "a socket", source })?;
    sys::interface_request(&plain, libc::SIOCSIFMTU, name, |request| {
        request.ifr_ifru.ifru_mtu = config.mtu.into();
    })?;
    let up = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
    sys::interface_request(&plain, libc::SIOCSIFFLAGS, name, |request| request.ifr_ifru.ifru_flags = up)?;
    netlink::add_address(sys::interface_index(name)?, config.address, config.prefix_bits)
        .map_err(|source| MeshIoError::System { call: "adding the overlay address", source })
}
