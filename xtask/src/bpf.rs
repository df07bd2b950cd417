//! Rebuilds the BPF programs with Debian's web toolchain and compares the committed object.
//!
//! An ordinary build uses the committed object, so that it needs neither LLVM nor `bpf-linker`. The
//! recipe is in `ebpf/README.md`. Beside the object lie its SHA-256, which every machine can check, and
//! the versions of the tools that built it, because other versions may build other bytes from the same
//! source.

use anyhow::{Context, Result, bail};
use std::{fs, path::Path, process::Command};

/// The committed object.
const OBJECT: &str = "ebpf/object/x0-tc.o";
/// Its hash, in the form of `sha256sum`.
const HASH: &str = "ebpf/object/x0-tc.o.sha256";
/// Records which tools built it.
const TOOLS: &str = "ebpf/object/x0-tc.o.tools";

/// Versions of the compiler, its LLVM and the linker, one a line.
fn tools() -> Result<String> {
    let mut lines = String::new();
    for (program, arguments, wanted) in [
        ("/usr/bin/rustc", ["--version", "--verbose"].as_slice(), ["rustc ", "LLVM version"].as_slice()),
        ("bpf-linker", &["--version"], &["bpf-linker"]),
    ] {
        let output =
            Command::new(program).args(arguments).output().with_context(|| format!("{program} is not installed"))?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if wanted.iter().any(|start| line.starts_with(start)) {
                lines.push_str(line.trim());
                lines.push('\n');
            }
        }
    }
    Ok(lines)
}

/// The line that `sha256sum` prints for the committed object, run in its folder.
fn hash(root: &Path) -> Result<String> {
    let object = root.join(OBJECT);
    let (Some(folder), Some(name)) = (object.parent(), object.file_name()) else { bail!("{OBJECT} has no folder") };
    let output = Command::new("sha256sum").arg(name).current_dir(folder).output().context("sha256sum")?;
    if !output.status.success() {
        bail!("sha256sum {OBJECT}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
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
    let committed = root.join(OBJECT);
    if update {
        fs::write(&committed, &object).with_context(|| format!("write {}", committed.display()))?;
        fs::write(root.join(TOOLS), tools()?).with_context(|| format!("write {TOOLS}"))?;
        fs::write(root.join(HASH), hash(root)?).with_context(|| format!("write {HASH}"))?;
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
    use super::{HASH, TOOLS, build, hash, tools};

    /// Every machine can tell that the object is the one whose hash was committed with it.
    #[test]
    fn committed_object_has_its_committed_hash() {
        let root = crate::workspace_root().expect("workspace root");
        let recorded = std::fs::read_to_string(root.join(HASH)).expect("recorded hash");
        assert_eq!(hash(&root).expect("hash"), recorded);
    }

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
