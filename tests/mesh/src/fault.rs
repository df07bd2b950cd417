//! Classes of faults, and how one of each is set and lifted.

use crate::{
    bpf::{Direction, Fault},
    impair::{Random, Rule},
    process::Hogs,
    realtime::now_ns,
    systems::Running,
    topology::{A, Shape, Topology},
};
use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use std::{thread::sleep, time::Duration};

/// A kind of fault, always of the path that carries the traffic at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Both directions lose everything, silently.
    BlackHole,
    /// One direction loses everything; the two take turns.
    OneWay,
    /// The far end's device goes down; the near one has no carrier.
    Carrier,
    /// A route to nowhere shadows the peer's underlay address.
    Route,
    /// Only small packets still pass: what a broken path MTU looks like.
    Gray,
    /// The path becomes slower than the stream: a queue fills, then packets are lost.
    Throttle,
    /// One packet of twenty is lost, by the seed.
    Loss,
    /// The relay that carries the traffic dies.
    RelayKill,
    /// The relay that carries the traffic is stopped: its sockets stay, nothing answers.
    RelayStop,
    /// A black hole while four busy loops want the processors.
    Busy,
    /// A black hole on wires with 10 ms of delay each way.
    Far,
}

/// Packets up to this size, with their Ethernet header, pass under [`Class::Gray`]: heartbeats do, voice does not.
const GRAY_BYTES: u32 = 190;
/// Losses of [`Class::Loss`] in 1,000.
const LOSS_PER_MILLE: u16 = 50;
/// Rate of [`Class::Throttle`]: the stream's own is 1.7 Mbit/s with IP headers and Ethernet's.
const THROTTLE_KBIT_S: u32 = 1_000;
/// Busy loops of [`Class::Busy`].
const HOGS: usize = 4;
/// One-way delay of [`Class::Far`].
const FAR_US: u64 = 10_000;
/// How long traffic is watched to see which path carries it.
const WATCH: Duration = Duration::from_millis(120);

impl Class {
    /// All, in the order of the report.
    pub const ALL: [Self; 11] = [
        Self::BlackHole,
        Self::OneWay,
        Self::Carrier,
        Self::Route,
        Self::Gray,
        Self::Throttle,
        Self::RelayKill,
        Self::RelayStop,
        Self::Busy,
        Self::Far,
        Self::Loss,
    ];

    /// Its name on the command line and in figures.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BlackHole => "black-hole",
            Self::OneWay => "one-way",
            Self::Carrier => "carrier",
            Self::Route => "route",
            Self::Gray => "gray",
            Self::Throttle => "throttle",
            Self::Loss => "loss",
            Self::RelayKill => "relay-kill",
            Self::RelayStop => "relay-stop",
            Self::Busy => "busy",
            Self::Far => "far",
        }
    }

    /// What it is, for readers of the report.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::BlackHole => "the path in use silently loses everything, both directions at once",
            Self::OneWay => "the path in use silently loses one direction",
            Self::Carrier => "the far end of the path in use goes down; the near end has no carrier",
            Self::Route => "a route to nowhere hides the peer's address on the path in use",
            Self::Gray => "the path in use loses every packet above 190 bytes; heartbeats still pass",
            Self::Throttle => "the path in use carries 1 Mbit/s, less than the stream; 100 ms of queue before it",
            Self::Loss => "the path in use loses 5 % of its packets, for as long as the fault stays",
            Self::RelayKill => "the relay in use is killed (SIGKILL), two relays",
            Self::RelayStop => "the relay in use is stopped (SIGSTOP), two relays",
            Self::Busy => "black hole, with four busy loops on the machine's processors",
            Self::Far => "black hole, 10 ms of delay on each wire, each way",
        }
    }

    /// The lab that it needs.
    #[must_use]
    pub const fn shape(self) -> Shape {
        match self {
            Self::RelayKill | Self::RelayStop => Shape::relayed(2),
            Self::Far => Shape::direct(2).impaired(Rule { delay_us: FAR_US, jitter_us: 0, in_order: true }),
            _ => Shape::direct(2),
        }
    }

    /// What the whole campaign of this class runs beside.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn company(self) -> Result<Option<Hogs>> {
        if self == Self::Busy { Hogs::start(HOGS).map(Some) } else { Ok(None) }
    }
}

/// A fault that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set {
    /// The path that carried the traffic, from zero.
    pub path: usize,
    /// Just before it was set.
    pub before_ns: u64,
    /// Just after.
    pub after_ns: u64,
}

/// The path over which most bytes leave `a`, or `b`: a system may use another one for each direction.
///
/// # Errors
/// When the system's counters cannot be read.
pub fn path_in_use(lab: &Topology, from_b: bool) -> Result<usize> {
    let before = lab.carried(from_b)?;
    sleep(WATCH);
    let after = lab.carried(from_b)?;
    let carried = after.iter().zip(&before).map(|(after, before)| after.saturating_sub(*before));
    carried.enumerate().max_by_key(|(_, bytes)| *bytes).map(|(path, _)| path).context("a lab without paths")
}

impl Class {
    /// Sets the fault number `round` on the path in use.
    ///
    /// # Errors
    /// When it cannot be set.
    pub fn set(self, lab: &Topology, running: &mut Running, round: u64, random: &mut Random) -> Result<Set> {
        // Faults of one direction take turns, and hit the path that carries that direction.
        let side = if round.is_multiple_of(2) { Direction::ToRight } else { Direction::ToLeft };
        let path = path_in_use(lab, self == Self::OneWay && side == Direction::ToLeft)?;
        // The phase within the system's own intervals is anything, and the seed's.
        sleep(Duration::from_micros(random.up_to(40_000)));
        let seed = random.draw();
        let before_ns = now_ns();
        match self {
            Self::BlackHole | Self::Busy | Self::Far => lab.set(path, Direction::Both, Fault::BlackHole)?,
            Self::OneWay => lab.set(path, side, Fault::BlackHole)?,
            Self::Gray => lab.set(path, Direction::Both, Fault::LargerThan(GRAY_BYTES))?,
            Self::Loss => lab.set(path, Direction::Both, Fault::Loss { per_mille: LOSS_PER_MILLE, seed })?,
            Self::Throttle => lab.throttle(path, Some(THROTTLE_KBIT_S))?,
            Self::Carrier => lab.carrier(*lab.path(path).last().context("a path's wire")?, true, false)?,
            Self::Route => route(lab, path, "add")?,
            Self::RelayKill => relay(lab, running, path, libc::SIGKILL)?,
            Self::RelayStop => relay(lab, running, path, libc::SIGSTOP)?,
        }
        Ok(Set { path, before_ns, after_ns: now_ns() })
    }

    /// Lifts it.
    ///
    /// # Errors
    /// When it cannot be lifted.
    pub fn lift(self, lab: &Topology, running: &mut Running, set: Set) -> Result<()> {
        match self {
            Self::Carrier => lab.carrier(*lab.path(set.path).last().context("a path's wire")?, true, true),
            Self::Route => route(lab, set.path, "del"),
            Self::Throttle => lab.throttle(set.path, None),
            Self::RelayKill => running.restart(lab, 2 + set.path),
            Self::RelayStop => relay(lab, running, set.path, libc::SIGCONT),
            _ => lab.lift(set.path),
        }
    }
}

/// Adds or removes a route to nowhere for the peer's address on a path, at `a`.
fn route(lab: &Topology, path: usize, action: &str) -> Result<()> {
    let wire = lab.path(path).first().and_then(|wire| lab.wires.get(*wire)).context("a path's wire")?;
    lab.namespace(A).ip(&format!("route {action} blackhole {}/32", wire.right.address)).map(drop)
}

fn relay(lab: &Topology, running: &mut Running, path: usize, signal: libc::c_int) -> Result<()> {
    ensure!(lab.shape.relays, "there is no relay");
    let mut daemons = running.on(2 + path).peekable();
    ensure!(daemons.peek().is_some(), "the system has no process on the relay");
    daemons.try_for_each(|daemon| daemon.signal(signal))
}
