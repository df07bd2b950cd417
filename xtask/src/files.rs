//! Sizes of files, docs of crates, and what no file may contain.

use anyhow::{Context, Result};
use std::{fs, path::Path, process::Command};

/// Lines from which a source file is too long to read at a sitting.
const LINES_MAX: usize = 800;
/// Share of source files that may be longer than the wanted 500 lines, in percent.
const LONG_FILES_PERCENT_MAX: usize = 10;
const LINES_WANTED: usize = 500;

/// Documents that a newcomer and an operator look for.
const DOCUMENTS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "LICENSE",
    "docs/adr/README.md",
    "docs/keys.md",
    "docs/limits.md",
    "docs/fault-model.md",
    "docs/testing.md",
];

/// Text that marks unfinished or forbidden work, and why it is forbidden.
fn forbidden() -> Vec<(String, &'static str)> {
    // Written in two halves, so that this file does not find itself.
    vec![
        (["#[", "ignore"].concat(), "a test that is ignored proves nothing"),
        (["todo", "!("].concat(), "unfinished code does not land"),
        (["unimplemented", "!("].concat(), "unfinished code does not land"),
        (["index.", "crates.io"].concat(), "files do not name a registry's host"),
        (["registry.", "npmjs.org"].concat(), "files do not name a registry's host"),
    ]
}

/// Findings about the tracked files.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for document in DOCUMENTS {
        if !root.join(document).is_file() {
            findings.push(format!("{document} is missing"));
        }
    }
    let (mut sources, mut long) = (0usize, Vec::new());
    for name in &tracked(root)? {
        let Ok(text) = fs::read_to_string(root.join(name)) else { continue };
        if name != "Cargo.lock" {
            for (needle, reason) in forbidden() {
                if text.contains(&needle) {
                    findings.push(format!("{name} contains `{needle}`: {reason}"));
                }
            }
        }
        findings.extend(broken_links(root, name, &text));
        if !name.ends_with(".rs") || name.starts_with("workspace-hack/") {
            continue;
        }
        sources += 1;
        let lines = text.lines().count();
        if lines > LINES_MAX {
            findings.push(format!("{name} has {lines} lines; the limit is {LINES_MAX}"));
        } else if lines > LINES_WANTED {
            long.push(name.clone());
        }
        if (name.ends_with("/lib.rs") || name.ends_with("/main.rs")) && !text.trim_start().starts_with("//!") {
            findings.push(format!("{name} does not open with the crate's documentation"));
        }
    }
    if long.len() * 100 > sources * LONG_FILES_PERCENT_MAX {
        findings.push(format!(
            "{} of {sources} files are longer than {LINES_WANTED} lines: {}",
            long.len(),
            long.join(", ")
        ));
    }
    Ok(findings)
}

/// Names of the tracked files, relative to the root.
pub fn tracked(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output().context("git ls-files")?;
    let listing = String::from_utf8(output.stdout).context("file names are UTF-8")?;
    Ok(listing.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

/// Relative links of a Markdown document that lead nowhere.
fn broken_links(root: &Path, name: &str, text: &str) -> Vec<String> {
    if !name.ends_with(".md") {
        return Vec::new();
    }
    let folder = Path::new(name).parent().unwrap_or(Path::new(""));
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.contains("://") && !target.starts_with('#') && !target.starts_with("mailto:"))
        .filter_map(|target| {
            let path = target.split('#').next().unwrap_or_default();
            (!root.join(folder).join(path).exists()).then(|| format!("{name} links to {target}, which does not exist"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::broken_links;
    use std::path::Path;

    #[test]
    fn finds_links_that_lead_nowhere() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(broken_links(root, "a.md", "see [x](Cargo.toml#top) and [y](#here)").is_empty());
        assert_eq!(broken_links(root, "a.md", "see [x](nowhere.md)").len(), 1);
    }
}
