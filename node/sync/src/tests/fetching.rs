//! The state machine among honest, lying, silent and slow peers, in every order of events.

use super::support::{CHAIN, CHANGE, HEIGHT, unix_ms};
use crate::{
    fetcher::{Action, Anchor, Fetcher, Now, PeerFault},
    manifest::Manifest,
    wire::{Answer, Offer, Question, Refusal, encode_answer},
};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use x0_light::{LightError, TrustedState, ValidatorSet};
use x0_network::{Offence, PeerKey};

/// How a peer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    Honest,
    /// Gives another chunk than the asked one.
    WrongChunk,
    /// Offers a newer snapshot that it cannot prove.
    Boaster,
    /// Gives a manifest whose certificate is that of another block.
    Forger,
    /// Leaves the set changes out.
    Hider,
    /// Gives set changes with another set than the announced one.
    Swapper,
    /// Answers something else than what was asked.
    Confused,
    /// Answers bytes that do not decode.
    Garbler,
    /// Answers everything twice.
    Stutterer,
    /// Never answers.
    Silent,
    /// Says that it is busy, mostly.
    Busy,
}

const NATURES: [Nature; 11] = [
    Nature::Honest,
    Nature::WrongChunk,
    Nature::Boaster,
    Nature::Forger,
    Nature::Hider,
    Nature::Swapper,
    Nature::Confused,
    Nature::Garbler,
    Nature::Stutterer,
    Nature::Silent,
    Nature::Busy,
];

impl Nature {
    fn answers(self, id: u32, question: &Question, turn: usize) -> Vec<Bytes> {
        let truth = CHAIN.honest(question);
        let boast = Offer { number: HEIGHT + 100, content: [9; 32], state_bytes: 5 << 20 };
        let answer = match (self, question) {
            (Self::Silent, _) => return vec![],
            (Self::Garbler, _) => return vec![Bytes::from([&id.to_le_bytes()[..], &[77]].concat())],
            (Self::Stutterer, _) => return vec![encode_answer(id, &truth), encode_answer(id, &truth)],
            (Self::Busy, _) if !turn.is_multiple_of(4) => Answer::Refused(Refusal::Busy),
            (Self::Confused, Question::Chunk { .. }) => Answer::Offers(vec![]),
            (Self::WrongChunk, Question::Chunk { content, index }) => {
                let other = (index + 1) % CHAIN.snapshot.manifest.chunks.len() as u32;
                CHAIN.honest(&Question::Chunk { content: *content, index: other })
            }
            (Self::Boaster, Question::Offers) => Answer::Offers(vec![boast]),
            (Self::Boaster, Question::Manifest { .. }) => Answer::Manifest(CHAIN.snapshot.manifest.clone()),
            (Self::Forger, Question::Manifest { .. }) => {
                let certificate = CHAIN.node.database.certificate(HEIGHT - 1).unwrap();
                Answer::Manifest(Manifest { certificate, ..CHAIN.snapshot.manifest.clone() })
            }
            (Self::Hider, Question::SetChanges { .. }) => Answer::SetChanges { proofs: vec![], more: false },
            (Self::Swapper, Question::SetChanges { .. }) => match truth {
                Answer::SetChanges { mut proofs, more } => {
                    proofs.iter_mut().for_each(|proof| proof.set = CHAIN.node.database.validator_set(0).unwrap());
                    Answer::SetChanges { proofs, more }
                }
                other => other,
            },
            _ => truth,
        };
        vec![encode_answer(id, &answer)]
    }

    /// Whether everything that this peer says is true and asked for.
    const fn is_clean(self) -> bool {
        matches!(self, Self::Honest | Self::Silent | Self::Busy)
    }
}

fn trust(vouched_at_ms: u64) -> TrustedState {
    let database = &CHAIN.node.database;
    let set = ValidatorSet::decode(&database.validator_set(0).unwrap()).unwrap();
    let genesis = database.genesis_hash().unwrap().0;
    TrustedState::genesis(&database.header(0).unwrap(), genesis, set, vouched_at_ms).unwrap()
}

fn anchor() -> Anchor {
    Anchor { number: 0, hash: CHAIN.node.database.genesis_hash().unwrap().0, vouched_at_ms: unix_ms() }
}

fn key(index: usize) -> PeerKey {
    PeerKey([index as u8 + 1; 32])
}

/// A simulated network: what is on its way, and what came of it.
struct World {
    fetcher: Fetcher,
    natures: Vec<Nature>,
    now: Now,
    under_way: Vec<(usize, Bytes)>,
    chunks: BTreeMap<u32, Bytes>,
    penalties: Vec<(usize, PeerFault)>,
    complete: bool,
    turn: usize,
}

impl World {
    fn new(natures: Vec<Nature>, resume: Option<[u8; 32]>) -> Self {
        let fetcher = Fetcher::new(trust(unix_ms()), anchor(), 0, resume);
        let now = Now { steady_ms: 0, unix_ms: unix_ms() };
        Self {
            fetcher,
            natures,
            now,
            under_way: vec![],
            chunks: BTreeMap::new(),
            penalties: vec![],
            complete: false,
            turn: 0,
        }
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Ask { peer, id, question } => {
                    let index = usize::from(peer.0[0]) - 1;
                    self.turn += 1;
                    for frame in self.natures[index].answers(id, &question, self.turn) {
                        self.under_way.push((index, frame));
                    }
                }
                Action::Penalize { peer, fault } => self.penalties.push((usize::from(peer.0[0]) - 1, fault)),
                Action::Begin(manifest) => {
                    assert_eq!(manifest.content(), CHAIN.snapshot.content, "only a proven manifest is believed");
                    let have: Vec<_> = self.chunks.keys().copied().collect();
                    let more = self.fetcher.have(have, self.now);
                    self.act(more);
                }
                Action::Store { index, bytes } => {
                    assert_eq!(bytes, CHAIN.snapshot.chunk(index).unwrap());
                    self.chunks.insert(index, bytes);
                }
                Action::Complete => self.complete = true,
                Action::Fail(error) => panic!("{error}"),
            }
        }
    }

    /// Delivers or loses what is under way in an order that `choices` decides, until all is there.
    fn run(&mut self, choices: &[u16]) {
        for index in 0..self.natures.len() {
            let actions = self.fetcher.peer_up(key(index), self.now);
            self.act(actions);
        }
        for step in 0..5_000usize {
            if self.complete {
                return;
            }
            // The rounds differ: a wire that loses the same answer at the same place of every round is no wire.
            let (round, place) = (step / choices.len(), step % choices.len());
            let choice = usize::from(choices[place] ^ (round as u16).wrapping_mul(0x9E37));
            let actions = if self.under_way.is_empty() || choice % 7 == 0 {
                self.now.steady_ms += 50 + (choice as u64 * 37) % 2_000;
                self.fetcher.tick(self.now)
            } else {
                let (index, frame) = self.under_way.swap_remove(choice % self.under_way.len());
                if choice % 11 == 1 {
                    continue;
                }
                self.fetcher.answer(key(index), &frame, self.now)
            };
            self.act(actions);
        }
        panic!("not complete after {} s: {:?}", self.now.steady_ms / 1_000, self.fetcher);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// With one honest peer among any others, losses and reorderings included, the whole snapshot
    /// arrives, nothing false is stored, and nobody clean is reported.
    #[test]
    fn one_honest_peer_is_enough(
        mut natures in proptest::collection::vec(proptest::sample::select(NATURES.to_vec()), 0..6),
        place in any::<prop::sample::Index>(),
        choices in proptest::collection::vec(any::<u16>(), 16..200),
        resumed in proptest::collection::btree_set(0u32..3, 0..3),
    ) {
        natures.insert(place.index(natures.len() + 1), Nature::Honest);
        let mut world = World::new(natures.clone(), (!resumed.is_empty()).then_some(CHAIN.snapshot.content));
        for index in resumed {
            world.chunks.insert(index, CHAIN.snapshot.chunk(index).unwrap());
        }
        world.run(&choices);
        prop_assert_eq!(world.chunks.len(), CHAIN.snapshot.manifest.chunks.len());
        for (index, fault) in &world.penalties {
            prop_assert!(!natures[*index].is_clean(), "{:?} is reported for {fault}", natures[*index]);
        }
        let changes: Vec<_> = world.fetcher.changes().iter().map(|proof| proof.set.len()).collect();
        prop_assert_eq!(changes.len(), 1, "the one change of the set is known");
    }
}

/// Each kind of lie, alone with an honest peer that comes later, gets its own name.
#[test]
fn each_lie_has_its_name() {
    let named = |nature: Nature| {
        let mut world = World::new(vec![nature, Nature::Honest], None);
        let actions = world.fetcher.peer_up(key(0), world.now);
        world.act(actions);
        for _ in 0..200 {
            world.now.steady_ms += 100;
            let frames = std::mem::take(&mut world.under_way);
            for (index, frame) in frames {
                let actions = world.fetcher.answer(key(index), &frame, world.now);
                world.act(actions);
            }
            let actions = world.fetcher.tick(world.now);
            world.act(actions);
        }
        assert!(!world.complete || nature == Nature::Busy);
        world.penalties.first().map(|(_, fault)| fault.clone())
    };
    assert!(matches!(named(Nature::WrongChunk), Some(PeerFault::WrongChunk(_))));
    assert_eq!(named(Nature::Boaster), Some(PeerFault::OtherManifest));
    assert!(matches!(named(Nature::Forger), Some(PeerFault::Unproven(LightError::Certificate { .. }))));
    assert!(matches!(named(Nature::Hider), Some(PeerFault::Unproven(LightError::Certificate { .. }))));
    assert!(matches!(named(Nature::Swapper), Some(PeerFault::Unproven(LightError::OtherSet { .. }))));
    assert_eq!(named(Nature::Confused), Some(PeerFault::OtherKind));
    assert!(matches!(named(Nature::Garbler), Some(PeerFault::Malformed(_))));
    assert_eq!(named(Nature::Stutterer), Some(PeerFault::NotAsked));
    assert_eq!(named(Nature::Silent), None);
    assert_eq!(PeerFault::FalseManifest.offence(), Offence::BadSignature);
}

/// Old trust and a wrong clock are for the operator: no peer is blamed.
#[test]
fn aged_trust_ends_the_attempt_without_blaming_anybody() {
    let day = 24 * 60 * 60 * 1_000;
    for (vouched, expect_expired) in [(unix_ms() - 15 * day, true), (unix_ms() + 15 * day, false)] {
        let mut fetcher = Fetcher::new(trust(vouched), Anchor { vouched_at_ms: vouched, ..anchor() }, 0, None);
        let now = Now { steady_ms: 0, unix_ms: unix_ms() };
        let mut actions = fetcher.peer_up(key(0), now);
        let failure = loop {
            let action = actions.remove(0);
            match action {
                Action::Ask { id, question, .. } => {
                    let frame = encode_answer(id, &CHAIN.honest(&question));
                    actions.extend(fetcher.answer(key(0), &frame, now));
                }
                Action::Fail(error) => break error,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(matches!(failure, LightError::TrustExpired { .. }), expect_expired, "{failure}");
        assert_eq!(matches!(failure, LightError::ClockBehind { .. }), !expect_expired, "{failure}");
    }
}

/// A checkpoint binds the chain: one with another block at that height is not restored.
#[test]
fn only_a_chain_with_the_checkpoint_is_restored() {
    let hash = CHAIN.node.database.hash_of(CHANGE).unwrap().0;
    for (hash, good) in [(hash, true), ([1; 32], false)] {
        let mut world = World::new(vec![Nature::Honest], None);
        let anchor = Anchor { number: CHANGE, hash, vouched_at_ms: unix_ms() };
        world.fetcher = Fetcher::new(trust(anchor.vouched_at_ms), anchor, 0, None);
        if good {
            world.run(&[1, 2, 3]);
        } else {
            let mut actions = world.fetcher.peer_up(key(0), world.now);
            while !actions.is_empty() {
                world.act(std::mem::take(&mut actions));
                for (index, frame) in std::mem::take(&mut world.under_way) {
                    actions.extend(world.fetcher.answer(key(index), &frame, world.now));
                }
            }
            assert_eq!(world.penalties, [(0, PeerFault::CheckpointMissing(CHANGE))]);
            assert!(!world.complete && world.chunks.is_empty());
        }
    }
    let reached: BTreeSet<u32> = CHAIN.node.database.set_changes_after(0, 10).into_iter().collect();
    assert_eq!(reached, BTreeSet::from([CHANGE]));
}
