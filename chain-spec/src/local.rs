//! A private network of validators with keys of their own.

use crate::{
    ChainSpec, ChainSpecError, ChainType, Consensus, Genesis, Keys, Properties, Validator,
    definition::DEV_GENESIS_TIME_MS,
};
use serde_json::json;
use x0_runtime::{
    presets::{self, DEV_REPORTER_ENDOWMENT},
    version,
};
use x0_types::{AccountId, Balance, MlDsa65PublicKey, Moment, account::UNIT};

/// What the controller of each validator owns at the start, base units: fees and deposits of years.
pub const CONTROLLER_ENDOWMENT: Balance = 10_000 * UNIT;
/// What the reporter of each validator owns at the start, base units.
pub const REPORTER_ENDOWMENT: Balance = DEV_REPORTER_ENDOWMENT;

/// The public side of one validator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorKeys {
    /// The account that answers for it.
    pub controller: AccountId,
    /// Signs votes and proposals.
    pub consensus: MlDsa65PublicKey,
    /// Authenticates links.
    pub network: MlDsa65PublicKey,
    /// Signs measurement reports and reports of evidence.
    pub reporter: MlDsa65PublicKey,
}

/// The plan of a private network: no superuser, equal powers.
///
/// ```
/// # use x0_chain_spec::{ChainSpecError, LocalNetwork};
/// # fn plan(validators: Vec<x0_chain_spec::ValidatorKeys>) -> Result<(), ChainSpecError> {
/// let spec = LocalNetwork { id: "lab-7".to_owned(), ..LocalNetwork::new(validators) }.build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNetwork {
    /// The network's id; it is part of the genesis block.
    pub id: String,
    /// For people.
    pub name: String,
    /// Start of slot 0, milliseconds since the Unix epoch.
    pub genesis_time_ms: Moment,
    /// The validators, each with power 1. Their controllers and reporters get what they need.
    pub validators: Vec<ValidatorKeys>,
    /// Further accounts and what they own, base units.
    pub accounts: Vec<(AccountId, Balance)>,
    /// Pace and timeouts.
    pub consensus: Consensus,
    /// Where nodes find each other for the first time.
    pub boot_peers: Vec<String>,
}

impl LocalNetwork {
    /// A network with the id `local`, no further accounts and the default pace.
    #[must_use]
    pub fn new(validators: Vec<ValidatorKeys>) -> Self {
        Self {
            id: "local".to_owned(),
            name: "x0tta6bl4 private network".to_owned(),
            genesis_time_ms: DEV_GENESIS_TIME_MS,
            validators,
            accounts: Vec::new(),
            consensus: Consensus::default_of(ChainType::Local),
            boot_peers: Vec::new(),
        }
    }

    /// The network's definition, checked as a file would be.
    ///
    /// # Errors
    /// [`ChainSpecError`], naming the field of the definition.
    pub fn build(self) -> Result<ChainSpec, ChainSpecError> {
        let balances = self.balances()?;
        // Each validator's controller and each further account is an owner of its own, and votes at once.
        let mut patch = presets::quick_governance(&self.owners());
        presets::merge(&mut patch, json!({ "balances": { "balances": balances } }));
        let validators = self.validators.into_iter().map(|keys| Validator {
            controller: keys.controller,
            power: 1,
            keys: Keys { consensus: keys.consensus, network: keys.network, reporter: keys.reporter },
        });
        let spec = ChainSpec {
            name: self.name,
            id: self.id,
            chain_type: ChainType::Local,
            spec_version: version::SPEC_VERSION,
            genesis_time_ms: self.genesis_time_ms,
            slot_ms: x0_limits::SLOT_MS_DEV,
            properties: Properties::default(),
            consensus: self.consensus,
            validators: validators.collect(),
            boot_peers: self.boot_peers,
            genesis: Genesis { preset: None, patch },
        };
        // One way in: what is written here is read by the rules for files.
        let spec = ChainSpec::from_json(&spec.to_json()?)?;
        spec.genesis_hash()?;
        Ok(spec)
    }

    /// Every account that decides for itself, once.
    fn owners(&self) -> Vec<AccountId> {
        let controllers = self.validators.iter().map(|keys| &keys.controller);
        let mut owners: Vec<AccountId> = Vec::new();
        for account in controllers.chain(self.accounts.iter().map(|(account, _)| account)) {
            if !owners.contains(account) {
                owners.push(account.clone());
            }
        }
        owners
    }

    /// Every account once. A named account keeps what it was given.
    fn balances(&self) -> Result<Vec<(AccountId, u64)>, ChainSpecError> {
        let mut balances: Vec<(AccountId, u64)> = Vec::new();
        for (index, (account, amount)) in self.accounts.iter().enumerate() {
            let path = format!("accounts[{index}]");
            let error = |reason: String| ChainSpecError::Value { path: path.clone(), reason };
            let amount =
                u64::try_from(*amount).map_err(|_| error(format!("{amount} base units do not fit into 64 bits")))?;
            if balances.iter().any(|(other, _)| other == account) {
                return Err(error("the account stands in the list already".to_owned()));
            }
            balances.push((account.clone(), amount));
        }
        for keys in &self.validators {
            let reporter = keys.reporter.account_id();
            for (account, amount) in [(&keys.controller, CONTROLLER_ENDOWMENT), (&reporter, REPORTER_ENDOWMENT)] {
                if !balances.iter().any(|(other, _)| other == account) {
                    balances.push((account.clone(), u64::try_from(amount).unwrap_or(u64::MAX)));
                }
            }
        }
        Ok(balances)
    }
}
