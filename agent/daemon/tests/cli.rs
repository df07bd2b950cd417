//! The real binary without a node: what it makes, what it refuses, and with which code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::process::Command;

use support::{AgentFiles, complaint};
use x0_client::proof::KeyProofFile;
use x0_types::{AccountId, Hash, KeyRole};

const NOWHERE: &str = "ws://127.0.0.1:1";

fn genesis() -> (Hash, String) {
    (Hash::repeat_byte(0x34), format!("0x{}", "34".repeat(32)))
}

#[test]
fn init_makes_a_key_once_and_proves_it_again_and_again() {
    let files = AgentFiles::new(NOWHERE, "");
    let controller = AccountId::new([7; 32]).to_string();
    let (hash, text) = genesis();
    let made = files.init(&controller, &["--genesis", &text, "--endpoint", "192.0.2.1:7801"]);
    assert_eq!(made["newKey"], true);
    let read =
        || -> KeyProofFile { serde_json::from_slice(&std::fs::read(files.path("proof.json")).unwrap()).unwrap() };
    let proof = read();
    assert_eq!((proof.role, proof.endpoint.as_deref()), (KeyRole::Agent, Some("192.0.2.1:7801")));
    assert_eq!(made["node"], proof.subject.to_string());
    assert_eq!(proof.controller.to_string(), controller);
    proof.check(hash, 0).unwrap();
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(files.path("agent.json")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    let again = files.init(&controller, &["--genesis", &text]);
    assert_eq!((&again["newKey"], &again["node"]), (&false.into(), &made["node"]));
    assert_ne!(read().signature, proof.signature, "a fresh proof");

    let wrong = files.path("wrong");
    std::fs::write(&wrong, "not the password\n").unwrap();
    let refused = files
        .run("init", &["--controller", &controller, "--genesis", &text, "--password-file", wrong.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(complaint(&refused).contains("wrong password"), "{}", complaint(&refused));
}

#[test]
fn what_does_not_fit_ends_with_code_1_and_names_the_place() {
    let files = AgentFiles::new(NOWHERE, "[status]\npth = \"x\"\n");
    let refused = files.run("run", &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(complaint(&refused).contains("pth"), "{}", complaint(&refused));

    let files = AgentFiles::new(NOWHERE, "");
    let refused = files.run("run", &[]);
    assert_eq!(refused.status.code(), Some(1), "no keystore file");
    assert!(complaint(&refused).contains("agent.json"), "{}", complaint(&refused));

    let account = AccountId::new([7; 32]).to_string();
    files.init(&account, &["--genesis", &genesis().1]);
    let text = std::fs::read_to_string(files.path("agent.json")).unwrap();
    std::fs::write(files.path("agent.json"), text.replace("\"agent\"", "\"consensus\"")).unwrap();
    let refused = files.run("run", &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(complaint(&refused).contains("one key has one role"), "{}", complaint(&refused));

    let refused = AgentFiles::new(NOWHERE, "[log]\nfilter = \"loud=very\"\n").run("run", &[]);
    assert!(complaint(&refused).contains("log.filter"), "{}", complaint(&refused));
}

#[test]
fn status_says_when_no_agent_answers() {
    let files = AgentFiles::new(NOWHERE, "");
    let refused = files.run("status", &[]);
    assert_eq!(refused.status.code(), Some(10));
    assert!(complaint(&refused).contains("no agent answers"), "{}", complaint(&refused));
}

#[test]
fn the_default_configuration_is_printed_and_usage_errors_have_code_2() {
    let run =
        |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_x0-agent")).env_clear().args(arguments).output().unwrap();
    let printed = run(&["default-config"]);
    assert!(printed.status.success());
    assert!(String::from_utf8(printed.stdout).unwrap().contains("[identity]"));
    for arguments in [&["run"][..], &["start"], &["run", "--config", "a", "--password", "secret"]] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
