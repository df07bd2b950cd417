//! The life of links: handshakes that open them, judgements, moves to other addresses, their end.

use super::{
    Cause, Event, Mesh, Sink, UnderlayId, Urgency,
    dials::LINK_LIFE_MS,
    links::{Entry, LINKS_PER_PEER_MAX, LinkIx, Links},
    mesh::link_timer,
    peers::PeerIx,
};
use crate::{
    NodeId, Time,
    handshake::{Established, Purpose, Via},
    link::{Change, Duty, Link, LinkConfig, Reason, State, governed_interval_us},
    route::{LinkState, OwnLink, link_quality},
};

/// A link that is down for so long is forgotten, milliseconds. Its neighbour is dialled long before.
const FORGET_MS: u64 = 60_000;
/// Frames under replaced keys are taken for so long: both ends stop sending them when the new keys are
/// proved, and not at the same moment, milliseconds.
const RETIRE_MS: u64 = 2_000;
/// A link that never came up is forgotten after this time, milliseconds.
const UNPROVED_MS: u64 = 10_000;
/// A link that is down for so long may have a neighbour that started anew: a handshake finds out.
pub(super) const REDIAL_DOWN_MS: u64 = 1_000;
/// Time between two reports of a link's quality to the router, milliseconds.
const REPORT_MS: u64 = 500;

impl Entry {
    /// When something is due: judging, heartbeats, new tags.
    pub(super) fn deadline(&self) -> Option<Time> {
        if self.retires.is_some() {
            return self.retires;
        }
        Some(self.link.deadline().map_or(self.tags_until, |due| due.min(self.tags_until)))
    }

    /// The state as routes see it.
    pub(super) fn state(&self) -> LinkState {
        match self.link.state() {
            State::Recovering => LinkState::Recovering,
            State::Up => LinkState::Up,
            State::Suspect => LinkState::Suspect,
            State::Down => LinkState::Down,
        }
    }

    /// The share of frames that the neighbour did not get, as it reports, 65,536 for all.
    pub(super) fn loss_q16(&self, now: Time) -> u32 {
        self.link.measured(now).loss_out_q16
    }
}

impl Mesh {
    /// Keys for a link: from now on it is probed, and used as soon as both directions are heard.
    pub(super) fn open_link(&mut self, now: Time, established: Established, sink: &mut dyn Sink) {
        self.handshakes.release(established.local_id);
        let Via::Socket { underlay, address } = established.via else { return };
        let underlay = UnderlayId(underlay);
        let known = self.peers.find(&established.peer).filter(|peer| self.may_link(*peer));
        let Some((peer, interface)) =
            known.zip(self.config.underlays.iter().find(|interface| interface.id == underlay).cloned())
        else {
            self.counters.refused_link_right += 1;
            return;
        };
        let count = self.links.iter().filter(|(_, entry)| entry.peer == peer).count();
        let Some(at) = self.links.free().filter(|_| count < LINKS_PER_PEER_MAX) else {
            self.counters.refused_bound += 1;
            return;
        };
        let mut drawn = [0; 4];
        self.entropy.fill(&mut drawn);
        let config = LinkConfig { payload_bytes_max: interface.payload_bytes_max };
        // What is known of the way stays known when only its keys are new.
        let before = self.links.iter().find(|(_, entry)| {
            entry.peer == peer && entry.underlay == underlay && entry.address == address && entry.proved
        });
        let renews = before.is_some();
        let mut link = match before {
            Some((_, entry)) => entry.link.renewed(established.keys, now),
            None => Link::new(established.keys, config, now),
        };
        link.set_duty(Duty::Standby);
        let (tags, tags_until) = link.own_tags(now);
        let name = established.peer;
        let label = Links::label(at, drawn);
        self.links.put(
            at,
            Entry {
                peer,
                name,
                underlay,
                address,
                srlg: interface.srlg,
                label,
                link,
                opened: now,
                tags,
                tags_until,
                moving: None,
                kernel_seen: None,
                proved: false,
                down_since: None,
                stale: false,
                renews,
                retires: None,
                reported: now,
            },
        );
        self.counters.links_opened += 1;
        for tag in tags {
            self.say(now, Event::TagAdded { tag, peer: name }, sink);
        }
        if let Some(dial) = self.dials.find_mut(peer, underlay, &address) {
            (dial.failures, dial.running, dial.next) = (0, None, now.plus_ms(LINK_LIFE_MS));
        }
        self.govern();
        self.report_link(now, at, sink);
        self.say(now, Event::LinkUp { peer: name, underlay, address }, sink);
        self.tick_link(now, at, sink);
    }

    fn may_link(&self, peer: PeerIx) -> bool {
        self.peers.get(peer).is_some_and(|known| known.rights().link)
    }

    /// Keeps the probing of all links together under its share of the processor.
    fn govern(&mut self) {
        let interval = governed_interval_us(u32::try_from(self.links.len()).unwrap_or(u32::MAX));
        for (_, entry) in self.links.iter_mut() {
            entry.link.set_interval_us_min(interval);
        }
    }

    /// Does what is due on a link.
    pub(super) fn tick_link(&mut self, now: Time, at: LinkIx, sink: &mut dyn Sink) {
        if self.links.get(at).is_some_and(|entry| entry.retires.is_some()) {
            return self.tick_retired(now, at, sink);
        }
        if self.links.get(at).is_some_and(|entry| entry.tags_until <= now) {
            self.renew_tags(now, at, sink);
        }
        self.judge_link(now, at, sink);
        self.transmit_link(now, at, sink);
        let Some(entry) = self.links.get(at) else {
            self.timers.set(link_timer(at), None);
            return;
        };
        let stale = entry.down_since.is_some_and(|since| now.since_ns(since) > FORGET_MS * 1_000_000);
        let unproved = !entry.proved && now.since_ns(entry.opened) > UNPROVED_MS * 1_000_000;
        if stale || unproved {
            self.close_link(now, at, Cause::Silence, sink);
        } else if now.since_ns(entry.reported) > REPORT_MS * 1_000_000 {
            self.report_link(now, at, sink);
        }
        self.set_link_timer(at);
    }

    /// Ends a link whose keys were replaced, when its time is over.
    fn tick_retired(&mut self, now: Time, at: LinkIx, sink: &mut dyn Sink) {
        if self.links.get(at).and_then(|entry| entry.retires).is_some_and(|until| until > now) {
            return self.set_link_timer(at);
        }
        self.close_link(now, at, Cause::Replaced, sink);
    }

    fn renew_tags(&mut self, now: Time, at: LinkIx, sink: &mut dyn Sink) {
        let (came, went) = self.links.refresh_tags(at, now);
        let Some(peer) = self.links.get(at).map(|entry| entry.name) else { return };
        for tag in came.into_iter().flatten() {
            self.say(now, Event::TagAdded { tag, peer }, sink);
        }
        for tag in went.into_iter().flatten() {
            self.say(now, Event::TagRemoved { tag }, sink);
        }
    }

    /// Judges a link, and follows what changes.
    pub(super) fn judge_link(&mut self, now: Time, at: LinkIx, sink: &mut dyn Sink) {
        let Some(entry) = self.links.get_mut(at) else { return };
        let seen = entry.kernel_seen;
        let change = entry.link.judge(now, seen);
        self.link_changed(now, at, change, sink);
    }

    /// Sends what is due on a link: heartbeats, probes, echoes.
    fn transmit_link(&mut self, now: Time, at: LinkIx, sink: &mut dyn Sink) {
        let Self { links, counters, control, .. } = self;
        let Some(entry) = links.get_mut(at) else { return };
        loop {
            match entry.link.transmit(now, control) {
                Ok(Some(due)) => {
                    let urgency = if due.sized { Urgency::Sized } else { Urgency::Now };
                    let frame = control.get(..due.bytes).unwrap_or(&[]);
                    counters.datagrams_out += 1;
                    counters.bytes_out += frame.len() as u64;
                    sink.send(entry.underlay, entry.address, urgency, frame);
                }
                Ok(None) => return,
                Err(_) => {
                    counters.internal_errors += 1;
                    return;
                }
            }
        }
    }

    /// A link's state changed: tells the router and every conversation, at once.
    pub(super) fn link_changed(&mut self, now: Time, at: LinkIx, change: Option<Change>, sink: &mut dyn Sink) {
        let Some(change) = change else {
            self.set_link_timer(at);
            return;
        };
        let Some(entry) = self.links.get_mut(at).filter(|entry| entry.retires.is_none()) else { return };
        let (label, name, underlay) = (entry.label, entry.name, entry.underlay);
        let state = entry.state();
        let first = !entry.proved && change.to == State::Up;
        entry.proved |= change.to == State::Up;
        match change.to {
            State::Down => entry.down_since = entry.down_since.or(Some(now)),
            State::Up => entry.down_since = None,
            State::Recovering | State::Suspect => {}
        }
        let peers: Vec<PeerIx> = self.talks.iter().map(|talk| talk.peer).collect();
        for peer in peers {
            let switch = self.talks.get_mut(peer).and_then(|talk| talk.scheduler.link(now, label, state));
            self.switched(now, peer, switch, 0, sink);
            if change.to == State::Down {
                self.replay_link(now, peer, label, sink);
            }
            self.set_talk_timer(peer);
        }
        self.report_link(now, at, sink);
        if change.to == State::Down {
            self.counters.downs += 1;
            self.say(now, Event::LinkDown { peer: name, underlay, cause: cause_of(change.reason) }, sink);
            self.redial(now, at);
        }
        if first {
            self.replace_older(now, at, sink);
            for peer in self.talks.which(|talk| talk.name == name) {
                self.refresh_paths(now, peer, sink);
                self.connect_talk(now, peer, sink);
            }
        }
        self.set_link_timer(at);
    }

    /// Copies and spread flows may have gone over a link that is not the primary's: their tail too.
    fn replay_link(&mut self, now: Time, peer: PeerIx, label: u32, sink: &mut dyn Sink) {
        let dead = self.talks.get(peer).map_or(0, |talk| talk.slots.over(label));
        if dead != 0 {
            self.replay(now, peer, dead, sink);
        }
    }

    /// Tells the router what is known of a link.
    pub(super) fn report_link(&mut self, now: Time, at: LinkIx, sink: &mut dyn Sink) {
        let Some(entry) = self.links.get_mut(at) else { return };
        entry.reported = now;
        if entry.renews || entry.retires.is_some() {
            return;
        }
        let measured = entry.link.measured(now);
        let own = OwnLink {
            label: entry.label,
            neighbour: entry.name,
            underlay: entry.srlg,
            quality: link_quality(
                us(measured.srtt_us.unwrap_or(UNMEASURED_US)),
                us(measured.rttvar_us),
                measured.loss_out_q16,
            ),
            state: entry.state(),
        };
        let mut outputs = core::mem::take(&mut self.outputs);
        self.router.link(now, own, &mut outputs);
        self.follow_router(now, outputs, sink);
    }

    /// A neighbour that has proved itself anew on the same way needs no older link there.
    fn replace_older(&mut self, now: Time, at: LinkIx, sink: &mut dyn Sink) {
        let Some(new) = self.links.get(at) else { return };
        let (peer, underlay, address, opened) = (new.peer, new.underlay, new.address, new.opened);
        let older = self.links.iter().filter(|(other, entry)| {
            *other != at
                && entry.peer == peer
                && entry.underlay == underlay
                && entry.address == address
                && entry.opened <= opened
        });
        let older: Vec<LinkIx> = older.filter(|(_, entry)| entry.retires.is_none()).map(|(older, _)| older).collect();
        let Some((kept, rest)) = older.split_first() else {
            // What it was to replace is gone: it stands for itself.
            if let Some(entry) = self.links.get_mut(at) {
                entry.renews = false;
            }
            return self.announce(now, at, sink);
        };
        for other in rest {
            self.close_link(now, *other, Cause::Replaced, sink);
        }
        self.links.exchange(*kept, at);
        if let Some(entry) = self.links.get_mut(at) {
            entry.retires = Some(now.plus_ms(RETIRE_MS));
        }
        self.announce(now, *kept, sink);
        self.set_link_timer(*kept);
    }

    /// Tells the router and every conversation the state of a link.
    fn announce(&mut self, now: Time, at: LinkIx, sink: &mut dyn Sink) {
        let Some((label, state)) = self.links.get(at).map(|entry| (entry.label, entry.state())) else { return };
        for peer in self.talks.which(|_| true) {
            let switch = self.talks.get_mut(peer).and_then(|talk| talk.scheduler.link(now, label, state));
            self.switched(now, peer, switch, 0, sink);
            self.set_talk_timer(peer);
        }
        self.report_link(now, at, sink);
    }

    /// Ends a link: frames with its tags are nobody's, its label names nothing.
    pub(super) fn close_link(&mut self, now: Time, at: LinkIx, cause: Cause, sink: &mut dyn Sink) {
        let Some(entry) = self.links.take(at) else { return };
        self.timers.set(link_timer(at), None);
        let mut outputs = core::mem::take(&mut self.outputs);
        self.router.link_gone(now, entry.label, &mut outputs);
        self.follow_router(now, outputs, sink);
        let peers: Vec<PeerIx> = self.talks.iter().map(|talk| talk.peer).collect();
        for peer in peers {
            let switch = self.talks.get_mut(peer).and_then(|talk| talk.scheduler.link_gone(now, entry.label));
            self.switched(now, peer, switch, 0, sink);
            self.replay_link(now, peer, entry.label, sink);
            if self.talks.get(peer).is_some_and(|talk| talk.slots.over(entry.label) != 0 || talk.name == entry.name) {
                self.refresh_paths(now, peer, sink);
            }
        }
        for tag in entry.tags {
            self.say(now, Event::TagRemoved { tag }, sink);
        }
        self.say(now, Event::LinkClosed { peer: entry.name, underlay: entry.underlay, cause }, sink);
        if let Some(dial) = self.dials.find_mut(entry.peer, entry.underlay, &entry.address) {
            dial.next = dial.next.min(now.plus_ms(dial.backoff_ms()));
        }
        self.govern();
        self.set_control_timers();
    }

    /// A new handshake replaces the keys of a link as soon as it can.
    pub(super) fn renew_keys(&mut self, now: Time, at: LinkIx) {
        let Some(entry) = self.links.get_mut(at) else { return };
        entry.stale = true;
        if let Some(dial) = self.dials.find_mut(entry.peer, entry.underlay, &entry.address) {
            dial.next = now;
        }
    }

    /// A link that went down is dialled again after a while, in case its neighbour forgot it.
    fn redial(&mut self, now: Time, at: LinkIx) {
        let Some(entry) = self.links.get(at) else { return };
        if let Some(dial) = self.dials.find_mut(entry.peer, entry.underlay, &entry.address) {
            dial.next = dial.next.min(now.plus_ms(REDIAL_DOWN_MS));
        }
        self.set_control_timers();
    }

    /// Closes everything of a peer that has no number any more, or whose links may not be.
    pub(super) fn cut_off(&mut self, now: Time, peer: PeerIx, name: &NodeId, cause: Cause, sink: &mut dyn Sink) {
        self.handshakes.forget(name);
        for at in self.links.which(|entry| entry.peer == peer) {
            self.close_link(now, at, cause, sink);
        }
    }

    /// Brings links, sessions, routes and dials in line with rights and rules.
    pub(super) fn enforce(&mut self, now: Time, cause: Cause, gone: &[NodeId], sink: &mut dyn Sink) {
        let all: Vec<(PeerIx, NodeId, bool, bool)> = self
            .peers
            .iter()
            .map(|(at, known)| (at, known.peer.id, known.rights().link, known.rights().session))
            .collect();
        for (peer, name, link, session) in &all {
            if !link {
                self.cut_off(now, *peer, name, cause, sink);
            }
            if !session && self.talks.get(*peer).is_some() {
                self.close_talk(now, *peer, cause, sink);
            }
        }
        self.exclude(now, gone);
        let talks: Vec<PeerIx> = self.talks.iter().map(|talk| talk.peer).collect();
        for peer in talks {
            self.refresh_paths(now, peer, sink);
        }
        self.plan_dials(now);
    }

    pub(super) fn set_link_timer(&mut self, at: LinkIx) {
        let deadline = self.links.get(at).and_then(Entry::deadline);
        self.timers.set(link_timer(at), deadline);
    }
}

/// What is assumed of a link before its first round trip, microseconds.
const UNMEASURED_US: u64 = 50_000;

fn us(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

const fn cause_of(reason: Reason) -> Cause {
    match reason {
        Reason::Heard | Reason::Silence => Cause::Silence,
        Reason::ReportedSilence => Cause::ReportedSilence,
        Reason::Carrier => Cause::Carrier,
        Reason::SendFailed => Cause::SendFailed,
    }
}

/// Whether keys of this purpose may be held with a peer.
pub(super) fn may(rights: super::Rights, purpose: Purpose) -> bool {
    match purpose {
        Purpose::Link => rights.link,
        Purpose::EndToEnd => rights.session,
    }
}
