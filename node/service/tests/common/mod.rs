//! A real `x0-node` process for tests, and transactions to send to it.
#![allow(dead_code, reason = "each test file uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot set up must fail")]

use codec::Encode as _;
use jsonrpsee::{
    core::{
        ClientError,
        client::{ClientT as _, Subscription, SubscriptionClientT as _},
    },
    rpc_params,
    ws_client::{WsClient, WsClientBuilder},
};
use serde_json::Value;
use sp_runtime::generic::Era;
use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};
use x0_crypto::{SigningKey, dev};
use x0_runtime::{ChainSignature, RuntimeCall, SignedPayload, TxExtension, UncheckedExtrinsic, VERSION};
use x0_types::{AccountId, Hash, MlDsa65PublicKey, MlDsa65Signature, Nonce, account::UNIT};

/// How long a test waits for something that a working node does in a fraction of it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_x0-node"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("X0_")) {
        command.env_remove(name);
    }
    command
}

/// Runs the binary to its end.
pub fn run(args: &[&str]) -> Output {
    binary().args(args).output().expect("the binary runs")
}

/// What a failed run says on standard error, its last line.
pub fn last_line(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned()
}

/// A running node. It is killed when dropped.
pub struct Node {
    child: Child,
    /// What the READY line says.
    pub ready: Value,
}

impl Node {
    /// Starts a development node in a directory, on a free port.
    pub fn dev(base: &Path, extra: &[&str]) -> Self {
        let base = base.to_str().unwrap();
        let mut args = vec!["--dev", "--base-path", base, "--rpc-port", "0", "--log", "warn,x0=info"];
        args.extend_from_slice(extra);
        Self::start(&args)
    }

    /// Starts a node and waits for its READY line.
    pub fn start(args: &[&str]) -> Self {
        let mut child = binary().args(args).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let stdout = child.stdout.take().expect("piped");
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let mut lines = BufReader::new(stdout);
            let read = lines.read_line(&mut line);
            let _ = send.send(read.map(|_| line));
            // Keeps the pipe open until the node ends.
            let _ = lines.read_to_end(&mut Vec::new());
        });
        let line = receive.recv_timeout(PATIENCE).expect("the node is ready in time").expect("standard output reads");
        let Some(json) = line.strip_prefix("READY ") else {
            let status = child.wait();
            panic!("no READY line but {line:?}; the node ended with {status:?}");
        };
        Self { ready: serde_json::from_str(json).expect("READY is JSON"), child }
    }

    /// Address of the plain listener.
    pub fn url(&self) -> String {
        self.ready["rpc"].as_str().expect("a plain listener").to_owned()
    }

    /// `127.0.0.1:port` of the plain listener.
    pub fn authority(&self) -> String {
        self.url().trim_start_matches("ws://").to_owned()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A WebSocket client of the plain listener.
    pub async fn client(&self) -> WsClient {
        WsClientBuilder::default()
            .max_request_size(64 * 1024 * 1024)
            .max_response_size(64 * 1024 * 1024)
            .request_timeout(PATIENCE)
            .build(self.url())
            .await
            .expect("the node accepts connections")
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(mut self) -> ExitStatus {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: `kill` has no memory preconditions; the process is this test's own child and has
        // not been waited for, so that the id is its own.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
        self.wait()
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(mut self) {
        self.child.kill().expect("the node is killed");
        self.child.wait().expect("the node ends");
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child can be asked").is_none()
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be asked") {
                return status;
            }
            assert!(Instant::now() < deadline, "the node did not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Already ended is what a test wants.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A call whose answer must be good.
pub async fn ask(client: &WsClient, method: &str, params: Value) -> Value {
    try_ask(client, method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
}

/// A call.
pub async fn try_ask(client: &WsClient, method: &str, params: Value) -> Result<Value, ClientError> {
    let Value::Array(list) = params else { panic!("parameters are a list") };
    let mut params = jsonrpsee::core::params::ArrayParams::new();
    for value in list {
        params.insert(value).unwrap();
    }
    client.request(method, params).await
}

/// Code, message and data of a call that must be refused.
pub async fn refusal(client: &WsClient, method: &str, params: Value) -> (i32, String, Value) {
    match try_ask(client, method, params.clone()).await {
        Err(ClientError::Call(error)) => {
            let data = error.data().map_or(Value::Null, |data| serde_json::from_str(data.get()).unwrap());
            (error.code(), error.message().to_owned(), data)
        }
        other => panic!("{method}: expected a refusal, got {other:?}"),
    }
}

/// Finalised headers.
pub async fn heads(client: &WsClient) -> Subscription<Value> {
    client.subscribe("chain_subscribeFinalizedHeads", rpc_params![], "chain_unsubscribeFinalizedHeads").await.unwrap()
}

/// Waits for the next element of a subscription.
pub async fn next(subscription: &mut Subscription<Value>) -> Value {
    tokio::time::timeout(PATIENCE, subscription.next()).await.expect("in time").expect("open").expect("readable")
}

/// The number in a header.
pub fn number(header: &Value) -> u32 {
    u32::from_str_radix(header["number"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

/// Genesis hash of the node behind a client.
pub async fn genesis(client: &WsClient) -> Hash {
    serde_json::from_value(ask(client, "chain_getBlockHash", serde_json::json!([0])).await).unwrap()
}

/// A development account with its key.
pub struct Signer {
    /// The key.
    pub key: SigningKey,
    /// The account.
    pub account: AccountId,
}

impl Signer {
    /// A development account by its name.
    pub fn dev(name: &str) -> Self {
        let key = SigningKey::from_seed(&dev::seed(name, "account")).unwrap();
        let account = public(&key).account_id();
        Self { key, account }
    }

    /// A signed transaction as `0x` hex.
    pub fn sign(&self, genesis: Hash, nonce: Nonce, call: RuntimeCall) -> String {
        x0_rpc_types::bytes::to_hex(&self.extrinsic(genesis, nonce, call).encode())
    }

    /// A signed transaction.
    pub fn extrinsic(&self, genesis: Hash, nonce: Nonce, call: RuntimeCall) -> UncheckedExtrinsic {
        let extension: TxExtension = (
            frame_system::CheckNonZeroSender::new(),
            frame_system::CheckSpecVersion::new(),
            frame_system::CheckTxVersion::new(),
            frame_system::CheckGenesis::new(),
            frame_system::CheckMortality::from(Era::Immortal),
            frame_system::CheckNonce::from(nonce),
            frame_system::CheckWeight::new(),
            pallet_transaction_payment::ChargeTransactionPayment::from(0),
            frame_system::WeightReclaim::new(),
        );
        let implicit = ((), VERSION.spec_version, VERSION.transaction_version, genesis, genesis, (), (), (), ());
        let payload = SignedPayload::from_raw(call.clone(), extension.clone(), implicit).encode();
        let signature = self.key.sign_transaction(&payload).unwrap();
        let signature =
            ChainSignature::MlDsa65 { public: public(&self.key), signature: MlDsa65Signature(signature.to_boxed()) };
        UncheckedExtrinsic::new_signed(call, self.account.clone().into(), signature, extension)
    }
}

/// A key's public half as it stands on chain.
pub fn public(key: &SigningKey) -> MlDsa65PublicKey {
    MlDsa65PublicKey(key.public().clone().to_boxed())
}

/// A transfer of whole tokens.
pub fn transfer(to: &AccountId, tokens: u128) -> RuntimeCall {
    RuntimeCall::Balances(pallet_balances::Call::transfer_keep_alive { dest: to.clone().into(), value: tokens * UNIT })
}

/// Sends a transaction and waits until it is final; returns the block.
pub async fn finalise(client: &WsClient, extrinsic: &str) -> Hash {
    let mut updates: Subscription<Value> = client
        .subscribe("author_submitAndWatchExtrinsic", rpc_params![extrinsic], "author_unwatchExtrinsic")
        .await
        .unwrap_or_else(|error| panic!("submission refused: {error}"));
    loop {
        let update = next(&mut updates).await;
        if let Some(block) = update.get("finalized") {
            return serde_json::from_value(block.clone()).unwrap();
        }
        assert!(update == "ready" || update == "future" || update.get("inBlock").is_some(), "{update}");
    }
}
