//! JSON-RPC calls of tests.

use crate::PATIENCE;
use jsonrpsee::{
    core::{
        ClientError,
        client::{ClientT as _, Subscription, SubscriptionClientT as _},
        params::ArrayParams,
    },
    ws_client::WsClient,
};
use serde_json::{Value, json};

fn list(params: &Value) -> ArrayParams {
    let mut list = ArrayParams::new();
    for value in params.as_array().expect("parameters are a list") {
        list.insert(value).expect("JSON");
    }
    list
}

/// A call.
///
/// # Errors
/// What the node or the line says.
pub async fn try_ask(client: &WsClient, method: &str, params: Value) -> Result<Value, ClientError> {
    client.request(method, list(&params)).await
}

/// A call whose answer must be good.
pub async fn ask(client: &WsClient, method: &str, params: Value) -> Value {
    try_ask(client, method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
}

/// Code, message and data of a call that must be refused.
pub async fn refusal(client: &WsClient, method: &str, params: Value) -> (i32, String, Value) {
    match try_ask(client, method, params).await {
        Err(ClientError::Call(error)) => {
            let data = error.data().map_or(Value::Null, |data| serde_json::from_str(data.get()).expect("JSON"));
            (error.code(), error.message().to_owned(), data)
        }
        other => panic!("{method}: expected a refusal, got {other:?}"),
    }
}

/// A subscription that must be granted.
pub async fn subscribe(client: &WsClient, method: &str, params: Value, unsubscribe: &str) -> Subscription<Value> {
    client.subscribe(method, list(&params), unsubscribe).await.unwrap_or_else(|error| panic!("{method}: {error}"))
}

/// Finalised headers.
pub async fn heads(client: &WsClient) -> Subscription<Value> {
    subscribe(client, "chain_subscribeFinalizedHeads", json!([]), "chain_unsubscribeFinalizedHeads").await
}

/// The next element of a subscription.
pub async fn next(subscription: &mut Subscription<Value>) -> Value {
    tokio::time::timeout(PATIENCE, subscription.next()).await.expect("in time").expect("open").expect("readable")
}

/// The height in a header.
#[must_use]
pub fn number(header: &Value) -> u32 {
    u32::from_str_radix(header["number"].as_str().expect("a number").trim_start_matches("0x"), 16).expect("hex")
}

/// Submits a transaction and waits until it is final; the block's hash as text.
pub async fn finalise_text(client: &WsClient, extrinsic: &str) -> String {
    let mut updates =
        subscribe(client, "author_submitAndWatchExtrinsic", json!([extrinsic]), "author_unwatchExtrinsic").await;
    loop {
        let update = next(&mut updates).await;
        if let Some(block) = update["finalized"].as_str() {
            return block.to_owned();
        }
        assert!(update == "ready" || update == "future" || update.get("inBlock").is_some(), "{update}");
    }
}
