use super::*;
use serde_json::{Value, json};

fn dev_json() -> Value {
    serde_json::from_str(&ChainSpec::dev().unwrap().to_json().unwrap()).unwrap()
}

fn read(value: &Value) -> Result<ChainSpec, ChainSpecError> {
    ChainSpec::from_json(&value.to_string())
}

/// What the node prints can be edited and read again.
#[test]
fn printed_definitions_read_back() {
    let spec = ChainSpec::dev().unwrap();
    assert_eq!(ChainSpec::from_json(&spec.to_json().unwrap()).unwrap(), spec);
}

/// The error of each mistake names the place of the mistake.
#[test]
fn errors_name_the_field() {
    type Change = Box<dyn Fn(&mut Value)>;
    let cases: Vec<(&str, Change, &str)> = vec![
        ("missing", Box::new(|v| drop(v.as_object_mut().unwrap().remove("id"))), "`id` is missing"),
        ("unknown", Box::new(|v| v["slot_msec"] = json!(1)), "`slot_msec` is unknown"),
        ("type", Box::new(|v| v["genesis_time_ms"] = json!("now")), "`genesis_time_ms`"),
        ("range", Box::new(|v| v["slot_ms"] = json!(1)), "`slot_ms`: 1 is not between"),
        ("id", Box::new(|v| v["id"] = json!("Dev Net")), "`id`: must be 1 to 32"),
        ("chain type", Box::new(|v| v["chain_type"] = json!("production")), "`chain_type`"),
        ("nested unknown", Box::new(|v| v["consensus"]["busy"] = json!(1)), "`consensus.busy` is unknown"),
        ("pace", Box::new(|v| v["consensus"]["idle_ms"] = json!(1)), "`consensus`: idle_ms 1 is below"),
        ("power", Box::new(|v| v["validators"][0]["power"] = json!(0)), "`validators[0].power`"),
        ("key", Box::new(|v| v["validators"][0]["keys"]["network"] = json!("0x00")), "`validators[0].keys.network`"),
        ("account", Box::new(|v| v["validators"][0]["controller"] = json!("5xyz")), "`validators[0].controller`"),
        ("no validators", Box::new(|v| v["validators"] = json!([])), "`validators`: 0 validators"),
        ("preset", Box::new(|v| v["genesis"]["preset"] = json!("main")), "`genesis.preset`: unknown preset"),
        ("live preset", Box::new(|v| v["chain_type"] = json!("live")), "`genesis.preset`: presets have public keys"),
        ("prefix", Box::new(|v| v["properties"]["ss58_prefix"] = json!(0)), "`properties.ss58_prefix`"),
    ];
    for (name, change, expected) in cases {
        let mut value = dev_json();
        change(&mut value);
        let error = read(&value).expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

/// One key cannot stand in two roles, nor one controller twice.
#[test]
fn keys_and_controllers_stand_once() {
    let mut value = dev_json();
    value["validators"][0]["keys"]["reporter"] = value["validators"][0]["keys"]["network"].clone();
    let error = read(&value).unwrap_err().to_string();
    assert!(error.contains("`validators[0].keys.reporter`"), "{error}");

    let mut value = dev_json();
    let twin = value["validators"][0].clone();
    value["validators"].as_array_mut().unwrap().push(twin);
    let error = read(&value).unwrap_err().to_string();
    assert!(error.contains("`validators[1].controller`"), "{error}");
}

/// Mistakes in the runtime's part name the section.
#[test]
fn patch_errors_name_the_section() {
    for (patch, expected) in [
        (json!({"ballances": {}}), "`genesis.patch.ballances` is unknown"),
        (json!({"balances": {"balanzes": []}}), "`genesis.patch.balances.balanzes` is unknown"),
        (json!({"balances": {"balances": [["5xyz", 1]]}}), "`genesis.patch.balances`"),
        (json!({"sudo": {"key": 7}}), "`genesis.patch.sudo`"),
    ] {
        let mut value = dev_json();
        value["genesis"]["patch"] = patch;
        let error = read(&value).unwrap().genesis_config().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    let error = ChainSpec::from_json("{\n  \"name\": }").unwrap_err().to_string();
    assert!(error.contains("line 2"), "{error}");
    let long = " ".repeat(usize::try_from(x0_limits::CHAIN_SPEC_BYTES_MAX).unwrap() + 1);
    assert!(matches!(ChainSpec::from_json(&long), Err(ChainSpecError::TooLarge { .. })));
    let missing = ChainSpec::load(std::path::Path::new("/nonexistent/spec.json")).unwrap_err();
    assert!(missing.to_string().contains("/nonexistent/spec.json"));
}

/// The genesis block follows from the meaning of the file alone: not from its layout, not from the
/// pace of consensus, and the same in every run.
#[test]
fn genesis_hash_depends_on_meaning_only() {
    let spec = ChainSpec::dev().unwrap();
    let hash = spec.genesis_hash().unwrap();
    assert_eq!(ChainSpec::from_json(&spec.to_json().unwrap()).unwrap().genesis_hash().unwrap(), hash);

    let mut paced = spec.clone();
    paced.consensus.busy_ms += 1;
    assert_eq!(paced.genesis_hash().unwrap(), hash);

    let mut other = spec.clone();
    other.validators[0].power = 2;
    assert_ne!(other.genesis_hash().unwrap(), hash);

    let mut patched = spec;
    patched.genesis.patch = json!({"sudo": {"key": null}});
    assert_ne!(patched.genesis_hash().unwrap(), hash);
}

/// The raw state is complete: wallets find the code marker, and the balances add up.
#[test]
fn raw_genesis_shows_the_state() {
    let raw = ChainSpec::dev().unwrap().raw_genesis().unwrap();
    assert_eq!(raw.genesis_hash, ChainSpec::dev().unwrap().genesis_hash().unwrap());
    let code = format!("0x{}", hex::encode(b":code"));
    let marker = format!("0x{}", hex::encode(x0_runtime::network::code_marker(x0_runtime::version::SPEC_VERSION)));
    assert_eq!(raw.state.get(&code), Some(&marker));
}

/// The first block of the development chain. It changes only when the rules of the runtime change
/// what the first state holds; clients, agents and saved data directories know the chain by it, so a
/// change must be meant.
#[test]
fn dev_genesis_hash_is_known() {
    const KNOWN: &str = "0x4239c902ddf7562cac2a06c84caf4a7003fbe2fa85217b22792fa6328590acab";
    let hash = ChainSpec::dev().unwrap().genesis_hash().unwrap();
    assert_eq!(format!("{hash:?}"), KNOWN);
}
