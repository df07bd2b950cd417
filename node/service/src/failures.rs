//! How the process ends when a part does not start or fails: from the parts' errors to exit codes.

use crate::{
    exit::{Exit, Failure},
    guard,
};
use std::path::Path;
use x0_consensus::{ConsensusError, WalError};
use x0_executor::ExecutorError;
use x0_storage::{FatalHandler, StorageError};

/// Ends the process at once when the database cannot be trusted: going on would turn a fault of this
/// machine's disk into a wrong answer about the chain.
pub fn fatal_handler() -> FatalHandler {
    FatalHandler::new(|cause| {
        let code = i32::from(Exit::Storage.code());
        tracing::error!(target: "x0::node", %cause, exit_code = code, "the database failed: the node ends at once");
        eprintln!("x0-node: {cause} (exit code {code}, {})", Exit::Storage.name());
        // SAFETY: `_exit` has no preconditions. The ordinary `exit` would run destructors of
        // RocksDB while other threads use it, and could hang on the failing disk.
        unsafe { libc::_exit(code) }
    })
}

/// How the process ends on account of a storage error at start or stop.
pub fn storage_failure(cause: &StorageError) -> Failure {
    let exit = match cause {
        StorageError::Damaged { .. }
        | StorageError::DamagedRecord { .. }
        | StorageError::DiskFull { .. }
        | StorageError::Database { .. } => Exit::Storage,
        _ => Exit::Configuration,
    };
    Failure::new(exit, cause)
}

/// How the process ends when the executor does not start.
pub fn executor_failure(cause: &ExecutorError) -> Failure {
    match cause {
        ExecutorError::Storage(storage) => storage_failure(storage),
        ExecutorError::UnsupportedSpec { .. } => Failure::new(Exit::SafetyHalt, cause),
        ExecutorError::RootUnchanged { .. } => Failure::new(Exit::Storage, cause),
        _ => Failure::configuration(cause),
    }
}

/// How the process ends when consensus does not start.
pub fn consensus_failure(cause: &ConsensusError) -> Failure {
    let exit = match cause {
        ConsensusError::Guard(cause) => return guard::failure(cause),
        ConsensusError::Wal(WalError::Io { .. }) | ConsensusError::Evidence(_) => Exit::Storage,
        ConsensusError::Wal(WalError::Damaged(_)) => Exit::SafetyHalt,
        _ => Exit::Restartable,
    };
    Failure::new(exit, cause)
}

/// Free space below which a failure of the engine is the disk's: its log or the guard's could not be written.
const DISK_FULL_BYTES: u64 = 1 << 20;

/// How the process ends when a running engine failed whose files lie on the disk of `data`.
pub fn engine_failure(failure: x0_consensus::Failure, data: &Path) -> Failure {
    let (exit, reason) = match failure {
        x0_consensus::Failure::SafetyHalt(reason) => (Exit::SafetyHalt, reason),
        x0_consensus::Failure::Storage(reason) => (Exit::Storage, reason),
        x0_consensus::Failure::Restartable(reason) => (Exit::Restartable, reason),
    };
    if x0_telemetry::process::space(data).is_ok_and(|space| space.free < DISK_FULL_BYTES) {
        return Failure::new(Exit::Storage, format!("the disk of {} is full; consensus: {reason}", data.display()));
    }
    Failure::new(exit, format!("consensus: {reason}"))
}
