//! Reports contradictions of validators until the chain has judged them.
//!
//! ```text
//!   proof from consensus --> would the chain count it now?  yes: report, watch the pool, ask again each block
//!                                                           not yet: wait
//!                                                           no: it is judged, too old or none --> acknowledge
//! ```
//!
//! A proof is acknowledged, and forgotten by consensus, only when the state of a final block no longer takes it: a
//! report that gets lost on the way is made again, also after a restart.

use crate::{chain::ChainError, node_chain::NodeChain};
use std::future::Future;
use tokio::sync::mpsc;
use x0_runtime::{Evidence as EvidenceModule, Runtime};
use x0_types::{Hash, evidence::Evidence};

/// What the chain says of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    /// A report would count.
    Counts,
    /// The height that it is about is not over.
    Early,
    /// It does not count, now or later.
    Settled(&'static str),
}

struct Case {
    evidence: Evidence,
    sent: Option<Hash>,
}

/// Reports every proof that comes in. Ends when no more can come and none is open.
///
/// `acknowledge` makes consensus forget a proof; when it fails, the proof comes again after a restart.
pub async fn accuse<F>(
    chain: NodeChain,
    mut proofs: mpsc::Receiver<Evidence>,
    mut acknowledge: impl FnMut(Evidence) -> F + Send,
) where
    F: Future<Output = std::io::Result<()>> + Send,
{
    let mut heads = chain.executor().subscribe_heads();
    let mut open: Vec<Case> = Vec::new();
    loop {
        tokio::select! {
            proof = proofs.recv() => match proof {
                Some(evidence) => open.push(Case { evidence, sent: None }),
                None if open.is_empty() => return,
                None => {
                    if heads.changed().await.is_err() {
                        return;
                    }
                }
            },
            changed = heads.changed(), if !open.is_empty() => {
                if changed.is_err() {
                    return;
                }
            }
        }
        let mut still = Vec::new();
        for case in open {
            let (next, settled) = step(&chain, case).await;
            match settled {
                Some(evidence) => {
                    if let Err(error) = acknowledge(evidence).await {
                        tracing::warn!(%error, "a settled proof could not be forgotten; it comes again after a restart");
                    }
                }
                None => still.extend(next),
            }
        }
        open = still;
    }
}

/// One look at one case: what remains open, or the proof that is settled.
async fn step(chain: &NodeChain, case: Case) -> (Option<Case>, Option<Evidence>) {
    let reader = chain.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let outcome = look(&reader, &case);
        (case, outcome)
    })
    .await;
    let Ok((mut case, outcome)) = looked else { return (None, None) };
    let evidence = &case.evidence;
    match outcome {
        Ok((Judgement::Settled(reason), _)) => {
            tracing::info!(validator = %evidence.validator, height = evidence.height, reason, "a proof of contradiction is settled");
            (None, Some(case.evidence))
        }
        Ok((_, None)) => (Some(case), None),
        Ok((_, Some(transaction))) => {
            match chain.mempool().submit_local(transaction).await {
                Ok(hash) => {
                    tracing::warn!(
                        validator = %evidence.validator, height = evidence.height, round = evidence.round,
                        "a validator contradicted itself: reported"
                    );
                    case.sent = Some(hash);
                }
                Err(error) => tracing::warn!(%error, "the report of a contradiction is not taken yet"),
            }
            (Some(case), None)
        }
        Err(error) => {
            tracing::warn!(%error, "the report of a contradiction cannot be made yet");
            (Some(case), None)
        }
    }
}

/// Asks the chain about a case, and signs a report when one is due.
fn look(chain: &NodeChain, case: &Case) -> Result<(Judgement, Option<bytes::Bytes>), ChainError> {
    let (_, judgement) = chain.read(|| judge(&case.evidence))?;
    let waits = case.sent.is_some_and(|hash| chain.mempool().contains(&hash));
    if judgement != Judgement::Counts || waits {
        return Ok((judgement, None));
    }
    let call = pallet_x0_evidence::Call::<Runtime>::report { evidence: Box::new(case.evidence.clone()) };
    Ok((judgement, Some(chain.signed(call.into())?)))
}

/// Runs inside the state.
fn judge(evidence: &Evidence) -> Judgement {
    match EvidenceModule::check(evidence) {
        Ok(()) => Judgement::Counts,
        Err(error) if error == pallet_x0_evidence::Error::<Runtime>::HeightInFuture.into() => Judgement::Early,
        Err(error) => Judgement::Settled(error.into()),
    }
}
