//! Rebuilds the BPF programs with Debian's web toolchain and compares the committed object.
//!
//! An ordinary build uses the committed object, so that it needs neither LLVM nor `bpf-linker`. The
//! recipe is in `ebpf/README.md`; `ebpf/object/x0-tc.o.tools` records the versions of the tools that
//! built the object, because other versions may build other bytes from the same source.

use anyhow::{Context, Result, bail};
use std::{fs, path::Path, process::Command};

/// Records which tools built the committed object.
const TOOLS: &str = "ebpf/object/x0-tc.o.tools";

/// Versions of the compiler and the linker, one a line.
fn tools() -> Result<String> {
    let mut lines = String::new();
    for (program, argument) in [("/usr/bin/rustc", "--version"), ("bpf-linker", "--version")] {
        let output =
            Command::new(program).arg(argument).output().with_context(|| format!("{program} is not installed"))?;
        lines.push_str(String::from_utf8_lossy(&output.stdout).trim());
        lines.push('\n');
    }
    Ok(lines)
}

/// Builds the programs; with `update` replaces the committed object, without compares it.
pub fn build(root: &Path, update: bool) -> Result<()> {
    let programs = root.join("ebpf/programs");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into).join("bpf");
    let status = Command::new("cargo")
        .args([
            "build",
            "--release",
            "--locked",
            "--target",
            "bpfel-unknown-none",
            "-Z",
            "build-std=core",
            "--ignore-rust-version",
        ])
        .current_dir(&programs)
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTUP_TOOLCHAIN", "")
        .status()
        .context("cargo build of the BPF programs")?;
    if !status.success() {
        bail!("the BPF programs do not build ({status}); ebpf/README.md has the recipe");
    }
    let built = target.join("bpfel-unknown-none/release/x0-ebpf-programs");
    let object = fs::read(&built).with_context(|| format!("read {}", built.display()))?;
    let committed = root.join("ebpf/object/x0-tc.o");
    if update {
        fs::write(&committed, &object).with_context(|| format!("write {}", committed.display()))?;
        fs::write(root.join(TOOLS), tools()?).with_context(|| format!("write {TOOLS}"))?;
        println!("bpf: {} replaced ({} bytes)", committed.display(), object.len());
        return Ok(());
    }
    let recorded = fs::read(&committed).with_context(|| format!("read {}", committed.display()))?;
    if recorded != object {
        bail!("the committed BPF object differs from what the sources build to; run `cargo xtask bpf --update`");
    }
    println!("bpf: the committed object is what the sources build to");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{TOOLS, build, tools};

    /// Where the recorded tools are installed, the committed object is what the sources build to.
    /// Elsewhere the versions differ or the tools are missing, and the comparison would say nothing.
    #[test]
    fn committed_object_matches_its_sources() {
        let root = crate::workspace_root().expect("workspace root");
        let recorded = std::fs::read_to_string(root.join(TOOLS)).expect("recorded tools");
        match tools() {
            Ok(present) if present == recorded => build(&root, false).expect("the same bytes"),
            Ok(present) => println!("not compared: recorded {recorded:?}, present {present:?}"),
            Err(reason) => println!("not compared: {reason}"),
        }
    }
}
