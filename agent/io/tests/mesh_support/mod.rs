//! Two agents in network namespaces, joined by wires, for the tests of the data plane.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use anyhow::{Context as _, Result, bail};
use std::{
    net::{Ipv6Addr, SocketAddr},
    time::Duration,
};
use x0_agent_io::mesh::{
    MeshHandle, MeshThread, MeshThreadConfig, Opened, OsEntropy, Output, Outputs, Priority, TunnelConfig,
    UnderlayConfig,
};
use x0_crypto::SigningKey;
use x0_mesh::{
    NodeId,
    node::{
        AuthorityView, Config, Event, Identity, Mesh, Peer, Rights, Underlay, UnderlayId, node_id, overlay_address,
    },
};
use x0_test_support::netns::Namespace;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(20);
const MESH_ID: [u8; 32] = [7; 32];
const GENESIS: [u8; 32] = [9; 32];

/// One agent's data plane in a namespace of its own.
pub struct Agent {
    pub namespace: Namespace,
    pub thread: Option<MeshThread>,
    pub outputs: Outputs,
    pub handle: MeshHandle,
    pub address: Ipv6Addr,
    pub id: NodeId,
}

/// What an agent needs before it starts.
pub struct Plan {
    pub namespace: Namespace,
    pub key: SigningKey,
    pub config: MeshThreadConfig,
}

impl Plan {
    /// An agent whose underlay number n is the device `devices[n]`, at an address and port.
    pub fn new(namespace: Namespace, devices: &[(&str, SocketAddr)]) -> Result<Self> {
        let key = SigningKey::generate()?;
        let underlays = devices.iter().enumerate().map(|(number, (device, listen))| UnderlayConfig {
            id: UnderlayId(u16::try_from(number).unwrap()),
            name: format!("wire{number}"),
            interface: Some((*device).to_owned()),
            listen: *listen,
        });
        let mut config = MeshThreadConfig::new(underlays.collect());
        let address = overlay_address(&MESH_ID, &node_id(key.public()));
        config.tunnel = Some(TunnelConfig::new("x0m0", address));
        config.lock_memory = false;
        Ok(Self { namespace, key, config })
    }

    pub fn id(&self) -> NodeId {
        node_id(self.key.public())
    }

    pub fn peer(&self) -> Peer {
        let listens = self.config.underlays.iter().map(|underlay| (underlay.id, underlay.listen));
        Peer {
            id: self.id(),
            key: self.key.public().clone(),
            addresses: listens.collect(),
            trust_q16: 65_536,
            rights: Rights::ALL,
        }
    }

    pub fn start(self, peers: Vec<Peer>) -> Result<Agent> {
        let Self { namespace, key, config } = self;
        let id = node_id(key.public());
        let address = overlay_address(&MESH_ID, &id);
        let (thread, outputs) = namespace.inside(move || {
            let opened = Opened::open(&config).context("opening sockets and tunnel (these tests need root)")?;
            let underlays = opened.underlays().into_iter().map(|underlay| Underlay {
                id: UnderlayId(underlay.id),
                name: underlay.name,
                payload_bytes_max: underlay.payload_bytes_max,
                srlg: u32::from(underlay.id),
            });
            let mesh_config =
                Config { genesis: GENESIS, mesh_id: MESH_ID, start_number: 1, underlays: underlays.collect() };
            let identity = Identity { id, key: key.public().clone() };
            let now = x0_agent_io::mesh::now();
            let mut mesh = Mesh::new(mesh_config, identity, Box::new(OsEntropy), now)?;
            anyhow::ensure!(mesh.address() == address);
            mesh.update_authority(now, AuthorityView { height: 1, peers }, &mut Nowhere)?;
            Ok(MeshThread::start_opened(&config, opened, mesh, key, None)?)
        })?;
        let handle = thread.handle();
        Ok(Agent { namespace, thread: Some(thread), outputs, handle, address, id })
    }
}

/// A sink for the time before there is a thread: a new mesh has nothing to say that its first tick
/// does not say again.
struct Nowhere;

impl x0_mesh::node::Sink for Nowhere {
    fn send(&mut self, _: UnderlayId, _: SocketAddr, _: x0_mesh::node::Urgency, _: &[u8]) {}
    fn deliver(&mut self, _: &NodeId, _: &[u8]) {}
    fn job(&mut self, _: x0_mesh::node::Job) {}
    fn event(&mut self, _: Event) {}
}

impl Agent {
    /// Waits for an output that fits.
    pub async fn wait_for(&mut self, what: &str, mut fits: impl FnMut(&Output) -> bool) -> Result<Output> {
        let wait = async {
            loop {
                match self.outputs.recv().await {
                    Some(output) if fits(&output) => return Ok(output),
                    Some(_) => {}
                    None => bail!("the data thread ended before {what}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.with_context(|| format!("waiting for {what}"))?
    }

    /// What the mesh says of itself, for the words of a failure.
    pub async fn explain(&self) -> String {
        let mesh = self.handle.with(|mesh, now, _| {
            format!("{:#?}\n{:#?}\n{:?}", mesh.status(now), mesh.paths_explain(now), mesh.handshake_counters())
        });
        let io = self.handle.status();
        format!("{:?}\n{:?}", mesh.await, io.await).replace("\\n", "\n")
    }

    /// Stops and reports.
    pub fn stop(mut self) -> Result<x0_agent_io::mesh::StopReport> {
        Ok(self.thread.take().context("running")?.stop()?)
    }
}

/// Two namespaces with this many wires: `10.N.0.1` and `10.N.0.2`, both with port 7000.
pub fn namespaces(wires: u8, mtu: u32) -> Result<(Namespace, Namespace)> {
    let (one, two) = (Namespace::create()?, Namespace::create()?);
    for number in 0..wires {
        let (near, far) = (format!("a{number}"), format!("b{number}"));
        one.wire(&near, &two, &far)?;
        one.ip(&format!("address add 10.{number}.0.1/24 dev {near}"))?;
        two.ip(&format!("address add 10.{number}.0.2/24 dev {far}"))?;
        one.ip(&format!("link set {near} mtu {mtu}"))?;
        two.ip(&format!("link set {far} mtu {mtu}"))?;
    }
    Ok((one, two))
}

/// Two agents over this many wires, linked, with a session between them.
pub async fn pair(wires: u8) -> Result<(Agent, Agent)> {
    pair_with(wires, Priority::default()).await
}

pub async fn pair_with(wires: u8, priority: Priority) -> Result<(Agent, Agent)> {
    let (one, two) = namespaces(wires, 1_500)?;
    let listens = |letter: &str, host: u8| -> Vec<(String, SocketAddr)> {
        (0..wires)
            .map(|number| (format!("{letter}{number}"), SocketAddr::from(([10, number, 0, host], 7_000))))
            .collect()
    };
    let plan = |namespace, listens: Vec<(String, SocketAddr)>| {
        let devices: Vec<(&str, SocketAddr)> = listens.iter().map(|(device, at)| (device.as_str(), *at)).collect();
        Plan::new(namespace, &devices)
    };
    let (mut one, mut two) = (plan(one, listens("a", 1))?, plan(two, listens("b", 2))?);
    (one.config.priority, two.config.priority) = (priority, priority);
    let (peer_of_one, peer_of_two) = (two.peer(), one.peer());
    let mut one = one.start(vec![peer_of_one])?;
    let mut two = two.start(vec![peer_of_two])?;
    let mut links = 0;
    one.wait_for("links", |output| {
        links += u8::from(matches!(output, Output::Mesh(_, Event::LinkUp { .. })));
        links >= wires
    })
    .await?;
    two.wait_for("a link", |output| matches!(output, Output::Mesh(_, Event::LinkUp { .. }))).await?;
    Ok((one, two))
}
