//! User-space WireGuards: one tunnel over the first path. They have no second path; they are here for speed.

use super::{A, B, Launch, Patience, Running, System, underlay};
use crate::{
    fault::Class,
    process::{find, version},
    topology::Topology,
};
use anyhow::{Context as _, Result, ensure};
use std::{
    ffi::OsString,
    io::Write as _,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireGuard {
    GotaTun,
    BoringTun,
    Go,
}

const PORT: u16 = 51_820;
const SOCKETS: &str = "/var/run/wireguard";
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 99, 0, 1), Ipv4Addr::new(10, 99, 0, 2)];
/// First letters of the lab's device names, before the id of the lab's process.
const PREFIX: &str = "x0m";

impl System for WireGuard {
    fn name(&self) -> &'static str {
        match self {
            Self::GotaTun => "GotaTun",
            Self::BoringTun => "BoringTun",
            Self::Go => "wireguard-go",
        }
    }

    fn about(&self) -> &'static str {
        match self {
            Self::GotaTun => "gotatun-cli as it comes, MTU 1,420, one tunnel on the first path",
            Self::BoringTun => "boringtun-cli as it comes (four threads), MTU 1,420, one tunnel on the first path",
            Self::Go => {
                "Debian's version, older than its segmentation offloads, MTU 1,420, one tunnel on the first path"
            }
        }
    }

    fn version(&self) -> Result<String> {
        find("wg").context("wg is not installed (Debian package wireguard-tools; scripts/setup rivals)")?;
        let flag = if *self == Self::Go { "--version" } else { "-V" };
        let said = version(&self.program()?, &[flag], self.program_name().trim_end_matches("-cli"))?;
        Ok(said.split_whitespace().last().unwrap_or_default().to_owned())
    }

    fn meets(&self, _class: Class) -> bool {
        false
    }

    fn patience(&self) -> Patience {
        let moment = Duration::from_secs(1);
        Patience { warm_up: moment, hold: moment, settle: moment }
    }

    fn start(&self, lab: &Topology, folder: &Path) -> Result<Running> {
        ensure!(!lab.shape.relays, "one tunnel has no relays");
        remove_stale();
        let program = self.program()?;
        let mut running = Running::new(ADDRESSES[A], ADDRESSES[B], folder);
        let mut public = Vec::new();
        for node in [A, B] {
            let private = wg(&["genkey"], "")?;
            std::fs::write(folder.join(format!("wireguard-{node}.key")), &private)?;
            public.push(wg(&["pubkey"], &private)?);
        }
        for node in [A, B] {
            let other = 1 - node;
            let device = format!("{PREFIX}{}{}", std::process::id(), lab.nodes[node].name);
            let socket = PathBuf::from(SOCKETS).join(format!("{device}.sock"));
            let name = format!("wireguard-{}", lab.nodes[node].name);
            let mut launch = Launch::new(node, &name, program.clone(), self.arguments(&device));
            launch.environment = vec![("WG_PROCESS_FOREGROUND", "1"), ("LOG_LEVEL", "error")];
            running.leaves(socket.clone());
            running.launch(lab, launch)?.until("its socket", || Ok(socket.exists()))?;
            let namespace = lab.namespace(node);
            let key = folder.join(format!("wireguard-{node}.key"));
            namespace.command(
                "wg",
                &format!(
                    "set {device} private-key {} listen-port {PORT} peer {} allowed-ips {}/32 endpoint {}:{PORT}",
                    key.display(),
                    public[other],
                    ADDRESSES[other],
                    underlay(lab, other, 0)?
                ),
            )?;
            namespace.ip(&format!("address add {}/24 dev {device}", ADDRESSES[node]))?;
            namespace.ip(&format!("link set {device} mtu 1420 up"))?;
        }
        Ok(running)
    }
}

impl WireGuard {
    const fn program_name(self) -> &'static str {
        match self {
            Self::GotaTun => "gotatun",
            Self::BoringTun => "boringtun-cli",
            Self::Go => "wireguard-go",
        }
    }

    fn program(self) -> Result<PathBuf> {
        let name = self.program_name();
        find(name).with_context(|| format!("{name} is not installed (scripts/setup rivals)"))
    }

    fn arguments(self, device: &str) -> Vec<OsString> {
        match self {
            // Without a login, as in a service, neither can drop privileges.
            Self::GotaTun | Self::BoringTun => {
                vec!["--foreground".into(), "--disable-drop-privileges".into(), device.into()]
            }
            Self::Go => vec!["--foreground".into(), device.into()],
        }
    }
}

fn wg(arguments: &[&str], input: &str) -> Result<String> {
    let mut command = Command::new("wg");
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    if let Some(stdin) = child.stdin.as_mut() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "wg {}", arguments.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Removes sockets of labs that were killed: their names hold the id of a process that is no more.
fn remove_stale() {
    let Ok(entries) = std::fs::read_dir(SOCKETS) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).map(|rest| rest.trim_end_matches(|c: char| !c.is_ascii_digit()));
        if let Some(owner) = owner
            && !owner.is_empty()
            && !Path::new("/proc").join(owner).exists()
        {
            // Another lab may remove it at the same time.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
