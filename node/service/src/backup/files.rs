//! Files of a backup: listed with their hashes, verified, copied.

use crate::exit::{Exit, Failure};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    path::{Component, Path, PathBuf},
};

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Where it is in the backup.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// BLAKE2b-256 of its content, hex.
    pub hash: String,
}

fn failed(action: &str, path: &Path, cause: &dyn core::fmt::Display) -> Failure {
    Failure::new(Exit::Storage, format!("cannot {action} {}: {cause}", path.display()))
}

/// All files below a directory, by path.
pub fn list(root: &Path) -> Result<Vec<Entry>, Failure> {
    let mut entries = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|cause| failed("read", &folder, &cause))? {
            let path = entry.map_err(|cause| failed("read", &folder, &cause))?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).map_err(|cause| failed("read", &path, &cause))?;
            entries.push(Entry {
                path: path.strip_prefix(root).unwrap_or(&path).to_owned(),
                bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
                hash: hex::encode(x0_crypto::blake2b_256(&bytes)),
            });
        }
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

/// Compares a backup with its manifest: every file is there and unchanged, and no other is.
pub fn verify(root: &Path, entries: &[Entry]) -> Result<(), Failure> {
    for entry in entries {
        let path = root.join(&entry.path);
        if !entry.path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(Failure::configuration(format!(
                "the manifest names {}, outside the backup",
                entry.path.display()
            )));
        }
        let size = std::fs::metadata(&path).map_err(|cause| failed("read", &path, &cause))?.len();
        if size != entry.bytes {
            return Err(failed("use", &path, &format!("{size} bytes, and the manifest says {}", entry.bytes)));
        }
        let bytes = std::fs::read(&path).map_err(|cause| failed("read", &path, &cause))?;
        if hex::encode(x0_crypto::blake2b_256(&bytes)) != entry.hash {
            return Err(failed("use", &path, &"its content is not what the manifest says: the backup is damaged"));
        }
    }
    let listed = |path: &Path| entries.iter().any(|entry| entry.path == path);
    match list(root)?.into_iter().find(|found| found.path != Path::new("manifest.json") && !listed(&found.path)) {
        Some(stranger) => Err(failed("use", &root.join(stranger.path), &"the manifest does not name it")),
        None => Ok(()),
    }
}

/// Copies a directory and waits until it is on the disk.
pub fn copy_tree(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(to).map_err(|cause| failed("create", to, &cause))?;
    for entry in std::fs::read_dir(from).map_err(|cause| failed("read", from, &cause))? {
        let source = entry.map_err(|cause| failed("read", from, &cause))?.path();
        let Some(name) = source.file_name() else { continue };
        let target = to.join(name);
        if source.is_dir() {
            copy_tree(&source, &target)?;
        } else {
            std::fs::copy(&source, &target)
                .and_then(|_| File::open(&target)?.sync_all())
                .map_err(|cause| failed("copy", &source, &cause))?;
        }
    }
    File::open(to).and_then(|folder| folder.sync_all()).map_err(|cause| failed("sync", to, &cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_missing_added_and_outside_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let (root, copy) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::create_dir_all(root.join("deep/er")).unwrap();
        for name in ["one", "deep/two", "deep/er/three"] {
            std::fs::write(root.join(name), name).unwrap();
        }
        let entries = list(&root).unwrap();
        assert_eq!(entries.len(), 3);
        copy_tree(&root, &copy).unwrap();
        verify(&copy, &entries).unwrap();
        std::fs::write(copy.join("manifest.json"), "{}").unwrap();
        verify(&copy, &entries).unwrap();
        let refused = |entries: &[Entry], word: &str| {
            let failure = verify(&copy, entries).unwrap_err();
            assert!(failure.reason.contains(word), "{}", failure.reason);
        };
        std::fs::write(copy.join("deep/two"), "deep/tw0").unwrap();
        refused(&entries, "damaged");
        std::fs::write(copy.join("deep/two"), "short").unwrap();
        refused(&entries, "5 bytes");
        std::fs::remove_file(copy.join("deep/two")).unwrap();
        refused(&entries, "deep/two");
        std::fs::write(copy.join("deep/two"), "deep/two").unwrap();
        std::fs::write(copy.join("four"), "").unwrap();
        refused(&entries, "four");
        let outside = Entry { path: "../a/one".into(), ..entries[0].clone() };
        refused(&[outside], "outside");
    }
}
