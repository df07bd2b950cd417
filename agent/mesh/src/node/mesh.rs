//! The whole data plane of an agent, without sockets and clocks.
//!
//! ```text
//!   UDP --datagram--> [filter] -> link -> relay? --> Sink::send
//!                                   \-> session -> Sink::deliver --> TUN
//!   TUN --packet----> session -> scheduler -> link ----------------> Sink::send
//!   timer --tick----> heartbeats, liveness, probes, gossip
//!   chain --update_authority--> peers, keys, trust
//!   worker <--Sink::job-- signatures and verifications --complete--> handshake, gossip
//! ```
mod config;
mod job;
mod sink;

pub use config::{AuthorityView, Config, Identity, Peer, Rights, Rule, Underlay, UnderlayId};
pub use job::{Job, JobDone, JobKind};
pub use sink::{Cause, Event, Sink, Urgency};

/// One node of a mesh.
pub struct Mesh { /* private */ }

impl Mesh {
    /// A node without links and sessions. Send it an [`AuthorityView`] next.
    ///
    /// # Errors
    /// [`ConfigError`] for a configuration that breaks a bound.
    pub fn new(config: Config, identity: Identity, entropy: Box<dyn Entropy + Send>, now: Time) -> Result<Self, ConfigError>;

    /// This node's overlay address, for the TUN interface (prefix length 48).
    pub fn address(&self) -> Ipv6Addr;

    /// Largest inner packet that needs no tunnel fragments on today's paths, bytes: the TUN's MTU.
    pub fn inner_mtu(&self) -> usize;

    /// A datagram came in. `received` is the kernel's stamp of its arrival (`now` without one). The
    /// bytes are opened in place.
    pub fn datagram(&mut self, now: Time, received: Time, underlay: UnderlayId, from: SocketAddr, bytes: &mut [u8], sink: &mut dyn Sink);

    /// The host sends an inner IP packet.
    pub fn packet(&mut self, now: Time, packet: &[u8], sink: &mut dyn Sink);

    /// The host sends several, as cut from one TSO buffer; the same as one call for each.
    pub fn packets(&mut self, now: Time, packets: &[&[u8]], sink: &mut dyn Sink);

    /// Ends a batch of `datagram`, `packet`, `packets` calls: acknowledgements that were held back go out.
    pub fn flush(&mut self, now: Time, sink: &mut dyn Sink);

    /// An interface got (`up`) or lost its carrier.
    pub fn carrier(&mut self, now: Time, underlay: UnderlayId, up: bool, sink: &mut dyn Sink);

    /// The operating system refused a datagram (ENETUNREACH, EHOSTUNREACH, EPERM, ENODEV; not ENOBUFS or EAGAIN,
    /// which say nothing about the path) or an ICMP error came back for `to`.
    pub fn send_failed(&mut self, now: Time, underlay: UnderlayId, to: SocketAddr, sink: &mut dyn Sink);

    /// A datagram of `Urgency::Sized` was too long for the interface (EMSGSIZE).
    pub fn too_long(&mut self, now: Time, underlay: UnderlayId, to: SocketAddr, bytes: usize);

    /// The kernel filter saw a frame with this tag arrive at `seen`, although the loop may have had no
    /// time to read it: the link is not judged silent for a stall of this process.
    pub fn kernel_seen(&mut self, tag: u32, seen: Time);

    /// Does what is due. Call it at [`Mesh::deadline`], after all waiting datagrams have been handed in
    /// (a loop that stalled must not judge before it has read what arrived meanwhile).
    pub fn tick(&mut self, now: Time, sink: &mut dyn Sink);

    /// When `tick` is due next. Constant time.
    pub fn deadline(&self) -> Option<Time>;

    /// The answer to a job.
    pub fn complete(&mut self, now: Time, done: JobDone, sink: &mut dyn Sink);

    /// The authority says anew who belongs to the mesh. Links and sessions of who no longer does are
    /// closed before this returns.
    ///
    /// # Errors
    /// [`AuthorityError`] for a view that is older or breaks a bound; the last view goes on.
    pub fn update_authority(&mut self, now: Time, view: AuthorityView, sink: &mut dyn Sink) -> Result<(), AuthorityError>;

    /// Sets all rules at once, instead of those before.
    ///
    /// # Errors
    /// [`RuleError`] for more rules than allowed or a weight above 16.
    pub fn set_rules(&mut self, now: Time, rules: &[Rule], sink: &mut dyn Sink) -> Result<(), RuleError>;

    /// Counters, links, sessions, as one value for `status` and for metrics.
    pub fn status(&self, now: Time) -> Status;

    /// Why each path of each session stands where it stands.
    pub fn paths_explain(&self, now: Time) -> Vec<SessionPaths>;

    /// Every event of the last minutes, oldest first (bounded).
    pub fn history(&self) -> impl Iterator<Item = &(Time, Event)>;
}
