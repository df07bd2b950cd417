//! What comes in, what does not, and which reason is given.

use crate::support::*;
use bytes::Bytes;
use codec::{Compact, Encode};
use sp_runtime::generic::Era;
use x0_mempool::{Config, SubmitError, TxStatus, pool::Limits};
use x0_runtime::UncheckedExtrinsic;
use x0_types::{Hash, account::UNIT};

#[tokio::test]
async fn every_bad_transaction_has_its_own_reason() {
    let node = Node::new(config());
    let submit = |bytes: Bytes| node.mempool.submit(bytes);
    let good = node.sign("alice", 0, 0, remark(b"x"));

    let large = submit(vec![0; x0_limits::EXTRINSIC_BYTES_MAX + 1].into()).await;
    assert!(matches!(large, Err(SubmitError::TooLarge { .. })));
    for garbage in [&b""[..], b"\0", &[0xff; 300], &good[..good.len() - 1], &[&good[..], b"\0"].concat()] {
        let result = submit(Bytes::copy_from_slice(garbage)).await;
        assert!(matches!(result, Err(SubmitError::Malformed(_))), "{result:?}");
    }
    let bare = UncheckedExtrinsic::new_bare(remark(b"x")).encode();
    assert_eq!(submit(bare.into()).await, Err(SubmitError::NotSigned));

    let mut forged = good.to_vec();
    let middle = forged.len() / 2;
    forged[middle] ^= 1;
    assert_eq!(submit(forged.into()).await, Err(SubmitError::BadSignature));
    let elsewhere = Hash::repeat_byte(7);
    let other_chain = sign(elsewhere, "alice", 0, 0, (Era::Immortal, elsewhere), remark(b"x"));
    assert_eq!(submit(other_chain).await, Err(SubmitError::BadSignature));
    assert_eq!(submit(node.sign("nobody", 0, 0, remark(b"x"))).await, Err(SubmitError::Unpayable));
    let far = submit(node.sign("alice", 1_000_000, 0, remark(b"x"))).await;
    assert!(matches!(far, Err(SubmitError::NonceTooFarAhead { nonce: 1_000_000, expected: 0, .. })), "{far:?}");

    let hash = submit(good.clone()).await.unwrap();
    assert_eq!(submit(good.clone()).await, Err(SubmitError::AlreadyKnown(hash)));
    let block = node.block();
    assert_eq!(submit(good).await, Err(SubmitError::AlreadyIncluded { hash, block: block.hash }));
    let stale = submit(node.sign("alice", 0, 0, remark(b"y"))).await;
    assert!(matches!(stale, Err(SubmitError::StaleNonce { nonce: 0, .. })), "{stale:?}");
    assert_eq!(node.mempool.stats().waiting, 0);
}

#[tokio::test]
async fn a_transaction_whose_era_is_over_is_refused_and_a_waiting_one_goes() {
    let node = Node::new(config());
    let genesis = node.executor.genesis_hash();
    let mortal = |nonce| sign(genesis, "bob", nonce, 0, (Era::mortal(4, 0), genesis), remark(b"x"));
    // Nonce 1 never becomes ready, so only its era can end its wait.
    let (hash, mut statuses) = node.mempool.submit_and_watch(mortal(1)).await.unwrap();
    assert_eq!(statuses.recv().await, Some(TxStatus::Future));
    for _ in 0..4 {
        node.block();
    }
    assert!(matches!(statuses.recv().await, Some(TxStatus::Invalid(_))));
    assert!(!node.mempool.contains(&hash));
    // Four blocks later the same two bytes of era name another first block, so what was signed does
    // not fit any more.
    assert_eq!(node.mempool.submit(mortal(0)).await, Err(SubmitError::BadSignature));
    assert_eq!(node.mempool.stats().expired, 1);
}

/// Calls that nest thousands of levels deep would overflow the stack of a plain decoder.
#[tokio::test]
async fn a_depth_bomb_is_refused_and_the_node_lives() {
    let node = Node::new(config());
    let honest = node.sign("alice", 0, 0, remark(b"x"));
    // The head of an honest transaction, then 5,000 times `utility.batch` of one call.
    let call = remark(b"x").encode();
    let prefix = Compact((honest.len() - 2) as u32).encode().len();
    let head = &honest[prefix..honest.len() - call.len()];
    let mut bomb = head.to_vec();
    bomb.extend([4u8, 0, 4].repeat(5_000));
    bomb.extend(call);
    let bytes = [Compact(bomb.len() as u32).encode(), bomb].concat();
    let result = node.mempool.submit(bytes.into()).await;
    assert!(matches!(&result, Err(SubmitError::Malformed(reason)) if reason.contains("depth")), "{result:?}");
    node.mempool.submit(honest).await.unwrap();
}

#[tokio::test]
async fn a_full_queue_answers_busy_at_once() {
    let bytes_of = |checking_max, checking_bytes_max| Config { checking_max, checking_bytes_max, ..config() };
    for config in [bytes_of(0, 1 << 20), bytes_of(8, 1 << 10)] {
        let node = Node::new(config);
        let result = node.mempool.submit(node.sign("alice", 0, 0, remark(b"x"))).await;
        assert!(matches!(result, Err(SubmitError::Busy { .. })), "{result:?}");
        assert_eq!(node.mempool.stats().busy, 1);
    }
}

#[tokio::test]
async fn places_in_the_queue_come_back_after_each_verdict() {
    let node = Node::new(Config { checking_max: 1, ..config() });
    for nonce in 0..5 {
        node.mempool.submit(node.sign("alice", nonce, 0, remark(b"x"))).await.unwrap();
        node.mempool.submit(vec![1, 2, 3].into()).await.unwrap_err();
    }
    let stats = node.mempool.stats();
    assert_eq!((stats.admitted, stats.refused, stats.busy, stats.checking), (5, 5, 0, 0));
    assert!(stats.checked == 10 && stats.check_ns > 0);
}

#[tokio::test]
async fn a_higher_tip_takes_the_place_and_the_loser_is_told() {
    let node = Node::new(config());
    let (_, mut statuses) = node.mempool.submit_and_watch(node.sign("alice", 0, 5, remark(b"a"))).await.unwrap();
    assert_eq!(statuses.recv().await, Some(TxStatus::Ready));
    let equal = node.mempool.submit(node.sign("alice", 0, 5, remark(b"b"))).await;
    assert_eq!(equal, Err(SubmitError::Underpriced { nonce: 0, waiting: 5, offered: 5 }));
    let winner = node.mempool.submit(node.sign("alice", 0, UNIT, remark(b"c"))).await.unwrap();
    assert_eq!(statuses.recv().await, Some(TxStatus::Usurped(winner)));
    assert_eq!(statuses.recv().await, None, "nothing follows the last status");
    assert_eq!(node.mempool.pending().iter().map(|tx| tx.hash).collect::<Vec<_>>(), [winner]);
}

#[tokio::test]
async fn a_full_pool_gives_up_the_cheapest_and_tells_its_watcher() {
    let limits = Limits { count: 2, ..config().limits };
    let node = Node::new(Config { limits, ..config() });
    node.mempool.submit(node.sign("alice", 0, UNIT, remark(b"a"))).await.unwrap();
    let (_, mut statuses) = node.mempool.submit_and_watch(node.sign("bob", 0, 0, remark(b"b"))).await.unwrap();
    assert_eq!(statuses.recv().await, Some(TxStatus::Ready));
    let equal = node.mempool.submit(node.sign("charlie", 0, 0, remark(b"b"))).await;
    assert!(matches!(equal, Err(SubmitError::Full { count: 2, .. })), "{equal:?}");
    node.mempool.submit(node.sign("charlie", 0, UNIT, remark(b"c"))).await.unwrap();
    assert_eq!(statuses.recv().await, Some(TxStatus::Dropped));
    let stats = node.mempool.stats();
    assert_eq!((stats.waiting, stats.evicted), (2, 1));
}

#[tokio::test]
async fn an_operator_removes_a_transaction() {
    let node = Node::new(config());
    let (hash, mut statuses) = node.mempool.submit_and_watch(node.sign("alice", 0, 0, remark(b"a"))).await.unwrap();
    assert!(node.mempool.remove(&hash) && !node.mempool.remove(&hash));
    assert_eq!(statuses.recv().await, Some(TxStatus::Ready));
    assert_eq!(statuses.recv().await, Some(TxStatus::Dropped));
    node.mempool.submit(node.sign("alice", 0, 0, remark(b"a"))).await.unwrap();
}
