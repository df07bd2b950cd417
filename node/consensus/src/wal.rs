//! A look at the engine's write-ahead log before the engine opens it.
//!
//! The engine cuts a torn or damaged tail off by itself, but takes a file that does not begin as a log
//! for a fault of its own and panics, at each start again. Here that gets a name.
//!
//! A file system that grows a file before it writes the data can leave zeros at the end after a loss of power. To the
//! engine they are entries without a byte, each with the right checksum, that it cannot read: it would halt at
//! each start. No entry is ever empty, so that they are cut off here.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// Bytes of the engine's header: version and height.
const HEADER_BYTES: usize = 12;
/// The version that the engine writes and reads, big-endian.
const VERSION: [u8; 4] = [0, 0, 0, 1];

/// Bytes before an entry's data: compression flag, length, CRC-32.
const ENTRY_HEAD_BYTES: u64 = 1 + 8 + 4;

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

/// Where the first entry without data begins; the end of the file when there is none.
///
/// # Errors
/// When the file cannot be read.
pub fn sound_length(log: &mut (impl Read + Seek)) -> io::Result<u64> {
    let end = log.seek(SeekFrom::End(0))?;
    let mut at = u64::try_from(HEADER_BYTES).unwrap_or(u64::MAX);
    while end.saturating_sub(at) >= ENTRY_HEAD_BYTES {
        log.seek(SeekFrom::Start(at + 1))?;
        let mut length = [0; 8];
        log.read_exact(&mut length)?;
        match u64::from_be_bytes(length) {
            0 => return Ok(at),
            length => match (at + ENTRY_HEAD_BYTES).checked_add(length) {
                Some(next) if next <= end => at = next,
                // A torn entry; the engine cuts it off.
                _ => break,
            },
        }
    }
    Ok(end)
}

/// Checks the log's header, and cuts off empty entries. A file that ends within the header was never written to; it is
/// emptied.
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
        Ok(()) if header.starts_with(&VERSION) => {
            let sound = sound_length(&mut file).map_err(io)?;
            if sound < file.metadata().map_err(io)?.len() {
                let file = OpenOptions::new().write(true).open(path).map_err(io)?;
                file.set_len(sound).and_then(|()| file.sync_all()).map_err(io)?;
            }
            Ok(())
        }
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
        let entry = [&[0, 0, 0, 0, 0, 0, 0, 0, 3, 9, 9, 9, 9][..], b"abc"].concat();
        let whole = [&VERSION[..], &[0; 8], &entry, &entry].concat();
        for (tail, expected) in [(&[][..], 0), (&[0; 5], 5), (&[0; 13], 0), (&[0; 1000], 0), (&entry[..14], 14)] {
            std::fs::write(&path, [&whole[..], tail].concat()).unwrap();
            check(&path).unwrap();
            assert_eq!(std::fs::read(&path).unwrap().len(), whole.len() + expected, "{tail:?}");
        }
        std::fs::write(&path, [0; 40]).unwrap();
        assert!(matches!(check(&path), Err(WalError::Damaged(named)) if named == path));
    }
}
