//! What blocks do to the waiting transactions.

use crate::support::*;
use futures::future::join_all;
use x0_mempool::TxStatus;
use x0_types::account::UNIT;

#[tokio::test]
async fn a_watched_transaction_goes_from_ready_to_final() {
    let node = Node::new(config());
    let (late, mut late_statuses) =
        node.mempool.submit_and_watch(node.sign("alice", 1, 0, remark(b"b"))).await.unwrap();
    assert_eq!(late_statuses.recv().await, Some(TxStatus::Future));
    assert!(!node.mempool.has_work());
    let (first, mut statuses) = node.mempool.submit_and_watch(node.sign("alice", 0, 0, remark(b"a"))).await.unwrap();
    assert_eq!(node.mempool.next_nonce(&account("alice"), 0), 2);
    let block = node.block();
    assert_eq!(block.results[1..].iter().map(|outcome| outcome.hash).collect::<Vec<_>>(), [first, late]);
    for statuses in [&mut statuses, &mut late_statuses] {
        assert_eq!(statuses.recv().await, Some(TxStatus::Ready));
        assert_eq!(statuses.recv().await, Some(TxStatus::InBlock(block.hash)));
        assert_eq!(statuses.recv().await, Some(TxStatus::Finalized(block.hash)));
        assert_eq!(statuses.recv().await, None);
    }
    assert!(!node.mempool.has_work());
    assert_eq!(node.mempool.stats().included, 2);
}

/// Submissions of several accounts arrive in any order on several threads, and all end in a block.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_submissions_in_any_order_all_reach_a_block() {
    let node = Node::new(config());
    let names = ["alice", "bob", "charlie", "dave"];
    let mut transactions: Vec<_> = (0..20).flat_map(|nonce| names.map(|name| (name, nonce))).collect();
    // A fixed shuffle: multiplication by a number that is coprime to 80.
    transactions = (0..80).map(|index| transactions[index * 37 % 80]).collect();
    let results = join_all(
        transactions.iter().map(|(name, nonce)| node.mempool.submit(node.sign(name, *nonce, 0, remark(b"x")))),
    )
    .await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(node.mempool.stats().ready, 80);
    let block = node.block();
    assert_eq!(block.results.len(), 81);
    assert!(block.results.iter().all(|outcome| outcome.result.is_ok()));
    assert_eq!(node.mempool.stats().waiting, 0);
}

/// A block of another proposer uses a nonce that waits here.
#[tokio::test]
async fn a_block_with_a_rival_makes_the_waiting_one_invalid() {
    let node = Node::new(config());
    let elsewhere = node.sign("alice", 0, 1, remark(b"rival"));
    let rival = node.executor.validate(&elsewhere, x0_executor::TransactionSource::External).unwrap();
    let (_, mut statuses) = node.mempool.submit_and_watch(node.sign("alice", 0, 0, remark(b"mine"))).await.unwrap();
    let (next, mut next_statuses) =
        node.mempool.submit_and_watch(node.sign("alice", 1, 0, remark(b"next"))).await.unwrap();
    let executed = node.build_of(vec![rival.into()]);
    node.mempool.on_imported(&node.commit(executed));
    assert_eq!(statuses.recv().await, Some(TxStatus::Ready));
    assert!(matches!(statuses.recv().await, Some(TxStatus::Invalid(_))));
    assert_eq!(next_statuses.recv().await, Some(TxStatus::Ready));
    let ready: Vec<_> = node.mempool.ready(usize::MAX, usize::MAX).iter().map(|tx| tx.hash).collect();
    assert_eq!(ready, [next]);
}

/// The transaction was judged before a block that uses its nonce, and arrives after it.
#[tokio::test]
async fn a_block_between_check_and_arrival_leaves_no_stale_entry() {
    let node = Node::new(config());
    node.mempool.submit(node.sign("alice", 0, 0, remark(b"first"))).await.unwrap();
    let executed = node.build();
    // Committed, but the mempool does not know yet: both judgements below happen on the new head.
    let block = node.commit(executed);
    node.mempool.submit(node.sign("alice", 1, 0, remark(b"second"))).await.unwrap();
    node.mempool.submit(node.sign("alice", 0, 1, remark(b"rival"))).await.unwrap_err();
    node.mempool.on_imported(&block);
    node.mempool.on_imported(&block);
    let ready: Vec<_> = node.mempool.ready(usize::MAX, usize::MAX).iter().map(|tx| tx.nonce).collect();
    assert_eq!(ready, [1]);
    assert_eq!(node.block().results.len(), 2);
}

#[tokio::test]
async fn what_the_builder_rejects_goes_and_its_watcher_learns_why() {
    let node = Node::new(config());
    // Each is payable on its own; after the first the account is empty.
    let all = 1_000_000 * UNIT - UNIT;
    node.mempool.submit(node.sign("dave", 0, 0, transfer("alice", all))).await.unwrap();
    let (_, mut statuses) = node.mempool.submit_and_watch(node.sign("dave", 1, 2 * UNIT, remark(b"x"))).await.unwrap();
    assert_eq!(node.block().results.len(), 2);
    assert_eq!(statuses.recv().await, Some(TxStatus::Ready));
    let Some(TxStatus::Invalid(reason)) = statuses.recv().await else { panic!("not told") };
    assert!(reason.contains("Payment"), "{reason}");
    assert!(!node.mempool.has_work());
}

/// Should nobody pass on what the builder rejected, the mempool finds out by itself, so that an
/// impossible transaction cannot keep the chain busy.
#[tokio::test]
async fn what_is_left_over_twice_is_judged_again() {
    let node = Node::new(config());
    let all = 1_000_000 * UNIT - UNIT;
    node.mempool.submit(node.sign("dave", 0, 0, transfer("alice", all))).await.unwrap();
    let (_, mut statuses) = node.mempool.submit_and_watch(node.sign("dave", 1, 2 * UNIT, remark(b"x"))).await.unwrap();
    assert_eq!(statuses.recv().await, Some(TxStatus::Ready));
    for _ in 0..2 {
        let executed = node.build();
        node.mempool.on_imported(&node.commit(executed));
    }
    assert!(matches!(statuses.recv().await, Some(TxStatus::Invalid(_))));
    assert!(!node.mempool.has_work());
}

#[tokio::test]
async fn waiting_for_work_ends_with_a_ready_transaction_only() {
    let node = Node::new(config());
    let mempool = node.mempool.clone();
    let waiting = tokio::spawn(async move { mempool.wait_for_work().await });
    node.mempool.submit(node.sign("alice", 1, 0, remark(b"future"))).await.unwrap();
    assert!(!waiting.is_finished());
    node.mempool.submit(node.sign("alice", 0, 0, remark(b"ready"))).await.unwrap();
    waiting.await.unwrap();
    node.mempool.wait_for_work().await;
}
