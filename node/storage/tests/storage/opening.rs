//! Directories that must not be opened, and why.

use crate::support::*;
use std::fs;
use x0_storage::{Database, OpenOptions, StorageError};
use x0_types::Hash;

#[test]
fn a_second_opener_is_refused_and_told_who_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let db = create(dir.path(), 8);
    let error = Database::open(dir.path(), options(8)).unwrap_err();
    assert!(matches!(&error, StorageError::AlreadyRunning { pid: Some(pid), .. } if *pid == std::process::id()));
    assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
    let clone = db.clone();
    drop(db);
    assert!(Database::open(dir.path(), options(8)).is_err(), "a clone still holds it");
    drop(clone);
    open(dir.path(), 8);
}

#[test]
fn a_directory_of_another_chain_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let db = create(dir.path(), 8);
    let other = Hash::repeat_byte(3);
    assert!(matches!(db.check_genesis(other), Err(StorageError::OtherChain { .. })));
    let mut different = genesis();
    different.hash = other;
    assert!(matches!(db.commit_genesis(different), Err(StorageError::OtherChain { .. })));
    drop(db);
    let error = Database::open(dir.path(), OpenOptions { genesis: Some(other), ..options(8) }).unwrap_err();
    assert!(
        matches!(error, StorageError::OtherChain { expected, found } if expected == other && found == genesis().hash)
    );
    Database::open(dir.path(), OpenOptions { genesis: Some(genesis().hash), ..options(8) }).unwrap();
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path(), 8));
    fs::write(dir.path().join("FORMAT"), "x0-storage 4\n").unwrap();
    let error = Database::open(dir.path(), options(8)).unwrap_err();
    assert!(matches!(error, StorageError::NewerFormat { found: 4, known: 3, .. }), "{error}");
    assert_eq!(fs::read_to_string(dir.path().join("FORMAT")).unwrap(), "x0-storage 4\n");
}

#[test]
fn a_broken_or_missing_format_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path(), 8));
    for text in ["", "x0-storage", "x0-storage one", "x0-storage 0", "something else"] {
        fs::write(dir.path().join("FORMAT"), text).unwrap();
        let error = Database::open(dir.path(), options(8)).unwrap_err();
        assert!(
            matches!(&error, StorageError::BadFormatFile { path, .. } if path.ends_with("FORMAT")),
            "{text:?}: {error}"
        );
    }
    fs::remove_file(dir.path().join("FORMAT")).unwrap();
    let error = Database::open(dir.path(), options(8)).unwrap_err();
    assert!(matches!(error, StorageError::FormatFileMissing { .. }), "{error}");
}

#[test]
fn a_place_that_is_no_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Database::open(&file, options(8)).unwrap_err();
    assert!(matches!(&error, StorageError::Io { path, .. } if *path == file), "{error}");
}
