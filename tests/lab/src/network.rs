//! A network of validators, made by `x0-node testnet` and run in namespaces of its own.

use crate::{
    fabric::Fabric,
    validator::{Start, Validator},
};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use x0_scenario::{
    process::binaries,
    promises::{Promised, check, collect_signatures, record_chain},
    rpc::Rpc,
};

/// How often a waiting scenario looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A running network.
#[derive(Debug)]
pub struct Network {
    /// The wires.
    pub fabric: Fabric,
    /// The validators, by number.
    pub validators: Vec<Validator>,
    /// Genesis hash in hex.
    pub genesis: String,
    /// What each validator called final and signed.
    pub promised: Vec<Arc<Mutex<Promised>>>,
    folder: TempDir,
}

impl Network {
    /// Writes the configuration of so many validators and starts them all.
    pub async fn start(count: usize, seed: u64) -> Result<Self> {
        let mut network = Self::prepare(count, seed).await?;
        network.start_all(&Start::default()).await?;
        Ok(network)
    }

    /// Writes the configuration of so many validators, which do not run yet.
    pub async fn prepare(count: usize, seed: u64) -> Result<Self> {
        Self::prepare_with(count, 0, seed).await
    }

    /// The same with further namespaces, for processes that the scenario starts itself.
    pub async fn prepare_with(count: usize, further: usize, seed: u64) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("x0-lab-").tempdir()?;
        let binary = binaries()?.join("x0-node");
        let output = Command::new(&binary)
            .args([
                "testnet",
                "--validators",
                &count.to_string(),
                "--host-template",
                "10.77.0.{n}",
                "--development-accounts",
                "--output",
            ])
            .arg(folder.path().join("net"))
            .output()
            .context("x0-node testnet")?;
        ensure!(output.status.success(), "x0-node testnet: {}", String::from_utf8_lossy(&output.stderr));
        let fabric = Fabric::new(count + further, seed)?;
        let mut validators = Vec::new();
        for (number, namespace) in fabric.namespaces.iter().take(count).enumerate() {
            let home = folder.path().join("net").join(format!("validator-{}", number + 1));
            validators.push(Validator::new(number, home, namespace.clone(), binary.clone()).await?);
        }
        let promised = (0..count).map(|_| Arc::default()).collect();
        Ok(Self { fabric, validators, genesis: String::new(), promised, folder })
    }

    /// The nodes of machines, which have their directories and processes elsewhere.
    pub async fn of_machines(folder: TempDir, fabric: Fabric, homes: Vec<PathBuf>) -> Result<Self> {
        let binary = binaries()?.join("x0-node");
        let mut validators = Vec::new();
        for (number, (home, namespace)) in homes.into_iter().zip(&fabric.namespaces).enumerate() {
            validators.push(Validator::new(number, home, namespace.clone(), binary.clone()).await?);
        }
        let promised = validators.iter().map(|_| Arc::default()).collect();
        Ok(Self { fabric, validators, genesis: String::new(), promised, folder })
    }

    /// Starts every validator that does not run, and waits until all are ready.
    pub async fn start_all(&mut self, how: &Start) -> Result<()> {
        let idle: Vec<usize> = (0..self.validators.len()).filter(|number| !self.validators[*number].runs()).collect();
        for &number in &idle {
            self.validators[number].spawn(how)?;
        }
        for &number in &idle {
            let validator = &mut self.validators[number];
            if let Err(error) = validator.wait_ready().await {
                bail!("validator {}: {error:#}, log:\n{}", number + 1, validator.log_tail());
            }
        }
        self.note_genesis();
        Ok(())
    }

    /// Takes the genesis hash from what the first validator printed when it was ready.
    pub fn note_genesis(&mut self) {
        if let Some(genesis) = self.validators.first().and_then(|first| first.ready["genesis"].as_str()) {
            self.genesis = genesis.to_owned();
        }
    }

    /// The directory that holds the validators' directories.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Connects to a validator's RPC.
    pub async fn rpc(&self, number: usize) -> Result<Rpc> {
        Rpc::connect(&self.validators[number].rpc_url()).await
    }

    /// Final height of each validator; `None` for those that do not answer.
    pub async fn heights(&self) -> Vec<Option<u32>> {
        let mut heights = Vec::new();
        for number in 0..self.validators.len() {
            heights.push(self.height(number).await.ok());
        }
        heights
    }

    /// Final height of one validator.
    pub async fn height(&self, number: usize) -> Result<u32> {
        Ok(self.rpc(number).await?.finalised().await?.1)
    }

    /// Waits until a validator is at least at this height; returns how long that took.
    pub async fn wait_height(&self, number: usize, height: u32, within: Duration) -> Result<Duration> {
        let started = Instant::now();
        loop {
            let now = self.height(number).await;
            if now.as_ref().is_ok_and(|now| *now >= height) {
                return Ok(started.elapsed());
            }
            if started.elapsed() > within {
                bail!(
                    "validator {} is at {now:?} and not at {height} after {within:?}, log:\n{}",
                    number + 1,
                    self.validators[number].log_tail()
                );
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Waits until all of these validators have gone on by so many blocks from where the highest is now.
    pub async fn wait_progress(&self, of: &[usize], blocks: u32, within: Duration) -> Result<Duration> {
        let started = Instant::now();
        let tip = self.heights().await.into_iter().flatten().max().unwrap_or(0);
        for &number in of {
            let left = within.saturating_sub(started.elapsed());
            self.wait_height(number, tip + blocks, left).await?;
        }
        Ok(started.elapsed())
    }

    /// Kills a validator and takes down what it has signed, from its disk.
    pub async fn kill(&mut self, number: usize) -> Result<()> {
        self.validators[number].kill().await?;
        self.collect_signatures(number)
    }

    /// Takes down what a validator has signed, from its disk.
    pub fn collect_signatures(&self, number: usize) -> Result<()> {
        collect_signatures(&self.validators[number].data(), &self.promised[number])
            .with_context(|| format!("validator {}", number + 1))
    }

    /// Waits until a validator's record on the disk has a signature above this height.
    pub async fn wait_signs(&self, number: usize, height: u32, within: Duration) -> Result<Duration> {
        let started = Instant::now();
        loop {
            self.collect_signatures(number)?;
            let Ok(last) = self.promised[number].lock().map(|promised| promised.signed.keys().next_back().copied())
            else {
                bail!("the list of promises is poisoned")
            };
            if last.is_some_and(|(signed, ..)| signed > u64::from(height)) {
                return Ok(started.elapsed());
            }
            if started.elapsed() > within {
                bail!(
                    "validator {} signed {last:?} last and nothing above {height} after {within:?}, log:\n{}",
                    number + 1,
                    self.validators[number].log_tail()
                );
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// The same as [`Network::note_agreement`], and every running validator still says everything that it said
    /// before: each block, each certificate, each transaction in its block.
    pub async fn check_agreement(&self) -> Result<u32> {
        let lowest = self.note_agreement().await?;
        for number in (0..self.validators.len()).filter(|number| self.validators[*number].runs()) {
            check(&self.rpc(number).await?, &self.promised[number])
                .await
                .with_context(|| format!("validator {} goes back on its word", number + 1))?;
        }
        Ok(lowest)
    }

    /// Takes down what the validators call final and what they signed, and insists that they agree with one
    /// another. Returns the height up to which all are known.
    pub async fn note_agreement(&self) -> Result<u32> {
        let mut by_height: BTreeMap<u32, (usize, String)> = BTreeMap::new();
        let mut lowest = u32::MAX;
        for number in (0..self.validators.len()).filter(|number| self.validators[*number].runs()) {
            let url = self.validators[number].rpc_url();
            record_chain(&url, &self.promised[number]).await.with_context(|| format!("validator {}", number + 1))?;
            self.collect_signatures(number)?;
        }
        for (number, promised) in self.promised.iter().enumerate() {
            let Ok(promised) = promised.lock() else { bail!("the list of promises is poisoned") };
            lowest = lowest.min(promised.blocks.keys().next_back().copied().unwrap_or(0));
            for (height, hash) in &promised.blocks {
                let (first, known) = by_height.entry(*height).or_insert_with(|| (number, hash.clone()));
                ensure!(
                    known == hash,
                    "FORK at height {height}: validator {} has {known}, validator {} has {hash}",
                    *first + 1,
                    number + 1
                );
            }
        }
        Ok(lowest)
    }

    /// Stops all validators gracefully.
    pub async fn stop(&mut self) -> Result<()> {
        for validator in self.validators.iter_mut().filter(|validator| validator.runs()) {
            validator.stop().await?;
        }
        Ok(())
    }
}
