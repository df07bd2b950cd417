//! The listener and its life.

use crate::{
    ResponderStats, SystemClock,
    address::Addresses,
    connection::{Connection, Shared},
    stats::{Stats, count},
};
use parking_lot::Mutex;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
};
use x0_agent_core::Agent;
use x0_crypto::{
    SigningKey,
    tls::{PeerPolicy, TlsError, TlsIdentity, server_config},
};
use x0_limits::{
    PROBE_CONNECTIONS_MAX, PROBE_CONNECTIONS_PER_ADDRESS_MAX, PROBE_DRAIN_TIMEOUT_MS, PROBE_HANDSHAKE_BURST,
    PROBE_HANDSHAKE_TIMEOUT_MS, PROBE_HANDSHAKES_IN_FLIGHT_MAX, PROBE_HANDSHAKES_IN_FLIGHT_PER_ADDRESS_MAX,
    PROBE_HANDSHAKES_PER_SECOND, PROBE_IDLE_TIMEOUT_MS, PROBE_RATE_ENTRIES_MAX,
};
use x0_types::probe::probe_alpn;

/// The agent's state, shared by the responder and by whoever feeds it with views of the chain. The
/// lock is held for moments only, never across an await.
pub type SharedAgent = Arc<Mutex<Agent>>;

/// How long the listener rests after the system refused it a connection, for example without free
/// file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What peers may use up. The defaults are the `PROBE_*` constants of `x0-limits`.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections.
    pub connections_max: usize,
    /// Open connections of one address.
    pub connections_per_address_max: usize,
    /// Handshakes whose cryptography runs at once.
    pub handshakes_in_flight_max: usize,
    /// The same for one address.
    pub handshakes_in_flight_per_address_max: usize,
    /// Connections that one address may open in a burst.
    pub handshake_burst: u32,
    /// Connections per second that one address may open over a longer time.
    pub handshakes_per_second: u32,
    /// Addresses whose rates are remembered.
    pub rate_entries_max: usize,
    /// Time for a handshake, and for sending or receiving one frame.
    pub handshake_timeout: Duration,
    /// Time without a request after which a connection is closed.
    pub idle_timeout: Duration,
    /// Time for answers under way when the responder stops.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: PROBE_CONNECTIONS_MAX,
            connections_per_address_max: PROBE_CONNECTIONS_PER_ADDRESS_MAX,
            handshakes_in_flight_max: PROBE_HANDSHAKES_IN_FLIGHT_MAX,
            handshakes_in_flight_per_address_max: PROBE_HANDSHAKES_IN_FLIGHT_PER_ADDRESS_MAX,
            handshake_burst: PROBE_HANDSHAKE_BURST,
            handshakes_per_second: PROBE_HANDSHAKES_PER_SECOND,
            rate_entries_max: PROBE_RATE_ENTRIES_MAX,
            handshake_timeout: Duration::from_millis(PROBE_HANDSHAKE_TIMEOUT_MS),
            idle_timeout: Duration::from_millis(PROBE_IDLE_TIMEOUT_MS),
            drain_timeout: Duration::from_millis(PROBE_DRAIN_TIMEOUT_MS),
        }
    }
}

/// How a responder is set up.
#[derive(Clone, Copy, Debug)]
pub struct ResponderConfig {
    /// Where to listen; port 0 takes a free port.
    pub listen: SocketAddr,
    /// Genesis hash of the chain: part of the protocol name and of every receipt.
    pub genesis: [u8; 32],
    /// What peers may use up.
    pub limits: Limits,
}

/// Why a responder does not start.
#[derive(Debug, thiserror::Error)]
pub enum ResponderError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The TLS configuration was refused.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What the stop of a responder left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections that ended by themselves within the time for that.
    pub finished: usize,
    /// Connections that were cut after it.
    pub cut: usize,
}

/// A listening responder. Dropping it stops it as well, without waiting.
#[derive(Debug)]
pub struct ProbeResponder {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<DrainReport>,
    stats: Arc<Stats>,
}

impl ProbeResponder {
    /// Opens the socket and starts to answer with `agent`'s answers, signed by `key`, which is the
    /// agent's key on chain and authenticates its links too. `agent` decides whether it serves yet.
    ///
    /// # Errors
    /// [`ResponderError::Bind`] or [`ResponderError::Tls`].
    pub async fn start(
        config: ResponderConfig,
        agent: SharedAgent,
        key: SigningKey,
        clock: SystemClock,
    ) -> Result<Self, ResponderError> {
        let alpn = probe_alpn(&config.genesis);
        let tls = server_config(&TlsIdentity::from_key(&key), PeerPolicy::Any, alpn.clone())?;
        let bind = |source| ResponderError::Bind { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let (stop, stopping) = watch::channel(false);
        let stats = Arc::new(Stats::default());
        let shared = Arc::new(Shared {
            tls,
            alpn,
            genesis: config.genesis,
            limits: config.limits,
            agent,
            key,
            clock,
            handshakes: Arc::new(Semaphore::new(config.limits.handshakes_in_flight_max)),
            stats: Arc::clone(&stats),
        });
        let accepting = tokio::spawn(accept_connections(listener, shared, stopping));
        Ok(Self { address, stop, accepting, stats })
    }

    /// The address that the responder listens on, with the real port.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> ResponderStats {
        self.stats.totals()
    }

    /// Closes the socket, lets answers under way finish, closes idle connections, and cuts what is
    /// left after [`Limits::drain_timeout`].
    pub async fn stop(self) -> DrainReport {
        // Nobody listens any more only if the task is gone already, which the next line finds out.
        let _ = self.stop.send(true);
        match self.accepting.await {
            Ok(report) => report,
            Err(error) => {
                tracing::error!(%error, "the probe listener ended abnormally");
                DrainReport::default()
            }
        }
    }
}

/// Waits until the responder stops, or until its handle is dropped.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the handle is gone, which counts as a stop.
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn accept_connections(
    listener: TcpListener,
    shared: Arc<Shared>,
    mut stopping: watch::Receiver<bool>,
) -> DrainReport {
    let addresses = Addresses::new(shared.limits);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stopping) => break,
            Some(ended) = connections.join_next() => report_panic(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => admit(stream, peer, &addresses, &shared, &stopping, &mut connections),
                Err(error) => {
                    tracing::warn!(%error, "accepting a probe connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    drain(connections, shared.limits.drain_timeout).await
}

fn admit(
    stream: TcpStream,
    peer: SocketAddr,
    addresses: &Arc<Addresses>,
    shared: &Arc<Shared>,
    stopping: &watch::Receiver<bool>,
    connections: &mut JoinSet<()>,
) {
    let Some(seat) = addresses.seat(peer.ip(), shared.clock.now().monotonic_ms) else {
        count(&shared.stats.turned_away);
        tracing::debug!(%peer, "probe connection over a limit");
        return;
    };
    count(&shared.stats.connections);
    let connection = Connection { shared: Arc::clone(shared), peer, seat, stopping: stopping.clone() };
    connections.spawn(connection.serve(stream));
}

async fn drain(mut connections: JoinSet<()>, timeout: Duration) -> DrainReport {
    let mut report = DrainReport::default();
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            report_panic(ended);
            report.finished += 1;
        }
    };
    if tokio::time::timeout(timeout, all_ended).await.is_err() {
        report.cut = connections.len();
        connections.shutdown().await;
    }
    report
}

fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a probe connection ended abnormally");
    }
}
