//! One process per data directory.

use crate::error::StorageError;
use std::{
    fs::{File, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::Path,
};

/// Name of the lock file.
pub const LOCK_FILE: &str = "x0.lock";

/// The held lock. The system releases it when the process ends, however it ends, so that a crash
/// never leaves a directory locked.
#[derive(Debug)]
pub struct ProcessLock {
    _file: File,
}

impl ProcessLock {
    /// Takes the lock and writes this process's id into the file.
    pub fn acquire(directory: &Path) -> Result<Self, StorageError> {
        let path = directory.join(LOCK_FILE);
        let io = |action: &'static str| {
            let path = path.clone();
            move |source| StorageError::Io { action, path, source }
        };
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(io("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The holder may be between taking the lock and writing its id: then there is no
                // number to name, which is not an error of its own.
                let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(StorageError::AlreadyRunning { path: directory.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(io("lock")(source)),
        }
        file.set_len(0).map_err(io("truncate"))?;
        file.rewind().map_err(io("rewind"))?;
        writeln!(file, "{}", std::process::id()).map_err(io("write"))?;
        Ok(Self { _file: file })
    }
}
