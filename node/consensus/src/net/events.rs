//! The engine's view of the network: events for everybody who listens, early or late.

use super::peer_id;
use crate::context::ChainContext;
use malachite_engine::network::{NetworkEvent, Subscriber};
use malachite_network::Channel as EngineChannel;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use x0_network::PeerKey;

pub(super) type Event = NetworkEvent<ChainContext>;

#[derive(Default)]
struct Audience {
    subscribers: Vec<Box<dyn Subscriber<Event>>>,
    listening: bool,
    peers: BTreeSet<PeerKey>,
}

/// Events for everybody who listens, early or late.
#[derive(Default)]
pub(super) struct Events(Mutex<Audience>);

fn listening() -> Option<Event> {
    // The engine only wants to see that there is an address.
    "/memory/1".parse().ok().map(NetworkEvent::Listening)
}

impl Events {
    pub(super) fn subscribe(&self, subscriber: Box<dyn Subscriber<Event>>) {
        let mut audience = self.0.lock();
        if audience.listening
            && let Some(event) = listening()
        {
            subscriber.send(event);
        }
        for peer in audience.peers.iter().filter_map(peer_id) {
            subscriber.send(NetworkEvent::PeerConnected(peer));
            subscriber.send(NetworkEvent::PeerSubscribed(peer, EngineChannel::Sync));
        }
        audience.subscribers.push(subscriber);
    }

    pub(super) fn emit(&self, event: &Event) {
        for subscriber in &self.0.lock().subscribers {
            subscriber.send(event.clone());
        }
    }

    /// Whether a link to this peer stands.
    pub(super) fn knows(&self, peer: &PeerKey) -> bool {
        self.0.lock().peers.contains(peer)
    }

    /// The peers with a standing link.
    pub(super) fn peers(&self) -> Vec<PeerKey> {
        self.0.lock().peers.iter().copied().collect()
    }

    /// How many peers there are.
    pub(super) fn count(&self) -> usize {
        self.0.lock().peers.len()
    }

    pub(super) fn listening(&self) {
        self.0.lock().listening = true;
        if let Some(event) = listening() {
            self.emit(&event);
        }
    }

    pub(super) fn peer_up(&self, peer: PeerKey) {
        let new = self.0.lock().peers.insert(peer);
        if let (true, Some(id)) = (new, peer_id(&peer)) {
            self.emit(&NetworkEvent::PeerConnected(id));
            // The sync actor answers this with its status at once.
            self.emit(&NetworkEvent::PeerSubscribed(id, EngineChannel::Sync));
        }
    }

    pub(super) fn peer_down(&self, peer: PeerKey) {
        let known = self.0.lock().peers.remove(&peer);
        if let (true, Some(id)) = (known, peer_id(&peer)) {
            self.emit(&NetworkEvent::PeerDisconnected(id));
        }
    }
}
