//! What can happen next, and what all nodes of a run share.

use crate::{oracle::Oracle, plan::Plan, scheme::Keys};
use bytes::Bytes;
use malachite_core_consensus::Input;
use malachite_core_types::{CommitCertificate, Timeout, ValueResponse};
use malachite_metrics::Metrics;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use x0_consensus::{
    context::{BlockId, ChainContext, ValidatorSet, ValidatorSetError},
    parts::Assembled,
};
use x0_network::Channel;

/// How long building, executing and committing take where times are measured, microseconds.
const STUDY_STEP_US: u64 = 5_000;

/// Something that a node does later: an answer of its host, or a message to itself.
#[derive(Debug)]
pub(crate) enum Task {
    /// A message in the engine's mailbox.
    Mail(Box<Input<ChainContext>>),
    /// Build a block and propose it.
    Build { height: u64, round: u32 },
    /// Send the parts of a block again.
    Restream { height: u64, block: BlockId },
    /// Execute a proposed block.
    Judge(Box<Assembled>),
    /// Execute a decided block of another node.
    Synced(Box<ValueResponse<ChainContext>>),
    /// Commit a decided block.
    Commit(Box<CommitCertificate<ChainContext>>),
    /// Look whether the next height is due.
    Pace,
    /// Tell peers of the height, and look whether they are ahead.
    Status,
    /// A request for decided blocks has waited long enough.
    Impatience(u64),
}

impl Task {
    /// A letter for the event hash and the trace.
    pub(crate) const fn letter(&self) -> u8 {
        match self {
            Self::Mail(_) => b'm',
            Self::Build { .. } => b'b',
            Self::Restream { .. } => b'r',
            Self::Judge(_) => b'j',
            Self::Synced(_) => b's',
            Self::Commit(_) => b'c',
            Self::Pace => b'p',
            Self::Status => b't',
            Self::Impatience(_) => b'i',
        }
    }
}

/// Something that happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// A frame arrives.
    Frame { to: usize, from: usize, channel: Channel, bytes: Bytes, digest: u64 },
    /// A timer of the engine runs out.
    Timer { node: usize, epoch: u32, timeout: Timeout, generation: u64 },
    /// A node does what it had put off.
    Task { node: usize, epoch: u32, task: Task },
    /// A node will crash after so many more steps.
    Crash { node: usize, steps: u32 },
    /// A node starts.
    Start { node: usize },
    /// Draw the next crash.
    DrawCrash,
    /// Draw the next cut or partition.
    DrawCut,
    /// A one-way cut ends.
    Mend { from: usize, to: usize },
    /// A partition ends.
    Join,
}

/// What a node wants to happen.
#[derive(Debug)]
pub(crate) enum Out {
    /// A frame to every other validator.
    Broadcast(Channel, Bytes),
    /// A frame to one validator.
    Send(usize, Channel, Bytes),
    /// A timer of the engine.
    Timer(Timeout, u64, u64),
    /// Something later.
    Task(Task, u64),
}

/// Why a node stops in the middle of something.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The machine lost power.
    Crash,
    /// The node refuses to go on.
    Halt(String),
    /// The engine returned an error.
    Engine(String),
}

/// What all nodes of a run share.
pub(crate) struct Env {
    pub(crate) now_us: u64,
    /// A point in real time that stands for the beginning; only distances from it are used.
    zero: Instant,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) keys: Keys,
    pub(crate) plan: Plan,
    pub(crate) oracle: Oracle,
    pub(crate) metrics: Metrics,
    pub(crate) out: Vec<Out>,
    pub(crate) healed: bool,
    pub(crate) trace: bool,
    /// Time that the present event has cost the node's processor, nanoseconds.
    pub(crate) cost_ns: u64,
    sets: BTreeMap<usize, ValidatorSet>,
}

impl Env {
    pub(crate) fn new(plan: Plan, keys: Keys, oracle: Oracle, rng: ChaCha8Rng, trace: bool) -> Self {
        Self {
            now_us: 0,
            zero: Instant::now(),
            rng,
            keys,
            plan,
            oracle,
            metrics: Metrics::new(),
            out: Vec::new(),
            healed: false,
            trace,
            cost_ns: 0,
            sets: BTreeMap::new(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.zero + Duration::from_micros(self.now_us)
    }

    /// Microseconds from now to a moment.
    pub(crate) fn until(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.now()).as_micros()).unwrap_or(u64::MAX)
    }

    /// The validators after the first entries of the agenda.
    pub(crate) fn set(&mut self, applied: usize) -> Result<ValidatorSet, ValidatorSetError> {
        if let Some(set) = self.sets.get(&applied) {
            return Ok(set.clone());
        }
        let powers = crate::ledger::powers(&self.plan.powers, &self.plan.agenda, applied);
        let set = crate::ledger::set_of(&self.keys, &powers)?;
        self.sets.insert(applied, set.clone());
        Ok(set)
    }

    /// A signature was made, and its record waited for the disk.
    pub(crate) fn signed(&mut self) {
        self.cost_ns += self.plan.bandwidth.as_ref().map_or(0, |bandwidth| bandwidth.sign_ns + bandwidth.sync_ns);
    }

    /// The log waited for the disk.
    pub(crate) fn synced(&mut self) {
        self.cost_ns += self.plan.bandwidth.as_ref().map_or(0, |bandwidth| bandwidth.sync_ns);
    }

    /// How long something takes, microseconds: drawn, but fixed where times are measured.
    pub(crate) fn takes(&mut self, range: std::ops::RangeInclusive<u64>) -> u64 {
        if self.plan.bandwidth.is_some() { STUDY_STEP_US } else { self.rng.random_range(range) }
    }

    pub(crate) fn verified(&mut self, count: u64) {
        self.cost_ns += count * self.plan.bandwidth.as_ref().map_or(0, |bandwidth| bandwidth.verify_ns);
    }

    pub(crate) fn say(&self, line: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>12.3} ms  {}", Duration::from_micros(self.now_us).as_secs_f64() * 1e3, line());
        }
    }
}
