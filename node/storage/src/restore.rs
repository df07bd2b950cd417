//! Building a database out of a verified snapshot, beside the old one, and switching to it.
//!
//! ```text
//!   <data directory>/
//!     db/                    the database, when there is one
//!     restore/
//!       ...                  what the caller keeps while it downloads
//!       new/db/              the database that is being built
//!       replaced/            the old database, on its way out
//!       COMPLETE             written and synced when new/ is whole; from then on the switch happens
//! ```
//!
//! # Correctness
//! * Nothing of `db/` is touched before the new database holds the whole state of a verified root.
//! * A crash before `COMPLETE` leaves the old database; a crash after it leaves the new one: opening
//!   the directory finishes the switch.

use crate::{
    Database, Head, OpenOptions, StorageError, StreamError,
    columns::{self, Column, META_GENESIS, META_HEAD, META_HISTORY_START, META_OLDEST_STATE},
    format::FORMAT_FILE,
    lock::ProcessLock,
    state,
    walk::Walk,
};
use bytes::Bytes;
use codec::Encode;
use rocksdb::{WriteBatch, WriteOptions};
use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
};
use x0_limits::SNAPSHOT_NODE_BYTES_MAX;
use x0_types::{BlockNumber, Hash, Moment};

const AREA: &str = "restore";
const NEW: &str = "new";
const REPLACED: &str = "replaced";
const COMPLETE: &str = "COMPLETE";
const DATABASE: &str = "db";
/// Bytes of nodes after which they are written.
const BATCH_BYTES: usize = 4 << 20;

/// The part of a data directory in which a restore works. While this lives, no node can open the
/// directory.
#[derive(Debug)]
pub struct RestoreArea {
    data: PathBuf,
    area: PathBuf,
    _lock: ProcessLock,
}

impl RestoreArea {
    /// Takes the data directory, which is created when it does not exist. A switch that a crash
    /// interrupted is finished first.
    ///
    /// # Errors
    /// [`StorageError::AlreadyRunning`], [`StorageError::Io`].
    pub fn open(data: &Path) -> Result<Self, StorageError> {
        fs::create_dir_all(data).map_err(io("create", data))?;
        let lock = ProcessLock::acquire(data)?;
        finish_switch(data)?;
        let area = data.join(AREA);
        fs::create_dir_all(&area).map_err(io("create", &area))?;
        Ok(Self { data: data.to_owned(), area, _lock: lock })
    }

    /// Where the caller keeps what it downloads.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.area
    }

    /// Whether the directory holds a database that a restore would replace.
    #[must_use]
    pub fn has_database(&self) -> bool {
        self.data.join(DATABASE).join("CURRENT").exists()
    }

    /// Starts building a database with the state of this root. What an earlier attempt left is removed.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn begin(
        &self,
        options: OpenOptions,
        number: BlockNumber,
        state_root: Hash,
    ) -> Result<StateImport, StorageError> {
        let new = self.area.join(NEW);
        remove(&new)?;
        let database = Database::open(&new, options)?;
        Ok(StateImport {
            database,
            walk: Walk::new(state_root),
            pending: Vec::new(),
            batch: WriteBatch::default(),
            number,
        })
    }

    /// Puts the finished database in the place of the old one, and removes what is left of the restore.
    ///
    /// # Errors
    /// [`StorageError::Io`]; opening the data directory tries again.
    pub fn switch(self) -> Result<(), StorageError> {
        let marker = self.area.join(COMPLETE);
        File::create(&marker).and_then(|file| file.sync_all()).map_err(io("write", &marker))?;
        sync(&self.area)?;
        finish_switch(&self.data)
    }

    /// Removes everything that earlier attempts left.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn clear(&self) -> Result<(), StorageError> {
        remove(&self.area)?;
        fs::create_dir_all(&self.area).map_err(io("create", &self.area))
    }
}

/// A block of which only header, certificate and announced set are restored.
#[derive(Clone, Debug)]
pub struct RestoredBlock {
    /// Its height.
    pub number: BlockNumber,
    /// BLAKE2b-256 of its header.
    pub hash: Hash,
    /// The SCALE header.
    pub header: Vec<u8>,
    /// The commit certificate; `None` for the genesis block.
    pub certificate: Option<Vec<u8>>,
    /// The SCALE validator set that it announces, if it does (the genesis set for block 0).
    pub validator_set: Option<Vec<u8>>,
}

/// What stands in a restored database besides the state.
#[derive(Clone, Debug)]
pub struct RestoreCommit {
    /// Hash of the chain's first block.
    pub genesis: Hash,
    /// The genesis block, headers before the new head, the blocks that announced sets, and the new head. Of
    /// a block that stands here twice, every part that either brings is kept.
    pub blocks: Vec<RestoredBlock>,
    /// Hash of the new head.
    pub head: Hash,
    /// Root of the head's state.
    pub state_root: Hash,
    /// The head's timestamp, milliseconds since the Unix epoch.
    pub timestamp_ms: Moment,
}

/// A database in the making.
pub struct StateImport {
    database: Database,
    walk: Walk,
    /// Bytes of a node that is not whole yet.
    pending: Vec<u8>,
    batch: WriteBatch,
    number: BlockNumber,
}

impl std::fmt::Debug for StateImport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateImport").field("number", &self.number).field("missing", &self.walk.missing()).finish()
    }
}

/// Why an import stops.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The stream is not the state of the root.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The database cannot write.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl StateImport {
    /// Takes the next bytes of the stream of nodes: each node with its length in four bytes, little
    /// endian, before it. Chunks may end anywhere.
    ///
    /// # Errors
    /// [`ImportError::Stream`] at the first node that does not belong to the state.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), ImportError> {
        while !bytes.is_empty() {
            let take = self.wanted()?.saturating_sub(self.pending.len()).min(bytes.len());
            let (now, later) = bytes.split_at(take);
            self.pending.extend_from_slice(now);
            bytes = later;
            // A node without bytes is whole with its length; the walk then names what belongs here.
            if self.pending.len() >= 4 && self.pending.len() == self.wanted()? {
                self.take_node()?;
            }
        }
        Ok(())
    }

    /// Bytes of the node that is being read, its length included; 4 while that is not known.
    fn wanted(&self) -> Result<usize, StreamError> {
        let Some(length) = self.pending.first_chunk::<4>() else { return Ok(4) };
        let bytes = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if bytes > SNAPSHOT_NODE_BYTES_MAX {
            return Err(StreamError::NodeTooLarge { bytes, max: SNAPSHOT_NODE_BYTES_MAX });
        }
        Ok(bytes.saturating_add(4))
    }

    fn take_node(&mut self) -> Result<(), ImportError> {
        let node = self.pending.get(4..).unwrap_or_default();
        let place = self.walk.accept(node).map_err(StreamError::from)?;
        let column = self.database.0.cf(Column::State)?;
        self.batch.put_cf(column, place.key(), state::stamped(self.number, node));
        self.pending.clear();
        if self.batch.size_in_bytes() >= BATCH_BYTES {
            self.write_batch()?;
        }
        Ok(())
    }

    /// Writes without the log: a crash starts the import over.
    fn write_batch(&mut self) -> Result<(), StorageError> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        let batch = std::mem::take(&mut self.batch);
        let inner = &self.database.0;
        inner.db.write_opt(batch, &options).map_err(|error| inner.write_error("write state nodes", error))
    }

    /// Checks that the state is whole, and gives access to it.
    ///
    /// # Errors
    /// [`StreamError::Incomplete`].
    pub fn whole_state(&mut self) -> Result<Database, ImportError> {
        let missing = self.walk.missing();
        if missing > 0 || !self.pending.is_empty() {
            return Err(StreamError::Incomplete { missing }.into());
        }
        self.write_batch()?;
        Ok(self.database.clone())
    }

    /// Writes everything else and closes the database, whole and synced. The caller must have dropped
    /// the clone that [`StateImport::whole_state`] gave.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn finish(mut self, commit: &RestoreCommit) -> Result<(), ImportError> {
        drop(self.whole_state()?);
        let inner = &self.database.0;
        let mut batch = WriteBatch::default();
        for block in &commit.blocks {
            let key = columns::number_key(block.number);
            inner.put_header(&mut batch, block.number, block.hash, &block.header)?;
            if let Some(certificate) = &block.certificate {
                batch.put_cf(inner.cf(Column::Certificates)?, key, certificate);
            }
            if let Some(set) = &block.validator_set {
                batch.put_cf(inner.cf(Column::ValidatorSets)?, key, set);
            }
        }
        batch.put_cf(inner.cf(Column::Bodies)?, columns::number_key(0), Vec::<Bytes>::new().encode());
        let meta = inner.cf(Column::Meta)?;
        let head = Head {
            number: self.number,
            hash: commit.head,
            state_root: commit.state_root,
            timestamp_ms: commit.timestamp_ms,
        };
        batch.put_cf(meta, META_GENESIS, commit.genesis);
        batch.put_cf(meta, META_HEAD, head.encode());
        batch.put_cf(meta, META_OLDEST_STATE, columns::number_key(self.number));
        batch.put_cf(meta, META_HISTORY_START, columns::number_key(self.number.saturating_add(1)));
        // The nodes were written without the log: they must be in tables before the head names them.
        self.database.flush()?;
        inner.write(batch, "write the restored head")?;
        self.database.flush()?;
        Ok(())
    }
}

/// Finishes the switch to a restored database, when one is complete.
pub(crate) fn finish_switch(data: &Path) -> Result<(), StorageError> {
    let area = data.join(AREA);
    if !area.join(COMPLETE).exists() {
        return Ok(());
    }
    let new = area.join(NEW);
    if new.join(DATABASE).exists() {
        let (database, replaced) = (data.join(DATABASE), area.join(REPLACED));
        if database.exists() {
            remove(&replaced)?;
            rename(&database, &replaced)?;
        }
        if new.join(FORMAT_FILE).exists() {
            rename(&new.join(FORMAT_FILE), &data.join(FORMAT_FILE))?;
        }
        rename(&new.join(DATABASE), &database)?;
        sync(&area)?;
        sync(data)?;
    }
    remove(&new)?;
    remove(&area.join(REPLACED))?;
    remove(&area)
}

fn io<'a>(action: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> StorageError + use<'a> {
    move |source| StorageError::Io { action, path: path.to_owned(), source }
}

fn rename(from: &Path, to: &Path) -> Result<(), StorageError> {
    fs::rename(from, to).map_err(io("rename", from))
}

fn remove(path: &Path) -> Result<(), StorageError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn sync(directory: &Path) -> Result<(), StorageError> {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(io("sync", directory))
}
