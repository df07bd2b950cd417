//! What a node does before it takes part: fetch a snapshot in place of years of blocks, and follow until the chain
//! is where its consensus key has been.
//!
//! ```text
//!   no chain, sync.mode = "snapshot" --> links --> x0-sync --> database at the snapshot's height
//!   guard's record ahead of the chain --> links --> engine without a key, until the chain has passed the record
//! ```
//!
//! The second is for a validator whose database is older than the record of its key: a restored backup, a wiped disk,
//! a lost tail. It must not vote where it may have voted already and has forgotten why, so it lets the others decide.
//!
//! Each phase has links of its own, which are closed before the node's proper ones open. What the node can say, it says
//! all the while: about itself from the start, everything as soon as there is a chain.

use crate::{
    exit::{Exit, Failure},
    failures::{consensus_failure, engine_failure},
    ground::Ground,
    links::Links,
    observe::EngineSlot,
    parts::{Plan, engine_config},
    signing::Follower,
    standing::Standing,
};
use std::{sync::Arc, time::Duration};
use x0_light::{Checkpoint, LightError};
use x0_storage::Database;
use x0_sync::{Anchor, RestoreError, RestoreSettings, fetch_and_restore};

/// How long the node waits for somebody to offer a snapshot, or for a further piece of one.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the node has to look for a snapshot: its settings say so, and it has no chain.
///
/// # Errors
/// When the database does not open.
pub async fn lacks_chain(plan: &Plan) -> Result<bool, Failure> {
    if plan.config.file.sync.mode != crate::config::SyncMode::Snapshot || plan.config.file.network.is_solo() {
        return Ok(false);
    }
    let (path, options) = (plan.chain_directory(), plan.open_options());
    blocking(move || {
        let database = Database::open(&path, options).map_err(|cause| crate::failures::storage_failure(&cause))?;
        Ok(database.head().is_none_or(|head| head.number == 0))
    })
    .await
}

/// Fetches a snapshot. A network that offers none is followed block by block.
///
/// # Errors
/// What keeps the node from trusting the network, or its disk from holding the state.
pub async fn restore(plan: &Plan, standing: &Standing) -> Result<(), Failure> {
    tracing::info!(target: "x0::node", "looking for a snapshot of the chain's state");
    let links = Links::start(plan, Arc::new(|| 0)).await?;
    standing.link(Some(links.clone()));
    let settings = RestoreSettings {
        data: plan.chain_directory(),
        genesis: plan.genesis.clone(),
        anchor: Some(anchor(plan)),
        above: 0,
        patience: PATIENCE,
        storage: plan.open_options(),
    };
    let outcome = fetch_and_restore(links.whole(), settings).await;
    standing.link(None);
    links.stop().await;
    match outcome {
        Ok(restored) => {
            tracing::info!(
                target: "x0::node",
                height = restored.number, bytes = restored.state_bytes, took_ms = restored.took_ms, "the snapshot stands"
            );
            Ok(())
        }
        Err(cause @ (RestoreError::NothingOffered { .. } | RestoreError::Stalled { .. })) => {
            tracing::warn!(target: "x0::node", %cause, "no snapshot: the node follows block by block");
            Ok(())
        }
        Err(cause) => Err(restore_failure(&cause)),
    }
}

/// What a snapshot is verified from: the checkpoint that the operator names, or the network's definition, which is
/// the word of those who made the network about its first validators, as of its beginning. Whoever was a validator
/// then may have sold its key since.
fn anchor(plan: &Plan) -> Anchor {
    match plan.config.checkpoint {
        Some(Checkpoint { number, hash, vouched_at_ms }) => Anchor { number, hash, vouched_at_ms },
        None => Anchor { number: 0, hash: plan.genesis_hash.0, vouched_at_ms: plan.spec.genesis_time_ms },
    }
}

/// How the process ends when a snapshot cannot be restored.
fn restore_failure(cause: &RestoreError) -> Failure {
    if let RestoreError::Trust(LightError::TrustExpired { .. }) = cause {
        return Failure::configuration(format!(
            "snapshot: {cause}: run `x0-node checkpoint` on a node that you trust, and set what it prints under `node` as \
             sync.checkpoint here, or pass it with --checkpoint"
        ));
    }
    let exit = match cause {
        RestoreError::Genesis(_) | RestoreError::OtherChain { .. } | RestoreError::CheckpointMissing { .. } => {
            Exit::Configuration
        }
        RestoreError::Trust(_) => Exit::SafetyHalt,
        RestoreError::Import(_) | RestoreError::Sync(_) => Exit::Storage,
        _ => Exit::Restartable,
    };
    Failure::new(exit, format!("snapshot: {cause}"))
}

/// Follows without a key until the chain has passed this height.
///
/// # Errors
/// The engine's failure. A node that is alone cannot get the blocks that it lost, and halts.
pub async fn follow(
    plan: &Plan,
    ground: &Ground,
    until: u64,
    standing: &Standing,
    slot: &EngineSlot,
) -> Result<(), Failure> {
    let head = u64::from(ground.executor.head().number);
    let reason = format!(
        "the consensus key has signed for height {until}, and the chain here ends at {head}: blocks that were decided are lost"
    );
    if plan.config.file.network.is_solo() {
        return Err(Failure::new(Exit::SafetyHalt, format!("{reason}; restore the newest backup, or the disk")));
    }
    tracing::warn!(target: "x0::node", "{reason}; the node follows until the network has brought them back, and signs after that");
    let links = Links::of_ground(plan, ground).await?;
    standing.link(Some(links.clone()));
    let engine = x0_consensus::start(
        engine_config(&plan.config, &plan.spec, &plan.base),
        Follower::key()?,
        ground.executor.clone(),
        ground.mempool.clone(),
        ground.database.clone(),
        links.consensus(),
    )
    .await
    .map_err(|cause| consensus_failure(&cause))?;
    let mut tips = engine.tips();
    let failed = engine.failed();
    *slot.lock() = Some(Arc::new(engine));
    let ended = tokio::select! {
        failure = failed => Err(engine_failure(failure, ground.database.path())),
        reached = tips.wait_for(|tip| tip.height >= until) => reached
            .map(|tip| tip.height)
            .map_err(|_| Failure::new(Exit::Restartable, "the engine ended while the node followed")),
    };
    // Whoever looks at the engine does so under the slot's lock, so that this is its only holder.
    let engine = slot.lock().take();
    if let Some(engine) = engine.and_then(Arc::into_inner) {
        engine.stop().await;
    }
    standing.link(None);
    links.stop().await;
    tracing::info!(target: "x0::node", height = ended.as_ref().ok(), "the chain is where the consensus key has been");
    ended.map(|_| ())
}

/// Runs blocking work off the async threads.
///
/// # Errors
/// Those of the work.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|cause| Failure::new(Exit::Restartable, format!("work on the disk ended early: {cause}")))?
}
