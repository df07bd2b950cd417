//! The node's parts: how each starts from the settings, fails by name, and stops.

use crate::{
    catchup::{self, blocking},
    checkpoint,
    config::Config,
    control::Control,
    doors::Doors,
    exit::{Exit, Failure},
    failures::{consensus_failure, engine_failure, fatal_handler, storage_failure},
    ground::{Ground, neighbourly},
    keys::NodeKeys,
    links::Links,
    listeners::listeners,
    observe::{EngineSlot, NeighbourlySlot, Observer, Progress},
    signing::{self, Follower},
    standing::{Phase, Standing},
};
use serde_json::json;
use std::{
    collections::BTreeSet,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::task::JoinHandle;
use x0_chain_spec::{ChainSpec, ChainType};
use x0_consensus::{EngineConfig, Pacing};
use x0_crypto::SigningKey;
use x0_executor::Executor;
use x0_light::Checkpoint;
use x0_mempool::Mempool;
use x0_network::PeerKey;
use x0_offchain::{EndpointPolicy, NodeChain, ProbeConfig, ProbeHandle, ProbeWorker, SystemClock, accuse};
use x0_rpc::{ListenerConfig, LogControl, Node, NodeInfo, Transport};
use x0_runtime::{Runtime, network::ActiveSpec, version::SUPPORTED_SPECS};
use x0_sign_guard::ConsensusKey;
use x0_storage::{Database, History, OpenOptions};
use x0_types::Hash;

/// The running parts, in the order in which they were started.
pub struct Parts {
    database: Database,
    executor: Executor,
    links: Links,
    neighbourly: NeighbourlySlot,
    engine: EngineSlot,
    accuser: Option<JoinHandle<()>>,
    probes: Option<ProbeHandle>,
    doors: Doors,
    control: Control,
    checkpoint: Option<Checkpoint>,
}

/// How often the measuring worker is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// What a node is to be.
pub struct Plan {
    /// The settings.
    pub config: Config,
    /// The chain.
    pub spec: ChainSpec,
    /// The runtime's genesis configuration.
    pub genesis: serde_json::Value,
    /// The hash of the first block.
    pub genesis_hash: Hash,
    /// The data directory.
    pub base: PathBuf,
    /// The keys.
    pub keys: NodeKeys,
}

impl Plan {
    /// The directory of the chain.
    pub fn chain_directory(&self) -> PathBuf {
        self.base.join("chain")
    }

    /// How the database is opened.
    pub fn open_options(&self) -> OpenOptions {
        let storage = &self.config.file.storage;
        OpenOptions {
            states_kept: storage.states_kept,
            history: storage.history_blocks.map_or(History::Archive, History::Blocks),
            fatal: fatal_handler(),
            ..OpenOptions::default()
        }
    }

    /// Peers that the settings admit whatever the chain says.
    pub fn fixed_peers(&self) -> BTreeSet<PeerKey> {
        self.config.file.network.admitted.iter().map(|key| PeerKey(key.0)).collect()
    }

    /// Time without a block after which something is wrong.
    fn patience(&self) -> Duration {
        let idle_ms = self.config.file.consensus.idle_ms.unwrap_or(self.spec.consensus.idle_ms);
        Duration::from_millis(idle_ms.saturating_add(self.config.file.metrics.stall_ms))
    }
}

impl Parts {
    /// Starts all parts, and prints the READY line.
    ///
    /// # Errors
    /// Which part does not start, and why. What was started is stopped.
    pub async fn start(plan: &Plan, log: LogControl) -> Result<Self, Failure> {
        let listeners = listeners(&plan.config, &plan.keys.network, plan.genesis_hash)?;
        let lacking = catchup::lacks_chain(plan).await?;
        // A second node on the directory meets the database's lock before it meets its own ports.
        let ground = if lacking { None } else { Some(Ground::of(plan).await?) };
        let standing =
            Arc::new(Standing::new(&plan.config.file.network, if lacking { Phase::Restoring } else { Phase::Running }));
        let mut doors = Doors::open(plan, &listeners, &standing).await?;
        let ground = match ground {
            Some(ground) => ground,
            None => {
                doors.serve_starting(plan, &standing)?;
                catchup::restore(plan, &standing).await?;
                Ground::of(plan).await?
            }
        };
        if let Some(named) = plan.config.checkpoint {
            let (database, genesis) = (ground.database.clone(), plan.genesis_hash);
            blocking(move || checkpoint::check(&database, genesis, &named).map(|_| ())).await?;
        }
        let control = Control::open(&plan.base, &ground.database)?;
        let key = open_key(plan).await?;
        standing.enter(phase(&key, &ground));
        let (engine, neighbourly) = (EngineSlot::default(), NeighbourlySlot::default());
        let observer = Observer {
            chain: plan.spec.id.clone(),
            base: plan.base.clone(),
            database: ground.database.clone(),
            executor: ground.executor.clone(),
            mempool: ground.mempool.clone(),
            engine: Arc::clone(&engine),
            key: Arc::clone(&key),
            standing: Arc::clone(&standing),
            neighbourly: Arc::clone(&neighbourly),
            rpc: doors.rpc_stats(),
            progress: Progress::follow(&ground.executor),
            patience: plan.patience(),
        };
        doors.serve(&node(plan, &ground, &standing, log), observer).await?;
        if let Phase::Following { until } = standing.phase() {
            catchup::follow(plan, &ground, until, &standing, &engine).await?;
            standing.enter(Phase::Running);
        }
        let links = Links::of_ground(plan, &ground).await?;
        standing.link(Some(links.clone()));
        let started = x0_consensus::start(
            engine_config(&plan.config, &plan.spec, &plan.base),
            key,
            ground.executor.clone(),
            ground.mempool.clone(),
            ground.database.clone(),
            links.consensus(),
        )
        .await
        .map_err(|cause| consensus_failure(&cause))?;
        *engine.lock() = Some(Arc::new(started));
        let mut parts = Self {
            database: ground.database.clone(),
            executor: ground.executor.clone(),
            engine,
            accuser: None,
            probes: probes(plan, &ground.executor, &ground.mempool),
            links,
            neighbourly,
            doors,
            control,
            checkpoint: plan.config.checkpoint,
        };
        parts.accuser = parts.accuse(plan, &ground);
        if let Err(failure) = parts.join(plan, &ground).await {
            if let Err(second) = parts.stop().await {
                tracing::error!(target: "x0::node", reason = second.reason, "and the parts did not stop in good order");
            }
            return Err(failure);
        }
        parts.announce(&listeners, &ground.executor, &plan.keys.network);
        Ok(parts)
    }

    /// Starts to report contradictions of validators, on a node that has a reporter key.
    fn accuse(&self, plan: &Plan, ground: &Ground) -> Option<JoinHandle<()>> {
        let reporter = plan.keys.reporter.clone()?;
        let engine = self.engine.lock().clone()?;
        let chain = NodeChain::new(ground.executor.clone(), ground.mempool.clone(), reporter);
        let proofs = engine.evidence();
        Some(tokio::spawn(accuse(chain, proofs, move |evidence| {
            let engine = Arc::clone(&engine);
            async move { engine.acknowledge(evidence).await }
        })))
    }

    /// Starts what serves the other nodes.
    async fn join(&self, plan: &Plan, ground: &Ground) -> Result<(), Failure> {
        if let Some(p2p) = self.links.p2p() {
            *self.neighbourly.lock() = Some(Arc::new(neighbourly(plan, ground, p2p).await?));
        }
        Ok(())
    }

    /// Waits until a part fails.
    pub async fn failed(&mut self) -> Failure {
        let engine = self.engine.lock().as_ref().map(|engine| engine.failed());
        let engine = async move {
            match engine {
                Some(failed) => failed.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            failure = engine => engine_failure(failure, self.database.path()),
            failure = self.doors.failed() => failure,
            failure = checkpoint::strayed(self.executor.clone(), self.database.clone(), self.checkpoint) => {
                Failure::new(Exit::SafetyHalt, failure.reason)
            }
            failure = outgrown(self.executor.clone()) => failure,
            () = ended(self.probes.as_ref()) => Failure::new(Exit::Restartable, "the measuring worker ended"),
        }
    }

    /// Stops the parts in the reverse order of their start and flushes the database.
    ///
    /// # Errors
    /// When the database cannot flush.
    pub async fn stop(self) -> Result<(), Failure> {
        drop(self.control);
        self.doors.close().await;
        if let Some(probes) = self.probes {
            probes.stop().await;
        }
        if let Some(accuser) = self.accuser {
            accuser.abort();
            // Ended by us, or by itself: either way it holds the engine no more.
            let _ = accuser.await;
        }
        let engine = self.engine.lock().take();
        match engine.map(Arc::try_unwrap) {
            Some(Ok(engine)) => engine.stop().await,
            Some(Err(_)) => {
                tracing::error!(target: "x0::node", "a part still holds the engine: it is left to end by itself")
            }
            None => {}
        }
        self.links.stop().await;
        // The thread that makes snapshots ends with its work at hand.
        let neighbourly = self.neighbourly.lock().take();
        blocking(move || {
            drop(neighbourly);
            Ok(())
        })
        .await?;
        let database = self.database;
        tokio::task::spawn_blocking(move || database.flush())
            .await
            .map_err(|cause| Failure::new(Exit::Storage, format!("flushing ended early: {cause}")))?
            .map_err(|cause| storage_failure(&cause))
    }

    /// Gives a line about the state, for the supervisor; nothing while the engine stops.
    pub fn summarizer(&self) -> impl Fn() -> Option<String> + Send + Sync + 'static {
        let (engine, links) = (Arc::clone(&self.engine), self.links.clone());
        move || {
            let status = engine.lock().as_ref().map(|engine| engine.status())?;
            Some(format!("height {}, round {}, {} peers", status.tip.height, status.round, links.peers().len()))
        }
    }

    /// Prints the READY line for scripts and logs the same for people.
    fn announce(&self, listeners: &[ListenerConfig], executor: &Executor, network: &SigningKey) {
        let addresses = self.doors.addresses();
        let address = |wanted: fn(&Transport) -> bool| {
            let place = listeners.iter().position(|listener| wanted(&listener.transport))?;
            addresses.get(place).copied()
        };
        let plain = address(|transport| matches!(transport, Transport::Plain)).map(|address| format!("ws://{address}"));
        let native =
            address(|transport| matches!(transport, Transport::Native(_))).map(|address| format!("x0s://{address}"));
        let web = address(|transport| matches!(transport, Transport::Web(_))).map(|address| format!("wss://{address}"));
        let head = executor.head();
        let ready = json!({
            "rpc": plain,
            "native": native,
            "web": web,
            "p2p": self.links.listening().first(),
            "metrics": self.doors.metrics().map(|address| format!("http://{address}")),
            "networkKey": format!("0x{}", hex::encode(network.public().fingerprint())),
            "genesis": executor.genesis_hash(),
            "head": head.number,
            "pid": std::process::id(),
        });
        tracing::info!(target: "x0::node", genesis = ?executor.genesis_hash(), head = head.number, rpc = ?plain, "ready");
        let mut out = std::io::stdout().lock();
        if let Err(cause) = writeln!(out, "READY {ready}").and_then(|()| out.flush()) {
            // Nobody reads; the node runs all the same.
            tracing::warn!(target: "x0::node", %cause, "the READY line could not be written");
        }
    }
}

/// Whether the node may take part, or has to follow first until the chain is where its key has been.
fn phase(key: &Arc<dyn ConsensusKey>, ground: &Ground) -> Phase {
    let Some(last) = key.last() else { return Phase::Running };
    let head = u64::from(ground.executor.head().number);
    // The last height of the record may be undecided: its votes can be repeated when the chain ends right below.
    let until = if head.saturating_add(1) == last.height { last.height.saturating_sub(1) } else { last.height };
    if head < until { Phase::Following { until } } else { Phase::Running }
}

/// The node as the RPC sees it.
fn node(plan: &Plan, ground: &Ground, standing: &Arc<Standing>, log: LogControl) -> Arc<Node> {
    let info = node_info(&plan.spec, &plan.keys);
    let (executor, database) = (ground.executor.clone(), ground.database.clone());
    let node = Node::new(executor, database, ground.mempool.clone(), info, Some(log));
    Arc::new(node.with_neighbours(Arc::clone(standing) as Arc<dyn x0_rpc::Neighbours>))
}

/// Opens the consensus key. Without one the node follows with a key that is in no set.
async fn open_key(plan: &Plan) -> Result<Arc<dyn ConsensusKey>, Failure> {
    let (config, base, keys) = (plan.config.clone(), plan.base.clone(), plan.keys.clone());
    let genesis = plan.genesis_hash.0;
    if let Some(key) = blocking(move || signing::open(&config, &base, genesis, &keys)).await? {
        return Ok(key);
    }
    if plan.config.file.network.is_solo() {
        let file = plan.config.file.keys.consensus(&plan.base);
        return Err(Failure::configuration(format!(
            "there is no consensus key in {}, and no network to follow either: make a key with `x0-node key generate`, \
             or set network.peers",
            file.display()
        )));
    }
    tracing::info!(target: "x0::node", "there is no consensus key: this node follows the chain");
    Follower::key()
}

/// Starts measuring, on a node that has a reporter key.
fn probes(plan: &Plan, executor: &Executor, mempool: &Mempool) -> Option<ProbeHandle> {
    let Plan { config, spec, keys, .. } = plan;
    if !config.file.offchain.enabled {
        return None;
    }
    let Some(reporter) = keys.reporter.clone() else {
        tracing::warn!(target: "x0::node", "there is no reporter key: this validator does not measure mesh nodes");
        return None;
    };
    let settings = ProbeConfig {
        // On a network with value, a provider must not make validators knock on private addresses.
        endpoints: if spec.chain_type == ChainType::Live { EndpointPolicy::Public } else { EndpointPolicy::Any },
        diary: Some(plan.base.join("measuring")),
    };
    let chain = NodeChain::new(executor.clone(), mempool.clone(), reporter);
    match ProbeWorker::start(chain, Arc::new(SystemClock), &settings) {
        Ok(probes) => Some(probes),
        Err(error) => {
            tracing::error!(target: "x0::node", %error, "this validator does not measure mesh nodes");
            None
        }
    }
}

/// Waits until the chain's next block needs rules that this program does not know: it could neither make that block nor
/// judge it, and says so before anybody waits for its votes.
async fn outgrown(executor: Executor) -> Failure {
    let mut heads = executor.subscribe_heads();
    loop {
        let head = *heads.borrow_and_update();
        let reader = executor.clone();
        let read = tokio::task::spawn_blocking(move || reader.with_state(head.hash, ActiveSpec::<Runtime>::get)).await;
        match read {
            Ok(Ok(active)) if !SUPPORTED_SPECS.contains(&active) => {
                let next = head.number.saturating_add(1);
                return Failure::new(
                    Exit::SafetyHalt,
                    format!(
                        "from height {next} on the chain runs by version {active} of the rules, and this program knows {SUPPORTED_SPECS:?}: \
                         install a release that knows it and start the node again"
                    ),
                );
            }
            Ok(Ok(_)) => {}
            Ok(Err(cause)) => tracing::warn!(target: "x0::node", %cause, "the version of the rules could not be read"),
            Err(_) => std::future::pending().await,
        }
        if heads.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Waits until the worker has ended by itself; for ever when there is none.
async fn ended(probes: Option<&ProbeHandle>) {
    let Some(probes) = probes else { return std::future::pending().await };
    while probes.is_running() {
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}

/// The engine's settings: production's, with the pace of the chain and of the configuration.
pub fn engine_config(config: &Config, spec: &ChainSpec, base: &Path) -> EngineConfig {
    let moniker = config.file.node.name.clone().unwrap_or_else(|| spec.id.clone());
    let mut settings = EngineConfig::new(base.join("consensus"), moniker);
    let pace = &config.file.consensus;
    settings.pacing = Pacing {
        busy_ms: pace.busy_ms.unwrap_or(spec.consensus.busy_ms),
        idle_ms: pace.idle_ms.unwrap_or(spec.consensus.idle_ms),
        // A chain "on demand" makes blocks for work at once and an empty one when the idle time is
        // over, which closes measuring slots and moves deadlines. That is what the pacer does.
        on_demand: false,
    };
    settings.timeouts.propose = Duration::from_millis(spec.consensus.propose_timeout_ms);
    settings.timeouts.prevote = Duration::from_millis(spec.consensus.vote_timeout_ms);
    settings.timeouts.precommit = Duration::from_millis(spec.consensus.vote_timeout_ms);
    settings
}

/// What the node says about itself.
pub fn node_info(spec: &ChainSpec, keys: &NodeKeys) -> NodeInfo {
    NodeInfo {
        chain: spec.name.clone(),
        network: spec.id.clone(),
        chain_type: match spec.chain_type {
            ChainType::Development => "Development",
            ChainType::Local => "Local",
            ChainType::Live => "Live",
        }
        .to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        peer_id: hex::encode(keys.network.public().fingerprint()),
        validator: keys.consensus.is_some(),
        ss58_prefix: spec.properties.ss58_prefix,
    }
}
