//! What a validator says: votes, proposals and openings, the bytes that it signs for each, and when two of them
//! contradict one another.
//!
//! Consensus, the sign guard, the pallet that punishes contradictions and light clients read and write these
//! bytes with this one module. It builds without an operating system.
//!
//! ```text
//!   Opening   height 8 | round 4 | proposer 32 | block 32 | bytes 4 | digest 32             x0/proposal-part/v1
//!   Proposal  height 8 | round 4 | block 32 | 0 or 1 | earlier round 4 | proposer 32        x0/proposal/v1
//!   Vote      1 or 2 | height 8 | round 4 | 0 or 1 | block 32 | voter 32                    x0/vote/v1
//! ```
//! Numbers are big-endian. Every field has a fixed width, so that no two statements share their bytes; the domain
//! and the genesis hash stand before them in what is signed.
//!
//! # Correctness
//! * [`Statement::decode`] reads exactly what [`Statement::body`] writes: a statement has one encoding.
//! * A validator signs at most one statement for each [`Place`] (its guard sees to that). Two different
//!   statements of one signer for one place are therefore proof that it contradicted itself: [`contradict`].

use crate::{CryptoError, PublicKey, Signature};
use alloc::vec::Vec;

/// Bytes of a vote's body.
pub const VOTE_BODY_BYTES: usize = 78;
/// Bytes of a proposal's body.
pub const PROPOSAL_BODY_BYTES: usize = 81;
/// Bytes of an opening's body: the longest of the three.
pub const OPENING_BODY_BYTES: usize = 112;

/// What a vote says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VoteKind {
    /// "This block is valid, and I would commit it."
    Prevote,
    /// "I saw a quorum of prevotes, and I commit it."
    Precommit,
}

/// What is signed, in the order in which a validator signs within a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The opening part of a proposed block.
    Opening,
    /// A proposal.
    Proposal,
    /// A prevote.
    Prevote,
    /// A precommit.
    Precommit,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 4] = [Self::Opening, Self::Proposal, Self::Prevote, Self::Precommit];

    /// The number with which records and messages name the step: 0 to 3.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Opening => 0,
            Self::Proposal => 1,
            Self::Prevote => 2,
            Self::Precommit => 3,
        }
    }

    /// The step with this number.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.byte() == byte)
    }
}

/// Where in the protocol a statement stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Height.
    pub height: u64,
    /// Round.
    pub round: u32,
    /// Step.
    pub step: Step,
}

impl core::fmt::Display for Place {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "height {} round {} {:?}", self.height, self.round, self.step)
    }
}

/// What a proposer says of a block before it sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Opening {
    /// Height.
    pub height: u64,
    /// Round.
    pub round: u32,
    /// The proposer: BLAKE2b-256 of its consensus key.
    pub proposer: [u8; 32],
    /// BLAKE2b-256 of the block's header.
    pub block: [u8; 32],
    /// Length of the encoded block, bytes.
    pub bytes: u32,
    /// BLAKE2b-256 of the encoded block.
    pub digest: [u8; 32],
}

/// "In this round, this block."
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// Height.
    pub height: u64,
    /// Round.
    pub round: u32,
    /// BLAKE2b-256 of the block's header.
    pub block: [u8; 32],
    /// The round in which the block already had a quorum of prevotes; `None` for a new block.
    pub pol_round: Option<u32>,
    /// The proposer: BLAKE2b-256 of its consensus key.
    pub proposer: [u8; 32],
}

/// A prevote or a precommit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vote {
    /// Which of the two.
    pub kind: VoteKind,
    /// Height.
    pub height: u64,
    /// Round.
    pub round: u32,
    /// BLAKE2b-256 of the block's header; `None` is nil.
    pub block: Option<[u8; 32]>,
    /// The voter: BLAKE2b-256 of its consensus key.
    pub voter: [u8; 32],
}

/// The bytes that a validator signs for a vote (domain `x0/vote/v1`, with the genesis hash).
#[must_use]
pub fn vote_body(
    kind: VoteKind,
    height: u64,
    round: u32,
    block: Option<&[u8; 32]>,
    voter: &[u8; 32],
) -> [u8; VOTE_BODY_BYTES] {
    let mut body = [0; VOTE_BODY_BYTES];
    body[0] = match kind {
        VoteKind::Prevote => 1,
        VoteKind::Precommit => 2,
    };
    body[1..9].copy_from_slice(&height.to_be_bytes());
    body[9..13].copy_from_slice(&round.to_be_bytes());
    if let Some(hash) = block {
        body[13] = 1;
        body[14..46].copy_from_slice(hash);
    }
    body[46..78].copy_from_slice(voter);
    body
}

impl Opening {
    /// The bytes that the proposer signs (domain `x0/proposal-part/v1`, with the genesis hash).
    #[must_use]
    pub fn body(&self) -> [u8; OPENING_BODY_BYTES] {
        let mut body = [0; OPENING_BODY_BYTES];
        body[..8].copy_from_slice(&self.height.to_be_bytes());
        body[8..12].copy_from_slice(&self.round.to_be_bytes());
        body[12..44].copy_from_slice(&self.proposer);
        body[44..76].copy_from_slice(&self.block);
        body[76..80].copy_from_slice(&self.bytes.to_be_bytes());
        body[80..112].copy_from_slice(&self.digest);
        body
    }
}

impl Proposal {
    /// The bytes that the proposer signs (domain `x0/proposal/v1`, with the genesis hash).
    #[must_use]
    pub fn body(&self) -> [u8; PROPOSAL_BODY_BYTES] {
        let mut body = [0; PROPOSAL_BODY_BYTES];
        body[..8].copy_from_slice(&self.height.to_be_bytes());
        body[8..12].copy_from_slice(&self.round.to_be_bytes());
        body[12..44].copy_from_slice(&self.block);
        if let Some(round) = self.pol_round {
            body[44] = 1;
            body[45..49].copy_from_slice(&round.to_be_bytes());
        }
        body[49..81].copy_from_slice(&self.proposer);
        body
    }
}

impl Vote {
    /// The bytes that the voter signs (domain `x0/vote/v1`, with the genesis hash).
    #[must_use]
    pub fn body(&self) -> [u8; VOTE_BODY_BYTES] {
        vote_body(self.kind, self.height, self.round, self.block.as_ref(), &self.voter)
    }
}

/// Anything that a consensus key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Statement {
    /// The opening part of a proposed block.
    Opening(Opening),
    /// A proposal.
    Proposal(Proposal),
    /// A vote.
    Vote(Vote),
}

impl From<Opening> for Statement {
    fn from(opening: Opening) -> Self {
        Self::Opening(opening)
    }
}

impl From<Proposal> for Statement {
    fn from(proposal: Proposal) -> Self {
        Self::Proposal(proposal)
    }
}

impl From<Vote> for Statement {
    fn from(vote: Vote) -> Self {
        Self::Vote(vote)
    }
}

/// Why bytes are no statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// The statement of this step has another length.
    #[error("the body of a statement of step {step:?} has {expected} bytes, found {found}")]
    Length {
        /// The step.
        step: Step,
        /// Bytes that it has.
        expected: usize,
        /// Bytes that were given.
        found: usize,
    },
    /// A field holds what nobody writes there.
    #[error("the body of a statement of step {step:?} holds an impossible {field}")]
    Field {
        /// The step.
        step: Step,
        /// The field.
        field: &'static str,
    },
}

/// Reads fields of fixed width from the front. The caller has checked the whole length.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut field = [0; N];
        if let Some((head, rest)) = self.0.split_first_chunk::<N>() {
            field = *head;
            self.0 = rest;
        }
        field
    }
    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take())
    }
    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }
    /// A flag and a field that is zero without it.
    fn optional<const N: usize>(&mut self) -> Option<Option<[u8; N]>> {
        match (self.take::<1>(), self.take::<N>()) {
            ([0], field) if field == [0; N] => Some(None),
            ([1], field) => Some(Some(field)),
            _ => None,
        }
    }
}

impl Statement {
    /// Where it stands.
    #[must_use]
    pub const fn place(&self) -> Place {
        match self {
            Self::Opening(Opening { height, round, .. }) => {
                Place { height: *height, round: *round, step: Step::Opening }
            }
            Self::Proposal(Proposal { height, round, .. }) => {
                Place { height: *height, round: *round, step: Step::Proposal }
            }
            Self::Vote(Vote { height, round, kind: VoteKind::Prevote, .. }) => {
                Place { height: *height, round: *round, step: Step::Prevote }
            }
            Self::Vote(Vote { height, round, kind: VoteKind::Precommit, .. }) => {
                Place { height: *height, round: *round, step: Step::Precommit }
            }
        }
    }

    /// Who signs it: BLAKE2b-256 of a consensus key.
    #[must_use]
    pub const fn signer(&self) -> &[u8; 32] {
        match self {
            Self::Opening(opening) => &opening.proposer,
            Self::Proposal(proposal) => &proposal.proposer,
            Self::Vote(vote) => &vote.voter,
        }
    }

    /// The block that it names; `None` is nil.
    #[must_use]
    pub const fn block(&self) -> Option<[u8; 32]> {
        match self {
            Self::Opening(opening) => Some(opening.block),
            Self::Proposal(proposal) => Some(proposal.block),
            Self::Vote(vote) => vote.block,
        }
    }

    /// The round of an earlier quorum of prevotes, for a proposal that has one.
    #[must_use]
    pub const fn pol_round(&self) -> Option<u32> {
        match self {
            Self::Proposal(proposal) => proposal.pol_round,
            Self::Opening(_) | Self::Vote(_) => None,
        }
    }

    /// The bytes that are signed, without domain and genesis hash.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        match self {
            Self::Opening(opening) => opening.body().to_vec(),
            Self::Proposal(proposal) => proposal.body().to_vec(),
            Self::Vote(vote) => vote.body().to_vec(),
        }
    }

    /// Reads what [`Statement::body`] wrote for this step.
    ///
    /// # Errors
    /// Each variant of [`StatementError`].
    pub fn decode(step: Step, body: &[u8]) -> Result<Self, StatementError> {
        let expected = match step {
            Step::Opening => OPENING_BODY_BYTES,
            Step::Proposal => PROPOSAL_BODY_BYTES,
            Step::Prevote | Step::Precommit => VOTE_BODY_BYTES,
        };
        if body.len() != expected {
            return Err(StatementError::Length { step, expected, found: body.len() });
        }
        let mut fields = Fields(body);
        let impossible = |field| StatementError::Field { step, field };
        Ok(match step {
            Step::Opening => Self::Opening(Opening {
                height: fields.u64(),
                round: fields.u32(),
                proposer: fields.take(),
                block: fields.take(),
                bytes: fields.u32(),
                digest: fields.take(),
            }),
            Step::Proposal => Self::Proposal(Proposal {
                height: fields.u64(),
                round: fields.u32(),
                block: fields.take(),
                pol_round: fields.optional().ok_or_else(|| impossible("earlier round"))?.map(u32::from_be_bytes),
                proposer: fields.take(),
            }),
            Step::Prevote | Step::Precommit => {
                let kind = match (fields.take::<1>(), step) {
                    ([1], Step::Prevote) => VoteKind::Prevote,
                    ([2], Step::Precommit) => VoteKind::Precommit,
                    _ => return Err(impossible("kind")),
                };
                Self::Vote(Vote {
                    kind,
                    height: fields.u64(),
                    round: fields.u32(),
                    block: fields.optional().ok_or_else(|| impossible("block"))?,
                    voter: fields.take(),
                })
            }
        })
    }

    /// Whether this key is the one that the statement names, and signed it on this chain.
    ///
    /// # Errors
    /// [`CryptoError::InvalidSignature`].
    pub fn verify(&self, key: &PublicKey, genesis: &[u8; 32], signature: &Signature) -> Result<(), CryptoError> {
        if key.fingerprint() != *self.signer() {
            return Err(CryptoError::InvalidSignature);
        }
        match self {
            Self::Opening(opening) => key.verify_proposal_part(genesis, &opening.body(), signature),
            Self::Proposal(proposal) => key.verify_proposal(genesis, &proposal.body(), signature),
            Self::Vote(vote) => key.verify_vote(genesis, &vote.body(), signature),
        }
    }

    /// Signs the statement. Nodes go through the sign guard, which calls this.
    ///
    /// # Errors
    /// [`CryptoError::Signing`] when the library fails.
    #[cfg(feature = "std")]
    pub fn sign(&self, key: &crate::SigningKey, genesis: &[u8; 32]) -> Result<Signature, CryptoError> {
        match self {
            Self::Opening(opening) => key.sign_proposal_part(genesis, &opening.body()),
            Self::Proposal(proposal) => key.sign_proposal(genesis, &proposal.body()),
            Self::Vote(vote) => key.sign_vote(genesis, &vote.body()),
        }
    }
}

/// Whether one validator said two different things at one place, which a validator with a working guard never does.
/// The signatures are for the caller to check.
#[must_use]
pub fn contradict(first: &Statement, second: &Statement) -> bool {
    first.signer() == second.signer() && first.place() == second.place() && first != second
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use crate::{Seed, SigningKey};
    use proptest::prelude::*;

    fn statement() -> impl Strategy<Value = Statement> {
        let ids = (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 32]>());
        (0u8..3, any::<u64>(), any::<u32>(), any::<Option<u32>>(), any::<bool>(), ids).prop_map(
            |(which, height, round, other, flag, (signer, block, digest))| match which {
                0 => Opening { height, round, proposer: signer, block, bytes: other.unwrap_or(7), digest }.into(),
                1 => Proposal { height, round, block, pol_round: other, proposer: signer }.into(),
                _ => {
                    let kind = if flag { VoteKind::Prevote } else { VoteKind::Precommit };
                    Vote { kind, height, round, block: other.map(|_| block), voter: signer }.into()
                }
            },
        )
    }

    proptest! {
        /// A statement has one encoding, and only that encoding reads as it.
        #[test]
        fn bodies_read_back_and_changed_bodies_read_as_something_else(
            statement in statement(), at in any::<usize>(), flip in 1u8.., step in 0u8..4,
        ) {
            let (place, body) = (statement.place(), statement.body());
            prop_assert_eq!(Statement::decode(place.step, &body), Ok(statement));
            let mut changed = body.clone();
            changed[at % body.len()] ^= flip;
            if let Ok(other) = Statement::decode(place.step, &changed) {
                prop_assert_ne!(other, statement);
                prop_assert_eq!(other.body(), changed);
            }
            prop_assert!(Statement::decode(place.step, &body[1..]).is_err());
            let step = Step::from_byte(step).unwrap();
            if step != place.step {
                prop_assert!(Statement::decode(step, &body).is_err());
            }
        }
    }

    #[test]
    fn statements_are_signed_for_their_purpose_by_the_signer_that_they_name() {
        let key = SigningKey::from_seed(&Seed::from_bytes([3; 32])).unwrap();
        let (genesis, signer) = ([7; 32], key.public().fingerprint());
        let (block, digest) = ([1; 32], [2; 32]);
        let all: [Statement; 4] = [
            Opening { height: 5, round: 1, proposer: signer, block, bytes: 9, digest }.into(),
            Proposal { height: 5, round: 1, block, pol_round: Some(0), proposer: signer }.into(),
            Vote { kind: VoteKind::Prevote, height: 5, round: 1, block: None, voter: signer }.into(),
            Vote { kind: VoteKind::Precommit, height: 5, round: 1, block: Some(block), voter: signer }.into(),
        ];
        for (index, statement) in all.iter().enumerate() {
            let signature = statement.sign(&key, &genesis).unwrap();
            for (other, checked) in all.iter().enumerate() {
                assert_eq!(checked.verify(key.public(), &genesis, &signature).is_ok(), index == other);
                assert!(!contradict(statement, checked), "each stands at its own place");
            }
            assert!(statement.verify(key.public(), &[8; 32], &signature).is_err(), "another chain");
        }
        let stranger: Statement =
            Vote { kind: VoteKind::Prevote, height: 5, round: 1, block: None, voter: [9; 32] }.into();
        let signature = stranger.sign(&key, &genesis).unwrap();
        assert!(stranger.verify(key.public(), &genesis, &signature).is_err(), "the key is not the one that it names");
    }

    #[test]
    fn a_contradiction_has_one_signer_one_place_and_two_contents() {
        let vote = Vote { kind: VoteKind::Prevote, height: 5, round: 1, block: Some([1; 32]), voter: [4; 32] };
        let same = |other: Vote| contradict(&vote.into(), &other.into());
        assert!(same(Vote { block: None, ..vote }));
        assert!(same(Vote { block: Some([2; 32]), ..vote }));
        assert!(!same(vote));
        assert!(!same(Vote { voter: [5; 32], block: None, ..vote }));
        assert!(!same(Vote { round: 2, block: None, ..vote }));
        assert!(!same(Vote { height: 6, block: None, ..vote }));
        assert!(!same(Vote { kind: VoteKind::Precommit, block: None, ..vote }));
    }
}
