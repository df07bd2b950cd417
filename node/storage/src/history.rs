//! How far back blocks reach, and the removal of older ones.
//!
//! The history of a node begins at one height and has no holes: from there to the head, every body
//! and certificate is there, and peers are told that height. What lies below is gone for every reader
//! at once, also where the disk still holds it.

use crate::{
    Database, Head, History, StorageError,
    columns::{self, Column},
    database::Inner,
};
use rocksdb::WriteBatch;
use std::sync::atomic::Ordering;
use x0_types::BlockNumber;

/// The first block after the genesis block.
const FIRST: BlockNumber = 1;

impl Database {
    /// The lowest block from which this node has every body and certificate up to the head. One more
    /// than the head's number on a node that has just restored a snapshot; 1 with a whole history.
    #[must_use]
    pub fn history_start(&self) -> BlockNumber {
        self.0.history_start.load(Ordering::Acquire)
    }

    /// The SCALE validator set that the block with this number announced (0: the genesis set).
    #[must_use]
    pub fn validator_set(&self, announced_in: BlockNumber) -> Option<Vec<u8>> {
        self.0.read(Column::ValidatorSets, &columns::number_key(announced_in), |bytes| Some(bytes.to_vec()))
    }

    /// Stores a validator set that a block announced (0: the genesis set). Blocks bring theirs with
    /// their commit; this is for the genesis set.
    ///
    /// # Errors
    /// When the database cannot write.
    pub fn put_validator_set(&self, announced_in: BlockNumber, set: &[u8]) -> Result<(), StorageError> {
        let mut batch = WriteBatch::new();
        batch.put_cf(self.0.cf(Column::ValidatorSets)?, columns::number_key(announced_in), set);
        self.0.write(batch, "store a validator set")
    }

    /// Numbers of the blocks after `after` that announced another validator set, ascending, at most
    /// `limit` of them.
    #[must_use]
    pub fn set_changes_after(&self, after: BlockNumber, limit: usize) -> Vec<BlockNumber> {
        let lower = columns::number_key(after.saturating_add(1)).to_vec();
        self.0
            .range(Column::ValidatorSets, lower, vec![0xff; 5])
            .take(limit)
            .filter_map(|(key, _)| match <[u8; 4]>::try_from(&key[..]) {
                Ok(number) => Some(u32::from_be_bytes(number)),
                Err(_) => {
                    self.0.bad_record(Column::ValidatorSets, &key, "the key has a wrong length");
                    None
                }
            })
            .collect()
    }
}

impl Inner {
    pub(crate) fn set_history_start(&self, start: BlockNumber) {
        self.history_start.store(start.max(FIRST), Ordering::Release);
    }

    /// The history of a database that does not name its start: format 1 kept all bodies and the
    /// certificates of [`x0_limits::CERTIFICATES_KEPT`] blocks.
    pub(crate) fn find_history_start(&self, head: Option<Head>) -> BlockNumber {
        let Some(head) = head else { return FIRST };
        let kept = u32::try_from(x0_limits::CERTIFICATES_KEPT).unwrap_or(u32::MAX);
        let mut start = head.number.saturating_sub(kept).max(FIRST);
        let has = |number| self.read(Column::Certificates, &columns::number_key(number), |_| Some(())).is_some();
        while start <= head.number && !has(start) {
            start = start.saturating_add(1);
        }
        start
    }

    /// Removes blocks that the settings do not keep, a bounded number of them, and returns the new
    /// start of the history. Certificates that announce a validator set stay: light clients need them.
    pub(crate) fn prune_history(
        &self,
        batch: &mut WriteBatch,
        number: BlockNumber,
    ) -> Result<BlockNumber, StorageError> {
        let start = self.history_start.load(Ordering::Acquire).max(FIRST);
        let History::Blocks(kept) = self.history else { return Ok(start) };
        let wanted = number.saturating_sub(kept.max(1));
        let end = wanted.min(start.saturating_add(x0_limits::HISTORY_PRUNED_PER_COMMIT)).max(start);
        for block in start..end {
            let key = columns::number_key(block);
            self.delete_body(batch, block)?;
            if self.read(Column::ValidatorSets, &key, |_| Some(())).is_none() {
                batch.delete_cf(self.cf(Column::Certificates)?, key);
            }
        }
        Ok(end)
    }
}
