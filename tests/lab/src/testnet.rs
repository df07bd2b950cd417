//! `make testnet`: a network that a person can look at, use and hurt.

use crate::{Network, Start};
use anyhow::{Context as _, Result};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// How often the table is printed.
const TABLE_INTERVAL: Duration = Duration::from_secs(2);
/// How often the processes are looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);
/// Pause before a validator that ended is started again, as the systemd unit does.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// Exit codes after which nobody restarts a validator: see `docs/operating/exit-codes.md`.
const STAY_DOWN: [i32; 4] = [2, 20, 21, 74];

/// Starts the network and watches it until Ctrl-C, SIGTERM, or the end of the time.
pub async fn run(validators: usize, seconds: Option<u64>) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    println!("starting {validators} validators, each in a network namespace of its own");
    let mut network = Network::start(validators, 1).await?;
    println!("genesis   {}", network.genesis);
    println!("files     {}", network.folder().display());
    for validator in &network.validators {
        println!(
            "validator-{} pid {:<8} {:<12} rpc {}  metrics {}/metrics",
            validator.number + 1,
            validator.pid().unwrap_or_default(),
            validator.namespace().address,
            validator.rpc_url(),
            validator.metrics_url(),
        );
    }
    println!("Kill any of them (kill -9 PID): the others go on, and it is started again. Ctrl-C ends the network.");
    let ends = tokio::time::sleep(seconds.map_or(Duration::MAX / 4, Duration::from_secs));
    tokio::pin!(ends);
    let mut table = Instant::now();
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            () = &mut ends => break,
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
        }
        revive(&mut network).await?;
        if table.elapsed() >= TABLE_INTERVAL {
            table = Instant::now();
            print_table(&network).await;
        }
    }
    let height = network.check_agreement().await.context("at the end")?;
    println!("stopping; all agree up to height {height}");
    network.stop().await?;
    println!("stopped");
    Ok(())
}

/// Starts again what ended, unless its exit code forbids it.
async fn revive(network: &mut Network) -> Result<()> {
    for number in 0..network.validators.len() {
        let Some(status) = network.validators[number].ended()? else { continue };
        network.collect_signatures(number)?;
        if status.code().is_some_and(|code| STAY_DOWN.contains(&code)) {
            println!(
                "validator-{} ended with {status} and stays down:\n{}",
                number + 1,
                network.validators[number].log_tail()
            );
            continue;
        }
        println!("validator-{} ended with {status}: starting it again", number + 1);
        tokio::time::sleep(RESTART_PAUSE).await;
        network.validators[number].start(&Start::default()).await?;
        println!("validator-{} is back with pid {}", number + 1, network.validators[number].pid().unwrap_or_default());
    }
    Ok(())
}

async fn print_table(network: &Network) {
    let mut line = String::new();
    for validator in &network.validators {
        let seen = async {
            let rpc = network.rpc(validator.number).await?;
            let (_, height) = rpc.finalised().await?;
            let health: serde_json::Value = rpc.call("system_health", &[]).await?;
            anyhow::Ok((height, health["peers"].as_u64().unwrap_or_default()))
        };
        let text = match seen.await {
            Ok((height, peers)) => format!("height {height:<7} peers {peers}"),
            Err(_) => "down".to_owned(),
        };
        line.push_str(&format!("| {}: {text:<24}", validator.number + 1));
    }
    println!("{line}|");
}
