//! What happens in a run, drawn from its seed: validators, faults, and what is wrong on purpose.
//!
//! Each kind of fault is on or off for a whole run (as in swarm testing), because runs with every fault at
//! once mostly show that nothing works.

use rand::{Rng, SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;

use crate::disk::Tear;

/// Parts in a million.
pub type Ppm = u32;

/// An entry of the agenda: a validator's new power. No power means that it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The validator.
    pub validator: usize,
    /// Its power from then on.
    pub power: u64,
}

/// A rule that is broken on purpose, to see that the oracle notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Nothing is wrong.
    None,
    /// Correct validators lose the guard's record with every crash, and their log too.
    NoGuard,
    /// A quorum is half of the power.
    HalfQuorum,
    /// As many twins as make half of the power or more.
    ManyTwins,
    /// Correct validators vote for blocks that break a rule.
    BlindVotes,
    /// Committed blocks are not durable.
    ForgetfulChain,
    /// Correct validators lose their logs with every crash, and keep the guard's record.
    LostLogs,
    /// Correct validators sign before their log is on the disk, and repeat any earlier word.
    SignBeforeLog,
}

/// Faults of the network while it is bad. Times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkFaults {
    /// Shortest delay of a frame.
    pub delay_us: u64,
    /// Largest addition to it, drawn for each frame: frames overtake one another.
    pub jitter_us: u64,
    /// Frames that are lost.
    pub loss: Ppm,
    /// Frames that come twice.
    pub duplication: Ppm,
    /// Whether links are cut for a while, each direction by itself.
    pub cuts: bool,
    /// Whether the network falls into two parts for a while.
    pub partitions: bool,
    /// Whether parts of a block overtake one another too. A real link keeps the order within a channel, and a block
    /// whose opening comes late is lost until it is sent again.
    pub shuffled_parts: bool,
}

/// Faults of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeFaults {
    /// Mean distance between two crashes anywhere, milliseconds; 0 for none.
    pub crash_ms: u64,
    /// What a crash does to the log's unsynced end.
    pub tear: Tear,
    /// Largest distance of a clock from the true time, milliseconds.
    pub skew_ms: i64,
    /// Largest time that a slow node takes for one event, microseconds; 0 for none.
    pub slow_us: u64,
}

/// What a validator does wrong for ever, besides twins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permanent {
    /// Nobody hears it.
    Mute,
    /// It hears nobody.
    Deaf,
    /// Neither.
    Gone,
}

/// How links carry bytes, for the study of message sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bandwidth {
    /// Bits per second of each node, up and down.
    pub bits_per_second: u64,
    /// Bytes of a signature on the wire.
    pub signature_bytes: u64,
    /// One-way delay between two regions, microseconds.
    pub latency_us: Vec<Vec<u64>>,
    /// Time to check one signature, nanoseconds.
    pub verify_ns: u64,
    /// Time to make one, nanoseconds.
    pub sign_ns: u64,
    /// Time to wait for the disk, nanoseconds.
    pub sync_ns: u64,
}

/// Everything that a seed says of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Whether signatures are ML-DSA-65.
    pub real_signatures: bool,
    /// Power of each validator at the start; 0 for one that joins later.
    pub powers: Vec<u64>,
    /// Changes that blocks apply in this order.
    pub agenda: Vec<Change>,
    /// Validators of which two copies run with one key and without a guard.
    pub twins: BTreeSet<usize>,
    /// Whether each copy of a twin is heard by another part of the validators.
    pub split: bool,
    /// Whether twins lie about heights and answer requests with rubbish.
    pub lying: bool,
    /// Faults of the network.
    pub network: NetworkFaults,
    /// Faults of nodes.
    pub nodes: NodeFaults,
    /// Faults that stay after the healing.
    pub permanent: Vec<(usize, Permanent)>,
    /// Whether transactions wait at all times, so that blocks follow one another at the busy pace.
    pub busy: bool,
    /// Largest body of a block, bytes.
    pub body_bytes: usize,
    /// How long the bad time lasts, milliseconds.
    pub bad_ms: u64,
    /// Height at which the bad time ends early.
    pub bad_heights: u64,
    /// Heights to decide after the healing.
    pub good_heights: u64,
    /// What is wrong on purpose.
    pub sabotage: Sabotage,
    /// How links carry bytes, if that is of interest.
    pub bandwidth: Option<Bandwidth>,
}

/// Largest number of validators that are wrong for ever: with three in a row no round of three could succeed.
const WRONG_MAX: usize = 2;
/// Validators of a drawn run.
const VALIDATORS_MAX: usize = 7;

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let count = rng.random_range(1..=VALIDATORS_MAX);
        let uneven = rng.random_bool(0.5);
        let powers: Vec<u64> = (0..count).map(|_| if uneven { rng.random_range(1..=10) } else { 1 }).collect();
        let mut plan = Self {
            seed,
            real_signatures: false,
            powers,
            agenda: Vec::new(),
            twins: BTreeSet::new(),
            split: false,
            lying: rng.random_bool(0.5),
            network: draw_network(&mut rng),
            nodes: draw_nodes(&mut rng),
            permanent: Vec::new(),
            busy: rng.random_bool(0.6),
            body_bytes: if rng.random_bool(0.05) { 300 * 1024 } else { 200 },
            bad_ms: rng.random_range(5_000..=40_000),
            bad_heights: rng.random_range(3..=12),
            good_heights: 3,
            sabotage: Sabotage::None,
            bandwidth: None,
        };
        if rng.random_bool(0.4) {
            plan.draw_agenda(&mut rng);
        }
        plan.draw_wrong(&mut rng);
        plan.split = rng.random_bool(0.5);
        plan
    }

    /// A healthy network of four to seven validators, of which one runs twice, and each copy is heard by others: what
    /// it takes to prove that it contradicts itself.
    #[must_use]
    pub fn split_twin(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let count = rng.random_range(4..=VALIDATORS_MAX);
        Self {
            powers: vec![1; count],
            agenda: Vec::new(),
            twins: [rng.random_range(0..count)].into(),
            split: true,
            lying: false,
            network: NetworkFaults {
                loss: 0,
                duplication: 0,
                cuts: false,
                partitions: false,
                shuffled_parts: false,
                ..draw_network(&mut rng)
            },
            nodes: NodeFaults { crash_ms: 0, tear: Tear::Cut, skew_ms: 0, slow_us: 0 },
            permanent: Vec::new(),
            bad_ms: 0,
            good_heights: 3 * u64::try_from(count).unwrap_or(u64::MAX),
            ..Self::draw(seed)
        }
    }

    /// The plan of a seed with something wrong on purpose.
    #[must_use]
    pub fn sabotaged(seed: u64, sabotage: Sabotage) -> Self {
        let mut plan = Self { sabotage, ..Self::draw(seed) };
        match sabotage {
            Sabotage::None | Sabotage::BlindVotes => {}
            Sabotage::NoGuard | Sabotage::LostLogs => {
                plan.nodes.crash_ms = 1_500;
                plan.nodes.tear = Tear::Lost;
            }
            Sabotage::HalfQuorum => {
                plan.powers = vec![1; 7];
                plan.agenda.clear();
                plan.permanent.clear();
                plan.network.partitions = true;
                plan.twins = [0, 1].into();
            }
            Sabotage::ManyTwins => {
                plan.powers = vec![1; 4];
                plan.agenda.clear();
                plan.permanent.clear();
                plan.network.partitions = true;
                plan.twins = [0, 1].into();
            }
            Sabotage::ForgetfulChain => plan.nodes.crash_ms = 1_500,
            Sabotage::SignBeforeLog => {
                plan.powers = vec![3, 8];
                plan.agenda.clear();
                plan.twins.clear();
                plan.permanent.clear();
                plan.nodes.crash_ms = 800;
                plan.nodes.tear = Tear::Cut;
                plan.bad_heights = 40;
            }
        }
        plan
    }

    /// Every set of powers that the agenda leads to.
    fn stages(&self) -> impl Iterator<Item = Vec<u64>> + '_ {
        (0..=self.agenda.len()).map(|applied| crate::ledger::powers(&self.powers, &self.agenda, applied))
    }

    /// Whether less than a third of the power is wrong in each stage.
    fn bearable(&self, wrong: &BTreeSet<usize>) -> bool {
        self.stages().all(|powers| {
            let total: u64 = powers.iter().sum();
            let bad: u64 = powers.iter().enumerate().filter(|(index, _)| wrong.contains(index)).map(|(_, p)| *p).sum();
            3 * bad < total
        })
    }

    fn draw_agenda(&mut self, rng: &mut impl Rng) {
        let joiners = rng.random_range(0..=2usize).min(VALIDATORS_MAX - self.powers.len());
        self.powers.resize(self.powers.len() + joiners, 0);
        for _ in 0..rng.random_range(1..=4) {
            let validator = rng.random_range(0..self.powers.len());
            let power = if rng.random_bool(0.3) { 0 } else { rng.random_range(1..=10) };
            self.agenda.push(Change { validator, power });
            if self.stages().any(|powers| powers.iter().sum::<u64>() == 0) {
                self.agenda.pop();
            }
        }
    }

    fn draw_wrong(&mut self, rng: &mut impl Rng) {
        let count = rng.random_range(0..=WRONG_MAX);
        let mut wrong = BTreeSet::new();
        for index in index::sample(rng, self.powers.len(), count.min(self.powers.len())) {
            wrong.insert(index);
            if !self.bearable(&wrong) {
                wrong.remove(&index);
                continue;
            }
            match rng.random_range(0..4u8) {
                0 => self.permanent.push((index, Permanent::Mute)),
                1 => self.permanent.push((index, Permanent::Deaf)),
                2 => self.permanent.push((index, Permanent::Gone)),
                _ => {
                    self.twins.insert(index);
                }
            }
        }
    }

    /// Validators that are wrong for ever.
    #[must_use]
    pub fn wrong(&self) -> BTreeSet<usize> {
        self.twins.iter().copied().chain(self.permanent.iter().map(|(index, _)| *index)).collect()
    }
}

fn draw_network(rng: &mut impl Rng) -> NetworkFaults {
    NetworkFaults {
        delay_us: rng.random_range(100..=80_000),
        jitter_us: if rng.random_bool(0.5) { rng.random_range(0..=400_000) } else { 2_000 },
        loss: if rng.random_bool(0.4) { rng.random_range(0..=250_000) } else { 0 },
        duplication: if rng.random_bool(0.3) { rng.random_range(0..=200_000) } else { 0 },
        cuts: rng.random_bool(0.4),
        partitions: rng.random_bool(0.4),
        shuffled_parts: rng.random_bool(0.2),
    }
}

fn draw_nodes(rng: &mut impl Rng) -> NodeFaults {
    let tear = if rng.random_bool(0.2) { Tear::Zeros } else { Tear::Cut };
    NodeFaults {
        crash_ms: if rng.random_bool(0.5) { rng.random_range(1_000..=8_000) } else { 0 },
        tear,
        skew_ms: if rng.random_bool(0.3) { rng.random_range(0..=12_000) } else { 0 },
        slow_us: if rng.random_bool(0.2) { rng.random_range(0..=30_000) } else { 0 },
    }
}
