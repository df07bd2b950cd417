//! What follows a decision: the commit, the pace of the next height, and history for others.

use super::{Shared, store::Envelope};
use crate::{
    chain::ChainError,
    context::{BlockId, ChainContext, Height},
    signer::{proposal_statement, vote_statement},
    wire::{certificate_of, extended},
    witness::{Contradiction, Said},
};
use malachite_core_consensus::MisbehaviorEvidence;
use malachite_core_types::{CommitCertificate, CommitSignature, SignedProposal, SignedVote};
use malachite_engine::host::Next;
use malachite_sync::RawDecidedValue;
use ractor::RpcReplyPort;
use std::{ops::RangeInclusive, sync::Arc};
use x0_crypto::statement::{Vote, VoteKind};
use x0_limits::{SYNC_BATCH_BLOCKS_MAX, SYNC_RESPONSE_BYTES_MAX};

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
    if let Some(set) = shared.book.set(height) {
        shared.ledger.decided(&certificate, &set, |address| shared.book.controller(height, address));
    }
    hear_certificate(shared, &certificate);
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
    shared.fabric.decided(height, block.0);
    shared.tip.send_replace(tip);
    // At once: a block that goes before the database has moved it from memory to a file costs no file.
    shared.chain.forget(height).await?;
    Ok(())
}

/// What the certificate's signers say, which the engine has checked: one of them may have told this node something else.
fn hear_certificate(shared: &Shared, certificate: &CommitCertificate<ChainContext>) {
    let Some(round) = certificate.round.as_u32() else { return };
    for CommitSignature { address, signature } in &certificate.commit_signatures {
        let vote = Vote {
            kind: VoteKind::Precommit,
            height: certificate.height.0,
            round,
            block: Some(certificate.value_id.0),
            voter: address.0,
        };
        shared.fabric.hear(Said { statement: vote.into(), signature: signature.clone() });
    }
}

/// Keeps what the engine found: its own memory of a height ends with it.
async fn keep_evidence(shared: &Shared, evidence: MisbehaviorEvidence<ChainContext>) {
    let votes = evidence.votes.into_iter().flat_map(|(_, pairs)| pairs).filter_map(|(first, second)| {
        let said = |vote: SignedVote<ChainContext>| {
            Some(Said { statement: vote_statement(&vote.message)?.into(), signature: vote.signature })
        };
        Some(Contradiction { first: said(first)?, second: said(second)? })
    });
    let proposals = evidence.proposals.into_iter().flat_map(|(_, pairs)| pairs).filter_map(|(first, second)| {
        let said = |proposal: SignedProposal<ChainContext>| {
            Some(Said { statement: proposal_statement(&proposal.message)?.into(), signature: proposal.signature })
        };
        Some(Contradiction { first: said(first)?, second: said(second)? })
    });
    for contradiction in votes.chain(proposals) {
        shared.evidence.keep(&shared.book, contradiction).await;
    }
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
    keep_evidence(&shared, evidence).await;
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
