//! The small tables of a conversation: routes by slot, packets that wait, probes on the way.

use crate::{Time, route::PathId};
use std::collections::VecDeque;
use x0_mesh_wire::Labels;

/// Routes of a session that can be told apart in its replay tail: bits of a byte.
pub(super) const SLOTS: usize = 8;
/// Packets that wait for a session to open.
pub const WAITING_PACKETS_MAX: usize = 64;
/// Bytes of packets that wait, of all sessions together.
pub const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Probes of a session that may be on the way.
const PROBES: usize = 64;

/// A route as sending needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) id: PathId,
    /// Label of this node's own link.
    pub(super) first: u32,
    /// Labels that travel.
    pub(super) labels: Labels,
    /// Labels from the other end back to this node; none when no way back is known.
    pub(super) back: Option<Labels>,
}

/// Routes by slot. A route keeps its slot while it is known.
#[derive(Debug, Default)]
pub(super) struct Slots([Option<Route>; SLOTS]);

impl Slots {
    /// Takes over the routes that are known now; the set of slots that were freed. When there are more
    /// routes than slots, the last ones get none.
    pub(super) fn update(&mut self, routes: &[Route]) -> u8 {
        let mut freed = 0;
        for (number, slot) in self.0.iter_mut().enumerate() {
            match slot.as_mut().map(|held| (routes.iter().find(|route| route.id == held.id), held)) {
                Some((Some(route), held)) => *held = *route,
                Some((None, _)) => {
                    *slot = None;
                    freed |= 1 << number;
                }
                None => {}
            }
        }
        for route in routes {
            if self.slot_of(route.id).is_none()
                && let Some(free) = self.0.iter_mut().find(|slot| slot.is_none())
            {
                *free = Some(*route);
            }
        }
        freed
    }

    /// The slot of a route.
    pub(super) fn slot_of(&self, id: PathId) -> Option<u8> {
        let at = self.0.iter().position(|slot| slot.is_some_and(|route| route.id == id))?;
        u8::try_from(at).ok()
    }

    /// The route of a slot.
    pub(super) fn get(&self, slot: u8) -> Option<&Route> {
        self.0.get(usize::from(slot))?.as_ref()
    }

    /// Every route with its slot.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u8, &Route)> {
        (0..).zip(&self.0).filter_map(|(number, slot)| slot.as_ref().map(|route| (number, route)))
    }

    /// The slots of routes that begin with one of this node's links, as bits.
    pub(super) fn over(&self, first: u32) -> u8 {
        self.iter().filter(|(_, route)| route.first == first).fold(0, |bits, (number, _)| bits | 1 << number)
    }
}

/// Packets of the host that wait until a session is open.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    packets: VecDeque<(Time, Vec<u8>)>,
    bytes: usize,
}

impl Waiting {
    /// Adds a packet if it fits both bounds; `others` is what waits in other sessions, bytes.
    pub(super) fn push(&mut self, now: Time, packet: &[u8], total: &mut usize) -> bool {
        if self.packets.len() >= WAITING_PACKETS_MAX || *total + packet.len() > WAITING_BYTES_MAX {
            return false;
        }
        self.bytes += packet.len();
        *total += packet.len();
        self.packets.push_back((now, packet.to_vec()));
        true
    }

    /// Takes the oldest.
    pub(super) fn pop(&mut self, total: &mut usize) -> Option<Vec<u8>> {
        let (_, packet) = self.packets.pop_front()?;
        self.bytes -= packet.len();
        *total -= packet.len();
        Some(packet)
    }

    /// Drops what waits since before `limit`; how many packets that was.
    pub(super) fn expire(&mut self, limit: Time, total: &mut usize) -> u64 {
        let mut dropped = 0;
        while self.packets.front().is_some_and(|(since, _)| *since < limit) {
            self.pop(total);
            dropped += 1;
        }
        dropped
    }

    /// Drops everything; how many packets that was.
    pub(super) fn clear(&mut self, total: &mut usize) -> u64 {
        self.expire(Time(u64::MAX), total)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }
}

/// A probe of a route that is on its way.
#[derive(Clone, Copy, Debug)]
struct Probe {
    number: u32,
    path: PathId,
    sent: Time,
}

/// The last probes of a session: which route each took, and when.
#[derive(Debug)]
pub(super) struct Probes {
    next: u32,
    sent: [Option<Probe>; PROBES],
}

impl Default for Probes {
    fn default() -> Self {
        Self { next: 0, sent: [None; PROBES] }
    }
}

impl Probes {
    /// Notes a probe and gives its number.
    pub(super) fn sent(&mut self, now: Time, path: PathId) -> u32 {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        if let Some(place) = self.sent.get_mut(place_of(number)) {
            *place = Some(Probe { number, path, sent: now });
        }
        number
    }

    /// An echo came back: which route it answers for, and the round trip in nanoseconds. Once for each.
    pub(super) fn echoed(&mut self, now: Time, number: u32) -> Option<(PathId, u64)> {
        let probe = self.sent.get_mut(place_of(number))?.take_if(|probe| probe.number == number)?;
        Some((probe.path, now.since_ns(probe.sent)))
    }
}

fn place_of(number: u32) -> usize {
    usize::try_from(number).unwrap_or(0) % PROBES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(id: u64) -> Route {
        Route { id: PathId(id), first: u32::try_from(id).unwrap() + 1, labels: Labels::NONE, back: Some(Labels::NONE) }
    }

    #[test]
    fn a_route_keeps_its_slot_while_others_come_and_go() {
        let mut slots = Slots::default();
        assert_eq!(slots.update(&[route(1), route(2), route(3)]), 0);
        let third = slots.slot_of(PathId(3)).unwrap();
        let freed = [PathId(1), PathId(2)].map(|id| 1 << slots.slot_of(id).unwrap());
        assert_eq!(slots.update(&[route(3), route(4)]), freed[0] | freed[1]);
        assert_eq!(slots.slot_of(PathId(3)), Some(third));
        assert_eq!(slots.over(5), 1 << slots.slot_of(PathId(4)).unwrap());
        assert_eq!(slots.over(2), 0);
    }

    #[test]
    fn what_waits_is_bounded_in_number_and_in_bytes() {
        let mut total = 0;
        let mut waiting = Waiting::default();
        for n in 0..WAITING_PACKETS_MAX {
            assert!(waiting.push(Time(n as u64), &[0; 1000], &mut total));
        }
        assert!(!waiting.push(Time(0), &[0; 1000], &mut total));
        assert_eq!(total, WAITING_PACKETS_MAX * 1000);
        assert_eq!(waiting.expire(Time(10), &mut total), 10);
        let mut other = Waiting::default();
        total = WAITING_BYTES_MAX - 5;
        assert!(!other.push(Time(0), &[0; 6], &mut total));
        assert!(other.push(Time(0), &[0; 5], &mut total));
    }

    #[test]
    fn an_echo_counts_once_and_only_for_its_probe() {
        let mut probes = Probes::default();
        let first = probes.sent(Time(1_000), PathId(1));
        let second = probes.sent(Time(2_000), PathId(2));
        assert_eq!(probes.echoed(Time(5_000), second), Some((PathId(2), 3_000)));
        assert_eq!(probes.echoed(Time(6_000), second), None);
        for n in 0..PROBES {
            probes.sent(Time(n as u64), PathId(3));
        }
        assert_eq!(probes.echoed(Time(9_000), first), None, "too old");
    }
}
