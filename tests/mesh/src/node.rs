//! Our own data plane as a process: the agent's data thread with the peers of a file instead of the chain's.
//!
//! What runs is what the agent runs: protocol, sockets, tunnel, priorities, job threads. What is missing is who may
//! be a peer, which a lab decides itself. Events go to standard output, one a line, as JSON; SIGUSR1 prints counters.

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use std::{
    net::{Ipv6Addr, SocketAddr},
    path::Path,
};
use tokio::signal::unix::{SignalKind, signal};
use x0_agent_io::mesh::{
    MeshHandle, MeshThread, MeshThreadConfig, Opened, OsEntropy, Output, TunnelConfig, UnderlayConfig,
};
use x0_crypto::{PublicKey, Seed, SigningKey};
use x0_mesh::{
    NodeId,
    node::{
        AuthorityView, Config, Event, Identity, Job, Mesh, Peer, Rights, Sink, Underlay, UnderlayId, Urgency, node_id,
        overlay_address,
    },
};

/// The genesis of labs.
const GENESIS: [u8; 32] = [9; 32];
/// The mesh of labs.
const MESH_ID: [u8; 32] = [7; 32];
/// Name of the tunnel device.
const TUNNEL: &str = "x0m0";

/// What a node is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeFile {
    /// Seed of its key, hexadecimal. Labs make it up; no other key is like it.
    pub seed: String,
    /// Its wires: device, and where it listens.
    pub underlays: Vec<(String, SocketAddr)>,
    /// Everybody else.
    pub peers: Vec<PeerFile>,
}

/// Another node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerFile {
    /// Its public key, hexadecimal.
    pub key: String,
    /// Where it is reached, with the number of the underlay; empty for those behind a relay.
    pub addresses: Vec<(u16, SocketAddr)>,
}

/// The key of a seed.
///
/// # Errors
/// When the bytes are no seed.
pub fn key(seed: &str) -> Result<SigningKey> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(seed, &mut bytes).map_err(|error| anyhow::anyhow!("a seed: {error}"))?;
    Ok(SigningKey::from_seed(&Seed::from_bytes(bytes))?)
}

/// The overlay address of a key in the labs' mesh.
#[must_use]
pub fn address(key: &PublicKey) -> Ipv6Addr {
    overlay_address(&MESH_ID, &node_id(key))
}

/// Runs a node until it is ended.
///
/// # Errors
/// What does not open, or ends the data thread.
pub fn run(file: &Path) -> Result<()> {
    let text = std::fs::read(file).with_context(|| file.display().to_string())?;
    let node: NodeFile = serde_json::from_slice(&text).with_context(|| file.display().to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(node))
}

async fn serve(node: NodeFile) -> Result<()> {
    let key = key(&node.seed)?;
    let underlays = node.underlays.iter().zip(0..).map(|((device, listen), number)| UnderlayConfig {
        id: UnderlayId(number),
        name: device.clone(),
        interface: Some(device.clone()),
        listen: *listen,
    });
    let mut config = MeshThreadConfig::new(underlays.collect());
    config.tunnel = Some(TunnelConfig::new(TUNNEL, address(key.public())));
    let (thread, mut outputs) = start(&config, &key, peers(&node)?)?;
    for warning in thread.report().warnings() {
        println!("warning: {warning}");
    }
    let mut asked = signal(SignalKind::user_defined1())?;
    loop {
        tokio::select! {
            output = outputs.recv() => match output {
                Some(Output::Mesh(_, Event::TagAdded { .. } | Event::TagRemoved { .. })) => {}
                Some(Output::Mesh(at, event)) => println!("{} {}", at.0 / 1_000, serde_json::to_string(&event)?),
                Some(other) => println!("{other:?}"),
                None => break,
            },
            _ = asked.recv() => print(&thread.handle()).await?,
        }
    }
    ensure!(!thread.has_ended(), "the data thread ended: {:?}", thread.stop().err());
    Ok(())
}

async fn print(handle: &MeshHandle) -> Result<()> {
    println!("io {}", serde_json::to_string(&handle.status().await?)?);
    let status = handle.with(|mesh, now, _| serde_json::to_string(&mesh.status(now))).await?;
    println!("mesh {}", status?);
    Ok(())
}

fn peers(node: &NodeFile) -> Result<Vec<Peer>> {
    let peer = |peer: &PeerFile| -> Result<Peer> {
        let key = PublicKey::from_bytes(&hex::decode(&peer.key).map_err(|error| anyhow::anyhow!("a key: {error}"))?)?;
        let addresses = peer.addresses.iter().map(|(number, address)| (UnderlayId(*number), *address)).collect();
        Ok(Peer { id: node_id(&key), key, addresses, trust_q16: 65_536, rights: Rights::ALL })
    };
    node.peers.iter().map(peer).collect()
}

fn start(
    config: &MeshThreadConfig,
    key: &SigningKey,
    peers: Vec<Peer>,
) -> Result<(MeshThread, x0_agent_io::mesh::Outputs)> {
    let opened = Opened::open(config).context("sockets and tunnel")?;
    let underlays = opened.underlays().into_iter().map(|underlay| Underlay {
        id: UnderlayId(underlay.id),
        name: underlay.name,
        payload_bytes_max: underlay.payload_bytes_max,
        srlg: u32::from(underlay.id),
    });
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let config_of_mesh = Config {
        genesis: GENESIS,
        mesh_id: MESH_ID,
        start_number: u64::try_from(wall.as_millis())?,
        underlays: underlays.collect(),
    };
    let identity = Identity { id: node_id(key.public()), key: key.public().clone() };
    let now = x0_agent_io::mesh::now();
    let mut mesh = Mesh::new(config_of_mesh, identity, Box::new(OsEntropy), now)?;
    mesh.update_authority(now, AuthorityView { height: 1, peers }, &mut Nowhere)?;
    Ok(MeshThread::start_opened(config, opened, mesh, key.clone(), None)?)
}

/// A sink for the time before there is a thread: a new mesh has nothing to say that its first tick does not say again.
struct Nowhere;

impl Sink for Nowhere {
    fn send(&mut self, _: UnderlayId, _: SocketAddr, _: Urgency, _: &[u8]) {}
    fn deliver(&mut self, _: &NodeId, _: &[u8]) {}
    fn job(&mut self, _: Job) {}
    fn event(&mut self, _: Event) {}
}
