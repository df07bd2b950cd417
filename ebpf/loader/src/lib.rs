//! Loads the agent's BPF program, attaches it at TC ingress and reads its counters.
//!
//! ```text
//!   ebpf/object/x0-tc.o --load--> kernel --attach--> TC ingress of one interface
//!                                    \--maps--> Counters::peers()
//! ```
//!
//! # Correctness
//! The object is committed and embedded, so that an ordinary build needs no BPF tool chain. Dropping
//! [`Counters`] detaches the program; a killed process loses its links with its file descriptors.
//!
//! # Limits
//! [`x0_ebpf_shared::PEERS_MAX`] peers.
//!
//! # Errors
//! [`LoaderError`] tells missing rights apart from a missing interface and from a kernel that
//! rejects the program, because an agent goes on without counters in the first case.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use aya::{
    Ebpf, EbpfError, Pod,
    maps::{Array, MapError, PerCpuHashMap},
    programs::{ProgramError, SchedClassifier, TcAttachType, tc},
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};
use x0_ebpf_shared::{INGRESS_PROGRAM, PEERS_MAP, PeerCounters, PeerKey, SETTINGS_MAP, Settings};

/// The committed BPF object, built from `ebpf/programs` by `cargo xtask bpf`.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!("../../object/x0-tc.o");

/// Why the counters are not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoaderError {
    /// The process may not load BPF programs.
    #[error("no right to load BPF programs (root, or CAP_BPF and CAP_NET_ADMIN, is needed)")]
    NotPermitted,
    /// There is no such network interface.
    #[error("there is no network interface {interface:?}")]
    NoInterface {
        /// The name that was asked for.
        interface: String,
    },
    /// The kernel or the loader rejects the object.
    #[error("the kernel does not take the BPF object: {0}")]
    Object(#[from] EbpfError),
    /// The kernel rejects the program or its attachment.
    #[error("the BPF program cannot be attached: {0}")]
    Program(#[from] ProgramError),
    /// A map cannot be read or written.
    #[error("a BPF map cannot be used: {0}")]
    Map(#[from] MapError),
    /// The object lacks a program or a map that this version expects.
    #[error("the BPF object has no {0:?}")]
    Missing(&'static str),
}

/// [`PeerKey`] for the map functions.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Key(PeerKey);
/// [`PeerCounters`] for the map functions.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Value(PeerCounters);
/// [`Settings`] for the map functions.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Setting(Settings);

// SAFETY: transparent over a `repr(C)` struct of plain integers without padding (the shared crate
// asserts the sizes), so every bit pattern is a value.
unsafe impl Pod for Key {}
// SAFETY: as above.
unsafe impl Pod for Value {}
// SAFETY: as above.
unsafe impl Pod for Setting {}

/// Counters of what arrives on the agent's port; attached for as long as this lives.
#[derive(Debug)]
pub struct Counters {
    ebpf: Ebpf,
    interface: String,
}

impl Counters {
    /// Loads the program and attaches it at TC ingress of `interface`, counting traffic to `port`.
    ///
    /// # Errors
    /// [`LoaderError::NotPermitted`] without the rights; other variants name the failing step.
    pub fn attach(interface: &str, port: u16) -> Result<Self, LoaderError> {
        let known = std::path::Path::new("/sys/class/net").join(interface);
        if interface.is_empty() || interface.contains('/') || !known.exists() {
            return Err(LoaderError::NoInterface { interface: interface.to_owned() });
        }
        let mut ebpf = Ebpf::load(OBJECT).map_err(|error| permitted(error, LoaderError::Object))?;
        let settings = ebpf.map_mut(SETTINGS_MAP).ok_or(LoaderError::Missing(SETTINGS_MAP))?;
        Array::<_, Setting>::try_from(settings)?.set(0, Setting(Settings { port, reserved: [0; 6] }), 0)?;
        // Kernels before 6.6 need the clsact qdisc; on newer ones, and where another program already
        // made it, this fails harmlessly and the attachment below decides.
        if let Err(error) = tc::qdisc_add_clsact(interface) {
            tracing::debug!(interface, %error, "no clsact qdisc added");
        }
        let program: &mut SchedClassifier =
            ebpf.program_mut(INGRESS_PROGRAM).ok_or(LoaderError::Missing(INGRESS_PROGRAM))?.try_into()?;
        program.load().map_err(|error| permitted(error, LoaderError::Program))?;
        program.attach(interface, TcAttachType::Ingress).map_err(|error| permitted(error, LoaderError::Program))?;
        tracing::info!(interface, port, "BPF counters attached at TC ingress");
        Ok(Self { ebpf, interface: interface.to_owned() })
    }

    /// The interface that is watched.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// What came in, by sender; the sum over all CPUs, with the latest time of all.
    ///
    /// # Errors
    /// [`LoaderError::Map`] when the kernel refuses the read.
    pub fn peers(&self) -> Result<BTreeMap<IpAddr, PeerCounters>, LoaderError> {
        let map = self.ebpf.map(PEERS_MAP).ok_or(LoaderError::Missing(PEERS_MAP))?;
        let peers = PerCpuHashMap::<_, Key, Value>::try_from(map)?;
        let mut sums = BTreeMap::new();
        for entry in peers.iter() {
            let (key, values) = entry?;
            let sum = values.iter().fold(PeerCounters::default(), |sum, value| PeerCounters {
                packets: sum.packets.saturating_add(value.0.packets),
                bytes: sum.bytes.saturating_add(value.0.bytes),
                last_seen_ns: sum.last_seen_ns.max(value.0.last_seen_ns),
            });
            sums.insert(address(key.0), sum);
        }
        Ok(sums)
    }
}

/// The sender's address; mapped IPv4 addresses come back as IPv4.
fn address(key: PeerKey) -> IpAddr {
    let v6 = Ipv6Addr::from(key.address);
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}

/// Tells missing rights apart from every other failure, by the operating system's error at the root.
fn permitted<E: std::error::Error + 'static>(error: E, other: fn(E) -> LoaderError) -> LoaderError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = source {
        if let Some(io) = current.downcast_ref::<std::io::Error>()
            && matches!(io.raw_os_error(), Some(libc::EPERM | libc::EACCES))
        {
            return LoaderError::NotPermitted;
        }
        source = current.source();
    }
    other(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    #[test]
    fn mapped_addresses_read_as_ipv4() {
        assert_eq!(address(PeerKey::from_v4([10, 1, 2, 3])), IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)));
        assert!(address(PeerKey { address: [0x20; 16] }).is_ipv6());
    }

    #[test]
    fn a_missing_interface_has_its_own_error() {
        for interface in ["no-such-interface", "", "../lo"] {
            assert!(matches!(Counters::attach(interface, 1), Err(LoaderError::NoInterface { .. })), "{interface:?}");
        }
    }

    /// With the rights, traffic to the port is counted for its sender and other traffic is not;
    /// without them the error says so. Both are what an operator meets.
    #[test]
    fn counts_what_arrives_on_the_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let counters = match Counters::attach("lo", port) {
            Ok(counters) => counters,
            Err(LoaderError::NotPermitted) => {
                assert!(!may_load_bpf(), "root with all capabilities was refused");
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let _unrelated = TcpStream::connect(other.local_addr().unwrap()).unwrap();
        assert!(counters.peers().unwrap().is_empty(), "traffic to another port is not counted");
        let _stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let peers = counters.peers().unwrap();
        let seen = peers[&IpAddr::V4(Ipv4Addr::LOCALHOST)];
        assert!(seen.packets >= 2 && seen.bytes >= 100 && seen.last_seen_ns > 0, "{seen:?}");
    }

    fn may_load_bpf() -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim().to_owned();
        // CAP_BPF is bit 39 and CAP_NET_ADMIN bit 12 (linux/capability.h).
        let bits = u64::from_str_radix(&effective, 16).unwrap();
        bits & (1 << 39) != 0 && bits & (1 << 12) != 0
    }
}
