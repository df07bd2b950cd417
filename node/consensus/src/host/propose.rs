//! Proposing: the same block for the same height and round, whatever happens in between.

use super::{Known, Shared, store::Envelope};
use crate::{
    chain::ChainError,
    context::{BlockId, ChainContext, Height},
    parts::{Part, SignedOpening, body_parts},
    signer::{SignError, opening_for},
};
use bytes::{BufMut, Bytes, BytesMut};
use malachite_core_consensus::LocallyProposedValue;
use malachite_core_types::Round;
use malachite_engine::{
    network::NetworkMsg,
    util::streaming::{StreamContent, StreamId, StreamMessage},
};
use ractor::RpcReplyPort;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use x0_sign_guard::GuardError;

/// What part of the propose timeout a proposer spends on execution at most.
const PARTS_OF_TIMEOUT: u32 = 8;

/// Tells the streams of one node apart when it sends a block again.
static STREAMS: AtomicU32 = AtomicU32::new(0);

/// Answers `GetValue`. No answer means that the round goes on without a proposal.
pub(super) async fn get_value(
    shared: Arc<Shared>,
    height: Height,
    round: Round,
    timeout: Duration,
    reply: RpcReplyPort<LocallyProposedValue<ChainContext>>,
) {
    let Some(turn) = round.as_u32() else { return };
    match propose(&shared, height, turn, timeout).await {
        // A receiver that is gone has left the round.
        Ok(Some(block)) => drop(reply.send(LocallyProposedValue::new(height, round, block))),
        Ok(None) => tracing::debug!(%height, turn, "nothing to propose any more"),
        Err(error) => shared.fail(&format!("cannot propose at height {height}: {error}")),
    }
}

async fn propose(
    shared: &Shared,
    height: Height,
    round: u32,
    timeout: Duration,
) -> Result<Option<BlockId>, ChainError> {
    let (block, encoded) = match own_stored(shared, height, round).await? {
        Some(stored) => stored,
        None => match build(shared, height, round, timeout).await? {
            Some(built) => built,
            None => return Ok(None),
        },
    };
    match sign_opening(shared, height, round, block, &encoded).await {
        Ok(opening) => {
            publish(shared, opening, &encoded);
            Ok(Some(block))
        }
        // The engine has moved on while the block was built: late answers are of no use.
        Err(SignError::Guard(GuardError::Regression { .. })) => Ok(None),
        Err(SignError::Guard(GuardError::Conflict { recorded })) => {
            tracing::warn!(
                ?recorded,
                "another block was announced for this round, and it is not stored here; not proposing"
            );
            Ok(None)
        }
        Err(error) => {
            shared.fate.cannot_sign(&error);
            Ok(None)
        }
    }
}

/// The block that this node already proposed in this round, before a crash or a repeated question.
async fn own_stored(shared: &Shared, height: Height, round: u32) -> Result<Option<(BlockId, Bytes)>, ChainError> {
    let known = shared.candidates.lock().proposed(height.0, round, shared.signer.address());
    let Some(block) = known else { return Ok(None) };
    let envelope = stored(shared, height, block).await?;
    Ok(envelope.map(|(_, envelope)| (block, envelope.encoded)))
}

/// A stored undecided block and the round that it was proposed in.
async fn stored(shared: &Shared, height: Height, block: BlockId) -> Result<Option<(u32, Envelope)>, ChainError> {
    let found = shared.chain.stored(height.0).await?.into_iter().find(|stored| stored.hash == block.0);
    Ok(found.and_then(|stored| Some((stored.round, Envelope::read(&stored.bytes).ok()?))))
}

async fn build(
    shared: &Shared,
    height: Height,
    round: u32,
    timeout: Duration,
) -> Result<Option<(BlockId, Bytes)>, ChainError> {
    let own = shared.signer.address();
    let Some(controller) = shared.book.controller(height.0, &own) else { return Ok(None) };
    // Within the same timeout the others receive what this builds, verify signatures that they have not seen, and
    // execute it, which takes them several times as long; a block that comes late is work for nothing.
    let budget = Duration::from_millis(shared.config.build_ms).min(timeout / PARTS_OF_TIMEOUT);
    let Some(built) = shared.chain.build(height.0, controller, budget).await? else { return Ok(None) };
    let block = BlockId(built.hash);
    let envelope = Envelope { opening: None, encoded: built.encoded.clone() };
    match envelope.into_stored(round, built.hash, true) {
        Ok(record) => shared.chain.store(height.0, record).await?,
        Err(error) => return Err(ChainError::NotABlock(error.to_string())),
    }
    shared.candidates.lock().remember(height.0, Known { round, proposer: own, block, valid: true });
    Ok(Some((block, built.encoded)))
}

async fn sign_opening(
    shared: &Shared,
    height: Height,
    round: u32,
    block: BlockId,
    encoded: &Bytes,
) -> Result<SignedOpening, SignError> {
    let (signer, encoded) = (shared.signer.clone(), encoded.clone());
    tokio::task::spawn_blocking(move || signer.opening(opening_for(height, round, signer.address(), block, &encoded)))
        .await
        .map_err(|_| SignError::Ended)?
}

fn publish(shared: &Shared, opening: SignedOpening, encoded: &Bytes) {
    let mut name = BytesMut::with_capacity(16);
    name.put_u64(opening.opening.height.0);
    name.put_u32(opening.opening.round);
    name.put_u32(STREAMS.fetch_add(1, Ordering::Relaxed));
    let stream = StreamId::new(name.freeze());
    let parts = std::iter::once(Part::Opening(Box::new(opening))).chain(body_parts(encoded));
    for (sequence, part) in (0u64..).zip(parts) {
        let message = StreamMessage::new(stream.clone(), sequence, StreamContent::Data(part));
        if shared.network.cast(NetworkMsg::PublishProposalPart(message)).is_err() {
            // The network actor is gone; its supervisor stops the engine.
            return;
        }
    }
}

/// Sends a known block again, under its first proposer's signature.
pub(super) async fn restream(shared: Arc<Shared>, height: Height, block: BlockId) {
    let (round, envelope) = match stored(&shared, height, block).await {
        Ok(Some(found)) => found,
        Ok(None) => return tracing::debug!(%height, %block, "asked to send a block again that is not stored"),
        Err(error) => return shared.fail(&format!("cannot read block {block}: {error}")),
    };
    let own = shared.signer.address();
    let ours = || shared.candidates.lock().is_own(height.0, round, block, own);
    let opening = match envelope.opening {
        Some(opening) => opening,
        None if ours() => match sign_opening(&shared, height, round, block, &envelope.encoded).await {
            Ok(opening) => opening,
            Err(error) => return tracing::warn!(%height, %block, %error, "cannot repeat the opening of an own block"),
        },
        // A block from synchronisation carries no opening; peers synchronise it themselves.
        None => return,
    };
    publish(&shared, opening, &envelope.encoded);
}
