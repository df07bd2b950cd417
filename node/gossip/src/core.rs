//! The rules of spreading. Knows no socket, no clock and no thread: what happens goes in, what to do
//! comes out.

use crate::{
    memory::{Memory, Refusals},
    runner::Verdict,
    stats::GossipStats,
    wire::{self, Message},
};
use bytes::Bytes;
use rand::{rngs::StdRng, seq::IndexedRandom};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use x0_network::{Offence, PeerKey};
use x0_types::Hash;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send a frame to a peer.
    Send(PeerKey, Bytes),
    /// Give a transaction of a peer to the mempool, and report the verdict.
    Check(PeerKey, Hash, Bytes),
    /// Note an offence of a peer.
    Offend(PeerKey, Offence),
}

/// What the core asks the mempool.
pub(crate) trait Lookup {
    /// Whether the transaction waits here or is in a block.
    fn knows(&self, hash: &Hash) -> bool;
    /// A waiting transaction.
    fn get(&self, hash: &Hash) -> Option<Bytes>;
}

/// One peer.
#[derive(Default)]
struct Peer {
    since_ms: u64,
    /// Hashes to tell at the next occasion.
    to_tell: Vec<Hash>,
    asked: usize,
    /// Missing transactions that this peer named first.
    named: usize,
    checking: usize,
    served_bytes: usize,
    served_ms: u64,
    bad_signatures: u32,
    bad_signatures_ms: u64,
}

/// A transaction that peers have and this node has not.
struct Wanted {
    first: PeerKey,
    /// Peers that named it and were not asked yet.
    sources: Vec<PeerKey>,
    asked: Option<(PeerKey, u64)>,
}

/// A transaction at the mempool.
struct Checking {
    from: PeerKey,
    /// Whether the mempool has said that it entered.
    entered: bool,
}

pub(crate) struct Core {
    peers: BTreeMap<PeerKey, Peer>,
    memory: Memory,
    refusals: Refusals,
    wanted: HashMap<Hash, Wanted>,
    checking: HashMap<Hash, Checking>,
    /// Transactions of peers that were admitted and of which the mempool has not told yet.
    foreign: HashSet<Hash>,
    random: StdRng,
    told_ms: u64,
    pub(crate) stats: GossipStats,
}

impl Core {
    pub(crate) fn new(random: StdRng) -> Self {
        Self {
            peers: BTreeMap::new(),
            memory: Memory::new(x0_limits::GOSSIP_SEEN_MAX),
            refusals: Refusals::new(x0_limits::GOSSIP_WANTED_MAX),
            wanted: HashMap::new(),
            checking: HashMap::new(),
            foreign: HashSet::new(),
            random,
            told_ms: 0,
            stats: GossipStats::default(),
        }
    }

    /// A peer came; it is told what waits here.
    pub(crate) fn peer_up(&mut self, peer: PeerKey, pending: &[Hash], now_ms: u64) {
        let to_tell = pending.iter().take(x0_limits::GOSSIP_TOLD_ON_LINK_MAX).copied().collect();
        self.memory.add_peer(peer);
        self.peers.insert(peer, Peer { since_ms: now_ms, to_tell, ..Peer::default() });
        self.stats.peers = self.peers.len() as u64;
    }

    /// A peer went; what was asked of it is asked of others.
    pub(crate) fn peer_down(&mut self, peer: &PeerKey) {
        self.peers.remove(peer);
        self.memory.remove_peer(peer);
        for wanted in self.wanted.values_mut() {
            wanted.sources.retain(|source| source != peer);
            if wanted.asked.is_some_and(|(asked, _)| asked == *peer) {
                wanted.asked = None;
            }
        }
        self.forget_hopeless();
        self.stats.peers = self.peers.len() as u64;
    }

    /// Forgets what nobody has any more.
    fn forget_hopeless(&mut self) {
        let peers = &mut self.peers;
        self.wanted.retain(|_, wanted| {
            let keep = wanted.asked.is_some() || !wanted.sources.is_empty();
            if !keep && let Some(peer) = peers.get_mut(&wanted.first) {
                peer.named = peer.named.saturating_sub(1);
            }
            keep
        });
    }

    /// Forgets that a transaction is missing.
    fn found(&mut self, hash: &Hash) {
        let Some(wanted) = self.wanted.remove(hash) else { return };
        if let Some(peer) = self.peers.get_mut(&wanted.first) {
            peer.named = peer.named.saturating_sub(1);
        }
        if let Some((peer, _)) = wanted.asked {
            self.answered(&peer);
        }
    }

    /// A frame came in.
    pub(crate) fn frame(&mut self, from: PeerKey, frame: Bytes, pool: &impl Lookup, now_ms: u64) -> Vec<Action> {
        if !self.peers.contains_key(&from) {
            return Vec::new();
        }
        match wire::read(frame) {
            Ok(Message::Transactions(all)) => self.transactions(from, all, pool, now_ms),
            Ok(Message::Have(hashes)) => {
                self.have(from, &hashes, pool, now_ms);
                self.ask(&hashes, now_ms)
            }
            Ok(Message::Want(hashes)) => self.serve(from, &hashes, pool, now_ms),
            Err(wire::Malformed) => {
                self.stats.malformed += 1;
                vec![Action::Offend(from, Offence::Malformed)]
            }
        }
    }

    fn transactions(&mut self, from: PeerKey, all: Vec<Bytes>, pool: &impl Lookup, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        for bytes in all {
            self.stats.received += 1;
            let hash = Hash::from(x0_crypto::blake2b_256(&bytes));
            self.memory.note(hash, &from);
            self.found(&hash);
            if self.is_known(&hash, pool, now_ms) {
                self.stats.received_known += 1;
                continue;
            }
            let Some(peer) = self.peers.get_mut(&from) else { continue };
            if peer.checking >= x0_limits::GOSSIP_CHECKS_PER_PEER_MAX {
                self.stats.dropped += 1;
                continue;
            }
            peer.checking += 1;
            self.checking.insert(hash, Checking { from, entered: false });
            actions.push(Action::Check(from, hash, bytes));
        }
        actions
    }

    fn answered(&mut self, peer: &PeerKey) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.asked = peer.asked.saturating_sub(1);
        }
    }

    fn is_known(&self, hash: &Hash, pool: &impl Lookup, now_ms: u64) -> bool {
        self.checking.contains_key(hash) || self.refusals.is_recent(hash, now_ms) || pool.knows(hash)
    }

    fn have(&mut self, from: PeerKey, hashes: &[Hash], pool: &impl Lookup, now_ms: u64) {
        for hash in hashes {
            self.memory.note(*hash, &from);
            if self.is_known(hash, pool, now_ms) {
                continue;
            }
            let Some(peer) = self.peers.get_mut(&from) else { return };
            let room =
                self.wanted.len() < x0_limits::GOSSIP_WANTED_MAX && peer.named < x0_limits::GOSSIP_NAMED_PER_PEER_MAX;
            match self.wanted.get_mut(hash) {
                Some(wanted) => {
                    let known = wanted.sources.contains(&from) || wanted.asked.is_some_and(|(peer, _)| peer == from);
                    if !known && wanted.sources.len() < x0_limits::GOSSIP_SOURCES_MAX {
                        wanted.sources.push(from);
                    }
                }
                None if room => {
                    peer.named += 1;
                    self.wanted.insert(*hash, Wanted { first: from, sources: vec![from], asked: None });
                }
                // What does not fit comes with a block.
                None => {}
            }
        }
    }

    /// Asks for those of these that are missing, each of one peer.
    fn ask(&mut self, hashes: &[Hash], now_ms: u64) -> Vec<Action> {
        let mut questions: BTreeMap<PeerKey, Vec<Hash>> = BTreeMap::new();
        for hash in hashes {
            let Some(wanted) = self.wanted.get_mut(hash).filter(|wanted| wanted.asked.is_none()) else { continue };
            let free = wanted.sources.iter().position(|source| {
                self.peers.get(source).is_some_and(|peer| peer.asked < x0_limits::GOSSIP_ASKED_PER_PEER_MAX)
            });
            let Some(index) = free else { continue };
            let source = wanted.sources.remove(index);
            if let Some(peer) = self.peers.get_mut(&source) {
                peer.asked += 1;
            }
            wanted.asked = Some((source, now_ms + x0_limits::GOSSIP_ANSWER_MS));
            questions.entry(source).or_default().push(*hash);
        }
        self.stats.asked += questions.values().map(|hashes| hashes.len() as u64).sum::<u64>();
        questions
            .into_iter()
            .flat_map(|(peer, hashes)| wire::want(&hashes).into_iter().map(move |frame| Action::Send(peer, frame)))
            .collect()
    }

    fn serve(&mut self, from: PeerKey, hashes: &[Hash], pool: &impl Lookup, now_ms: u64) -> Vec<Action> {
        let Some(peer) = self.peers.get_mut(&from) else { return Vec::new() };
        if now_ms.saturating_sub(peer.served_ms) >= 1_000 {
            (peer.served_ms, peer.served_bytes) = (now_ms, 0);
        }
        let mut found = Vec::new();
        for hash in hashes {
            match pool.get(hash) {
                Some(bytes) if peer.served_bytes + bytes.len() <= x0_limits::GOSSIP_SERVED_BYTES_PER_SECOND => {
                    peer.served_bytes += bytes.len();
                    self.memory.note(*hash, &from);
                    found.push(bytes);
                }
                _ => self.stats.not_served += 1,
            }
        }
        self.stats.served += found.len() as u64;
        wire::transactions(&found).into_iter().map(|frame| Action::Send(from, frame)).collect()
    }

    /// The mempool has judged a transaction of a peer.
    pub(crate) fn judged(&mut self, hash: Hash, verdict: Verdict, now_ms: u64) -> Vec<Action> {
        let Some(Checking { from, entered }) = self.checking.remove(&hash) else { return Vec::new() };
        match verdict {
            Verdict::Admitted => {
                self.stats.admitted += 1;
                if !entered {
                    self.foreign.insert(hash);
                }
            }
            Verdict::Refused => self.stats.refused += 1,
            Verdict::BadSignature => self.stats.bad_signatures += 1,
        }
        if verdict != Verdict::Admitted {
            self.refusals.note(hash, now_ms);
        }
        let Some(peer) = self.peers.get_mut(&from) else { return Vec::new() };
        peer.checking = peer.checking.saturating_sub(1);
        if verdict == Verdict::BadSignature && peer.is_to_blame(now_ms) {
            return vec![Action::Offend(from, Offence::BadSignature)];
        }
        Vec::new()
    }

    /// Transactions have entered the mempool, wherever they came from.
    pub(crate) fn entered(&mut self, all: &[(Hash, Bytes)]) -> Vec<Action> {
        let mut pushes: BTreeMap<PeerKey, Vec<Bytes>> = BTreeMap::new();
        for (hash, bytes) in all {
            self.found(hash);
            let foreign = match self.checking.get_mut(hash) {
                Some(checking) => {
                    checking.entered = true;
                    true
                }
                None => self.foreign.remove(hash),
            };
            let lacking: Vec<_> = self.peers.keys().filter(|peer| !self.memory.has(hash, peer)).copied().collect();
            if foreign {
                let some = lacking.choose_multiple(&mut self.random, x0_limits::GOSSIP_ANNOUNCE_PEERS);
                some.copied().for_each(|peer| self.tell_later(peer, *hash));
                continue;
            }
            let pushed: BTreeSet<PeerKey> = if lacking.len() <= x0_limits::GOSSIP_PUSH_ALL_MAX {
                lacking.iter().copied().collect()
            } else {
                lacking.choose_multiple(&mut self.random, x0_limits::GOSSIP_PUSH_PEERS).copied().collect()
            };
            for peer in lacking {
                if pushed.contains(&peer) {
                    self.memory.note(*hash, &peer);
                    self.stats.pushed += 1;
                    pushes.entry(peer).or_default().push(bytes.clone());
                } else {
                    self.tell_later(peer, *hash);
                }
            }
        }
        pushes
            .into_iter()
            .flat_map(|(peer, some)| wire::transactions(&some).into_iter().map(move |frame| Action::Send(peer, frame)))
            .collect()
    }

    fn tell_later(&mut self, peer: PeerKey, hash: Hash) {
        if let Some(peer) = self.peers.get_mut(&peer)
            && peer.to_tell.len() < x0_limits::GOSSIP_TOLD_ON_LINK_MAX
        {
            peer.to_tell.push(hash);
        }
    }

    /// The mempool's news were missed: everybody is told of everything again.
    pub(crate) fn fell_behind(&mut self, pending: &[Hash]) {
        self.stats.fell_behind += 1;
        for peer in self.peers.values_mut() {
            peer.to_tell = pending.iter().take(x0_limits::GOSSIP_TOLD_ON_LINK_MAX).copied().collect();
        }
        self.foreign.clear();
    }

    /// Time has passed: hashes are told and unanswered questions asked of others.
    pub(crate) fn tick(&mut self, now_ms: u64) -> Vec<Action> {
        if now_ms.saturating_sub(self.told_ms) < x0_limits::GOSSIP_ANNOUNCE_MS {
            return Vec::new();
        }
        self.told_ms = now_ms;
        let mut actions = Vec::new();
        for (key, peer) in &mut self.peers {
            let hashes: Vec<_> =
                std::mem::take(&mut peer.to_tell).into_iter().filter(|hash| !self.memory.has(hash, key)).collect();
            for hash in &hashes {
                // A peer that hears of it asks if it has not got it.
                self.memory.note(*hash, key);
            }
            self.stats.announced += hashes.len() as u64;
            actions.extend(wire::have(&hashes).into_iter().map(|frame| Action::Send(*key, frame)));
        }
        self.forget_unanswered(now_ms);
        let missing: Vec<_> = self.wanted.keys().copied().collect();
        actions.extend(self.ask(&missing, now_ms));
        actions
    }

    fn forget_unanswered(&mut self, now_ms: u64) {
        let mut silent = Vec::new();
        for wanted in self.wanted.values_mut() {
            if let Some((peer, until_ms)) = wanted.asked
                && until_ms <= now_ms
            {
                silent.push(peer);
                wanted.asked = None;
            }
        }
        self.forget_hopeless();
        self.stats.unanswered += silent.len() as u64;
        silent.iter().for_each(|peer| self.answered(peer));
    }

    /// Whether nothing waits for time to pass.
    pub(crate) fn is_idle(&self) -> bool {
        self.wanted.is_empty() && self.peers.values().all(|peer| peer.to_tell.is_empty())
    }

    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize, usize, usize) {
        (self.wanted.len(), self.checking.len(), self.foreign.len(), self.memory.len())
    }
}

impl Peer {
    /// Counts a bad signature; whether there are too many of them.
    fn is_to_blame(&mut self, now_ms: u64) -> bool {
        if now_ms.saturating_sub(self.bad_signatures_ms) >= 60_000 {
            (self.bad_signatures_ms, self.bad_signatures) = (now_ms, 0);
        }
        self.bad_signatures = self.bad_signatures.saturating_add(1);
        now_ms.saturating_sub(self.since_ms) >= x0_limits::GOSSIP_SIGNATURE_GRACE_MS
            && self.bad_signatures > x0_limits::GOSSIP_BAD_SIGNATURES_PER_MINUTE
    }
}
