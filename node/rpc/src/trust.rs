//! `trust_*`: why a node has its score, and who audits.

use crate::{
    error::{RpcResult, error},
    module::{Module, Registered, blocking},
    node::Node,
    params::Args,
};
use pallet_x0_trust as pallet;
use x0_rpc_types::{
    Amount, Number, error as code,
    trust::{Attestation, Audit, Auditor, Explanation, LogEntry},
};
use x0_runtime::{Runtime, Trust};
use x0_types::{AccountId, Hash};

/// Adds the methods.
pub(crate) fn register(module: &mut Module) -> Registered {
    blocking(module, "trust_explain", explain)?;
    blocking(module, "trust_auditors", auditors)
}

fn explain(node: &Node, mut args: Args) -> RpcResult<Explanation> {
    let subject: AccountId = args.required_text("node")?;
    let at = args.block()?;
    args.end()?;
    node.read(at, |block| explanation(block, &subject))?
        .ok_or_else(|| error(code::NOT_FOUND, format!("Nothing is known about the trust of node {subject}")))
}

/// Call it on the state of a block.
fn explanation(block: Hash, node: &AccountId) -> Option<Explanation> {
    let pallet::Explanation { reading, gate_now_ppm, audited_tier, standing, terms } = Trust::explain(node)?;
    Some(Explanation {
        block,
        node: node.clone(),
        reading,
        gate_now_ppm,
        audited_tier,
        score: standing.score,
        candidate: standing.candidate,
        terms,
        gap_mean_ms: Number(standing.behaviour.gaps.mean_ms_8 >> 3),
        gap_deviation_ms: Number(standing.behaviour.gaps.deviation_ms_4 >> 2),
        missed_run: standing.behaviour.missed_run,
        attestation: standing.attestation.map(|attestation| Attestation {
            measurement: attestation.measurement,
            quote: attestation.quote,
            slot: Number(attestation.slot),
        }),
        audits: pallet::AuditsOf::<Runtime>::get(node)
            .into_iter()
            .map(|audit| Audit {
                auditor: audit.auditor,
                tier: audit.tier,
                measurement: audit.measurement,
                evidence: audit.evidence,
                slot: Number(audit.slot),
                void: audit.void,
            })
            .collect(),
        log: pallet::Logs::<Runtime>::get(node)
            .into_iter()
            .map(|entry| LogEntry {
                slot: Number(entry.slot),
                entry: format!("{:?}", entry.entry),
                evidence: entry.evidence,
            })
            .collect(),
    })
}

fn auditors(node: &Node, mut args: Args) -> RpcResult<Vec<Auditor>> {
    let at = args.block()?;
    args.end()?;
    node.read(at, |_| {
        let mut all: Vec<_> = pallet::Auditors::<Runtime>::iter()
            .map(|(auditor, record)| Auditor {
                auditor,
                bond: Amount(record.bond),
                conflicts: record.conflicts,
                audits: record.audits,
                dismissed: record.dismissed,
            })
            .collect();
        all.sort_by(|one, other| one.auditor.cmp(&other.auditor));
        all
    })
}
