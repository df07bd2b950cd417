//! Between the core, the carrier and the mempool.

use crate::{
    core::{Action, Core, Lookup},
    stats::GossipStats,
};
use bytes::Bytes;
use rand::{SeedableRng, rngs::StdRng};
use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::{AbortHandle, JoinSet},
};
use x0_mempool::{Mempool, SubmitError};
use x0_network::{Carrier, CarrierEvent, Channel, PeerKey};
use x0_types::Hash;

/// News of the mempool that are taken together.
const TOGETHER: usize = 64;
/// Distance between two looks at what waits for time, while something does.
const TICK: Duration = Duration::from_millis(x0_limits::GOSSIP_ANNOUNCE_MS);

/// What a mempool says of a transaction of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It waits for a block now.
    Admitted,
    /// It does not, for a reason that may be nobody's fault.
    Refused,
    /// Its signature does not verify.
    BadSignature,
}

/// The pool whose transactions are spread.
pub trait Pool: Clone + Send + Sync + 'static {
    /// Whether the transaction waits here or is in a block.
    fn knows(&self, hash: &Hash) -> bool;
    /// A waiting transaction.
    fn get(&self, hash: &Hash) -> Option<Bytes>;
    /// Hashes of waiting transactions, at most `max`.
    fn pending(&self, max: usize) -> Vec<Hash>;
    /// Every transaction that enters from now on.
    fn follow(&self) -> broadcast::Receiver<(Hash, Bytes)>;
    /// Judges a transaction of a peer and takes it in if it can.
    fn submit(&self, bytes: Bytes) -> impl Future<Output = Verdict> + Send;
}

impl Pool for Mempool {
    fn knows(&self, hash: &Hash) -> bool {
        Self::knows(self, hash)
    }

    fn get(&self, hash: &Hash) -> Option<Bytes> {
        Self::get(self, hash).map(|transaction| transaction.bytes.clone())
    }

    fn pending(&self, max: usize) -> Vec<Hash> {
        Self::pending(self).iter().take(max).map(|transaction| transaction.hash).collect()
    }

    fn follow(&self) -> broadcast::Receiver<(Hash, Bytes)> {
        Self::follow(self)
    }

    async fn submit(&self, bytes: Bytes) -> Verdict {
        match Self::submit(self, bytes).await {
            Ok(_) => Verdict::Admitted,
            Err(SubmitError::BadSignature) => Verdict::BadSignature,
            Err(error) => {
                tracing::trace!(%error, "a transaction of a peer is not taken");
                Verdict::Refused
            }
        }
    }
}

struct View<'a, P>(&'a P);

impl<P: Pool> Lookup for View<'_, P> {
    fn knows(&self, hash: &Hash) -> bool {
        self.0.knows(hash)
    }

    fn get(&self, hash: &Hash) -> Option<Bytes> {
        self.0.get(hash)
    }
}

/// Spreading at work. Dropping it ends the work.
#[derive(Debug)]
pub struct Gossip {
    stats: watch::Receiver<GossipStats>,
    task: AbortHandle,
}

impl Gossip {
    /// What was counted since the start.
    #[must_use]
    pub fn stats(&self) -> GossipStats {
        *self.stats.borrow()
    }
}

impl Drop for Gossip {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Spreads the transactions of a pool over a carrier: a branch of its own that
/// [`Channel::Transactions`] goes to. `None` when somebody reads the carrier's events already. Must
/// run within a tokio runtime; ends with the carrier.
#[must_use]
pub fn start<P: Pool>(carrier: Arc<dyn Carrier>, pool: P) -> Option<Gossip> {
    let events = carrier.take_events()?;
    let (sender, stats) = watch::channel(GossipStats::default());
    let runner = Runner {
        news: pool.follow(),
        carrier,
        pool,
        core: Core::new(StdRng::from_os_rng()),
        started: Instant::now(),
        checks: JoinSet::new(),
        stats: sender,
    };
    let task = tokio::spawn(runner.run(events)).abort_handle();
    Some(Gossip { stats, task })
}

struct Runner<P> {
    carrier: Arc<dyn Carrier>,
    pool: P,
    news: broadcast::Receiver<(Hash, Bytes)>,
    core: Core,
    started: Instant,
    /// Transactions of peers at the mempool; bounded by the core, per peer.
    checks: JoinSet<(Hash, Verdict)>,
    stats: watch::Sender<GossipStats>,
}

impl<P: Pool> Runner<P> {
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn run(mut self, mut events: mpsc::Receiver<CarrierEvent>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let idle = self.core.is_idle();
            let actions = tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.event(event),
                    None => return,
                },
                news = self.news.recv() => match news {
                    Ok(first) => self.news(first),
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        let pending = self.pool.pending(x0_limits::GOSSIP_TOLD_ON_LINK_MAX);
                        self.core.fell_behind(&pending);
                        Vec::new()
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                Some(judged) = self.checks.join_next() => self.judged(judged),
                _ = ticks.tick(), if !idle => {
                    let now = self.now();
                    self.core.tick(now)
                }
            };
            self.act(actions);
            self.stats.send_replace(self.core.stats);
        }
    }

    fn event(&mut self, event: CarrierEvent) -> Vec<Action> {
        let now = self.now();
        match event {
            CarrierEvent::Listening => Vec::new(),
            CarrierEvent::PeerUp(peer) => {
                let pending = self.pool.pending(x0_limits::GOSSIP_TOLD_ON_LINK_MAX);
                self.core.peer_up(peer, &pending, now);
                Vec::new()
            }
            CarrierEvent::PeerDown(peer) => {
                self.core.peer_down(&peer);
                Vec::new()
            }
            CarrierEvent::Frame { from, channel: Channel::Transactions, bytes } => {
                self.core.frame(from, bytes, &View(&self.pool), now)
            }
            CarrierEvent::Frame { .. } => Vec::new(),
        }
    }

    /// Takes what has entered meanwhile together, so that it travels together.
    fn news(&mut self, first: (Hash, Bytes)) -> Vec<Action> {
        let mut all = vec![first];
        while all.len() < TOGETHER
            && let Ok(next) = self.news.try_recv()
        {
            all.push(next);
        }
        self.core.entered(&all)
    }

    fn judged(&mut self, judged: Result<(Hash, Verdict), tokio::task::JoinError>) -> Vec<Action> {
        match judged {
            Ok((hash, verdict)) => {
                let now = self.now();
                self.core.judged(hash, verdict, now)
            }
            Err(error) => {
                tracing::error!(%error, "a check of a transaction ended without a verdict");
                Vec::new()
            }
        }
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(peer, frame) => self.send(peer, frame),
                Action::Check(_, hash, bytes) => {
                    let pool = self.pool.clone();
                    self.checks.spawn(async move { (hash, pool.submit(bytes).await) });
                }
                Action::Offend(peer, offence) => self.carrier.penalize(&peer, offence),
            }
        }
    }

    fn send(&self, peer: PeerKey, frame: Bytes) {
        if let Err(error) = self.carrier.send(&peer, Channel::Transactions, frame) {
            // The peer is about to be reported gone; it is told of everything when it comes back.
            tracing::debug!(%peer, %error, "transactions not sent");
        }
    }
}
