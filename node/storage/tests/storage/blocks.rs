//! Commits, indexes, undecided blocks.

use crate::support::*;
use bytes::Bytes;
use codec::Encode;
use x0_storage::{History, OpenOptions, StorageError};
use x0_types::Hash;

/// Bytes of the header that `support` makes up: number, parent, state root.
const HEADER_BYTES: usize = 4 + 32 + 32;

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
    let large = Bytes::from(vec![5; 100_000]);
    let small = Bytes::from_static(b"b");
    db.put_undecided(7, 0, a, &large, None).unwrap();
    db.put_undecided(7, 0, b, &small, Some(false)).unwrap();
    db.put_undecided(7, 1, a, &large, Some(true)).unwrap();
    db.put_undecided(7, -1, b, &small, None).unwrap();
    db.put_undecided(8, 0, a, &Bytes::from_static(b"next"), None).unwrap();
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

/// Extrinsics as they stand in a block: with their lengths.
fn prefixed(number: u32) -> Vec<Bytes> {
    body(number).iter().map(|bytes| bytes.encode().into()).collect()
}

/// A block that consensus stored is not written again when it is decided: its body is read out of what was stored, also
/// after a restart and after the undecided blocks were forgotten.
#[test]
fn a_decided_block_is_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let db = create(dir.path(), 8);
    for number in 1..=4u32 {
        let block = next_block(&db, &vec![(vec![1], Some(vec![number as u8]))], prefixed(number));
        let (encoded, height) = (block.encoded.clone().unwrap(), u64::from(number));
        db.put_undecided(height, 0, Hash::repeat_byte(9), &Bytes::from_static(b"another one"), Some(true)).unwrap();
        db.put_undecided(height, 1, block.hash, &encoded, Some(true)).unwrap();
        assert_eq!(db.undecided_at(height).len(), 2);
        let id = block.hash;
        db.commit_block(block).unwrap();
        assert_eq!(db.undecided_at(height).len(), 1, "it is undecided no more");
        // What arrives late for the same place must not change the chain.
        db.put_undecided(height, 1, id, &Bytes::from_static(b"late"), Some(false)).unwrap();
        assert_eq!(db.body(number), Some(prefixed(number)));
        db.prune_undecided(height + 1).unwrap();
        assert_eq!(db.undecided_at(height), []);
        assert_eq!(db.undecided_by_id(&id), None);
        assert_eq!(db.body(number), Some(prefixed(number)));
        if number == 2 {
            db.flush().unwrap();
        }
    }
    drop(db);
    assert_eq!(columns_bytes(dir.path(), "bodies"), 4 * 9 + 1);
    let db = open(dir.path(), 8);
    for number in 1..=4 {
        assert_eq!(db.body(number), Some(prefixed(number)));
    }
}

/// Bytes that are not exactly the decided block's are no place for its body: others under the same id, a block that was
/// stored before a restart (nobody compares it then), and none at all.
#[test]
fn only_the_very_block_is_referred_to() {
    let dir = tempfile::tempdir().unwrap();
    let mut db = create(dir.path(), 8);
    for number in 1..=3u32 {
        let block = next_block(&db, &vec![(vec![1], Some(vec![number as u8]))], prefixed(number));
        let encoded = block.encoded.clone().unwrap();
        match number {
            1 => {
                let forged = encode_block(&block.header, &prefixed(9));
                db.put_undecided(1, 0, block.hash, &encoded, Some(true)).unwrap();
                db.put_undecided(1, 0, block.hash, &forged, Some(false)).unwrap();
            }
            2 => {
                db.put_undecided(2, 0, block.hash, &encoded, Some(true)).unwrap();
                drop(db);
                db = open(dir.path(), 8);
            }
            _ => {}
        }
        db.commit_block(block).unwrap();
        db.prune_undecided(u64::from(number) + 1).unwrap();
        assert_eq!(db.body(number), Some(prefixed(number)));
    }
    drop(db);
    assert!(columns_bytes(dir.path(), "bodies") > 3 * 20_000);
    assert_eq!(columns_bytes(dir.path(), "undecided"), 0);
}

/// A body that is a reference goes with its history, and takes the stored block along.
#[test]
fn pruned_history_leaves_no_stored_block() {
    let dir = tempfile::tempdir().unwrap();
    let options = OpenOptions { history: History::Blocks(2), ..options(8) };
    let db = x0_storage::Database::open(dir.path(), options).unwrap();
    db.commit_genesis(genesis()).unwrap();
    for number in 1..=6u32 {
        let block = next_block(&db, &vec![(vec![1], Some(vec![number as u8]))], prefixed(number));
        let encoded = block.encoded.clone().unwrap();
        db.put_undecided(u64::from(number), 0, block.hash, &encoded, Some(true)).unwrap();
        db.commit_block(block).unwrap();
        db.prune_undecided(u64::from(number) + 1).unwrap();
    }
    let start = db.history_start();
    assert_eq!(start, 4);
    for number in 1..=6 {
        assert_eq!(db.body(number), (number >= start).then(|| prefixed(number)));
    }
    drop(db);
    let kept: usize = (4..=6u32).map(|number| encode_block(&[], &prefixed(number)).len() + HEADER_BYTES).sum();
    assert_eq!(columns_bytes(dir.path(), "undecided"), kept);
}
