//! The node that is measured: a process of its own on a development chain with many funded accounts.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};
use x0_chain_spec::ChainSpec;
use x0_load::transfers::Sender;
use x0_types::Hash;

/// A node of the bench; killed when dropped.
pub struct BenchNode {
    child: Child,
    /// Its plain JSON-RPC.
    pub url: String,
    /// Hash of its chain's first block.
    pub genesis: Hash,
    _folder: tempfile::TempDir,
}

impl Drop for BenchNode {
    fn drop(&mut self) {
        // The process may have ended already; there is nobody left to tell.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl BenchNode {
    /// Starts a node on a fresh chain and waits until it serves.
    pub fn start(binaries: &Path, senders: &[Sender]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("x0-bench-").tempdir()?;
        let spec = folder.path().join("chain.json");
        fs::write(&spec, chain_spec(senders)?.to_json()?)?;
        let log = fs::File::create(folder.path().join("node.log"))?;
        let mut child = Command::new(binaries.join("x0-node"))
            .args(["--dev", "--rpc-port", "0", "--base-path"])
            .arg(folder.path().join("data"))
            .arg("--chain")
            .arg(&spec)
            .env("X0_LOG", "warn")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("start x0-node")?;
        let mut lines = BufReader::new(child.stdout.take().context("stdout")?).lines();
        let ready = loop {
            match lines.next() {
                Some(Ok(line)) => {
                    if let Some(json) = line.strip_prefix("READY ") {
                        break serde_json::from_str::<Value>(json)?;
                    }
                }
                _ => bail!("x0-node ended: {}", fs::read_to_string(folder.path().join("node.log"))?),
            }
        };
        let genesis: [u8; 32] = hex::decode(ready["genesis"].as_str().context("genesis")?.trim_start_matches("0x"))?
            .try_into()
            .map_err(|_| anyhow::anyhow!("a genesis hash has 32 bytes"))?;
        let url = ready["rpc"].as_str().context("rpc")?.to_owned();
        Ok(Self { child, url, genesis: Hash::from(genesis), _folder: folder })
    }

    /// The node's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// The development preset with the senders endowed.
pub fn chain_spec(senders: &[Sender]) -> Result<ChainSpec> {
    let mut spec = ChainSpec::dev()?;
    let config = spec.genesis_config()?;
    let mut balances = config
        .pointer("/balances/balances")
        .and_then(Value::as_array)
        .cloned()
        .context("the preset has balances.balances")?;
    balances.extend(senders.iter().map(|sender| json!([sender.account.to_string(), 1_000_000_000_000_000u64])));
    spec.genesis.patch = json!({ "balances": { "balances": balances } });
    Ok(spec)
}
