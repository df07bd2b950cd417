//! Named networks: where a node is, and which chain and key it must show.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use x0_client::{Endpoint, text};

use crate::{
    error::{Result, WalletError},
    home::{Home, check_name, read_settings, write_file},
};

/// The network that exists without any file.
pub const DEV_NETWORK: &str = "dev";
/// Where its node listens.
pub const DEV_URL: &str = "ws://127.0.0.1:9944";

/// The table of networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Networks {
    /// The one that is used when the command line names none.
    #[serde(default = "dev_name")]
    pub default: String,
    /// By name.
    #[serde(default)]
    pub network: BTreeMap<String, Network>,
}

/// One network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// `ws://` on this machine or `x0s://` elsewhere.
    pub url: String,
    /// Hash of the chain's first block; the node must serve this chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genesis: Option<String>,
    /// BLAKE2b-256 of the node's network key; needed for `x0s://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_key: Option<String>,
}

fn dev_name() -> String {
    DEV_NETWORK.to_owned()
}

impl Default for Networks {
    fn default() -> Self {
        let dev = Network { url: DEV_URL.to_owned(), genesis: None, server_key: None };
        Self { default: dev_name(), network: BTreeMap::from([(dev_name(), dev)]) }
    }
}

impl Networks {
    /// Reads the table; the built-in one when there is no file.
    ///
    /// # Errors
    /// [`WalletError::Config`] naming the field.
    pub fn load(home: &Home) -> Result<Self> {
        let path = home.networks_file();
        if !path.exists() {
            return Ok(Self::default());
        }
        let config = |reason: String| WalletError::Config { path: path.clone(), reason };
        let mut networks: Self = toml::from_str(&read_settings(&path)?).map_err(|error| config(error.to_string()))?;
        networks.network.entry(dev_name()).or_insert_with(|| Network {
            url: DEV_URL.to_owned(),
            genesis: None,
            server_key: None,
        });
        if !networks.network.contains_key(&networks.default) {
            return Err(config(format!("default: there is no network `{}`", networks.default)));
        }
        for (name, network) in &networks.network {
            check_name("network", name)?;
            network.endpoint().map_err(|error| config(format!("network.{name}: {error}")))?;
        }
        Ok(networks)
    }

    /// Writes the table.
    ///
    /// # Errors
    /// [`WalletError::File`], [`WalletError::Config`].
    pub fn save(&self, home: &Home) -> Result<()> {
        home.prepare()?;
        let path = home.networks_file();
        let text = toml::to_string_pretty(self)
            .map_err(|error| WalletError::Config { path: path.clone(), reason: error.to_string() })?;
        write_file(&path, text.as_bytes(), 0o644)
    }

    /// A network by name.
    ///
    /// # Errors
    /// [`WalletError::Usage`] listing the names that there are.
    pub fn get(&self, name: &str) -> Result<&Network> {
        self.network.get(name).ok_or_else(|| {
            let names: Vec<_> = self.network.keys().map(String::as_str).collect();
            WalletError::Usage(format!("there is no network `{name}`; there are: {}", names.join(", ")))
        })
    }
}

impl Network {
    /// The endpoint with its pins.
    ///
    /// # Errors
    /// [`WalletError::Client`] for a pin that does not read.
    pub fn endpoint(&self) -> Result<Endpoint> {
        let pin =
            |what: &str, text: &Option<String>| text.as_ref().map(|text| text::parse_hash(what, text)).transpose();
        Ok(Endpoint {
            url: self.url.clone(),
            genesis: pin("genesis", &self.genesis)?,
            server_key: pin("server_key", &self.server_key)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(content: &str) -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("networks.toml"), content).unwrap();
        let home = Home::find(Some(dir.path().to_owned())).unwrap();
        (dir, home)
    }

    #[test]
    fn the_development_network_needs_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let networks = Networks::load(&Home::find(Some(dir.path().to_owned())).unwrap()).unwrap();
        assert_eq!(networks.get(&networks.default).unwrap().url, DEV_URL);
    }

    #[test]
    fn a_table_survives_writing_and_reading() {
        let (_dir, home) = home("");
        let mut networks = Networks::load(&home).unwrap();
        let pinned = Network {
            url: "x0s://a:1".into(),
            genesis: Some(format!("0x{}", "11".repeat(32))),
            server_key: Some("22".repeat(32)),
        };
        networks.network.insert("main".into(), pinned);
        networks.default = "main".into();
        networks.save(&home).unwrap();
        assert_eq!(Networks::load(&home).unwrap(), networks);
    }

    #[test]
    fn wrong_files_name_the_field() {
        for (content, field) in [
            ("defalt = \"dev\"", "defalt"),
            ("default = \"other\"", "other"),
            ("[network.a]\nurl = \"ws://127.0.0.1:1\"\ngenesis = \"0x12\"", "genesis"),
            ("[network.a]\nurl = \"ws://127.0.0.1:1\"\nport = 3", "port"),
            ("[network.a]\n", "url"),
        ] {
            let (_dir, home) = home(content);
            let error = Networks::load(&home).unwrap_err();
            assert!(
                matches!(error, WalletError::Config { .. }) && error.to_string().contains(field),
                "{content}: {error}"
            );
        }
    }
}
