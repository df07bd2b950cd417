//! Yggdrasil of Debian: two TCP peerings between the ends, or one with each relay.

use super::{A, B, Launch, Patience, Running, System, debian};
use crate::{
    fault::Class,
    process::{Daemon, find},
    topology::Topology,
};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

pub struct Yggdrasil;

const PORT: u16 = 9_001;

impl System for Yggdrasil {
    fn name(&self) -> &'static str {
        "Yggdrasil"
    }

    fn about(&self) -> &'static str {
        "one TCP peering over each path, priorities 0 and 1, multicast off, its own MTU of 65,535; the 0.5 series is not \
         packaged here: its sources say 3 s instead of 6 s"
    }

    fn version(&self) -> Result<String> {
        debian("yggdrasil", "yggdrasil")
    }

    fn meets(&self, _class: Class) -> bool {
        true
    }

    fn patience(&self) -> Patience {
        Patience { warm_up: Duration::from_secs(6), hold: Duration::from_secs(9), settle: Duration::from_secs(8) }
    }

    fn start(&self, lab: &Topology, folder: &Path) -> Result<Running> {
        let program = find("yggdrasil").context("yggdrasil is not installed")?;
        let mut configurations = Vec::new();
        for node in 0..lab.nodes.len() {
            configurations.push(configure(lab, node, &program, folder)?);
        }
        let address = |node: usize| -> Result<IpAddr> {
            let file = configurations.get(node).context("a configured node")?;
            let output = Command::new(&program).arg("-useconffile").arg(file).arg("-address").output()?;
            Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
        };
        let mut running = Running::new(address(A)?, address(B)?, folder);
        // Those who are called are there first, because a call that fails is made again only after a minute: relays call
        // nobody, and `b` calls `a` where there are none.
        let mut order: Vec<usize> = (0..lab.nodes.len()).filter(|node| ![A, B].contains(node)).collect();
        order.extend([A, B]);
        for node in order {
            let name = format!("yggdrasil-{}", lab.nodes[node].name);
            let file = configurations[node].clone().into_os_string();
            let launch = Launch::new(node, &name, program.clone(), ["-useconffile".into(), file]);
            let daemon = running.launch(lab, launch)?;
            has_address(lab, node, daemon)?;
        }
        Ok(running)
    }
}

fn has_address(lab: &Topology, node: usize, daemon: &mut Daemon) -> Result<()> {
    let namespace = lab.namespace(node).clone();
    daemon.until("its device", || {
        // A tentative address cannot be bound yet; the device comes when the program makes it.
        let shown = namespace.ip("-6 -o address show dev ygg0 scope global -tentative");
        Ok(shown.is_ok_and(|shown| !shown.trim().is_empty()))
    })
}

/// Addresses at which a node is called, and addresses that it calls, with the number of the path.
fn peerings(lab: &Topology, node: usize) -> (Vec<Ipv4Addr>, Vec<(usize, Ipv4Addr)>) {
    let (mut listen, mut call) = (Vec::new(), Vec::new());
    for path in 0..lab.shape.paths {
        for wire in lab.path(path).into_iter().filter_map(|wire| lab.wires.get(wire)) {
            // The relay is called from both sides; without relays, `a` is called.
            let (called, caller) = if lab.shape.relays && wire.right.node != B {
                (&wire.right, &wire.left)
            } else {
                (&wire.left, &wire.right)
            };
            if called.node == node {
                listen.push(called.address);
            }
            if caller.node == node {
                call.push((path, called.address));
            }
        }
    }
    (listen, call)
}

fn configure(lab: &Topology, node: usize, program: &Path, folder: &Path) -> Result<PathBuf> {
    let output = Command::new(program).args(["-genconf", "-json"]).output()?;
    ensure!(output.status.success(), "yggdrasil -genconf: {}", String::from_utf8_lossy(&output.stderr));
    let mut configuration: Value = serde_json::from_slice(&output.stdout).context("yggdrasil's configuration")?;
    let (listen, call) = peerings(lab, node);
    let name = &lab.nodes[node].name;
    let changes = json!({
        "MulticastInterfaces": [],
        "AdminListen": format!("unix://{}", folder.join(format!("yggdrasil-{name}.sock")).display()),
        "IfName": "ygg0",
        "Listen": listen.iter().map(|address| format!("tcp://{address}:{PORT}")).collect::<Vec<_>>(),
        "Peers": call.iter().map(|(path, address)| format!("tcp://{address}:{PORT}?priority={path}")).collect::<Vec<_>>(),
    });
    if let (Some(whole), Value::Object(changes)) = (configuration.as_object_mut(), changes) {
        whole.extend(changes);
    }
    let file = folder.join(format!("yggdrasil-{name}.conf"));
    std::fs::write(&file, serde_json::to_vec_pretty(&configuration)?)?;
    Ok(file)
}
