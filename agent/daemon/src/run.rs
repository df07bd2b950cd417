//! The running agent: start, wait for a signal, drain, stop.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{oneshot, watch},
};
use x0_agent_core::{Agent, Event, SlotClock};
use x0_agent_io::{Limits, ProbeResponder, ResponderConfig, Services, SharedAgent, SystemClock};
use x0_client::{Client, Endpoint, account_of, rpc_types::did::Did, text::account_text};
use x0_crypto::SigningKey;
use x0_limits::{AGENT_RECONNECT_MS_MAX, AGENT_RECONNECT_MS_MIN};

use crate::{
    cli::Run,
    config::Config,
    counters::KernelCounters,
    error::{AgentError, Result},
    follow::{Follower, Line},
    identity::{blocking, open, system},
    status::{Sources, StatusSocket},
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
/// [`AgentError`] of the part that failed to start.
pub async fn run(config: &Config, options: &Run) -> Result<()> {
    let mut stop = Stop::new()?;
    let key = open(config, &options.password).await?;
    let endpoint = config.endpoint()?;
    let socket = StatusSocket::bind(&config.status.path)?;
    // Nobody can answer a probe for a chain that is not known yet, so the listener waits for the node.
    let chain = tokio::select! {
        chain = connect(&endpoint) => chain?,
        () = stop.wait() => return Ok(()),
    };
    serve((config, options), key, endpoint, chain, socket, stop).await
}

async fn serve(
    (config, options): (&Config, &Run),
    key: SigningKey,
    endpoint: Endpoint,
    chain: Chain,
    socket: StatusSocket,
    mut stop: Stop,
) -> Result<()> {
    let node = account_of(key.public());
    let genesis = chain.client.genesis_hash();
    let did = Did::new(&chain.network, node.clone()).to_string();
    let clock = SystemClock::start();
    let agent: SharedAgent = Arc::new(Mutex::new(Agent::new(node.clone(), chain.slots)));
    let responder_config =
        ResponderConfig { listen: config.listen.address, genesis: genesis.0, limits: Limits::default() };
    let responder =
        Arc::new(ProbeResponder::start(responder_config, Arc::clone(&agent), key.clone(), clock.clone()).await?);
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
        endpoint: Endpoint { genesis: Some(genesis), ..endpoint.clone() },
        agent: Arc::clone(&agent),
        key: key.public().clone(),
        clock: clock.clone(),
        line,
    };
    let following = tokio::spawn(follower.run(chain.client, first));
    let sources = Arc::new(Sources {
        agent: Arc::clone(&agent),
        clock,
        responder: Arc::clone(&responder),
        line: line_state,
        kernel,
        did: did.clone(),
        url: endpoint.url,
        genesis_hash: genesis,
    });
    let served = tokio::spawn(async move { socket.serve(sources).await });
    let announced = tokio::select! {
        _ = first_view => announce(&listen.to_string(), &account_text(&node), &did),
        () = stop.wait() => Ok(()),
    };
    if announced.is_ok() {
        stop.wait().await;
    }
    drain(&agent, responder, following, served).await;
    announced
}

/// Reads the pages that the configuration offers.
async fn pages(config: &Config, options: &Run) -> Result<x0_agent_io::Pages> {
    let (config, path) = (config.clone(), options.file.config.clone());
    blocking(move || config.pages()).await?.map_err(|reason| AgentError::Config { path, reason })
}

/// Prints the line that says to a supervisor or a test that the agent is there.
fn announce(listen: &str, node: &str, did: &str) -> Result<()> {
    tracing::info!(listen, node, did, "ready");
    crate::print(&format!("READY {}\n", serde_json::json!({ "listen": listen, "node": node, "did": did })))
}

/// Lets answers under way finish, then stops everything.
async fn drain(
    agent: &SharedAgent,
    responder: Arc<ProbeResponder>,
    following: tokio::task::JoinHandle<()>,
    served: tokio::task::JoinHandle<()>,
) {
    tracing::info!("stopping");
    note(agent, Event::StopRequested);
    following.abort();
    served.abort();
    // Both tasks are over once they are awaited; an aborted task gives an error, which is what was asked for.
    let _ = following.await;
    let _ = served.await;
    match Arc::try_unwrap(responder) {
        Ok(responder) => {
            let report = responder.stop().await;
            tracing::info!(finished = report.finished, cut = report.cut, "probe connections ended");
        }
        // A status reader holds it for a moment longer; dropping it closes the socket without waiting.
        Err(shared) => drop(shared),
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
