//! A state leaves one database as a stream of nodes and enters another, whole or not at all.

use crate::support::{Changes, Model, apply, create, next_block, open, options, read_state, trie_of};
use bytes::Bytes;
use proptest::prelude::*;
use std::{collections::BTreeMap, fs, path::Path};
use x0_storage::{
    Database, History, ImportError, OpenOptions, RestoreArea, RestoreCommit, RestoredBlock, StorageError, StreamError,
    WalkError,
};
use x0_types::Hash;

/// The stream of a state: each node with its length before it.
fn stream(db: &Database, number: u32) -> Vec<u8> {
    let head = db.head().unwrap();
    assert_eq!(head.number, number);
    let mut nodes = db.state_nodes(number, head.state_root).unwrap();
    let mut bytes = Vec::new();
    while let Some(node) = nodes.next_node().unwrap() {
        bytes.extend_from_slice(&u32::try_from(node.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(&node);
    }
    bytes
}

fn commit_of(db: &Database) -> RestoreCommit {
    let head = db.head().unwrap();
    let block = |number: u32| RestoredBlock {
        number,
        hash: db.hash_of(number).unwrap(),
        header: db.header(number).unwrap(),
        certificate: db.certificate(number),
        validator_set: (number == 0).then(|| vec![7]),
    };
    RestoreCommit {
        genesis: db.genesis_hash().unwrap(),
        blocks: vec![block(0), block(head.number)],
        head: head.hash,
        state_root: head.state_root,
        timestamp_ms: head.timestamp_ms,
    }
}

fn import(area: &RestoreArea, db: &Database, bytes: &[u8], chunk: usize) -> Result<(), ImportError> {
    let head = db.head().unwrap();
    let mut import = area.begin(options(8), head.number, head.state_root)?;
    for chunk in bytes.chunks(chunk.max(1)) {
        import.feed(chunk)?;
    }
    import.finish(&commit_of(db))
}

/// Few letters give deep branches; long values stand in nodes of their own. Some keys are the
/// beginning of others, so that branches have values. Only whole keys are removed, as on the chain,
/// where no key that is removed begins another: the trie library panics on some such removals.
fn changes() -> impl Strategy<Value = Changes> {
    let value = || proptest::collection::vec(any::<u8>(), 0..120);
    let short = (proptest::collection::vec(0u8..3, 1..5), value().prop_map(Some));
    let whole = (proptest::collection::vec(0u8..3, 5), proptest::option::weighted(0.7, value()));
    proptest::collection::vec(prop_oneof![short, whole], 0..40)
        .prop_map(|changes| changes.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the state, the other database holds exactly its nodes afterwards, and the chain goes
    /// on there with the same roots. A single flipped bit anywhere is refused.
    #[test]
    fn a_state_arrives_exactly_or_is_refused(
        blocks in proptest::collection::vec(changes(), 1..4),
        then in changes(),
        chunk in 1usize..2_000,
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let source = create(from.path(), 8);
        let mut model = Model::new();
        for (number, changes) in (1u8..).zip(&blocks) {
            // As on the real chain, no two blocks have the same state.
            let mut changes = changes.clone();
            changes.push((b"number".to_vec(), Some(vec![number])));
            source.commit_block(next_block(&source, &changes, vec![])).unwrap();
            apply(&mut model, &changes);
        }
        let bytes = stream(&source, blocks.len() as u32);
        let area = RestoreArea::open(to.path()).unwrap();

        let mut wrong = bytes.clone();
        wrong[at.index(bytes.len())] ^= 1 << bit;
        prop_assert!(import(&area, &source, &wrong, chunk).is_err());
        let short = import(&area, &source, &bytes[..bytes.len() - 1], chunk);
        let incomplete = matches!(short, Err(ImportError::Stream(StreamError::Incomplete { .. })));
        prop_assert!(incomplete, "{:?}", short);
        prop_assert!(import(&area, &source, &[&bytes[..], &[1, 0, 0, 0, 9]].concat(), chunk).is_err());
        prop_assert!(!to.path().join("db").exists(), "nothing is there before the state is whole");

        import(&area, &source, &bytes, chunk).unwrap();
        area.switch().unwrap();
        let restored = open(to.path(), 8);
        prop_assert_eq!(restored.head(), source.head());
        prop_assert_eq!(restored.genesis_hash(), source.genesis_hash());
        let head = restored.head().unwrap();
        let (root, keys) = trie_of(&model);
        prop_assert_eq!(head.state_root, root);
        prop_assert_eq!(read_state(&restored, root), model);
        prop_assert_eq!(stream(&restored, head.number), bytes);
        prop_assert_eq!(keys.len(), count(&restored, head.number));
        let (next, same) = (next_block(&restored, &then, vec![]), next_block(&source, &then, vec![]));
        prop_assert_eq!(next.state_root, same.state_root);
        restored.commit_block(next).unwrap();
    }
}

fn count(db: &Database, number: u32) -> usize {
    let mut nodes = db.state_nodes(number, db.head().unwrap().state_root).unwrap();
    std::iter::from_fn(|| nodes.next_node().unwrap()).count()
}

/// Three blocks, of which each writes a value of its own.
fn source(path: &Path) -> Database {
    let db = create(path, 8);
    for number in 1..=3u8 {
        db.commit_block(next_block(&db, &vec![(vec![number], Some(vec![number; 50]))], vec![])).unwrap();
    }
    db
}

#[test]
fn a_wrong_node_is_named_where_it_stands() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = source(from.path());
    let bytes = stream(&source, 3);
    let area = RestoreArea::open(to.path()).unwrap();
    let mut wrong = bytes.clone();
    wrong[6] ^= 1;
    let error = import(&area, &source, &wrong, 7).unwrap_err();
    let root = source.head().unwrap().state_root;
    assert!(
        matches!(error, ImportError::Stream(StreamError::Walk(WalkError::WrongNode { expected, .. })) if expected == root),
        "{error}"
    );
    let huge = [u32::MAX.to_le_bytes().as_slice(), &[0; 8]].concat();
    let error = import(&area, &source, &huge, 3).unwrap_err();
    assert!(matches!(error, ImportError::Stream(StreamError::NodeTooLarge { bytes: 4_294_967_295, .. })), "{error}");
    let error = import(&area, &source, &[0; 8], 8).unwrap_err();
    assert!(matches!(error, ImportError::Stream(StreamError::Walk(WalkError::WrongNode { .. }))), "{error}");
}

/// The switch replaces an old database at one instant, whichever step a crash interrupts.
#[test]
fn an_interrupted_switch_is_finished_by_opening() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = source(from.path());
    let bytes = stream(&source, 3);
    for step in 0..4 {
        let _ = fs::remove_dir_all(to.path());
        let old = create(to.path(), 8);
        old.commit_block(next_block(&old, &vec![(b"old".to_vec(), Some(vec![1]))], vec![])).unwrap();
        drop(old);
        let area = RestoreArea::open(to.path()).unwrap();
        assert!(area.has_database());
        import(&area, &source, &bytes, 100).unwrap();
        let restore = area.path().to_owned();
        drop(area);
        // Without the marker the old database stays.
        if step == 0 {
            assert_eq!(open(to.path(), 8).head().unwrap().number, 1);
            continue;
        }
        fs::write(restore.join("COMPLETE"), []).unwrap();
        if step >= 2 {
            fs::rename(to.path().join("db"), restore.join("replaced")).unwrap();
        }
        if step >= 3 {
            fs::rename(restore.join("new/db"), to.path().join("db")).unwrap();
        }
        let db = open(to.path(), 8);
        assert_eq!(db.head(), source.head(), "interrupted before step {step}");
        assert!(!restore.exists());
        assert_eq!((db.history_start(), db.oldest_state()), (4, 3));
        assert!(db.header(1).is_none() && db.header(0).is_some() && db.certificate(3).is_some());
        assert_eq!(db.validator_set(0), Some(vec![7]));
    }
}

#[test]
fn a_running_node_keeps_its_directory_and_a_pinned_state_outlives_pruning() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), 1);
    db.commit_genesis(crate::support::genesis()).unwrap();
    assert!(matches!(RestoreArea::open(dir.path()), Err(StorageError::AlreadyRunning { .. })));
    let set = |value: u8| vec![(b"key".to_vec(), Some(vec![value; 40])), (vec![value], Some(vec![value; 40]))];
    db.commit_block(next_block(&db, &set(1), vec![])).unwrap();
    let expected = stream(&db, 1);
    let mut nodes = db.state_nodes(1, db.head().unwrap().state_root).unwrap();
    for value in 2..20 {
        db.commit_block(next_block(&db, &set(value), vec![])).unwrap();
    }
    let mut bytes = Vec::new();
    while let Some(node) = nodes.next_node().unwrap() {
        bytes.extend_from_slice(&u32::try_from(node.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(&node);
    }
    assert_eq!(bytes, expected);
    drop(nodes);
    db.commit_block(next_block(&db, &set(20), vec![])).unwrap();
    assert!(matches!(db.state_nodes(1, Hash::zero()), Err(StorageError::StateUnavailable { number: 1, .. })));
}

/// A pruning node says where its history begins, hides what lies below in every index, and keeps what
/// light clients need.
#[test]
fn history_has_an_honest_floor() {
    let dir = tempfile::tempdir().unwrap();
    let keep = |history| OpenOptions { history, ..options(4) };
    let db = Database::open(dir.path(), keep(History::Archive)).unwrap();
    db.commit_genesis(crate::support::genesis()).unwrap();
    let body = |number: u32| vec![Bytes::copy_from_slice(&number.to_be_bytes())];
    let push = |db: &Database| {
        let number = db.head().unwrap().number + 1;
        let mut block = next_block(db, &vec![], body(number));
        block.validator_set = (number == 2).then(|| vec![2]);
        let hash = block.extrinsic_hashes[0];
        db.commit_block(block).unwrap();
        hash
    };
    let hashes: Vec<_> = (0..20).map(|_| push(&db)).collect();
    assert_eq!(db.history_start(), 1);
    let account = crate::support::account(0);
    assert_eq!(db.account_history(&account, None, 100).len(), 20);
    drop(db);

    let db = Database::open(dir.path(), keep(History::Blocks(5))).unwrap();
    for _ in 0..4 {
        push(&db);
    }
    let head = db.head().unwrap().number;
    let start = db.history_start();
    assert_eq!(start, head - 5);
    for number in 1..=head {
        let kept = number >= start;
        assert_eq!(db.body(number).is_some(), kept, "{number}");
        assert_eq!(db.certificate(number).is_some(), kept || number == 2, "{number}");
        assert!(db.header(number).is_some(), "headers stay");
    }
    assert_eq!(db.set_changes_after(0, 10), [2]);
    assert_eq!(db.set_changes_after(2, 10), [] as [u32; 0]);
    assert_eq!(db.extrinsic_location(&hashes[3]), None);
    assert_eq!(db.account_history(&account, None, 100).last(), Some(&(start, 0)));
    db.flush().unwrap();
    drop(db);
    // An archive that was a pruning node does not claim what it lacks.
    let db = Database::open(dir.path(), keep(History::Archive)).unwrap();
    push(&db);
    assert_eq!(db.history_start(), start);
}

/// A directory of an older version keeps its data and learns its history.
#[test]
fn older_formats_are_taken_over() {
    for version in [1, 2] {
        let dir = tempfile::tempdir().unwrap();
        let db = create(dir.path(), 8);
        db.commit_block(next_block(&db, &vec![], vec![])).unwrap();
        drop(db);
        fs::write(dir.path().join("FORMAT"), format!("x0-storage {version}\n")).unwrap();
        let db = open(dir.path(), 8);
        assert_eq!((db.head().unwrap().number, db.history_start()), (1, 1));
        drop(db);
        assert_eq!(fs::read_to_string(dir.path().join("FORMAT")).unwrap(), "x0-storage 3\n");
    }
}
