//! Starting and stopping the real binary: what an operator meets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::*;
use serde_json::json;
use std::path::Path;

/// Runs the node with arguments that must keep it from starting; the code and the last line.
fn refused(args: &[&str]) -> (i32, String) {
    let output = run(args);
    assert!(output.stdout.is_empty(), "a refused start prints no data");
    (output.status.code().unwrap(), last_line(&output))
}

fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_default_configuration_is_the_documented_one() {
    let output = run(&["default-config"]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), include_str!("../../../docs/operating/x0-node.toml"));
}

#[test]
fn usage_errors_have_their_own_code() {
    let boss = ["key", "generate", "--role", "boss", "--out", "/nonexistent/key.json"];
    for args in [&["--nonsense"][..], &["--rpc-port", "70000"], &["key", "generate"], &boss] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
    assert_eq!(run(&["chain-spec", "--preset", "moon"]).status.code(), Some(2));
    assert_eq!(run(&["--version"]).status.code(), Some(0));
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    assert!(help.starts_with("Validator and full node"), "{help}");
}

/// Well-known keys serve development chains only, whatever file is named beside `--dev`.
#[test]
fn development_keys_serve_development_chains_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain.json");
    let preset = String::from_utf8(run(&["chain-spec", "--preset", "dev"]).stdout).unwrap();
    std::fs::write(&path, preset.replacen("\"development\"", "\"local\"", 1)).unwrap();
    let (code, line) = refused(&["--dev", "--tmp", "--rpc-port", "0", "--chain", path.to_str().unwrap()]);
    assert!(code == 1 && line.contains("development chains only"), "{line}");
}

#[test]
fn broken_configuration_files_name_file_and_line() {
    let directory = tempfile::tempdir().unwrap();
    let unknown = write(directory.path(), "unknown.toml", "[rpc]\nplian = \"off\"\n");
    let (code, line) = refused(&["--dev", "--tmp", "--config", &unknown]);
    assert_eq!(code, 1);
    assert!(line.contains("unknown.toml") && line.contains("line 2") && line.contains("plian"), "{line}");
    let (code, line) = refused(&["--dev", "--tmp", "--config", "/nonexistent.toml"]);
    assert!(code == 1 && line.contains("/nonexistent.toml"), "{line}");
    let (code, line) = refused(&["--dev", "--tmp", "--log", "x0=loud"]);
    assert!(code == 1 && line.contains("x0=loud"), "{line}");
    let (code, line) = refused(&["--tmp"]);
    assert!(code == 1 && line.contains("--chain"), "{line}");
    let (code, line) = refused(&["--dev", "--tmp", "--rpc-address", "0.0.0.0:0"]);
    assert!(code == 1 && line.contains("loopback"), "{line}");
}

#[test]
fn broken_chain_specifications_name_the_field() {
    let directory = tempfile::tempdir().unwrap();
    let printed = run(&["chain-spec", "--preset", "dev"]);
    assert!(printed.status.success());
    let good: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
    let mut wrong = good.clone();
    wrong["validators"][0]["power"] = json!(0);
    let path = write(directory.path(), "power.json", &wrong.to_string());
    let (code, line) = refused(&["--tmp", "--chain", &path]);
    assert!(code == 1 && line.contains("power.json") && line.contains("validators[0].power"), "{line}");
    let path = write(directory.path(), "half.json", &good.to_string()[..200]);
    let (code, line) = refused(&["--tmp", "--chain", &path]);
    assert!(code == 1 && line.contains("half.json"), "{line}");
    // A good specification alone is not enough: a validator needs its keys.
    let path = write(directory.path(), "good.json", &good.to_string());
    let base = directory.path().join("base");
    let (code, line) = refused(&["--base-path", base.to_str().unwrap(), "--chain", &path]);
    assert!(code == 1 && line.contains("keys/consensus.json"), "{line}");
}

#[test]
fn keystores_with_wrong_passwords_and_roles_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    let right = write(directory.path(), "right", "right password\n");
    let wrong = write(directory.path(), "wrong", "wrong password\n");
    let file = keys.join("consensus.json");
    let spec = write(directory.path(), "dev.json", &String::from_utf8(run(&["chain-spec"]).stdout).unwrap());
    let generate = |role: &str| {
        let made =
            run(&["key", "generate", "--role", role, "--out", file.to_str().unwrap(), "--password-file", &right]);
        assert!(made.status.success(), "{}", last_line(&made));
    };
    let start = |password: &str| {
        refused(&[
            "--base-path",
            directory.path().to_str().unwrap(),
            "--chain",
            &spec,
            "--rpc-port",
            "0",
            "--password-file",
            password,
        ])
    };
    generate("consensus");
    let (code, line) = start(&wrong);
    assert!(code == 1 && line.contains("consensus.json") && line.contains("password"), "{line}");
    // The file is never overwritten.
    let again =
        run(&["key", "generate", "--role", "consensus", "--out", file.to_str().unwrap(), "--password-file", &right]);
    assert_eq!(again.status.code(), Some(1));
    let mut damaged: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    damaged["role"] = json!("network");
    std::fs::write(&file, damaged.to_string()).unwrap();
    let (code, line) = start(&right);
    assert!(code == 1 && line.contains("'network'") && line.contains("one key, one role"), "{line}");
    std::fs::write(&file, "{}").unwrap();
    let (code, line) = start(&right);
    assert!(code == 1 && line.contains("consensus.json"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_and_another_chain_are_refused_and_the_first_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().to_str().unwrap();
    let mut node = Node::dev(directory.path(), &[]);
    let (code, line) = refused(&["--dev", "--base-path", base, "--rpc-port", "0"]);
    assert!(code == 1 && line.contains("in use") && line.contains(&node.pid().to_string()), "{line}");
    let client = node.client().await;
    let mut headers = heads(&client).await;
    let first = number(&next(&mut headers).await);
    while number(&next(&mut headers).await) == first {}
    assert!(node.is_running());
    assert_eq!(node.terminate().code(), Some(0));
    // The same directory, another chain.
    let mut spec: serde_json::Value = serde_json::from_slice(&run(&["chain-spec"]).stdout).unwrap();
    spec["genesis_time_ms"] = json!(spec["genesis_time_ms"].as_u64().unwrap() + 1);
    let path = write(directory.path(), "other.json", &spec.to_string());
    let (code, line) = refused(&["--base-path", base, "--chain", &path, "--rpc-port", "0"]);
    assert!(code == 1 && line.contains("genesis"), "{line}");
    // And the first chain is still whole.
    let node = Node::dev(directory.path(), &[]);
    assert!(node.ready["head"].as_u64().unwrap() > u64::from(first));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_or_killed_node_comes_back_with_everything_final() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::dev(directory.path(), &[]);
    let alice = Signer::dev("alice");
    let bob = Signer::dev("bob");
    for round in 0..4 {
        let client = node.client().await;
        let genesis = genesis(&client).await;
        let block = finalise(&client, &alice.sign(genesis, round, transfer(&bob.account, 1))).await;
        if round % 2 == 0 {
            assert_eq!(node.terminate().code(), Some(0), "graceful");
        } else {
            node.kill();
        }
        node = Node::dev(directory.path(), &[]);
        let client = node.client().await;
        assert_eq!(ask(&client, "system_accountNextIndex", json!([alice.account])).await, round + 1);
        let height = number(&ask(&client, "chain_getHeader", json!([block])).await);
        assert!(node.ready["head"].as_u64().unwrap() >= u64::from(height), "what was final is there");
    }
    let client = node.client().await;
    let history = ask(&client, "account_history", json!([bob.account])).await;
    assert_eq!(history["entries"].as_array().unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_data_is_removed_and_unsafe_methods_are_asked_for() {
    let node = Node::start(&["--dev", "--tmp", "--rpc-port", "0", "--rpc-unsafe", "--log", "warn"]);
    let client = node.client().await;
    ask(&client, "admin_setLogFilter", json!(["warn,x0=debug"])).await;
    let (code, message, _) = refusal(&client, "admin_setLogFilter", json!(["x0=loud"])).await;
    assert!(code == -32602 && message.contains("loud"), "{message}");
    assert_eq!(ask(&client, "admin_mempool", json!([])).await["transactions"], "0");
    assert_eq!(node.terminate().code(), Some(0));
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, line) = refused(&["--dev", "--tmp", "--rpc-port", &port]);
    assert!(code == 1 && line.contains(&port), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_with_keystores_runs_its_own_chain() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    let password = write(directory.path(), "password", "correct horse\n");
    let mut spec: serde_json::Value = serde_json::from_slice(&run(&["chain-spec"]).stdout).unwrap();
    for role in ["consensus", "network", "reporter"] {
        let file = keys.join(format!("{role}.json"));
        let made =
            run(&["key", "generate", "--role", role, "--out", file.to_str().unwrap(), "--password-file", &password]);
        let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
        spec["validators"][0]["keys"][role] = made["public"].clone();
    }
    spec["id"] = json!("own-net");
    let spec = write(directory.path(), "own.json", &spec.to_string());
    let base = directory.path().to_str().unwrap();
    let args = [
        "--base-path",
        base,
        "--chain",
        &spec,
        "--rpc-port",
        "0",
        "--rpc-native-address",
        "127.0.0.1:0",
        "--metrics-address",
        "127.0.0.1:0",
        "--password-file",
        &password,
        "--log",
        "warn",
    ];
    let node = Node::start(&args);
    assert!(node.ready["native"].as_str().unwrap().starts_with("x0s://127.0.0.1:"));
    let client = node.client().await;
    assert_eq!(ask(&client, "system_properties", json!([])).await["x0Network"], "own-net");
    let mut headers = heads(&client).await;
    while number(&next(&mut headers).await) < 2 {}
    let certificate = ask(&client, "chain_certificate", json!([1])).await;
    assert!(certificate["certificate"].as_str().unwrap().len() > 2 * 3_309, "one ML-DSA-65 signature at least");
    assert_eq!(node.terminate().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_web_listener_needs_its_files_and_is_announced() {
    let directory = tempfile::tempdir().unwrap();
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/web-tls");
    let config = |key: &str| {
        let text = format!(
            "[rpc.web]\naddress = \"127.0.0.1:0\"\ncertificate = \"{vectors}/certificate.pem\"\nkey = \"{vectors}/{key}\"\n"
        );
        write(directory.path(), key, &text)
    };
    for (key, named) in
        [("missing.pem", "missing.pem"), ("certificate.pem", "private key"), ("other-key.pem", "rpc.web")]
    {
        let (code, line) = refused(&["--dev", "--tmp", "--rpc-port", "0", "--config", &config(key)]);
        assert!(code == 1 && line.contains(named), "{line}");
    }
    let node = Node::start(&["--dev", "--tmp", "--rpc-port", "0", "--config", &config("key.pem")]);
    assert!(node.ready["web"].as_str().unwrap().starts_with("wss://127.0.0.1:"));
    // It speaks TLS: plain HTTP gets no answer.
    let address = node.ready["web"].as_str().unwrap().trim_start_matches("wss://").to_owned();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
    assert!(!answer.starts_with(b"HTTP/"));
    assert_eq!(node.terminate().code(), Some(0));
}

#[test]
fn a_damaged_database_is_named_and_has_its_own_code() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(Node::dev(directory.path(), &[]).terminate().code(), Some(0));
    let database = directory.path().join("chain/db");
    let table = std::fs::read_dir(&database)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "sst"))
        .max_by_key(|path| path.metadata().unwrap().len())
        .expect("a graceful stop writes tables");
    let mut bytes = std::fs::read(&table).unwrap();
    bytes.iter_mut().step_by(50).for_each(|byte| *byte ^= 0xff);
    std::fs::write(&table, bytes).unwrap();
    let (code, line) = refused(&["--dev", "--base-path", directory.path().to_str().unwrap(), "--rpc-port", "0"]);
    assert_eq!(code, 21, "{line}");
    assert!(line.contains(table.file_name().unwrap().to_str().unwrap()), "{line}");
}

#[test]
fn a_data_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "occupied", "");
    let (code, line) = refused(&["--dev", "--base-path", &file, "--rpc-port", "0"]);
    assert!(code == 1 && line.contains("occupied"), "{line}");
}
