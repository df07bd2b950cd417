//! Commits, indexes, undecided blocks.

use crate::support::*;
use bytes::Bytes;
use x0_storage::StorageError;
use x0_types::Hash;

fn body(number: u32) -> Vec<Bytes> {
    // The third one is large enough for a blob file.
    vec![vec![1, number as u8].into(), format!("extrinsic of {number}").into(), vec![number as u8; 20_000].into()]
}

#[test]
fn a_committed_block_is_found_by_every_index() {
    let dir = tempfile::tempdir().unwrap();
    let db = create(dir.path(), 8);
    for number in 1..=5 {
        let block = next_block(&db, &vec![(vec![number as u8], Some(vec![7; 40]))], body(number));
        let (hash, header) = (block.hash, block.header.clone());
        db.commit_block(block).unwrap();
        let head = db.head().unwrap();
        assert_eq!((head.number, head.hash, head.timestamp_ms), (number, hash, u64::from(number) * 150));
        assert_eq!(db.header(number).unwrap(), header);
        assert_eq!(db.header_by_hash(&hash).unwrap(), header);
        assert_eq!(db.hash_of(number), Some(hash));
        assert_eq!(db.number_of(&hash), Some(number));
    }
    drop(db);
    let db = open(dir.path(), 8);
    for number in 1..=5 {
        assert_eq!(db.body(number).unwrap(), body(number));
        for (index, bytes) in (0..).zip(body(number)) {
            assert_eq!(db.extrinsic_location(&blake2_256(&bytes).into()), Some((number, index)));
        }
        assert_eq!(db.certificate(number).unwrap(), format!("certificate {number}").into_bytes());
    }
    assert_eq!(db.body(0), Some(vec![]));
    assert_eq!(db.body(6), None);
    assert_eq!(db.header(6), None);
    assert_eq!(db.extrinsic_location(&Hash::repeat_byte(1)), None);
}

#[test]
fn history_comes_newest_first_in_pages() {
    let dir = tempfile::tempdir().unwrap();
    let db = create(dir.path(), 8);
    for number in 1..=5 {
        let block = next_block(&db, &vec![(vec![1], Some(vec![number as u8]))], body(number));
        db.commit_block(block).unwrap();
    }
    let expected: Vec<_> = (1..=5).rev().map(|number| (number, 2)).collect();
    assert_eq!(db.account_history(&account(2), None, 100), expected);
    assert_eq!(db.account_history(&account(2), None, 2), expected[..2]);
    assert_eq!(db.account_history(&account(2), Some(expected[1]), 2), expected[2..4]);
    assert_eq!(db.account_history(&account(9), None, 100), vec![]);
}

#[test]
fn a_commit_repeats_without_change_and_refuses_another_block() {
    let dir = tempfile::tempdir().unwrap();
    let db = create(dir.path(), 8);
    let changes = vec![(b"key".to_vec(), Some(b"value".to_vec()))];
    let block = || {
        let mut block = next_block(&create(tempfile::tempdir().unwrap().path(), 8), &changes, body(1));
        block.certificate = None;
        block
    };
    db.commit_block(block()).unwrap();
    assert_eq!(db.certificate(1), None);
    let mut again = block();
    again.certificate = Some(b"late".to_vec());
    let head = db.head();
    db.commit_block(again).unwrap();
    assert_eq!(db.head(), head);
    assert_eq!(db.certificate(1), Some(b"late".to_vec()), "the certificate that was missing is added");

    let mut other = block();
    other.hash = Hash::repeat_byte(9);
    assert!(matches!(db.commit_block(other), Err(StorageError::DifferentBlock { number: 1, .. })));
    let mut gap = next_block(&db, &changes, vec![]);
    gap.number += 1;
    assert!(matches!(db.commit_block(gap), Err(StorageError::Gap { head: 1, number: 3 })));
    let mut orphan = next_block(&db, &changes, vec![]);
    orphan.parent_hash = Hash::repeat_byte(9);
    assert!(matches!(db.commit_block(orphan), Err(StorageError::WrongParent { number: 2, .. })));
    let mut uneven = next_block(&db, &changes, body(2));
    uneven.extrinsic_hashes.pop();
    assert!(matches!(db.commit_block(uneven), Err(StorageError::HashesMismatch { hashes: 2, extrinsics: 3, .. })));
    assert_eq!(db.head(), head);
    assert_eq!(read_state(&db, head.unwrap().state_root), [(b"key".to_vec(), b"value".to_vec())].into());
}

#[test]
fn the_empty_state_is_readable_without_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let db = create(dir.path(), 8);
    assert!(read_state(&db, db.head().unwrap().state_root).is_empty());
    db.commit_genesis(genesis()).unwrap();
    db.commit_block(next_block(&db, &vec![(vec![1], Some(vec![1]))], vec![])).unwrap();
    db.commit_block(next_block(&db, &vec![(vec![1], None)], vec![])).unwrap();
    assert!(read_state(&db, db.head().unwrap().state_root).is_empty());
}

#[test]
fn a_block_before_the_genesis_block_is_refused() {
    let (full, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let block = next_block(&create(full.path(), 8), &vec![], vec![]);
    assert!(matches!(open(empty.path(), 8).commit_block(block), Err(StorageError::NoGenesis)));
}

#[test]
fn undecided_blocks_survive_and_keep_their_verdicts() {
    let dir = tempfile::tempdir().unwrap();
    let db = create(dir.path(), 8);
    let (a, b) = (Hash::repeat_byte(0xaa), Hash::repeat_byte(0xff));
    let large = vec![5; 100_000];
    db.put_undecided(7, 0, a, &large, None).unwrap();
    db.put_undecided(7, 0, b, b"b", Some(false)).unwrap();
    db.put_undecided(7, 1, a, &large, Some(true)).unwrap();
    db.put_undecided(7, -1, b, b"b", None).unwrap();
    db.put_undecided(8, 0, a, b"next", None).unwrap();
    db.put_verdict(7, 0, a, true).unwrap();
    db.put_undecided(7, 0, a, &large, None).unwrap();
    assert!(matches!(db.put_verdict(9, 0, a, true), Err(StorageError::UnknownUndecided { height: 9, .. })));
    drop(db);

    let db = open(dir.path(), 8);
    let seen: Vec<_> =
        db.undecided(7, 0).into_iter().map(|block| (block.id, block.bytes.len(), block.verdict)).collect();
    assert_eq!(seen, [(a, 100_000, Some(true)), (b, 1, Some(false))]);
    let rounds: Vec<_> = db.undecided_at(7).into_iter().map(|block| (block.round, block.id)).collect();
    assert_eq!(rounds, [(-1, b), (0, a), (0, b), (1, a)]);
    let found = db.undecided_by_id(&b).unwrap();
    assert_eq!((found.height, found.round, found.verdict), (7, 0, Some(false)));
    assert_eq!(db.undecided_by_id(&a).unwrap().height, 8);
    assert_eq!(db.undecided_by_id(&Hash::zero()), None);

    db.prune_undecided(8).unwrap();
    assert!(db.undecided_at(7).is_empty());
    assert_eq!(db.undecided_by_id(&b), None);
    assert_eq!(db.undecided_by_id(&a).unwrap().bytes, &b"next"[..]);
}
