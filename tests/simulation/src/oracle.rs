//! What must never happen, checked from outside.
//!
//! The oracle sees the frames that leave nodes, the certificates and blocks that nodes commit, and the evidence that
//! they report. It decides by its own books: it verifies signatures itself, counts power itself, and follows
//! the agenda of validator changes itself.

use crate::{
    ledger::Header,
    plan::{Change, Plan},
    scheme::{Keys, of_opening, of_proposal, of_vote},
};
use bytes::Bytes;
use malachite_codec::Codec;
use malachite_core_consensus::{LivenessMsg, MisbehaviorEvidence, SignedConsensusMsg};
use malachite_engine::util::streaming::{StreamContent, StreamMessage};
use std::collections::{BTreeMap, BTreeSet};
use x0_consensus::{
    Certificate,
    context::{Address, BlockId, ChainContext, Signature},
    parts::Part,
    wire::ChainCodec,
    witness::{Contradiction, Said},
};
use x0_crypto::statement::{Place, Statement, Vote, VoteKind};
use x0_network::Channel;

/// A promise that a run broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Two blocks are final at one height.
    #[error("fork at height {height}: node {node} committed {found}, others {expected}")]
    Fork {
        /// The height.
        height: u64,
        /// The node.
        node: usize,
        /// Its block.
        found: BlockId,
        /// The block of the others.
        expected: BlockId,
    },
    /// A correct validator signed two statements for one place.
    #[error("validator {validator} is correct and contradicted itself at {place}")]
    DoubleSign {
        /// The validator.
        validator: usize,
        /// The place.
        place: Place,
    },
    /// A final block was not built by anybody, or breaks a rule.
    #[error("the final block of height {height} is not valid: {reason}")]
    Invalid {
        /// The height.
        height: u64,
        /// The rule.
        reason: &'static str,
    },
    /// A certificate does not prove what it says.
    #[error("the certificate of height {height} at node {node}: {reason}")]
    Certificate {
        /// The height.
        height: u64,
        /// The node.
        node: usize,
        /// The rule.
        reason: String,
    },
    /// A node lost final blocks.
    #[error("node {node} had {had} final blocks and came back with {found}, or with others")]
    Rewound {
        /// The node.
        node: usize,
        /// Blocks that it had.
        had: usize,
        /// Blocks that it has.
        found: usize,
    },
    /// A correct node refused to go on.
    #[error("node {node} halted: {reason}")]
    Halted {
        /// The node.
        node: usize,
        /// What it says.
        reason: String,
    },
    /// The engine of a correct node failed.
    #[error("the engine of node {node} failed: {reason}")]
    Engine {
        /// The node.
        node: usize,
        /// What it says.
        reason: String,
    },
    /// Somebody is accused who did nothing, or the proof proves nothing.
    #[error("evidence against validator {validator}: {reason}")]
    Evidence {
        /// The accused.
        validator: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// Correct nodes heard a validator say two things at one place, and nobody could prove it in time.
    #[error(
        "validator {validator} was heard to contradict itself by height {height}, and there is no proof at height {now}"
    )]
    Unproven {
        /// The validator.
        validator: usize,
        /// The final height when both statements had been heard.
        height: u64,
        /// The final height at the end.
        now: u64,
    },
    /// A correct node does not get on after the healing.
    #[error("node {node} stands at height {height} round {round}, not {target}, {waited_ms} ms after the healing")]
    Stuck {
        /// The node.
        node: usize,
        /// Its height.
        height: u64,
        /// Its round.
        round: i64,
        /// The height to reach.
        target: u64,
        /// How long it had.
        waited_ms: u64,
    },
    /// A height needed too many rounds after the healing.
    #[error(
        "height {height} was decided in round {round} by node {node}, after the healing; {limit} was the last allowed"
    )]
    Slow {
        /// The height.
        height: u64,
        /// The node.
        node: usize,
        /// The round.
        round: u32,
        /// The last round allowed.
        limit: u32,
    },
    /// The code under test panicked.
    #[error("panic: {0}")]
    Panic(String),
}

/// Blocks within which proof of a contradiction can be on chain.
const PROOF_BLOCKS: u64 = 2;

/// The books of one run.
pub(crate) struct Oracle {
    correct: Vec<bool>,
    genesis: Vec<u64>,
    agenda: Vec<Change>,
    spoken: BTreeMap<(usize, Place), Statement>,
    built: BTreeMap<BlockId, Header>,
    /// Final blocks and the agenda's progress, by height from 1.
    finals: Vec<(BlockId, usize)>,
    chains: Vec<Vec<BlockId>>,
    /// Rounds in which nodes decided.
    pub(crate) rounds: BTreeMap<(usize, u64), u32>,
    /// When a node first started a height, microseconds.
    pub(crate) starts: BTreeMap<u64, u64>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) accused: BTreeSet<usize>,
    /// What correct nodes heard in the good phase, by validator and place.
    audible: BTreeMap<(usize, Place), Statement>,
    /// Validators that correct nodes heard contradict themselves in the good phase, with the greatest final height at
    /// that time.
    pub(crate) exposed: BTreeMap<usize, u64>,
    /// The greatest final height when a correct node first had proof against a validator.
    proven: BTreeMap<usize, u64>,
    pub(crate) contradictions: BTreeSet<(usize, Place)>,
    pub(crate) certificate_bytes: u64,
}

impl Oracle {
    pub(crate) fn new(plan: &Plan, nodes: usize) -> Self {
        Self {
            correct: (0..plan.powers.len()).map(|identity| !plan.twins.contains(&identity)).collect(),
            genesis: plan.powers.clone(),
            agenda: plan.agenda.clone(),
            spoken: BTreeMap::new(),
            built: BTreeMap::new(),
            finals: Vec::new(),
            chains: vec![Vec::new(); nodes],
            rounds: BTreeMap::new(),
            starts: BTreeMap::new(),
            violations: Vec::new(),
            accused: BTreeSet::new(),
            audible: BTreeMap::new(),
            exposed: BTreeMap::new(),
            proven: BTreeMap::new(),
            contradictions: BTreeSet::new(),
            certificate_bytes: 0,
        }
    }

    pub(crate) fn report(&mut self, violation: Violation) {
        if !self.violations.contains(&violation) {
            self.violations.push(violation);
        }
    }

    /// Greatest height that is final anywhere.
    pub(crate) fn height(&self) -> u64 {
        u64::try_from(self.finals.len()).unwrap_or(u64::MAX)
    }

    /// Notes a block that somebody built.
    pub(crate) fn built(&mut self, header: &Header) {
        self.built.insert(header.id(), header.clone());
    }

    /// Reads a frame as it leaves a node.
    pub(crate) fn observe(&mut self, keys: &Keys, channel: Channel, frame: &Bytes) {
        match channel {
            Channel::Consensus => match ChainCodec.decode(frame.clone()) {
                Ok(SignedConsensusMsg::Vote(vote)) => {
                    self.said(keys, of_vote(&vote.message), &vote.signature);
                }
                Ok(SignedConsensusMsg::Proposal(proposal)) => {
                    self.said(keys, of_proposal(&proposal.message), &proposal.signature);
                }
                Err(_) => {}
            },
            Channel::Liveness => {
                if let Ok(LivenessMsg::Vote(vote)) = ChainCodec.decode(frame.clone()) {
                    self.said(keys, of_vote(&vote.message), &vote.signature);
                }
            }
            Channel::Parts => {
                let message: Result<StreamMessage<Part>, _> = ChainCodec.decode(frame.clone());
                if let Ok(StreamMessage { content: StreamContent::Data(Part::Opening(opening)), .. }) = message {
                    self.said(keys, Some(of_opening(&opening.opening)), &opening.signature);
                }
            }
            _ => {}
        }
    }

    fn said(&mut self, keys: &Keys, statement: Option<Statement>, signature: &Signature) {
        let Some(statement) = statement else { return };
        let Some(identity) = keys.identity(&Address(*statement.signer())) else { return };
        let place = statement.place();
        match self.spoken.get(&(identity, place)) {
            None => {
                // Rubbish that a liar sends under another name is nobody's word.
                if keys.verify(keys.public(identity), &statement, signature) {
                    self.spoken.insert((identity, place), statement);
                }
            }
            Some(first) if first.body() != statement.body() => {
                if !keys.verify(keys.public(identity), &statement, signature) {
                    return;
                }
                self.contradictions.insert((identity, place));
                if self.correct[identity] {
                    self.report(Violation::DoubleSign { validator: identity, place });
                }
            }
            Some(_) => {}
        }
    }

    /// Powers at a height, by the oracle's own account of the agenda.
    fn powers(&self, height: u64) -> Vec<u64> {
        let at = usize::try_from(height.saturating_sub(2)).unwrap_or(usize::MAX);
        let applied = at.checked_sub(1).and_then(|index| self.finals.get(index)).map_or(0, |(_, applied)| *applied);
        let mut powers = self.genesis.clone();
        self.agenda[..applied.min(self.agenda.len())].iter().for_each(|change| powers[change.validator] = change.power);
        powers
    }

    /// Checks a block that a correct node commits.
    pub(crate) fn committed(&mut self, keys: &Keys, node: usize, certificate: &Bytes, id: BlockId, height: u64) {
        self.chains[node].push(id);
        let index = usize::try_from(height.saturating_sub(1)).unwrap_or(usize::MAX);
        match self.finals.get(index) {
            Some((expected, _)) if *expected != id => {
                self.report(Violation::Fork { height, node, found: id, expected: *expected });
            }
            Some(_) => {}
            None => self.first(id, height),
        }
        if self.chains[node].len() != index + 1 {
            self.report(Violation::Invalid { height, reason: "it does not follow the node's last block" });
        }
        if let Err(reason) = self.proves(keys, certificate, id, height) {
            self.report(Violation::Certificate { height, node, reason });
        }
    }

    fn first(&mut self, id: BlockId, height: u64) {
        let (parent, applied) = self.finals.last().map_or((BlockId(crate::scheme::GENESIS), 0), |last| *last);
        let mut progress = applied;
        match self.built.get(&id) {
            None => self.report(Violation::Invalid { height, reason: "nobody built it" }),
            Some(header) => {
                progress += usize::from(header.changes);
                let reason = if header.broken {
                    Some("it breaks a rule")
                } else if header.height != height || height != self.height() + 1 {
                    Some("it has another height")
                } else if header.parent != parent.0 {
                    Some("it has another parent")
                } else if progress > self.agenda.len() {
                    Some("it changes the validators without need")
                } else {
                    None
                };
                if let Some(reason) = reason {
                    self.report(Violation::Invalid { height, reason });
                }
            }
        }
        self.finals.push((id, progress));
    }

    fn proves(&mut self, keys: &Keys, certificate: &Bytes, id: BlockId, height: u64) -> Result<(), String> {
        let bytes = u64::try_from(certificate.len()).unwrap_or(u64::MAX);
        self.certificate_bytes = self.certificate_bytes.max(bytes);
        let certificate = Certificate::decode(certificate).map_err(|error| error.to_string())?;
        if certificate.block != id.0 || certificate.height != height {
            return Err("it names another block".into());
        }
        let powers = self.powers(height);
        let (mut signed, mut seen) = (0, BTreeSet::new());
        for entry in &certificate.entries {
            let identity = keys.identity(&Address(entry.address)).ok_or("a stranger signed")?;
            let vote = Vote {
                kind: VoteKind::Precommit,
                height,
                round: certificate.round,
                block: Some(id.0),
                voter: entry.address,
            };
            if !seen.insert(identity) {
                return Err("somebody signed twice".into());
            }
            if !keys.verify(keys.public(identity), &vote.into(), &entry.signature.clone().into()) {
                return Err("a signature is wrong".into());
            }
            signed += powers[identity];
        }
        let total: u64 = powers.iter().sum();
        if 3 * signed > 2 * total { Ok(()) } else { Err(format!("{signed} of {total} signed")) }
    }

    /// Compares the chain with which a node comes back.
    pub(crate) fn restarted(&mut self, node: usize, chain: impl Iterator<Item = BlockId>) {
        let chain: Vec<_> = chain.collect();
        if chain != self.chains[node] {
            let (had, found) = (self.chains[node].len(), chain.len());
            self.report(Violation::Rewound { node, had, found });
            self.chains[node] = chain;
        }
    }

    /// Checks what a correct node's witness has against somebody.
    pub(crate) fn witnessed(&mut self, keys: &Keys, contradiction: &Contradiction) {
        let accused = Address(*contradiction.first.statement.signer());
        let word = |said: &Said| said.statement;
        let words = [
            (Some(word(&contradiction.first)), &contradiction.first.signature),
            (Some(word(&contradiction.second)), &contradiction.second.signature),
        ];
        self.accuse(keys, &accused, proof(keys, &accused, words));
    }

    /// A correct node heard a statement and checked its signature.
    pub(crate) fn heard(&mut self, keys: &Keys, statement: &Statement) {
        let Some(identity) = keys.identity(&Address(*statement.signer())) else { return };
        let (place, height) = (statement.place(), self.height());
        let first = *self.audible.entry((identity, place)).or_insert(*statement);
        if first.body() != statement.body() {
            // A statement of a height that is long decided is of no interest to anybody any more.
            if place.height + x0_limits::WITNESS_HEIGHTS_KEPT > height + 1 {
                self.exposed.entry(identity).or_insert(height.max(place.height));
            }
        }
    }

    /// Blocks between the height at which a contradiction could be heard and the block that could carry its proof, at
    /// most; reports those that came too late, or not at all although there was time.
    pub(crate) fn check_proofs(&mut self) -> u64 {
        let now = self.height();
        let mut slowest = 0;
        for (validator, height) in self.exposed.clone() {
            // The next block takes what is proven now.
            let carried = self.proven.get(&validator).map(|proven| proven + 1);
            match carried {
                Some(carried) => slowest = slowest.max(carried.saturating_sub(height)),
                None if now < height + PROOF_BLOCKS => continue,
                None => {}
            }
            if carried.is_none_or(|carried| carried > height + PROOF_BLOCKS) {
                self.report(Violation::Unproven { validator, height, now });
            }
        }
        slowest
    }

    fn accuse(&mut self, keys: &Keys, accused: &Address, flaw: Option<&'static str>) {
        let Some(validator) = keys.identity(accused) else { return };
        match flaw {
            Some(reason) => self.report(Violation::Evidence { validator, reason }),
            None if self.correct[validator] => {
                self.report(Violation::Evidence { validator, reason: "it is correct" });
            }
            None => {
                self.accused.insert(validator);
                let height = self.height();
                self.proven.entry(validator).or_insert(height);
            }
        }
    }

    /// Checks what the engine of a correct node has against others.
    pub(crate) fn evidence(&mut self, keys: &Keys, evidence: &MisbehaviorEvidence<ChainContext>) {
        let mut found = Vec::new();
        for (address, pairs) in evidence.votes.iter() {
            for (first, second) in pairs {
                let words =
                    [(of_vote(&first.message), &first.signature), (of_vote(&second.message), &second.signature)];
                found.push((*address, proof(keys, address, words)));
            }
        }
        for (address, pairs) in evidence.proposals.iter() {
            for (first, second) in pairs {
                let words = [
                    (of_proposal(&first.message), &first.signature),
                    (of_proposal(&second.message), &second.signature),
                ];
                found.push((*address, proof(keys, address, words)));
            }
        }
        found.into_iter().for_each(|(address, flaw)| self.accuse(keys, &address, flaw));
    }
}

/// What is wrong with a proof; nothing when it holds.
fn proof(keys: &Keys, accused: &Address, words: [(Option<Statement>, &Signature); 2]) -> Option<&'static str> {
    let [(Some(first), first_signature), (Some(second), second_signature)] = words else {
        return Some("a message without a round");
    };
    let identity = keys.identity(accused)?;
    let by = |statement: &Statement, signature| {
        *statement.signer() == accused.0 && keys.verify(keys.public(identity), statement, signature)
    };
    if !by(&first, first_signature) || !by(&second, second_signature) {
        return Some("a signature is wrong");
    }
    if first.place() != second.place() || first.body() == second.body() {
        return Some("the two messages do not contradict one another");
    }
    None
}
