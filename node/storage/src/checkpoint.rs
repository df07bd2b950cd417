//! Consistent copies of a database, for backups.

use crate::{database::Database, error::StorageError, format};
use rocksdb::checkpoint::Checkpoint;
use std::{fs, path::Path};

impl Database {
    /// Makes a data directory with the state of this moment: everything that was committed before the call, and
    /// nothing by halves. Tables are shared by hard links where the file system allows it, and copied elsewhere,
    /// so that a copy beside the database costs next to nothing. The directory must not exist; it is no chain's
    /// running directory until somebody opens it.
    ///
    /// # Errors
    /// [`StorageError::Io`] when the directory exists or cannot be made, [`StorageError::DiskFull`] and
    /// [`StorageError::Database`] from the copying.
    pub fn checkpoint(&self, directory: &Path) -> Result<(), StorageError> {
        fs::create_dir(directory).map_err(|source| StorageError::Io {
            action: "create",
            path: directory.to_owned(),
            source,
        })?;
        // The database first: a directory with a format file is a whole one.
        let failed = |error| self.0.write_error("make a checkpoint", error);
        Checkpoint::new(&self.0.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(directory.join("db")))
            .map_err(failed)?;
        format::create(directory, &directory.join(format::FORMAT_FILE))
    }
}

#[cfg(test)]
mod tests {
    use crate::{Database, OpenOptions};

    #[test]
    fn a_checkpoint_is_a_data_directory_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("live"), OpenOptions::default()).unwrap();
        let copy = folder.path().join("copy");
        database.checkpoint(&copy).unwrap();
        assert!(database.checkpoint(&copy).unwrap_err().to_string().contains("copy"));
        let opened = Database::open(&copy, OpenOptions::default()).unwrap();
        assert_eq!(opened.head(), database.head());
    }
}
