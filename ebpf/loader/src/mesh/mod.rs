//! The mesh's filter in the kernel: tags, handshake buckets, rules of playbooks, and counters.
//!
//! ```text
//!   daemon --allow/revoke, rules--> MeshFilter --maps--> x0_ingress / x0_ingress_ip / x0_xdp
//!   data thread <--last_seen(tag)-- FilterReader <--maps----/
//! ```
//!
//! API (the bodies are in `filter.rs` and `reader.rs`):
//!
//! ```text
//! MeshGuard::load(&FilterConfig) -> MeshGuard            never fails: Kernel(MeshFilter) or Degraded { reason }
//!   .attach(interface, Mode) -> Option<Hook>             a failure is logged and becomes part of status()
//!   .allow(tag, peer) .revoke(tag) .set_rules(..)        nothing when degraded
//!   .last_seen(tag) -> Option<u64>  .status() -> FilterStatus
//!
//! MeshFilter::load(&FilterConfig) -> Result<MeshFilter, FilterError>
//!   .attach(&mut self, interface: &str, mode: Mode) -> Result<Hook, FilterError>      several interfaces, one set of maps
//!   .detach(&mut self, interface: &str) -> bool
//!   .interfaces() -> impl Iterator<Item = (&str, Hook)>
//!   .allow(&mut self, tag: u32, peer: PeerId) -> Result<(), FilterError>               Event::TagAdded
//!   .revoke(&mut self, tag: u32) -> Result<(), FilterError>                            Event::TagRemoved
//!   .arm(&mut self, enforce: bool) -> Result<(), FilterError>                          unknown tags: drop, or only count
//!   .set_rules(&mut self, &[PeerRule], &[PrefixRule]) -> Result<(), FilterError>       all rules at once
//!   .set_buckets(&mut self, per_prefix: BucketConfig, global: BucketConfig) -> Result<(), FilterError>
//!   .set_ports(&mut self, ports: &[u16]) -> Result<(), FilterError>
//!   .reader(&self) -> FilterReader                                                     Clone + Send + Sync
//!
//! FilterReader
//!   .last_seen(&self, tag: u32) -> Option<u64>              ns of CLOCK_MONOTONIC; None: never, or tag unknown
//!   .tag(&self, tag: u32) -> Result<Option<Traffic>, FilterError>
//!   .peers(&self) -> Result<Vec<PeerTraffic>, FilterError>  bounded by tags_max
//!   .totals(&self) -> Result<Totals, FilterError>
//!   .senders(&self) -> Result<BTreeMap<IpAddr, PeerCounters>, LoaderError>   of the probe port
//! ```
