//! A network of validators on this machine's loopback, as `x0-node testnet` makes it.

use crate::{Node, Wallet, process::binaries};
use anyhow::{Context as _, Result, ensure};
use std::{path::PathBuf, sync::Arc};
use tempfile::TempDir;
use tokio::process::Command;

/// A running network.
#[derive(Debug)]
pub struct Cluster {
    folder: Arc<TempDir>,
    nodes: Vec<Option<Node>>,
}

impl Cluster {
    /// Makes a network of so many validators and starts them.
    pub async fn start(validators: usize) -> Result<Self> {
        let folder = Arc::new(tempfile::Builder::new().prefix("x0-cluster-").tempdir()?);
        let output = Command::new(binaries()?.join("x0-node"))
            .args(["testnet", "--validators", &validators.to_string(), "--base-port", "0"])
            .args(["--development-accounts", "--output"])
            .arg(folder.path().join("net"))
            .kill_on_drop(true)
            .output()
            .await
            .context("run x0-node testnet")?;
        ensure!(output.status.success(), "x0-node testnet: {}", String::from_utf8_lossy(&output.stderr));
        let mut cluster = Self { folder, nodes: Vec::new() };
        let starts = (0..validators).map(|number| cluster.run(number));
        for node in futures::future::join_all(starts).await {
            cluster.nodes.push(Some(node?));
        }
        Ok(cluster)
    }

    async fn run(&self, number: usize) -> Result<Node> {
        let config = self.home(number).join("config.toml");
        Node::configured(Arc::clone(&self.folder), &config)
            .await
            .with_context(|| format!("start validator {}", number + 1))
    }

    /// Directory of a validator, counted from zero.
    #[must_use]
    pub fn home(&self, number: usize) -> PathBuf {
        self.folder.path().join("net").join(format!("validator-{}", number + 1))
    }

    /// A validator that runs, counted from zero.
    pub fn node(&self, number: usize) -> Result<&Node> {
        let node = self.nodes.get(number).with_context(|| format!("there is no validator {}", number + 1))?;
        node.as_ref().with_context(|| format!("validator {} does not run", number + 1))
    }

    /// The wallet with the keys of the faucet and of the validators' controllers, speaking to the first one.
    pub fn wallet(&self) -> Result<Wallet> {
        Wallet::existing(&self.folder.path().join("net/wallet"), &self.node(0)?.rpc)
    }

    /// Kills a validator without warning.
    pub async fn kill(&mut self, number: usize) -> Result<()> {
        let node = self.nodes.get_mut(number).and_then(Option::take);
        node.with_context(|| format!("validator {} does not run", number + 1))?.kill().await.map(drop)
    }

    /// Starts a validator that was killed.
    pub async fn restart(&mut self, number: usize) -> Result<()> {
        let node = self.run(number).await?;
        if let Some(place) = self.nodes.get_mut(number) {
            *place = Some(node);
        }
        Ok(())
    }

    /// Stops all of them gracefully.
    pub async fn stop(self) -> Result<()> {
        for node in self.nodes.into_iter().flatten() {
            node.stop().await?;
        }
        Ok(())
    }
}
