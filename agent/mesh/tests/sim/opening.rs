//! How a session opens on slow machines, while links come, go and are deaf in one direction.

use super::{
    faults::report,
    random::Random,
    wires::Wire,
    world::{Life, World, pair},
};
use x0_mesh::Time;

const SEEDS: u64 = 400;
/// Longest time until packets pass both ways when nothing disturbs any more, microseconds.
const PATIENCE_US: u64 = 5_000_000;

/// What disturbs, and when, microseconds.
#[derive(Clone, Copy, Debug)]
enum Disturbance {
    /// This direction of a wire is deaf.
    Deaf {
        from: usize,
        wire: u16,
    },
    /// This wire passes datagrams in both directions.
    Up {
        wire: u16,
    },
    Freeze {
        node: usize,
    },
    Resume {
        node: usize,
    },
}

/// What disturbs when, in the order of time. The last wire is sound from its `Up` on.
fn plan(draw: &mut Random, wires: u16) -> Vec<(u64, Disturbance)> {
    let mut plan = Vec::new();
    for wire in 0..wires {
        let up_us = if draw.below(2) == 0 { 0 } else { draw.below(700_000) };
        plan.push((up_us, Disturbance::Up { wire }));
    }
    if wires > 1 && draw.below(4) != 0 {
        let at_us = draw.below(1_200_000);
        let wire = u16::try_from(draw.below(u64::from(wires - 1))).unwrap();
        plan.push((at_us, Disturbance::Deaf { from: usize::from(draw.below(2) == 0), wire }));
    }
    for node in 0..2 {
        let mut at_us = 0;
        for _ in 0..draw.below(4) {
            at_us += draw.below(500_000);
            plan.push((at_us, Disturbance::Freeze { node }));
            at_us += 50_000 + draw.below(350_000);
            plan.push((at_us, Disturbance::Resume { node }));
        }
    }
    plan.sort_by_key(|(at_us, _)| *at_us);
    plan
}

fn disturb(world: &mut World, what: Disturbance) {
    match what {
        Disturbance::Deaf { from, wire } => {
            world.wires.change((from, wire), (1 - from, wire), |wire| wire.black_hole = true);
        }
        Disturbance::Up { wire } => world.wires.change_both((0, wire), (1, wire), |wire| wire.black_hole = false),
        Disturbance::Freeze { node } => world.set_life(node, Life::Frozen),
        Disturbance::Resume { node } => world.set_life(node, Life::Runs),
    }
}

/// A world that is disturbed while hosts begin to talk.
struct Opening {
    world: World,
    /// What is done to it, for the words of a failure.
    said: String,
    plan: std::iter::Peekable<std::vec::IntoIter<(u64, Disturbance)>>,
    /// When the hosts begin to talk, and when nothing disturbs any more.
    talk_us: u64,
    quiet_us: u64,
    /// Whether both hosts begin.
    both: bool,
}

impl Opening {
    fn new(seed: u64) -> Self {
        let mut draw = Random(seed);
        let wires = 1 + u16::try_from(draw.below(3)).unwrap();
        let mut world = pair(seed, wires, &Wire { black_hole: true, ..Wire::default() });
        // A worker on a machine that is busy with something else.
        let jobs = [(80, 250), (1_000, 20_000), (1_000, 100_000), (1_000, 300_000)];
        world.job_us = jobs[usize::try_from(draw.below(4)).unwrap()];
        let both = draw.below(2) == 0;
        let talk_us = draw.below(1_500_000);
        let plan = plan(&mut draw, wires);
        let quiet_us = plan.last().map_or(0, |(at_us, _)| *at_us);
        let said =
            format!("seed {seed}: {wires} wires, jobs {:?}, both {both}, from {talk_us}, {plan:?}", world.job_us);
        Self { world, said, plan: plan.into_iter().peekable(), talk_us, quiet_us, both }
    }

    /// A millisecond passes.
    fn step(&mut self) {
        while let Some((_, what)) = self.plan.next_if(|(at_us, _)| *at_us <= self.world.now_us) {
            disturb(&mut self.world, what);
        }
        if self.world.now_us >= self.quiet_us {
            self.world.job_us = (80, 250);
        }
        self.world.run_us(1_000);
    }

    /// Whether packets passed from one node to the other since.
    fn passed(&self, from: usize, to: usize, since_us: u64) -> bool {
        self.world.oracle.first_after(from, to, since_us).is_some()
    }

    /// The time from the end of the disturbances until packets pass both ways.
    fn until_both_hear(&mut self, every_us: u64) -> u64 {
        let mut next_us = self.talk_us;
        let start_us = self.quiet_us.max(self.talk_us);
        while !(self.passed(0, 1, start_us) && self.passed(1, 0, start_us)) {
            if self.world.now_us >= next_us {
                self.world.send(0, 1, 100);
                if self.both || self.passed(0, 1, 0) {
                    self.world.send(1, 0, 100);
                }
                next_us = self.world.now_us + every_us;
            }
            self.step();
            assert!(self.world.now_us < start_us + PATIENCE_US, "{}\n{}", self.said, self.world.state());
        }
        self.world.now_us - start_us
    }

    /// One packet there and, when it arrived, one back, as a host asks and is answered: the time that it took.
    fn one_echo(&mut self) -> u64 {
        let up = |world: &World, node: usize| {
            let status = world.nodes[node].mesh.status(Time(world.now_us * 1_000));
            world.nodes[node].life == Life::Runs
                && status.links.iter().any(|link| link.state == x0_mesh::link::State::Up)
        };
        while self.world.now_us < self.talk_us || !(up(&self.world, 0) && up(&self.world, 1)) {
            self.step();
        }
        let start_us = self.world.now_us;
        self.world.send(0, 1, 100);
        if self.both {
            self.world.send(1, 0, 100);
        }
        let mut answered = self.both;
        while !(self.passed(0, 1, start_us) && self.passed(1, 0, start_us)) {
            if !answered && self.passed(0, 1, start_us) && self.world.nodes[1].life == Life::Runs {
                self.world.send(1, 0, 100);
                answered = true;
            }
            self.step();
            let end_us = self.quiet_us.max(start_us) + PATIENCE_US;
            assert!(self.world.now_us < end_us, "sent at {start_us}, {}\n{}", self.said, self.world.state());
        }
        self.world.now_us - start_us
    }
}

#[test]
fn a_session_opens_whatever_happened_while_it_began() {
    let waits = (0..SEEDS).map(|seed| Opening::new(seed).until_both_hear([1_000, 20_000, 200_000][seed as usize % 3]));
    report("disturbed opening: packets pass both ways after", waits.collect());
}

/// The first packet waits for the session, and nothing is sent after it that could take its place.
#[test]
fn a_single_packet_is_answered_whatever_happened_while_the_session_began() {
    report("disturbed opening: one echo took", (0..SEEDS).map(|seed| Opening::new(seed).one_echo()).collect());
}
