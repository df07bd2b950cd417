//! What the data plane is told when it starts.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use x0_mesh::node::UnderlayId;

use crate::mesh::error::{MeshIoError, Result};

/// Most underlays, that is sockets, that one data thread serves.
pub const UNDERLAYS_MAX: usize = 16;
/// Most threads for signatures and key encapsulation.
pub const JOB_THREADS_MAX: usize = 16;
/// The IPv6 minimum link MTU (RFC 8200 section 5): the least that the tunnel device may have.
pub const TUNNEL_MTU_MIN: u16 = 1_280;
/// The most that fits one sealed datagram of at most 65,535 bytes with all headers.
pub const TUNNEL_MTU_MAX: u16 = 65_000;
/// The inner MTU for underlays of 1,500 bytes: 48 bytes of IPv6 and UDP, 20 of link header, 32 of
/// labels for eight relays less than that, 29 of session; see the mesh's design.
pub const TUNNEL_MTU_DEFAULT: u16 = 1_380;

/// One way out of this machine: an interface, or an address of another overlay such as Yggdrasil.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderlayConfig {
    /// The number by which the protocol names it, unique in one agent.
    pub id: UnderlayId,
    /// The name in logs and status, such as `wan` or `ygg`.
    pub name: String,
    /// Only packets of this device are sent and received (`SO_BINDTODEVICE`), and its carrier is
    /// watched. Without it the routing table decides.
    pub interface: Option<String>,
    /// Where to listen. An unspecified IPv6 address takes IPv4 too. Port 0 lets the system choose.
    pub listen: SocketAddr,
}

/// The tunnel device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelConfig {
    /// The device's name, at most 15 bytes; `%d` at its end lets the kernel count.
    pub name: String,
    /// The agent's address in the mesh; its /48 becomes a route to the device.
    pub address: Ipv6Addr,
    /// The prefix of the mesh in bits, 48 for every mesh of today.
    pub prefix_bits: u8,
    /// Bytes of the largest inner packet.
    pub mtu: u16,
}

impl TunnelConfig {
    /// The tunnel device of an address with this mesh's ordinary sizes.
    #[must_use]
    pub fn new(name: &str, address: Ipv6Addr) -> Self {
        Self { name: name.to_owned(), address, prefix_bits: 48, mtu: TUNNEL_MTU_DEFAULT }
    }
}

/// How much of the processor the data thread may take ahead of everything else on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// `SCHED_OTHER`, like every other process.
    Normal,
    /// `SCHED_FIFO` for liveness and switching, at most this share of any 10 ms; bulk data beyond it
    /// runs like every other process.
    Bounded {
        /// Thousandths of the time that may be spent ahead of others.
        share_permille: u16,
    },
    /// `SCHED_FIFO` always, for measurements only: bulk data then starves the host.
    Always,
}

impl Default for Priority {
    fn default() -> Self {
        Self::Bounded { share_permille: 250 }
    }
}

/// Everything that the data plane is told when it starts.
#[derive(Clone, Debug)]
pub struct MeshThreadConfig {
    /// The sockets.
    pub underlays: Vec<UnderlayConfig>,
    /// The tunnel device; without it the node relays only.
    pub tunnel: Option<TunnelConfig>,
    /// The data thread's priority.
    pub priority: Priority,
    /// Keeps the process's pages in memory (`mlockall` with `MCL_ONFAULT`).
    pub lock_memory: bool,
    /// Threads for signatures and key encapsulation.
    pub job_threads: usize,
}

impl MeshThreadConfig {
    /// One underlay, no tunnel, ordinary priorities.
    #[must_use]
    pub fn new(underlays: Vec<UnderlayConfig>) -> Self {
        Self { underlays, tunnel: None, priority: Priority::default(), lock_memory: true, job_threads: 1 }
    }

    /// Checks what the types do not.
    ///
    /// # Errors
    /// [`MeshIoError::Underlays`] and [`MeshIoError::OutOfBounds`].
    pub fn check(&self) -> Result<()> {
        if self.underlays.is_empty() || self.underlays.len() > UNDERLAYS_MAX {
            return Err(MeshIoError::Underlays { count: self.underlays.len(), max: UNDERLAYS_MAX });
        }
        within("job_threads", self.job_threads as u64, 1, JOB_THREADS_MAX as u64)?;
        if let Some(tunnel) = &self.tunnel {
            within("mtu", tunnel.mtu.into(), TUNNEL_MTU_MIN.into(), TUNNEL_MTU_MAX.into())?;
            within("prefix_bits", tunnel.prefix_bits.into(), 8, 128)?;
        }
        if let Priority::Bounded { share_permille } = self.priority {
            within("share_permille", share_permille.into(), 10, 900)?;
        }
        Ok(())
    }
}

fn within(name: &'static str, value: u64, min: u64, max: u64) -> Result<()> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(MeshIoError::OutOfBounds { name, value, min, max }) }
}

/// A source prefix from which nothing is read: the user-space form of a playbook's rule, which also
/// holds where the BPF program cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeniedSource {
    /// An address of the prefix. IPv4 is compared with IPv4 only.
    pub address: IpAddr,
    /// Leading bits that count.
    pub bits: u8,
}

impl DeniedSource {
    /// Whether an address is in the prefix.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32_u32.saturating_sub(self.bits.into());
                (u64::from(own.to_bits()) >> shift) == (u64::from(other.to_bits()) >> shift)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128_u32.saturating_sub(self.bits.into());
                shift >= 128 || (own.to_bits() >> shift) == (other.to_bits() >> shift)
            }
            _ => false,
        }
    }
}
