//! Puts the engine together, watches it, and takes it apart.
//!
//! The engine's actors are spawned one by one with our own host and network in their places (the
//! engine's builder only offers a host that handles one message at a time). They run on a small runtime of their own,
//! so that load on other parts of the node does not delay votes.

use crate::{
    book::Book,
    chain::{Chain, ChainError, NodeChain, Tip},
    config::{EngineConfig, ValidatorKey},
    context::{Address, ChainContext},
    evidence::EvidenceBox,
    fate::{Failure, Fate, supervise},
    host::{Host, Shared},
    net::{Fabric, Network, Outbox, Surroundings},
    pacing::Pacer,
    signer::{CachingVerifier, ConsensusSigner, EngineSigner, LogFlush},
    stats::{EngineStats, Ledger},
    wal::WalError,
    wire::ChainCodec,
};
use malachite_app::{
    metrics::{Metrics, SharedRegistry},
    spawn::{spawn_consensus_actor, spawn_node_actor, spawn_sync_actor, spawn_wal_actor},
};
use malachite_config::{ConsensusConfig, ValuePayload, ValueSyncConfig};
use malachite_engine::{
    node::NodeRef,
    util::{
        events::TxEvent,
        output_port::{OutputPort, OutputPortSubscriberTrait},
    },
    wal::{Msg as WalMsg, WalRef},
};
use parking_lot::Mutex;
use ractor::Actor;
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{
    runtime::Runtime,
    sync::{Semaphore, mpsc, watch},
};
use x0_executor::Executor;
use x0_mempool::Mempool;
use x0_network::{Carrier, CarrierEvent, PeerKey};
use x0_sign_guard::{ConsensusKey, GuardError, LocalKey};
use x0_storage::Database;
use x0_types::evidence::Evidence;

/// Threads of the engine's runtime.
const THREADS: usize = 2;
/// Messages from consensus to synchronisation that may wait; the engine's own builder gives ten, and a message
/// that does not fit is lost.
const SYNC_PORT_MESSAGES: usize = 4_096;
/// Messages of one future height that the engine queues: several rounds of the largest set.
const QUEUE_PER_HEIGHT: usize = 2_000;
/// How long a stop waits for the engine's tasks.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Why the engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum ConsensusError {
    /// The guard of the consensus key does not open.
    #[error("last-signed guard: {0}")]
    Guard(#[from] GuardError),
    /// The chain cannot be read.
    #[error("chain: {0}")]
    Chain(#[from] ChainError),
    /// The carrier's events were taken by somebody else.
    #[error("the carrier is in use already")]
    CarrierInUse,
    /// The engine's write-ahead log cannot be used.
    #[error("write-ahead log: {0}")]
    Wal(#[from] WalError),
    /// An actor of the engine does not start.
    #[error("consensus engine: {0}")]
    Engine(String),
    /// The directory of evidence cannot be read.
    #[error("evidence: {0}")]
    Evidence(std::io::Error),
    /// The system gives no threads.
    #[error("no threads for the consensus engine: {0}")]
    Threads(std::io::Error),
}

/// What the engine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineStatus {
    /// The last committed block.
    pub tip: Tip,
    /// Height at which the engine works.
    pub height: u64,
    /// Its round.
    pub round: u32,
    /// Peers with a standing link.
    pub peers: usize,
    /// Whether this node's key is in the set of the next height.
    pub validator: bool,
    /// This node's address in the set.
    pub address: Address,
    /// Frames of peers that were refused since the start.
    pub refused_frames: u64,
}

/// A running engine. Dropping it ends the engine without waiting.
pub struct EngineHandle {
    runtime: Option<Runtime>,
    node: NodeRef,
    shared: Arc<Shared>,
    fabric: Arc<Fabric>,
    failure: watch::Receiver<Option<Failure>>,
    stopping: watch::Sender<bool>,
}

impl core::fmt::Debug for EngineHandle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("EngineHandle").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl EngineHandle {
    /// Ends when the engine has failed. Never ends for an engine that is stopped in good order.
    pub fn failed(&self) -> impl Future<Output = Failure> + Send + 'static {
        let mut failure = self.failure.clone();
        async move {
            let seen = failure.wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone());
            match seen {
                Some(failure) => failure,
                // The watcher ends without a word only when the engine was stopped.
                None => std::future::pending().await,
            }
        }
    }

    /// What the engine is doing.
    #[must_use]
    pub fn status(&self) -> EngineStatus {
        let tip = *self.shared.tip.borrow();
        let (height, round) = *self.shared.round.borrow();
        let address = self.shared.signer.address();
        EngineStatus {
            tip,
            height,
            round,
            peers: *self.fabric.peers.borrow(),
            validator: self.shared.book.set(tip.height.saturating_add(1)).is_some_and(|set| set.contains(&address)),
            address,
            refused_frames: self.shared.ledger.refused_frames(),
        }
    }

    /// What the engine has counted since its start.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        let status = self.status();
        let benched = self.shared.book.set(status.tip.height.saturating_add(1)).map_or(0, |set| set.benched());
        let mut stats = EngineStats {
            tip: status.tip.height,
            height: status.height,
            round: status.round,
            peers: count(status.peers),
            validator: status.validator,
            benched: count(benched),
            decided: 0,
            rounds: [0; 7],
            rounds_sum: 0,
            missed_proposals: 0,
            refused_frames: 0,
            useless_frames: 0,
            sync_requests: 0,
            sync_answers: 0,
            stuck_tips: 0,
            evidence_found: self.shared.evidence.found(),
            evidence_waiting: count(self.shared.evidence.waiting()),
            guard: self.shared.signer.stats(),
            validators: Vec::new(),
        };
        self.shared.ledger.fill(&mut stats);
        stats
    }

    /// Proofs that validators contradicted themselves: those of earlier runs that were not acknowledged, and every one that is
    /// found from now on. Each listener gets all of them; a proof comes once for each listener.
    #[must_use]
    pub fn evidence(&self) -> mpsc::Receiver<Evidence> {
        self.shared.evidence.listen()
    }

    /// Forgets a proof that is on chain, or that the chain does not take any more. Until then it comes again after
    /// each restart.
    ///
    /// # Errors
    /// When the disk refuses to forget.
    pub async fn acknowledge(&self, evidence: Evidence) -> std::io::Result<()> {
        let kept = Arc::clone(&self.shared.evidence);
        tokio::task::spawn_blocking(move || kept.acknowledge(&evidence)).await.map_err(std::io::Error::other)?
    }

    /// Follows the last committed block.
    #[must_use]
    pub fn tips(&self) -> watch::Receiver<Tip> {
        self.shared.tip.subscribe()
    }

    /// Stops the engine: no more votes, the commit under way ends, the key's guard is free again.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        self.node.get_cell().stop_children(Some("shutdown".into()));
        self.node.stop(Some("shutdown".into()));
        let Some(runtime) = self.runtime.take() else { return };
        // Waiting for the runtime's tasks blocks, and must not happen on an async thread.
        if tokio::task::spawn_blocking(move || runtime.shutdown_timeout(STOP_PATIENCE)).await.is_err() {
            tracing::error!("the engine's runtime did not shut down in good order");
        }
    }
}

impl Drop for EngineHandle {
    fn drop(&mut self) {
        self.stopping.send_replace(true);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Starts the engine of a validator on the real chain.
///
/// `key` is the consensus key (see [`ValidatorKey`]), which from here on only its guard uses. The engine follows the chain
/// without voting as long as the key is in no validator set.
///
/// # Errors
/// Each variant of [`ConsensusError`].
pub async fn start(
    config: EngineConfig,
    key: impl Into<ValidatorKey>,
    executor: Executor,
    mempool: Mempool,
    database: Database,
    carrier: impl Carrier,
) -> Result<EngineHandle, ConsensusError> {
    let key = key.into();
    let chain = tokio::task::spawn_blocking(move || NodeChain::new(executor, mempool, database))
        .await
        .map_err(|error| ConsensusError::Engine(error.to_string()))??;
    start_on(config, key, Arc::new(chain), Arc::new(carrier)).await
}

/// Starts the engine on any [`Chain`].
///
/// # Errors
/// Each variant of [`ConsensusError`].
pub async fn start_on(
    config: EngineConfig,
    key: impl Into<ValidatorKey>,
    chain: Arc<dyn Chain>,
    carrier: Arc<dyn Carrier>,
) -> Result<EngineHandle, ConsensusError> {
    let events = carrier.take_events().ok_or(ConsensusError::CarrierInUse)?;
    let key: Arc<dyn ConsensusKey> = match key.into() {
        ValidatorKey::Guarded(key) => key,
        ValidatorKey::Own(key) => {
            let (guard, genesis) = (config.data_dir.join("guard"), chain.genesis());
            let opened = tokio::task::spawn_blocking(move || LocalKey::open(&guard, key, genesis)).await;
            Arc::new(opened.map_err(|error| ConsensusError::Engine(error.to_string()))??)
        }
    };
    let signer = ConsensusSigner::new(key);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("x0-consensus")
        .enable_all()
        .build()
        .map_err(ConsensusError::Threads)?;
    let stopping = watch::Sender::new(false);
    let assembled = runtime.spawn(assemble(config, signer, chain, carrier, events, stopping.subscribe())).await;
    match assembled.map_err(|error| ConsensusError::Engine(error.to_string())).and_then(|parts| parts) {
        Ok(Parts { node, shared, fabric, failure }) => {
            Ok(EngineHandle { runtime: Some(runtime), node, shared, fabric, failure, stopping })
        }
        Err(error) => {
            runtime.shutdown_background();
            Err(error)
        }
    }
}

struct Parts {
    node: NodeRef,
    shared: Arc<Shared>,
    fabric: Arc<Fabric>,
    failure: watch::Receiver<Option<Failure>>,
}

fn engine_error(error: impl core::fmt::Display) -> ConsensusError {
    ConsensusError::Engine(error.to_string())
}

async fn assemble(
    config: EngineConfig,
    signer: ConsensusSigner,
    chain: Arc<dyn Chain>,
    carrier: Arc<dyn Carrier>,
    events: mpsc::Receiver<CarrierEvent>,
    stopping: watch::Receiver<bool>,
) -> Result<Parts, ConsensusError> {
    let home = config.data_dir.clone();
    let wal_path = home.join("wal").join("consensus.wal");
    check_wal(&wal_path, chain.tip().height.saturating_add(1), &signer).await?;
    let registry = SharedRegistry::global().with_moniker(config.moniker.clone());
    let metrics = Metrics::register(&registry);
    let verifier = CachingVerifier::new(chain.genesis());
    let book = Arc::new(Book::default());
    let pacer = Arc::new(Pacer::new(config.pacing));
    let height = {
        let chain = Arc::clone(&chain);
        Box::new(move || chain.tip().height)
    };
    let directory = config.data_dir.join("evidence");
    let evidence = tokio::task::spawn_blocking(move || EvidenceBox::open(directory))
        .await
        .map_err(engine_error)?
        .map_err(ConsensusError::Evidence)?;
    let (evidence, ledger) = (Arc::new(evidence), Arc::new(Ledger::default()));
    let around = Surroundings {
        book: Arc::clone(&book),
        verifier: verifier.clone(),
        pacer: Arc::clone(&pacer),
        evidence: Arc::clone(&evidence),
        ledger: Arc::clone(&ledger),
        height,
    };
    let fabric = Fabric::new(Arc::clone(&carrier), around);
    let (node, ended) = spawn_node_actor(metrics.clone()).await.map_err(engine_error)?;
    let (network, _) = Actor::spawn(None, Network, Arc::clone(&fabric)).await.map_err(engine_error)?;
    network.link(node.get_cell());
    let wal =
        spawn_wal_actor(&ChainContext, ChainCodec, &wal_path, &registry, node.clone()).await.map_err(engine_error)?;
    wal.link(node.get_cell());

    let tip = chain.tip();
    let fate = Fate::new(node.clone());
    let shared = Arc::new(Shared {
        chain,
        signer: signer.clone(),
        book,
        pacer,
        network: network.clone(),
        outbox: Outbox(carrier),
        fabric: Arc::clone(&fabric),
        evidence,
        ledger,
        tip: watch::Sender::new(tip),
        round: watch::Sender::new((tip.height.saturating_add(1), 0)),
        fate: fate.clone(),
        assembler: Mutex::default(),
        candidates: Mutex::default(),
        judging: Arc::new(Semaphore::new(x0_limits::JUDGING_BLOCKS_MAX)),
        early: Arc::new(Semaphore::new(x0_limits::EARLY_BLOCKS_MAX)),
        config,
    });
    shared.recover().await?;
    let (host, _) = Actor::spawn(None, Host, Arc::clone(&shared)).await.map_err(engine_error)?;
    host.link(node.get_cell());

    let sync_port = Arc::new(OutputPort::with_capacity(SYNC_PORT_MESSAGES));
    let engine_events = TxEvent::new();
    tokio::spawn(crate::fate::watch_log(engine_events.subscribe(), fate.clone()));
    let consensus = spawn_consensus_actor(
        ChainContext,
        signer.address(),
        consensus_config(),
        Box::new(verifier),
        Some(Box::new(EngineSigner::new(signer, fate.clone(), log_flush(wal.clone())))),
        network.clone(),
        host.clone(),
        wal,
        Arc::clone(&sync_port),
        metrics.clone(),
        engine_events,
        node.clone(),
    )
    .await
    .map_err(engine_error)?;
    consensus.link(node.get_cell());
    let sync =
        spawn_sync_actor(ChainContext, network, host, consensus, ChainCodec, &sync_config(&shared.config)?, &registry)
            .await
            .map_err(engine_error)?;
    if let Some(sync) = sync {
        sync.link(node.get_cell());
        sync.subscribe_to_port(&sync_port);
    }
    let (report, failure) = watch::channel(None);
    let watched = (Arc::clone(&shared), Arc::clone(&fabric), fate.clone(), stopping.clone());
    tokio::spawn(crate::watchdog::watch(watched.0, watched.1, watched.2, watched.3));
    tokio::spawn(supervise(ended, metrics, fate, stopping, report, home, sync_port));
    // Only now: the first event starts consensus.
    tokio::spawn(Arc::clone(&fabric).pump(events));
    Ok(Parts { node, shared, fabric, failure })
}

/// Lets the signer wait for the engine's log.
fn log_flush(wal: WalRef<ChainContext>) -> LogFlush {
    Box::new(move || {
        let wal = wal.clone();
        Box::pin(async move {
            match ractor::call!(wal, WalMsg::Flush) {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(error) => Err(error.to_string()),
            }
        })
    })
}

async fn check_wal(path: &Path, height: u64, signer: &ConsensusSigner) -> Result<(), ConsensusError> {
    let (path, own, said) = (path.to_owned(), signer.address().0, signer.places(height));
    let checked = tokio::task::spawn_blocking(move || crate::wal::check(&path, height, &own, &said)).await;
    Ok(checked.map_err(engine_error)??)
}

fn consensus_config() -> ConsensusConfig {
    ConsensusConfig {
        enabled: true,
        value_payload: ValuePayload::ProposalAndParts,
        queue_per_height_capacity: QUEUE_PER_HEIGHT,
        ..ConsensusConfig::default()
    }
}

fn sync_config(config: &EngineConfig) -> Result<ValueSyncConfig, ConsensusError> {
    Ok(ValueSyncConfig {
        enabled: true,
        status_update_interval: Duration::from_millis(config.status_ms),
        request_timeout: Duration::from_millis(config.sync_request_ms),
        max_response_size: format!("{} B", x0_limits::SYNC_RESPONSE_BYTES_MAX)
            .parse()
            .map_err(ConsensusError::Engine)?,
        batch_size: x0_limits::SYNC_BATCH_BLOCKS_MAX,
        ..ValueSyncConfig::default()
    })
}

/// The carrier's name of a node with this network key.
#[must_use]
pub fn peer_of(network_key: &x0_crypto::PublicKey) -> PeerKey {
    PeerKey::of(network_key)
}

#[cfg(test)]
pub(crate) fn test_metrics() -> Metrics {
    Metrics::register(&SharedRegistry::global().with_moniker("test"))
}
