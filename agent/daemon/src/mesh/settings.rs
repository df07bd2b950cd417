//! The section `[mesh]` of the configuration file, and the plan that is made of it.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use x0_agent_io::mesh::{DeniedSource, Priority};
use x0_client::text::parse_hash;
use x0_ebpf_loader::mesh::{BucketConfig, Mode, PeerAction, PeerRule, PrefixAction, PrefixRule};
use x0_mesh::{
    NodeId,
    node::{PEER_ADDRESSES_MAX, Rights, Rule, UnderlayId, WEIGHT_NEUTRAL, node_id},
};
use x0_types::AccountId;

use super::{
    parse::{Result, SettingsError, account, prefix, public_key, read_key, text, within},
    plan::{Plan, StaticPeer, UnderlayPlan},
};

/// Most underlays in the file: as many as the data thread has sockets for.
pub const UNDERLAYS_MAX: usize = x0_agent_io::mesh::config::UNDERLAYS_MAX;
/// Most peers in the file.
pub const STATIC_PEERS_MAX: usize = 256;

/// The section as it stands in the file. Unknown fields are errors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MeshSection {
    /// The mesh by name: its id is the name's BLAKE2b-256, as in `x0 market rent --mesh`.
    pub name: Option<String>,
    /// The mesh by id, 32 bytes in hex.
    pub id: Option<String>,
    /// The device through which this host uses the mesh.
    pub tunnel: TunnelSection,
    /// Ways out of this machine.
    #[serde(rename = "underlay")]
    pub underlays: Vec<UnderlaySection>,
    /// Peers that do not depend on the chain.
    #[serde(rename = "peer")]
    pub peers: Vec<PeerSection>,
    /// What is taken away from peers, and what is preferred.
    #[serde(rename = "rule")]
    pub rules: Vec<RuleSection>,
    /// The filter in the kernel.
    pub filter: FilterSection,
    /// What the data plane may take of the machine.
    pub limits: LimitsSection,
}

/// The tunnel device.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TunnelSection {
    /// Whether this host uses the mesh itself; a node that only relays does not.
    pub enabled: bool,
    /// The device's name.
    pub name: String,
    /// Bytes of the largest packet.
    pub mtu: u16,
}

impl Default for TunnelSection {
    fn default() -> Self {
        Self { enabled: true, name: "x0m0".to_owned(), mtu: x0_agent_io::mesh::config::TUNNEL_MTU_DEFAULT }
    }
}

/// One way out of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnderlaySection {
    /// Its name in peers' endpoints, logs and status.
    pub name: String,
    /// The device that is used, and no other.
    pub interface: Option<String>,
    /// The address to listen at.
    pub address: Option<IpAddr>,
    /// The UDP port.
    pub port: Option<u16>,
    /// Underlays with one number share a fate.
    pub shared_risk: Option<u32>,
    /// Admin socket of a Yggdrasil node, whose address is used.
    pub yggdrasil: Option<PathBuf>,
}

/// A peer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerSection {
    /// Its account or DID.
    pub account: String,
    /// Its agent key, in hex or as Multikey text.
    pub key: Option<String>,
    /// A file with that text, in place of it.
    pub key_file: Option<PathBuf>,
    /// Where it is reached.
    #[serde(default)]
    pub endpoints: Vec<EndpointSection>,
    /// What it may do here.
    #[serde(default)]
    pub rights: Option<Vec<RightName>>,
    /// Whether this entry admits the peer; without that it only adds addresses to a peer whom a deal admits.
    #[serde(default = "yes")]
    pub admit: bool,
}

const fn yes() -> bool {
    true
}

/// An address of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointSection {
    /// Address and UDP port.
    pub address: SocketAddr,
    /// The own underlay that reaches it; without one, every underlay that may.
    pub underlay: Option<String>,
}

/// A right of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RightName {
    /// To hold a link with this node.
    Link,
    /// To hold a session with this host.
    Session,
    /// To have its frames passed on.
    Relay,
}

/// A rule on a peer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSection {
    /// The peer's account or DID.
    pub peer: String,
    /// What it does.
    pub action: ActionName,
    /// For `prefer`: 0 to 16, 16 is neutral.
    pub weight: Option<u8>,
    /// For `limit`: bytes per second.
    pub bytes_per_s: Option<u64>,
    /// For `limit`: bytes at once.
    pub burst_bytes: Option<u64>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionName {
    /// Nothing of the peer passes.
    Deny,
    /// Its links are watched and carry nothing.
    Quarantine,
    /// Its data is bounded.
    Limit,
    /// Routes through it weigh less.
    Prefer,
}

/// The filter in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilterSection {
    /// Where the program runs.
    pub mode: FilterMode,
    /// Whether unknown tags are dropped in the kernel.
    pub enforce: bool,
    /// Source prefixes from which nothing is read.
    pub deny: Vec<String>,
    /// Source prefixes whose handshakes are not crowded out by others.
    pub favour: Vec<String>,
    /// Handshake datagrams per second from one prefix.
    pub handshakes_per_prefix: u32,
    /// Handshake datagrams per second from everybody.
    pub handshakes_in_all: u32,
}

impl Default for FilterSection {
    fn default() -> Self {
        Self {
            mode: FilterMode::Tc,
            enforce: true,
            deny: Vec::new(),
            favour: Vec::new(),
            handshakes_per_prefix: 100,
            handshakes_in_all: 2_000,
        }
    }
}

/// Where the filter runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FilterMode {
    /// At TC ingress.
    Tc,
    /// In the driver.
    Xdp,
    /// Nowhere.
    Off,
}

/// What the data plane may take of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    /// Thousandths of each 10 ms that the data thread may run ahead of everything else; 0 for none.
    pub realtime_permille: u16,
    /// Whether pages stay in memory.
    pub lock_memory: bool,
    /// Threads for signatures and key encapsulation.
    pub job_threads: usize,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self { realtime_permille: 250, lock_memory: true, job_threads: 1 }
    }
}

impl MeshSection {
    /// Makes relative paths relative to the file's folder.
    pub fn resolve(&mut self, folder: &Path) {
        let keys = self.peers.iter_mut().filter_map(|peer| peer.key_file.as_mut());
        let sockets = self.underlays.iter_mut().filter_map(|underlay| underlay.yggdrasil.as_mut());
        for path in keys.chain(sockets) {
            *path = folder.join(&*path);
        }
    }

    /// Checks everything. `listen` is where probes are answered: the mesh's UDP port is the same unless an
    /// underlay says otherwise. Reads key files.
    ///
    /// # Errors
    /// [`SettingsError`] with the field's name.
    pub fn plan(&self, listen: SocketAddr) -> Result<Plan> {
        let underlays = self.underlays(listen)?;
        let (rules, kernel_rules) = self.rules()?;
        let (denied, prefixes) = self.filter.prefixes()?;
        let limits = &self.limits;
        let share = u64::from(limits.realtime_permille);
        if share != 0 {
            within("mesh.limits.realtime_permille", share, 10, 900)?;
        }
        within(
            "mesh.limits.job_threads",
            limits.job_threads as u64,
            1,
            x0_agent_io::mesh::config::JOB_THREADS_MAX as u64,
        )?;
        Ok(Plan {
            mesh_id: self.mesh_id()?,
            name: self.name.clone(),
            tunnel: self.tunnel.check()?,
            peers: self.peers(&underlays)?,
            underlays,
            rules,
            kernel_rules,
            denied,
            prefixes,
            filter: match self.filter.mode {
                FilterMode::Tc => Some(Mode::Tc),
                FilterMode::Xdp => Some(Mode::Xdp),
                FilterMode::Off => None,
            },
            enforce: self.filter.enforce,
            buckets: self.filter.buckets()?,
            priority: match limits.realtime_permille {
                0 => Priority::Normal,
                share_permille => Priority::Bounded { share_permille },
            },
            lock_memory: limits.lock_memory,
            job_threads: limits.job_threads,
        })
    }

    fn mesh_id(&self) -> Result<Option<[u8; 32]>> {
        match (&self.name, &self.id) {
            (Some(_), Some(_)) => {
                Err(SettingsError::Together { fields: "mesh.name and mesh.id", reason: "the file says one of them" })
            }
            (Some(name), None) if name.is_empty() => Err(text("mesh.name", &"it is empty")),
            (Some(name), None) => Ok(Some(x0_crypto::blake2b_256(name.as_bytes()))),
            (None, Some(id)) => parse_hash("a mesh", id).map(|id| Some(id.0)).map_err(|error| text("mesh.id", &error)),
            (None, None) => Ok(None),
        }
    }

    fn underlays(&self, listen: SocketAddr) -> Result<Vec<UnderlayPlan>> {
        within("the number of mesh.underlay", self.underlays.len() as u64, 0, UNDERLAYS_MAX as u64)?;
        if self.underlays.is_empty() {
            let name = "any".to_owned();
            let id = UnderlayId(0);
            return Ok(vec![UnderlayPlan { id, name, interface: None, listen, shared_risk: 0, yggdrasil: None }]);
        }
        let mut names = BTreeSet::new();
        let mut plans = Vec::new();
        for (section, number) in self.underlays.iter().zip(0u16..) {
            let name = section.name.clone();
            if name.is_empty() {
                return Err(text(&format!("mesh.underlay[{number}].name"), &"it is empty"));
            }
            if !names.insert(name.clone()) {
                return Err(SettingsError::Twice { field: "mesh.underlay.name", name });
            }
            if section.yggdrasil.is_some() && section.address.is_some() {
                return Err(SettingsError::Together {
                    fields: "mesh.underlay.yggdrasil and mesh.underlay.address",
                    reason: "Yggdrasil says the address",
                });
            }
            let anywhere = IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);
            let host = match (section.address, &section.interface) {
                (Some(address), _) => address,
                (None, Some(_)) => anywhere,
                (None, None) if section.yggdrasil.is_some() => anywhere,
                (None, None) => listen.ip(),
            };
            plans.push(UnderlayPlan {
                id: UnderlayId(number),
                name,
                interface: section.interface.clone(),
                listen: SocketAddr::new(host, section.port.unwrap_or(listen.port())),
                shared_risk: section.shared_risk.unwrap_or(u32::from(number)),
                yggdrasil: section.yggdrasil.clone(),
            });
        }
        Ok(plans)
    }

    fn peers(&self, underlays: &[UnderlayPlan]) -> Result<Vec<StaticPeer>> {
        within("the number of mesh.peer", self.peers.len() as u64, 0, STATIC_PEERS_MAX as u64)?;
        let mut seen = BTreeSet::new();
        let mut peers = Vec::new();
        for (number, section) in self.peers.iter().enumerate() {
            let peer = section.plan(number, underlays)?;
            if !seen.insert(peer.account.clone()) {
                return Err(SettingsError::Twice { field: "mesh.peer.account", name: section.account.clone() });
            }
            peers.push(peer);
        }
        Ok(peers)
    }

    fn rules(&self) -> Result<(Vec<Rule>, Vec<PeerRule>)> {
        within("the number of mesh.rule", self.rules.len() as u64, 0, x0_mesh::node::RULES_MAX as u64)?;
        let (mut rules, mut kernel) = (Vec::new(), Vec::new());
        for (number, section) in self.rules.iter().enumerate() {
            let (rule, action) = section.plan(number)?;
            kernel.extend(action.map(|action| PeerRule { peer: rule.peer().0, action }));
            rules.push(rule);
        }
        Ok((rules, kernel))
    }
}

impl TunnelSection {
    fn check(&self) -> Result<Option<(String, u16)>> {
        if !self.enabled {
            return Ok(None);
        }
        if self.name.is_empty() || self.name.len() > 15 {
            return Err(text("mesh.tunnel.name", &"a device's name has 1 to 15 bytes"));
        }
        let (min, max) = (x0_agent_io::mesh::config::TUNNEL_MTU_MIN, x0_agent_io::mesh::config::TUNNEL_MTU_MAX);
        within("mesh.tunnel.mtu", self.mtu.into(), min.into(), max.into())?;
        Ok(Some((self.name.clone(), self.mtu)))
    }
}

impl PeerSection {
    fn plan(&self, number: usize, underlays: &[UnderlayPlan]) -> Result<StaticPeer> {
        let field = |name: &str| format!("mesh.peer[{number}].{name}");
        let account = account(&field("account"), &self.account)?;
        let key = match (&self.key, &self.key_file) {
            (Some(_), Some(_)) => {
                return Err(SettingsError::Together {
                    fields: "mesh.peer.key and mesh.peer.key_file",
                    reason: "the file says one of them",
                });
            }
            (Some(words), None) => Some(public_key(&field("key"), words)?),
            (None, Some(path)) => Some(public_key(&field("key_file"), &read_key(&field("key_file"), path)?)?),
            (None, None) => None,
        };
        if let Some(key) = &key {
            let found = AccountId::new(node_id(key).0);
            if found != account {
                return Err(SettingsError::KeyOfAnother { field: field("key"), found, given: account });
            }
        }
        within(&field("endpoints"), self.endpoints.len() as u64, 0, PEER_ADDRESSES_MAX as u64)?;
        let mut endpoints = Vec::new();
        for endpoint in &self.endpoints {
            let underlay = match &endpoint.underlay {
                None => None,
                Some(name) => match underlays.iter().find(|underlay| underlay.name == *name) {
                    Some(found) => Some(found.id),
                    None => {
                        let field = field("endpoints.underlay");
                        return Err(SettingsError::NoUnderlay { field, name: name.clone() });
                    }
                },
            };
            endpoints.push((underlay, endpoint.address));
        }
        let rights = self.rights.as_ref().map_or(Rights::ALL, |names| Rights {
            link: names.contains(&RightName::Link),
            session: names.contains(&RightName::Session),
            relay: names.contains(&RightName::Relay),
        });
        Ok(StaticPeer { account, key, endpoints, rights, admit: self.admit })
    }
}

impl RuleSection {
    fn plan(&self, number: usize) -> Result<(Rule, Option<PeerAction>)> {
        let field = |name: &str| format!("mesh.rule[{number}].{name}");
        let peer = NodeId(account(&field("peer"), &self.peer)?.into());
        let needed = |name: &str| SettingsError::Text { field: field(name), reason: "this action needs it".to_owned() };
        Ok(match self.action {
            ActionName::Deny => (Rule::Deny { peer }, Some(PeerAction::Deny)),
            ActionName::Quarantine => (Rule::Quarantine { peer }, Some(PeerAction::Quarantine)),
            ActionName::Limit => {
                let bytes_per_s = self.bytes_per_s.ok_or_else(|| needed("bytes_per_s"))?;
                let burst_bytes = self.burst_bytes.unwrap_or(65_536);
                // What the kernel's buckets hold; the process's hold it too.
                within(&field("bytes_per_s"), bytes_per_s, 1_000, 125_000_000_000)?;
                within(&field("burst_bytes"), burst_bytes, 65_536, 125_000_000_000)?;
                let action = PeerAction::RateLimit { bytes_per_s, burst_bytes };
                (Rule::RateLimit { peer, bytes_per_s, burst_bytes }, Some(action))
            }
            ActionName::Prefer => {
                let weight = self.weight.ok_or_else(|| needed("weight"))?;
                within(&field("weight"), weight.into(), 0, WEIGHT_NEUTRAL.into())?;
                (Rule::Prefer { peer, weight }, None)
            }
        })
    }
}

impl FilterSection {
    fn prefixes(&self) -> Result<(Vec<DeniedSource>, Vec<PrefixRule>)> {
        let mut denied = Vec::new();
        let mut rules = Vec::new();
        for (field, texts, action) in [
            ("mesh.filter.deny", &self.deny, PrefixAction::Deny),
            ("mesh.filter.favour", &self.favour, PrefixAction::Favour),
        ] {
            for words in texts {
                let (address, bits) = prefix(field, words)?;
                rules.push(PrefixRule { address, bits, action });
                if action == PrefixAction::Deny {
                    denied.push(DeniedSource { address, bits });
                }
            }
        }
        within(
            "the number of prefixes in mesh.filter",
            rules.len() as u64,
            0,
            x0_ebpf_loader::mesh::FILTER_RULES_MAX as u64,
        )?;
        Ok((denied, rules))
    }

    fn buckets(&self) -> Result<(BucketConfig, BucketConfig)> {
        let bucket = |field: &str, per_s: u32| {
            within(field, per_s.into(), 1, u64::from(BucketConfig::MAX / 2))?;
            Ok(BucketConfig { per_s, burst: per_s.saturating_mul(2) })
        };
        Ok((
            bucket("mesh.filter.handshakes_per_prefix", self.handshakes_per_prefix)?,
            bucket("mesh.filter.handshakes_in_all", self.handshakes_in_all)?,
        ))
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
