//! How a snapshot is fetched: from whom, what next, and whom not to believe.
//!
//! A state machine without clock, network, disk or threads. Each call brings an event and the time
//! and gives [`Action`]s, so that tests drive it through every order of events.
//!
//! ```text
//!   Choosing --(offers)--> Following --(set changes, manifest: verified)--> Fetching --> Done
//!      ^                      |  peer lied: the next one                      |  ^
//!      +---- nobody left -----+-----------------------------------------------+  +-- chunks, in any order
//! ```

pub use crate::events::{Action, Anchor, Now, PeerFault};
use crate::{
    manifest::Manifest,
    wire::{Answer, Offer, Question, Refusal, answered_id, decode_answer},
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use x0_light::{LightError, SetChangeProof, TrustedState, advance, verify_header};
use x0_limits::{
    SNAPSHOT_OFFERS_WAIT_MS, SNAPSHOT_PEERS_MAX, SNAPSHOT_REQUEST_TIMEOUT_MS, SNAPSHOT_REQUESTS_IN_FLIGHT_MAX,
    SNAPSHOT_TIMEOUTS_PER_PEER_MAX,
};
use x0_network::PeerKey;

/// Forgotten questions of a peer whose late answers are no offence.
const LATE_MAX: usize = 16;
/// How long a busy peer is left alone, milliseconds.
const BUSY_PAUSE_MS: u64 = 500;
/// How long a peer that did not answer is left alone, milliseconds.
const SILENT_PAUSE_MS: u64 = 20_000;
/// Distance between two questions for offers to one peer, milliseconds.
const OFFERS_REPEAT_MS: u64 = 3_000;

#[derive(Debug, Default)]
struct Peer {
    offers: Vec<Offer>,
    /// Questions under way: number, question, when it was sent.
    asked: Vec<(u32, Question, u64)>,
    late: VecDeque<u32>,
    /// Number of the last question to this peer for more than offers.
    last_asked: u32,
    timeouts: u32,
    paused_until_ms: u64,
    offers_asked_ms: Option<u64>,
    answered_offers: bool,
}

#[derive(Debug)]
enum Phase {
    Choosing {
        first_offer_ms: Option<u64>,
    },
    Following {
        target: Offer,
        from: Option<PeerKey>,
        changes_done: bool,
    },
    /// `ready` once the driver has said what is on the disk: nothing is asked for twice.
    Fetching {
        target: Offer,
        manifest: Box<Manifest>,
        missing: BTreeSet<u32>,
        ready: bool,
    },
    Done {
        target: Offer,
    },
}

/// The state machine.
#[derive(Debug)]
pub struct Fetcher {
    trust: TrustedState,
    anchor: Anchor,
    anchor_seen: bool,
    changes: Vec<SetChangeProof>,
    above: u32,
    resume: Option<[u8; 32]>,
    phase: Phase,
    peers: BTreeMap<PeerKey, Peer>,
    /// Peers that are not asked again.
    shunned: BTreeSet<PeerKey>,
    false_contents: BTreeSet<[u8; 32]>,
    /// Peers whose chain does not contain the anchor.
    astray: usize,
    next_id: u32,
}

impl Fetcher {
    /// Starts at the genesis set. `above`: only snapshots of higher blocks are of use; `resume`: the
    /// snapshot of which an earlier attempt left chunks.
    #[must_use]
    pub fn new(trust: TrustedState, anchor: Anchor, above: u32, resume: Option<[u8; 32]>) -> Self {
        let anchor_seen = anchor.number == 0 && *trust.hash() == anchor.hash;
        Self {
            trust,
            anchor,
            anchor_seen,
            changes: Vec::new(),
            // A snapshot below the anchor cannot show that it is of the anchor's chain.
            above: above.max(anchor.number.saturating_sub(1)),
            resume,
            phase: Phase::Choosing { first_offer_ms: None },
            peers: BTreeMap::new(),
            shunned: BTreeSet::new(),
            false_contents: BTreeSet::new(),
            astray: 0,
            next_id: 1,
        }
    }

    /// The set changes on the way to the snapshot, each of them verified.
    #[must_use]
    pub fn changes(&self) -> &[SetChangeProof] {
        &self.changes
    }

    /// Only snapshots above this height are of use.
    #[must_use]
    pub const fn above(&self) -> u32 {
        self.above
    }

    /// The block that a person vouches for.
    #[must_use]
    pub const fn anchor(&self) -> Anchor {
        self.anchor
    }

    /// How many peers have a chain without the anchor, once nobody else is left.
    #[must_use]
    pub fn only_astray(&self) -> Option<usize> {
        (self.astray > 0 && self.peers.is_empty()).then_some(self.astray)
    }

    /// Whether a snapshot was chosen.
    #[must_use]
    pub const fn has_target(&self) -> bool {
        !matches!(self.phase, Phase::Choosing { .. })
    }

    /// Chunks that are still missing, once a manifest is verified.
    #[must_use]
    pub fn missing(&self) -> Option<usize> {
        match &self.phase {
            Phase::Fetching { missing, .. } => Some(missing.len()),
            Phase::Done { .. } => Some(0),
            Phase::Choosing { .. } | Phase::Following { .. } => None,
        }
    }

    /// A link to a peer stands.
    pub fn peer_up(&mut self, peer: PeerKey, now: Now) -> Vec<Action> {
        if !self.shunned.contains(&peer) && self.peers.len() < SNAPSHOT_PEERS_MAX {
            self.peers.insert(peer, Peer::default());
        }
        self.tick(now)
    }

    /// A link is gone; what was asked there is asked elsewhere.
    pub fn peer_down(&mut self, peer: &PeerKey, now: Now) -> Vec<Action> {
        self.peers.remove(peer);
        self.tick(now)
    }

    /// Time passes.
    pub fn tick(&mut self, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        self.expire(now);
        self.ask_for_offers(now, &mut actions);
        self.proceed(now, &mut actions);
        actions
    }

    /// Chunks that are on the disk already, in answer to [`Action::Begin`].
    pub fn have(&mut self, chunks: impl IntoIterator<Item = u32>, now: Now) -> Vec<Action> {
        if let Phase::Fetching { missing, ready, .. } = &mut self.phase {
            for index in chunks {
                missing.remove(&index);
            }
            *ready = true;
        }
        self.tick(now)
    }

    /// The chunks turned out not to be the state of the header: everybody who offered them lied.
    pub fn reject(&mut self, now: Now) -> Vec<Action> {
        let Phase::Done { target } = &self.phase else { return Vec::new() };
        let content = target.content;
        self.false_contents.insert(content);
        self.resume = None;
        let liars: Vec<_> = self.offering(&content).collect();
        let mut actions: Vec<_> = liars.into_iter().map(|peer| self.shun(peer, PeerFault::FalseManifest)).collect();
        self.phase = Phase::Choosing { first_offer_ms: None };
        actions.extend(self.tick(now));
        actions
    }

    /// A frame of answers came in.
    pub fn answer(&mut self, from: PeerKey, frame: &Bytes, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.shunned.contains(&from) {
            return actions;
        }
        let Some(peer) = self.peers.get_mut(&from) else { return actions };
        let asked = answered_id(frame).map(|id| match peer.asked.iter().position(|(asked, ..)| *asked == id) {
            Some(place) => Ok(peer.asked.remove(place).1),
            None => Err(peer.late.contains(&id)),
        });
        let question = match asked {
            Ok(Ok(question)) => question,
            // Late is not wrong, but nobody waits for it any more.
            Ok(Err(true)) => return actions,
            Ok(Err(false)) => return vec![self.shun(from, PeerFault::NotAsked)],
            Err(error) => return vec![self.shun(from, error.into())],
        };
        peer.timeouts = 0;
        let outcome = decode_answer(frame)
            .map_err(PeerFault::from)
            .and_then(|(_, answer)| self.take(from, &question, answer, now, &mut actions));
        if let Err(fault) = outcome {
            actions.push(self.fault(from, fault));
        }
        self.proceed(now, &mut actions);
        actions
    }

    /// Trust that has aged, a wrong clock and a conflict are no peer's fault alone: nobody can mend them.
    fn fault(&mut self, peer: PeerKey, fault: PeerFault) -> Action {
        match fault {
            PeerFault::Unproven(
                error @ (LightError::TrustExpired { .. }
                | LightError::ClockBehind { .. }
                | LightError::Conflict { .. }
                | LightError::Halted(_)),
            ) => Action::Fail(error),
            fault => self.shun(peer, fault),
        }
    }

    fn shun(&mut self, peer: PeerKey, fault: PeerFault) -> Action {
        if matches!(fault, PeerFault::CheckpointMissing(_)) {
            self.astray = self.astray.saturating_add(1);
        }
        self.peers.remove(&peer);
        self.shunned.insert(peer);
        if let Phase::Following { from, changes_done, .. } = &mut self.phase
            && *from == Some(peer)
        {
            (*from, *changes_done) = (None, false);
        }
        Action::Penalize { peer, fault }
    }

    fn offering(&self, content: &[u8; 32]) -> impl Iterator<Item = PeerKey> {
        let content = *content;
        self.peers
            .iter()
            .filter(move |(_, peer)| peer.offers.iter().any(|offer| offer.content == content))
            .map(|(key, _)| *key)
    }

    fn take(
        &mut self,
        from: PeerKey,
        question: &Question,
        answer: Answer,
        now: Now,
        actions: &mut Vec<Action>,
    ) -> Result<(), PeerFault> {
        match (question, answer) {
            (_, Answer::Refused(refusal)) => {
                self.refused(from, question, refusal, now);
                Ok(())
            }
            (Question::Offers, Answer::Offers(offers)) => {
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.offers = offers;
                    peer.answered_offers = true;
                }
                if let Phase::Choosing { first_offer_ms } = &mut self.phase {
                    first_offer_ms.get_or_insert(now.steady_ms);
                }
                Ok(())
            }
            (Question::SetChanges { .. }, Answer::SetChanges { proofs, more }) => self.follow(proofs, more, now),
            (Question::Manifest { content }, Answer::Manifest(manifest)) => {
                self.verify_manifest(content, manifest, now, actions)
            }
            (Question::Chunk { content, index }, Answer::Chunk(bytes)) => {
                self.take_chunk(content, *index, bytes, actions)
            }
            _ => Err(PeerFault::OtherKind),
        }
    }

    fn refused(&mut self, from: PeerKey, question: &Question, refusal: Refusal, now: Now) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if refusal == Refusal::Unknown {
            // The snapshot went while it was being fetched: the peer may offer a newer one.
            match question {
                Question::Manifest { content } | Question::Chunk { content, .. } => {
                    peer.offers.retain(|offer| offer.content != *content);
                }
                Question::Offers | Question::SetChanges { .. } => peer.offers.clear(),
            }
        }
        peer.paused_until_ms = now.steady_ms.saturating_add(BUSY_PAUSE_MS);
        // Another peer is asked meanwhile.
        if let Phase::Following { from: asked, changes_done, .. } = &mut self.phase
            && *asked == Some(from)
        {
            (*asked, *changes_done) = (None, false);
        }
    }

    fn follow(&mut self, proofs: Vec<SetChangeProof>, more: bool, now: Now) -> Result<(), PeerFault> {
        if more && proofs.is_empty() {
            return Err(PeerFault::OtherKind);
        }
        for proof in proofs {
            let known = self.trust.changes_known_to();
            let verified = advance(&mut self.trust, &proof, now.unix_ms).map_err(PeerFault::Unproven)?;
            if verified.header.number == self.anchor.number {
                if verified.header.hash != self.anchor.hash {
                    return Err(PeerFault::CheckpointMissing(self.anchor.number));
                }
                self.anchor_seen = true;
            }
            if self.trust.changes_known_to() > known {
                self.changes.push(proof);
            }
        }
        if let Phase::Following { changes_done, .. } = &mut self.phase {
            *changes_done = !more;
        }
        Ok(())
    }

    fn verify_manifest(
        &mut self,
        content: &[u8; 32],
        manifest: Manifest,
        now: Now,
        actions: &mut Vec<Action>,
    ) -> Result<(), PeerFault> {
        let Phase::Following { target, .. } = &self.phase else { return Ok(()) };
        let target = *target;
        if target.content != *content {
            return Ok(());
        }
        let block = manifest.block().map_err(|error| PeerFault::Malformed(error.into()))?;
        let offered = manifest.content() == target.content
            && manifest.genesis == *self.trust.genesis_hash()
            && manifest.state_bytes == target.state_bytes
            && block.number == target.number;
        if !offered {
            return Err(PeerFault::OtherManifest);
        }
        if !self.anchor_seen {
            return Err(PeerFault::CheckpointMissing(self.anchor.number));
        }
        verify_header(&mut self.trust, &manifest.header, &manifest.certificate, now.unix_ms)
            .map_err(PeerFault::Unproven)?;
        let missing = (0u32..).take(manifest.chunks.len()).collect();
        actions.push(Action::Begin(Box::new(manifest.clone())));
        self.phase = Phase::Fetching { target, manifest: Box::new(manifest), missing, ready: false };
        Ok(())
    }

    fn take_chunk(
        &mut self,
        content: &[u8; 32],
        index: u32,
        bytes: Bytes,
        actions: &mut Vec<Action>,
    ) -> Result<(), PeerFault> {
        let Phase::Fetching { target, manifest, missing, .. } = &mut self.phase else { return Ok(()) };
        if target.content != *content || !missing.contains(&index) {
            return Ok(());
        }
        if !manifest.is_chunk(index, &bytes) {
            return Err(PeerFault::WrongChunk(index));
        }
        missing.remove(&index);
        actions.push(Action::Store { index, bytes });
        Ok(())
    }

    /// Forgets questions that got no answer in time.
    fn expire(&mut self, now: Now) {
        let mut silent = Vec::new();
        for (key, peer) in &mut self.peers {
            let before = peer.asked.len();
            let late = &mut peer.late;
            peer.asked.retain(|(id, _, sent)| {
                let waits = now.steady_ms.saturating_sub(*sent) < SNAPSHOT_REQUEST_TIMEOUT_MS;
                if !waits {
                    late.push_back(*id);
                }
                waits
            });
            while peer.late.len() > LATE_MAX {
                peer.late.pop_front();
            }
            if peer.asked.len() < before {
                peer.timeouts = peer.timeouts.saturating_add(1);
                silent.push(*key);
            }
        }
        for key in silent {
            if let Phase::Following { from, changes_done, .. } = &mut self.phase
                && *from == Some(key)
            {
                (*from, *changes_done) = (None, false);
            }
            if let Some(peer) = self.peers.get_mut(&key)
                && peer.timeouts >= SNAPSHOT_TIMEOUTS_PER_PEER_MAX
            {
                // Silence is no offence: the peer is left alone for a while, and then counts as new.
                let until = now.steady_ms.saturating_add(SILENT_PAUSE_MS);
                let late = std::mem::take(&mut peer.late);
                let last_asked = peer.last_asked;
                *peer =
                    Peer { late, last_asked, paused_until_ms: until, offers_asked_ms: Some(until), ..Peer::default() };
            }
        }
    }

    fn ask(&mut self, key: PeerKey, question: Question, now: Now, actions: &mut Vec<Action>) {
        let id = self.next_id;
        if let Some(peer) = self.peers.get_mut(&key) {
            self.next_id = self.next_id.wrapping_add(1);
            if !matches!(question, Question::Offers) {
                peer.last_asked = id;
            }
            peer.asked.push((id, question.clone(), now.steady_ms));
            actions.push(Action::Ask { peer: key, id, question });
        }
    }

    fn ask_for_offers(&mut self, now: Now, actions: &mut Vec<Action>) {
        let due: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| {
                peer.offers_asked_ms.is_none_or(|asked| now.steady_ms >= asked.saturating_add(OFFERS_REPEAT_MS))
            })
            .map(|(key, _)| *key)
            .collect();
        for key in due {
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.offers_asked_ms = Some(now.steady_ms);
            }
            self.ask(key, Question::Offers, now, actions);
        }
    }

    fn free(&self, key: &PeerKey, now: Now) -> bool {
        self.peers.get(key).is_some_and(|peer| {
            peer.paused_until_ms <= now.steady_ms && peer.asked.len() < SNAPSHOT_REQUESTS_IN_FLIGHT_MAX
        })
    }

    fn proceed(&mut self, now: Now, actions: &mut Vec<Action>) {
        if let Phase::Following { target, .. } | Phase::Fetching { target, .. } = &self.phase
            && self.offering(&target.content).next().is_none()
            && self.peers.values().any(|peer| peer.answered_offers)
        {
            // Nobody has it any more (or nobody honest had it).
            self.phase = Phase::Choosing { first_offer_ms: Some(now.steady_ms) };
        }
        self.choose(now);
        self.proceed_following(now, actions);
        self.proceed_fetching(now, actions);
    }

    /// Chooses the newest snapshot, or the one of which chunks are on the disk, when all peers have
    /// answered or enough time has passed.
    fn choose(&mut self, now: Now) {
        let Phase::Choosing { first_offer_ms: Some(first) } = &self.phase else { return };
        let waited = now.steady_ms.saturating_sub(*first) >= SNAPSHOT_OFFERS_WAIT_MS;
        if !waited && !self.peers.values().all(|peer| peer.answered_offers) {
            return;
        }
        let usable = |offer: &&Offer| offer.number > self.above && !self.false_contents.contains(&offer.content);
        let offers: BTreeSet<Offer> =
            self.peers.values().flat_map(|peer| &peer.offers).filter(usable).copied().collect();
        let resumed = offers.iter().find(|offer| Some(offer.content) == self.resume);
        let Some(target) = resumed.or_else(|| offers.last()).copied() else { return };
        self.phase = Phase::Following { target, from: None, changes_done: false };
    }

    fn proceed_following(&mut self, now: Now, actions: &mut Vec<Action>) {
        let Phase::Following { target, from, changes_done } = &self.phase else { return };
        let (target, from, changes_done) = (*target, *from, *changes_done);
        let key = from.filter(|key| self.peers.contains_key(key)).or_else(|| {
            // In turn: peers that are always busy must not keep those behind them from being asked.
            let free = self.offering(&target.content).filter(|key| self.free(key, now));
            free.min_by_key(|key| self.peers.get(key).map(|peer| peer.last_asked))
        });
        let Some(key) = key else { return };
        let changes_done = changes_done && from == Some(key);
        self.phase = Phase::Following { target, from: Some(key), changes_done };
        let under_way = self
            .peers
            .get(&key)
            .is_some_and(|peer| peer.asked.iter().any(|(_, question, _)| !matches!(question, Question::Offers)));
        if under_way || !self.free(&key, now) {
            return;
        }
        let question = if changes_done {
            Question::Manifest { content: target.content }
        } else {
            Question::SetChanges { after: self.trust.changes_known_to(), last: target.number }
        };
        self.ask(key, question, now, actions);
    }

    fn proceed_fetching(&mut self, now: Now, actions: &mut Vec<Action>) {
        let Phase::Fetching { target, missing, ready: true, .. } = &self.phase else { return };
        let target = *target;
        if missing.is_empty() {
            self.phase = Phase::Done { target };
            actions.push(Action::Complete);
            return;
        }
        let under_way: BTreeSet<u32> = self
            .peers
            .values()
            .flat_map(|peer| &peer.asked)
            .filter_map(|(_, question, _)| match question {
                Question::Chunk { content, index } if *content == target.content => Some(*index),
                _ => None,
            })
            .collect();
        let wanted: Vec<u32> = missing
            .iter()
            .filter(|index| !under_way.contains(index))
            .take(SNAPSHOT_PEERS_MAX * SNAPSHOT_REQUESTS_IN_FLIGHT_MAX)
            .copied()
            .collect();
        let mut wanted = wanted.into_iter();
        let peers: Vec<_> = self.offering(&target.content).collect();
        // Each peer gets one question in turn, so that all of them work.
        for _ in 0..SNAPSHOT_REQUESTS_IN_FLIGHT_MAX {
            for key in &peers {
                if self.free(key, now) {
                    let Some(index) = wanted.next() else { return };
                    self.ask(*key, Question::Chunk { content: target.content, index }, now, actions);
                }
            }
        }
    }
}
