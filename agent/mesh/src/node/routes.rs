//! Which routes a conversation has, and how they are weighed.

use super::{
    Mesh, Sink,
    filter::WEIGHT_NEUTRAL,
    peers::{PeerIx, Peers},
    slots::Route,
};
use crate::{
    Time,
    route::{Hop, Path},
};

impl Mesh {
    /// Takes over the routes that are known now: those of the router, and links to the peer itself.
    pub(super) fn refresh_paths(&mut self, now: Time, peer: PeerIx, sink: &mut dyn Sink) {
        let Some(name) = self.talks.get(peer).map(|talk| talk.name) else { return };
        let mut paths: Vec<Path> = self.router.paths(&name).to_vec();
        // A link to the peer is a route before gossip has told anybody about it.
        for (_, entry) in self
            .links
            .iter()
            .filter(|(_, entry)| entry.name == name && entry.proved && !entry.renews && entry.retires.is_none())
        {
            if let Some(path) = self.direct(entry).filter(|path| !paths.iter().any(|known| known.id() == path.id())) {
                paths.insert(0, path);
            }
        }
        paths.retain(|path| !self.avoids(path));
        let Some(talk) = self.talks.get_mut(peer) else { return };
        let switch = talk.scheduler.set_paths(now, &paths);
        let paths: Vec<Path> = talk.scheduler.paths().cloned().collect();
        let routes: Vec<(Route, u32, u8)> = paths
            .iter()
            .map(|path| {
                let (id, first, labels) = (path.id(), path.first_label(), path.labels());
                let (trust, preference) = weights(&self.peers, path);
                (Route { id, first, labels, back: self.back(path) }, trust, preference)
            })
            .collect();
        let Some(talk) = self.talks.get_mut(peer) else { return };
        for (route, trust, preference) in &routes {
            talk.scheduler.weigh(route.id, *trust, *preference);
        }
        let plain: Vec<Route> = routes.into_iter().map(|(route, _, _)| route).collect();
        talk.trips.retain(|id, _| plain.iter().any(|route| route.id == *id));
        let freed = talk.slots.update(&plain);
        self.switched(now, peer, switch, freed, sink);
        self.send_waiting(now, peer, sink);
        self.set_talk_timer(peer);
    }

    /// A link to the other end as a route.
    fn direct(&self, entry: &super::links::Entry) -> Option<Path> {
        let (from, to, label, underlay_from) = (self.me, entry.name, entry.label, entry.srlg);
        // What the other end calls its underlay is known with its first record.
        Path::new(vec![Hop { from, to, label, underlay_from, underlay_to: underlay_from, cost_us: 0 }])
    }

    /// Whether a route passes a node that is quarantined or denied.
    fn avoids(&self, path: &Path) -> bool {
        path.relays().any(|relay| {
            let judgement = self.filter.judge(&relay);
            judgement.denied || judgement.quarantined
        })
    }
}

/// Trust in the least trusted relay of a route, and the least of the operator's weights.
fn weights(peers: &Peers, path: &Path) -> (u32, u8) {
    let mut trust = 65_536;
    let mut weight = WEIGHT_NEUTRAL;
    for relay in path.relays() {
        let known = peers.find(&relay).and_then(|at| peers.get(at));
        // A relay that the authority does not know carries as little as one that it does not trust.
        trust = trust.min(known.map_or(0, |known| known.peer.trust_q16));
        weight = weight.min(known.map_or(0, |known| known.judgement.weight));
    }
    (trust, weight)
}
