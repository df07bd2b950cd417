//! The systems that the lab compares, each behind the same few functions.
//!
//! ```text
//!   System: name, about, version | Missing
//!      start(lab, folder) --> Running: addresses of a and b, what carries the stream, daemons per node
//! ```
//!
//! Every system is set up the way its own documentation says for its fastest reaction; what was set is in
//! [`System::about`] and stands in the report.

mod babel;
mod mptcp;
mod nebula;
mod ours;
mod plain;
mod wireguard;
mod yggdrasil;

use crate::{
    fault::Class,
    probe::{Ends, Transport},
    process::Daemon,
    topology::{A, B, Topology},
};
use anyhow::{Context as _, Result};
use std::{
    ffi::OsString,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// The name under which our own system stands in reports.
pub const OURS: &str = "x0tta6bl4";

/// How long a system needs for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From the first packet that passes to the state that is measured: all paths known.
    pub warm_up: Duration,
    /// How long a fault stays: longer than the system's slowest reaction.
    pub hold: Duration,
    /// From the end of a fault until both paths are in use or in reserve again.
    pub settle: Duration,
}

/// Something that carries packets from `a` to `b`.
pub trait System: Sync {
    /// Its name in reports.
    fn name(&self) -> &'static str;

    /// How it is set up, in one sentence.
    fn about(&self) -> &'static str;

    /// Its version, as it says itself or as the package that holds it does.
    ///
    /// # Errors
    /// Why it cannot be measured on this machine.
    fn version(&self) -> Result<String>;

    /// Whether faults of this class are tried on it: it has a second path to turn to, and the class fits it.
    fn meets(&self, class: Class) -> bool;

    /// How long it needs for what.
    fn patience(&self) -> Patience;

    /// Starts it.
    ///
    /// # Errors
    /// When a part of it does not come up; with the end of its log.
    fn start(&self, lab: &Topology, folder: &Path) -> Result<Running>;
}

/// All systems, ours first.
#[must_use]
pub fn all() -> Vec<Box<dyn System>> {
    vec![
        Box::new(ours::Ours),
        Box::new(plain::Plain),
        Box::new(babel::Babel),
        Box::new(mptcp::Mptcp),
        Box::new(yggdrasil::Yggdrasil),
        Box::new(nebula::Nebula),
        Box::new(wireguard::WireGuard::GotaTun),
        Box::new(wireguard::WireGuard::BoringTun),
        Box::new(wireguard::WireGuard::Go),
    ]
}

/// How a daemon is started, so that a killed one can be started again.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Number of its node.
    pub node: usize,
    /// Name of its log.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables beyond those of this process.
    pub environment: Vec<(&'static str, &'static str)>,
}

impl Launch {
    /// A program on a node.
    pub fn new<S: Into<OsString>>(
        node: usize,
        name: &str,
        program: PathBuf,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        Self {
            node,
            name: name.to_owned(),
            program,
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
        }
    }

    fn start(&self, lab: &Topology, folder: &Path) -> Result<Daemon> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(self.environment.iter().copied());
        Daemon::start(lab.namespace(self.node), &self.name, folder, &mut command)
    }
}

/// A system that runs; it ends when dropped.
#[derive(Debug)]
pub struct Running {
    /// Address of `a` under which the stream begins.
    pub a: IpAddr,
    /// Address of `b` where it ends.
    pub b: IpAddr,
    /// What carries the stream.
    pub transport: Transport,
    folder: PathBuf,
    daemons: Vec<(Launch, Daemon)>,
    leftovers: Vec<PathBuf>,
}

impl Running {
    /// A system without daemons yet, with a folder for their logs.
    #[must_use]
    pub fn new(a: impl Into<IpAddr>, b: impl Into<IpAddr>, folder: &Path) -> Self {
        Self {
            a: a.into(),
            b: b.into(),
            transport: Transport::Udp,
            folder: folder.to_owned(),
            daemons: Vec::new(),
            leftovers: Vec::new(),
        }
    }

    /// Starts a daemon.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch(&mut self, lab: &Topology, launch: Launch) -> Result<&mut Daemon> {
        let daemon = launch.start(lab, &self.folder)?;
        self.daemons.push((launch, daemon));
        self.daemons.last_mut().map(|(_, daemon)| daemon).context("the daemon that was just started")
    }

    /// A file that the system leaves behind, to be removed with it.
    pub fn leaves(&mut self, path: PathBuf) {
        self.leftovers.push(path);
    }

    /// The ends of the measuring stream.
    #[must_use]
    pub fn ends(&self, lab: &Topology) -> Ends {
        Ends { a: (lab.namespace(A).clone(), self.a), b: (lab.namespace(B).clone(), self.b), transport: self.transport }
    }

    /// The daemons of a node.
    pub fn on(&mut self, node: usize) -> impl Iterator<Item = &mut Daemon> {
        self.daemons.iter_mut().filter(move |(launch, _)| launch.node == node).map(|(_, daemon)| daemon)
    }

    /// Starts the daemons of a node again after they were killed.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn restart(&mut self, lab: &Topology, node: usize) -> Result<()> {
        for (launch, daemon) in self.daemons.iter_mut().filter(|(launch, _)| launch.node == node) {
            daemon.kill();
            *daemon = launch.start(lab, &self.folder)?;
        }
        Ok(())
    }

    /// Fails when a daemon has ended by itself.
    ///
    /// # Errors
    /// With the end of its log.
    pub fn check(&mut self) -> Result<()> {
        self.daemons.iter_mut().try_for_each(|(_, daemon)| daemon.check())
    }

    /// Processor time of all daemons, microseconds, and the resident memory of the largest, KiB.
    ///
    /// # Errors
    /// When one is no more.
    pub fn costs(&self) -> Result<(u64, u64)> {
        let mut processor_us = 0;
        let mut resident_kib = 0;
        for (_, daemon) in &self.daemons {
            processor_us += daemon.processor_us()?;
            resident_kib = resident_kib.max(daemon.resident_kib()?);
        }
        Ok((processor_us, resident_kib))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for (_, daemon) in &mut self.daemons {
            daemon.kill();
        }
        for path in &self.leftovers {
            // A system that cleans up itself leaves nothing to remove.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The version of the Debian package that a system comes from.
///
/// # Errors
/// When it is not installed.
fn debian(package: &str, program: &str) -> Result<String> {
    crate::process::find(program)
        .with_context(|| format!("{program} is not installed (Debian package {package}; scripts/setup rivals)"))?;
    let output = Command::new("dpkg-query").args(["-W", "-f=${Version}", package]).output()?;
    Ok(format!("{} (Debian)", String::from_utf8_lossy(&output.stdout).trim()))
}

/// The address of a node's end of a path: of the wire that touches it.
fn underlay(lab: &Topology, node: usize, path: usize) -> Result<std::net::Ipv4Addr> {
    let wires = lab.path(path).into_iter().filter_map(|wire| lab.wires.get(wire));
    let mut ends = wires.flat_map(|wire| [&wire.left, &wire.right]).filter(|end| end.node == node);
    Ok(ends.next().with_context(|| format!("path {path} does not touch node {node}"))?.address)
}

/// The devices of a node.
fn devices(lab: &Topology, node: usize) -> Vec<String> {
    let ends = lab.wires.iter().flat_map(|wire| [&wire.left, &wire.right]);
    ends.filter(|end| end.node == node).map(|end| end.device.clone()).collect()
}
