//! Blocks that consensus has proposed or received but not decided.
//!
//! They are durable before consensus answers for them: after a crash the engine replays its log
//! and asks for the very same blocks, and a verdict that changed would make it contradict itself.

use crate::{
    Database, StorageError,
    columns::{self, Column},
};
use bytes::Bytes;
use rocksdb::WriteBatch;
use x0_types::Hash;

/// Keys that begin with this hold blocks: tag, height, round, id.
const TAG_BLOCK: u8 = 0;
/// Keys that begin with this hold verdicts, with the same rest. They stand apart so that a verdict
/// does not write a block of megabytes again.
const TAG_VERDICT: u8 = 1;
/// Keys that begin with this find blocks by id: tag, id, height, round.
const TAG_ID: u8 = 2;

/// Room in a write batch for what stands beside a block.
const BATCH_BYTES: usize = 1_024;

/// A block that is not decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecided {
    /// The height that it is proposed for.
    pub height: u64,
    /// The round that it is proposed in.
    pub round: i64,
    /// The block's id.
    pub id: Hash,
    /// The bytes that were stored.
    pub bytes: Bytes,
    /// Whether execution found it valid; `None` while it was not executed.
    pub verdict: Option<bool>,
}

/// Height and round in an order in which bytes compare like numbers (rounds may be -1).
fn place(height: u64, round: i64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&height.to_be_bytes());
    key[8..].copy_from_slice(&(round.cast_unsigned() ^ (1 << 63)).to_be_bytes());
    key
}

/// Reads what [`place`] wrote.
fn read_place(bytes: &[u8]) -> Option<(u64, i64)> {
    let (height, round) = bytes.split_first_chunk::<8>()?;
    let round = u64::from_be_bytes(round.try_into().ok()?);
    Some((u64::from_be_bytes(*height), (round ^ (1 << 63)).cast_signed()))
}

/// The key under which a block is stored.
pub(crate) fn block_key(height: u64, round: i64, id: &Hash) -> Vec<u8> {
    key(TAG_BLOCK, [&place(height, round), id.as_bytes()])
}

fn key(tag: u8, parts: [&[u8]; 2]) -> Vec<u8> {
    [&[tag], parts[0], parts[1]].concat()
}

impl Database {
    /// Stores an undecided block; it is on the disk when this returns. Storing it again keeps an
    /// earlier verdict unless `verdict` names a new one. A block that is decided and holds the chain's body is left as
    /// it is.
    ///
    /// # Errors
    /// When the database cannot write.
    pub fn put_undecided(
        &self,
        height: u64,
        round: i64,
        id: Hash,
        bytes: &Bytes,
        verdict: Option<bool>,
    ) -> Result<(), StorageError> {
        let column = self.0.cf(Column::Undecided)?;
        // No commit may come between the look and the write.
        let _writer = self.0.writer.lock();
        if self.0.holds_body(height, round, &id) {
            return Ok(());
        }
        let place = place(height, round);
        let mut batch = WriteBatch::with_capacity_bytes(bytes.len().saturating_add(BATCH_BYTES));
        batch.put_cf(column, key(TAG_BLOCK, [&place, id.as_bytes()]), bytes);
        batch.put_cf(column, key(TAG_ID, [id.as_bytes(), &place]), []);
        if let Some(verdict) = verdict {
            batch.put_cf(column, key(TAG_VERDICT, [&place, id.as_bytes()]), [u8::from(verdict)]);
        }
        self.0.write(batch, "store an undecided block")?;
        self.0.remembered.note(height, round, id, bytes.clone());
        Ok(())
    }

    /// Stores the verdict on an undecided block.
    ///
    /// # Errors
    /// [`StorageError::UnknownUndecided`], or when the database cannot write.
    pub fn put_verdict(&self, height: u64, round: i64, id: Hash, verdict: bool) -> Result<(), StorageError> {
        let place = place(height, round);
        if self.0.read(Column::Undecided, &key(TAG_BLOCK, [&place, id.as_bytes()]), |_| Some(())).is_none() {
            return Err(StorageError::UnknownUndecided { height, round, id });
        }
        let mut batch = WriteBatch::new();
        batch.put_cf(self.0.cf(Column::Undecided)?, key(TAG_VERDICT, [&place, id.as_bytes()]), [u8::from(verdict)]);
        self.0.write(batch, "store a verdict")
    }

    /// The undecided blocks of a height and round.
    #[must_use]
    pub fn undecided(&self, height: u64, round: i64) -> Vec<Undecided> {
        let place = place(height, round);
        let upper = key(TAG_BLOCK, [&place, &[0xff; 33]]);
        self.undecided_range(key(TAG_BLOCK, [&place, &[]]), upper)
    }

    /// The undecided blocks of a height, in the order of rounds.
    #[must_use]
    pub fn undecided_at(&self, height: u64) -> Vec<Undecided> {
        let upper = key(TAG_BLOCK, [&height.to_be_bytes(), &[0xff; 41]]);
        self.undecided_range(key(TAG_BLOCK, [&height.to_be_bytes(), &[]]), upper)
    }

    /// The undecided block with this id, in the latest place where it was proposed.
    #[must_use]
    pub fn undecided_by_id(&self, id: &Hash) -> Option<Undecided> {
        let lower = key(TAG_ID, [id.as_bytes(), &[]]);
        let upper = key(TAG_ID, [id.as_bytes(), &[0xff; 17]]);
        let (found, _) = self.0.range(Column::Undecided, lower, upper).last()?;
        let (height, round) = found.get(33..).and_then(read_place)?;
        let bytes =
            self.0.read(Column::Undecided, &key(TAG_BLOCK, [&place(height, round), id.as_bytes()]), |bytes| {
                Some(Bytes::copy_from_slice(bytes))
            })?;
        Some(Undecided { height, round, id: *id, bytes, verdict: self.verdict(height, round, id) })
    }

    /// Removes the undecided blocks of all heights below `below`. Those that were decided and hold the chain's bodies
    /// are undecided no more, and stay.
    ///
    /// # Errors
    /// When the database cannot write.
    pub fn prune_undecided(&self, below: u64) -> Result<(), StorageError> {
        let column = self.0.cf(Column::Undecided)?;
        self.0.remembered.forget_below(below);
        let mut batch = WriteBatch::new();
        // The entries that find blocks by id name all of them; the blocks themselves would be read from the disk.
        for (entry, _) in self.0.range(Column::Undecided, vec![TAG_ID], vec![TAG_ID + 1]) {
            let (Some(id), Some(place)) = (entry.get(1..33), entry.get(33..)) else { continue };
            let Some((height, round)) = read_place(place).filter(|(height, _)| *height < below) else { continue };
            if !columns::read_hash(id).is_some_and(|id| self.0.holds_body(height, round, &id)) {
                batch.delete_cf(column, key(TAG_BLOCK, [place, id]));
            }
            batch.delete_cf(column, key(TAG_VERDICT, [place, id]));
            batch.delete_cf(column, &entry);
        }
        // Nothing waits for the disk here: what a crash brings back goes with the next height.
        if batch.is_empty() { Ok(()) } else { self.0.write_lazily(batch, "prune undecided blocks") }
    }

    fn verdict(&self, height: u64, round: i64, id: &Hash) -> Option<bool> {
        self.0.read(Column::Undecided, &key(TAG_VERDICT, [&place(height, round), id.as_bytes()]), |bytes| match bytes {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        })
    }

    fn undecided_range(&self, lower: Vec<u8>, upper: Vec<u8>) -> Vec<Undecided> {
        let mut found = Vec::new();
        for (block, bytes) in self.0.range(Column::Undecided, lower, upper) {
            let parts = block.get(1..17).and_then(read_place).zip(block.get(17..).and_then(columns::read_hash));
            match parts {
                Some(((height, round), id)) if self.0.holds_body(height, round, &id) => {}
                Some(((height, round), id)) => found.push(Undecided {
                    height,
                    round,
                    id,
                    bytes: Bytes::from(bytes.into_vec()),
                    verdict: self.verdict(height, round, &id),
                }),
                None => self.0.bad_record(Column::Undecided, &block, "the key has a wrong length"),
            }
        }
        found
    }
}
