//! The active version of the rules: an item of the state, and nodes that do not know it stop.

use super::support::*;
use crate::{Executor, ExecutorError, Options};
use codec::Encode;
use x0_runtime::{
    Runtime, RuntimeCall, network,
    version::{FIRST_SPEC, SUPPORTED_SPECS},
};
use x0_storage::Database;

/// The first version that no binary of this source knows.
fn unknown() -> u32 {
    SUPPORTED_SPECS.iter().max().unwrap() + 1
}

fn schedule(spec_version: u32, height: u32) -> RuntimeCall {
    sudo(network::Call::schedule_upgrade { spec_version, height }.into())
}

fn cancel() -> RuntimeCall {
    sudo(network::Call::cancel_upgrade {}.into())
}

/// Wallets key their metadata cache by the hash of `:code`, so it exists from the first block.
#[test]
fn code_marker_names_the_version() {
    let node = Node::new();
    let code = node.executor.storage(node.executor.head().hash, b":code").unwrap();
    assert_eq!(code, Some((b"native", FIRST_SPEC).encode()));
}

/// The version switches at the end of the block before the announced one. A node that does not know
/// it executes everything before, then stops, says why, and does so again after a restart.
#[test]
fn a_node_that_does_not_know_the_version_stops() {
    let node = Node::new();
    let alice = signer("alice");
    let next = unknown();
    node.advance(&[node.sign(&alice, 0, schedule(next, 4))]);
    node.advance(&[]);
    assert_eq!(node.read(network::ActiveSpec::<Runtime>::get), FIRST_SPEC);
    node.advance(&[node.sign(&alice, 1, remark(b"last block of the old rules"))]);
    assert_eq!(node.read(network::ActiveSpec::<Runtime>::get), next);
    assert_eq!(node.read(|| x0_runtime::apis::version().spec_version), next);
    let head = node.executor.head();
    assert_eq!(head.number, 3);
    assert_eq!(node.executor.storage(head.hash, b":code").unwrap(), Some((b"native", next).encode()));

    let build = node.executor.build_block(head.hash, T0, proposer(), std::iter::empty(), std::time::Instant::now());
    let unsupported = |error: &ExecutorError| matches!(error, ExecutorError::UnsupportedSpec { number: 4, active, .. } if *active == next);
    assert!(unsupported(&build.unwrap_err()));
    let Node { executor, dir } = node;
    drop(executor);
    let database = Database::open(dir.path(), loud()).unwrap();
    let error = Executor::new(database, &genesis(), Options::default()).unwrap_err();
    assert!(unsupported(&error), "{error}");
    assert!(error.to_string().contains(&format!("version {next}")), "{error}");
}

/// An announcement must be newer, leave time, stand alone, and can be taken back.
#[test]
fn announcements_are_checked_and_can_be_cancelled() {
    let node = Node::new();
    let (alice, bob) = (signer("alice"), signer("bob"));
    let next = unknown();
    let too_late = x0_limits::UPGRADE_NOTICE_BLOCKS_MAX + 2;
    let executed = node.advance(&[
        node.sign(&alice, 0, cancel()),
        node.sign(&alice, 1, schedule(FIRST_SPEC, 10)),
        node.sign(&alice, 2, schedule(next, 2)),
        node.sign(&bob, 0, network::Call::schedule_upgrade { spec_version: 9, height: 9 }.into()),
        node.sign(&alice, 3, schedule(next, too_late)),
        node.sign(&alice, 4, schedule(next, 3)),
        node.sign(&alice, 5, schedule(next + 1, 3)),
        node.sign(&alice, 6, cancel()),
    ]);
    assert!(executed.results[4].result.is_err(), "not for everybody");
    let scheduled: Vec<u32> = node.read(|| {
        x0_runtime::System::events()
            .into_iter()
            .filter_map(|record| match record.event {
                x0_runtime::RuntimeEvent::Network(network::Event::UpgradeScheduled { height, .. }) => Some(height),
                _ => None,
            })
            .collect()
    });
    assert_eq!(scheduled, vec![3]);
    for _ in 0..4 {
        node.advance(&[]);
    }
    assert_eq!(node.read(network::ActiveSpec::<Runtime>::get), FIRST_SPEC);
    assert_eq!(node.read(network::Scheduled::<Runtime>::get), None);
}
