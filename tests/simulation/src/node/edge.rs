//! From frames to inputs: what a node looks at, in the order in which it looks (as `x0_consensus::net` does).

use super::{Node, Proc};
use crate::{
    event::{Env, Out, Stop, Task},
    scheme::{of_opening, of_proposal, of_vote},
};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use malachite_codec::Codec as _;
use malachite_core_consensus::{Input, LivenessMsg, SignedConsensusMsg};
use malachite_core_types::{Round, SignedProposal, SignedVote};
use malachite_engine::util::streaming::{StreamContent, StreamMessage};
use x0_consensus::{
    context::{Address, ChainContext, Height, Signature, ValidatorSet},
    exchange::{Account, frame_of},
    parts::{Part, SignedOpening},
    wire::ChainCodec,
    witness::{Heard, Said},
};
use x0_crypto::statement::Statement;
use x0_limits::{EARLY_BLOCKS_MAX, FUTURE_HEIGHTS_MAX, JUDGING_BLOCKS_MAX};
use x0_network::{Channel, PeerKey};

const TAG_STATUS: u8 = 0;
const TAG_WAKE: u8 = 1;
const TAG_ACCOUNT: u8 = 2;
/// How long a node executes a block, microseconds.
const JUDGE_US: std::ops::RangeInclusive<u64> = 1_000..=30_000;

/// The name of a validator's network key in a run.
pub(super) fn peer_key(identity: usize) -> PeerKey {
    let mut name = [0; 32];
    name[..8].copy_from_slice(&u64::try_from(identity).unwrap_or(u64::MAX).to_be_bytes());
    PeerKey(name)
}

/// The validator whose network key has this name.
fn identity_of(peer: &PeerKey) -> Option<usize> {
    peer.0.first_chunk().and_then(|head| usize::try_from(u64::from_be_bytes(*head)).ok())
}

fn account_frame(account: &Account) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(TAG_ACCOUNT);
    frame.put_slice(&account.encode());
    frame.freeze()
}

impl Node {
    /// The set of any height at hand, final or not.
    fn any_set(&self, height: u64) -> Option<ValidatorSet> {
        self.volatile.book.get(&height).or_else(|| self.volatile.past.get(&height)).cloned()
    }

    /// Takes a statement whose signature was checked, and follows up on a contradiction here or at a peer.
    pub(super) fn hear(&mut self, env: &mut Env, said: Said) {
        let Some(set) = self.any_set(said.statement.place().height) else { return };
        if !self.twin && env.healed {
            env.oracle.heard(&env.keys, &said.statement);
        }
        let outcome = self.volatile.exchange.hear(said, &set);
        for (peer, said) in outcome.answers {
            self.answer(env, &peer, &said);
        }
        if let Some(account) = outcome.news {
            env.out.push(Out::Broadcast(Channel::Status, account_frame(&account)));
        }
        if let (Some(contradiction), false) = (outcome.contradiction, self.twin) {
            env.oracle.witnessed(&env.keys, &contradiction);
        }
    }

    /// Sends a statement to a peer that heard something else from its signer.
    fn answer(&self, env: &mut Env, peer: &PeerKey, said: &Said) {
        if let (Some(identity), Ok((channel, frame))) = (identity_of(peer), frame_of(said)) {
            env.out.push(Out::Send(identity, channel, frame));
        }
    }

    /// Tells the peers what was heard at a decided height.
    pub(super) fn tell(&mut self, env: &mut Env, height: u64, block: [u8; 32]) {
        let Some(set) = self.any_set(height) else { return };
        for account in self.volatile.exchange.decide(height, block, &set) {
            env.out.push(Out::Broadcast(Channel::Status, account_frame(&account)));
        }
    }

    /// Takes what a peer says that it heard.
    fn told(&mut self, env: &mut Env, from: usize, bytes: &Bytes) {
        let Some(account) = Account::decode(bytes.slice(1..)) else { return };
        let Some(set) = self.any_set(account.height) else { return };
        let peer = peer_key(from);
        for said in self.volatile.exchange.told(peer, &account, &set) {
            self.answer(env, &peer, &said);
        }
    }
}

impl Proc {
    /// Takes a frame.
    pub(crate) fn frame(&mut self, env: &mut Env, from: usize, channel: Channel, mut bytes: Bytes) -> Result<(), Stop> {
        // What does not decode, is not due or is not signed as it must be is dropped, as the node's edge does.
        match channel {
            Channel::Consensus => match ChainCodec.decode(bytes) {
                Ok(SignedConsensusMsg::Vote(vote)) => self.vote(env, vote)?,
                Ok(SignedConsensusMsg::Proposal(proposal)) => self.proposal(env, proposal)?,
                Err(_) => {}
            },
            Channel::Liveness => match ChainCodec.decode(bytes) {
                Ok(LivenessMsg::Vote(vote)) => self.vote(env, vote)?,
                Ok(LivenessMsg::PolkaCertificate(certificate)) if self.due(certificate.height) => {
                    self.process(env, Input::PolkaCertificate(certificate))?;
                }
                Ok(LivenessMsg::SkipRoundCertificate(certificate)) if self.due(certificate.height) => {
                    self.process(env, Input::RoundCertificate(certificate))?;
                }
                Ok(_) | Err(_) => {}
            },
            Channel::Parts => {
                let message: Result<StreamMessage<Part>, _> = ChainCodec.decode(bytes);
                if let Ok(message) = message {
                    self.part(env, from, message);
                }
            }
            Channel::Status => match (bytes.len(), bytes.first().copied()) {
                (17, Some(TAG_STATUS)) => {
                    bytes.advance(1);
                    let tip = bytes.get_u64();
                    self.node.volatile.pacer.peer_at(tip);
                    self.status_of(env, from, tip);
                }
                (9, Some(TAG_WAKE)) => {
                    bytes.advance(1);
                    let height = bytes.get_u64();
                    if height <= self.node.disk.chain.height().saturating_add(FUTURE_HEIGHTS_MAX) {
                        self.node.volatile.pacer.peer_at(height);
                    }
                }
                (_, Some(TAG_ACCOUNT)) => self.node.told(env, from, &bytes),
                _ => {}
            },
            Channel::SyncRequest => self.asked(env, from, bytes),
            Channel::SyncResponse => self.answered(env, from, bytes),
            Channel::Transactions | Channel::SnapshotRequest | Channel::SnapshotResponse => {}
        }
        self.pace(env)
    }

    fn due(&self, height: Height) -> bool {
        self.node.volatile.book.contains_key(&height.0)
    }

    fn vote(&mut self, env: &mut Env, vote: SignedVote<ChainContext>) -> Result<(), Stop> {
        let height = vote.message.height.0;
        if self.heard(env, height, of_vote(&vote.message), &vote.signature) {
            self.node.volatile.pacer.peer_at(height);
            self.process(env, Input::Vote(vote))?;
        }
        Ok(())
    }

    fn proposal(&mut self, env: &mut Env, proposal: SignedProposal<ChainContext>) -> Result<(), Stop> {
        let message = &proposal.message;
        let height = message.height.0;
        if self.heard(env, height, of_proposal(message), &proposal.signature)
            && self.node.may_propose(height, message.round, &message.proposer)
        {
            self.node.volatile.pacer.peer_at(height);
            self.process(env, Input::Proposal(proposal))?;
        }
        Ok(())
    }

    /// Whether a validator of the height's set signed this, and the height is due. It is compared with what the validator
    /// said before, also at heights that were decided lately.
    fn heard(&mut self, env: &mut Env, height: u64, statement: Option<Statement>, signature: &Signature) -> bool {
        let (Some(set), Some(statement)) = (self.node.any_set(height), statement) else { return false };
        let due = self.due(Height(height));
        if !due && self.node.volatile.exchange.compare(&statement) == Heard::Same {
            return false;
        }
        let Some(key) = set.key_of(&Address(*statement.signer())) else { return false };
        env.verified(1);
        if !env.keys.verify(key.inner(), &statement, signature) {
            return false;
        }
        self.node.hear(env, Said { statement, signature: signature.clone() });
        due
    }

    fn part(&mut self, env: &mut Env, from: usize, message: StreamMessage<Part>) {
        let (stream, sequence, peer) = (message.stream_id.to_bytes(), message.sequence, peer_key(from));
        match message.content {
            StreamContent::Data(Part::Opening(opening)) => self.open(env, peer, stream, *opening),
            StreamContent::Data(Part::Body(bytes)) => {
                // Bytes that do not fit are a fault of the peer and no verdict on a block.
                if let Ok(Some(block)) = self.node.volatile.assembler.add(peer, &stream, sequence, bytes) {
                    self.assembled(env, block);
                }
            }
            StreamContent::Fin => {}
        }
    }

    fn open(&mut self, env: &mut Env, peer: PeerKey, stream: Bytes, signed: SignedOpening) {
        let opening = &signed.opening;
        let (height, tip) = (opening.height.0, self.node.disk.chain.height());
        if !self.heard(env, height, Some(of_opening(opening)), &signed.signature)
            || !self.node.may_propose(height, Round::new(opening.round), &opening.proposer)
        {
            return;
        }
        let volatile = &mut self.node.volatile;
        volatile.pacer.peer_at(height);
        let near = height > tip && height <= tip.saturating_add(FUTURE_HEIGHTS_MAX);
        if !near || volatile.candidates.knows(height, opening.round, opening.block) {
            return;
        }
        if volatile.candidates.announce(volatile.round, height, opening.round, opening.block) {
            // A stream that does not open is the peer's fault, and the block comes from another one.
            drop(volatile.assembler.open(peer, stream, signed));
        }
    }

    /// Takes a whole block: it is executed now, or waits for the one before, or finds no place.
    fn assembled(&mut self, env: &mut Env, block: x0_consensus::parts::Assembled) {
        let due = block.opening.opening.height.0 <= self.node.disk.chain.height() + 1;
        let volatile = &mut self.node.volatile;
        if due && volatile.judging < JUDGING_BLOCKS_MAX {
            volatile.judging += 1;
            let after = env.takes(JUDGE_US);
            env.out.push(Out::Task(Task::Judge(Box::new(block)), after));
        } else if !due && volatile.early.len() < EARLY_BLOCKS_MAX {
            volatile.early.push(block);
        }
    }

    /// Executes the blocks whose turn it is now.
    pub(super) fn wake_early(&mut self, env: &mut Env) {
        let due = self.node.disk.chain.height() + 1;
        let early = std::mem::take(&mut self.node.volatile.early);
        for block in early {
            if block.opening.opening.height.0 <= due {
                self.node.volatile.judging += 1;
                let after = env.takes(JUDGE_US);
                env.out.push(Out::Task(Task::Judge(Box::new(block)), after));
            } else {
                self.node.volatile.early.push(block);
            }
        }
    }
}
