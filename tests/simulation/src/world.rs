//! The run: a queue of events in virtual time, the faults, and the two phases.
//!
//! In the bad phase faults happen as the plan says, and only safety is checked. Then the network heals, but for
//! faults of less than a third of the power that stay for ever, and every correct node must decide.

mod faults;

use crate::{
    event::{Env, Event, Out, Stop},
    network::Network,
    node::Proc,
    oracle::{Oracle, Violation},
    plan::Plan,
    report::Report,
    scheme::Keys,
};
use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    panic::{AssertUnwindSafe, catch_unwind},
};
use x0_crypto::blake2b_256;
use x0_network::Channel;

/// How long a healed network may take to decide, milliseconds.
const GOOD_MS_MAX: u64 = 600_000;
/// Rounds within which a height is decided after the healing.
const ROUNDS: u32 = 3;
/// Bytes of the event log that are hashed at once.
const LOG_BYTES: usize = 16 * 1024;

/// Runs a plan to its end. A panic of the code under test is a broken promise like others.
#[must_use]
pub fn run(plan: Plan, trace: bool) -> Report {
    let seed = plan.seed;
    match catch_unwind(AssertUnwindSafe(|| World::new(plan, trace).map(World::run))) {
        Ok(Ok(report)) => report,
        Ok(Err(error)) => Report::broken(seed, Violation::Panic(error.to_string())),
        Err(cause) => {
            let text = cause.downcast_ref::<String>().cloned();
            let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Report::broken(seed, Violation::Panic(text.unwrap_or_default()))
        }
    }
}

struct Queued {
    at_us: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        (self.at_us, self.order) == (other.at_us, other.order)
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.order).cmp(&(other.at_us, other.order))
    }
}

/// What held when the network healed.
struct Healing {
    at_us: u64,
    target: u64,
    /// Height and round when every correct node was back and had caught up.
    stable: Option<(u64, u32)>,
}

struct World {
    env: Env,
    procs: Vec<Proc>,
    network: Network,
    queue: BinaryHeap<Reverse<Queued>>,
    order: u64,
    events: u64,
    log: Vec<u8>,
    hash: [u8; 32],
    healing: Option<Healing>,
    crashes: u64,
    refusals: u64,
    late: BTreeSet<u64>,
    proof_blocks: u64,
    /// Nodes at which each height is final.
    holders: BTreeMap<u64, usize>,
    final_us: BTreeMap<u64, u64>,
}

impl World {
    fn new(plan: Plan, trace: bool) -> Result<Self, x0_crypto::CryptoError> {
        let identities = plan.powers.len();
        // Every validator once, and the second copies of twins after them.
        let nodes: Vec<_> = (0..identities).chain(plan.twins.iter().copied()).collect();
        let keys = Keys::new(identities, plan.real_signatures)?;
        let oracle = Oracle::new(&plan, nodes.len());
        let rng = ChaCha8Rng::seed_from_u64(plan.seed ^ 0x5eed);
        let env = Env::new(plan, keys, oracle, rng, trace);
        let procs = nodes
            .iter()
            .enumerate()
            .map(|(id, identity)| Proc::new(id, *identity, env.plan.twins.contains(identity), &env))
            .collect();
        let mut world = Self {
            network: Network::new(nodes.len()),
            env,
            procs,
            queue: BinaryHeap::new(),
            order: 0,
            events: 0,
            log: Vec::with_capacity(LOG_BYTES),
            hash: [0; 32],
            healing: None,
            crashes: 0,
            refusals: 0,
            late: BTreeSet::new(),
            proof_blocks: 0,
            holders: BTreeMap::new(),
            final_us: BTreeMap::new(),
        };
        world.prepare();
        Ok(world)
    }

    fn prepare(&mut self) {
        let faults = self.env.plan.nodes;
        for id in 0..self.procs.len() {
            let skew = self.env.rng.random_range(-faults.skew_ms..=faults.skew_ms);
            let slow = if self.env.rng.random_bool(0.3) { faults.slow_us } else { 0 };
            self.procs[id].node.skew_ms = skew;
            self.procs[id].node.slow_us = slow;
            let after = self.env.rng.random_range(0..=100_000);
            self.push(after, Event::Start { node: id });
        }
        if faults.crash_ms > 0 {
            self.push(0, Event::DrawCrash);
        }
        if self.env.plan.network.cuts || self.env.plan.network.partitions {
            self.push(0, Event::DrawCut);
        }
    }

    fn push(&mut self, after_us: u64, event: Event) {
        self.order += 1;
        let at_us = self.env.now_us.saturating_add(after_us);
        self.queue.push(Reverse(Queued { at_us, order: self.order, event }));
    }

    fn run(mut self) -> Report {
        while let Some(Reverse(next)) = self.queue.pop() {
            self.env.now_us = next.at_us;
            self.events += 1;
            self.handle(next.event);
            if self.log.len() >= LOG_BYTES {
                self.fold();
            }
            if !self.env.oracle.violations.is_empty() || self.finished() {
                break;
            }
        }
        self.fold();
        self.report()
    }

    /// Whether the run is over. Heals the network when the bad time is.
    fn finished(&mut self) -> bool {
        self.stabilise();
        let Some(healing) = &self.healing else {
            let plan = &self.env.plan;
            if self.env.now_us >= plan.bad_ms * 1_000 || self.env.oracle.height() >= plan.bad_heights {
                self.heal();
            }
            return false;
        };
        let (target, waited_ms) = (healing.target, (self.env.now_us - healing.at_us) / 1_000);
        let late: Vec<_> = self.counted().filter(|id| self.procs[*id].node.disk.chain.height() < target).collect();
        if late.is_empty() {
            self.check_rounds();
            self.proof_blocks = self.env.oracle.check_proofs();
            return true;
        }
        if waited_ms < GOOD_MS_MAX {
            return false;
        }
        for node in late {
            let (height, round) = self.procs[node].position();
            self.env.oracle.report(Violation::Stuck { node, height, round, target, waited_ms });
        }
        true
    }

    /// Notes the moment from which rounds count: every correct node runs and is at the height of the others.
    fn stabilise(&mut self) {
        if self.healing.as_ref().is_none_or(|healing| healing.stable.is_some()) {
            return;
        }
        let places: Vec<_> = self.counted().map(|id| self.procs[id].position()).collect();
        let top = places.iter().copied().max().unwrap_or_default();
        let together = top.1 >= 0 && places.iter().all(|(height, _)| *height == top.0);
        if let (true, Some(healing)) = (together, &mut self.healing) {
            healing.stable = Some((top.0, u32::try_from(top.1).unwrap_or(0)));
            self.env.say(|| format!("all correct nodes are together at height {} round {}", top.0, top.1));
        }
    }

    /// Nodes of which everything is demanded.
    fn counted(&self) -> impl Iterator<Item = usize> + '_ {
        let wrong = self.env.plan.wrong();
        self.procs.iter().filter(move |proc| !wrong.contains(&proc.node.identity)).map(|proc| proc.node.id)
    }

    fn heal(&mut self) {
        self.env.healed = true;
        self.network.heal(&self.env.plan);
        let counted: Vec<_> = self.counted().collect();
        let started = counted.iter().map(|id| self.procs[*id].position().0).max().unwrap_or(0);
        let height = started.max(self.env.oracle.height());
        self.env.say(|| format!("the network heals at height {height}"));
        let target = height + self.env.plan.good_heights;
        self.healing = Some(Healing { at_us: self.env.now_us, target, stable: None });
        for id in 0..self.procs.len() {
            let node = &mut self.procs[id].node;
            (node.skew_ms, node.slow_us, node.crash_in) = (0, 0, None);
            if !node.running {
                self.push(1_000, Event::Start { node: id });
            }
        }
    }

    /// Once the correct nodes are together, heights are decided within three rounds.
    ///
    /// There is one exception, which is counted and bounded: a lock that only a few nodes know of. It is as old as
    /// the bad time, or the work of a twin that proposed. Others' proposals fail until a holder of the lock proposes, so that
    /// every validator may need a turn.
    fn check_rounds(&mut self) {
        let Some((at, under_way)) = self.healing.as_ref().and_then(|healing| healing.stable) else { return };
        let counted: BTreeSet<_> = self.counted().collect();
        let turns = u32::try_from(self.env.plan.powers.len()).unwrap_or(u32::MAX);
        let mut slow = Vec::new();
        for ((node, height), round) in &self.env.oracle.rounds {
            if !counted.contains(node) || *height < at {
                continue;
            }
            let soon = if *height == at { under_way + ROUNDS } else { ROUNDS - 1 };
            let locks = *height == at || !self.env.plan.twins.is_empty();
            let limit = if locks { soon + turns } else { soon };
            if *round > limit {
                slow.push(Violation::Slow { height: *height, node: *node, round: *round, limit });
            } else if *round > soon {
                self.late.insert(*height);
            }
        }
        slow.into_iter().for_each(|violation| self.env.oracle.report(violation));
    }

    fn note(&mut self, letter: u8, node: usize, what: u64) {
        self.log.push(letter);
        self.log.extend_from_slice(&self.env.now_us.to_be_bytes());
        self.log.extend_from_slice(&u32::try_from(node).unwrap_or(u32::MAX).to_be_bytes());
        self.log.extend_from_slice(&what.to_be_bytes());
    }

    fn fold(&mut self) {
        self.hash = blake2b_256(&[&self.hash[..], &self.log].concat());
        self.log.clear();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Frame { to, from, channel, bytes, digest } => {
                if self.ready(to, |at| Event::Frame { to: at, from, channel, bytes: bytes.clone(), digest }) {
                    self.note(b'f', to, digest);
                    self.act(to, |proc, env| proc.frame(env, from, channel, bytes));
                }
            }
            Event::Timer { node, epoch, timeout, generation } => {
                if self.procs[node].node.epoch == epoch {
                    self.note(b't', node, generation);
                    self.act(node, |proc, env| proc.timer(env, timeout, generation));
                }
            }
            Event::Task { node, epoch, task } => {
                if self.procs[node].node.epoch == epoch {
                    self.note(task.letter(), node, 0);
                    self.act(node, |proc, env| proc.task(env, task));
                }
            }
            Event::Crash { node, steps } => {
                if !self.env.healed && self.procs[node].node.running {
                    self.procs[node].node.crash_in = Some(steps);
                }
            }
            Event::Start { node } => {
                if !self.procs[node].node.running {
                    self.note(b'S', node, 0);
                    self.env.say(|| format!("node {node} starts"));
                    self.act_always(node, |proc, env| proc.boot(env));
                }
            }
            Event::DrawCrash => self.draw_crash(),
            Event::DrawCut => self.draw_cut(),
            Event::Mend { from, to } => drop(self.network.cut.remove(&(from, to))),
            Event::Join => self.network.parts = None,
        }
    }

    /// Whether a node takes a frame now: it runs and is not busy. A busy one takes it later.
    fn ready(&mut self, node: usize, again: impl FnOnce(usize) -> Event) -> bool {
        if !self.procs[node].node.running {
            return false;
        }
        let free = self.procs[node].node.busy_until_us;
        if free > self.env.now_us {
            self.push(free - self.env.now_us, again(node));
            return false;
        }
        let slow = self.procs[node].node.slow_us;
        if slow > 0 {
            self.procs[node].node.busy_until_us = self.env.now_us + self.env.rng.random_range(0..=slow);
        }
        true
    }

    fn act(&mut self, node: usize, what: impl FnOnce(&mut Proc, &mut Env) -> Result<(), Stop>) {
        if self.procs[node].node.running {
            self.act_always(node, what);
        }
    }

    fn act_always(&mut self, node: usize, what: impl FnOnce(&mut Proc, &mut Env) -> Result<(), Stop>) {
        let before = self.procs[node].node.disk.chain.height();
        self.env.cost_ns = 0;
        let result = what(&mut self.procs[node], &mut self.env);
        let cost_us = self.env.cost_ns / 1_000;
        if cost_us > 0 {
            let proc = &mut self.procs[node].node;
            proc.busy_until_us = proc.busy_until_us.max(self.env.now_us) + cost_us;
        }
        // What left before a crash has left; what was put off is forgotten with the epoch.
        let out = std::mem::take(&mut self.env.out);
        for out in out {
            self.dispatch(node, out, cost_us);
        }
        for height in before + 1..=self.procs[node].node.disk.chain.height() {
            self.hold(height);
        }
        match result {
            Ok(()) => {}
            Err(Stop::Crash) => self.crash(node),
            Err(Stop::Halt(reason)) => self.halt(node, reason),
            Err(Stop::Engine(reason)) => self.engine_failed(node, reason),
        }
    }

    fn hold(&mut self, height: u64) {
        let holders = self.holders.entry(height).or_default();
        *holders += 1;
        if 3 * *holders > 2 * self.procs.len() {
            self.final_us.entry(height).or_insert(self.env.now_us);
        }
    }

    fn dispatch(&mut self, node: usize, out: Out, cost_us: u64) {
        let epoch = self.procs[node].node.epoch;
        match out {
            Out::Timer(timeout, generation, after) => {
                self.push(after, Event::Timer { node, epoch, timeout, generation })
            }
            Out::Task(task, after) => self.push(after + cost_us, Event::Task { node, epoch, task }),
            Out::Broadcast(channel, bytes) => self.transmit(node, None, channel, &bytes, cost_us),
            Out::Send(identity, channel, bytes) => self.transmit(node, Some(identity), channel, &bytes, cost_us),
        }
    }

    fn transmit(&mut self, node: usize, only: Option<usize>, channel: Channel, bytes: &Bytes, cost_us: u64) {
        self.env.oracle.observe(&self.env.keys, channel, bytes);
        let from = self.procs[node].node.identity;
        let digest = if self.env.plan.real_signatures {
            // Hedged signatures have other bytes in each run.
            u64::try_from(bytes.len()).unwrap_or(u64::MAX)
        } else {
            blake2b_256(bytes).first_chunk().map_or(0, |head| u64::from_be_bytes(*head))
        };
        let size = crate::study::modelled_bytes(self.env.plan.bandwidth.as_ref(), channel, bytes);
        for to in 0..self.procs.len() {
            let identity = self.procs[to].node.identity;
            if identity == from || only.is_some_and(|only| only != identity) || !self.hears(to, node) {
                continue;
            }
            let frame = || Event::Frame { to, from, channel, bytes: bytes.clone(), digest };
            if let Some(bandwidth) = &self.env.plan.bandwidth {
                let now = self.env.now_us + cost_us;
                let after = self.network.carry_bytes(bandwidth, now, node, to, size);
                self.push(after + cost_us, frame());
                continue;
            }
            let Env { plan, healed, rng, .. } = &mut self.env;
            let ordered = channel == Channel::Parts && (*healed || !plan.network.shuffled_parts);
            for mut after in self.network.carry(plan, *healed, rng, (node, from), (to, identity)) {
                if ordered {
                    after = self.network.in_order(self.env.now_us, node, to, after);
                }
                self.push(after, frame());
            }
        }
    }

    /// Whether a node is of the audience of another: each copy of a twin may have its own.
    fn hears(&self, listener: usize, speaker: usize) -> bool {
        let twin = |node: usize| self.procs[node].node.twin;
        if !self.env.plan.split || !twin(speaker) || twin(listener) {
            return true;
        }
        let second = speaker >= self.env.plan.powers.len();
        second == listener.is_multiple_of(2)
    }

    fn report(self) -> Report {
        let oracle = &self.env.oracle;
        let progress = self.procs.iter().map(|proc| proc.node.disk.chain.progress()).max();
        Report {
            seed: self.env.plan.seed,
            hash: hex::encode(&self.hash[..16]),
            events: self.events,
            heights: oracle.height(),
            simulated_ms: self.env.now_us / 1_000,
            crashes: self.crashes,
            refusals: self.refusals,
            contradictions: oracle.contradictions.len(),
            accused: oracle.accused.len(),
            exposed: oracle.exposed.len(),
            proof_blocks: self.proof_blocks,
            changes: progress.unwrap_or(0),
            round_max: oracle.rounds.values().copied().max().unwrap_or(0),
            late: self.late.len(),
            certificate_bytes: oracle.certificate_bytes,
            bytes_in: self.network.bytes_in.iter().sum(),
            bytes_out_max: self.network.bytes_out.iter().copied().max().unwrap_or(0),
            start_us: oracle.starts.clone(),
            final_us: self.final_us,
            violations: self.env.oracle.violations,
        }
    }
}
