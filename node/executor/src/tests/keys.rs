//! Which key signs for an account, judged from the state at execution (architecture D3).

use super::support::*;
use crate::{BlockError, ExtrinsicError, InvalidBlock, TransactionSource, block::encode_block};
use codec::Encode;
use sp_runtime::transaction_validity::InvalidTransaction;
use std::sync::Arc;
use x0_crypto::SigningKey;
use x0_runtime::RuntimeCall;
use x0_types::{AccountId, KeyProof, KeyRole, MlDsa65Signature, Moment, key::PossessionStatement};

fn proof(node: &Node, key: &SigningKey, account: &AccountId) -> KeyProof {
    let expires_at_ms: Moment = T0 + 60_000;
    let statement = PossessionStatement {
        role: KeyRole::Account,
        subject: account.clone(),
        controller: account.clone(),
        expires_at_ms,
    };
    let signature = key.sign_possession(&node.executor.genesis_hash().0, &statement.encode()).unwrap();
    KeyProof { expires_at_ms, signature: MlDsa65Signature(signature.to_boxed()) }
}

fn register(node: &Node, who: &Signer) -> RuntimeCall {
    let proof = proof(node, &who.key, &who.account);
    pallet_x0_did::Call::register_account_key { public: public(&who.key), proof }.into()
}

fn rotate(node: &Node, who: &Signer, new: &SigningKey) -> RuntimeCall {
    let proof = proof(node, new, &who.account);
    pallet_x0_did::Call::rotate_account_key { public: public(new), proof }.into()
}

fn bad_proof<T: std::fmt::Debug>(result: Result<T, ExtrinsicError>) {
    assert_eq!(result.unwrap_err(), ExtrinsicError::Invalid(InvalidTransaction::BadProof));
}

/// Before the chain names a key, only the inline form of the account's own key works.
#[test]
fn unregistered_accounts_sign_inline() {
    let node = Node::new();
    let alice = signer("alice");
    let registered = Signer { registered: true, ..alice.clone() };
    let foreign = Signer { key: key("bob", "account"), ..alice.clone() };
    let validate = |who: &Signer| node.executor.validate(&node.sign(who, 0, remark(b"x")), TransactionSource::External);
    bad_proof(validate(&registered));
    bad_proof(validate(&foreign));
    validate(&alice).unwrap();
}

/// A key that the chain knows in another role signs no transactions, not even of the account that its
/// own hash names; a reporter's key does, since reports are transactions.
#[test]
fn a_key_with_another_role_signs_no_transactions() {
    let node = Node::new();
    for (role, may_sign) in [("consensus", false), ("network", false), ("reporter", true)] {
        let key = key("validator-1", role);
        let who = Signer { account: public(&key).account_id(), key, ..signer("alice") };
        let result = node.executor.validate(&node.sign(&who, 0, remark(b"x")), TransactionSource::External);
        let refused_for_its_key = matches!(result, Err(ExtrinsicError::Invalid(InvalidTransaction::BadProof)));
        assert_eq!(refused_for_its_key, !may_sign, "{role}: {result:?}");
    }
}

/// After rotation only the new key works, in both forms, and the account stays the same.
#[test]
fn rotation_changes_the_key_and_not_the_account() {
    let node = Node::new();
    let alice = signer("alice");
    let new_key = key("alice", "second");
    node.advance(&[node.sign(&alice, 0, register(&node, &alice))]);
    let short = Signer { registered: true, ..alice.clone() };
    node.advance(&[node.sign(&short, 1, remark(b"short form")), node.sign(&alice, 2, remark(b"long form"))]);
    node.advance(&[node.sign(&short, 3, rotate(&node, &alice, &new_key))]);

    let validate = |who: &Signer| node.executor.validate(&node.sign(who, 4, remark(b"x")), TransactionSource::External);
    bad_proof(validate(&alice));
    bad_proof(validate(&short));
    let renewed = Signer { key: new_key, ..alice };
    validate(&renewed).unwrap();
    validate(&Signer { registered: true, ..renewed }).unwrap();
}

/// A transaction that was admitted under the old key does not slip through after a rotation earlier
/// in the same block, although its signature was verified before.
#[test]
fn a_verified_mark_does_not_outlive_a_rotation() {
    for registered in [false, true] {
        let node = Node::new();
        let alice = Signer { registered, ..signer("alice") };
        node.advance(&[node.sign(&signer("alice"), 0, register(&node, &alice))]);
        let rotation = node.sign(&alice, 1, rotate(&node, &alice, &key("alice", "second")));
        let stale = node.sign(&alice, 2, remark(b"signed with the old key"));
        let admitted = [&rotation, &stale].map(|bytes| Arc::new(node.admit(bytes)));
        let executed = node.build_admitted(admitted.to_vec());
        assert_eq!(executed.body[1..], [rotation]);
        assert_eq!(executed.rejected[0].1, ExtrinsicError::Invalid(InvalidTransaction::BadProof));

        let mut body = executed.body.clone();
        body.push(stale);
        match node.executor.replay_block(&encode_block(&executed.header, &body)) {
            Err(BlockError::Invalid(InvalidBlock::Extrinsic { index: 2, error })) => {
                assert_eq!(error, ExtrinsicError::Invalid(InvalidTransaction::BadProof));
            }
            other => panic!("{other:?}"),
        }
        node.executor.replay_block(&executed.encoded).unwrap();
    }
}

/// A transaction in the short form is valid in the very block that registers the key: it gets no
/// mark ahead of time, and the check in order finds the key.
#[test]
fn registration_and_first_use_may_share_a_block() {
    let node = Node::new();
    let alice = signer("alice");
    let registration = node.sign(&alice, 0, register(&node, &alice));
    let short = Signer { registered: true, ..alice }.sign(node.executor.genesis_hash(), 1, remark(b"x"));
    let first = node.build(&[registration]);
    let mut body = first.body.clone();
    body.push(short);
    // The header of that block is not known here; the refusal must come from the header alone.
    match node.executor.replay_block(&encode_block(&first.header, &body)) {
        Err(BlockError::Invalid(InvalidBlock::Header { .. })) => {}
        other => panic!("{other:?}"),
    }
}
