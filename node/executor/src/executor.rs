//! The executor's shared parts.

use crate::{
    commit::ImportedBlock,
    dispatch,
    error::ExecutorError,
    guard,
    marks::Marks,
    state::{Reader, State},
    view::Views,
};
use bytes::Bytes;
use codec::Encode;
use parking_lot::Mutex;
use sp_runtime::{ApplyExtrinsicResult, traits::BlakeTwo256};
use sp_trie::cache::{CacheSize, SharedTrieCache};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::{broadcast, watch};
use x0_runtime::{Runtime, UncheckedExtrinsic, version::SUPPORTED_SPECS};
use x0_storage::{Database, GenesisCommit, Head};
use x0_types::Hash;

/// Imported blocks that a slow subscriber may fall behind before it loses some.
pub const IMPORTED_BLOCKS_KEPT: usize = 1_024;

/// Applies one extrinsic inside externalities. The production rule is the runtime's; tests add
/// extrinsics that misbehave.
pub(crate) trait Dispatcher: Send + Sync {
    /// Applies the extrinsic of `bytes` bytes to the block at hand.
    fn apply(&self, extrinsic: UncheckedExtrinsic, bytes: usize) -> ApplyExtrinsicResult;

    /// Root of the block's extrinsics: `computed` from its body, or that of those which [`Dispatcher::apply`] noted in
    /// the state.
    fn extrinsics_root(&self, computed: Hash, noted: Hash) -> Hash;
}

/// The runtime.
struct RuntimeDispatcher;

impl Dispatcher for RuntimeDispatcher {
    fn apply(&self, extrinsic: UncheckedExtrinsic, bytes: usize) -> ApplyExtrinsicResult {
        dispatch::apply(extrinsic, bytes)
    }

    fn extrinsics_root(&self, computed: Hash, _noted: Hash) -> Hash {
        computed
    }
}

/// Settings of an executor.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Contents of the shared cache of trie nodes and values, bytes. In memory it takes about twice as much: it counts
    /// neither the allocator's rounding of many small pieces nor the free half of its tables.
    pub trie_cache_bytes: usize,
    /// Verified signatures that are remembered.
    pub marks_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { trie_cache_bytes: x0_limits::TRIE_CACHE_BYTES, marks_max: x0_limits::MEMPOOL_TRANSACTIONS_MAX }
    }
}

/// Runs the runtime over one database. Clones share everything.
///
/// All methods block on computation or disk: async code calls them from blocking threads or through
/// a [`crate::Worker`].
#[derive(Clone)]
pub struct Executor(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) database: Database,
    pub(crate) cache: SharedTrieCache<BlakeTwo256>,
    pub(crate) genesis_hash: Hash,
    pub(crate) head: watch::Sender<Head>,
    pub(crate) imported: broadcast::Sender<Arc<ImportedBlock>>,
    pub(crate) marks: Marks,
    pub(crate) views: Views,
    pub(crate) dispatcher: Box<dyn Dispatcher>,
    /// Serialises commits.
    pub(crate) committing: Mutex<()>,
    /// Metadata by rules version and format: it takes milliseconds to build and never changes.
    pub(crate) metadata: Mutex<HashMap<(u32, u32), Bytes>>,
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("genesis", &self.genesis_hash()).field("head", &self.head()).finish()
    }
}

impl Executor {
    /// An executor over a database. Writes the genesis block when the database is empty.
    ///
    /// `genesis` is the full genesis configuration of the runtime as JSON.
    ///
    /// # Errors
    /// [`ExecutorError::Genesis`], [`x0_storage::StorageError::OtherChain`] when the database holds a
    /// chain with another genesis block, [`ExecutorError::UnsupportedSpec`] when the chain has moved
    /// on to rules that this binary does not know, and storage errors.
    pub fn new(database: Database, genesis: &serde_json::Value, options: Options) -> Result<Self, ExecutorError> {
        Self::with_dispatcher(database, genesis, options, Box::new(RuntimeDispatcher))
    }

    pub(crate) fn with_dispatcher(
        database: Database,
        genesis: &serde_json::Value,
        options: Options,
        dispatcher: Box<dyn Dispatcher>,
    ) -> Result<Self, ExecutorError> {
        guard::install();
        let built = x0_runtime::genesis::build(genesis)?;
        let genesis_hash = built.hash;
        database.commit_genesis(GenesisCommit {
            hash: genesis_hash,
            state_root: built.header.state_root,
            header: built.header.encode(),
            state: built.state,
        })?;
        if let (None, Some(set)) = (database.validator_set(0), crate::light::genesis_set(&built.entries)) {
            database.put_validator_set(0, &set)?;
        }
        let head = database.head().ok_or(x0_storage::StorageError::NoGenesis)?;
        let executor = Self(Arc::new(Inner {
            cache: SharedTrieCache::new(CacheSize::new(options.trie_cache_bytes), None),
            genesis_hash,
            head: watch::Sender::new(head),
            imported: broadcast::Sender::new(IMPORTED_BLOCKS_KEPT),
            marks: Marks::new(options.marks_max),
            views: Views::default(),
            dispatcher,
            committing: Mutex::new(()),
            metadata: Mutex::new(HashMap::new()),
            database,
        }));
        executor.check_spec()?;
        Ok(executor)
    }

    /// The database below.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.0.database
    }

    /// Hash of the chain's first block.
    #[must_use]
    pub fn genesis_hash(&self) -> Hash {
        self.0.genesis_hash
    }

    /// The last committed block.
    #[must_use]
    pub fn head(&self) -> Head {
        *self.0.head.borrow()
    }

    /// Follows the head: the newest one only, never an older one again.
    #[must_use]
    pub fn subscribe_heads(&self) -> watch::Receiver<Head> {
        self.0.head.subscribe()
    }

    /// Follows committed blocks, each of them; a subscriber that falls
    /// [`IMPORTED_BLOCKS_KEPT`] blocks behind is told how many it missed.
    #[must_use]
    pub fn subscribe_imported(&self) -> broadcast::Receiver<Arc<ImportedBlock>> {
        self.0.imported.subscribe()
    }

    /// The head's state.
    pub(crate) fn head_state(&self, reader: Reader) -> Result<(Head, State), ExecutorError> {
        let head = self.head();
        let state = State::open(&self.0.database, &self.0.cache, head.number, head.state_root, reader)?;
        Ok((head, state))
    }

    /// Refuses to go on when the next block runs under rules that this binary does not know.
    pub(crate) fn check_spec(&self) -> Result<(), ExecutorError> {
        let head = self.head();
        let active = self.with_state(head.hash, x0_runtime::network::ActiveSpec::<Runtime>::get)?;
        if SUPPORTED_SPECS.contains(&active) {
            return Ok(());
        }
        Err(ExecutorError::UnsupportedSpec {
            number: head.number.saturating_add(1),
            active,
            supported: SUPPORTED_SPECS,
        })
    }
}
