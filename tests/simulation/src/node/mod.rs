//! One node: the engine's pure core, and around it what the real node has around it.
//!
//! ```text
//!   frame -> edge.rs   bounds, signatures, sets by height     (as x0_consensus::net)
//!         -> engine    malachite_core_consensus::process!     (the real one)
//!         -> effects.rs sign, log, publish, timers            (as the engine's actor)
//!         -> host.rs   build, judge, store, commit, pace      (as x0_consensus::host, on its pure parts)
//!         -> sync.rs   ask for decided blocks                 (a model)
//! ```
//! A crash can happen between any two effects, and between any two steps of the host.

mod edge;
mod effects;
mod host;
mod sync;

use crate::{
    disk::{Disk, MemoryFile},
    event::{Env, Out, Stop, Task},
    plan::Sabotage,
};
use bytes::{BufMut, BytesMut};
use malachite_core_consensus::{Error as CoreError, Input, Params, State, process};
use malachite_core_types::{Round, ThresholdParam, ThresholdParams, Timeout, ValuePayload, VoteExtensionPolicy};
use malachite_engine::wal::decode_entry;
use malachite_wal::{Storage as _, log::Log};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    io::{self, Cursor, Read as _, Seek as _, SeekFrom},
    time::Instant,
};
use x0_consensus::{
    LinearTimeouts, Pacing,
    candidates::{Candidates, Known},
    context::{Address, ChainContext, Height, ValidatorSet, proposer},
    exchange::Exchange,
    pacing::{Decision, Pacer},
    parts::{Assembled, Assembler},
    turns,
    wire::ChainCodec,
};
use x0_limits::{FUTURE_HEIGHTS_MAX, WITNESS_HEIGHTS_KEPT};
use x0_network::Channel;

/// Future heights for which the engine queues messages, and messages for each (as the node configures it).
const QUEUE_HEIGHTS: usize = 10;
const QUEUE_PER_HEIGHT: usize = 2_000;
const TAG_WAKE: u8 = 1;
/// Bytes of the log's header, and before an entry's data.
const LOG_HEADER_BYTES: u64 = 12;
const LOG_ENTRY_HEAD_BYTES: u64 = 13;

/// Where the engine is, as its actor sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Recovering,
    Running,
}

/// What a crash wipes out, besides the engine's state.
struct Volatile {
    phase: Phase,
    is_validator: bool,
    /// Running timers with their generations.
    timers: BTreeMap<(u8, u32), u64>,
    generation: u64,
    wal: Option<Log<MemoryFile>>,
    book: BTreeMap<u64, ValidatorSet>,
    /// Sets of the last final heights, for what is said of them late.
    past: BTreeMap<u64, ValidatorSet>,
    assembler: Assembler,
    candidates: Candidates,
    pacer: Pacer,
    round: (u64, u32),
    /// Blocks that are being executed.
    judging: usize,
    /// Blocks that wait for the one before.
    early: Vec<Assembled>,
    /// A decided height that waits for its commit and for the next height to be due.
    awaiting: Option<(u64, Option<Instant>)>,
    pace_at: Option<Instant>,
    streams: u32,
    exchange: Exchange,
    sync: sync::Sync,
}

impl Volatile {
    fn new() -> Self {
        Self {
            phase: Phase::Running,
            is_validator: false,
            timers: BTreeMap::new(),
            generation: 0,
            wal: None,
            book: BTreeMap::new(),
            past: BTreeMap::new(),
            assembler: Assembler::default(),
            candidates: Candidates::default(),
            pacer: Pacer::new(Pacing::default()),
            round: (0, 0),
            judging: 0,
            early: Vec::new(),
            awaiting: None,
            pace_at: None,
            streams: 0,
            exchange: Exchange::default(),
            sync: sync::Sync::default(),
        }
    }
}

/// A node without the engine's state, so that both can be borrowed at once.
pub(crate) struct Node {
    pub(crate) id: usize,
    pub(crate) identity: usize,
    pub(crate) address: Address,
    /// Whether it is a copy of a validator that runs twice, without a guard.
    pub(crate) twin: bool,
    pub(crate) epoch: u32,
    pub(crate) running: bool,
    pub(crate) skew_ms: i64,
    pub(crate) slow_us: u64,
    pub(crate) busy_until_us: u64,
    /// Steps to the next crash.
    pub(crate) crash_in: Option<u32>,
    pub(crate) timeouts: LinearTimeouts,
    pub(crate) disk: Disk,
    volatile: Volatile,
}

/// A node with its engine.
pub(crate) struct Proc {
    state: Option<State<ChainContext>>,
    pub(crate) node: Node,
}

/// A key for a timer of the engine.
pub(crate) fn timer_key(timeout: &Timeout) -> (u8, u32) {
    use malachite_core_types::TimeoutKind as Kind;
    let kind = match timeout.kind {
        Kind::Propose => 0,
        Kind::Prevote => 1,
        Kind::Precommit => 2,
        Kind::Rebroadcast => 3,
        Kind::FinalizeHeight(_) => 4,
    };
    (kind, timeout.round.as_u32().unwrap_or(u32::MAX))
}

impl Node {
    /// Passes a place where a crash may happen.
    fn step(&mut self) -> Result<(), Stop> {
        match &mut self.crash_in {
            None => Ok(()),
            Some(0) => Err(Stop::Crash),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    /// This node's clock, milliseconds since the Unix epoch.
    fn clock_ms(&self, env: &Env) -> u64 {
        (crate::ledger::EPOCH_MS + env.now_us / 1_000).saturating_add_signed(self.skew_ms)
    }

    /// Reads the sets that the head knows, the next one with its turns, and forgets decided heights.
    fn refresh_book(&mut self, env: &mut Env) -> Result<(), Stop> {
        let head = self.disk.chain.height();
        for height in head + 1..=head + FUTURE_HEIGHTS_MAX {
            let mut set =
                env.set(self.disk.chain.set_index(height)).map_err(|error| Stop::Engine(error.to_string()))?;
            if height == head + 1 {
                let voters = set.for_certificates();
                let controllers: Vec<_> = voters.iter().map(|validator| validator.public.fingerprint()).collect();
                let authors = self.disk.chain.authors(turns::window(controllers.len()));
                set = set.with_benched(&turns::benched(height, &controllers, &authors));
            }
            self.volatile.book.insert(height, set);
        }
        let ahead = self.volatile.book.split_off(&(head + 1));
        let settled = std::mem::replace(&mut self.volatile.book, ahead);
        self.volatile.past.extend(settled);
        self.volatile.past.retain(|height, _| *height > head.saturating_sub(WITNESS_HEIGHTS_KEPT));
        Ok(())
    }

    /// Whether this validator may propose in this round, as far as this node can tell.
    fn may_propose(&self, height: u64, round: Round, address: &Address) -> bool {
        let Some(set) = self.volatile.book.get(&height) else { return false };
        if self.disk.chain.height() + 1 == height {
            address_of(set, Height(height), round) == *address
        } else {
            set.contains(address)
        }
    }

    /// The log's entries when it is at this height; otherwise it begins anew.
    fn wal_started(&mut self, height: u64) -> Result<Vec<io::Result<Input<ChainContext>>>, Stop> {
        let failed = |error: io::Error| Stop::Engine(format!("write-ahead log: {error}"));
        let is_validator = self.volatile.is_validator;
        let Some(log) = self.volatile.wal.as_mut() else { return Ok(Vec::new()) };
        if !is_validator || log.sequence() != height {
            log.reset(height).map_err(failed)?;
            return Ok(Vec::new());
        }
        let mut entries = Vec::new();
        if log.is_empty() {
            return Ok(entries);
        }
        let mut broken = false;
        for entry in log.iter().map_err(failed)? {
            broken = entry.is_err();
            entries.push(entry.and_then(|bytes| decode_entry(&ChainCodec, Cursor::new(&bytes))));
            if broken {
                break;
            }
        }
        if broken {
            // As the engine's log thread does: cut there, and let the engine stop.
            log.truncate(u64::try_from(entries.len() - 1).unwrap_or(u64::MAX)).map_err(failed)?;
        }
        Ok(entries)
    }
}

impl Proc {
    pub(crate) fn new(id: usize, identity: usize, twin: bool, env: &Env) -> Self {
        let node = Node {
            id,
            identity,
            address: env.keys.address(identity),
            twin,
            epoch: 0,
            running: false,
            skew_ms: 0,
            slow_us: 0,
            busy_until_us: 0,
            crash_in: None,
            timeouts: x0_consensus::EngineConfig::new(std::path::PathBuf::new(), String::new()).timeouts,
            disk: Disk::default(),
            volatile: Volatile::new(),
        };
        Self { state: None, node }
    }

    /// Height and round of the engine.
    pub(crate) fn position(&self) -> (u64, i64) {
        self.state.as_ref().map_or((0, -1), |state| (state.height().0, state.round().as_i64()))
    }

    /// Lets everything go that is only in memory.
    pub(crate) fn stop(&mut self) {
        self.state = None;
        self.node.volatile = Volatile::new();
        self.node.running = false;
        self.node.crash_in = None;
        self.node.epoch += 1;
    }

    /// Starts with what the disk holds.
    pub(crate) fn boot(&mut self, env: &mut Env) -> Result<(), Stop> {
        let node = &mut self.node;
        node.running = true;
        if !node.twin {
            env.oracle.restarted(node.id, node.disk.chain.ids());
        }
        let mut file = node.disk.wal.clone();
        mend(&mut file).map_err(|error| Stop::Halt(format!("write-ahead log: {error}")))?;
        let log = Log::open_with("", file);
        node.volatile.wal = Some(log.map_err(|error| Stop::Halt(format!("write-ahead log: {error}")))?);
        node.refresh_book(env)?;
        let height = node.disk.chain.height() + 1;
        let set = node.volatile.book.get(&height).cloned();
        let known = node.disk.undecided.get(&height).into_iter().flatten().filter_map(|stored| {
            let round = Round::new(stored.round);
            let by_turn = || set.as_ref().map(|set| address_of(set, Height(height), round));
            let proposer = stored.opening.as_ref().map(|signed| signed.opening.proposer).or_else(by_turn)?;
            Some(Known { round: stored.round, proposer, block: stored.block, valid: stored.valid })
        });
        node.volatile.candidates.load(height, known.collect());
        env.out.push(Out::Task(Task::Status, 1_000));
        self.start_height(env, height)
    }

    fn start_height(&mut self, env: &mut Env, height: u64) -> Result<(), Stop> {
        let node = &mut self.node;
        let Some(set) = node.volatile.book.get(&height).cloned() else {
            return Err(Stop::Engine(format!("no validator set for height {height}")));
        };
        if self.state.is_none() {
            let params = Params {
                address: node.address,
                threshold_params: thresholds(env.plan.sabotage),
                value_payload: ValuePayload::ProposalAndParts,
                enabled: true,
            };
            let at = Height(height);
            let state = State::new(ChainContext, at, set.clone(), params, QUEUE_HEIGHTS, QUEUE_PER_HEIGHT);
            self.state = Some(state);
        }
        node.volatile.is_validator = set.contains(&node.address);
        let entries = node.wal_started(height)?;
        let start = Input::StartHeight(Height(height), set, false, None, VoteExtensionPolicy::Disabled);
        self.process(env, start)?;
        if !entries.is_empty() {
            self.replay(env, entries)?;
        }
        self.sync_started(env, height);
        Ok(())
    }

    fn replay(&mut self, env: &mut Env, entries: Vec<io::Result<Input<ChainContext>>>) -> Result<(), Stop> {
        env.say(|| format!("node {} replays {} entries", self.node.id, entries.len()));
        self.node.volatile.phase = Phase::Recovering;
        if let Some(state) = self.state.as_mut() {
            state.index_wal_entries(entries.iter().flatten());
        }
        for entry in entries {
            let entry = entry.map_err(|error| Stop::Halt(format!("{CORRUPT_LOG}: {error}")))?;
            self.process(env, entry)?;
        }
        if let Some(state) = self.state.as_mut() {
            state.reset_entries_index();
        }
        self.node.volatile.phase = Phase::Running;
        Ok(())
    }

    /// Gives the engine an input and carries out what it asks for.
    fn process(&mut self, env: &mut Env, input: Input<ChainContext>) -> Result<(), Stop> {
        let Some(state) = self.state.as_mut() else { return Ok(()) };
        let node = &mut self.node;
        let metrics = env.metrics.clone();
        let result: Result<(), CoreError<ChainContext>> = process!(
            input: input,
            state: state,
            metrics: &metrics,
            with: effect => match node.effect(env, effect) {
                Ok(resume) => Ok::<_, Infallible>(resume),
                Err(stop) => return Err(stop),
            }
        );
        result.map_err(|error| Stop::Engine(error.to_string()))
    }

    /// A timer of the engine runs out.
    pub(crate) fn timer(&mut self, env: &mut Env, timeout: Timeout, generation: u64) -> Result<(), Stop> {
        let key = timer_key(&timeout);
        if self.node.volatile.timers.get(&key) != Some(&generation) {
            return Ok(());
        }
        self.node.volatile.timers.remove(&key);
        self.process(env, Input::TimeoutElapsed(timeout))?;
        self.pace(env)
    }

    /// Does what was put off.
    pub(crate) fn task(&mut self, env: &mut Env, task: Task) -> Result<(), Stop> {
        match task {
            Task::Mail(input) => self.process(env, *input)?,
            Task::Build { height, round } => self.build(env, height, round)?,
            Task::Restream { height, block } => self.node.restream(env, height, block)?,
            Task::Judge(block) => self.judge(env, *block)?,
            Task::Synced(value) => self.judge_synced(env, *value)?,
            Task::Commit(certificate) => self.commit(env, &certificate)?,
            Task::Pace => self.node.volatile.pace_at = None,
            Task::Status => self.status(env),
            Task::Impatience(number) => self.impatience(env, number),
        }
        self.pace(env)
    }

    /// Starts the next height when it is due, by the rules of the node's pacer.
    fn pace(&mut self, env: &mut Env) -> Result<(), Stop> {
        let (now, busy) = (env.now(), env.plan.busy);
        let node = &mut self.node;
        let volatile = &mut node.volatile;
        let Some((height, since)) = &mut volatile.awaiting else { return Ok(()) };
        if node.disk.chain.height() < *height {
            return Ok(());
        }
        let (next, since) = (*height + 1, *since.get_or_insert(now));
        match volatile.pacer.decide(next, since, now, || busy) {
            Decision::Start(reason) => {
                volatile.pacer.started(now, reason);
                volatile.awaiting = None;
                volatile.pace_at = None;
                let mut wake = BytesMut::with_capacity(9);
                wake.put_u8(TAG_WAKE);
                wake.put_u64(next);
                env.out.push(Out::Broadcast(Channel::Status, wake.freeze()));
                self.start_height(env, next)
            }
            Decision::Gather(until) | Decision::Wait(Some(until)) => {
                if volatile.pace_at != Some(until) {
                    volatile.pace_at = Some(until);
                    env.out.push(Out::Task(Task::Pace, env.until(until)));
                }
                Ok(())
            }
            Decision::Wait(None) => Ok(()),
        }
    }
}

/// Cuts empty entries off a log, as the node does before the engine opens it.
fn mend(log: &mut MemoryFile) -> io::Result<()> {
    let length = log.size_bytes()?;
    if length > 0 {
        let sound = sound_length(log)?;
        if sound < length {
            log.truncate_to(sound)?;
            log.sync_all()?;
        }
    }
    Ok(())
}

/// Where the first entry without data begins: zeros that a file system left, which the engine cannot read.
fn sound_length(log: &mut MemoryFile) -> io::Result<u64> {
    let end = log.seek(SeekFrom::End(0))?;
    let mut at = LOG_HEADER_BYTES;
    while end.saturating_sub(at) >= LOG_ENTRY_HEAD_BYTES {
        log.seek(SeekFrom::Start(at + 1))?;
        let mut length = [0; 8];
        log.read_exact(&mut length)?;
        match u64::from_be_bytes(length) {
            0 => return Ok(at),
            length => match (at + LOG_ENTRY_HEAD_BYTES).checked_add(length) {
                Some(next) if next <= end => at = next,
                _ => break,
            },
        }
    }
    Ok(end)
}

/// How a halt begins that a torn log explains.
pub(crate) const CORRUPT_LOG: &str = "corrupted entry in the write-ahead log";

fn address_of(set: &ValidatorSet, height: Height, round: Round) -> Address {
    use malachite_core_types::Validator as _;
    *proposer(set, height, round).address()
}

fn thresholds(sabotage: Sabotage) -> ThresholdParams {
    match sabotage {
        Sabotage::HalfQuorum => ThresholdParams { quorum: ThresholdParam::new(1, 2), ..ThresholdParams::default() },
        _ => ThresholdParams::default(),
    }
}
