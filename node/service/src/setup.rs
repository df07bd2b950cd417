//! Making data directories: for one node (`init`) and for a whole network (`testnet`).
//!
//! ```text
//!   DIR/config.toml  chain.json  keys/{consensus,network,reporter}.json  [password]      made here
//!   DIR/data/                                                                            made by the node
//! ```
//!
//! Nothing is ever overwritten, and the configuration is written last: a directory with one is complete.

mod init;
mod testnet;

pub use init::init;
pub use testnet::testnet;

use crate::{exit::Failure, keys};
use std::{
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};
use x0_crypto::{
    SigningKey,
    keystore::{KdfParams, Password},
};
use x0_types::{KeyRole, MlDsa65PublicKey};

/// Name of the configuration in a data directory.
pub const CONFIG: &str = "config.toml";
/// Name of the chain specification in a data directory.
const CHAIN: &str = "chain.json";
/// Name of the directory of the chain, the guard and the engine's log.
const DATA: &str = "data";
/// Mode of directories with keys.
const DIRECTORY_MODE: u32 = 0o700;
/// Mode of files with secrets.
const SECRET_MODE: u32 = 0o600;
/// Mode of files that everybody may read.
const PUBLIC_MODE: u32 = 0o644;

/// The keys of a validator.
struct ValidatorKeys {
    consensus: SigningKey,
    network: SigningKey,
    reporter: SigningKey,
}

impl ValidatorKeys {
    /// Makes them in `DIR/keys`.
    fn generate(directory: &Path, password: &Password, params: &KdfParams) -> Result<Self, Failure> {
        let keys = directory.join("keys");
        make_directory(&keys)?;
        let key = |role, name: &str| keys::generate(role, &keys.join(format!("{name}.json")), password, params);
        Ok(Self {
            consensus: key(KeyRole::Consensus, "consensus")?,
            network: key(KeyRole::Network, "network")?,
            reporter: key(KeyRole::Reporter, "reporter")?,
        })
    }
}

/// The names of a validator's keys.
const ROLES: &[&str] = &["consensus", "network", "reporter"];

/// What stands in a node's configuration file beside the defaults.
#[derive(Default)]
struct Settings<'a> {
    name: &'a str,
    roles: &'a [&'a str],
    password_file: Option<&'a str>,
    listen: Vec<String>,
    advertise: Vec<String>,
    peers: Vec<String>,
    rpc: Option<String>,
    metrics: Option<String>,
}

impl Settings<'_> {
    /// The file's text.
    fn text(&self) -> String {
        let mut text = String::from("# `x0-node default-config` prints every setting with its meaning.\n");
        let mut section = |name: &str, lines: Vec<(&str, Option<String>)>| {
            let lines: Vec<_> = lines.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
            if !lines.is_empty() {
                text.push_str(&format!("\n[{name}]\n"));
                lines.iter().for_each(|(key, value)| text.push_str(&format!("{key} = {value}\n")));
            }
        };
        section(
            "node",
            vec![("name", Some(quoted(self.name))), ("chain", Some(quoted(CHAIN))), ("base_path", Some(quoted(DATA)))],
        );
        let mut keys: Vec<(&str, Option<String>)> = Vec::new();
        keys.extend(self.roles.iter().map(|role| (*role, Some(quoted(&format!("keys/{role}.json"))))));
        keys.push(("password_file", self.password_file.map(quoted)));
        section("keys", keys);
        section(
            "network",
            vec![("listen", list(&self.listen)), ("advertise", list(&self.advertise)), ("peers", list(&self.peers))],
        );
        section("rpc", vec![("plain", self.rpc.as_deref().map(quoted))]);
        section("metrics", vec![("address", self.metrics.as_deref().map(quoted))]);
        text
    }
}

/// A text as TOML reads it. JSON's escapes are a part of TOML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Texts as a TOML array; nothing when there are none.
fn list(texts: &[String]) -> Option<String> {
    if texts.is_empty() {
        return None;
    }
    let lines: Vec<String> = texts.iter().map(|text| format!("    {},\n", quoted(text))).collect();
    Some(format!("[\n{}]", lines.concat()))
}

/// Makes a directory for secrets, with its parents, unless it is there.
fn make_directory(path: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
        .map_err(|cause| Failure::configuration(format!("cannot create the directory {}: {cause}", path.display())))
}

/// Writes a new file and waits until it is on the disk.
///
/// # Errors
/// One line that names the file, also when it exists.
pub fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let failed = |cause| Failure::configuration(format!("cannot write {}: {cause}", path.display()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

/// Refuses to go on when something of this name exists.
///
/// # Errors
/// One line that names it.
pub fn refuse_present(path: &Path, why: &str) -> Result<(), Failure> {
    if keys::is_there(path)? {
        return Err(Failure::configuration(format!("{} exists already: {why}", path.display())));
    }
    Ok(())
}

/// A key as the chain stores it.
fn on_chain(key: &SigningKey) -> MlDsa65PublicKey {
    MlDsa65PublicKey(key.public().clone().to_boxed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn what_is_written_is_what_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(CONFIG);
        let settings = Settings {
            name: "a \"b\" \\ c",
            roles: ROLES,
            password_file: Some("password"),
            listen: vec!["10.0.0.1:1".into()],
            peers: vec![format!("{}@h:1", "0".repeat(64)), "x".into()],
            metrics: Some("off".into()),
            ..Settings::default()
        };
        write_new(&path, &settings.text(), PUBLIC_MODE).unwrap();
        let file = config::read(&path).unwrap();
        assert_eq!(file.node.name.as_deref(), Some(settings.name));
        assert_eq!(file.network.listen, ["10.0.0.1:1".parse().unwrap()]);
        assert_eq!((file.network.peers, file.metrics.address.as_str()), (settings.peers, "off"));
        // Relative paths count from the file.
        let base = directory.path().canonicalize().unwrap();
        assert_eq!(file.keys.password_file, Some(base.join("password")));
        assert_eq!(file.node.chain, Some(base.join(CHAIN)));
        assert_eq!(file.keys.reporter, Some(base.join("keys/reporter.json")));
        assert!(write_new(&path, "", PUBLIC_MODE).unwrap_err().reason.contains(CONFIG), "never overwritten");
    }
}
