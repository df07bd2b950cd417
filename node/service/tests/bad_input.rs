//! Bad input over the live node: each gets its own error, and blocks go on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use codec::{Compact, Encode as _};
use common::*;
use rand::{RngCore as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use x0_rpc_types::{bytes::to_hex, error as code};
use x0_runtime::{ChainSignature, RuntimeCall, UncheckedExtrinsic};
use x0_types::{AccountId, Hash, MlDsa65Signature};

/// A live node with a client and its genesis hash.
struct Bench {
    node: Node,
    client: jsonrpsee::ws_client::WsClient,
    genesis: Hash,
    _directory: tempfile::TempDir,
}

impl Bench {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let node = Node::dev(directory.path(), &[]);
        let client = node.client().await;
        let genesis = genesis(&client).await;
        Self { node, client, genesis, _directory: directory }
    }

    /// Submits and expects this code and kind.
    async fn refused(&self, extrinsic: &str, code: i32, kind: &str) -> String {
        for method in ["author_submitExtrinsic", "author_submitAndWatchExtrinsic"] {
            let (found, message, data) = refusal(&self.client, method, json!([extrinsic])).await;
            assert_eq!((found, &data["kind"]), (code, &json!(kind)), "{method}: {message}");
            assert!(!data["reason"].as_str().unwrap().is_empty());
        }
        refusal(&self.client, "author_submitExtrinsic", json!([extrinsic])).await.1
    }

    /// A transfer becomes final, and the next empty block comes: the node works as before.
    async fn works(&mut self, nonce: u32) {
        assert!(self.node.is_running());
        let alice = Signer::dev("alice");
        let extrinsic = alice.sign(self.genesis, nonce, transfer(&Signer::dev("bob").account, 1));
        finalise(&self.client, &extrinsic).await;
        let mut headers = heads(&self.client).await;
        let first = number(&next(&mut headers).await);
        while number(&next(&mut headers).await) == first {}
    }
}

/// Nested `utility.batch` calls, hand-encoded, so that nothing of the test recurses.
fn nested_batches(depth: usize) -> Vec<u8> {
    // Pallet 4, call 0, a list of one call.
    let mut bytes = [4u8, 0, 4].repeat(depth);
    // Innermost: System.remark of nothing.
    bytes.extend_from_slice(&[0, 0, 0]);
    bytes
}

/// An unsigned extrinsic around a call, with its length in front.
fn bare(call: &[u8]) -> Vec<u8> {
    [Compact(u32::try_from(call.len()).unwrap() + 1).encode(), vec![4], call.to_vec()].concat()
}

/// M36: nothing but an ML-DSA-65 signature by the right key moves anything.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_bad_transaction_is_refused_by_name() {
    let mut bench = Bench::start().await;
    let (alice, bob) = (Signer::dev("alice"), Signer::dev("bob"));
    let call = || transfer(&bob.account, 1);
    bench.works(0).await;
    let genesis = bench.genesis;

    let good = alice.extrinsic(genesis, 1, call());
    let bytes = good.encode();
    for wrong in [&bytes[..bytes.len() - 1], &bytes[1..], &[], &[0xff; 64]] {
        bench.refused(&to_hex(wrong), code::BAD_FORMAT, "malformed").await;
    }
    bench.refused(&to_hex(&[bytes.clone(), vec![0]].concat()), code::BAD_FORMAT, "malformed").await;
    bench.refused(&to_hex(&vec![0; x0_limits::EXTRINSIC_BYTES_MAX + 1]), code::BAD_FORMAT, "tooLarge").await;
    bench.refused(&to_hex(&bare(&nested_batches(5_000))), code::BAD_FORMAT, "malformed").await;
    bench.refused(&to_hex(&bare(&nested_batches(3))), code::INVALID_TRANSACTION, "notSigned").await;

    // A flipped bit anywhere in the signature, and a signature by another key.
    let mut flipped = bytes.clone();
    flipped[3_000] ^= 1;
    bench.refused(&to_hex(&flipped), code::INVALID_TRANSACTION, "badSignature").await;
    let thief = Signer { key: Signer::dev("charlie").key, account: alice.account.clone() };
    bench.refused(&thief.sign(genesis, 1, call()), code::INVALID_TRANSACTION, "badSignature").await;
    let placeholder = UncheckedExtrinsic::new_signed(
        call(),
        alice.account.clone().into(),
        ChainSignature::Sr25519([1; 64]),
        good_extension(&alice, genesis),
    );
    bench.refused(&to_hex(&placeholder.encode()), code::INVALID_TRANSACTION, "badSignature").await;
    let registered = UncheckedExtrinsic::new_signed(
        call(),
        alice.account.clone().into(),
        ChainSignature::MlDsa65Registered { signature: MlDsa65Signature(Box::new([0; 3309])) },
        good_extension(&alice, genesis),
    );
    bench.refused(&to_hex(&registered.encode()), code::INVALID_TRANSACTION, "badSignature").await;
    // Signed for another chain: the genesis hash is part of what is signed.
    bench.refused(&alice.sign(Hash::repeat_byte(1), 1, call()), code::INVALID_TRANSACTION, "badSignature").await;

    // Used-up and far-away nonces.
    let stale = bench
        .refused(&alice.sign(genesis, 0, transfer(&bob.account, 2)), code::INVALID_TRANSACTION, "staleNonce")
        .await;
    assert!(stale.contains('0'), "{stale}");
    bench.refused(&alice.sign(genesis, 1_000_000, call()), code::INVALID_TRANSACTION, "nonceTooFarAhead").await;

    // An account without money cannot pay.
    let poor = Signer::dev("nobody");
    bench.refused(&poor.sign(genesis, 0, call()), code::INVALID_TRANSACTION, "unpayable").await;

    // A transaction that is final is not taken twice.
    let extrinsic = to_hex(&bytes);
    finalise(&bench.client, &extrinsic).await;
    let replayed = refusal(&bench.client, "author_submitExtrinsic", json!([extrinsic])).await;
    assert!(["alreadyIncluded", "staleNonce"].contains(&replayed.2["kind"].as_str().unwrap()), "{replayed:?}");
    bench.works(2).await;
    let nonce = ask(&bench.client, "system_accountNextIndex", json!([alice.account])).await;
    assert_eq!(nonce, 3, "exactly the good ones were executed");
}

/// The extension of a transaction of this signer with nonce 1.
fn good_extension(signer: &Signer, genesis: Hash) -> x0_runtime::TxExtension {
    let extrinsic = signer.extrinsic(genesis, 1, transfer(&signer.account, 1));
    match extrinsic.preamble {
        sp_runtime::generic::Preamble::Signed(_, _, extension) => extension,
        _ => unreachable!("it is signed"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn depth_bombs_are_refused_at_every_entry() {
    let mut bench = Bench::start().await;
    // 5,000 levels in 15 kB; a hundred thousand in 300 kB is refused for its size or its depth.
    for depth in [100, 5_000, 80_000] {
        let bomb = bare(&nested_batches(depth));
        let length = u32::try_from(bomb.len()).unwrap();
        let external = [vec![2], bomb.clone(), vec![0; 32]].concat();
        let queried = [bomb.clone(), length.encode()].concat();
        for (method, params) in [
            ("author_submitExtrinsic", json!([to_hex(&bomb)])),
            ("payment_queryInfo", json!([to_hex(&bomb)])),
            ("payment_queryFeeDetails", json!([to_hex(&bomb)])),
            ("state_call", json!(["TaggedTransactionQueue_validate_transaction", to_hex(&external)])),
            ("state_call", json!(["TransactionPaymentApi_query_info", to_hex(&queried)])),
            ("state_call", json!(["TransactionPaymentApi_query_fee_details", to_hex(&queried)])),
        ] {
            let (found, message, _) = refusal(&bench.client, method, params).await;
            assert!([code::BAD_FORMAT, -32602].contains(&found), "{method} at {depth}: {found} {message}");
        }
    }
    // Signed, so that only the depth is wrong with it.
    let alice = Signer::dev("alice");
    let mut call = RuntimeCall::System(frame_system::Call::remark { remark: Vec::new() });
    for _ in 0..70 {
        call = RuntimeCall::Utility(pallet_utility::Call::batch { calls: vec![call] });
    }
    bench.refused(&alice.sign(bench.genesis, 0, call), code::BAD_FORMAT, "malformed").await;
    bench.works(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_methods_and_wrong_parameters_are_named() {
    let mut bench = Bench::start().await;
    let account = Signer::dev("alice").account.to_string();
    for (method, params, expected) in [
        ("system_dryRun", json!([]), -32601),
        ("admin_mempool", json!([]), -32601),
        ("chain_getBlockHash", json!(["abc"]), -32602),
        ("chain_getBlockHash", json!([-1]), -32602),
        ("chain_getHeader", json!(["0x00"]), -32602),
        ("chain_getHeader", json!([7]), -32602),
        ("state_getStorage", json!([]), -32602),
        ("state_getStorage", json!(["0x0"]), -32602),
        ("state_getStorage", json!(["0x00", null, 5]), -32602),
        ("state_getKeysPaged", json!(["0x", "many"]), -32602),
        ("state_getKeysPaged", json!(["0x", 4_000_000_000u32]), code::INVALID_COUNT),
        ("state_queryStorageAt", json!([vec!["0x00"; 1_025]]), code::INVALID_COUNT),
        ("system_accountNextIndex", json!(["not an account"]), -32602),
        ("system_accountNextIndex", json!([account.clone() + "x"]), -32602),
        ("account_history", json!([account, { "block": 1 }]), -32602),
        ("market_deal", json!(["-1"]), -32602),
        ("market_listings", json!([{ "colour": "red" }]), -32602),
        ("did_identity", json!(["did:x0:moon:5C"]), -32602),
        ("author_submitExtrinsic", json!([]), -32602),
        ("author_submitExtrinsic", json!(["zz"]), -32602),
    ] {
        let (found, message, _) = refusal(&bench.client, method, params.clone()).await;
        assert_eq!(found, expected, "{method}{params}: {message}");
        assert!(!message.is_empty());
    }
    bench.works(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_on_the_port_leave_the_node_running() {
    let mut bench = Bench::start().await;
    let mut random = StdRng::seed_from_u64(7);
    let authority = bench.node.authority();
    for round in 0..20 {
        let mut bytes = vec![0; 10_000];
        random.fill_bytes(&mut bytes);
        // Half of the rounds look like HTTP at first.
        if round % 2 == 0 {
            let head =
                b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n";
            bytes[..head.len()].copy_from_slice(head);
        }
        let mut stream = std::net::TcpStream::connect(&authority).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The node may hang up while the bytes are still going out.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!String::from_utf8_lossy(&answer).contains("\"result\""));
    }
    // Random bytes where a transaction should be, of every size.
    for size in [1usize, 10, 100, 1_000, 10_000, 100_000] {
        let mut bytes = vec![0; size];
        random.fill_bytes(&mut bytes);
        let (found, message, _) = refusal(&bench.client, "author_submitExtrinsic", json!([to_hex(&bytes)])).await;
        assert!([code::BAD_FORMAT, code::INVALID_TRANSACTION].contains(&found), "{message}");
    }
    bench.works(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_on_an_idle_chain_is_final_at_once() {
    let bench = Bench::start().await;
    let alice = Signer::dev("alice");
    let to = AccountId::new([7; 32]);
    let mut statuses = Vec::new();
    let extrinsic = alice.sign(bench.genesis, 0, transfer(&to, 1));
    let mut updates = {
        use jsonrpsee::core::client::SubscriptionClientT as _;
        let params = jsonrpsee::rpc_params![extrinsic];
        bench
            .client
            .subscribe::<Value, _>("author_submitAndWatchExtrinsic", params, "author_unwatchExtrinsic")
            .await
            .unwrap()
    };
    for _ in 0..3 {
        statuses.push(next(&mut updates).await);
    }
    assert_eq!(statuses[0], "ready");
    assert_eq!(statuses[1]["inBlock"], statuses[2]["finalized"]);
    let solvency = ask(&bench.client, "market_solvency", json!([statuses[2]["finalized"]])).await;
    assert_eq!(solvency["solvent"], true, "{solvency}");
    let history = ask(&bench.client, "account_history", json!([to])).await;
    assert_eq!(history["entries"][0]["call"], "Balances.transfer_keep_alive");
}
