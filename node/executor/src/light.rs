//! What light clients and restoring nodes ask for: headers with certificates, changes of the
//! validator set, checkpoints with proofs. Whoever asks trusts none of it and checks all of it.

use crate::{Executor, error::ExecutorError};
use x0_light::{SetChangeProof, VALIDATOR_SET_ENGINE, ValidatorSet, validator_set_keys};
use x0_limits::{SET_CHANGES_PAGE_BYTES, SET_CHANGES_PAGE_MAX, VALIDATOR_SET_DELAY_BLOCKS};
use x0_runtime::Header;
use x0_storage::Database;
use x0_types::BlockNumber;

/// A header and what makes it final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LightHeader {
    /// The SCALE header.
    pub header: Vec<u8>,
    /// The commit certificate; empty for the genesis block, which needs none.
    pub certificate: Vec<u8>,
}

/// A block that a person may name as trusted, with a proof of the sets that decide after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LightCheckpoint {
    /// The SCALE header.
    pub header: Vec<u8>,
    /// Trie nodes that prove the values under [`x0_light::validator_set_keys`] and
    /// [`x0_light::timestamp_key`] against the header's state root.
    pub proof: Vec<Vec<u8>>,
}

/// A page of changes of the validator set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetChanges {
    /// The changes, in the order of heights.
    pub proofs: Vec<SetChangeProof>,
    /// Whether there are more after the last one.
    pub more: bool,
}

/// Why this node cannot give what a light client asks for.
#[derive(Debug, thiserror::Error)]
pub enum LightDataError {
    /// The block does not exist yet.
    #[error("block {number} does not exist yet: the head is {head}")]
    AboveHead {
        /// The wanted block.
        number: BlockNumber,
        /// The head.
        head: BlockNumber,
    },
    /// The certificate is not kept any more.
    #[error("the certificate of block {number} is pruned: this node's history begins at block {history_start}")]
    Pruned {
        /// The wanted block.
        number: BlockNumber,
        /// The lowest block of this node's history.
        history_start: BlockNumber,
    },
    /// A header announces a set that is not stored: it was committed by a version that did not keep sets.
    #[error("the validator set that block {0} announced is not stored here")]
    SetNotStored(BlockNumber),
    /// The state cannot be read.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
}

impl Executor {
    /// A header with its certificate. Those of blocks that announced a validator set are always there.
    ///
    /// # Errors
    /// [`LightDataError::AboveHead`], [`LightDataError::Pruned`].
    pub fn light_header(&self, number: BlockNumber) -> Result<LightHeader, LightDataError> {
        light_header(&self.0.database, number)
    }

    /// The first page of changes of the validator set that were announced after block `after`.
    ///
    /// # Errors
    /// [`LightDataError::Pruned`] only for a database that was damaged by hand.
    pub fn light_set_changes(&self, after: BlockNumber) -> Result<SetChanges, LightDataError> {
        set_changes(&self.0.database, after, BlockNumber::MAX)
    }

    /// A block with the proof that [`x0_light::TrustedState::checkpoint`] takes.
    ///
    /// # Errors
    /// [`LightDataError::AboveHead`]; [`x0_storage::StorageError::StateUnavailable`] for a pruned state.
    pub fn light_checkpoint(&self, number: BlockNumber) -> Result<LightCheckpoint, LightDataError> {
        let database = &self.0.database;
        let above = || LightDataError::AboveHead { number, head: self.head().number };
        let hash = database.hash_of(number).ok_or_else(above)?;
        let header = database.header(number).ok_or_else(above)?;
        let mut keys = validator_set_keys().to_vec();
        keys.push(x0_light::timestamp_key());
        Ok(LightCheckpoint { header, proof: self.read_proof(hash, &keys)? })
    }
}

/// As [`Executor::light_header`], over the database alone.
///
/// # Errors
/// As there.
pub fn light_header(database: &Database, number: BlockNumber) -> Result<LightHeader, LightDataError> {
    let head = database.head().map_or(0, |head| head.number);
    if number > head {
        return Err(LightDataError::AboveHead { number, head });
    }
    let pruned = || LightDataError::Pruned { number, history_start: database.history_start() };
    let header = database.header(number).ok_or_else(pruned)?;
    let certificate = match database.certificate(number) {
        Some(certificate) => certificate,
        None if number == 0 => Vec::new(),
        None => return Err(pruned()),
    };
    Ok(LightHeader { header, certificate })
}

/// The first page of changes of the validator set that were announced after block `after` and not
/// after block `last`. At most [`SET_CHANGES_PAGE_MAX`], and none after [`SET_CHANGES_PAGE_BYTES`].
///
/// # Errors
/// [`LightDataError`].
pub fn set_changes(database: &Database, after: BlockNumber, last: BlockNumber) -> Result<SetChanges, LightDataError> {
    let mut numbers = database.set_changes_after(after, SET_CHANGES_PAGE_MAX.saturating_add(1));
    numbers.retain(|number| *number <= last);
    let mut proofs = Vec::new();
    let mut bytes = 0usize;
    for number in &numbers {
        if proofs.len() >= SET_CHANGES_PAGE_MAX || bytes >= SET_CHANGES_PAGE_BYTES {
            break;
        }
        let LightHeader { header, certificate } = light_header(database, *number)?;
        let set = database.validator_set(*number).ok_or(LightDataError::SetNotStored(*number))?;
        bytes = bytes.saturating_add(header.len()).saturating_add(certificate.len()).saturating_add(set.len());
        proofs.push(SetChangeProof { header, certificate, set });
    }
    let more = proofs.len() < numbers.len();
    Ok(SetChanges { proofs, more })
}

/// The set that a block announces in its header, out of the block's own state. `None` when it
/// announces none.
///
/// # Errors
/// [`ExecutorError::State`] when header and state disagree, which no valid block does.
pub(crate) fn announced_set<'a>(
    header: &Header,
    storage: impl FnOnce(&[u8]) -> Option<&'a [u8]>,
) -> Result<Option<Vec<u8>>, ExecutorError> {
    let announced = header.digest.logs.iter().find_map(|item| match item {
        sp_runtime::DigestItem::Consensus(engine, hash) if *engine == VALIDATOR_SET_ENGINE => Some(hash),
        _ => None,
    });
    let Some(announced) = announced else { return Ok(None) };
    let wrong = |reason: String| ExecutorError::State { reason: format!("block {}: {reason}", header.number) };
    let [_, upcoming] = validator_set_keys();
    let upcoming = storage(&upcoming).ok_or_else(|| wrong("a set is announced and none is decided".to_owned()))?;
    let from = header.number.saturating_add(VALIDATOR_SET_DELAY_BLOCKS);
    let set = x0_light::read_upcoming(upcoming)
        .map_err(|error| wrong(error.to_string()))?
        .into_iter()
        .find_map(|(height, set)| (height == from).then_some(set))
        .filter(|set| set.hash()[..] == announced[..])
        .ok_or_else(|| wrong("the announced set is not the decided one".to_owned()))?;
    Ok(Some(set.encode()))
}

/// The genesis set out of the genesis state; `None` for a template without validators.
pub(crate) fn genesis_set(entries: &[(Vec<u8>, Vec<u8>)]) -> Option<Vec<u8>> {
    let [current, _] = validator_set_keys();
    let (_, set) = entries.iter().find(|(key, _)| *key == current)?;
    Some(ValidatorSet::decode(set).ok()?.encode())
}
