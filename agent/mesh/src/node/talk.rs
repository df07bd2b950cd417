//! Packets of the host: to which peer, sealed once, over which routes; and what happens when a route fails.

use super::{
    Cause, Event, Mesh, Sink, Urgency,
    mesh::talk_timer,
    overlay::Inner,
    peers::PeerIx,
    talks::{TALK_IDLE_MS, TALKS_MAX, Talk, Trip, WAITING_MS},
    transmit::{Buffer, Out},
};
use crate::{
    Time,
    route::{Choice, Class, LinkState, Measure, PathId, PathState, Scheduler, Switch, SwitchReason},
    session::{self, PathSet, Session, SessionSet},
};
use x0_mesh_wire::{
    Flags, Inner as WireInner, PathProbe,
    limits::{DATAGRAM_BYTES_MIN_MTU, HEADER_BYTES},
};

/// A route of a packet: its slot, whether it carries a copy, and how many bytes a body may have there.
type Leg = (u8, bool, usize);

impl Mesh {
    /// Sends a packet of the host.
    pub(super) fn send_packet(&mut self, now: Time, packet: &[u8], sink: &mut dyn Sink) {
        let Ok(inner) = Inner::read(packet) else {
            self.counters.refused_inner += 1;
            return;
        };
        if inner.source != self.address {
            self.counters.refused_source += 1;
            return;
        }
        let Some(peer) = self.peers.at(&inner.target) else {
            self.counters.refused_no_peer += 1;
            return;
        };
        if !self.peers.get(peer).is_some_and(|known| known.rights().session) {
            self.counters.refused_session_right += 1;
            return;
        }
        if self.talks.get(peer).is_none() && !self.start_talk(now, peer, sink) {
            self.counters.refused_bound += 1;
            return;
        }
        // What waits goes first, so that a flow keeps its order.
        self.send_waiting(now, peer, sink);
        let Some((talk, total)) = self.talks.with_waiting(peer) else { return };
        talk.used = now;
        if !talk.is_ready() {
            if !talk.waiting.push(now, packet, total) {
                self.counters.refused_queue += 1;
            }
            self.connect_talk(now, peer, sink);
        } else {
            self.send_now(now, peer, packet, inner.flow, sink);
        }
        self.set_talk_timer(peer);
    }

    /// Begins a conversation: without keys and, until the router answers, with direct routes only.
    pub(super) fn start_talk(&mut self, now: Time, peer: PeerIx, sink: &mut dyn Sink) -> bool {
        let Some(known) = self.peers.get(peer).filter(|_| self.talks.len() < TALKS_MAX) else { return false };
        let (name, address) = (known.peer.id, known.address);
        let mut seed = [0; 8];
        self.entropy.fill(&mut seed);
        let mut scheduler = Scheduler::new(name, u64::from_be_bytes(seed), now);
        for (_, entry) in self.links.iter() {
            scheduler.link(now, entry.label, entry.state());
        }
        self.talks.put(Talk {
            peer,
            name,
            address,
            sessions: SessionSet::new(),
            scheduler,
            slots: super::slots::Slots::default(),
            trips: std::collections::BTreeMap::new(),
            waiting: super::slots::Waiting::default(),
            probes: super::slots::Probes::default(),
            used: now,
            heard: now,
            connect_at: now,
            failures: 0,
            unconfirmed: false,
            doubted: None,
            touched: false,
        });
        self.router.want(name);
        self.refresh_paths(now, peer, sink);
        true
    }

    /// Seals a packet once and sends it over the routes that the scheduler chooses.
    fn send_now(&mut self, now: Time, peer: PeerIx, packet: &[u8], flow: u32, sink: &mut dyn Sink) {
        let Some(talk) = self.talks.get_mut(peer) else { return };
        let class = match session::class_of(packet) {
            session::Class::Critical => Class::Critical,
            session::Class::Normal => Class::Normal,
            session::Class::Bulk => Class::Bulk,
        };
        let choice = talk.scheduler.choose(now, class, flow);
        let (legs, count) = self.legs(peer, &choice);
        let legs = legs.get(..count).unwrap_or(&[]);
        let Some(room) = legs.iter().map(|(_, _, room)| *room).min() else {
            self.counters.refused_no_path += 1;
            return;
        };
        let Self { talks, links, timers, counters, pool, buffer, second, .. } = self;
        let Some(talk) = talks.get_mut(peer) else { return };
        let Some(open) = talk.sessions.sending() else { return };
        let mut out = Out { now, links, timers, counters, sink };
        if packet.len() + Session::OVERHEAD_BYTES <= room {
            match open.seal(now, &WireInner::Packet(packet), buffer.body()) {
                Ok(sealed) => {
                    let on = out.legs(buffer, sealed.bytes, legs, &talk.slots);
                    let body = buffer.body().get(..sealed.bytes).unwrap_or(&[]);
                    open.sent(now, pool, on, sealed.pn, body);
                }
                Err(_) => out.counters.internal_errors += 1,
            }
            return;
        }
        match open.seal_split(now, packet, room, buffer.body(), second.body()) {
            Ok(sealed) => {
                for (sealed, buffer) in sealed.iter().zip([buffer, second]) {
                    let on = out.legs(buffer, sealed.bytes, legs, &talk.slots);
                    let body = buffer.body().get(..sealed.bytes).unwrap_or(&[]);
                    open.sent(now, pool, on, sealed.pn, body);
                }
            }
            Err(_) => out.counters.refused_too_long += 1,
        }
    }

    /// The routes of a choice that can be used, and the room for a body on each.
    fn legs(&self, peer: PeerIx, choice: &Choice) -> ([Leg; 3], usize) {
        let mut legs = [(0, false, 0); 3];
        let mut count = 0;
        let Some(talk) = self.talks.get(peer) else { return (legs, 0) };
        for lane in choice.iter() {
            let Some(slot) = talk.slots.slot_of(lane.id) else { continue };
            let Some(room) = self.room(lane.first_label, lane.labels.wire_bytes()) else { continue };
            if let Some(place) = legs.get_mut(count) {
                *place = (slot, count > 0, room);
                count += 1;
            }
        }
        (legs, count)
    }

    /// How many bytes a body may have on a route. What relays can carry is not known here, so routes over
    /// relays are held to what every underlay carries.
    pub(super) fn room(&self, first: u32, label_bytes: usize) -> Option<usize> {
        let entry = self.links.get(self.links.labelled(first)?)?;
        let payload = usize::from(entry.link.payload_bytes());
        let payload = if label_bytes == 0 { payload } else { payload.min(DATAGRAM_BYTES_MIN_MTU) };
        Some(payload.saturating_sub(HEADER_BYTES + label_bytes))
    }

    /// Sends what waited for the session.
    pub(super) fn send_waiting(&mut self, now: Time, peer: PeerIx, sink: &mut dyn Sink) {
        while let Some((talk, total)) = self.talks.with_waiting(peer) {
            if !talk.is_ready() {
                return;
            }
            let Some(packet) = talk.waiting.pop(total) else { return };
            let flow = Inner::read(&packet).map_or(0, |inner| inner.flow);
            self.send_now(now, peer, &packet, flow, sink);
        }
    }

    /// The primary changed, or routes went: what may be lost on them is sent again, before anything new.
    pub(super) fn switched(&mut self, now: Time, peer: PeerIx, switch: Option<Switch>, gone: u8, sink: &mut dyn Sink) {
        self.reroute_handshake(now, peer);
        let Some(talk) = self.talks.get(peer) else { return };
        let left = switch.and_then(|switch| switch.from).and_then(|from| talk.slots.slot_of(PathId(from)));
        let failed = matches!(switch, Some(Switch { reason: SwitchReason::Down | SwitchReason::Suspected, .. }));
        let dead = gone | if failed { left.map_or(0, |slot| 1 << slot) } else { 0 };
        let replayed = if dead == 0 { 0 } else { self.replay(now, peer, dead, sink) };
        let Some(switch) = switch else { return };
        let Some(talk) = self.talks.get(peer) else { return };
        if switch.from.is_some() {
            self.counters.switches += 1;
        }
        let event = Event::Switched { peer: talk.name, cause: cause_of(&switch), replayed };
        self.say(now, event, sink);
    }

    /// Sends the tail of dead routes again over the primary and, while that is not sure, over another.
    pub(super) fn replay(&mut self, now: Time, peer: PeerIx, dead: u8, sink: &mut dyn Sink) -> u32 {
        let Some(talk) = self.talks.get_mut(peer) else { return 0 };
        let choice = talk.scheduler.choose(now, Class::Normal, 0);
        let (legs, count) = self.legs(peer, &choice);
        let legs: Vec<Leg> =
            legs.get(..count).unwrap_or(&[]).iter().filter(|(slot, _, _)| dead & 1 << slot == 0).copied().collect();
        if legs.is_empty() {
            return 0;
        }
        let Self { talks, links, timers, counters, pool, buffer, .. } = self;
        let Some(talk) = talks.get_mut(peer) else { return 0 };
        let mut out = Out { now, links, timers, counters, sink };
        let mut replayed = 0;
        let onto = legs.iter().fold(0, |bits, (slot, _, _)| bits | 1 << slot);
        for open in talk.sessions.iter_mut() {
            let before = replayed;
            for (_, body) in open.tail(now, pool, PathSet(dead)) {
                let bytes = buffer.set_body(body);
                out.urgent_legs(buffer, bytes, &legs, &talk.slots);
                replayed += 1;
            }
            open.tail_moved(PathSet(dead), PathSet(onto), u64::from(replayed - before));
        }
        self.counters.packets_replayed += u64::from(replayed);
        replayed
    }

    /// When probes stay away on a primary route whose first link is fine, a relay may swallow packets: what
    /// it may have swallowed is sent again at once, and not only when the route is given up.
    fn replay_in_doubt(&mut self, now: Time, peer: PeerIx, sink: &mut dyn Sink) {
        let Some(talk) = self.talks.get_mut(peer) else { return };
        let primary = talk.scheduler.primary();
        let doubt = primary.filter(|id| talk.scheduler.state(*id) == Some(PathState::Suspect));
        let new = doubt.filter(|id| talk.doubted != Some(*id));
        talk.doubted = doubt;
        let slot = new.and_then(|id| talk.slots.slot_of(id));
        let first = slot.and_then(|slot| talk.slots.get(slot)).and_then(|route| self.links.labelled(route.first));
        if let (Some(slot), Some(entry)) = (slot, first.and_then(|at| self.links.get(at)))
            && entry.state() == LinkState::Up
        {
            self.replay(now, peer, 1 << slot, sink);
        }
    }

    /// Sends a probe over a route.
    fn probe(&mut self, now: Time, peer: PeerIx, path: PathId, sink: &mut dyn Sink) {
        let Some(talk) = self.talks.get_mut(peer) else { return };
        let Some(slot) = talk.slots.slot_of(path).filter(|_| talk.is_ready()) else { return };
        let number = talk.probes.sent(now, path);
        talk.scheduler.probe_sent(now, path);
        self.send_probe(now, peer, PathProbe { echo: false, route: slot, number }, 1 << slot, sink);
    }

    /// Answers a probe on the link on which it came: a relay that swallows packets one way only would
    /// otherwise be judged by the way back over others. Without a route there, on all.
    pub(super) fn answer_probe(&mut self, now: Time, peer: PeerIx, label: u32, probe: PathProbe, sink: &mut dyn Sink) {
        let Some(talk) = self.talks.get(peer) else { return };
        let over = talk.slots.over(label);
        let all = talk.slots.iter().fold(0, |bits, (slot, _)| bits | 1 << slot);
        let slots = if over == 0 { all } else { over };
        self.send_probe(now, peer, PathProbe { echo: true, ..probe }, slots, sink);
    }

    fn send_probe(&mut self, now: Time, peer: PeerIx, probe: PathProbe, slots: u8, sink: &mut dyn Sink) {
        let Self { talks, links, timers, counters, buffer, .. } = self;
        let Some(talk) = talks.get_mut(peer) else { return };
        let Some(open) = talk.sessions.sending() else { return };
        let mut payload = [0; PathProbe::BYTES];
        let written = probe.write(&mut payload);
        let sealed = open.seal(now, &WireInner::PathProbe(&payload), buffer.body());
        let (Ok(()), Ok(sealed)) = (written, sealed) else {
            counters.internal_errors += 1;
            return;
        };
        let mut out = Out { now, links, timers, counters, sink };
        for (slot, _) in talk.slots.iter().filter(|(slot, _)| slots & 1 << slot != 0) {
            out.urgent_legs(buffer, sealed.bytes, &[(slot, false, 0)], &talk.slots);
        }
    }

    /// The other end answered a probe: its route delivers.
    pub(super) fn probe_answered(&mut self, now: Time, peer: PeerIx, number: u32, sink: &mut dyn Sink) {
        let Some(talk) = self.talks.get_mut(peer) else { return };
        let Some((path, rtt_ns)) = talk.probes.echoed(now, number) else { return };
        let trip: &mut Trip = talk.trips.entry(path).or_default();
        trip.sample(u32::try_from(rtt_ns / 1_000).unwrap_or(u32::MAX));
        let Trip { srtt_us, rttvar_us } = *trip;
        let first = talk.slots.slot_of(path).and_then(|slot| talk.slots.get(slot)).map(|route| route.first);
        let loss = first.and_then(|label| self.links.labelled(label)).and_then(|at| self.links.get(at));
        let loss_q16 = loss.map_or(0, |entry| entry.loss_q16(now));
        talk.scheduler.measured(path, Measure { srtt_us, rttvar_us, loss_q16 });
        let sent = Time(now.0.saturating_sub(rtt_ns));
        let switch = talk.scheduler.delivered(now, path, sent);
        self.switched(now, peer, switch, 0, sink);
    }

    /// Acknowledgements and whatever else the session has to say; at the end of a batch and on time.
    pub(super) fn flush_talk(&mut self, now: Time, peer: PeerIx, sink: &mut dyn Sink) {
        let Some(talk) = self.talks.get_mut(peer) else { return };
        talk.touched = false;
        self.transmit_talk(now, peer, sink);
        self.set_talk_timer(peer);
    }

    fn transmit_talk(&mut self, now: Time, peer: PeerIx, sink: &mut dyn Sink) {
        let Some(talk) = self.talks.get_mut(peer) else { return };
        if talk.sessions.deadline().is_none_or(|due| due > now) {
            return;
        }
        let legs = self.control_legs(peer);
        let Self { talks, links, timers, counters, buffer, entropy, .. } = self;
        let Some(talk) = talks.get_mut(peer) else { return };
        let mut out = Out { now, links, timers, counters, sink };
        for session in talk.sessions.iter_mut() {
            loop {
                match session.transmit(now, entropy.as_mut(), buffer.body()) {
                    Ok(Some(sealed)) => out.urgent_legs(buffer, sealed.bytes, &legs, &talk.slots),
                    Ok(None) => break,
                    Err(_) => {
                        out.counters.internal_errors += 1;
                        break;
                    }
                };
            }
        }
    }

    /// The primary route, and another while that is in doubt.
    fn control_legs(&self, peer: PeerIx) -> [Leg; 2] {
        let mut legs = [(u8::MAX, false, 0); 2];
        let Some(talk) = self.talks.get(peer) else { return legs };
        let doubt = talk.scheduler.primary().and_then(|id| talk.scheduler.state(id)) != Some(PathState::Up);
        let slots = talk.scheduler.live().filter_map(|id| talk.slots.slot_of(id));
        for (place, slot) in legs.iter_mut().zip(slots.take(1 + usize::from(doubt))) {
            place.0 = slot;
        }
        legs
    }

    /// Does what is due in a conversation.
    pub(super) fn tick_talk(&mut self, now: Time, peer: PeerIx, sink: &mut dyn Sink) {
        let Some((talk, total)) = self.talks.with_waiting(peer) else {
            self.timers.set(talk_timer(peer), None);
            return;
        };
        let limit = Time(now.0.saturating_sub(WAITING_MS * 1_000_000));
        self.counters.dropped_waiting += talk.waiting.expire(limit, total);
        for index in talk.sessions.prune(now) {
            self.handshakes.release(index);
            self.talks.remove_index(index);
        }
        let Some(talk) = self.talks.get_mut(peer) else { return };
        if now.since_ns(talk.used) > TALK_IDLE_MS * 1_000_000 {
            self.close_talk(now, peer, Cause::Idle, sink);
            return;
        }
        let tick = talk.scheduler.tick(now);
        let forgotten = talk.seems_forgotten(now);
        let wants = match talk.sessions.sending() {
            None => !talk.waiting.is_empty(),
            Some(open) => open.wants_handshake(now) || forgotten,
        };
        self.switched(now, peer, tick.switched, 0, sink);
        self.replay_in_doubt(now, peer, sink);
        self.send_waiting(now, peer, sink);
        for path in tick.probes() {
            self.probe(now, peer, path, sink);
        }
        if wants {
            self.connect_talk(now, peer, sink);
        }
        self.transmit_talk(now, peer, sink);
        self.set_talk_timer(peer);
    }

    /// Ends a conversation.
    pub(super) fn close_talk(&mut self, now: Time, peer: PeerIx, cause: Cause, sink: &mut dyn Sink) {
        let Some((talk, freed)) = self.talks.take(peer) else { return };
        for index in freed {
            self.handshakes.release(index);
        }
        self.router.unwant(&talk.name);
        self.timers.set(talk_timer(peer), None);
        self.say(now, Event::SessionClosed { peer: talk.name, cause }, sink);
    }

    pub(super) fn set_talk_timer(&mut self, peer: PeerIx) {
        let deadline = self.talks.get(peer).map(Talk::deadline);
        self.timers.set(talk_timer(peer), deadline);
    }
}

fn cause_of(switch: &Switch) -> Cause {
    use crate::route::Cause as Why;
    match (switch.reason, switch.evidence.cause) {
        (SwitchReason::First, _) => Cause::First,
        (SwitchReason::Better | SwitchReason::Unproved, _) => Cause::Better,
        (SwitchReason::Withdrawn, _) => Cause::Replaced,
        (_, Some(Why::Notice { .. })) => Cause::Notice,
        (_, Some(Why::Unanswered { .. })) => Cause::Probes,
        _ => Cause::Silence,
    }
}

impl Out<'_> {
    /// Sends the body in `buffer` over each leg; the slots that took it.
    fn legs(&mut self, buffer: &mut Buffer, bytes: usize, legs: &[Leg], slots: &super::slots::Slots) -> PathSet {
        self.over(buffer, bytes, legs, slots, Urgency::Data)
    }

    fn urgent_legs(&mut self, buffer: &mut Buffer, bytes: usize, legs: &[Leg], slots: &super::slots::Slots) -> PathSet {
        self.over(buffer, bytes, legs, slots, Urgency::Now)
    }

    fn over(
        &mut self,
        buffer: &mut Buffer,
        bytes: usize,
        legs: &[Leg],
        slots: &super::slots::Slots,
        urgency: Urgency,
    ) -> PathSet {
        let mut taken = 0;
        for (slot, copy, _) in legs {
            let Some(route) = slots.get(*slot) else { continue };
            let Some(at) = self.links.labelled(route.first) else { continue };
            let flags = if *copy { Flags::DUP } else { Flags::NONE };
            if self.body(buffer, bytes, at, &route.labels, flags, urgency) {
                taken |= 1 << slot;
                self.counters.copies_sent += u64::from(*copy);
            }
        }
        PathSet(taken)
    }
}
