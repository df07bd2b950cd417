//! Opening the data directory, and reading blocks and indexes.

use crate::{
    StateStore, StorageError,
    body::Remembered,
    columns::{self, Column, META_GENESIS, META_HEAD, META_HISTORY_START, META_OLDEST_STATE},
    error::FatalError,
    format,
    lock::ProcessLock,
    options::{FatalHandler, History, OpenOptions},
    restore,
    state::{Pins, StatePin},
};
use codec::{Decode, DecodeAll, Encode};
use parking_lot::{Mutex, RwLock};
use rocksdb::{ColumnFamily, DB, Direction, ErrorKind, IteratorMode, ReadOptions, WriteBatch, WriteOptions};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU32},
};
use x0_types::{AccountId, BlockNumber, Hash, Moment};

/// The last committed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Head {
    /// Its height.
    pub number: BlockNumber,
    /// BLAKE2b-256 of its header.
    pub hash: Hash,
    /// Root of the state after it.
    pub state_root: Hash,
    /// Its timestamp, milliseconds since the Unix epoch; 0 for the genesis block.
    pub timestamp_ms: Moment,
}

/// Memory of the database, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Blocks, indexes and filters of table files; bounded by [`OpenOptions::block_cache_bytes`].
    pub block_cache: u64,
    /// Writes that are in no table file yet; bounded by [`OpenOptions::write_buffers_bytes`] and one block.
    pub write_buffers: u64,
    /// What open table files need besides.
    pub table_readers: u64,
}

/// The node's database. Clones share one open database; the last one closes it and frees the lock.
#[derive(Clone)]
pub struct Database(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    // Field order is drop order: the database closes before the lock is released.
    pub(crate) db: DB,
    pub(crate) path: PathBuf,
    pub(crate) fatal: FatalHandler,
    pub(crate) states_kept: u32,
    pub(crate) history: History,
    /// The lowest block from which every body and certificate is there.
    pub(crate) history_start: Arc<AtomicU32>,
    pub(crate) genesis: RwLock<Option<Hash>>,
    pub(crate) head: RwLock<Option<Head>>,
    /// The oldest block whose state is whole, and the readers that hold states.
    pub(crate) pins: Mutex<Pins>,
    /// Serialises writers of blocks.
    pub(crate) writer: Mutex<()>,
    /// What consensus stored last.
    pub(crate) remembered: Remembered,
    _lock: ProcessLock,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("path", &self.0.path).field("head", &self.head()).finish_non_exhaustive()
    }
}

impl Database {
    /// Opens the data directory at `path`, and creates it when it does not exist.
    ///
    /// # Errors
    /// [`StorageError::AlreadyRunning`], [`StorageError::NewerFormat`], [`StorageError::OtherChain`],
    /// [`StorageError::Damaged`] naming the file, and input/output errors naming theirs.
    pub fn open(path: &Path, options: OpenOptions) -> Result<Self, StorageError> {
        std::fs::create_dir_all(path).map_err(|source| StorageError::Io {
            action: "create",
            path: path.to_owned(),
            source,
        })?;
        let lock = ProcessLock::acquire(path)?;
        // A crash between the two renames of a restored database must not look like an empty directory.
        restore::finish_switch(path)?;
        let rocks = path.join("db");
        format::check_or_create(path, &rocks)?;
        // Nothing lies below the history before it is known where that begins.
        let history_start = Arc::new(AtomicU32::new(0));
        let descriptors = columns::descriptors(&options, &history_start);
        let db = DB::open_cf_descriptors(&columns::database_options(&options), &rocks, descriptors)
            .map_err(|error| open_error(&rocks, error))?;
        let inner = Inner {
            db,
            path: path.to_owned(),
            fatal: options.fatal,
            states_kept: options.states_kept.max(1),
            history: options.history,
            history_start,
            genesis: RwLock::new(None),
            head: RwLock::new(None),
            pins: Mutex::new(Pins::default()),
            writer: Mutex::new(()),
            remembered: Remembered::default(),
            _lock: lock,
        };
        inner.load(options.genesis)?;
        Ok(Self(Arc::new(inner)))
    }

    /// The data directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The trie nodes of all kept states.
    #[must_use]
    pub fn state(&self) -> StateStore {
        StateStore::new(self.clone())
    }

    /// Keeps the state of block `number` from being pruned until the pin is dropped. Whoever reads
    /// a state other than the head's takes a pin first: pruning would otherwise pull nodes away in
    /// mid-read, which looks like damage and ends the process.
    ///
    /// # Errors
    /// [`StorageError::StateUnavailable`] when the state is pruned already or does not exist yet.
    pub fn pin_state(&self, number: BlockNumber) -> Result<StatePin, StorageError> {
        StatePin::take(self, number)
    }

    /// Number of the oldest block whose state is whole.
    #[must_use]
    pub fn oldest_state(&self) -> BlockNumber {
        self.0.pins.lock().oldest
    }

    /// The hash of the chain's first block; `None` while the database is empty.
    #[must_use]
    pub fn genesis_hash(&self) -> Option<Hash> {
        *self.0.genesis.read()
    }

    /// The last committed block; `None` while the database is empty.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        *self.0.head.read()
    }

    /// The SCALE header of a block.
    #[must_use]
    pub fn header(&self, number: BlockNumber) -> Option<Vec<u8>> {
        self.0.header_record(number).map(|record| record[32..].to_vec())
    }

    /// The SCALE header of a block.
    #[must_use]
    pub fn header_by_hash(&self, hash: &Hash) -> Option<Vec<u8>> {
        self.header(self.number_of(hash)?)
    }

    /// The hash of the block at a height.
    #[must_use]
    pub fn hash_of(&self, number: BlockNumber) -> Option<Hash> {
        self.0.hash_record(number)
    }

    /// The height of a block.
    #[must_use]
    pub fn number_of(&self, hash: &Hash) -> Option<BlockNumber> {
        self.0.read(Column::NumberByHash, hash.as_bytes(), |bytes| bytes.try_into().ok().map(u32::from_be_bytes))
    }

    /// Block and index of an extrinsic, by its hash. The latest one, should the same bytes have
    /// been included twice (a reaped account's nonce starts over).
    #[must_use]
    pub fn extrinsic_location(&self, hash: &Hash) -> Option<(BlockNumber, u32)> {
        let place = self.0.read(Column::TransactionIndex, hash.as_bytes(), columns::read_location)?;
        (place.0 >= self.history_start()).then_some(place)
    }

    /// The commit certificate of a block, unless trimmed away.
    #[must_use]
    pub fn certificate(&self, number: BlockNumber) -> Option<Vec<u8>> {
        self.0.read(Column::Certificates, &columns::number_key(number), |bytes| Some(bytes.to_vec()))
    }

    /// Block and index of the extrinsics that an account signed or that touched it, newest first.
    ///
    /// `before` starts below that place, for the next page. At most
    /// [`x0_limits::ACCOUNT_HISTORY_PAGE_MAX`] entries whatever `limit` says.
    #[must_use]
    pub fn account_history(
        &self,
        account: &AccountId,
        before: Option<(BlockNumber, u32)>,
        limit: usize,
    ) -> Vec<(BlockNumber, u32)> {
        let prefix: &[u8; 32] = account.as_ref();
        let key = |place: [u8; 8]| [prefix.as_slice(), place.as_slice()].concat();
        let mut read = ReadOptions::default();
        read.set_iterate_lower_bound(key(columns::location(self.history_start(), 0)));
        // The upper bound is exclusive, as `before` is; the highest place itself cannot occur.
        read.set_iterate_upper_bound(key(before.map_or([0xff; 8], |(number, index)| columns::location(number, index))));
        let limit = limit.min(x0_limits::ACCOUNT_HISTORY_PAGE_MAX);
        let mut places = Vec::new();
        for (key, _) in self.0.iterate(Column::AccountIndex, read, IteratorMode::End).take(limit) {
            match key.get(32..).and_then(columns::read_location) {
                Some(place) => places.push(place),
                None => self.0.bad_record(Column::AccountIndex, &key, "the key has a wrong length"),
            }
        }
        places
    }

    /// Stores the certificate of a committed block that was committed without one.
    ///
    /// # Errors
    /// When the database cannot write.
    pub fn put_certificate(&self, number: BlockNumber, certificate: &[u8]) -> Result<(), StorageError> {
        let mut batch = WriteBatch::new();
        batch.put_cf(self.0.cf(Column::Certificates)?, columns::number_key(number), certificate);
        self.0.write(batch, "store a certificate")
    }

    /// Writes what is still in memory to table files, which shortens the next start. Commits are
    /// durable without it.
    ///
    /// # Errors
    /// When the database cannot write.
    pub fn flush(&self) -> Result<(), StorageError> {
        for column in Column::ALL {
            self.0.db.flush_cf(self.0.cf(column)?).map_err(|error| self.0.write_error("flush", error))?;
        }
        Ok(())
    }

    /// Memory that RocksDB holds, by its own account.
    #[must_use]
    pub fn memory(&self) -> MemoryUse {
        let property = |name: &str| {
            // Shared by all columns, so that any of them answers for the whole.
            let cf = self.0.db.cf_handle(Column::State.name())?;
            self.0.db.property_int_value_cf(cf, name).ok().flatten()
        };
        let sum = |name: &str| {
            let each = |column: Column| {
                self.0.db.property_int_value_cf(self.0.db.cf_handle(column.name())?, name).ok().flatten()
            };
            Column::ALL.into_iter().filter_map(each).sum()
        };
        MemoryUse {
            block_cache: property("rocksdb.block-cache-usage").unwrap_or(0),
            write_buffers: sum("rocksdb.cur-size-all-mem-tables"),
            table_readers: sum("rocksdb.estimate-table-readers-mem"),
        }
    }

    /// Refuses a directory that belongs to another chain; an empty one belongs to none.
    ///
    /// # Errors
    /// [`StorageError::OtherChain`].
    pub fn check_genesis(&self, expected: Hash) -> Result<(), StorageError> {
        match self.genesis_hash() {
            Some(found) if found != expected => Err(StorageError::OtherChain { expected, found }),
            _ => Ok(()),
        }
    }
}

impl Inner {
    /// Reads the single values and checks that the head's own records are there.
    fn load(&self, expected: Option<Hash>) -> Result<(), StorageError> {
        let genesis = self.meta(META_GENESIS, columns::read_hash)?;
        if let (Some(expected), Some(found)) = (expected, genesis)
            && expected != found
        {
            return Err(StorageError::OtherChain { expected, found });
        }
        let head = self.meta(META_HEAD, |mut bytes| Head::decode_all(&mut bytes).ok())?;
        let oldest = self.meta(META_OLDEST_STATE, |bytes| bytes.try_into().ok().map(u32::from_be_bytes))?;
        if let Some(head) = head {
            let stored = self
                .get(Column::Headers, &columns::number_key(head.number))
                .map_err(|error| open_error(&self.path.join("db"), error))?;
            if stored.as_deref().and_then(|record| record.get(..32)) != Some(head.hash.as_bytes()) {
                return Err(StorageError::DamagedRecord {
                    column: Column::Headers.name(),
                    key: hex(&columns::number_key(head.number)),
                    detail: "it is not the head's header".to_owned(),
                });
            }
        }
        *self.genesis.write() = genesis;
        *self.head.write() = head;
        self.pins.lock().oldest = oldest.unwrap_or(0);
        let start = self.meta(META_HISTORY_START, |bytes| bytes.try_into().ok().map(u32::from_be_bytes))?;
        self.set_history_start(start.unwrap_or_else(|| self.find_history_start(head)));
        Ok(())
    }

    fn meta<T>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> Option<T>) -> Result<Option<T>, StorageError> {
        let bytes = self.get(Column::Meta, key).map_err(|error| open_error(&self.path.join("db"), error))?;
        bytes
            .map(|bytes| {
                read(&bytes).ok_or_else(|| StorageError::DamagedRecord {
                    column: Column::Meta.name(),
                    key: String::from_utf8_lossy(key).into_owned(),
                    detail: format!("{} bytes that do not decode", bytes.len()),
                })
            })
            .transpose()
    }

    pub(crate) fn cf(&self, column: Column) -> Result<&ColumnFamily, StorageError> {
        self.db.cf_handle(column.name()).ok_or_else(|| StorageError::Database {
            action: "find a column",
            detail: format!("{} was not opened", column.name()),
        })
    }

    fn get(&self, column: Column, key: &[u8]) -> Result<Option<rocksdb::DBPinnableSlice<'_>>, rocksdb::Error> {
        match self.db.cf_handle(column.name()) {
            Some(cf) => self.db.get_pinned_cf(cf, key),
            // Every column is opened at start, so this is the same as a key that is not there.
            None => Ok(None),
        }
    }

    /// Reads one record. A failed read or a record that `decode` refuses is fatal.
    pub(crate) fn read<T>(&self, column: Column, key: &[u8], decode: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        match self.get(column, key) {
            Ok(None) => None,
            Ok(Some(bytes)) => {
                let value = decode(&bytes);
                if value.is_none() {
                    self.bad_record(column, key, "it does not decode");
                }
                value
            }
            Err(error) => {
                self.fatal.raise(&FatalError::Read { column: column.name(), detail: error.into_string() });
                None
            }
        }
    }

    pub(crate) fn hash_record(&self, number: BlockNumber) -> Option<Hash> {
        self.read(Column::Headers, &columns::number_key(number), |bytes| bytes.get(..32).and_then(columns::read_hash))
    }

    pub(crate) fn header_record(&self, number: BlockNumber) -> Option<Vec<u8>> {
        self.read(Column::Headers, &columns::number_key(number), |bytes| (bytes.len() > 32).then(|| bytes.to_vec()))
    }

    /// Iterates over a column. A failed read is fatal and ends the iteration.
    pub(crate) fn iterate<'a>(
        &'a self,
        column: Column,
        options: ReadOptions,
        mode: IteratorMode<'_>,
    ) -> impl Iterator<Item = (Box<[u8]>, Box<[u8]>)> + use<'a> {
        let iterator = self.db.cf_handle(column.name()).map(|cf| self.db.iterator_cf_opt(cf, options, mode));
        iterator.into_iter().flatten().map_while(move |item| {
            item.inspect_err(|error| {
                self.fatal.raise(&FatalError::Read { column: column.name(), detail: error.to_string() });
            })
            .ok()
        })
    }

    /// Iterates over the keys from `lower` (inclusive) to `upper` (exclusive), ascending.
    pub(crate) fn range<'a>(
        &'a self,
        column: Column,
        lower: Vec<u8>,
        upper: Vec<u8>,
    ) -> impl Iterator<Item = (Box<[u8]>, Box<[u8]>)> + use<'a> {
        let mut read = ReadOptions::default();
        read.set_iterate_upper_bound(upper);
        self.iterate(column, read, IteratorMode::From(&lower, Direction::Forward))
    }

    pub(crate) fn bad_record(&self, column: Column, key: &[u8], detail: &str) {
        self.fatal.raise(&FatalError::BadRecord { column: column.name(), key: hex(key), detail: detail.to_owned() });
    }

    /// Writes a batch and waits until it is on the disk.
    pub(crate) fn write(&self, batch: WriteBatch, action: &'static str) -> Result<(), StorageError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.db.write_opt(batch, &options).map_err(|error| self.fatal_write(action, error))
    }

    /// Writes a batch that may be lost in a crash of the machine; later synced batches are not ahead of it, because
    /// the log keeps their order.
    pub(crate) fn write_lazily(&self, batch: WriteBatch, action: &'static str) -> Result<(), StorageError> {
        self.db.write(batch).map_err(|error| self.fatal_write(action, error))
    }

    /// A write of the chain itself failed: the handler hears of it first, and ends a node.
    fn fatal_write(&self, action: &'static str, error: rocksdb::Error) -> StorageError {
        self.fatal.raise(&FatalError::Write { action, detail: error.to_string() });
        self.write_error(action, error)
    }

    pub(crate) fn write_error(&self, action: &'static str, error: rocksdb::Error) -> StorageError {
        let detail = error.into_string();
        if detail.contains("No space left on device") {
            StorageError::DiskFull { path: self.path.clone(), detail }
        } else {
            StorageError::Database { action, detail }
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Turns an error of opening into one that names the damaged file.
fn open_error(directory: &Path, error: rocksdb::Error) -> StorageError {
    let kind = error.kind();
    let detail = error.into_string();
    if detail.contains("No space left on device") {
        return StorageError::DiskFull { path: directory.to_owned(), detail };
    }
    let missing = kind == ErrorKind::IOError && detail.contains("No such file");
    match kind {
        ErrorKind::Corruption | ErrorKind::NotFound => {}
        ErrorKind::IOError if missing => {}
        ErrorKind::InvalidArgument if detail.contains("CURRENT") || detail.contains("MANIFEST") => {}
        _ => return StorageError::Database { action: "open the database", detail },
    }
    StorageError::Damaged { file: named_file(directory, &detail), detail }
}

/// The file that RocksDB's message names, or the directory when it names none.
fn named_file(directory: &Path, detail: &str) -> PathBuf {
    let is_file = |word: &&str| {
        let name = word.rsplit('/').next().unwrap_or(word);
        [".sst", ".log", ".blob"].iter().any(|end| name.ends_with(end))
            || name.starts_with("MANIFEST-")
            || name == "CURRENT"
    };
    detail
        .split(|c: char| c.is_whitespace() || matches!(c, ':' | ',' | ';' | '\'' | '"' | '(' | ')'))
        .map(|word| word.trim_end_matches('.'))
        .find(is_file)
        .map_or_else(
            || directory.to_owned(),
            |word| if word.starts_with('/') { word.into() } else { directory.join(word) },
        )
}
