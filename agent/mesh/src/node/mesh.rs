//! The node itself: what it is made of, and the calls from outside.

use super::{
    AuthorityError, AuthorityView, Cause, Config, Counters, Event, Identity, JobDone, Rule, RuleError, Sink,
    UnderlayId,
    dials::Dials,
    filter::Filter,
    history::History,
    job::Jobs,
    links::{LINKS_MAX, LinkIx, Links},
    overlay::overlay_address,
    peers::{PeerIx, Peers},
    talks::Talks,
    timers::Timers,
    transmit::Buffer,
};
use crate::{
    Entropy, NodeId, Time,
    handshake::{self, Handshakes, Local},
    route::{self, Router, RouterConfig},
    session::TailPool,
};
use std::net::{Ipv6Addr, SocketAddr};

/// Most underlays.
pub const UNDERLAYS_MAX: usize = 32;
/// Bytes of the replay tails of all sessions together (mesh.md 3.6).
pub const TAIL_POOL_BYTES: usize = 8 * 1024 * 1024;

/// Why a configuration is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No underlay, or too many.
    #[error("{found} underlays, 1 to {UNDERLAYS_MAX} are possible")]
    Underlays {
        /// Underlays that were given.
        found: usize,
    },
    /// Two underlays have one number.
    #[error("underlay {underlay} is there twice")]
    DuplicateUnderlay {
        /// The number.
        underlay: UnderlayId,
    },
    /// The name is not that of the key.
    #[error("the key belongs to {of_key}, not to {given}")]
    Identity {
        /// The name that was given.
        given: NodeId,
        /// The name of the key.
        of_key: NodeId,
    },
}

/// Numbers of timers.
pub(super) mod timer {
    pub(in super::super) const ROUTER: usize = 0;
    pub(in super::super) const HANDSHAKES: usize = 1;
    pub(in super::super) const DIALS: usize = 2;
    pub(in super::super) const LINKS: usize = 8;
    pub(in super::super) const TALKS: usize = LINKS + super::LINKS_MAX;
}

/// The timer of a link.
pub(super) const fn link_timer(at: LinkIx) -> usize {
    timer::LINKS + at.0
}

/// The timer of a conversation.
pub(super) const fn talk_timer(peer: PeerIx) -> usize {
    timer::TALKS + peer.0
}

/// One node of a mesh. See the module for how it is driven.
pub struct Mesh {
    pub(super) config: Config,
    pub(super) me: NodeId,
    pub(super) address: Ipv6Addr,
    pub(super) entropy: Box<dyn Entropy + Send>,
    pub(super) peers: Peers,
    pub(super) filter: Filter,
    pub(super) links: Links,
    pub(super) dials: Dials,
    /// Underlays without a carrier.
    pub(super) dark: Vec<UnderlayId>,
    pub(super) handshakes: Handshakes,
    pub(super) router: Router,
    pub(super) talks: Talks,
    /// Conversations that wait for the end of the batch.
    pub(super) touched: Vec<PeerIx>,
    /// Session indices that are to be forgotten; a buffer.
    pub(super) stale: Vec<u32>,
    pub(super) pool: TailPool,
    pub(super) timers: Timers,
    pub(super) jobs: Jobs,
    pub(super) buffer: Buffer,
    pub(super) second: Buffer,
    pub(super) control: Vec<u8>,
    pub(super) counters: Counters,
    pub(super) history: History,
    pub(super) actions: Vec<handshake::Action>,
    pub(super) outputs: Vec<route::Output>,
}

impl Mesh {
    /// A node without links and sessions. It does nothing before its first [`AuthorityView`].
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(
        config: Config,
        identity: Identity,
        mut entropy: Box<dyn Entropy + Send>,
        now: Time,
    ) -> Result<Self, ConfigError> {
        check(&config, &identity)?;
        let me = identity.id;
        let local = Local { node: me, key: identity.key, genesis: config.genesis, mesh_id: config.mesh_id };
        let handshakes = Handshakes::new(local, now, entropy.as_mut());
        let mut seed = [0; 8];
        entropy.fill(&mut seed);
        let router = Router::new(
            RouterConfig { me, mesh: config.mesh_id, first_seq: config.start_number, seed: u64::from_be_bytes(seed) },
            now,
        );
        let mut mesh = Self {
            me,
            address: overlay_address(&config.mesh_id, &me),
            config,
            entropy,
            peers: Peers::default(),
            filter: Filter::default(),
            links: Links::default(),
            dials: Dials::default(),
            dark: Vec::new(),
            handshakes,
            router,
            talks: Talks::default(),
            touched: Vec::new(),
            stale: Vec::new(),
            pool: TailPool::new(TAIL_POOL_BYTES),
            timers: Timers::default(),
            jobs: Jobs::default(),
            buffer: Buffer::new(),
            second: Buffer::new(),
            control: vec![0; x0_mesh_wire::limits::DATAGRAM_BYTES_MAX],
            counters: Counters::default(),
            history: History::default(),
            actions: Vec::new(),
            outputs: Vec::new(),
        };
        mesh.set_control_timers();
        Ok(mesh)
    }

    /// This node's overlay address, for the TUN interface (prefix length [`super::PREFIX_BITS`]).
    #[must_use]
    pub const fn address(&self) -> Ipv6Addr {
        self.address
    }

    /// A datagram came in. `received` is the kernel's stamp of its arrival on the clock of `now` (`now`
    /// itself without one). The bytes are opened in place.
    pub fn datagram(
        &mut self,
        now: Time,
        received: Time,
        underlay: UnderlayId,
        from: SocketAddr,
        bytes: &mut [u8],
        sink: &mut dyn Sink,
    ) {
        self.counters.datagrams_in += 1;
        self.counters.bytes_in += bytes.len() as u64;
        self.receive(now, received.min(now), underlay, from, bytes, sink);
    }

    /// The host sends an inner IP packet.
    pub fn packet(&mut self, now: Time, packet: &[u8], sink: &mut dyn Sink) {
        self.counters.packets_in += 1;
        self.send_packet(now, packet, sink);
    }

    /// The host sends several inner packets, as cut from one segmentation buffer.
    pub fn packets(&mut self, now: Time, packets: &[&[u8]], sink: &mut dyn Sink) {
        for packet in packets {
            self.packet(now, packet, sink);
        }
    }

    /// Ends a batch of [`Mesh::datagram`] and [`Mesh::packet`] calls: what was held back goes out.
    pub fn flush(&mut self, now: Time, sink: &mut dyn Sink) {
        while let Some(peer) = self.touched.pop() {
            self.flush_talk(now, peer, sink);
        }
    }

    /// An interface got (`up`) or lost its carrier, or an address.
    pub fn carrier(&mut self, now: Time, underlay: UnderlayId, up: bool, sink: &mut dyn Sink) {
        self.dark.retain(|dark| *dark != underlay);
        if !up {
            self.dark.push(underlay);
        }
        for at in self.links.which(|entry| entry.underlay == underlay) {
            let change = self.links.get_mut(at).and_then(|entry| entry.link.carrier(now, up));
            self.link_changed(now, at, change, sink);
        }
        if up {
            self.dials.iter_mut().filter(|dial| dial.underlay == underlay).for_each(|dial| dial.next = now);
        }
        self.set_control_timers();
    }

    /// The operating system has no way to send to this address (ENETUNREACH, EHOSTUNREACH, ENODEV, an
    /// ICMP error); not for ENOBUFS and EAGAIN, which say nothing about the path.
    pub fn send_failed(&mut self, now: Time, underlay: UnderlayId, to: SocketAddr, sink: &mut dyn Sink) {
        for at in self.links.which(|entry| entry.underlay == underlay && entry.address == to) {
            let change = self.links.get_mut(at).and_then(|entry| entry.link.send_failed(now));
            self.link_changed(now, at, change, sink);
        }
    }

    /// A datagram was too long for the interface or a path (EMSGSIZE, ICMP "packet too big").
    pub fn too_long(&mut self, now: Time, underlay: UnderlayId, to: SocketAddr, bytes: usize) {
        for at in self.links.which(|entry| entry.underlay == underlay && entry.address == to) {
            if let Some(entry) = self.links.get_mut(at) {
                entry.link.too_long(now, bytes);
            }
            self.set_link_timer(at);
        }
    }

    /// The kernel filter saw a frame with this tag arrive, although the loop may have had no time to
    /// read it: a stall of this process is not taken for silence of the link.
    pub fn kernel_seen(&mut self, tag: u32, seen: Time) {
        let Some(at) = self.links.tagged(tag).next() else { return };
        if let Some(entry) = self.links.get_mut(at) {
            entry.kernel_seen = entry.kernel_seen.max(Some(seen));
        }
    }

    /// Does what is due. Call it at [`Mesh::deadline`], after all datagrams that wait have been handed
    /// in: a loop that stalled must not judge before it has read what arrived meanwhile.
    pub fn tick(&mut self, now: Time, sink: &mut dyn Sink) {
        while let Some(number) = self.timers.due(now) {
            match number {
                timer::ROUTER => self.tick_router(now, sink),
                timer::HANDSHAKES => self.tick_handshakes(now, sink),
                timer::DIALS => self.tick_dials(now, sink),
                number if number >= timer::TALKS => self.tick_talk(now, PeerIx(number - timer::TALKS), sink),
                number => self.tick_link(now, LinkIx(number - timer::LINKS), sink),
            }
            // A part that is due again at once waits for the next call, so that this one ends.
            if self.timers.get(number).is_some_and(|at| at <= now) {
                self.timers.set(number, Some(now.plus_us(20)));
            }
        }
        self.flush(now, sink);
    }

    /// When [`Mesh::tick`] is due next. Constant time.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.timers.first()
    }

    /// The answer to a job.
    pub fn complete(&mut self, now: Time, done: JobDone, sink: &mut dyn Sink) {
        self.finish_job(now, done, sink);
        self.set_control_timers();
    }

    /// The authority says anew who belongs to the mesh. Links and sessions of who no longer does are
    /// closed before this returns.
    ///
    /// # Errors
    /// [`AuthorityError`]; the last view goes on.
    pub fn update_authority(
        &mut self,
        now: Time,
        view: AuthorityView,
        sink: &mut dyn Sink,
    ) -> Result<(), AuthorityError> {
        let changes = self.peers.update(&self.me, &self.config.mesh_id, view, &self.filter, now)?;
        for (peer, name) in &changes.gone {
            self.cut_off(now, *peer, name, Cause::Authority, sink);
            self.close_talk(now, *peer, Cause::Authority, sink);
        }
        let gone: Vec<NodeId> = changes.gone.into_iter().map(|(_, name)| name).collect();
        self.enforce(now, Cause::Authority, &gone, sink);
        Ok(())
    }

    /// Sets all rules at once, instead of those before. What a rule forbids is closed before this
    /// returns.
    ///
    /// # Errors
    /// [`RuleError`]; the rules before go on.
    pub fn set_rules(&mut self, now: Time, rules: &[Rule], sink: &mut dyn Sink) -> Result<(), RuleError> {
        self.filter = Filter::from_rules(rules)?;
        self.peers.apply(&self.filter, now);
        self.enforce(now, Cause::Rule, &[], sink);
        Ok(())
    }

    /// Asks for fresh keys with a peer, by new handshakes on its links and its session. What is open goes on
    /// until the new keys are confirmed.
    pub fn rekey(&mut self, now: Time, peer: &NodeId, sink: &mut dyn Sink) {
        for at in self.links.which(|entry| entry.name == *peer) {
            self.renew_keys(now, at);
        }
        if let Some(at) = self.peers.find(peer) {
            if let Some(open) = self.talks.get_mut(at).and_then(|talk| talk.sessions.sending()) {
                open.demand_handshake();
            }
            self.connect_talk(now, at, sink);
        }
        self.set_control_timers();
    }

    /// Says and remembers what happened.
    pub(super) fn say(&mut self, now: Time, event: Event, sink: &mut dyn Sink) {
        self.history.push(now, event.clone());
        sink.event(event);
    }

    /// Sets the timers of everything but links and conversations.
    pub(super) fn set_control_timers(&mut self) {
        self.timers.set(timer::ROUTER, Some(self.router.deadline()));
        self.timers.set(timer::HANDSHAKES, self.handshakes.deadline());
        self.timers.set(timer::DIALS, self.dials.deadline());
    }
}

/// Checks what does not change later.
fn check(config: &Config, identity: &Identity) -> Result<(), ConfigError> {
    let found = config.underlays.len();
    if found == 0 || found > UNDERLAYS_MAX {
        return Err(ConfigError::Underlays { found });
    }
    for (at, underlay) in config.underlays.iter().enumerate() {
        if config.underlays.iter().skip(at + 1).any(|other| other.id == underlay.id) {
            return Err(ConfigError::DuplicateUnderlay { underlay: underlay.id });
        }
    }
    let of_key = super::node_id(&identity.key);
    if of_key == identity.id { Ok(()) } else { Err(ConfigError::Identity { given: identity.id, of_key }) }
}
