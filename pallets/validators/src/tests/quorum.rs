//! What validators approve together.

use super::{add, at, fails, remove};
use crate::{Approvals, Call, Error, Event, NextProposal, OpenProposals, Proposals, mock::*};
use codec::Encode;
use frame_support::assert_ok;
use sp_runtime::DispatchError;

fn approve(n: u8, number: u32, call: impl Into<RuntimeCall>) -> Result<(), DispatchError> {
    let result = Validators::approve(RuntimeOrigin::signed(account(n)), number, Box::new(call.into()));
    result.map(|_| ()).map_err(|error| error.error)
}

fn withdraw(n: u8, number: u32) -> Result<(), DispatchError> {
    Validators::withdraw_approval(RuntimeOrigin::signed(account(n)), number)
}

fn result_of(number: u32) -> Option<Result<(), DispatchError>> {
    System::events().into_iter().find_map(|record| match record.event {
        RuntimeEvent::Validators(Event::ProposalExecuted { number: found, result }) if found == number => Some(result),
        _ => None,
    })
}

const FOUR: [(u8, u64); 4] = [(1, 1), (2, 1), (3, 1), (4, 1)];

#[test]
fn more_than_two_thirds_carry_a_call_out_and_fewer_do_not() {
    run(&FOUR, || {
        assert_ok!(approve(1, 0, add(5, 1)));
        assert_ok!(approve(2, 0, add(5, 1)));
        assert_eq!(at(3), FOUR.to_vec(), "two of four are not enough");
        assert_eq!(result_of(0), None);
        assert_ok!(approve(3, 0, add(5, 1)));
        assert_eq!(result_of(0), Some(Ok(())));
        assert_eq!(at(3).last(), Some(&(5, 1)));
        // It is done, and its number is spent: a late approval opens nothing.
        fails(approve(4, 0, add(5, 1)), Error::UnknownProposal);
        assert!(OpenProposals::<Test>::get().is_empty() && Proposals::<Test>::iter().next().is_none());
        assert!(Approvals::<Test>::iter().next().is_none());
    });
    // Exactly two thirds are not enough.
    run(&[(1, 1), (2, 1), (3, 1)], || {
        assert_ok!(approve(1, 0, add(5, 1)));
        assert_ok!(approve(2, 0, add(5, 1)));
        assert_eq!(result_of(0), None);
    });
    // Power counts, not heads.
    run(&[(1, 7), (2, 1), (3, 1), (4, 1)], || {
        assert_ok!(approve(1, 0, add(5, 1)));
        assert_eq!(result_of(0), Some(Ok(())));
    });
}

#[test]
fn a_call_that_fails_is_over_and_changes_nothing() {
    run(&[(1, 1)], || {
        assert_ok!(approve(1, 0, remove(1)));
        assert_eq!(result_of(0), Some(Err(Error::<Test>::EmptySet.into())));
        assert_eq!(at(3), vec![(1, 1)]);
        assert_eq!(NextProposal::<Test>::get(), 1);
    });
}

#[test]
fn everybody_approves_the_same_call_once() {
    run(&FOUR, || {
        fails(approve(5, 0, add(5, 1)), Error::NotValidator);
        fails(approve(1, 1, add(5, 1)), Error::UnknownProposal);
        assert_ok!(approve(1, 0, add(5, 1)));
        fails(approve(1, 0, add(5, 1)), Error::AlreadyApproved);
        fails(approve(2, 0, add(5, 2)), Error::OtherCall);
        let transfer = pallet_balances::Call::transfer_allow_death { dest: account(1), value: 1 };
        fails(approve(2, 1, transfer), Error::CallNotAllowed);
        let long = frame_system::Call::remark { remark: vec![0; x0_limits::PROPOSAL_CALL_BYTES_MAX as usize] };
        fails(approve(2, 1, long), Error::CallTooLarge);
        let full: Vec<_> = (1..=100).map(|n| (account(n), u64::MAX)).collect();
        let call: RuntimeCall = Call::set_validators { validators: full.try_into().unwrap() }.into();
        assert!(call.encoded_size() < x0_limits::PROPOSAL_CALL_BYTES_MAX as usize, "a whole set fits");
        assert_ok!(approve(2, 1, call));
    });
}

#[test]
fn no_validator_takes_another_ones_places() {
    run(&FOUR, || {
        assert_ok!(approve(1, 0, add(5, 1)));
        assert_ok!(approve(1, 1, add(5, 2)));
        fails(approve(1, 2, add(5, 3)), Error::TooManyOwnProposals);
        assert_ok!(approve(2, 2, add(5, 3)));
        assert_ok!(withdraw(1, 0));
        assert_ok!(approve(1, 3, add(5, 4)));
        assert_eq!(OpenProposals::<Test>::get().iter().map(|one| one.number).collect::<Vec<_>>(), vec![1, 2, 3]);
    });
}

#[test]
fn an_approval_can_be_taken_back_until_the_call_is_carried_out() {
    run(&FOUR, || {
        fails(withdraw(1, 0), Error::UnknownProposal);
        assert_ok!(approve(1, 0, add(5, 1)));
        assert_ok!(approve(2, 0, add(5, 1)));
        fails(withdraw(3, 0), Error::NotApproved);
        assert_ok!(withdraw(2, 0));
        assert_ok!(approve(3, 0, add(5, 1)));
        assert_eq!(result_of(0), None, "two of four again");
        assert_ok!(withdraw(3, 0));
        assert_ok!(withdraw(1, 0));
        assert!(!Proposals::<Test>::contains_key(0), "nobody approves it any more");
        fails(approve(1, 0, add(5, 1)), Error::UnknownProposal);
    });
}

#[test]
fn proposals_expire() {
    run(&FOUR, || {
        assert_ok!(approve(1, 0, add(5, 1)));
        assert_ok!(approve(2, 0, add(5, 1)));
        let last = 1 + x0_limits::PROPOSAL_LIFE_BLOCKS;
        jump(1, last);
        assert_ok!(approve(4, 1, add(6, 1)));
        assert!(Proposals::<Test>::contains_key(0), "its last block");
        jump(last, last + 1);
        fails(approve(3, 0, add(5, 1)), Error::UnknownProposal);
        assert_ok!(withdraw(4, 1));
        assert!(!Proposals::<Test>::contains_key(0));
        assert_eq!(at(last + 3), FOUR.to_vec());
    });
}

/// Whoever leaves the set takes the approval along, and it does not come back with him.
#[test]
fn approvals_count_while_the_validator_stands_in_the_set() {
    run(&[(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)], || {
        assert_ok!(approve(1, 0, add(6, 1)));
        assert_ok!(approve(2, 0, add(6, 1)));
        assert_ok!(approve(3, 1, add(7, 1)));
        assert_ok!(root(remove(2)));
        assert_ok!(root(remove(3)));
        jump(1, 3);
        assert_eq!(Approvals::<Test>::get(0).into_inner(), vec![account(1)]);
        assert!(!Proposals::<Test>::contains_key(1), "its only friend has left");
        assert_ok!(root(add(2, 1)));
        jump(3, 5);
        assert_ok!(approve(4, 0, add(6, 1)));
        assert_eq!(result_of(0), None, "two of four: the returned validator has to approve again");
        assert_ok!(approve(2, 0, add(6, 1)));
        assert_eq!(result_of(0), Some(Ok(())));
    });
}

/// When the set shrinks, approvals may become enough without a new one; then anybody who approved
/// sets the call off.
#[test]
fn a_quorum_by_shrinking_can_be_set_off() {
    run(&[(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)], || {
        for n in 1..=3 {
            assert_ok!(approve(n, 0, add(6, 1)));
        }
        assert_eq!(result_of(0), None, "three of five");
        assert_ok!(root(remove(5)));
        jump(1, 3);
        assert_ok!(approve(1, 0, add(6, 1)));
        assert_eq!(result_of(0), Some(Ok(())));
    });
}

/// The weight that a transaction pays for is the approval's own; the call's is charged to the one
/// that carries it out.
#[test]
fn only_the_last_approval_pays_for_the_call() {
    use frame_support::dispatch::GetDispatchInfo;
    run(&FOUR, || {
        let call: RuntimeCall = add(5, 1).into();
        let declared = call.get_dispatch_info().call_weight;
        let spent = |n: u8| {
            let origin = RuntimeOrigin::signed(account(n));
            Validators::approve(origin, 0, Box::new(call.clone())).unwrap().actual_weight.unwrap()
        };
        let (first, second, third) = (spent(1), spent(2), spent(3));
        assert_eq!(first, second);
        assert_eq!(third, first.saturating_add(declared));
    });
}
