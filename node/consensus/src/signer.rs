//! Signing and checking of consensus messages.
//!
//! [`ConsensusSigner`] turns the engine's messages into statements and gets signatures through a
//! [`ConsensusKey`] only, which guards them; nothing else in the node reaches that key. [`CachingVerifier`] remembers what
//! it has verified, because the engine asks up to three times for the same vote and the network's edge has asked once before.

use crate::{
    context::{
        Address, BlockId, ChainContext, Height, Proposal, PublicKey, Signature, ValidatorSet, Vote, proposer, vote_kind,
    },
    fate::Fate,
    parts::{Opening, SignedOpening},
};
use futures::future::BoxFuture;
use malachite_core_types::{
    NilOrVal, Round, SignedMessage, Validator as _, ValidatorProof, VoteExtensionScope, VoteType,
};
use malachite_signing::{Error as SigningError, Signer, VerificationResult, Verifier};
use parking_lot::Mutex;
use std::{collections::HashSet, sync::Arc};
use x0_crypto::statement;
use x0_sign_guard::{ConsensusKey, GuardError, Place, SignStats, Signed, Statement};

/// The proposal as it is signed; `None` without a round.
#[must_use]
pub fn proposal_statement(proposal: &Proposal) -> Option<statement::Proposal> {
    Some(statement::Proposal {
        height: proposal.height.0,
        round: proposal.round.as_u32()?,
        block: proposal.value.0,
        pol_round: proposal.pol_round.as_u32(),
        proposer: proposal.proposer.0,
    })
}

/// The vote as it is signed; `None` without a round.
#[must_use]
pub fn vote_statement(vote: &Vote) -> Option<statement::Vote> {
    Some(statement::Vote {
        kind: vote_kind(vote.kind),
        height: vote.height.0,
        round: vote.round.as_u32()?,
        block: match &vote.value {
            NilOrVal::Nil => None,
            NilOrVal::Val(block) => Some(block.0),
        },
        voter: vote.voter.0,
    })
}

/// Why no signature is given.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The guard refuses, or cannot answer.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// A message without a round is never signed.
    #[error("a message without a round")]
    NoRound,
    /// The blocking task that signs ended without an answer.
    #[error("the signing task ended without an answer")]
    Ended,
    /// The engine's log is not on the disk.
    #[error("the write-ahead log cannot be made durable: {0}")]
    Log(String),
    /// This node committed itself to a block at this place, and its engine does not know of it.
    #[error("refusing to repeat the vote at {recorded:?}: the engine has lost the lock that belongs to it")]
    LostLock {
        /// What was signed.
        recorded: Box<Signed>,
    },
}

/// The consensus key behind its guard. Clones share it.
#[derive(Clone)]
pub struct ConsensusSigner {
    key: Arc<dyn ConsensusKey>,
    address: Address,
}

impl core::fmt::Debug for ConsensusSigner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "ConsensusSigner({})", self.address)
    }
}

impl ConsensusSigner {
    /// Signs with this key.
    #[must_use]
    pub fn new(key: Arc<dyn ConsensusKey>) -> Self {
        let address = Address(key.public().fingerprint());
        Self { key, address }
    }

    /// The address under which this key votes.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }

    /// The last place that was signed.
    #[must_use]
    pub fn last(&self) -> Option<Place> {
        self.key.last()
    }

    /// What the key's guard remembers of this height.
    #[must_use]
    pub fn places(&self, height: u64) -> Vec<Place> {
        self.key.places(height)
    }

    /// What the key has done.
    #[must_use]
    pub fn stats(&self) -> SignStats {
        self.key.stats()
    }

    /// Signs a vote. Blocks on the disk.
    ///
    /// # Errors
    /// Each variant of [`SignError`].
    pub fn vote(&self, vote: &Vote) -> Result<Signature, SignError> {
        let statement: Statement = vote_statement(vote).ok_or(SignError::NoRound)?.into();
        Ok(self.key.sign(&statement)?.into())
    }

    /// Signs a proposal. Blocks on the disk.
    ///
    /// # Errors
    /// Each variant of [`SignError`].
    pub fn proposal(&self, proposal: &Proposal) -> Result<Signature, SignError> {
        let statement: Statement = proposal_statement(proposal).ok_or(SignError::NoRound)?.into();
        Ok(self.key.sign(&statement)?.into())
    }

    /// Signs the opening part of a new block and, with the same wait for the disk, the proposal that the
    /// engine will ask for. Blocks on the disk.
    ///
    /// # Errors
    /// Each variant of [`SignError`].
    pub fn opening(&self, opening: Opening) -> Result<SignedOpening, SignError> {
        let proposal = statement::Proposal {
            height: opening.height.0,
            round: opening.round,
            block: opening.block.0,
            pol_round: None,
            proposer: opening.proposer.0,
        };
        let [signature, _] = self.key.sign_pair([&opening.statement().into(), &proposal.into()])?;
        Ok(SignedOpening { opening, signature: signature.into() })
    }
}

/// The signer as the engine sees it.
///
/// * The engine's log is made durable before a vote or proposal is signed: what led to a signature is on the disk before the
///   signature exists, so that after a crash the engine's replay comes to the same word, with the same lock.
/// * A contradiction is answered with what was signed before. It can only concern a word that led to no lock, or that the engine
///   says for another reason; saying the old word again is never a double signature, and it keeps the round going.
/// * A commitment to a block is never repeated without the engine's own lock: the engine would go on to commit itself to
///   another block in a later round, and both could be decided.
/// * A remote signer that stays away ends the engine in a way that a restart may mend.
/// * Everything else that prevents signing is a safety failure: the engine stops and the process stays up for its operator.
///
/// The engine itself knows no such difference: an error here would end its actor and be called restartable.
pub(crate) struct EngineSigner {
    signer: ConsensusSigner,
    fate: Fate,
    flush: LogFlush,
}

/// Waits until all that the engine has logged is on the disk.
pub(crate) type LogFlush = Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

impl EngineSigner {
    pub(crate) fn new(signer: ConsensusSigner, fate: Fate, flush: LogFlush) -> Self {
        Self { signer, fate, flush }
    }

    async fn run<T: Send + 'static>(
        &self,
        sign: impl FnOnce(&ConsensusSigner) -> Result<T, SignError> + Send + 'static,
    ) -> Result<T, SignError> {
        (self.flush)().await.map_err(SignError::Log)?;
        let signer = self.signer.clone();
        tokio::task::spawn_blocking(move || sign(&signer)).await.map_err(|_| SignError::Ended)?
    }

    /// Reports and never returns.
    async fn give_up<T>(&self, error: &SignError) -> T {
        self.fate.cannot_sign(error);
        std::future::pending().await
    }
}

fn value_of(recorded: &Signed) -> NilOrVal<BlockId> {
    recorded.block.map_or(NilOrVal::Nil, |block| NilOrVal::Val(BlockId(block)))
}

#[async_trait::async_trait]
impl Signer<ChainContext> for EngineSigner {
    async fn sign_vote(&self, vote: Vote) -> Result<SignedMessage<ChainContext, Vote>, SigningError> {
        let asked = vote.clone();
        match self.run(move |signer| signer.vote(&asked)).await {
            Ok(signature) => Ok(SignedMessage::new(vote, signature)),
            Err(SignError::Guard(GuardError::Conflict { recorded }))
                if vote.kind == VoteType::Precommit && recorded.block.is_some() =>
            {
                self.give_up(&SignError::LostLock { recorded }).await
            }
            Err(SignError::Guard(GuardError::Conflict { recorded })) => {
                tracing::warn!(asked = ?vote, ?recorded, "repeating the earlier vote of this round instead of contradicting it");
                let earlier = Vote { value: value_of(&recorded), ..vote };
                Ok(SignedMessage::new(earlier, recorded.signature.into()))
            }
            Err(error) => self.give_up(&error).await,
        }
    }

    async fn sign_proposal(&self, proposal: Proposal) -> Result<SignedMessage<ChainContext, Proposal>, SigningError> {
        let asked = proposal.clone();
        match self.run(move |signer| signer.proposal(&asked)).await {
            Ok(signature) => Ok(SignedMessage::new(proposal, signature)),
            Err(SignError::Guard(GuardError::Conflict { recorded })) => {
                tracing::warn!(asked = ?proposal, ?recorded, "repeating the earlier proposal of this round instead of contradicting it");
                let value = recorded.block.map_or(proposal.value, BlockId);
                let earlier = Proposal { value, pol_round: recorded.pol_round.into(), ..proposal };
                Ok(SignedMessage::new(earlier, recorded.signature.into()))
            }
            Err(error) => self.give_up(&error).await,
        }
    }

    async fn sign_vote_extension(
        &self,
        _: VoteExtensionScope<ChainContext>,
        (): (),
    ) -> Result<SignedMessage<ChainContext, ()>, SigningError> {
        // The chain's height parameters never ask for extensions.
        Err(SigningError::new())
    }

    async fn sign_validator_proof(&self, _: Vec<u8>, _: Vec<u8>) -> Result<ValidatorProof<ChainContext>, SigningError> {
        // Links are authenticated by network keys that the chain names; no proof is ever asked for.
        Err(SigningError::new())
    }
}

/// Two generations of a set: an entry is remembered for at least one generation's worth of others.
#[derive(Default)]
struct Recent {
    young: HashSet<[u8; 32]>,
    old: HashSet<[u8; 32]>,
}

impl Recent {
    fn contains(&self, key: &[u8; 32]) -> bool {
        self.young.contains(key) || self.old.contains(key)
    }

    fn insert(&mut self, key: [u8; 32]) {
        if self.young.len() >= x0_limits::VERIFIED_SIGNATURES_KEPT / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key);
    }
}

/// Checks signatures, each valid one once.
#[derive(Clone)]
pub struct CachingVerifier {
    genesis: [u8; 32],
    verified: Arc<Mutex<Recent>>,
}

impl CachingVerifier {
    /// A verifier for the chain with this genesis hash.
    #[must_use]
    pub fn new(genesis: [u8; 32]) -> Self {
        Self { genesis, verified: Arc::default() }
    }

    /// Whether this key signed the statement, which names the key.
    pub async fn statement(&self, statement: &Statement, signature: &Signature, key: &PublicKey) -> bool {
        let parts: [&[u8]; 4] =
            [&[statement.place().step.byte()], key.inner().as_bytes(), signature.inner().as_bytes(), &statement.body()];
        let name = x0_crypto::blake2b_256_of(&parts);
        if self.verified.lock().contains(&name) {
            return true;
        }
        let (genesis, statement, signature, key) = (self.genesis, *statement, signature.clone(), key.clone());
        let check = move || statement.verify(key.inner(), &genesis, signature.inner()).is_ok();
        // A task that ended without an answer has verified nothing.
        let valid = tokio::task::spawn_blocking(check).await.unwrap_or(false);
        if valid {
            self.verified.lock().insert(name);
        }
        valid
    }

    /// Whether a validator of this set signed the vote.
    pub async fn vote(&self, set: &ValidatorSet, vote: &Vote, signature: &Signature) -> bool {
        match (set.key_of(&vote.voter), vote_statement(vote)) {
            (Some(key), Some(vote)) => self.statement(&vote.into(), signature, key).await,
            _ => false,
        }
    }

    /// Whether the proposer of its round signed the proposal.
    pub async fn proposal(&self, set: &ValidatorSet, proposal: &Proposal, signature: &Signature) -> bool {
        let Some(statement) = proposal_statement(proposal) else { return false };
        let expected = proposer(set, proposal.height, proposal.round);
        proposal.proposer == *expected.address()
            && self.statement(&statement.into(), signature, expected.public_key()).await
    }

    /// Whether the proposer of its round signed the opening part.
    pub async fn opening(&self, set: &ValidatorSet, signed: &SignedOpening) -> bool {
        let opening = &signed.opening;
        let expected = proposer(set, opening.height, Round::new(opening.round));
        opening.proposer == *expected.address()
            && self.statement(&opening.statement().into(), &signed.signature, expected.public_key()).await
    }
}

#[async_trait::async_trait]
impl Verifier<ChainContext> for CachingVerifier {
    async fn verify_signed_vote(
        &self,
        vote: &Vote,
        signature: &Signature,
        key: &PublicKey,
    ) -> Result<VerificationResult, SigningError> {
        let valid = match vote_statement(vote) {
            Some(vote) => self.statement(&vote.into(), signature, key).await,
            None => false,
        };
        Ok(VerificationResult::from_bool(valid))
    }

    async fn verify_signed_proposal(
        &self,
        proposal: &Proposal,
        signature: &Signature,
        key: &PublicKey,
    ) -> Result<VerificationResult, SigningError> {
        let valid = match proposal_statement(proposal) {
            Some(proposal) => self.statement(&proposal.into(), signature, key).await,
            None => false,
        };
        Ok(VerificationResult::from_bool(valid))
    }

    async fn verify_signed_vote_extension(
        &self,
        _: &VoteExtensionScope<ChainContext>,
        (): &(),
        _: &Signature,
        _: &PublicKey,
    ) -> Result<VerificationResult, SigningError> {
        Ok(VerificationResult::Invalid)
    }

    async fn verify_validator_proof(
        &self,
        _: &ValidatorProof<ChainContext>,
    ) -> Result<VerificationResult, SigningError> {
        Ok(VerificationResult::Invalid)
    }
}

/// The opening of a block that this node proposes.
#[must_use]
pub fn opening_for(height: Height, round: u32, proposer: Address, block: BlockId, encoded: &[u8]) -> Opening {
    Opening {
        height,
        round,
        proposer,
        block,
        // Larger blocks are never built; a wrong length would be refused by every receiver.
        bytes: u32::try_from(encoded.len()).unwrap_or(u32::MAX),
        digest: x0_crypto::blake2b_256(encoded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::CertificateValidator;
    use malachite_core_types::VoteType;
    use x0_crypto::{Seed, SigningKey};
    use x0_sign_guard::LocalKey;

    const GENESIS: [u8; 32] = [1; 32];

    fn setup() -> (tempfile::TempDir, ConsensusSigner, ValidatorSet) {
        let directory = tempfile::tempdir().unwrap();
        let key = SigningKey::from_seed(&Seed::from_bytes([5; 32])).unwrap();
        let set = ValidatorSet::new(&[CertificateValidator { public: key.public().clone(), power: 1 }]).unwrap();
        let key = LocalKey::open(directory.path(), key, GENESIS).unwrap();
        let signer = ConsensusSigner::new(key.into());
        (directory, signer, set)
    }

    #[tokio::test]
    async fn purposes_and_chains_do_not_mix() {
        let (_directory, signer, set) = setup();
        let voter = signer.address();
        let block = BlockId([7; 32]);
        let vote = Vote {
            kind: VoteType::Prevote,
            height: Height(3),
            round: Round::new(0),
            value: NilOrVal::Val(block),
            voter,
        };
        let signature = signer.vote(&vote).unwrap();
        let verifier = CachingVerifier::new(GENESIS);
        assert!(verifier.vote(&set, &vote, &signature).await);
        assert!(verifier.vote(&set, &vote, &signature).await, "from memory");
        assert!(!CachingVerifier::new([2; 32]).vote(&set, &vote, &signature).await);
        let other = Vote { kind: VoteType::Precommit, ..vote.clone() };
        assert!(!verifier.vote(&set, &other, &signature).await);
        let nil = Vote { value: NilOrVal::Nil, ..vote.clone() };
        assert!(!verifier.vote(&set, &nil, &signature).await);
        let stranger = Vote { voter: Address([9; 32]), ..vote.clone() };
        assert!(!verifier.vote(&set, &stranger, &signature).await);
        assert!(matches!(signer.vote(&stranger), Err(SignError::Guard(GuardError::OtherSigner { .. }))));
        assert!(matches!(signer.vote(&Vote { round: Round::Nil, ..vote }), Err(SignError::NoRound)));
    }

    #[tokio::test]
    async fn contradictions_are_answered_with_the_earlier_word() {
        let (_directory, signer, set) = setup();
        let (node, _join) = malachite_app::spawn::spawn_node_actor(crate::engine::test_metrics()).await.unwrap();
        let fate = Fate::new(node.clone());
        let engine = EngineSigner::new(signer.clone(), fate.clone(), durable());
        let voter = signer.address();
        let nil =
            Vote { kind: VoteType::Prevote, height: Height(3), round: Round::new(1), value: NilOrVal::Nil, voter };
        let first = engine.sign_vote(nil.clone()).await.unwrap();
        let changed = Vote { value: NilOrVal::Val(BlockId([7; 32])), ..nil.clone() };
        let second = engine.sign_vote(changed).await.unwrap();
        assert_eq!(second, first);
        assert!(CachingVerifier::new(GENESIS).vote(&set, &second.message, &second.signature).await);

        let proposal = Proposal {
            height: Height(4),
            round: Round::new(2),
            value: BlockId([1; 32]),
            pol_round: Round::new(1),
            proposer: voter,
        };
        let first = engine.sign_proposal(proposal.clone()).await.unwrap();
        let second = engine
            .sign_proposal(Proposal { value: BlockId([2; 32]), pol_round: Round::Nil, ..proposal })
            .await
            .unwrap();
        assert_eq!(second, first);
        assert!(fate.halted.lock().is_none());
        node.stop(None);
    }

    fn durable() -> LogFlush {
        Box::new(|| Box::pin(async { Ok(()) }))
    }

    /// Gives a task that never ends its time to say why.
    async fn gives_up(fate: &Fate, task: impl Future<Output = impl Sized>) -> String {
        let reason = async {
            loop {
                if let Some(reason) = fate.halted.lock().clone() {
                    return reason;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = task => panic!("it answered"),
            reason = reason => reason,
        }
    }

    #[tokio::test]
    async fn a_commitment_is_not_repeated_without_its_lock() {
        let (_directory, signer, _) = setup();
        let (node, _join) = malachite_app::spawn::spawn_node_actor(crate::engine::test_metrics()).await.unwrap();
        let fate = Fate::new(node.clone());
        let engine = EngineSigner::new(signer.clone(), fate.clone(), durable());
        let nil = Vote {
            kind: VoteType::Precommit,
            height: Height(3),
            round: Round::new(0),
            value: NilOrVal::Nil,
            voter: signer.address(),
        };
        let block = Vote { value: NilOrVal::Val(BlockId([7; 32])), ..nil.clone() };
        // A nil precommit holds no lock, and is repeated.
        engine.sign_vote(Vote { round: Round::new(1), ..nil.clone() }).await.unwrap();
        let repeated = engine.sign_vote(Vote { round: Round::new(1), ..block.clone() }).await.unwrap();
        assert_eq!(repeated.message.value, NilOrVal::Nil);
        engine.sign_vote(Vote { round: Round::new(2), ..block.clone() }).await.unwrap();
        engine.sign_vote(Vote { round: Round::new(2), ..block }).await.unwrap();
        let reason = gives_up(&fate, engine.sign_vote(Vote { round: Round::new(2), ..nil })).await;
        assert!(reason.contains("lost the lock"), "{reason}");
        node.stop(None);
    }

    #[tokio::test]
    async fn nothing_is_signed_before_the_log_is_durable() {
        let (_directory, signer, _) = setup();
        let (node, _join) = malachite_app::spawn::spawn_node_actor(crate::engine::test_metrics()).await.unwrap();
        let fate = Fate::new(node.clone());
        let full: LogFlush = Box::new(|| Box::pin(async { Err("no space left".into()) }));
        let engine = EngineSigner::new(signer.clone(), fate.clone(), full);
        let vote = Vote {
            kind: VoteType::Prevote,
            height: Height(3),
            round: Round::new(0),
            value: NilOrVal::Nil,
            voter: signer.address(),
        };
        let reason = gives_up(&fate, engine.sign_vote(vote)).await;
        assert!(reason.contains("no space left"), "{reason}");
        assert_eq!(signer.places(3), []);
        node.stop(None);
    }
}
