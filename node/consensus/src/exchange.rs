//! Finds validators that say one thing to some and another to others.
//!
//! Nobody relays votes, so whoever splits its audience is heard with one voice by each listener. When a height is
//! decided, each node therefore tells its peers in a few bytes what it heard; who heard the same validator say something
//! else at the same place answers with that signed statement, and the peer holds both.
//!
//! ```text
//!   decided -- [`Account`]: round, step, content, bit for each signer --> peer compares with its [`Witness`]
//!   proof   <-- the peer's own signed statement, at most one for each signer -- something else was said here
//! ```
//!
//! # Correctness
//! * Of two nodes that heard different things, the first that decides tells the other, which may still be on its way
//!   there: nobody waits for the slower one.
//! * Accounts are hearsay: they lead to an answer, never to an accusation. What comes as an answer is checked like
//!   every other statement.
//! * A statement that comes in after its height was decided is kept, and told at once unless it is for the decided
//!   block: of two different statements for one place at most one is.
//!
//! # Limits
//! A height at which everybody votes for the decided block costs one frame of 210 bytes for each peer. A peer is told
//! [`x0_limits::ACCOUNT_GROUPS_MAX`] groups at most, and as many are kept of it for each height at hand; whoever wants to hide
//! behind that number must say more different things than it holds, at one height. A peer gets one answer for each signer,
//! [`x0_limits::ACCOUNT_ANSWERS_MAX`] at most for a height. Two openings of the decided block with different bytes count
//! as the same here.

use crate::{
    context::{Address, BlockId, ChainContext, Height, Proposal, ValidatorSet, Vote},
    parts::{Opening, Part, SignedOpening},
    wire::{ChainCodec, CodecError},
    witness::{Contradiction, Heard, Said, Witness},
};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use malachite_codec::Codec as _;
use malachite_core_consensus::SignedConsensusMsg;
use malachite_core_types::{NilOrVal, Round, SignedMessage, VoteType};
use malachite_engine::util::streaming::{StreamContent, StreamId, StreamMessage};
use std::collections::{BTreeMap, BTreeSet};
use x0_crypto::{
    blake2b_256,
    statement::{self, VoteKind},
};
use x0_limits::{
    ACCOUNT_ANSWERS_MAX, ACCOUNT_GROUPS_MAX, CONTROL_FRAME_BYTES_MAX, FUTURE_HEIGHTS_MAX, VALIDATORS_MAX,
    WITNESS_HEIGHTS_KEPT,
};
use x0_network::{Channel, PeerKey};
use x0_sign_guard::{Place, Statement, Step};

/// Bytes of a group's signers, one bit each in the order of the set.
const SIGNERS_BYTES: usize = (VALIDATORS_MAX as usize).div_ceil(8);
/// Bytes of a group and of an account's height on the wire.
const GROUP_BYTES: usize = 4 + 1 + 32 + SIGNERS_BYTES;
const HEIGHT_BYTES: usize = 8;
/// Groups in one frame, after a byte for its kind.
const GROUPS_PER_FRAME: usize = (CONTROL_FRAME_BYTES_MAX - 1 - HEIGHT_BYTES) / GROUP_BYTES;

/// Validators that said the same at the same place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// The round.
    pub round: u32,
    /// The step.
    pub step: Step,
    /// What was said, see [`content`].
    pub content: [u8; 32],
    /// A bit for each validator, in the order of the set.
    signers: [u8; SIGNERS_BYTES],
}

impl Group {
    /// The group of a statement, nobody in it yet.
    fn of(statement: &Statement) -> Self {
        let Place { round, step, .. } = statement.place();
        Self { round, step, content: content(statement), signers: [0; SIGNERS_BYTES] }
    }

    fn signs(&self, index: usize) -> bool {
        self.signers.get(index / 8).is_some_and(|byte| byte & (1 << (index % 8)) != 0)
    }

    fn sign(&mut self, index: usize) {
        if let Some(byte) = self.signers.get_mut(index / 8) {
            *byte |= 1 << (index % 8);
        }
    }

    fn count(&self) -> u32 {
        self.signers.iter().map(|byte| byte.count_ones()).sum()
    }
}

/// What a node heard at a height, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The height.
    pub height: u64,
    /// What was heard.
    pub groups: Vec<Group>,
}

impl Account {
    /// Reads the bytes of [`Account::encode`]; nothing when they are something else.
    #[must_use]
    pub fn decode(mut bytes: Bytes) -> Option<Self> {
        let body = bytes.len().checked_sub(HEIGHT_BYTES)?;
        let count = body / GROUP_BYTES;
        if count == 0 || count > GROUPS_PER_FRAME || count * GROUP_BYTES != body {
            return None;
        }
        let height = bytes.get_u64();
        let mut groups = Vec::with_capacity(count);
        for _ in 0..count {
            let round = bytes.get_u32();
            let step = Step::from_byte(bytes.get_u8())?;
            let (mut content, mut signers) = ([0; 32], [0; SIGNERS_BYTES]);
            bytes.copy_to_slice(&mut content);
            bytes.copy_to_slice(&mut signers);
            groups.push(Group { round, step, content, signers });
        }
        Some(Self { height, groups })
    }

    /// The account's bytes: height, then the groups, all of fixed width and big-endian.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HEIGHT_BYTES + self.groups.len() * GROUP_BYTES);
        bytes.put_u64(self.height);
        for group in &self.groups {
            bytes.put_u32(group.round);
            bytes.put_u8(group.step.byte());
            bytes.put_slice(&group.content);
            bytes.put_slice(&group.signers);
        }
        bytes.freeze()
    }
}

/// What a statement says, without who says it and where: a vote's block, zeros for a vote for none, and the hash of
/// anything else.
#[must_use]
pub fn content(statement: &Statement) -> [u8; 32] {
    match statement {
        Statement::Vote(vote) => vote.block.unwrap_or_default(),
        other => blake2b_256(&other.body()),
    }
}

/// Whether a statement is what everybody says about a decided block.
fn expected(statement: &Statement, block: &[u8; 32]) -> bool {
    match statement {
        Statement::Vote(vote) => vote.block.as_ref() == Some(block),
        Statement::Proposal(proposal) => proposal.block == *block && proposal.pol_round.is_none(),
        Statement::Opening(opening) => opening.block == *block,
    }
}

/// The name of a stream that has an opening only, as proof.
const PROOF_STREAM: &[u8] = b"proof";

/// The frame in which a statement is said to a peer, the same as when its signer says it.
///
/// # Errors
/// [`CodecError`] for a statement that no frame takes, which none is.
pub fn frame_of(said: &Said) -> Result<(Channel, Bytes), CodecError> {
    let signature = said.signature.clone();
    let message: SignedConsensusMsg<ChainContext> = match said.statement {
        Statement::Opening(statement::Opening { height, round, proposer, block, bytes, digest }) => {
            let (height, proposer, block) = (Height(height), Address(proposer), BlockId(block));
            let opening = Opening { height, round, proposer, block, bytes, digest };
            let part = StreamContent::Data(Part::Opening(Box::new(SignedOpening { opening, signature })));
            let stream = StreamId::new(Bytes::from_static(PROOF_STREAM));
            return Ok((Channel::Parts, ChainCodec.encode(&StreamMessage::new(stream, 0, part))?));
        }
        Statement::Proposal(statement::Proposal { height, round, block, pol_round, proposer }) => {
            let (value, proposer) = (BlockId(block), Address(proposer));
            let (round, pol_round) = (Round::new(round), Round::from(pol_round));
            let proposal = Proposal { height: Height(height), round, value, pol_round, proposer };
            SignedConsensusMsg::Proposal(SignedMessage::new(proposal, signature))
        }
        Statement::Vote(statement::Vote { kind, height, round, block, voter }) => {
            let kind = match kind {
                VoteKind::Prevote => VoteType::Prevote,
                VoteKind::Precommit => VoteType::Precommit,
            };
            let value = block.map_or(NilOrVal::Nil, |block| NilOrVal::Val(BlockId(block)));
            let (height, round, voter) = (Height(height), Round::new(round), Address(voter));
            SignedConsensusMsg::Vote(SignedMessage::new(Vote { kind, height, round, value, voter }, signature))
        }
    };
    Ok((Channel::Consensus, ChainCodec.encode(&message)?))
}

/// A height that is decided.
#[derive(Debug)]
struct Decided {
    block: [u8; 32],
    members: Vec<Address>,
}

/// What a peer told of a height, and whose contradictions it was answered.
#[derive(Debug, Default)]
struct Told {
    groups: BTreeSet<Group>,
    answered: BTreeSet<Address>,
}

/// What follows from a statement.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The proof, when the signer contradicts itself here.
    pub contradiction: Option<Contradiction>,
    /// Statements that peers lack to prove the same.
    pub answers: Vec<(PeerKey, Said)>,
    /// What every peer is told, when the statement came after the decision and was not for its block.
    pub news: Option<Account>,
}

/// What was heard here, and what peers say that they heard.
#[derive(Debug, Default)]
pub struct Exchange {
    witness: Witness,
    decided: BTreeMap<u64, Decided>,
    told: BTreeMap<u64, BTreeMap<PeerKey, Told>>,
    head: u64,
}

impl Exchange {
    /// Compares a statement, whose signature may not be checked yet, with what is known.
    #[must_use]
    pub fn compare(&self, statement: &Statement) -> Heard {
        self.witness.compare(statement)
    }

    /// Takes a statement whose signature was checked against the set of its height.
    pub fn hear(&mut self, said: Said, set: &ValidatorSet) -> Outcome {
        let statement = said.statement;
        let (place, signer) = (statement.place(), Address(*statement.signer()));
        let height = place.height;
        let new = self.compare(&statement) == Heard::New;
        let contradiction = self.witness.hear(said);
        let Some(index) = set.index_of(&signer) else { return Outcome { contradiction, ..Outcome::default() } };
        let mut answers = Vec::new();
        for (peer, told) in self.told.get_mut(&height).into_iter().flatten() {
            let said = told.answer(&self.witness, height, index, signer);
            answers.extend(said.map(|said| (*peer, said)));
        }
        // A signer that says too much is not kept, and told of no more than what is.
        let kept = new && self.witness.find(place, &signer.0).is_some();
        let late = self.decided.get(&height).filter(|decided| kept && !expected(&statement, &decided.block));
        let news = late.map(|_| {
            let mut group = Group::of(&statement);
            group.sign(index);
            Account { height, groups: vec![group] }
        });
        Outcome { contradiction, answers, news }
    }

    /// Takes what a peer says that it heard; the statements that it lacks to prove a contradiction. Nothing for heights
    /// that are long decided or far away.
    pub fn told(&mut self, peer: PeerKey, account: &Account, set: &ValidatorSet) -> Vec<Said> {
        let height = account.height;
        if height > self.head.saturating_add(FUTURE_HEIGHTS_MAX)
            || self.head >= height.saturating_add(WITNESS_HEIGHTS_KEPT)
        {
            return Vec::new();
        }
        let told = self.told.entry(height).or_default().entry(peer).or_default();
        for group in &account.groups {
            if told.groups.len() < ACCOUNT_GROUPS_MAX {
                told.groups.insert(group.clone());
            }
        }
        let members = set.addresses().enumerate();
        members.filter_map(|(index, signer)| told.answer(&self.witness, height, index, signer)).collect()
    }

    /// A height is decided. What the peers are told of it, by frame; and heights are forgotten that are too old.
    pub fn decide(&mut self, height: u64, block: [u8; 32], set: &ValidatorSet) -> Vec<Account> {
        self.head = self.head.max(height);
        let decided = Decided { block, members: set.addresses().collect() };
        let told = accounts(&self.witness, height, &decided);
        self.decided.insert(height, decided);
        self.witness.prune(height);
        let young = |of: &u64| of.saturating_add(WITNESS_HEIGHTS_KEPT) > height;
        self.decided.retain(|of, _| young(of));
        self.told.retain(|of, _| young(of));
        told
    }

    /// What a peer is told that comes or comes back.
    #[must_use]
    pub fn greet(&self) -> Vec<Account> {
        self.decided.iter().flat_map(|(height, decided)| accounts(&self.witness, *height, decided)).collect()
    }

    /// Forgets what a peer told that is gone.
    pub fn forget(&mut self, peer: &PeerKey) {
        self.told.retain(|_, told| {
            told.remove(peer);
            !told.is_empty()
        });
    }
}

impl Told {
    /// This node's statement of a signer that contradicts what the peer heard, unless it was answered about the signer.
    fn answer(&mut self, witness: &Witness, height: u64, index: usize, signer: Address) -> Option<Said> {
        if self.answered.len() >= ACCOUNT_ANSWERS_MAX || self.answered.contains(&signer) {
            return None;
        }
        let said = self.groups.iter().filter(|group| group.signs(index)).find_map(|group| {
            let place = Place { height, round: group.round, step: group.step };
            witness.find(place, &signer.0).filter(|known| content(&known.statement) != group.content)
        })?;
        self.answered.insert(signer);
        Some(said.clone())
    }
}

/// What was heard at a decided height, the contents of most signers first.
fn accounts(witness: &Witness, height: u64, decided: &Decided) -> Vec<Account> {
    let mut groups: BTreeMap<(u32, Step, [u8; 32]), Group> = BTreeMap::new();
    for (index, signer) in decided.members.iter().enumerate() {
        for said in witness.voice(height, &signer.0) {
            let group = Group::of(&said.statement);
            groups.entry((group.round, group.step, group.content)).or_insert(group).sign(index);
        }
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count()));
    groups.truncate(ACCOUNT_GROUPS_MAX);
    groups.chunks(GROUPS_PER_FRAME).map(|groups| Account { height, groups: groups.to_vec() }).collect()
}

#[cfg(test)]
mod tests;
