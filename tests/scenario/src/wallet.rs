//! Runs the wallet binary as a person would, with JSON output.

use crate::process::binaries;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// A wallet with a home of its own and one password for all its keys.
#[derive(Clone, Debug)]
pub struct Wallet {
    home: PathBuf,
    password_file: PathBuf,
    url: String,
}

impl Wallet {
    /// Sets up an empty home.
    pub fn new(home: &Path, url: &str) -> Result<Self> {
        std::fs::create_dir_all(home)?;
        let password_file = home.join("password");
        std::fs::write(&password_file, "correct horse battery staple\n")?;
        Ok(Self { home: home.join("x0"), password_file, url: url.to_owned() })
    }

    /// A home that is there, with its password beside the keys, as `x0-node testnet` makes it.
    pub fn existing(home: &Path, url: &str) -> Result<Self> {
        let password_file = home.join("password");
        anyhow::ensure!(password_file.is_file(), "{} is no wallet's home", home.display());
        Ok(Self { home: home.to_path_buf(), password_file, url: url.to_owned() })
    }

    /// The same wallet against another node address: a restarted node has another port.
    #[must_use]
    pub fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }

    /// Runs a command and returns its JSON answer.
    pub async fn run(&self, arguments: &[&str]) -> Result<Value> {
        let output = Command::new(binaries()?.join("x0"))
            .arg("--home")
            .arg(&self.home)
            .arg("--password-file")
            .arg(&self.password_file)
            .args(["--url", &self.url, "--json", "--yes"])
            .args(arguments)
            .kill_on_drop(true)
            .output()
            .await
            .context("run x0")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!(
                "x0 {} ended with {}:\n{text}{}",
                arguments.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        serde_json::from_str(&text).with_context(|| format!("x0 {} printed {text}", arguments.join(" ")))
    }
}
