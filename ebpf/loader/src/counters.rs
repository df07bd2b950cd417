//! Counters of what arrives on the port of the availability service, by sender.

use crate::{
    LoaderError,
    hook::{self, Attached},
    interface::Interface,
    object::{self, Senders},
};
use aya::Ebpf;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};
use x0_ebpf_shared::{PREFIX_RULES_MAP, PREFIXES_MAP, PeerCounters, PeerKey, RULES_MAP, Settings, TAGS_MAP};

/// Counters of what arrives on the agent's port; attached for as long as this lives.
///
/// An agent with a mesh uses [`crate::mesh::MeshFilter`] with a probe port instead, which counts the
/// same in the same run of the program.
pub struct Counters {
    /// Keeps the program loaded.
    _ebpf: Ebpf,
    /// Keeps it attached.
    _attached: Attached,
    senders: Senders,
    interface: String,
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counters").field("interface", &self.interface).finish_non_exhaustive()
    }
}

impl Counters {
    /// Loads the program and attaches it at TC ingress of `interface`, counting traffic to `port`.
    ///
    /// # Errors
    /// [`LoaderError::NotPermitted`] without the rights; other variants name the failing step.
    pub fn attach(interface: &str, port: u16) -> Result<Self, LoaderError> {
        let found = Interface::look(interface)?;
        // What only the filter uses takes no room.
        let unused = [TAGS_MAP, RULES_MAP, PREFIX_RULES_MAP, PREFIXES_MAP].map(|map| (map, 1));
        let mut ebpf = object::load(&unused)?;
        object::set(&mut object::settings_in(&mut ebpf)?, Settings { probe_port: port, ..Settings::default() })?;
        let attached = hook::attach_tc(&mut ebpf, &found)?;
        let senders = object::senders(&mut ebpf)?;
        tracing::info!(interface, port, "BPF counters attached at TC ingress");
        Ok(Self { _ebpf: ebpf, _attached: attached, senders, interface: interface.to_owned() })
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
        read(&self.senders)
    }
}

/// Reads the map of senders: at most [`x0_ebpf_shared::PEERS_MAX`] entries.
pub(crate) fn read(senders: &Senders) -> Result<BTreeMap<IpAddr, PeerCounters>, LoaderError> {
    let mut sums = BTreeMap::new();
    // The map changes while it is read, and a deleted key starts the walk anew: bounded all the same.
    for entry in senders.iter().take(2 * x0_ebpf_shared::PEERS_MAX as usize) {
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

/// The sender's address; mapped IPv4 addresses come back as IPv4.
fn address(key: PeerKey) -> IpAddr {
    let v6 = Ipv6Addr::from(key.address);
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
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
        for interface in ["no-such-interface", "", "../lo", "a\0b", "longer-than-any-name"] {
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
        // CAP_BPF is bit 39, CAP_PERFMON bit 38 and CAP_NET_ADMIN bit 12 (linux/capability.h).
        let bits = u64::from_str_radix(&effective, 16).unwrap();
        [39, 38, 12].iter().all(|bit| bits & (1 << bit) != 0)
    }
}
