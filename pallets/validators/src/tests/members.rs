//! Candidates, leaving, barring, keys of past heights, and who proposed what.

use super::{add, at, fails, remove};
use crate::{Call, Candidates, Error, Proposer, Proposers, Spans, mock::*};
use frame_support::assert_ok;
use sp_runtime::DispatchError;
use x0_types::{KeyRole, MlDsa65PublicKey};

fn admit(n: u8) -> Call<Test> {
    Call::admit_candidate { controller: account(n) }
}

fn dismiss(n: u8) -> Call<Test> {
    Call::dismiss_candidate { controller: account(n) }
}

fn leave(n: u8) -> Result<(), DispatchError> {
    Validators::leave(RuntimeOrigin::signed(account(n)))
}

fn network_key(n: u8) -> [u8; 32] {
    unsigned_key(n, KeyRole::Network).fingerprint().0
}

fn admitted(of: &[u8]) -> Vec<[u8; 32]> {
    let mut keys: Vec<_> = of.iter().map(|n| network_key(*n)).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn candidates_are_admitted_without_power_until_they_get_some() {
    run(&[(1, 1)], || {
        fails(root(admit(1)), Error::AlreadyAdmitted);
        fails(root(admit(121)), Error::NoNetworkKey);
        fails(root(dismiss(2)), Error::UnknownCandidate);
        assert_ok!(root(admit(2)));
        fails(root(admit(2)), Error::AlreadyAdmitted);
        assert_ok!(root(admit(3)));
        assert_eq!(Validators::admitted_network_keys(), admitted(&[1, 2, 3]));
        assert_ok!(root(dismiss(3)));
        assert_ok!(root(add(2, 1)));
        assert!(Candidates::<Test>::get().is_empty(), "a validator is no candidate");
        assert_eq!(Validators::admitted_network_keys(), admitted(&[1, 2]), "admitted all the time");
        assert_ok!(root(remove(1)));
        jump(1, 2);
        assert_eq!(Validators::admitted_network_keys(), admitted(&[1, 2]), "until the last height of the old set");
        jump(2, 3);
        assert_eq!(Validators::admitted_network_keys(), admitted(&[2]));
        assert_ok!(Did::revoke_key(RuntimeOrigin::signed(account(2)), account(2), KeyRole::Network));
        assert!(Validators::admitted_network_keys().is_empty());
    });
}

#[test]
fn there_are_not_more_candidates_than_allowed() {
    run(&[(120, 1)], || {
        for n in 1..=100 {
            assert_ok!(root(admit(n)));
        }
        fails(root(admit(101)), Error::TooManyCandidates);
    });
}

#[test]
fn only_the_administrator_admits_and_readmits() {
    run(&[(1, 1), (2, 1)], || {
        let origin = || RuntimeOrigin::signed(account(1));
        assert_eq!(Validators::admit_candidate(origin(), account(3)), Err(DispatchError::BadOrigin));
        assert_eq!(Validators::dismiss_candidate(origin(), account(3)), Err(DispatchError::BadOrigin));
        assert_eq!(Validators::readmit(origin(), account(3)), Err(DispatchError::BadOrigin));
    });
}

#[test]
fn who_stays_holds_more_than_two_thirds_of_the_power_in_force() {
    run(&[(1, 1)], || fails(leave(1), Error::EmptySet));
    run(&[(1, 1), (2, 1), (3, 1)], || fails(leave(1), Error::LeaveTooLarge));
    run(&[(1, 1), (2, 1), (3, 1), (4, 1)], || {
        fails(leave(5), Error::UnknownValidator);
        assert_ok!(leave(1));
        fails(leave(1), Error::UnknownValidator);
        assert_eq!((at(2).len(), at(3)), (4, vec![(2, 1), (3, 1), (4, 1)]));
        // The departure of the first counts, although it is still in force.
        fails(leave(2), Error::LeaveTooLarge);
        jump(1, 3);
        fails(leave(2), Error::LeaveTooLarge);
    });
    run(&[(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1)], || {
        assert_ok!(leave(1));
        assert_ok!(leave(2));
        fails(leave(3), Error::LeaveTooLarge);
        // Power that comes in at the same time is no power in force.
        assert_ok!(root(add(8, 100)));
        fails(leave(3), Error::LeaveTooLarge);
    });
}

#[test]
fn a_barred_validator_comes_back_by_decision_only() {
    run(&[(1, 1), (2, 1), (3, 1)], || {
        assert_eq!(Validators::bar(&account(2)), Ok(true));
        assert_eq!((at(2).len(), at(3)), (3, vec![(1, 1), (3, 1)]));
        fails(root(add(2, 1)), Error::Barred);
        fails(root(admit(2)), Error::Barred);
        let set = vec![(account(2), 1)].try_into().unwrap();
        fails(root(Call::set_validators { validators: set }), Error::Barred);
        fails(root(Call::readmit { controller: account(3) }), Error::NotBarred);
        jump(1, 3);
        assert_ok!(root(Call::readmit { controller: account(2) }));
        assert_ok!(root(add(2, 4)));
        assert_eq!(at(5), vec![(1, 1), (2, 4), (3, 1)]);
    });
}

/// Two offenders in one block, and the last one stays: a chain without validators never moves again.
#[test]
fn barring_never_empties_the_set() {
    run(&[(1, 1), (2, 1)], || {
        assert_eq!(Validators::bar(&account(1)), Ok(true));
        assert_eq!(Validators::bar(&account(2)), Ok(false));
        assert_eq!(at(3), vec![(2, 1)]);
        // Somebody who has left already is barred all the same.
        jump(1, 3);
        assert_eq!(Validators::bar(&account(9)), Ok(true));
        fails(root(add(9, 1)), Error::Barred);
    });
}

fn rotate(n: u8, name: &str) -> MlDsa65PublicKey {
    let fresh = key(name);
    rotate_consensus_key(&account(n), &fresh);
    public(&fresh)
}

fn refresh(n: u8) -> Result<(), DispatchError> {
    Validators::refresh_consensus_key(RuntimeOrigin::signed(account(n)))
}

#[test]
fn the_key_of_each_height_is_known() {
    run(&[(1, 1), (2, 1)], || {
        let old = unsigned_key(1, KeyRole::Consensus);
        jump(1, 10);
        let new = rotate(1, "new");
        assert_ok!(refresh(1));
        jump(10, 12);
        jump(12, 20);
        let key_at = |height| Validators::consensus_key_at(&account(1), height);
        assert_eq!((key_at(0), key_at(11)), (Some(old.clone()), Some(old)));
        assert_eq!((key_at(12), key_at(20)), (Some(new.clone()), Some(new)));
        assert_eq!(key_at(21), None, "the future");
        assert_ok!(root(remove(1)));
        jump(20, 22);
        assert!(key_at(21).is_some());
        assert_eq!((key_at(22), Validators::consensus_key_at(&account(9), 5)), (None, None));
        let far = 21 + x0_limits::EVIDENCE_AGE_BLOCKS_MAX;
        jump(22, far);
        assert!(key_at(21).is_some(), "the oldest height that counts");
        jump(far, far + 1);
        assert_eq!(key_at(21), None);
    });
}

/// A validator cannot shake off what it signed by changing keys until the chain forgets the old one.
#[test]
fn keys_cannot_be_changed_until_the_old_ones_are_forgotten() {
    run(&[(1, 1), (2, 1)], || {
        let room = x0_limits::KEY_SPANS_MAX - x0_limits::VALIDATOR_SET_DELAY_BLOCKS;
        let mut height = 1;
        let mut changes = 0;
        loop {
            rotate(1, &format!("key {changes}"));
            match refresh(1) {
                Ok(()) => changes += 1,
                Err(error) => break assert_eq!(error, Error::<Test>::TooManyKeyChanges.into()),
            }
            jump(height, height + 1);
            height += 1;
        }
        assert!(changes >= room - 1, "{changes}");
        jump(height, height + 5);
        height += 5;
        assert!(Spans::<Test>::get(account(1)).len() <= x0_limits::KEY_SPANS_MAX as usize);
        assert_eq!(Validators::consensus_key_at(&account(1), 1), Some(unsigned_key(1, KeyRole::Consensus)));
        fails(refresh(1), Error::TooManyKeyChanges);
        // The other validator is not concerned, and in time the first one may change again.
        assert_ok!(root(Call::set_power { controller: account(2), power: 2 }));
        let later = height + x0_limits::EVIDENCE_AGE_BLOCKS_MAX + 5;
        jump(height, later);
        assert_ok!(refresh(1));
    });
}

#[test]
fn blocks_are_counted_for_the_validator_that_the_header_names() {
    run(&[(1, 1), (2, 1)], || {
        end(1);
        for height in 2..=4 {
            begin_proposed(height, Some(account(1)));
            end(height);
        }
        begin_proposed(5, Some(account(9)));
        assert_eq!(Proposers::<Test>::get(account(1)), Some(Proposer { since: 0, blocks: 3, last: 4 }));
        assert_eq!(Proposers::<Test>::get(account(2)), Some(Proposer { since: 0, blocks: 0, last: 0 }));
        assert_eq!(Proposers::<Test>::get(account(9)), None, "a stranger is not counted");
        assert_ok!(root(add(9, 1)));
        assert_ok!(root(remove(1)));
        jump(5, 7);
        assert_eq!(Proposers::<Test>::get(account(9)), Some(Proposer { since: 7, blocks: 0, last: 0 }));
        assert_eq!(Proposers::<Test>::get(account(1)).unwrap().blocks, 3, "what was is remembered");
    });
}
