//! The node's memory: blocks, state, certificates and undecided proposals in RocksDB.
//!
//! This crate exists so that one sentence holds: *what a commit acknowledged is there after any
//! crash, whole, and nothing that was not acknowledged is there in part.*
//!
//! ```text
//!   executor -- BlockCommit --> Database::commit_block -- one synced WriteBatch --> RocksDB
//!      ^                             |                                                |
//!      +---- StateStore (trie nodes by prefixed key) <-- read, checksum verified -----+
//!   consensus -- put_undecided (synced before a vote leaves) --> undecided column
//! ```
//!
//! A data directory holds `x0.lock` (held by the process that runs, with its pid), `FORMAT` (the
//! version of the layout), `db/` (RocksDB, one column family per [`columns::Column`]) and, while a
//! snapshot is being restored, `restore/` ([`RestoreArea`]).
//!
//! State nodes are stored under path-prefixed keys, so that no node is shared between two places
//! of the trie and no reference counts are needed. Each value carries the number of the block that
//! wrote it. A block that drops a node only notes its key in the prune journal; when the block is
//! [`OpenOptions::states_kept`] blocks old, the node is deleted, unless a later block wrote it again,
//! which the number in the value tells without an index.
//!
//! A block that consensus stored before it was decided is not written again: its body is a reference to it.
//!
//! # Correctness
//! * One block is one RocksDB write batch, synced: header, body, indexes, state, journal,
//!   certificate and head appear together or not at all.
//! * A commit is idempotent for the same block and refused for another block at a decided height.
//! * Every read verifies RocksDB's checksums. A node that the trie refers to and that is missing or
//!   damaged never becomes a wrong state root: the [`FatalHandler`] ends the process.
//! * One process per directory, one chain per directory.
//!
//! # Limits
//! Memory: [`x0_limits::STORAGE_BLOCK_CACHE_BYTES`], [`x0_limits::STORAGE_WRITE_BUFFERS_BYTES`].
//! Disk replayed at start: [`x0_limits::STORAGE_LOG_BYTES_MAX`]. States: [`x0_limits::STATES_KEPT`].
//!
//! # Errors
//! [`StorageError`] for what a caller can act on; [`FatalError`] through the handler for what
//! nobody can.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap
    )
)]

mod body;
mod checkpoint;
pub mod columns;
mod commit;
mod database;
mod error;
mod format;
mod history;
mod lock;
mod options;
mod restore;
mod snapshot;
mod state;
mod undecided;
mod walk;

pub use commit::{BlockCommit, GenesisCommit};
pub use database::{Database, Head, MemoryUse};
pub use error::{FatalError, StorageError};
pub use lock::ProcessLock;
pub use options::{EXIT_CODE_STORAGE, FatalHandler, History, OpenOptions};
pub use restore::{ImportError, RestoreArea, RestoreCommit, RestoredBlock, StateImport};
pub use snapshot::StateNodes;
pub use state::{StatePin, StateStore};
pub use undecided::Undecided;
pub use walk::{StreamError, WalkError};
