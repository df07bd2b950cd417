//! The real agent against a real node: enrolment, admissions, restarts on either side.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{AgentFiles, Node, complaint, free_port, node, until};
use x0_client::{
    Call, Client, Endpoint, Outcome, Signer,
    call::{self, ListingTerms, RentTerms},
    proof::KeyProofFile,
    text::account_text,
};
use x0_crypto::SigningKey;
use x0_types::{
    AccountId, Hash,
    account::UNIT,
    deal::{Capacity, Manifest, Rate, SlaTerms},
};

/// A development account.
fn development(name: &str) -> Signer {
    Signer::new(SigningKey::from_seed(&x0_crypto::dev::seed(name, "account")).unwrap())
}

/// A line to the chain and a runtime to use it from plain tests.
struct Chain {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Chain {
    fn open(node: &Node) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let client = runtime.block_on(Client::connect(&Endpoint::new(node.text("rpc")))).unwrap();
        Self { runtime, client }
    }

    /// Sends a call and waits until it is final.
    fn send(&self, call: &Call, signer: &Signer) -> Outcome {
        self.runtime.block_on(async {
            let signed = self.client.sign(call, signer).await.unwrap();
            self.client.submit_and_wait(&signed, Duration::from_secs(30), |_| {}).await.unwrap()
        })
    }

    /// Registers the agent whose proof stands in these files.
    fn register(&self, files: &AgentFiles, provider: &Signer) {
        let proof: KeyProofFile = serde_json::from_slice(&std::fs::read(files.path("proof.json")).unwrap()).unwrap();
        let (public, possession) = proof.check(self.client.genesis_hash(), 0).unwrap();
        self.send(&call::register_agent(&public, &possession, proof.endpoint.as_deref().unwrap()), provider);
    }
}

fn admits(status: &Value, agent: &AccountId) -> bool {
    let account = account_text(agent);
    let deals = status["admitted"].as_array().unwrap();
    deals.iter().any(|deal| deal["agents"].as_array().unwrap().iter().any(|admitted| *admitted == account.as_str()))
}

/// Every name in the status is written as in all JSON of the product.
fn snake_case_free(value: &serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            assert!(!name.contains('_'), "{name}");
            snake_case_free(value);
        }),
        serde_json::Value::Array(values) => values.iter().for_each(snake_case_free),
        _ => {}
    }
}

#[test]
fn an_agent_admits_a_renters_agents_from_confirmation_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(0, folder.path());
    let chain = Chain::open(&node);
    let (provider, renter) = (development("bob"), development("charlie"));
    let files = AgentFiles::new(&node.text("rpc"), "");
    files.init(&account_text(provider.account()), &[]);
    chain.register(&files, &provider);
    let agent = files.start();
    assert_eq!(agent.text("did"), format!("did:x0:dev:{}", agent.text("node")));
    let status = until("the agent serves", || files.status().filter(|status| status["phase"] == "serving"));
    assert_eq!(status["admitted"], serde_json::json!([]));
    snake_case_free(&status);
    assert_eq!(status["node"], agent.ready["node"]);
    assert!(["attached", "absent"].contains(&status["packets"]["state"].as_str().unwrap()), "{status}");
    let second = files.run("run", &[]);
    assert_eq!(second.status.code(), Some(1), "two agents cannot share a status socket");
    assert!(complaint(&second).contains("another agent"), "{}", complaint(&second));
    let listen = agent.text("listen");
    let third = AgentFiles::listening(&node.text("rpc"), &listen);
    third.init(&account_text(provider.account()), &[]);
    let third = third.run("run", &[]);
    assert_eq!(third.status.code(), Some(1), "a taken address is a setting to change, as with the node");
    assert!(complaint(&third).contains(&listen), "{}", complaint(&third));

    let capacity = Capacity { bandwidth_kbps: 1_000, sessions: 4 };
    let listed = chain.send(
        &call::list(&ListingTerms {
            node: x0_client::text::parse_account(&agent.text("node")).unwrap(),
            price: Rate { num: UNIT, den: 3 },
            capacity,
            region: "eu".into(),
            term_min_slots: 10,
            term_max_slots: 1_000,
            bond: 20 * UNIT,
            sla: SlaTerms::default(),
        }),
        &provider,
    );
    let number = |outcome: &Outcome, event: &str, field: &str| {
        outcome.event("Marketplace", event).unwrap()[field].as_u64().unwrap()
    };
    let listing = number(&listed, "Listed", "listing");
    let guest = AccountId::new([9; 32]);
    let terms = RentTerms {
        listing,
        version: 0,
        capacity,
        term_slots: 500,
        deposit: 200 * UNIT,
        rate_max: Rate { num: UNIT, den: 3 },
        mesh: Hash::repeat_byte(5),
        agents: vec![guest.clone()],
    };
    let deal = number(&chain.send(&call::rent(&terms), &renter), "DealFunded", "deal");
    let manifest =
        Manifest { mesh: terms.mesh, agents: vec![guest.clone()].try_into().unwrap(), checks: Default::default() };
    let manifest_hash = manifest.hash();
    let confirmed = {
        let before = files.status().unwrap();
        assert!(!admits(&before, &guest), "nobody is admitted before the confirmation");
        chain.send(&call::confirm(deal, manifest_hash), &provider).block_number
    };
    let status = until("the guest is admitted", || files.status().filter(|status| admits(status, &guest)));
    assert!(status["chain"]["viewHeight"].as_u64().unwrap() >= confirmed);
    assert_eq!(status["admitted"][0]["deal"], deal);
    // The validator probes in every slot, and the agent answers with receipts.
    until("a probe is answered", || files.status().filter(|status| status["answers"]["receipts"].as_u64() > Some(0)));
    chain.send(&call::cancel(deal), &renter);
    until("the guest is gone", || files.status().filter(|status| !admits(status, &guest)));

    assert!(agent.terminate().success(), "SIGTERM is a graceful stop");
    assert!(!files.path("agent.sock").exists(), "the socket is removed");
    assert!(files.status().is_none());
}

#[test]
fn an_agent_waits_for_its_identity_and_stops_when_it_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(0, folder.path());
    let chain = Chain::open(&node);
    let provider = development("dave");
    let files = AgentFiles::new(&node.text("rpc"), "[ebpf]\nenabled = false\n");
    files.init(&account_text(provider.account()), &[]);
    let agent = files.start();
    let status = files.status().unwrap();
    assert_eq!(status["phase"], "starting", "the chain does not know it");
    assert_eq!(status["packets"]["state"], "absent");
    assert!(status["packets"]["reason"].as_str().unwrap().contains("ebpf.enabled"));
    chain.register(&files, &provider);
    until("the agent serves", || files.status().filter(|status| status["phase"] == "serving"));
    let node_account = x0_client::text::parse_account(&agent.text("node")).unwrap();
    chain.send(&call::revoke(&node_account), &provider);
    until("the agent stops serving", || files.status().filter(|status| status["phase"] == "starting"));
}

#[test]
fn an_agent_outlives_its_node_and_follows_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let first = node(port, folder.path());
    let files = AgentFiles::new(&first.text("rpc"), "[ebpf]\nenabled = false\n");
    let provider = development("bob");
    files.init(&account_text(provider.account()), &[]);
    Chain::open(&first).register(&files, &provider);
    let agent = files.start();
    let height =
        until("the agent serves", || files.status().filter(|status| status["phase"] == "serving"))["chain"]["height"]
            .clone();

    drop(first);
    let status = until("the agent sees that the node is gone", || {
        files.status().filter(|status| status["chain"]["connected"] == false)
    });
    assert!(status["chain"]["lastError"].is_string());
    assert_eq!(status["phase"], "serving", "probes are still answered");

    let _again = node(port, folder.path());
    let status =
        until("the agent follows again", || files.status().filter(|status| status["chain"]["connected"] == true));
    assert!(status["chain"]["reconnects"].as_u64() >= Some(1));
    assert!(status["chain"]["height"].as_u64() >= height.as_u64());
    assert!(agent.terminate().success());
}
