//! From a network definition to its first block.

use crate::{ChainSpec, ChainSpecError, ChainType};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use x0_runtime::{RuntimeGenesisConfig, presets};
use x0_types::{Hash, KeyRole};

/// The first state in the open: for comparing networks and for tools that read keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RawGenesis {
    /// Hash of the first header: the name of the chain.
    pub genesis_hash: Hash,
    /// Root of the first state.
    pub state_root: Hash,
    /// All entries of the state, both sides in hex with `0x`, in the order of keys.
    pub state: BTreeMap<String, String>,
}

impl ChainSpec {
    /// The runtime's full genesis configuration, for `Executor::new`.
    ///
    /// # Errors
    /// [`ChainSpecError::Value`] with the section of the patch that the runtime refuses.
    pub fn genesis_config(&self) -> Result<Value, ChainSpecError> {
        // Owners vote by the rules of a network that lives for years unless its definition says otherwise.
        let tracks = presets::standard_tracks();
        let mut patches = vec![presets::tracks_patch(&tracks, x0_limits::VOTE_EPOCH_SLOTS)];
        if let Some(name) = &self.genesis.preset
            && let Some(preset) = presets::preset(name)?
        {
            patches.push(preset);
        }
        patches.push(json!({ "network": {
            "id": self.id,
            "development": self.chain_type == ChainType::Development,
            "specVersion": self.spec_version,
        } }));
        patches.push(presets::validators_patch(&self.genesis_validators()));
        patches.push(presets::time_patch(self.genesis_time_ms, self.slot_ms));
        if let Value::Object(patch) = &self.genesis.patch {
            check_sections(patch)?;
            patches.push(self.genesis.patch.clone());
        }
        presets::complete(patches).map_err(ChainSpecError::Syntax)
    }

    /// Hash of the first block.
    ///
    /// # Errors
    /// As [`ChainSpec::genesis_config`], and when a pallet refuses its values.
    pub fn genesis_hash(&self) -> Result<Hash, ChainSpecError> {
        Ok(x0_runtime::genesis::build(&self.genesis_config()?)?.hash)
    }

    /// The first state with all of its entries.
    ///
    /// # Errors
    /// As [`ChainSpec::genesis_hash`].
    pub fn raw_genesis(&self) -> Result<RawGenesis, ChainSpecError> {
        let genesis = x0_runtime::genesis::build(&self.genesis_config()?)?;
        let text = |bytes: &[u8]| format!("0x{}", hex::encode(bytes));
        Ok(RawGenesis {
            genesis_hash: genesis.hash,
            state_root: genesis.header.state_root,
            state: genesis.entries.iter().map(|(key, value)| (text(key), text(value))).collect(),
        })
    }

    fn genesis_validators(&self) -> Vec<presets::GenesisValidator> {
        self.validators
            .iter()
            .map(|validator| presets::GenesisValidator {
                controller: validator.controller.clone(),
                power: validator.power,
                keys: vec![
                    (KeyRole::Consensus, validator.keys.consensus.clone()),
                    (KeyRole::Network, validator.keys.network.clone()),
                    (KeyRole::Reporter, validator.keys.reporter.clone()),
                ],
            })
            .collect()
    }
}

/// Tries each section of a patch by itself, so that an error names the section and not only what
/// serde says about some value somewhere.
fn check_sections(patch: &serde_json::Map<String, Value>) -> Result<(), ChainSpecError> {
    let default = presets::default_config().map_err(ChainSpecError::Syntax)?;
    for (section, value) in patch {
        let path = format!("genesis.patch.{section}");
        let Some(known) = default.get(section) else {
            let known = default.as_object().map(|all| all.keys().cloned().collect::<Vec<_>>().join(", "));
            return Err(ChainSpecError::Unknown { path, known: known.unwrap_or_default() });
        };
        if let (Some(fields), Some(known)) = (value.as_object(), known.as_object())
            && let Some(name) = fields.keys().find(|name| !known.contains_key(*name))
        {
            let known = known.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(ChainSpecError::Unknown { path: format!("{path}.{name}"), known });
        }
        let mut trial = default.clone();
        presets::merge(&mut trial, json!({ section.as_str(): value }));
        serde_json::from_value::<RuntimeGenesisConfig>(trial)
            .map_err(|error| ChainSpecError::Value { path, reason: error.to_string() })?;
    }
    Ok(())
}
