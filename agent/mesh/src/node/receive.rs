//! What becomes of a datagram: refused, taken in by a link, passed on, or opened.

use super::{Mesh, Sink, UnderlayId, Urgency, links::LinkIx, overlay::Inner, peers::PeerIx, transmit::Out};
use crate::{
    Time,
    link::{Freshness, LinkError, Received},
    route::{Decision, DropReason, RelayInput},
    session::{Opened, SessionError},
};
use std::net::SocketAddr;
use x0_mesh_wire::{DataBody, Flags, Frame, Header, Labels, header::replace_route};

/// What a link made of a frame, without what it borrowed.
enum Taken {
    Nothing,
    /// Whether its number on the link is new. The MAC of the hop covers the start of a body only, so who
    /// sees a frame can be faster with a changed one and take its number: what ends here is judged by the
    /// session, which knows its packets, and only what is passed on is judged by the link.
    Data {
        new: bool,
    },
    Repeated,
    Control {
        start: usize,
        end: usize,
    },
}

impl Mesh {
    /// Takes a datagram in.
    pub(super) fn receive(
        &mut self,
        now: Time,
        received: Time,
        underlay: UnderlayId,
        from: SocketAddr,
        bytes: &mut [u8],
        sink: &mut dyn Sink,
    ) {
        if !self.config.underlays.iter().any(|known| known.id == underlay) {
            self.counters.refused_underlay += 1;
            return;
        }
        let Ok(header) = Header::read(bytes) else {
            self.counters.refused_malformed += 1;
            return;
        };
        if header.kind.is_handshake() {
            self.handshake_datagram(now, underlay, from, bytes, sink);
            return;
        }
        let Some((at, taken)) = self.take_in(now, received, &header, bytes) else { return };
        // An old frame that is sent again says nothing about where the neighbour is now.
        if !matches!(taken, Taken::Repeated | Taken::Data { new: false }) {
            self.follow(now, at, underlay, from, sink);
        }
        match taken {
            Taken::Nothing => {}
            Taken::Repeated => self.counters.refused_repeated += 1,
            Taken::Data { new } => self.data(now, at, new, bytes, sink),
            Taken::Control { start, end } => {
                self.control(now, at, bytes.get(start..end).unwrap_or(&[]), underlay, from, sink);
            }
        }
        // What was heard may lift or confirm a suspicion at once.
        if self.links.get(at).and_then(super::links::Entry::deadline).is_some_and(|due| due <= now) {
            self.judge_link(now, at, sink);
        }
        self.set_link_timer(at);
    }

    /// Finds the link of a frame and hands it over.
    fn take_in(&mut self, now: Time, received: Time, header: &Header, bytes: &mut [u8]) -> Option<(LinkIx, Taken)> {
        let candidates: [Option<LinkIx>; 4] = {
            let mut tagged = self.links.tagged(header.link_tag);
            core::array::from_fn(|_| tagged.next())
        };
        if candidates[0].is_none() {
            self.counters.refused_tag += 1;
            return None;
        }
        let base = bytes.as_ptr() as usize;
        for at in candidates.into_iter().flatten() {
            let Some(entry) = self.links.get_mut(at) else { continue };
            let taken = match entry.link.receive(now, received, bytes) {
                Ok(Received::Nothing) => Taken::Nothing,
                Ok(Received::Data(freshness)) => Taken::Data { new: freshness == Freshness::New },
                Ok(Received::Control(body)) => {
                    let start = body.as_ptr() as usize - base;
                    Taken::Control { start, end: start + body.len() }
                }
                Err(LinkError::Replayed { .. }) => Taken::Repeated,
                Err(_) => continue,
            };
            return Some((at, taken));
        }
        self.counters.refused_forged += 1;
        None
    }

    /// A data frame whose MAC holds.
    fn data(&mut self, now: Time, at: LinkIx, new: bool, bytes: &mut [u8], sink: &mut dyn Sink) {
        let Some(entry) = self.links.get(at) else { return };
        let (peer, name, label) = (entry.peer, entry.name, entry.label);
        if !self.peers.within_limit(peer, bytes.len(), now) {
            self.counters.refused_rate += 1;
            return;
        }
        let Ok(frame) = Frame::read(bytes) else {
            self.counters.refused_malformed += 1;
            return;
        };
        let header = frame.header;
        if header.is_for_this_node() {
            let offset = header.body_offset();
            return self.body(now, label, bytes.get_mut(offset..).unwrap_or_default(), sink);
        }
        if !new {
            self.counters.refused_repeated += 1;
            return;
        }
        let Ok(labels) = frame.labels() else {
            self.counters.refused_malformed += 1;
            return;
        };
        let input = RelayInput {
            from: name,
            labels: labels.as_slice(),
            pointer: header.pointer,
            ttl: header.ttl,
            repaired: header.flags.has(Flags::REPAIRED),
        };
        match self.router.relay().decide(&input) {
            Decision::Local => self.counters.refused_malformed += 1,
            Decision::Drop(reason) => self.count_drop(reason),
            Decision::Forward { label } => self.relay(now, peer, label, bytes, &labels, header.pointer, None, sink),
            Decision::Repair { label, ahead } => {
                self.relay(now, peer, label, bytes, &labels, header.pointer, Some(ahead), sink);
            }
        }
    }

    fn count_drop(&mut self, reason: DropReason) {
        let counter = match reason {
            DropReason::Malformed => &mut self.counters.refused_malformed,
            DropReason::TtlExpired => &mut self.counters.refused_ttl,
            DropReason::NoSuchLink => &mut self.counters.refused_label,
            DropReason::UTurn => &mut self.counters.refused_turn,
            _ => &mut self.counters.refused_no_way_on,
        };
        *counter += 1;
    }

    /// Passes a frame on, by its own route or, once, by a way around.
    #[allow(clippy::too_many_arguments, reason = "the parts of one frame, read once")]
    fn relay(
        &mut self,
        now: Time,
        from: PeerIx,
        label: u32,
        bytes: &mut [u8],
        labels: &Labels,
        pointer: u8,
        ahead: Option<Labels>,
        sink: &mut dyn Sink,
    ) {
        let Some(next) = self.links.labelled(label) else {
            self.counters.refused_label += 1;
            return;
        };
        let to = self.links.get(next).map(|entry| entry.peer);
        let may = |peer: PeerIx| self.peers.get(peer).is_some_and(|known| known.rights().relay);
        if !(may(from) && to.is_some_and(may)) {
            self.counters.refused_relay_right += 1;
            return;
        }
        let name = self.peers.get(from).map(|known| known.peer.id);
        if let Some(name) = name {
            let ahead = labels.as_slice().get(usize::from(pointer)..).unwrap_or(&[]);
            self.router.used(now, name, ahead);
        }
        let length = bytes.len();
        let place = self.second.whole();
        let frame = match ahead {
            None => bytes,
            Some(ahead) => {
                let Some(copy) = place.get_mut(..length) else { return self.counters.refused_malformed += 1 };
                copy.copy_from_slice(bytes);
                match replace_route(place, length, ahead.as_slice()) {
                    Ok(length) => {
                        self.counters.repaired += 1;
                        place.get_mut(..length).unwrap_or_default()
                    }
                    Err(_) => return self.counters.internal_errors += 1,
                }
            }
        };
        // The route has been checked: the pointer is below the number of labels, and hops are left.
        if let [_, _, route, ttl, ..] = frame {
            *route += 1;
            *ttl = ttl.saturating_sub(1);
        }
        let length = frame.len() as u64;
        let mut out = Out { now, links: &mut self.links, timers: &mut self.timers, counters: &mut self.counters, sink };
        if out.stamp_and_send(next, frame, Urgency::Data) {
            self.counters.relayed += 1;
            self.counters.bytes_relayed += length;
        }
    }

    /// The body of a data frame that ends here; `label` names the link on which it came.
    fn body(&mut self, now: Time, label: u32, body: &mut [u8], sink: &mut dyn Sink) {
        match DataBody::read(body) {
            Err(_) => self.counters.refused_malformed += 1,
            Ok(DataBody::Handshake(datagram)) => {
                let mut actions = core::mem::take(&mut self.actions);
                let result = self.handshakes.end_to_end_datagram(
                    now,
                    label,
                    datagram,
                    &self.peers,
                    self.entropy.as_mut(),
                    &mut actions,
                );
                self.counters.refused_handshake += u64::from(result.is_err());
                self.act(now, actions, sink);
            }
            Ok(DataBody::Packet { session_index, .. }) => match self.talks.owner(session_index) {
                Some(peer) => self.open(now, peer, label, session_index, body, sink),
                None => self.counters.refused_session_index += 1,
            },
        }
    }

    /// Opens a packet of a session.
    fn open(&mut self, now: Time, peer: PeerIx, label: u32, index: u32, body: &mut [u8], sink: &mut dyn Sink) {
        let Some(talk) = self.talks.get_mut(peer) else { return };
        if !self.peers.get(peer).is_some_and(|known| known.rights().session) {
            self.counters.refused_session_right += 1;
            return;
        }
        let mut echo = None;
        let in_use = talk.sessions.current().is_some_and(|current| current.local_index() == index);
        let opened = talk.sessions.open(now, body);
        if in_use && opened.is_ok() {
            talk.heard = now;
        }
        let confirmed = talk.unconfirmed && opened.is_ok();
        talk.unconfirmed &= !confirmed;
        match opened {
            Err(SessionError::Repeated { .. } | SessionError::TooOld { .. }) => self.counters.refused_duplicate += 1,
            Err(_) => self.counters.refused_sealed += 1,
            Ok(Opened::Nothing) => {}
            Ok(Opened::Control(_)) => self.counters.refused_control += 1,
            Ok(Opened::PathProbe(payload)) => match x0_mesh_wire::PathProbe::read(payload) {
                Ok(probe) => echo = Some(probe),
                Err(_) => self.counters.refused_control += 1,
            },
            Ok(Opened::Packet(packet)) => match Inner::read(packet) {
                Err(_) => self.counters.refused_inner += 1,
                Ok(inner) if inner.source != talk.address => self.counters.refused_source += 1,
                Ok(inner) if inner.target != self.address => self.counters.refused_target += 1,
                Ok(_) => {
                    talk.used = now;
                    self.counters.packets_delivered += 1;
                    self.counters.bytes_delivered += packet.len() as u64;
                    sink.deliver(&talk.name, packet);
                }
            },
        }
        if !talk.touched {
            talk.touched = true;
            self.touched.push(peer);
        }
        if confirmed {
            self.send_waiting(now, peer, sink);
        }
        match echo {
            Some(probe) if probe.echo => self.probe_answered(now, peer, probe.number, sink),
            Some(probe) => self.answer_probe(now, peer, label, probe, sink),
            None => {}
        }
        self.set_talk_timer(peer);
    }
}
