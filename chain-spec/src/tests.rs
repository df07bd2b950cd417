use super::*;
use serde_json::{Value, json};

const PEER: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff@node-1.example:30333";

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
        ("spec", Box::new(|v| v["spec_version"] = json!(77)), "`spec_version`: this program does not know version 77"),
        ("peers", Box::new(|v| v["boot_peers"] = json!("host:1")), "`boot_peers`: must be an array"),
        ("peer", Box::new(|v| v["boot_peers"] = json!([PEER, "host:1"])), "`boot_peers[1]`: must be <peer key>@"),
        ("peer twice", Box::new(|v| v["boot_peers"] = json!([PEER, PEER])), "`boot_peers[1]`: the peer stands"),
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

    paced.boot_peers = vec![PEER.to_owned()];
    paced.name = "Another name".to_owned();
    assert_eq!(ChainSpec::from_json(&paced.to_json().unwrap()).unwrap().genesis_hash().unwrap(), hash);

    // Signatures carry the genesis hash, so two networks never share it.
    let mut twin = spec.clone();
    twin.id = "twin".to_owned();
    assert_ne!(twin.genesis_hash().unwrap(), hash);

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
    let marker = format!("0x{}", hex::encode(x0_runtime::network::code_marker(x0_runtime::version::FIRST_SPEC)));
    assert_eq!(raw.state.get(&code), Some(&marker));
}

/// The first block of the development chain. It changes only when the rules of the runtime change
/// what the first state holds; clients, agents and saved data directories know the chain by it, so a
/// change must be meant.
#[test]
fn dev_genesis_hash_is_known() {
    const KNOWN: &str = "0xd5a9b3ebcec5fb7154da0a921cc1f5633ac4a7d4e8f2cdb4e62d4fa64cd5c7d3";
    let hash = ChainSpec::dev().unwrap().genesis_hash().unwrap();
    assert_eq!(format!("{hash:?}"), KNOWN);
}

/// A peer is a key, a host and a port; addresses of the sixth version stand in brackets.
#[test]
fn boot_peers_have_a_key_a_host_and_a_port() {
    let key = &PEER[..64];
    for good in [PEER.to_owned(), format!("{key}@10.0.0.1:1"), format!("{key}@[2001:db8::1]:65535")] {
        peers::check_peer(&good).unwrap();
    }
    let cases = [
        (String::new(), "must be <peer key>"),
        (format!("{}@h:1", &key[1..]), "64 lower-case"),
        (format!("{}@h:1", key.to_uppercase()), "64 lower-case"),
        (format!("{key}@host"), "has no port"),
        (format!("{key}@:1"), "the host must"),
        (format!("{key}@a b:1"), "the host must"),
        (format!("{key}@host:0"), "is no port"),
        (format!("{key}@host:65536"), "is no port"),
    ];
    for (text, expected) in cases {
        let error = peers::check_peer(&text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

/// The preset of four validators starts, has its own hash, and nobody who may use sudo.
#[test]
fn the_local_preset_starts_without_sudo() {
    let spec = ChainSpec::preset("local").unwrap().unwrap();
    assert_eq!((spec.validators.len(), spec.chain_type), (4, ChainType::Local));
    assert_eq!(ChainSpec::from_json(&spec.to_json().unwrap()).unwrap(), spec);
    assert_ne!(spec.genesis_hash().unwrap(), ChainSpec::dev().unwrap().genesis_hash().unwrap());
    let config = spec.genesis_config().unwrap();
    assert_eq!(config["network"], json!({ "id": "local", "development": false, "specVersion": 1 }));
    assert_eq!(config["sudo"]["key"], Value::Null);
}

fn keys(n: u8) -> ValidatorKeys {
    let key = |role: u8| {
        let mut bytes = [n; x0_types::key::PUBLIC_KEY_BYTES];
        bytes[0] = role;
        x0_types::MlDsa65PublicKey(Box::new(bytes))
    };
    let controller = x0_types::AccountId::new([n; 32]);
    ValidatorKeys { controller, consensus: key(1), network: key(2), reporter: key(3) }
}

/// A private network is a definition like any other, and everybody who must pay fees has money.
#[test]
fn a_private_network_gives_a_definition_that_starts() {
    let rich = x0_types::AccountId::new([99; 32]);
    let network = LocalNetwork {
        id: "lab-7".to_owned(),
        accounts: vec![(rich.clone(), 5_000_000_000_000), (keys(1).controller, 7_000_000_000_000)],
        boot_peers: vec![PEER.to_owned()],
        ..LocalNetwork::new((1..=4).map(keys).collect())
    };
    let spec = network.build().unwrap();
    assert_eq!((spec.chain_type, spec.id.as_str(), spec.validators.len()), (ChainType::Local, "lab-7", 4));
    let balances = spec.genesis.patch["balances"]["balances"].as_array().unwrap();
    assert_eq!(balances.len(), 2 + 3 + 4, "two named, three more controllers, four reporters");
    assert_eq!(balances[0], json!([rich, 5_000_000_000_000u64]));
    assert_eq!(balances[1], json!([keys(1).controller, 7_000_000_000_000u64]), "what was given is kept");
    let config = spec.genesis_config().unwrap();
    assert_eq!(config["network"]["development"], json!(false));
    // Everybody with an account of its own votes from the start.
    assert_eq!(config["owners"]["owners"].as_array().unwrap().len(), 4 + 1);
    assert_eq!(config["owners"]["epochSlots"], json!(x0_runtime::presets::QUICK_EPOCH_SLOTS));
    // A definition that says nothing about ballots has the rules of a network that lives for years.
    let mut plain = spec;
    plain.genesis.patch.as_object_mut().unwrap().retain(|section, _| section == "balances");
    let config = plain.genesis_config().unwrap();
    assert_eq!(config["governance"]["tracks"].as_array().unwrap().len(), 5);
    assert_eq!(config["owners"]["epochSlots"], json!(x0_limits::VOTE_EPOCH_SLOTS));
    plain.genesis_hash().unwrap();
}

#[test]
fn a_private_network_that_cannot_start_says_why() {
    let fails = |network: LocalNetwork, expected: &str| {
        let error = network.build().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    fails(LocalNetwork::new(Vec::new()), "`validators`: 0 validators");
    fails(LocalNetwork::new(vec![keys(1), keys(1)]), "`validators[1].controller`");
    let four = || LocalNetwork::new((1..=4).map(keys).collect());
    fails(LocalNetwork { id: "Lab 7".to_owned(), ..four() }, "`id`");
    let twice = vec![(keys(1).controller, 1_000_000_000), (keys(1).controller, 2_000_000_000)];
    fails(LocalNetwork { accounts: twice, ..four() }, "`accounts[1]`: the account stands");
    let huge = vec![(keys(9).controller, u128::MAX)];
    fails(LocalNetwork { accounts: huge, ..four() }, "`accounts[0]`");
    let dust = vec![(keys(9).controller, 1)];
    fails(LocalNetwork { accounts: dust, ..four() }, "the balance of any account");
}
