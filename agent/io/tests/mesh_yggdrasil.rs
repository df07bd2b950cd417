//! The client of Yggdrasil's admin socket against the real daemon (Debian's package `yggdrasil`, 0.4.7),
//! in a network namespace of its own. Fails where the package or the rights are missing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

use anyhow::{Context as _, Result, ensure};
use std::{
    io::{BufRead as _, BufReader},
    net::Ipv6Addr,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
};
use x0_agent_io::mesh::yggdrasil::{Yggdrasil, YggdrasilError};
use x0_test_support::netns::Namespace;

/// A daemon that ends with the test.
struct Daemon {
    child: Child,
    /// Held open: a daemon that cannot write its log ends.
    _output: BufReader<ChildStdout>,
    socket: PathBuf,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It is gone already when this fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    /// Starts a daemon without a tunnel device that listens at a TCP port of the loopback.
    fn start(namespace: &Namespace, folder: &std::path::Path, name: &str, port: u16) -> Result<Self> {
        let socket = folder.join(name);
        let config = serde_json::json!({
            "AdminListen": format!("unix://{}", socket.display()),
            "Listen": [format!("tcp://127.0.0.1:{port}")],
            "IfName": "none",
            "MulticastInterfaces": [],
            "Peers": [],
        });
        let file = folder.join(format!("{name}.conf"));
        std::fs::write(&file, config.to_string())?;
        let mut command = Command::new("yggdrasil");
        command.args(["-logto", "stdout", "-useconffile"]).arg(&file).stdout(Stdio::piped()).stderr(Stdio::null());
        namespace.enter(&mut command);
        let mut child = command.spawn().context("starting yggdrasil (Debian's package yggdrasil)")?;
        let mut output = BufReader::new(child.stdout.take().context("its output")?);
        // It says so when the admin socket is there; a daemon that ends closes its output.
        let (mut said, mut line) = (String::new(), String::new());
        while output.read_line(&mut line)? > 0 {
            if line.contains("admin socket listening") {
                return Ok(Self { child, _output: output, socket });
            }
            said.push_str(&line);
            line.clear();
        }
        child.wait()?;
        anyhow::bail!("yggdrasil ended before its admin socket was there:\n{said}")
    }

    fn client(&self) -> Yggdrasil {
        Yggdrasil::new(&self.socket)
    }
}

#[test]
fn the_daemon_of_debian_is_understood() -> Result<()> {
    let namespace = Namespace::create()?;
    let folder = tempfile::tempdir()?;
    let one = Daemon::start(&namespace, folder.path(), "one", 7_101)?;
    let two = Daemon::start(&namespace, folder.path(), "two", 7_102)?;
    let (first, second) = (one.client(), two.client());

    let node = first.self_info()?;
    ensure!(node.address.octets()[0] & 0xfe == 0x02, "{node:?}");
    ensure!(node.key.len() == 64 && node.key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{node:?}");
    ensure!(first.peers()?.is_empty());
    ensure!(first.sessions()?.is_empty());

    let uri = "tcp://127.0.0.1:7102";
    first.add_peer(uri, None)?;
    // The daemon connects in its own time; every question is answered meanwhile.
    let peers = loop {
        let peers = first.peers()?;
        if !peers.is_empty() {
            break peers;
        }
        std::thread::yield_now();
    };
    let other = second.self_info()?;
    ensure!(peers.len() == 1 && peers[0].up, "{peers:?}");
    ensure!(peers[0].address == Some(other.address) && peers[0].key.as_ref() == Some(&other.key), "{peers:?}");
    ensure!(peers[0].remote.as_deref() == Some(uri), "{peers:?}");
    let known: Vec<Ipv6Addr> = first.paths()?.iter().map(|path| path.address).collect();
    ensure!(known.iter().all(|address| address.octets()[0] & 0xfe == 0x02), "{known:?}");

    first.remove_peer(uri, None)?;
    while !first.peers()?.is_empty() {
        std::thread::yield_now();
    }

    let refused = first.add_peer("nonsense://127.0.0.1:1", None);
    ensure!(matches!(refused, Err(YggdrasilError::Refused { .. })), "{refused:?}");
    drop(one);
    ensure!(matches!(first.peers(), Err(YggdrasilError::Connect { .. })), "the daemon is gone");
    Ok(())
}
