//! Validators in one process: real executors, mempools and databases, and a network under the test's control.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "each test file uses its own part of these helpers"
)]

use bytes::Bytes;
use codec::Encode;
use sp_runtime::{MultiAddress, generic::Era};
use std::{
    future::Future,
    path::Path,
    time::{Duration, Instant},
};
use x0_consensus::{CertificateValidator, EngineConfig, EngineHandle, LinearTimeouts, Pacing, verify_certificate};
use x0_crypto::{SigningKey, dev};
use x0_executor::{Executor, Options};
use x0_mempool::{Config, Mempool};
use x0_network::{PeerKey, memory::Hub};
use x0_runtime::{ChainSignature, RuntimeCall, SignedPayload, TxExtension, UncheckedExtrinsic, VERSION, presets};
use x0_storage::{Database, FatalHandler, OpenOptions, StorageError};
use x0_types::{AccountId, Hash, MlDsa65PublicKey, MlDsa65Signature};

/// How long any condition of a test may take to come true on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub fn key(name: &str, role: &str) -> SigningKey {
    SigningKey::from_seed(&dev::seed(name, role)).unwrap()
}

pub fn validator_name(index: usize) -> String {
    format!("validator-{}", index + 1)
}

pub fn peer(index: usize) -> PeerKey {
    PeerKey::of(key(&validator_name(index), "network").public())
}

pub fn genesis(validators: usize) -> serde_json::Value {
    let set: Vec<_> = (0..validators).map(|index| presets::dev_validator(&validator_name(index)).unwrap()).collect();
    presets::complete([
        presets::preset("dev").unwrap().unwrap(),
        presets::validators_patch(&set),
        presets::time_patch(1_700_000_000_000, 1_000),
    ])
    .unwrap()
}

/// A validator with its directory. Stopping keeps the directory.
pub struct Node {
    pub index: usize,
    pub validators: usize,
    pub dir: tempfile::TempDir,
    pub pacing: Pacing,
    pub hub: Hub,
    pub up: Option<Up>,
}

/// What runs while a validator is up.
pub struct Up {
    pub executor: Executor,
    pub mempool: Mempool,
    pub database: Database,
    pub engine: EngineHandle,
}

async fn open(path: &Path) -> Database {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let options = OpenOptions {
            fatal: FatalHandler::new(|error| panic!("storage: {error}")),
            block_cache_bytes: 4 << 20,
            write_buffers_bytes: 8 << 20,
            ..OpenOptions::default()
        };
        match Database::open(path, options) {
            Ok(database) => return database,
            // The execution thread of a node that was just stopped lets go of the directory in its own time.
            Err(StorageError::AlreadyRunning { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

impl Node {
    pub async fn new(index: usize, validators: usize, pacing: Pacing, hub: &Hub) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut node = Self { index, validators, dir, pacing, hub: hub.clone(), up: None };
        node.start().await;
        node
    }

    pub async fn start(&mut self) {
        let carrier = self.hub.join(peer(self.index));
        self.start_on(async |_| carrier).await;
    }

    /// Starts on a carrier that is made once the hash of the first block is known.
    pub async fn start_on<C: x0_network::Carrier>(&mut self, carrier: impl AsyncFnOnce([u8; 32]) -> C) {
        let database = open(&self.dir.path().join("chain")).await;
        let executor = Executor::new(database.clone(), &genesis(self.validators), Options::default()).unwrap();
        let mempool = Mempool::new(executor.clone(), Config { threads: Some(1), ..Config::default() }).unwrap();
        let name = validator_name(self.index);
        let mut config = EngineConfig::new(self.dir.path().join("consensus"), name.clone());
        config.pacing = self.pacing;
        config.timeouts = LinearTimeouts { propose: Duration::from_secs(3), ..config.timeouts };
        let engine = x0_consensus::start(
            config,
            key(&name, "consensus"),
            executor.clone(),
            mempool.clone(),
            database.clone(),
            carrier(executor.genesis_hash().0).await,
        )
        .await
        .unwrap();
        self.up = Some(Up { executor, mempool, database, engine });
    }

    pub async fn stop(&mut self) {
        let Up { engine, .. } = self.up.take().unwrap();
        engine.stop().await;
    }

    pub fn up(&self) -> &Up {
        self.up.as_ref().unwrap()
    }

    pub fn height(&self) -> u64 {
        u64::from(self.up().executor.head().number)
    }

    pub fn hash_of(&self, height: u64) -> Hash {
        self.up().database.hash_of(u32::try_from(height).unwrap()).unwrap()
    }

    /// The account that answers for this validator.
    pub fn controller(&self) -> [u8; 32] {
        presets::dev_account(&validator_name(self.index)).unwrap().into()
    }

    /// Waits until this node has committed the height.
    pub async fn until_height(&self, height: u64) {
        let mut tips = self.up().engine.tips();
        let reached = tokio::time::timeout(PATIENCE, tips.wait_for(|tip| tip.height >= height)).await;
        assert!(
            reached.is_ok(),
            "validator {} stands at {:?}, not {height}",
            self.index + 1,
            self.up().engine.status()
        );
    }

    /// Submits transfers from an account to another and gives their hashes.
    pub async fn submit(&self, from: &str, first_nonce: u32, count: u32) -> Vec<Hash> {
        let genesis = self.up().executor.genesis_hash();
        let mut hashes = Vec::new();
        for nonce in first_nonce..first_nonce + count {
            hashes.push(self.up().mempool.submit(transfer(genesis, from, "dave", nonce)).await.unwrap());
        }
        hashes
    }

    /// The account's nonce in the head's state.
    pub fn nonce_of(&self, account: &str) -> u32 {
        let executor = &self.up().executor;
        let account = presets::dev_account(account).unwrap();
        executor.with_state(executor.head().hash, || x0_runtime::System::account_nonce(&account)).unwrap()
    }

    /// Waits until every one of these transactions is in a block of this node.
    pub async fn until_final(&self, transactions: &[Hash]) {
        let database = &self.up().database;
        let mut tips = self.up().engine.tips();
        let all = async {
            while !transactions.iter().all(|hash| database.extrinsic_location(hash).is_some()) {
                tips.changed().await.unwrap();
            }
        };
        let done = tokio::time::timeout(PATIENCE, all).await;
        assert!(done.is_ok(), "validator {}: {:?}", self.index + 1, self.up().engine.status());
    }

    /// The validators as a light client would know them.
    pub fn certificate_set(&self) -> Vec<CertificateValidator> {
        let mut set: Vec<_> = (0..self.validators)
            .map(|index| CertificateValidator {
                public: key(&validator_name(index), "consensus").public().clone(),
                power: 1,
            })
            .collect();
        set.reverse();
        set
    }

    /// Checks the certificates of all blocks of this node.
    pub fn check_certificates(&self) {
        let (database, set) = (&self.up().database, self.certificate_set());
        let genesis = self.up().executor.genesis_hash().0;
        for number in 1..=u32::try_from(self.height()).unwrap() {
            let bytes = database.certificate(number).unwrap();
            let hash = database.hash_of(number).unwrap().0;
            let certificate = verify_certificate(&bytes, &set, &hash, &genesis).unwrap();
            assert_eq!(certificate.height, u64::from(number));
            assert_eq!(certificate.entries.len(), 2 * self.validators / 3 + 1, "trimmed to a quorum");
        }
    }
}

/// Validators on one hub.
pub async fn cluster(validators: usize, pacing: Pacing) -> (Hub, Vec<Node>) {
    // Shown with a failure only. A second test of the same process finds it set already.
    let filter = "x0_consensus=debug,arc_malachitebft=warn,warn";
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    let hub = Hub::new(1);
    let mut nodes = Vec::new();
    for index in 0..validators {
        nodes.push(Node::new(index, validators, pacing, &hub).await);
    }
    (hub, nodes)
}

/// All nodes hold the same block at every height that all of them have.
pub fn assert_same_chain(nodes: &[Node]) {
    let common = nodes.iter().map(Node::height).min().unwrap();
    for height in 0..=common {
        for node in &nodes[1..] {
            assert_eq!(
                node.hash_of(height),
                nodes[0].hash_of(height),
                "height {height} of validator {}",
                node.index + 1
            );
        }
    }
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} took too long"))
}

pub async fn stop_all(nodes: &mut [Node]) {
    for node in nodes {
        if node.up.is_some() {
            node.stop().await;
        }
    }
}

fn extension(nonce: u32) -> TxExtension {
    (
        frame_system::CheckNonZeroSender::new(),
        frame_system::CheckSpecVersion::new(),
        frame_system::CheckTxVersion::new(),
        frame_system::CheckGenesis::new(),
        frame_system::CheckMortality::from(Era::Immortal),
        frame_system::CheckNonce::from(nonce),
        frame_system::CheckWeight::new(),
        pallet_transaction_payment::ChargeTransactionPayment::from(0),
        frame_system::WeightReclaim::new(),
    )
}

/// A signed transfer of 1 X0T.
pub fn transfer(genesis: Hash, from: &str, to: &str, nonce: u32) -> Bytes {
    let signer = key(from, "account");
    let public = MlDsa65PublicKey(signer.public().clone().to_boxed());
    let dest: AccountId = presets::dev_account(to).unwrap();
    let call: RuntimeCall =
        pallet_balances::Call::transfer_keep_alive { dest: MultiAddress::Id(dest), value: x0_types::account::UNIT }
            .into();
    let implicit = ((), VERSION.spec_version, VERSION.transaction_version, genesis, genesis, (), (), (), ());
    let payload = SignedPayload::from_raw(call.clone(), extension(nonce), implicit).encode();
    let signature = MlDsa65Signature(signer.sign_transaction(&payload).unwrap().to_boxed());
    let address = MultiAddress::Id(public.account_id());
    let signature = ChainSignature::MlDsa65 { public, signature };
    Bytes::from(UncheckedExtrinsic::new_signed(call, address, signature, extension(nonce)).encode())
}
