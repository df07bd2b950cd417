//! The router's wishes: messages to neighbours, signatures, plans; and what its answers change.

use super::{
    Mesh, Sink, Urgency,
    job::{Purpose, Work},
    links::LinkIx,
    mesh::timer,
    peers::PeerIx,
};
use crate::{
    NodeId, Time,
    route::{Output, Path, Verdict},
};
use std::collections::BTreeSet;
use x0_mesh_wire::{ControlFragment, Labels, control::kind, limits::LABELS_MAX};

impl Mesh {
    /// Does what the router has due.
    pub(super) fn tick_router(&mut self, now: Time, sink: &mut dyn Sink) {
        let mut outputs = core::mem::take(&mut self.outputs);
        self.router.tick(now, &mut outputs);
        self.follow_router(now, outputs, sink);
    }

    /// Does what the router asks for.
    pub(super) fn follow_router(&mut self, now: Time, mut outputs: Vec<Output>, sink: &mut dyn Sink) {
        for output in outputs.drain(..) {
            match output {
                Output::Send { label, bytes } => self.send_gossip(now, label, &bytes, sink),
                Output::Sign { seq, body } => {
                    let genesis = self.config.genesis;
                    self.give(Work::Sign { genesis, body }, Purpose::Sign { seq }, sink);
                }
                Output::Verify { ticket, record } => {
                    let key = self.peers.find(&record.record.node).and_then(|at| self.peers.get(at));
                    match key.map(|known| known.peer.key.clone()) {
                        Some(key) => {
                            let genesis = self.config.genesis;
                            self.give(Work::Verify { genesis, key, record }, Purpose::Verify { ticket }, sink);
                        }
                        None => self.verified(now, ticket, Verdict::UnknownNode, sink),
                    }
                }
                Output::Plan(request) => self.give(Work::Plan(request), Purpose::Plan, sink),
                Output::Suspect { owner, label, .. } => self.noticed(now, owner, label, sink),
                Output::Refused { .. } => self.counters.refused_record += 1,
            }
        }
        // Handlers above may have filled another buffer meanwhile; the larger one is kept.
        if outputs.capacity() > self.outputs.capacity() {
            outputs.append(&mut self.outputs);
            self.outputs = outputs;
        }
        self.timers.set(timer::ROUTER, Some(self.router.deadline()));
    }

    fn send_gossip(&mut self, now: Time, label: u32, payload: &[u8], sink: &mut dyn Sink) {
        let mut body = [0; 1_280];
        let fragment = ControlFragment { kind: kind::LINK_STATE, message: 0, index: 0, count: 1, payload };
        let Some(at) = self.links.labelled(label) else { return };
        let Ok(bytes) = fragment.write(&mut body) else { return self.counters.internal_errors += 1 };
        self.send_sealed_control(now, at, body.get(..bytes).unwrap_or(&[]), sink);
    }

    /// Seals a control body for a link and sends it to the link's address.
    pub(super) fn send_sealed_control(&mut self, now: Time, at: LinkIx, body: &[u8], sink: &mut dyn Sink) {
        let Self { links, counters, control, .. } = self;
        let Some(entry) = links.get_mut(at) else { return };
        match entry.link.seal_control(now, body, control) {
            Ok(length) => {
                let frame = control.get(..length).unwrap_or(&[]);
                counters.datagrams_out += 1;
                counters.bytes_out += frame.len() as u64;
                sink.send(entry.underlay, entry.address, Urgency::Now, frame);
            }
            Err(_) => counters.internal_errors += 1,
        }
        self.set_link_timer(at);
    }

    /// The answer to a verification.
    pub(super) fn verified(&mut self, now: Time, ticket: u64, verdict: Verdict, sink: &mut dyn Sink) {
        let mut outputs = core::mem::take(&mut self.outputs);
        if self.router.verified(now, ticket, verdict, &mut outputs).is_err() {
            self.counters.refused_record += 1;
        }
        self.follow_router(now, outputs, sink);
    }

    /// New routes are known: every conversation takes them over, and who waited for one goes on.
    pub(super) fn replan(&mut self, now: Time, sink: &mut dyn Sink) {
        for peer in self.talks.which(|_| true) {
            self.refresh_paths(now, peer, sink);
            self.connect_talk(now, peer, sink);
        }
    }

    /// A relay says that a link is dead.
    fn noticed(&mut self, now: Time, owner: NodeId, label: u32, sink: &mut dyn Sink) {
        for peer in self.talks.which(|_| true) {
            let switch = self.talks.get_mut(peer).and_then(|talk| talk.scheduler.notice(now, &owner, label));
            self.switched(now, peer, switch, 0, sink);
            self.replay_over(now, peer, &owner, label, sink);
            self.set_talk_timer(peer);
        }
    }

    /// A notice is no proof, but what may have been lost is sent again all the same: the receiver drops
    /// what it has.
    fn replay_over(&mut self, now: Time, peer: PeerIx, owner: &NodeId, label: u32, sink: &mut dyn Sink) {
        let Some(talk) = self.talks.get(peer) else { return };
        let over = talk.scheduler.paths().filter(|path| path.uses(owner, label));
        let dead = over.filter_map(|path| talk.slots.slot_of(path.id())).fold(0, |bits, slot| bits | 1 << slot);
        if dead != 0 {
            self.replay(now, peer, dead, sink);
        }
    }

    /// Tells the router who is admitted: whom no route may pass, and whose records are void.
    pub(super) fn exclude(&mut self, now: Time, gone: &[NodeId]) {
        for node in gone {
            self.router.forget(now, node);
        }
        let shut: BTreeSet<NodeId> = self
            .peers
            .iter()
            .filter(|(_, known)| known.judgement.denied || known.judgement.quarantined || known.judgement.weight == 0)
            .map(|(_, known)| known.peer.id)
            .collect();
        self.router.exclude(shut);
        self.timers.set(timer::ROUTER, Some(self.router.deadline()));
    }

    /// The labels that lead back along a route, from the other end's first relay on, by what the relays
    /// claim. None when one of them claims no way back.
    pub(super) fn back(&self, path: &Path) -> Option<Labels> {
        let hops = path.hops();
        let travelled = hops.get(..hops.len().checked_sub(1)?)?;
        let mut labels = [0; LABELS_MAX];
        for (place, hop) in labels.iter_mut().zip(travelled.iter().rev()) {
            let claims = self.router.table().claims(&hop.to)?;
            let to_here = || claims.iter().filter(|claim| claim.neighbour == hop.from && claim.up);
            let paired = to_here().find(|claim| claim.underlay == hop.underlay_to);
            *place = paired.or_else(|| to_here().next())?.label;
        }
        Labels::new(labels.get(..travelled.len())?).ok()
    }
}
