//! Carriers over loopback.

use super::*;
use crate::queue::Class;
use std::collections::HashMap;
use tokio::time::timeout;

mod handshake;
mod lanes;
mod links;
mod storm;

const GENESIS: [u8; 32] = [7; 32];
/// Long enough for any machine; nothing waits for it unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

fn key(tag: u8) -> SigningKey {
    SigningKey::from_seed(&x0_crypto::Seed::from_bytes([tag; 32])).unwrap()
}

fn name(tag: u8) -> PeerKey {
    PeerKey::of(key(tag).public())
}

fn here() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn frame(channel: Channel) -> Waiting {
    Waiting { channel, bytes: Bytes::new(), not_before: Instant::now() }
}

struct Node {
    carrier: P2pCarrier,
    events: mpsc::Receiver<CarrierEvent>,
}

impl Node {
    async fn start(tag: u8, peers: Vec<PeerAddress>) -> Self {
        Self::with(tag, P2pConfig::new(here(), peers)).await
    }

    async fn with(tag: u8, config: P2pConfig) -> Self {
        let carrier = P2pCarrier::start(config, key(tag), GENESIS, Arc::new(move || u64::from(tag))).await.unwrap();
        let mut events = carrier.take_events().unwrap();
        assert!(matches!(events.recv().await, Some(CarrierEvent::Listening)));
        Self { carrier, events }
    }

    fn address(&self) -> PeerAddress {
        PeerAddress { key: self.carrier.local(), address: HostPort::from_socket(self.carrier.listening()[0]) }
    }

    fn admit(&self, tags: &[u8]) {
        self.carrier.admission().set(tags.iter().map(|tag| name(*tag)).collect());
    }

    async fn next(&mut self) -> CarrierEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("the carrier is open")
    }

    async fn until_up(&mut self, peer: PeerKey) {
        loop {
            if matches!(self.next().await, CarrierEvent::PeerUp(up) if up == peer) {
                return;
            }
        }
    }

    async fn until_down(&mut self, peer: PeerKey) {
        loop {
            if matches!(self.next().await, CarrierEvent::PeerDown(down) if down == peer) {
                return;
            }
        }
    }

    /// Waits until exactly these peers have links.
    async fn until_linked(&mut self, tags: &[u8]) {
        let wanted: BTreeSet<_> = tags.iter().map(|tag| name(*tag)).collect();
        let mut linked: BTreeSet<_> = BTreeSet::new();
        while linked != wanted {
            match self.next().await {
                CarrierEvent::PeerUp(peer) => assert!(linked.insert(peer), "up twice"),
                CarrierEvent::PeerDown(peer) => assert!(linked.remove(&peer), "down twice"),
                CarrierEvent::Frame { .. } | CarrierEvent::Listening => {}
            }
        }
    }

    async fn frame(&mut self) -> (PeerKey, Channel, Bytes) {
        loop {
            if let CarrierEvent::Frame { from, channel, bytes } = self.next().await {
                return (from, channel, bytes);
            }
        }
    }
}

/// Polls until a condition holds that no event tells of.
async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what}"));
}

/// Nodes 1 to `count` that admit one another and know the address of the first.
async fn network(count: u8) -> Vec<Node> {
    let tags: Vec<u8> = (1..=count).collect();
    let first = Node::start(1, vec![]).await;
    first.admit(&tags);
    let contact = first.address();
    let mut nodes = vec![first];
    for tag in 2..=count {
        let node = Node::start(tag, vec![contact.clone()]).await;
        node.admit(&tags);
        nodes.push(node);
    }
    for (index, node) in nodes.iter_mut().enumerate() {
        let others: Vec<_> = tags.iter().copied().filter(|tag| usize::from(*tag) != index + 1).collect();
        node.until_linked(&others).await;
    }
    nodes
}
