//! The guard under repeats, contradictions, crashes at every byte, and damage.

use super::*;
use crate::slot::COPY_BYTES;
use proptest::prelude::*;
use std::{cell::Cell, os::unix::fs::FileExt};
use x0_crypto::{
    SIGNATURE_BYTES,
    statement::{Opening, Proposal, Step, Vote, VoteKind},
};

const BINDING: [u8; 32] = [3; 32];

/// Signatures are randomised, so that a signature made twice shows.
fn fresh(counter: &Cell<u32>) -> impl FnOnce() -> Result<Signature, x0_crypto::CryptoError> + '_ {
    move || {
        counter.set(counter.get() + 1);
        let mut bytes = [0u8; SIGNATURE_BYTES];
        bytes[..4].copy_from_slice(&counter.get().to_be_bytes());
        bytes[SIGNATURE_BYTES - 1] = 1;
        Ok(Signature::from(&bytes))
    }
}

/// A statement about the block that the first byte of `body` stands for.
fn statement(height: u64, round: u32, step: Step, body: &[u8]) -> Statement {
    let (block, signer) = ([body[0]; 32], [1; 32]);
    match step {
        Step::Opening => Opening { height, round, proposer: signer, block, bytes: 1, digest: block }.into(),
        Step::Proposal => Proposal { height, round, block, pol_round: None, proposer: signer }.into(),
        Step::Prevote => Vote { kind: VoteKind::Prevote, height, round, block: Some(block), voter: signer }.into(),
        Step::Precommit => Vote { kind: VoteKind::Precommit, height, round, block: Some(block), voter: signer }.into(),
    }
}

fn at_place(place: Place, body: &[u8]) -> Statement {
    statement(place.height, place.round, place.step, body)
}

#[test]
fn repeats_get_the_stored_signature_and_contradictions_are_refused_across_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let counter = Cell::new(0);
    let first = {
        let mut guard = Guard::open(directory.path(), BINDING).unwrap();
        assert_eq!(guard.last(), None);
        guard.sign(&statement(5, 0, Step::Prevote, b"A"), fresh(&counter)).unwrap()
    };
    let mut guard = Guard::open(directory.path(), BINDING).unwrap();
    assert_eq!(guard.sign(&statement(5, 0, Step::Prevote, b"A"), fresh(&counter)).unwrap(), first);
    assert_eq!(counter.get(), 1, "the key was used once");
    match guard.sign(&statement(5, 0, Step::Prevote, b"B"), fresh(&counter)) {
        Err(GuardError::Conflict { recorded }) => assert_eq!(recorded.signature, first),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        guard.sign(&statement(5, 0, Step::Proposal, b"A"), fresh(&counter)),
        Err(GuardError::Regression { .. })
    ));
    assert!(matches!(
        guard.sign(&statement(4, 9, Step::Precommit, b"A"), fresh(&counter)),
        Err(GuardError::Regression { .. })
    ));
    guard.sign(&statement(5, 0, Step::Precommit, b"B"), fresh(&counter)).unwrap();
    assert_eq!(counter.get(), 2);
}

#[test]
fn one_process_one_key_one_chain() {
    let directory = tempfile::tempdir().unwrap();
    let mut guard = Guard::open(directory.path(), BINDING).unwrap();
    assert!(matches!(Guard::open(directory.path(), BINDING), Err(GuardError::InUse(_))));
    guard.sign(&statement(1, 0, Step::Prevote, b"A"), fresh(&Cell::new(0))).unwrap();
    drop(guard);
    assert!(matches!(Guard::open(directory.path(), [4; 32]), Err(GuardError::OtherKey(_))));
}

#[test]
fn one_damaged_copy_is_repaired_and_two_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let counter = Cell::new(0);
    let mut guard = Guard::open(directory.path(), BINDING).unwrap();
    let signatures: Vec<_> =
        (0..3).map(|round| guard.sign(&statement(1, round, Step::Prevote, b"A"), fresh(&counter)).unwrap()).collect();
    drop(guard);
    let path = directory.path().join("signed-a");
    let flip = |at: usize| {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    };
    // The last record's first copy, then the middle one's second copy: both come back, also for the next damage.
    for damaged in [2 * RECORD_BYTES + 45, COPY_BYTES + RECORD_BYTES + 45] {
        flip(damaged);
        let mut guard = Guard::open(directory.path(), BINDING).unwrap();
        assert_eq!(guard.repaired(), 1);
        for (round, signature) in signatures.iter().enumerate() {
            let again = statement(1, u32::try_from(round).unwrap(), Step::Prevote, b"A");
            assert_eq!(guard.sign(&again, fresh(&counter)).unwrap(), *signature);
        }
        drop(guard);
        assert_eq!(Guard::open(directory.path(), BINDING).unwrap().repaired(), 0);
    }
    flip(RECORD_BYTES + 45);
    flip(COPY_BYTES + RECORD_BYTES + 99);
    assert!(matches!(Guard::open(directory.path(), BINDING), Err(GuardError::Damaged { index: 1, .. })));
}

#[test]
fn a_guard_of_the_first_form_gets_its_second_copies() {
    let directory = tempfile::tempdir().unwrap();
    let counter = Cell::new(0);
    let mut guard = Guard::open(directory.path(), BINDING).unwrap();
    let old = guard.sign(&statement(1, 0, Step::Prevote, b"A"), fresh(&counter)).unwrap();
    let last = guard.sign(&statement(2, 0, Step::Prevote, b"A"), fresh(&counter)).unwrap();
    drop(guard);
    // The first form: one copy, files as long as their records, no marker.
    std::fs::remove_file(directory.path().join(FORMAT_NAME)).unwrap();
    for name in SLOT_NAMES {
        OpenOptions::new().write(true).open(directory.path().join(name)).unwrap().set_len(4096).unwrap();
    }
    let mut guard = Guard::open(directory.path(), BINDING).unwrap();
    assert_eq!(guard.repaired(), 2);
    assert_eq!(guard.sign(&statement(2, 0, Step::Prevote, b"A"), fresh(&counter)).unwrap(), last);
    assert_ne!(old, last);
    assert!(guard.sign(&statement(1, 0, Step::Prevote, b"B"), fresh(&counter)).is_err());
    drop(guard);
    assert_eq!(Guard::open(directory.path(), BINDING).unwrap().repaired(), 0);
}

#[test]
fn a_very_long_height_moves_to_the_other_slot_and_stays_safe() {
    let directory = tempfile::tempdir().unwrap();
    let counter = Cell::new(0);
    let rounds = u32::try_from(GUARD_RECORDS_PER_SLOT_MAX).unwrap() + 10;
    let mut guard = Guard::open(directory.path(), BINDING).unwrap();
    for round in 0..rounds {
        guard.sign(&statement(1, round, Step::Prevote, b"A"), fresh(&counter)).unwrap();
    }
    drop(guard);
    let mut guard = Guard::open(directory.path(), BINDING).unwrap();
    assert_eq!(guard.last().unwrap().round, rounds - 1);
    let made = counter.get();
    guard.sign(&statement(1, 5, Step::Prevote, b"A"), fresh(&counter)).unwrap();
    assert_eq!(counter.get(), made, "a stored signature");
    guard.sign(&statement(2, 0, Step::Prevote, b"A"), fresh(&counter)).unwrap();
    guard.sign(&statement(3, 0, Step::Prevote, b"A"), fresh(&counter)).unwrap();
    drop(guard);
    assert_eq!(Guard::open(directory.path(), BINDING).unwrap().last().unwrap().height, 3);
}

#[test]
fn a_pair_is_signed_together_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let counter = Cell::new(0);
    let make = |_: &Statement| fresh(&counter)();
    let mut guard = Guard::open(directory.path(), BINDING).unwrap();
    let (opening, proposal) = (statement(1, 0, Step::Opening, b"A"), statement(1, 0, Step::Proposal, b"A"));
    let [first, second] = guard.sign_pair([&opening, &proposal], make).unwrap();
    assert_ne!(first, second);
    drop(guard);
    let mut guard = Guard::open(directory.path(), BINDING).unwrap();
    assert_eq!(guard.sign_pair([&opening, &proposal], make).unwrap(), [first.clone(), second.clone()]);
    assert_eq!(guard.sign(&proposal, fresh(&counter)).unwrap(), second);
    let other = statement(1, 0, Step::Proposal, b"B");
    assert!(matches!(guard.sign_pair([&opening, &other], make), Err(GuardError::Conflict { .. })));
    // Only the second of a new pair is refused: the first is not signed either.
    guard.sign(&statement(1, 1, Step::Proposal, b"A"), fresh(&counter)).unwrap();
    let made = counter.get();
    let late = statement(1, 1, Step::Opening, b"A");
    assert!(matches!(guard.sign_pair([&late, &other], make), Err(GuardError::Regression { .. })));
    assert_eq!(counter.get(), made);
}

/// What a test does to a guard.
#[derive(Clone, Debug)]
enum Action {
    /// Signs the next place, so many rounds or heights on.
    Advance { heights: u64, rounds: u32, step: usize, body: u8 },
    /// Asks for an earlier place again.
    Repeat { which: usize, same: bool },
    /// Ends the process cleanly.
    Restart,
    /// Ends the process in the middle of the next write, after so many of the record's bytes.
    Crash { written: usize, body: u8 },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (0u64..3, 0u32..3, 0usize..4, any::<u8>())
            .prop_map(|(heights, rounds, step, body)| Action::Advance { heights, rounds, step, body }),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(which, same)| Action::Repeat { which, same }),
        1 => Just(Action::Restart),
        2 => (0usize..2 * RECORD_BYTES, any::<u8>()).prop_map(|(written, body)| Action::Crash { written, body }),
    ]
}

/// Writes the first `written` bytes of the record that the guard would write next.
fn tear(guard: Guard, directory: &Path, place: Place, body: u8, written: usize) {
    let new_height = guard.last().is_some_and(|last| last.height != place.height);
    let (slot, index) = if new_height { (1 - guard.active, 0) } else { (guard.active, guard.next) };
    let record = write_record(
        &Signed {
            place,
            block: None,
            pol_round: None,
            digest: [body; 32],
            signature: Signature::from(&[9; SIGNATURE_BYTES]),
        },
        &BINDING,
    );
    // The first copy, and then the second one: the crash comes after so many bytes of both together.
    let first = written.min(RECORD_BYTES);
    let offset = (index * RECORD_BYTES) as u64;
    guard.slots[slot].file.write_all_at(&record[..first], offset).unwrap();
    guard.slots[slot].file.write_all_at(&record[..written - first], COPY_BYTES as u64 + offset).unwrap();
    drop(guard);
    assert!(directory.exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Over any history of signing, restarts and crashes in mid-write: no place ever gets two different
    /// bodies or two different signatures, and every signature that was returned is remembered.
    #[test]
    fn nothing_is_signed_twice(actions in proptest::collection::vec(action(), 1..60)) {
        let directory = tempfile::tempdir().unwrap();
        let counter = Cell::new(0);
        let mut guard = Guard::open(directory.path(), BINDING).unwrap();
        // The model: everything that left the process.
        let mut history: Vec<(Place, Vec<u8>, Signature)> = Vec::new();
        let mut at = Place { height: 1, round: 0, step: Step::Opening };
        // The last record that a crash left whole although its signature was never given.
        let mut kept = None;
        for action in actions {
            match action {
                Action::Advance { heights, rounds, step, body } => {
                    let next = if heights > 0 {
                        Place { height: at.height + heights, round: rounds, step: Step::ALL[step] }
                    } else {
                        Place { height: at.height, round: at.round + rounds, step: Step::ALL[step] }
                    };
                    let body = vec![body];
                    let request = at_place(next, &body);
                    match guard.sign(&request, fresh(&counter)) {
                        Ok(signature) => {
                            for (place, earlier, stored) in &history {
                                if *place == next {
                                    prop_assert_eq!((earlier, stored), (&body, &signature));
                                }
                            }
                            history.push((next, body, signature));
                            at = at.max(next);
                        }
                        Err(GuardError::Conflict { recorded }) => prop_assert_eq!(recorded.place, next),
                        Err(GuardError::Regression { last, .. }) => prop_assert!(next < last),
                        Err(error) => panic!("{error}"),
                    }
                }
                Action::Repeat { which, same } if !history.is_empty() => {
                    let (place, body, signature) = history[which % history.len()].clone();
                    let asked = if same { body } else { vec![body[0].wrapping_add(1)] };
                    let request = at_place(place, &asked);
                    match guard.sign(&request, fresh(&counter)) {
                        Ok(again) => prop_assert!(same && again == signature),
                        Err(GuardError::Conflict { recorded }) => {
                            prop_assert!(!same);
                            prop_assert_eq!(recorded.signature.clone(), signature);
                        }
                        Err(GuardError::Regression { .. }) => prop_assert!(place.height < at.height),
                        Err(error) => panic!("{error}"),
                    }
                }
                Action::Repeat { .. } => {}
                Action::Restart => {
                    drop(guard);
                    guard = Guard::open(directory.path(), BINDING).unwrap();
                }
                Action::Crash { written, body } => {
                    let next = Place { height: at.height, round: at.round + 1, step: Step::Opening };
                    tear(guard, directory.path(), next, body, written);
                    guard = Guard::open(directory.path(), BINDING).unwrap();
                    // A record whose first copy is whole counts, whether its signature was given or not.
                    if written >= RECORD_BYTES {
                        at = next;
                        kept = Some(next);
                    }
                    let given = history.iter().map(|(place, ..)| *place).max();
                    prop_assert_eq!(guard.last(), given.max(kept));
                }
            }
        }
    }
}
