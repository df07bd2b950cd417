//! TCP, the gate, TLS and the multiplexer as one libp2p transport.
//!
//! ```text
//!   accept --> gate (source address) --> TLS 1.3, ML-DSA-65 on both sides --> list of admitted peers --> yamux
//!     dial ---------------------------->         the same                 --> the dialled key      --> yamux
//! ```
//!
//! Nothing is negotiated outside TLS: its protocol name stands for TLS, multiplexer and link version
//! together, so that an unauthenticated peer reaches no parser but the one of TLS. A dial address ends
//! with `/certhash/<BLAKE2b-256 of the key>`: the peer that must answer.

use super::{
    gate::{Gate, Place},
    metrics::{Counters, count},
    socket::{Listener, Watched, prepare},
};
use crate::PeerKey;
use futures::{FutureExt, future::BoxFuture};
use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{
        multihash::Multihash,
        muxing::StreamMuxerBox,
        transport::{DialOpts, ListenerId, TransportError, TransportEvent},
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
    },
    multiaddr::Protocol,
    yamux,
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tokio_util::compat::TokioAsyncReadCompatExt;
use x0_crypto::{
    PublicKey,
    tls::{self, HandshakeFault, PeerPolicy, TlsError, TlsIdentity},
};

/// Multicodec of BLAKE2b-256, which names peers.
const BLAKE2B_256: u64 = 0xb220;
/// Multicodec of SHA-256, as libp2p names peers.
const SHA2_256: u64 = 0x12;
/// Connections that are turned away in a row before other work of the task gets its turn.
const REFUSALS_PER_POLL: usize = 64;
/// Peers whose libp2p names are remembered before those of dismissed peers are forgotten.
const NAMES_KEPT: usize = 1_024;

/// Why a handshake made no link.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer was too slow.
    #[error("no handshake within {0} ms")]
    Timeout(u64),
    /// The socket failed.
    #[error("{0}")]
    Socket(#[source] io::Error),
    /// The peer broke a rule of the handshake.
    #[error("handshake refused: {0:?}")]
    Fault(HandshakeFault),
    /// What the handshake agreed on is not enough.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The peer's key is not on the list.
    #[error("peer {} is not admitted", hex::encode(.0.0))]
    NotAdmitted(PeerKey),
    /// The peer is banned.
    #[error("peer {peer} is banned for another {for_ms} ms")]
    Banned {
        /// The peer.
        peer: PeerKey,
        /// Rest of the ban, milliseconds.
        for_ms: u64,
    },
    /// Another peer answered than the one that was dialled.
    #[error("peer {} answered instead of {}", hex::encode(.found.0), hex::encode(.expected.0))]
    WrongPeer {
        /// The peer that was dialled.
        expected: PeerKey,
        /// The one that answered.
        found: PeerKey,
    },
    /// The address leads to this node itself.
    #[error("this is the node itself")]
    Itself,
}

impl HandshakeError {
    fn from_io(error: io::Error) -> Self {
        tls::fault(&error).map_or(Self::Socket(error), Self::Fault)
    }
}

/// What the list and the bans say about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Admitted,
    NotAdmitted,
    Banned { for_ms: u64 },
}

/// Judges a peer; asked within handshakes, so it must be quick.
pub(super) type Judge = Arc<dyn Fn(&PeerKey) -> Judgement + Send + Sync>;

/// The libp2p name of a peer: the SHA-256 multihash of its domain-tagged SubjectPublicKeyInfo.
pub(super) fn peer_id(key: &PublicKey) -> Option<PeerId> {
    let hash = Multihash::wrap(SHA2_256, &tls::link_digest(key)).ok()?;
    PeerId::from_multihash(hash).ok()
}

/// The address to dial for a peer at a socket.
pub(super) fn dial_address(peer: &PeerKey, socket: SocketAddr) -> Option<Multiaddr> {
    let hash = Multihash::wrap(BLAKE2B_256, &peer.0).ok()?;
    Some(multiaddr(socket).with(Protocol::Certhash(hash)))
}

fn multiaddr(socket: SocketAddr) -> Multiaddr {
    Multiaddr::from(socket.ip()).with(Protocol::Tcp(socket.port()))
}

/// The socket and the peer of a dial address.
fn parse_dial(address: &Multiaddr) -> Option<(SocketAddr, PeerKey)> {
    let (Protocol::Certhash(hash), socket) = address.iter().last().map(|last| (last, socket(address)))? else {
        return None;
    };
    let key = (hash.code() == BLAKE2B_256).then(|| hash.digest().try_into().ok())??;
    Some((socket?, PeerKey(key)))
}

/// The socket at the beginning of an address.
pub(super) fn socket(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

/// The handshakes of one node.
pub(super) struct Security {
    identity: TlsIdentity,
    local: PeerKey,
    alpn: Vec<u8>,
    judge: Judge,
    names: Mutex<HashMap<PeerId, PeerKey>>,
    /// Where handshakes run: their cryptography must not hold up frames.
    runtime: tokio::runtime::Handle,
    counters: Arc<Counters>,
}

type Secured = (PeerKey, PeerId, TlsStream<TcpStream>);

impl Security {
    pub(super) fn new(
        identity: TlsIdentity,
        genesis: &[u8; 32],
        judge: Judge,
        runtime: tokio::runtime::Handle,
        counters: Arc<Counters>,
    ) -> Self {
        let local = PeerKey::of(identity.public());
        let alpn = format!("x0-link/{}/{}", super::wire::LINK_VERSION, hex::encode(genesis)).into_bytes();
        Self { identity, local, alpn, judge, names: Mutex::default(), runtime, counters }
    }

    /// The peer behind a libp2p name that passed a handshake.
    pub(super) fn peer(&self, id: &PeerId) -> Option<PeerKey> {
        self.names.lock().get(id).copied()
    }

    /// A policy that asks the judge, and the place where it leaves its reasons.
    fn policy(&self, expected: Option<PeerKey>) -> (PeerPolicy, Arc<Mutex<Option<HandshakeError>>>) {
        let reason = Arc::new(Mutex::new(None));
        let (judge, local, cell) = (Arc::clone(&self.judge), self.local, Arc::clone(&reason));
        let policy = PeerPolicy::Dynamic(Arc::new(move |key: &PublicKey| {
            let peer = PeerKey::of(key);
            let refusal = match (expected, judge(&peer)) {
                _ if peer == local => HandshakeError::Itself,
                (Some(expected), _) if expected != peer => HandshakeError::WrongPeer { expected, found: peer },
                (_, Judgement::NotAdmitted) => HandshakeError::NotAdmitted(peer),
                (_, Judgement::Banned { for_ms }) => HandshakeError::Banned { peer, for_ms },
                (_, Judgement::Admitted) => return true,
            };
            *cell.lock() = Some(refusal);
            false
        }));
        (policy, reason)
    }

    /// Shakes hands as the accepting side.
    pub(super) async fn accept(&self, tcp: TcpStream) -> Result<Secured, HandshakeError> {
        count(&self.counters.handshakes_in);
        let (policy, reason) = self.policy(None);
        let config = tls::server_config(&self.identity, policy, self.alpn.clone())?;
        let shaken = self.apart(async move { TlsAcceptor::from(config).accept(tcp).await }).await;
        self.finish(shaken.map(TlsStream::from), &reason)
    }

    /// Shakes hands as the dialling side with this peer and no other.
    pub(super) async fn connect(&self, tcp: TcpStream, expected: PeerKey) -> Result<Secured, HandshakeError> {
        count(&self.counters.handshakes_out);
        let (policy, reason) = self.policy(Some(expected));
        let config = tls::client_config(&self.identity, policy, self.alpn.clone())?;
        let name = tls::unused_server_name();
        let shaken = self.apart(async move { TlsConnector::from(config).connect(name, tcp).await }).await;
        self.finish(shaken.map(TlsStream::from), &reason)
    }

    /// Runs a handshake on its own thread. The work ends with the caller.
    async fn apart<T: Send + 'static>(
        &self,
        handshake: impl Future<Output = io::Result<T>> + Send + 'static,
    ) -> io::Result<T> {
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn_on(handshake, &self.runtime);
        match tasks.join_next().await {
            Some(Ok(result)) => result,
            Some(Err(error)) => Err(io::Error::other(error)),
            None => Err(io::Error::other("the handshake did not run")),
        }
    }

    fn finish(
        &self,
        shaken: io::Result<TlsStream<TcpStream>>,
        reason: &Mutex<Option<HandshakeError>>,
    ) -> Result<Secured, HandshakeError> {
        let stream = shaken.map_err(|error| reason.lock().take().unwrap_or_else(|| HandshakeError::from_io(error)))?;
        let key = tls::peer(stream.get_ref().1, &self.alpn)?;
        let peer = PeerKey::of(&key);
        let id = peer_id(&key).ok_or(TlsError::PeerKeyEncoding)?;
        let mut names = self.names.lock();
        if names.len() >= NAMES_KEPT {
            names.retain(|_, peer| (self.judge)(peer) == Judgement::Admitted);
        }
        names.insert(id, peer);
        Ok((peer, id, stream))
    }
}

fn yamux() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(x0_limits::LINK_STREAMS_MAX);
    #[allow(deprecated, reason = "the only way to a receive window of a fixed size, which bounds the memory of a link")]
    {
        config.set_receive_window_size(x0_limits::LINK_WINDOW_BYTES);
        config.set_max_buffer_size(usize::try_from(x0_limits::LINK_WINDOW_BYTES).unwrap_or(usize::MAX));
    }
    config
}

/// A place at the gate that is given back by itself.
struct Held {
    gate: Arc<Mutex<Gate>>,
    place: Place,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gate.lock().leave(&self.place);
    }
}

/// The transport of a node.
pub(super) struct PqTransport {
    pub listeners: Vec<Listener>,
    pub security: Arc<Security>,
    pub gate: Arc<Mutex<Gate>>,
    pub started: Instant,
    pub counters: Arc<Counters>,
}

type Upgraded = Result<(PeerId, StreamMuxerBox), HandshakeError>;

impl PqTransport {
    fn admit(&self, tcp: TcpStream, from: SocketAddr) -> Option<BoxFuture<'static, Upgraded>> {
        count(&self.counters.accepted);
        let now = super::millis(self.started);
        let entered = self.gate.lock().enter(from.ip(), now);
        match entered {
            Ok(place) => {
                let held = Held { gate: Arc::clone(&self.gate), place };
                Some(incoming(Arc::clone(&self.security), tcp, from, held).boxed())
            }
            Err(refusal) => {
                self.counters.gate(refusal);
                tracing::trace!(%from, %refusal, "turned away at the gate");
                // A reset instead of a farewell: nothing of this connection stays behind in the system.
                let _ = tcp.set_zero_linger();
                None
            }
        }
    }
}

async fn incoming(security: Arc<Security>, tcp: TcpStream, from: SocketAddr, held: Held) -> Upgraded {
    let limit = Duration::from_millis(x0_limits::LINK_HANDSHAKE_TIMEOUT_MS);
    let upgraded = tokio::time::timeout(limit, async {
        prepare(&tcp).map_err(HandshakeError::Socket)?;
        security.accept(tcp).await
    })
    .await
    .unwrap_or(Err(HandshakeError::Timeout(x0_limits::LINK_HANDSHAKE_TIMEOUT_MS)));
    drop(held);
    let (_, id, stream) = upgraded.inspect_err(|error| {
        security.counters.refused(error);
        tracing::debug!(%from, %error, "no link");
    })?;
    let muxer = yamux().upgrade_inbound(Watched::new(stream.compat()), "").await.map_err(HandshakeError::Socket)?;
    Ok((id, StreamMuxerBox::new(muxer)))
}

async fn outgoing(security: Arc<Security>, to: SocketAddr, expected: PeerKey) -> Upgraded {
    let limit = Duration::from_millis(x0_limits::LINK_HANDSHAKE_TIMEOUT_MS);
    let upgraded = tokio::time::timeout(limit, async {
        let tcp = TcpStream::connect(to).await.map_err(HandshakeError::Socket)?;
        prepare(&tcp).map_err(HandshakeError::Socket)?;
        security.connect(tcp, expected).await
    })
    .await
    .unwrap_or(Err(HandshakeError::Timeout(x0_limits::LINK_HANDSHAKE_TIMEOUT_MS)));
    let (_, id, stream) = upgraded.inspect_err(|error| {
        security.counters.refused(error);
        tracing::debug!(%to, %error, "no link");
    })?;
    let muxer = yamux().upgrade_outbound(Watched::new(stream.compat()), "").await.map_err(HandshakeError::Socket)?;
    Ok((id, StreamMuxerBox::new(muxer)))
}

impl Transport for PqTransport {
    type Output = (PeerId, StreamMuxerBox);
    type Error = HandshakeError;
    type ListenerUpgrade = BoxFuture<'static, Upgraded>;
    type Dial = BoxFuture<'static, Upgraded>;

    fn listen_on(&mut self, _: ListenerId, address: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        // Listeners are bound before the transport exists, so that errors have a name.
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let before = self.listeners.len();
        self.listeners.retain(|listener| listener.id != id);
        self.listeners.len() < before
    }

    fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<Self::Error>> {
        let Some((to, expected)) = parse_dial(&address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        Ok(outgoing(Arc::clone(&self.security), to, expected).boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let this = &mut *self;
        for listener in &mut this.listeners {
            if !listener.announced {
                listener.announced = true;
                return Poll::Ready(TransportEvent::NewAddress {
                    listener_id: listener.id,
                    listen_addr: multiaddr(listener.address),
                });
            }
        }
        let mut refusals = 0;
        for index in 0..this.listeners.len() {
            while let Some(listener) = this.listeners.get_mut(index) {
                let Poll::Ready((tcp, from)) = listener.poll_accept(cx) else { break };
                let (id, local) = (listener.id, listener.address);
                if let Some(upgrade) = this.admit(tcp, from) {
                    return Poll::Ready(TransportEvent::Incoming {
                        listener_id: id,
                        upgrade,
                        local_addr: multiaddr(local),
                        send_back_addr: multiaddr(from),
                    });
                }
                refusals += 1;
                if refusals >= REFUSALS_PER_POLL {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
        Poll::Pending
    }
}
