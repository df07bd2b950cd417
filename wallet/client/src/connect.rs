//! Opening a line to a node: plain on loopback, post-quantum TLS anywhere else.
//!
//! ```text
//!   ws://127.0.0.1:9944          plain WebSocket, loopback only
//!   x0s://host:port              WebSocket inside TLS 1.3 with mutual raw ML-DSA-65 keys,
//!                                key exchange X25519MLKEM768 only; the node's key is pinned
//! ```

use std::{net::IpAddr, time::Duration};

use jsonrpsee::{
    client_transport::ws::{Url, WsTransportClientBuilder},
    core::client::{Client as RpcTransport, TransportReceiverT, TransportSenderT},
};
use subxt::rpcs::RpcClient;
use x0_crypto::{
    SigningKey,
    tls::{PeerPolicy, TlsIdentity, client_config, peer, unused_server_name},
};
use x0_limits::{CLIENT_CONNECT_TIMEOUT_MS, CLIENT_REQUEST_TIMEOUT_MS, RPC_REQUEST_BYTES_MAX, RPC_RESPONSE_BYTES_MAX};
use x0_types::Hash;

use crate::{ClientError, text::hex_text};

pub use x0_rpc_types::RPC_ALPN;

/// Where a node is, and how to know that it is the right one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `ws://` on loopback or `x0s://`.
    pub url: String,
    /// The chain that the node must serve; required for `x0s://`, where the handshake names it.
    pub genesis: Option<Hash>,
    /// BLAKE2b-256 of the node's network key; required for `x0s://`.
    pub server_key: Option<Hash>,
}

impl Endpoint {
    /// An address without pins.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), genesis: None, server_key: None }
    }

    /// Checks the address without connecting: it reads, stays on this machine or is encrypted, and an
    /// encrypted one has its pins.
    ///
    /// # Errors
    /// [`ClientError::Url`] or [`ClientError::Plaintext`].
    pub fn check(&self) -> Result<(), ClientError> {
        route(self).map(drop)
    }
}

/// What an address says once it is read.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    Plain { host: String, port: u16 },
    Tls { host: String, port: u16, genesis: Hash, server_key: Hash },
}

/// Reads the address and checks that nothing leaves this machine unencrypted.
fn route(endpoint: &Endpoint) -> Result<Route, ClientError> {
    let refuse = |reason: &str| ClientError::Url { url: endpoint.url.clone(), reason: reason.to_owned() };
    let (scheme, rest) = endpoint.url.split_once("://").ok_or_else(|| refuse("it has no ws:// or x0s:// in front"))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = authority.rsplit_once(':').ok_or_else(|| refuse("it has no port"))?;
    let port: u16 = port.parse().map_err(|_| refuse("its port is not a number below 65536"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || host.contains('@') {
        return Err(refuse("it has no host"));
    }
    match scheme {
        "ws" if is_loopback(host) => Ok(Route::Plain { host: host.to_owned(), port }),
        "ws" | "http" => Err(ClientError::Plaintext { url: endpoint.url.clone() }),
        "x0s" => Ok(Route::Tls {
            host: host.to_owned(),
            port,
            genesis: endpoint.genesis.ok_or_else(|| refuse("x0s:// needs the genesis hash of the chain"))?,
            server_key: endpoint
                .server_key
                .ok_or_else(|| refuse("x0s:// needs the fingerprint of the node's network key"))?,
        }),
        _ => Err(refuse("its scheme is neither ws:// nor x0s://")),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Opens the line.
///
/// # Errors
/// [`ClientError::Url`], [`ClientError::Plaintext`] or [`ClientError::Connect`].
pub(crate) async fn open(endpoint: &Endpoint) -> Result<RpcClient, ClientError> {
    let connect = |reason: String| ClientError::Connect { url: endpoint.url.clone(), reason };
    let limit = Duration::from_millis(CLIENT_CONNECT_TIMEOUT_MS);
    let late = |_| connect(format!("no answer within {CLIENT_CONNECT_TIMEOUT_MS} ms"));
    // The WebSocket handshake asks for a URL; inside TLS the node has been named already.
    let inner = |host: &str, port: u16| {
        let text = if host.contains(':') { format!("ws://[{host}]:{port}") } else { format!("ws://{host}:{port}") };
        Url::parse(&text).map_err(|error| ClientError::Url { url: endpoint.url.clone(), reason: error.to_string() })
    };
    match route(endpoint)? {
        Route::Plain { host, port } => {
            let stream = tokio::time::timeout(limit, tcp_stream(&host, port)).await.map_err(late)?.map_err(connect)?;
            let handshake = websocket().build_with_stream(inner(&host, port)?, stream);
            let (sender, receiver) = tokio::time::timeout(limit, handshake)
                .await
                .map_err(late)?
                .map_err(|error| connect(plain_reason(&error)))?;
            Ok(start(sender, receiver))
        }
        Route::Tls { host, port, genesis, server_key } => {
            let stream = tls_stream(&host, port, genesis, server_key);
            let stream = tokio::time::timeout(limit, stream).await.map_err(late)?.map_err(connect)?;
            let handshake = websocket().build_with_stream(inner(&host, port)?, stream);
            let (sender, receiver) = tokio::time::timeout(limit, handshake)
                .await
                .map_err(late)?
                .map_err(|error| connect(plain_reason(&error)))?;
            Ok(start(sender, receiver))
        }
    }
}

async fn tcp_stream(host: &str, port: u16) -> Result<tokio::net::TcpStream, String> {
    let stream = tokio::net::TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    Ok(stream)
}

fn websocket() -> WsTransportClientBuilder {
    WsTransportClientBuilder::default()
        .max_request_size(RPC_REQUEST_BYTES_MAX)
        .max_response_size(RPC_RESPONSE_BYTES_MAX)
}

fn start<S, R>(sender: S, receiver: R) -> RpcClient
where
    S: TransportSenderT + Send,
    R: TransportReceiverT + Send,
{
    let transport: RpcTransport = RpcTransport::builder()
        .request_timeout(Duration::from_millis(CLIENT_REQUEST_TIMEOUT_MS))
        .max_buffer_capacity_per_subscription(4_096)
        .build_with_tokio(sender, receiver);
    RpcClient::new(transport)
}

/// Opens TCP and TLS, and checks that the far end holds the pinned key.
async fn tls_stream(
    host: &str,
    port: u16,
    genesis: Hash,
    server_key: Hash,
) -> Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>, String> {
    // A fresh link key for each connection: the node learns nothing about which wallet this is.
    let identity = tokio::task::spawn_blocking(|| SigningKey::generate().map(|key| TlsIdentity::from_key(&key)))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    let policy =
        PeerPolicy::Dynamic(std::sync::Arc::new(move |key: &x0_crypto::PublicKey| key.fingerprint() == server_key.0));
    let alpn = format!("{RPC_ALPN}/{}", hex::encode(genesis)).into_bytes();
    let config = client_config(&identity, policy, alpn.clone()).map_err(|error| error.to_string())?;
    let tcp = tcp_stream(host, port).await?;
    let stream =
        tokio_rustls::TlsConnector::from(config).connect(unused_server_name(), tcp).await.map_err(|error| {
            format!(
                "{error} (is {} the fingerprint of this node's network key, and {} the hash of its chain's first block?)",
                hex_text(server_key),
                hex_text(genesis)
            )
        })?;
    // The policy has judged the key; this also refuses a connection without our protocol name.
    peer(stream.get_ref().1, &alpn).map_err(|error| error.to_string())?;
    Ok(stream)
}

/// The innermost cause, which is the one that a user can act on.
fn plain_reason(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let (outer, inner) = (error.to_string(), cause.to_string());
    if outer.contains(&inner) { outer } else { format!("{outer}: {inner}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_on_this_machine() {
        for (url, host) in
            [("ws://127.0.0.1:9944", "127.0.0.1"), ("ws://localhost:9944", "localhost"), ("ws://[::1]:9944/", "::1")]
        {
            assert_eq!(route(&Endpoint::new(url)).unwrap(), Route::Plain { host: host.into(), port: 9944 });
        }
        for url in
            ["ws://10.0.0.1:9944", "ws://example.com:9944", "ws://127.0.0.1.example.com:9944", "http://example.com:80"]
        {
            assert!(matches!(route(&Endpoint::new(url)), Err(ClientError::Plaintext { .. })), "{url}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for url in [
            "",
            "localhost:9944",
            "ws://",
            "ws://localhost",
            "ws://localhost:99999",
            "ftp://localhost:1",
            "ws://:9944",
            "ws://a@127.0.0.1.b:1",
        ] {
            assert!(route(&Endpoint::new(url)).is_err(), "{url}");
        }
    }

    #[test]
    fn an_encrypted_line_needs_both_pins() {
        let mut endpoint = Endpoint::new("x0s://node.example:9443");
        assert!(route(&endpoint).unwrap_err().to_string().contains("genesis"));
        endpoint.genesis = Some(Hash::repeat_byte(1));
        assert!(route(&endpoint).unwrap_err().to_string().contains("fingerprint"));
        endpoint.server_key = Some(Hash::repeat_byte(2));
        assert!(matches!(route(&endpoint).unwrap(), Route::Tls { port: 9443, .. }));
    }

    #[tokio::test]
    async fn a_closed_port_is_a_connection_error_with_its_cause() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = open(&Endpoint::new(format!("ws://127.0.0.1:{port}"))).await.unwrap_err();
        assert!(matches!(&error, ClientError::Connect { reason, .. } if reason.contains("refused")), "{error}");
    }
}
