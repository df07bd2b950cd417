//! What the parts of a carrier share.

use super::{
    address::HostPort,
    conduct::{Conduct, Verdict},
    lane::Lane,
    metrics::{Counters, count},
    quota::ChannelQuota,
    transport::{Judgement, Security},
    wire::{Hello, Told},
};
use crate::{
    CarrierEvent, Channel, Offence, PeerKey,
    queue::{Class, LinkQueue},
};
use libp2p::swarm::ConnectionId;
use parking_lot::{Mutex, RwLock};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Instant,
};
use tokio::sync::{mpsc, oneshot};

/// The height of this node's last block, asked whenever it is told to a peer; must be quick.
pub type Tip = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Milliseconds since the start of the carrier.
pub(super) fn millis(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Who may have links, and who is banned.
#[derive(Default)]
pub(super) struct Lists {
    pub fixed: BTreeSet<PeerKey>,
    pub listed: RwLock<BTreeSet<PeerKey>>,
    pub conduct: Mutex<Conduct>,
}

impl Lists {
    pub(super) fn admits(&self, peer: &PeerKey) -> bool {
        self.fixed.contains(peer) || self.listed.read().contains(peer)
    }

    pub(super) fn judge(&self, peer: &PeerKey, now_ms: u64) -> Judgement {
        if !self.admits(peer) {
            return Judgement::NotAdmitted;
        }
        match self.conduct.lock().banned_for(peer, now_ms) {
            0 => Judgement::Admitted,
            for_ms => Judgement::Banned { for_ms },
        }
    }

    pub(super) fn all(&self) -> BTreeSet<PeerKey> {
        self.fixed.union(&self.listed.read()).copied().collect()
    }
}

/// Live facts about one link.
#[derive(Debug, Default)]
pub(super) struct LinkFacts {
    pub heard_ms: AtomicU64,
    /// Round trip of the last ping, microseconds; 0 before the first.
    pub rtt_us: AtomicU64,
    pub tip: AtomicU64,
    pub clock_ahead_ms: AtomicI64,
    pub sent: AtomicU64,
    pub received: AtomicU64,
    pub dropped: AtomicU64,
}

/// The connections on which frames to a peer go: the same one twice while another is missing.
#[derive(Clone)]
pub(super) struct Routes {
    pub votes: Route,
    pub bulk: Route,
}

impl Routes {
    /// Where frames of a channel go.
    pub(super) const fn of(&self, channel: Channel) -> &Route {
        match Lane::of(Class::of(channel)) {
            Lane::Votes => &self.votes,
            Lane::Bulk => &self.bulk,
        }
    }

    /// Whether bulk has a connection of its own.
    pub(super) fn apart(&self) -> bool {
        !Arc::ptr_eq(&self.votes.queue, &self.bulk.queue)
    }

    /// The connections, each once.
    pub(super) fn each(&self) -> impl Iterator<Item = &Route> {
        std::iter::once(&self.votes).chain(self.apart().then_some(&self.bulk))
    }
}

/// One connection on which frames to a peer go.
#[derive(Clone)]
pub(super) struct Route {
    pub queue: Arc<LinkQueue>,
    pub facts: Arc<LinkFacts>,
    pub remote: SocketAddr,
    pub dialled: bool,
    pub software: String,
    pub since_ms: u64,
}

/// A link that has exchanged hellos.
pub(super) struct Ready {
    pub connection: ConnectionId,
    pub peer: PeerKey,
    pub lane: Lane,
    pub route: Route,
    pub hello: Hello,
    /// Answered when the node has heard of the peer; dropped when the link must end.
    pub begin: oneshot::Sender<()>,
}

/// What the manager is told.
pub(super) enum Command {
    Ready(Box<Ready>),
    Ended { connection: ConnectionId, peer: PeerKey, reason: String },
    AdmissionChanged,
    Banned(PeerKey),
    Told(Vec<Told>),
    Resolved { peer: PeerKey, lane: Lane, place: HostPort, addresses: std::io::Result<Vec<SocketAddr>> },
    Stop(oneshot::Sender<()>),
}

/// Addresses to tell, and their version.
#[derive(Default)]
pub(super) struct Tellings {
    pub version: u64,
    pub told: Vec<Told>,
}

impl Tellings {
    /// What there is to tell to a peer that knows this version.
    pub(super) fn since(&self, version: u64) -> Option<(u64, Vec<Told>)> {
        (self.version != version).then(|| (self.version, self.told.clone()))
    }
}

pub(super) struct Shared {
    pub local: PeerKey,
    pub genesis: [u8; 32],
    pub software: String,
    pub started: Instant,
    pub tip: Tip,
    pub security: Arc<Security>,
    pub counters: Arc<Counters>,
    pub lists: Arc<Lists>,
    pub routes: RwLock<BTreeMap<PeerKey, Routes>>,
    pub quotas: [ChannelQuota; Channel::ALL.len()],
    /// Never blocks a sender: what is sent is bounded by links, lists and bans.
    pub commands: mpsc::UnboundedSender<Command>,
    pub events: Mutex<Option<mpsc::Sender<CarrierEvent>>>,
    pub own_addresses: Vec<String>,
    pub tellings: RwLock<Tellings>,
    pub budget: super::wire::Budget,
    pub unlinked: Mutex<Vec<super::book::Unlinked>>,
}

impl Shared {
    pub(super) fn now(&self) -> u64 {
        millis(self.started)
    }

    /// Tells the manager; a manager that is gone needs nothing any more.
    pub(super) fn tell(&self, command: Command) {
        drop(self.commands.send(command));
    }

    /// What this node says first on a link, and the version of the addresses in it.
    pub(super) fn hello(&self) -> (Hello, u64) {
        let (version, peers) = {
            let tellings = self.tellings.read();
            (tellings.version, tellings.told.clone())
        };
        let hello = Hello {
            version: super::wire::LINK_VERSION,
            genesis: self.genesis,
            software: self.software.clone(),
            tip: (self.tip)(),
            time_ms: unix_ms(),
            addresses: self.own_addresses.clone(),
            peers,
        };
        (hello, version)
    }

    /// Notes an offence, and bans whoever has too many.
    pub(super) fn offend(&self, peer: PeerKey, offence: Offence) {
        // A frame may be judged after its sender has left the list.
        if !self.lists.admits(&peer) {
            return;
        }
        count(&self.counters.offences);
        let verdict = self.lists.conduct.lock().offend(peer, offence, self.now());
        match verdict {
            Verdict::Noted => tracing::debug!(%peer, ?offence, "offence noted"),
            Verdict::Banned { for_ms } => {
                count(&self.counters.bans);
                tracing::warn!(peer = %hex::encode(peer.0), last = ?offence, for_ms, "peer banned for its offences");
                self.routes.write().remove(&peer);
                self.tell(Command::Banned(peer));
            }
        }
    }
}

/// The clock, milliseconds since 1970.
pub(super) fn unix_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl LinkFacts {
    pub(super) fn heard(&self, now_ms: u64) {
        self.heard_ms.store(now_ms, Ordering::Relaxed);
    }
}
