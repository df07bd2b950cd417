//! Calls that nobody may make, and fees that are what wallets were told.

use super::support::*;
use codec::{Decode, Encode};
use pallet_transaction_payment_rpc_runtime_api::RuntimeDispatchInfo;
use sp_runtime::{DispatchError, MultiAddress, generic::Preamble};
use x0_runtime::{ChainSignature, RuntimeCall, UncheckedExtrinsic, configs::money};
use x0_types::{Balance, account::UNIT};

fn set_code() -> RuntimeCall {
    frame_system::Call::set_code { code: vec![1, 2, 3] }.into()
}

fn forbidden() -> Vec<RuntimeCall> {
    let items = vec![(b"key".to_vec(), b"value".to_vec())];
    vec![
        set_code(),
        frame_system::Call::set_code_without_checks { code: vec![1] }.into(),
        frame_system::Call::set_storage { items }.into(),
        frame_system::Call::kill_storage { keys: vec![b":code".to_vec()] }.into(),
        frame_system::Call::kill_prefix { prefix: vec![], subkeys: 1 }.into(),
        frame_system::Call::set_heap_pages { pages: 1 }.into(),
        frame_system::Call::authorize_upgrade { code_hash: Default::default() }.into(),
        frame_system::Call::authorize_upgrade_without_checks { code_hash: Default::default() }.into(),
    ]
}

fn wrapped(call: RuntimeCall) -> Vec<RuntimeCall> {
    let alice = MultiAddress::Id(signer("alice").account);
    let boxed = Box::new(call.clone());
    vec![
        sudo(call.clone()),
        sudo(batch(vec![remark(b""), call.clone()])),
        sudo(pallet_utility::Call::batch_all { calls: vec![call.clone()] }.into()),
        sudo(pallet_utility::Call::with_weight { call: boxed.clone(), weight: Default::default() }.into()),
        sudo(pallet_utility::Call::if_else { main: Box::new(remark(b"")), fallback: boxed.clone() }.into()),
        sudo(sudo(call.clone())),
        pallet_sudo::Call::sudo_unchecked_weight { call: boxed.clone(), weight: Default::default() }.into(),
        pallet_sudo::Call::sudo_as { who: alice.clone(), call: boxed.clone() }.into(),
        batch(vec![sudo(call)]),
        pallet_proxy::Call::proxy { real: alice, force_proxy_type: None, call: boxed }.into(),
    ]
}

/// Neither Root nor any wrapper gets code or raw storage changed.
#[test]
fn nobody_writes_code_or_raw_storage() {
    let node = Node::new();
    let alice = signer("alice");
    let code = node.executor.storage(node.executor.head().hash, b":code").unwrap();
    assert!(code.is_some());
    let calls: Vec<_> =
        forbidden().into_iter().chain(wrapped(set_code())).chain(forbidden().into_iter().map(sudo)).collect();
    let transactions: Vec<_> = (0..).zip(&calls).map(|(nonce, call)| node.sign(&alice, nonce, call.clone())).collect();
    let executed = node.advance(&transactions);
    let filtered: DispatchError = frame_system::Error::<x0_runtime::Runtime>::CallFiltered.into();
    for (call, outcome) in calls.iter().zip(&executed.results[1..]) {
        assert_eq!(outcome.result, Err(filtered), "{call:?}");
    }
    let head = node.executor.head().hash;
    assert_eq!(node.executor.storage(head, b":code").unwrap(), code);
    assert_eq!(node.executor.storage(head, b"key").unwrap(), None);
}

/// Sudo works on development networks and on no other, whatever its key says.
#[test]
fn sudo_is_for_development_only() {
    let alice = signer("alice");
    let bob = signer("bob").account;
    let force: RuntimeCall = pallet_balances::Call::force_transfer {
        source: MultiAddress::Id(bob.clone()),
        dest: MultiAddress::Id(alice.account.clone()),
        value: 7 * UNIT,
    }
    .into();
    let node = Node::new();
    let before = node.balance(&bob);
    node.advance(&[node.sign(&alice, 0, sudo(force.clone()))]);
    assert_eq!(node.balance(&bob), before - 7 * UNIT);

    let node = Node::with_genesis(&live_genesis());
    let before = node.balance(&bob);
    let executed = node.advance(&[node.sign(&alice, 0, sudo(force))]);
    assert!(executed.results[1].result.is_err());
    assert_eq!(node.balance(&bob), before);
}

/// The issuance is what genesis made it, whoever asks.
#[test]
fn nobody_burns_or_mints() {
    let node = Node::new();
    let alice = signer("alice");
    let issuance = || node.read(pallet_balances::TotalIssuance::<x0_runtime::Runtime>::get);
    let before = issuance();
    let who = MultiAddress::Id(alice.account.clone());
    let calls: [RuntimeCall; 4] = [
        pallet_balances::Call::burn { value: UNIT, keep_alive: true }.into(),
        sudo(pallet_balances::Call::force_set_balance { who, new_free: 7 * UNIT }.into()),
        batch(vec![pallet_balances::Call::burn { value: UNIT, keep_alive: false }.into()]),
        sudo(
            pallet_balances::Call::force_adjust_total_issuance {
                direction: pallet_balances::AdjustmentDirection::Increase,
                delta: UNIT,
            }
            .into(),
        ),
    ];
    let transactions: Vec<_> =
        calls.iter().zip(0..).map(|(call, nonce)| node.sign(&alice, nonce, call.clone())).collect();
    let executed = node.advance(&transactions);
    let filtered: DispatchError = frame_system::Error::<x0_runtime::Runtime>::CallFiltered.into();
    assert!(executed.results[1..].iter().all(|outcome| outcome.result == Err(filtered)));
    assert_eq!(issuance(), before);
}

fn query_fee(node: &Node, extrinsic: &UncheckedExtrinsic) -> Balance {
    let mut data = extrinsic.encode();
    let length = u32::try_from(data.len()).unwrap();
    data.extend_from_slice(&length.encode());
    let answer =
        node.executor.runtime_call(node.executor.head().hash, "TransactionPaymentApi_query_info", &data).unwrap();
    RuntimeDispatchInfo::<Balance>::decode(&mut &answer[..]).unwrap().partial_fee
}

/// A wallet's estimate, made with a placeholder of 64 bytes for the signature, is what is charged.
#[test]
fn estimates_with_placeholder_signatures_are_exact() {
    let node = Node::new();
    let (alice, bob) = (signer("alice"), signer("bob"));
    let real = node.sign(&alice, 0, transfer(&bob.account, UNIT));
    let decoded = crate::decode_extrinsic(&real).unwrap();
    let Preamble::Signed(address, _, extension) = decoded.preamble.clone() else { panic!() };
    let placeholder = UncheckedExtrinsic::new_signed(
        transfer(&bob.account, UNIT),
        address,
        ChainSignature::Sr25519([1; 64]),
        extension,
    );
    let estimate = query_fee(&node, &placeholder);
    assert_eq!(estimate, query_fee(&node, &decoded));
    let before = node.balance(&money::treasury());
    node.advance(&[real]);
    assert_eq!(node.balance(&money::treasury()) - before, estimate);
}
