//! The real wallet against a real node: money to the last unit, identities, the market, offline signing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{Node, Wallet};

const UNIT: u128 = 1_000_000_000_000;

#[test]
fn money_moves_to_the_last_unit_and_stands_in_the_history() {
    let node = Node::dev();
    let wallet = Wallet::at(&node);
    wallet.funded_key("alice", "10 X0T");
    wallet.new_key("bob");
    assert_eq!(wallet.balance("alice"), (10 * UNIT, 0));

    let sent = wallet.yes(&["transfer", "bob", "1.000000000001 X0T", "--key", "alice"]).succeeds();
    assert_eq!(sent["status"], "final");
    let fee: u128 = sent["fee"].as_str().unwrap().parse().unwrap();
    assert!(fee > 0);
    assert_eq!(wallet.balance("alice").0, 9 * UNIT - 1 - fee);
    assert_eq!(wallet.balance("bob").0, UNIT + 1);

    let history = wallet.run(&["account", "alice"]).succeeds()["history"]["entries"].clone();
    assert_eq!(history[0]["call"], "Balances.transfer_keep_alive");
    assert_eq!(history[0]["hash"], sent["hash"]);
    assert_eq!(history[0]["success"], true);

    // Everything, and the account is gone.
    wallet.yes(&["transfer", "dev:bob", "all", "--key", "bob"]).succeeds();
    assert_eq!(wallet.balance("bob"), (0, 0));
}

#[test]
fn what_the_chain_refuses_ends_with_code_4_and_the_rule() {
    let node = Node::dev();
    let wallet = Wallet::at(&node);
    wallet.funded_key("alice", "10 X0T");
    let message = wallet.yes(&["transfer", "dev:bob", "11 X0T", "--key", "alice"]).fails(4, "dispatch");
    assert!(message.contains("Token.FundsUnavailable"), "{message}");
    let (free, _) = wallet.balance("alice");
    assert!(free < 10 * UNIT && free > 9 * UNIT, "a call that fails on chain costs its fee and nothing else");

    wallet.new_key("poor");
    let message = wallet.yes(&["transfer", "dev:bob", "1 X0T", "--key", "poor"]).fails(4, "rejected");
    assert!(message.contains("pay"), "{message}");
    let message = wallet.yes(&["market", "settle", "77", "--key", "alice"]).fails(4, "dispatch");
    assert!(message.contains("Marketplace.UnknownDeal: No such deal"), "{message}");
    wallet.run(&["market", "deal", "77"]).fails(2, "not-found");
    wallet.run(&["did", "show", "poor"]).fails(2, "not-found");
    // Without a yes and without a terminal nothing is signed.
    let (free, _) = wallet.balance("alice");
    wallet.run(&["transfer", "dev:bob", "1 X0T", "--key", "alice"]).fails(2, "no-terminal");
    assert_eq!(wallet.balance("alice").0, free);
}

#[test]
fn a_transaction_is_signed_on_a_machine_without_network() {
    let node = Node::dev();
    let online = Wallet::at(&node);
    let account = online.funded_key("cold", "10 X0T");
    let (unsigned, signed) = (online.file("unsigned.json"), online.file("signed.json"));
    online.yes(&["transfer", "dev:bob", "2.5 X0T", "--key", "cold", "--unsigned", &unsigned]).succeeds();
    assert_eq!(online.balance("cold").0, 10 * UNIT, "nothing was sent");

    // The cold machine has the key and no node: its default address is closed.
    let offline = Wallet::new();
    let phrase = online.yes(&["keys", "export", "cold", "--phrase"]).succeeds()["phrase"].as_str().unwrap().to_owned();
    std::fs::write(offline.path("phrase"), phrase).unwrap();
    offline.run(&["keys", "import", "cold", "--phrase-file", &offline.file("phrase")]).succeeds();
    offline.new_key("other");
    let closed = ["--url", "ws://127.0.0.1:1"];
    let decoded = offline.run(&[&["tx", "decode", &unsigned][..], &closed].concat()).succeeds();
    assert_eq!(decoded["call"]["call"], "transfer_keep_alive");
    assert_eq!(decoded["call"]["arguments"][1], serde_json::json!(["value", "2.5 X0T"]));
    assert_eq!(decoded["account"], account);
    let sign =
        |key: &str| offline.yes(&[&["tx", "sign", &unsigned, "--key", key, "--out", &signed][..], &closed].concat());
    sign("other").fails(5, "key");
    sign("cold").succeeds();
    sign("cold").fails(2, "file");

    // What was signed reads back, and any machine can hand it over, once.
    let read = online.run(&["tx", "decode", &signed]).succeeds();
    assert_eq!((&read["signed"], &read["keyIsOwn"], &read["account"]), (&true.into(), &true.into(), &account.into()));
    let sent = online.yes(&["tx", "submit", &signed]).succeeds();
    assert_eq!(sent["hash"], read["hash"]);
    let fee: u128 = sent["fee"].as_str().unwrap().parse().unwrap();
    assert_eq!(online.balance("cold").0, 10 * UNIT - 25 * UNIT / 10 - fee);
    online.yes(&["tx", "submit", &signed]).fails(4, "rejected");

    // A file that was changed on the way does not verify on chain.
    let mut bytes = std::fs::read_to_string(&signed).unwrap();
    let place = bytes.rfind("\"0x").unwrap() + 10_000;
    let digit = if &bytes[place..=place] == "0" { "1" } else { "0" };
    bytes.replace_range(place..=place, digit);
    std::fs::write(&signed, bytes).unwrap();
    let message = online.yes(&["tx", "submit", &signed]).fails(2, "file");
    assert!(message.contains("hash"), "{message}");
}

#[test]
fn a_key_is_named_on_chain_and_rotated_and_the_account_stays() {
    let node = Node::dev();
    let wallet = Wallet::at(&node);
    let account = wallet.funded_key("first", "10 X0T");
    wallet.yes(&["did", "register", "--key", "first"]).succeeds();
    let (_, held) = wallet.balance("first");
    assert!(held > 0, "the storage deposit is held");
    let document = wallet.run(&["did", "show", "first"]).succeeds();
    let did = document["didDocument"]["id"].as_str().unwrap().to_owned();
    assert_eq!(did, format!("did:x0:dev:{account}"));
    assert_eq!(wallet.run(&["did", "show", &did]).succeeds()["didDocument"], document["didDocument"]);

    // The shorter form is used now: the chain knows the key.
    let out = wallet.file("registered.json");
    wallet.yes(&["transfer", "dev:bob", "1 X0T", "--key", "first", "--unsigned", &out]).succeeds();
    assert_eq!(wallet.run(&["tx", "decode", &out]).succeeds()["form"], "registered");
    wallet.yes(&["transfer", "dev:bob", "1 X0T", "--key", "first"]).succeeds();

    wallet.new_key("second");
    wallet.yes(&["did", "rotate", "--key", "first", "--new-key", "second"]).succeeds();
    let message = wallet.yes(&["transfer", "dev:bob", "1 X0T", "--key", "first"]).fails(5, "key");
    assert!(message.contains("rotated"), "{message}");
    // The file that the old key could still sign is refused by the chain as well.
    let signed = wallet.file("old.json");
    wallet.yes(&["tx", "sign", &out, "--key", "first", "--out", &signed]).succeeds();
    wallet.yes(&["tx", "submit", &signed]).fails(4, "rejected");

    assert_eq!(wallet.run(&["keys", "list"]).succeeds()[1]["account"], account);
    wallet.yes(&["transfer", "dev:bob", "1 X0T", "--key", "second"]).succeeds();
    let (free, _) = wallet.balance("second");
    assert!(free < 8 * UNIT && wallet.balance(&account).0 == free, "the same account pays");
    wallet.yes(&["did", "register", "--key", "second"]).fails(4, "dispatch");

    // The phrase does not hold the account: the chain does.
    let phrase =
        wallet.yes(&["keys", "export", "second", "--phrase"]).succeeds()["phrase"].as_str().unwrap().to_owned();
    std::fs::write(wallet.path("phrase"), phrase).unwrap();
    wallet.yes(&["keys", "delete", "second"]).succeeds();
    let back = wallet.run(&["keys", "import", "second", "--phrase-file", &wallet.file("phrase")]).succeeds();
    assert_ne!(back["account"], account);
    let message = wallet.yes(&["transfer", "dev:bob", "1 X0T", "--key", "second"]).fails(5, "unbound");
    assert!(message.contains(&account) && message.contains("x0 keys bind second"), "{message}");
    assert_eq!(wallet.run(&["keys", "bind", "second"]).succeeds()["account"], account);
    wallet.yes(&["transfer", "dev:bob", "1 X0T", "--key", "second"]).succeeds();
    // A key that was replaced signs for nobody, so that there is nothing to bind it to.
    assert_eq!(wallet.run(&["keys", "bind", "first"]).succeeds()["rotated"], false);
}

#[test]
fn further_keys_are_added_replaced_and_ended() {
    let node = Node::dev();
    let wallet = Wallet::at(&node);
    wallet.funded_key("owner", "10 X0T");
    let genesis = node.text("genesis");
    let prove = |key: &str| {
        wallet.run(&["keys", "new", key, "--role", "reporter"]).succeeds();
        let file = wallet.file(&format!("{key}.proof"));
        let prove =
            ["did", "prove", "--proved-key", key, "--controller", "owner", "--genesis", &genesis, "--out", &file];
        wallet.run(&prove).succeeds();
        file
    };
    let (first, second) = (prove("reporter-1"), prove("reporter-2"));
    let keys = || wallet.run(&["did", "show", "owner"]).succeeds()["didDocument"]["verificationMethod"].clone();
    wallet.yes(&["did", "add-key", "--proof", &first, "--key", "owner"]).succeeds();
    let added = keys();
    wallet.yes(&["did", "add-key", "--proof", &second, "--key", "owner"]).fails(4, "dispatch");
    wallet.yes(&["did", "rotate-key", "--proof", &second, "--key", "owner"]).succeeds();
    assert_ne!(keys(), added);
    let message = wallet.yes(&["did", "rotate-key", "--proof", &first, "--key", "owner"]).fails(4, "dispatch");
    assert!(message.contains("Did.KeyUsed"), "a key is registered once for ever: {message}");
    wallet.yes(&["did", "revoke-key", "owner", "reporter", "--key", "owner"]).succeeds();
    assert_eq!(keys(), serde_json::json!([]));
    wallet
        .yes(&["did", "register-agent", "--proof", &first, "--endpoint", "127.0.0.1:1", "--key", "owner"])
        .fails(2, "file");
    wallet.yes(&["did", "revoke", "owner", "--key", "owner"]).succeeds();
    assert_eq!(wallet.run(&["did", "show", "owner"]).succeeds()["didDocumentMetadata"]["deactivated"], true);
}

/// M32: the wallet shows what a deal accrued, what is left and what became of its slots.
#[test]
fn a_node_is_let_rented_cancelled_and_taken_off_the_market() {
    let node = Node::dev();
    let wallet = Wallet::at(&node);
    wallet.funded_key("provider", "1000 X0T");
    wallet.funded_key("renter", "500 X0T");
    let agent =
        wallet.run(&["keys", "new", "node-1", "--role", "agent"]).succeeds()["account"].as_str().unwrap().to_owned();
    let proof = wallet.file("proof.json");
    let genesis = node.text("genesis");
    wallet
        .run(&[
            "did",
            "prove",
            "--proved-key",
            "node-1",
            "--controller",
            "provider",
            "--genesis",
            &genesis,
            "--out",
            &proof,
        ])
        .succeeds();
    let register = ["did", "register-agent", "--proof", &proof, "--endpoint", "127.0.0.1:7999"];
    wallet.yes(&[&register[..], &["--key", "renter"]].concat()).fails(2, "usage");
    wallet.yes(&[&register[..], &["--key", "provider"]].concat()).succeeds();
    wallet.yes(&["did", "set-endpoint", "node-1", "127.0.0.1:7801", "--key", "provider"]).succeeds();

    let terms = [
        "--price",
        "1 X0T/3",
        "--bandwidth",
        "1000",
        "--sessions",
        "8",
        "--region",
        "eu",
        "--term-min",
        "10",
        "--term-max",
        "100",
    ];
    // Refusals name the bound that this chain sets.
    let cheap = [&["market", "list", "--node", &agent, "--bond", "1u", "--key", "provider"][..], &terms].concat();
    let message = wallet.yes(&cheap).fails(4, "dispatch");
    assert!(message.contains("Marketplace.BondTooSmall") && message.contains("the smallest is"), "{message}");
    let list = [&["market", "list", "--node", &agent, "--bond", "20 X0T", "--key", "provider"][..], &terms].concat();
    let listing = wallet.yes(&list).succeeds()["listing"].as_u64().unwrap().to_string();
    let shown = wallet.run(&["market", "listing", &listing]).succeeds();
    assert_eq!(
        (&shown["endpoint"], &shown["region"], &shown["state"]),
        (&"127.0.0.1:7801".into(), &"eu".into(), &"open".into())
    );
    assert_eq!(wallet.run(&["market", "listings", "--region", "mars"]).succeeds(), serde_json::json!([]));

    // The renter follows what concerns it; the deposit is small, so that there is a warning at once.
    let mut told = wallet.follow(&["market", "notices", "--account", "renter", "--low-slots", "600"]);
    // Half of the capacity for 11 slots: ceil(11 * 1/3 * 1/2 X0T), held of the renter.
    let rent = [
        "market",
        "rent",
        &listing,
        "--term",
        "11",
        "--bandwidth",
        "500",
        "--sessions",
        "4",
        "--mesh",
        "m",
        "--agent",
        "dev:bob",
    ];
    wallet.yes(&[&rent[..], &["--version", "9", "--key", "renter"]].concat()).fails(2, "usage");
    let deal = wallet.yes(&[&rent[..], &["--key", "renter"]].concat()).succeeds()["deal"].as_u64().unwrap().to_string();
    let deposit = (11 * UNIT).div_ceil(6);
    assert_eq!(wallet.balance("renter").1, deposit);
    let info = wallet.run(&["account", "renter", "--history", "0"]).succeeds();
    assert_eq!(info["holds"][0]["reason"], "Escrow.DealEscrow");

    wallet.yes(&["market", "confirm", &deal, "--key", "renter"]).fails(4, "dispatch");
    wallet.yes(&["market", "confirm", &deal, "--key", "provider"]).succeeds();
    let shown = wallet.run(&["market", "deal", &deal]).succeeds();
    assert_eq!((&shown["state"], &shown["deposit"]), (&"Active".into(), &deposit.to_string().into()));
    wallet.run(&["verify", "checkpoint", &node.checkpoint("wallet")]).succeeds();
    let proven = wallet.run(&["verify", "deal", &deal]).succeeds();
    // The bond that was agreed to; what is posted follows the trust of the node, which is new: half as much again.
    assert_eq!((&proven["bond"], &shown["bond"]), (&"10000000000000".into(), &"15000000000000".into()));
    for field in ["renter", "provider", "node", "listing", "version", "deposit", "termSlots", "manifestHash"] {
        assert_eq!(proven[field], shown[field], "{field}: {proven} {shown}");
    }
    wallet.run(&["verify", "deal", "77"]).fails(2, "not-found");
    assert_eq!(wallet.run(&["market", "deals", "--live", "--node", "node-1"]).succeeds().as_array().unwrap().len(), 1);
    assert_eq!(wallet.run(&["market", "solvency"]).succeeds()["solvent"], true);

    assert_eq!(wallet.run(&["market", "deals", "--state", "active"]).succeeds().as_array().unwrap().len(), 1);
    assert_eq!(wallet.run(&["market", "deals", "--state", "Failed"]).succeeds(), serde_json::json!([]));
    wallet.yes(&["market", "settle", &deal, "--key", "renter"]).succeeds();
    wallet.yes(&["market", "cancel", &deal, "--key", "renter"]).succeeds();
    let mut events = Vec::new();
    while events.last().is_none_or(|(name, _)| name != "DealClosed") {
        for notice in told.next()["notices"].as_array().unwrap() {
            assert_eq!(notice["deal"], deal, "nothing else concerns the renter: {notice}");
            events.push((notice["event"].as_str().unwrap().to_owned(), notice["details"].clone()));
        }
    }
    let of =
        |name: &str| events.iter().filter(|(event, _)| event == name).map(|(_, details)| details).collect::<Vec<_>>();
    assert_eq!(of("DealFunded")[0]["deposit"], deposit.to_string());
    assert_eq!(of("DealConfirmed")[0]["bond"], "15000000000000");
    assert_eq!(of("DepositLow").len(), 1, "a warning comes once: {events:?}");
    assert_eq!(of("DealClosed")[0]["state"], "Cancelled");
    wallet.run(&["market", "notices", "--webhook", "http://192.0.2.1:80/"]).fails(2, "usage");
    wallet.yes(&["market", "retire", &listing, "--key", "provider"]).succeeds();
    assert_eq!(wallet.run(&["market", "solvency"]).succeeds()["solvent"], true);
    wallet.yes(&[&rent[..], &["--key", "renter"]].concat()).fails(2, "not-found");
}

#[test]
fn the_encrypted_line_reaches_the_pinned_node_only() {
    let node = Node::dev();
    let wallet = Wallet::new();
    let port = node.text("native").rsplit_once(':').unwrap().1.to_owned();
    let url = format!("x0s://127.0.0.1:{port}");
    let (genesis, key) = (node.text("genesis"), node.text("networkKey"));
    let other = format!("0x{}", "11".repeat(32));
    for (name, genesis, key) in
        [("good", &genesis, &key), ("wrong-key", &genesis, &other), ("wrong-chain", &other, &key)]
    {
        wallet.run(&["network", "add", name, "--node", &url, "--genesis", genesis, "--server-key", key]).succeeds();
    }
    let rich = wallet.run(&["account", "dev:alice", "--network", "good"]).succeeds();
    assert_eq!(rich["free"], (1_000_000 * UNIT).to_string());
    wallet.new_key("alice");
    wallet.yes(&["dev", "faucet", "alice", "--network", "good"]).succeeds();
    let message = wallet.run(&["account", "dev:alice", "--network", "wrong-key"]).fails(3, "connect");
    assert!(message.contains("fingerprint"), "{message}");
    wallet.run(&["account", "dev:alice", "--network", "wrong-chain"]).fails(3, "connect");

    // The plain line is checked against a pinned chain too.
    let plain = node.text("rpc");
    wallet.run(&["network", "add", "plain", "--node", &plain, "--genesis", &other]).succeeds();
    wallet.run(&["account", "dev:alice", "--network", "plain"]).fails(3, "other-chain");
}

#[test]
fn validators_decide_by_proposals_that_are_read_before_they_are_approved() {
    let node = Node::dev();
    let wallet = Wallet::at(&node);
    let account = wallet.funded_key("newcomer", "10 X0T");
    let show = || wallet.run(&["validators", "show"]).succeeds();
    let before = show();
    assert_eq!(before["current"].as_array().unwrap().len(), 1);
    assert_eq!((&before["candidates"], &before["nextProposal"]), (&serde_json::json!([]), &0.into()));

    // Only validators decide, and a newcomer without keys cannot be admitted.
    let propose = |rest: &[&str], key: &str| wallet.yes(&[&["validators", "propose"], rest, &["--key", key]].concat());
    let message = propose(&["admit", "newcomer"], "newcomer").fails(4, "dispatch");
    assert!(message.contains("Validators.NotValidator"), "{message}");
    let validator = "dev:validator-1";
    // With all of the power, the one validator's approval carries it out; the event tells with what result.
    let executed = |sent: serde_json::Value| {
        let events = sent["events"].as_array().unwrap().clone();
        events.into_iter().find(|event| event["event"] == "ProposalExecuted").unwrap()["fields"]["result"].clone()
    };
    let refused = executed(propose(&["admit", "newcomer"], validator).succeeds());
    assert!(refused.get("Err").is_some(), "no network key: {refused}");
    wallet.run(&["keys", "new", "net", "--role", "network"]).succeeds();
    let proof = wallet.file("net.proof");
    let genesis = node.text("genesis");
    let prove =
        ["did", "prove", "--proved-key", "net", "--controller", "newcomer", "--genesis", &genesis, "--out", &proof];
    wallet.run(&prove).succeeds();
    wallet.yes(&["did", "register", "--key", "newcomer"]).succeeds();
    wallet.yes(&["did", "add-key", "--proof", &proof, "--key", "newcomer"]).succeeds();
    let done = executed(propose(&["admit", "newcomer"], validator).succeeds());
    assert!(done.get("Err").is_none(), "{done}");
    assert_eq!(show()["candidates"], serde_json::json!([account]));
    propose(&["dismiss", "newcomer"], validator).succeeds();
    assert_eq!(show()["candidates"], serde_json::json!([]));
    assert_eq!(show()["nextProposal"], 3);
    // What is not open cannot be approved, and the last validator stays.
    wallet.yes(&["validators", "approve", "0", "--key", validator]).fails(2, "not-found");
    wallet.yes(&["validators", "withdraw", "0", "--key", validator]).fails(4, "dispatch");
    wallet.yes(&["validators", "leave", "--key", validator]).fails(4, "dispatch");
    let message = wallet.yes(&["validators", "refresh-key", "--key", validator]).fails(4, "dispatch");
    assert!(message.contains("Validators.KeyUnchanged"), "{message}");
}
