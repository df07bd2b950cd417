//! What post-quantum signatures cost: the same node with accounts that sign with Ed25519, measured in the same run.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{path::Path, process::Command};
use x0_load::{account::SCHEME, report::Row, run, transfers};

/// Runs of each build, in turn.
const ROUNDS: usize = 2;
/// Largest loss of throughput that is acceptable.
const TAX_MAX: f64 = 0.35;

/// What the loss comes from.
const TAX_LIMIT: &str = "bytes: a transfer has 5,340 instead of 143, and each is read as hex out of JSON, hashed for its \
    name and for the root of the extrinsics, summed for the log and written to the disk. The two verifications cost \
    about the same.";

/// Saturates one node of a development chain and prints the figures as one line of JSON.
pub async fn saturate(binaries: &Path, accounts: usize, connections: usize) -> Result<()> {
    let senders = transfers::senders(accounts)?;
    let node = crate::node::Nodes::development(binaries, &senders)?;
    let batch = transfers::sign_all(&senders, |_| 0, node.genesis()?)?;
    let run = run::run(&node.target()?, &batch, connections, None).await?;
    let figures = json!({ "scheme": SCHEME, "perSecond": run.finalised_per_second, "refused": run.refused,
        "transfers": batch.len(), "transferBytes": batch.first().map_or(0, |transfer| transfer.hex().len() / 2 - 1) });
    println!("{figures}");
    Ok(())
}

/// Runs both builds in turn, and compares the best of each: a disturbance of the machine slows, and never speeds up.
pub fn classical(ours: &Path, theirs: &Path, transfers: usize, connections: usize) -> Result<Row> {
    let (mut post_quantum, mut classical) = (0.0f64, 0.0f64);
    for round in 1..=ROUNDS {
        let (pq, scheme) = one(ours, transfers, connections)?;
        ensure!(scheme == "ML-DSA-65", "{} signs with {scheme}", ours.display());
        let (other, scheme) = one(theirs, transfers, connections)?;
        ensure!(scheme == "Ed25519", "{} signs with {scheme}", theirs.display());
        println!("comparison {round}: ML-DSA-65 {pq:.0} /s, Ed25519 {other:.0} /s");
        post_quantum = post_quantum.max(pq);
        classical = classical.max(other);
    }
    let tax = 1.0 - post_quantum / classical;
    Ok(Row {
        what: format!(
            "loss of throughput by ML-DSA-65 against an Ed25519 build of the same node, {transfers} accounts"
        ),
        goal: "< 35 %".into(),
        measured: format!(
            "{:.0} % ({post_quantum:.0} /s against {classical:.0} /s, best of {ROUNDS} alternating runs each)",
            tax * 100.0
        ),
        met: tax < TAX_MAX,
        limit: TAX_LIMIT,
    })
}

fn one(binaries: &Path, transfers: usize, connections: usize) -> Result<(f64, String)> {
    let output = Command::new(binaries.join("x0-load"))
        .arg("saturate")
        .arg("--bin-dir")
        .arg(binaries)
        .args(["--accounts", &transfers.to_string(), "--connections", &connections.to_string()])
        .output()
        .context("x0-load saturate")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "x0-load saturate: {}", String::from_utf8_lossy(&output.stderr));
    let figures: Value = serde_json::from_str(text.lines().last().context("a line of figures")?)?;
    ensure!(figures["refused"] == 0, "refusals: {figures}");
    Ok((figures["perSecond"].as_f64().context("perSecond")?, figures["scheme"].as_str().context("scheme")?.to_owned()))
}
