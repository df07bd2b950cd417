//! The node's settings: one TOML file, merged with flags and environment.
//!
//! ```text
//!   flag  >  environment (X0_*)  >  file  >  default
//!   \___ clap does these two ___/
//! ```
//!
//! The default file is [`DEFAULT_FILE`]: what `x0-node default-config` prints, what stands in
//! `docs/operating/x0-node.toml`, and what a test parses back into [`FileConfig::default`].

use crate::{cli::RunArgs, exit::Failure};
use serde::Deserialize;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};
use x0_limits as limits;

/// The documented default configuration file.
pub const DEFAULT_FILE: &str = include_str!("../../../docs/operating/x0-node.toml");

/// Port of the plain listener when nobody says otherwise: Substrate's, where clients look first.
const PLAIN_PORT: u16 = 9944;

/// The file, as written. Unknown keys are errors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileConfig {
    /// `[node]`
    pub node: NodeSection,
    /// `[keys]`
    pub keys: KeysSection,
    /// `[rpc]`
    pub rpc: RpcSection,
    /// `[consensus]`
    pub consensus: ConsensusSection,
    /// `[storage]`
    pub storage: StorageSection,
    /// `[offchain]`
    pub offchain: OffchainSection,
    /// `[log]`
    pub log: LogSection,
}

/// What runs and where its data is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeSection {
    /// Name of the node in logs.
    pub name: Option<String>,
    /// The chain specification.
    pub chain: Option<PathBuf>,
    /// The data directory.
    pub base_path: Option<PathBuf>,
}

/// Where the node's keys are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeysSection {
    /// Keystore file of the consensus key.
    pub consensus: PathBuf,
    /// Keystore file of the network key.
    pub network: PathBuf,
    /// Keystore file of the reporter key.
    pub reporter: PathBuf,
    /// File with the password.
    pub password_file: Option<PathBuf>,
}

impl Default for KeysSection {
    fn default() -> Self {
        Self {
            consensus: "keys/consensus.json".into(),
            network: "keys/network.json".into(),
            reporter: "keys/reporter.json".into(),
            password_file: None,
        }
    }
}

/// The RPC's listeners.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RpcSection {
    /// Address of the plain listener, or `off`.
    pub plain: String,
    /// Web pages that may use the plain and the web listener.
    pub origins: Vec<String>,
    /// Whether the plain listener serves `admin_*`.
    #[serde(rename = "unsafe")]
    pub unsafe_methods: bool,
    /// `[rpc.native]`
    pub native: Option<NativeSection>,
    /// `[rpc.web]`
    pub web: Option<WebSection>,
}

impl Default for RpcSection {
    fn default() -> Self {
        Self {
            plain: SocketAddr::from((Ipv4Addr::LOCALHOST, PLAIN_PORT)).to_string(),
            origins: Vec::new(),
            unsafe_methods: false,
            native: None,
            web: None,
        }
    }
}

/// The native post-quantum TLS listener.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NativeSection {
    /// Where it listens.
    pub address: SocketAddr,
    /// Fingerprints (BLAKE2b-256, 0x hex) of the client keys that are admitted; all when empty.
    #[serde(default)]
    pub clients: Vec<x0_types::Hash>,
}

/// The TLS listener for browsers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebSection {
    /// Where it listens.
    pub address: SocketAddr,
    /// PEM file with the certificate chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// Whether browsers without X25519MLKEM768 are admitted.
    #[serde(default)]
    pub allow_classical: bool,
}

/// The pace of blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsensusSection {
    /// Distance between blocks while there is work, milliseconds.
    pub busy_ms: Option<u64>,
    /// Longest wait for work before an empty block, milliseconds.
    pub idle_ms: Option<u64>,
}

/// The database.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageSection {
    /// Recent blocks whose state stays readable.
    pub states_kept: u32,
    /// Cache of trie nodes and values, bytes.
    pub trie_cache_bytes: usize,
}

impl Default for StorageSection {
    fn default() -> Self {
        Self { states_kept: limits::STATES_KEPT, trie_cache_bytes: limits::TRIE_CACHE_BYTES }
    }
}

/// The measuring worker.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OffchainSection {
    /// Whether a validator measures and reports.
    pub enabled: bool,
}

impl Default for OffchainSection {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// Logs, on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// The filter.
    pub filter: String,
    /// Whether lines are JSON.
    pub json: bool,
}

impl Default for LogSection {
    fn default() -> Self {
        Self { filter: "info,arc_malachitebft=warn".to_owned(), json: false }
    }
}

/// Where the node's data is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BasePath {
    /// A directory that stays.
    Directory(PathBuf),
    /// A fresh one that is removed at the end.
    Temporary,
}

/// The settings that hold, after merging.
#[derive(Clone, Debug)]
pub struct Config {
    /// A development chain.
    pub dev: bool,
    /// The file's sections with flags and environment applied.
    pub file: FileConfig,
    /// Where the data is.
    pub base_path: BasePath,
    /// Address of the plain listener, unless it is off.
    pub plain: Option<SocketAddr>,
    /// Descriptor of the password.
    pub password_fd: Option<i32>,
}

impl Config {
    /// Reads the file, if one is named, and applies what the command line and environment say.
    ///
    /// # Errors
    /// One line that names the file and the key.
    pub fn load(args: &RunArgs) -> Result<Self, Failure> {
        let mut file = match &args.config {
            Some(path) => read(path)?,
            None => FileConfig::default(),
        };
        let set = |target: &mut Option<PathBuf>, flag: &Option<PathBuf>| {
            if let Some(path) = flag {
                *target = Some(path.clone());
            }
        };
        set(&mut file.node.chain, &args.chain);
        set(&mut file.keys.password_file, &args.password_file);
        if let Some(port) = args.rpc_port {
            file.rpc.plain = SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string();
        }
        if let Some(address) = &args.rpc_address {
            file.rpc.plain.clone_from(address);
        }
        if let Some(address) = args.rpc_native_address {
            match &mut file.rpc.native {
                Some(native) => native.address = address,
                none => *none = Some(NativeSection { address, clients: Vec::new() }),
            }
        }
        file.rpc.unsafe_methods |= args.rpc_unsafe;
        if let Some(filter) = &args.log {
            file.log.filter.clone_from(filter);
        }
        file.log.json |= args.log_json;
        if args.dev && file.rpc.origins.is_empty() {
            // Wallets in a browser may use a development chain, whose keys everybody knows.
            file.rpc.origins.push("*".to_owned());
        }
        let base_path = if args.tmp {
            BasePath::Temporary
        } else {
            let named = args.base_path.clone().or_else(|| file.node.base_path.clone());
            BasePath::Directory(match named {
                Some(path) => path,
                None => default_base_path(args.dev)?,
            })
        };
        let plain = match file.rpc.plain.as_str() {
            "off" => None,
            text => Some(text.parse().map_err(|_| {
                Failure::configuration(format!(
                    "rpc.plain: '{text}' is neither an address like 127.0.0.1:9944 nor 'off'"
                ))
            })?),
        };
        if !args.dev && file.node.chain.is_none() {
            return Err(Failure::configuration("no chain is named: pass --chain FILE, set node.chain, or run --dev"));
        }
        if file.storage.states_kept == 0 {
            return Err(Failure::configuration("storage.states_kept: at least 1 state must be kept"));
        }
        Ok(Self { dev: args.dev, file, base_path, plain, password_fd: args.password_fd })
    }
}

/// Reads and parses a configuration file.
fn read(path: &Path) -> Result<FileConfig, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|cause| Failure::configuration(format!("cannot read {}: {cause}", path.display())))?;
    parse(&text).map_err(|cause| Failure::configuration(format!("{}: {cause}", path.display())))
}

/// Parses a configuration file.
fn parse(text: &str) -> Result<FileConfig, String> {
    toml::from_str(text).map_err(|cause: toml::de::Error| {
        let line = cause.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
        line.map_or_else(|| cause.message().to_owned(), |line| format!("line {line}: {}", cause.message()))
    })
}

/// The directory of a node that names none: under the user's data directory.
fn default_base_path(dev: bool) -> Result<PathBuf, Failure> {
    let data = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")))
        .ok_or_else(|| {
            Failure::configuration("no data directory is named and HOME is not set: pass --base-path DIR")
        })?;
    Ok(data.join("x0-node").join(if dev { "dev" } else { "main" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_default_is_the_default() {
        assert_eq!(parse(DEFAULT_FILE).unwrap(), FileConfig::default());
    }

    #[test]
    fn every_commented_setting_of_the_default_file_parses() {
        // Settings without a default stand in the file behind "#> ".
        let full: String =
            DEFAULT_FILE.lines().map(|line| format!("{}\n", line.strip_prefix("#> ").unwrap_or(line))).collect();
        let config = parse(&full).unwrap();
        assert!(config.rpc.native.is_some() && config.rpc.web.is_some() && config.node.chain.is_some());
        assert!(
            config.keys.password_file.is_some()
                && config.consensus.busy_ms.is_some()
                && config.consensus.idle_ms.is_some()
        );
    }

    #[test]
    fn unknown_keys_and_wrong_types_name_their_line() {
        let unknown = parse("[rpc]\nplain = \"off\"\nplian = 1\n").unwrap_err();
        assert!(unknown.contains("line 3") && unknown.contains("plian"), "{unknown}");
        let wrong = parse("[storage]\nstates_kept = \"many\"\n").unwrap_err();
        assert!(wrong.contains("line 2"), "{wrong}");
    }

    #[test]
    fn flags_beat_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x0-node.toml");
        std::fs::write(
            &path,
            "[rpc]\nplain = \"127.0.0.1:1\"\n[log]\nfilter = \"warn\"\n[node]\nbase_path = \"/nowhere\"\n",
        )
        .unwrap();
        let mut args = RunArgs { dev: true, config: Some(path), ..RunArgs::default() };
        let from_file = Config::load(&args).unwrap();
        assert_eq!(from_file.plain.unwrap().port(), 1);
        assert_eq!(from_file.file.log.filter, "warn");
        assert_eq!(from_file.base_path, BasePath::Directory("/nowhere".into()));
        args.rpc_port = Some(2);
        args.log = Some("debug".to_owned());
        args.tmp = true;
        let from_flags = Config::load(&args).unwrap();
        assert_eq!(from_flags.plain.unwrap().port(), 2);
        assert_eq!(from_flags.file.log.filter, "debug");
        assert_eq!(from_flags.base_path, BasePath::Temporary);
    }

    #[test]
    fn a_node_without_a_chain_does_not_start() {
        let failure = Config::load(&RunArgs { tmp: true, ..RunArgs::default() }).unwrap_err();
        assert!(failure.reason.contains("--chain"), "{}", failure.reason);
    }
}
