//! The node's links to others: none on a node that is alone, libp2p over post-quantum TLS otherwise.
//!
//! ```text
//!   chain: Validators::admitted_network_keys --after each block--> Admission --+
//!   settings: network.admitted, network.peers ---------------------------------+--> P2pCarrier
//!                                                                                      | fork
//!                                        consensus <---- transactions <---- snapshots <-+
//! ```

use crate::{exit::Failure, ground::Ground, parts::Plan};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use x0_executor::Executor;
use x0_network::{
    Carrier, Channel, PeerKey, fork,
    memory::MemoryCarrier,
    p2p::{Admission, Direction, HostPort, P2pCarrier, P2pConfig, P2pLimits, P2pMetrics, PeerAddress, Tip},
};
use x0_rpc_types::node::{LinkDirection, Peer};
use x0_runtime::Validators;

/// What consensus sends and receives.
const CONSENSUS: &[Channel] = &[
    Channel::Consensus,
    Channel::Liveness,
    Channel::Status,
    Channel::SyncRequest,
    Channel::Parts,
    Channel::SyncResponse,
];
/// What the gossip of transactions sends and receives.
const TRANSACTIONS: &[Channel] = &[Channel::Transactions];
/// What the state's snapshots are sent over.
const SNAPSHOTS: &[Channel] = &[Channel::SnapshotRequest, Channel::SnapshotResponse];
/// File of the peer store in the data directory.
const STORE: &str = "peers.json";

/// How the node is linked.
#[derive(Clone)]
pub enum Links {
    /// Not at all.
    Solo(Arc<MemoryCarrier>),
    /// Over TCP.
    P2p(Arc<P2p>),
}

/// Links over TCP.
pub struct P2p {
    carrier: Arc<P2pCarrier>,
    branches: OnceLock<Vec<Arc<dyn Carrier>>>,
}

impl P2p {
    /// A branch of the carrier, which is shared at the first call. Without branches, because somebody has the
    /// whole carrier, it is that one: whoever asks it for events is told that they are taken.
    fn branch(&self, number: usize) -> Arc<dyn Carrier> {
        let whole = || Arc::clone(&self.carrier) as Arc<dyn Carrier>;
        let branches = self.branches.get_or_init(|| {
            fork(whole(), &[CONSENSUS, TRANSACTIONS, SNAPSHOTS]).unwrap_or_else(|cause| {
                tracing::error!(target: "x0::node", %cause, "the carrier could not be shared");
                Vec::new()
            })
        });
        branches.get(number).cloned().unwrap_or_else(whole)
    }

    /// What the gossip of transactions sends and receives over.
    pub fn transactions(&self) -> Arc<dyn Carrier> {
        self.branch(1)
    }

    /// What snapshots are served over.
    pub fn snapshots(&self) -> Arc<dyn Carrier> {
        self.branch(2)
    }
}

impl Links {
    /// Links a node whose chain is open: peers hear its height, and the chain says who is admitted. Must run
    /// within a tokio runtime.
    ///
    /// # Errors
    /// One line that names the setting.
    pub async fn of_ground(plan: &Plan, ground: &Ground) -> Result<Self, Failure> {
        let tips = ground.executor.subscribe_heads();
        let links = Self::start(plan, Arc::new(move || u64::from(tips.borrow().number))).await?;
        if let Self::P2p(p2p) = &links {
            tokio::spawn(admit(p2p.carrier.admission(), plan.fixed_peers(), ground.executor.clone()));
        }
        Ok(links)
    }

    /// Links a node as the settings say. Until the chain is read, the validators of its first block are admitted.
    ///
    /// # Errors
    /// One line that names the setting.
    pub async fn start(plan: &Plan, tip: Tip) -> Result<Self, Failure> {
        let section = &plan.config.file.network;
        let own = PeerKey::of(plan.keys.network.public());
        if section.is_solo() {
            return Ok(Self::Solo(Arc::new(MemoryCarrier::solo(own))));
        }
        let named = parse_all::<PeerAddress>("network.peers", &section.peers)?;
        let boot = parse_all::<PeerAddress>("boot_peers of the chain specification", &plan.spec.boot_peers)?;
        let mut peers: Vec<PeerAddress> = named.into_iter().chain(boot).filter(|peer| peer.key != own).collect();
        peers.sort();
        peers.dedup();
        let settings = P2pConfig {
            listen: section.listen.clone(),
            advertise: parse_all::<HostPort>("network.advertise", &section.advertise)?,
            peers,
            store: Some(plan.base.join(STORE)),
            software: concat!("x0-node/", env!("CARGO_PKG_VERSION")).to_owned(),
            limits: P2pLimits::default(),
        };
        let carrier = P2pCarrier::start(settings, plan.keys.network.clone(), plan.genesis_hash.0, tip)
            .await
            .map_err(|cause| Failure::configuration(format!("network: {cause}")))?;
        let mut first = plan.fixed_peers();
        first.extend(plan.spec.validators.iter().map(|validator| PeerKey(validator.keys.network.fingerprint().0)));
        carrier.admission().set(first);
        Ok(Self::P2p(Arc::new(P2p { carrier: Arc::new(carrier), branches: OnceLock::new() })))
    }

    /// The whole carrier, for a part that needs it alone.
    #[must_use]
    pub fn whole(&self) -> Arc<dyn Carrier> {
        match self {
            Self::Solo(carrier) => Arc::clone(carrier) as Arc<dyn Carrier>,
            Self::P2p(p2p) => Arc::clone(&p2p.carrier) as Arc<dyn Carrier>,
        }
    }

    /// What consensus sends and receives over.
    #[must_use]
    pub fn consensus(&self) -> Arc<dyn Carrier> {
        match self {
            Self::Solo(carrier) => Arc::clone(carrier) as Arc<dyn Carrier>,
            Self::P2p(p2p) => p2p.branch(0),
        }
    }

    /// The links over TCP, if there are.
    #[must_use]
    pub fn p2p(&self) -> Option<&Arc<P2p>> {
        match self {
            Self::Solo(_) => None,
            Self::P2p(p2p) => Some(p2p),
        }
    }

    /// The peers with a standing link.
    #[must_use]
    pub fn peers(&self) -> Vec<Peer> {
        let Self::P2p(p2p) = self else { return Vec::new() };
        let since_ms = |since: SystemTime| {
            since.duration_since(UNIX_EPOCH).map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
        };
        let peer = |info: x0_network::p2p::PeerInfo| Peer {
            peer_id: hex::encode(info.key.0),
            address: info.address.to_string(),
            direction: if info.direction == Direction::In { LinkDirection::In } else { LinkDirection::Out },
            software: info.version,
            tip: info.tip,
            since_ms: since_ms(info.since),
            rtt_ms: info.rtt_ms,
            clock_ahead_ms: info.clock_ahead_ms,
            sent: info.sent,
            received: info.received,
            dropped: info.dropped,
            penalties: info.penalties,
        };
        p2p.carrier.peers().into_iter().map(peer).collect()
    }

    /// Admitted peers without a link, each with the reason if there is one.
    #[must_use]
    pub fn missing(&self) -> usize {
        match self {
            Self::Solo(_) => 0,
            Self::P2p(p2p) => p2p.carrier.unlinked().len(),
        }
    }

    /// Where the node listens for others.
    #[must_use]
    pub fn listening(&self) -> Vec<SocketAddr> {
        match self {
            Self::Solo(_) => Vec::new(),
            Self::P2p(p2p) => p2p.carrier.listening(),
        }
    }

    /// The carrier's own counters.
    #[must_use]
    pub fn metrics(&self) -> P2pMetrics {
        match self {
            Self::Solo(_) => P2pMetrics::default(),
            Self::P2p(p2p) => p2p.carrier.metrics(),
        }
    }

    /// Closes the links.
    pub async fn stop(&self) {
        if let Self::P2p(p2p) = self {
            p2p.carrier.stop().await;
        }
    }
}

fn parse_all<T: core::str::FromStr<Err: core::fmt::Display>>(
    setting: &str,
    texts: &[String],
) -> Result<Vec<T>, Failure> {
    texts
        .iter()
        .map(|text| text.parse().map_err(|cause| Failure::configuration(format!("{setting}: '{text}': {cause}"))))
        .collect()
}

/// Keeps the list of admitted peers as the chain has it, until the executor is gone.
async fn admit(admission: Admission, fixed: BTreeSet<PeerKey>, executor: Executor) {
    let mut heads = executor.subscribe_heads();
    loop {
        let at = heads.borrow_and_update().hash;
        let reader = executor.clone();
        let read = tokio::task::spawn_blocking(move || reader.with_state(at, Validators::admitted_network_keys)).await;
        match read {
            Ok(Ok(keys)) => {
                let mut admitted = fixed.clone();
                admitted.extend(keys.into_iter().map(PeerKey));
                admission.set(admitted);
            }
            Ok(Err(cause)) => {
                // The list of the block before stays in force; the next block brings another chance.
                tracing::error!(target: "x0::node", %cause, ?at, "the list of admitted peers could not be read");
            }
            Err(_) => return,
        }
        if heads.changed().await.is_err() {
            return;
        }
        // Blocks that came meanwhile are read as one.
        tokio::time::sleep(ADMISSION_PAUSE).await;
    }
}

/// Shortest time between two readings of the list.
const ADMISSION_PAUSE: Duration = Duration::from_millis(200);
