//! A chain of one validator: transactions become final at once, an idle chain rests, a restart loses nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test")]

mod common;

use common::{Node, cluster, within};
use std::time::{Duration, Instant};
use x0_consensus::{CertificateError, Pacing, verify_certificate};

const ON_DEMAND: Pacing = Pacing { busy_ms: 20, idle_ms: 3_600_000, on_demand: true };

#[tokio::test(flavor = "multi_thread")]
async fn transactions_are_final_with_certificates_and_an_idle_chain_rests() {
    let (_hub, mut nodes) = cluster(1, ON_DEMAND).await;
    let node = &mut nodes[0];
    // The first height starts at once: there is no block to pace it by.
    node.until_height(1).await;
    let mut took = Vec::new();
    for nonce in 0..15 {
        // Longer than the busy interval, so that the chain is idle when the transaction comes.
        tokio::time::sleep(Duration::from_millis(30)).await;
        let start = Instant::now();
        let hashes = node.submit("alice", nonce, 1).await;
        node.until_final(&hashes).await;
        took.push(start.elapsed());
    }
    took.sort_unstable();
    println!("idle chain, submission to finality: p50 {:?}, worst {:?}", took[took.len() / 2], took[took.len() - 1]);
    assert_eq!(node.height(), 16, "one block for each transaction and none without");
    node.check_certificates();

    let (database, genesis) = (&node.up().database, node.up().executor.genesis_hash().0);
    let (mut bytes, hash) = (database.certificate(3).unwrap(), node.hash_of(3).0);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert!(matches!(
        verify_certificate(&bytes, &node.certificate_set(), &hash, &genesis),
        Err(CertificateError::WrongSignature(_))
    ));
    let other = node.hash_of(4).0;
    let bytes = database.certificate(3).unwrap();
    assert!(matches!(
        verify_certificate(&bytes, &node.certificate_set(), &other, &genesis),
        Err(CertificateError::OtherBlock { .. })
    ));
    within("stopping", node.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_validator_goes_on_where_it_was() {
    let (_hub, mut nodes) = cluster(1, ON_DEMAND).await;
    let node: &mut Node = &mut nodes[0];
    let mut nonce = 0;
    let mut before = Vec::new();
    for _ in 0..4 {
        let hashes = node.submit("bob", nonce, 5).await;
        nonce += 5;
        node.until_final(&hashes).await;
        let height = node.height();
        for known in &before {
            let (number, hash) = *known;
            assert_eq!(node.hash_of(number), hash, "history does not change");
        }
        before.push((height, node.hash_of(height)));
        node.stop().await;
        node.start().await;
        assert!(node.height() >= height, "nothing that was final is lost");
    }
    let hashes = node.submit("bob", nonce, 1).await;
    node.until_final(&hashes).await;
    node.check_certificates();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_chain_beats_no_faster_than_its_idle_interval_and_answers_at_once() {
    let idle = Duration::from_millis(400);
    let pacing = Pacing { busy_ms: 20, idle_ms: 400, on_demand: false };
    let (_hub, mut nodes) = cluster(1, pacing).await;
    let node = &mut nodes[0];
    let start = Instant::now();
    node.until_height(6).await;
    assert!(start.elapsed() >= 4 * idle, "six blocks have five waits between them, the first of which may be over");
    node.stop().await;

    // With an idle interval of an hour only the transaction itself can be the reason for its block.
    node.pacing = Pacing { idle_ms: 3_600_000, ..pacing };
    node.start().await;
    let hashes = node.submit("alice", 0, 1).await;
    node.until_final(&hashes).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_that_dies_at_any_moment_comes_back_to_the_same_chain() {
    let (_hub, mut nodes) = cluster(1, ON_DEMAND).await;
    let node = &mut nodes[0];
    node.until_height(1).await;
    let mut history = Vec::new();
    let mut sent = Vec::new();
    for round in 0..12u32 {
        sent.extend(node.submit("charlie", u32::try_from(sent.len()).unwrap(), 2).await);
        // Somewhere between the first step of the block and the next idle wait.
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 5)).await;
        // Without a word to the engine: its tasks end where they stand.
        drop(node.up.take());
        node.start().await;
        for (height, hash) in &history {
            assert_eq!(node.hash_of(*height), *hash, "a final block stays");
        }
        // Waiting transactions live in memory only, so the wallet sends again what is not in a block.
        let nonce = node.nonce_of("charlie");
        sent.truncate(usize::try_from(nonce).unwrap());
        let height = node.height();
        history = (1..=height).map(|height| (height, node.hash_of(height))).collect();
    }
    let last = node.submit("charlie", node.nonce_of("charlie"), 1).await;
    node.until_final(&last).await;
    node.check_certificates();
    node.stop().await;
}
