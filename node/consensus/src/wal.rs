//! A look at the engine's write-ahead log before the engine opens it.
//!
//! The engine cuts a torn or damaged tail off by itself, but takes a file that does not begin as a log
//! for a fault of its own and panics, at each start again. Here that gets a name.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

/// Bytes of the engine's header: version and height.
const HEADER_BYTES: usize = 12;
/// The version that the engine writes and reads, big-endian.
const VERSION: [u8; 4] = [0, 0, 0, 1];

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The file does not begin as a log.
    #[error(
        "{0} does not begin as a log of this version: the disk lost data; the guard holds what was signed, so once the disk is trusted again, move the file away and start"
    )]
    Damaged(PathBuf),
    /// The file cannot be read or cut.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Checks the log's header. A file that ends within it was never written to; it is emptied.
///
/// # Errors
/// When the header is another one, or the file cannot be read.
pub(crate) fn check(path: &Path) -> Result<(), WalError> {
    let io = |source| WalError::Io { path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(io(cause)),
    };
    let mut header = [0u8; HEADER_BYTES];
    match file.read_exact(&mut header) {
        Ok(()) if header.starts_with(&VERSION) => Ok(()),
        Ok(()) => Err(WalError::Damaged(path.to_owned())),
        Err(cause) if cause.kind() == ErrorKind::UnexpectedEof => {
            OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(0)).map_err(io)
        }
        Err(cause) => Err(io(cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_log_or_the_beginning_of_one_is_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("consensus.wal");
        check(&path).unwrap();
        for short in [&b""[..], &VERSION, &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 9]] {
            std::fs::write(&path, short).unwrap();
            check(&path).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"", "{short:?}");
        }
        let mut log = VERSION.to_vec();
        log.extend([7; 40]);
        std::fs::write(&path, &log).unwrap();
        check(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), log, "a good one is left alone");
        std::fs::write(&path, [0; 40]).unwrap();
        assert!(matches!(check(&path), Err(WalError::Damaged(named)) if named == path));
    }
}
