//! The running data plane of one mesh: its threads, its filter in the kernel, and what it says.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::{sync::mpsc, task::JoinHandle};
use x0_agent_io::mesh::{
    CaptureRequest, Captured, IoStatus, KernelSeen, MeshHandle, MeshIoError, MeshThread, MeshThreadConfig, Opened,
    OsEntropy, Output, Outputs, StartReport, StopReport, UnderlayConfig, yggdrasil::Yggdrasil,
};
use x0_crypto::SigningKey;
use x0_ebpf_loader::mesh::{FILTER_PORTS_MAX, FilterConfig, FilterReader, FilterStatus, MeshGuard};
use x0_mesh::{
    NodeId, Time,
    handshake::HandshakeCounters,
    node::{
        AuthorityError, AuthorityView, Config, ConfigError, Event, Identity, Job, Mesh, Peer, RuleError, SessionPaths,
        Sink, Status, Underlay, UnderlayId, Urgency, node_id, overlay_address,
    },
};

use super::plan::{Plan, UnderlayPlan};

/// Captured headers that wait for a slow reader.
const CAPTURE_QUEUE: usize = 1_024;
/// Events that the status shows.
const EVENTS_SHOWN: usize = 64;

/// Why the data plane does not start, or does not take what it is told.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    /// Sockets, tunnel or threads.
    #[error(transparent)]
    Io(#[from] MeshIoError),
    /// The mesh's own configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The view of who may be a peer.
    #[error("the view of peers: {0}")]
    Authority(#[from] AuthorityError),
    /// The rules.
    #[error("mesh.rule: {0}")]
    Rules(#[from] RuleError),
    /// No underlay is left.
    #[error("no underlay can be used: {reasons}")]
    NoUnderlay {
        /// Why, for each.
        reasons: String,
    },
    /// A capture runs already.
    #[error("a capture runs already")]
    CaptureRuns,
}

type Result<T, E = PlaneError> = std::result::Result<T, E>;

/// What pump, status and commands share.
struct Shared {
    guard: Mutex<MeshGuard>,
    /// Tags of the filter, for the data thread's own look-ups.
    tags: Arc<Mutex<BTreeSet<u32>>>,
    capture: Mutex<Option<mpsc::Sender<Captured>>>,
    /// Peers that may hold a session with this host and have not been greeted since the start; none without a tunnel.
    strange: Mutex<BTreeSet<NodeId>>,
    greeted: Mutex<BTreeSet<NodeId>>,
    notes: Mutex<Notes>,
}

/// What the data thread said besides events of the protocol.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Notes {
    /// Underlays whose device has no carrier now.
    pub dark: BTreeSet<String>,
    /// Outputs that came too fast.
    pub outputs_lost: u64,
    /// Jobs that panicked.
    pub jobs_panicked: u64,
    /// Tags that the filter did not take.
    pub tags_refused: u64,
    /// What the filter said last.
    pub filter_error: Option<String>,
}

/// A data plane.
pub struct Plane {
    /// The mesh.
    pub mesh_id: [u8; 32],
    /// This node's address in it.
    pub address: Ipv6Addr,
    /// What the operator should know of its start.
    pub warnings: Vec<String>,
    /// What was opened.
    pub report: StartReport,
    thread: MeshThread,
    handle: MeshHandle,
    reader: Option<FilterReader>,
    shared: Arc<Shared>,
    pump: JoinHandle<()>,
}

/// Everything that the status shows of a data plane at one moment.
pub struct Snapshot {
    /// The protocol.
    pub status: Status,
    /// Handshakes.
    pub handshakes: HandshakeCounters,
    /// The last events, oldest first.
    pub events: Vec<(Time, Event)>,
    /// Sockets, tunnel, loop.
    pub io: IoStatus,
    /// The filter.
    pub filter: FilterStatus,
    /// What the filter did, by reason.
    pub filtered: BTreeMap<String, u64>,
    /// The rest.
    pub notes: Notes,
}

/// What is opened before the threads start.
struct Ready {
    thread: MeshThread,
    outputs: Outputs,
    guard: MeshGuard,
    tags: Arc<Mutex<BTreeSet<u32>>>,
    warnings: Vec<String>,
}

/// A sink for the time before there is a thread: a new mesh has nothing to say that its first tick does not say again.
struct Nowhere;

impl Sink for Nowhere {
    fn send(&mut self, _: UnderlayId, _: SocketAddr, _: Urgency, _: &[u8]) {}
    fn deliver(&mut self, _: &NodeId, _: &[u8]) {}
    fn job(&mut self, _: Job) {}
    fn event(&mut self, _: Event) {}
}

/// The filter's table of last arrivals, for links that the loop had no time to read.
struct Seen {
    reader: FilterReader,
    tags: Arc<Mutex<BTreeSet<u32>>>,
}

impl KernelSeen for Seen {
    fn read(&mut self, each: &mut dyn FnMut(u32, Time)) {
        // The data thread waits for nobody: while the list changes, this look is left out.
        let Some(tags) = self.tags.try_lock() else { return };
        for tag in tags.iter() {
            if let Some(seen_ns) = self.reader.last_seen(*tag) {
                each(*tag, Time(seen_ns));
            }
        }
    }
}

impl Plane {
    /// Opens sockets, tunnel and filter in this thread's network namespace and starts the threads.
    ///
    /// # Errors
    /// What does not open. Missing rights for priority, memory and the filter are warnings.
    pub async fn start(
        plan: &Plan,
        key: &SigningKey,
        (genesis, mesh_id): ([u8; 32], [u8; 32]),
        (height, peers): (u64, Vec<Peer>),
    ) -> Result<Self> {
        let (plan, key) = (plan.clone(), key.clone());
        let strange = if plan.tunnel.is_some() { hosts(&peers) } else { BTreeSet::new() };
        let address = overlay_address(&mesh_id, &node_id(key.public()));
        let opened = tokio::task::spawn_blocking(move || {
            let view = AuthorityView { height, peers };
            open(&plan, &key, (genesis, mesh_id), address, view)
        });
        let ready =
            opened.await.map_err(|panic| MeshIoError::Panicked { thread: "start", reason: panic.to_string() })??;
        let Ready { thread, outputs, guard, tags, warnings } = ready;
        let handle = thread.handle();
        let report = thread.report().clone();
        let reader = guard.reader();
        let shared = Arc::new(Shared {
            guard: Mutex::new(guard),
            tags,
            capture: Mutex::new(None),
            strange: Mutex::new(strange),
            greeted: Mutex::default(),
            notes: Mutex::default(),
        });
        let pump = tokio::spawn(pump(outputs, Arc::clone(&shared), handle.clone(), address));
        for warning in warnings.iter().cloned().chain(report.warnings()) {
            tracing::warn!(%warning, "mesh");
        }
        tracing::info!(%address, mesh = hex(&mesh_id), underlays = report.underlays.len(), "mesh is up");
        Ok(Self { mesh_id, address, warnings, report, thread, handle, reader, shared, pump })
    }

    /// Tells the protocol who may be a peer. What it no longer may is closed when this returns.
    ///
    /// # Errors
    /// [`PlaneError`]; the view before goes on.
    pub async fn set_peers(&self, height: u64, peers: Vec<Peer>) -> Result<()> {
        if self.report.tunnel.is_some() {
            let greeted = self.shared.greeted.lock();
            *self.shared.strange.lock() = hosts(&peers).difference(&greeted).copied().collect();
        }
        let view = AuthorityView { height, peers };
        Ok(self.handle.with(move |mesh, now, sink| mesh.update_authority(now, view, sink)).await??)
    }

    /// Sets rules, denied sources and limits of handshakes, in the process and in the kernel.
    ///
    /// # Errors
    /// [`PlaneError`] of the process's part; what the kernel refuses is noted in the status.
    pub async fn set_rules(&self, plan: &Plan) -> Result<()> {
        let rules = plan.rules.clone();
        self.handle.with(move |mesh, now, sink| mesh.set_rules(now, &rules, sink)).await??;
        self.handle.deny_sources(plan.denied.clone())?;
        let mut guard = self.shared.guard.lock();
        let told = guard
            .set_rules(&plan.kernel_rules, &plan.prefixes)
            .and_then(|()| guard.set_buckets(plan.buckets.0, plan.buckets.1))
            .and_then(|()| guard.arm(plan.enforce));
        drop(guard);
        self.shared.notes.lock().filter_error = told.err().map(|error| error.to_string());
        Ok(())
    }

    /// Everything for the status.
    ///
    /// # Errors
    /// [`PlaneError::Io`] when the data thread does not answer.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        let (status, handshakes, events) = self
            .handle
            .with(|mesh, now, _| {
                let told =
                    |event: &&(Time, Event)| !matches!(event.1, Event::TagAdded { .. } | Event::TagRemoved { .. });
                let events: Vec<_> = mesh.history().filter(told).cloned().collect();
                (mesh.status(now), *mesh.handshake_counters(), events)
            })
            .await?;
        let io = self.handle.status().await?;
        let filter = self.shared.guard.lock().status();
        let totals = self.reader.as_ref().and_then(|reader| reader.totals().ok());
        let filtered = totals.iter().flat_map(|totals| totals.iter());
        Ok(Snapshot {
            status,
            handshakes,
            events: events.into_iter().rev().take(EVENTS_SHOWN).rev().collect(),
            io,
            filter,
            filtered: filtered.map(|(reason, count)| (format!("{reason:?}"), count)).collect(),
            notes: self.shared.notes.lock().clone(),
        })
    }

    /// Why each path stands where it stands, with the time of asking.
    ///
    /// # Errors
    /// [`PlaneError::Io`] when the data thread does not answer.
    pub async fn paths(&self) -> Result<(Time, Vec<SessionPaths>)> {
        Ok(self.handle.with(|mesh, now, _| (now, mesh.paths_explain(now))).await?)
    }

    /// Captures the headers of inner packets for some time; they come until it is over.
    ///
    /// # Errors
    /// [`PlaneError::CaptureRuns`].
    pub fn capture(&self, seconds: u64, packets_max: u64) -> Result<mpsc::Receiver<Captured>> {
        let (sender, receiver) = mpsc::channel(CAPTURE_QUEUE);
        {
            let mut capture = self.shared.capture.lock();
            if let Some(running) = &*capture {
                if running.is_closed() {
                    // Its reader is gone: once the data thread has heard that, the next may begin.
                    self.handle.capture(None)?;
                }
                return Err(PlaneError::CaptureRuns);
            }
            *capture = Some(sender);
        }
        let duration_ms = seconds.saturating_mul(1_000);
        self.handle.capture(Some(CaptureRequest { packets_max, duration_ms, from: None }))?;
        Ok(receiver)
    }

    /// Ends a capture before its time.
    pub fn end_capture(&self) {
        // A thread that has ended captures nothing; one that is too busy is told by the next who wants to capture.
        let _ = self.handle.capture(None);
    }

    /// Whether the data thread has ended by itself.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.has_ended()
    }

    /// Closes everything; neighbours see silence at once.
    ///
    /// # Errors
    /// What had ended the data thread before.
    pub async fn stop(self) -> Result<StopReport> {
        let Self { thread, pump, .. } = self;
        let stopped = tokio::task::spawn_blocking(move || thread.stop()).await;
        pump.abort();
        Ok(stopped.map_err(|panic| MeshIoError::Panicked { thread: "stop", reason: panic.to_string() })??)
    }
}

/// Bytes in hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    x0_client::text::hex_text(bytes)
}

fn open(
    plan: &Plan,
    key: &SigningKey,
    (genesis, mesh_id): ([u8; 32], [u8; 32]),
    address: Ipv6Addr,
    view: AuthorityView,
) -> Result<Ready> {
    let mut warnings = Vec::new();
    let mut underlays = Vec::new();
    for underlay in &plan.underlays {
        match found(underlay) {
            Ok(config) => underlays.push(config),
            Err(reason) => warnings.push(reason),
        }
    }
    if underlays.is_empty() {
        return Err(PlaneError::NoUnderlay { reasons: warnings.join("; ") });
    }
    let config = MeshThreadConfig {
        underlays,
        tunnel: plan.tunnel_at(address),
        priority: plan.priority,
        lock_memory: plan.lock_memory,
        job_threads: plan.job_threads,
    };
    let opened = Opened::open(&config)?;
    let risk = |id: u16| {
        let planned = plan.underlays.iter().find(|planned| planned.id.0 == id);
        planned.map_or(u32::from(id), |planned| planned.shared_risk)
    };
    let sockets = opened.underlays();
    let mesh_underlays = sockets.iter().map(|socket| Underlay {
        id: UnderlayId(socket.id),
        name: socket.name.clone(),
        payload_bytes_max: socket.payload_bytes_max,
        srlg: risk(socket.id),
    });
    let mesh_config =
        Config { genesis, mesh_id, start_number: crate::identity::now_ms(), underlays: mesh_underlays.collect() };
    let identity = Identity { id: node_id(key.public()), key: key.public().clone() };
    let now = x0_agent_io::mesh::now();
    let mut mesh = Mesh::new(mesh_config, identity, Box::new(OsEntropy), now)?;
    mesh.set_rules(now, &plan.rules, &mut Nowhere)?;
    mesh.update_authority(now, view, &mut Nowhere)?;
    let ports: BTreeSet<u16> = sockets.iter().map(|socket| socket.listen.port()).collect();
    let guard = filter(plan, &config.underlays, &ports, &mut warnings);
    let tags = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = guard.reader().map(|reader| Box::new(Seen { reader, tags: Arc::clone(&tags) }) as Box<dyn KernelSeen>);
    let (thread, outputs) = MeshThread::start_opened(&config, opened, mesh, key.clone(), seen)?;
    thread.handle().deny_sources(plan.denied.clone())?;
    Ok(Ready { thread, outputs, guard, tags, warnings })
}

/// The underlay as the data thread opens it; asks Yggdrasil for its address.
fn found(underlay: &UnderlayPlan) -> Result<UnderlayConfig, String> {
    let mut listen = underlay.listen;
    if let Some(socket) = &underlay.yggdrasil {
        let own = Yggdrasil::new(socket).self_info();
        let own = own.map_err(|error| format!("underlay {} is left out: {error}", underlay.name))?;
        listen.set_ip(own.address.into());
    }
    Ok(UnderlayConfig { id: underlay.id, name: underlay.name.clone(), interface: underlay.interface.clone(), listen })
}

/// Loads and attaches the filter. Whatever is missing is a warning: the process checks everything itself.
fn filter(plan: &Plan, underlays: &[UnderlayConfig], ports: &BTreeSet<u16>, warnings: &mut Vec<String>) -> MeshGuard {
    let Some(mode) = plan.filter else { return MeshGuard::off("switched off by mesh.filter.mode") };
    let ports: Vec<u16> = ports.iter().copied().take(FILTER_PORTS_MAX).collect();
    let config = FilterConfig { per_prefix: plan.buckets.0, global: plan.buckets.1, ..FilterConfig::new(&ports) };
    let mut guard = MeshGuard::load(&config);
    let mut devices = BTreeSet::new();
    for underlay in underlays {
        let loopback = underlay.listen.ip().is_loopback().then(|| "lo".to_owned());
        match underlay.interface.clone().or(loopback) {
            Some(device) => drop(devices.insert(device)),
            None => warnings.push(format!(
                "underlay {} names no interface, so that the kernel does not filter it (mesh.underlay.interface)",
                underlay.name
            )),
        }
    }
    for device in devices {
        guard.attach(&device, mode);
    }
    let told = guard.set_rules(&plan.kernel_rules, &plan.prefixes).and_then(|()| guard.arm(plan.enforce));
    if let Err(error) = told {
        warnings.push(format!("the filter in the kernel: {error}"));
    }
    crate::counters::give_memory_back();
    guard
}

/// Takes what the data thread says until it ends.
async fn pump(mut outputs: Outputs, shared: Arc<Shared>, handle: MeshHandle, own: Ipv6Addr) {
    while let Some(output) = outputs.recv().await {
        match output {
            Output::Mesh(_, event) => {
                shared.event(&event);
                if let Event::LinkUp { peer, .. } = event
                    && shared.strange.lock().remove(&peer)
                {
                    shared.greeted.lock().insert(peer);
                    greet(&handle, own, peer).await;
                }
            }
            Output::Lost(count) => {
                tracing::warn!(count, "outputs of the data thread came too fast");
                shared.notes.lock().outputs_lost += count;
                // The end of a capture may be among them.
                shared.capture.lock().take_if(|running| running.is_closed());
                // The filter may have missed tags: it takes them over anew.
                match handle.with(|mesh, _, _| mesh.tags()).await {
                    Ok(tags) => shared.replace_tags(&tags),
                    Err(error) => tracing::warn!(%error, "tags cannot be read"),
                }
            }
            Output::Carrier { underlay, up } => {
                tracing::info!(underlay, up, "carrier");
                let mut notes = shared.notes.lock();
                if up {
                    notes.dark.remove(&underlay);
                } else {
                    notes.dark.insert(underlay);
                }
            }
            Output::AddressesChanged => tracing::debug!("addresses changed"),
            Output::Stalled { late_us } => tracing::debug!(late_us, "the data thread came late"),
            Output::Captured(captured) => {
                // A reader that is slower than the packets misses some, and sees that in their times.
                let _ = shared.capture.lock().as_ref().map(|reader| reader.try_send(captured));
            }
            Output::CaptureEnded => drop(shared.capture.lock().take()),
            Output::JobPanicked(reason) => {
                tracing::error!(reason, "a job of the mesh panicked");
                shared.notes.lock().jobs_panicked += 1;
            }
            _ => {}
        }
    }
    shared.capture.lock().take();
}

/// Peers that may hold a session with this host.
fn hosts(peers: &[Peer]) -> BTreeSet<NodeId> {
    peers.iter().filter(|peer| peer.rights.session).map(|peer| peer.id).collect()
}

/// Opens a session with a neighbour by an empty packet, once after a start. The neighbour may still hold a session with
/// this agent's last life: what it sends for that one is lost, and this replaces it in a round trip.
async fn greet(handle: &MeshHandle, own: Ipv6Addr, peer: NodeId) {
    // All addresses of a mesh share their first 48 bits; the others are the node's.
    let mut target = own.octets();
    target[6..].copy_from_slice(&peer.0[..10]);
    let target = Ipv6Addr::from(target);
    let sent = handle.with(move |mesh, now, sink| {
        mesh.packet(now, &empty_packet(own, target), sink);
    });
    if let Err(error) = sent.await {
        // The first packet of either host opens the session then.
        tracing::debug!(%error, "a neighbour is not greeted");
    }
}

/// An IPv6 packet without content: next header 59 (RFC 8200 section 4.7), which hosts discard.
fn empty_packet(source: Ipv6Addr, target: Ipv6Addr) -> [u8; 40] {
    let mut packet = [0; 40];
    (packet[0], packet[6], packet[7]) = (0x60, 59, 64);
    packet[8..24].copy_from_slice(&source.octets());
    packet[24..40].copy_from_slice(&target.octets());
    packet
}

impl Shared {
    fn event(&self, event: &Event) {
        match event {
            Event::TagAdded { tag, peer } => self.allow(*tag, peer),
            Event::TagRemoved { tag } => self.revoke(*tag),
            Event::LinkUp { peer, underlay, address } => {
                tracing::info!(%peer, %underlay, %address, "link is up");
            }
            Event::LinkDown { peer, underlay, cause } => {
                tracing::info!(%peer, %underlay, ?cause, "link is down");
            }
            Event::LinkClosed { peer, underlay, cause } => tracing::info!(%peer, %underlay, ?cause, "link is closed"),
            Event::LinkMoved { peer, underlay, address } => {
                tracing::info!(%peer, %underlay, %address, "link has moved");
            }
            Event::SessionUp { peer } => tracing::info!(%peer, "session is open"),
            Event::SessionClosed { peer, cause } => tracing::info!(%peer, ?cause, "session is closed"),
            Event::Switched { peer, cause, replayed } => tracing::info!(%peer, ?cause, replayed, "path switched"),
        }
    }

    fn allow(&self, tag: u32, peer: &NodeId) {
        self.tags.lock().insert(tag);
        let allowed = self.guard.lock().allow(tag, peer.0);
        if let Err(error) = allowed {
            tracing::warn!(%error, "the filter does not take a tag");
            let mut notes = self.notes.lock();
            notes.tags_refused += 1;
            notes.filter_error = Some(error.to_string());
        }
    }

    fn revoke(&self, tag: u32) {
        self.tags.lock().remove(&tag);
        let revoked = self.guard.lock().revoke(tag);
        if let Err(error) = revoked {
            // It lets in what the process refuses.
            tracing::warn!(%error, "the filter keeps a tag");
        }
    }

    fn replace_tags(&self, tags: &[(u32, NodeId)]) {
        let gone: Vec<u32> = {
            let known = self.tags.lock();
            known.iter().filter(|tag| !tags.iter().any(|(other, _)| other == *tag)).copied().collect()
        };
        for tag in gone {
            self.revoke(tag);
        }
        for (tag, peer) in tags {
            self.allow(*tag, peer);
        }
    }
}
