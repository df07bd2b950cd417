//! Many judgements in one view of the state.

use super::support::*;
use crate::{Admitted, ExtrinsicError, Submission, TransactionSource, extrinsic_hashes};
use bytes::Bytes;
use sp_runtime::{generic::Era, transaction_validity::InvalidTransaction};
use x0_types::{Hash, account::UNIT};

fn submissions(transactions: &[Bytes]) -> Vec<Submission> {
    transactions
        .iter()
        .zip(extrinsic_hashes(transactions))
        .map(|(bytes, hash)| Submission { bytes: bytes.clone(), hash, source: TransactionSource::External })
        .collect()
}

fn figures(judged: Result<Admitted, ExtrinsicError>) -> Result<(Hash, u64, Vec<Vec<u8>>), ExtrinsicError> {
    judged.map(|admitted| (admitted.hash, admitted.priority, admitted.requires))
}

/// Each transaction of a batch gets the verdict that it gets alone, whatever its neighbours are.
#[test]
fn neighbours_do_not_change_a_verdict() {
    let (node, alone) = (Node::new(), Node::new());
    let (alice, bob, charlie) = (signer("alice"), signer("bob"), signer("charlie"));
    let stolen = Signer { account: alice.account.clone(), ..bob.clone() };
    let mut flipped = node.sign(&charlie, 0, remark(b"flipped")).to_vec();
    // A bit of the signature, behind length, version, address, variant and key.
    flipped[2_500] ^= 1;
    let short = Signer { registered: true, ..charlie.clone() };
    let transactions = [
        node.sign(&alice, 0, transfer(&bob.account, UNIT)),
        node.sign(&stolen, 0, remark(b"forged")),
        Bytes::from(flipped),
        Bytes::from_static(b"\x0cabc"),
        node.sign(&bob, 3, remark(b"ahead")),
        node.sign(&short, 0, remark(b"no key on chain")),
        bob.sign(Hash::zero(), 0, remark(b"another chain")),
        node.sign(&signer("nobody"), 0, remark(b"unpayable")),
        node.sign(&charlie, 0, remark(&[9; 3_000])),
    ];
    let judged = node.executor.validate_many(&submissions(&transactions));
    assert_eq!(judged.iter().map(Result::is_ok).collect::<Vec<_>>(), {
        [true, false, false, false, true, false, false, false, true]
    });
    for (judged, bytes) in judged.into_iter().zip(&transactions) {
        let expected = figures(alone.executor.validate(bytes, TransactionSource::External));
        assert_eq!(figures(judged), expected);
    }
    for forged in [1, 2] {
        let again = node.executor.validate(&transactions[forged], TransactionSource::External);
        assert_eq!(again.unwrap_err(), ExtrinsicError::Invalid(InvalidTransaction::BadProof));
    }
}

/// Transactions of different eras are judged side by side, each by the block that its own era begins with; an era that
/// has begun with another block than the signer thought does not hold.
#[test]
fn eras_do_not_mix_in_a_view() {
    let node = Node::new();
    let genesis = node.executor.genesis_hash();
    let blocks: Vec<Hash> = (0..6).map(|_| node.advance(&[]).hash).collect();
    // Of four blocks each: one begins with block 4, the other with block 6, the head.
    let (older, newer) = (Era::mortal(4, 4), Era::mortal(4, 6));
    let past = Era::mortal(4, 0);
    let sign = |name: &str, era, birth| signer(name).sign_in(genesis, (era, birth), 0, remark(b"x"));
    let transactions = [
        sign("alice", older, blocks[3]),
        sign("bob", newer, blocks[5]),
        sign("charlie", Era::Immortal, genesis),
        sign("dave", older, blocks[3]),
        sign("eve", newer, blocks[3]),
        sign("ferdie", Era::Immortal, blocks[5]),
        sign("alice", past, genesis),
    ];
    let bad = || Err(ExtrinsicError::Invalid(InvalidTransaction::BadProof));
    let judged = node.executor.validate_many(&submissions(&transactions));
    let judged: Vec<_> = judged.into_iter().map(|judged| judged.map(|_| ())).collect();
    // An era of four blocks that began with block 0 reads now as the one that began with block 4.
    assert_eq!(judged, [Ok(()), Ok(()), Ok(()), Ok(()), bad(), bad(), bad()]);
}

/// A view ends with its block: the next judgement sees the nonce that the block used up.
#[test]
fn a_view_does_not_outlive_its_block() {
    let node = Node::new();
    let alice = signer("alice");
    let bytes = node.sign(&alice, 0, remark(b"once"));
    node.executor.validate(&bytes, TransactionSource::External).unwrap();
    assert_eq!(node.executor.head_nonce(&alice.account).unwrap(), 0);
    node.advance(std::slice::from_ref(&bytes));
    assert_eq!(node.executor.head_nonce(&alice.account).unwrap(), 1);
    let again = node.executor.validate(&bytes, TransactionSource::External);
    assert_eq!(again.unwrap_err(), ExtrinsicError::Invalid(InvalidTransaction::Stale));
}

/// What one judgement writes, the next one does not see, and a panic in one spoils no other.
#[test]
fn a_view_forgets_what_ran_in_it() {
    let node = Node::new();
    let read = || frame_support::storage::unhashed::get::<u8>(b"written");
    let seen = node.executor.with_view(|view| {
        let write = view.run(|| {
            frame_support::storage::unhashed::put(b"written", &1u8);
            read()
        });
        (write, view.run(read), view.run(|| -> u8 { panic!("in the runtime") }).is_err(), view.run(read))
    });
    assert_eq!(seen.unwrap(), (Ok(Some(1)), Ok(None), true, Ok(None)));
    assert_eq!(node.executor.with_view(|view| view.run(read)).unwrap(), Ok(None));
}
