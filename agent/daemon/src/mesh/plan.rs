//! What the configuration asks of the mesh, checked: what the data plane and the view of peers are made with.

use std::{net::SocketAddr, path::PathBuf};

use x0_agent_io::mesh::{DeniedSource, Priority, TunnelConfig};
use x0_crypto::PublicKey;
use x0_ebpf_loader::mesh::{BucketConfig, Mode, PeerRule, PrefixRule};
use x0_mesh::node::{Rights, Rule, UnderlayId};
use x0_types::AccountId;

/// One underlay as it is to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderlayPlan {
    /// Its number.
    pub id: UnderlayId,
    /// Its name.
    pub name: String,
    /// The device.
    pub interface: Option<String>,
    /// Where to listen; the address of a Yggdrasil underlay is found when it is opened.
    pub listen: SocketAddr,
    /// Shared-risk group.
    pub shared_risk: u32,
    /// Admin socket of a Yggdrasil node.
    pub yggdrasil: Option<PathBuf>,
}

/// A peer of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticPeer {
    /// Its account.
    pub account: AccountId,
    /// Its key; none when the chain names it.
    pub key: Option<PublicKey>,
    /// Where it is reached; none for every underlay that may.
    pub endpoints: Vec<(Option<UnderlayId>, SocketAddr)>,
    /// What it may do.
    pub rights: Rights,
    /// Whether it is a peer without a deal too.
    pub admit: bool,
}

/// What the file asks of the mesh, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The mesh; none for that of the deals on this node.
    pub mesh_id: Option<[u8; 32]>,
    /// The mesh's name, if the file says it.
    pub name: Option<String>,
    /// The tunnel device's name and MTU.
    pub tunnel: Option<(String, u16)>,
    /// Ways out.
    pub underlays: Vec<UnderlayPlan>,
    /// Peers.
    pub peers: Vec<StaticPeer>,
    /// Rules for the protocol.
    pub rules: Vec<Rule>,
    /// The same for the kernel.
    pub kernel_rules: Vec<PeerRule>,
    /// Sources that are not read.
    pub denied: Vec<DeniedSource>,
    /// Prefixes for the kernel.
    pub prefixes: Vec<PrefixRule>,
    /// How the filter is attached; none for not at all.
    pub filter: Option<Mode>,
    /// Whether unknown tags are dropped.
    pub enforce: bool,
    /// Handshakes of one prefix, and of everybody.
    pub buckets: (BucketConfig, BucketConfig),
    /// The data thread's priority.
    pub priority: Priority,
    /// Whether pages stay in memory.
    pub lock_memory: bool,
    /// Job threads.
    pub job_threads: usize,
}

impl Plan {
    /// The tunnel device of an address.
    #[must_use]
    pub fn tunnel_at(&self, address: std::net::Ipv6Addr) -> Option<TunnelConfig> {
        let (name, mtu) = self.tunnel.clone()?;
        Some(TunnelConfig { mtu, ..TunnelConfig::new(&name, address) })
    }

    /// What a running data plane cannot take over from another plan, by field.
    #[must_use]
    pub fn fixed_differences(&self, other: &Self) -> Vec<&'static str> {
        let mut fields = Vec::new();
        let mut note = |differs: bool, field: &'static str| {
            if differs {
                fields.push(field);
            }
        };
        note(self.mesh_id != other.mesh_id, "mesh.name or mesh.id");
        note(self.tunnel != other.tunnel, "mesh.tunnel");
        note(self.underlays != other.underlays, "mesh.underlay");
        note(self.filter != other.filter, "mesh.filter.mode");
        let limits = |plan: &Self| (plan.priority, plan.lock_memory, plan.job_threads);
        note(limits(self) != limits(other), "mesh.limits");
        fields
    }
}
