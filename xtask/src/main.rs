//! Repository chores: `tidy` (arrows, sizes, docs), `bpf` (rebuild the committed BPF object), `fuzz` and
//! `rows` (the table of promised features).
//!
//! `cargo xtask tidy` is part of `make check` and of the test suite.

mod arrows;
mod bpf;
mod features;
mod files;
mod fuzz;
mod rows;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};

#[derive(Parser)]
#[command(about = "Chores of this repository")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Check arrows between crates, file sizes, crate docs and documents.
    Tidy,
    /// Build the BPF programs and compare them with the committed object.
    Bpf {
        /// Replace the committed object and its recorded hash.
        #[arg(long)]
        update: bool,
    },
    /// Write docs/features.md: each promised row, where it lives and which tests prove it.
    Rows,
    /// Fuzz everything that reads bytes from outside.
    Fuzz {
        /// Seconds for each target.
        #[arg(long, default_value_t = 3)]
        seconds: u32,
        /// Only targets with this in their name.
        #[arg(long)]
        only: Option<String>,
    },
}

fn main() -> Result<()> {
    let root = workspace_root()?;
    match Arguments::parse().chore {
        Chore::Tidy => tidy(&root),
        Chore::Bpf { update } => bpf::build(&root, update),
        Chore::Rows => rows::write(&root),
        Chore::Fuzz { seconds, only } => fuzz::run(&root, seconds, only.as_deref()),
    }
}

/// Runs every check and reports all findings at once.
fn tidy(root: &Path) -> Result<()> {
    let mut findings = arrows::check(root)?;
    findings.extend(features::check(root)?);
    findings.extend(files::check(root)?);
    findings.extend(rows::check(root)?);
    if findings.is_empty() {
        println!("tidy: arrows, sizes and docs are in order");
        return Ok(());
    }
    for finding in &findings {
        eprintln!("tidy: {finding}");
    }
    bail!("{} finding(s)", findings.len())
}

fn workspace_root() -> Result<PathBuf> {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let Some(root) = manifest.parent() else { bail!("xtask lies outside a workspace") };
    Ok(root.to_path_buf())
}

#[cfg(test)]
mod tests {
    /// The repository itself is tidy: the same check as `cargo xtask tidy`, inside the test suite.
    #[test]
    fn repository_is_tidy() {
        let root = super::workspace_root().expect("workspace root");
        super::tidy(&root).expect("tidy");
    }
}
