//! A transaction stands in the chain once, whatever becomes of its account.

use super::chain::{Chain, Signer, signer};
use crate::{AccountId, Balances, RuntimeCall, System, UncheckedExtrinsic};
use codec::Encode;
use proptest::prelude::*;
use sp_runtime::{MultiAddress, transaction_validity::InvalidTransaction};
use std::collections::BTreeSet;
use x0_types::account::UNIT;

fn fund(to: &AccountId) -> RuntimeCall {
    pallet_balances::Call::transfer_keep_alive { dest: MultiAddress::Id(to.clone()), value: UNIT }.into()
}

/// Gives everything away: the account is closed.
fn close() -> RuntimeCall {
    let dest = MultiAddress::Id(signer("alice").account);
    pallet_balances::Call::transfer_all { dest, keep_alive: false }.into()
}

fn remark(n: u8) -> RuntimeCall {
    frame_system::Call::remark { remark: vec![n] }.into()
}

/// An immortal transaction from before the account was closed never comes back.
#[test]
fn an_account_that_was_closed_goes_on_counting() {
    let mut chain = Chain::dev();
    let (alice, eve) = (signer("alice"), signer("eve"));
    chain.call(&alice, fund(&eve.account)).unwrap();
    let first = chain.sign(&eve, remark(1));
    chain.block(vec![first.clone()]).pop().unwrap().unwrap().unwrap();
    chain.call(&eve, close()).unwrap();
    assert_eq!(chain.read(|| (Balances::free_balance(&eve.account), System::providers(&eve.account))), (0, 0));
    assert_eq!(chain.nonce(&eve.account), 2, "a wallet without money still learns the right number");
    chain.call(&alice, fund(&eve.account)).unwrap();
    assert_eq!(chain.nonce(&eve.account), 2);
    let stale = InvalidTransaction::Stale.into();
    assert_eq!(chain.block(vec![first]).pop().unwrap(), Err(stale));
    chain.call(&eve, remark(2)).unwrap();
}

/// Accounts that never signed leave nothing behind when they go.
#[test]
fn accounts_that_never_signed_are_forgotten() {
    let mut chain = Chain::dev();
    let (alice, eve) = (signer("alice"), signer("eve"));
    chain.call(&alice, fund(&eve.account)).unwrap();
    let take = pallet_balances::Call::force_transfer {
        source: MultiAddress::Id(eve.account.clone()),
        dest: MultiAddress::Id(alice.account.clone()),
        value: UNIT,
    };
    chain.call(&alice, pallet_sudo::Call::sudo { call: Box::new(take.into()) }).unwrap();
    assert!(!chain.read(|| System::account_exists(&eve.account)));
}

#[derive(Clone, Debug)]
enum Step {
    Fund(usize),
    Remark(usize),
    Close(usize),
    /// Somebody sends a transaction once more that was sent before.
    Replay(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0usize..2).prop_map(Step::Fund),
        2 => (0usize..2).prop_map(Step::Remark),
        2 => (0usize..2).prop_map(Step::Close),
        3 => (0usize..64).prop_map(Step::Replay),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    /// However accounts are funded and closed, also several times in one block, no transaction is
    /// included twice.
    #[test]
    fn no_transaction_is_included_twice(blocks in proptest::collection::vec(proptest::collection::vec(step(), 1..6), 1..8)) {
        let mut chain = Chain::dev();
        let alice = signer("alice");
        let people: [Signer; 2] = [signer("eve"), signer("mallory")];
        let mut sent: Vec<UncheckedExtrinsic> = Vec::new();
        let mut included: BTreeSet<Vec<u8>> = BTreeSet::new();
        for steps in blocks {
            // Numbers as wallets know them: the chain's plus what this block holds already.
            let mut next: Vec<u32> =
                [&people[0], &people[1], &alice].map(|who| chain.nonce(&who.account)).to_vec();
            let mut block = Vec::new();
            for step in steps {
                let (place, who, call) = match step {
                    Step::Fund(n) => (2, &alice, fund(&people[n].account)),
                    Step::Remark(n) => (n, &people[n], remark(1)),
                    Step::Close(n) => (n, &people[n], close()),
                    Step::Replay(n) => {
                        if !sent.is_empty() {
                            block.push((None, sent[n % sent.len()].clone()));
                        }
                        continue;
                    }
                };
                let transaction = chain.sign_with(who, next[place], call);
                next[place] += 1;
                block.push((Some(place), transaction));
            }
            let results = chain.block(block.iter().map(|(_, transaction)| transaction.clone()).collect());
            for ((fresh, transaction), result) in block.into_iter().zip(results) {
                if result.is_ok() {
                    prop_assert!(included.insert(transaction.encode()), "a transaction twice");
                }
                if fresh.is_some() {
                    sent.push(transaction);
                }
            }
        }
    }
}
