//! Input that is meant to end the process: calls nested so deep that decoding overflows the stack.

use super::support::*;
use crate::{
    BlockError, ExecutorError, ExtrinsicError, InvalidBlock, TransactionSource, block::encode_block, decode_extrinsic,
};
use bytes::Bytes;
use codec::{Compact, Encode};
use x0_types::Hash;

/// A signed extrinsic of about 15 kB with 5,000 nested batches, assembled from bytes, because
/// encoding it would recurse as well.
fn bomb() -> Vec<u8> {
    let node_call = remark(b"").encode();
    let mut call = Vec::new();
    for _ in 0..5_000 {
        // Utility.batch with one call inside.
        call.extend_from_slice(&[4, 0, 4]);
    }
    call.extend_from_slice(&node_call);
    let alice = signer("alice");
    let small = alice.sign(Hash::zero(), 0, remark(b""));
    let decoded = decode_extrinsic(&small).unwrap();
    let mut inner = decoded.preamble.encode();
    inner.extend_from_slice(&call);
    let mut bytes = Compact(u32::try_from(inner.len()).unwrap()).encode();
    bytes.extend_from_slice(&inner);
    bytes
}

/// On a thread with the smallest stack that any of the node's threads has.
fn on_a_small_stack(f: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(f).unwrap().join().unwrap();
}

#[test]
fn no_entry_falls_for_a_depth_bomb() {
    on_a_small_stack(|| {
        let node = Node::new();
        let bomb = bomb();
        assert!(bomb.len() > 15_000);
        let undecodable = |error: &ExtrinsicError| matches!(error, ExtrinsicError::Undecodable { .. });

        assert!(undecodable(&decode_extrinsic(&bomb).unwrap_err()));
        assert!(undecodable(&node.executor.validate(&bomb, TransactionSource::External).unwrap_err()));

        let good = node.build(&[]);
        let body = vec![good.body[0].clone(), Bytes::from(bomb.clone())];
        match node.executor.replay_block(&encode_block(&good.header, &body)) {
            Err(BlockError::Invalid(InvalidBlock::Extrinsic { index: 1, error })) => assert!(undecodable(&error)),
            other => panic!("{other:?}"),
        }

        let head = node.executor.head().hash;
        let mut validate = TransactionSource::External.encode();
        validate.extend_from_slice(&bomb);
        validate.extend_from_slice(head.as_bytes());
        let mut query = bomb;
        query.extend_from_slice(&7u32.encode());
        for (name, data) in [
            ("TaggedTransactionQueue_validate_transaction", &validate),
            ("TransactionPaymentApi_query_info", &query),
            ("TransactionPaymentApi_query_fee_details", &query),
        ] {
            let error = node.executor.runtime_call(head, name, data).unwrap_err();
            assert!(matches!(error, ExecutorError::Parameters { .. }), "{name}: {error}");
        }
        // The node is alive and goes on.
        node.advance(&[]);
    });
}

/// The deepest call that is let in also executes on a small stack.
#[test]
fn the_deepest_allowed_call_executes() {
    on_a_small_stack(|| {
        let node = Node::new();
        let alice = signer("alice");
        let nested = |levels: u32| (0..levels).fold(remark(b"deep"), |call, _| batch(vec![call]));
        let deepest = (1..=x0_limits::CALL_DEPTH_MAX)
            .rev()
            .find(|levels| decode_extrinsic(&node.sign(&alice, 0, nested(*levels))).is_ok())
            .unwrap();
        assert!(deepest >= 16, "wallets nest multisig, proxy and batch: {deepest} levels");
        let executed = node.advance(&[node.sign(&alice, 0, nested(deepest))]);
        assert_eq!(executed.results[1].result, Ok(()));
    });
}

/// Random and truncated bytes are refused with an error at every entry that takes bytes.
#[test]
fn garbage_is_refused() {
    let node = Node::new();
    let head = node.executor.head().hash;
    let good = node.sign(&signer("alice"), 0, remark(b"x"));
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for length in [0usize, 1, 2, 3, 5, 33, 100, 1_000, 10_000] {
        let garbage: Vec<u8> = (0..length)
            .map(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random.to_le_bytes()[0]
            })
            .collect();
        assert!(node.executor.validate(&garbage, TransactionSource::External).is_err());
        assert!(node.executor.replay_block(&garbage.clone().into()).is_err());
        for name in crate::RUNTIME_CALLS {
            // Some garbage is a parameter (a number, an account): no panic is all that is asked.
            let _ = node.executor.runtime_call(head, name, &garbage);
        }
        let cut = good.len().min(length);
        if cut < good.len() {
            assert!(decode_extrinsic(&good[..cut]).is_err());
        }
    }
    let large = vec![0; x0_limits::EXTRINSIC_BYTES_MAX + 1];
    assert!(matches!(decode_extrinsic(&large), Err(ExtrinsicError::TooLarge { .. })));
}
