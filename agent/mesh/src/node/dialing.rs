//! Opening links: whom to dial, when, and what to do when nobody answers.

use super::{
    Mesh, Sink,
    dials::{Dial, LINK_LIFE_MS, YIELD_MS},
    link_life::REDIAL_DOWN_MS,
};
use crate::{NodeId, Time, handshake::Via};

impl Mesh {
    /// Which addresses are to be dialled, by what the authority says.
    pub(super) fn plan_dials(&mut self, now: Time) {
        let mut wanted = Vec::new();
        for (peer, known) in self.peers.iter().filter(|(_, known)| known.rights().link) {
            let name = known.peer.id;
            let next = if self.me < name { now } else { now.plus_ms(YIELD_MS) };
            for (underlay, address) in &known.peer.addresses {
                if self.config.underlays.iter().any(|interface| interface.id == *underlay) {
                    let (underlay, address) = (*underlay, *address);
                    wanted.push(Dial { peer, name, underlay, address, next, failures: 0, running: None });
                }
            }
        }
        for id in self.dials.update(wanted) {
            self.handshakes.cancel(id);
        }
        self.set_control_timers();
    }

    /// Begins the handshakes of links that are wanted and not there.
    pub(super) fn tick_dials(&mut self, now: Time, sink: &mut dyn Sink) {
        while let Some(number) = self.dials.due(now) {
            let Some(dial) = self.dials.at_mut(number) else { break };
            // Whatever happens, this address has its turn again, later.
            dial.next = now.plus_ms(dial.backoff_ms() + 1_000);
            let Dial { name, underlay, address, .. } = *dial;
            let there = self.links.iter().find(|(_, entry)| {
                entry.retires.is_none() && entry.name == name && entry.underlay == underlay && entry.address == address
            });
            let healthy = there.filter(|(_, entry)| {
                let silent = entry.down_since.is_some_and(|since| now.since_ns(since) >= REDIAL_DOWN_MS * 1_000_000);
                !silent && !entry.stale && now.since_ns(entry.opened) < LINK_LIFE_MS * 1_000_000
            });
            if let Some((_, entry)) = healthy {
                let life = entry.opened.plus_ms(LINK_LIFE_MS).max(now.plus_ms(1_000));
                if let Some(dial) = self.dials.at_mut(number) {
                    dial.next = if entry.down_since.is_some() { now.plus_ms(REDIAL_DOWN_MS) } else { life };
                }
                continue;
            }
            if self.dark.contains(&underlay) {
                continue;
            }
            self.dial(now, number, name, Via::Socket { underlay: underlay.0, address }, sink);
        }
        self.set_control_timers();
    }

    fn dial(&mut self, now: Time, number: usize, name: NodeId, via: Via, sink: &mut dyn Sink) {
        if let Some(id) = self.dials.at_mut(number).and_then(|dial| dial.running.take()) {
            self.handshakes.cancel(id);
        }
        let mut actions = core::mem::take(&mut self.actions);
        let result = self.handshakes.connect(now, name, &[via], &self.peers, self.entropy.as_mut(), &mut actions);
        if let Some(dial) = self.dials.at_mut(number) {
            match result {
                Ok(id) => {
                    dial.running = Some(id);
                    // The handshake says itself when it gives up.
                    dial.next = now.plus_ms(30_000);
                }
                Err(_) => dial.failures = dial.failures.saturating_add(1),
            }
        }
        self.act(now, actions, sink);
    }

    /// A handshake of a link that this node began gave no keys.
    pub(super) fn dial_failed(&mut self, now: Time, id: u32) {
        if let Some(dial) = self.dials.running(id) {
            dial.running = None;
            dial.failures = dial.failures.saturating_add(1);
            dial.next = now.plus_ms(dial.backoff_ms());
        }
    }
}
