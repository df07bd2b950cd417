//! Receiving blocks: as parts of a proposal, and whole from nodes that are ahead.

use super::{Known, Shared, store::Envelope};
use crate::{
    chain::{BlockFacts, ChainError, Verdict},
    context::{BlockId, ChainContext, Height, proposer},
    net::peer_key,
    parts::{Assembled, Part, PartError, SignedOpening},
};
use bytes::Bytes;
use malachite_core_consensus::ProposedValue;
use malachite_core_types::{Round, Validator as _};
use malachite_engine::{host::SyncedValueOutcome, util::streaming::StreamMessage};
use malachite_peer::PeerId;
use ractor::RpcReplyPort;
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use x0_limits::{FUTURE_HEIGHTS_MAX, TIMESTAMP_DRIFT_MS_MAX};
use x0_network::{Offence, PeerKey};

/// How long a synced block waits for the one before it.
const SYNC_PATIENCE: Duration = Duration::from_secs(10);

/// Takes a part. The network's edge has checked the opening's signature already, so that nothing here waits,
/// and the parts of a stream stay in order.
pub(super) async fn part(
    shared: &Arc<Shared>,
    from: PeerId,
    message: StreamMessage<Part>,
    reply: RpcReplyPort<ProposedValue<ChainContext>>,
) {
    let (Some(peer), Some(part)) = (peer_key(&from), message.content.into_data()) else { return };
    let (stream, sequence) = (message.stream_id.to_bytes(), message.sequence);
    match part {
        Part::Opening(opening) => open(shared, peer, stream, *opening).await,
        Part::Body(bytes) => {
            let added = shared.assembler.lock().add(peer, &stream, sequence, bytes);
            match added {
                Ok(None) => {}
                Ok(Some(block)) => {
                    tokio::spawn(judge_proposal(Arc::clone(shared), block, reply));
                }
                Err(error) => {
                    tracing::debug!(%peer, %error, "part not taken");
                    // An unknown stream may have given way to others here.
                    if !matches!(error, PartError::UnknownStream) {
                        shared.outbox.0.penalize(&peer, Offence::Malformed);
                    }
                }
            }
        }
    }
}

async fn open(shared: &Shared, peer: PeerKey, stream: Bytes, signed: SignedOpening) {
    let opening = &signed.opening;
    let (height, tip) = (opening.height.0, shared.chain.tip().height);
    if height <= tip || height > tip.saturating_add(FUTURE_HEIGHTS_MAX) {
        return tracing::trace!(%peer, height, tip, "opening of a height that is not due");
    }
    if shared.candidates.lock().knows(height, opening.round, opening.block) {
        return;
    }
    // The network's edge has checked the signature.
    if !shared.book.may_propose(height, opening.round(), &opening.proposer) {
        return tracing::warn!(%peer, height, "opening of a validator whose turn it is not");
    }
    if !shared.announce(height, opening.round, opening.block) {
        return tracing::debug!(%peer, height, round = opening.round, "opening of a far round, or one too many of its round");
    }
    if let Err(error) = shared.assembler.lock().open(peer, stream, signed) {
        tracing::debug!(%peer, %error, "stream not opened");
    }
}

/// Executes a proposed block and answers with the verdict; no answer is no verdict.
async fn judge_proposal(shared: Arc<Shared>, block: Assembled, reply: RpcReplyPort<ProposedValue<ChainContext>>) {
    let opening = block.opening.opening.clone();
    // A block without a place is dropped: it comes again when it is proposed again, or decided.
    let due = opening.height.0 <= shared.tip.borrow().height.saturating_add(1);
    let places = if due { &shared.judging } else { &shared.early };
    let Ok(_place) = places.clone().try_acquire_owned() else {
        return tracing::warn!(height = %opening.height, block = %opening.block, "too many blocks wait; this one is dropped");
    };
    match verdict_on_proposal(&shared, block).await {
        Ok(Some(valid)) => {
            let known = Known { round: opening.round, proposer: opening.proposer, block: opening.block, valid };
            let value = known.value(opening.height);
            shared.candidates.lock().remember(opening.height.0, known);
            // A receiver that is gone has left the height.
            drop(reply.send(value));
        }
        Ok(None) => {}
        Err(ChainError::NotABlock(reason)) => {
            tracing::warn!(height = %opening.height, block = %opening.block, reason, "the proposer signed for bytes that are no block");
        }
        Err(error) => shared.fail(&format!("cannot judge block {}: {error}", opening.block)),
    }
}

async fn verdict_on_proposal(shared: &Shared, block: Assembled) -> Result<Option<bool>, ChainError> {
    let opening = &block.opening.opening;
    let height = opening.height.0;
    // The block before may still be on its way through the commit.
    shared.until_head(height.saturating_sub(1)).await;
    // Only now is it certain whose turn it is.
    if !shared.book.may_propose(height, opening.round(), &opening.proposer) {
        return Ok(None);
    }
    let facts = shared.chain.inspect(block.encoded.clone()).await?;
    if facts.height != height || facts.hash != opening.block.0 {
        return Err(ChainError::NotABlock("the opening names another block".into()));
    }
    let valid = match shared.chain.judge(facts, block.encoded.clone()).await? {
        Verdict::Stale => return Ok(None),
        Verdict::Invalid(reason) => {
            tracing::warn!(height, block = %opening.block, reason, "invalid proposal");
            false
        }
        Verdict::Valid { proposer, timestamp_ms } => {
            // Neither of these is a verdict on the block: the same header may be somebody else's right
            // proposal, and a decided block is right whatever this clock says.
            if shared.book.controller(height, &opening.proposer) != Some(proposer) {
                tracing::warn!(height, block = %opening.block, "the block names another proposer than its opening");
                return Ok(None);
            }
            if timestamp_ms > now_ms().saturating_add(TIMESTAMP_DRIFT_MS_MAX) {
                tracing::warn!(height, block = %opening.block, timestamp_ms, "the block's time is too far ahead of this clock");
                return Ok(None);
            }
            true
        }
    };
    let (round, hash) = (opening.round, opening.block.0);
    let envelope = Envelope { opening: Some(block.opening.clone()), encoded: block.encoded };
    let record = envelope.into_stored(round, hash, valid).map_err(|error| ChainError::NotABlock(error.to_string()))?;
    shared.chain.store(height, record).await?;
    Ok(Some(valid))
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Takes a decided block of another node, whose certificate the engine has checked.
pub(super) async fn synced(
    shared: Arc<Shared>,
    height: Height,
    round: Round,
    bytes: Bytes,
    reply: RpcReplyPort<SyncedValueOutcome<ChainContext>>,
) {
    let outcome = match judge_synced(&shared, height, round, bytes).await {
        Ok(outcome) => outcome,
        Err(ChainError::NotABlock(reason)) => {
            tracing::warn!(%height, reason, "a peer sent no block");
            SyncedValueOutcome::PeerFault
        }
        Err(error) => {
            shared.fail(&format!("cannot judge the synced block of height {height}: {error}"));
            SyncedValueOutcome::LocalTransientError
        }
    };
    // A receiver that is gone has left the height.
    drop(reply.send(outcome));
}

async fn judge_synced(
    shared: &Shared,
    height: Height,
    round: Round,
    encoded: Bytes,
) -> Result<SyncedValueOutcome<ChainContext>, ChainError> {
    let before = height.0.saturating_sub(1);
    if tokio::time::timeout(SYNC_PATIENCE, shared.until_head(before)).await.is_err() {
        return Ok(SyncedValueOutcome::LocalTransientError);
    }
    let (Some(turn), Some(set)) = (round.as_u32(), shared.book.set(height.0)) else {
        return Ok(SyncedValueOutcome::LocalTransientError);
    };
    let facts = shared.chain.inspect(encoded.clone()).await?;
    if facts.height != height.0 {
        return Err(ChainError::NotABlock(format!("a block of height {}", facts.height)));
    }
    let BlockFacts { hash, .. } = facts;
    let valid = match shared.chain.judge(facts, encoded.clone()).await? {
        Verdict::Stale => return Ok(SyncedValueOutcome::LocalTransientError),
        Verdict::Invalid(reason) => {
            tracing::error!(%height, reason, "a quorum decided a block that is invalid here");
            false
        }
        Verdict::Valid { .. } => true,
    };
    let envelope = Envelope { opening: None, encoded };
    let record = envelope.into_stored(turn, hash, valid).map_err(|error| ChainError::NotABlock(error.to_string()))?;
    shared.chain.store(height.0, record).await?;
    let proposer = *proposer(&set, height, round).address();
    let known = Known { round: turn, proposer, block: BlockId(hash), valid };
    let value = known.value(height);
    shared.pacer.synced(height.0);
    Ok(SyncedValueOutcome::Verdict(value))
}
