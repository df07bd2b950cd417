//! One carrier for several parts of the node.
//!
//! ```text
//!   carrier --events--> dispatcher --+--> branch 1 (consensus): waits for room, loses nothing
//!                                    +--> branch 2: bounded; a full one loses frames, never link events
//!                                    +--> branch 3
//! ```

use crate::{Carrier, CarrierEvent, CarrierStats, Channel, Offence, PeerKey, SendError};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{Notify, mpsc};

/// Why a carrier cannot be shared as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForkError {
    /// Somebody reads the carrier's events already.
    #[error("the events of the carrier are taken")]
    EventsTaken,
    /// Two branches want the same channel.
    #[error("two branches want channel {0:?}")]
    Channel(Channel),
    /// There is nobody to share with.
    #[error("no branch is asked for")]
    Empty,
}

/// Shares a carrier between several parts of the node, one for each group of channels. Each branch
/// gets [`CarrierEvent::Listening`], [`CarrierEvent::PeerUp`] and [`CarrierEvent::PeerDown`], and the
/// frames of its own channels; it may send on every channel. Frames of channels that no branch wants
/// are dropped.
///
/// The first branch belongs to consensus: the dispatcher waits for it, as it would read the carrier
/// itself, and for no other. Another branch that does not keep up loses the frames above
/// [`x0_limits::FORK_FRAMES_MAX`] and [`x0_limits::FORK_BYTES_MAX`]. Must run within a tokio runtime.
///
/// # Errors
/// [`ForkError`].
pub fn fork(carrier: Arc<dyn Carrier>, groups: &[&[Channel]]) -> Result<Vec<Arc<dyn Carrier>>, ForkError> {
    let mut wanted = BTreeSet::new();
    for channel in groups.iter().copied().flatten() {
        if !wanted.insert(*channel) {
            return Err(ForkError::Channel(*channel));
        }
    }
    if groups.is_empty() {
        return Err(ForkError::Empty);
    }
    let events = carrier.take_events().ok_or(ForkError::EventsTaken)?;
    let mut taps = Vec::with_capacity(groups.len());
    let mut branches: Vec<Arc<dyn Carrier>> = Vec::with_capacity(groups.len());
    for (index, group) in groups.iter().enumerate() {
        let (sender, receiver) = mpsc::channel(x0_limits::FORK_FRAMES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let outlet = if index == 0 {
            Outlet::Waiting(sender)
        } else {
            let backlog = Arc::new(Backlog::default());
            tokio::spawn(Arc::clone(&backlog).drain(sender));
            Outlet::Bounded(backlog)
        };
        taps.push(Tap { channels: group.to_vec(), outlet, lost: Arc::clone(&lost) });
        branches.push(Arc::new(Branch { root: Arc::clone(&carrier), events: Mutex::new(Some(receiver)), lost }));
    }
    tokio::spawn(dispatch(events, taps));
    Ok(branches)
}

enum Outlet {
    Waiting(mpsc::Sender<CarrierEvent>),
    Bounded(Arc<Backlog>),
}

struct Tap {
    channels: Vec<Channel>,
    outlet: Outlet,
    lost: Arc<AtomicU64>,
}

impl Drop for Tap {
    fn drop(&mut self) {
        if let Outlet::Bounded(backlog) = &self.outlet {
            backlog.close();
        }
    }
}

async fn dispatch(mut events: mpsc::Receiver<CarrierEvent>, taps: Vec<Tap>) {
    while let Some(event) = events.recv().await {
        // The branches that nobody waits for come first, since that is done at once.
        for tap in taps.iter().rev() {
            if matches!(&event, CarrierEvent::Frame { channel, .. } if !tap.channels.contains(channel)) {
                continue;
            }
            match &tap.outlet {
                // A branch that is gone does not need its events; the others go on.
                Outlet::Waiting(sender) => drop(sender.send(event.clone()).await),
                Outlet::Bounded(backlog) => {
                    tap.lost.fetch_add(backlog.push(event.clone()), Ordering::Relaxed);
                }
            }
        }
    }
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<CarrierEvent>,
    frames: usize,
    bytes: usize,
    closed: bool,
}

impl Waiting {
    fn forget_frames_of(&mut self, peer: PeerKey) -> u64 {
        let before = self.events.len();
        let mut bytes = 0;
        self.events.retain(|event| match event {
            CarrierEvent::Frame { from, bytes: content, .. } if *from == peer => {
                bytes += content.len();
                false
            }
            _ => true,
        });
        let gone = before - self.events.len();
        self.frames -= gone;
        self.bytes -= bytes;
        gone as u64
    }
}

/// Events that wait for a slow branch. Frames are bounded by number and bytes; of each peer at most
/// the last end and the last beginning of its link wait.
#[derive(Default)]
struct Backlog {
    waiting: Mutex<Waiting>,
    ready: Notify,
}

impl Backlog {
    /// Adds an event; how many frames are lost by that.
    fn push(&self, event: CarrierEvent) -> u64 {
        let mut lost = 0;
        {
            let mut waiting = self.waiting.lock();
            if waiting.closed {
                return u64::from(matches!(event, CarrierEvent::Frame { .. }));
            }
            match &event {
                CarrierEvent::Frame { bytes, .. } => {
                    if waiting.frames >= x0_limits::FORK_FRAMES_MAX
                        || waiting.bytes + bytes.len() > x0_limits::FORK_BYTES_MAX
                    {
                        return 1;
                    }
                    waiting.frames += 1;
                    waiting.bytes += bytes.len();
                    waiting.events.push_back(event);
                }
                CarrierEvent::PeerDown(peer) => {
                    let peer = *peer;
                    lost = waiting.forget_frames_of(peer);
                    let unseen = waiting
                        .events
                        .iter()
                        .rposition(|waiting| matches!(waiting, CarrierEvent::PeerUp(other) if *other == peer));
                    match unseen {
                        // The branch has not heard of this link and need not hear of its end.
                        Some(index) => drop(waiting.events.remove(index)),
                        None => waiting.events.push_back(event),
                    }
                }
                CarrierEvent::Listening | CarrierEvent::PeerUp(_) => waiting.events.push_back(event),
            }
        }
        self.ready.notify_one();
        lost
    }

    fn close(&self) {
        self.waiting.lock().closed = true;
        self.ready.notify_one();
    }

    fn next(&self) -> Option<CarrierEvent> {
        let mut waiting = self.waiting.lock();
        let event = waiting.events.pop_front()?;
        if let CarrierEvent::Frame { bytes, .. } = &event {
            waiting.frames -= 1;
            waiting.bytes -= bytes.len();
        }
        Some(event)
    }

    /// Moves events to the branch until either end is gone.
    async fn drain(self: Arc<Self>, to: mpsc::Sender<CarrierEvent>) {
        loop {
            let Ok(room) = to.reserve().await else { break };
            match self.next() {
                Some(event) => room.send(event),
                None if self.waiting.lock().closed => break,
                None => {
                    drop(room);
                    self.ready.notified().await;
                }
            }
        }
        self.close();
    }
}

/// A part's own view of a shared carrier.
struct Branch {
    root: Arc<dyn Carrier>,
    events: Mutex<Option<mpsc::Receiver<CarrierEvent>>>,
    lost: Arc<AtomicU64>,
}

impl Carrier for Branch {
    fn local(&self) -> PeerKey {
        self.root.local()
    }

    fn broadcast(&self, channel: Channel, bytes: Bytes) -> Result<(), SendError> {
        self.root.broadcast(channel, bytes)
    }

    fn send(&self, peer: &PeerKey, channel: Channel, bytes: Bytes) -> Result<(), SendError> {
        self.root.send(peer, channel, bytes)
    }

    fn take_events(&self) -> Option<mpsc::Receiver<CarrierEvent>> {
        self.events.lock().take()
    }

    /// The counters of the whole carrier, and the frames that this branch was too slow for.
    fn stats(&self) -> CarrierStats {
        let stats = self.root.stats();
        CarrierStats { dropped: stats.dropped + self.lost.load(Ordering::Relaxed), ..stats }
    }

    fn penalize(&self, peer: &PeerKey, offence: Offence) {
        self.root.penalize(peer, offence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Hub;

    const VOTES: &[Channel] = &[Channel::Consensus];
    const TRANSACTIONS: &[Channel] = &[Channel::Transactions];

    fn key(tag: u8) -> PeerKey {
        PeerKey([tag; 32])
    }

    async fn skip_to_frame(events: &mut mpsc::Receiver<CarrierEvent>) -> (Channel, Bytes) {
        loop {
            if let CarrierEvent::Frame { channel, bytes, .. } = events.recv().await.unwrap() {
                return (channel, bytes);
            }
        }
    }

    #[tokio::test]
    async fn each_branch_sees_links_and_its_own_frames() {
        let hub = Hub::new(1);
        let (a, b) = (hub.join(key(1)), hub.join(key(2)));
        let branches = fork(Arc::new(b), &[VOTES, TRANSACTIONS]).unwrap();
        let mut votes = branches[0].take_events().unwrap();
        let mut transactions = branches[1].take_events().unwrap();
        assert!(branches[1].take_events().is_none());
        for events in [&mut votes, &mut transactions] {
            assert!(matches!(events.recv().await, Some(CarrierEvent::Listening)));
            assert!(matches!(events.recv().await, Some(CarrierEvent::PeerUp(peer)) if peer == key(1)));
        }
        a.broadcast(Channel::Transactions, Bytes::from_static(b"t")).unwrap();
        a.broadcast(Channel::Parts, Bytes::from_static(b"nobody wants it")).unwrap();
        a.broadcast(Channel::Consensus, Bytes::from_static(b"v")).unwrap();
        assert_eq!(skip_to_frame(&mut votes).await, (Channel::Consensus, Bytes::from_static(b"v")));
        assert_eq!(skip_to_frame(&mut transactions).await, (Channel::Transactions, Bytes::from_static(b"t")));
        drop(a);
        for events in [&mut votes, &mut transactions] {
            assert!(matches!(events.recv().await, Some(CarrierEvent::PeerDown(peer)) if peer == key(1)));
        }
    }

    #[tokio::test]
    async fn a_branch_that_reads_nothing_delays_nobody_and_keeps_the_link_events() {
        let hub = Hub::new(1);
        let (a, b) = (hub.join(key(1)), hub.join(key(2)));
        let branches = fork(Arc::new(b), &[VOTES, TRANSACTIONS]).unwrap();
        let mut votes = branches[0].take_events().unwrap();
        // Twice what the branch's channel and its backlog take.
        let rounds = 4 * x0_limits::FORK_FRAMES_MAX;
        for _ in 0..rounds {
            a.broadcast(Channel::Transactions, Bytes::from_static(b"t")).unwrap();
            a.broadcast(Channel::Consensus, Bytes::from_static(b"v")).unwrap();
            skip_to_frame(&mut votes).await;
        }
        let mut transactions = branches[1].take_events().unwrap();
        assert!(branches[1].stats().dropped > 0);
        drop(a);
        let (mut ups, mut downs) = (0, 0);
        while ups == 0 || downs == 0 {
            match transactions.recv().await.unwrap() {
                CarrierEvent::PeerUp(_) => ups += 1,
                CarrierEvent::PeerDown(_) => downs += 1,
                _ => {}
            }
        }
        assert_eq!((ups, downs), (1, 1));
    }

    #[test]
    fn what_waits_for_a_slow_branch_is_bounded_and_keeps_the_order_of_links() {
        let backlog = Backlog::default();
        let large = Bytes::from(vec![0; Channel::SyncResponse.frame_bytes_max()]);
        let frame = |tag| CarrierEvent::Frame { from: key(tag), channel: Channel::SyncResponse, bytes: large.clone() };
        backlog.push(CarrierEvent::PeerUp(key(1)));
        backlog.push(CarrierEvent::PeerUp(key(2)));
        let fits = x0_limits::FORK_BYTES_MAX / large.len();
        for index in 0..fits + 3 {
            assert_eq!(backlog.push(frame(1)), u64::from(index >= fits));
        }
        // A link of which the branch knows nothing leaves nothing behind.
        assert_eq!(backlog.push(CarrierEvent::PeerDown(key(1))), fits as u64);
        assert_eq!(backlog.push(frame(2)), 0);
        assert!(matches!(backlog.next(), Some(CarrierEvent::PeerUp(peer)) if peer == key(2)));
        for _ in 0..10_000 {
            backlog.push(CarrierEvent::PeerDown(key(2)));
            backlog.push(CarrierEvent::PeerUp(key(2)));
        }
        let waiting = backlog.waiting.lock();
        assert!(waiting.events.len() <= 2);
        assert_eq!((waiting.frames, waiting.bytes), (0, 0));
    }

    #[tokio::test]
    async fn a_carrier_is_shared_once_and_each_channel_goes_to_one_branch() {
        let solo: Arc<dyn Carrier> = Arc::new(crate::memory::MemoryCarrier::solo(key(1)));
        assert_eq!(fork(Arc::clone(&solo), &[]).err(), Some(ForkError::Empty));
        assert_eq!(fork(Arc::clone(&solo), &[VOTES, VOTES]).err(), Some(ForkError::Channel(Channel::Consensus)));
        assert!(fork(Arc::clone(&solo), &[VOTES]).is_ok());
        assert_eq!(fork(solo, &[VOTES]).err(), Some(ForkError::EventsTaken));
    }
}
