//! Networks of real processes, made by `x0-node testnet`: what operators do with them, and what befalls them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{network::*, *};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn four_validators_finalise_and_survive_the_loss_and_return_of_each_other() {
    let mut network = Network::start(4);
    let client = network.node(0).client().await;
    let genesis = genesis(&client).await;
    assert_eq!(json!(genesis), network.summary["genesis"]);
    let (alice, bob) = (Signer::dev("alice"), Signer::dev("bob"));
    let block = finalise(&client, &alice.sign(genesis, 0, transfer(&bob.account, 1))).await;
    let at = number(&ask(&client, "chain_getHeader", json!([block])).await);
    // Every validator has the very block.
    for number in 0..4 {
        reach(network.node(number), at).await;
        let client = network.node(number).client().await;
        assert_eq!(ask(&client, "chain_getBlockHash", json!([at])).await, json!(block));
        settled(network.node(number));
    }
    // One dies without a word: the others go on.
    network.take(3).kill();
    let block = finalise(&client, &alice.sign(genesis, 1, transfer(&bob.account, 1))).await;
    let at = number(&ask(&client, "chain_getHeader", json!([block])).await);
    // It comes back, catches up and takes part again: the others need it when another one leaves.
    network.start_one(3, &[]);
    reach(network.node(3), at).await;
    settled(network.node(3));
    assert_eq!(network.take(2).terminate().code(), Some(0));
    finalise(&client, &alice.sign(genesis, 2, transfer(&bob.account, 1))).await;
    for number in [3, 1, 0] {
        assert_eq!(network.take(number).terminate().code(), Some(0), "graceful");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_two_thirds_a_network_waits_and_says_so() {
    let mut network = Network::make(3);
    // A short patience, so that the test does not wait for the ordinary one.
    network.edit(0, "[metrics]", "[metrics]\nstall_ms = 1000");
    for number in 0..3 {
        network.start_one(number, &[]);
    }
    reach(network.node(0), 2).await;
    settled(network.node(0));
    network.take(1).kill();
    let reasons = until(network.node(0), "/health", 503);
    assert!(reasons.contains("the height has been"), "{reasons}");
    assert_eq!(get(network.node(0), "/ready").0, 503);
    let before = height(network.node(0)).await;
    network.start_one(1, &[]);
    reach(network.node(0), before + 2).await;
    settled(network.node(0));
}

#[test]
fn a_network_is_never_made_over_something() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&["testnet", "--output", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(last_line(&output).contains("exists already"), "{}", last_line(&output));
    let output = folder.path().join("net").to_str().unwrap().to_owned();
    for args in [
        vec!["testnet", "--validators", "0", "--output", &output],
        vec!["testnet", "--validators", "101", "--output", &output],
        vec!["testnet", "--base-port", "65530", "--output", &output],
    ] {
        let refused = run(&args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {}", last_line(&refused));
    }
    let bad = run(&["testnet", "--id", "Bad Id", "--output", &output, "--base-port", "0"]);
    assert!(bad.status.code() == Some(1) && last_line(&bad).contains("id"), "{}", last_line(&bad));
}

/// Each validator's directory is complete in itself, and only its owner can read its secrets.
#[test]
fn directories_are_complete_and_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let network = Network::make(2);
    for number in 0..2 {
        let directory = network.directory(number);
        let keys = ["keys/consensus.json", "keys/network.json", "keys/reporter.json", "password"];
        for secret in keys {
            let mode = std::fs::metadata(directory.join(secret)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{secret}");
        }
        assert_eq!(
            std::fs::read(directory.join("chain.json")).unwrap(),
            std::fs::read(network.directory(0).join("chain.json")).unwrap()
        );
        let doctor = run(&["doctor", "--json", "--config", &network.config(number)]);
        let findings: Value = serde_json::from_slice(&doctor.stdout).unwrap();
        let failed: Vec<&Value> =
            findings.as_array().unwrap().iter().filter(|one| one["outcome"] == "failure").collect();
        // Nobody runs yet: that the others cannot be reached is the only thing that is wrong.
        assert!(failed.iter().all(|one| one["check"] == "peers"), "{failed:?}");
        assert_eq!(doctor.status.code(), Some(1));
    }
}

#[test]
fn broken_network_settings_are_named() {
    let network = Network::make(2);
    let config = network.config(0);
    let good = std::fs::read_to_string(&config).unwrap();
    let peer = network.summary["validators"][1]["peer"].as_str().unwrap();
    let broken = [
        (peer, "127.0.0.1:1", "network.peers"),
        (&peer[..64], "zz", "network.peers"),
        ("advertise = [\n    \"127", "advertise = [\n    \"no port\",\n    \"127", "network.advertise"),
        ("[network]", "[network]\nadmitted = [\"0x12\"]", "config.toml"),
        ("[network]", "[network]\nlisten_on = []", "listen_on"),
        ("consensus.json", "missing.json", "missing.json"),
        ("keys/network.json", "keys/reporter.json", "one key, one role"),
        ("chain.json", "missing.json", "missing.json"),
        ("password_file = \"password\"", "password_file = \"missing\"", "missing"),
    ];
    for (from, to, named) in broken {
        assert!(good.contains(from), "{from} is in {good}");
        std::fs::write(&config, good.replace(from, to)).unwrap();
        let refused = run(&["--config", &config]);
        assert_eq!(refused.status.code(), Some(1), "{from} -> {to}");
        assert!(last_line(&refused).contains(named), "{from} -> {to}: {}", last_line(&refused));
    }
}
