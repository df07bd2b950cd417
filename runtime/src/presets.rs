//! Genesis configurations as JSON: the default, named presets, and how they are put together.
//!
//! ```text
//!   default of the runtime <- preset <- validators and time of the network <- patch
//! ```
//!
//! Each step is a JSON merge patch (RFC 7386): objects are merged, everything else is replaced, and
//! `null` removes.

use crate::RuntimeGenesisConfig;
use pallet_x0_governance::{Sealing, Track};
use serde_json::{Map, Value, json};
use x0_accounting::{Curve, Gates};
use x0_crypto::{CryptoError, SigningKey, dev};
use x0_types::{AccountId, Balance, KeyRole, MlDsa65PublicKey, account::UNIT, governance::TrackId};

/// Names of the presets.
pub const PRESETS: &[&str] = &["dev", "local"];
/// Accounts of the preset `dev`; the first may use sudo.
pub const DEV_ACCOUNTS: &[&str] = &["alice", "bob", "charlie", "dave"];
/// The validator of the preset `dev`.
pub const DEV_VALIDATOR: &str = "validator-1";
/// The validators of the preset `local`.
pub const LOCAL_VALIDATORS: &[&str] = &["validator-1", "validator-2", "validator-3", "validator-4"];
/// What each account of the preset `dev` owns, base units.
pub const DEV_ENDOWMENT: Balance = 1_000_000 * UNIT;
/// What a validator's reporter account of the preset `dev` owns, base units.
pub const DEV_REPORTER_ENDOWMENT: Balance = 1_000 * UNIT;

/// A validator that a network starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisValidator {
    /// The account that answers for the validator.
    pub controller: AccountId,
    /// Voting power.
    pub power: u64,
    /// The validator's keys by role.
    pub keys: Vec<(KeyRole, MlDsa65PublicKey)>,
}

/// The default configuration: every field of every pallet.
///
/// # Errors
/// When the runtime's own defaults cannot be written as JSON.
pub fn default_config() -> Result<Value, serde_json::Error> {
    serde_json::to_value(RuntimeGenesisConfig::default())
}

/// A preset as a patch of the default configuration; `None` for an unknown name.
///
/// # Errors
/// When the cryptographic library cannot derive the development keys.
pub fn preset(name: &str) -> Result<Option<Value>, CryptoError> {
    match name {
        "dev" => dev_preset().map(Some),
        "local" => local_preset().map(Some),
        _ => Ok(None),
    }
}

/// The public key of a development name in a role (`account`, `consensus`, ...).
///
/// # Errors
/// When the cryptographic library cannot derive it.
pub fn dev_key(name: &str, role: &str) -> Result<MlDsa65PublicKey, CryptoError> {
    let key = SigningKey::from_seed(&dev::seed(name, role))?;
    Ok(MlDsa65PublicKey(key.public().clone().to_boxed()))
}

/// The account of a development name.
///
/// # Errors
/// When the cryptographic library cannot derive it.
pub fn dev_account(name: &str) -> Result<AccountId, CryptoError> {
    Ok(dev_key(name, "account")?.account_id())
}

/// A development validator with the keys of its three roles.
///
/// # Errors
/// When the cryptographic library cannot derive the keys.
pub fn dev_validator(name: &str) -> Result<GenesisValidator, CryptoError> {
    Ok(GenesisValidator {
        controller: dev_account(name)?,
        power: 1,
        keys: vec![
            (KeyRole::Consensus, dev_key(name, "consensus")?),
            (KeyRole::Network, dev_key(name, "network")?),
            (KeyRole::Reporter, dev_key(name, "reporter")?),
        ],
    })
}

/// Balances of the development accounts and of these validators' controllers and reporters.
fn dev_balances(validators: &[&str]) -> Result<Value, CryptoError> {
    let mut balances = Vec::new();
    for name in DEV_ACCOUNTS.iter().chain(validators) {
        balances.push(json!([dev_account(name)?, units(DEV_ENDOWMENT)]));
    }
    for name in validators {
        let reporter = dev_key(name, "reporter")?.account_id();
        balances.push(json!([reporter, units(DEV_REPORTER_ENDOWMENT)]));
    }
    Ok(json!({ "balances": balances }))
}

/// One owner for each development account and each of these validators' controllers: all of them vote at once.
fn dev_owners(validators: &[&str]) -> Result<Vec<AccountId>, CryptoError> {
    DEV_ACCOUNTS.iter().chain(validators).map(|name| dev_account(name)).collect()
}

/// The patch that makes each of these accounts an owner of its own, who may vote at once.
#[must_use]
pub fn owners_patch(accounts: &[AccountId]) -> Value {
    let owners: Vec<_> = accounts.iter().map(|account| json!({ "accounts": [account] })).collect();
    json!({ "owners": { "owners": owners } })
}

/// The patch that gives the tracks these rules and epochs of credits this length, slots.
#[must_use]
pub fn tracks_patch(tracks: &[(TrackId, Track)], epoch_slots: u64) -> Value {
    let tracks: Vec<_> = tracks.iter().map(|(id, track)| json!([id, track])).collect();
    json!({ "governance": { "tracks": tracks }, "owners": { "epochSlots": epoch_slots } })
}

/// The rules of the tracks on a network that lives for years; periods in slots of 6 s.
#[must_use]
pub fn standard_tracks() -> Vec<(TrackId, Track)> {
    const HOUR: u64 = 600;
    const DAY: u64 = 24 * HOUR;
    // Deposit, places, preparing, waiting, deciding, confirming, enacting, envelope of sealed votes.
    let rows = [
        (TrackId::Root, 1_000 * UNIT, 1, DAY, 28 * DAY, 28 * DAY, DAY, 7 * DAY, Some(81)),
        (TrackId::Parameters, 100 * UNIT, 5, 2 * HOUR, 14 * DAY, 14 * DAY, DAY, DAY, None),
        (TrackId::Treasury, 100 * UNIT, 5, 2 * HOUR, 14 * DAY, 7 * DAY, DAY, DAY, None),
        (TrackId::Membership, 50 * UNIT, 5, 2 * HOUR, 14 * DAY, 7 * DAY, DAY, DAY, Some(25)),
        (TrackId::Emergency, 1_000 * UNIT, 2, 0, DAY, DAY, HOUR, HOUR, None),
    ];
    rows.into_iter()
        .map(|(id, deposit, deciding_max, prepare, waiting, decide, confirm, enact, envelope)| {
            let track = Track {
                deposit,
                deciding_max,
                prepare_slots: prepare,
                waiting_slots: waiting,
                decide_slots: decide,
                confirm_slots: confirm,
                enact_slots: enact,
                gates: standard_gates(decide),
                sealing: envelope.map(|envelope| Sealing { reveal_slots: 2 * DAY, envelope }),
            };
            (id, track)
        })
        .collect()
}

/// The same on development and private networks, whose slots take a second: minutes instead of weeks.
#[must_use]
pub fn quick_tracks() -> Vec<(TrackId, Track)> {
    standard_tracks()
        .into_iter()
        .map(|(id, track)| {
            let decide_slots = 30;
            let sealing = track.sealing.map(|sealing| Sealing { reveal_slots: x0_limits::REVEAL_SLOTS_MIN, ..sealing });
            let quick = Track {
                deposit: 10 * UNIT,
                prepare_slots: 2,
                waiting_slots: 120,
                decide_slots,
                confirm_slots: 4,
                enact_slots: 4,
                gates: standard_gates(decide_slots),
                sealing,
                ..track
            };
            (id, quick)
        })
        .collect()
}

/// Approval falls from 100 % to 50 % over the first half, support from 50 % to 10 % over the whole ballot.
const fn standard_gates(decide_slots: u64) -> Gates {
    Gates {
        approval: Curve { from_ppm: 1_000_000, to_ppm: 500_000, over_slots: decide_slots / 2 },
        support: Curve { from_ppm: 500_000, to_ppm: 100_000, over_slots: decide_slots },
    }
}

/// Length of an epoch of vote credits on development and private networks, slots of a second.
pub const QUICK_EPOCH_SLOTS: u64 = 600;

/// The quick tracks, and these accounts as owners, as a patch.
#[must_use]
pub fn quick_governance(owners: &[AccountId]) -> Value {
    let mut patch = owners_patch(owners);
    merge(&mut patch, tracks_patch(&quick_tracks(), QUICK_EPOCH_SLOTS));
    patch
}

fn dev_preset() -> Result<Value, CryptoError> {
    let mut preset = json!({
        "balances": dev_balances(&[DEV_VALIDATOR])?,
        "sudo": { "key": dev_account("alice")? },
        "network": { "id": "dev", "development": true },
    });
    merge(&mut preset, quick_governance(&dev_owners(&[DEV_VALIDATOR])?));
    Ok(preset)
}

/// Several validators with known keys, and nobody above them: they decide together.
fn local_preset() -> Result<Value, CryptoError> {
    let mut preset = json!({
        "balances": dev_balances(LOCAL_VALIDATORS)?,
        "network": { "id": "local", "development": false },
    });
    merge(&mut preset, quick_governance(&dev_owners(LOCAL_VALIDATORS)?));
    Ok(preset)
}

/// JSON numbers hold 64 bits here, which is 18 million X0T per account.
fn units(amount: Balance) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}

/// The patch that makes `validators` the first set and registers their keys.
#[must_use]
pub fn validators_patch(validators: &[GenesisValidator]) -> Value {
    let identities: Vec<_> = validators
        .iter()
        .map(|validator| {
            let keys: Vec<_> =
                validator.keys.iter().map(|(role, public)| json!({ "role": role, "public": public })).collect();
            json!({ "subject": validator.controller, "keys": keys })
        })
        .collect();
    let set: Vec<_> = validators
        .iter()
        .map(|validator| json!({ "controller": validator.controller, "power": validator.power }))
        .collect();
    json!({ "did": { "identities": identities }, "validators": { "validators": set } })
}

/// The patch that sets when slots begin to count and how long they are.
#[must_use]
pub fn time_patch(genesis_time_ms: u64, slot_ms: u64) -> Value {
    json!({ "measurement": { "genesisTimeMs": genesis_time_ms, "slotMs": slot_ms } })
}

/// Puts patches on top of the default configuration. (The treasury's existential deposit comes from
/// the escrow module's genesis.)
///
/// # Errors
/// When the runtime's own defaults cannot be written as JSON.
pub fn complete(patches: impl IntoIterator<Item = Value>) -> Result<Value, serde_json::Error> {
    let mut config = default_config()?;
    for patch in patches {
        merge(&mut config, patch);
    }
    Ok(config)
}

/// Applies a JSON merge patch (RFC 7386).
pub fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(&name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 7386, appendix A, that touch each rule.
    #[test]
    fn merge_follows_the_rfc() {
        for (target, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut merged = target;
            merge(&mut merged, patch);
            assert_eq!(merged, expected);
        }
    }

    /// What the preset gives is a configuration that the runtime accepts.
    #[test]
    fn dev_preset_is_a_valid_configuration() {
        let validator = dev_validator(DEV_VALIDATOR).unwrap();
        let config = complete([preset("dev").unwrap().unwrap(), validators_patch(&[validator])]).unwrap();
        let parsed: RuntimeGenesisConfig = serde_json::from_value(config).unwrap();
        assert_eq!(parsed.balances.balances.len(), DEV_ACCOUNTS.len() + 2);
        assert!(parsed.network.development);
        assert_eq!(parsed.validators.validators.len(), 1);
    }

    #[test]
    fn unknown_presets_are_none() {
        assert_eq!(preset("mainnet").unwrap(), None);
    }

    /// The preset of several validators has no superuser.
    #[test]
    fn local_preset_is_a_valid_configuration_without_sudo() {
        let validators: Vec<_> = LOCAL_VALIDATORS.iter().map(|name| dev_validator(name).unwrap()).collect();
        let config = complete([preset("local").unwrap().unwrap(), validators_patch(&validators)]).unwrap();
        let parsed: RuntimeGenesisConfig = serde_json::from_value(config).unwrap();
        assert_eq!(parsed.balances.balances.len(), DEV_ACCOUNTS.len() + 2 * LOCAL_VALIDATORS.len());
        assert!(!parsed.network.development && parsed.sudo.key.is_none());
        assert_eq!(parsed.validators.validators.len(), 4);
    }
}
