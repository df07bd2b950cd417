//! Who becomes an owner, who stays one, and who may vote.

use crate::{
    Call, Clock, Error, Event, Motion, MotionKind, Motions, NextMotion, OpenMotions, OwnerOf, Owners as OwnerMap,
    Pallet, mock::*,
};
use frame_support::assert_ok;
use proptest::prelude::*;
use sp_runtime::DispatchError;
use x0_types::governance::{Electorate, OwnerRegistry};

fn error(error: Error<Test>) -> Result<(), DispatchError> {
    Err(error.into())
}

/// Opens a motion and gives its number.
fn apply(n: u8, list: &[u8]) -> Result<u32, DispatchError> {
    let number = NextMotion::<Test>::get();
    call(n, Call::apply { accounts: accounts(list), evidence: evidence(n) })?;
    Ok(number)
}

fn attest(n: u8, motion: u32) -> Result<(), DispatchError> {
    let digest = Motions::<Test>::get(motion).map(|motion| motion.digest).unwrap_or_default();
    call(n, Call::attest { motion, digest })
}

/// Five of the seven validators attest.
fn attested(motion: u32) {
    for n in 101..=105 {
        assert_ok!(attest(n, motion));
    }
    assert!(!Motions::<Test>::contains_key(motion));
}

fn voters() -> (u32, u32) {
    (Owners::epoch(), Owners::electorate())
}

/// G3: more than two thirds of the validators' heads, whatever their power, make an owner of many accounts; it
/// votes after a whole epoch.
#[test]
fn validators_attest_an_owner_and_it_votes_after_a_whole_epoch() {
    run(|| {
        at(50);
        let motion = apply(10, &[10, 11, 12]).unwrap();
        assert_eq!(held(10), DEPOSIT);
        for n in 101..=104 {
            assert_ok!(attest(n, motion));
        }
        assert_eq!(attest(104, motion), error(Error::AlreadyAttested));
        assert_eq!(attest(10, motion), error(Error::NotValidator));
        assert_eq!(Owners::owner_of(&account(10)), None, "four of seven");
        assert_ok!(attest(105, motion));
        for n in 10..=12 {
            assert_eq!(Owners::owner_of(&account(n)), Some(2));
        }
        assert!(Owners::same_owner(&account(10), &account(12)) && !Owners::same_owner(&account(10), &account(1)));
        assert_eq!((Owners::eligible_from(2), held(10)), (Some(2), DEPOSIT));
        for (slot, expected) in [(99, (0, 2)), (100, (1, 2)), (199, (1, 2)), (200, (2, 3)), (1_000, (10, 3))] {
            at(slot);
            assert_eq!(voters(), expected, "slot {slot}");
        }
    });
}

/// G3: validators attest what they saw, and nothing else; who left the set does not count.
#[test]
fn attestations_are_of_the_digest_by_present_validators() {
    run(|| {
        let motion = apply(10, &[10]).unwrap();
        let wrong =
            Pallet::<Test>::digest_of(motion, &MotionKind::Admit { accounts: accounts(&[10, 11]) }, &evidence(10));
        assert_eq!(call(101, Call::attest { motion, digest: wrong }), error(Error::OtherDigest));
        for n in 101..=104 {
            assert_ok!(attest(n, motion));
        }
        // Two of those who attested leave: 2 of 5, then 3 of 5, then 4 of 5.
        set_heads(&[103, 104, 105, 106, 107]);
        assert_ok!(attest(105, motion));
        assert!(Motions::<Test>::contains_key(motion));
        assert_ok!(attest(106, motion));
        assert_eq!(Owners::owner_of(&account(10)), Some(2));
        // When the set shrinks, whoever attested can finish what is enough now.
        let motion = apply(11, &[11]).unwrap();
        for n in [103, 104] {
            assert_ok!(attest(n, motion));
        }
        set_heads(&[103, 104]);
        assert_ok!(attest(103, motion));
        assert_eq!(Owners::owner_of(&account(11)), Some(3));
    });
}

/// M38, G3: an account belongs to one owner, also to a revoked one.
#[test]
fn an_account_belongs_to_one_owner() {
    run(|| {
        assert_eq!(apply(10, &[10, 3]).map(|_| ()), error(Error::AccountTaken));
        assert_eq!(apply(10, &[10, 10]).map(|_| ()), error(Error::DuplicateAccount));
        assert_eq!(apply(10, &[11]).map(|_| ()), error(Error::NotOwnAccount));
        // Two motions name the same account: the second cannot be carried out, and its deposit goes back.
        let (first, second) = (apply(10, &[10, 12]).unwrap(), apply(11, &[11, 12]).unwrap());
        attested(first);
        attested(second);
        System::assert_last_event(Event::MotionDone { motion: second, result: error(Error::AccountTaken) }.into());
        assert_eq!((held(10), held(11), Owners::owner_of(&account(11))), (DEPOSIT, 0, None));
    });
}

/// G4: validators revoke on evidence; the accounts stay taken, the vote is gone; governance may give it back,
/// for ballots of later epochs.
#[test]
fn revocation_and_appeal() {
    run(|| {
        assert_eq!(call(1, Call::accuse { owner: 1, evidence: evidence(9) }), error(Error::NotValidator));
        assert_eq!(call(101, Call::accuse { owner: 7, evidence: evidence(9) }), error(Error::UnknownOwner));
        let motion = NextMotion::<Test>::get();
        assert_ok!(call(101, Call::accuse { owner: 1, evidence: evidence(9) }));
        for n in 102..=104 {
            assert_ok!(attest(n, motion));
        }
        assert_eq!(Owners::eligible_from(1), Some(0));
        assert_ok!(attest(105, motion));
        assert_eq!((Owners::eligible_from(1), voters()), (None, (0, 1)));
        assert_eq!(Owners::owner_of(&account(3)), Some(1));
        assert_eq!(apply(10, &[10, 3]).map(|_| ()), error(Error::AccountTaken));
        assert_eq!(
            call(3, Call::apply_change { accounts: accounts(&[3, 4]), evidence: evidence(1) }),
            error(Error::Revoked)
        );
        assert_eq!(call(101, Call::accuse { owner: 1, evidence: evidence(9) }), error(Error::Revoked));
        // The appeal.
        assert_eq!(call(3, Call::reinstate { owner: 1 }), Err(DispatchError::BadOrigin));
        assert_ok!(dispatch(RuntimeOrigin::root(), Call::reinstate { owner: 1 }));
        assert_eq!(dispatch(RuntimeOrigin::root(), Call::reinstate { owner: 1 }), error(Error::NotRevoked));
        assert_eq!((Owners::eligible_from(1), voters()), (Some(1), (0, 1)));
        at(100);
        assert_eq!(voters(), (1, 2));
    });
}

/// An owner keeps its age when its accounts change; the accounts that it gives up are free.
#[test]
fn accounts_change_by_attestation() {
    run(|| {
        assert_eq!(
            call(50, Call::apply_change { accounts: accounts(&[50]), evidence: evidence(1) }),
            error(Error::NotOwner)
        );
        let change = |list: &[u8]| Call::apply_change { accounts: accounts(list), evidence: evidence(5) };
        assert_eq!(call(1, change(&[1, 3])), error(Error::AccountTaken));
        assert_eq!(call(1, change(&[])), error(Error::NoAccounts));
        let motion = NextMotion::<Test>::get();
        assert_ok!(call(2, change(&[2, 20])));
        attested(motion);
        assert_eq!([1, 2, 20].map(|n| OwnerOf::<Test>::get(account(n))), [None, Some(0), Some(0)]);
        let owner = OwnerMap::<Test>::get(0).unwrap();
        assert_eq!((owner.evidence, owner.eligible_from, held(2)), (evidence(5), 0, 0));
    });
}

/// Each end of a motion gives its deposit back; motions are few, and go by themselves.
#[test]
fn motions_end_and_give_their_deposits_back() {
    run(|| {
        let motion = apply(10, &[10]).unwrap();
        assert_eq!(call(11, Call::withdraw { motion }), error(Error::NotOpener));
        assert_ok!(call(10, Call::withdraw { motion }));
        assert_eq!(held(10), 0);
        for _ in 0..x0_limits::OWNER_MOTIONS_EACH_MAX {
            apply(10, &[10]).unwrap();
        }
        assert_eq!(apply(10, &[10]).map(|_| ()), error(Error::TooManyOwnMotions));
        for n in 11..=72 {
            apply(n, &[n]).unwrap();
        }
        assert_eq!(OpenMotions::<Test>::get().len(), 64);
        assert_eq!(apply(73, &[73]).map(|_| ()), error(Error::TooManyMotions));
        let last: Motion = Motions::<Test>::get(NextMotion::<Test>::get() - 1).unwrap();
        at(last.expires_at);
        assert_ok!(attest(101, NextMotion::<Test>::get() - 1));
        at(last.expires_at + 1);
        assert_eq!(attest(102, NextMotion::<Test>::get() - 1), error(Error::UnknownMotion));
        let per_block = x0_limits::OWNER_MOTIONS_CLOSED_PER_BLOCK as usize;
        assert_eq!(OpenMotions::<Test>::get().len(), 64 - per_block);
        for _ in 1..64 / per_block {
            at(last.expires_at + 2);
        }
        assert_eq!((OpenMotions::<Test>::get().len(), held(10), held(72)), (0, 0, 0));
    });
}

/// G2, G16: the length of epochs changes with its old value, within bounds, and the count of epochs goes on.
#[test]
fn the_length_of_epochs_changes() {
    run(|| {
        let root = |expected, new| dispatch(RuntimeOrigin::root(), Call::set_epoch_slots { expected, new });
        assert_eq!(call(1, Call::set_epoch_slots { expected: 100, new: 50 }), Err(DispatchError::BadOrigin));
        assert_eq!(root(99, 50), error(Error::ParametersMismatch));
        assert_eq!(root(100, x0_limits::VOTE_EPOCH_SLOTS_MIN - 1), error(Error::ParametersOutOfBounds));
        at(110);
        assert_ok!(root(100, 50));
        at(149);
        assert_eq!(Clock::<Test>::get().index, 1);
        at(150);
        assert_eq!((Clock::<Test>::get().index, Clock::<Test>::get().start), (2, 150));
    });
}

#[derive(Clone, Debug)]
enum Step {
    Apply(u8, u8),
    Change(u8, u8),
    Accuse(u8, u32),
    Attest(u8, u32),
    Withdraw(u32),
    Reinstate(u32),
    Slots(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1u8..30, 1u8..30).prop_map(|(a, b)| Step::Apply(a, b)),
        2 => (1u8..30, 1u8..30).prop_map(|(a, b)| Step::Change(a, b)),
        1 => (101u8..=107, 0u32..5).prop_map(|(a, b)| Step::Accuse(a, b)),
        8 => (101u8..=107, 0u32..8).prop_map(|(a, b)| Step::Attest(a, b)),
        1 => (0u32..8).prop_map(Step::Withdraw),
        1 => (0u32..5).prop_map(Step::Reinstate),
        3 => (1u64..150).prop_map(Step::Slots),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    /// Whatever is applied for, attested, revoked and appealed, the invariants hold after each call, and the
    /// number of voters never grows within an epoch.
    #[test]
    fn the_registry_keeps_its_rules(steps in proptest::collection::vec(step(), 1..80)) {
        run(|| {
            for step in steps {
                let before = voters();
                let open = |n: u32| {
                    let open = OpenMotions::<Test>::get();
                    open.get(n as usize % open.len().max(1)).map_or(n, |motion| motion.number)
                };
                let mut next = None;
                let _ = match step {
                    Step::Apply(n, other) => call(n, Call::apply { accounts: accounts(&[n, other]), evidence: evidence(n) }),
                    Step::Change(n, other) => call(n, Call::apply_change { accounts: accounts(&[n, other]), evidence: evidence(n) }),
                    Step::Accuse(n, owner) => call(n, Call::accuse { owner, evidence: evidence(n) }),
                    Step::Attest(n, which) => attest(n, open(which)),
                    Step::Withdraw(which) => {
                        let motion = Motions::<Test>::get(open(which));
                        let bytes: Option<[u8; 32]> = motion.map(|motion| motion.opener.into());
                        call(bytes.map_or(1, |bytes| bytes[0]), Call::withdraw { motion: open(which) })
                    }
                    Step::Reinstate(owner) => dispatch(RuntimeOrigin::root(), Call::reinstate { owner }),
                    Step::Slots(slots) => {
                        next = Some(slots);
                        Ok(())
                    }
                };
                prop_assert!(voters().1 <= before.1, "only an epoch brings voters");
                if let Some(slots) = next {
                    at(<Outside as x0_types::market::Meter<x0_types::AccountId>>::current_slot() + slots);
                }
            }
            Ok(())
        })?;
    }
}
