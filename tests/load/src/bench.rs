//! The bench report: saturation, latency, memory, and admission against the raw verify rate.

use crate::{compare, node::Nodes, phases};
use anyhow::{Context, Result};
use jsonrpsee::{
    core::client::{Subscription, SubscriptionClientT},
    rpc_params,
    ws_client::WsClientBuilder,
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use x0_load::{
    machine,
    report::{Latency, Row, losses, table},
    run::{self, Run},
    transfers::{self, Sender},
};
use x0_types::Hash;

/// Choices of a bench run.
#[derive(clap::Args)]
pub struct Options {
    /// Folder of the built binaries.
    #[arg(long)]
    bin_dir: Option<PathBuf>,
    /// Folder that receives the report.
    #[arg(long, default_value = "docs/qa")]
    output: PathBuf,
    /// Funded accounts, and transfers of the saturation run.
    #[arg(long, default_value_t = 100_000)]
    accounts: usize,
    /// Connections that submit.
    #[arg(long, default_value_t = 48)]
    connections: usize,
    /// Validators of the network run; 1 leaves it out.
    #[arg(long, default_value_t = 4)]
    validators: usize,
    /// Accounts and transfers of the network run.
    #[arg(long, default_value_t = 10_000)]
    network_accounts: usize,
    /// Folder of node and load generator built with the feature `bench-ed25519`, for the comparison.
    #[arg(long)]
    classical_dir: Option<PathBuf>,
    /// Accounts and transfers of each run of the comparison.
    #[arg(long, default_value_t = 20_000)]
    compared: usize,
    /// Transactions of the idle latency run.
    #[arg(long, default_value_t = 100)]
    idle_transactions: usize,
}

/// Measures and writes the report.
pub async fn report(options: &Options) -> Result<()> {
    let binaries = crate::binaries(options.bin_dir.as_ref())?;
    println!("machine: {}", machine::describe());
    let raw = machine::raw_verify_rate(Duration::from_secs(3))?;
    println!("raw verify rate: {raw:.0} /s on all cores");

    let senders = transfers::senders(options.accounts)?;
    println!("{} keys derived", senders.len());
    let node = Nodes::development(&binaries, &senders)?;
    let (url, genesis, target) = (node.url()?, node.genesis()?, node.target()?);
    println!("node serves {url}");
    let mut rows = Vec::new();

    let idle = idle_latency(&url, genesis, &senders, options.idle_transactions).await?;
    println!("idle chain: {idle}");
    rows.push(Row {
        what: "one transaction on an idle chain, send to finality".into(),
        goal: "p50 < 50 ms".into(),
        measured: idle.to_string(),
        met: idle.p50 < Duration::from_millis(50),
        limit: "four waits for the disk stand between a transaction and its finality.",
    });

    let batch = transfers::sign_all(&senders, |index| u32::from(index < options.idle_transactions), genesis)?;
    println!("{} transfers signed", batch.len());
    let saturation = run::run(&target, &batch, options.connections, None).await?;
    println!("{saturation:#?}");
    rows.push(Row {
        what: format!(
            "finalised transfers, {} accounts, one validator and the generator on these cores",
            senders.len()
        ),
        goal: ">= 5,000 /s (floor 3,000)".into(),
        measured: format!(
            "{:.0} /s ({:.2} of the raw verify rate; node used {:.2} cores)",
            saturation.finalised_per_second,
            saturation.finalised_per_second / raw,
            saturation.node_cores
        ),
        met: saturation.finalised_per_second >= 5_000.0,
        limit: "one thread executes blocks, and while it and the disk finish a block the queue is full and the other core \
                has little to do. Per transfer the thread reads two accounts, writes four nodes of the trie for each, \
                and hashes 5 kB for the root of the extrinsics.",
    });
    // The queue is empty and the allocator has had time to give its pages back.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let resident = machine::resident_bytes(*target.pids.first().context("a process")?)?;
    rows.push(Row {
        what: format!("resident memory, five seconds after {} transfers", batch.len()),
        goal: "< 300 MB".into(),
        measured: format!("{:.0} MB", resident as f64 / 1e6),
        met: resident < 300_000_000,
        limit: MEMORY_LIMIT,
    });

    let half = saturation.finalised_per_second / 2.0;
    // Ten seconds of load, as far as there are senders.
    let count = senders.len().min(batch.len().min(ten_seconds(half)).max(100));
    let base = |index: usize| 1 + u32::from(index < options.idle_transactions);
    let second = transfers::sign_all(&senders[..count], base, genesis)?;
    let loaded = run::run(&target, &second, options.connections, Some(half)).await?;
    println!("{loaded:#?}");
    rows.push(Row {
        what: format!("latency to finality at half of that load ({half:.0} /s)"),
        goal: "p50 <= 250 ms, p99 <= 600 ms".into(),
        measured: loaded.latency.to_string(),
        met: loaded.latency.p50 <= Duration::from_millis(250) && loaded.latency.p99 <= Duration::from_millis(600),
        limit: "blocks follow one another every 150 ms at most, and a block of that load takes about as long again.",
    });
    drop(node);
    if options.validators > 1 {
        rows.extend(network(&binaries, &senders, options).await?);
    }
    if let Some(classical) = &options.classical_dir {
        rows.push(compare::classical(&binaries, classical, options.compared, options.connections)?);
    }
    let phases = phases::measure(&senders)?;
    rows.extend(phases.rows);
    write(&options.output, raw, &rows, &saturation, &phases.blocks)
}

/// What limits resident memory.
const MEMORY_LIMIT: &str = "the trie cache takes about twice the 64 MiB that it counts, and the database's cache and \
    write buffers take 96 MiB.";

/// Throughput and latency of several validators on this machine; transactions go to all of them in turn.
async fn network(binaries: &Path, senders: &[Sender], options: &Options) -> Result<Vec<Row>> {
    let validators = options.validators;
    let senders = &senders[..senders.len().min(options.network_accounts)];
    let network = Nodes::network(binaries, senders, validators)?;
    let (target, genesis) = (network.target()?, network.genesis()?);
    println!("{validators} validators serve {:?}", target.urls);
    let runs = async {
        let batch = transfers::sign_all(senders, |_| 0, genesis)?;
        let full = run::run(&target, &batch, options.connections, None).await?;
        println!("{full:#?}");
        let half = full.finalised_per_second / 2.0;
        let second = transfers::sign_all(&senders[..senders.len().min(ten_seconds(half).max(100))], |_| 1, genesis)?;
        let loaded = run::run(&target, &second, options.connections, Some(half)).await?;
        println!("{loaded:#?}");
        Ok::<_, anyhow::Error>((full, half, loaded))
    };
    let (full, half, loaded) = runs.await.with_context(|| network.logs())?;
    let resident = network.pids().into_iter().map(machine::resident_bytes).collect::<Result<Vec<_>>>()?;
    let resident = resident.into_iter().max().unwrap_or(0);
    Ok(vec![
        Row {
            what: format!("finalised transfers, {validators} validators and the generator on these cores"),
            goal: ">= 1,400 /s (floor 1,000)".into(),
            measured: format!(
                "{:.0} /s ({} transfers, {} blocks)",
                full.finalised_per_second,
                senders.len(),
                full.blocks
            ),
            met: full.finalised_per_second >= 1_400.0,
            limit: "every validator verifies each signature and executes each block, so that the two cores do all of it \
                    once for each validator, beside carrying each transfer over encrypted links twice: as gossip and in \
                    its block.",
        },
        Row {
            what: format!("latency to finality of {validators} validators at half of that load ({half:.0} /s)"),
            goal: "p50 <= 250 ms, p99 <= 600 ms".into(),
            measured: loaded.latency.to_string(),
            met: loaded.latency.p50 <= Duration::from_millis(250) && loaded.latency.p99 <= Duration::from_millis(600),
            limit: "the validators share two cores, so that one of them waits for the others' execution of the same block.",
        },
        Row {
            what: format!("largest resident memory of the {validators} validators after these runs"),
            goal: "< 300 MB".into(),
            measured: format!("{:.0} MB", resident as f64 / 1e6),
            met: resident < 300_000_000,
            limit: MEMORY_LIMIT,
        },
    ])
}

/// Transactions of ten seconds at this rate.
fn ten_seconds(rate: f64) -> usize {
    // Counted up instead of cast: the rate is a measured figure of some thousands.
    let mut count = 0usize;
    while (count as f64) < rate * 10.0 && count < 1_000_000 {
        count += 100;
    }
    count
}

/// Sends one transaction at a time and waits for its finality, with pauses that let the chain idle.
async fn idle_latency(url: &str, genesis: Hash, senders: &[Sender], count: usize) -> Result<Latency> {
    let client = WsClientBuilder::default().build(url).await?;
    let mut samples = Vec::with_capacity(count);
    for sender in senders.iter().take(count) {
        let transfer = transfers::sign(sender, &sender.account, 1, 0, genesis)?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let start = Instant::now();
        let mut updates: Subscription<Value> = client
            .subscribe("author_submitAndWatchExtrinsic", rpc_params![transfer.hex()], "author_unwatchExtrinsic")
            .await?;
        loop {
            let update = updates.next().await.context("the watch ended early")??;
            if update["finalized"].is_string() {
                break;
            }
        }
        samples.push(start.elapsed());
    }
    Latency::of(samples).context("samples")
}

/// Writes the report with method, machine and every row.
fn write(output: &Path, raw: f64, rows: &[Row], saturation: &Run, blocks: &phases::BlockPhases) -> Result<()> {
    fs::create_dir_all(output)?;
    let text = format!(
        "# Speed and size\n\n\
         Machine: {}.\n\n\
         Method: `make bench`. Release profile. One validator of a development chain and the load generator share the \
         machine's cores. Transfers are signed before the run, each by another account, sent in an open loop over \
         HTTP connections, and counted when a finalised block holds them (bodies are read back and matched by \
         hash). The raw verify rate is ML-DSA-65 verification by aws-lc-rs on all cores in the same run: **{raw:.0} /s**.\n\n\
         {}\n\
         Saturation in detail: {} blocks with transfers, admitted {:.0} /s, latency {}, busy answers {}, refusals {}, \
         the node used {:.2} cores; the rest went to the generator and the kernel. The node's processor time per \
         transfer by threads: {}.\n\nA block's phases per transfer, in process on one thread: {blocks}.\n{}",
        machine::describe(),
        table(rows),
        saturation.blocks,
        saturation.admitted_per_second,
        saturation.latency,
        saturation.busy,
        saturation.refused,
        saturation.node_cores,
        saturation.threads,
        losses(rows),
    );
    let path = output.join("speed.md");
    fs::write(&path, &text)?;
    println!("{text}\nwritten to {}", path.display());
    Ok(())
}
