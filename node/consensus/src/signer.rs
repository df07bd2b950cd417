//! Signing and checking of consensus messages.
//!
//! [`ConsensusSigner`] owns the consensus key and gives signatures only through the [`Guard`]; nothing
//! else in the node holds that key. [`CachingVerifier`] remembers what it has verified, because the engine asks
//! up to three times for the same vote and the network's edge has asked once before.

use crate::{
    certificate::vote_body,
    context::{
        Address, BlockId, ChainContext, Height, Proposal, PublicKey, Signature, ValidatorSet, Vote, proposer, vote_kind,
    },
    guard::{Guard, GuardError, Place, Signed, Statement, Step},
    parts::{Opening, SignedOpening},
};
use malachite_core_types::{
    NilOrVal, Round, SignedMessage, Validator as _, ValidatorProof, VoteExtensionScope, VoteType,
};
use malachite_engine::node::{NodeMsg, NodeRef};
use malachite_signing::{Error as SigningError, Signer, VerificationResult, Verifier};
use parking_lot::Mutex;
use std::{collections::HashSet, path::Path, sync::Arc};
use x0_crypto::SigningKey;

/// The bytes that a proposer signs (domain `x0/proposal/v1`, with the genesis hash).
#[must_use]
pub fn proposal_body(proposal: &Proposal) -> Vec<u8> {
    let mut body = Vec::with_capacity(8 + 4 + 32 + 5 + 32);
    body.extend_from_slice(&proposal.height.0.to_be_bytes());
    body.extend_from_slice(&proposal.round.as_u32().unwrap_or(u32::MAX).to_be_bytes());
    body.extend_from_slice(&proposal.value.0);
    body.push(u8::from(proposal.pol_round.is_defined()));
    body.extend_from_slice(&proposal.pol_round.as_u32().unwrap_or(0).to_be_bytes());
    body.extend_from_slice(&proposal.proposer.0);
    body
}

fn vote_bytes(vote: &Vote) -> Option<[u8; 78]> {
    let block = match &vote.value {
        NilOrVal::Nil => None,
        NilOrVal::Val(block) => Some(&block.0),
    };
    Some(vote_body(vote_kind(vote.kind), vote.height.0, vote.round.as_u32()?, block, &vote.voter.0))
}

/// Why no signature is given.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The guard refuses.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// A message without a round is never signed.
    #[error("a message without a round")]
    NoRound,
    /// The message names another signer.
    #[error("asked to sign as {asked}; this node's key is {own}")]
    OtherSigner {
        /// The signer that the message names.
        asked: Address,
        /// This node.
        own: Address,
    },
    /// The blocking task that signs ended without an answer.
    #[error("the signing task ended without an answer")]
    Ended,
}

struct Inner {
    key: SigningKey,
    genesis: [u8; 32],
    address: Address,
    guard: Mutex<Guard>,
}

/// The consensus key behind its guard. Clones share both.
#[derive(Clone)]
pub struct ConsensusSigner(Arc<Inner>);

impl core::fmt::Debug for ConsensusSigner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "ConsensusSigner({})", self.0.address)
    }
}

impl ConsensusSigner {
    /// Takes the key in charge. The guard's files live in `directory` and belong to this key and chain.
    ///
    /// # Errors
    /// Each error of [`Guard::open`].
    pub fn open(directory: &Path, key: SigningKey, genesis: [u8; 32]) -> Result<Self, GuardError> {
        let binding = x0_crypto::blake2b_256(&[&genesis[..], key.public().as_bytes()].concat());
        let guard = Mutex::new(Guard::open(directory, binding)?);
        let address = Address(key.public().fingerprint());
        Ok(Self(Arc::new(Inner { key, genesis, address, guard })))
    }

    /// The address under which this key votes.
    #[must_use]
    pub fn address(&self) -> Address {
        self.0.address
    }

    /// The last place that was signed.
    #[must_use]
    pub fn last(&self) -> Option<Place> {
        self.0.guard.lock().last()
    }

    fn own(&self, asked: Address) -> Result<(), SignError> {
        if asked == self.0.address { Ok(()) } else { Err(SignError::OtherSigner { asked, own: self.0.address }) }
    }

    /// Signs a vote. Blocks on the disk.
    ///
    /// # Errors
    /// Each variant of [`SignError`].
    pub fn vote(&self, vote: &Vote) -> Result<Signature, SignError> {
        self.own(vote.voter)?;
        let body = vote_bytes(vote).ok_or(SignError::NoRound)?;
        let step = match vote.kind {
            VoteType::Prevote => Step::Prevote,
            VoteType::Precommit => Step::Precommit,
        };
        let place = Place { height: vote.height.0, round: vote.round.as_u32().ok_or(SignError::NoRound)?, step };
        let block = match &vote.value {
            NilOrVal::Nil => None,
            NilOrVal::Val(block) => Some(block.0),
        };
        let statement = Statement { place, block, pol_round: None, body: &body };
        let inner = &self.0;
        Ok(inner.guard.lock().sign(&statement, || inner.key.sign_vote(&inner.genesis, &body))?.into())
    }

    /// Signs a proposal. Blocks on the disk.
    ///
    /// # Errors
    /// Each variant of [`SignError`].
    pub fn proposal(&self, proposal: &Proposal) -> Result<Signature, SignError> {
        self.own(proposal.proposer)?;
        let body = proposal_body(proposal);
        let round = proposal.round.as_u32().ok_or(SignError::NoRound)?;
        let place = Place { height: proposal.height.0, round, step: Step::Proposal };
        let statement =
            Statement { place, block: Some(proposal.value.0), pol_round: proposal.pol_round.as_u32(), body: &body };
        let inner = &self.0;
        Ok(inner.guard.lock().sign(&statement, || inner.key.sign_proposal(&inner.genesis, &body))?.into())
    }

    /// Signs the opening part of a new block and, with the same wait for the disk, the proposal that the
    /// engine will ask for. Blocks on the disk.
    ///
    /// # Errors
    /// Each variant of [`SignError`].
    pub fn opening(&self, opening: Opening) -> Result<SignedOpening, SignError> {
        self.own(opening.proposer)?;
        let (height, round) = (opening.height.0, opening.round);
        let proposal = Proposal {
            height: opening.height,
            round: Round::new(round),
            value: opening.block,
            pol_round: Round::Nil,
            proposer: opening.proposer,
        };
        let bodies = [opening.body(), proposal_body(&proposal)];
        let statement = |step, body| Statement {
            place: Place { height, round, step },
            block: Some(opening.block.0),
            pol_round: None,
            body,
        };
        let (first, second) = (statement(Step::Opening, &bodies[0][..]), statement(Step::Proposal, &bodies[1][..]));
        let inner = &self.0;
        let [signature, _] = inner.guard.lock().sign_pair([&first, &second], |index| match index {
            0 => inner.key.sign_proposal_part(&inner.genesis, &bodies[0]),
            _ => inner.key.sign_proposal(&inner.genesis, &bodies[1]),
        })?;
        Ok(SignedOpening { opening, signature: signature.into() })
    }
}

/// The signer as the engine sees it.
///
/// A contradiction is answered with what was signed before: a crash between the guard's record and the
/// engine's log makes the engine decide anew, with other timing, what it had already signed. Saying the
/// old word again is never a double signature, and it keeps the round going. Everything else that
/// prevents signing is a safety failure: the engine stops and the process stays up for its operator.
pub(crate) struct EngineSigner {
    signer: ConsensusSigner,
    node: NodeRef,
}

impl EngineSigner {
    pub(crate) fn new(signer: ConsensusSigner, node: NodeRef) -> Self {
        Self { signer, node }
    }

    async fn run<T: Send + 'static>(
        &self,
        sign: impl FnOnce(&ConsensusSigner) -> Result<T, SignError> + Send + 'static,
    ) -> Result<T, SignError> {
        let signer = self.signer.clone();
        tokio::task::spawn_blocking(move || sign(&signer)).await.map_err(|_| SignError::Ended)?
    }

    /// Reports and never returns: an error would end the engine's actor, the supervisor would call that
    /// restartable, and the restarted node would run into the same refusal.
    async fn halt<T>(&self, error: &SignError) -> T {
        tracing::error!(%error, "cannot sign; halting");
        // If the supervisor is gone, nothing signs any more either.
        let _ = self.node.cast(NodeMsg::SafetyFailure(format!("cannot sign: {error}")));
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
            Err(SignError::Guard(GuardError::Conflict { recorded })) => {
                tracing::warn!(asked = ?vote, ?recorded, "repeating the earlier vote of this round instead of contradicting it");
                let earlier = Vote { value: value_of(&recorded), ..vote };
                Ok(SignedMessage::new(earlier, recorded.signature.into()))
            }
            Err(error) => self.halt(&error).await,
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
            Err(error) => self.halt(&error).await,
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

#[derive(Clone, Copy)]
enum Purpose {
    Vote,
    Proposal,
    Opening,
}

impl CachingVerifier {
    /// A verifier for the chain with this genesis hash.
    #[must_use]
    pub fn new(genesis: [u8; 32]) -> Self {
        Self { genesis, verified: Arc::default() }
    }

    async fn check(&self, purpose: Purpose, body: Vec<u8>, signature: &Signature, key: &PublicKey) -> bool {
        let tag = match purpose {
            Purpose::Vote => [1u8],
            Purpose::Proposal => [2],
            Purpose::Opening => [3],
        };
        let name =
            x0_crypto::blake2b_256(&[&tag[..], key.inner().as_bytes(), signature.inner().as_bytes(), &body].concat());
        if self.verified.lock().contains(&name) {
            return true;
        }
        let (genesis, signature, key) = (self.genesis, signature.clone(), key.clone());
        let check = move || {
            let (key, signature) = (key.inner(), signature.inner());
            match purpose {
                Purpose::Vote => key.verify_vote(&genesis, &body, signature),
                Purpose::Proposal => key.verify_proposal(&genesis, &body, signature),
                Purpose::Opening => key.verify_proposal_part(&genesis, &body, signature),
            }
            .is_ok()
        };
        // A task that ended without an answer has verified nothing.
        let valid = tokio::task::spawn_blocking(check).await.unwrap_or(false);
        if valid {
            self.verified.lock().insert(name);
        }
        valid
    }

    /// Whether a validator of this set signed the vote.
    pub async fn vote(&self, set: &ValidatorSet, vote: &Vote, signature: &Signature) -> bool {
        match (set.key_of(&vote.voter), vote_bytes(vote)) {
            (Some(key), Some(body)) => self.check(Purpose::Vote, body.to_vec(), signature, key).await,
            _ => false,
        }
    }

    /// Whether the proposer of its round signed the proposal.
    pub async fn proposal(&self, set: &ValidatorSet, proposal: &Proposal, signature: &Signature) -> bool {
        if !proposal.round.is_defined() {
            return false;
        }
        let expected = proposer(set, proposal.height, proposal.round);
        proposal.proposer == *expected.address()
            && self.check(Purpose::Proposal, proposal_body(proposal), signature, expected.public_key()).await
    }

    /// Whether the proposer of its round signed the opening part.
    pub async fn opening(&self, set: &ValidatorSet, signed: &SignedOpening) -> bool {
        let opening = &signed.opening;
        let expected = proposer(set, opening.height, Round::new(opening.round));
        opening.proposer == *expected.address()
            && self.check(Purpose::Opening, opening.body(), &signed.signature, expected.public_key()).await
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
        let valid = match vote_bytes(vote) {
            Some(body) => self.check(Purpose::Vote, body.to_vec(), signature, key).await,
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
        let valid =
            proposal.round.is_defined() && self.check(Purpose::Proposal, proposal_body(proposal), signature, key).await;
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
    use x0_crypto::Seed;

    const GENESIS: [u8; 32] = [1; 32];

    fn setup() -> (tempfile::TempDir, ConsensusSigner, ValidatorSet) {
        let directory = tempfile::tempdir().unwrap();
        let key = SigningKey::from_seed(&Seed::from_bytes([5; 32])).unwrap();
        let set = ValidatorSet::new(&[CertificateValidator { public: key.public().clone(), power: 1 }]).unwrap();
        let signer = ConsensusSigner::open(directory.path(), key, GENESIS).unwrap();
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
        assert!(matches!(signer.vote(&stranger), Err(SignError::OtherSigner { .. })));
        assert!(matches!(signer.vote(&Vote { round: Round::Nil, ..vote }), Err(SignError::NoRound)));
    }

    #[tokio::test]
    async fn contradictions_are_answered_with_the_earlier_word() {
        let (_directory, signer, set) = setup();
        let (node, _join) = malachite_app::spawn::spawn_node_actor(crate::engine::test_metrics()).await.unwrap();
        let engine = EngineSigner::new(signer.clone(), node.clone());
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
        node.stop(None);
    }
}
