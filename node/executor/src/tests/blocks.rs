//! Building, replaying and committing.

use super::support::*;
use crate::{BlockError, Executor, ExecutorError, InvalidBlock, Options, block::encode_block};
use bytes::Bytes;
use codec::Encode;
use sp_runtime::{DigestItem, traits::LazyBlock as _};
use std::{sync::Arc, time::Instant};
use x0_runtime::{Block, Executive, UncheckedExtrinsic, configs::money};
use x0_storage::Database;
use x0_types::account::UNIT;

/// A block built by one node is executed by another to the same header, and after both committed,
/// both have the same head.
#[test]
fn another_node_replays_what_one_builds() {
    let (builder, other) = (Node::new(), Node::new());
    let (alice, bob) = (signer("alice"), signer("bob"));
    for height in 1..=3 {
        let transactions = [
            builder.sign(&alice, height - 1, transfer(&bob.account, UNIT)),
            builder.sign(&bob, height - 1, remark(b"hello")),
        ];
        let built = builder.build(&transactions);
        let replayed = other.executor.replay_block(&built.encoded).unwrap();
        assert_eq!(replayed.header, built.header);
        assert_eq!(replayed.encoded, built.encoded);
        assert_eq!(replayed.results, built.results);
        assert_eq!(replayed.events, built.events);
        assert_eq!(replayed.account_touches, built.account_touches);
        let head = other.executor.commit(replayed, vec![]).unwrap();
        assert_eq!(builder.executor.commit(built, vec![]).unwrap(), head);
        assert_eq!(head.number, height);
    }
}

/// FRAME's own block execution, which shares nothing with our loop, accepts what we build.
#[test]
fn the_frameworks_own_execution_agrees() {
    let node = Node::new();
    let (alice, bob) = (signer("alice"), signer("bob"));
    let built = node.build(&[
        node.sign(&alice, 0, transfer(&bob.account, UNIT)),
        node.sign(&bob, 0, transfer(&alice.account, u128::MAX)),
    ]);
    assert!(built.results[2].result.is_err(), "a failing call is part of the picture");
    let extrinsics = built.body.iter().map(|bytes| crate::decode_extrinsic(bytes).unwrap()).collect();
    let block = Block { header: built.header.clone(), extrinsics };
    let lazy = <Block as sp_runtime::traits::Block>::LazyBlock::from(block);
    assert_eq!(lazy.header(), &built.header);
    // It panics on any difference, which comes back as an error here.
    node.executor.with_state(node.executor.head().hash, || Executive::execute_block(lazy)).unwrap();
}

/// Fees go to the treasury to the last unit, and nothing is created or burnt.
#[test]
fn fees_move_and_nothing_is_lost() {
    let node = Node::new();
    let (alice, bob) = (signer("alice"), signer("bob"));
    let issuance = node.read(x0_runtime::Balances::total_issuance);
    let before = (node.balance(&alice.account), node.balance(&bob.account), node.balance(&money::treasury()));
    node.advance(&[node.sign(&alice, 0, transfer(&bob.account, UNIT))]);
    let after = (node.balance(&alice.account), node.balance(&bob.account), node.balance(&money::treasury()));
    let fee = after.2 - before.2;
    assert_eq!(before.0 - after.0, UNIT + fee);
    assert_eq!(after.1 - before.1, UNIT);
    assert!((UNIT / 1_000..UNIT / 100).contains(&fee), "a transfer costs {fee}");
    assert_eq!(node.read(x0_runtime::Balances::total_issuance), issuance);
}

/// Time never stands still or goes back, whatever the clock says.
#[test]
fn block_time_follows_the_parent() {
    let node = Node::new();
    let build = |time| {
        let head = node.executor.head();
        node.executor.build_block(head.hash, time, proposer(), std::iter::empty(), Instant::now()).unwrap()
    };
    node.executor.commit(build(T0), vec![]).unwrap();
    let late = build(T0 - 5_000);
    assert_eq!(late.timestamp_ms, T0 + 1);
    node.executor.commit(late, vec![]).unwrap();
    assert_eq!(node.read(x0_runtime::Timestamp::get), T0 + 1);
}

/// After its deadline the builder takes nothing more, and the block is whole all the same.
#[test]
fn the_deadline_ends_the_block() {
    let node = Node::new();
    let alice = signer("alice");
    let admitted = Arc::new(node.admit(&node.sign(&alice, 0, remark(b"late"))));
    let head = node.executor.head();
    let block = node.executor.build_block(head.hash, T0, proposer(), [admitted].into_iter(), Instant::now()).unwrap();
    assert_eq!((block.body.len(), block.rejected.len()), (1, 0), "only the timestamp, and nothing thrown away");
    node.executor.replay_block(&block.encoded).unwrap();
}

/// A block holds no more bytes than allowed; what does not fit is kept for the next one.
#[test]
fn the_builder_stops_at_the_byte_limit() {
    let node = Node::new();
    let alice = signer("alice");
    let large = vec![7; 200 * 1024];
    let admitted: Vec<_> =
        (0..90).map(|nonce| Arc::new(node.admit(&node.sign(&alice, nonce, remark(&large))))).collect();
    let block = node.build_admitted(admitted);
    assert!(block.encoded.len() <= x0_limits::BLOCK_BYTES_MAX);
    assert!(block.body.len() > 60, "the block is well filled: {}", block.body.len());
    assert_eq!(block.rejected, vec![]);
    node.executor.replay_block(&block.encoded).unwrap();
}

/// The head and all state are there after a restart, and the executor refuses another chain's data.
#[test]
fn a_restart_keeps_the_chain_and_another_chain_is_refused() {
    let node = Node::new();
    let alice = signer("alice");
    node.advance(&[node.sign(&alice, 0, remark(b"x"))]);
    let head = node.executor.head();
    let Node { executor, dir } = node;
    drop(executor);
    let database = Database::open(dir.path(), loud()).unwrap();
    let executor = Executor::new(database.clone(), &genesis(), Options::default()).unwrap();
    assert_eq!(executor.head(), head);
    assert_eq!(executor.with_state(head.hash, || x0_runtime::System::account_nonce(&alice.account)).unwrap(), 1);
    let error = Executor::new(database, &live_genesis(), Options::default()).unwrap_err();
    assert!(matches!(error, ExecutorError::Storage(x0_storage::StorageError::OtherChain { .. })), "{error}");
}

/// Only the block after the head is built or committed.
#[test]
fn blocks_follow_the_head_only() {
    let node = Node::new();
    let (first, twin) = (node.build(&[]), node.build(&[]));
    let parent = node.executor.head().hash;
    node.executor.commit(first, vec![]).unwrap();
    assert!(matches!(node.executor.commit(twin, vec![]), Err(ExecutorError::NotOnHead { .. })));
    let stale = node.executor.build_block(parent, T0, proposer(), std::iter::empty(), Instant::now());
    assert!(matches!(stale, Err(ExecutorError::NotOnHead { .. })));
}

/// Subscribers see each block once it is durable, with what became of its transactions.
#[test]
fn subscribers_see_committed_blocks() {
    let node = Node::new();
    let (mut blocks, heads) = (node.executor.subscribe_imported(), node.executor.subscribe_heads());
    let alice = signer("alice");
    let built = node.advance(&[node.sign(&alice, 0, remark(b"x"))]);
    let imported = blocks.try_recv().unwrap();
    assert_eq!((imported.hash, imported.number), (built.hash, 1));
    assert_eq!(imported.results, built.results);
    assert_eq!(imported.results[1].signer, Some(alice.account.clone()));
    assert_eq!(heads.borrow().hash, built.hash);
    let place = node.executor.database().extrinsic_location(&built.results[1].hash);
    assert_eq!(place, Some((1, 1)));
    assert_eq!(node.executor.database().account_history(&alice.account, None, 10), vec![(1, 1)]);
}

fn invalid(node: &Node, encoded: &[u8]) -> InvalidBlock {
    match node.executor.replay_block(&encoded.to_vec().into()) {
        Err(BlockError::Invalid(error)) => error,
        other => panic!("expected an invalid block, got {other:?}"),
    }
}

/// Each rule of a block's form is checked, with its own error, and a refused block leaves no trace.
#[test]
fn broken_blocks_are_told_apart() {
    let node = Node::new();
    let alice = signer("alice");
    let good = node.build(&[node.sign(&alice, 0, remark(b"x"))]);
    let with = |change: &dyn Fn(&mut x0_runtime::Header, &mut Vec<Bytes>)| {
        let (mut header, mut body) = (good.header.clone(), good.body.clone());
        change(&mut header, &mut body);
        invalid(&node, &encode_block(&header, &body))
    };
    assert!(matches!(with(&|h, _| h.number = 2), InvalidBlock::WrongNumber { head: 0, found: 2 }));
    assert!(matches!(with(&|h, _| h.parent_hash = Default::default()), InvalidBlock::WrongParent { .. }));
    assert!(matches!(with(&|h, _| h.digest.logs.clear()), InvalidBlock::Proposer));
    let second = DigestItem::PreRuntime(*b"pow_", proposer().encode());
    assert!(matches!(with(&|h, _| h.digest.push(second.clone())), InvalidBlock::Proposer));
    assert!(matches!(
        with(&|h, _| h.digest.push(DigestItem::Other(vec![1]))),
        InvalidBlock::Header { field: "digest", .. }
    ));
    assert!(matches!(with(&|h, _| h.state_root.0[0] ^= 1), InvalidBlock::Header { field: "state root", .. }));
    assert!(matches!(with(&|h, _| h.extrinsics_root.0[0] ^= 1), InvalidBlock::Header { field: "extrinsics root", .. }));
    assert!(matches!(with(&|_, b| b.clear()), InvalidBlock::Inherents { index: 0 }));
    assert!(matches!(with(&|_, b| b.swap(0, 1)), InvalidBlock::Inherents { index: 0 }));
    let again = good.body[0].clone();
    assert!(matches!(with(&|_, b| b.push(again.clone())), InvalidBlock::Extrinsic { index: 2, .. }));
    let same = good.body[1].clone();
    assert!(matches!(with(&|_, b| b.push(same.clone())), InvalidBlock::Extrinsic { index: 2, .. }), "a replayed nonce");
    let early = Bytes::from(UncheckedExtrinsic::encode(&crate::block::timestamp_inherent(0)));
    assert!(matches!(with(&|_, b| b[0] = early.clone()), InvalidBlock::Timestamp { found: 0, .. }));
    assert!(matches!(
        with(&|_, b| b.resize(x0_limits::BLOCK_EXTRINSICS_MAX + 1, Bytes::from_static(&[0]))),
        InvalidBlock::TooManyExtrinsics { .. }
    ));
    let mut tail = good.encoded.to_vec();
    tail.push(0);
    assert!(matches!(invalid(&node, &tail), InvalidBlock::Undecodable { .. }));
    assert!(matches!(invalid(&node, &good.encoded[..good.encoded.len() - 1]), InvalidBlock::Undecodable { .. }));
    assert!(matches!(invalid(&node, &vec![0; x0_limits::BLOCK_BYTES_MAX + 1]), InvalidBlock::TooLarge { .. }));
    assert!(matches!(invalid(&node, &[]), InvalidBlock::Undecodable { .. }));
    assert_eq!(node.executor.head().number, 0);
    node.executor.replay_block(&good.encoded).unwrap();
}

/// A wrong signature inside a block makes the block invalid, wherever the check happens.
#[test]
fn a_block_with_a_forged_signature_is_invalid() {
    let (builder, other) = (Node::new(), Node::new());
    let alice = signer("alice");
    let good = builder.build(&[builder.sign(&alice, 0, remark(b"x"))]);
    let mut body = good.body.clone();
    let mut forged = body[1].to_vec();
    let middle = forged.len() / 2;
    forged[middle] ^= 1;
    body[1] = Bytes::from(forged);
    let error = invalid(&other, &encode_block(&good.header, &body));
    assert!(matches!(error, InvalidBlock::Extrinsic { index: 1, .. }), "{error}");
}
