//! `x0 trust`: attestations, audits and scores.

use serde::Deserialize;
use x0_client::{
    ClientError,
    amount::{format_amount, parse_amount},
    call::trust as call,
    rpc_types::{
        HexBytes,
        trust::{Auditor, Explanation},
    },
    text::{account_text, hex_text, parse_hash},
};
use x0_types::{AccountId, MlDsa65Signature, trust::AttestationStatement};

use crate::{
    cli::Trust,
    context::Context,
    error::{Result, WalletError},
    home::read_settings,
    send::{send_call, send_over},
};

/// What `x0-agent attest` writes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AttestationFile {
    kind: String,
    node: AccountId,
    measurement: x0_types::Hash,
    quote: Option<x0_types::Hash>,
    slot: u64,
    signature: HexBytes,
}

/// The kind of an attestation file.
const ATTESTATION_KIND: &str = "x0-attestation/v1";

/// Runs the command.
///
/// # Errors
/// [`WalletError`].
pub async fn run(context: &Context, command: Trust) -> Result<()> {
    match command {
        Trust::Explain { node } => {
            let node = context.account(&node)?;
            let (_, client) = context.connect().await?;
            let unknown = || ClientError::NotFound { what: format!("trust of node {}", account_text(&node)) };
            context.answer(&client.explain_trust(&node).await?.ok_or_else(unknown)?, explain_words)
        }
        Trust::Auditors => {
            let (_, client) = context.connect().await?;
            context.answer(&client.auditors().await?, |auditors| auditor_lines(auditors))
        }
        Trust::Attest { file, tx } => {
            let (statement, signature) = read_attestation(&file)?;
            let (network, client) = context.connect().await?;
            send_over(context, &network, &client, &call::attest(&statement, &signature), &tx).await
        }
        Trust::Bond { amount, tx } => send_call(context, &call::bond_auditor(parse_amount(&amount)?), &tx).await,
        Trust::Audit { node, tier, evidence, tx } => {
            let node = context.account(&node)?;
            let evidence = parse_hash("the evidence", &evidence)?;
            let (network, client) = context.connect().await?;
            let attestation = client
                .explain_trust(&node)
                .await?
                .and_then(|explanation| explanation.attestation)
                .ok_or_else(|| ClientError::NotFound { what: "an attestation of this node".into() })?;
            let call = call::audit(&node, tier, attestation.measurement, attestation.quote, evidence);
            send_over(context, &network, &client, &call, &tx).await
        }
        Trust::WithdrawAudit { node, tx } => {
            send_call(context, &call::withdraw_audit(&context.account(&node)?), &tx).await
        }
        Trust::Retire { tx } => send_call(context, &call::retire_auditor(), &tx).await,
    }
}

fn read_attestation(file: &std::path::Path) -> Result<(AttestationStatement<AccountId>, MlDsa65Signature)> {
    let wrong = |reason: String| WalletError::Usage(format!("{} is no attestation: {reason}", file.display()));
    let read: AttestationFile =
        serde_json::from_str(&read_settings(file)?).map_err(|error| wrong(error.to_string()))?;
    if read.kind != ATTESTATION_KIND {
        return Err(wrong(format!("its kind is not {ATTESTATION_KIND}")));
    }
    let found = read.signature.0.len();
    let signature = read
        .signature
        .0
        .into_boxed_slice()
        .try_into()
        .map_err(|_| wrong(format!("a signature has {} bytes, not {found}", x0_types::key::SIGNATURE_BYTES)))?;
    let AttestationFile { node, measurement, quote, slot, .. } = read;
    Ok((AttestationStatement { node, measurement, quote, slot }, MlDsa65Signature(signature)))
}

/// Parts per million as a percentage with its digits.
fn percent(ppm: u32) -> String {
    format!("{}.{:04} %", ppm / 10_000, ppm % 10_000)
}

fn explain_words(explanation: &Explanation) -> String {
    let Explanation { reading, score, terms, .. } = explanation;
    let mut lines = vec![
        format!("node {}", account_text(&explanation.node)),
        format!("score {} (tier {:?}), formula version {}", percent(reading.score_ppm), reading.tier, reading.version),
        format!(
            "  = gate {} x (stability {} x {} + behaviour {} x {})",
            percent(score.gate_ppm),
            percent(score.stability_ppm),
            percent(terms.stability_weight_ppm),
            percent(score.behaviour_ppm),
            percent(1_000_000_u32.saturating_sub(terms.stability_weight_ppm)),
        ),
        format!("gate now {}, best audit tier {}", percent(explanation.gate_now_ppm), explanation.audited_tier),
        format!(
            "heartbeats: mean gap {} ms, deviation {} ms, {} judged slots, {} missed in a row now",
            explanation.gap_mean_ms, explanation.gap_deviation_ms, score.samples, explanation.missed_run
        ),
        format!("last epoch: {} slots missed, {} of them with the region", score.misses, score.common_misses),
    ];
    if reading.suspended {
        lines.push("SUSPENDED: takes no new deals".to_owned());
    }
    match &explanation.attestation {
        Some(said) => lines.push(format!("attested binary {} in slot {}", hex_text(said.measurement), said.slot)),
        None => lines.push("no attestation: the gate is closed".to_owned()),
    }
    lines.extend(explanation.audits.iter().map(|audit| {
        let void = if audit.void { ", VOID" } else { "" };
        format!("audit by {}: tier {} in slot {}{void}", account_text(&audit.auditor), audit.tier, audit.slot)
    }));
    lines.extend(explanation.log.iter().map(|entry| format!("slot {}: {}", entry.slot, entry.entry)));
    lines.join("\n")
}

fn auditor_lines(auditors: &[Auditor]) -> String {
    if auditors.is_empty() {
        return "no auditors".to_owned();
    }
    let line = |auditor: &Auditor| {
        let state = match (auditor.dismissed, auditor.conflicts) {
            (true, _) => ", dismissed",
            (false, 0) => "",
            (false, _) => ", frozen by a conflict",
        };
        let bond = format_amount(auditor.bond.0);
        format!("{}  bond {bond}, {} audits{state}", account_text(&auditor.auditor), auditor.audits)
    };
    auditors.iter().map(line).collect::<Vec<_>>().join("\n")
}
