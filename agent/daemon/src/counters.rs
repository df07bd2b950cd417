//! Packet counters in the kernel: attached when the rights are there, and explained when they are not.

use std::{net::IpAddr, sync::Arc};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use x0_ebpf_loader::Counters;

/// The counters, or why there are none.
#[derive(Clone, Debug)]
pub struct KernelCounters(Arc<Inner>);

#[derive(Debug)]
enum Inner {
    Attached(Box<Mutex<Counters>>),
    Absent(String),
}

/// What the kernel counted on the agent's port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum PacketCounters {
    /// They count.
    Attached {
        /// The interface.
        interface: String,
        /// By sender.
        peers: Vec<PeerPackets>,
    },
    /// They do not.
    Absent {
        /// Why.
        reason: String,
    },
}

/// What came in from one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerPackets {
    /// Its address.
    pub address: IpAddr,
    /// Packets.
    pub packets: u64,
    /// Bytes, link-layer header included.
    pub bytes: u64,
}

impl KernelCounters {
    /// Attaches the counters, and says in the log and in the status when that is not possible. The
    /// agent works without them.
    #[must_use]
    pub fn attach(interface: Result<String, String>, port: u16) -> Self {
        let attached =
            interface.and_then(|interface| Counters::attach(&interface, port).map_err(|error| error.to_string()));
        give_memory_back();
        Self(Arc::new(match attached {
            Ok(counters) => Inner::Attached(Box::new(Mutex::new(counters))),
            Err(reason) => {
                tracing::warn!(%reason, "no packet counters; the agent goes on without them");
                Inner::Absent(reason)
            }
        }))
    }

    /// Reads them.
    #[must_use]
    pub fn read(&self) -> PacketCounters {
        match &*self.0 {
            Inner::Absent(reason) => PacketCounters::Absent { reason: reason.clone() },
            Inner::Attached(counters) => {
                let counters = counters.lock();
                match counters.peers() {
                    Ok(peers) => PacketCounters::Attached {
                        interface: counters.interface().to_owned(),
                        peers: peers
                            .into_iter()
                            .map(|(address, seen)| PeerPackets { address, packets: seen.packets, bytes: seen.bytes })
                            .collect(),
                    },
                    Err(error) => PacketCounters::Absent { reason: error.to_string() },
                }
            }
        }
    }
}

/// Returns free memory to the system. Loading a BPF program reads the kernel's type information, some
/// 16 MB that glibc would keep for ever, in a daemon that needs less than that for everything else.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `malloc_trim` has no preconditions and may be called from any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

impl PacketCounters {
    /// The counters in lines for people.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        match self {
            Self::Absent { reason } => vec![format!("  packets   not counted: {reason}")],
            Self::Attached { interface, peers } => {
                let mut lines = vec![format!("  packets   counted on {interface}, {} peers", peers.len())];
                lines.extend(peers.iter().map(|peer| {
                    format!("              {:<40} {} packets, {} bytes", peer.address, peer.packets, peer.bytes)
                }));
                lines
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_counters_say_why() {
        let counters = KernelCounters::attach(Err("switched off".into()), 1);
        assert_eq!(counters.read(), PacketCounters::Absent { reason: "switched off".into() });
        let missing = KernelCounters::attach(Ok("no-such-interface".into()), 1).read();
        assert!(
            matches!(&missing, PacketCounters::Absent { reason } if reason.contains("no-such-interface")),
            "{missing:?}"
        );
        assert!(missing.words()[0].contains("not counted"));
    }
}
