//! What light clients are given, and what a node says about what it does not keep.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::*;
use serde_json::json;
use x0_light::{Header, TrustedState};
use x0_rpc_types::{
    error as code,
    light::{LightCheckpoint, LightHeader, ReadProof, SetChanges},
};
use x0_storage::{History, OpenOptions};

#[tokio::test(flavor = "multi_thread")]
async fn headers_checkpoints_and_proofs_hold_for_a_client_that_believes_nothing() {
    let chain = Chain::start().await;
    let client = chain.client().await;
    let hash = chain.seal().await;
    let header: LightHeader = serde_json::from_value(ask(&client, "light_header", json!([])).await).unwrap();
    assert_eq!((header.number, header.certificate.0.as_slice()), (1, &[0xce; 5][..]));
    assert_eq!(Header::decode(&header.header.0).unwrap().hash, hash.0);
    let first: LightHeader = serde_json::from_value(ask(&client, "light_header", json!([0])).await).unwrap();
    assert!(first.certificate.0.is_empty());
    let found: LightCheckpoint = serde_json::from_value(ask(&client, "light_checkpoint", json!([])).await).unwrap();
    assert_eq!((found.number, found.hash), (1, hash));
    let proof: Vec<Vec<u8>> = found.proof.into_iter().map(|node| node.0).collect();
    let trust = TrustedState::checkpoint(chain.genesis().0, hash.0, &found.header.0, &proof, 0).unwrap();
    // The state root that follows from the checkpoint proves an account.
    let who = account("alice");
    let bytes: &[u8; 32] = who.as_ref();
    let key = x0_rpc_types::bytes::to_hex(&x0_light::account_key(bytes));
    let read: ReadProof = serde_json::from_value(ask(&client, "state_getReadProof", json!([[key]])).await).unwrap();
    let proof: Vec<Vec<u8>> = read.proof.into_iter().map(|node| node.0).collect();
    assert!(x0_light::account(trust.state_root(), bytes, &proof).unwrap().free > 0);
    let changes: SetChanges = serde_json::from_value(ask(&client, "light_setChanges", json!([0])).await).unwrap();
    assert_eq!(changes, SetChanges::default());
    for (method, params, expected) in [
        ("light_header", json!([2]), code::UNKNOWN_BLOCK),
        ("light_checkpoint", json!([2]), code::UNKNOWN_BLOCK),
        ("light_header", json!([-1]), -32602),
        ("light_setChanges", json!([]), -32602),
        ("light_setChanges", json!(["x"]), -32602),
        ("light_checkpoint", json!([1, 2]), -32602),
    ] {
        let (found, message, _) = refusal(&client, method, params).await;
        assert_eq!(found, expected, "{method}: {message}");
    }
}

/// A node that keeps little says from where on it has it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_kept_names_the_floor() {
    let options = OpenOptions { states_kept: 2, history: History::Blocks(3), ..OpenOptions::default() };
    let chain = Chain::opened(vec![plain()], options).await;
    let client = chain.client().await;
    let first = chain.seal().await;
    for _ in 0..9 {
        chain.seal().await;
    }
    let start = chain.database.history_start();
    let oldest = chain.database.oldest_state();
    assert!(start > 1 && oldest > 1);
    for (method, params, expected, floor) in [
        ("chain_getBlock", json!([first]), code::UNKNOWN_BLOCK, json!({ "historyStart": start })),
        ("chain_certificate", json!([1]), code::NOT_FOUND, json!({ "historyStart": start })),
        ("light_header", json!([1]), code::NOT_FOUND, json!({ "historyStart": start })),
        ("light_checkpoint", json!([1]), code::UNKNOWN_BLOCK, json!({ "oldestState": oldest })),
        ("state_getStorage", json!(["0x00", first]), code::UNKNOWN_BLOCK, json!({ "oldestState": oldest })),
        ("state_getMetadata", json!([first]), code::UNKNOWN_BLOCK, json!({ "oldestState": oldest })),
        ("market_solvency", json!([first]), code::UNKNOWN_BLOCK, json!({ "oldestState": oldest })),
        ("validators_status", json!([first]), code::UNKNOWN_BLOCK, json!({ "oldestState": oldest })),
    ] {
        let (found, message, data) = refusal(&client, method, params).await;
        assert_eq!((found, &data), (expected, &floor), "{method}: {message}");
        let lowest = floor.as_object().unwrap().values().next().unwrap().to_string();
        assert!(message.contains(&lowest), "{method}: {message}");
    }
    // What is kept is answered.
    let kept = ask(&client, "chain_getBlockHash", json!([start])).await;
    assert!(ask(&client, "chain_getBlock", json!([kept])).await["block"].is_object());
    assert!(ask(&client, "chain_getHeader", json!([first])).await.is_object(), "headers stay");
}
