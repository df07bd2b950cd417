//! Reading a whole state for a snapshot, beside a node that goes on writing blocks.

use crate::{
    Database, StorageError,
    columns::Column,
    error::FatalError,
    state::{STAMP_BYTES, StatePin},
    walk::Walk,
};
use rocksdb::ReadOptions;
use x0_types::{BlockNumber, Hash};

/// The nodes of one state in the order of a snapshot. While this lives, the state is not pruned.
#[derive(Debug)]
pub struct StateNodes {
    database: Database,
    walk: Walk,
    _pin: StatePin,
}

impl Database {
    /// The nodes of the state after block `number`, whose root is `state_root`.
    ///
    /// # Errors
    /// [`StorageError::StateUnavailable`].
    pub fn state_nodes(&self, number: BlockNumber, state_root: Hash) -> Result<StateNodes, StorageError> {
        let pin = self.pin_state(number)?;
        Ok(StateNodes { database: self.clone(), walk: Walk::new(state_root), _pin: pin })
    }
}

impl StateNodes {
    /// The next node; `None` after the last.
    ///
    /// # Errors
    /// [`StorageError::DamagedRecord`] when a node is missing or wrong, after the fatal handler.
    pub fn next_node(&mut self) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(expected) = self.walk.next() else { return Ok(None) };
        let (hash, key) = (expected.hash, expected.key());
        let inner = &self.database.0;
        // A snapshot reads everything once: that must not push what blocks need out of the cache.
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let stored = match inner.db.get_pinned_cf_opt(inner.cf(Column::State)?, &key, &options) {
            Ok(stored) => stored,
            Err(error) => {
                let detail = error.into_string();
                inner.fatal.raise(&FatalError::Read { column: Column::State.name(), detail: detail.clone() });
                return Err(StorageError::Database { action: "read a state node", detail });
            }
        };
        let damaged = |detail: String| StorageError::DamagedRecord {
            column: Column::State.name(),
            key: crate::database::hex(&key),
            detail,
        };
        let Some(node) = stored.as_deref().and_then(|stored| stored.get(STAMP_BYTES..)) else {
            inner.fatal.raise(&FatalError::MissingNode { hash });
            return Err(damaged("a state refers to it and it is missing".to_owned()));
        };
        if let Err(error) = self.walk.accept(node) {
            inner.bad_record(Column::State, &key, &error.to_string());
            return Err(damaged(error.to_string()));
        }
        Ok(Some(node.to_vec()))
    }
}
