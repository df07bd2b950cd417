//! Indices: dense, reused, and never in a way that gives a node another's observations.

use super::equals;
use crate::{Error, NextIndex, NodeBits, mock::*};
use x0_types::market::{Meter, Observation};

#[test]
fn enrolling_twice_changes_nothing() {
    run(&equals(1), || {
        assert_eq!(Measurement::enrol(&node(1), &stranger()), Ok(0));
        assert_eq!(Measurement::enrol(&node(2), &stranger()), Ok(1));
        go_to(5);
        block(time_in(5), || report(1, 5, &[Observation::Down]).unwrap());
        close(5);
        let before = Measurement::counters(&node(1));
        assert_eq!(Measurement::enrol(&node(1), &validator(1)), Ok(0));
        assert_eq!(Measurement::counters(&node(1)), before);
        assert_eq!(Measurement::targets(), vec![(0, node(1)), (1, node(2))]);
        Measurement::dismiss(&node(9));
        assert_eq!(Measurement::counters(&node(9)), None);
    });
}

#[test]
fn an_index_rests_until_no_report_can_speak_of_the_old_node() {
    run(&equals(1), || {
        Measurement::enrol(&node(1), &stranger()).unwrap();
        go_to(10);
        block(time_in(10), || {
            report(1, 10, &[Observation::Down]).unwrap();
            Measurement::dismiss(&node(1));
            // In the same block the index is not free.
            assert_eq!(Measurement::enrol(&node(2), &stranger()), Ok(1));
        });
        // A validator that has not heard of the dismissal reports on the old node once more.
        block(time_in(11), || report(1, 11, &[Observation::Down]).unwrap());
        let mut next = 3;
        for slot in 11..=15 {
            go_to(slot);
            let closed = Measurement::closed_slot();
            let is_free = closed >= 10 + x0_limits::NODE_INDEX_REST_SLOTS;
            let index = block(time_in(slot), || Measurement::enrol(&node(next), &stranger()).unwrap());
            assert_eq!(index == 0, is_free, "slot {slot}, closed {closed}");
            if is_free {
                break;
            }
            next += 1;
        }
        let heir = Measurement::counters(&node(next)).unwrap();
        assert_eq!((heir.bad, heir.unknown), (0, 0));
        assert!(
            Verdicts::get()
                .iter()
                .all(|heard| heard.node == node(2) || heard.verdict != x0_types::market::Verdict::Down)
        );
        go_to(20);
        assert_eq!(Measurement::counters(&node(next)).unwrap().bad, 0, "nobody inherits observations");
    });
}

/// The dismissal happens in `on_initialize`, where only the parent's time is known, of a block
/// that lies a long time after its parent: validators may have probed the node up to the block.
#[test]
fn the_rest_counts_from_the_blocks_own_time() {
    run(&equals(1), || {
        Measurement::enrol(&node(1), &stranger()).unwrap();
        go_to(5);
        block(time_in(5), || report(1, 5, &[Observation::Down]).unwrap());
        DismissOnVerdict::set(Some(node(1)));
        go_to(7);
        block(time_in(8), || {});
        begin(time_in(100));
        assert_eq!(Measurement::counters(&node(1)), None, "dismissed while the block began");
        report(1, 100, &[Observation::Down]).unwrap();
        end();
        // The slot of the last block before the gap is given one proposer.
        block(time_in(100), || assert_eq!(Measurement::closed_slot(), 7));
        block(time_in(100), || {
            assert_eq!(Measurement::closed_slot(), 97);
            assert_eq!(Measurement::enrol(&node(2), &stranger()), Ok(1), "slot 100 is still open");
        });
        go_to(103);
        assert_eq!(Measurement::enrol(&node(3), &stranger()), Ok(2));
        go_to(104);
        go_to(105);
        assert_eq!(Measurement::enrol(&node(4), &stranger()), Ok(0));
    });
}

#[test]
fn a_run_ends_with_the_node() {
    run(&equals(1), || {
        Measurement::enrol(&node(1), &stranger()).unwrap();
        go_to(5);
        block(time_in(5), || report(1, 5, &[Observation::Down]).unwrap());
        close(5);
        block(time_in(8), || Measurement::dismiss(&node(1)));
        go_to(20);
        assert_eq!(Measurement::enrol(&node(2), &stranger()), Ok(0));
        block(time_in(20), || report(1, 20, &[Observation::Up]).unwrap());
        close(20);
        assert_eq!(Verdicts::get().len(), 1, "the heir's first UP ends no run of its own");
    });
}

#[test]
fn there_are_not_more_nodes_than_bits() {
    run(&equals(1), || {
        let at = |n: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&n.to_le_bytes());
            x0_types::AccountId::new(bytes)
        };
        for n in 0..x0_limits::MEASURED_NODES_MAX {
            assert_eq!(Measurement::enrol(&at(n), &stranger()), Ok(n));
        }
        let one_more = at(x0_limits::MEASURED_NODES_MAX);
        assert_eq!(Measurement::enrol(&one_more, &stranger()), Err(Error::<Test>::TooManyNodes.into()));
        assert_eq!(NextIndex::<Test>::get(), x0_limits::MEASURED_NODES_MAX);
        // A full report fits and counts for the last index.
        go_to(5);
        let all = vec![Observation::Up; x0_limits::MEASURED_NODES_MAX as usize];
        block(time_in(5), || report(1, 5, &all).unwrap());
        go_to(7);
        // A lone validator could be anybody's: all owners are looked up, which takes some blocks.
        go_to(8);
        go_to(8);
        let last = at(x0_limits::MEASURED_NODES_MAX - 1);
        assert_eq!(Measurement::counters(&last).map(|counters| counters.unknown), Some(0));
        assert!(Verdicts::get().is_empty());
        block(time_in(8), || Measurement::dismiss(&at(77)));
        go_to(13);
        assert_eq!(Measurement::enrol(&one_more, &stranger()), Ok(77), "a rested index serves again");
    });
}

/// Coming and going does not use up indices: the node takes its own back, in the same block as well as
/// later, and what was seen of it stays about it.
#[test]
fn a_node_that_comes_back_takes_its_index_again() {
    run(&equals(1), || {
        Measurement::enrol(&node(1), &stranger()).unwrap();
        Measurement::enrol(&node(2), &stranger()).unwrap();
        go_to(10);
        block(time_in(10), || {
            for _ in 0..50 {
                Measurement::dismiss(&node(1));
                assert_eq!(Measurement::enrol(&node(1), &stranger()), Ok(0));
            }
            Measurement::dismiss(&node(1));
            Measurement::dismiss(&node(2));
        });
        block(time_in(11), || {
            // The first of the two in the queue comes back later than the second.
            assert_eq!(Measurement::enrol(&node(2), &stranger()), Ok(1));
            assert_eq!(Measurement::enrol(&node(3), &stranger()), Ok(2), "index 0 rests for others");
            assert_eq!(Measurement::enrol(&node(1), &validator(1)), Ok(0));
        });
        assert_eq!(NextIndex::<Test>::get(), 3);
        go_to(14);
        block(time_in(14), || Measurement::dismiss(&node(3)));
        go_to(20);
        assert_eq!(Measurement::enrol(&node(4), &stranger()), Ok(2), "after its rest it is anybody's");
        assert_eq!(Measurement::enrol(&node(3), &stranger()), Ok(3), "and no longer the first node's");
    });
}

#[test]
fn bits_are_a_set_of_indices() {
    let mut bits = NodeBits::default();
    let max = x0_limits::MEASURED_NODES_MAX;
    for index in [0, 7, 8, 4_095, max, u32::MAX] {
        bits.set(index, true);
    }
    assert_eq!(bits.iter().collect::<Vec<_>>(), vec![0, 7, 8, 4_095]);
    for index in [7, 9, u32::MAX] {
        bits.set(index, false);
    }
    assert_eq!(bits.iter().collect::<Vec<_>>(), vec![0, 8, 4_095]);
}
