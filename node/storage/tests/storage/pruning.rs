//! Old states: readable for as long as promised, then gone without a trace.

use crate::support::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use x0_storage::StorageError;

/// Blocks over few keys, so that nodes are dropped and written again all the time. Values repeat
/// too (also long ones, which the trie stores in nodes of their own), so that the very same node
/// comes back.
fn blocks() -> impl Strategy<Value = Vec<Changes>> {
    let key = prop_oneof![Just(vec![]), (0u8..6).prop_map(|a| vec![a]), (0u8..3, 0u8..3).prop_map(|(a, b)| vec![a, b])]
        .prop_map(|tail| [b"k".as_slice(), &tail].concat());
    let value = prop_oneof![
        Just(None),
        (0u8..3).prop_map(|byte| Some(vec![byte; 4])),
        (0u8..3).prop_map(|byte| Some(vec![byte; 40])),
    ];
    proptest::collection::vec(proptest::collection::vec((key, value), 0..6), 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// After every block, each promised state reads as the model says, with and without a restart
    /// in between; at the end the database holds the nodes of the kept states and no other.
    #[test]
    fn kept_states_are_whole_and_others_leave_nothing(
        blocks in blocks(), states_kept in 1u32..5, restart in proptest::option::of(0usize..20),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut db = create(dir.path(), states_kept);
        let mut states = vec![Model::new()];
        for (index, changes) in blocks.iter().enumerate() {
            let mut model = states.last().unwrap().clone();
            apply(&mut model, changes);
            states.push(model);
            db.commit_block(next_block(&db, changes, vec![])).unwrap();
            if restart == Some(index) {
                drop(db);
                db = open(dir.path(), states_kept);
            }
            let head = db.head().unwrap().number;
            let oldest = head.saturating_sub(states_kept);
            prop_assert_eq!(db.oldest_state(), oldest);
            for number in oldest..=head {
                let model = &states[number as usize];
                let (root, _) = trie_of(model);
                let _pin = db.pin_state(number).unwrap();
                prop_assert_eq!(&read_state(&db, root), model);
            }
            if oldest > 0 {
                let refused = matches!(db.pin_state(oldest - 1), Err(StorageError::StateUnavailable { .. }));
                prop_assert!(refused);
            }
        }
        let oldest = db.oldest_state() as usize;
        drop(db);
        let expected: BTreeSet<_> = states[oldest..].iter().flat_map(|model| trie_of(model).1).collect();
        prop_assert_eq!(stored_nodes(dir.path()), expected);
    }
}

#[test]
fn a_pinned_state_stays_until_its_reader_lets_go() {
    let dir = tempfile::tempdir().unwrap();
    let db = create(dir.path(), 2);
    let mut states = vec![Model::new()];
    let mut grow = |db: &_, count: u8| {
        for _ in 0..count {
            let byte = states.len() as u8;
            let changes = vec![(vec![byte % 3], Some(vec![byte; 40])), (b"long common key".to_vec(), Some(vec![byte]))];
            let mut model = states.last().unwrap().clone();
            apply(&mut model, &changes);
            states.push(model);
            x0_storage::Database::commit_block(db, next_block(db, &changes, vec![])).unwrap();
        }
        states.clone()
    };
    grow(&db, 4);
    let pin = db.pin_state(3).unwrap();
    let states = grow(&db, 20);
    assert_eq!(db.oldest_state(), 3);
    assert_eq!(read_state(&db, trie_of(&states[3]).0), states[3]);
    drop(pin);
    // The backlog is worked off three journals at a time, while one new one comes per block.
    let mut last = db.oldest_state();
    for _ in 0..10 {
        db.commit_block(next_block(&db, &vec![(vec![9], Some(vec![9]))], vec![])).unwrap();
        assert!(db.oldest_state() > last);
        last = db.oldest_state();
    }
    assert_eq!(last, db.head().unwrap().number - 2);
}
