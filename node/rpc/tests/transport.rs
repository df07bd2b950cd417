//! Listeners, limits and access rules, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::*;
use jsonrpsee::core::{
    ClientError,
    client::{ClientT as _, Subscription, SubscriptionClientT as _},
    params::BatchRequestBuilder,
};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use x0_crypto::{
    SigningKey,
    tls::{PeerPolicy, TlsIdentity, client_config, server_config, unused_server_name},
};
use x0_rpc::{ListenerConfig, Origins, RPC_ALPN, RpcError, RpcServer, Transport};

/// One HTTP request on a stream; the whole answer.
async fn http(mut stream: impl AsyncRead + AsyncWrite + Unpin, headers: &str, body: &str) -> String {
    let head = format!(
        "POST / HTTP/1.1\r\n{headers}Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A peer that closes without TLS's goodbye is an error after the answer.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

const HEALTH: &str = r#"{"jsonrpc":"2.0","id":1,"method":"system_health","params":[]}"#;

async fn plain_http(chain: &Chain, headers: &str) -> String {
    http(tokio::net::TcpStream::connect(chain.address()).await.unwrap(), headers, HEALTH).await
}

#[tokio::test(flavor = "multi_thread")]
async fn web_pages_and_rebound_names_are_kept_out() {
    let chain = Chain::start().await;
    let good = plain_http(&chain, "Host: localhost\r\n").await;
    assert!(good.starts_with("HTTP/1.1 200") && good.contains("isSyncing"), "{good}");
    let rebound = plain_http(&chain, "Host: attacker.example\r\n").await;
    assert!(rebound.starts_with("HTTP/1.1 403") && rebound.contains("Host"), "{rebound}");
    let foreign = plain_http(&chain, "Host: localhost\r\nOrigin: https://evil.example\r\n").await;
    assert!(foreign.starts_with("HTTP/1.1 403") && foreign.contains("Origin"), "{foreign}");
    let wallet = plain_http(&chain, "Host: localhost\r\nOrigin: https://wallet.example\r\n").await;
    assert!(wallet.starts_with("HTTP/1.1 200"), "{wallet}");
    assert!(wallet.to_lowercase().contains("access-control-allow-origin: https://wallet.example"), "{wallet}");
    // The same rule holds for the WebSocket handshake, which browsers do not check themselves.
    let upgrade = "Host: localhost\r\nOrigin: https://evil.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert!(plain_http(&chain, upgrade).await.starts_with("HTTP/1.1 403"));
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_listeners_refuse_other_machines_before_anything_is_bound() {
    let chain = Chain::start().await;
    let reachable = ListenerConfig { address: "0.0.0.0:0".parse().unwrap(), ..plain() };
    let refused = RpcServer::start(&chain.node, &[plain(), reachable]).await.err().unwrap();
    assert!(matches!(refused, RpcError::PlainNotLoopback(_)), "{refused}");
    let taken = ListenerConfig { address: chain.address(), ..plain() };
    let refused = RpcServer::start(&chain.node, &[taken]).await.err().unwrap();
    assert!(matches!(refused, RpcError::Bind { .. }), "{refused}");
}

/// A native listener, the node's key, and the protocol name of its chain.
fn native(policy: PeerPolicy) -> (ListenerConfig, SigningKey, Vec<u8>) {
    let key = SigningKey::generate().unwrap();
    let genesis = x0_chain_spec::ChainSpec::dev().unwrap().genesis_hash().unwrap();
    let alpn = format!("{RPC_ALPN}/{}", hex::encode(genesis)).into_bytes();
    let tls = server_config(&TlsIdentity::from_key(&key), policy, alpn.clone()).unwrap();
    let config = ListenerConfig {
        address: "127.0.0.1:0".parse().unwrap(),
        transport: Transport::Native(tls),
        origins: Origins::Only(Vec::new()),
        unsafe_methods: false,
    };
    (config, key, alpn)
}

async fn tls_http(
    chain: &Chain,
    identity: &TlsIdentity,
    server: &SigningKey,
    alpn: Vec<u8>,
) -> Result<String, std::io::Error> {
    let config = client_config(identity, PeerPolicy::only(server.public().clone()), alpn).unwrap();
    let stream = tokio::net::TcpStream::connect(chain.address()).await.unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(config).connect(unused_server_name(), stream).await?;
    // In TLS 1.3 a refused client learns of it with its first read.
    stream.flush().await?;
    Ok(http(stream, "Host: node\r\n", HEALTH).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_native_listener_serves_post_quantum_clients_of_this_chain_only() {
    let (config, server, alpn) = native(PeerPolicy::Any);
    let chain = Chain::with(vec![config]).await;
    let identity = TlsIdentity::from_key(&SigningKey::generate().unwrap());
    let answer = tls_http(&chain, &identity, &server, alpn).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("isSyncing"), "{answer}");
    let other_chain = format!("{RPC_ALPN}/{}", "00".repeat(32)).into_bytes();
    assert!(tls_http(&chain, &identity, &server, other_chain).await.is_err(), "another chain's client is turned away");
    // Plain bytes on the TLS port get no answer and do no harm.
    let stream = tokio::net::TcpStream::connect(chain.address()).await.unwrap();
    assert!(!http(stream, "Host: node\r\n", HEALTH).await.contains("isSyncing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_listener_with_a_list_admits_the_listed_keys() {
    let friend = SigningKey::generate().unwrap();
    let listed = friend.public().fingerprint();
    let policy = PeerPolicy::Dynamic(Arc::new(move |key| key.fingerprint() == listed));
    let (config, server, alpn) = native(policy);
    let chain = Chain::with(vec![config]).await;
    let admitted = tls_http(&chain, &TlsIdentity::from_key(&friend), &server, alpn.clone()).await.unwrap();
    assert!(admitted.contains("isSyncing"), "{admitted}");
    let stranger = TlsIdentity::from_key(&SigningKey::generate().unwrap());
    let refused = tls_http(&chain, &stranger, &server, alpn).await;
    assert!(refused.is_err() || refused.is_ok_and(|answer| !answer.contains("isSyncing")));
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_and_subscriptions_have_limits() {
    let chain = Chain::start().await;
    let client = chain.client().await;
    let batch = |size: u32| {
        let mut batch = BatchRequestBuilder::new();
        for _ in 0..size {
            batch.insert("system_health", jsonrpsee::rpc_params![]).unwrap();
        }
        batch
    };
    assert_eq!(client.batch_request::<Value>(batch(x0_limits::RPC_BATCH_MAX)).await.unwrap().len(), 64);
    let greedy = chain.client().await;
    assert!(greedy.batch_request::<Value>(batch(x0_limits::RPC_BATCH_MAX + 1)).await.is_err());
    let mut open: Vec<Subscription<Value>> = Vec::new();
    for _ in 0..x0_limits::RPC_SUBSCRIPTIONS_PER_CONNECTION_MAX {
        open.push(subscribe(&client, "chain_subscribeNewHeads", json!([]), "chain_unsubscribeNewHeads").await);
    }
    let refused: Result<Subscription<Value>, ClientError> =
        client.subscribe("chain_subscribeNewHeads", jsonrpsee::rpc_params![], "chain_unsubscribeNewHeads").await;
    assert!(refused.is_err());
    open.pop().unwrap().unsubscribe().await.unwrap();
    // The subscription's own task ends a moment after the answer.
    let again = tokio::time::timeout(PATIENCE, async {
        loop {
            let params = jsonrpsee::rpc_params![];
            match client.subscribe::<Value, _>("chain_subscribeNewHeads", params, "chain_unsubscribeNewHeads").await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            }
        }
    });
    next(&mut again.await.expect("a place is free again")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_gets_errors_and_the_next_connection_answers() {
    let chain = Chain::start().await;
    let client = Arc::new(chain.client().await);
    // Batches spend the budget faster than it refills.
    let mut limited = 0;
    for _ in 0..2_000 {
        let mut batch = BatchRequestBuilder::new();
        for _ in 0..x0_limits::RPC_BATCH_MAX {
            batch.insert("system_name", jsonrpsee::rpc_params![]).unwrap();
        }
        let answers = client.batch_request::<Value>(batch).await.unwrap();
        limited += answers
            .into_iter()
            .filter(|answer| answer.as_ref().is_err_and(|error| error.code() == x0_rpc_types::error::RATE_LIMITED))
            .count();
        if limited > 0 {
            break;
        }
    }
    assert!(limited > 0, "the budget never ran out");
    assert_eq!(ask(&chain.client().await, "system_name", json!([])).await, "x0-node");
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_and_malformed_messages_are_refused() {
    let chain = Chain::start().await;
    let large = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"author_submitExtrinsic","params":["0x{}"]}}"#,
        "00".repeat(2 << 20)
    );
    let stream = tokio::net::TcpStream::connect(chain.address()).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        large.len()
    );
    let sent = tokio::spawn(async move {
        write.write_all(head.as_bytes()).await?;
        write.write_all(large.as_bytes()).await
    });
    let mut answer = vec![0; 12];
    read.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
    sent.abort();
    for (body, code) in [
        ("{", "-32700"),
        ("[]", "-32600"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"nonsense","params":[]}"#, "-32601"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"system_health","params":[7]}"#, "-32602"),
    ] {
        let stream = tokio::net::TcpStream::connect(chain.address()).await.unwrap();
        let answer = http(stream, "Host: localhost\r\n", body).await;
        assert!(answer.contains(code), "{body}: {answer}");
    }
    let nested = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"system_health","params":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let stream = tokio::net::TcpStream::connect(chain.address()).await.unwrap();
    let answer = http(stream, "Host: localhost\r\n", &nested).await;
    assert!(answer.contains("error"), "{answer}");
    assert!(plain_http(&chain, "Host: localhost\r\n").await.contains("isSyncing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_connections_and_frees_the_port() {
    let chain = Chain::start().await;
    let client = chain.client().await;
    let mut stream = subscribe(&client, "chain_subscribeNewHeads", json!([]), "chain_unsubscribeNewHeads").await;
    next(&mut stream).await;
    let address = chain.address();
    chain.server.stop().await;
    assert!(tokio::time::timeout(PATIENCE, stream.next()).await.expect("the stream ends").is_none());
    assert!(tokio::net::TcpListener::bind(address).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_have_places_and_give_them_back() {
    let chain = Chain::start().await;
    let url = format!("ws://{}", chain.address());
    let connect = || jsonrpsee::ws_client::WsClientBuilder::default().build(&url);
    let mut open = Vec::new();
    for _ in 0..x0_limits::RPC_CONNECTIONS_MAX {
        open.push(connect().await.unwrap());
    }
    assert!(connect().await.is_err(), "a WebSocket keeps its place as long as it lives");
    assert_eq!(ask(&open[0], "system_name", json!([])).await, "x0-node");
    open.truncate(10);
    // The node learns of a closed connection a moment later.
    let again = tokio::time::timeout(PATIENCE, async {
        loop {
            match connect().await {
                Ok(client) => return client,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        }
    });
    assert_eq!(ask(&again.await.expect("a place is free again"), "system_name", json!([])).await, "x0-node");
}
