//! A carrier within one process, with delays, losses and cuts that a test controls.
//!
//! Every link has a task for each direction, which takes frames from a bounded queue, waits for the
//! delay and hands them to the receiver. A receiver that does not keep up makes the queue fill and
//! drop, as a slow socket would.

use crate::{
    Carrier, CarrierEvent, CarrierStats, Channel, PeerKey, SendError, check_size,
    queue::{LinkQueue, Waiting},
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

#[derive(Default)]
struct Counters {
    sent: AtomicU64,
    dropped: AtomicU64,
    received: AtomicU64,
}

struct Member {
    /// Tells a carrier from its predecessor of the same name.
    generation: u64,
    events: mpsc::Sender<CarrierEvent>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct State {
    members: BTreeMap<PeerKey, Member>,
    links: HashMap<(PeerKey, PeerKey), Arc<LinkQueue>>,
    cuts: BTreeSet<(PeerKey, PeerKey)>,
    delay: Duration,
    /// Frames out of 1,000 that get lost.
    loss_per_mille: u64,
    random: u64,
    generations: u64,
}

impl State {
    /// SplitMix64: the same seed loses the same frames.
    fn lost(&mut self) -> bool {
        if self.loss_per_mille == 0 {
            return false;
        }
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % 1_000 < self.loss_per_mille
    }

    fn is_cut(&self, a: PeerKey, b: PeerKey) -> bool {
        self.cuts.contains(&ordered(a, b))
    }
}

fn ordered(a: PeerKey, b: PeerKey) -> (PeerKey, PeerKey) {
    if a < b { (a, b) } else { (b, a) }
}

/// The place where carriers of one process meet.
#[derive(Clone, Default)]
pub struct Hub {
    state: Arc<Mutex<State>>,
}

impl Hub {
    /// A hub whose losses follow from the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let hub = Self::default();
        hub.state.lock().random = seed;
        hub
    }

    /// Every frame takes this long from now on.
    pub fn set_delay(&self, delay: Duration) {
        self.state.lock().delay = delay;
    }

    /// From now on this many of 1,000 frames get lost.
    pub fn set_loss_per_mille(&self, loss: u64) {
        self.state.lock().loss_per_mille = loss;
    }

    /// Joins under this name. Must run within a tokio runtime. A member of the same name leaves first.
    #[must_use]
    pub fn join(&self, key: PeerKey) -> MemoryCarrier {
        let (events, receiver) = mpsc::channel(x0_limits::CARRIER_EVENTS_MAX);
        let counters = Arc::new(Counters::default());
        let mut state = self.state.lock();
        self.leave_locked(&mut state, key, None);
        state.generations += 1;
        let generation = state.generations;
        // A fresh channel has room for the first event.
        let _ = events.try_send(CarrierEvent::Listening);
        state.members.insert(key, Member { generation, events, counters: Arc::clone(&counters) });
        let others: Vec<_> = state.members.keys().copied().filter(|other| *other != key).collect();
        for other in others {
            if !state.is_cut(key, other) {
                self.link(&mut state, key, other);
            }
        }
        MemoryCarrier { hub: self.clone(), key, generation, counters, receiver: Mutex::new(Some(receiver)) }
    }

    /// Cuts the link between two peers: both see it go down, and frames under way get lost.
    pub fn cut(&self, a: PeerKey, b: PeerKey) {
        let mut state = self.state.lock();
        if state.cuts.insert(ordered(a, b)) {
            self.unlink(&mut state, a, b);
        }
    }

    /// Mends the link between two peers.
    pub fn mend(&self, a: PeerKey, b: PeerKey) {
        let mut state = self.state.lock();
        if state.cuts.remove(&ordered(a, b)) && state.members.contains_key(&a) && state.members.contains_key(&b) {
            self.link(&mut state, a, b);
        }
    }

    /// Cuts every link between the two groups.
    pub fn partition(&self, left: &[PeerKey], right: &[PeerKey]) {
        for a in left {
            for b in right {
                self.cut(*a, *b);
            }
        }
    }

    /// Mends every cut.
    pub fn mend_all(&self) {
        let cuts: Vec<_> = self.state.lock().cuts.iter().copied().collect();
        for (a, b) in cuts {
            self.mend(a, b);
        }
    }

    fn link(&self, state: &mut State, a: PeerKey, b: PeerKey) {
        for (from, to) in [(a, b), (b, a)] {
            let Some((receiver, counters)) =
                state.members.get(&to).map(|member| (member.events.clone(), Arc::clone(&member.counters)))
            else {
                return;
            };
            let queue = Arc::new(LinkQueue::default());
            state.links.insert((from, to), Arc::clone(&queue));
            tokio::spawn(carry(from, queue, receiver, counters));
        }
    }

    fn unlink(&self, state: &mut State, a: PeerKey, b: PeerKey) {
        for direction in [(a, b), (b, a)] {
            if let Some(queue) = state.links.remove(&direction) {
                queue.close();
            }
        }
    }

    fn leave_locked(&self, state: &mut State, key: PeerKey, generation: Option<u64>) {
        match (state.members.get(&key), generation) {
            (Some(member), Some(generation)) if member.generation != generation => return,
            (None, _) => return,
            _ => {}
        }
        state.members.remove(&key);
        let others: Vec<_> = state.members.keys().copied().collect();
        for other in others {
            self.unlink(state, key, other);
        }
    }

    fn push(&self, state: &mut State, from: PeerKey, to: PeerKey, channel: Channel, bytes: Bytes) -> bool {
        let Some(queue) = state.links.get(&(from, to)).cloned() else { return false };
        let counters = state.members.get(&from).map(|member| Arc::clone(&member.counters));
        let lost = state.lost();
        let dropped =
            if lost { 1 } else { queue.push(Waiting { channel, bytes, not_before: Instant::now() + state.delay }) };
        if let Some(counters) = counters {
            counters.sent.fetch_add(1, Ordering::Relaxed);
            counters.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
        true
    }
}

/// One direction of one link: announces the peer, moves frames, announces the end.
async fn carry(from: PeerKey, queue: Arc<LinkQueue>, to: mpsc::Sender<CarrierEvent>, counters: Arc<Counters>) {
    if to.send(CarrierEvent::PeerUp(from)).await.is_err() {
        return;
    }
    while let Some(frame) = queue.pop().await {
        let now = Instant::now();
        if frame.not_before > now {
            tokio::time::sleep(frame.not_before - now).await;
        }
        counters.received.fetch_add(1, Ordering::Relaxed);
        let event = CarrierEvent::Frame { from, channel: frame.channel, bytes: frame.bytes };
        if to.send(event).await.is_err() {
            return;
        }
    }
    // A receiver that is gone does not need the news.
    let _ = to.send(CarrierEvent::PeerDown(from)).await;
}

/// A member of a [`Hub`]. Dropping it leaves the hub.
pub struct MemoryCarrier {
    hub: Hub,
    key: PeerKey,
    generation: u64,
    counters: Arc<Counters>,
    receiver: Mutex<Option<mpsc::Receiver<CarrierEvent>>>,
}

impl MemoryCarrier {
    /// A carrier without peers, for a chain of one validator.
    #[must_use]
    pub fn solo(key: PeerKey) -> Self {
        Hub::default().join(key)
    }
}

impl Drop for MemoryCarrier {
    fn drop(&mut self) {
        let mut state = self.hub.state.lock();
        self.hub.leave_locked(&mut state, self.key, Some(self.generation));
    }
}

impl Carrier for MemoryCarrier {
    fn local(&self) -> PeerKey {
        self.key
    }

    fn broadcast(&self, channel: Channel, bytes: Bytes) -> Result<(), SendError> {
        check_size(channel, &bytes)?;
        let mut state = self.hub.state.lock();
        if state.members.get(&self.key).is_none_or(|member| member.generation != self.generation) {
            return Err(SendError::Closed);
        }
        let peers: Vec<_> = state.members.keys().copied().filter(|peer| *peer != self.key).collect();
        for peer in peers {
            self.hub.push(&mut state, self.key, peer, channel, bytes.clone());
        }
        Ok(())
    }

    fn send(&self, peer: &PeerKey, channel: Channel, bytes: Bytes) -> Result<(), SendError> {
        check_size(channel, &bytes)?;
        let mut state = self.hub.state.lock();
        if state.members.get(&self.key).is_none_or(|member| member.generation != self.generation) {
            return Err(SendError::Closed);
        }
        if self.hub.push(&mut state, self.key, *peer, channel, bytes) { Ok(()) } else { Err(SendError::NoLink(*peer)) }
    }

    fn take_events(&self) -> Option<mpsc::Receiver<CarrierEvent>> {
        self.receiver.lock().take()
    }

    fn stats(&self) -> CarrierStats {
        CarrierStats {
            sent: self.counters.sent.load(Ordering::Relaxed),
            dropped: self.counters.dropped.load(Ordering::Relaxed),
            received: self.counters.received.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(tag: u8) -> PeerKey {
        PeerKey([tag; 32])
    }

    async fn frame(events: &mut mpsc::Receiver<CarrierEvent>) -> (PeerKey, Channel, Bytes) {
        loop {
            if let CarrierEvent::Frame { from, channel, bytes } = events.recv().await.unwrap() {
                return (from, channel, bytes);
            }
        }
    }

    async fn until_down(events: &mut mpsc::Receiver<CarrierEvent>, peer: PeerKey) {
        loop {
            if let CarrierEvent::PeerDown(gone) = events.recv().await.unwrap() {
                assert_eq!(gone, peer);
                return;
            }
        }
    }

    async fn until_up(events: &mut mpsc::Receiver<CarrierEvent>, peer: PeerKey) {
        loop {
            if let CarrierEvent::PeerUp(up) = events.recv().await.unwrap() {
                assert_eq!(up, peer);
                return;
            }
        }
    }

    #[tokio::test]
    async fn frames_name_their_sender_and_arrive_in_order() {
        let hub = Hub::new(1);
        let (a, b) = (hub.join(key(1)), hub.join(key(2)));
        let mut events = b.take_events().unwrap();
        assert!(b.take_events().is_none());
        assert!(matches!(events.recv().await, Some(CarrierEvent::Listening)));
        until_up(&mut events, key(1)).await;
        for tag in 0..100u8 {
            a.broadcast(Channel::Consensus, Bytes::copy_from_slice(&[tag])).unwrap();
        }
        for tag in 0..100u8 {
            assert_eq!(frame(&mut events).await, (key(1), Channel::Consensus, Bytes::copy_from_slice(&[tag])));
        }
    }

    #[tokio::test]
    async fn a_cut_link_is_seen_by_both_and_carries_nothing() {
        let hub = Hub::new(1);
        let (a, b) = (hub.join(key(1)), hub.join(key(2)));
        let (mut at_a, mut at_b) = (a.take_events().unwrap(), b.take_events().unwrap());
        until_up(&mut at_a, key(2)).await;
        until_up(&mut at_b, key(1)).await;
        hub.partition(&[key(1)], &[key(2)]);
        until_down(&mut at_a, key(2)).await;
        until_down(&mut at_b, key(1)).await;
        assert_eq!(a.send(&key(2), Channel::Status, Bytes::from_static(b"x")), Err(SendError::NoLink(key(2))));
        hub.mend_all();
        until_up(&mut at_b, key(1)).await;
        a.send(&key(2), Channel::Status, Bytes::from_static(b"y")).unwrap();
        assert_eq!(frame(&mut at_b).await.2, Bytes::from_static(b"y"));
    }

    #[tokio::test]
    async fn a_member_that_comes_back_takes_the_place_of_the_old_one() {
        let hub = Hub::new(1);
        let (a, b) = (hub.join(key(1)), hub.join(key(2)));
        let mut at_a = a.take_events().unwrap();
        until_up(&mut at_a, key(2)).await;
        let again = hub.join(key(2));
        until_down(&mut at_a, key(2)).await;
        until_up(&mut at_a, key(2)).await;
        assert_eq!(b.broadcast(Channel::Status, Bytes::new()), Err(SendError::Closed));
        drop(b);
        let mut events = again.take_events().unwrap();
        a.send(&key(2), Channel::Status, Bytes::from_static(b"z")).unwrap();
        assert_eq!(frame(&mut events).await.2, Bytes::from_static(b"z"));
    }

    #[tokio::test]
    async fn losses_follow_the_seed_and_large_frames_are_refused() {
        let mut dropped = Vec::new();
        for _ in 0..2 {
            let hub = Hub::new(7);
            hub.set_loss_per_mille(300);
            let (a, _b) = (hub.join(key(1)), hub.join(key(2)));
            for _ in 0..1_000 {
                a.broadcast(Channel::Consensus, Bytes::new()).unwrap();
            }
            dropped.push(a.stats().dropped);
        }
        assert_eq!(dropped[0], dropped[1]);
        assert!((200..400).contains(&dropped[0]), "{dropped:?}");

        let solo = MemoryCarrier::solo(key(3));
        let max = Channel::Consensus.frame_bytes_max();
        assert!(solo.broadcast(Channel::Consensus, Bytes::from(vec![0; max])).is_ok());
        assert_eq!(
            solo.broadcast(Channel::Consensus, Bytes::from(vec![0; max + 1])),
            Err(SendError::TooLarge { channel: Channel::Consensus, bytes: max + 1, max })
        );
    }
}
