//! Nodes on their way to the head: what they trust, what they say meanwhile, and copies of nodes that run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{network::*, *};
use serde_json::{Value, json};
use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use x0_rpc_types::error as code;

/// Fifteen days, one more than trust lasts.
const LONG_AGO_MS: u64 = 15 * 24 * 60 * 60 * 1_000;

/// Makes the network's definition older than trust lasts, in every directory: the network is another one then, with the
/// same validators.
fn age(network: &Network, validators: usize) {
    for number in 0..validators {
        let path = network.directory(number).join("chain.json");
        let mut spec: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let made = spec["genesis_time_ms"].as_u64().unwrap();
        spec["genesis_time_ms"] = json!(made - LONG_AGO_MS);
        std::fs::write(&path, serde_json::to_string_pretty(&spec).unwrap()).unwrap();
    }
}

/// What a run of the program prints, which must succeed.
fn answer(args: &[&str]) -> Value {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", last_line(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A follower's directory; the network's nodes must admit its key.
fn follower(network: &Network, peers: &[usize]) -> (String, String) {
    let (folder, chain) = (network.folder.path().join("follower"), network.directory(0).join("chain.json"));
    let password = network.folder.path().join("password");
    std::fs::write(&password, "correct horse\n").unwrap();
    let peer = |number: &usize| network.summary["validators"][*number]["peer"].as_str().unwrap().to_owned();
    let peers: Vec<String> = peers.iter().flat_map(|number| ["--peer".to_owned(), peer(number)]).collect();
    let mut args = vec!["init", "--follower", "--output", folder.to_str().unwrap(), "--chain", chain.to_str().unwrap()];
    args.extend(["--password-file", password.to_str().unwrap()]);
    args.extend(peers.iter().map(String::as_str));
    let made = answer(&args);
    (folder.join("config.toml").to_str().unwrap().to_owned(), made["networkKey"].as_str().unwrap().to_owned())
}

/// Trust in the first validators ages. A network that is older needs a checkpoint, which a node that runs, or a
/// directory of one that does not, prints.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_on_old_trust_needs_a_checkpoint_of_this_chain() {
    let mut network = Network::make(2);
    age(&network, 2);
    let (config, key) = follower(&network, &[0, 1]);
    for number in 0..2 {
        network.edit(number, "[network]", &format!("[network]\nadmitted = [\"{key}\"]"));
        network.edit(number, "[metrics]", "[sync]\nsnapshot_interval = 4\n\n[metrics]");
        network.start_one(number, &[]);
    }
    // A snapshot exists before anybody asks for one.
    let client = network.node(0).client().await;
    reach(network.node(0), 6).await;
    let free = ["--rpc-port", "0", "--metrics-address", "127.0.0.1:0", "--log", LOG];
    let snapshot = |extra: &[&str]| {
        let mut args = vec!["--config", &config, "--sync", "snapshot"];
        args.extend(free);
        args.extend(extra);
        binary().command(&args).output().unwrap()
    };
    let refused = snapshot(&[]);
    let line = last_line(&refused);
    assert_eq!(refused.status.code(), Some(1), "{line}");
    assert!(
        line.contains("too old") && line.contains("x0-node checkpoint") && line.contains("sync.checkpoint"),
        "{line}"
    );
    let printed = answer(&["checkpoint", "--config", &network.config(1)]);
    let named = printed["node"].as_str().unwrap().to_owned();
    let genesis = ask(&client, "chain_getBlockHash", json!([0])).await;
    assert!(named.starts_with(&format!("0:{}:", genesis.as_str().unwrap())), "no set ever changed: {named}");
    // Of another chain, too old, and no checkpoint at all.
    let time = named.rsplit(':').next().unwrap();
    let wrong = named.replacen(genesis.as_str().unwrap(), &format!("0x{}", "7".repeat(64)), 1);
    let old = named.replacen(time, &(time.parse::<u64>().unwrap() - LONG_AGO_MS).to_string(), 1);
    for (checkpoint, reason) in
        [(&wrong, "another chain"), (&old, "too old"), (&"0:0x12".to_owned(), "HEIGHT:0xHASH:TIME")]
    {
        let refused = snapshot(&["--checkpoint", checkpoint]);
        assert_eq!(refused.status.code(), Some(1), "{}", last_line(&refused));
        assert!(last_line(&refused).contains(reason), "{checkpoint}: {}", last_line(&refused));
    }
    let mut args = vec!["--config", &config, "--sync", "snapshot", "--checkpoint", &named];
    args.extend(free);
    let node = Node::start(&args);
    settled(&node);
    // It began at a snapshot, and says from where on it has blocks.
    let client = node.client().await;
    let first = ask(&client, "chain_getBlockHash", json!([1])).await;
    let (found, message, data) = refusal(&client, "chain_getBlock", json!([first])).await;
    assert_eq!(found, code::UNKNOWN_BLOCK, "{message}");
    let start = data["historyStart"].as_u64().unwrap();
    assert!(start > 4 && message.contains(&start.to_string()), "{message}");
    let health = ask(&client, "system_health", json!([])).await;
    assert_eq!(health["shouldHavePeers"], true, "{health}");
    assert_eq!(node.terminate().code(), Some(0));
    // The directory vouches as well as the running node did, and starts with a checkpoint that it holds only.
    let from_directory = answer(&["checkpoint", "--config", &config]);
    assert!(from_directory["node"].as_str().unwrap().starts_with("0:"), "{from_directory}");
    let head = from_directory["wallet"].as_str().unwrap();
    let mut parts = head.split(':');
    let (height, _) = (parts.next().unwrap(), parts.next().unwrap());
    let other = format!("{height}:0x{}:{time}", "7".repeat(64));
    let refused = snapshot(&["--checkpoint", &other]);
    assert!(last_line(&refused).contains("another"), "{}", last_line(&refused));
    assert_eq!(refused.status.code(), Some(1));
}

/// A node that waits for a network, started without waiting for its READY line; killed when dropped.
struct Waiting(Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Waiting {
    fn start(args: &[String]) -> Self {
        let mut command: Command = binary().command(args);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

/// Arguments for a node whose addresses are known before it says them, and these: of the RPC and of metrics.
fn addressed(config: &str, more: &[&str]) -> (Vec<String>, String, String) {
    let (rpc, metrics) =
        (x0_test_support::free_port().to_string(), format!("127.0.0.1:{}", x0_test_support::free_port()));
    let mut args = vec!["--config", config, "--rpc-port", &rpc, "--metrics-address", &metrics];
    args.extend(more);
    (args.into_iter().map(str::to_owned).collect(), format!("127.0.0.1:{rpc}"), metrics.clone())
}

/// Asks an address until somebody answers there.
async fn connected(address: &str) -> jsonrpsee::ws_client::WsClient {
    let deadline = Instant::now() + PATIENCE;
    while std::net::TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "nobody listens on {address}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    x0_test_support::node::client(&format!("ws://{address}")).await
}

/// The peers of a network are where a node looks for its chain; until it has one, it speaks for itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_looks_for_a_snapshot_answers_about_itself() {
    let network = Network::make(2);
    // The other validator does not run: nobody offers a snapshot.
    let (args, rpc, metrics) = addressed(&network.config(0), &["--sync", "snapshot"]);
    let _node = Waiting::start(&args);
    let client = connected(&rpc).await;
    let health = ask(&client, "system_health", json!([])).await;
    assert_eq!(health, json!({ "peers": 0, "isSyncing": true, "shouldHavePeers": true }));
    let progress = ask(&client, "system_syncState", json!([])).await;
    assert_eq!(progress, json!({ "startingBlock": 0, "currentBlock": 0, "highestBlock": 0 }));
    assert_eq!(refusal(&client, "chain_getHeader", json!([])).await.0, code::STARTING);
    let listening = ask(&client, "system_localListenAddresses", json!([])).await;
    assert_eq!(listening.as_array().unwrap().len(), 1, "{listening}");
    let (status, body) = get_at(&metrics, "/health");
    assert!(status == 200 && body.contains("fetching a snapshot"), "{body}");
    let (status, body) = get_at(&metrics, "/ready");
    assert!(status == 503 && body.contains("has no chain yet"), "{body}");
    let (status, body) = get_at(&metrics, "/metrics");
    assert_eq!(status, 200);
    for line in
        ["x0_healthy 1", "x0_ready 0", "x0_p2p_missing_peers", "x0_rpc_errors_total{class=\"unknown\",kind=\"busy\"} 1"]
    {
        assert!(body.contains(&format!("\n{line}")), "{line}: {body}");
    }
}

/// A validator that lost its chain and kept its record waits for the others, and serves what it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_follows_before_it_signs_serves_all_methods() {
    let mut network = Network::start(2);
    let height = reach(network.node(0), 3).await;
    assert_eq!(network.take(1).terminate().code(), Some(0));
    assert_eq!(network.take(0).terminate().code(), Some(0));
    std::fs::remove_dir_all(network.directory(0).join("data/chain")).unwrap();
    let (args, rpc, metrics) = addressed(&network.config(0), &[]);
    let _node = Waiting::start(&args);
    let client = connected(&rpc).await;
    assert_eq!(number(&ask(&client, "chain_getHeader", json!([])).await), 0);
    assert_eq!(ask(&client, "system_health", json!([])).await["isSyncing"], true);
    let (status, body) = get_at(&metrics, "/ready");
    assert!(status == 503 && body.contains("the node follows until height"), "{body}");
    assert!(get_at(&metrics, "/metrics").1.contains("\nx0_chain_height_blocks 0\n"));
    // The other one comes back, and the node catches up.
    network.start_one(1, &[]);
    let mut headers = heads(&client).await;
    while number(&next(&mut headers).await) < height {}
}

/// Peers over the RPC are the links that stand, on both ends.
#[tokio::test(flavor = "multi_thread")]
async fn the_rpc_tells_of_the_peers_that_are_there() {
    let mut network = Network::make(3);
    for number in 0..3 {
        network.edit(number, "[rpc]", "[rpc]\nunsafe = true");
        network.start_one(number, &[]);
    }
    for number in 0..3 {
        settled(network.node(number));
    }
    let client = network.node(0).client().await;
    let keys: Vec<String> =
        (0..3).map(|number| network.node(number).text("networkKey").trim_start_matches("0x").to_owned()).collect();
    let until = |wanted: usize| {
        let client = &client;
        async move {
            let deadline = Instant::now() + PATIENCE;
            loop {
                let peers = ask(client, "system_peers", json!([])).await;
                if peers.as_array().unwrap().len() == wanted {
                    return peers;
                }
                assert!(Instant::now() < deadline, "{peers}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    let peers = until(2).await;
    let mut named: Vec<&str> = peers.as_array().unwrap().iter().map(|peer| peer["peerId"].as_str().unwrap()).collect();
    named.sort_unstable();
    let mut others = vec![keys[1].as_str(), keys[2].as_str()];
    others.sort_unstable();
    assert_eq!(named, others);
    assert_eq!(ask(&client, "system_health", json!([])).await["peers"], 2);
    let links = ask(&client, "admin_peers", json!([])).await;
    assert!(links[0]["software"].as_str().unwrap().starts_with("x0-node/"), "{links}");
    assert!(links.as_array().unwrap().iter().all(|link| link["tip"].as_u64().is_some()), "{links}");
    network.take(2).kill();
    until(1).await;
    assert_eq!(ask(&client, "system_health", json!([])).await["peers"], 1);
}

/// A copy of a running node: the chain comes back from it, the record of its key never does.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_node_is_backed_up_and_its_chain_restored() {
    let mut network = Network::start(2);
    let height_before = reach(network.node(0), 3).await;
    let config = network.config(1);
    let backup = network.folder.path().join("backup");
    let backup = backup.to_str().unwrap();
    let made = answer(&["backup", "--config", &config, "--out", backup]);
    assert!(made["height"].as_u64().unwrap() >= u64::from(height_before) - 1, "{made}");
    assert!(!Path::new(backup).join("guard.json").exists());
    let refused = run(&["backup", "--config", &config, "--out", backup]);
    assert!(last_line(&refused).contains("backup"), "it exists: {}", last_line(&refused));
    // The network went on all the while, and goes on.
    let later = reach(network.node(0), height_before + 3).await;
    network.take(1).kill();
    let data = network.directory(1).join("data");
    std::fs::remove_dir_all(data.join("chain")).unwrap();
    // Without its record the key must not sign again, whatever is promised.
    std::fs::rename(data.join("consensus"), data.join("kept")).unwrap();
    for extra in [&[][..], &["--accept-old-guard"], &["--keep-guard"]] {
        let mut args = vec!["restore", "--config", &config, "--from", backup];
        args.extend(extra);
        let refused = run(&args);
        assert!(last_line(&refused).contains("new consensus key"), "{extra:?}: {}", last_line(&refused));
        assert!(!data.join("chain").exists());
    }
    std::fs::rename(data.join("kept"), data.join("consensus")).unwrap();
    let restored = answer(&["restore", "--config", &config, "--from", backup]);
    assert_eq!(restored["guard"], "the record that was here stays");
    network.start_one(1, &[]);
    reach(network.node(1), later).await;
    settled(network.node(1));
}
