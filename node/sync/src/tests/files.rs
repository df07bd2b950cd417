//! Snapshots on the disk: whole, in order, and withdrawn when they are damaged.

use super::support::{CHAIN, HEIGHT, Node, storage, transfer};
use crate::{Shelf, SnapshotMaker, SyncError, make_snapshot};
use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt as _,
    time::{Duration, Instant},
};
use x0_executor::LightDataError;
use x0_storage::{Database, StorageError};

#[test]
fn a_shelf_keeps_the_newest_and_forgets_what_is_not_whole() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = Shelf::open(dir.path()).unwrap();
    assert!(shelf.offers().is_empty());
    let database = &CHAIN.node.database;
    for number in HEIGHT..HEIGHT + 3 {
        make_snapshot(database, &shelf, number).unwrap();
    }
    let numbers = |shelf: &Shelf| shelf.offers().iter().map(|offer| offer.number).collect::<Vec<_>>();
    assert_eq!(numbers(&shelf), [HEIGHT + 2, HEIGHT + 1]);
    // A crash while a snapshot was made leaves nothing to offer.
    fs::create_dir(dir.path().join("making-0000000099")).unwrap();
    fs::write(dir.path().join("making-0000000099/state"), [1]).unwrap();
    fs::write(dir.path().join("0000000014").join("manifest"), [1, 2, 3]).unwrap();
    let shelf = Shelf::open(dir.path()).unwrap();
    assert_eq!(numbers(&shelf), [HEIGHT + 1]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    // The same height gives the same snapshot, on any node and at any time.
    let again = make_snapshot(database, &shelf, HEIGHT).unwrap();
    assert_eq!(again.content, CHAIN.snapshot.content);
    assert_eq!(again.manifest, CHAIN.snapshot.manifest);
    assert!(again.manifest.chunks.len() >= 3, "{} chunks", again.manifest.chunks.len());
}

#[test]
fn a_damaged_chunk_is_noticed_by_the_node_that_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = Shelf::open(dir.path()).unwrap();
    let snapshot = make_snapshot(&CHAIN.node.database, &shelf, HEIGHT).unwrap();
    let state = dir.path().join(format!("{HEIGHT:010}/state"));
    let file = OpenOptions::new().write(true).open(&state).unwrap();
    file.write_all_at(&[0xff; 4], (1 << 20) + 7).unwrap();
    assert_eq!(snapshot.chunk(0).unwrap(), CHAIN.snapshot.chunk(0).unwrap());
    assert!(matches!(snapshot.chunk(1), Err(SyncError::DamagedChunk { index: 1, .. })));
    let beyond = u32::try_from(snapshot.manifest.chunks.len()).unwrap();
    assert!(matches!(snapshot.chunk(beyond), Err(SyncError::NoChunk { .. })));
    shelf.discard(&snapshot);
    assert!(shelf.offers().is_empty() && !state.exists());
}

#[test]
fn what_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = Shelf::open(dir.path()).unwrap();
    let above = make_snapshot(&CHAIN.node.database, &shelf, HEIGHT + 50).unwrap_err();
    assert!(matches!(above, SyncError::Light(LightDataError::AboveHead { .. })), "{above}");
    let chain = tempfile::tempdir().unwrap();
    let mut options = storage();
    options.states_kept = 1;
    let database = Database::open(chain.path(), options).unwrap();
    let executor =
        x0_executor::Executor::new(database.clone(), &super::support::genesis(), Default::default()).unwrap();
    let node = Node { executor, database: database.clone() };
    for number in 0..4 {
        node.advance(vec![transfer(number)]);
    }
    let pruned = make_snapshot(&database, &shelf, 1).unwrap_err();
    let expected = StorageError::StateUnavailable { number: 1, oldest: 3, newest: 4 };
    assert!(matches!(&pruned, SyncError::Storage(error) if error.to_string() == expected.to_string()), "{pruned}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing half-made stays");
}

/// The maker works beside block production and takes each multiple of its interval that it can.
#[test]
fn snapshots_are_made_while_blocks_are() {
    let (chain, shelf) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = Node::open(chain.path());
    let shelf = Shelf::open(shelf.path()).unwrap();
    let maker = SnapshotMaker::start(&node.executor, &shelf, 3).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut number = 0;
    while shelf.offers().len() < 2 {
        assert!(Instant::now() < deadline, "{:?}", maker.stats());
        number += 1;
        node.advance(vec![transfer(number)]);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(shelf.offers().iter().all(|offer| offer.number % 3 == 0));
    let stats = maker.stats();
    assert!(stats.made >= 2 && stats.failed == 0 && stats.last_bytes > 0, "{stats:?}");
    maker.stop();
}
