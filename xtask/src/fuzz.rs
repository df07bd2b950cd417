//! Coverage-guided fuzzing: builds the targets of `fuzz/` with coverage of our own crates, and runs each
//! for some seconds.
//!
//! The build shares every dependency with the ordinary one: only our crates are compiled a second time, by
//! `scripts/fuzz-rustc`. Inputs that reached something new are kept in the cache and are the start
//! of the next run; inputs that once failed stand in `fuzz/regressions/TARGET` and run first, and so do those of
//! `fuzz/seeds/TARGET`, for targets that get nowhere in a few seconds from nothing.

use anyhow::{Context, Result, bail, ensure};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Memory of one target, MiB: decoders that believe a length field run into it.
const MEMORY_MIB_MAX: u32 = 1_024;
/// Longest time for one input, seconds.
const INPUT_TIMEOUT_S: u32 = 10;
/// Largest input, bytes: somewhat more than the largest frame of a link would be slow and find nothing else.
const INPUT_BYTES_MAX: u32 = 64 * 1024;

/// Builds all targets and runs those whose name contains `only`, `seconds` each.
pub fn run(root: &Path, seconds: u32, only: Option<&str>) -> Result<()> {
    let targets = targets(root)?;
    let chosen: Vec<_> = targets.iter().filter(|name| only.is_none_or(|part| name.contains(part))).collect();
    ensure!(!chosen.is_empty(), "no fuzz target has {:?} in its name; there are {}", only, targets.join(", "));
    let built = Command::new(env!("CARGO"))
        .args(["build", "--locked", "-p", "x0-fuzz", "--bins"])
        .env("RUSTC_WORKSPACE_WRAPPER", root.join("scripts/fuzz-rustc"))
        .current_dir(root)
        .status()
        .context("building the fuzz targets")?;
    ensure!(built.success(), "the fuzz targets do not build");
    let folder = build_folder(root)?.join("debug");
    let corpus = build_folder(root)?.join("fuzz-corpus");
    let failures: Vec<_> = chosen
        .iter()
        .filter_map(|target| {
            let name = target.trim_start_matches("fuzz-");
            let first = ["fuzz/regressions", "fuzz/seeds"].map(|folder| root.join(folder).join(name));
            one(&folder.join(target), &corpus.join(target), &first, seconds)
                .err()
                .map(|error| format!("{target}: {error:#}"))
        })
        .collect();
    if failures.is_empty() {
        println!("fuzz: {} targets ran {seconds} s each without a finding", chosen.len());
        return Ok(());
    }
    bail!("{}", failures.join("\n"))
}

fn one(program: &Path, corpus: &Path, first: &[PathBuf], seconds: u32) -> Result<()> {
    std::fs::create_dir_all(corpus)?;
    let mut command = Command::new(program);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .arg(format!("-timeout={INPUT_TIMEOUT_S}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg("-print_final_stats=1")
        .arg("-verbosity=0")
        .arg(format!("-artifact_prefix={}/failed-", corpus.display()))
        .arg(corpus);
    command.args(first.iter().filter(|folder| folder.is_dir()));
    let output = command.output().with_context(|| program.display().to_string())?;
    let log = String::from_utf8_lossy(&output.stderr);
    let count = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:")).unwrap_or("?").trim();
    ensure!(
        output.status.success(),
        "failed after {count} inputs ({}); run it again with the input named below\n{log}",
        output.status
    );
    println!("fuzz: {} {count} inputs", program.file_name().unwrap_or_default().to_string_lossy());
    Ok(())
}

/// The names of the targets: one file each in `fuzz/targets`.
fn targets(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root.join("fuzz/targets")).context("fuzz/targets")? {
        let path = entry?.path();
        if let Some(name) = path.file_stem().filter(|_| path.extension().is_some_and(|end| end == "rs")) {
            names.push(format!("fuzz-{}", name.to_string_lossy().replace('_', "-")));
        }
    }
    names.sort();
    Ok(names)
}

fn build_folder(root: &Path) -> Result<PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .context("cargo metadata")?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    Ok(PathBuf::from(metadata["target_directory"].as_str().context("a target directory")?))
}
