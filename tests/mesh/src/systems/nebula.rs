//! Nebula of Debian: one overlay network, both underlay addresses of each end known to the other.

use super::{A, B, Launch, Patience, Running, System, debian, underlay};
use crate::{fault::Class, process::find, topology::Topology};
use anyhow::{Context as _, Result, ensure};
use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

pub struct Nebula;

const PORT: u16 = 4_242;
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 98, 0, 1), Ipv4Addr::new(10, 98, 0, 2)];

impl System for Nebula {
    fn name(&self) -> &'static str {
        "Nebula"
    }

    fn about(&self) -> &'static str {
        "both addresses of each end in the static host map, as it comes otherwise (MTU 1,300, AES)"
    }

    fn version(&self) -> Result<String> {
        debian("nebula", "nebula")
    }

    fn meets(&self, class: Class) -> bool {
        // Half a minute for each fault is enough of the two that matter to it.
        [Class::BlackHole, Class::Carrier].contains(&class)
    }

    fn patience(&self) -> Patience {
        Patience { warm_up: Duration::from_secs(3), hold: Duration::from_secs(30), settle: Duration::from_secs(15) }
    }

    fn start(&self, lab: &Topology, folder: &Path) -> Result<Running> {
        ensure!(!lab.shape.relays, "this version has no relays");
        let program = find("nebula").context("nebula is not installed")?;
        certificates(folder)?;
        let mut running = Running::new(ADDRESSES[A], ADDRESSES[B], folder);
        for (node, name) in [(A, "a"), (B, "b")] {
            let file = configure(lab, folder, node, name)?;
            let arguments = ["-config".into(), file.into_os_string()];
            let launch = Launch::new(node, &format!("nebula-{name}"), program.clone(), arguments);
            let namespace = lab.namespace(node).clone();
            running.launch(lab, launch)?.until("its device", || {
                Ok(namespace.ip("-o address show dev nebula0").is_ok_and(|shown| shown.contains("inet ")))
            })?;
        }
        Ok(running)
    }
}

fn certificates(folder: &Path) -> Result<()> {
    let program = find("nebula-cert").context("nebula-cert is not installed")?;
    let run = |arguments: &[&str]| -> Result<()> {
        let output = Command::new(&program).args(arguments).current_dir(folder).output()?;
        ensure!(output.status.success(), "nebula-cert: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    };
    run(&["ca", "-name", "lab"])?;
    for (address, name) in ADDRESSES.iter().zip(["a", "b"]) {
        run(&["sign", "-name", name, "-ip", &format!("{address}/24")])?;
    }
    Ok(())
}

fn configure(lab: &Topology, folder: &Path, node: usize, name: &str) -> Result<PathBuf> {
    let other = 1 - node;
    let mut addresses = Vec::new();
    for path in 0..lab.shape.paths {
        addresses.push(format!("\"{}:{PORT}\"", underlay(lab, other, path)?));
    }
    let path = |ending: &str| folder.join(ending).display().to_string();
    // `a` is the lighthouse: it tells nobody anything here, because both ends know each other.
    let lighthouse = if node == A {
        "{ am_lighthouse: true }".to_owned()
    } else {
        format!("{{ am_lighthouse: false, interval: 60, hosts: [\"{}\"] }}", ADDRESSES[A])
    };
    let text = format!(
        "pki: {{ ca: {ca}, cert: {cert}, key: {key} }}\n\
         static_host_map:\n  \"{overlay}\": [{addresses}]\n\
         lighthouse: {lighthouse}\n\
         listen: {{ host: 0.0.0.0, port: {PORT} }}\n\
         punchy: {{ punch: true }}\n\
         tun: {{ dev: nebula0, mtu: 1300 }}\n\
         logging: {{ level: info, format: text }}\n\
         firewall:\n\
         \x20 outbound: [{{ port: any, proto: any, host: any }}]\n\
         \x20 inbound: [{{ port: any, proto: any, host: any }}]\n",
        ca = path("ca.crt"),
        cert = path(&format!("{name}.crt")),
        key = path(&format!("{name}.key")),
        overlay = ADDRESSES[other],
        addresses = addresses.join(", "),
    );
    let file = folder.join(format!("nebula-{name}.yml"));
    std::fs::write(&file, text)?;
    Ok(file)
}
