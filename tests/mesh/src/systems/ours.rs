//! Our own agents: `x0-agent` on each node of the topology, all of them peers, told by files instead of a chain.

use super::{A, B, Launch, OURS, Patience, Running, System};
use crate::{
    fault::Class,
    process,
    topology::{End, Topology},
};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::{
    fmt::Write as _,
    net::Ipv6Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

pub struct Ours;

const PORT: u16 = 7_801;
/// Of keystores that live as long as a lab.
const PASSWORD: &str = "only for this lab\n";
/// Who would register the agents if there were a chain.
const CONTROLLER: &str = "0x0707070707070707070707070707070707070707070707070707070707070707";
/// The chain that there is not.
const GENESIS: &str = "0x0909090909090909090909090909090909090909090909090909090909090909";

impl System for Ours {
    fn name(&self) -> &'static str {
        OURS
    }

    fn about(&self) -> &'static str {
        "x0-agent on each node, peers from its file instead of the chain, everything else as it comes; post-quantum \
         handshakes, AES-256-GCM, filter in the kernel"
    }

    fn version(&self) -> Result<String> {
        let said = process::version(&program()?, &["--version"], "x0-agent")?;
        let number = said.split_whitespace().last().unwrap_or_default().to_owned();
        Ok(number + if cfg!(debug_assertions) { " (development build)" } else { "" })
    }

    fn meets(&self, _class: Class) -> bool {
        true
    }

    fn patience(&self) -> Patience {
        Patience {
            warm_up: Duration::from_secs(3),
            hold: Duration::from_millis(800),
            settle: Duration::from_millis(3_000),
        }
    }

    fn start(&self, lab: &Topology, folder: &Path) -> Result<Running> {
        let program = program()?;
        let mut homes = Vec::new();
        for node in 0..lab.nodes.len() {
            homes.push(Home::make(lab, node, folder, &program)?);
        }
        let mut running = Running::new(Ipv6Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED, folder);
        // Relays first, so that the ends' first handshakes find somebody.
        for node in (0..lab.nodes.len()).rev() {
            let file = homes[node].configure(lab, node, &homes)?;
            let name = format!("x0-{}", lab.nodes[node].name);
            let arguments = ["up".into(), "--config".into(), file.into_os_string()];
            let daemon = running.launch(lab, Launch::new(node, &name, program.clone(), arguments))?;
            let log = folder.join(format!("{name}.log"));
            let mut address = None;
            daemon.until("its READY line", || {
                address = ready(&std::fs::read_to_string(&log)?)?;
                Ok(address.is_some())
            })?;
            let address = address.context("an address")?;
            let namespace = lab.namespace(node).clone();
            daemon.until("its device", || {
                // A tentative address cannot be bound yet.
                Ok(namespace.ip("-6 -o address show -tentative")?.contains(&address.to_string()))
            })?;
            match node {
                A => running.a = address.into(),
                B => running.b = address.into(),
                _ => {}
            }
        }
        Ok(running)
    }
}

/// The overlay address that a READY line says.
fn ready(log: &str) -> Result<Option<Ipv6Addr>> {
    let Some(line) = log.lines().find_map(|line| line.strip_prefix("READY ")) else { return Ok(None) };
    let said: Value = serde_json::from_str(line).context("the READY line")?;
    let address = said["mesh"]["address"].as_str().context("a mesh address in the READY line")?;
    Ok(Some(address.parse()?))
}

/// The agent beside this program, or beside the program of which this is a test.
fn program() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folders = own.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join("x0-agent")).find(|path| path.is_file());
    found.context("x0-agent is not built (cargo build -p x0-agent)")
}

/// The files of one agent.
#[derive(Debug)]
struct Home {
    folder: PathBuf,
    /// Its account, and its public key in hexadecimal, as `x0-agent init` gives them.
    account: String,
    key: String,
}

impl Home {
    fn make(lab: &Topology, node: usize, folder: &Path, program: &Path) -> Result<Self> {
        let folder = folder.join(format!("x0-{}", lab.nodes[node].name));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("password"), PASSWORD)?;
        let mut home = Self { folder, account: String::new(), key: String::new() };
        let file = home.configure(lab, node, &[])?;
        let mut command = Command::new(program);
        command.arg("init").arg("--config").arg(&file).args(["--controller", CONTROLLER]);
        let output = command.stdin(Stdio::null()).output().context("x0-agent init")?;
        ensure!(output.status.success(), "x0-agent init: {}", String::from_utf8_lossy(&output.stderr).trim());
        let proof: Value = serde_json::from_slice(&std::fs::read(home.folder.join("proof.json"))?)?;
        home.account = proof["subject"].as_str().context("a subject in the proof")?.to_owned();
        home.key = proof["public"].as_str().context("a key in the proof")?.to_owned();
        Ok(home)
    }

    /// Writes the configuration: each device of the node is an underlay, everybody else a peer.
    fn configure(&self, lab: &Topology, node: usize, homes: &[Self]) -> Result<PathBuf> {
        let ends = ends(lab, node);
        let mut text = format!(
            "[identity]\nkeystore = \"agent.json\"\npassword_file = \"password\"\n\
             [chain]\noffline = true\ngenesis = \"{GENESIS}\"\n\
             [mesh]\nname = \"lab\"\n"
        );
        for (own, _) in &ends {
            write!(
                text,
                "[[mesh.underlay]]\nname = \"{0}\"\ninterface = \"{0}\"\naddress = \"{1}\"\nport = {PORT}\n",
                own.device, own.address
            )?;
        }
        for (other, home) in homes.iter().enumerate().filter(|(other, _)| *other != node) {
            let near = ends.iter().filter(|(_, far)| far.node == other);
            let endpoints: Vec<String> = near
                .map(|(own, far)| format!("{{ address = \"{}:{PORT}\", underlay = \"{}\" }}", far.address, own.device))
                .collect();
            write!(
                text,
                "[[mesh.peer]]\naccount = \"{}\"\nkey = \"{}\"\nendpoints = [{}]\n",
                home.account,
                home.key,
                endpoints.join(", ")
            )?;
        }
        let file = self.folder.join("agent.toml");
        std::fs::write(&file, text)?;
        Ok(file)
    }
}

/// The wires of a node: its own end and the other one.
fn ends(lab: &Topology, node: usize) -> Vec<(&End, &End)> {
    let both = lab.wires.iter().flat_map(|wire| [(&wire.left, &wire.right), (&wire.right, &wire.left)]);
    both.filter(|(own, _)| own.node == node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_the_address() {
        assert_eq!(ready("starting\n").unwrap(), None);
        let log = "starting\nREADY {\"mesh\":{\"address\":\"fd01::5\"}}\n";
        assert_eq!(ready(log).unwrap(), Some("fd01::5".parse().unwrap()));
        assert!(ready("READY {}\n").is_err());
    }
}
