//! A runtime that panics, a database that fails.

use super::support::*;
use crate::{BlockError, ExtrinsicError, InvalidBlock, executor::Dispatcher, state};
use sp_runtime::ApplyExtrinsicResult;
use std::sync::Arc;
use x0_runtime::{Executive, RuntimeCall, UncheckedExtrinsic};
use x0_storage::{Database, EXIT_CODE_STORAGE, FatalHandler, OpenOptions};
use x0_types::{Hash, account::UNIT};

const MARKER: &[u8] = b"panic in a pallet";

/// The runtime with a pallet that writes, opens a storage transaction and panics in it.
struct Panicking;

impl Dispatcher for Panicking {
    fn extrinsics_root(&self, _: Hash, noted: Hash) -> Hash {
        noted
    }

    fn apply(&self, extrinsic: UncheckedExtrinsic, _: usize) -> ApplyExtrinsicResult {
        let marked = matches!(
            &extrinsic.function,
            RuntimeCall::System(frame_system::Call::remark { remark }) if remark == MARKER
        );
        if marked {
            frame_support::storage::unhashed::put(b"half done", &1u8);
            let _: Result<(), sp_runtime::DispatchError> = frame_support::storage::with_storage_layer(|| {
                frame_support::storage::unhashed::put(b"half done, too", &1u8);
                panic!("the pallet has a bug")
            });
        }
        Executive::apply_extrinsic(extrinsic)
    }
}

/// A transaction that makes a pallet panic is left out, and the block is the same as if it had
/// never been offered; the transactions around it are not touched.
#[test]
fn a_panic_loses_its_own_transaction_only() {
    let node = Node::with_dispatcher(Panicking);
    let (alice, bob, charlie) = (signer("alice"), signer("bob"), signer("charlie"));
    let first = node.sign(&alice, 0, transfer(&bob.account, UNIT));
    let bad = node.sign(&charlie, 0, remark(MARKER));
    let last = node.sign(&bob, 0, transfer(&alice.account, UNIT));
    let admitted = [&first, &bad, &last].map(|bytes| Arc::new(node.admit(bytes)));
    let bad_hash = admitted[1].hash;
    let executed = node.build_admitted(admitted.to_vec());
    let panicked = ExtrinsicError::Panicked { message: "the pallet has a bug".to_owned() };
    assert_eq!(executed.rejected, vec![(bad_hash, panicked)]);
    assert_eq!(executed.body[1..], [first.clone(), last.clone()]);

    let without = Node::new().build(&[first, last]);
    assert_eq!(executed.header, without.header);
    node.executor.commit(executed, vec![]).unwrap();
    assert_eq!(node.nonce(&charlie.account), 0);
    assert_eq!(node.executor.storage(node.executor.head().hash, b"half done").unwrap(), None);
}

/// A proposer that includes such a transaction makes an invalid block; the node says so and goes on.
#[test]
fn a_block_with_a_panicking_transaction_is_invalid() {
    let honest = Node::new();
    let charlie = signer("charlie");
    let block = honest.build(&[honest.sign(&charlie, 0, remark(MARKER))]);
    let node = Node::with_dispatcher(Panicking);
    match node.executor.replay_block(&block.encoded) {
        Err(BlockError::Invalid(InvalidBlock::Extrinsic { index: 1, error: ExtrinsicError::Panicked { .. } })) => {}
        other => panic!("{other:?}"),
    }
    node.advance(&[]);
}

/// A panic in a query is an error of the query.
#[test]
fn a_panicking_query_is_contained() {
    let node = Node::new();
    let head = node.executor.head().hash;
    let error = node.executor.with_state(head, || -> () { panic!("in a query") }).unwrap_err();
    assert!(error.to_string().contains("in a query"), "{error}");
    node.advance(&[]);
}

/// Runs the named test of this binary again, as a process that may die, and gives its exit code.
fn exit_code_of(test: &str) -> Option<i32> {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env("X0_TEST_DIES", "1")
        .output()
        .unwrap();
    output.status.code()
}

fn should_die() -> bool {
    std::env::var_os("X0_TEST_DIES").is_some()
}

/// Reads a state whose nodes are not there, inside the runtime.
fn read_missing_state(options: OpenOptions) {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path(), options).unwrap();
    let executor = crate::Executor::new(database, &genesis(), crate::Options::default()).unwrap();
    let state =
        state::State::open(&executor.0.database, &executor.0.cache, 0, Hash::repeat_byte(7), state::Reader::Block)
            .unwrap();
    let mut overlay = state::Overlay::default();
    let result = state::run(&state.backend, &mut overlay, x0_runtime::System::block_number);
    panic!("the process must not get here: {result:?}");
}

/// A node that cannot read its state ends with the code that tells supervisors to look at the disk.
#[test]
fn a_missing_state_node_ends_the_process() {
    const NAME: &str = "tests::failures::a_missing_state_node_ends_the_process";
    if should_die() {
        read_missing_state(OpenOptions::default());
    }
    assert_eq!(exit_code_of(NAME), Some(EXIT_CODE_STORAGE));
}

/// Should the database's own handler ever return, the state machine's panic still ends the process:
/// it happens inside a storage access, where panics are not contained.
#[test]
fn a_panic_inside_a_storage_access_ends_the_process() {
    const NAME: &str = "tests::failures::a_panic_inside_a_storage_access_ends_the_process";
    if should_die() {
        read_missing_state(OpenOptions { fatal: FatalHandler::new(|_| {}), ..OpenOptions::default() });
    }
    assert_eq!(exit_code_of(NAME), Some(1));
}

/// A job that panics loses its own answer; the execution thread goes on with the next.
#[test]
fn the_worker_survives_a_panicking_job() {
    let node = Node::new();
    let worker = node.executor.spawn_worker().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let lost = worker.run(|_| -> () { panic!("job") }).await;
        assert!(matches!(lost, Err(crate::ExecutorError::WorkerPanicked)));
        let head = worker.run(|executor| executor.head()).await.unwrap();
        assert_eq!(head.number, 0);
    });
}
