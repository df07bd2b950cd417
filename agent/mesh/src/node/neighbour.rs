//! What neighbours tell each other besides heartbeats: gossip, and where they are.

use super::{
    Cause, Event, Mesh, Sink, UnderlayId, Urgency,
    links::{LinkIx, Moving},
};
use crate::Time;
use std::net::SocketAddr;
use x0_mesh_wire::{ControlFragment, control::kind};

/// Time between two questions to a new address of a neighbour, milliseconds.
const MOVE_ASK_MS: u64 = 100;
/// An answer from a new address counts for so long after the question, milliseconds.
const MOVE_LIFE_MS: u64 = 2_000;
/// Kinds of control messages between neighbours that belong to the node: a question to a new address,
/// and its answer. Each carries eight bytes that only who receives there can know.
const PATH_CHALLENGE: u8 = 80;
const PATH_RESPONSE: u8 = 81;

impl Mesh {
    /// A verified frame came from another place than the link is at: asks there who receives. The link
    /// moves when the answer comes from there (as the path validation of RFC 9000, section 8.2).
    pub(super) fn follow(
        &mut self,
        now: Time,
        at: LinkIx,
        underlay: UnderlayId,
        address: SocketAddr,
        sink: &mut dyn Sink,
    ) {
        let Some(entry) = self.links.get_mut(at) else { return };
        if entry.retires.is_some() || entry.underlay == underlay && entry.address == address {
            return;
        }
        if entry.moving.is_some_and(|moving| now.since_ns(moving.asked) < MOVE_ASK_MS * 1_000_000) {
            return;
        }
        let mut token = [0; 8];
        self.entropy.fill(&mut token);
        entry.moving = Some(Moving { underlay, address, token, asked: now });
        self.send_control(now, at, PATH_CHALLENGE, &token, Some((underlay, address)), sink);
    }

    /// Sends a control message that fits one frame; elsewhere than to the link's address when said so.
    fn send_control(
        &mut self,
        now: Time,
        at: LinkIx,
        kind: u8,
        payload: &[u8],
        elsewhere: Option<(UnderlayId, SocketAddr)>,
        sink: &mut dyn Sink,
    ) {
        let mut body = [0; 64];
        let fragment = ControlFragment { kind, message: 0, index: 0, count: 1, payload };
        let Ok(bytes) = fragment.write(&mut body) else { return self.counters.internal_errors += 1 };
        let Some(entry) = self.links.get_mut(at) else { return };
        let (underlay, address) = elsewhere.unwrap_or((entry.underlay, entry.address));
        match entry.link.seal_control(now, body.get(..bytes).unwrap_or(&[]), &mut self.control) {
            Ok(length) => {
                let frame = self.control.get(..length).unwrap_or(&[]);
                self.counters.datagrams_out += 1;
                self.counters.bytes_out += frame.len() as u64;
                sink.send(underlay, address, Urgency::Now, frame);
            }
            Err(_) => self.counters.internal_errors += 1,
        }
    }

    /// A control message of a neighbour.
    pub(super) fn control(
        &mut self,
        now: Time,
        at: LinkIx,
        body: &[u8],
        underlay: UnderlayId,
        from: SocketAddr,
        sink: &mut dyn Sink,
    ) {
        let Some(entry) = self.links.get(at) else { return };
        let label = entry.label;
        match body.first() {
            Some(&PATH_CHALLENGE) => match ControlFragment::read(body) {
                Ok(fragment) if fragment.payload.len() == 8 => {
                    let token = fragment.payload.to_vec();
                    self.send_control(now, at, PATH_RESPONSE, &token, Some((underlay, from)), sink);
                }
                _ => self.counters.refused_control += 1,
            },
            Some(&PATH_RESPONSE) => match ControlFragment::read(body) {
                Ok(fragment) => self.moved(now, at, fragment.payload, underlay, from, sink),
                Err(_) => self.counters.refused_control += 1,
            },
            Some(&kind::CLOSE) => self.close_link(now, at, Cause::Replaced, sink),
            Some(_) => {
                let mut outputs = core::mem::take(&mut self.outputs);
                match ControlFragment::read(body) {
                    Ok(fragment) if fragment.kind == kind::LINK_STATE && fragment.count == 1 => {
                        let result = self.router.message(now, label, fragment.payload, &mut outputs);
                        self.counters.refused_record += u64::from(result.is_err());
                    }
                    _ => self.counters.refused_control += 1,
                }
                self.follow_router(now, outputs, sink);
            }
            None => self.counters.refused_control += 1,
        }
    }

    fn moved(
        &mut self,
        now: Time,
        at: LinkIx,
        token: &[u8],
        underlay: UnderlayId,
        from: SocketAddr,
        sink: &mut dyn Sink,
    ) {
        let Some(entry) = self.links.get_mut(at) else { return };
        let asked = entry.moving.filter(|moving| {
            moving.token == token
                && moving.underlay == underlay
                && moving.address == from
                && now.since_ns(moving.asked) < MOVE_LIFE_MS * 1_000_000
        });
        if asked.is_none() {
            self.counters.refused_control += 1;
            return;
        }
        (entry.underlay, entry.address, entry.moving) = (underlay, from, None);
        entry.link.moved(now);
        let peer = entry.name;
        self.counters.links_moved += 1;
        self.say(now, Event::LinkMoved { peer, underlay, address: from }, sink);
        self.report_link(now, at, sink);
    }
}
