//! Remembers what each validator said, and notices when one says two things at one place.
//!
//! The engine looks for contradictions too, but only at its own height, and hands them over only when a height ends.
//! This looks at every signed statement that comes in, up to [`x0_limits::WITNESS_HEIGHTS_KEPT`] heights late.
//!
//! # Correctness
//! Only statements whose signatures were checked come in here, so that a contradiction is a proof, and nobody can be
//! blamed for what another one wrote. A validator with a working guard signs one statement for each place.
//!
//! # Limits
//! [`x0_limits::WITNESS_STATEMENTS_MAX`] statements of one validator at one height, of which correct ones make four in each round.

use crate::context::Signature;
use std::collections::BTreeMap;
use x0_limits::{WITNESS_HEIGHTS_KEPT, WITNESS_STATEMENTS_MAX};
use x0_sign_guard::{Place, Statement, Step};

/// A statement and its checked signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What was said.
    pub statement: Statement,
    /// By the signer that the statement names.
    pub signature: Signature,
}

/// Two statements of one validator for one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// What was heard first.
    pub first: Said,
    /// What was heard later.
    pub second: Said,
}

/// What a statement is to the witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing is known of its signer at its place.
    New,
    /// The same is known.
    Same,
    /// Something else is known: if the signature is right, the signer contradicts itself.
    Contradicts,
}

type Voice = BTreeMap<(u32, Step), Said>;

/// What the validators said at the heights at hand.
#[derive(Debug, Default)]
pub struct Witness {
    heights: BTreeMap<u64, BTreeMap<[u8; 32], Voice>>,
}

impl Witness {
    /// Compares a statement, whose signature may not be checked yet, with what is known.
    #[must_use]
    pub fn compare(&self, statement: &Statement) -> Heard {
        match self.find(statement.place(), statement.signer()) {
            None => Heard::New,
            Some(known) if known.statement == *statement => Heard::Same,
            Some(_) => Heard::Contradicts,
        }
    }

    /// What a signer said at a place.
    pub(crate) fn find(&self, place: Place, signer: &[u8; 32]) -> Option<&Said> {
        self.heights.get(&place.height)?.get(signer)?.get(&(place.round, place.step))
    }

    /// What a signer said at a height.
    pub(crate) fn voice(&self, height: u64, signer: &[u8; 32]) -> impl Iterator<Item = &Said> {
        self.heights.get(&height).and_then(|voices| voices.get(signer)).into_iter().flat_map(BTreeMap::values)
    }

    /// Takes a statement whose signature was checked. Gives the contradiction with an earlier one, if there is any.
    pub fn hear(&mut self, said: Said) -> Option<Contradiction> {
        let place = said.statement.place();
        let voices = self.heights.entry(place.height).or_default();
        let voice = voices.entry(*said.statement.signer()).or_default();
        match voice.get(&(place.round, place.step)) {
            Some(known) if known.statement == said.statement => None,
            Some(known) => Some(Contradiction { first: known.clone(), second: said }),
            None => {
                if voice.len() < WITNESS_STATEMENTS_MAX {
                    voice.insert((place.round, place.step), said);
                }
                None
            }
        }
    }

    /// Forgets heights that are too old, `decided` being the last final one.
    pub fn prune(&mut self, decided: u64) {
        self.heights.retain(|height, _| *height > decided.saturating_sub(WITNESS_HEIGHTS_KEPT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use x0_crypto::{
        SIGNATURE_BYTES,
        statement::{Vote, VoteKind},
    };

    fn said(voter: u8, height: u64, round: u32, block: Option<u8>) -> Said {
        let block = block.map(|tag| [tag; 32]);
        let vote = Vote { kind: VoteKind::Prevote, height, round, block, voter: [voter; 32] };
        let signature = x0_crypto::Signature::from(&[voter; SIGNATURE_BYTES]).into();
        Said { statement: vote.into(), signature }
    }

    #[test]
    fn only_two_contents_at_one_place_by_one_validator_are_a_contradiction() {
        let mut witness = Witness::default();
        let first = said(1, 5, 0, Some(7));
        assert_eq!(witness.hear(first.clone()), None);
        for other in [said(1, 5, 0, Some(7)), said(2, 5, 0, None), said(1, 5, 1, None), said(1, 6, 0, None)] {
            assert_ne!(witness.compare(&other.statement), Heard::Contradicts);
            assert_eq!(witness.hear(other), None);
        }
        let second = said(1, 5, 0, None);
        assert_eq!(witness.compare(&second.statement), Heard::Contradicts);
        let proof = witness.hear(second.clone()).unwrap();
        assert_eq!((proof.first, proof.second), (first.clone(), second));
        assert_eq!(witness.compare(&first.statement), Heard::Same, "the first one stays");
        witness.prune(5 + WITNESS_HEIGHTS_KEPT - 1);
        assert_eq!(witness.compare(&first.statement), Heard::Same);
        witness.prune(5 + WITNESS_HEIGHTS_KEPT);
        assert_eq!(witness.compare(&first.statement), Heard::New);
    }

    #[test]
    fn a_talkative_validator_fills_its_own_share_only() {
        let mut witness = Witness::default();
        for round in 0..10 * u32::try_from(WITNESS_STATEMENTS_MAX).unwrap() {
            assert_eq!(witness.hear(said(1, 5, round, None)), None);
        }
        assert_eq!(witness.heights[&5][&[1; 32]].len(), WITNESS_STATEMENTS_MAX);
        witness.hear(said(2, 5, 0, None));
        assert!(witness.hear(said(2, 5, 0, Some(1))).is_some());
    }
}
