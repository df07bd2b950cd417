//! Damaged files: named when the directory is opened, fatal when they are read later, never data.

use crate::support::*;
use parking_lot::Mutex;
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::{Backend, TrieBackendBuilder, TrieBackendStorage};
use std::{fs, path::PathBuf, sync::Arc};
use x0_storage::{Database, FatalHandler, OpenOptions, StorageError};
use x0_types::Hash;

/// A closed directory with some blocks in table files, and the paths of those with this ending.
fn directory(ending: &str) -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let db = create(dir.path(), 8);
    for number in 1..=20u8 {
        let changes = (0..20u8).map(|index| (vec![index, number], Some(vec![number; 40]))).collect();
        db.commit_block(next_block(&db, &changes, vec![vec![number; 10_000].into()])).unwrap();
    }
    db.flush().unwrap();
    drop(db);
    let files = fs::read_dir(dir.path().join("db"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().contains(ending))
        .collect();
    (dir, files)
}

/// Options that collect what goes to the fatal handler.
fn collecting() -> (OpenOptions, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let fatal = FatalHandler::new(move |error| sink.lock().push(error.to_string()));
    (OpenOptions { fatal, ..options(8) }, seen)
}

#[test]
fn a_missing_or_truncated_table_file_is_named_at_open() {
    let (dir, files) = directory(".sst");
    for file in [files.first().unwrap(), files.last().unwrap()] {
        let whole = fs::read(file).unwrap();
        fs::write(file, &whole[..whole.len() / 2]).unwrap();
        let error = Database::open(dir.path(), options(8)).unwrap_err();
        assert!(
            matches!(&error, StorageError::Damaged { file: named, .. } if named.file_name() == file.file_name()),
            "{error}"
        );
        fs::remove_file(file).unwrap();
        let error = Database::open(dir.path(), options(8)).unwrap_err();
        assert!(
            matches!(&error, StorageError::Damaged { file: named, .. } if named.file_name() == file.file_name()),
            "{error}"
        );
        fs::write(file, whole).unwrap();
    }
    open(dir.path(), 8);
}

#[test]
fn a_damaged_manifest_is_named_at_open() {
    let (dir, files) = directory("MANIFEST-");
    let file = files.last().unwrap();
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(file, bytes).unwrap();
    let error = Database::open(dir.path(), options(8)).unwrap_err();
    assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
}

#[test]
fn a_flipped_bit_in_a_table_never_becomes_data() {
    let (dir, files) = directory(".sst");
    let healthy: Vec<_> = {
        let db = open(dir.path(), 8);
        (0..=20).map(|number| (db.header(number), db.body(number), db.hash_of(number))).collect()
    };
    for file in files {
        let whole = fs::read(&file).unwrap();
        let mut bytes = whole.clone();
        // The first data block begins the file: its records are what the reads below touch.
        bytes[20] ^= 1;
        fs::write(&file, &bytes).unwrap();
        let (options, seen) = collecting();
        match Database::open(dir.path(), options) {
            Err(error) => assert!(matches!(error, StorageError::Damaged { .. }), "{error}"),
            Ok(db) => {
                let root = db.head().unwrap().state_root;
                let backend = TrieBackendBuilder::<_, BlakeTwo256>::new(db.state(), root).build();
                let pairs = backend.pairs(Default::default()).unwrap().filter_map(Result::ok).count();
                let same = (0..=20)
                    .zip(&healthy)
                    .all(|(number, expected)| (db.header(number), db.body(number), db.hash_of(number)) == *expected);
                let whole_state = pairs == 400;
                assert!((same && whole_state) || !seen.lock().is_empty(), "wrong data without a report from {file:?}");
            }
        }
        fs::write(&file, whole).unwrap();
    }
}

#[test]
fn a_missing_state_node_is_fatal() {
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path(), 8));
    let (options, seen) = collecting();
    let db = Database::open(dir.path(), options).unwrap();
    let hash = Hash::repeat_byte(5);
    assert!(db.state().get(&hash, sp_trie::EMPTY_PREFIX).is_err());
    assert!(seen.lock()[0].contains("0x0505"), "{:?}", seen.lock());
}

/// The default handler ends the process; seen from a child process.
#[test]
fn the_default_handler_ends_the_process_with_its_code() {
    const DIRECTORY: &str = "X0_STORAGE_TEST_FATAL_DIRECTORY";
    if let Ok(path) = std::env::var(DIRECTORY) {
        let db = Database::open(path.as_ref(), OpenOptions::default()).unwrap();
        let _ = db.state().get(&Hash::repeat_byte(5), sp_trie::EMPTY_PREFIX);
        panic!("a missing node did not end the process");
    }
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path(), 8));
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "damage::the_default_handler_ends_the_process_with_its_code", "--nocapture"])
        .env(DIRECTORY, dir.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(x0_storage::EXIT_CODE_STORAGE));
}
