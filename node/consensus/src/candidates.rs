//! The undecided blocks that a node knows, and the ones that it was told of.
//!
//! Kept apart from the host's tasks because these rules decide what a node looks at, and what it proposes and
//! votes for after a restart: the simulator drives this very code.
//!
//! # Limits
//! [`x0_limits::PROPOSALS_PER_ROUND_MAX`] announced blocks of a round, for rounds up to
//! [`x0_limits::FUTURE_ROUNDS_MAX`] ahead.

use crate::context::{Address, BlockId, ChainContext, Height};
use malachite_core_consensus::ProposedValue;
use malachite_core_types::{Round, Validity};
use std::collections::BTreeMap;
use x0_limits::{FUTURE_ROUNDS_MAX, PROPOSALS_PER_ROUND_MAX};

/// A block that is known at a height and not decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The round that it was proposed in.
    pub round: u32,
    /// Who proposed it.
    pub proposer: Address,
    /// The block.
    pub block: BlockId,
    /// Whether it was found valid.
    pub valid: bool,
}

impl Known {
    /// The block as the engine takes it.
    #[must_use]
    pub fn value(&self, height: Height) -> ProposedValue<ChainContext> {
        ProposedValue {
            height,
            round: Round::new(self.round),
            valid_round: Round::Nil,
            proposer: self.proposer,
            value: self.block,
            validity: Validity::from_bool(self.valid),
        }
    }
}

/// Undecided blocks by height.
#[derive(Debug, Default)]
pub struct Candidates {
    known: BTreeMap<u64, Vec<Known>>,
    /// Blocks whose openings were taken, by height and round.
    announced: BTreeMap<(u64, u32), Vec<BlockId>>,
}

impl Candidates {
    /// Takes what the database holds of a height, in place of what was known.
    pub fn load(&mut self, height: u64, known: Vec<Known>) {
        self.known.insert(height, known);
    }

    /// Notes a verdict, so that a restarted round knows it.
    pub fn remember(&mut self, height: u64, known: Known) {
        let blocks = self.known.entry(height).or_default();
        if !blocks.iter().any(|other| other.round == known.round && other.block == known.block) {
            blocks.push(known);
        }
    }

    /// Whether a verdict on this block of this round is known.
    #[must_use]
    pub fn knows(&self, height: u64, round: u32, block: BlockId) -> bool {
        self.at(height).any(|known| known.round == round && known.block == block)
    }

    /// The blocks of a round, as the engine takes them.
    #[must_use]
    pub fn values(&self, height: Height, round: u32) -> Vec<ProposedValue<ChainContext>> {
        self.at(height.0).filter(|known| known.round == round).map(|known| known.value(height)).collect()
    }

    /// The block that `own` proposed in a round, before a crash or a repeated question.
    #[must_use]
    pub fn proposed(&self, height: u64, round: u32, own: Address) -> Option<BlockId> {
        self.at(height)
            .find(|known| known.round == round && known.proposer == own && known.valid)
            .map(|known| known.block)
    }

    /// Whether `own` proposed this block in this round.
    #[must_use]
    pub fn is_own(&self, height: u64, round: u32, block: BlockId, own: Address) -> bool {
        self.at(height).any(|known| known.round == round && known.block == block && known.proposer == own)
    }

    /// Whether to look at this block, `now` being the height and round of this node: its round is near, and its
    /// proposer has not announced too much.
    pub fn announce(&mut self, now: (u64, u32), height: u64, round: u32, block: BlockId) -> bool {
        let (at, own) = now;
        let first = if height == at { own } else { 0 };
        // Earlier rounds of the present height count too: a locked block is sent again under its first opening.
        if round > first.saturating_add(FUTURE_ROUNDS_MAX) {
            return false;
        }
        let blocks = self.announced.entry((height, round)).or_default();
        if blocks.contains(&block) {
            return true;
        }
        if blocks.len() >= PROPOSALS_PER_ROUND_MAX {
            return false;
        }
        blocks.push(block);
        true
    }

    /// Forgets heights up to this one, which are decided.
    pub fn prune(&mut self, decided: u64) {
        self.known.retain(|height, _| *height > decided);
        self.announced.retain(|(height, _), _| *height > decided);
    }

    fn at(&self, height: u64) -> impl Iterator<Item = &Known> {
        self.known.get(&height).into_iter().flatten()
    }
}
