//! The version of the directory's layout, in a file that is readable before the database is opened.
//!
//! It stands outside RocksDB because a newer layout may have other column families, and then the
//! database cannot even be opened to ask.

use crate::error::StorageError;
use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::Path,
};

/// Name of the format file.
pub const FORMAT_FILE: &str = "FORMAT";
/// The layout that this program writes.
pub const FORMAT_VERSION: u32 = 3;
/// First word of the file.
const TAG: &str = "x0-storage";

/// Checks the format of an existing directory, or marks a new one.
pub fn check_or_create(directory: &Path, database: &Path) -> Result<(), StorageError> {
    let path = directory.join(FORMAT_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => check(directory, &path, &text),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if database.join("CURRENT").exists() {
                return Err(StorageError::FormatFileMissing { path });
            }
            create(directory, &path)
        }
        Err(source) => Err(StorageError::Io { action: "read", path, source }),
    }
}

fn check(directory: &Path, path: &Path, text: &str) -> Result<(), StorageError> {
    let bad = |detail: &str| StorageError::BadFormatFile { path: path.to_owned(), detail: detail.to_owned() };
    let version = text.trim().strip_prefix(TAG).ok_or_else(|| bad("it does not begin with `x0-storage`"))?;
    let found: u32 = version.trim().parse().map_err(|_| bad("its version is not a number"))?;
    match found {
        FORMAT_VERSION => Ok(()),
        // Version 2 has one column more, which opening the database creates; in version 3 a body may be a reference.
        1 | 2 => create(directory, path),
        0 => Err(bad("version 0 was never used")),
        _ => Err(StorageError::NewerFormat { path: directory.to_owned(), found, known: FORMAT_VERSION }),
    }
}

/// Writes the file beside its place, syncs it and renames it, so that a crash leaves either no
/// format file (and no database yet) or a whole one.
pub fn create(directory: &Path, path: &Path) -> Result<(), StorageError> {
    let io = |action: &'static str| move |source| StorageError::Io { action, path: path.to_owned(), source };
    let temporary = directory.join("FORMAT.new");
    let mut file = File::create(&temporary).map_err(io("create"))?;
    writeln!(file, "{TAG} {FORMAT_VERSION}").map_err(io("write"))?;
    file.sync_all().map_err(io("sync"))?;
    fs::rename(&temporary, path).map_err(io("rename"))?;
    File::open(directory).and_then(|dir| dir.sync_all()).map_err(io("sync the directory of"))
}
