//! What the methods answer, over a real WebSocket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use codec::{Decode as _, Encode as _};
use common::*;
use serde_json::json;
use std::collections::BTreeSet;
use x0_rpc_types::{
    Amount, Number,
    bytes::to_hex,
    chain::{Certificate, History, MempoolStatus},
    did::{DidResolution, Identity, Multikey},
    market::{Deal, Listing, MeasurementStatus, Solvency},
};
use x0_runtime::RuntimeCall;
use x0_types::{Hash, KeyProof, KeyRole, MlDsa65Signature, account::UNIT, key::PossessionStatement};

/// Names in backticks at the beginning of a table row of `docs/rpc.md`.
fn documented() -> BTreeSet<String> {
    let names = include_str!("../../../docs/rpc.md").lines().filter_map(|line| line.strip_prefix("| `"));
    names
        .flat_map(|row| {
            format!("`{}", row.split('|').next().unwrap()).split('`').map(str::to_owned).collect::<Vec<_>>()
        })
        .filter(|name| name.contains('_'))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn long_names_and_keys_are_refused_before_they_cost_anything() {
    let chain = Chain::start().await;
    let client = chain.client().await;
    // Two million characters of base58 would keep a thread busy for minutes.
    let long = "a".repeat(1_900_000);
    for (method, params) in [
        ("system_accountNextIndex", json!([long])),
        ("account_history", json!([long])),
        ("did_identity", json!([long])),
        ("did_resolve", json!([format!("did:x0:dev:{long}")])),
        ("market_deals", json!([{ "renter": long }])),
        ("market_listings", json!([{ "provider": long }])),
        ("state_queryStorageAt", json!([[format!("0x{long}")]])),
        ("state_getReadProof", json!([[format!("0x{long}")]])),
    ] {
        let (code, message, _) = refusal(&client, method, params).await;
        assert_eq!(code, -32602, "{method}: {message}");
        assert!(message.contains("at most"), "{method}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rpc_methods_is_exact_and_the_documentation_complete() {
    let chain = Chain::with(vec![plain(), x0_rpc::ListenerConfig { unsafe_methods: true, ..plain() }]).await;
    let client = chain.client().await;
    let list =
        |answer: serde_json::Value| -> BTreeSet<String> { serde_json::from_value(answer["methods"].clone()).unwrap() };
    let safe = list(ask(&client, "rpc_methods", json!([])).await);
    for name in &safe {
        // Each listed name is served: nothing of it answers "method not found".
        if let Err(jsonrpsee::core::ClientError::Call(error)) = try_ask(&client, name, json!([])).await {
            assert_ne!(error.code(), -32601, "{name}");
        }
    }
    let documented = documented();
    let admin: BTreeSet<String> = documented.iter().filter(|name| name.starts_with("admin_")).cloned().collect();
    assert_eq!(safe, documented.difference(&admin).cloned().collect());
    assert_eq!(refusal(&client, "admin_mempool", json!([])).await.0, -32601);
    let url = format!("ws://{}", chain.server.addresses()[1]);
    let operator = jsonrpsee::ws_client::WsClientBuilder::default().build(url).await.unwrap();
    assert_eq!(list(ask(&operator, "rpc_methods", json!([])).await), documented);
    let status: MempoolStatus = serde_json::from_value(ask(&operator, "admin_mempool", json!([])).await).unwrap();
    assert_eq!(status.transactions, Number(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn chain_methods_agree_with_one_another() {
    let chain = Chain::start().await;
    let client = chain.client().await;
    let hash = chain.seal().await;
    assert_eq!(ask(&client, "chain_getBlockHash", json!([0])).await, json!(chain.genesis()));
    assert_eq!(ask(&client, "chain_getBlockHash", json!([])).await, json!(hash));
    assert_eq!(ask(&client, "chain_getBlockHash", json!([[0, "0x1", 9]])).await, json!([chain.genesis(), hash, null]));
    assert_eq!(ask(&client, "chain_getFinalizedHead", json!([])).await, json!(hash));
    let header = ask(&client, "chain_getHeader", json!([hash])).await;
    assert_eq!(header["number"], "0x1");
    assert_eq!(header["parentHash"], json!(chain.genesis()));
    let block = ask(&client, "chain_getBlock", json!([])).await;
    assert_eq!(block["block"]["header"], header);
    assert_eq!(block["block"]["extrinsics"].as_array().unwrap().len(), 1, "the timestamp");
    let unknown = Hash::repeat_byte(9);
    assert_eq!(ask(&client, "chain_getHeader", json!([unknown])).await, json!(null));
    assert_eq!(ask(&client, "chain_getBlock", json!([unknown])).await, json!(null));
    let certificate: Certificate = serde_json::from_value(ask(&client, "chain_certificate", json!([1])).await).unwrap();
    assert_eq!((certificate.number, certificate.block_hash), (1, hash));
    assert_eq!(certificate.certificate.0, vec![0xce; 5]);
    assert_eq!(x0_crypto::blake2b_256(&certificate.header.0), hash.0, "the header is the block's");
    assert_eq!(ask(&client, "chain_certificate", json!([hash])).await["number"], 1);
    assert_eq!(refusal(&client, "chain_certificate", json!([0])).await.0, x0_rpc_types::error::NOT_FOUND);
    assert_eq!(refusal(&client, "chain_certificate", json!([77])).await.0, x0_rpc_types::error::UNKNOWN_BLOCK);
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_read_as_of_the_named_block() {
    let chain = Chain::start().await;
    let client = chain.client().await;
    let before = chain.seal().await;
    let after = submit(&chain, &client, &sign("alice", chain.genesis(), 0, transfer("bob", 5))).await;
    let key = account_key("bob");
    let free = |value: serde_json::Value| {
        let bytes = x0_rpc_types::HexBytes::parse(value.as_str().unwrap()).unwrap().0;
        frame_system::AccountInfo::<u32, pallet_balances::AccountData<u128>>::decode(&mut &bytes[..]).unwrap().data.free
    };
    let old = free(ask(&client, "state_getStorage", json!([key, before])).await);
    let new = free(ask(&client, "state_getStorage", json!([key, after])).await);
    assert_eq!(new - old, 5 * UNIT);
    let value = ask(&client, "state_getStorage", json!([key])).await;
    let bytes = x0_rpc_types::HexBytes::parse(value.as_str().unwrap()).unwrap().0;
    assert_eq!(ask(&client, "state_getStorageSize", json!([key])).await, json!(bytes.len()));
    assert_eq!(
        ask(&client, "state_getStorageHash", json!([key])).await,
        json!(to_hex(&x0_crypto::blake2b_256(&bytes)))
    );
    let missing = to_hex(b"no such key");
    assert_eq!(ask(&client, "state_getStorage", json!([missing])).await, json!(null));
    let query = ask(&client, "state_queryStorageAt", json!([[key, missing]])).await;
    assert_eq!(query, json!([{ "block": after, "changes": [[key, value], [missing, null]] }]));
    // Pages join up to the whole list.
    let prefix = &key[..66];
    let all = ask(&client, "state_getKeysPaged", json!([prefix, 1000])).await;
    let first = ask(&client, "state_getKeysPaged", json!([prefix, 2])).await;
    let rest = ask(&client, "state_getKeysPaged", json!([prefix, 1000, first[1]])).await;
    assert_eq!(
        [first.as_array().unwrap().clone(), rest.as_array().unwrap().clone()].concat(),
        *all.as_array().unwrap()
    );
    assert_eq!(
        refusal(&client, "state_getKeysPaged", json!([prefix, 1001])).await.0,
        x0_rpc_types::error::INVALID_COUNT
    );
    assert!(!ask(&client, "state_getReadProof", json!([[key], after])).await["proof"].as_array().unwrap().is_empty());
    let unknown = refusal(&client, "state_getStorage", json!([key, Hash::repeat_byte(3)])).await;
    assert_eq!(unknown.0, x0_rpc_types::error::UNKNOWN_BLOCK);
}

#[tokio::test(flavor = "multi_thread")]
async fn runtime_calls_are_the_listed_ones_only() {
    let chain = Chain::start().await;
    let client = chain.client().await;
    let versions = ask(&client, "state_call", json!(["Metadata_metadata_versions", "0x"])).await;
    let bytes = x0_rpc_types::HexBytes::parse(versions.as_str().unwrap()).unwrap().0;
    assert_eq!(Vec::<u32>::decode(&mut &bytes[..]).unwrap(), [14, 15, 16]);
    let metadata = ask(&client, "state_getMetadata", json!([])).await;
    assert!(metadata.as_str().unwrap().starts_with("0x6d6574610e"), "the magic number and version 14");
    let version = ask(&client, "state_getRuntimeVersion", json!([])).await;
    assert_eq!(
        (&version["specName"], &version["specVersion"], &version["transactionVersion"]),
        (&json!("x0tta6bl4"), &json!(1), &json!(1))
    );
    for refused in ["Core_execute_block", "Core_initialize_block", "GenesisBuilder_build_state", "nonsense"] {
        let (code, message, _) = refusal(&client, "state_call", json!([refused, "0x"])).await;
        assert_eq!(code, x0_rpc_types::error::RUNTIME_CALL_FAILED, "{message}");
        assert!(message.contains(refused));
    }
    let nonce =
        ask(&client, "state_call", json!(["AccountNonceApi_account_nonce", to_hex(&account("alice").encode())])).await;
    assert_eq!(nonce, "0x00000000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_transaction_is_ready_then_in_a_block_then_final() {
    let chain = Chain::start().await;
    let client = chain.client().await;
    let extrinsic = sign("alice", chain.genesis(), 0, transfer("bob", 1));
    assert_eq!(ask(&client, "system_accountNextIndex", json!([account("alice")])).await, 0);
    let mut updates =
        subscribe(&client, "author_submitAndWatchExtrinsic", json!([extrinsic]), "author_unwatchExtrinsic").await;
    assert_eq!(next(&mut updates).await, "ready");
    assert_eq!(
        ask(&client, "system_accountNextIndex", json!([to_hex(&account("alice").encode())])).await,
        1,
        "waiting ones count"
    );
    assert_eq!(ask(&client, "author_pendingExtrinsics", json!([])).await, json!([extrinsic]));
    let (code, _, data) = refusal(&client, "author_submitExtrinsic", json!([extrinsic])).await;
    assert_eq!((code, &data["kind"]), (x0_rpc_types::error::ALREADY_IMPORTED, &json!("alreadyKnown")));
    let block = chain.seal().await;
    assert_eq!(next(&mut updates).await, json!({ "inBlock": block }));
    assert_eq!(next(&mut updates).await, json!({ "finalized": block }));
    let included = refusal(&client, "author_submitExtrinsic", json!([extrinsic])).await;
    assert_eq!(included.2["kind"], "alreadyIncluded", "{included:?}");
    let body = ask(&client, "chain_getBlock", json!([block])).await["block"]["extrinsics"].clone();
    assert_eq!(body[1], json!(extrinsic));
    // The old nonce with another call is stale, and the refusal names the right one.
    let stale =
        refusal(&client, "author_submitExtrinsic", json!([sign("alice", chain.genesis(), 0, transfer("bob", 2))]))
            .await;
    assert_eq!(
        (stale.0, &stale.2["kind"]),
        (x0_rpc_types::error::INVALID_TRANSACTION, &json!("staleNonce")),
        "{stale:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn head_subscriptions_miss_no_block() {
    let chain = Chain::start().await;
    let client = chain.client().await;
    let mut streams = Vec::new();
    for name in ["NewHeads", "NewHead", "FinalizedHeads", "AllHeads"] {
        let unsubscribe = format!("chain_unsubscribe{name}");
        streams.push(subscribe(&client, &format!("chain_subscribe{name}"), json!([]), &unsubscribe).await);
    }
    for _ in 0..20 {
        chain.seal().await;
    }
    for stream in &mut streams {
        let mut parent = None;
        for expected in 0..=20 {
            let header = next(stream).await;
            assert_eq!(number(&header), expected);
            if let Some(parent) = parent {
                assert_eq!(header["parentHash"], parent);
            }
            parent = Some(ask(&client, "chain_getBlockHash", json!([expected])).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscription_ids_are_text() {
    let chain = Chain::start().await;
    let answer =
        common_http(&chain, r#"{"jsonrpc":"2.0","id":1,"method":"chain_subscribeNewHeads","params":[]}"#).await;
    // Over HTTP there is nobody to notify.
    assert!(answer.contains("error"), "{answer}");
    let client = chain.client().await;
    let stream = subscribe(&client, "chain_subscribeNewHeads", json!([]), "chain_unsubscribeNewHeads").await;
    assert!(matches!(
        stream.kind(),
        jsonrpsee::core::client::SubscriptionKind::Subscription(jsonrpsee::types::SubscriptionId::Str(_))
    ));
}

/// One request over HTTP.
async fn common_http(chain: &Chain, body: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(chain.address()).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_subscriptions_send_changes_only() {
    let chain = Chain::start().await;
    let client = chain.client().await;
    let (alice, dave) = (account_key("alice"), account_key("dave"));
    let mut changes =
        subscribe(&client, "state_subscribeStorage", json!([[alice, dave]]), "state_unsubscribeStorage").await;
    let first = next(&mut changes).await;
    assert_eq!(first["changes"].as_array().unwrap().len(), 2, "the values now");
    chain.seal().await;
    let block = submit(&chain, &client, &sign("dave", chain.genesis(), 0, transfer("bob", 1))).await;
    let second = next(&mut changes).await;
    assert_eq!(second["block"], json!(block), "the empty block changed neither");
    assert_eq!(second["changes"].as_array().unwrap().len(), 1);
    assert_eq!(second["changes"][0][0], json!(dave));
    let refused = try_subscribe_storage(&client, json!([[]])).await;
    assert!(refused.contains("'keys'"), "{refused}");
    let mut versions =
        subscribe(&client, "state_subscribeRuntimeVersion", json!([]), "state_unsubscribeRuntimeVersion").await;
    assert_eq!(next(&mut versions).await["specName"], "x0tta6bl4");
}

async fn try_subscribe_storage(client: &jsonrpsee::ws_client::WsClient, params: serde_json::Value) -> String {
    use jsonrpsee::core::client::SubscriptionClientT as _;
    let mut list = jsonrpsee::core::params::ArrayParams::new();
    list.insert(&params[0]).unwrap();
    let subscribed: Result<jsonrpsee::core::client::Subscription<serde_json::Value>, _> =
        client.subscribe("state_subscribeStorage", list, "state_unsubscribeStorage").await;
    subscribed.expect_err("refused").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn fees_are_quoted_as_they_are_charged() {
    let chain = Chain::start().await;
    let client = chain.client().await;
    let extrinsic = sign("alice", chain.genesis(), 0, transfer("bob", 1));
    let info = ask(&client, "payment_queryInfo", json!([extrinsic])).await;
    let quoted: u128 = info["partialFee"].as_str().unwrap().parse().unwrap();
    let details = ask(&client, "payment_queryFeeDetails", json!([extrinsic])).await;
    let part = |name: &str| {
        u128::from_str_radix(details["inclusionFee"][name].as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    };
    assert_eq!(part("baseFee") + part("lenFee") + part("adjustedWeightFee"), quoted);
    submit(&chain, &client, &extrinsic).await;
    let history: History =
        serde_json::from_value(ask(&client, "account_history", json!([account("alice")])).await).unwrap();
    let entry = &history.entries[0];
    assert_eq!(entry.fee, Some(Amount(quoted)), "{entry:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_names_calls_results_and_pages() {
    let chain = Chain::start().await;
    let client = chain.client().await;
    for nonce in 0..3 {
        submit(&chain, &client, &sign("alice", chain.genesis(), nonce, transfer("bob", 1))).await;
    }
    let too_much = RuntimeCall::Balances(pallet_balances::Call::transfer_keep_alive {
        dest: account("bob").into(),
        value: 100_000_000 * UNIT,
    });
    submit(&chain, &client, &sign("alice", chain.genesis(), 3, too_much)).await;
    let page = async |before: serde_json::Value| -> History {
        serde_json::from_value(ask(&client, "account_history", json!([account("alice"), before, 3])).await).unwrap()
    };
    let first = page(json!(null)).await;
    assert_eq!(first.entries.iter().map(|entry| entry.block).collect::<Vec<_>>(), [4, 3, 2], "newest first");
    let failed = &first.entries[0];
    assert_eq!(failed.call.as_deref(), Some("Balances.transfer_keep_alive"));
    assert_eq!(failed.money.as_deref(), Some(&[][..]), "a failed call moves nothing");
    let moved = &first.entries[1].money.as_ref().unwrap()[0];
    assert_eq!((moved.kind.as_str(), moved.amount, &moved.to), ("Transfer", Amount(UNIT), &Some(account("bob"))));
    assert_eq!((failed.success, failed.signer.clone()), (Some(false), Some(account("alice"))));
    assert_eq!(failed.error.as_deref(), Some("Arithmetic.Underflow"), "{failed:?}");
    assert!(first.entries[1].success == Some(true) && first.entries[1].error.is_none());
    assert!(first.entries[1].timestamp_ms > 1_600_000_000_000);
    let second = page(json!(first.next)).await;
    assert_eq!(second.entries.iter().map(|entry| entry.block).collect::<Vec<_>>(), [1]);
    assert_eq!(second.next, None);
    let receiver: History =
        serde_json::from_value(ask(&client, "account_history", json!([account("bob")])).await).unwrap();
    assert_eq!(receiver.entries.len(), 3, "transfers touch the receiver: {receiver:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_resolves_to_a_w3c_document() {
    let chain = Chain::start().await;
    let client = chain.client().await;
    chain.seal().await;
    let agent = key("agent-1", "agent");
    let subject = public(&agent).account_id();
    let now = chain.executor.head().timestamp_ms;
    let statement = PossessionStatement {
        role: KeyRole::Agent,
        subject: subject.clone(),
        controller: account("bob"),
        expires_at_ms: now + 600_000,
    };
    let signature = agent.sign_possession(&chain.genesis().0, &statement.encode()).unwrap();
    let proof = KeyProof { expires_at_ms: statement.expires_at_ms, signature: MlDsa65Signature(signature.to_boxed()) };
    let endpoint = b"127.0.0.1:7001".to_vec().try_into().unwrap();
    let register = RuntimeCall::Did(pallet_x0_did::Call::register_agent { public: public(&agent), proof, endpoint });
    let did = format!("did:x0:dev:{subject}");
    let resolve = async |text: &str| -> DidResolution {
        serde_json::from_value(ask(&client, "did_resolve", json!([text])).await).unwrap()
    };
    assert_eq!(resolve(&did).await.did_resolution_metadata.error.as_deref(), Some("notFound"));
    assert_eq!(refusal(&client, "did_identity", json!([did])).await.0, x0_rpc_types::error::NOT_FOUND);
    let block = submit(&chain, &client, &sign("bob", chain.genesis(), 0, register)).await;
    let resolved = resolve(&did).await;
    let document = resolved.did_document.unwrap();
    assert_eq!(document.id, did);
    assert_eq!(document.controller, format!("did:x0:dev:{}", account("bob")));
    let own = Multikey::MlDsa65(Box::new(*agent.public().as_bytes()));
    assert_eq!(Multikey::from_text(&document.verification_method[0].public_key_multibase).unwrap(), own);
    assert_eq!(document.service[0].service_endpoint, "x0-probe://127.0.0.1:7001");
    assert_eq!(resolved.did_document_metadata.version_id, Some(block));
    let identity: Identity = serde_json::from_value(ask(&client, "did_identity", json!([subject])).await).unwrap();
    assert_eq!((identity.controller, identity.endpoint.as_deref()), (account("bob"), Some("127.0.0.1:7001")));
    let owner = ask(&client, "did_keyOwner", json!([identity.keys[0].fingerprint])).await;
    assert_eq!((&owner["subject"], &owner["role"]), (&json!(subject), &json!("agent")));
    // The same key by itself, and DIDs that are not ours.
    let by_key = resolve(&own.to_did_key()).await;
    assert_eq!(by_key.did_document.unwrap().id, own.to_did_key());
    for (text, error) in [
        ("did:web:example.org", "methodNotSupported"),
        ("did:x0:dev:5xyz", "invalidDid"),
        ("did:key:zzzz", "invalidDid"),
        ("hello", "invalidDid"),
    ] {
        assert_eq!(resolve(text).await.did_resolution_metadata.error.as_deref(), Some(error), "{text}");
    }
    let other = format!("did:x0:other:{subject}");
    assert_eq!(resolve(&other).await.did_resolution_metadata.error.as_deref(), Some("notFound"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untouched_market_is_empty_and_solvent() {
    let chain = Chain::start().await;
    let client = chain.client().await;
    let listings: Vec<Listing> = serde_json::from_value(ask(&client, "market_listings", json!([])).await).unwrap();
    let deals: Vec<Deal> =
        serde_json::from_value(ask(&client, "market_deals", json!([{ "live": true }])).await).unwrap();
    assert!(listings.is_empty() && deals.is_empty());
    for (method, number) in [("market_listing", "0"), ("market_deal", "7"), ("market_dealMeter", "7")] {
        assert_eq!(refusal(&client, method, json!([number])).await.0, x0_rpc_types::error::NOT_FOUND, "{method}");
    }
    let solvency: Solvency = serde_json::from_value(ask(&client, "market_solvency", json!([])).await).unwrap();
    assert!(solvency.solvent && solvency.issuance == solvency.accounts_total, "{solvency:?}");
    let status: MeasurementStatus =
        serde_json::from_value(ask(&client, "measurement_status", json!([])).await).unwrap();
    assert_eq!((status.slot_ms, status.nodes_total), (1_000, 0));
    assert_eq!(refusal(&client, "market_deals", json!([{ "stat": "Active" }])).await.0, -32602, "unknown filter");
    let (code, message, _) = refusal(&client, "market_deals", json!([{ "state": "active" }])).await;
    assert!(code == -32602 && message.contains("'active'") && message.contains("Suspect"), "{message}");
    let unknown = json!([Hash::repeat_byte(3)]);
    assert_eq!(refusal(&client, "market_solvency", unknown).await.0, x0_rpc_types::error::UNKNOWN_BLOCK);
}
