//! What follows a decision: the commit, the pace of the next height, and history for others.

use super::{Shared, evidence, store::Envelope};
use crate::{
    chain::ChainError,
    context::{BlockId, ChainContext, Height},
    wire::{certificate_of, extended},
};
use malachite_core_consensus::MisbehaviorEvidence;
use malachite_core_types::CommitCertificate;
use malachite_engine::host::Next;
use malachite_sync::RawDecidedValue;
use ractor::RpcReplyPort;
use std::{ops::RangeInclusive, sync::Arc};
use x0_limits::{SYNC_BATCH_BLOCKS_MAX, SYNC_RESPONSE_BYTES_MAX};

/// Heights between two removals of stale undecided blocks: each one waits for the disk.
const FORGET_EVERY: u64 = 8;

/// Commits a decided block and then acknowledges it, after which peers may be told of it.
pub(super) async fn decided(
    shared: Arc<Shared>,
    certificate: CommitCertificate<ChainContext>,
    reply: RpcReplyPort<()>,
) {
    let (height, block) = (certificate.height, certificate.value_id);
    match commit(&shared, certificate).await {
        // A receiver that is gone has left the height.
        Ok(()) => drop(reply.send(())),
        // A quorum has decided: going on without the block would be another chain, and a restart
        // would come back to the same point.
        Err(error) => shared.halt(format!("cannot commit the decided block {block} of height {height}: {error}")),
    }
}

async fn commit(shared: &Shared, certificate: CommitCertificate<ChainContext>) -> Result<(), ChainError> {
    let (height, block) = (certificate.height.0, certificate.value_id);
    let mut trimmed = certificate_of(&certificate).map_err(|error| ChainError::NotABlock(error.to_string()))?;
    if let Some(set) = shared.book.set(height) {
        trimmed.trim(&set.for_certificates());
    }
    let bytes = trimmed.encode();
    let tip = match shared.chain.commit(height, block.0, None, bytes.clone()).await {
        Err(ChainError::DecidedUnknown { .. }) => {
            // Executed before a restart, or pushed out of memory: the database has it.
            let encoded = stored(shared, height, block).await?;
            shared.chain.commit(height, block.0, encoded, bytes).await?
        }
        answer => answer?,
    };
    shared.book.refresh(shared.chain.as_ref(), tip.height).await?;
    shared.candidates.lock().prune(height);
    shared.assembler.lock().prune(height);
    shared.tip.send_replace(tip);
    if height.is_multiple_of(FORGET_EVERY) {
        // The decision is durable and told; only then is there time for another wait for the disk.
        shared.chain.forget(height).await?;
    }
    Ok(())
}

async fn stored(shared: &Shared, height: u64, block: BlockId) -> Result<Option<bytes::Bytes>, ChainError> {
    let found = shared.chain.stored(height).await?.into_iter().find(|stored| stored.hash == block.0);
    found
        .map(|stored| Envelope::read(&stored.bytes).map(|envelope| envelope.encoded))
        .transpose()
        .map_err(|error| ChainError::NotABlock(error.to_string()))
}

/// Starts the next height when it is due.
pub(super) async fn finalized(
    shared: Arc<Shared>,
    height: u64,
    evidence: MisbehaviorEvidence<ChainContext>,
    reply: RpcReplyPort<Next<ChainContext>>,
) {
    evidence::keep(&shared, height, &evidence).await;
    shared.until_head(height).await;
    let next = height.saturating_add(1);
    let chain = &shared.chain;
    let reason = shared.pacer.wait_for(next, || chain.has_work(), || chain.wait_for_work()).await;
    tracing::debug!(height = next, ?reason, "starting a height");
    shared.outbox.wake(next);
    match shared.params(next).await {
        // A receiver that is gone is a stopped engine.
        Ok(params) => drop(reply.send(Next::Start(Height(next), params))),
        Err(error) => shared.fail(&format!("no validator set for height {next}: {error}")),
    }
}

/// Reads decided blocks for a node that catches up: as many from the start as are here and fit.
pub(super) async fn decided_values(
    shared: Arc<Shared>,
    range: RangeInclusive<Height>,
    reply: RpcReplyPort<Vec<RawDecidedValue<ChainContext>>>,
) {
    let (first, last) = (range.start().0, range.end().0.min(shared.chain.tip().height));
    let mut values = Vec::new();
    let mut bytes = 0usize;
    for height in (first..=last).take(SYNC_BATCH_BLOCKS_MAX) {
        let (encoded, certificate) = match shared.chain.decided(height).await {
            Ok(Some(decided)) => decided,
            Ok(None) => break,
            Err(error) => {
                tracing::error!(height, %error, "cannot read a decided block");
                break;
            }
        };
        bytes = bytes.saturating_add(encoded.len()).saturating_add(certificate.len());
        if bytes > SYNC_RESPONSE_BYTES_MAX && !values.is_empty() {
            break;
        }
        match crate::certificate::Certificate::decode(&certificate) {
            Ok(certificate) => values.push(RawDecidedValue::new(encoded, extended(certificate))),
            Err(error) => {
                tracing::error!(height, %error, "a stored certificate does not read back");
                break;
            }
        }
    }
    // A receiver that is gone does not need the blocks.
    drop(reply.send(values));
}
