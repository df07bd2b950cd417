//! The node's parts: how each starts from the settings, fails by name, and stops.

use crate::{
    config::Config,
    exit::{Exit, Failure},
    failures::{consensus_failure, engine_failure, executor_failure, fatal_handler, storage_failure},
    keys::NodeKeys,
    links::Links,
    listeners::listeners,
    observe::{EngineSlot, Observer, Progress},
    signing::{self, Follower},
};
use parking_lot::Mutex;
use serde_json::json;
use std::{io::Write as _, path::Path, sync::Arc, time::Duration};
use x0_chain_spec::{ChainSpec, ChainType};
use x0_consensus::{EngineConfig, EngineHandle, Pacing};
use x0_crypto::SigningKey;
use x0_executor::{Executor, Options};
use x0_mempool::Mempool;
use x0_offchain::{EndpointPolicy, NodeChain, ProbeConfig, ProbeHandle, ProbeWorker, SystemClock};
use x0_rpc::{ListenerConfig, LogControl, Node, NodeInfo, RpcServer, Transport};
use x0_storage::{Database, OpenOptions};
use x0_telemetry::{Samples, Source as _, Telemetry};

/// The running parts, in the order in which they were started.
pub struct Parts {
    database: Database,
    links: Links,
    engine: EngineSlot,
    probes: Option<ProbeHandle>,
    rpc: Option<RpcServer>,
    telemetry: Option<x0_telemetry::Server>,
}

/// How often the measuring worker is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The parts that hold state: opened on a blocking thread.
struct Ground {
    database: Database,
    executor: Executor,
    mempool: Mempool,
}

impl Parts {
    /// Starts all parts, and prints the READY line.
    ///
    /// # Errors
    /// Which part does not start, and why. What was started is stopped.
    pub async fn start(
        config: &Config,
        spec: &ChainSpec,
        genesis: serde_json::Value,
        base: &Path,
        keys: NodeKeys,
        log: LogControl,
    ) -> Result<Self, Failure> {
        let (path, states_kept, trie_cache_bytes) =
            (base.join("chain"), config.file.storage.states_kept, config.file.storage.trie_cache_bytes);
        let ground = tokio::task::spawn_blocking(move || Ground::open(&path, &genesis, states_kept, trie_cache_bytes))
            .await
            .map_err(|cause| Failure::new(Exit::Restartable, format!("opening the database ended early: {cause}")))??;
        let Ground { database, executor, mempool } = &ground;
        let listeners = listeners(config, &keys.network, executor.genesis_hash())?;
        let links = Links::start(config, &spec.boot_peers, &keys.network, executor, base).await?;
        let engine = start_engine(config, spec, base, &keys, &ground, &links).await?;
        let mut parts = Self {
            database: database.clone(),
            engine: Arc::new(Mutex::new(Some(engine))),
            probes: probes(config, spec, &keys, executor, mempool),
            links,
            rpc: None,
            telemetry: None,
        };
        let info = node_info(spec, &keys);
        let node = Arc::new(Node::new(executor.clone(), database.clone(), mempool.clone(), info, Some(log)));
        if let Err(failure) = parts.serve(config, spec, base, &ground, &node, &listeners).await {
            if let Err(second) = parts.stop().await {
                tracing::error!(target: "x0::node", reason = second.reason, "and the parts did not stop in good order");
            }
            return Err(failure);
        }
        parts.announce(&listeners, executor, &keys.network);
        Ok(parts)
    }

    /// Starts what others ask the node over.
    async fn serve(
        &mut self,
        config: &Config,
        spec: &ChainSpec,
        base: &Path,
        ground: &Ground,
        node: &Arc<Node>,
        listeners: &[ListenerConfig],
    ) -> Result<(), Failure> {
        self.rpc = Some(RpcServer::start(node, listeners).await.map_err(Failure::configuration)?);
        let Some(address) = config.metrics else { return Ok(()) };
        let idle_ms = config.file.consensus.idle_ms.unwrap_or(spec.consensus.idle_ms);
        let observer = Arc::new(Observer {
            chain: spec.id.clone(),
            base: base.to_owned(),
            database: ground.database.clone(),
            executor: ground.executor.clone(),
            mempool: ground.mempool.clone(),
            engine: Arc::clone(&self.engine),
            links: self.links.clone(),
            progress: Progress::follow(&ground.executor),
            patience: Duration::from_millis(idle_ms.saturating_add(config.file.metrics.stall_ms)),
        });
        let status = Arc::clone(&observer);
        let telemetry = Telemetry::new(status).with(move |samples: &mut Samples| observer.collect(samples));
        self.telemetry = Some(x0_telemetry::serve(address, Arc::new(telemetry)).await.map_err(Failure::configuration)?);
        Ok(())
    }

    /// Waits until a part fails.
    pub async fn failed(&mut self) -> Failure {
        let engine = self.engine.lock().as_ref().map(EngineHandle::failed);
        let engine = async move {
            match engine {
                Some(failed) => failed.await,
                None => std::future::pending().await,
            }
        };
        let rpc = async {
            match &mut self.rpc {
                Some(rpc) => rpc.failed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            failure = engine => engine_failure(failure),
            failure = rpc => Failure::new(Exit::Restartable, failure),
            () = ended(self.probes.as_ref()) => Failure::new(Exit::Restartable, "the measuring worker ended"),
        }
    }

    /// Stops the parts in the reverse order of their start and flushes the database.
    ///
    /// # Errors
    /// When the database cannot flush.
    pub async fn stop(self) -> Result<(), Failure> {
        if let Some(telemetry) = self.telemetry {
            telemetry.stop().await;
        }
        if let Some(rpc) = self.rpc {
            rpc.stop().await;
        }
        if let Some(probes) = self.probes {
            probes.stop().await;
        }
        let engine = self.engine.lock().take();
        if let Some(engine) = engine {
            engine.stop().await;
        }
        self.links.stop().await;
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
            let status = engine.lock().as_ref().map(EngineHandle::status)?;
            Some(format!("height {}, round {}, {} peers", status.tip.height, status.round, links.peers().len()))
        }
    }

    /// Prints the READY line for scripts and logs the same for people.
    fn announce(&self, listeners: &[ListenerConfig], executor: &Executor, network: &SigningKey) {
        let addresses = self.rpc.as_ref().map(RpcServer::addresses).unwrap_or_default();
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
            "metrics": self.telemetry.as_ref().map(|server| format!("http://{}", server.address())),
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

/// Starts consensus. Without a consensus key the node follows with a key that is in no set.
async fn start_engine(
    config: &Config,
    spec: &ChainSpec,
    base: &Path,
    keys: &NodeKeys,
    ground: &Ground,
    links: &Links,
) -> Result<EngineHandle, Failure> {
    let opened = {
        let (config, base, keys) = (config.clone(), base.to_owned(), keys.clone());
        let genesis = ground.executor.genesis_hash().0;
        tokio::task::spawn_blocking(move || signing::open(&config, &base, genesis, &keys)).await.map_err(
            |cause| Failure::new(Exit::Restartable, format!("opening the consensus key ended early: {cause}")),
        )??
    };
    let key = match opened {
        Some(key) => key,
        None if links.is_solo() => {
            let file = config.file.keys.consensus(base);
            return Err(Failure::configuration(format!(
                "there is no consensus key in {}, and no network to follow either: make a key with `x0-node key generate`, \
                 or set network.peers",
                file.display()
            )));
        }
        None => {
            tracing::info!(target: "x0::node", "there is no consensus key: this node follows the chain");
            Arc::new(Follower::new()?)
        }
    };
    x0_consensus::start(
        engine_config(config, spec, base),
        key,
        ground.executor.clone(),
        ground.mempool.clone(),
        ground.database.clone(),
        links.consensus(),
    )
    .await
    .map_err(|cause| consensus_failure(&cause))
}

/// Starts measuring, on a node that has a reporter key.
fn probes(
    config: &Config,
    spec: &ChainSpec,
    keys: &NodeKeys,
    executor: &Executor,
    mempool: &Mempool,
) -> Option<ProbeHandle> {
    if !config.file.offchain.enabled {
        return None;
    }
    let Some(reporter) = keys.reporter.clone() else {
        tracing::warn!(target: "x0::node", "there is no reporter key: this validator does not measure mesh nodes");
        return None;
    };
    let settings = ProbeConfig {
        network_key: keys.network.clone(),
        // On a network with value, a provider must not make validators knock on private addresses.
        endpoints: if spec.chain_type == ChainType::Live { EndpointPolicy::Public } else { EndpointPolicy::Any },
    };
    let chain = NodeChain::new(executor.clone(), mempool.clone(), reporter);
    Some(ProbeWorker::start(chain, Arc::new(SystemClock), &settings))
}

/// Waits until the worker has ended by itself; for ever when there is none.
async fn ended(probes: Option<&ProbeHandle>) {
    let Some(probes) = probes else { return std::future::pending().await };
    while probes.is_running() {
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}

impl Ground {
    fn open(
        path: &Path,
        genesis: &serde_json::Value,
        states_kept: u32,
        trie_cache_bytes: usize,
    ) -> Result<Self, Failure> {
        let options = OpenOptions { states_kept, fatal: fatal_handler(), ..OpenOptions::default() };
        let database = Database::open(path, options).map_err(|cause| storage_failure(&cause))?;
        let executor = Executor::new(database.clone(), genesis, Options { trie_cache_bytes, ..Options::default() })
            .map_err(|cause| executor_failure(&cause))?;
        let mempool = Mempool::new(executor.clone(), x0_mempool::Config::default())
            .map_err(|cause| Failure::new(Exit::Restartable, format!("mempool: {cause}")))?;
        Ok(Self { database, executor, mempool })
    }
}

/// The engine's settings: production's, with the pace of the chain and of the configuration.
fn engine_config(config: &Config, spec: &ChainSpec, base: &Path) -> EngineConfig {
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
fn node_info(spec: &ChainSpec, keys: &NodeKeys) -> NodeInfo {
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
