//! Checkpoints: blocks that a person vouches for, printed by one node and named in the settings of another.
//!
//! ```text
//!   a node that is trusted: x0-node checkpoint --> HEIGHT:0xHASH:TIME --(out of band)--> sync.checkpoint of a new node
//! ```
//!
//! The checkpoint for nodes is the last block that announced a validator set, or the genesis block when none did: what a
//! snapshot is verified from does not need a state, which nodes prune. The one for wallets is the head, whose
//! state proves the sets in force; nodes keep it for some thousand blocks.

use crate::{cli::CheckpointArgs, control, exit::Failure, failures::storage_failure, site::Site};
use serde_json::{Value, json};
use x0_executor::Executor;
use x0_light::Checkpoint;
use x0_limits::SET_CHANGES_PAGE_MAX;
use x0_storage::{Database, OpenOptions};
use x0_types::Hash;

/// Prints the checkpoints of a node that runs, or of the data directory of one that does not.
///
/// # Errors
/// One line.
pub fn run(args: &CheckpointArgs) -> Result<Value, Failure> {
    let site = Site::load(&args.run)?;
    let found = if site.is_running() {
        control::ask(&site.base, &control::Request::Checkpoint)?
    } else {
        let options = OpenOptions { genesis: Some(site.genesis), ..OpenOptions::default() };
        if !crate::keys::is_there(&site.chain_directory())? {
            return Err(Failure::configuration(format!("{} holds no chain", site.base.display())));
        }
        let database = Database::open(&site.chain_directory(), options).map_err(|cause| storage_failure(&cause))?;
        describe(&database)?
    };
    Ok(json!({ "chain": site.spec.id, "node": found["node"], "wallet": found["wallet"] }))
}

/// The checkpoints that a database gives.
///
/// # Errors
/// One line, when it is empty.
pub fn describe(database: &Database) -> Result<Value, Failure> {
    let empty = || Failure::configuration("the database is empty: there is nothing to vouch for");
    let head = database.head().ok_or_else(empty)?;
    if head.number == 0 {
        // The first block has no time, and is known to everybody who has the network's definition.
        return Err(Failure::configuration(
            "the chain has no block after the first yet: there is nothing to vouch for",
        ));
    }
    let mut number = 0;
    loop {
        let page = database.set_changes_after(number, SET_CHANGES_PAGE_MAX);
        let Some(last) = page.last() else { break };
        number = *last;
    }
    let hash = database.hash_of(number).ok_or_else(empty)?;
    let node = Checkpoint { number, hash: hash.0, vouched_at_ms: head.timestamp_ms };
    let wallet = Checkpoint { number: head.number, hash: head.hash.0, vouched_at_ms: head.timestamp_ms };
    Ok(json!({ "node": node.to_string(), "wallet": wallet.to_string() }))
}

/// Compares a chain with a checkpoint; whether it is as high as that.
///
/// # Errors
/// When there is another block at that height. A chain that began with a snapshot above the checkpoint was compared
/// when that was verified.
pub fn check(database: &Database, genesis: Hash, checkpoint: &Checkpoint) -> Result<bool, Failure> {
    let named = Hash::from(checkpoint.hash);
    let found = if checkpoint.number == 0 { Some(genesis) } else { database.hash_of(checkpoint.number) };
    match found {
        Some(found) if found != named => Err(Failure::configuration(format!(
            "sync.checkpoint names {named:?} at height {}, and the chain here has {found:?}: one of them is of another \
             chain; compare them with somebody whom you trust",
            checkpoint.number
        ))),
        Some(_) => Ok(true),
        None => Ok(database.head().is_some_and(|head| head.number >= checkpoint.number)),
    }
}

/// Waits until the chain turns out not to contain the checkpoint; for ever when it does.
pub async fn strayed(executor: Executor, database: Database, checkpoint: Option<Checkpoint>) -> Failure {
    let Some(checkpoint) = checkpoint else { return std::future::pending().await };
    let mut heads = executor.subscribe_heads();
    loop {
        if heads.borrow_and_update().number >= checkpoint.number {
            let (database, genesis) = (database.clone(), executor.genesis_hash());
            let compared = tokio::task::spawn_blocking(move || check(&database, genesis, &checkpoint)).await;
            if let Ok(Err(failure)) = compared {
                return failure;
            }
            return std::future::pending().await;
        }
        if heads.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_database_vouches_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path(), OpenOptions::default()).unwrap();
        assert!(describe(&database).unwrap_err().reason.contains("empty"));
        let genesis = Hash::repeat_byte(1);
        let own = Checkpoint { number: 0, hash: genesis.0, vouched_at_ms: 0 };
        assert!(check(&database, genesis, &own).unwrap());
        assert!(check(&database, Hash::repeat_byte(2), &own).unwrap_err().reason.contains("another chain"));
        assert!(!check(&database, genesis, &Checkpoint { number: 1, ..own }).unwrap(), "not there yet");
    }
}
