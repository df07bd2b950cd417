//! The configuration file. Flags beat environment variables, which beat the file, which beats defaults.

use std::{
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use x0_agent_io::Pages;
use x0_client::{Endpoint, password::PasswordSource, text::parse_hash};
use x0_limits::AGENT_CONFIG_BYTES_MAX;

use crate::{
    cli::{PasswordArgs, Run},
    error::{AgentError, Result},
    mesh::{plan::Plan, settings::MeshSection},
};

/// The default file, with its documentation.
pub const DEFAULT_FILE: &str = include_str!("default.toml");

/// The file. Unknown fields are errors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who the agent is.
    pub identity: IdentitySection,
    /// Which node it follows.
    #[serde(default)]
    pub chain: ChainSection,
    /// Where it answers probes.
    #[serde(default)]
    pub listen: ListenSection,
    /// Where it says how it is.
    #[serde(default)]
    pub status: StatusSection,
    /// What it logs.
    #[serde(default)]
    pub log: LogSection,
    /// Packet counters in the kernel.
    #[serde(default)]
    pub ebpf: EbpfSection,
    /// The mesh; without it the agent only answers probes.
    pub mesh: Option<MeshSection>,
    /// Numbers for Prometheus; none without it.
    pub metrics: Option<MetricsSection>,
    /// What manifests of deals may declare to be checked.
    #[serde(default, rename = "service")]
    pub services: Vec<ServiceSection>,
}

/// One page, or one port that opens, for the checks that manifests declare.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSection {
    /// The port, on the host that the agent listens on.
    pub port: u16,
    /// The path of a page; without it the port only opens.
    pub path: Option<String>,
    /// The file whose bytes are the page.
    pub file: Option<PathBuf>,
}

/// Who the agent is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentitySection {
    /// The keystore file, role agent.
    pub keystore: PathBuf,
    /// File whose first line is its password.
    pub password_file: Option<PathBuf>,
}

/// Which node the agent follows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChainSection {
    /// `ws://` on this machine, `x0s://` elsewhere.
    pub url: String,
    /// Hash of the chain's first block.
    pub genesis: Option<String>,
    /// BLAKE2b-256 of the node's network key.
    pub server_key: Option<String>,
    /// Whether no node is ever asked: the mesh runs with the peers of the file alone.
    pub offline: bool,
}

impl Default for ChainSection {
    fn default() -> Self {
        Self { url: "ws://127.0.0.1:9944".to_owned(), genesis: None, server_key: None, offline: false }
    }
}

/// Where the agent answers probes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenSection {
    /// Address and port.
    pub address: SocketAddr,
}

impl Default for ListenSection {
    fn default() -> Self {
        Self { address: SocketAddr::from(([0, 0, 0, 0], 7801)) }
    }
}

/// Where the agent says how it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatusSection {
    /// A Unix socket, for its owner only.
    pub path: PathBuf,
}

impl Default for StatusSection {
    fn default() -> Self {
        Self { path: PathBuf::from("agent.sock") }
    }
}

/// What the agent logs, on standard error.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// Filter by module and level.
    pub filter: String,
    /// JSON lines in place of text.
    pub json: bool,
}

impl Default for LogSection {
    fn default() -> Self {
        Self { filter: "info".to_owned(), json: false }
    }
}

/// Where numbers for Prometheus are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSection {
    /// Address and port.
    pub address: SocketAddr,
}

impl Default for MetricsSection {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 7802)) }
    }
}

/// Packet counters in the kernel.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EbpfSection {
    /// Whether to try.
    pub enabled: bool,
    /// The interface to watch; on a loopback address `lo` is meant.
    pub interface: Option<String>,
}

impl Default for EbpfSection {
    fn default() -> Self {
        Self { enabled: true, interface: None }
    }
}

impl Config {
    /// Reads the file. Relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`AgentError::Config`] naming the field and its place.
    pub fn load(path: &Path) -> Result<Self> {
        let wrong = |reason: String| AgentError::Config { path: path.to_owned(), reason };
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(AGENT_CONFIG_BYTES_MAX + 1).read_to_string(&mut text))
            .map_err(|error| wrong(error.to_string()))?;
        if text.len() as u64 > AGENT_CONFIG_BYTES_MAX {
            return Err(wrong(format!("it is longer than {AGENT_CONFIG_BYTES_MAX} bytes")));
        }
        let mut config: Self = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        let relative = [
            Some(&mut config.identity.keystore),
            config.identity.password_file.as_mut(),
            Some(&mut config.status.path),
        ];
        let files = config.services.iter_mut().filter_map(|service| service.file.as_mut());
        for path in relative.into_iter().flatten().chain(files) {
            *path = folder.join(&*path);
        }
        config.endpoint().map_err(|error| wrong(format!("chain: {error}")))?;
        if let Some(mesh) = &mut config.mesh {
            mesh.resolve(folder);
        }
        if config.chain.offline && (config.mesh.is_none() || config.chain.genesis.is_none()) {
            return Err(wrong("chain.offline: it needs chain.genesis and the section [mesh]".to_owned()));
        }
        config.plan(path)?;
        Ok(config)
    }

    /// The pages of each port, read from their files.
    ///
    /// # Errors
    /// A sentence that names the service.
    pub fn pages(&self) -> std::result::Result<Pages, String> {
        if self.services.len() > x0_limits::AGENT_SERVICES_MAX {
            return Err(format!("more than {} services", x0_limits::AGENT_SERVICES_MAX));
        }
        let limit = u64::try_from(x0_limits::SERVICE_ANSWER_BYTES_MAX / 2).unwrap_or(u64::MAX);
        let mut pages = Pages::new();
        for service in &self.services {
            let wrong = |what: &str| format!("service on port {}: {what}", service.port);
            if service.port == 0 || service.port == self.listen.address.port() {
                return Err(wrong("the port must be one of its own"));
            }
            let of_port = pages.entry(service.port).or_default();
            match (&service.path, &service.file) {
                (None, None) => {}
                (Some(path), Some(file)) if path.starts_with('/') => {
                    let mut body = Vec::new();
                    std::fs::File::open(file)
                        .and_then(|open| open.take(limit + 1).read_to_end(&mut body))
                        .map_err(|error| wrong(&format!("{}: {error}", file.display())))?;
                    if body.len() as u64 > limit {
                        return Err(wrong("the file is too large for a check"));
                    }
                    if of_port.insert(path.clone(), body).is_some() {
                        return Err(wrong("the path is there twice"));
                    }
                }
                _ => return Err(wrong("a page has a path that begins with a slash, and a file")),
            }
        }
        Ok(pages)
    }

    /// What the section `[mesh]` asks for, checked; reads the files that it names.
    ///
    /// # Errors
    /// [`AgentError::Config`] with the field's name.
    pub fn plan(&self, path: &Path) -> Result<Option<Plan>> {
        let plan = self.mesh.as_ref().map(|mesh| mesh.plan(self.listen.address)).transpose();
        let plan = plan.map_err(|error| AgentError::Config { path: path.to_owned(), reason: error.to_string() })?;
        match &plan {
            Some(plan) if self.chain.offline && plan.mesh_id.is_none() => Err(AgentError::Config {
                path: path.to_owned(),
                reason: "chain.offline: it needs mesh.name or mesh.id".to_owned(),
            }),
            _ => Ok(plan),
        }
    }

    /// Takes over what the command line says.
    pub fn apply(&mut self, run: &Run) {
        if let Some(url) = &run.url {
            self.chain.url.clone_from(url);
        }
        if let Some(listen) = run.listen {
            self.listen.address = listen;
        }
        if let Some(log) = &run.log {
            self.log.filter.clone_from(log);
        }
    }

    /// The node with its pins.
    ///
    /// # Errors
    /// [`AgentError::Client`] for an address or a pin that does not read.
    pub fn endpoint(&self) -> Result<Endpoint> {
        let pin = |what: &str, text: &Option<String>| text.as_ref().map(|text| parse_hash(what, text)).transpose();
        let endpoint = Endpoint {
            url: self.chain.url.clone(),
            genesis: pin("chain.genesis", &self.chain.genesis)?,
            server_key: pin("chain.server_key", &self.chain.server_key)?,
        };
        endpoint.check()?;
        Ok(endpoint)
    }

    /// Where the password comes from: the command line beats the file.
    #[must_use]
    pub fn password(&self, arguments: &PasswordArgs) -> PasswordSource {
        if arguments.password_file.is_some() || arguments.password_fd.is_some() {
            return PasswordSource { file: arguments.password_file.clone(), descriptor: arguments.password_fd };
        }
        PasswordSource { file: self.identity.password_file.clone(), descriptor: None }
    }

    /// The interface that the counters watch, or why there is none.
    ///
    /// # Errors
    /// The reason in words.
    pub fn interface(&self) -> std::result::Result<String, String> {
        match &self.ebpf.interface {
            _ if !self.ebpf.enabled => Err("switched off by ebpf.enabled".to_owned()),
            Some(interface) => Ok(interface.clone()),
            None if self.listen.address.ip().is_loopback() => Ok("lo".to_owned()),
            None => Err("ebpf.interface does not say which interface to watch".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(content: &str) -> (tempfile::TempDir, Result<Config>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, content).unwrap();
        let config = Config::load(&path);
        (folder, config)
    }

    #[test]
    fn the_default_file_says_what_the_defaults_are() {
        let (folder, config) = load(DEFAULT_FILE);
        let config = config.unwrap();
        assert_eq!(config.chain.url, ChainSection::default().url);
        assert_eq!(config.listen.address, ListenSection::default().address);
        assert_eq!(config.status.path, folder.path().join(StatusSection::default().path));
        assert_eq!(config.log.filter, LogSection::default().filter);
        assert_eq!(config.identity.keystore, folder.path().join("agent.json"));
        assert!(config.ebpf.enabled && config.ebpf.interface.is_none());
    }

    #[test]
    fn broken_files_name_the_field() {
        for (content, field) in [
            ("", "identity"),
            ("[identity]\n", "keystore"),
            ("[identity]\nkeystore = \"a\"\nkeyfile = \"b\"", "keyfile"),
            ("[identity]\nkeystore = \"a\"\n[listen]\naddress = \"nowhere\"", "address"),
            ("[identity]\nkeystore = \"a\"\n[chain]\nurl = \"ws://example.com:1\"", "chain"),
            ("[identity]\nkeystore = \"a\"\n[chain]\ngenesis = \"0x12\"", "genesis"),
            ("[identity]\nkeystore = \"a\"\n[chian]\nurl = \"x\"", "chian"),
        ] {
            let error = load(content).1.unwrap_err();
            assert!(
                matches!(error, AgentError::Config { .. }) && error.to_string().contains(field),
                "{content}: {error}"
            );
        }
        assert!(Config::load(Path::new("/nonexistent/agent.toml")).is_err());
    }

    #[test]
    fn services_are_read_from_their_files_and_mistakes_are_named() {
        let with = |more: &str| load(&format!("[identity]\nkeystore = \"a\"\n{more}"));
        let page = "[[service]]\nport = 8081\npath = \"/x\"\nfile = \"x.txt\"\n";
        let (folder, config) = with(&format!("{page}[[service]]\nport = 8082\n"));
        let config = config.unwrap();
        assert!(config.pages().unwrap_err().contains("x.txt"), "the file is missing");
        std::fs::write(folder.path().join("x.txt"), "hello").unwrap();
        let pages = config.pages().unwrap();
        assert_eq!(pages[&8081]["/x"], b"hello");
        assert!(pages[&8082].is_empty());
        for wrong in [
            "[[service]]\nport = 0\n",
            "[[service]]\nport = 7801\n",
            "[[service]]\nport = 1\npath = \"/x\"\n",
            "[[service]]\nport = 1\npath = \"x\"\nfile = \"x\"\n",
        ] {
            let (_folder, config) = with(wrong);
            assert!(config.unwrap().pages().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_interface_is_the_one_named_or_loopback() {
        let with = |more: &str| load(&format!("[identity]\nkeystore = \"a\"\n{more}")).1.unwrap();
        assert_eq!(with("[listen]\naddress = \"127.0.0.1:1\"").interface().unwrap(), "lo");
        assert_eq!(with("[ebpf]\ninterface = \"eth0\"").interface().unwrap(), "eth0");
        assert!(with("").interface().unwrap_err().contains("ebpf.interface"));
        assert!(with("[ebpf]\nenabled = false\ninterface = \"eth0\"").interface().unwrap_err().contains("enabled"));
    }
}
