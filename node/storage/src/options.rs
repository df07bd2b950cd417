//! How a data directory is opened.

use crate::error::FatalError;
use std::{fmt, sync::Arc};
use x0_types::Hash;

/// Exit code of a node whose database failed beneath it (`EX_IOERR` of sysexits.h). Supervisors
/// must not restart such a node in a loop: the disk needs attention.
pub const EXIT_CODE_STORAGE: i32 = 74;

/// What happens when the database cannot be trusted any more.
///
/// The default logs and ends the process with [`EXIT_CODE_STORAGE`]. Tests inject their own; after
/// a handler that returns, reads answer as if the record were absent, which only a test may accept.
#[derive(Clone)]
pub struct FatalHandler(Arc<dyn Fn(&FatalError) + Send + Sync>);

impl FatalHandler {
    /// A handler that calls `handler`.
    pub fn new(handler: impl Fn(&FatalError) + Send + Sync + 'static) -> Self {
        Self(Arc::new(handler))
    }

    /// Reports the failure. With the default handler this does not return.
    pub fn raise(&self, error: &FatalError) {
        (self.0)(error);
    }
}

impl Default for FatalHandler {
    fn default() -> Self {
        Self::new(|error| {
            tracing::error!(%error, exit_code = EXIT_CODE_STORAGE, "the database failed; the node ends at once");
            // SAFETY: `_exit` has no preconditions. The ordinary `exit` would run destructors of
            // RocksDB while other threads use it, and could hang on the failing disk.
            unsafe { libc::_exit(EXIT_CODE_STORAGE) }
        })
    }
}

impl fmt::Debug for FatalHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FatalHandler")
    }
}

/// How much of the past a node keeps: bodies, certificates and the indexes over them. Headers,
/// validator sets and the certificates that announce them stay for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// Everything.
    Archive,
    /// This many blocks below the head and the head itself.
    Blocks(u32),
}

/// Settings of [`crate::Database::open`].
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The chain that the directory must belong to, if the caller knows it already.
    pub genesis: Option<Hash>,
    /// Recent blocks whose state stays readable, besides the head's. At least 1.
    pub states_kept: u32,
    /// How much of the past stays.
    pub history: History,
    /// Cache of blocks, indexes and filters, bytes.
    pub block_cache_bytes: usize,
    /// Unflushed writes kept in memory over all columns, bytes.
    pub write_buffers_bytes: usize,
    /// What happens when a read fails or a state node is missing.
    pub fatal: FatalHandler,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            genesis: None,
            states_kept: x0_limits::STATES_KEPT,
            history: History::Archive,
            block_cache_bytes: x0_limits::STORAGE_BLOCK_CACHE_BYTES,
            write_buffers_bytes: x0_limits::STORAGE_WRITE_BUFFERS_BYTES,
            fatal: FatalHandler::default(),
        }
    }
}
