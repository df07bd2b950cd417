//! Listeners: plain on loopback, native post-quantum TLS, and web TLS (architecture D4).
//!
//! ```text
//!   TCP accept -> place -> [TLS handshake] -> HTTP/1.1 -> host and origin rule -> jsonrpsee
//!        |          |             |                |                                 |  WebSocket
//!     address    CONNECTIONS   HEAD_TIMEOUT    HEAD_TIMEOUT, REQUEST_TIMEOUT      upgrade, pings
//! ```

use crate::{
    access::{self, Origins},
    admission::{Admission, Place},
    error::RpcError,
    flow::{Flow, Metered},
    rate::{Bucket, RateLimited},
    traffic::{Table, Traffic},
};
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use jsonrpsee::{
    core::{BoxError, middleware::RpcServiceBuilder},
    server::{
        BatchRequestConfig, HttpBody, PingConfig, RandomStringIdProvider, Server, ServerConfig, ServerHandle,
        StopHandle, TowerServiceBuilder, stop_channel,
    },
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower::Service as _;
use x0_limits as limits;

/// How bytes travel on a listener.
#[derive(Clone)]
pub enum Transport {
    /// No encryption; loopback addresses only.
    Plain,
    /// TLS 1.3 with mutual raw ML-DSA-65 keys: `x0_crypto::tls::server_config`.
    Native(Arc<rustls::ServerConfig>),
    /// TLS 1.3 with the operator's X.509 certificate, for browsers: its key exchange is
    /// post-quantum, its authentication is classical.
    Web(Arc<rustls::ServerConfig>),
}

impl core::fmt::Debug for Transport {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

impl Transport {
    /// The name in logs and configuration.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Native(_) => "native",
            Self::Web(_) => "web",
        }
    }
}

/// One listener.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// How bytes travel.
    pub transport: Transport,
    /// Which web pages may use it.
    pub origins: Origins,
    /// Whether `admin_*` methods are served; loopback only.
    pub unsafe_methods: bool,
}

impl ListenerConfig {
    /// Checks what architecture D4 asks of a listener, before anything is bound.
    ///
    /// # Errors
    /// [`RpcError::PlainNotLoopback`] and [`RpcError::UnsafeNotLoopback`].
    pub fn check(&self) -> Result<(), RpcError> {
        let loopback = self.address.ip().is_loopback();
        if matches!(self.transport, Transport::Plain) && !loopback {
            return Err(RpcError::PlainNotLoopback(self.address));
        }
        if self.unsafe_methods && !loopback {
            return Err(RpcError::UnsafeNotLoopback(self.address));
        }
        Ok(())
    }
}

/// A socket that is bound and listens; connections wait in it until somebody serves.
pub(crate) struct Bound {
    /// What was asked for.
    config: ListenerConfig,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    socket: std::net::TcpListener,
}

impl Bound {
    /// Checks and binds.
    pub(crate) fn new(config: &ListenerConfig) -> Result<Self, RpcError> {
        config.check()?;
        let bind = |source| RpcError::Bind { address: config.address, source };
        let socket = std::net::TcpListener::bind(config.address).map_err(bind)?;
        socket.set_nonblocking(true).map_err(bind)?;
        let address = socket.local_addr().map_err(bind)?;
        Ok(Self { config: config.clone(), address, socket })
    }

    /// Whether `admin_*` methods are served here.
    pub(crate) fn unsafe_methods(&self) -> bool {
        self.config.unsafe_methods
    }
}

/// A running listener.
pub(crate) struct Listener {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Stops it when told or dropped.
    handle: ServerHandle,
    accepting: JoinHandle<()>,
    connections: TaskTracker,
}

impl Listener {
    /// Serves until stopped; the socket goes on listening for whoever serves next. An accept loop that ends by
    /// itself reports to `failed`. Must be called within a tokio runtime.
    pub(crate) fn start(
        bound: &Bound,
        table: Table,
        traffic: &Arc<Traffic>,
        failed: mpsc::Sender<RpcError>,
    ) -> Result<Self, RpcError> {
        let (config, address) = (&bound.config, bound.address);
        let socket = bound
            .socket
            .try_clone()
            .and_then(TcpListener::from_std)
            .map_err(|source| RpcError::Bind { address, source })?;
        let (stop, handle) = stop_channel();
        let connections = TaskTracker::new();
        let shared = Shared {
            builder: Server::builder().set_config(server_config()).to_service_builder(),
            table,
            stop,
            transport: config.transport.clone(),
            origins: config.origins.clone(),
            admission: Admission::new(
                limits::RPC_CONNECTIONS_MAX,
                limits::RPC_CONNECTIONS_PER_ADDRESS_MAX,
                Arc::clone(traffic),
            ),
            traffic: Arc::clone(traffic),
            connections: connections.clone(),
        };
        let accepting = tokio::spawn(async move {
            if let Err(reason) = accept(socket, shared).await {
                // The receiver is gone only while the whole server is being dropped.
                let _ = failed.send(RpcError::ListenerEnded { address, reason: reason.to_string() }).await;
            }
        });
        tracing::info!(target: "x0::rpc", %address, transport = config.transport.name(), unsafe_methods = config.unsafe_methods, "listening");
        Ok(Self { address, handle, accepting, connections })
    }

    /// Stops accepting, ends the connections, and waits at most [`limits::RPC_STOP_TIMEOUT_MS`].
    pub(crate) async fn stop(self) {
        if self.handle.stop().is_err() {
            tracing::debug!(target: "x0::rpc", address = %self.address, "listener had already stopped");
        }
        self.connections.close();
        let ended = async {
            if self.accepting.await.is_err() {
                tracing::warn!(target: "x0::rpc", address = %self.address, "accept loop ended by a panic");
            }
            self.connections.wait().await;
        };
        if tokio::time::timeout(Duration::from_millis(limits::RPC_STOP_TIMEOUT_MS), ended).await.is_err() {
            tracing::warn!(target: "x0::rpc", address = %self.address, open = self.connections.len(), "connections did not end in time");
        }
    }
}

/// What every connection of a listener shares.
#[derive(Clone)]
struct Shared {
    builder: TowerServiceBuilder<tower::layer::util::Identity, tower::layer::util::Identity>,
    table: Table,
    stop: StopHandle,
    transport: Transport,
    origins: Origins,
    admission: Admission,
    traffic: Arc<Traffic>,
    connections: TaskTracker,
}

/// jsonrpsee's settings from the product's limits.
fn server_config() -> ServerConfig {
    let ping = Duration::from_millis(limits::RPC_PING_MS);
    ServerConfig::builder()
        .max_request_body_size(limits::RPC_REQUEST_BYTES_MAX)
        .max_response_body_size(limits::RPC_RESPONSE_BYTES_MAX)
        .max_connections(limits::RPC_CONNECTIONS_MAX)
        .max_subscriptions_per_connection(limits::RPC_SUBSCRIPTIONS_PER_CONNECTION_MAX)
        .set_batch_request_config(BatchRequestConfig::Limit(limits::RPC_BATCH_MAX))
        .set_message_buffer_capacity(limits::RPC_SEND_QUEUE_MAX)
        .enable_ws_ping(PingConfig::new().ping_interval(ping).inactive_limit(ping * 2).max_failures(2))
        // Substrate's clients expect text ids of subscriptions.
        .set_id_provider(RandomStringIdProvider::new(16))
        .build()
}

/// Accepts until stopped. Errors of one connection (or of the process's file table) are logged.
async fn accept(socket: TcpListener, shared: Shared) -> std::io::Result<()> {
    let stopped = shared.stop.clone().shutdown();
    tokio::pin!(stopped);
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = &mut stopped => return Ok(()),
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(cause) if is_fatal(&cause) => return Err(cause),
            Err(cause) => {
                tracing::warn!(target: "x0::rpc", %cause, "cannot accept a connection");
                // Out of file descriptors: leave the others time to end instead of spinning.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let Some(place) = shared.admission.enter(peer.ip()) else {
            tracing::debug!(target: "x0::rpc", %peer, "connection refused: its places are taken");
            continue;
        };
        let task = shared.clone();
        shared.connections.spawn(async move {
            if let Err(cause) = connection(stream, Arc::new(place), &task).await {
                tracing::debug!(target: "x0::rpc", %peer, %cause, "connection ended");
            }
        });
    }
}

/// Whether the listening socket itself is gone.
fn is_fatal(cause: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidInput, NotConnected};
    matches!(cause.kind(), InvalidInput | NotConnected)
}

/// One connection from the first byte to the last (or to the WebSocket upgrade).
async fn connection(stream: TcpStream, place: Arc<Place>, shared: &Shared) -> Result<(), BoxError> {
    stream.set_nodelay(true)?;
    match &shared.transport {
        Transport::Plain => serve(stream, place, shared).await,
        Transport::Native(config) | Transport::Web(config) => {
            let handshake = TlsAcceptor::from(config.clone()).accept(stream);
            let stream = tokio::time::timeout(Duration::from_millis(limits::RPC_HEAD_TIMEOUT_MS), handshake).await??;
            serve(stream, place, shared).await
        }
    }
}

/// HTTP on a byte stream.
async fn serve<I>(io: I, place: Arc<Place>, shared: &Shared) -> Result<(), BoxError>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let bucket = Arc::new(Bucket::new());
    let flow = Arc::new(Flow::counted(Arc::clone(&shared.traffic)));
    let io = Metered::new(io, flow.clone());
    let handler = shared.clone();
    let service = tower::service_fn(move |mut request: Request<Incoming>| {
        // A WebSocket outlives this connection's task; it keeps the place through the request.
        request.extensions_mut().insert(place.clone());
        respond(request, handler.clone(), bucket.clone(), flow.clone())
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(Duration::from_millis(limits::RPC_HEAD_TIMEOUT_MS));
    let connection = http.serve_connection(TokioIo::new(io), TowerToHyperService::new(service)).with_upgrades();
    let stopped = shared.stop.clone().shutdown();
    tokio::pin!(connection, stopped);
    tokio::select! {
        ended = &mut connection => ended.map_err(Into::into),
        () = &mut stopped => {
            connection.as_mut().graceful_shutdown();
            connection.await.map_err(Into::into)
        }
    }
}

/// One HTTP request: the access rules, then JSON-RPC (which may upgrade to WebSocket).
async fn respond(
    request: Request<Incoming>,
    shared: Shared,
    bucket: Arc<Bucket>,
    flow: Arc<Flow>,
) -> Result<Response<HttpBody>, BoxError> {
    let plain = matches!(shared.transport, Transport::Plain);
    if let Err(refusal) = access::check(request.headers(), request.uri(), plain, &shared.origins) {
        return text(StatusCode::FORBIDDEN, refusal.text());
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = if request.method() == http::Method::OPTIONS {
        text(StatusCode::NO_CONTENT, "")?
    } else {
        let table = shared.table.clone();
        let layer = RpcServiceBuilder::new().layer_fn(move |service| RateLimited {
            service,
            table: table.clone(),
            bucket: bucket.clone(),
            flow: flow.clone(),
        });
        let mut service = shared.builder.set_rpc_middleware(layer).build(shared.table.methods().clone(), shared.stop);
        let answer = service.call(request);
        match tokio::time::timeout(Duration::from_millis(limits::RPC_REQUEST_TIMEOUT_MS), answer).await {
            Ok(answer) => answer?,
            Err(_) => text(StatusCode::REQUEST_TIMEOUT, "the request took too long\n")?,
        }
    };
    access::add_cors(response.headers_mut(), origin.as_ref());
    Ok(response)
}

/// A short plain-text answer.
fn text(status: StatusCode, body: &'static str) -> Result<Response<HttpBody>, BoxError> {
    Ok(Response::builder().status(status).header(header::CONTENT_TYPE, "text/plain").body(HttpBody::from(body))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(address: &str, unsafe_methods: bool) -> ListenerConfig {
        ListenerConfig {
            address: address.parse().unwrap(),
            transport: Transport::Plain,
            origins: Origins::Only(Vec::new()),
            unsafe_methods,
        }
    }

    #[test]
    fn plain_and_unsafe_stay_on_loopback() {
        assert!(config("127.0.0.1:0", true).check().is_ok());
        assert!(config("[::1]:0", true).check().is_ok());
        for reachable in ["0.0.0.0:9944", "[::]:9944", "192.0.2.1:9944"] {
            assert!(matches!(config(reachable, false).check(), Err(RpcError::PlainNotLoopback(_))), "{reachable}");
        }
    }
}
