//! What operators do to nodes: watch them, back them up, lose their disks, move their keys.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{network::*, *};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The metrics that a text names.
fn named(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("x0_") || word.starts_with("malachitebft_"))
        .map(str::to_owned)
        .collect()
}

/// The names of the samples of a scrape.
fn samples(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_alerts_and_manual_name_the_metrics_of_a_running_node() {
    let network = Network::start(2);
    reach(network.node(0), 2).await;
    settled(network.node(0));
    let (status, text) = get(network.node(0), "/metrics");
    assert_eq!(status, 200);
    assert!(text.ends_with("# EOF\n"));
    let live = samples(&text);
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/x0-nodes.json")).unwrap();
    let queries: Vec<&str> = dashboard["panels"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    assert!(queries.len() > 20);
    let alerts = read("deploy/prometheus/x0-alerts.yml");
    let rules: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert!(rules.len() > 10);
    for query in queries.iter().chain(&rules) {
        let names = named(query);
        assert!(!names.is_empty() || query.starts_with("up{"), "{query}");
        for name in names {
            assert!(live.contains(&name), "{name} of the query {query} is not among {live:?}");
        }
    }
    // Each alert leads to a page and a place that exist.
    for line in alerts.lines().filter_map(|line| line.trim().strip_prefix("runbook: ")) {
        let (page, place) = line.split_once('#').unwrap_or((line, ""));
        let anchors: Vec<String> = read(page)
            .lines()
            .filter(|line| line.starts_with('#'))
            .map(|line| {
                line.trim_start_matches(['#', ' ']).to_lowercase().replace(' ', "-").replace([',', '\'', ':'], "")
            })
            .collect();
        assert!(place.is_empty() || anchors.iter().any(|anchor| anchor == place), "{line}: {anchors:?}");
    }
    let manual = read("docs/operating/monitor.md");
    for name in live.iter().filter(|name| name.starts_with("x0_")) {
        // A histogram's samples stand in the manual under one name.
        let name = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(manual.contains(&format!("| `{name}` |")), "monitor.md lacks {name}");
    }
}

/// A disk goes, with it the chain; the record of the key is elsewhere, or is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_validator_comes_back_from_a_backup_from_its_peers_and_from_a_snapshot() {
    let mut network = Network::make(4);
    for number in 0..4 {
        network.edit(number, "[metrics]", "[sync]\nsnapshot_interval = 5\n\n[metrics]");
        network.start_one(number, &[]);
    }
    let config = network.config(3);
    let backup = network.folder.path().join("backup");
    let backup = backup.to_str().unwrap();
    reach(network.node(3), 3).await;
    assert_eq!(network.take(3).terminate().code(), Some(0));
    let made = run(&["backup", "--config", &config, "--out", backup]);
    assert!(made.status.success(), "{}", last_line(&made));
    let saved: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert!(saved["height"].as_u64().unwrap() >= 3);
    // The node goes on, and signs what the backup does not know.
    network.start_one(3, &[]);
    let later = reach(network.node(3), u32::try_from(saved["height"].as_u64().unwrap()).unwrap() + 4).await;
    settled(network.node(3));
    network.take(3).kill();
    let data = network.directory(3).join("data");
    let restore = |extra: &[&str]| {
        let mut args = vec!["restore", "--config", &config, "--from", backup];
        args.extend_from_slice(extra);
        run(&args)
    };
    let refused = restore(&[]);
    assert!(last_line(&refused).contains("move it away"), "{}", last_line(&refused));
    std::fs::remove_dir_all(data.join("chain")).unwrap();
    // The record here is newer than the backup's: going back is refused, by its own code.
    let refused = restore(&[]);
    assert_eq!(refused.status.code(), Some(20), "{}", last_line(&refused));
    assert!(last_line(&refused).contains("refusing to go backwards"), "{}", last_line(&refused));
    let restored = restore(&["--keep-guard"]);
    assert!(restored.status.success(), "{}", last_line(&restored));
    // It catches up before it signs, and then it is a validator like the others.
    network.start_one(3, &[]);
    assert!(network.node(3).ready["head"].as_u64().unwrap() >= u64::from(later) - 1);
    settled(network.node(3));
    // Without a record nobody can say what was signed: the backup's is not taken for the whole truth.
    network.take(3).kill();
    std::fs::remove_dir_all(data.join("chain")).unwrap();
    std::fs::rename(data.join("consensus"), data.join("kept")).unwrap();
    let refused = restore(&[]);
    assert!(last_line(&refused).contains("new consensus key"), "{}", last_line(&refused));
    std::fs::rename(data.join("kept"), data.join("consensus")).unwrap();
    // The last way back: a snapshot from peers. It stands at a height that was never executed here.
    network.start_one(3, &["--sync", "snapshot"]);
    settled(network.node(3));
    let client = network.node(3).client().await;
    let first = ask(&client, "chain_getBlockHash", json!([1])).await;
    let others = ask(&network.node(0).client().await, "chain_getBlockHash", json!([1])).await;
    assert!(first.is_null() || first == others);
    // The network needs it when another validator leaves, and has it.
    let at = height(network.node(0)).await;
    assert_eq!(network.take(0).terminate().code(), Some(0));
    reach(network.node(3), at + 3).await;
}

#[test]
fn damaged_and_foreign_backups_are_refused_before_anything_changes() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base");
    let base = base.to_str().unwrap();
    assert_eq!(Node::dev(Path::new(base), &[]).terminate().code(), Some(0));
    let backup = folder.path().join("backup");
    let made = run(&["backup", "--dev", "--base-path", base, "--out", backup.to_str().unwrap()]);
    assert!(made.status.success(), "{}", last_line(&made));
    let target = folder.path().join("target");
    std::fs::create_dir(&target).unwrap();
    let restore = |extra: &[&str]| {
        let mut args = vec!["restore", "--dev", "--base-path", target.to_str().unwrap()];
        args.extend_from_slice(&["--from", backup.to_str().unwrap()]);
        args.extend_from_slice(extra);
        run(&args)
    };
    let manifest = backup.join("manifest.json");
    let good = std::fs::read_to_string(&manifest).unwrap();
    let genesis = serde_json::from_str::<Value>(&good).unwrap()["genesis"].as_str().unwrap().to_owned();
    for (text, named) in [
        (good[..200].to_owned(), "manifest.json"),
        (good.replace("x0-backup", "y0-backup"), "not x0-backup"),
        (good.replace(&genesis, &format!("0x{}", "7".repeat(64))), "genesis"),
        (good.replacen("\"hash\": \"", "\"hash\": \"00", 2), "damaged"),
    ] {
        std::fs::write(&manifest, text).unwrap();
        let refused = restore(&["--accept-old-guard"]);
        assert!(last_line(&refused).contains(named) || named == "damaged", "{named}: {}", last_line(&refused));
        assert!(!refused.status.success());
        assert_eq!(std::fs::read_dir(&target).unwrap().count(), 0, "{named}");
    }
    std::fs::write(&manifest, &good).unwrap();
    let table = find(&backup, "sst").or_else(|| find(&backup, "log")).expect("a database has tables or a log");
    let bytes = std::fs::read(&table).unwrap();
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    // The backup shares its tables with the database by hard links: the copy is replaced, not written into.
    std::fs::remove_file(&table).unwrap();
    std::fs::write(&table, changed).unwrap();
    let refused = restore(&["--accept-old-guard"]);
    assert_eq!(refused.status.code(), Some(21));
    assert!(last_line(&refused).contains("damaged"), "{}", last_line(&refused));
    std::fs::write(&table, bytes).unwrap();
    let restored = restore(&["--accept-old-guard"]);
    assert!(restored.status.success(), "{}", last_line(&restored));
    let node = Node::dev(&target, &[]);
    assert_eq!(node.ready["genesis"], json!(genesis));
}

/// A node that is alone cannot get lost blocks back. It says so before it calls itself ready.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_chain_is_noticed_before_anybody_relies_on_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::dev(folder.path(), &[]);
    reach(&node, 3).await;
    assert_eq!(node.terminate().code(), Some(0));
    std::fs::remove_dir_all(folder.path().join("chain")).unwrap();
    let refused = run(&["--dev", "--base-path", folder.path().to_str().unwrap(), "--rpc-port", "0"]);
    assert_eq!(refused.status.code(), Some(20), "{}", last_line(&refused));
    assert!(refused.stdout.is_empty(), "no READY line");
    assert!(last_line(&refused).contains("blocks that were decided are lost"), "{}", last_line(&refused));
}

fn find(folder: &Path, kind: &str) -> Option<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == kind) && path.metadata().unwrap().len() > 0 {
                return Some(path);
            }
        }
    }
    None
}

/// A node without a key follows; a node whose key is elsewhere signs through it.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_follows_and_a_remote_signer_signs() {
    let mut network = Network::make(2);
    let folder = network.folder.path().to_owned();
    let password = folder.join("password");
    std::fs::write(&password, "correct horse\n").unwrap();
    let follower = folder.join("follower");
    let chain = network.directory(0).join("chain.json");
    let peer = |number: usize| network.summary["validators"][number]["peer"].as_str().unwrap().to_owned();
    let made = run(&[
        "init",
        "--follower",
        "--output",
        follower.to_str().unwrap(),
        "--chain",
        chain.to_str().unwrap(),
        "--password-file",
        password.to_str().unwrap(),
        "--peer",
        &peer(0),
        "--peer",
        &peer(1),
    ]);
    assert!(made.status.success(), "{}", last_line(&made));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let key = made["networkKey"].as_str().unwrap();
    for number in 0..2 {
        network.edit(number, "[network]", &format!("[network]\nadmitted = [\"{key}\"]"));
    }
    // The second validator's consensus key moves to a signer.
    let directory = network.directory(1);
    let signer = folder.join("signer");
    std::fs::create_dir(&signer).unwrap();
    std::fs::rename(directory.join("keys/consensus.json"), signer.join("consensus.json")).unwrap();
    std::fs::copy(directory.join("password"), signer.join("password")).unwrap();
    let link = signer.join("network.json");
    let made = run(&[
        "key",
        "generate",
        "--role",
        "network",
        "--out",
        link.to_str().unwrap(),
        "--password-file",
        signer.join("password").to_str().unwrap(),
    ]);
    std::fs::write(directory.join("signer-network.json"), &made.stdout).unwrap();
    for (file, to) in [
        (signer.join("consensus.json"), directory.join("signer-consensus.json")),
        (directory.join("keys/network.json"), signer.join("node.json")),
    ] {
        std::fs::write(to, run(&["key", "inspect", file.to_str().unwrap()]).stdout).unwrap();
    }
    let settings = format!(
        "chain = {:?}\nlisten = \"127.0.0.1:0\"\nguard = \"guard\"\nconsensus = \"consensus.json\"\nnetwork = \"network.json\"\n\
         clients = [\"node.json\"]\npassword_file = \"password\"\n",
        chain
    );
    std::fs::write(signer.join("signer.toml"), settings).unwrap();
    let process = Node::start(&["signer", "--config", signer.join("signer.toml").to_str().unwrap()]);
    let address = process.ready["signer"].as_str().unwrap();
    network.edit(
        1,
        "[network]",
        &format!("[signer]\naddress = \"{address}\"\nlink_key = \"signer-network.json\"\nconsensus_key = \"signer-consensus.json\"\n\n[network]"),
    );
    network.edit(1, "consensus = \"keys/consensus.json\"\n", "");
    for number in 0..2 {
        network.start_one(number, &[]);
    }
    // Two validators decide together only when both sign.
    reach(network.node(1), 3).await;
    let (_, metrics) = get(network.node(1), "/metrics");
    assert!(metrics.contains("x0_consensus_validator 1"));
    let config = follower.join("config.toml");
    let node = Node::start(&[
        "--config",
        config.to_str().unwrap(),
        "--rpc-port",
        "0",
        "--metrics-address",
        "127.0.0.1:0",
        "--log",
        LOG,
    ]);
    let at = height(network.node(0)).await;
    reach(&node, at + 1).await;
    settled(&node);
    let (_, body) = get(&node, "/ready");
    assert!(body.contains("\"validator\": false"), "{body}");
    assert_eq!(node.terminate().code(), Some(0));
    // Without its signer the validator ends in a way that a supervisor mends.
    assert_eq!(process.terminate().code(), Some(0));
    let mut node = network.take(1);
    assert_eq!(node.wait().code(), Some(10));
}

/// Proofs for joining and files for a rotation; the chain's part of both is the wallet's.
#[test]
fn joining_and_rotating_prepare_what_the_wallet_signs() {
    let network = Network::make(1);
    let config = network.config(0);
    let controller = network.summary["validators"][0]["controller"].as_str().unwrap();
    let out = network.folder.path().join("proofs");
    let out = out.to_str().unwrap();
    let join = ["join", "--config", &config, "--controller", controller, "--out", out];
    let made = run(&join);
    assert!(made.status.success(), "{}", last_line(&made));
    for role in ["network", "consensus", "reporter"] {
        let proof: Value =
            serde_json::from_str(&std::fs::read_to_string(format!("{out}/{role}.proof.json")).unwrap()).unwrap();
        assert_eq!((&proof["role"], &proof["controller"]), (&json!(role), &json!(controller)));
    }
    assert!(last_line(&run(&join)).contains("network.proof.json"), "nothing is overwritten");
    let keys = network.directory(0).join("keys");
    let before = std::fs::read(keys.join("consensus.json")).unwrap();
    let rotate = |extra: &[&str]| {
        let mut args = vec!["rotate-key", "--config", &config, "--role", "consensus"];
        args.extend_from_slice(extra);
        run(&args)
    };
    let early = rotate(&["--activate"]);
    assert!(last_line(&early).contains("without --activate"), "{}", last_line(&early));
    let made = rotate(&["--controller", controller]);
    assert!(made.status.success(), "{}", last_line(&made));
    let next = std::fs::read(keys.join("consensus.next.json")).unwrap();
    assert_eq!(
        std::fs::read(keys.join("consensus.json")).unwrap(),
        before,
        "the old key serves until the new one is activated"
    );
    let done = rotate(&["--activate"]);
    assert!(done.status.success(), "{}", last_line(&done));
    assert_eq!(std::fs::read(keys.join("consensus.json")).unwrap(), next);
    let kept: Vec<_> =
        std::fs::read_dir(&keys).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(kept.contains(&before), "no key is ever removed");
    assert_eq!(run(&["rotate-key", "--config", &config, "--role", "agent"]).status.code(), Some(2));
    // A key whose file is lost is replaced in the same way.
    std::fs::remove_file(keys.join("consensus.json")).unwrap();
    let made = rotate(&["--controller", controller]);
    assert!(made.status.success(), "{}", last_line(&made));
    let next = std::fs::read(keys.join("consensus.next.json")).unwrap();
    let done = rotate(&["--activate"]);
    assert!(done.status.success(), "{}", last_line(&done));
    assert_eq!(std::fs::read(keys.join("consensus.json")).unwrap(), next);
}
