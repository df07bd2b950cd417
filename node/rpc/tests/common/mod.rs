//! A chain without consensus: the test seals each block itself, so that it decides what happens when.
#![allow(dead_code, unused_imports, reason = "each test file uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot set up must fail")]

use jsonrpsee::ws_client::WsClient;
use serde_json::json;
use std::{net::SocketAddr, sync::Arc, time::Instant};
use x0_executor::{Executor, Options};
use x0_mempool::Mempool;
use x0_rpc::{ListenerConfig, Node, NodeInfo, Origins, RpcServer, Transport};
use x0_runtime::{RuntimeCall, presets};
use x0_storage::{Database, OpenOptions};
pub use x0_test_support::{
    PATIENCE,
    rpc::*,
    sign::{Signer, account, key, public},
};
use x0_types::{Hash, Nonce};

/// A chain, its RPC and its data.
pub struct Chain {
    pub executor: Executor,
    pub mempool: Mempool,
    pub server: RpcServer,
    pub node: Arc<Node>,
    pub database: Database,
    _directory: tempfile::TempDir,
}

impl Chain {
    /// A development chain with one plain listener.
    pub async fn start() -> Self {
        Self::with(vec![plain()]).await
    }

    /// A development chain with these listeners.
    pub async fn with(listeners: Vec<ListenerConfig>) -> Self {
        Self::opened(listeners, OpenOptions::default()).await
    }

    /// A development chain over a database with these options.
    pub async fn opened(listeners: Vec<ListenerConfig>, options: OpenOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path(), options).unwrap();
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
        let node = Arc::new(Node::new(executor.clone(), database.clone(), mempool.clone(), info, None));
        let server = RpcServer::start(&node, &listeners).await.unwrap();
        Self { executor, mempool, server, node, database, _directory: directory }
    }

    /// Where the first listener listens.
    pub fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    /// A client of the first listener.
    pub async fn client(&self) -> WsClient {
        x0_test_support::node::client(&format!("ws://{}", self.address())).await
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

/// A signed transaction as `0x` hex.
pub fn sign(name: &str, genesis: Hash, nonce: Nonce, call: RuntimeCall) -> String {
    Signer::dev(name).sign(genesis, nonce, call)
}

/// A transfer of whole tokens.
pub fn transfer(to: &str, tokens: u128) -> RuntimeCall {
    x0_test_support::sign::transfer(&account(to), tokens)
}

/// The key of an account's entry in `System.Account`.
pub fn account_key(name: &str) -> String {
    x0_rpc_types::bytes::to_hex(&frame_system::Account::<x0_runtime::Runtime>::hashed_key_for(account(name)))
}

/// Submits a transaction and seals it into a block.
pub async fn submit(chain: &Chain, client: &WsClient, extrinsic: &str) -> Hash {
    ask(client, "author_submitExtrinsic", json!([extrinsic])).await;
    chain.seal().await
}
