//! A chain without consensus: the test seals each block itself, so that it decides what happens when.
#![allow(dead_code, reason = "each test file uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot set up must fail")]

use codec::Encode as _;
use jsonrpsee::{
    core::{
        ClientError,
        client::{ClientT as _, Subscription, SubscriptionClientT as _},
        params::ArrayParams,
    },
    ws_client::{WsClient, WsClientBuilder},
};
use serde_json::{Value, json};
use sp_runtime::generic::Era;
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use x0_crypto::{SigningKey, dev};
use x0_executor::{Executor, Options};
use x0_mempool::Mempool;
use x0_rpc::{ListenerConfig, Node, NodeInfo, Origins, RpcServer, Transport};
use x0_runtime::{ChainSignature, RuntimeCall, SignedPayload, TxExtension, UncheckedExtrinsic, VERSION, presets};
use x0_storage::{Database, OpenOptions};
use x0_types::{AccountId, Hash, MlDsa65PublicKey, MlDsa65Signature, Nonce, account::UNIT};

/// How long a test waits for something that takes milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A chain, its RPC and its data.
pub struct Chain {
    pub executor: Executor,
    pub mempool: Mempool,
    pub server: RpcServer,
    pub node: Arc<Node>,
    _directory: tempfile::TempDir,
}

impl Chain {
    /// A development chain with one plain listener.
    pub async fn start() -> Self {
        Self::with(vec![plain()]).await
    }

    /// A development chain with these listeners.
    pub async fn with(listeners: Vec<ListenerConfig>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path(), OpenOptions::default()).unwrap();
        let genesis = x0_chain_spec::ChainSpec::dev().unwrap().genesis_config().unwrap();
        let executor = Executor::new(database.clone(), &genesis, Options::default()).unwrap();
        let mempool = Mempool::new(executor.clone(), x0_mempool::Config::default()).unwrap();
        let info = NodeInfo {
            chain: "x0tta6bl4 Development".to_owned(),
            network: "dev".to_owned(),
            chain_type: "Development".to_owned(),
            version: "1.2.3".to_owned(),
            peer_id: "peer".to_owned(),
            validator: true,
            ss58_prefix: 42,
        };
        let node = Arc::new(Node::new(executor.clone(), database, mempool.clone(), info, None));
        let server = RpcServer::start(&node, &listeners).await.unwrap();
        Self { executor, mempool, server, node, _directory: directory }
    }

    /// Where the first listener listens.
    pub fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    /// A client of the first listener.
    pub async fn client(&self) -> WsClient {
        WsClientBuilder::default()
            .request_timeout(PATIENCE)
            .max_request_size(64 << 20)
            .max_response_size(64 << 20)
            .max_concurrent_requests(4_096)
            .build(format!("ws://{}", self.address()))
            .await
            .unwrap()
    }

    /// Builds a block of what waits and makes it final.
    pub async fn seal(&self) -> Hash {
        let (executor, mempool) = (self.executor.clone(), self.mempool.clone());
        tokio::task::spawn_blocking(move || {
            let mut imported = executor.subscribe_imported();
            let head = executor.head();
            let ready = mempool.ready(x0_limits::BLOCK_BYTES_MAX, x0_limits::BLOCK_EXTRINSICS_MAX);
            let proposer = presets::dev_account(presets::DEV_VALIDATOR).unwrap();
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            let deadline = Instant::now() + PATIENCE;
            let time = u64::try_from(now.as_millis()).unwrap();
            let executed = executor.build_block(head.hash, time, proposer, ready.into_iter(), deadline).unwrap();
            let head = executor.commit(executed, vec![0xce; 5]).unwrap();
            mempool.on_imported(&imported.try_recv().unwrap());
            head.hash
        })
        .await
        .unwrap()
    }

    /// The chain's genesis hash.
    pub fn genesis(&self) -> Hash {
        self.executor.genesis_hash()
    }
}

/// A plain listener on a free port that admits no web page.
pub fn plain() -> ListenerConfig {
    ListenerConfig {
        address: "127.0.0.1:0".parse().unwrap(),
        transport: Transport::Plain,
        origins: Origins::Only(vec!["https://wallet.example".to_owned()]),
        unsafe_methods: false,
    }
}

/// A call.
pub async fn try_ask(client: &WsClient, method: &str, params: Value) -> Result<Value, ClientError> {
    let mut list = ArrayParams::new();
    for value in params.as_array().unwrap() {
        list.insert(value).unwrap();
    }
    client.request(method, list).await
}

/// A call whose answer must be good.
pub async fn ask(client: &WsClient, method: &str, params: Value) -> Value {
    try_ask(client, method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
}

/// Code, message and data of a call that must be refused.
pub async fn refusal(client: &WsClient, method: &str, params: Value) -> (i32, String, Value) {
    match try_ask(client, method, params).await {
        Err(ClientError::Call(error)) => {
            let data = error.data().map_or(Value::Null, |data| serde_json::from_str(data.get()).unwrap());
            (error.code(), error.message().to_owned(), data)
        }
        other => panic!("{method}: expected a refusal, got {other:?}"),
    }
}

/// A subscription.
pub async fn subscribe(client: &WsClient, method: &str, params: Value, unsubscribe: &str) -> Subscription<Value> {
    let mut list = ArrayParams::new();
    for value in params.as_array().unwrap() {
        list.insert(value).unwrap();
    }
    client.subscribe(method, list, unsubscribe).await.unwrap_or_else(|error| panic!("{method}: {error}"))
}

/// The next element of a subscription.
pub async fn next(subscription: &mut Subscription<Value>) -> Value {
    tokio::time::timeout(PATIENCE, subscription.next()).await.expect("in time").expect("open").expect("readable")
}

/// A development key.
pub fn key(name: &str, role: &str) -> SigningKey {
    SigningKey::from_seed(&dev::seed(name, role)).unwrap()
}

/// A key's public half as it stands on chain.
pub fn public(key: &SigningKey) -> MlDsa65PublicKey {
    MlDsa65PublicKey(key.public().clone().to_boxed())
}

/// A development account.
pub fn account(name: &str) -> AccountId {
    public(&key(name, "account")).account_id()
}

/// A signed transaction as `0x` hex.
pub fn sign(name: &str, genesis: Hash, nonce: Nonce, call: RuntimeCall) -> String {
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
    let key = key(name, "account");
    let signature = MlDsa65Signature(key.sign_transaction(&payload).unwrap().to_boxed());
    let signature = ChainSignature::MlDsa65 { public: public(&key), signature };
    x0_rpc_types::bytes::to_hex(
        &UncheckedExtrinsic::new_signed(call, account(name).into(), signature, extension).encode(),
    )
}

/// A transfer of whole tokens.
pub fn transfer(to: &str, tokens: u128) -> RuntimeCall {
    RuntimeCall::Balances(pallet_balances::Call::transfer_keep_alive { dest: account(to).into(), value: tokens * UNIT })
}

/// The key of an account's entry in `System.Account`.
pub fn account_key(name: &str) -> String {
    x0_rpc_types::bytes::to_hex(&frame_system::Account::<x0_runtime::Runtime>::hashed_key_for(account(name)))
}

/// Height of a header.
pub fn number(header: &Value) -> u32 {
    u32::from_str_radix(header["number"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

/// Submits a transaction and seals it into a block.
pub async fn submit(chain: &Chain, client: &WsClient, extrinsic: &str) -> Hash {
    ask(client, "author_submitExtrinsic", json!([extrinsic])).await;
    chain.seal().await
}
