//! Errors of this node's own files and of restoring.

use std::path::{Path, PathBuf};
use x0_executor::LightDataError;
use x0_light::LightError;
use x0_storage::{ImportError, StorageError};

/// Why making, keeping or restoring a snapshot fails on this node.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// A file operation failed.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A chunk on the disk is not the one that the manifest names.
    #[error("chunk {index} of {path} is damaged", path = path.display())]
    DamagedChunk {
        /// The file.
        path: PathBuf,
        /// The chunk.
        index: u32,
    },
    /// A manifest on the disk does not decode or does not fit its state.
    #[error("{path} is damaged: {reason}", path = path.display())]
    DamagedManifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The snapshot has no such chunk.
    #[error("the snapshot of block {number} has no chunk {index}")]
    NoChunk {
        /// The snapshot's height.
        number: u32,
        /// The wanted chunk.
        index: u32,
    },
    /// A value of the state is larger than snapshots hold.
    #[error("the state of block {number} holds a node of {bytes} bytes")]
    NodeTooLarge {
        /// The height.
        number: u32,
        /// The node's size.
        bytes: usize,
    },
    /// The state is larger than snapshots hold.
    #[error("the state of block {number} needs more than {max} chunks")]
    StateTooLarge {
        /// The height.
        number: u32,
        /// Chunks that a snapshot may have.
        max: usize,
    },
    /// Making the snapshot was interrupted by the node's stop.
    #[error("stopped")]
    Stopped,
    /// The block's header or certificate is not there.
    #[error(transparent)]
    Light(#[from] LightDataError),
    /// The database refuses or fails.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

impl SyncError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path: path.clone(), source }
    }
}

/// Why restoring a snapshot ends without a restored database. What was there before is untouched.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The genesis configuration gives no genesis block or no validators.
    #[error("the network definition: {0}")]
    Genesis(String),
    /// No peer offers a snapshot above the wanted height.
    #[error("no peer offers a usable snapshot above block {above} within {waited_ms} ms")]
    NothingOffered {
        /// Only snapshots above this height are of use.
        above: u32,
        /// How long the node waited.
        waited_ms: u64,
    },
    /// A snapshot was chosen and its chunks do not come.
    #[error("no chunk came within {waited_ms} ms; {chunks} are missing, and what came is kept")]
    Stalled {
        /// Chunks that are missing.
        chunks: usize,
        /// How long the node waited.
        waited_ms: u64,
    },
    /// The trust in the genesis set or checkpoint is too old, the clock is wrong, or a conflict proves
    /// that a third of the validators' power is dishonest. No peer can mend this.
    #[error(transparent)]
    Trust(LightError),
    /// The checkpoint names another first block than the network definition.
    #[error(
        "the checkpoint's first block is 0x{found}, and that of this network is 0x{genesis}: it is of another chain"
    )]
    OtherChain {
        /// The network definition's, hex.
        genesis: String,
        /// The checkpoint's, hex.
        found: String,
    },
    /// Nobody offers a chain that contains the checkpoint.
    #[error(
        "the chain of the {peers} peers that offer one does not contain the checkpoint at block {number}: \
         it, or the checkpoint, is of another chain"
    )]
    CheckpointMissing {
        /// Height of the checkpoint.
        number: u32,
        /// Peers whose chain does not contain it.
        peers: usize,
    },
    /// The state does not name the block's time.
    #[error("the restored state does not name the block's time")]
    NoTimestamp,
    /// Somebody else reads the carrier's events.
    #[error("the events of the carrier are taken")]
    EventsTaken,
    /// The node is stopping, or the carrier ended.
    #[error("stopped before the snapshot was restored; what was downloaded is kept")]
    Stopped,
    /// The disk, the database or the state.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// This node's own files.
    #[error(transparent)]
    Sync(#[from] SyncError),
}

impl From<StorageError> for RestoreError {
    fn from(error: StorageError) -> Self {
        Self::Sync(SyncError::Storage(error))
    }
}
