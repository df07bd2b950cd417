//! Reading and writing keystore files.

use super::{KeystoreError, KeystoreFile};
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use x0_limits::KEYSTORE_FILE_BYTES_MAX;

impl KeystoreFile {
    /// Reads a keystore file.
    ///
    /// # Errors
    /// [`KeystoreError::Io`], [`KeystoreError::FileTooLarge`] and those of
    /// [`KeystoreFile::from_json`].
    pub fn read(path: &Path) -> Result<Self, KeystoreError> {
        let io = |source| KeystoreError::Io { path: path.to_owned(), source };
        let mut text = Vec::new();
        File::open(path).map_err(io)?.take(KEYSTORE_FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(io)?;
        if text.len() as u64 > KEYSTORE_FILE_BYTES_MAX {
            return Err(KeystoreError::FileTooLarge { path: path.to_owned() });
        }
        Self::from_json(&text)
    }

    /// Writes a new keystore file, mode 0600. After success the file is complete and on disk; after
    /// an error or a power cut there is no file of this name, or a complete one.
    ///
    /// # Errors
    /// [`KeystoreError::Exists`] when there is a file of this name, [`KeystoreError::Io`] otherwise.
    pub fn write_new(&self, path: &Path) -> Result<(), KeystoreError> {
        let text = self.to_json()?;
        let io = |source| KeystoreError::Io { path: path.to_owned(), source };
        if path.symlink_metadata().is_ok() {
            return Err(KeystoreError::Exists { path: path.to_owned() });
        }
        let temporary = TemporaryFile::create(path).map_err(io)?;
        let mut handle = &temporary.handle;
        handle.write_all(text.as_bytes()).and_then(|()| handle.sync_all()).map_err(io)?;
        // Linking fails when the name is taken, which renaming does not: two writers cannot
        // overwrite each other's keys.
        std::fs::hard_link(&temporary.path, path).map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => KeystoreError::Exists { path: path.to_owned() },
            _ => io(source),
        })?;
        drop(temporary);
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|directory| directory.sync_all()).map_err(io)
    }
}

/// A file beside its final place, removed when dropped.
struct TemporaryFile {
    path: PathBuf,
    handle: File,
}

impl TemporaryFile {
    fn create(beside: &Path) -> std::io::Result<Self> {
        let name = beside.file_name().ok_or_else(|| std::io::Error::other("the path names no file"))?;
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| std::io::Error::other("no random bytes"))?;
        let path = beside.with_file_name(format!(".{}.{}", name.to_string_lossy(), hex::encode(random)));
        let handle = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { path, handle })
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and what stays behind is encrypted.
        let _ = std::fs::remove_file(&self.path);
    }
}
