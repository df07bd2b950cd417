//! The running agent: start, wait for a signal, drain, stop.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{oneshot, watch},
    task::JoinSet,
};
use x0_agent_core::{Agent, Event, SlotClock};
use x0_agent_io::{Limits, ProbeResponder, ResponderConfig, Services, SharedAgent, SystemClock};
use x0_client::{Client, Endpoint, account_of, rpc_types::did::Did, text::account_text};
use x0_crypto::SigningKey;
use x0_limits::{AGENT_RECONNECT_MS_MAX, AGENT_RECONNECT_MS_MIN};

use crate::{
    cli::Run,
    config::Config,
    control::ControlSocket,
    counters::KernelCounters,
    error::{AgentError, Result},
    follow::{Follower, Line},
    identity::{blocking, open, system},
    mesh::{MeshService, plan::Plan},
    metrics,
    status::{Serving, Sources},
};

/// What the chain says of itself when the agent starts.
struct Chain {
    client: Client,
    network: String,
    slots: SlotClock,
}

/// Runs until a signal comes.
///
/// # Errors
/// [`AgentError`] of the part that failed to start, or of the mesh when it ended by itself.
pub async fn run(config: &Config, options: &Run) -> Result<()> {
    let mut stop = Stop::new()?;
    let key = open(config, &options.password).await?;
    let endpoint = config.endpoint()?;
    let plan = config.plan(&options.file.config)?;
    let socket = ControlSocket::bind(&config.status.path)?;
    let sources = Arc::new(Sources {
        node: account_of(key.public()),
        config: options.file.config.clone(),
        url: if config.chain.offline { "none".to_owned() } else { endpoint.url.clone() },
        offline: config.chain.offline,
        serving: RwLock::new(None),
        mesh: OnceLock::new(),
    });
    let mut side = Side::start(config, socket, &sources).await?;
    let outcome = live((config, options), (key, endpoint, plan), &sources, (&mut side, &mut stop)).await;
    let mesh = sources.mesh.get().cloned();
    // What the tasks hold is free before the listener is asked to finish its answers.
    side.end().await;
    if let Some(mesh) = mesh {
        mesh.stop().await;
    }
    outcome
}

/// Tasks beside the main one.
struct Side(JoinSet<()>);

impl Side {
    async fn start(config: &Config, socket: ControlSocket, sources: &Arc<Sources>) -> Result<Self> {
        let mut tasks = JoinSet::new();
        let answers = Arc::clone(sources);
        tasks.spawn(async move { socket.serve(answers).await });
        if let Some(metrics) = &config.metrics {
            let listener = metrics::bind(metrics.address).await?;
            if let Ok(address) = listener.local_addr() {
                tracing::info!(%address, "metrics");
            }
            tasks.spawn(metrics::serve(listener, Arc::clone(sources)));
        }
        Ok(Self(tasks))
    }

    /// Joins the plan's mesh, if there is a plan and it has not been joined.
    async fn join(
        &mut self,
        plan: &Option<Plan>,
        (key, genesis): (&SigningKey, [u8; 32]),
        sources: &Arc<Sources>,
    ) -> Result<()> {
        let Some(plan) = plan.clone().filter(|_| sources.mesh.get().is_none()) else { return Ok(()) };
        let mesh = MeshService::start(plan, key.clone(), genesis, sources.node.clone()).await?;
        self.0.spawn(mesh.clone().watch());
        // Nobody else sets it.
        let _ = sources.mesh.set(mesh);
        let mut hangup = signal(SignalKind::hangup()).map_err(|error| system("watching for signals", &error))?;
        let sources = Arc::clone(sources);
        self.0.spawn(async move {
            while hangup.recv().await.is_some() {
                if let Err(error) = sources.reload().await {
                    tracing::error!(error, "the configuration is not taken over");
                }
            }
        });
        Ok(())
    }

    async fn end(mut self) {
        self.0.shutdown().await;
    }
}

/// Waits until the mesh has ended by itself; for ever without one.
async fn mesh_ended(sources: &Sources) -> AgentError {
    match sources.mesh.get() {
        Some(mesh) => AgentError::MeshEnded { reason: mesh.ended().await },
        None => std::future::pending().await,
    }
}

async fn live(
    (config, options): (&Config, &Run),
    (key, endpoint, plan): (SigningKey, Endpoint, Option<Plan>),
    sources: &Arc<Sources>,
    (side, stop): (&mut Side, &mut Stop),
) -> Result<()> {
    // The mesh of a chain that is pinned does not wait for the node: its configured peers are there at once.
    if let Some(genesis) = endpoint.genesis {
        side.join(&plan, (&key, genesis.0), sources).await?;
    }
    if config.chain.offline {
        announce(None, sources).await?;
        return tokio::select! {
            () = stop.wait() => Ok(()),
            error = mesh_ended(sources) => Err(error),
        };
    }
    // Nobody can answer a probe for a chain that is not known yet, so the listener waits for the node.
    let chain = tokio::select! {
        chain = connect(&endpoint) => chain?,
        () = stop.wait() => return Ok(()),
        error = mesh_ended(sources) => return Err(error),
    };
    side.join(&plan, (&key, chain.client.genesis_hash().0), sources).await?;
    serve((config, options), (key, endpoint, chain), sources, stop).await
}

async fn serve(
    (config, options): (&Config, &Run),
    (key, endpoint, chain): (SigningKey, Endpoint, Chain),
    sources: &Arc<Sources>,
    stop: &mut Stop,
) -> Result<()> {
    let node = sources.node.clone();
    let genesis = chain.client.genesis_hash();
    let did = Did::new(&chain.network, node.clone()).to_string();
    let clock = SystemClock::start();
    let agent: SharedAgent = Arc::new(Mutex::new(Agent::new(node.clone(), chain.slots)));
    let responder_config =
        ResponderConfig { listen: config.listen.address, genesis: genesis.0, limits: Limits::default() };
    let responder = ProbeResponder::start(responder_config, Arc::clone(&agent), key.clone(), clock.clone()).await?;
    let listen = responder.local_addr();
    // They close with this function.
    let services = Services::start(listen.ip(), pages(config, options).await?, clock.clone()).await?;
    if !services.addresses().is_empty() {
        tracing::info!(addresses = ?services.addresses(), "services");
    }
    let (interface, port) = (config.interface(), listen.port());
    let kernel = blocking(move || KernelCounters::attach(interface, port)).await?;

    let (line, line_state) = watch::channel(Line::default());
    let (first, first_view) = oneshot::channel();
    let follower = Follower {
        // From now on the chain is pinned: a node that was set up anew is another chain.
        endpoint: Endpoint { genesis: Some(genesis), ..endpoint },
        agent: Arc::clone(&agent),
        key: key.public().clone(),
        clock: clock.clone(),
        line,
        mesh: sources.mesh.get().cloned(),
    };
    let following = tokio::spawn(follower.run(chain.client, first));
    let serving =
        Serving { agent: Arc::clone(&agent), clock, responder, line: line_state, kernel, did, genesis_hash: genesis };
    *sources.serving.write() = Some(Arc::new(serving));
    let announced = tokio::select! {
        _ = first_view => announce(Some(&listen.to_string()), sources).await.map(|()| true),
        () = stop.wait() => Ok(false),
        error = mesh_ended(sources) => Err(error),
    };
    let outcome = match announced {
        Ok(true) => tokio::select! {
            () = stop.wait() => Ok(()),
            error = mesh_ended(sources) => Err(error),
        },
        other => other.map(drop),
    };
    drain(&agent, sources, following).await;
    outcome
}

/// Reads the pages that the configuration offers.
async fn pages(config: &Config, options: &Run) -> Result<x0_agent_io::Pages> {
    let (config, path) = (config.clone(), options.file.config.clone());
    blocking(move || config.pages()).await?.map_err(|reason| AgentError::Config { path, reason })
}

/// Prints the line that says to a supervisor or a test that the agent is there.
async fn announce(listen: Option<&str>, sources: &Sources) -> Result<()> {
    let node = account_text(&sources.node);
    let did = sources.serving.read().as_ref().map(|serving| serving.did.clone());
    let mut line = serde_json::json!({ "listen": listen, "node": node, "did": did });
    if let Some(mesh) = sources.mesh.get() {
        let address = mesh.with_plane(|plane| plane.address).await;
        line["mesh"] = serde_json::json!({ "address": address });
    }
    tracing::info!(listen, node, did, "ready");
    crate::print(&format!("READY {line}\n"))
}

/// Lets answers under way finish, then stops everything.
async fn drain(agent: &SharedAgent, sources: &Sources, following: tokio::task::JoinHandle<()>) {
    tracing::info!("stopping");
    note(agent, Event::StopRequested);
    following.abort();
    // The task is over once it is awaited; an aborted task gives an error, which is what was asked for.
    let _ = following.await;
    let serving = sources.serving.write().take();
    // A status reader may hold it for a moment longer; dropping it closes the socket without waiting.
    if let Some(serving) = serving.and_then(Arc::into_inner) {
        let report = serving.responder.stop().await;
        tracing::info!(finished = report.finished, cut = report.cut, "probe connections ended");
    }
    note(agent, Event::Drained);
    tracing::info!("stopped");
}

fn note(agent: &SharedAgent, event: Event) {
    if let Err(error) = agent.lock().handle(event) {
        tracing::error!(%error, "the agent's phase does not fit");
    }
}

/// Connects for the first time, with growing waits, and reads what the chain says of itself. A wrong
/// address or another chain than the one pinned ends the agent: waiting does not cure them.
async fn connect(endpoint: &Endpoint) -> Result<Chain> {
    let mut wait_ms = AGENT_RECONNECT_MS_MIN;
    loop {
        let error = match introduce(endpoint).await {
            Ok(chain) => return Ok(chain),
            Err(error) => error,
        };
        if !matches!(error, x0_client::ClientError::Connect { .. } | x0_client::ClientError::Transport { .. }) {
            return Err(error.into());
        }
        tracing::warn!(%error, wait_ms, "the node does not answer; trying again");
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        wait_ms = wait_ms.saturating_mul(2).min(AGENT_RECONNECT_MS_MAX);
    }
}

async fn introduce(endpoint: &Endpoint) -> std::result::Result<Chain, x0_client::ClientError> {
    let client = Client::connect(endpoint).await?;
    let network = client.network_name().await?;
    let (genesis_time_ms, slot_ms) = client.slot_times_ms().await?;
    tracing::info!(url = %endpoint.url, network, slot_ms, genesis = ?client.genesis_hash(), "connected to the node");
    Ok(Chain { client, network, slots: SlotClock::new(genesis_time_ms, slot_ms) })
}

/// The signals that stop the agent.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> Result<Self> {
        let watch = |kind| signal(kind).map_err(|error| -> AgentError { system("watching for signals", &error) });
        Ok(Self { terminate: watch(SignalKind::terminate())?, interrupt: watch(SignalKind::interrupt())? })
    }

    /// Waits for either.
    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
