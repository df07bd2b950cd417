//! Networks of nodes: in one thread with a scheduler, and on a carrier.

use super::{
    core::{Action, Core, Lookup},
    wire::{self, Message},
    *,
};
use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::sync::broadcast;
use x0_network::{Carrier, Channel, Offence, PeerKey, memory::Hub};
use x0_types::Hash;

/// Transactions of these tests say what is wrong with them in their first byte.
const GOOD: u8 = 0;
const REFUSED: u8 = 1;
const FORGED: u8 = 2;

fn transaction(kind: u8, number: u32) -> Bytes {
    [&[kind][..], &number.to_be_bytes(), &[0; 4_000]].concat().into()
}

fn hash(bytes: &Bytes) -> Hash {
    Hash::from(x0_crypto::blake2b_256(bytes))
}

fn key(tag: usize) -> PeerKey {
    PeerKey([u8::try_from(tag).unwrap(); 32])
}

#[derive(Clone)]
struct TestPool(Arc<Mutex<BTreeMap<Hash, Bytes>>>, broadcast::Sender<(Hash, Bytes)>);

impl Default for TestPool {
    fn default() -> Self {
        Self(Arc::default(), broadcast::Sender::new(4_096))
    }
}

impl TestPool {
    fn judge(&self, bytes: &Bytes) -> Verdict {
        match bytes[0] {
            GOOD => {
                self.0.lock().insert(hash(bytes), bytes.clone());
                let _ = self.1.send((hash(bytes), bytes.clone()));
                Verdict::Admitted
            }
            REFUSED => Verdict::Refused,
            _ => Verdict::BadSignature,
        }
    }

    fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl Lookup for TestPool {
    fn knows(&self, hash: &Hash) -> bool {
        self.0.lock().contains_key(hash)
    }
    fn get(&self, hash: &Hash) -> Option<Bytes> {
        self.0.lock().get(hash).cloned()
    }
}

impl Pool for TestPool {
    fn knows(&self, hash: &Hash) -> bool {
        Lookup::knows(self, hash)
    }
    fn get(&self, hash: &Hash) -> Option<Bytes> {
        Lookup::get(self, hash)
    }
    fn pending(&self, max: usize) -> Vec<Hash> {
        self.0.lock().keys().take(max).copied().collect()
    }
    fn follow(&self) -> broadcast::Receiver<(Hash, Bytes)> {
        self.1.subscribe()
    }
    async fn submit(&self, bytes: Bytes) -> Verdict {
        self.judge(&bytes)
    }
}

struct SimNode {
    core: Core,
    pool: TestPool,
}

/// Nodes, and frames between them that arrive in random order.
struct Sim {
    nodes: Vec<SimNode>,
    links: Vec<(usize, usize)>,
    under_way: Vec<(usize, usize, Bytes)>,
    whole: HashMap<Hash, usize>,
    offences: Vec<(usize, PeerKey, Offence)>,
    now: u64,
    loss_per_mille: u32,
    random: StdRng,
}

impl Sim {
    fn new(count: usize, links: &[(usize, usize)], seed: u64) -> Self {
        let node =
            |index| SimNode { core: Core::new(StdRng::seed_from_u64(seed + index as u64)), pool: TestPool::default() };
        let mut sim = Self {
            nodes: (0..count).map(node).collect(),
            links: Vec::new(),
            under_way: Vec::new(),
            whole: HashMap::new(),
            offences: Vec::new(),
            now: 1_000_000,
            loss_per_mille: 0,
            random: StdRng::seed_from_u64(seed),
        };
        for (a, b) in links {
            sim.link(*a, *b);
        }
        sim
    }

    fn mesh(count: usize, seed: u64) -> Self {
        let links: Vec<_> = (0..count).flat_map(|a| (0..a).map(move |b| (a, b))).collect();
        Self::new(count, &links, seed)
    }

    fn link(&mut self, a: usize, b: usize) {
        self.links.push((a, b));
        for (at, other) in [(a, b), (b, a)] {
            let pending = self.nodes[at].pool.pending(usize::MAX);
            self.nodes[at].core.peer_up(key(other), &pending, self.now);
        }
    }

    fn submit(&mut self, at: usize, bytes: &Bytes) {
        assert_eq!(self.nodes[at].pool.judge(bytes), Verdict::Admitted);
        let actions = self.nodes[at].core.entered(&[(hash(bytes), bytes.clone())]);
        self.act(at, actions);
    }

    fn act(&mut self, at: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(to, frame) => {
                    if let Ok(Message::Transactions(all)) = wire::read(frame.clone()) {
                        for bytes in all {
                            *self.whole.entry(hash(&bytes)).or_default() += 1;
                        }
                    }
                    self.under_way.push((at, usize::from(to.0[0]), frame));
                }
                Action::Check(_, hash, bytes) => {
                    let SimNode { core, pool } = &mut self.nodes[at];
                    let verdict = pool.judge(&bytes);
                    // Either order happens on a real node.
                    let news_first = self.random.random_bool(0.5);
                    let mut follow_up = Vec::new();
                    if verdict == Verdict::Admitted && news_first {
                        follow_up.extend(core.entered(&[(hash, bytes.clone())]));
                    }
                    follow_up.extend(core.judged(hash, verdict, self.now));
                    if verdict == Verdict::Admitted && !news_first {
                        follow_up.extend(core.entered(&[(hash, bytes)]));
                    }
                    self.act(at, follow_up);
                }
                Action::Offend(peer, offence) => self.offences.push((at, peer, offence)),
            }
        }
    }

    /// Runs until nothing moves for longer than any wait.
    fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < 60 {
            quiet = if self.under_way.is_empty() { quiet + 1 } else { 0 };
            while !self.under_way.is_empty() {
                let index = self.random.random_range(0..self.under_way.len());
                let (from, to, frame) = self.under_way.swap_remove(index);
                if self.random.random_range(0..1_000) < self.loss_per_mille {
                    continue;
                }
                let SimNode { core, pool } = &mut self.nodes[to];
                let actions = core.frame(key(from), frame, pool, self.now);
                self.act(to, actions);
            }
            self.now += x0_limits::GOSSIP_ANNOUNCE_MS;
            for at in 0..self.nodes.len() {
                let actions = self.nodes[at].core.tick(self.now);
                self.act(at, actions);
            }
        }
    }
}

#[test]
fn in_a_mesh_each_transaction_reaches_everybody_and_crosses_few_links() {
    for count in [4, 10, 30] {
        let mut sim = Sim::mesh(count, 7);
        let all: Vec<_> = (0..50).map(|number| transaction(GOOD, number)).collect();
        for (index, bytes) in all.iter().enumerate() {
            sim.submit(index % count, bytes);
        }
        sim.settle();
        assert!(sim.nodes.iter().all(|node| node.pool.len() == all.len()));
        let whole: usize = sim.whole.values().sum();
        // The least possible is one for each node that had to receive it.
        assert!(whole <= all.len() * (count - 1) * 11 / 10, "{count} nodes: {whole} transfers");
        assert!(sim.offences.is_empty());
        assert!(
            sim.nodes.iter().all(|node| node.core.is_idle() && node.core.sizes().0 == 0 && node.core.sizes().2 == 0)
        );
    }
}

#[test]
fn on_a_chain_of_links_it_arrives_at_the_other_end() {
    let links: Vec<_> = (1..8).map(|index| (index - 1, index)).collect();
    let mut sim = Sim::new(8, &links, 3);
    sim.submit(0, &transaction(GOOD, 1));
    sim.settle();
    assert!(sim.nodes.iter().all(|node| node.pool.len() == 1));
    assert_eq!(sim.whole.values().sum::<usize>(), 7);
}

#[test]
fn a_node_that_comes_later_gets_what_waits() {
    let mut sim = Sim::new(4, &[(0, 1), (1, 2), (0, 2)], 5);
    let all: Vec<_> = (0..700).map(|number| transaction(GOOD, number)).collect();
    all.iter().for_each(|bytes| sim.submit(0, bytes));
    sim.settle();
    sim.link(3, 0);
    sim.link(3, 1);
    sim.settle();
    assert_eq!(sim.nodes[3].pool.len(), 700);
    let twice = sim.whole.values().filter(|count| **count > 3).count();
    assert!(twice < 35, "{twice} of 700 crossed more links than they had to");
}

#[test]
fn lost_frames_are_made_up_for() {
    let mut sim = Sim::mesh(10, 11);
    sim.loss_per_mille = 200;
    for number in 0..100 {
        sim.submit(0, &transaction(GOOD, number));
    }
    sim.settle();
    let complete = sim.nodes.iter().map(|node| node.pool.len()).sum::<usize>();
    assert!(complete > 990, "{complete} of 1000");
}

#[test]
fn what_the_own_mempool_refuses_goes_nowhere_and_is_not_asked_for_again() {
    let mut sim = Sim::mesh(5, 1);
    for number in 0..20 {
        let frame = wire::transactions(&[transaction(REFUSED, number)]).remove(0);
        for to in 1..5 {
            sim.under_way.push((0, to, frame.clone()));
        }
        let have = wire::have(&[hash(&transaction(REFUSED, number))]).remove(0);
        sim.under_way.push((0, 1, have));
    }
    sim.settle();
    assert!(sim.nodes.iter().all(|node| node.pool.len() == 0));
    assert!(sim.offences.is_empty(), "nonces and full pools are nobody's fault");
    let told: u64 = sim.nodes.iter().map(|node| node.core.stats.announced + node.core.stats.pushed).sum();
    assert_eq!(told, 0);
}

#[test]
fn bad_signatures_count_after_the_grace_and_beyond_a_few() {
    let mut sim = Sim::mesh(2, 1);
    let send = |sim: &mut Sim, numbers: std::ops::Range<u32>| {
        for number in numbers {
            sim.under_way.push((0, 1, wire::transactions(&[transaction(FORGED, number)]).remove(0)));
        }
        sim.settle();
    };
    send(&mut sim, 0..100);
    assert!(sim.offences.is_empty(), "a link that has just begun may be that of a node before its upgrade");
    sim.now += x0_limits::GOSSIP_SIGNATURE_GRACE_MS;
    let few = x0_limits::GOSSIP_BAD_SIGNATURES_PER_MINUTE;
    send(&mut sim, 100..100 + few);
    assert!(sim.offences.is_empty());
    send(&mut sim, 200..205);
    assert_eq!(sim.offences, vec![(1, key(0), Offence::BadSignature); 5]);
    sim.under_way.push((0, 1, Bytes::from_static(b"\x07garbage")));
    sim.settle();
    assert_eq!(sim.offences.last(), Some(&(1, key(0), Offence::Malformed)));
}

#[test]
fn a_flood_of_invented_hashes_stays_within_bounds() {
    let mut sim = Sim::mesh(3, 1);
    for round in 0..200u32 {
        let hashes: Vec<_> = (0..1_000u32)
            .map(|number| Hash::from(x0_crypto::blake2b_256(&(round * 1_000 + number).to_be_bytes())))
            .collect();
        for frame in wire::have(&hashes) {
            sim.under_way.push((0, 1, frame));
        }
    }
    sim.submit(2, &transaction(GOOD, 1));
    sim.settle();
    assert_eq!(sim.nodes[1].pool.len(), 1, "the others are heard");
    let (wanted, checking, foreign, memory) = sim.nodes[1].core.sizes();
    assert!(wanted <= x0_limits::GOSSIP_NAMED_PER_PEER_MAX && checking == 0 && foreign == 0);
    assert!(memory <= x0_limits::GOSSIP_SEEN_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    /// On any connected network, whatever the order of frames: everybody gets everything, nothing is
    /// asked for that is there, and nothing is left over.
    #[test]
    fn everything_arrives_on_any_connected_network(count in 2usize..9, extra in prop::collection::vec((0usize..9, 0usize..9), 0..12), at in prop::collection::vec(0usize..9, 1..20), seed: u64) {
        let mut links: Vec<_> = (1..count).map(|index| (index / 2, index)).collect();
        for (a, b) in extra {
            let (a, b) = (a % count, b % count);
            if a != b && !links.contains(&(a, b)) && !links.contains(&(b, a)) {
                links.push((a, b));
            }
        }
        let mut sim = Sim::new(count, &links, seed % 1_000_000);
        for (number, at) in at.iter().enumerate() {
            sim.submit(at % count, &transaction(GOOD, number as u32));
        }
        sim.settle();
        for node in &sim.nodes {
            prop_assert_eq!(node.pool.len(), at.len());
            prop_assert_eq!((node.core.sizes().0, node.core.sizes().1, node.core.sizes().2), (0, 0, 0));
        }
        prop_assert!(sim.offences.is_empty());
    }
}

#[tokio::test]
async fn four_nodes_on_a_carrier_share_their_transactions() {
    let hub = Hub::new(1);
    let pools: Vec<_> = (0..4).map(|_| TestPool::default()).collect();
    let carriers: Vec<Arc<dyn Carrier>> = (0..4).map(|tag| Arc::new(hub.join(key(tag))) as Arc<dyn Carrier>).collect();
    let running: Vec<_> =
        carriers.iter().zip(&pools).map(|(carrier, pool)| start(Arc::clone(carrier), pool.clone()).unwrap()).collect();
    assert!(start(Arc::clone(&carriers[0]), pools[0].clone()).is_none(), "the events are taken");
    let until = |wanted: usize| {
        let pools = pools.clone();
        async move {
            let all = async {
                while pools.iter().any(|pool| pool.len() < wanted) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), all).await.expect("everybody has everything");
        }
    };
    // What arrives before the links stand is asked for later instead of being pushed.
    tokio::time::timeout(Duration::from_secs(30), async {
        while running.iter().any(|node| node.stats().peers < 3) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("everybody is linked with everybody");
    for number in 0..200 {
        pools[number as usize % 4].judge(&transaction(GOOD, number));
    }
    until(200).await;
    // A node that was cut off hears of what it missed.
    hub.cut(key(0), key(3));
    hub.cut(key(1), key(3));
    hub.cut(key(2), key(3));
    for number in 200..260 {
        pools[0].judge(&transaction(GOOD, number));
    }
    tokio::time::timeout(Duration::from_secs(30), async {
        while pools[2].len() < 260 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(pools[3].len(), 200);
    hub.mend_all();
    until(260).await;
    let stats = running[0].stats();
    assert_eq!((stats.peers, stats.bad_signatures, stats.malformed), (3, 0, 0));
    assert!(stats.pushed >= 50 * 3);
    // Frames of other channels are not for this part.
    carriers[1].send(&key(0), Channel::Status, Bytes::from_static(b"x")).unwrap();
}
