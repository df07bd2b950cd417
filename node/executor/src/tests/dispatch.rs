//! Our way through one transaction against the one of FRAME's executive.

use super::support::*;
use crate::{ExtrinsicError, Signed, TransactionSource, decode_extrinsic, executor::Dispatcher, extrinsic_hash};
use bytes::Bytes;
use sp_runtime::ApplyExtrinsicResult;
use std::sync::Arc;
use x0_runtime::{Executive, UncheckedExtrinsic};
use x0_types::{Hash, account::UNIT};

/// The executive, detours included.
struct Reference;

impl Dispatcher for Reference {
    fn apply(&self, extrinsic: UncheckedExtrinsic, _: usize) -> ApplyExtrinsicResult {
        Executive::apply_extrinsic(extrinsic)
    }

    fn extrinsics_root(&self, _: Hash, noted: Hash) -> Hash {
        noted
    }
}

/// Transactions that succeed, fail in their call, fail in part, or pay for what they may not do.
fn transactions(node: &Node) -> Vec<Bytes> {
    let (alice, bob, charlie) = (signer("alice"), signer("bob"), signer("charlie"));
    let too_much = transfer(&bob.account, u128::MAX / 2);
    vec![
        node.sign(&alice, 0, transfer(&bob.account, UNIT)),
        node.sign(&bob, 0, too_much.clone()),
        node.sign(&charlie, 0, batch(vec![remark(b"x"), too_much, remark(b"y")])),
        node.sign(&charlie, 1, sudo(remark(b"not for charlie"))),
        node.sign(&alice, 1, remark(&[7; 1_000])),
    ]
}

/// The same transactions give the same blocks, to the last byte of the header and of the events.
#[test]
fn blocks_are_those_of_the_executive() {
    let (ours, theirs) = (Node::new(), Node::with_dispatcher(Reference));
    for round in 0..3 {
        let transactions = if round == 1 { transactions(&ours) } else { Vec::new() };
        let (ours, theirs) = (ours.advance(&transactions), theirs.advance(&transactions));
        assert_eq!(ours.header, theirs.header);
        assert_eq!(ours.results, theirs.results);
        assert_eq!(ours.events, theirs.events);
    }
}

/// A transaction that a block cannot hold is refused for the same reason.
#[test]
fn refusals_are_those_of_the_executive() {
    let (ours, theirs) = (Node::new(), Node::with_dispatcher(Reference));
    let (alice, nobody) = (signer("alice"), signer("nobody"));
    let admitted = ours.admit(&ours.sign(&alice, 0, remark(b"first")));
    for node in [&ours, &theirs] {
        node.advance(std::slice::from_ref(&admitted.bytes));
    }
    // Admitted on an older state, and out of date by now.
    let rejected = [&ours, &theirs].map(|node| node.build_admitted(vec![Arc::new(admitted.clone())]).rejected);
    assert_eq!(rejected[0], rejected[1]);
    assert_eq!(rejected[0].len(), 1);

    for bytes in [
        ours.sign(&alice, 0, remark(b"stale")),
        ours.sign(&alice, 1, remark(b"good")),
        ours.sign(&alice, 9, remark(b"future")),
        ours.sign(&nobody, 0, remark(b"unpayable")),
        nobody.sign(Hash::zero(), 0, remark(b"another chain")),
    ] {
        let head = ours.executor.head().hash;
        let extrinsic = decode_extrinsic(&bytes).unwrap();
        let expected =
            ours.read(|| Executive::validate_transaction(TransactionSource::External, extrinsic.clone(), head));
        let found = ours.executor.validate(&bytes, TransactionSource::External);
        match expected {
            Ok(valid) => {
                let found = found.unwrap();
                assert_eq!((found.priority, found.longevity), (valid.priority, valid.longevity));
                assert_eq!((found.requires, found.provides), (valid.requires, valid.provides));
            }
            Err(error) => assert_eq!(found.unwrap_err(), ExtrinsicError::from(error)),
        }
    }
}

/// The signature stage of a block agrees with the admission of each of its transactions.
#[test]
fn the_signature_stage_finds_the_forged_ones() {
    let node = Node::new();
    let (alice, bob) = (signer("alice"), signer("bob"));
    let stolen = Signer { account: alice.account.clone(), ..bob.clone() };
    let good = node.sign(&alice, 0, remark(b"x"));
    let forged = node.sign(&stolen, 0, remark(b"x"));
    let elsewhere = bob.sign(Hash::zero(), 0, remark(b"x"));
    let long = node.sign(&bob, 0, remark(&[1; 5_000]));
    let decoded: Vec<_> = [&good, &forged, &elsewhere, &long]
        .iter()
        .map(|bytes| Signed::decode_hashed(bytes, extrinsic_hash(bytes)).unwrap())
        .collect();
    assert_eq!(node.executor.verify_signatures(&decoded).unwrap(), [true, false, false, true]);
}
