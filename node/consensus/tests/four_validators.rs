//! Four validators in one process: agreement, absence and return, and a network that falls in two.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test")]

mod common;

use common::{assert_same_chain, cluster, peer, stop_all};
use std::time::{Duration, Instant};
use x0_consensus::Pacing;

const PACING: Pacing = Pacing { busy_ms: 20, idle_ms: 300, on_demand: false };

#[tokio::test(flavor = "multi_thread")]
async fn four_validators_finalise_the_same_blocks() {
    let (hub, mut nodes) = cluster(4, PACING).await;
    hub.set_delay(Duration::from_millis(2));
    // Each validator has its own mempool here, so each gets transactions of an account of its own.
    let mut hashes = Vec::new();
    for (node, account) in nodes.iter().zip(["alice", "bob", "charlie", "dave"]) {
        hashes.push(node.submit(account, 0, 30).await);
    }
    for node in &nodes {
        for hashes in &hashes {
            node.until_final(hashes).await;
        }
        node.until_height(20).await;
    }
    assert_same_chain(&nodes);
    for node in &nodes {
        node.check_certificates();
        let head = node.up().executor.head().hash;
        node.up().executor.with_state(head, x0_runtime::check_invariants).unwrap().unwrap();
        assert_eq!(node.up().engine.status().refused_frames, 0, "no honest frame is refused");
    }
    stop_all(&mut nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_many_parts_arrive_whole_on_a_lossy_network() {
    let (hub, mut nodes) = cluster(4, Pacing { busy_ms: 500, ..PACING }).await;
    let hashes = nodes[0].submit("alice", 0, 600).await;
    // A lost part costs its round; the next proposer of the block, or synchronisation, makes up for it.
    hub.set_loss_per_mille(2);
    for node in &nodes {
        node.until_final(&hashes).await;
    }
    assert_same_chain(&nodes);
    let largest = (1..=nodes[0].height())
        .map(|height| {
            nodes[0].up().database.body(u32::try_from(height).unwrap()).unwrap().iter().map(bytes::Bytes::len).sum()
        })
        .max();
    assert!(largest > Some(2 * x0_limits::PROPOSAL_PART_BYTES), "{largest:?}");
    hub.set_loss_per_mille(0);
    stop_all(&mut nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_that_was_away_catches_up() {
    let (_hub, mut nodes) = cluster(4, PACING).await;
    for node in &nodes {
        node.until_height(2).await;
    }
    nodes[3].stop().await;
    let hashes = nodes[0].submit("alice", 0, 20).await;
    nodes[0].until_final(&hashes).await;
    nodes[0].until_height(nodes[0].height() + 5).await;
    let missed = nodes[0].height();
    let started = Instant::now();
    nodes[3].start().await;
    nodes[3].until_height(missed).await;
    println!("the validator has caught up {:?} after its start", started.elapsed());
    nodes[3].until_final(&hashes).await;
    assert_same_chain(&nodes);
    nodes[3].check_certificates();

    // It votes again: without it the other three could not spare one of them.
    nodes[2].stop().await;
    let here = nodes[0].height();
    for node in [&nodes[0], &nodes[1], &nodes[3]] {
        node.until_height(here + 3).await;
    }
    nodes[2].start().await;
    nodes[2].until_height(here + 3).await;
    assert_same_chain(&nodes);
    stop_all(&mut nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_in_two_halves_stands_still_and_goes_on_when_it_is_whole() {
    let (hub, mut nodes) = cluster(4, PACING).await;
    for node in &nodes {
        node.until_height(3).await;
    }
    hub.partition(&[peer(0), peer(1)], &[peer(2), peer(3)]);
    // What was under way may still end; then nothing moves, whatever the clocks do.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let stood: Vec<_> = nodes.iter().map(common::Node::height).collect();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(stood, nodes.iter().map(common::Node::height).collect::<Vec<_>>(), "half of the power decides nothing");
    for node in &nodes {
        use futures::FutureExt;
        assert_eq!(node.up().engine.failed().now_or_never(), None, "standing still is no failure");
    }
    hub.mend_all();
    let (furthest, mended) = (nodes.iter().map(common::Node::height).max().unwrap(), Instant::now());
    for node in &nodes {
        node.until_height(furthest + 1).await;
    }
    println!("two halves: every validator has a new block {:?} after the mending", mended.elapsed());
    for node in &nodes {
        node.until_height(furthest + 5).await;
    }
    assert_same_chain(&nodes);
    stop_all(&mut nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_proposer_is_skipped_and_comes_back() {
    let pacing = Pacing { idle_ms: 60, ..PACING };
    let (_hub, mut nodes) = cluster(4, pacing).await;
    nodes[0].until_height(9).await;
    nodes[3].stop().await;
    let (from, heights) = (nodes[0].height(), 40);
    nodes[0].until_height(from + heights).await;
    let stats = nodes[0].up().engine.stats();
    // With plain turns the absent validator would have cost ten rounds of forty; it costs two until it is noticed, and
    // one in each trial cycle. Machines under load add some of their own.
    assert!(stats.missed_proposals < 7, "{stats:?}");
    let own = nodes[3].controller();
    let absent = stats.validators.iter().find(|validator| validator.controller == own).unwrap();
    assert!(absent.missed > 0 && absent.signed < absent.heights, "{absent:?}");
    assert_eq!(stats.decided, stats.rounds.iter().sum::<u64>());

    // It comes back, votes at once, and proposes again within the next trial cycle.
    nodes[3].start().await;
    let proposes = async {
        let mut tips = nodes[0].up().engine.tips();
        while !nodes[0]
            .up()
            .engine
            .stats()
            .validators
            .iter()
            .any(|validator| validator.controller == own && validator.proposed > absent.proposed)
        {
            tips.changed().await.unwrap();
        }
    };
    common::within("a block of the validator that came back", proposes).await;
    assert_same_chain(&nodes);
    stop_all(&mut nodes).await;
}
