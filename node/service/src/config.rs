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
    io::Read as _,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};
use x0_light::Checkpoint;
use x0_limits as limits;

/// The documented default configuration file.
pub const DEFAULT_FILE: &str = include_str!("../../../docs/operating/x0-node.toml");

/// Port of the plain listener when nobody says otherwise: Substrate's, where clients look first.
const PLAIN_PORT: u16 = 9944;
/// Port of the listener for metrics when nobody says otherwise: Substrate's, where operators look first.
const METRICS_PORT: u16 = 9615;
/// Largest configuration file, bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The file, as written. Unknown keys are errors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileConfig {
    /// `[node]`
    pub node: NodeSection,
    /// `[keys]`
    pub keys: KeysSection,
    /// `[signer]`
    pub signer: Option<SignerSection>,
    /// `[network]`
    pub network: NetworkSection,
    /// `[rpc]`
    pub rpc: RpcSection,
    /// `[metrics]`
    pub metrics: MetricsSection,
    /// `[consensus]`
    pub consensus: ConsensusSection,
    /// `[sync]`
    pub sync: SyncSection,
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

/// Where the node's keys are. A file that is not named is in the directory `keys` of the data directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeysSection {
    /// Keystore file of the consensus key.
    pub consensus: Option<PathBuf>,
    /// Keystore file of the network key.
    pub network: Option<PathBuf>,
    /// Keystore file of the reporter key.
    pub reporter: Option<PathBuf>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
}

impl KeysSection {
    /// The consensus key's file.
    #[must_use]
    pub fn consensus(&self, base: &Path) -> PathBuf {
        self.consensus.clone().unwrap_or_else(|| base.join("keys/consensus.json"))
    }

    /// The network key's file.
    #[must_use]
    pub fn network(&self, base: &Path) -> PathBuf {
        self.network.clone().unwrap_or_else(|| base.join("keys/network.json"))
    }

    /// The reporter key's file.
    #[must_use]
    pub fn reporter(&self, base: &Path) -> PathBuf {
        self.reporter.clone().unwrap_or_else(|| base.join("keys/reporter.json"))
    }
}

/// A signer in another process that holds the consensus key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignerSection {
    /// Where it listens, `host:port`.
    pub address: String,
    /// What `x0-node key inspect` says of the signer's network key, as a file.
    pub link_key: PathBuf,
    /// What `x0-node key inspect` says of the consensus key, as a file.
    pub consensus_key: PathBuf,
}

/// The links to other nodes. Without listeners and peers the node is alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkSection {
    /// Where the node listens for other nodes.
    pub listen: Vec<SocketAddr>,
    /// Addresses under which others reach this node, `host:port`.
    pub advertise: Vec<String>,
    /// Nodes to connect to, `<key>@host:port`.
    pub peers: Vec<String>,
    /// Fingerprints of network keys that are admitted whatever the chain says.
    pub admitted: Vec<x0_types::Hash>,
}

impl NetworkSection {
    /// Whether the node has no links to others, and cannot get any.
    #[must_use]
    pub fn is_solo(&self) -> bool {
        self.listen.is_empty() && self.peers.is_empty()
    }
}

/// Metrics, health and readiness.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSection {
    /// Address of the listener, or `off`.
    pub address: String,
    /// Time beyond the idle interval after which a height that does not grow counts as a fault, milliseconds.
    pub stall_ms: u64,
}

impl Default for MetricsSection {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, METRICS_PORT)).to_string(),
            stall_ms: limits::HEALTH_STALL_MS,
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

/// How a node without a chain gets one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SyncMode {
    /// Executes every block.
    #[default]
    Blocks,
    /// Fetches the state of a recent block from peers and verifies it.
    Snapshot,
}

/// Joining, and helping others to join.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyncSection {
    /// How a node without a chain gets one.
    pub mode: SyncMode,
    /// Blocks between the snapshots that this node makes for others; 0 makes none.
    pub snapshot_interval: u32,
    /// A block that somebody vouches for, `HEIGHT:0xHASH:TIME`.
    pub checkpoint: Option<String>,
}

impl Default for SyncSection {
    fn default() -> Self {
        Self { mode: SyncMode::Blocks, snapshot_interval: limits::SNAPSHOT_INTERVAL_BLOCKS, checkpoint: None }
    }
}

/// The database.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageSection {
    /// Recent blocks whose state stays readable.
    pub states_kept: u32,
    /// Blocks below the head whose bodies and certificates stay; all of them when absent.
    pub history_blocks: Option<u32>,
    /// Cache of trie nodes and values, bytes.
    pub trie_cache_bytes: usize,
}

impl Default for StorageSection {
    fn default() -> Self {
        Self { states_kept: limits::STATES_KEPT, history_blocks: None, trie_cache_bytes: limits::TRIE_CACHE_BYTES }
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
    /// Address of the listener for metrics, unless it is off.
    pub metrics: Option<SocketAddr>,
    /// The block that somebody vouches for.
    pub checkpoint: Option<Checkpoint>,
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
        apply_network(&mut file, args);
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
        let plain = address_or_off("rpc.plain", &file.rpc.plain)?;
        let metrics = address_or_off("metrics.address", &file.metrics.address)?;
        if !args.dev && file.node.chain.is_none() {
            return Err(Failure::configuration("no chain is named: pass --chain FILE, set node.chain, or run --dev"));
        }
        if file.storage.states_kept == 0 {
            return Err(Failure::configuration("storage.states_kept: at least 1 state must be kept"));
        }
        if let Some(blocks) = file.storage.history_blocks
            && blocks < limits::HISTORY_BLOCKS_MIN
        {
            let least = limits::HISTORY_BLOCKS_MIN;
            return Err(Failure::configuration(format!("storage.history_blocks: {blocks} are fewer than {least}")));
        }
        let checkpoint = match &file.sync.checkpoint {
            Some(text) => Some(
                text.parse().map_err(|cause| Failure::configuration(format!("sync.checkpoint: '{text}': {cause}")))?,
            ),
            None => None,
        };
        Ok(Self { dev: args.dev, file, base_path, plain, metrics, checkpoint, password_fd: args.password_fd })
    }
}

/// What flags say about listeners for nodes and for metrics.
fn apply_network(file: &mut FileConfig, args: &RunArgs) {
    if !args.listen.is_empty() {
        file.network.listen.clone_from(&args.listen);
    }
    file.network.peers.extend(args.peer.iter().cloned());
    file.sync.mode = args.sync.unwrap_or(file.sync.mode);
    if let Some(checkpoint) = &args.checkpoint {
        file.sync.checkpoint = Some(checkpoint.clone());
    }
    if let Some(address) = &args.metrics_address {
        file.metrics.address.clone_from(address);
    } else if args.dev && file.metrics.address == MetricsSection::default().address {
        // Several development nodes run beside each other without being told where to listen.
        file.metrics.address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).to_string();
    }
}

/// An address, or `off`.
fn address_or_off(setting: &str, text: &str) -> Result<Option<SocketAddr>, Failure> {
    if text == "off" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Failure::configuration(format!("{setting}: '{text}' is neither an address like 127.0.0.1:9944 nor 'off'"))
    })
}

/// Reads a file of settings, and gives the directory that it is in.
///
/// # Errors
/// One line that names the file.
pub fn read_text(path: &Path) -> Result<(String, PathBuf), Failure> {
    let unreadable =
        |cause: &dyn core::fmt::Display| Failure::configuration(format!("cannot read {}: {cause}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|cause| unreadable(&cause))?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|cause| unreadable(&cause))?;
    let whole = path.canonicalize().map_err(|cause| unreadable(&cause))?;
    Ok((text, whole.parent().unwrap_or(Path::new("/")).to_owned()))
}

/// Reads and parses a configuration file. Paths in it count from the file's own directory, so that a
/// directory with its configuration can be moved as a whole.
///
/// # Errors
/// One line that names the file.
pub fn read(path: &Path) -> Result<FileConfig, Failure> {
    let (text, directory) = read_text(path)?;
    let mut config: FileConfig =
        parse(&text).map_err(|cause| Failure::configuration(format!("{}: {cause}", path.display())))?;
    let keys = &mut config.keys;
    let mut anchored = [
        &mut config.node.chain,
        &mut config.node.base_path,
        &mut keys.password_file,
        &mut keys.consensus,
        &mut keys.network,
        &mut keys.reporter,
    ];
    for path in anchored.iter_mut().filter_map(|path| path.as_mut()) {
        *path = directory.join(&*path);
    }
    if let Some(signer) = &mut config.signer {
        signer.link_key = directory.join(&signer.link_key);
        signer.consensus_key = directory.join(&signer.consensus_key);
    }
    if let Some(web) = &mut config.rpc.web {
        web.certificate = directory.join(&web.certificate);
        web.key = directory.join(&web.key);
    }
    Ok(config)
}

/// Parses settings.
///
/// # Errors
/// What is wrong, with its line.
pub fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
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
        assert_eq!(parse::<FileConfig>(DEFAULT_FILE).unwrap(), FileConfig::default());
    }

    #[test]
    fn every_commented_setting_of_the_default_file_parses() {
        // Settings without a default stand in the file behind "#> ".
        let full: String =
            DEFAULT_FILE.lines().map(|line| format!("{}\n", line.strip_prefix("#> ").unwrap_or(line))).collect();
        let config: FileConfig = parse(&full).unwrap();
        assert!(config.rpc.native.is_some() && config.rpc.web.is_some() && config.node.chain.is_some());
        assert!(
            config.signer.is_some()
                && config.storage.history_blocks.is_some()
                && config.sync.checkpoint.is_some()
                && config.keys.password_file.is_some()
                && config.consensus.busy_ms.is_some()
                && config.consensus.idle_ms.is_some()
        );
    }

    #[test]
    fn unknown_keys_and_wrong_types_name_their_line() {
        let unknown = parse::<FileConfig>("[rpc]\nplain = \"off\"\nplian = 1\n").unwrap_err();
        assert!(unknown.contains("line 3") && unknown.contains("plian"), "{unknown}");
        let wrong = parse::<FileConfig>("[storage]\nstates_kept = \"many\"\n").unwrap_err();
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
