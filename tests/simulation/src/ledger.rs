//! The simulated chain: what a block says, when it is valid, and which validators it leads to.
//!
//! A block is a header and a body. Its id is the hash of the header, which holds the body's hash, as on the real
//! chain. In place of transactions a block applies entries of the run's agenda of changes to the validator
//! set, in order. As on the real chain, the set of a height follows from the blocks up to two heights before.

use crate::{plan::Change, scheme::Keys};
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use x0_consensus::{
    CertificateValidator,
    context::{BlockId, ValidatorSet, ValidatorSetError},
};
use x0_crypto::blake2b_256;
use x0_limits::{TIMESTAMP_STEP_MS_MIN, VALIDATOR_SET_DELAY_BLOCKS};

/// Entries of the agenda that one block may apply.
const CHANGES_PER_BLOCK_MAX: u8 = 1;
/// Milliseconds since the Unix epoch at which every run begins.
pub(crate) const EPOCH_MS: u64 = 1_700_000_000_000;

/// What a block's id is the hash of.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Header {
    pub(crate) height: u64,
    pub(crate) parent: [u8; 32],
    /// The address of the validator that built it.
    pub(crate) proposer: [u8; 32],
    pub(crate) timestamp_ms: u64,
    /// Entries of the agenda that it applies.
    pub(crate) changes: u8,
    /// Breaks a rule that only execution finds.
    pub(crate) broken: bool,
    pub(crate) body: [u8; 32],
}

impl Header {
    pub(crate) fn id(&self) -> BlockId {
        BlockId(blake2b_256(&borsh::to_vec(self).unwrap_or_default()))
    }
}

/// A block in one piece.
pub(crate) fn encode(header: &Header, body: &[u8]) -> Bytes {
    let mut bytes = borsh::to_vec(header).unwrap_or_default();
    bytes.extend_from_slice(body);
    bytes.into()
}

/// Reads a block's header and checks that the body belongs to it.
pub(crate) fn inspect(encoded: &[u8]) -> Option<Header> {
    let mut rest = encoded;
    let header = Header::deserialize(&mut rest).ok()?;
    (blake2b_256(rest) == header.body).then_some(header)
}

/// What executing a block says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Valid,
    Invalid,
    /// It does not follow the head.
    Stale,
}

/// A decided block with its certificate, as it lies on disk.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    pub(crate) id: BlockId,
    pub(crate) encoded: Bytes,
    pub(crate) certificate: Bytes,
    pub(crate) timestamp_ms: u64,
    /// The validator that built it.
    pub(crate) proposer: [u8; 32],
    /// Entries of the agenda that are applied after this block.
    pub(crate) applied: usize,
}

/// The committed blocks of one node. Height 0 is the genesis.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain(Vec<Decided>);

impl Chain {
    pub(crate) fn height(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }

    pub(crate) fn at(&self, height: u64) -> Option<&Decided> {
        self.0.get(usize::try_from(height.checked_sub(1)?).ok()?)
    }

    pub(crate) fn tip(&self) -> BlockId {
        self.0.last().map_or(BlockId(crate::scheme::GENESIS), |decided| decided.id)
    }

    pub(crate) fn timestamp_ms(&self) -> u64 {
        self.0.last().map_or(EPOCH_MS, |decided| decided.timestamp_ms)
    }

    /// Entries of the agenda that are applied after the block of this height.
    fn applied(&self, height: u64) -> usize {
        self.at(height).map_or(0, |decided| decided.applied)
    }

    /// Entries that are applied at the head.
    pub(crate) fn progress(&self) -> usize {
        self.applied(self.height())
    }

    /// Entries that the set of a height follows from. It is known two heights ahead.
    pub(crate) fn set_index(&self, height: u64) -> usize {
        self.applied(height.saturating_sub(u64::from(VALIDATOR_SET_DELAY_BLOCKS)))
    }

    pub(crate) fn judge(&self, header: &Header, agenda: &[Change]) -> Verdict {
        if header.height != self.height() + 1 || header.parent != self.tip().0 {
            return Verdict::Stale;
        }
        let in_order = header.timestamp_ms >= self.timestamp_ms() + TIMESTAMP_STEP_MS_MIN;
        let applicable =
            header.changes <= CHANGES_PER_BLOCK_MAX && self.progress() + usize::from(header.changes) <= agenda.len();
        if header.broken || !in_order || !applicable { Verdict::Invalid } else { Verdict::Valid }
    }

    /// Appends the block that follows the head.
    pub(crate) fn push(&mut self, header: &Header, encoded: Bytes, certificate: Bytes) {
        let applied = self.progress() + usize::from(header.changes);
        self.0.push(Decided {
            id: header.id(),
            encoded,
            certificate,
            timestamp_ms: header.timestamp_ms,
            proposer: header.proposer,
            applied,
        });
    }

    /// Loses the last block: what must never happen, for runs that break this rule on purpose.
    pub(crate) fn forget_last(&mut self) {
        self.0.pop();
    }

    /// Who proposed the last blocks, oldest first.
    pub(crate) fn authors(&self, last: usize) -> Vec<[u8; 32]> {
        self.0[self.0.len().saturating_sub(last)..].iter().map(|decided| decided.proposer).collect()
    }

    /// Ids of all blocks in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = BlockId> {
        self.0.iter().map(|decided| decided.id)
    }
}

/// Powers after the first entries of the agenda; a validator without power is not in the set.
pub(crate) fn powers(genesis: &[u64], agenda: &[Change], applied: usize) -> Vec<u64> {
    let mut powers = genesis.to_vec();
    for change in agenda.iter().take(applied) {
        powers[change.validator] = change.power;
    }
    powers
}

/// The set with these powers.
pub(crate) fn set_of(keys: &Keys, powers: &[u64]) -> Result<ValidatorSet, ValidatorSetError> {
    let list: Vec<_> = powers
        .iter()
        .enumerate()
        .filter(|(_, power)| **power > 0)
        .map(|(identity, power)| CertificateValidator { public: keys.public(identity).clone(), power: *power })
        .collect();
    ValidatorSet::new(&list)
}
