//! What the node says about itself: peers, progress, traffic, also before it has a chain.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::*;
use serde_json::json;
use std::sync::Arc;
use x0_rpc::{ListenerConfig, Neighbours, Node, NodeInfo, RpcStats, Sockets};
use x0_rpc_types::{
    error as code,
    node::{LinkDirection, Peer},
};

/// Links as a test wants them.
#[derive(Default)]
struct Links {
    peers: Vec<Peer>,
    catching_up: bool,
}

impl Neighbours for Links {
    fn peers(&self) -> Vec<Peer> {
        self.peers.clone()
    }
    fn listening(&self) -> Vec<String> {
        vec!["10.0.0.1:9933".to_owned()]
    }
    fn wanted(&self) -> bool {
        true
    }
    fn catching_up(&self) -> bool {
        self.catching_up
    }
}

fn peer(name: &str, tip: u64) -> Peer {
    Peer {
        peer_id: name.to_owned(),
        address: "10.0.0.2:9933".to_owned(),
        direction: LinkDirection::Out,
        software: "x0-node/0".to_owned(),
        tip,
        since_ms: 1,
        rtt_ms: Some(0.5),
        clock_ahead_ms: -3,
        sent: 1,
        received: 2,
        dropped: 0,
        penalties: 0,
    }
}

fn info() -> NodeInfo {
    NodeInfo {
        chain: "Test".to_owned(),
        network: "test".to_owned(),
        chain_type: "Local".to_owned(),
        version: "1.2.3".to_owned(),
        peer_id: "self".to_owned(),
        validator: false,
        ss58_prefix: 42,
    }
}

async fn client(sockets: &Sockets, listener: usize) -> jsonrpsee::ws_client::WsClient {
    x0_test_support::node::client(&format!("ws://{}", sockets.addresses()[listener])).await
}

/// A node on the chain of these tests, with links.
fn with_links(chain: &Chain, links: Links) -> Arc<Node> {
    let database = chain.database.clone();
    let node = Node::new(chain.executor.clone(), database, chain.mempool.clone(), info(), None);
    Arc::new(node.with_neighbours(Arc::new(links)))
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_and_progress_are_those_of_the_links() {
    let chain = Chain::start().await;
    let head = chain.seal().await;
    // A node without links says so.
    let alone = chain.client().await;
    let health = ask(&alone, "system_health", json!([])).await;
    assert_eq!(health, json!({ "peers": 0, "isSyncing": false, "shouldHavePeers": false }));
    let sockets = Sockets::bind(&[plain(), ListenerConfig { unsafe_methods: true, ..plain() }]).unwrap();
    let node = with_links(&chain, Links { peers: vec![peer("aa", 1), peer("bb", 7)], catching_up: false });
    let server = sockets.serve(&node).unwrap();
    let public = client(&sockets, 0).await;
    let health = ask(&public, "system_health", json!([])).await;
    assert_eq!(health, json!({ "peers": 2, "isSyncing": true, "shouldHavePeers": true }));
    let progress = ask(&public, "system_syncState", json!([])).await;
    assert_eq!(progress, json!({ "startingBlock": 1, "currentBlock": 1, "highestBlock": 7 }));
    let peers = ask(&public, "system_peers", json!([])).await;
    assert_eq!(peers[0], json!({ "peerId": "aa", "roles": "FULL", "bestHash": head, "bestNumber": 1 }));
    assert_eq!(peers[1]["bestHash"], json!(null), "nobody told the hash of a block that is not here");
    assert!(!peers.to_string().contains("10.0.0.2"), "addresses are the operator's");
    assert_eq!(ask(&public, "system_localListenAddresses", json!([])).await, json!(["10.0.0.1:9933"]));
    assert_eq!(refusal(&public, "admin_peers", json!([])).await.0, -32601);
    let operator = client(&sockets, 1).await;
    let links: Vec<Peer> = serde_json::from_value(ask(&operator, "admin_peers", json!([])).await).unwrap();
    assert_eq!(links, [peer("aa", 1), peer("bb", 7)]);
    server.stop().await;
    // Some blocks behind is how a network breathes.
    let node = with_links(&chain, Links { peers: vec![peer("aa", 6)], catching_up: false });
    let server = sockets.serve(&node).unwrap();
    assert_eq!(ask(&client(&sockets, 0).await, "system_health", json!([])).await["isSyncing"], false);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_chain_speaks_of_itself_and_then_serves_everything_at_the_same_address() {
    let chain = Chain::start().await;
    let sockets = Sockets::bind(&[plain()]).unwrap();
    // Bound and not served yet: whoever connects waits.
    let early = tokio::spawn({
        let address = sockets.addresses()[0];
        async move { x0_test_support::node::client(&format!("ws://{address}")).await }
    });
    let links = Arc::new(Links { peers: vec![peer("aa", 500)], catching_up: true });
    let starting = sockets.serve_starting(info(), links, "it fetches a snapshot").unwrap();
    let client_ = early.await.unwrap();
    let health = ask(&client_, "system_health", json!([])).await;
    assert_eq!(health, json!({ "peers": 1, "isSyncing": true, "shouldHavePeers": true }));
    let progress = ask(&client_, "system_syncState", json!([])).await;
    assert_eq!(progress, json!({ "startingBlock": 0, "currentBlock": 0, "highestBlock": 500 }));
    let served = ask(&client_, "rpc_methods", json!([])).await;
    for method in served["methods"].as_array().unwrap() {
        ask(&client_, method.as_str().unwrap(), json!([])).await;
    }
    for method in ["chain_getHeader", "author_submitExtrinsic", "no_such_method"] {
        let (found, message, _) = refusal(&client_, method, json!([])).await;
        assert_eq!((found, message.as_str()), (code::STARTING, "it fetches a snapshot"), "{method}");
    }
    starting.stop().await;
    // The connection of that time is closed, so that nobody keeps asking the wrong table.
    tokio::time::timeout(PATIENCE, client_.on_disconnect()).await.unwrap();
    let server = sockets.serve(&with_links(&chain, Links::default())).unwrap();
    let client_ = client(&sockets, 0).await;
    assert_eq!(ask(&client_, "chain_getBlockHash", json!([0])).await, json!(chain.genesis()));
    assert_eq!(refusal(&client_, "no_such_method", json!([])).await.0, -32601);
    server.stop().await;
    drop(sockets);
}

/// Counts of a class: requests, refused, internal, answers.
fn counts(stats: &RpcStats, class: &str) -> (u64, u64, u64, u64) {
    let found = stats.classes.iter().find(|found| found.class == class).unwrap();
    (found.requests, found.refused, found.internal, found.latency.iter().sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_over_the_rpc_is_counted_and_what_ends_is_counted_off() {
    use jsonrpsee::core::{client::ClientT as _, params::BatchRequestBuilder};
    let chain = Chain::start().await;
    let sockets = Sockets::bind(&[plain()]).unwrap();
    let stats = sockets.stats();
    let server = sockets.serve(&with_links(&chain, Links::default())).unwrap();
    let client = client(&sockets, 0).await;
    ask(&client, "chain_getBlockHash", json!([0])).await;
    refusal(&client, "chain_getBlockHash", json!(["x"])).await;
    refusal(&client, "chain_made_up", json!([])).await;
    let mut batch = BatchRequestBuilder::new();
    for _ in 0..3 {
        batch.insert("system_name", jsonrpsee::rpc_params![]).unwrap();
    }
    client.batch_request::<String>(batch).await.unwrap();
    let mut heads = heads(&client).await;
    next(&mut heads).await;
    let now = stats();
    assert_eq!(counts(&now, "chain"), (3, 1, 0, 3), "the subscription is a request too");
    assert_eq!(counts(&now, "unknown"), (1, 1, 0, 1));
    assert_eq!(counts(&now, "system"), (3, 0, 0, 0));
    assert_eq!(counts(&now, "batch"), (1, 0, 0, 1));
    assert_eq!((now.connections, now.subscriptions, now.refused_connections), (1, 1, 0));
    assert!(now.received_bytes > 500 && now.sent_bytes > now.received_bytes, "{now:?}");
    drop(heads);
    drop(client);
    let gone = async {
        while (stats().connections, stats().subscriptions) != (0, 0) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    server.stop().await;
}
