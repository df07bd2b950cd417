//! Keeps links with every admitted peer: dials, takes links in, chooses between two, lets go.

use super::{
    address::HostPort,
    book::{Book, Origin},
    gate::{Gate, Source},
    lane::Lane,
    metrics::count,
    shared::{Command, Ready, Route, Routes, Shared},
    store,
    streams::Links,
    transport::{Judgement, dial_address},
    wire::{self, Hello, Told},
};
use crate::{CarrierEvent, PeerKey};
use futures::StreamExt;
use libp2p::{
    Swarm,
    swarm::{ConnectionId, DialError, SwarmEvent, dial_opts::DialOpts},
};
use parking_lot::Mutex;
use rand::{Rng, rngs::StdRng};
use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// Distance between two looks at everything that only time changes.
const HOUSEKEEPING: Duration = Duration::from_millis(500);

/// An event of a link for the node, if there is one, and who waits until the node has it and all earlier ones.
pub(super) type LinkEvent = (Option<CarrierEvent>, Option<oneshot::Sender<()>>);

/// Hands link events to the node in order, without ever holding up the manager.
pub(super) async fn emit(mut waiting: mpsc::UnboundedReceiver<LinkEvent>, events: mpsc::Sender<CarrierEvent>) {
    while let Some((event, heard)) = waiting.recv().await {
        if let Some(event) = event
            && events.send(event).await.is_err()
        {
            return;
        }
        if let Some(heard) = heard {
            // A link that ended meanwhile does not wait.
            let _ = heard.send(());
        }
    }
}

struct Connection {
    id: ConnectionId,
    lane: Lane,
    route: Route,
}

/// Where frames go: on each lane to its newest connection, which is the one most certainly alive, and while one lane has
/// none, to that of the other.
fn routes(links: &[Connection]) -> Option<Routes> {
    let newest = |lane| links.iter().rfind(|link| link.lane == lane);
    let votes = newest(Lane::Votes).or(links.last())?;
    let bulk = newest(Lane::Bulk).unwrap_or(votes);
    Some(Routes { votes: votes.route.clone(), bulk: bulk.route.clone() })
}

pub(super) struct Manager {
    pub shared: Arc<Shared>,
    pub swarm: Swarm<Links>,
    pub commands: mpsc::UnboundedReceiver<Command>,
    pub emitter: mpsc::UnboundedSender<LinkEvent>,
    pub gate: Arc<Mutex<Gate>>,
    pub store: Store,
    pub book: Book,
    pub random: StdRng,
    connections: BTreeMap<PeerKey, Vec<Connection>>,
    dials: HashMap<ConnectionId, (PeerKey, Lane, HostPort)>,
    resolved: BTreeMap<HostPort, Vec<IpAddr>>,
}

/// The peer store and what it holds.
pub(super) struct Store {
    pub path: Option<PathBuf>,
    pub saved: store::Addresses,
    pub saved_ms: u64,
}

impl Manager {
    pub(super) fn new(
        shared: Arc<Shared>,
        swarm: Swarm<Links>,
        commands: mpsc::UnboundedReceiver<Command>,
        emitter: mpsc::UnboundedSender<LinkEvent>,
        gate: Arc<Mutex<Gate>>,
        store: Store,
        book: Book,
        random: StdRng,
    ) -> Self {
        Self {
            shared,
            swarm,
            commands,
            emitter,
            gate,
            store,
            book,
            random,
            connections: BTreeMap::new(),
            dials: HashMap::new(),
            resolved: BTreeMap::new(),
        }
    }

    /// Runs until it is told to stop.
    pub(super) async fn run(mut self) {
        let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.addresses_changed();
        loop {
            self.dial_due();
            let next_dial = self.book.next_at().map(|at| at.saturating_sub(self.shared.now()));
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                command = self.commands.recv() => match command {
                    Some(Command::Stop(done)) => {
                        self.save().await;
                        // Its ports are free before whoever asked goes on, and may listen on them again.
                        drop(self.swarm);
                        // Whoever asked may have given up waiting.
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.on_command(command),
                    None => return,
                },
                _ = housekeeping.tick() => self.keep_house().await,
                () = tokio::time::sleep(Duration::from_millis(next_dial.unwrap_or(u64::from(u32::MAX)))),
                    if next_dial.is_some() => {}
            }
        }
    }

    fn on_swarm(&mut self, event: SwarmEvent<std::convert::Infallible>) {
        match event {
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.dial_failed(connection_id, &dial_error(&error));
            }
            SwarmEvent::ConnectionEstablished { .. } => count(&self.shared.counters.handshakes_done),
            // Links tell of their own end; failed handshakes are counted where they fail.
            _ => {}
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Ready(ready) => self.ready(*ready),
            Command::Ended { connection, peer, reason } => self.ended(connection, peer, &reason),
            Command::AdmissionChanged => self.admission_changed(),
            Command::Banned(peer) => self.dismiss(&peer),
            Command::Told(told) => self.told(&told),
            Command::Resolved { peer, lane, place, addresses } => self.resolved(peer, lane, place, addresses),
            Command::Stop(_) => {}
        }
    }

    // ---- dialling

    fn dial_due(&mut self) {
        for (peer, lane, place) in self.book.due(self.shared.now()) {
            match place.ip() {
                Some(ip) => self.dial(peer, lane, place.clone(), SocketAddr::new(ip, place.port())),
                None => self.resolve(peer, lane, place),
            }
        }
    }

    /// Asks the system for the addresses of a name, off this task.
    fn resolve(&self, peer: PeerKey, lane: Lane, place: HostPort) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let limit = Duration::from_millis(x0_limits::LINK_HANDSHAKE_TIMEOUT_MS);
            let name = (place.host().to_owned(), place.port());
            let lookup = async {
                let found = tokio::net::lookup_host((name.0.as_str(), name.1)).await?;
                Ok(found.take(x0_limits::LINK_ADDRESSES_PER_PEER_MAX).collect())
            };
            let addresses =
                tokio::time::timeout(limit, lookup).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
            shared.tell(Command::Resolved { peer, lane, place, addresses });
        });
    }

    fn resolved(&mut self, peer: PeerKey, lane: Lane, place: HostPort, addresses: std::io::Result<Vec<SocketAddr>>) {
        let chosen = addresses.and_then(|all| {
            self.resolved.insert(place.clone(), all.iter().map(SocketAddr::ip).collect());
            // Another one each time, since some may not be reachable from here.
            let index = self.random.random_range(0..all.len().max(1));
            all.get(index).copied().ok_or_else(|| std::io::Error::other("the name has no address"))
        });
        match chosen {
            Ok(socket) => {
                self.dial(peer, lane, place, socket);
                self.known_sources();
            }
            Err(error) => {
                count(&self.shared.counters.dials_failed);
                self.book.failed(&peer, lane, &place, error.to_string(), self.shared.now(), &mut self.random);
            }
        }
    }

    fn dial(&mut self, peer: PeerKey, lane: Lane, place: HostPort, socket: SocketAddr) {
        let Some(address) = dial_address(&peer, socket) else { return };
        let options = DialOpts::unknown_peer_id().address(address).build();
        let connection = options.connection_id();
        self.dials.insert(connection, (peer, lane, place));
        self.swarm.behaviour_mut().dialling(connection, lane);
        if let Err(error) = self.swarm.dial(options) {
            self.dial_failed(connection, &dial_error(&error));
        }
    }

    fn dial_failed(&mut self, connection: ConnectionId, error: &str) {
        let Some((peer, lane, place)) = self.dials.remove(&connection) else { return };
        self.swarm.behaviour_mut().dial_failed(connection);
        count(&self.shared.counters.dials_failed);
        tracing::debug!(%peer, ?lane, %place, error, "dial failed");
        self.book.failed(&peer, lane, &place, error.to_owned(), self.shared.now(), &mut self.random);
    }

    // ---- links

    fn ready(&mut self, ready: Ready) {
        let Ready { connection, peer, lane, route, hello, begin } = ready;
        let now = self.shared.now();
        let dialled = self.dials.remove(&connection).map(|(_, _, place)| place);
        if self.shared.lists.judge(&peer, now) != Judgement::Admitted {
            // `begin` is dropped, which ends the link.
            if let Some(place) = dialled {
                self.book.failed(&peer, lane, &place, "not admitted any more".to_owned(), now, &mut self.random);
            }
            return;
        }
        self.book.linked(&peer, lane, dialled.as_ref(), now);
        self.learn_from(peer, route.remote.ip(), &hello);
        let links = self.connections.entry(peer).or_default();
        let first = links.is_empty();
        if links.iter().filter(|link| link.lane == lane).count() >= x0_limits::LINK_CONNECTIONS_PER_LANE_MAX
            && let Some(oldest) = links.iter().position(|link| link.lane == lane)
        {
            let oldest = links.remove(oldest);
            self.swarm.close_connection(oldest.id);
        }
        links.push(Connection { id: connection, lane, route: route.clone() });
        self.reroute(&peer);
        if first {
            tracing::info!(
                peer = %hex::encode(peer.0), remote = %route.remote, software = %route.software, tip = hello.tip, "link stands"
            );
            self.emit(Some(CarrierEvent::PeerUp(peer)), Some(begin));
        } else {
            // After the event of the first one, which may still wait for the node.
            self.emit(None, Some(begin));
        }
        self.addresses_changed();
    }

    /// Brings the routes of an admitted peer up to date with its connections, and who dials for its bulk.
    fn reroute(&mut self, peer: &PeerKey) {
        let links = self.connections.get(peer).map_or(&[][..], Vec::as_slice);
        let votes: Vec<_> = links.iter().filter(|link| link.lane == Lane::Votes).collect();
        // While two dials have crossed, both sides see the same pair of names, but not yet the same connection.
        let leads = if let [only] = votes[..] { only.route.dialled } else { self.shared.local < *peer };
        self.book.lead(peer, leads, self.shared.now());
        let mut all = self.shared.routes.write();
        match routes(links) {
            Some(routes) => drop(all.insert(*peer, routes)),
            None => drop(all.remove(peer)),
        }
    }

    fn emit(&self, event: Option<CarrierEvent>, heard: Option<oneshot::Sender<()>>) {
        // The emitter lives as long as the node reads events.
        drop(self.emitter.send((event, heard)));
    }

    fn ended(&mut self, connection: ConnectionId, peer: PeerKey, reason: &str) {
        self.swarm.close_connection(connection);
        self.dial_failed(connection, reason);
        let Some(links) = self.connections.get_mut(&peer) else { return };
        let Some(at) = links.iter().position(|link| link.id == connection) else { return };
        let lane = links.remove(at).lane;
        let (last, last_of_lane) = (links.is_empty(), links.iter().all(|link| link.lane != lane));
        count(&self.shared.counters.links_ended);
        let now = self.shared.now();
        if self.shared.lists.judge(&peer, now) == Judgement::Admitted {
            self.reroute(&peer);
        }
        if last {
            self.shared.routes.write().remove(&peer);
            self.connections.remove(&peer);
            tracing::info!(peer = %hex::encode(peer.0), reason, "link ended");
            self.emit(Some(CarrierEvent::PeerDown(peer)), None);
        }
        if last_of_lane {
            self.book.unlinked(&peer, lane, now, &mut self.random);
            self.respect_ban(&peer);
        }
    }

    /// A banned peer is not dialled before its time: it would only be turned away.
    fn respect_ban(&mut self, peer: &PeerKey) {
        let now = self.shared.now();
        if let Judgement::Banned { for_ms } = self.shared.lists.judge(peer, now) {
            self.book.postpone(peer, now + for_ms);
        }
    }

    /// Closes every connection with a peer.
    fn dismiss(&mut self, peer: &PeerKey) {
        self.shared.routes.write().remove(peer);
        for link in self.connections.get(peer).into_iter().flatten() {
            link.route.queue.close();
            self.swarm.close_connection(link.id);
        }
        self.respect_ban(peer);
    }

    fn admission_changed(&mut self) {
        let now = self.shared.now();
        let mut wanted = self.shared.lists.all();
        wanted.remove(&self.shared.local);
        self.book.want(&wanted, now);
        self.shared.lists.conduct.lock().keep(|peer| wanted.contains(peer), now);
        let leaving: Vec<_> = self.connections.keys().filter(|peer| !wanted.contains(peer)).copied().collect();
        for peer in leaving {
            count(&self.shared.counters.links_dismissed);
            tracing::info!(peer = %hex::encode(peer.0), "peer left the list of admitted peers");
            self.dismiss(&peer);
        }
        self.addresses_changed();
    }

    /// Ends all but the newest of several connections with one peer on one lane. The side with the smaller name
    /// decides, so that the two sides never end one each; the other side waits longer, in case the
    /// first does not.
    fn end_surplus(&mut self) {
        let now = self.shared.now();
        for ((peer, links), lane) in self.connections.iter().flat_map(|peer| Lane::ALL.map(|lane| (peer, lane))) {
            let of_lane: Vec<_> = links.iter().filter(|link| link.lane == lane).collect();
            let Some((newest, surplus)) = of_lane.split_last() else { continue };
            let patience =
                if self.shared.local < *peer { x0_limits::LINK_SURPLUS_MS } else { 3 * x0_limits::LINK_SURPLUS_MS };
            if now.saturating_sub(newest.route.since_ms) < patience {
                continue;
            }
            for link in surplus {
                link.route.queue.close();
                self.swarm.close_connection(link.id);
            }
        }
    }

    // ---- addresses

    /// Takes note of where a peer says that it listens, seen from here.
    fn learn_from(&mut self, peer: PeerKey, observed: IpAddr, hello: &Hello) {
        let observed = observed.to_canonical();
        let mut places = Vec::new();
        for text in &hello.addresses {
            let Ok(place) = text.parse::<HostPort>() else { continue };
            match place.ip() {
                Some(ip) if ip.is_unspecified() => {
                    places.push(HostPort::from_socket(SocketAddr::new(observed, place.port())));
                }
                // An address of the peer's own machine is of use on that machine only.
                Some(ip) if ip.is_loopback() && !observed.is_loopback() => {}
                _ => places.push(place),
            }
        }
        self.book.learn_from_itself(peer, &places, self.shared.now());
        self.told(&hello.peers);
    }

    fn told(&mut self, told: &[Told]) {
        let now = self.shared.now();
        let mut news = false;
        for Told { key, addresses } in told {
            for place in addresses.iter().filter_map(|text| text.parse().ok()) {
                news |= self.book.learn(PeerKey(*key), place, Origin::Told, now);
            }
        }
        if news {
            self.addresses_changed();
        }
    }

    /// Brings what others see of the address book up to date.
    fn addresses_changed(&mut self) {
        let addresses = self.book.addresses();
        let told = wire::told(addresses.iter());
        {
            let mut tellings = self.shared.tellings.write();
            if tellings.told != told {
                tellings.version += 1;
                tellings.told = told;
            }
        }
        let places: Vec<_> = addresses.values().flatten().collect();
        self.resolved.retain(|place, _| places.contains(&place));
        self.known_sources();
    }

    fn known_sources(&self) {
        let linked = self.shared.routes.read().values().map(|routes| routes.votes.remote.ip()).collect::<Vec<_>>();
        let known = self.book.ips().into_iter().chain(self.resolved.values().flatten().copied()).chain(linked);
        let known = known.map(Source::of).collect();
        self.gate.lock().set_known(known);
    }

    // ---- time

    async fn keep_house(&mut self) {
        self.end_surplus();
        *self.shared.unlinked.lock() = self.book.unlinked_peers();
        if self.shared.now().saturating_sub(self.store.saved_ms) >= x0_limits::PEER_STORE_INTERVAL_MS {
            self.save().await;
        }
    }

    /// Writes the peer store when it has changed.
    async fn save(&mut self) {
        self.store.saved_ms = self.shared.now();
        let Some(path) = self.store.path.clone() else { return };
        let addresses = self.book.addresses();
        if addresses == self.store.saved {
            return;
        }
        let copy = addresses.clone();
        let written = tokio::task::spawn_blocking(move || store::save(&path, &copy)).await;
        match written.map_err(std::io::Error::other).and_then(|written| written) {
            Ok(()) => self.store.saved = addresses,
            Err(error) => tracing::error!(%error, "cannot write the peer store"),
        }
    }
}

/// What went wrong with a dial, in words.
fn dial_error(error: &DialError) -> String {
    match error {
        DialError::Transport(attempts) => match attempts.first() {
            Some((_, libp2p::core::transport::TransportError::Other(error))) => error.to_string(),
            _ => "no address to dial".to_owned(),
        },
        other => other.to_string(),
    }
}
