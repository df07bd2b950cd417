//! The node: the running one by what it says, a stopped one by its files; and its peers.

use super::Findings;
use crate::{config::Config, guard, keys};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _},
    path::Path,
    time::Duration,
};
use x0_chain_spec::ChainSpec;
use x0_executor::{Executor, Options};
use x0_runtime::{Runtime, network::Scheduled, version::SUPPORTED_SPECS};
use x0_sign_guard::Guard;
use x0_storage::{Database, OpenOptions, StorageError};

/// How long a peer, or the running node, has for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest answer of the running node, bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Looks at the node and at its peers.
pub fn examine(config: &Config, spec: &ChainSpec, base: &Path, findings: &mut Findings) {
    if base.join("chain").is_dir() {
        match Database::open(&base.join("chain"), OpenOptions::default()) {
            Err(StorageError::AlreadyRunning { pid, .. }) => {
                findings.good("node", format!("runs as process {}", pid.map_or("?".to_owned(), |pid| pid.to_string())));
                running(config, findings);
            }
            Ok(database) => {
                ports(config, findings);
                stopped(config, spec, base, database, findings);
            }
            Err(cause) => findings.failure("data", cause),
        }
    } else {
        findings.good("data", format!("{} holds no chain yet", base.display()));
        ports(config, findings);
    }
    peers(config, findings);
}

/// Asks the running node for its health and readiness.
fn running(config: &Config, findings: &mut Findings) {
    let Some(address) = config.metrics.filter(|address| address.port() != 0) else {
        return findings.warning("node", "its metrics listen nowhere, or on a port of its own choice: nothing to ask");
    };
    for path in ["/health", "/ready"] {
        match ask(address, path) {
            Ok((true, _)) => findings.good("node", format!("{path} says yes")),
            Ok((false, body)) => {
                let reasons = serde_json::from_str::<serde_json::Value>(&body)
                    .ok()
                    .and_then(|report| report.get("reasons").cloned())
                    .map_or(body, |reasons| reasons.to_string());
                findings.failure("node", format!("{path} says no: {reasons}"));
            }
            Err(cause) => findings.failure("node", format!("http://{address}{path}: {cause}")),
        }
    }
}

/// One request; whether the status is 200, and the body.
fn ask(address: SocketAddr, path: &str) -> std::io::Result<(bool, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Ok((head.split_whitespace().nth(1) == Some("200"), body.to_owned()))
}

/// Ports that the node is about to take.
fn ports(config: &Config, findings: &mut Findings) {
    let rpc = &config.file.rpc;
    let wanted = config
        .file
        .network
        .listen
        .iter()
        .map(|address| ("network.listen", *address))
        .chain(config.plain.map(|address| ("rpc.plain", address)))
        .chain(rpc.native.as_ref().map(|native| ("rpc.native", native.address)))
        .chain(rpc.web.as_ref().map(|web| ("rpc.web", web.address)))
        .chain(config.metrics.map(|address| ("metrics.address", address)));
    for (setting, address) in wanted {
        match TcpListener::bind(address) {
            Ok(_) => findings.good("ports", format!("{setting} {address} is free")),
            Err(cause) => findings.failure("ports", format!("{setting} {address}: {cause}")),
        }
    }
}

/// What the files of a stopped node say.
fn stopped(config: &Config, spec: &ChainSpec, base: &Path, database: Database, findings: &mut Findings) {
    let Some(head) = database.head() else { return findings.good("data", "the database is empty") };
    if head.number == 0 {
        findings.good("data", "the chain is at its first block");
    }
    let age = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH + Duration::from_millis(head.timestamp_ms))
        .map(|age| age.as_secs());
    match age {
        Ok(_) if head.number == 0 => {}
        Ok(age) => findings.good("data", format!("the chain ends at height {}, {age} s ago", head.number)),
        Err(_) => findings.failure(
            "clock",
            format!("the clock stands before the last block, height {}: it was right once", head.number),
        ),
    }
    let opened = spec
        .genesis_config()
        .map_err(|cause| cause.to_string())
        .and_then(|genesis| Executor::new(database, &genesis, Options::default()).map_err(|cause| cause.to_string()))
        .and_then(|executor| {
            let at = executor.head().hash;
            executor.with_state(at, Scheduled::<Runtime>::get).map_err(|cause| cause.to_string())
        });
    match opened {
        Ok(None) => findings.good("version", "no upgrade is scheduled"),
        Ok(Some(upgrade)) if SUPPORTED_SPECS.contains(&upgrade.spec_version) => findings.good(
            "version",
            format!("this program knows version {}, which takes over at height {}", upgrade.spec_version, upgrade.height),
        ),
        Ok(Some(upgrade)) => findings.failure(
            "version",
            format!(
                "version {} of the rules takes over at height {}, and this program does not know it: install a newer one before",
                upgrade.spec_version, upgrade.height
            ),
        ),
        Err(reason) => findings.failure("data", reason),
    }
    guard_record(config, spec, base, u64::from(head.number), findings);
}

/// The guard's record must fit the chain: one that is ahead means that the chain lost blocks.
fn guard_record(config: &Config, spec: &ChainSpec, base: &Path, head: u64, findings: &mut Findings) {
    let directory = crate::site::guard_directory(base);
    match keys::is_there(&directory) {
        Ok(true) => {}
        Ok(false) => return findings.good("guard", "no record: this node never signed"),
        Err(failure) => return findings.failure("guard", failure.reason),
    }
    let site = match spec.genesis_hash() {
        Ok(genesis) => crate::site::Site { config: config.clone(), spec: spec.clone(), genesis, base: base.to_owned() },
        Err(cause) => return findings.failure("guard", cause),
    };
    let opened = site
        .guard_binding()
        .and_then(|binding| Guard::open(&directory, binding).map_err(|cause| guard::failure(&cause)));
    match opened {
        Ok(guard) => match guard.last() {
            Some(last) if last.height > head.saturating_add(1) => findings.warning(
                "guard",
                format!(
                    "signed up to height {}, and the chain here ends at {head}: the node follows until it is there again",
                    last.height
                ),
            ),
            Some(last) => findings.good("guard", format!("signed up to height {}, round {}", last.height, last.round)),
            None => findings.good("guard", "nothing was signed yet"),
        },
        Err(failure) => findings.failure("guard", failure.reason),
    }
}

/// Whether peers accept connections.
fn peers(config: &Config, findings: &mut Findings) {
    let network = &config.file.network;
    if network.is_solo() {
        return findings.good("peers", "none are configured: this node is alone");
    }
    let mut reached = 0_usize;
    for peer in &network.peers {
        let Some((_, address)) = peer.split_once('@') else {
            findings.failure("peers", format!("'{peer}' is not KEY@HOST:PORT"));
            continue;
        };
        let connected = address
            .to_socket_addrs()
            .and_then(|mut addresses| addresses.next().ok_or_else(|| std::io::Error::other("the name has no address")))
            .and_then(|address| TcpStream::connect_timeout(&address, PATIENCE));
        match connected {
            Ok(_) => reached += 1,
            Err(cause) => findings.warning("peers", format!("{address}: {cause}")),
        }
    }
    match (reached, network.peers.len()) {
        (_, 0) => findings.warning("peers", "none are named: the node waits until others connect to it"),
        (0, all) => findings.failure("peers", format!("none of {all} accepts connections")),
        (some, all) => findings.good("peers", format!("{some} of {all} accept connections")),
    }
}
