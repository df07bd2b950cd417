//! Four validators whose links are those of real machines: TCP, post-quantum TLS, one known contact.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test")]

mod common;

use common::{Node, assert_same_chain, key, peer, stop_all, validator_name};
use std::sync::Arc;
use x0_consensus::Pacing;
use x0_network::{
    Carrier,
    memory::Hub,
    p2p::{HostPort, P2pCarrier, P2pConfig, PeerAddress},
};

const PACING: Pacing = Pacing { busy_ms: 50, idle_ms: 300, on_demand: false };
const VALIDATORS: usize = 4;

async fn start(node: &mut Node, contact: Option<PeerAddress>) -> Arc<P2pCarrier> {
    let index = node.index;
    let mut kept = None;
    node.start_on(async |genesis| {
        let config = P2pConfig::new("127.0.0.1:0".parse().unwrap(), contact.into_iter().collect());
        let network_key = key(&validator_name(index), "network");
        let carrier = Arc::new(P2pCarrier::start(config, network_key, genesis, Arc::new(|| 0)).await.unwrap());
        carrier.admission().set((0..VALIDATORS).map(peer).collect());
        kept = Some(Arc::clone(&carrier));
        carrier
    })
    .await;
    kept.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn four_validators_agree_over_tcp_and_one_comes_back() {
    let hub = Hub::new(1);
    let mut nodes = Vec::new();
    let mut carriers: Vec<Arc<P2pCarrier>> = Vec::new();
    for index in 0..VALIDATORS {
        let dir = tempfile::tempdir().unwrap();
        let mut node = Node { index, validators: VALIDATORS, dir, pacing: PACING, hub: hub.clone(), up: None };
        let contact = carriers
            .first()
            .map(|first| PeerAddress { key: first.local(), address: HostPort::from_socket(first.listening()[0]) });
        carriers.push(start(&mut node, contact).await);
        nodes.push(node);
    }
    let mut hashes = Vec::new();
    for (node, account) in nodes.iter().zip(["alice", "bob", "charlie", "dave"]) {
        hashes.extend(node.submit(account, 0, 20).await);
    }
    for node in &nodes {
        node.until_final(&hashes).await;
    }

    // One of them goes and comes back at another port; the others find it by what it tells them.
    nodes[3].stop().await;
    carriers[3].stop().await;
    let missed = nodes[0].height() + 5;
    nodes[0].until_height(missed).await;
    let contact = PeerAddress { key: carriers[1].local(), address: HostPort::from_socket(carriers[1].listening()[0]) };
    carriers[3] = start(&mut nodes[3], Some(contact)).await;
    nodes[3].until_height(missed).await;
    assert_same_chain(&nodes);
    for (node, carrier) in nodes.iter().zip(&carriers) {
        node.check_certificates();
        assert_eq!(node.up().engine.status().refused_frames, 0, "no honest frame is refused");
        assert_eq!((carrier.metrics().offences, carrier.metrics().bans), (0, 0));
    }
    stop_all(&mut nodes).await;
}
