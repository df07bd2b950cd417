//! The bench report: saturation, latency, memory, and admission against the raw verify rate.

use anyhow::{Context, Result, bail};
use jsonrpsee::{
    core::client::{Subscription, SubscriptionClientT},
    rpc_params,
};
use rayon::prelude::*;
use serde_json::{Value, json};
use sp_runtime::transaction_validity::TransactionSource;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use x0_chain_spec::ChainSpec;
use x0_executor::{Executor, Options as ExecutorOptions};
use x0_load::{
    machine,
    observe::Observer,
    report::{Latency, Row, table},
    submit,
    transfers::{self, Sender, Transfer},
};
use x0_storage::{Database, OpenOptions};
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
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Transactions of the idle latency run.
    #[arg(long, default_value_t = 100)]
    idle_transactions: usize,
}

/// A node of the bench; killed when dropped.
struct BenchNode {
    child: Child,
    url: String,
    genesis: Hash,
    _folder: tempfile::TempDir,
}

impl Drop for BenchNode {
    fn drop(&mut self) {
        // The process may have ended already; there is nobody left to tell.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl BenchNode {
    fn start(binaries: &Path, senders: &[Sender]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("x0-bench-").tempdir()?;
        let spec = folder.path().join("chain.json");
        fs::write(&spec, chain_spec(senders)?.to_json()?)?;
        let log = fs::File::create(folder.path().join("node.log"))?;
        let mut child = Command::new(binaries.join("x0-node"))
            .args(["--dev", "--rpc-port", "0", "--base-path"])
            .arg(folder.path().join("data"))
            .arg("--chain")
            .arg(&spec)
            .env("X0_LOG", "warn")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("start x0-node")?;
        let mut lines = BufReader::new(child.stdout.take().context("stdout")?).lines();
        let ready = loop {
            match lines.next() {
                Some(Ok(line)) => {
                    if let Some(json) = line.strip_prefix("READY ") {
                        break serde_json::from_str::<Value>(json)?;
                    }
                }
                _ => bail!("x0-node ended: {}", fs::read_to_string(folder.path().join("node.log"))?),
            }
        };
        let genesis: [u8; 32] = hex::decode(ready["genesis"].as_str().context("genesis")?.trim_start_matches("0x"))?
            .try_into()
            .map_err(|_| anyhow::anyhow!("a genesis hash has 32 bytes"))?;
        let url = ready["rpc"].as_str().context("rpc")?.to_owned();
        Ok(Self { child, url, genesis: Hash::from(genesis), _folder: folder })
    }
}

/// The development preset with the senders endowed.
fn chain_spec(senders: &[Sender]) -> Result<ChainSpec> {
    let mut spec = ChainSpec::dev()?;
    let config = spec.genesis_config()?;
    let mut balances = config
        .pointer("/balances/balances")
        .and_then(Value::as_array)
        .cloned()
        .context("the preset has balances.balances")?;
    balances.extend(senders.iter().map(|sender| json!([sender.account.to_string(), 1_000_000_000_000_000u64])));
    spec.genesis.patch = json!({ "balances": { "balances": balances } });
    Ok(spec)
}

/// Measures and writes the report.
pub async fn report(options: &Options) -> Result<()> {
    let binaries = crate::binaries(options.bin_dir.as_ref())?;
    println!("machine: {}", machine::describe());
    let raw = machine::raw_verify_rate(Duration::from_secs(3))?;
    println!("raw verify rate: {raw:.0} /s on all cores");

    let senders = transfers::senders(options.accounts)?;
    println!("{} keys derived", senders.len());
    let node = BenchNode::start(&binaries, &senders)?;
    println!("node serves {}", node.url);
    let mut rows = Vec::new();

    let idle = idle_latency(&node, &senders, options.idle_transactions).await?;
    println!("idle chain: {idle}");
    rows.push(Row {
        what: "one transaction on an idle chain, send to finality".into(),
        goal: "p50 < 50 ms".into(),
        measured: idle.to_string(),
        met: idle.p50 < Duration::from_millis(50),
    });

    let batch = transfers::sign_all(&senders, |index| u32::from(index < options.idle_transactions), node.genesis)?;
    println!("{} transfers signed", batch.len());
    let saturation = saturate(&node, &batch, options.connections, None).await?;
    println!("{saturation:#?}");
    rows.push(Row {
        what: format!(
            "finalised transfers, {} accounts, one validator and the generator on these cores",
            senders.len()
        ),
        goal: ">= 5,000 /s".into(),
        measured: format!(
            "{:.0} /s ({:.2} of the raw verify rate; node used {:.2} cores)",
            saturation.finalised_per_second,
            saturation.finalised_per_second / raw,
            saturation.node_cores
        ),
        met: saturation.finalised_per_second >= 5_000.0,
    });
    // The queue is empty and the allocator has had time to give its pages back.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let resident = machine::resident_bytes(node.child.id())?;
    rows.push(Row {
        what: format!("resident memory, five seconds after {} transfers", batch.len()),
        goal: "< 300 MB".into(),
        measured: format!("{:.0} MB", resident as f64 / 1e6),
        met: resident < 300_000_000,
    });

    let half = saturation.finalised_per_second / 2.0;
    // Ten seconds of load, as far as there are senders.
    let count = senders.len().min(batch.len().min(ten_seconds(half)).max(100));
    let base = |index: usize| 1 + u32::from(index < options.idle_transactions);
    let second = transfers::sign_all(&senders[..count], base, node.genesis)?;
    let loaded = saturate(&node, &second, options.connections, Some(half)).await?;
    rows.push(Row {
        what: format!("latency to finality at half of that load ({half:.0} /s)"),
        goal: "p50 <= 250 ms, p99 <= 600 ms".into(),
        measured: loaded.latency.to_string(),
        met: loaded.latency.p50 <= Duration::from_millis(250) && loaded.latency.p99 <= Duration::from_millis(600),
    });
    rows.push(admission(&senders, raw)?);
    write(&options.output, raw, &rows, &saturation)
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

/// Figures of one submission run.
#[derive(Debug)]
struct Saturation {
    finalised_per_second: f64,
    admitted_per_second: f64,
    blocks: usize,
    latency: Latency,
    busy: u64,
    refused: u64,
    node_cores: f64,
}

async fn saturate(node: &BenchNode, batch: &[Transfer], connections: usize, rate: Option<f64>) -> Result<Saturation> {
    let observer = Observer::start(&node.url).await?;
    let clients = submit::connect(&node.url, connections).await?;
    let from = observer.tip();
    let (processor, start) = (machine::processor_time(node.child.id())?, tokio::time::Instant::now());
    let submitted = submit::submit(&clients, batch, rate).await?;
    for (message, count) in &submitted.refused {
        println!("refused {count} times: {message}");
    }
    let (finalised, blocks) = observer.collect(from, &submitted.sent_at, Duration::from_secs(120)).await?;
    let used = machine::processor_time(node.child.id())?.saturating_sub(processor);
    let last = finalised.values().max().copied().unwrap_or(start);
    let seconds = last.duration_since(start).as_secs_f64();
    let latencies =
        finalised.iter().filter_map(|(hash, at)| Some(at.duration_since(*submitted.sent_at.get(hash)?))).collect();
    Ok(Saturation {
        finalised_per_second: finalised.len() as f64 / seconds,
        admitted_per_second: submitted.sent_at.len() as f64 / submitted.elapsed.as_secs_f64(),
        blocks: blocks.iter().filter(|block| block.transfers > 0).count(),
        latency: Latency::of(latencies).context("at least one transfer became final")?,
        busy: submitted.busy,
        refused: submitted.refused.values().sum(),
        node_cores: used.as_secs_f64() / start.elapsed().as_secs_f64(),
    })
}

/// Sends one transaction at a time and waits for its finality, with pauses that let the chain idle.
async fn idle_latency(node: &BenchNode, senders: &[Sender], count: usize) -> Result<Latency> {
    let clients = submit::connect(&node.url, 1).await?;
    let client = clients.first().context("a connection")?;
    let mut samples = Vec::with_capacity(count);
    for sender in senders.iter().take(count) {
        let transfer = transfers::sign(sender, &sender.account, 1, 0, node.genesis)?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let start = Instant::now();
        let mut updates: Subscription<Value> = client
            .subscribe("author_submitAndWatchExtrinsic", rpc_params![&transfer.hex], "author_unwatchExtrinsic")
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

/// Whole admission without a network: decoding, signature, and the runtime's own checks against the
/// state, on all cores, each transaction once.
fn admission(senders: &[Sender], raw: f64) -> Result<Row> {
    let folder = tempfile::Builder::new().prefix("x0-admission-").tempdir()?;
    let database = Database::open(folder.path(), OpenOptions::default())?;
    let config = chain_spec(senders)?.genesis_config()?;
    let executor = Executor::new(database, &config, ExecutorOptions::default())?;
    let count = senders.len().min(20_000);
    let batch = transfers::sign_all(&senders[..count], |_| 0, executor.genesis_hash())?;
    let encoded: Vec<Vec<u8>> = batch
        .iter()
        .map(|transfer| hex::decode(transfer.hex.trim_start_matches("0x")).context("hex"))
        .collect::<Result<_>>()?;
    let start = Instant::now();
    encoded.par_iter().try_for_each(|bytes| {
        executor.validate(bytes, TransactionSource::External).map(drop).context("a valid transfer")
    })?;
    let rate = count as f64 / start.elapsed().as_secs_f64();
    Ok(Row {
        what: "whole admission of a transfer (decode, signature, state), all cores, in process".into(),
        goal: ">= 0.5 of the raw verify rate".into(),
        measured: format!("{rate:.0} /s, {:.2} of {raw:.0} /s", rate / raw),
        met: rate >= 0.5 * raw,
    })
}

/// Writes the report with method, machine and every row.
fn write(output: &Path, raw: f64, rows: &[Row], saturation: &Saturation) -> Result<()> {
    fs::create_dir_all(output)?;
    let text = format!(
        "# Speed and size\n\n\
         Machine: {}.\n\n\
         Method: `make bench`. Release profile. One validator of a development chain and the load generator share the \
         machine's cores. Transfers are signed before the run, each by another account, sent in an open loop over \
         WebSocket connections, and counted when a finalised block holds them (bodies are read back and matched by \
         hash). The raw verify rate is ML-DSA-65 verification by aws-lc-rs on all cores in the same run: **{raw:.0} /s**.\n\n\
         {}\n\
         Saturation in detail: {} blocks with transfers, admitted {:.0} /s, latency {}, busy answers {}, refusals {}, \
         the node used {:.2} cores; the rest went to the generator and the kernel.\n",
        machine::describe(),
        table(rows),
        saturation.blocks,
        saturation.admitted_per_second,
        saturation.latency,
        saturation.busy,
        saturation.refused,
        saturation.node_cores,
    );
    let path = output.join("speed.md");
    fs::write(&path, &text)?;
    println!("{text}\nwritten to {}", path.display());
    Ok(())
}
