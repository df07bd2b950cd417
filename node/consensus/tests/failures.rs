//! How the engine ends: a safety halt stays down, everything else may be restarted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test")]

mod common;

use bytes::Bytes;
use common::{genesis, key, peer, within};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use x0_consensus::{
    ConsensusError, EngineConfig, Failure, WalError,
    chain::{BlockFacts, Built, Chain, ChainError, ChainValidator, NodeChain, StoredBlock, Tip, Verdict},
    guard::GuardError,
    start_on,
};
use x0_executor::{Executor, Options};
use x0_mempool::{Config, Mempool};
use x0_network::memory::MemoryCarrier;
use x0_storage::{Database, OpenOptions};

/// The real chain until a switch makes it fail.
struct Failing {
    chain: NodeChain,
    commit: AtomicBool,
    build: AtomicBool,
}

#[async_trait::async_trait]
impl Chain for Failing {
    fn genesis(&self) -> [u8; 32] {
        self.chain.genesis()
    }
    fn tip(&self) -> Tip {
        self.chain.tip()
    }
    fn history_start(&self) -> u64 {
        self.chain.history_start()
    }
    async fn validators(&self, height: u64) -> Result<Vec<ChainValidator>, ChainError> {
        self.chain.validators(height).await
    }
    async fn build(&self, height: u64, proposer: [u8; 32], budget: Duration) -> Result<Option<Built>, ChainError> {
        if self.build.load(Ordering::SeqCst) {
            return Err(ChainError::Height(height));
        }
        self.chain.build(height, proposer, budget).await
    }
    async fn inspect(&self, encoded: Bytes) -> Result<BlockFacts, ChainError> {
        self.chain.inspect(encoded).await
    }
    async fn judge(&self, facts: BlockFacts, encoded: Bytes) -> Result<Verdict, ChainError> {
        self.chain.judge(facts, encoded).await
    }
    async fn commit(
        &self,
        height: u64,
        hash: [u8; 32],
        encoded: Option<Bytes>,
        certificate: Vec<u8>,
    ) -> Result<Tip, ChainError> {
        if self.commit.load(Ordering::SeqCst) {
            return Err(ChainError::DecidedInvalid { height, hash: hex::encode(hash), reason: "in this test".into() });
        }
        self.chain.commit(height, hash, encoded, certificate).await
    }
    async fn store(&self, height: u64, block: StoredBlock) -> Result<(), ChainError> {
        self.chain.store(height, block).await
    }
    async fn stored(&self, height: u64) -> Result<Vec<StoredBlock>, ChainError> {
        self.chain.stored(height).await
    }
    async fn forget(&self, up_to: u64) -> Result<(), ChainError> {
        self.chain.forget(up_to).await
    }
    async fn decided(&self, height: u64) -> Result<Option<(Bytes, Vec<u8>)>, ChainError> {
        self.chain.decided(height).await
    }
    fn has_work(&self) -> bool {
        self.chain.has_work()
    }
    async fn wait_for_work(&self) {
        self.chain.wait_for_work().await;
    }
}

fn chain(directory: &std::path::Path) -> Failing {
    let database = Database::open(&directory.join("chain"), OpenOptions::default()).unwrap();
    let executor = Executor::new(database.clone(), &genesis(1), Options::default()).unwrap();
    let mempool = Mempool::new(executor.clone(), Config { threads: Some(1), ..Config::default() }).unwrap();
    let chain = NodeChain::new(executor, mempool, database).unwrap();
    Failing { chain, commit: AtomicBool::new(false), build: AtomicBool::new(false) }
}

fn config(directory: &std::path::Path) -> EngineConfig {
    let mut config = EngineConfig::new(directory.join("consensus"), "failing".into());
    config.pacing.idle_ms = 50;
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decided_block_that_cannot_be_committed_halts_for_safety() {
    let directory = tempfile::tempdir().unwrap();
    let chain = Arc::new(chain(directory.path()));
    let carrier = Arc::new(MemoryCarrier::solo(peer(0)));
    let engine =
        start_on(config(directory.path()), key("validator-1", "consensus"), chain.clone(), carrier).await.unwrap();
    let mut tips = engine.tips();
    within("the first block", tips.wait_for(|tip| tip.height >= 1)).await.unwrap();
    chain.commit.store(true, Ordering::SeqCst);
    match within("the halt", engine.failed()).await {
        Failure::SafetyHalt(reason) => assert!(reason.contains("in this test"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let stood = chain.tip();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(chain.tip(), stood, "nothing goes on after a halt");
    within("stopping", engine.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_on_a_disk_that_is_gone_is_the_disks() {
    let directory = tempfile::tempdir().unwrap();
    let chain = Arc::new(chain(directory.path()));
    let carrier = Arc::new(MemoryCarrier::solo(peer(0)));
    let engine =
        start_on(config(directory.path()), key("validator-1", "consensus"), chain.clone(), carrier).await.unwrap();
    within("the first block", engine.tips().wait_for(|tip| tip.height >= 1)).await.unwrap();
    // Open files live on; whoever opens another one meets the fault.
    std::fs::rename(directory.path().join("consensus"), directory.path().join("elsewhere")).unwrap();
    chain.build.store(true, Ordering::SeqCst);
    match within("the failure", engine.failed()).await {
        Failure::Storage(reason) => {
            assert!(reason.contains("consensus") && reason.contains("cannot propose"), "{reason}")
        }
        other => panic!("{other:?}"),
    }
    within("stopping", engine.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_failure_may_be_restarted_and_the_guard_has_one_owner() {
    let directory = tempfile::tempdir().unwrap();
    let chain = Arc::new(chain(directory.path()));
    let carrier = Arc::new(MemoryCarrier::solo(peer(0)));
    let secret = || key("validator-1", "consensus");
    let engine = start_on(config(directory.path()), secret(), chain.clone(), carrier).await.unwrap();
    let second =
        start_on(config(directory.path()), secret(), chain.clone(), Arc::new(MemoryCarrier::solo(peer(0)))).await;
    assert!(matches!(second, Err(ConsensusError::Guard(GuardError::InUse(_)))), "{second:?}");
    chain.build.store(true, Ordering::SeqCst);
    assert!(matches!(within("the failure", engine.failed()).await, Failure::Restartable(_)));
    within("stopping", engine.stop()).await;

    chain.build.store(false, Ordering::SeqCst);
    let before = chain.tip().height;
    let carrier = Arc::new(MemoryCarrier::solo(peer(0)));
    let engine = start_on(config(directory.path()), secret(), chain, carrier).await.unwrap();
    within("blocks after the restart", engine.tips().wait_for(|tip| tip.height > before + 2)).await.unwrap();
    engine.stop().await;

    let foreign = start_on(
        config(directory.path()),
        key("validator-2", "consensus"),
        Arc::new(self::chain(&directory.path().join("other"))),
        Arc::new(MemoryCarrier::solo(peer(1))),
    )
    .await;
    assert!(matches!(foreign, Err(ConsensusError::Guard(GuardError::OtherKey(_)))), "{foreign:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_write_ahead_log_is_refused_by_name_and_starts_without_it() {
    let directory = tempfile::tempdir().unwrap();
    let chain = Arc::new(chain(directory.path()));
    let start = || {
        let carrier = Arc::new(MemoryCarrier::solo(peer(0)));
        start_on(config(directory.path()), key("validator-1", "consensus"), chain.clone(), carrier)
    };
    let engine = start().await.unwrap();
    within("the first block", engine.tips().wait_for(|tip| tip.height >= 1)).await.unwrap();
    engine.stop().await;
    let log = directory.path().join("consensus/wal/consensus.wal");
    std::fs::write(&log, [0; 64]).unwrap();
    let refused = start().await;
    assert!(matches!(&refused, Err(ConsensusError::Wal(WalError::Damaged(named))) if *named == log), "{refused:?}");
    std::fs::remove_file(&log).unwrap();
    let engine = start().await.unwrap();
    let before = chain.tip().height;
    within("blocks after the repair", engine.tips().wait_for(|tip| tip.height > before)).await.unwrap();
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_goes_away_ends_the_engine_and_one_that_is_back_signs_on() {
    use std::collections::BTreeSet;
    use x0_consensus::guard::{LocalKey, RemoteConfig, RemoteKey, serve};

    let directory = tempfile::tempdir().unwrap();
    let chain = Arc::new(chain(directory.path()));
    let (link, node_link) = (key("validator-1", "signer"), key("validator-1", "network"));
    let guard = directory.path().join("signer");
    let start_signer = async |address: std::net::SocketAddr| {
        let held = LocalKey::open(&guard, key("validator-1", "consensus"), chain.genesis()).unwrap();
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (link, allowed) = (link.clone(), BTreeSet::from([node_link.public().clone()]));
        let task = tokio::spawn(async move {
            serve(listener, Arc::new(held), &link, allowed, async { drop(stopped.await) }).await.unwrap();
        });
        (address, stop, task)
    };
    let start_node = async |address: std::net::SocketAddr| {
        let consensus = key("validator-1", "consensus").public().clone();
        let config = RemoteConfig {
            patience: Duration::from_millis(300),
            ..RemoteConfig::new(address.to_string(), link.public().clone(), consensus, chain.genesis())
        };
        let identity = node_link.clone();
        let remote = tokio::task::spawn_blocking(move || RemoteKey::connect(config, &identity)).await.unwrap().unwrap();
        let carrier = Arc::new(MemoryCarrier::solo(peer(0)));
        start_on(self::config(directory.path()), remote, chain.clone(), carrier).await.unwrap()
    };

    let (address, stop, task) = start_signer(([127, 0, 0, 1], 0).into()).await;
    let engine = start_node(address).await;
    within("blocks", engine.tips().wait_for(|tip| tip.height >= 3)).await.unwrap();
    stop.send(()).unwrap();
    task.await.unwrap();
    match within("the failure", engine.failed()).await {
        Failure::Restartable(reason) => assert!(reason.contains("cannot sign"), "{reason}"),
        other => panic!("{other:?}"),
    }
    within("stopping", engine.stop()).await;

    let before = chain.tip().height;
    let (address, stop, task) = start_signer(address).await;
    let engine = start_node(address).await;
    within("blocks after the return", engine.tips().wait_for(|tip| tip.height > before + 2)).await.unwrap();
    assert!(engine.stats().guard.signed > 0);
    engine.stop().await;
    stop.send(()).unwrap();
    task.await.unwrap();
}
