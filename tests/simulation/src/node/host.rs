//! Building, judging and committing blocks, with the steps in the order in which the node's host takes them.

use super::{Node, Proc, address_of};
use crate::{
    disk::Stored,
    event::{Env, Out, Stop},
    ledger::{Header, Verdict, encode, inspect},
    plan::Sabotage,
    scheme::{of_opening, of_proposal},
};
use bytes::{BufMut as _, Bytes, BytesMut};
use malachite_codec::Codec as _;
use malachite_core_consensus::{Input, LocallyProposedValue};
use malachite_core_types::{CommitCertificate, Round, ValueOrigin, ValueResponse};
use malachite_engine::util::streaming::{StreamContent, StreamId, StreamMessage};
use rand::Rng as _;
use x0_consensus::{
    candidates::Known,
    context::{BlockId, ChainContext, Height, Proposal},
    parts::{Assembled, Opening, Part, SignedOpening, body_parts},
    wire::{ChainCodec, certificate_of},
    witness::Said,
};
use x0_crypto::{
    blake2b_256,
    statement::{Vote, VoteKind},
};
use x0_limits::{TIMESTAMP_DRIFT_MS_MAX, TIMESTAMP_STEP_MS_MIN};
use x0_network::Channel;

/// Heights between two removals of stale undecided blocks, as in the node's host.
const FORGET_EVERY: u64 = 8;

impl Proc {
    /// Proposes: the same block for the same height and round, whatever happened in between.
    pub(super) fn build(&mut self, env: &mut Env, height: u64, round: u32) -> Result<(), Stop> {
        let node = &mut self.node;
        let own = node.volatile.candidates.proposed(height, round, node.address);
        let stored = own.and_then(|block| node.disk.find(height, block));
        let (block, encoded) = match stored.map(|stored| (stored.block, stored.encoded.clone())) {
            Some(found) => found,
            None => match node.make(env, height, round)? {
                Some(made) => made,
                None => return Ok(()),
            },
        };
        let Some(opening) = node.sign_opening(env, height, round, block, &encoded)? else { return Ok(()) };
        node.stream(env, opening, &encoded)?;
        let value = LocallyProposedValue::new(Height(height), Round::new(round), block);
        self.process(env, Input::Propose(value))
    }

    /// Executes a proposed block and gives the verdict to the engine.
    pub(super) fn judge(&mut self, env: &mut Env, block: Assembled) -> Result<(), Stop> {
        let node = &mut self.node;
        node.volatile.judging = node.volatile.judging.saturating_sub(1);
        let opening = &block.opening.opening;
        let height = opening.height.0;
        // Only now is it certain whose turn it is.
        if !node.may_propose(height, Round::new(opening.round), &opening.proposer) {
            return Ok(());
        }
        let Some(header) = inspect(&block.encoded) else { return Ok(()) };
        if header.height != height || header.id() != opening.block {
            return Ok(());
        }
        let blind = env.plan.sabotage == Sabotage::BlindVotes;
        let valid = match node.disk.chain.judge(&header, &env.plan.agenda) {
            Verdict::Stale => return Ok(()),
            Verdict::Invalid => blind,
            Verdict::Valid => {
                let ahead = header.timestamp_ms > node.clock_ms(env).saturating_add(TIMESTAMP_DRIFT_MS_MAX);
                // Neither of these is a verdict on the block.
                if header.proposer != opening.proposer.0 || ahead {
                    return Ok(());
                }
                true
            }
        };
        let known = Known { round: opening.round, proposer: opening.proposer, block: opening.block, valid };
        let value = known.value(opening.height);
        let (round, id, opening) = (opening.round, opening.block, Some(block.opening.clone()));
        node.disk.store(height, Stored { round, block: id, opening, encoded: block.encoded, valid });
        node.step()?;
        node.volatile.candidates.remember(height, known);
        self.process(env, Input::ProposedValue(value, ValueOrigin::Consensus))
    }

    /// Executes a decided block of another node, whose certificate the engine has checked.
    pub(super) fn judge_synced(&mut self, env: &mut Env, response: ValueResponse<ChainContext>) -> Result<(), Stop> {
        let certificate = &response.certificate;
        let (height, round) = (certificate.height.0, certificate.round);
        let node = &mut self.node;
        let (Some(turn), Some(set)) = (round.as_u32(), node.volatile.book.get(&height).cloned()) else {
            return Ok(());
        };
        let facts = inspect(&response.value_bytes).filter(|header| header.height == height);
        let Some(header) = facts.filter(|header| header.id() == certificate.value_id) else {
            node.peer_fault(env, &response.peer);
            return Ok(());
        };
        let valid = match node.disk.chain.judge(&header, &env.plan.agenda) {
            Verdict::Stale => return Ok(()),
            Verdict::Invalid => env.plan.sabotage == Sabotage::BlindVotes,
            Verdict::Valid => true,
        };
        let block = header.id();
        let encoded = response.value_bytes.clone();
        node.disk.store(height, Stored { round: turn, block, opening: None, encoded, valid });
        node.step()?;
        let proposer = address_of(&set, Height(height), round);
        let value = Known { round: turn, proposer, block, valid }.value(Height(height));
        node.volatile.pacer.synced(height);
        self.process(env, Input::ProposedValue(value, ValueOrigin::Sync))
    }

    /// Commits a decided block and acknowledges it.
    pub(super) fn commit(&mut self, env: &mut Env, certificate: &CommitCertificate<ChainContext>) -> Result<(), Stop> {
        let node = &mut self.node;
        let (height, block) = (certificate.height.0, certificate.value_id);
        if let Some(committed) = node.disk.chain.at(height) {
            return if committed.id == block {
                Ok(())
            } else {
                Err(Stop::Halt(format!("another block than {block} is committed at height {height}")))
            };
        }
        node.hear_certificate(env, certificate);
        let mut trimmed = certificate_of(certificate).map_err(|error| Stop::Halt(error.to_string()))?;
        if let Some(set) = node.volatile.book.get(&height) {
            trimmed.trim(&set.for_certificates());
        }
        let bytes = Bytes::from(trimmed.encode());
        let stored = node.disk.find(height, block).map(|stored| stored.encoded.clone());
        let Some((encoded, header)) = stored.and_then(|encoded| inspect(&encoded).map(|header| (encoded, header)))
        else {
            return Err(Stop::Halt(format!("the decided block {block} of height {height} is not stored here")));
        };
        node.disk.chain.push(&header, encoded, bytes.clone());
        if !node.twin {
            env.oracle.committed(&env.keys, node.id, &bytes, block, height);
        }
        node.step()?;
        node.refresh_book(env)?;
        node.volatile.candidates.prune(height);
        node.volatile.assembler.prune(height);
        node.tell(env, height, block.0);
        if height.is_multiple_of(FORGET_EVERY) {
            node.disk.undecided.retain(|of, _| *of > height);
        }
        self.wake_early(env);
        Ok(())
    }
}

impl Node {
    /// Builds a block on the head and makes it durable. Nothing when the head has moved on.
    fn make(&mut self, env: &mut Env, height: u64, round: u32) -> Result<Option<(BlockId, Bytes)>, Stop> {
        let chain = &self.disk.chain;
        if chain.height() + 1 != height {
            return Ok(None);
        }
        let pending = chain.progress() < env.plan.agenda.len();
        let length = env.rng.random_range(0..=env.plan.body_bytes);
        let mut body = vec![0u8; length];
        env.rng.fill(&mut body[..]);
        let header = Header {
            height,
            parent: chain.tip().0,
            proposer: self.address.0,
            timestamp_ms: self.clock_ms(env).max(chain.timestamp_ms() + TIMESTAMP_STEP_MS_MIN),
            changes: u8::from(pending && env.rng.random_bool(0.5)),
            broken: self.twin && env.rng.random_bool(0.2),
            body: blake2b_256(&body),
        };
        let (block, encoded) = (header.id(), encode(&header, &body));
        env.oracle.built(&header);
        self.disk.store(height, Stored { round, block, opening: None, encoded: encoded.clone(), valid: true });
        self.step()?;
        self.volatile.candidates.remember(height, Known { round, proposer: self.address, block, valid: true });
        Ok(Some((block, encoded)))
    }

    /// What the certificate's signers say: one of them may have told this node something else.
    fn hear_certificate(&mut self, env: &mut Env, certificate: &CommitCertificate<ChainContext>) {
        let Some(round) = certificate.round.as_u32() else { return };
        for entry in &certificate.commit_signatures {
            let (height, block) = (certificate.height.0, Some(certificate.value_id.0));
            let vote = Vote { kind: VoteKind::Precommit, height, round, block, voter: entry.address.0 };
            self.hear(env, Said { statement: vote.into(), signature: entry.signature.clone() });
        }
    }

    /// Signs the opening and, with the same wait for the disk, the proposal. Nothing when the guard refuses either.
    fn sign_opening(
        &mut self,
        env: &mut Env,
        height: u64,
        round: u32,
        block: BlockId,
        encoded: &Bytes,
    ) -> Result<Option<SignedOpening>, Stop> {
        let opening = Opening {
            height: Height(height),
            round,
            proposer: self.address,
            block,
            bytes: u32::try_from(encoded.len()).unwrap_or(u32::MAX),
            digest: blake2b_256(encoded),
        };
        let proposal = Proposal {
            height: Height(height),
            round: Round::new(round),
            value: block,
            pol_round: Round::Nil,
            proposer: self.address,
        };
        let (first, second) = (of_opening(&opening), of_proposal(&proposal));
        let Some(second) = second else { return Ok(None) };
        if !self.twin && (self.disk.guard.recorded(&first).is_err() || self.disk.guard.recorded(&second).is_err()) {
            return Ok(None);
        }
        let signature = self.sign(env, &first)?;
        let also = self.sign(env, &second)?;
        match (signature, also) {
            (Ok(signature), Ok(_)) => Ok(Some(SignedOpening { opening, signature })),
            _ => Ok(None),
        }
    }

    fn stream(&mut self, env: &mut Env, opening: SignedOpening, encoded: &Bytes) -> Result<(), Stop> {
        let mut name = BytesMut::with_capacity(16);
        name.put_u64(opening.opening.height.0);
        name.put_u32(opening.opening.round);
        name.put_u32(self.volatile.streams);
        self.volatile.streams += 1;
        let stream = StreamId::new(name.freeze());
        let parts = std::iter::once(Part::Opening(Box::new(opening))).chain(body_parts(encoded));
        for (sequence, part) in (0u64..).zip(parts) {
            let message = StreamMessage::new(stream.clone(), sequence, StreamContent::Data(part));
            let frame = ChainCodec.encode(&message).map_err(|error| Stop::Engine(error.to_string()))?;
            env.out.push(Out::Broadcast(Channel::Parts, frame));
            self.step()?;
        }
        Ok(())
    }

    /// Sends a known block again, under its first proposer's signature.
    pub(super) fn restream(&mut self, env: &mut Env, height: u64, block: BlockId) -> Result<(), Stop> {
        let Some(stored) = self.disk.find(height, block).cloned() else { return Ok(()) };
        let own = self.volatile.candidates.is_own(height, stored.round, block, self.address);
        let opening = match stored.opening {
            Some(opening) => Some(opening),
            None if own => self.sign_opening(env, height, stored.round, block, &stored.encoded)?,
            None => None,
        };
        match opening {
            Some(opening) => self.stream(env, opening, &stored.encoded),
            None => Ok(()),
        }
    }
}
