//! The filter's control: what is attached, allowed and ruled.

use super::{
    config::{BucketConfig, FilterConfig, Hook, Mode, PeerId, PeerRule, PrefixRule},
    error::FilterError,
    reader::{FilterReader, Tags},
    rules::{self, PrefixKey},
    stats::Traffic,
};
use crate::{
    LoaderError,
    hook::{self, Attached},
    interface::{Interface, Link},
    object::{self, Plain},
};
use aya::{
    Ebpf,
    maps::{Array, HashMap, LpmTrie, MapData, MapError, PerCpuArray, PerCpuHashMap, lpm_trie::Key},
};
use std::collections::{BTreeMap, btree_map::Entry};
use x0_ebpf_shared::{
    FLAG_ARMED, FLAG_PEER_RULES, FLAG_PREFIX_RULES, PREFIX_RULES_MAP, RULE_LIMIT, RULES_MAP, RuleEntry, Settings,
    TAGS_MAP, TOTALS_MAP, TagStats,
};

const NS_PER_S: u64 = 1_000_000_000;

/// The numbers by which the programs know peers; one is kept while a tag or a rule uses it.
#[derive(Debug, Default)]
struct Numbers {
    by_peer: BTreeMap<PeerId, (u32, usize)>,
    free: Vec<u32>,
    next: u32,
}

impl Numbers {
    fn acquire(&mut self, peer: PeerId) -> Result<u32, FilterError> {
        match self.by_peer.entry(peer) {
            Entry::Occupied(mut entry) => {
                entry.get_mut().1 += 1;
                Ok(entry.get().0)
            }
            Entry::Vacant(entry) => {
                let number = match self.free.pop() {
                    Some(number) => number,
                    None => {
                        let number = self.next;
                        self.next = number.checked_add(1).ok_or(FilterError::TooManyPeers { max: usize::MAX })?;
                        number
                    }
                };
                entry.insert((number, 1));
                Ok(number)
            }
        }
    }

    fn release(&mut self, peer: &PeerId) {
        if let Some((number, uses)) = self.by_peer.get_mut(peer) {
            *uses -= 1;
            if *uses == 0 {
                self.free.push(*number);
                self.by_peer.remove(peer);
            }
        }
    }
}

/// The filter in the kernel. Dropping it detaches its programs from all interfaces.
pub struct MeshFilter {
    pub(super) ebpf: Ebpf,
    settings_map: Array<MapData, Plain<Settings>>,
    tags: Tags,
    rules: HashMap<MapData, u32, Plain<RuleEntry>>,
    prefix_rules: LpmTrie<MapData, [u8; 16], u32>,
    reader: FilterReader,
    pub(super) settings: Settings,
    tags_max: u32,
    /// Asked once, because the answer is read from a file.
    cpus: usize,
    numbers: Numbers,
    ruled: BTreeMap<PeerId, u32>,
    prefixes: BTreeMap<PrefixKey, u32>,
    pub(super) attached: BTreeMap<String, Attached>,
}

impl std::fmt::Debug for MeshFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MeshFilter")
            .field("attached", &self.attached)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl MeshFilter {
    /// Loads the programs and their maps. Nothing is attached, allowed, ruled or enforced yet.
    ///
    /// # Errors
    /// Those of [`FilterConfig::check`]; [`LoaderError::NotPermitted`] without the rights.
    pub fn load(config: &FilterConfig) -> Result<Self, FilterError> {
        config.check()?;
        let mut ebpf = object::load(&[(TAGS_MAP, config.tags_max)])?;
        let tags_map = object::take(&mut ebpf, TAGS_MAP)?;
        let reader = FilterReader::new(
            PerCpuHashMap::try_from(object::again(&tags_map)?).map_err(LoaderError::Map)?,
            PerCpuArray::try_from(object::take(&mut ebpf, TOTALS_MAP)?).map_err(LoaderError::Map)?,
            object::senders(&mut ebpf)?,
        );
        let mut filter = Self {
            settings_map: object::settings(&mut ebpf)?,
            tags: PerCpuHashMap::try_from(tags_map).map_err(LoaderError::Map)?,
            rules: HashMap::try_from(object::take(&mut ebpf, RULES_MAP)?).map_err(LoaderError::Map)?,
            prefix_rules: LpmTrie::try_from(object::take(&mut ebpf, PREFIX_RULES_MAP)?).map_err(LoaderError::Map)?,
            reader,
            settings: Settings { probe_port: config.probe_port.unwrap_or(0), ..Settings::default() },
            tags_max: config.tags_max,
            cpus: object::cpus()?,
            numbers: Numbers::default(),
            ruled: BTreeMap::new(),
            prefixes: BTreeMap::new(),
            attached: BTreeMap::new(),
            ebpf,
        };
        filter.set_ports(&config.ports)?;
        filter.set_buckets(config.per_prefix, config.global)?;
        Ok(filter)
    }

    /// Attaches the filter to an interface, with the maps that all its interfaces share.
    ///
    /// # Errors
    /// [`FilterError::AlreadyAttached`]; the refusals of XDP; [`FilterError::ArmNeedsLinks`] when tags are
    /// enforced on a kernel whose programs outlive a killed process.
    pub fn attach(&mut self, interface: &str, mode: Mode) -> Result<Hook, FilterError> {
        if self.attached.contains_key(interface) {
            return Err(FilterError::AlreadyAttached { interface: interface.to_owned() });
        }
        let found = Interface::look(interface)?;
        let attached = match mode {
            Mode::Tc if !hook::has_tcx() && self.settings.flags & FLAG_ARMED != 0 => {
                return Err(FilterError::ArmNeedsLinks { interface: found.name });
            }
            Mode::Tc => hook::attach_tc(&mut self.ebpf, &found)?,
            Mode::Xdp | Mode::XdpForced if found.link != Link::Ethernet => {
                return Err(FilterError::XdpNeedsEthernet { interface: found.name });
            }
            Mode::Xdp if !found.hardware => {
                let driver = if found.driver.is_empty() { "no driver".to_owned() } else { found.driver };
                return Err(FilterError::XdpNeedsHardware { interface: found.name, driver });
            }
            Mode::Xdp => hook::attach_xdp(&mut self.ebpf, &found, false)?,
            Mode::XdpForced => hook::attach_xdp(&mut self.ebpf, &found, true)?,
        };
        let hook = attached.hook;
        self.attached.insert(found.name, attached);
        tracing::info!(interface, ?hook, "mesh filter attached");
        Ok(hook)
    }

    /// Detaches the filter from an interface, which may be gone; whether it was attached.
    pub fn detach(&mut self, interface: &str) -> bool {
        self.attached.remove(interface).is_some()
    }

    /// Where the filter runs.
    pub fn interfaces(&self) -> impl Iterator<Item = (&str, Hook)> {
        self.attached.iter().map(|(interface, attached)| (interface.as_str(), attached.hook))
    }

    /// Lets the datagrams of a tag in and counts them for the peer. A tag that another peer had goes over
    /// with fresh counters.
    ///
    /// # Errors
    /// [`FilterError::TooManyTags`]; [`LoaderError::Map`] when the kernel refuses.
    pub fn allow(&mut self, tag: u32, peer: PeerId) -> Result<(), FilterError> {
        match self.reader.with_book(|book| book.owners.get(&tag).copied()) {
            Some(owner) if owner == peer => return Ok(()),
            Some(_) => self.revoke(tag)?,
            None => {}
        }
        if self.tags() >= usize::try_from(self.tags_max).unwrap_or(usize::MAX) {
            return Err(FilterError::TooManyTags { max: self.tags_max });
        }
        let number = self.numbers.acquire(peer)?;
        let stored = object::on_all_cpus(self.cpus, Plain(TagStats { peer: number, ..TagStats::default() }))
            .and_then(|values| Ok(self.tags.insert(tag, values, 0)?));
        if let Err(error) = stored {
            self.numbers.release(&peer);
            return Err(error.into());
        }
        self.reader.with_book(|book| book.owners.insert(tag, peer));
        Ok(())
    }

    /// Lets a tag's datagrams in no longer; its counts stay with its peer. Unknown tags are no error.
    ///
    /// # Errors
    /// [`LoaderError::Map`] when the kernel refuses; the tag is then still allowed.
    pub fn revoke(&mut self, tag: u32) -> Result<(), FilterError> {
        let Some(peer) = self.reader.with_book(|book| book.owners.get(&tag).copied()) else { return Ok(()) };
        let traffic = self.reader.tag(tag)?.unwrap_or_else(Traffic::default);
        match self.tags.remove(&tag) {
            Ok(()) | Err(MapError::KeyNotFound) => {}
            Err(error) => return Err(LoaderError::Map(error).into()),
        }
        self.numbers.release(&peer);
        self.reader.with_book(|book| {
            book.owners.remove(&tag);
            book.retire(peer, &traffic);
        });
        Ok(())
    }

    /// How many tags are allowed.
    #[must_use]
    pub fn tags(&self) -> usize {
        self.reader.with_book(|book| book.owners.len())
    }

    /// Whether datagrams with unknown tags are dropped (`true`), or counted and passed.
    ///
    /// # Errors
    /// [`FilterError::ArmNeedsLinks`]; [`LoaderError::Map`] when the kernel refuses.
    pub fn arm(&mut self, enforce: bool) -> Result<(), FilterError> {
        if enforce && let Some((interface, _)) = self.interfaces().find(|(_, hook)| *hook == Hook::Clsact) {
            return Err(FilterError::ArmNeedsLinks { interface: interface.to_owned() });
        }
        self.set_flag(FLAG_ARMED, enforce)
    }

    /// Whether unknown tags are dropped.
    #[must_use]
    pub const fn is_armed(&self) -> bool {
        self.settings.flags & FLAG_ARMED != 0
    }

    /// Sets the UDP ports of the mesh, instead of those before.
    ///
    /// # Errors
    /// [`FilterError::Ports`]; [`LoaderError::Map`] when the kernel refuses.
    pub fn set_ports(&mut self, ports: &[u16]) -> Result<(), FilterError> {
        FilterConfig::check_ports(ports)?;
        let mut settings = self.settings;
        settings.mesh_ports = Default::default();
        for (place, port) in settings.mesh_ports.iter_mut().zip(ports) {
            *place = *port;
        }
        self.store(settings)
    }

    /// Sets the limits of handshakes.
    ///
    /// # Errors
    /// [`FilterError::Bucket`]; [`LoaderError::Map`] when the kernel refuses.
    pub fn set_buckets(&mut self, per_prefix: BucketConfig, global: BucketConfig) -> Result<(), FilterError> {
        per_prefix.check("per_prefix")?;
        global.check("global")?;
        let cost = |bucket: BucketConfig| NS_PER_S / u64::from(bucket.per_s);
        self.store(Settings {
            prefix_cost_ns: cost(per_prefix),
            prefix_window_ns: cost(per_prefix) * u64::from(per_prefix.burst),
            global_cost_ns: cost(global),
            global_window_ns: cost(global) * u64::from(global.burst),
            ..self.settings
        })
    }

    /// Sets all rules at once, instead of those before. A peer's limit that stays goes on where it was.
    ///
    /// # Errors
    /// [`FilterError::TooManyRules`], [`FilterError::Limit`] and [`FilterError::PrefixLength`] before
    /// anything changes; [`LoaderError::Map`] when the kernel refuses, and then some rules are the new
    /// ones already.
    pub fn set_rules(&mut self, peers: &[PeerRule], prefixes: &[PrefixRule]) -> Result<(), FilterError> {
        let (peers, prefixes) = (rules::peers(peers)?, rules::prefixes(prefixes)?);
        let gone: Vec<PeerId> = self.ruled.keys().filter(|peer| !peers.contains_key(*peer)).copied().collect();
        for peer in gone {
            self.remove_rule(&peer)?;
        }
        for (peer, entry) in peers {
            self.store_rule(peer, entry)?;
        }
        self.set_flag(FLAG_PEER_RULES, !self.ruled.is_empty())?;
        let gone: Vec<PrefixKey> = self.prefixes.keys().filter(|key| !prefixes.contains_key(*key)).copied().collect();
        for key in gone {
            self.prefix_rules.remove(&Key::new(key.0, key.1)).map_err(LoaderError::Map)?;
            self.prefixes.remove(&key);
        }
        for (key, action) in prefixes {
            self.prefix_rules.insert(&Key::new(key.0, key.1), action, 0).map_err(LoaderError::Map)?;
            self.prefixes.insert(key, action);
        }
        self.set_flag(FLAG_PREFIX_RULES, !self.prefixes.is_empty())
    }

    fn remove_rule(&mut self, peer: &PeerId) -> Result<(), FilterError> {
        let Some(number) = self.ruled.get(peer) else { return Ok(()) };
        self.rules.remove(number).map_err(LoaderError::Map)?;
        self.ruled.remove(peer);
        self.numbers.release(peer);
        Ok(())
    }

    fn store_rule(&mut self, peer: PeerId, mut entry: RuleEntry) -> Result<(), FilterError> {
        let known = self.ruled.get(&peer).copied();
        let number = match known {
            Some(number) => number,
            None => self.numbers.acquire(peer)?,
        };
        if known.is_some() && entry.actions & RULE_LIMIT != 0 {
            // Setting the same rules again must not fill a bucket.
            entry.word = self.rules.get(&number, 0).map_err(LoaderError::Map)?.0.word;
        }
        if let Err(error) = self.rules.insert(number, Plain(entry), 0) {
            if known.is_none() {
                self.numbers.release(&peer);
            }
            return Err(LoaderError::Map(error).into());
        }
        self.ruled.insert(peer, number);
        Ok(())
    }

    /// A handle that reads what the filter counts, for other threads.
    #[must_use]
    pub fn reader(&self) -> FilterReader {
        self.reader.clone()
    }

    fn set_flag(&mut self, flag: u32, on: bool) -> Result<(), FilterError> {
        let flags = if on { self.settings.flags | flag } else { self.settings.flags & !flag };
        self.store(Settings { flags, ..self.settings })
    }

    pub(super) fn store(&mut self, settings: Settings) -> Result<(), FilterError> {
        object::set(&mut self.settings_map, settings)?;
        self.settings = settings;
        Ok(())
    }
}
