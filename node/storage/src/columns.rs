//! Column families: what each holds, how its keys are made and how it is tuned.

use crate::options::OpenOptions;
use rocksdb::compaction_filter::Decision;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode,
    DataBlockIndexType, LogLevel, Options,
};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use x0_types::{BlockNumber, Hash};

/// A column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Path-prefixed trie node key -> number of the writing block (4 bytes, little-endian), node.
    State,
    /// Block number -> block hash, SCALE header.
    Headers,
    /// Block number -> SCALE list of extrinsics.
    Bodies,
    /// Block hash -> block number.
    NumberByHash,
    /// Extrinsic hash -> block number, index.
    TransactionIndex,
    /// Account, block number, index -> nothing.
    AccountIndex,
    /// Block number -> commit certificate.
    Certificates,
    /// Number of the block that announced it (0: the genesis set) -> SCALE validator set.
    ValidatorSets,
    /// Height, round, block id -> undecided block; see [`crate::Undecided`].
    Undecided,
    /// Block number -> SCALE list of the state keys that the block dropped.
    PruneJournal,
    /// Names -> the few single values: genesis hash, head, oldest state.
    Meta,
}

impl Column {
    /// All columns.
    pub const ALL: [Self; 11] = [
        Self::State,
        Self::Headers,
        Self::Bodies,
        Self::NumberByHash,
        Self::TransactionIndex,
        Self::AccountIndex,
        Self::Certificates,
        Self::ValidatorSets,
        Self::Undecided,
        Self::PruneJournal,
        Self::Meta,
    ];

    /// The column's name in RocksDB.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Headers => "headers",
            Self::Bodies => "bodies",
            Self::NumberByHash => "number_by_hash",
            Self::TransactionIndex => "tx_index",
            Self::AccountIndex => "account_index",
            Self::Certificates => "certificates",
            Self::ValidatorSets => "validator_sets",
            Self::Undecided => "undecided",
            Self::PruneJournal => "prune_journal",
            Self::Meta => "meta",
        }
    }
}

/// Key of [`Column::Meta`]: the genesis hash.
pub(crate) const META_GENESIS: &[u8] = b"genesis";
/// Key of [`Column::Meta`]: the head.
pub(crate) const META_HEAD: &[u8] = b"head";
/// Key of [`Column::Meta`]: the lowest block from which every body and certificate is there.
pub(crate) const META_HISTORY_START: &[u8] = b"history_start";
/// Key of [`Column::Meta`]: the oldest block whose state is whole.
pub(crate) const META_OLDEST_STATE: &[u8] = b"oldest_state";

/// Big-endian, so that RocksDB's order is the order of numbers.
pub(crate) const fn number_key(number: BlockNumber) -> [u8; 4] {
    number.to_be_bytes()
}

/// Block number and index, ordered.
pub(crate) fn location(number: BlockNumber, index: u32) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&number.to_be_bytes());
    key[4..].copy_from_slice(&index.to_be_bytes());
    key
}

/// Reads what [`location`] wrote.
pub(crate) fn read_location(bytes: &[u8]) -> Option<(BlockNumber, u32)> {
    let (number, index) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*number), u32::from_be_bytes(index.try_into().ok()?)))
}

/// Reads a hash of exactly 32 bytes.
pub(crate) fn read_hash(bytes: &[u8]) -> Option<Hash> {
    <[u8; 32]>::try_from(bytes).ok().map(Hash::from)
}

/// Size of the pieces of indexes and filters.
const METADATA_BLOCK_BYTES: usize = 4 << 10;

/// Options of the whole database.
pub(crate) fn database_options(options: &OpenOptions) -> Options {
    let mut db = Options::default();
    db.create_if_missing(true);
    db.create_missing_column_families(true);
    db.set_paranoid_checks(true);
    // A torn record at the very end of the log is what a crash during an unacknowledged write
    // leaves. Damage anywhere else is an error: dropping it silently would lose acknowledged blocks.
    db.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    db.set_track_and_verify_wals_in_manifest(true);
    db.set_db_write_buffer_size(options.write_buffers_bytes);
    db.set_max_total_wal_size(x0_limits::STORAGE_LOG_BYTES_MAX);
    db.set_max_open_files(x0_limits::STORAGE_OPEN_FILES_MAX);
    db.set_max_background_jobs(2);
    db.set_bytes_per_sync(1 << 20);
    db.set_stats_dump_period_sec(0);
    db.set_log_level(LogLevel::Warn);
    db.set_keep_log_file_num(3);
    db.set_max_log_file_size(4 << 20);
    db
}

/// Descriptors of all columns, which share one block cache. `history_start` tells compaction which
/// entries of the indexes lie below the history.
pub(crate) fn descriptors(options: &OpenOptions, history_start: &Arc<AtomicU32>) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(options.block_cache_bytes);
    Column::ALL
        .into_iter()
        .map(|column| {
            let mut family = column_options(column, options, &cache);
            drop_with_history(column, &mut family, history_start);
            ColumnFamilyDescriptor::new(column.name(), family)
        })
        .collect()
}

/// Reads the place of a transaction out of a record of an index.
type Place = fn(&[u8], &[u8]) -> Option<(BlockNumber, u32)>;

/// Index entries of pruned blocks go when RocksDB compacts: nothing has to look for them, and readers
/// hide them from the moment of pruning on.
fn drop_with_history(column: Column, family: &mut Options, history_start: &Arc<AtomicU32>) {
    let place: Place = match column {
        Column::TransactionIndex => |_, value| read_location(value),
        Column::AccountIndex => |key, _| key.get(32..).and_then(read_location),
        _ => return,
    };
    let start = Arc::clone(history_start);
    family.set_compaction_filter("history", move |_level: u32, key: &[u8], value: &[u8]| match place(key, value) {
        Some((number, _)) if number < start.load(Ordering::Acquire) => Decision::Remove,
        _ => Decision::Keep,
    });
}

fn column_options(column: Column, options: &OpenOptions, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    // Indexes and filters live in the cache too: otherwise memory would grow with the disk. They are cut into
    // pieces of a block's size, of which a look-up needs one: a whole index is a megabyte, and reading it anew for
    // each look-up took a third of the time of a block once the state was larger than the cache.
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_metadata_block_size(METADATA_BLOCK_BYTES);
    table.set_pin_top_level_index_and_filter(true);
    table.set_format_version(5);

    let mut family = Options::default();
    family.set_max_write_buffer_number(2);
    // The columns differ a hundredfold in their traffic; the sum is bounded by the database's buffer.
    let share = match column {
        Column::State | Column::Bodies | Column::Undecided => 2,
        Column::TransactionIndex | Column::AccountIndex | Column::PruneJournal => 8,
        Column::Headers | Column::NumberByHash | Column::Certificates | Column::ValidatorSets | Column::Meta => 32,
    };
    family.set_write_buffer_size(options.write_buffers_bytes / share);
    match column {
        Column::State | Column::TransactionIndex | Column::NumberByHash => {
            // Point lookups, most of which miss the upper levels.
            table.set_bloom_filter(10.0, false);
            table.set_partition_filters(true);
            table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
            table.set_data_block_hash_ratio(0.75);
            table.set_optimize_filters_for_memory(true);
            table.set_block_size(4 << 10);
            // Hashes do not compress.
            family.set_compression_type(DBCompressionType::None);
        }
        Column::Bodies | Column::Undecided => {
            // Large values go to blob files once, so that compaction does not rewrite them.
            table.set_block_size(16 << 10);
            family.set_enable_blob_files(true);
            family.set_min_blob_size(x0_limits::STORAGE_BLOB_BYTES_MIN);
            // Keys and signatures do not compress.
            family.set_blob_compression_type(DBCompressionType::None);
            family.set_compression_type(DBCompressionType::Lz4);
            family.set_enable_blob_gc(true);
        }
        Column::Headers
        | Column::AccountIndex
        | Column::Certificates
        | Column::ValidatorSets
        | Column::PruneJournal
        | Column::Meta => {
            table.set_block_size(16 << 10);
            family.set_compression_type(DBCompressionType::Lz4);
        }
    }
    family.set_block_based_table_factory(&table);
    family
}
