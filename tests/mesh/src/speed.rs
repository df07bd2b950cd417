//! One TCP stream through a system: bits per second, processor time, memory.

use crate::{
    probe::Transport,
    process::{self, Daemon, die_with_parent, find},
    systems::System,
    topology::{A, B, Shape, Topology},
};
use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    process::{Command, Stdio},
    thread::sleep,
};

/// One run of `iperf3`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speed {
    /// What arrived, Mbit/s.
    pub mbit_s: u64,
    /// TCP segments that were sent again.
    pub retransmits: u64,
    /// Processor time of all daemons, percent of one core.
    pub processor_percent: u64,
    /// Resident memory of the largest daemon after the run, KiB.
    pub resident_kib: u64,
    /// Load average of the last minute, in hundredths.
    pub load_centi: u64,
}

/// Measures a system on two plain wires for so many seconds.
///
/// # Errors
/// When the system does not come up, or `iperf3` is not there or fails.
pub fn run(system: &dyn System, shape: Shape, seconds: u64) -> Result<Speed> {
    let what = || format!("{}, speed", system.name());
    let iperf = find("iperf3").context("iperf3 is not installed (scripts/setup rivals)")?;
    let folder = process::folder()?;
    let lab = Topology::build(shape)?;
    let running = system.start(&lab, folder.path()).with_context(what)?;
    let multipath = running.transport == Transport::Mptcp;
    let command = || {
        let mut command = Command::new(if multipath { "mptcpize".into() } else { iperf.clone() });
        if multipath {
            command.arg("run").arg(&iperf);
        }
        command
    };
    crate::probe::Prober::start(&running.ends(&lab), 1).and_then(crate::probe::Prober::finish).with_context(what)?;
    sleep(system.patience().warm_up);

    let mut server = command();
    server.args(["--server", "--one-off", "--bind", &running.b.to_string()]);
    let mut server = Daemon::start(lab.namespace(B), "iperf3", folder.path(), &mut server)?;
    let namespace = lab.namespace(B).clone();
    server.until("iperf3 listens", || Ok(namespace.command("ss", "-Htln")?.contains(":5201")))?;

    let before = running.costs()?.0;
    let mut client = command();
    client.args(["--client", &running.b.to_string(), "--bind", &running.a.to_string()]);
    client.args(["--time", &seconds.to_string(), "--json"]).stdin(Stdio::null());
    lab.namespace(A).enter(&mut client);
    die_with_parent(&mut client);
    let output = client.output().context("iperf3")?;
    let (after, resident_kib) = running.costs()?;
    let answer: Value = serde_json::from_slice(&output.stdout).context("iperf3's JSON")?;
    ensure!(output.status.success(), "{}: iperf3: {}", system.name(), answer["error"]);
    let bits = answer["end"]["sum_received"]["bits_per_second"].as_f64().context("iperf3's result")?;
    Ok(Speed {
        mbit_s: format!("{:.0}", bits / 1e6).parse()?,
        retransmits: answer["end"]["sum_sent"]["retransmits"].as_u64().unwrap_or(0),
        processor_percent: (after - before) / (seconds.max(1) * 10_000),
        resident_kib,
        load_centi: crate::campaign::load_centi()?,
    })
}
