//! Handshakes: what they ask for, and the keys that they give.

use super::{
    Event, Mesh, Sink, UnderlayId, Urgency,
    link_life::may,
    mesh::timer,
    peers::{PeerIx, Peers},
    slots::Route,
    talks::Talk,
    transmit::Out,
};
use crate::{
    NodeId, Time,
    handshake::{Action, Authority, Established, JobDone, Purpose, Role, Via},
    session::Session,
};
use std::net::SocketAddr;
use x0_crypto::PublicKey;
use x0_mesh_wire::{Flags, limits::ROUTES_MAX};

/// Wait after the first handshake of a session that gave no keys, milliseconds; it doubles each time.
const AGAIN_MS_FIRST: u64 = 250;
/// Longest wait, milliseconds.
const AGAIN_MS_MAX: u64 = 8_000;

impl Authority for Peers {
    fn may_connect(&self, peer: &NodeId, purpose: Purpose) -> bool {
        self.find(peer).and_then(|at| self.get(at)).is_some_and(|known| may(known.rights(), purpose))
    }

    fn public_key(&self, peer: &NodeId) -> Option<PublicKey> {
        self.find(peer).and_then(|at| self.get(at)).map(|known| known.peer.key.clone())
    }
}

impl Mesh {
    /// A handshake datagram came over an underlay.
    pub(super) fn handshake_datagram(
        &mut self,
        now: Time,
        underlay: UnderlayId,
        from: SocketAddr,
        bytes: &[u8],
        sink: &mut dyn Sink,
    ) {
        let mut actions = core::mem::take(&mut self.actions);
        let entropy = self.entropy.as_mut();
        let result = self.handshakes.link_datagram(now, underlay.0, from, bytes, &self.peers, entropy, &mut actions);
        self.counters.refused_handshake += u64::from(result.is_err());
        self.act(now, actions, sink);
    }

    /// Does what handshakes have due.
    pub(super) fn tick_handshakes(&mut self, now: Time, sink: &mut dyn Sink) {
        let mut actions = core::mem::take(&mut self.actions);
        self.handshakes.tick(now, &self.peers, self.entropy.as_mut(), &mut actions);
        self.act(now, actions, sink);
    }

    /// The answer to a job of a handshake.
    pub(super) fn complete_handshake(&mut self, now: Time, done: JobDone, sink: &mut dyn Sink) {
        let mut actions = core::mem::take(&mut self.actions);
        let result = self.handshakes.complete(now, done, &self.peers, self.entropy.as_mut(), &mut actions);
        self.counters.refused_handshake += u64::from(result.is_err());
        self.act(now, actions, sink);
    }

    /// Does what handshakes ask for, in order.
    pub(super) fn act(&mut self, now: Time, mut actions: Vec<Action>, sink: &mut dyn Sink) {
        for action in actions.drain(..) {
            match action {
                Action::Send { via, bytes } => self.send_handshake(now, via, &bytes, sink),
                Action::Job(job) => self.give_handshake(job, sink),
                Action::Established(established) => match established.purpose {
                    Purpose::Link => self.open_link(now, *established, sink),
                    Purpose::EndToEnd => self.open_session(now, *established, sink),
                },
                Action::Failed { peer, purpose: Purpose::EndToEnd, .. } => self.connect_failed(now, &peer),
                Action::Failed { id, purpose: Purpose::Link, .. } => self.dial_failed(now, id),
            }
        }
        if actions.capacity() > self.actions.capacity() {
            actions.append(&mut self.actions);
            self.actions = actions;
        }
        self.timers.set(timer::HANDSHAKES, self.handshakes.deadline());
        self.timers.set(timer::DIALS, self.dials.deadline());
    }

    fn send_handshake(&mut self, now: Time, via: Via, bytes: &[u8], sink: &mut dyn Sink) {
        match via {
            Via::Socket { underlay, address } => {
                self.counters.datagrams_out += 1;
                self.counters.bytes_out += bytes.len() as u64;
                sink.send(UnderlayId(underlay), address, Urgency::Now, bytes);
            }
            Via::Route { link, labels, .. } => {
                let Some(at) = self.links.labelled(link) else { return };
                let Self { links, timers, counters, buffer, .. } = self;
                let length = buffer.set_body(bytes);
                let mut out = Out { now, links, timers, counters, sink };
                out.body(buffer, length, at, &labels, Flags::NONE, Urgency::Now);
            }
        }
    }

    /// Begins a handshake with the other end of a conversation, if one is wanted and none runs.
    pub(super) fn connect_talk(&mut self, now: Time, peer: PeerIx, sink: &mut dyn Sink) {
        let Some(talk) = self.talks.get_mut(peer) else { return };
        let forgotten = talk.seems_forgotten(now);
        let wanted = match talk.sessions.sending() {
            None => !talk.waiting.is_empty(),
            Some(open) => open.wants_handshake(now) || forgotten,
        };
        if !wanted || now < talk.connect_at || self.handshakes.is_running(&talk.name, Purpose::EndToEnd) {
            return;
        }
        let (name, ways) = (talk.name, ways_of(talk));
        if ways.is_empty() {
            return;
        }
        talk.connect_at = now.plus_ms(backoff_ms(talk.failures));
        let mut actions = core::mem::take(&mut self.actions);
        let result = self.handshakes.connect(now, name, &ways, &self.peers, self.entropy.as_mut(), &mut actions);
        if result.is_err() {
            self.counters.refused_bound += 1;
        }
        self.act(now, actions, sink);
    }

    /// The routes of a conversation may have changed: its handshake, if one runs, takes those of now.
    pub(super) fn reroute_handshake(&mut self, now: Time, peer: PeerIx) {
        let Some(talk) = self.talks.get(peer) else { return };
        if self.handshakes.is_running(&talk.name, Purpose::EndToEnd) {
            self.handshakes.reroute(now, &talk.name, &ways_of(talk));
            self.timers.set(timer::HANDSHAKES, self.handshakes.deadline());
        }
    }

    fn connect_failed(&mut self, now: Time, name: &NodeId) {
        let Some(peer) = self.peers.find(name) else { return };
        if let Some(talk) = self.talks.get_mut(peer) {
            talk.failures = talk.failures.saturating_add(1);
            talk.connect_at = now.plus_ms(backoff_ms(talk.failures));
        }
        self.set_talk_timer(peer);
    }

    /// Keys for a session: what waited for it goes out.
    fn open_session(&mut self, now: Time, established: Established, sink: &mut dyn Sink) {
        let Established { role, peer: name, local_id, peer_id, keys, .. } = established;
        let known =
            self.peers.find(&name).filter(|peer| self.peers.get(*peer).is_some_and(|known| known.rights().session));
        let Some(peer) = known else {
            self.handshakes.release(local_id);
            self.counters.refused_session_right += 1;
            return;
        };
        if self.talks.get(peer).is_none() && !self.start_talk(now, peer, sink) {
            self.handshakes.release(local_id);
            self.counters.refused_bound += 1;
            return;
        }
        let Some(talk) = self.talks.get_mut(peer) else { return };
        if role == Role::Initiator && talk.seems_forgotten(now) {
            // The old session is of no use to the other end, whatever else is said for it.
            for old in core::mem::take(&mut talk.sessions).iter_mut() {
                self.handshakes.release(old.local_index());
                self.stale.push(old.local_index());
            }
        }
        let session = Session::new(keys, role, (local_id, peer_id), now, self.entropy.as_mut());
        (talk.failures, talk.heard) = (0, now);
        talk.used = now;
        let first = talk.sessions.sending().is_none();
        // Another session that the other end began says nothing about the one that this end would send on.
        talk.unconfirmed = role == Role::Responder && (first || talk.unconfirmed);
        let freed = talk.sessions.install(now, session);
        for index in freed {
            self.handshakes.release(index);
            self.talks.remove_index(index);
        }
        while let Some(index) = self.stale.pop() {
            self.talks.remove_index(index);
        }
        self.talks.add_index(local_id, peer);
        self.counters.sessions_opened += 1;
        if first {
            self.say(now, Event::SessionUp { peer: name }, sink);
        }
        self.send_waiting(now, peer, sink);
        self.set_talk_timer(peer);
    }
}

/// The live routes over which a handshake can go, because a way back is known.
fn ways_of(talk: &Talk) -> Vec<Via> {
    let routes = talk.scheduler.live().filter_map(|id| talk.slots.slot_of(id)).filter_map(|slot| talk.slots.get(slot));
    let way = |route: &Route| {
        let back = route.back?;
        Some(Via::Route { link: route.first, labels: route.labels, back })
    };
    routes.filter_map(way).take(ROUTES_MAX).collect()
}

fn backoff_ms(failures: u32) -> u64 {
    AGAIN_MS_FIRST.checked_shl(failures.min(8)).unwrap_or(AGAIN_MS_MAX).min(AGAIN_MS_MAX)
}
