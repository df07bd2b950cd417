//! Which crate may depend on which: the table of allowed arrows, checked against the manifests.
//!
//! The table names folders. A crate in the left folder may have normal and build dependencies only
//! in the folders on the right. Development dependencies are free, except that nothing depends on
//! `tests/` other than on `tests/support`.

use anyhow::{Context, Result};
use serde_json::Value;
use std::{collections::BTreeMap, path::Path, process::Command};

const PRIMITIVES: &str = "primitives/";

/// Folder, and the folders it may name. A trailing slash means every crate below.
const ALLOWED: &[(&str, &[&str])] = &[
    ("primitives/limits", &[]),
    ("primitives/crypto", &["primitives/limits"]),
    ("primitives/accounting", &["primitives/limits"]),
    ("primitives/types", &["primitives/limits", "primitives/accounting"]),
    ("primitives/light", &["primitives/limits", "primitives/crypto", "primitives/types"]),
    ("pallets/", &[PRIMITIVES, "pallets/"]),
    ("runtime", &[PRIMITIVES, "pallets/"]),
    ("chain-spec", &[PRIMITIVES, "runtime"]),
    ("node/storage", &[PRIMITIVES]),
    ("node/executor", &[PRIMITIVES, "runtime", "node/storage"]),
    ("node/mempool", &[PRIMITIVES, "runtime", "node/executor"]),
    ("node/network", &[PRIMITIVES]),
    ("node/sign-guard", &[PRIMITIVES]),
    ("node/gossip", &[PRIMITIVES, "node/network", "node/mempool"]),
    ("node/sync", &[PRIMITIVES, "runtime", "node/network", "node/executor", "node/storage"]),
    ("node/telemetry", &[PRIMITIVES]),
    (
        "node/consensus",
        &[PRIMITIVES, "runtime", "node/sign-guard", "node/network", "node/mempool", "node/executor", "node/storage"],
    ),
    ("node/rpc-types", &[PRIMITIVES]),
    (
        "node/rpc",
        &[
            PRIMITIVES,
            "runtime",
            "pallets/",
            "chain-spec",
            "node/rpc-types",
            "node/mempool",
            "node/executor",
            "node/storage",
        ],
    ),
    ("node/offchain", &[PRIMITIVES, "runtime", "pallets/", "node/mempool", "node/executor", "node/storage"]),
    ("node/service", &[PRIMITIVES, "runtime", "chain-spec", "node/"]),
    ("agent/wire", &[]),
    ("agent/mesh", &[PRIMITIVES, "agent/wire"]),
    ("agent/core", &[PRIMITIVES]),
    ("agent/privileges", &[]),
    ("agent/io", &[PRIMITIVES, "agent/wire", "agent/mesh", "agent/core", "ebpf/loader"]),
    ("agent/daemon", &[PRIMITIVES, "agent/", "node/rpc-types", "wallet/client", "ebpf/loader"]),
    ("ebpf/shared", &["agent/wire"]),
    ("ebpf/loader", &["ebpf/shared", "agent/wire"]),
    ("wallet/client", &[PRIMITIVES, "node/rpc-types"]),
    ("wallet", &[PRIMITIVES, "node/rpc-types", "wallet/client"]),
    ("xtask", &[]),
];

/// Libraries that only `primitives/crypto` names.
const CRYPTO_LIBRARIES: &[&str] =
    &["aws-lc-rs", "ml-dsa", "ml-kem", "argon2", "aes-gcm", "ring", "fips204", "ed25519-dalek", "openssl"];

/// Findings about dependencies between crates of this workspace.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .context("cargo metadata")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata prints JSON")?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let folders: BTreeMap<String, String> =
        packages.iter().map(|package| (text(&package["name"]), folder(root, package))).collect();

    let mut findings = Vec::new();
    for package in &packages {
        let name = text(&package["name"]);
        let from = folder(root, package);
        if from == "workspace-hack" {
            continue;
        }
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to_name = text(&dependency["name"]);
            let is_development = dependency["kind"].as_str() == Some("dev");
            if !is_development && CRYPTO_LIBRARIES.contains(&to_name.as_str()) && from != "primitives/crypto" {
                findings.push(format!("{name} names the crypto library {to_name}; only x0-crypto may"));
            }
            let Some(to) = folders.get(&to_name) else { continue };
            if to == "workspace-hack" {
                continue;
            }
            let shared_by_tests = is_development && to == "tests/support";
            if to.starts_with("tests/") && !from.starts_with("tests/") && !shared_by_tests {
                findings.push(format!("{name} depends on {to_name}: nothing depends on tests"));
            } else if !is_development && !may_name(&from, to) {
                findings.push(format!(
                    "{name} ({from}) must not depend on {to_name} ({to}): the arrow is not in xtask/src/arrows.rs"
                ));
            }
        }
    }
    Ok(findings)
}

fn may_name(from: &str, to: &str) -> bool {
    if from.starts_with("tests/") || from == "fuzz" {
        return true;
    }
    let exact = ALLOWED.iter().find(|(folder, _)| *folder == from);
    let by_parent = ALLOWED.iter().find(|(folder, _)| folder.ends_with('/') && from.starts_with(folder));
    exact.or(by_parent).is_some_and(|(_, allowed)| {
        allowed.iter().any(|target| if target.ends_with('/') { to.starts_with(target) } else { to == *target })
    })
}

fn folder(root: &Path, package: &Value) -> String {
    let manifest = text(&package["manifest_path"]);
    Path::new(&manifest)
        .parent()
        .and_then(|parent| parent.strip_prefix(root).ok())
        .map(|relative| relative.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::may_name;

    /// The table lets arrows run down and never up or across.
    #[test]
    fn arrows_run_one_way() {
        for (from, to, allowed) in [
            ("runtime", "pallets/did", true),
            ("pallets/did", "runtime", false),
            ("node/network", "runtime", false),
            ("agent/daemon", "node/executor", false),
            ("agent/daemon", "node/rpc-types", true),
            ("wallet", "runtime", false),
            ("node/service", "node/rpc", true),
            ("tests/load", "node/executor", true),
            ("primitives/limits", "primitives/types", false),
        ] {
            assert_eq!(may_name(from, to), allowed, "{from} -> {to}");
        }
    }
}
