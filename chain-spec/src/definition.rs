//! The network definition and its JSON form.

use crate::{ChainSpecError, peers::check_peer, reader::Field};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{io::Read, path::Path};
use x0_limits::{BLOCK_INTERVAL_BUSY_MS, BLOCK_INTERVAL_IDLE_DEV_MS, BLOCK_INTERVAL_IDLE_MS, CHAIN_SPEC_BYTES_MAX};
use x0_runtime::{presets, version};
use x0_types::{
    AccountId, MlDsa65PublicKey, Moment,
    account::{DECIMALS, SS58_PREFIX, SYMBOL},
};

/// Longest of any interval or timeout, milliseconds: an hour is a typing error.
const INTERVAL_MS_MAX: u64 = 3_600_000;
/// Longest slot, milliseconds.
const SLOT_MS_MAX: u64 = 600_000;
/// Start of the slot count of the preset `dev`: 1 January 2026, 00:00 UTC. A fixed time gives every
/// development chain the same first block.
pub(crate) const DEV_GENESIS_TIME_MS: Moment = 1_767_225_600_000;

/// What a network is for. It decides whether sudo works, and what wallets show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChainType {
    /// A chain that one developer runs: keys are public, sudo works.
    Development,
    /// A private network of several nodes for tests: no sudo, the validators decide together.
    Local,
    /// A network with value: no sudo.
    Live,
}

/// A network: what its nodes must agree on, and how its consensus is paced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChainSpec {
    /// For people.
    pub name: String,
    /// For machines: lower-case letters, digits and `-`. It is the network's name in DIDs.
    pub id: String,
    /// What the network is for.
    pub chain_type: ChainType,
    /// The version of the rules under which the first block runs. It never changes afterwards, also
    /// when the rules do.
    pub spec_version: u32,
    /// When slot 0 begins, milliseconds since the Unix epoch.
    pub genesis_time_ms: Moment,
    /// Length of a measuring slot, milliseconds.
    pub slot_ms: u64,
    /// What wallets show.
    pub properties: Properties,
    /// Pace and timeouts of consensus.
    pub consensus: Consensus,
    /// The validators of the first blocks.
    pub validators: Vec<Validator>,
    /// Where a node finds the others for the first time: `<peer key>@<host>:<port>`, the key in 64
    /// hexadecimal digits. Not part of the genesis block.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub boot_peers: Vec<String>,
    /// Everything else about the first state.
    pub genesis: Genesis,
}

/// What wallets show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Properties {
    /// Symbol of the token.
    pub token_symbol: String,
    /// Decimals of the token.
    pub token_decimals: u32,
    /// Prefix of addresses.
    pub ss58_prefix: u16,
}

/// Pace and timeouts of consensus, milliseconds. Not part of the genesis block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Consensus {
    /// Distance between blocks while there is work.
    pub busy_ms: u64,
    /// Longest wait for work before an empty block.
    pub idle_ms: u64,
    /// Whether blocks are made only when there is work (or the idle time is over).
    pub on_demand: bool,
    /// How long a validator waits for a proposal.
    pub propose_timeout_ms: u64,
    /// How long a validator waits for votes after a third more than half disagree.
    pub vote_timeout_ms: u64,
}

/// A validator of the first blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Validator {
    /// The account that answers for it, SS58.
    pub controller: AccountId,
    /// Voting power.
    pub power: u64,
    /// Its keys.
    pub keys: Keys,
}

/// Public keys of a validator, `0x` and hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Keys {
    /// Signs votes and proposals.
    pub consensus: MlDsa65PublicKey,
    /// Authenticates links.
    pub network: MlDsa65PublicKey,
    /// Signs measurement reports.
    pub reporter: MlDsa65PublicKey,
}

/// The first state beside validators and time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Genesis {
    /// A preset of the runtime to start from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// A JSON merge patch of the runtime's genesis configuration.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub patch: Value,
}

impl ChainSpec {
    /// Names of the presets of this crate.
    pub const PRESETS: &'static [&'static str] = &["dev", "local"];

    /// A preset; `None` for an unknown name.
    ///
    /// # Errors
    /// When the development keys cannot be derived.
    pub fn preset(name: &str) -> Result<Option<Self>, ChainSpecError> {
        match name {
            "dev" => Self::dev().map(Some),
            "local" => Self::local().map(Some),
            _ => Ok(None),
        }
    }

    /// The development chain: one validator, short slots, known keys, sudo for `alice`.
    ///
    /// # Errors
    /// When the development keys cannot be derived.
    pub fn dev() -> Result<Self, ChainSpecError> {
        Ok(Self {
            name: "x0tta6bl4 Development".to_owned(),
            id: "dev".to_owned(),
            chain_type: ChainType::Development,
            spec_version: version::FIRST_SPEC,
            genesis_time_ms: DEV_GENESIS_TIME_MS,
            slot_ms: x0_limits::SLOT_MS_DEV,
            properties: Properties::default(),
            consensus: Consensus::default_of(ChainType::Development),
            validators: vec![Validator::dev(presets::DEV_VALIDATOR)?],
            boot_peers: Vec::new(),
            genesis: Genesis { preset: Some("dev".to_owned()), patch: Value::Null },
        })
    }

    /// A chain of four validators with known keys and no superuser: what tests of several nodes run.
    ///
    /// # Errors
    /// When the development keys cannot be derived.
    pub fn local() -> Result<Self, ChainSpecError> {
        let validators = presets::LOCAL_VALIDATORS.iter().map(|name| Validator::dev(name));
        Ok(Self {
            name: "x0tta6bl4 Local".to_owned(),
            id: "local".to_owned(),
            chain_type: ChainType::Local,
            consensus: Consensus::default_of(ChainType::Local),
            validators: validators.collect::<Result<_, _>>()?,
            genesis: Genesis { preset: Some("local".to_owned()), patch: Value::Null },
            ..Self::dev()?
        })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with the file or its content.
    pub fn load(path: &Path) -> Result<Self, ChainSpecError> {
        let io = |source| ChainSpecError::Io { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(io)?;
        let mut text = String::new();
        // One byte more than allowed tells a file that is too large from one that just fits.
        file.take(CHAIN_SPEC_BYTES_MAX.saturating_add(1)).read_to_string(&mut text).map_err(io)?;
        Self::from_json(&text)
    }

    /// Reads a definition from JSON text.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn from_json(text: &str) -> Result<Self, ChainSpecError> {
        let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        if bytes > CHAIN_SPEC_BYTES_MAX {
            return Err(ChainSpecError::TooLarge { bytes, max: CHAIN_SPEC_BYTES_MAX });
        }
        let value: Value = serde_json::from_str(text).map_err(ChainSpecError::Syntax)?;
        Self::read(&Field::root(&value))
    }

    /// The definition as JSON text.
    ///
    /// # Errors
    /// Never in practice: all values are plain.
    pub fn to_json(&self) -> Result<String, ChainSpecError> {
        serde_json::to_string_pretty(self).map_err(ChainSpecError::Syntax)
    }

    fn read(root: &Field<'_>) -> Result<Self, ChainSpecError> {
        let root = root.clone().only(&[
            "name",
            "id",
            "chain_type",
            "spec_version",
            "genesis_time_ms",
            "slot_ms",
            "properties",
            "consensus",
            "validators",
            "boot_peers",
            "genesis",
        ])?;
        let chain_type: ChainType = root.get("chain_type")?;
        let default_slot_ms = if chain_type == ChainType::Live { x0_limits::SLOT_MS } else { x0_limits::SLOT_MS_DEV };
        let spec = Self {
            name: root.get("name")?,
            id: read_id(&root.required("id")?)?,
            chain_type,
            spec_version: read_spec_version(root.optional("spec_version"))?,
            genesis_time_ms: root.get("genesis_time_ms")?,
            slot_ms: root.number("slot_ms", default_slot_ms, x0_limits::SLOT_MS_DEV, SLOT_MS_MAX)?,
            properties: root.optional("properties").map_or_else(|| Ok(Properties::default()), Properties::read)?,
            consensus: root
                .optional("consensus")
                .map_or_else(|| Ok(Consensus::default_of(chain_type)), |field| Consensus::read(field, chain_type))?,
            validators: read_validators(&root.required("validators")?)?,
            boot_peers: root.optional("boot_peers").map_or_else(|| Ok(Vec::new()), |field| read_boot_peers(&field))?,
            genesis: root.optional("genesis").map_or_else(|| Ok(Genesis::default()), Genesis::read)?,
        };
        spec.check_preset(&root)?;
        Ok(spec)
    }

    /// A preset with known keys on a chain with value would give everything away.
    fn check_preset(&self, root: &Field<'_>) -> Result<(), ChainSpecError> {
        let field = root.optional("genesis").and_then(|genesis| genesis.optional("preset"));
        match field {
            Some(field) if self.chain_type == ChainType::Live => {
                Err(field.error("presets have public keys and sudo; a live network needs a patch of its own"))
            }
            _ => Ok(()),
        }
    }
}

/// A network's id stands in DIDs and in file names.
fn read_id(field: &Field<'_>) -> Result<String, ChainSpecError> {
    let id: String = field.parse()?;
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if id.is_empty() || id.len() > 32 || !id.chars().all(allowed) {
        return Err(field.error("must be 1 to 32 lower-case letters, digits or `-`"));
    }
    Ok(id)
}

fn read_spec_version(field: Option<Field<'_>>) -> Result<u32, ChainSpecError> {
    let Some(field) = field else { return Ok(version::FIRST_SPEC) };
    let spec_version: u32 = field.parse()?;
    if version::SUPPORTED_SPECS.contains(&spec_version) {
        return Ok(spec_version);
    }
    let known = version::SUPPORTED_SPECS;
    Err(field.error(format!("this program does not know version {spec_version} of the rules; it knows {known:?}")))
}

fn read_boot_peers(field: &Field<'_>) -> Result<Vec<String>, ChainSpecError> {
    let elements = field.elements()?;
    if elements.len() > x0_limits::BOOT_PEERS_MAX {
        let max = x0_limits::BOOT_PEERS_MAX;
        return Err(field.error(format!("{} peers, at most {max} are allowed", elements.len())));
    }
    let mut peers: Vec<String> = Vec::new();
    for element in elements {
        let peer: String = element.parse()?;
        check_peer(&peer).map_err(|reason| element.error(reason))?;
        if peers.contains(&peer) {
            return Err(element.error("the peer stands in the list already"));
        }
        peers.push(peer);
    }
    Ok(peers)
}

fn read_validators(field: &Field<'_>) -> Result<Vec<Validator>, ChainSpecError> {
    let max = usize::try_from(x0_limits::VALIDATORS_MAX).unwrap_or(usize::MAX);
    let elements = field.elements()?;
    if elements.is_empty() || elements.len() > max {
        return Err(field.error(format!("{} validators, 1 to {max} are allowed", elements.len())));
    }
    let mut validators: Vec<Validator> = Vec::new();
    let mut keys: Vec<MlDsa65PublicKey> = Vec::new();
    for element in elements {
        let validator = Validator::read(&element)?;
        if validators.iter().any(|other| other.controller == validator.controller) {
            return Err(element.required("controller")?.error("the controller stands in the list already"));
        }
        for (role, key) in validator.keys.by_role() {
            if keys.contains(key) {
                let error = "the key stands in the list already; each key has one role of one validator";
                return Err(element.required("keys")?.required(role)?.error(error));
            }
            keys.push(key.clone());
        }
        validators.push(validator);
    }
    Ok(validators)
}

impl Default for Properties {
    fn default() -> Self {
        Self { token_symbol: SYMBOL.to_owned(), token_decimals: DECIMALS, ss58_prefix: SS58_PREFIX }
    }
}

impl Properties {
    fn read(field: Field<'_>) -> Result<Self, ChainSpecError> {
        let field = field.only(&["token_symbol", "token_decimals", "ss58_prefix"])?;
        let default = Self::default();
        let properties = Self {
            token_symbol: field.get_or("token_symbol", default.token_symbol)?,
            token_decimals: field.get_or("token_decimals", default.token_decimals)?,
            ss58_prefix: field.get_or("ss58_prefix", default.ss58_prefix)?,
        };
        // The runtime has these built in; another value would make wallets show wrong amounts.
        if properties.token_decimals != DECIMALS {
            return Err(field
                .required("token_decimals")?
                .error(format!("this runtime counts with {DECIMALS} decimals")));
        }
        if properties.ss58_prefix != SS58_PREFIX {
            return Err(field.required("ss58_prefix")?.error(format!("this runtime has prefix {SS58_PREFIX}")));
        }
        Ok(properties)
    }
}

impl Consensus {
    /// The pace of a kind of network.
    #[must_use]
    pub const fn default_of(chain_type: ChainType) -> Self {
        let idle_ms = match chain_type {
            ChainType::Live => BLOCK_INTERVAL_IDLE_MS,
            ChainType::Development | ChainType::Local => BLOCK_INTERVAL_IDLE_DEV_MS,
        };
        Self {
            busy_ms: BLOCK_INTERVAL_BUSY_MS,
            idle_ms,
            on_demand: matches!(chain_type, ChainType::Development),
            propose_timeout_ms: 3_000,
            vote_timeout_ms: 1_000,
        }
    }

    fn read(field: Field<'_>, chain_type: ChainType) -> Result<Self, ChainSpecError> {
        let field = field.only(&["busy_ms", "idle_ms", "on_demand", "propose_timeout_ms", "vote_timeout_ms"])?;
        let default = Self::default_of(chain_type);
        let consensus = Self {
            busy_ms: field.number("busy_ms", default.busy_ms, 1, INTERVAL_MS_MAX)?,
            idle_ms: field.number("idle_ms", default.idle_ms, 1, INTERVAL_MS_MAX)?,
            on_demand: field.get_or("on_demand", default.on_demand)?,
            propose_timeout_ms: field.number("propose_timeout_ms", default.propose_timeout_ms, 10, INTERVAL_MS_MAX)?,
            vote_timeout_ms: field.number("vote_timeout_ms", default.vote_timeout_ms, 10, INTERVAL_MS_MAX)?,
        };
        if consensus.idle_ms < consensus.busy_ms {
            let reason = format!("idle_ms {} is below busy_ms {}", consensus.idle_ms, consensus.busy_ms);
            return Err(field.error(reason));
        }
        Ok(consensus)
    }
}

impl Validator {
    /// A validator with the known keys of a development name.
    fn dev(name: &str) -> Result<Self, ChainSpecError> {
        let key = |role| presets::dev_key(name, role);
        Ok(Self {
            controller: presets::dev_account(name)?,
            power: 1,
            keys: Keys { consensus: key("consensus")?, network: key("network")?, reporter: key("reporter")? },
        })
    }

    fn read(field: &Field<'_>) -> Result<Self, ChainSpecError> {
        let field = field.clone().only(&["controller", "power", "keys"])?;
        Ok(Self {
            controller: field.get("controller")?,
            power: field.number("power", 1, 1, x0_limits::VALIDATOR_POWER_MAX)?,
            keys: Keys::read(field.required("keys")?)?,
        })
    }
}

impl Keys {
    fn read(field: Field<'_>) -> Result<Self, ChainSpecError> {
        let field = field.only(&["consensus", "network", "reporter"])?;
        Ok(Self {
            consensus: field.get("consensus")?,
            network: field.get("network")?,
            reporter: field.get("reporter")?,
        })
    }

    /// The keys with the names of their fields.
    fn by_role(&self) -> [(&'static str, &MlDsa65PublicKey); 3] {
        [("consensus", &self.consensus), ("network", &self.network), ("reporter", &self.reporter)]
    }
}

impl Genesis {
    fn read(field: Field<'_>) -> Result<Self, ChainSpecError> {
        let field = field.only(&["preset", "patch"])?;
        let preset: Option<String> = field.get_or("preset", None)?;
        if let Some(name) = &preset
            && !presets::PRESETS.contains(&name.as_str())
        {
            let reason = format!("unknown preset {name:?}; known: {}", presets::PRESETS.join(", "));
            return Err(field.required("preset")?.error(reason));
        }
        let patch = match field.optional("patch") {
            Some(patch) if patch.value().is_object() => patch.value().clone(),
            Some(patch) => return Err(patch.error("must be an object")),
            None => Value::Null,
        };
        Ok(Self { preset, patch })
    }
}
