//! Keys and signatures of a run: stand-ins that cost a hash, or real ML-DSA-65.
//!
//! Both stand behind the engine's own `Verifier`, so that certificates are checked by the engine's code. A
//! stand-in signature is a hash of key, purpose and body. Nobody in a run makes one but [`Keys::sign`], so
//! nobody in a run can forge one.

use std::{
    future::Future,
    sync::OnceLock,
    task::{Context, Poll, Waker},
};

use malachite_core_types::{NilOrVal, ValidatorProof, VoteExtensionScope};
use malachite_signing::{Error as SigningError, VerificationResult, Verifier};
use x0_consensus::{
    context::{Address, ChainContext, Proposal, PublicKey, Signature, Vote, vote_kind},
    parts::Opening,
};
use x0_crypto::{
    CryptoError, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Seed, SigningKey, blake2b_256,
    statement::{self, Statement, Step},
};

/// Genesis hash of every simulated chain.
pub const GENESIS: [u8; 32] = [0x51; 32];
/// Validators that a run can have, twins not counted.
pub const IDENTITIES_MAX: usize = x0_limits::VALIDATORS_MAX as usize;

/// The statement of a vote; nothing for a vote without a round, which nobody may sign.
pub(crate) fn of_vote(vote: &Vote) -> Option<Statement> {
    let block = match &vote.value {
        NilOrVal::Nil => None,
        NilOrVal::Val(block) => Some(block.0),
    };
    let (height, round) = (vote.height.0, vote.round.as_u32()?);
    Some(statement::Vote { kind: vote_kind(vote.kind), height, round, block, voter: vote.voter.0 }.into())
}

/// The statement of a proposal.
pub(crate) fn of_proposal(proposal: &Proposal) -> Option<Statement> {
    Some(
        statement::Proposal {
            height: proposal.height.0,
            round: proposal.round.as_u32()?,
            block: proposal.value.0,
            pol_round: proposal.pol_round.as_u32(),
            proposer: proposal.proposer.0,
        }
        .into(),
    )
}

/// The statement of an opening.
pub(crate) fn of_opening(opening: &Opening) -> Statement {
    statement::Opening {
        height: opening.height.0,
        round: opening.round,
        proposer: opening.proposer.0,
        block: opening.block.0,
        bytes: opening.bytes,
        digest: opening.digest,
    }
    .into()
}

/// The keys of a run, by validator.
pub(crate) struct Keys {
    publics: Vec<x0_crypto::PublicKey>,
    addresses: Vec<Address>,
    /// Empty for stand-ins.
    secrets: Vec<SigningKey>,
}

fn stand_ins() -> &'static [x0_crypto::PublicKey] {
    static KEYS: OnceLock<Vec<x0_crypto::PublicKey>> = OnceLock::new();
    KEYS.get_or_init(|| {
        (0..IDENTITIES_MAX)
            .map(|index| {
                let name = blake2b_256(format!("x0/simulation/{index}").as_bytes());
                let mut bytes = Box::new([0u8; PUBLIC_KEY_BYTES]);
                bytes.chunks_mut(32).for_each(|chunk| chunk.copy_from_slice(&name[..chunk.len()]));
                x0_crypto::PublicKey::from(bytes)
            })
            .collect()
    })
}

fn tag(public: &x0_crypto::PublicKey, step: Step, body: &[u8]) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(33 + body.len());
    bytes.extend_from_slice(&public.as_bytes()[..32]);
    bytes.push(step.byte());
    bytes.extend_from_slice(body);
    blake2b_256(&bytes)
}

impl Keys {
    /// Keys for this many validators.
    pub(crate) fn new(count: usize, real: bool) -> Result<Self, CryptoError> {
        let mut secrets = Vec::new();
        let publics: Vec<_> = if real {
            for index in 0..count {
                let seed = Seed::from_bytes(blake2b_256(format!("x0/simulation/{index}").as_bytes()));
                secrets.push(SigningKey::from_seed(&seed)?);
            }
            secrets.iter().map(|key| key.public().clone()).collect()
        } else {
            stand_ins().iter().take(count).cloned().collect()
        };
        let addresses = publics.iter().map(|public| Address(public.fingerprint())).collect();
        Ok(Self { publics, addresses, secrets })
    }

    pub(crate) fn address(&self, identity: usize) -> Address {
        self.addresses[identity]
    }

    pub(crate) fn public(&self, identity: usize) -> &x0_crypto::PublicKey {
        &self.publics[identity]
    }

    /// The validator with this address.
    pub(crate) fn identity(&self, address: &Address) -> Option<usize> {
        self.addresses.iter().position(|known| known == address)
    }

    /// Signs with a validator's key, whoever asks.
    pub(crate) fn sign(&self, identity: usize, statement: &Statement) -> Result<Signature, CryptoError> {
        let (step, body) = (statement.place().step, statement.body());
        let signature = match self.secrets.get(identity) {
            Some(key) => match step {
                Step::Opening => key.sign_proposal_part(&GENESIS, &body)?,
                Step::Proposal => key.sign_proposal(&GENESIS, &body)?,
                Step::Prevote | Step::Precommit => key.sign_vote(&GENESIS, &body)?,
            },
            None => {
                let mut bytes = Box::new([0u8; SIGNATURE_BYTES]);
                bytes[..32].copy_from_slice(&tag(&self.publics[identity], step, &body));
                x0_crypto::Signature::from(bytes)
            }
        };
        Ok(signature.into())
    }

    /// Whether this key signed the statement.
    pub(crate) fn verify(&self, public: &x0_crypto::PublicKey, statement: &Statement, signature: &Signature) -> bool {
        let (step, body) = (statement.place().step, statement.body());
        if self.secrets.is_empty() {
            let bytes = signature.inner().as_bytes();
            return bytes[..32] == tag(public, step, &body) && bytes[32..].iter().all(|byte| *byte == 0);
        }
        let signature = signature.inner();
        match step {
            Step::Opening => public.verify_proposal_part(&GENESIS, &body, signature),
            Step::Proposal => public.verify_proposal(&GENESIS, &body, signature),
            Step::Prevote | Step::Precommit => public.verify_vote(&GENESIS, &body, signature),
        }
        .is_ok()
    }
}

/// The engine's view of the keys.
pub(crate) struct RunVerifier<'a>(pub(crate) &'a Keys);

#[async_trait::async_trait]
impl Verifier<ChainContext> for RunVerifier<'_> {
    async fn verify_signed_vote(
        &self,
        vote: &Vote,
        signature: &Signature,
        key: &PublicKey,
    ) -> Result<VerificationResult, SigningError> {
        let valid = of_vote(vote).is_some_and(|statement| self.0.verify(key.inner(), &statement, signature));
        Ok(VerificationResult::from_bool(valid))
    }

    async fn verify_signed_proposal(
        &self,
        proposal: &Proposal,
        signature: &Signature,
        key: &PublicKey,
    ) -> Result<VerificationResult, SigningError> {
        let valid = of_proposal(proposal).is_some_and(|statement| self.0.verify(key.inner(), &statement, signature));
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

/// The result of a future that has nothing to wait for; nothing for one that waits all the same.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
