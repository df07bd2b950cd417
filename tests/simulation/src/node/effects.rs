//! What the engine asks for, and how a node does it: the engine's actor, without the actor.

use super::{Node, Phase, timer_key};
use crate::{
    event::{Env, Out, Stop, Task},
    guard::record,
    plan::Sabotage,
    scheme::{RunVerifier, at_once, of_proposal, of_vote},
};
use bytes::Bytes;
use malachite_codec::Codec as _;
use malachite_core_consensus::{ConsensusMsg, Effect, Input, LivenessMsg, Resumable as _, Resume, SignedConsensusMsg};
use malachite_core_types::{
    CertificateError, NilOrVal, Round, SignedMessage, SignedProposal, SignedVote, Timeout, ValueOrigin, VoteType,
};
use malachite_engine::wal::encode_entry;
use malachite_signing::VerifierExt as _;
use x0_consensus::{
    context::{BlockId, ChainContext, Proposal, Signature, Vote},
    wire::{ChainCodec, CodecError},
    witness::Said,
};
use x0_crypto::statement::Statement;
use x0_network::Channel;
use x0_sign_guard::{GuardError, Signed};

/// How long a proposer takes for a block, microseconds.
const BUILD_US: std::ops::RangeInclusive<u64> = 2_000..=40_000;
/// How long a commit takes, microseconds.
const COMMIT_US: std::ops::RangeInclusive<u64> = 1_000..=15_000;

type Answer = Result<Resume<ChainContext>, Stop>;

fn frame(bytes: Result<Bytes, CodecError>) -> Result<Bytes, Stop> {
    bytes.map_err(|error| Stop::Engine(format!("cannot write a message: {error}")))
}

/// A check that could not be done has proven nothing.
fn settled(result: Option<Result<(), CertificateError<ChainContext>>>) -> Result<(), CertificateError<ChainContext>> {
    result.unwrap_or_else(|| Err(CertificateError::VerificationError(None)))
}

impl Node {
    pub(super) fn effect(&mut self, env: &mut Env, effect: Effect<ChainContext>) -> Answer {
        self.step()?;
        match effect {
            Effect::CancelAllTimeouts(r) => {
                self.volatile.timers.clear();
                Ok(r.resume_with(()))
            }
            Effect::CancelTimeout(timeout, r) => {
                self.volatile.timers.remove(&timer_key(&timeout));
                Ok(r.resume_with(()))
            }
            Effect::ScheduleTimeout(timeout, r) => {
                self.schedule(env, timeout);
                Ok(r.resume_with(()))
            }
            Effect::StartRound(height, round, _, _, r) => {
                self.flush(env)?;
                self.start_round(env, height.0, round);
                Ok(r.resume_with(()))
            }
            Effect::PublishConsensusMsg(message, r) => {
                self.flush(env)?;
                self.publish(env, &message)?;
                Ok(r.resume_with(()))
            }
            Effect::PublishLivenessMsg(message, r) => self.liveness(env, &message).map(|()| r.resume_with(())),
            Effect::RepublishVote(vote, r) => self.liveness(env, &LivenessMsg::Vote(vote)).map(|()| r.resume_with(())),
            Effect::RepublishRoundCertificate(certificate, r) => {
                self.liveness(env, &LivenessMsg::SkipRoundCertificate(certificate)).map(|()| r.resume_with(()))
            }
            Effect::GetValue(height, round, _, r) => {
                let round = round.as_u32().unwrap_or(0);
                let after = env.takes(BUILD_US);
                env.out.push(Out::Task(Task::Build { height: height.0, round }, after));
                Ok(r.resume_with(()))
            }
            Effect::RestreamProposal(height, _, _, _, block, r) => {
                env.out.push(Out::Task(Task::Restream { height: height.0, block }, 1_000));
                Ok(r.resume_with(()))
            }
            Effect::Decide(certificate, _, r) => {
                self.flush(env)?;
                self.decided(env, certificate.height.0, certificate.round, certificate.value_id);
                let after = env.takes(COMMIT_US);
                env.out.push(Out::Task(Task::Commit(Box::new(certificate)), after));
                Ok(r.resume_with(()))
            }
            Effect::Finalize(certificate, _, evidence, r) => {
                if !self.twin {
                    env.oracle.evidence(&env.keys, &evidence);
                }
                self.volatile.awaiting = Some((certificate.height.0, None));
                Ok(r.resume_with(()))
            }
            effect => self.checked(env, effect),
        }
    }

    /// Signatures, certificates and the log.
    fn checked(&mut self, env: &mut Env, effect: Effect<ChainContext>) -> Answer {
        match effect {
            Effect::SignVote(vote, r) => Ok(r.resume_with(self.sign_vote(env, vote)?)),
            Effect::SignProposal(proposal, r) => Ok(r.resume_with(self.sign_proposal(env, proposal)?)),
            Effect::VerifySignature(message, key, r) => {
                let statement = match &message.message {
                    ConsensusMsg::Vote(vote) => of_vote(vote),
                    ConsensusMsg::Proposal(proposal) => of_proposal(proposal),
                };
                let valid =
                    statement.is_some_and(|statement| env.keys.verify(key.inner(), &statement, &message.signature));
                Ok(r.resume_with(valid))
            }
            Effect::VerifyCommitCertificate(certificate, set, thresholds, r) => {
                let verifier = RunVerifier(&env.keys);
                let check = verifier.verify_commit_certificate(&ChainContext, &certificate, &set, thresholds);
                Ok(r.resume_with(settled(at_once(check))))
            }
            Effect::VerifyExtendedCommitCertificate(certificate, set, thresholds, policy, r) => {
                let verifier = RunVerifier(&env.keys);
                let check =
                    verifier.verify_extended_commit_certificate(&ChainContext, &certificate, &set, thresholds, policy);
                Ok(r.resume_with(settled(at_once(check))))
            }
            Effect::VerifyPolkaCertificate(certificate, set, thresholds, r) => {
                let verifier = RunVerifier(&env.keys);
                let check = verifier.verify_polka_certificate(&ChainContext, &certificate, &set, thresholds);
                Ok(r.resume_with(settled(at_once(check))))
            }
            Effect::VerifyRoundCertificate(certificate, set, thresholds, r) => {
                let verifier = RunVerifier(&env.keys);
                let check = verifier.verify_round_certificate(&ChainContext, &certificate, &set, thresholds);
                Ok(r.resume_with(settled(at_once(check))))
            }
            Effect::WalAppend(_, entry, r) => {
                self.append(entry)?;
                Ok(r.resume_with(()))
            }
            Effect::CertVerifiedSyncValue(value, _, r) => {
                let after = env.takes(COMMIT_US);
                env.out.push(Out::Task(Task::Synced(Box::new(value)), after));
                Ok(r.resume_with(()))
            }
            Effect::CertRejectedSyncValue(peer, _, _, r) => {
                self.peer_fault(env, &peer);
                Ok(r.resume_with(()))
            }
            Effect::ExtendVote(.., r) => Ok(r.resume_with(None)),
            other => Err(Stop::Engine(format!("an effect that no height of this chain asks for: {other:?}"))),
        }
    }

    fn schedule(&mut self, env: &mut Env, timeout: Timeout) {
        let after = self.timeouts.duration_for(timeout);
        self.volatile.generation += 1;
        let generation = self.volatile.generation;
        self.volatile.timers.insert(timer_key(&timeout), generation);
        env.out.push(Out::Timer(timeout, generation, u64::try_from(after.as_micros()).unwrap_or(u64::MAX)));
    }

    fn start_round(&mut self, env: &mut Env, height: u64, round: Round) {
        let turn = round.as_u32().unwrap_or(0);
        self.volatile.round = (height, turn);
        env.oracle.starts.entry(height).or_insert(env.now_us);
        env.say(|| format!("node {} starts height {height} round {turn}", self.id));
        for value in self.volatile.candidates.values(x0_consensus::context::Height(height), turn) {
            env.out.push(Out::Task(Task::Mail(Box::new(Input::ProposedValue(value, ValueOrigin::Consensus))), 0));
        }
    }

    fn decided(&mut self, env: &mut Env, height: u64, round: Round, block: BlockId) {
        let turn = round.as_u32().unwrap_or(0);
        env.say(|| format!("node {} decides {block} at height {height} in round {turn}", self.id));
        env.oracle.rounds.entry((self.id, height)).or_insert(turn);
    }

    fn append(&mut self, entry: Input<ChainContext>) -> Result<(), Stop> {
        if self.volatile.phase == Phase::Recovering || !self.volatile.is_validator {
            return Ok(());
        }
        let Some(log) = self.volatile.wal.as_mut() else { return Ok(()) };
        let mut bytes = Vec::new();
        encode_entry(entry, &ChainCodec, &mut bytes)
            .and_then(|()| log.append(&bytes))
            .map_err(|error| Stop::Halt(format!("write-ahead log: {error}")))
    }

    fn flush(&mut self, env: &mut Env) -> Result<(), Stop> {
        if self.volatile.phase == Phase::Recovering || !self.volatile.is_validator {
            return Ok(());
        }
        match self.volatile.wal.as_mut() {
            Some(log) => {
                env.synced();
                log.flush().map_err(|error| Stop::Halt(format!("write-ahead log: {error}")))
            }
            None => Ok(()),
        }
    }

    fn publish(&mut self, env: &mut Env, message: &SignedConsensusMsg<ChainContext>) -> Result<(), Stop> {
        env.say(|| format!("node {} says {message:?}", self.id));
        let (statement, signature) = match message {
            SignedConsensusMsg::Vote(vote) => (of_vote(&vote.message), &vote.signature),
            SignedConsensusMsg::Proposal(proposal) => (of_proposal(&proposal.message), &proposal.signature),
        };
        if let Some(statement) = statement {
            self.hear(env, Said { statement, signature: signature.clone() });
        }
        env.out.push(Out::Broadcast(Channel::Consensus, frame(ChainCodec.encode(message))?));
        Ok(())
    }

    fn liveness(&mut self, env: &mut Env, message: &LivenessMsg<ChainContext>) -> Result<(), Stop> {
        env.say(|| format!("node {} repeats {message:?}", self.id));
        env.out.push(Out::Broadcast(Channel::Liveness, frame(ChainCodec.encode(message))?));
        Ok(())
    }

    /// Signs by the guard's rules; the record is durable before the signature is used.
    pub(super) fn sign(
        &mut self,
        env: &mut Env,
        statement: &Statement,
    ) -> Result<Result<Signature, Box<Signed>>, Stop> {
        let failed = |error: x0_crypto::CryptoError| Stop::Engine(error.to_string());
        if self.twin {
            return Ok(Ok(env.keys.sign(self.identity, statement).map_err(failed)?));
        }
        match self.disk.guard.recorded(statement) {
            Ok(Some(signature)) => Ok(Ok(signature.into())),
            Ok(None) => {
                let signature = env.keys.sign(self.identity, statement).map_err(failed)?;
                env.signed();
                self.disk.guard.note(vec![record(statement, &signature)]);
                self.step()?;
                Ok(Ok(signature))
            }
            Err(GuardError::Conflict { recorded }) => {
                env.say(|| format!("node {} asks for {statement:?} but said {recorded:?}", self.id));
                Ok(Err(recorded))
            }
            Err(error) => Err(Stop::Halt(format!("cannot sign: {error}"))),
        }
    }

    fn sign_vote(&mut self, env: &mut Env, vote: Vote) -> Result<SignedVote<ChainContext>, Stop> {
        // What led to this vote is durable before the vote exists, so that replay derives it again.
        let hasty = env.plan.sabotage == Sabotage::SignBeforeLog;
        if !hasty {
            self.flush(env)?;
        }
        let statement = of_vote(&vote).ok_or_else(|| Stop::Halt("a vote without a round".into()))?;
        match self.sign(env, &statement)? {
            Ok(signature) => Ok(SignedMessage::new(vote, signature)),
            Err(recorded) if vote.kind == VoteType::Precommit && recorded.block.is_some() && !hasty => {
                Err(Stop::Halt(format!("cannot sign: refusing to repeat {recorded:?} without its lock")))
            }
            // The node's signer says again what it said first.
            Err(recorded) => {
                let value = recorded.block.map_or(NilOrVal::Nil, |block| NilOrVal::Val(BlockId(block)));
                Ok(SignedMessage::new(Vote { value, ..vote }, recorded.signature.into()))
            }
        }
    }

    fn sign_proposal(&mut self, env: &mut Env, proposal: Proposal) -> Result<SignedProposal<ChainContext>, Stop> {
        self.flush(env)?;
        let statement = of_proposal(&proposal).ok_or_else(|| Stop::Halt("a proposal without a round".into()))?;
        match self.sign(env, &statement)? {
            Ok(signature) => Ok(SignedMessage::new(proposal, signature)),
            Err(recorded) => {
                let value = recorded.block.map_or(proposal.value, BlockId);
                let earlier = Proposal { value, pol_round: recorded.pol_round.into(), ..proposal };
                Ok(SignedMessage::new(earlier, recorded.signature.into()))
            }
        }
    }
}
