//! The real binary without a node: what it refuses, how it says so, and what it keeps on disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::process::{Command, Stdio};

use support::{PASSWORD, Wallet};

#[test]
fn a_key_comes_back_from_its_phrase_and_its_file_is_private() {
    let wallet = Wallet::new();
    let made = wallet.new_key("alice");
    let phrase = made["phrase"].as_str().unwrap();
    assert_eq!(phrase.split_whitespace().count(), 24);

    std::fs::write(wallet.path("phrase"), phrase.to_uppercase()).unwrap();
    let again = wallet.run(&["keys", "import", "again", "--phrase-file", wallet.path("phrase").to_str().unwrap()]);
    assert_eq!(again.json()["account"], made["account"]);
    assert_eq!(again.json()["fingerprint"], made["fingerprint"]);

    let shown = wallet.run(&["keys", "export", "alice", "--phrase", "--yes"]);
    assert_eq!(shown.json()["phrase"], phrase);

    let file = wallet.path("home/keys/alice.json");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        phrase.split_whitespace().all(|word| !text.contains(&format!(" {word} "))),
        "no word of the phrase on disk"
    );
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions()) & 0o777,
        0o600
    );

    let copy = wallet.path("copy.json");
    assert_eq!(wallet.run(&["keys", "export", "alice", "--out", copy.to_str().unwrap()]).code, 0);
    let copied = wallet.run(&["keys", "import", "copy", "--file", copy.to_str().unwrap()]);
    assert_eq!(copied.json()["account"], made["account"]);
    assert_eq!(wallet.run(&["keys", "list"]).json().as_array().unwrap().len(), 3);
}

#[test]
fn keystore_errors_are_told_apart() {
    let wallet = Wallet::new();
    wallet.new_key("alice");
    wallet.run_with("wrong", &["keys", "export", "alice", "--phrase", "--yes"]).fails(5, "wrong-password");
    wallet.run(&["keys", "new", "alice"]).fails(5, "keystore");
    wallet.run(&["keys", "export", "nobody", "--phrase", "--yes"]).fails(5, "no-key");
    wallet.run(&["keys", "new", "../alice"]).fails(2, "usage");

    let file = wallet.path("home/keys/alice.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"account\"", "\"agent\"")).unwrap();
    let message = wallet.run(&["keys", "export", "alice", "--phrase", "--yes"]).fails(5, "keystore");
    assert!(message.contains("changed or is damaged"), "{message}");
}

#[test]
fn a_damaged_key_file_hides_no_other_key() {
    let wallet = Wallet::new();
    for name in ["alice", "bob", "carol"] {
        wallet.new_key(name);
    }
    std::fs::write(wallet.path("home/keys/bob.json"), "{}").unwrap();
    let run = wallet.run(&["keys", "list"]);
    assert_eq!(run.code, 5, "{}", run.stdout);
    let listed = run.json();
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["alice", "bob", "carol"]);
    assert!(listed[0]["account"].is_string() && listed[1]["error"].is_string() && listed[1]["account"].is_null());
    assert!(run.stderr.contains("1 of the keys") && run.stderr.contains("bob"), "{}", run.stderr);
}

#[test]
fn the_account_of_a_rotated_key_travels_with_its_file() {
    let wallet = Wallet::new();
    let first = wallet.new_key("first")["account"].as_str().unwrap().to_owned();
    wallet.new_key("second");
    // As `x0 did rotate` leaves it.
    std::fs::write(wallet.path("home/keys/second.account"), &first).unwrap();
    let copy = wallet.file("copy.json");
    wallet.run(&["keys", "export", "second", "--out", &copy]).succeeds();
    let back = wallet.run(&["keys", "import", "back", "--file", &copy]).succeeds();
    assert_eq!((&back["account"], &back["rotated"]), (&first.as_str().into(), &true.into()));
    // The home's own files are such a pair as well.
    let original = wallet.file("home/keys/second.json");
    let twin = wallet.run(&["keys", "import", "twin", "--file", &original]).succeeds();
    assert_eq!(twin["account"], first);
    std::fs::write(wallet.path("copy.account"), "not an account").unwrap();
    wallet.run(&["keys", "import", "bad", "--file", &copy]).fails(2, "account");
    wallet.run(&["keys", "export", "bad", "--phrase", "--yes"]).fails(5, "no-key");
}

/// A node of a chain that is no development chain, as far as a wallet asks before it signs.
fn live_chain() -> (tokio::runtime::Runtime, jsonrpsee::server::ServerHandle, String) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut module = jsonrpsee::RpcModule::new(());
    module.register_method("chain_getBlockHash", |_, _, _| format!("0x{}", "11".repeat(32))).unwrap();
    module.register_method("system_chainType", |_, _, _| "Live").unwrap();
    let server = runtime.block_on(jsonrpsee::server::Server::builder().build("127.0.0.1:0")).unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    let _entered = runtime.enter();
    let handle = server.start(module);
    drop(_entered);
    (runtime, handle, url)
}

#[test]
fn nothing_is_sent_to_development_accounts_on_other_chains() {
    let (_runtime, _server, url) = live_chain();
    let wallet = Wallet::new();
    wallet.new_key("alice");
    let on_live = |arguments: &[&str]| wallet.yes(&[arguments, &["--url", &url]].concat());
    for refused in [
        &["transfer", "dev:bob", "1 X0T"][..],
        &["transfer", "alice", "1 X0T", "--key", "dev:bob"],
        &["did", "set-endpoint", "dev:bob", "127.0.0.1:1"],
        &["dev", "faucet", "alice"],
    ] {
        let message = on_live(refused).fails(4, "not-development");
        assert!(message.contains("Live"), "{refused:?}: {message}");
    }
}

#[test]
fn a_mistyped_phrase_names_the_word_and_stores_nothing() {
    let wallet = Wallet::new();
    let phrase = wallet.new_key("alice")["phrase"].as_str().unwrap().to_owned();
    let import = |phrase: &str| {
        std::fs::write(wallet.path("phrase"), phrase).unwrap();
        wallet
            .run(&["keys", "import", "b", "--phrase-file", wallet.path("phrase").to_str().unwrap()])
            .fails(5, "phrase")
    };
    let mut words: Vec<_> = phrase.split(' ').collect();
    words[6] = "xylophon";
    assert!(import(&words.join(" ")).contains("word 7"));
    assert!(import(&words[..23].join(" ")).contains("found 23"));
    assert!(!wallet.path("home/keys/b.json").exists());
}

#[test]
fn wrong_values_are_refused_before_any_network_is_asked() {
    let wallet = Wallet::new();
    let account = wallet.new_key("alice")["account"].as_str().unwrap().to_owned();
    assert!(wallet.run(&["transfer", &account, "5"]).fails(2, "amount").contains("no unit"));
    wallet.run(&["transfer", &account, "0.0000000000001 X0T"]).fails(2, "amount");
    wallet.run(&["transfer", "5GrwvaEF", "1 X0T"]).fails(2, "account");
    wallet.run(&["transfer", &account, "1 X0T", "--key", "bob"]).fails(5, "no-key");
    let message = wallet.run(&["market", "deals", "--state", "Actve"]).fails(2, "usage");
    assert!(message.contains("Actve") && message.contains("Suspect"), "{message}");
    assert_eq!(wallet.run(&["keys", "new", "agent-1", "--role", "agent"]).code, 0);
    let message = wallet.run(&["transfer", &account, "1 X0T", "--key", "agent-1"]).fails(5, "role");
    assert!(message.contains("one key has one role"), "{message}");
    // A secret on the command line is no option at all.
    let run = wallet.run(&["keys", "list", "--password", "secret"]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("unexpected argument"), "{}", run.stderr);
}

#[test]
fn a_node_that_is_away_is_a_network_error() {
    let wallet = Wallet::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    drop(listener);
    let message = wallet.run(&["account", "dev:bob", "--url", &url]).fails(3, "connect");
    assert!(message.contains("refused"), "{message}");
    wallet.run(&["account", "dev:bob", "--url", "ws://192.0.2.1:9944"]).fails(2, "plaintext");
    wallet.run(&["account", "dev:bob", "--url", "x0s://192.0.2.1:9944"]).fails(2, "url");
    wallet.run(&["account", "dev:bob", "--network", "moon"]).fails(2, "usage");
}

#[test]
fn nothing_is_done_without_a_yes() {
    let wallet = Wallet::new();
    wallet.new_key("alice");
    wallet.run(&["keys", "delete", "alice"]).fails(2, "no-terminal");
    wallet.run(&["keys", "export", "alice", "--phrase"]).fails(2, "no-terminal");
    assert_eq!(wallet.run(&["keys", "delete", "alice", "--yes"]).code, 0);
    assert_eq!(wallet.run(&["keys", "list"]).json(), serde_json::json!([]));
}

/// Runs the program on a terminal of its own (`script` of Debian's essential bsdutils makes one), types
/// `answers`, and gives exit code and screen.
fn on_a_terminal(wallet: &Wallet, arguments: &str, answers: &[&str]) -> (i32, String) {
    let command = format!("\"$X0\" --home \"$DIR\" {arguments}");
    let typed: String = answers.iter().map(|answer| format!("{answer}\n")).collect();
    let mut child = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .env("X0", env!("CARGO_BIN_EXE_x0"))
        .env("DIR", wallet.path("home"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The terminal keeps what is typed until the program reads it.
    let mut keyboard = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut keyboard, typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(keyboard);
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_no_is_respected_and_has_its_own_code() {
    let wallet = Wallet::new();
    wallet.new_key("alice");
    for answer in ["n", "", "nope"] {
        let (code, screen) = on_a_terminal(&wallet, "keys delete alice", &[answer]);
        assert_eq!(code, 6, "{screen}");
        assert!(screen.contains("cancelled"), "{screen}");
    }
    let (code, screen) = on_a_terminal(&wallet, "keys delete alice", &["y"]);
    assert_eq!(code, 0, "{screen}");
    assert_eq!(wallet.run(&["keys", "list"]).json(), serde_json::json!([]));
}

#[test]
fn passwords_come_from_files_and_descriptors_and_short_ones_are_refused() {
    let wallet = Wallet::new();
    std::fs::write(wallet.path("short"), "1234567\n").unwrap();
    wallet.run_with("short", &["keys", "new", "alice"]).fails(5, "password");
    wallet.run_with("missing", &["keys", "new", "alice"]).fails(5, "password");
    // The shell opens descriptor 3 for the program; no file name and no secret is in its arguments.
    let script = r#"printf '%s\n' "$PW" | "$X0" --json --home "$DIR" --password-fd 3 keys new alice 3<&0 0</dev/null"#;
    let made = Command::new("sh")
        .args(["-c", script])
        .env("PW", PASSWORD)
        .env("X0", env!("CARGO_BIN_EXE_x0"))
        .env("DIR", wallet.path("home"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert_eq!(wallet.run(&["keys", "export", "alice", "--phrase", "--yes"]).code, 0, "the same password opens it");
    // Without any source and without a terminal, it says what to do.
    let output = Command::new(env!("CARGO_BIN_EXE_x0"))
        .args(["--home", wallet.path("home").to_str().unwrap(), "keys", "export", "alice", "--phrase", "--yes"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--password-file"));
}

#[test]
fn networks_are_kept_in_a_file_that_is_checked() {
    let wallet = Wallet::new();
    let genesis = format!("0x{}", "12".repeat(32));
    wallet.run(&["network", "add", "test", "--node", "ws://example.com:1"]).fails(2, "plaintext");
    wallet.run(&["network", "add", "test", "--node", "x0s://example.com:1"]).fails(2, "url");
    let add =
        ["network", "add", "test", "--node", "x0s://example.com:1", "--genesis", &genesis, "--server-key", &genesis];
    assert_eq!(wallet.run(&add).code, 0);
    assert_eq!(wallet.run(&["network", "use", "test"]).code, 0);
    let listed = wallet.run(&["network", "list"]).json();
    assert_eq!(listed["default"], "test");
    assert_eq!(listed["network"]["dev"]["url"], "ws://127.0.0.1:9944");
    assert_eq!(listed["network"]["test"]["genesis"], genesis);
    wallet.run(&["network", "remove", "test"]).fails(2, "usage");
    wallet.run(&["network", "use", "moon"]).fails(2, "usage");

    std::fs::write(wallet.path("home/networks.toml"), "[network.a]\nurl = \"ws://127.0.0.1:1\"\npassword = \"x\"\n")
        .unwrap();
    let message = wallet.run(&["network", "list"]).fails(2, "config");
    assert!(message.contains("password") && message.contains("networks.toml"), "{message}");
}

#[test]
fn a_proof_of_possession_is_made_without_a_network() {
    let wallet = Wallet::new();
    let controller = wallet.new_key("alice")["account"].as_str().unwrap().to_owned();
    let made = wallet.run(&["keys", "new", "reporter-1", "--role", "reporter"]);
    assert_eq!(made.code, 0);
    let (genesis, out) = (format!("0x{}", "34".repeat(32)), wallet.path("proof.json"));
    let out = out.to_str().unwrap();
    let prove =
        ["did", "prove", "--proved-key", "reporter-1", "--controller", "alice", "--genesis", &genesis, "--out", out];
    let run = wallet.run(&prove);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let proof: x0_client::proof::KeyProofFile = serde_json::from_str(&std::fs::read_to_string(out).unwrap()).unwrap();
    assert_eq!(proof.role, x0_types::KeyRole::Reporter);
    assert_eq!(x0_client::text::account_text(&proof.subject), controller);
    let genesis = x0_client::text::parse_hash("genesis", &genesis).unwrap();
    let (key, _) = proof.check(genesis, 0).unwrap();
    assert_eq!(x0_client::text::hex_text(key.fingerprint()), made.json()["fingerprint"].as_str().unwrap());
    wallet.run(&prove).fails(2, "file");
}

#[test]
fn files_that_are_no_transactions_are_refused() {
    let wallet = Wallet::new();
    wallet.new_key("alice");
    let sign = |content: &str| {
        std::fs::write(wallet.path("tx.json"), content).unwrap();
        let (file, out) = (wallet.path("tx.json"), wallet.path("signed.json"));
        wallet.run(&["tx", "sign", file.to_str().unwrap(), "--out", out.to_str().unwrap(), "--yes"]).fails(2, "file")
    };
    assert!(sign("not json").contains("not JSON"));
    assert!(sign("{}").contains("kind"));
    assert!(sign(r#"{"kind":"x0-signed-transaction/v1"}"#).contains("x0-signed-transaction"));
    assert!(sign(r#"{"kind":"x0-unsigned-transaction/v1","surprise":1}"#).contains("surprise"));
    assert!(!wallet.path("signed.json").exists());
    wallet.run(&["tx", "submit", "/nonexistent"]).fails(2, "file");
    wallet.run(&["tx", "submit", "0xabc"]).fails(2, "usage");
}

#[test]
fn help_names_every_command() {
    let output = Command::new(env!("CARGO_BIN_EXE_x0")).arg("--help").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for command in ["keys", "account", "transfer", "did", "market", "validators", "tx", "network", "dev"] {
        assert!(text.contains(&format!("  {command}")), "{command}: {text}");
    }
}
