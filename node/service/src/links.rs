//! The node's links to others: none on a node that is alone, libp2p over post-quantum TLS otherwise.
//!
//! ```text
//!   chain: Validators::admitted_network_keys --after each block--> Admission --+
//!   settings: network.admitted, network.peers ---------------------------------+--> P2pCarrier
//!                                                                                      | fork
//!                                        consensus <---- transactions <---- snapshots <-+
//! ```

use crate::{config::Config, exit::Failure};
use std::{collections::BTreeSet, net::SocketAddr, path::Path, sync::Arc, time::Duration};
use x0_crypto::SigningKey;
use x0_executor::Executor;
use x0_network::{
    Carrier, CarrierStats, Channel, PeerKey, fork,
    memory::MemoryCarrier,
    p2p::{Admission, Direction, HostPort, P2pCarrier, P2pConfig, P2pLimits, P2pMetrics, PeerAddress},
};
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
    consensus: Arc<dyn Carrier>,
    /// For the gossip of transactions.
    pub transactions: Arc<dyn Carrier>,
    /// For the state's snapshots.
    pub snapshots: Arc<dyn Carrier>,
}

/// What the node knows of a peer.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The first bytes of its key.
    pub name: String,
    /// `in` when it dialled, `out` when this node did.
    pub direction: &'static str,
    /// Its height, as far as it told.
    pub tip: u64,
    /// Time of a ping and its answer, milliseconds.
    pub rtt_ms: Option<f64>,
    /// How far its clock is ahead of this node's, milliseconds.
    pub clock_ahead_ms: i64,
}

impl Links {
    /// Links the node as the settings say. Must run within a tokio runtime.
    ///
    /// # Errors
    /// One line that names the setting.
    pub async fn start(
        config: &Config,
        boot_peers: &[String],
        network: &SigningKey,
        executor: &Executor,
        base: &Path,
    ) -> Result<Self, Failure> {
        let section = &config.file.network;
        if section.is_solo() {
            return Ok(Self::Solo(Arc::new(MemoryCarrier::solo(PeerKey::of(network.public())))));
        }
        let own = PeerKey::of(network.public());
        let named = parse_all::<PeerAddress>("network.peers", &section.peers)?;
        let boot = parse_all::<PeerAddress>("boot_peers of the chain specification", boot_peers)?;
        let mut peers: Vec<PeerAddress> = named.into_iter().chain(boot).filter(|peer| peer.key != own).collect();
        peers.sort();
        peers.dedup();
        let settings = P2pConfig {
            listen: section.listen.clone(),
            advertise: parse_all::<HostPort>("network.advertise", &section.advertise)?,
            peers,
            store: Some(base.join(STORE)),
            software: concat!("x0-node/", env!("CARGO_PKG_VERSION")).to_owned(),
            limits: P2pLimits::default(),
        };
        let tips = executor.subscribe_heads();
        let carrier = P2pCarrier::start(
            settings,
            network.clone(),
            executor.genesis_hash().0,
            Arc::new(move || u64::from(tips.borrow().number)),
        )
        .await
        .map_err(|cause| Failure::configuration(format!("network: {cause}")))?;
        let carrier = Arc::new(carrier);
        let fixed: BTreeSet<PeerKey> = section.admitted.iter().map(|key| PeerKey(key.0)).collect();
        tokio::spawn(admit(carrier.admission(), fixed, executor.clone()));
        let branches = fork(Arc::clone(&carrier) as Arc<dyn Carrier>, &[CONSENSUS, TRANSACTIONS, SNAPSHOTS])
            .map_err(|cause| Failure::configuration(format!("network: {cause}")))?;
        let [consensus, transactions, snapshots] = <[_; 3]>::try_from(branches)
            .map_err(|_| Failure::configuration("network: the carrier could not be shared"))?;
        Ok(Self::P2p(Arc::new(P2p { carrier, consensus, transactions, snapshots })))
    }

    /// Whether the node is alone on purpose.
    #[must_use]
    pub const fn is_solo(&self) -> bool {
        matches!(self, Self::Solo(_))
    }

    /// What consensus sends and receives over.
    #[must_use]
    pub fn consensus(&self) -> Arc<dyn Carrier> {
        match self {
            Self::Solo(carrier) => Arc::clone(carrier) as Arc<dyn Carrier>,
            Self::P2p(p2p) => Arc::clone(&p2p.consensus),
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
        let peer = |info: x0_network::p2p::PeerInfo| Peer {
            name: info.key.to_string(),
            direction: if info.direction == Direction::In { "in" } else { "out" },
            tip: info.tip,
            rtt_ms: info.rtt_ms,
            clock_ahead_ms: info.clock_ahead_ms,
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

    /// What was sent and received.
    #[must_use]
    pub fn stats(&self) -> CarrierStats {
        match self {
            Self::Solo(carrier) => carrier.stats(),
            Self::P2p(p2p) => p2p.carrier.stats(),
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
