//! Trie nodes, and the pins that keep old states from being pruned while they are read.

use crate::{Database, StorageError, columns::Column, error::FatalError};
use hash_db::Prefix;
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::TrieBackendStorage;
use sp_trie::{DBValue, LayoutV1};
use std::{collections::BTreeMap, sync::LazyLock};
use x0_types::{BlockNumber, Hash};

/// Root of a trie without entries. No block writes its node, so it is answered from here.
static EMPTY_ROOT: LazyLock<Hash> = LazyLock::new(sp_trie::empty_trie_root::<LayoutV1<BlakeTwo256>>);
/// Encoding of the empty trie's node.
const EMPTY_NODE: [u8; 1] = [0];
/// Bytes before the node in a stored value: the number of the block that wrote it.
pub(crate) const STAMP_BYTES: usize = 4;

/// The value under which a node written by block `number` is stored.
pub(crate) fn stamped(number: BlockNumber, node: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(STAMP_BYTES + node.len());
    value.extend_from_slice(&number.to_le_bytes());
    value.extend_from_slice(node);
    value
}

/// The block that wrote a stored value.
pub(crate) fn stamp(value: &[u8]) -> Option<BlockNumber> {
    value.first_chunk::<STAMP_BYTES>().map(|bytes| u32::from_le_bytes(*bytes))
}

/// The trie nodes of every kept state, for [`sp_state_machine::TrieBackendBuilder`].
///
/// The trie asks only for nodes that another node or a root refers to. A node that is not there is
/// therefore damage (or a state read without a pin), and goes to the fatal handler: the state
/// machine would only log it and go on with a wrong root.
#[derive(Clone, Debug)]
pub struct StateStore(Database);

impl StateStore {
    pub(crate) const fn new(database: Database) -> Self {
        Self(database)
    }
}

impl TrieBackendStorage<BlakeTwo256> for StateStore {
    fn get(&self, hash: &Hash, prefix: Prefix) -> Result<Option<DBValue>, String> {
        if *hash == *EMPTY_ROOT {
            return Ok(Some(EMPTY_NODE.to_vec()));
        }
        let inner = &self.0.0;
        let key = sp_trie::prefixed_key::<BlakeTwo256>(hash, prefix);
        let node = inner.read(Column::State, &key, |value| value.get(STAMP_BYTES..).map(<[u8]>::to_vec));
        if node.is_none() {
            let error = FatalError::MissingNode { hash: *hash };
            inner.fatal.raise(&error);
            return Err(error.to_string());
        }
        Ok(node)
    }
}

/// Which states are whole and which of them somebody reads.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    /// The oldest block whose state is whole.
    pub(crate) oldest: BlockNumber,
    /// Readers per block.
    readers: BTreeMap<BlockNumber, usize>,
}

impl Pins {
    /// The oldest block whose state somebody reads.
    pub(crate) fn lowest(&self) -> Option<BlockNumber> {
        self.readers.keys().next().copied()
    }
}

/// Keeps the state of one block readable while it lives.
#[derive(Debug)]
pub struct StatePin {
    database: Database,
    number: BlockNumber,
}

impl StatePin {
    pub(crate) fn take(database: &Database, number: BlockNumber) -> Result<Self, StorageError> {
        let mut pins = database.0.pins.lock();
        let newest = database.head().ok_or(StorageError::NoGenesis)?.number;
        if number < pins.oldest || number > newest {
            return Err(StorageError::StateUnavailable { number, oldest: pins.oldest, newest });
        }
        *pins.readers.entry(number).or_default() += 1;
        drop(pins);
        Ok(Self { database: database.clone(), number })
    }

    /// The pinned block.
    #[must_use]
    pub const fn number(&self) -> BlockNumber {
        self.number
    }
}

impl Drop for StatePin {
    fn drop(&mut self) {
        let mut pins = self.database.0.pins.lock();
        if let Some(readers) = pins.readers.get_mut(&self.number) {
            *readers -= 1;
            if *readers == 0 {
                pins.readers.remove(&self.number);
            }
        }
    }
}
