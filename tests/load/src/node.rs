//! The nodes that are measured: processes of their own with many funded accounts on their chain.
//!
//! ```text
//!   Nodes::development   x0-node --dev, one validator
//!   Nodes::network       x0-node testnet --validators N, then N processes on this machine
//! ```

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};
use x0_chain_spec::ChainSpec;
use x0_load::{run::Target, transfers::Sender};
use x0_types::Hash;

/// What each sender owns at the start, base units.
const ENDOWMENT: u64 = 1_000_000_000_000_000;

/// A process; killed when dropped.
struct Node {
    child: Child,
    ready: Value,
}

impl Drop for Node {
    fn drop(&mut self) {
        // The process may have ended already; there is nobody left to tell.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Running nodes of one chain.
pub struct Nodes {
    nodes: Vec<Node>,
    folder: tempfile::TempDir,
}

impl Node {
    fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let mut child = command
            .env("X0_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(log)?)
            .spawn()
            .context("start x0-node")?;
        let mut lines = BufReader::new(child.stdout.take().context("stdout")?).lines();
        let ready = loop {
            match lines.next() {
                Some(Ok(line)) => {
                    if let Some(json) = line.strip_prefix("READY ") {
                        break serde_json::from_str(json)?;
                    }
                }
                _ => bail!("x0-node ended: {}", fs::read_to_string(log)?),
            }
        };
        Ok(Self { child, ready })
    }
}

impl Nodes {
    /// Starts one node on a fresh development chain and waits until it serves.
    pub fn development(binaries: &Path, senders: &[Sender]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("x0-bench-").tempdir()?;
        let spec = folder.path().join("chain.json");
        fs::write(&spec, endow(ChainSpec::dev()?, senders)?.to_json()?)?;
        let mut command = Command::new(binaries.join("x0-node"));
        command.args(["--dev", "--rpc-port", "0", "--base-path"]).arg(folder.path().join("data"));
        command.arg("--chain").arg(&spec);
        let node = Node::start(&mut command, &folder.path().join("node.log"))?;
        Ok(Self { nodes: vec![node], folder })
    }

    /// Makes a network of `validators` nodes on this machine, starts them and waits until all serve.
    pub fn network(binaries: &Path, senders: &[Sender], validators: usize) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("x0-bench-").tempdir()?;
        let output = folder.path().join("network");
        let made = Command::new(binaries.join("x0-node"))
            .args(["testnet", "--base-port", "0", "--validators", &validators.to_string(), "--output"])
            .arg(&output)
            .output()
            .context("x0-node testnet")?;
        ensure!(made.status.success(), "x0-node testnet: {}", String::from_utf8_lossy(&made.stderr));
        let mut nodes = Vec::with_capacity(validators);
        for number in 1..=validators {
            let directory = output.join(format!("validator-{number}"));
            let spec = directory.join("chain.json");
            fs::write(&spec, endow(ChainSpec::load(&spec)?, senders)?.to_json()?)?;
            let mut command = Command::new(binaries.join("x0-node"));
            command.arg("run").arg("--config").arg(directory.join("config.toml"));
            nodes.push(Node::start(&mut command, &folder.path().join(format!("node-{number}.log")))?);
        }
        Ok(Self { nodes, folder })
    }

    /// Where transactions go and processor time is read.
    pub fn target(&self) -> Result<Target> {
        let url = |node: &Node| node.ready["rpc"].as_str().map(str::to_owned).context("rpc");
        let urls = self.nodes.iter().map(url).collect::<Result<_>>()?;
        Ok(Target { urls, pids: self.pids() })
    }

    /// The processes.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(|node| node.child.id()).collect()
    }

    /// Plain JSON-RPC of the first node.
    pub fn url(&self) -> Result<String> {
        self.target()?.urls.into_iter().next().context("a node")
    }

    /// Hash of the chain's first block.
    pub fn genesis(&self) -> Result<Hash> {
        let text = self.nodes.first().and_then(|node| node.ready["genesis"].as_str()).context("genesis")?;
        let bytes: [u8; 32] = hex::decode(text.trim_start_matches("0x"))?
            .try_into()
            .map_err(|_| anyhow::anyhow!("a genesis hash has 32 bytes"))?;
        Ok(Hash::from(bytes))
    }

    /// The ends of the nodes' logs, for the account of a failure.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for entry in fs::read_dir(self.folder.path()).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|end| end == "log") {
                let log = fs::read_to_string(entry.path()).unwrap_or_default();
                let lines: Vec<&str> = log.lines().rev().take(20).collect();
                let lines: Vec<&str> = lines.into_iter().rev().collect();
                text.push_str(&format!("{}:\n{}\n", entry.path().display(), lines.join("\n")));
            }
        }
        text
    }
}

/// A chain with the senders endowed besides those whom it endows already.
pub fn endow(mut spec: ChainSpec, senders: &[Sender]) -> Result<ChainSpec> {
    let config = spec.genesis_config()?;
    let mut balances = config
        .pointer("/balances/balances")
        .and_then(Value::as_array)
        .cloned()
        .context("the genesis has balances.balances")?;
    balances.extend(senders.iter().map(|sender| json!([sender.account.to_string(), ENDOWMENT])));
    if !spec.genesis.patch.is_object() {
        spec.genesis.patch = json!({});
    }
    spec.genesis.patch["balances"] = json!({ "balances": balances });
    Ok(spec)
}
