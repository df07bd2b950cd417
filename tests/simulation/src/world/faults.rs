//! How nodes and links fail.

use super::World;
use crate::{disk::Tear, event::Event, node::CORRUPT_LOG, oracle::Violation, plan::Sabotage};
use rand::{Rng as _, seq::IndexedRandom as _};

/// How long a crashed node is down, and until an operator has looked at one that halted, microseconds.
const DOWN_US: std::ops::RangeInclusive<u64> = 50_000..=5_000_000;
const OPERATOR_US: u64 = 8_000_000;
/// How long cuts and partitions last and how far they are apart, microseconds.
const CUT_US: std::ops::RangeInclusive<u64> = 200_000..=8_000_000;
const CUT_PAUSE_US: std::ops::RangeInclusive<u64> = 100_000..=3_000_000;
/// Effects after which a crash strikes at the latest.
const CRASH_STEPS_MAX: u32 = 40;

impl World {
    pub(super) fn crash(&mut self, node: usize) {
        self.crashes += 1;
        self.note(b'C', node, 0);
        self.env.say(|| format!("node {node} crashes"));
        let (tear, sabotage) = (self.env.plan.nodes.tear, self.env.plan.sabotage);
        let proc = &mut self.procs[node];
        proc.stop();
        let disk = &mut proc.node.disk;
        disk.wal.crash(tear, &mut self.env.rng);
        if sabotage == Sabotage::NoGuard {
            disk.guard = crate::guard::empty();
        }
        if sabotage == Sabotage::ForgetfulChain {
            disk.chain.forget_last();
        }
        if proc.node.twin && self.env.rng.random_bool(0.3) {
            // A copy with amnesia.
            disk.wal.crash(Tear::Lost, &mut self.env.rng);
            disk.undecided.clear();
        }
        let after = self.env.rng.random_range(DOWN_US);
        self.push(after, Event::Start { node });
    }

    pub(super) fn halt(&mut self, node: usize, reason: String) {
        self.env.say(|| format!("node {node} halts: {reason}"));
        self.note(b'H', node, 0);
        let proc = &mut self.procs[node];
        proc.stop();
        if reason.starts_with(CORRUPT_LOG) && self.env.plan.nodes.tear == Tear::Zeros {
            // The log was cut at the bad entry; an operator looks and starts the node again.
            self.refusals += 1;
            self.push(OPERATOR_US, Event::Start { node });
        } else if !proc.node.twin {
            self.env.oracle.report(Violation::Halted { node, reason });
        }
    }

    pub(super) fn engine_failed(&mut self, node: usize, reason: String) {
        self.env.say(|| format!("the engine of node {node} fails: {reason}"));
        self.note(b'E', node, 0);
        let proc = &mut self.procs[node];
        proc.stop();
        if proc.node.twin {
            // A copy whose log contradicts itself starts anew, without memory.
            proc.node.disk.wal.crash(Tear::Lost, &mut self.env.rng);
            self.push(OPERATOR_US, Event::Start { node });
        } else {
            self.env.oracle.report(Violation::Engine { node, reason });
        }
    }

    pub(super) fn draw_crash(&mut self) {
        if self.env.healed {
            return;
        }
        let node = self.env.rng.random_range(0..self.procs.len());
        let steps = self.env.rng.random_range(0..CRASH_STEPS_MAX);
        self.push(0, Event::Crash { node, steps });
        let pause = self.env.rng.random_range(0..=2_000 * self.env.plan.nodes.crash_ms);
        self.push(pause, Event::DrawCrash);
    }

    pub(super) fn draw_cut(&mut self) {
        if self.env.healed {
            return;
        }
        let (cuts, partitions) = (self.env.plan.network.cuts, self.env.plan.network.partitions);
        let lasts = self.env.rng.random_range(CUT_US);
        let nodes: Vec<_> = (0..self.procs.len()).collect();
        if partitions && (!cuts || self.env.rng.random_bool(0.4)) {
            let parts = nodes.iter().map(|_| self.env.rng.random_bool(0.5)).collect();
            self.env.say(|| format!("the network falls apart: {parts:?}"));
            self.network.parts = Some(parts);
            self.push(lasts, Event::Join);
        } else if let (Some(from), Some(to)) = (nodes.choose(&mut self.env.rng), nodes.choose(&mut self.env.rng)) {
            self.env.say(|| format!("node {to} does not hear node {from} any more"));
            self.network.cut.insert((*from, *to));
            self.push(lasts, Event::Mend { from: *from, to: *to });
        }
        let pause = self.env.rng.random_range(CUT_PAUSE_US);
        self.push(if partitions { lasts + pause } else { pause }, Event::DrawCut);
    }
}
