//! Features that no ordinary build may have.

use anyhow::{Context, Result};
use serde_json::Value;
use std::{path::Path, process::Command};

/// Lets accounts sign with a classical scheme, to measure what post-quantum signatures cost.
const COMPARISON: &str = "bench-ed25519";
/// The crates that have the feature; each passes it on to the runtime and nobody else.
const CARRIERS: &[&str] = &["x0-runtime", "x0-service", "x0-load"];

/// Findings about ways to switch such a feature on other than on the command line of `make bench`.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .context("cargo metadata")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata prints JSON")?;
    Ok(metadata["packages"].as_array().into_iter().flatten().flat_map(findings_of).collect())
}

fn findings_of(package: &Value) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let mut findings = Vec::new();
    for (feature, enabled) in package["features"].as_object().into_iter().flatten() {
        if feature == COMPARISON {
            if !CARRIERS.contains(&name) {
                findings.push(format!("{name} has the feature {COMPARISON}: only {} may", CARRIERS.join(", ")));
            }
            continue;
        }
        if enabled.as_array().into_iter().flatten().any(names_it) {
            findings.push(format!("{name}'s feature {feature} switches {COMPARISON} on: nothing may"));
        }
    }
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        if dependency["features"].as_array().into_iter().flatten().any(names_it) {
            findings.push(format!("{name} depends on {} with {COMPARISON}: nothing may", dependency["name"]));
        }
    }
    findings
}

fn names_it(feature: &Value) -> bool {
    feature.as_str().is_some_and(|feature| feature.ends_with(COMPARISON))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_carriers_have_the_feature_and_nobody_switches_it_on() {
        let fine = json!({ "name": "x0-load", "features": { "bench-ed25519": ["x0-runtime/bench-ed25519"] },
            "dependencies": [{ "name": "x0-runtime", "features": [] }] });
        assert!(findings_of(&fine).is_empty());
        let default = json!({ "name": "x0-load", "features": { "default": ["bench-ed25519"] } });
        assert_eq!(findings_of(&default).len(), 1);
        let elsewhere = json!({ "name": "x0-wallet", "features": { "bench-ed25519": [] } });
        assert_eq!(findings_of(&elsewhere).len(), 1);
        let dependency = json!({ "name": "x0-rpc", "features": {},
            "dependencies": [{ "name": "x0-runtime", "features": ["bench-ed25519"] }] });
        assert_eq!(findings_of(&dependency).len(), 1);
    }
}
