//! `x0-node doctor`: looks at a machine before a node is trusted to it, and at one that misbehaves.
//!
//! ```text
//!   settings -> chain -> keys -> clock -> disk -> limits -> ports or the running node -> peers -> chain data, guard
//! ```
//!
//! Every check says what it saw. A failure is something that keeps the node from running or from signing in time; a
//! warning is something that will. Nothing is changed, and a running node is left alone.

mod machine;
mod node;

use crate::{
    cli::{DoctorArgs, RunArgs},
    config::{BasePath, Config},
    exit::Failure,
    keys,
};
use serde::Serialize;
use std::path::{Path, PathBuf};
use x0_chain_spec::ChainSpec;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Good,
    /// It will be a fault.
    Warning,
    /// It is a fault.
    Failure,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen.
    pub message: String,
}

/// The findings so far.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, check: &'static str, outcome: Outcome, message: impl core::fmt::Display) {
        // One line, whatever libraries put into their messages.
        let message = message.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        self.0.push(Finding { check, outcome, message });
    }

    fn good(&mut self, check: &'static str, message: impl core::fmt::Display) {
        self.add(check, Outcome::Good, message);
    }

    fn warning(&mut self, check: &'static str, message: impl core::fmt::Display) {
        self.add(check, Outcome::Warning, message);
    }

    fn failure(&mut self, check: &'static str, message: impl core::fmt::Display) {
        self.add(check, Outcome::Failure, message);
    }

    fn failures(&self) -> usize {
        self.0.iter().filter(|finding| finding.outcome == Outcome::Failure).count()
    }

    /// The findings for people, a line each.
    fn text(&self) -> String {
        let line = |finding: &Finding| {
            let mark = match finding.outcome {
                Outcome::Good => "ok  ",
                Outcome::Warning => "WARN",
                Outcome::Failure => "FAIL",
            };
            format!("{mark}  {:<9} {}\n", finding.check, finding.message)
        };
        self.0.iter().map(line).collect()
    }
}

/// Examines the machine and prints the findings.
///
/// # Errors
/// How many checks failed.
pub fn doctor(args: &DoctorArgs, print: impl Fn(&str) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut findings = Findings::default();
    examine(&args.run, &mut findings);
    let text = if args.json {
        serde_json::to_string_pretty(&findings.0).map_err(Failure::configuration)? + "\n"
    } else {
        findings.text()
    };
    print(&text)?;
    match findings.failures() {
        0 => Ok(()),
        count => Err(Failure::configuration(format!("{count} of {} checks failed", findings.0.len()))),
    }
}

fn examine(args: &RunArgs, findings: &mut Findings) {
    let config = match Config::load(args) {
        Ok(config) => config,
        Err(failure) => return findings.failure("settings", failure.reason),
    };
    findings.good("settings", "the configuration is complete");
    let Some(spec) = chain(&config, findings) else { return };
    let base = match &config.base_path {
        BasePath::Directory(path) => path.clone(),
        BasePath::Temporary => return findings.failure("settings", "--tmp leaves nothing to examine"),
    };
    key_files(&config, &base, findings);
    machine::clock(&spec, findings);
    // The directory is made by the first start; until then its parent tells of the same disk.
    let disk = existing(&base);
    machine::disk(&disk, findings);
    machine::limits(findings);
    node::examine(&config, &spec, &base, findings);
}

/// The nearest directory that exists.
fn existing(path: &Path) -> PathBuf {
    path.ancestors()
        .find(|path| path.is_dir())
        .filter(|path| !path.as_os_str().is_empty())
        .map_or_else(|| PathBuf::from("."), Path::to_owned)
}

fn chain(config: &Config, findings: &mut Findings) -> Option<ChainSpec> {
    let loaded = match &config.file.node.chain {
        Some(path) => ChainSpec::load(path).map_err(|cause| format!("{}: {cause}", path.display())),
        None => ChainSpec::dev().map_err(|cause| cause.to_string()),
    };
    let checked = loaded.and_then(|spec| {
        let hash = spec.genesis_hash().map_err(|cause| cause.to_string())?;
        Ok((spec, hash))
    });
    match checked {
        Ok((spec, hash)) => {
            findings.good(
                "chain",
                format!("{} ({} validators at the start), genesis {hash:?}", spec.id, spec.validators.len()),
            );
            Some(spec)
        }
        Err(reason) => {
            findings.failure("chain", reason);
            None
        }
    }
}

/// Key files: there, for this user only, whole, of the right role, and openable with the password if that is in a file.
fn key_files(config: &Config, base: &Path, findings: &mut Findings) {
    if config.dev {
        return findings.warning("keys", "a development chain: everybody knows these keys");
    }
    let section = &config.file.keys;
    let files = [
        ("consensus", section.consensus(base), section.consensus.is_some()),
        ("network", section.network(base), section.network.is_some()),
        ("reporter", section.reporter(base), section.reporter.is_some()),
    ];
    for (role, path, named) in files {
        match keys::is_there(&path) {
            Ok(true) => key_file(role, &path, findings),
            Ok(false) if named => findings.failure("keys", format!("keys.{role}: there is no {}", path.display())),
            Ok(false) if role == "consensus" => {
                findings.warning(
                    "keys",
                    format!("no {role} key in {}: the node follows and does not vote", path.display()),
                );
            }
            Ok(false) if role == "network" => {
                findings.warning(
                    "keys",
                    format!("no {role} key in {}: peers see a stranger at each start", path.display()),
                );
            }
            Ok(false) => {
                findings.warning("keys", format!("no {role} key in {}: the node does not measure", path.display()));
            }
            Err(failure) => findings.failure("keys", failure.reason),
        }
    }
    if section.password_file.is_some() && config.password_fd.is_none() {
        match keys::NodeKeys::open(config, base) {
            Ok(_) => findings.good("keys", "the password opens the key files"),
            Err(failure) => findings.failure("keys", failure.reason),
        }
    }
    if let Some(path) = &section.password_file {
        private("password", path, findings);
    }
}

fn key_file(role: &'static str, path: &Path, findings: &mut Findings) {
    use x0_crypto::keystore::KeystoreFile;
    match KeystoreFile::read(path) {
        Ok(file) if file.role() == role => match file.public_key() {
            Ok(key) => {
                findings
                    .good("keys", format!("{role} key {} in {}", hex::encode(&key.fingerprint()[..4]), path.display()));
            }
            Err(cause) => findings.failure("keys", format!("{}: {cause}", path.display())),
        },
        Ok(file) => findings
            .failure("keys", format!("{} holds a key for the role '{}', not '{role}'", path.display(), file.role())),
        Err(cause) => findings.failure("keys", cause),
    }
    private("keys", path, findings);
}

/// A file that others can read is no secret.
fn private(check: &'static str, path: &Path, findings: &mut Findings) {
    use std::os::unix::fs::PermissionsExt as _;
    match std::fs::metadata(path) {
        Ok(data) if data.permissions().mode() & 0o077 != 0 => {
            let mode = data.permissions().mode() & 0o777;
            findings.failure(check, format!("{} has mode {mode:o}: others can read it (chmod 600)", path.display()));
        }
        Ok(_) => {}
        Err(cause) => findings.failure(check, format!("cannot look at {}: {cause}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn secrets_that_others_can_read_are_failures() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        std::fs::write(&path, "x").unwrap();
        for (mode, failures) in [(0o600, 0), (0o640, 1), (0o604, 1)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let mut findings = Findings::default();
            private("password", &path, &mut findings);
            assert_eq!(findings.failures(), failures, "{mode:o}");
        }
    }

    #[test]
    fn a_broken_configuration_is_the_only_finding() {
        let mut findings = Findings::default();
        examine(&RunArgs { config: Some("/nonexistent.toml".into()), ..RunArgs::default() }, &mut findings);
        assert_eq!(findings.failures(), 1);
        assert!(findings.text().starts_with("FAIL  settings") && findings.text().contains("/nonexistent.toml"));
    }

    #[test]
    fn the_disk_of_a_directory_to_be_is_its_parents() {
        assert_eq!(existing(Path::new("/tmp/nonexistent/deeper")), Path::new("/tmp"));
        assert_eq!(existing(Path::new("nonexistent")), Path::new("."));
    }
}
