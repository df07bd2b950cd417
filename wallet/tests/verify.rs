//! `x0 verify` against real nodes and lying ones: proven answers over changes of the validator set.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use jsonrpsee::{
    RpcModule,
    core::{ClientError, client::ClientT as _, params::ArrayParams},
    server::ServerBuilder,
    types::{ErrorObjectOwned, Params},
    ws_client::{WsClient, WsClientBuilder},
};
use serde_json::Value;
use std::sync::Arc;
use support::{Node, Wallet};

/// The proven account of a wallet is the one that the node tells.
fn agrees(wallet: &Wallet, name: &str) -> Value {
    let told = wallet.run(&["account", name, "--history", "0"]).succeeds();
    let proven = wallet.run(&["verify", "account", name]).succeeds();
    assert_eq!((&proven["free"], &proven["held"], &proven["nonce"]), (&told["free"], &told["held"], &told["nonce"]));
    proven
}

#[test]
fn balances_are_proven_from_a_checkpoint_on_over_changes_of_the_validator_set() {
    let node = Node::dev();
    let wallet = Wallet::at(&node);
    let message = wallet.run(&["verify", "head"]).fails(2, "usage");
    assert!(message.contains("x0-node checkpoint"), "{message}");
    let first = node.checkpoint("wallet");
    let begun = wallet.run(&["verify", "checkpoint", &first]).succeeds();
    // The checkpoint may be the newest block that there is.
    wallet.run(&["verify", "head"]).succeeds();
    wallet.funded_key("renter", "7 X0T");
    let before = agrees(&wallet, "renter");
    assert_eq!(before["free"], "7000000000000");
    assert!(before["block"]["number"].as_u64().unwrap() > begun["number"].as_u64().unwrap());
    // The set changes twice; what was trusted first knows neither of the new ones.
    for power in ["5", "7"] {
        wallet
            .yes(&["validators", "propose", "power", "dev:validator-1", power, "--key", "dev:validator-1"])
            .succeeds();
        wallet.yes(&["transfer", "dev:bob", "1 X0T", "--key", "renter"]).succeeds();
        wallet.yes(&["transfer", "dev:bob", "1 X0T", "--key", "renter"]).succeeds();
        wallet.yes(&["transfer", "dev:bob", "0.1 X0T", "--key", "renter"]).succeeds();
    }
    let late = agrees(&wallet, "renter");
    let shown = wallet.run(&["verify", "checkpoint"]).succeeds();
    assert_eq!(shown["number"], late["block"]["number"], "the trust moved");
    let nobody = wallet.run(&["verify", "account", "dev:nobody-has-this-name"]).succeeds();
    assert_eq!((&nobody["free"], &nobody["nonce"]), (&"0".into(), &0.into()), "absence is proven as well");
    wallet.run(&["verify", "deal", "0"]).fails(2, "not-found");
    // A new wallet begins at the block that announced the set, for which no state is needed.
    let announced = node.checkpoint("node");
    assert!(!announced.starts_with("0:"), "{announced}");
    let other = Wallet::at(&node);
    other.run(&["verify", "checkpoint", &announced]).succeeds();
    agrees(&other, "dev:bob");
    // Checkpoints that are not of this chain, too old, or none at all change nothing.
    let parts: Vec<&str> = first.split(':').collect();
    let wrong = format!("{}:0x{}:{}", parts[0], "7".repeat(64), parts[2]);
    let old = format!("{}:{}:{}", parts[0], parts[1], parts[2].parse::<u64>().unwrap() - 15 * 86_400_000);
    wallet.yes(&["verify", "checkpoint", &wrong]).fails(3, "unproven");
    wallet.yes(&["verify", "checkpoint", &old]).fails(2, "trust-expired");
    wallet.yes(&["verify", "checkpoint", "yesterday"]).fails(2, "usage");
    wallet.run(&["verify", "checkpoint", &first]).fails(2, "no-terminal");
    agrees(&wallet, "renter");
}

/// What a liar does to the answer of a method.
type Lie = fn(&mut Value);

/// A server between wallet and node that passes everything on and lies about one method. Gives its address.
async fn liar(node: &str, method: &'static str, lie: Lie) -> (String, impl Drop) {
    struct Stop(Option<jsonrpsee::server::ServerHandle>);
    impl Drop for Stop {
        fn drop(&mut self) {
            if let Some(handle) = self.0.take() {
                let _ = handle.stop();
            }
        }
    }
    let client: Arc<WsClient> = Arc::new(WsClientBuilder::default().build(node).await.unwrap());
    let served: Value = client.request("rpc_methods", ArrayParams::new()).await.unwrap();
    let mut module = RpcModule::new(client);
    for name in served["methods"].as_array().unwrap() {
        let name: &'static str = Box::leak(name.as_str().unwrap().to_owned().into_boxed_str());
        if name.contains("ubscribe") || name.contains("Watch") || name.contains("unwatch") {
            continue;
        }
        module
            .register_async_method(name, move |params: Params<'static>, node: Arc<Arc<WsClient>>, _| async move {
                let mut passed = ArrayParams::new();
                for value in params.parse::<Vec<Value>>().unwrap_or_default() {
                    passed.insert(value).unwrap();
                }
                match node.request::<Value, _>(name, passed).await {
                    Ok(mut answer) => {
                        if name == method {
                            lie(&mut answer);
                        }
                        Ok(answer)
                    }
                    Err(ClientError::Call(error)) => Err(error),
                    Err(error) => Err(ErrorObjectOwned::owned(-32000, error.to_string(), None::<()>)),
                }
            })
            .unwrap();
    }
    let server = ServerBuilder::default().build("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}", server.local_addr().unwrap());
    (address, Stop(Some(server.start(module))))
}

/// Changes the last digit of hex text.
fn spoil(text: &mut Value) {
    let mut changed = text.as_str().unwrap().to_owned();
    let last = changed.pop().unwrap();
    changed.push(if last == '0' { '1' } else { '0' });
    *text = changed.into();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_node_convinces_nobody() {
    let node = Node::dev();
    let checkpoint = node.checkpoint("wallet");
    let rpc = node.text("rpc");
    let honest = Wallet::at(&node);
    honest.funded_key("renter", "3 X0T");
    let lies: [(&str, Lie); 4] = [
        ("light_header", |answer| spoil(&mut answer["certificate"])),
        ("light_header", |answer| spoil(&mut answer["header"])),
        ("state_getReadProof", |answer| {
            for proven in answer["proof"].as_array_mut().unwrap() {
                spoil(proven);
            }
        }),
        ("state_getReadProof", |answer| answer["proof"] = serde_json::json!([])),
    ];
    for (method, lie) in lies {
        let (address, _server) = liar(&rpc, method, lie).await;
        let mut wallet = Wallet::to(&address);
        wallet.run(&["verify", "checkpoint", &checkpoint]).succeeds();
        let message = wallet.run(&["verify", "account", "dev:bob"]).fails(3, "unproven");
        assert!(message.contains("not proven"), "{method}: {message}");
        // The lie is forgotten: the same wallet believes the honest node.
        wallet.turn_to(&rpc);
        let proven = wallet.run(&["verify", "account", "dev:bob"]).succeeds();
        assert!(proven["free"].as_str().unwrap().len() > 10, "{proven}");
    }
    let (address, _server) = liar(&rpc, "light_checkpoint", |answer| spoil(&mut answer["header"])).await;
    Wallet::to(&address).run(&["verify", "checkpoint", &checkpoint]).fails(3, "unproven");
}
