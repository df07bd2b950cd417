//! The carrier between machines: libp2p over TCP, with post-quantum TLS in place of libp2p's keys.
//!
//! ```text
//!                       P2pCarrier (Carrier)
//!      broadcast, send |        ^ events          Admission::set
//!                      v        |                      |
//!    routes: peer -> queue   readers             +-----v------+   address book, bans,
//!                |              ^                |  manager   |-- gate, peer store
//!                v              |                +-----+------+
//!             writers ------- link ------ streams -- swarm -- PqTransport (TCP, TLS, yamux)
//! ```
//!
//! # Correctness
//! * No byte of the application is read from a peer whose ML-DSA-65 key is not admitted; the links of
//!   a peer that leaves the list are closed.
//! * A peer counts only after hellos went both ways: the dialling side of TLS 1.3 is done before the
//!   other has judged its key.
//! * Votes and bulk have a connection each with the same peer ([`lane`]), and on it one stream for each class, so that a
//!   vote waits for no block, not even for one that TCP sends again.
//!
//! # Limits
//! The `LINK_*` constants of `x0-limits`: handshakes per source, streams, windows, queues, quotas.
//!
//! # Errors
//! [`NetworkError`] at the start; [`HandshakeError`] for each way in which a handshake fails, counted
//! in [`P2pMetrics`]; [`Unlinked::last_error`] says why a wanted peer has no link.

mod address;
mod book;
mod conduct;
mod gate;
mod lane;
mod link;
mod manager;
mod metrics;
mod quota;
mod settings;
mod shared;
mod socket;
mod store;
mod streams;
#[cfg(test)]
mod tests;
mod transport;
mod wire;

pub use address::{AddressError, HostPort, PeerAddress};
pub use book::Unlinked;
pub use gate::{GateLimit, GateLimits, GateRefusal};
pub use metrics::{ChannelMetrics, P2pMetrics};
pub use quota::ChannelQuota;
pub use settings::{Direction, NetworkError, P2pConfig, P2pLimits, PeerInfo};
pub use shared::Tip;
pub use transport::HandshakeError;
pub use wire::{LINK_VERSION, reads_back};

use crate::{Carrier, CarrierEvent, CarrierStats, Channel, Offence, PeerKey, SendError, check_size, queue::Waiting};
use book::{Book, Origin};
use bytes::Bytes;
use gate::Gate;
use libp2p::{Swarm, Transport};
use manager::{Manager, Store};
use metrics::Counters;
use parking_lot::{Mutex, RwLock};
use rand::{SeedableRng, rngs::StdRng};
use shared::{Command, LinkFacts, Lists, Routes, Shared, millis};
use socket::Listener;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};
use streams::Links;
use tokio::{
    runtime::{Builder, Runtime},
    sync::{mpsc, oneshot},
};
use transport::{PqTransport, Security};
use x0_crypto::{SigningKey, tls::TlsIdentity};

/// Threads that move frames.
const THREADS: usize = 2;
/// Threads that make and check handshakes: one, so that a storm of them cannot take every core.
const HANDSHAKE_THREADS: usize = 1;
/// Threads for names and files.
const BLOCKING_THREADS_MAX: usize = 8;
/// Stack of a thread of the network, bytes.
const STACK_BYTES: usize = 2 * 1024 * 1024;
/// Longest wait for the end of the carrier's work.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// The list of peers that may have links. Clones share it.
#[derive(Clone)]
pub struct Admission {
    shared: Arc<Shared>,
}

impl Admission {
    /// Admits exactly these peers and those of the configuration from now on. Links of others are
    /// closed; new ones are dialled as soon as their addresses are known.
    pub fn set(&self, peers: BTreeSet<PeerKey>) {
        {
            let mut listed = self.shared.lists.listed.write();
            if *listed == peers {
                return;
            }
            *listed = peers;
        }
        self.shared.routes.write().retain(|peer, _| self.shared.lists.admits(peer));
        self.shared.tell(Command::AdmissionChanged);
    }

    /// The peers that are admitted now.
    #[must_use]
    pub fn peers(&self) -> BTreeSet<PeerKey> {
        self.shared.lists.all()
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.peers()).finish()
    }
}

/// Carries frames to admitted peers on other machines. It has threads of its own; dropping it ends
/// them and every link.
pub struct P2pCarrier {
    shared: Arc<Shared>,
    listening: Vec<SocketAddr>,
    receiver: Mutex<Option<mpsc::Receiver<CarrierEvent>>>,
    runtimes: Mutex<Vec<Runtime>>,
}

impl std::fmt::Debug for P2pCarrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("P2pCarrier").field("local", &self.shared.local).finish_non_exhaustive()
    }
}

fn runtime(name: &str, threads: usize) -> Result<Runtime, NetworkError> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name(name)
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .map_err(NetworkError::Threads)
}

/// Ends its runtimes without waiting unless they are taken out: a runtime must not end within another.
struct Runtimes(Vec<Runtime>);

impl Drop for Runtimes {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Runtime::shutdown_background);
    }
}

impl P2pCarrier {
    /// Binds the listening addresses and starts to dial. `tip` gives the height that peers are told.
    ///
    /// # Errors
    /// [`NetworkError`]. Nothing runs afterwards.
    pub async fn start(
        config: P2pConfig,
        network_key: SigningKey,
        genesis: [u8; 32],
        tip: Tip,
    ) -> Result<Self, NetworkError> {
        if config.software.len() > x0_limits::LINK_SOFTWARE_BYTES_MAX {
            return Err(NetworkError::Software { bytes: config.software.len() });
        }
        // Reading the store and making threads blocks for a moment.
        let prepared = tokio::task::spawn_blocking(move || prepare(config, &network_key, genesis, tip)).await;
        prepared.map_err(|error| NetworkError::Threads(io::Error::other(error)))?
    }

    /// The list of admitted peers.
    #[must_use]
    pub fn admission(&self) -> Admission {
        Admission { shared: Arc::clone(&self.shared) }
    }

    /// Where this node listens.
    #[must_use]
    pub fn listening(&self) -> Vec<SocketAddr> {
        self.listening.clone()
    }

    /// The peers with a standing link.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerInfo> {
        let routes: Vec<_> = self.shared.routes.read().iter().map(|(key, routes)| (*key, routes.clone())).collect();
        routes.into_iter().map(|(key, routes)| self.peer_info(key, &routes)).collect()
    }

    fn peer_info(&self, key: PeerKey, routes: &Routes) -> PeerInfo {
        let now = self.shared.now();
        let route = &routes.votes;
        let facts = &route.facts;
        let sum = |counter: fn(&LinkFacts) -> &std::sync::atomic::AtomicU64| {
            routes.each().map(|route| counter(&route.facts).load(Ordering::Relaxed)).sum()
        };
        let age = Duration::from_millis(now.saturating_sub(route.since_ms));
        let rtt_us = u32::try_from(facts.rtt_us.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        PeerInfo {
            key,
            address: route.remote,
            direction: if route.dialled { Direction::Out } else { Direction::In },
            version: route.software.clone(),
            tip: facts.tip.load(Ordering::Relaxed),
            since: SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH),
            rtt_ms: (rtt_us > 0).then(|| f64::from(rtt_us) / 1_000.0),
            clock_ahead_ms: facts.clock_ahead_ms.load(Ordering::Relaxed),
            bulk_apart: routes.apart(),
            sent: sum(|facts| &facts.sent),
            received: sum(|facts| &facts.received),
            dropped: sum(|facts| &facts.dropped),
            penalties: self.shared.lists.conduct.lock().points(&key, now),
        }
    }

    /// The admitted peers without a link, and why; at most half a second old.
    #[must_use]
    pub fn unlinked(&self) -> Vec<Unlinked> {
        self.shared.unlinked.lock().clone()
    }

    /// What was counted since the start.
    #[must_use]
    pub fn metrics(&self) -> P2pMetrics {
        let (peers, peers_bulk_apart) = {
            let routes = self.shared.routes.read();
            (routes.len() as u64, routes.values().filter(|routes| routes.apart()).count() as u64)
        };
        let peers_missing = self.shared.unlinked.lock().len() as u64;
        P2pMetrics { peers, peers_missing, peers_bulk_apart, ..self.shared.counters.read() }
    }

    /// Ends every link and the carrier's threads, after the peer store is written. The stream of
    /// events ends.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        self.shared.tell(Command::Stop(done));
        if tokio::time::timeout(STOP_PATIENCE, stopped).await.is_err() {
            tracing::warn!("the network did not stop in time; the peer store may be old");
        }
        self.end();
    }

    fn end(&self) {
        *self.shared.events.lock() = None;
        self.shared.routes.write().clear();
        drop(Runtimes(std::mem::take(&mut *self.runtimes.lock())));
    }
}

impl Drop for P2pCarrier {
    fn drop(&mut self) {
        self.end();
    }
}

/// Everything of a start that blocks.
fn prepare(config: P2pConfig, key: &SigningKey, genesis: [u8; 32], tip: Tip) -> Result<P2pCarrier, NetworkError> {
    let started = Instant::now();
    let mut runtimes = Runtimes(vec![runtime("x0-p2p", THREADS)?, runtime("x0-handshake", HANDSHAKE_THREADS)?]);
    let (frames, handshakes) = match &runtimes.0[..] {
        [frames, handshakes] => (frames.handle().clone(), handshakes.handle().clone()),
        _ => return Err(NetworkError::Threads(io::Error::other("no runtimes"))),
    };
    let _entered = frames.enter();
    let listeners = bind(&config.listen)?;
    let listening: Vec<_> = listeners.iter().map(Listener::address).collect();
    let identity = TlsIdentity::from_key(key);
    let local = PeerKey::of(identity.public());
    let id = transport::peer_id(identity.public()).ok_or(NetworkError::Identity)?;
    let counters = Arc::new(Counters::default());
    let lists = Arc::new(Lists { fixed: config.peers.iter().map(|peer| peer.key).collect(), ..Lists::default() });
    let judge = {
        let lists = Arc::clone(&lists);
        Arc::new(move |peer: &PeerKey| lists.judge(peer, millis(started)))
    };
    let security = Arc::new(Security::new(identity, &genesis, judge, handshakes, Arc::clone(&counters)));
    let (commands, waiting) = mpsc::unbounded_channel();
    let (events, receiver) = mpsc::channel(x0_limits::CARRIER_EVENTS_MAX);
    let random = StdRng::from_os_rng();
    let shared = Arc::new(Shared {
        local,
        genesis,
        software: config.software.clone(),
        started,
        tip,
        security: Arc::clone(&security),
        counters: Arc::clone(&counters),
        lists,
        routes: RwLock::default(),
        quotas: config.limits.quotas,
        commands,
        events: Mutex::new(Some(events.clone())),
        own_addresses: own_addresses(&config, &listening),
        tellings: RwLock::default(),
        budget: wire::budget(),
        unlinked: Mutex::default(),
    });
    let (book, store) = address_book(&config, local)?;
    let gate = Arc::new(Mutex::new(Gate::new(config.limits.gate, 0)));
    let transport = PqTransport { listeners, security, gate: Arc::clone(&gate), started, counters };
    let swarm_config =
        libp2p::swarm::Config::with_tokio_executor().with_max_negotiating_inbound_streams(x0_limits::LINK_STREAMS_MAX);
    let swarm = Swarm::new(transport.boxed(), Links::new(Arc::clone(&shared)), id, swarm_config);
    let (emitter, link_events) = mpsc::unbounded_channel();
    // The channel is new and the emitter has only begun, so that this is the first event.
    drop(emitter.send((Some(CarrierEvent::Listening), None)));
    let manager = Manager::new(Arc::clone(&shared), swarm, waiting, emitter, gate, store, book, random);
    frames.spawn(manager::emit(link_events, events));
    frames.spawn(manager.run());
    Ok(P2pCarrier {
        shared,
        listening,
        receiver: Mutex::new(Some(receiver)),
        runtimes: Mutex::new(std::mem::take(&mut runtimes.0)),
    })
}

fn bind(addresses: &[SocketAddr]) -> Result<Vec<Listener>, NetworkError> {
    addresses
        .iter()
        .map(|address| Listener::bind(*address).map_err(|source| NetworkError::Listen { address: *address, source }))
        .collect()
}

/// What this node tells of where it is.
fn own_addresses(config: &P2pConfig, listening: &[SocketAddr]) -> Vec<String> {
    let mut addresses: Vec<_> = if config.advertise.is_empty() {
        listening.iter().map(|address| HostPort::from_socket(*address).to_string()).collect()
    } else {
        config.advertise.iter().map(ToString::to_string).collect()
    };
    addresses.truncate(x0_limits::LINK_ADDRESSES_PER_PEER_MAX);
    addresses
}

/// The address book with what the configuration and the store know.
fn address_book(config: &P2pConfig, local: PeerKey) -> Result<(Book, Store), NetworkError> {
    let mut book = Book::new(local);
    for peer in &config.peers {
        book.learn(peer.key, peer.address.clone(), Origin::Configured, 0);
    }
    let mut store = Store { path: config.store.clone(), saved: BTreeMap::new(), saved_ms: 0 };
    if let Some(path) = &config.store {
        match store::load(path).map_err(|source| NetworkError::Store { path: path.clone(), source })? {
            store::Loaded::Missing => {}
            store::Loaded::Damaged { reason, moved_to } => {
                tracing::warn!(path = %path.display(), reason, moved_to = %moved_to.display(), "peer store damaged and set aside");
            }
            store::Loaded::Addresses(addresses) => {
                book.remember(&addresses);
                store.saved = addresses;
            }
        }
    }
    Ok((book, store))
}

impl Carrier for P2pCarrier {
    fn local(&self) -> PeerKey {
        self.shared.local
    }

    fn broadcast(&self, channel: Channel, bytes: Bytes) -> Result<(), SendError> {
        check_size(channel, &bytes)?;
        if self.shared.events.lock().is_none() {
            return Err(SendError::Closed);
        }
        for routes in self.shared.routes.read().values() {
            self.push(routes, channel, bytes.clone());
        }
        Ok(())
    }

    fn send(&self, peer: &PeerKey, channel: Channel, bytes: Bytes) -> Result<(), SendError> {
        check_size(channel, &bytes)?;
        if self.shared.events.lock().is_none() {
            return Err(SendError::Closed);
        }
        let routes = self.shared.routes.read();
        let routes = routes.get(peer).ok_or(SendError::NoLink(*peer))?;
        self.push(routes, channel, bytes);
        Ok(())
    }

    fn take_events(&self) -> Option<mpsc::Receiver<CarrierEvent>> {
        self.receiver.lock().take()
    }

    fn stats(&self) -> CarrierStats {
        let metrics = self.shared.counters.read();
        metrics.channels.iter().fold(CarrierStats::default(), |sum, channel| CarrierStats {
            sent: sum.sent + channel.sent,
            dropped: sum.dropped + channel.dropped,
            received: sum.received + channel.received,
        })
    }

    fn penalize(&self, peer: &PeerKey, offence: Offence) {
        self.shared.offend(*peer, offence);
    }
}

impl P2pCarrier {
    fn push(&self, routes: &Routes, channel: Channel, bytes: Bytes) {
        let route = routes.of(channel);
        let dropped = route.queue.push(Waiting { channel, bytes, not_before: self.shared.started });
        if dropped > 0 {
            route.facts.dropped.fetch_add(dropped, Ordering::Relaxed);
            self.shared.counters.dropped(channel, dropped);
        }
    }
}
