//! The wires between nodes: delay, jitter, loss, duplication, reordering, cuts, and who lies on them.

use super::random::Random;
use std::collections::BTreeMap;

/// One end of a wire: a node and one of its underlays.
pub type Port = (usize, u16);

/// What a wire does to the datagrams of one direction.
#[derive(Clone, Debug)]
pub struct Wire {
    /// Time on the wire, microseconds.
    pub delay_us: u64,
    /// Random addition to it, microseconds; reorders when larger than the distance of two datagrams.
    pub jitter_us: u64,
    /// Lost datagrams of a million.
    pub loss_ppm: u32,
    /// Doubled datagrams of a million.
    pub duplicate_ppm: u32,
    /// Datagrams of a million that are late by another `late_us`.
    pub late_ppm: u32,
    /// See `late_ppm`.
    pub late_us: u64,
    /// Nothing passes, and nobody is told.
    pub black_hole: bool,
    /// Frames of kind Data vanish, everything else passes: a relay that lies, or a path for small frames only.
    pub drops_data: bool,
    /// Longest datagram that passes.
    pub bytes_max: usize,
    /// Changed datagrams of a million: one bit, anywhere.
    pub tamper_ppm: u32,
    /// Datagrams of a million that are kept and sent again later.
    pub replay_ppm: u32,
    /// Datagrams of a million that are also sent back to their sender.
    pub reflect_ppm: u32,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            delay_us: 500,
            jitter_us: 50,
            loss_ppm: 0,
            duplicate_ppm: 0,
            late_ppm: 0,
            late_us: 0,
            black_hole: false,
            drops_data: false,
            bytes_max: 1472,
            tamper_ppm: 0,
            replay_ppm: 0,
            reflect_ppm: 0,
        }
    }
}

/// What becomes of one datagram.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// Arrivals at the other end, microseconds from now, with the bit that changes on the way.
    pub arrivals: Vec<(u64, Option<usize>)>,
    /// An arrival back at its sender.
    pub reflected: Option<u64>,
}

impl Wire {
    /// Draws what becomes of a datagram. The generator is asked the same number of times whatever the
    /// wire's settings, so that a fault does not shift the draws of everything after it.
    pub fn fate(&self, bytes: &[u8], random: &mut Random) -> Fate {
        let draws: [u64; 8] = std::array::from_fn(|_| random.next());
        let chance = |draw: u64, ppm: u32| draw % 1_000_000 < u64::from(ppm);
        let mut fate = Fate::default();
        let kind = bytes.first().map_or(0, |first| first & 15);
        if self.black_hole
            || bytes.len() > self.bytes_max
            || chance(draws[0], self.loss_ppm)
            || (self.drops_data && kind == 6)
        {
            return fate;
        }
        let mut after = self.delay_us + draws[1] % (self.jitter_us + 1);
        if chance(draws[2], self.late_ppm) {
            after += self.late_us;
        }
        let bits = bytes.len().max(1) as u64 * 8;
        let flipped = chance(draws[3], self.tamper_ppm).then(|| usize::try_from(draws[4] % bits).unwrap());
        fate.arrivals.push((after, flipped));
        if chance(draws[5], self.duplicate_ppm) {
            fate.arrivals.push((after + draws[1] % 1_000, None));
        }
        if chance(draws[6], self.replay_ppm) {
            fate.arrivals.push((after + draws[6] % 5_000_000, None));
        }
        if chance(draws[7], self.reflect_ppm) {
            fate.reflected = Some(after + 100);
        }
        fate
    }
}

/// All wires, by direction.
#[derive(Debug, Default)]
pub struct Wires(pub BTreeMap<(Port, Port), Wire>);

impl Wires {
    /// Joins two ports, both directions alike.
    pub fn join(&mut self, a: Port, b: Port, wire: &Wire) {
        self.0.insert((a, b), wire.clone());
        self.0.insert((b, a), wire.clone());
    }

    /// Changes one direction.
    pub fn change(&mut self, from: Port, to: Port, change: impl Fn(&mut Wire)) {
        change(self.0.get_mut(&(from, to)).expect("the wire is there"));
    }

    /// Changes both directions.
    pub fn change_both(&mut self, a: Port, b: Port, change: impl Fn(&mut Wire)) {
        self.change(a, b, &change);
        self.change(b, a, &change);
    }

    /// Changes every wire that begins at this node.
    pub fn change_from(&mut self, node: usize, change: impl Fn(&mut Wire)) {
        for ((from, _), wire) in &mut self.0 {
            if from.0 == node {
                change(wire);
            }
        }
    }
}
