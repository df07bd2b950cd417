//! The node's parts: how each starts from the settings, fails by name, and stops.

use crate::{
    config::Config,
    exit::{Exit, Failure},
    keys::NodeKeys,
    listeners::listeners,
};
use serde_json::json;
use std::{io::Write as _, path::Path, sync::Arc, time::Duration};
use x0_chain_spec::{ChainSpec, ChainType};
use x0_consensus::{ConsensusError, EngineConfig, EngineHandle, Pacing, WalError, guard::GuardError, peer_of};
use x0_crypto::SigningKey;
use x0_executor::{Executor, ExecutorError, Options};
use x0_mempool::Mempool;
use x0_network::memory::MemoryCarrier;
use x0_offchain::{EndpointPolicy, NodeChain, ProbeConfig, ProbeHandle, ProbeWorker, SystemClock};
use x0_rpc::{ListenerConfig, LogControl, Node, NodeInfo, RpcServer, Transport};
use x0_storage::{Database, FatalHandler, OpenOptions, StorageError};

/// The running parts, in the order in which they were started.
pub struct Parts {
    database: Database,
    engine: EngineHandle,
    probes: Option<ProbeHandle>,
    rpc: RpcServer,
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
        let Ground { database, executor, mempool } = ground;
        let listeners = listeners(config, &keys.network, executor.genesis_hash())?;
        let consensus = keys.consensus.clone().ok_or_else(|| {
            let file = base.join(&config.file.keys.consensus);
            Failure::configuration(format!(
                "there is no consensus key in {}: this version runs validators only (make one with `x0-node key generate`)",
                file.display()
            ))
        })?;
        let carrier = MemoryCarrier::solo(peer_of(keys.network.public()));
        let settings = engine_config(config, spec, base);
        let engine =
            x0_consensus::start(settings, consensus, executor.clone(), mempool.clone(), database.clone(), carrier)
                .await
                .map_err(|cause| consensus_failure(&cause))?;
        let probes = probes(config, spec, &keys, &executor, &mempool);
        let info = node_info(spec, &keys.network);
        let node = Arc::new(Node::new(executor.clone(), database.clone(), mempool, info, Some(log)));
        let rpc = match RpcServer::start(&node, &listeners).await {
            Ok(rpc) => rpc,
            Err(cause) => {
                if let Some(probes) = probes {
                    probes.stop().await;
                }
                engine.stop().await;
                return Err(Failure::configuration(cause));
            }
        };
        announce(&listeners, &rpc, &executor, &keys.network);
        Ok(Self { database, engine, probes, rpc })
    }

    /// Waits until a part fails.
    pub async fn failed(&mut self) -> Failure {
        tokio::select! {
            failure = self.engine.failed() => match failure {
                x0_consensus::Failure::SafetyHalt(reason) => Failure::new(Exit::SafetyHalt, format!("consensus: {reason}")),
                x0_consensus::Failure::Restartable(reason) => Failure::new(Exit::Restartable, format!("consensus: {reason}")),
            },
            failure = self.rpc.failed() => Failure::new(Exit::Restartable, failure),
            () = ended(self.probes.as_ref()) => Failure::new(Exit::Restartable, "the measuring worker ended"),
        }
    }

    /// Stops the parts in the reverse order of their start and flushes the database.
    ///
    /// # Errors
    /// When the database cannot flush.
    pub async fn stop(self) -> Result<(), Failure> {
        self.rpc.stop().await;
        if let Some(probes) = self.probes {
            probes.stop().await;
        }
        self.engine.stop().await;
        let database = self.database;
        tokio::task::spawn_blocking(move || database.flush())
            .await
            .map_err(|cause| Failure::new(Exit::Storage, format!("flushing ended early: {cause}")))?
            .map_err(|cause| storage_failure(&cause))
    }
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

/// Ends the process at once when the database cannot be trusted: going on would turn a fault of this
/// machine's disk into a wrong answer about the chain.
fn fatal_handler() -> FatalHandler {
    FatalHandler::new(|cause| {
        let code = i32::from(Exit::Storage.code());
        tracing::error!(target: "x0::node", %cause, exit_code = code, "the database failed: the node ends at once");
        eprintln!("x0-node: {cause} (exit code {code}, {})", Exit::Storage.name());
        // SAFETY: `_exit` has no preconditions. The ordinary `exit` would run destructors of
        // RocksDB while other threads use it, and could hang on the failing disk.
        unsafe { libc::_exit(code) }
    })
}

/// How the process ends on account of a storage error at start or stop.
fn storage_failure(cause: &StorageError) -> Failure {
    let exit = match cause {
        StorageError::Damaged { .. }
        | StorageError::DamagedRecord { .. }
        | StorageError::DiskFull { .. }
        | StorageError::Database { .. } => Exit::Storage,
        _ => Exit::Configuration,
    };
    Failure::new(exit, cause)
}

/// How the process ends when the executor does not start.
fn executor_failure(cause: &ExecutorError) -> Failure {
    match cause {
        ExecutorError::Storage(storage) => storage_failure(storage),
        ExecutorError::UnsupportedSpec { .. } => Failure::new(Exit::SafetyHalt, cause),
        ExecutorError::RootUnchanged { .. } => Failure::new(Exit::Storage, cause),
        _ => Failure::configuration(cause),
    }
}

/// How the process ends when consensus does not start.
fn consensus_failure(cause: &ConsensusError) -> Failure {
    let exit = match cause {
        ConsensusError::Guard(GuardError::InUse(_) | GuardError::OtherKey(_)) => Exit::Configuration,
        ConsensusError::Guard(GuardError::Io { .. }) | ConsensusError::Wal(WalError::Io { .. }) => Exit::Storage,
        ConsensusError::Guard(_) | ConsensusError::Wal(WalError::Damaged(_)) => Exit::SafetyHalt,
        _ => Exit::Restartable,
    };
    Failure::new(exit, cause)
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
fn node_info(spec: &ChainSpec, network: &SigningKey) -> NodeInfo {
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
        peer_id: hex::encode(network.public().fingerprint()),
        validator: true,
        ss58_prefix: spec.properties.ss58_prefix,
    }
}

/// Prints the READY line for scripts and logs the same for people.
fn announce(listeners: &[ListenerConfig], rpc: &RpcServer, executor: &Executor, network: &SigningKey) {
    let address = |wanted: fn(&Transport) -> bool| {
        let place = listeners.iter().position(|listener| wanted(&listener.transport))?;
        rpc.addresses().get(place).copied()
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
