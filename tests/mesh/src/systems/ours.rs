//! Our own data plane: one node on each node of the topology, all of them peers.

use super::{A, B, Launch, OURS, Patience, Running, System};
use crate::{
    fault::Class,
    node::{self, NodeFile, PeerFile},
    topology::{End, Topology},
};
use anyhow::{Context as _, Result};
use std::{net::SocketAddr, path::Path, time::Duration};
use x0_crypto::{Seed, SigningKey};

pub struct Ours;

const PORT: u16 = 7_000;

impl System for Ours {
    fn name(&self) -> &'static str {
        OURS
    }

    fn about(&self) -> &'static str {
        "the agent's data plane on each node, peers from a file instead of the chain, everything else as it comes; \
         post-quantum handshakes, AES-256-GCM"
    }

    fn version(&self) -> Result<String> {
        Ok(env!("CARGO_PKG_VERSION").to_owned() + if cfg!(debug_assertions) { " (development build)" } else { "" })
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
        let mut keys = Vec::new();
        for _ in &lab.nodes {
            let seed = hex::encode(Seed::generate()?.expose());
            keys.push((node::key(&seed)?, seed));
        }
        let program = program()?;
        let mut running = Running::new(node::address(keys[A].0.public()), node::address(keys[B].0.public()), folder);
        // Relays first, so that the ends' first handshakes find somebody.
        for node in (0..lab.nodes.len()).rev() {
            let name = format!("x0-{}", lab.nodes[node].name);
            let file = folder.join(format!("{name}.json"));
            std::fs::write(&file, serde_json::to_vec(&configure(lab, node, &keys))?)?;
            let arguments = ["node".into(), "--file".into(), file.into_os_string()];
            let namespace = lab.namespace(node).clone();
            let address = node::address(keys[node].0.public()).to_string();
            running.launch(lab, Launch::new(node, &name, program.clone(), arguments))?.until("its device", || {
                // A tentative address cannot be bound yet.
                let shown = namespace.ip("-6 -o address show -tentative")?;
                Ok(shown.contains(&address))
            })?;
        }
        Ok(running)
    }
}

/// This program, or the one beside a test of it.
fn program() -> Result<std::path::PathBuf> {
    let own = std::env::current_exe()?;
    let beside = own.parent().and_then(Path::parent).map(|folder| folder.join("x0-mesh-lab"));
    if own.file_name().is_some_and(|name| name == "x0-mesh-lab") {
        return Ok(own);
    }
    beside.filter(|path| path.is_file()).context("x0-mesh-lab is not built")
}

/// The wires of a node, in the order of their numbers: its own end and the other one.
fn ends(lab: &Topology, node: usize) -> Vec<(&End, &End)> {
    let both = lab.wires.iter().flat_map(|wire| [(&wire.left, &wire.right), (&wire.right, &wire.left)]);
    both.filter(|(own, _)| own.node == node).collect()
}

fn configure(lab: &Topology, node: usize, keys: &[(SigningKey, String)]) -> NodeFile {
    let ends = ends(lab, node);
    let at = |end: &End| SocketAddr::new(end.address.into(), PORT);
    let others = keys.iter().enumerate().filter(|(other, _)| *other != node);
    NodeFile {
        seed: keys[node].1.clone(),
        underlays: ends.iter().map(|(own, _)| (own.device.clone(), at(own))).collect(),
        peers: others
            .map(|(other, (key, _))| PeerFile {
                key: hex::encode(key.public().as_bytes()),
                addresses: ends
                    .iter()
                    .zip(0..)
                    .filter(|((_, far), _)| far.node == other)
                    .map(|((_, far), number)| (number, at(far)))
                    .collect(),
            })
            .collect(),
    }
}
