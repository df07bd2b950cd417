//! The binary `x0-lab`: a test network in namespaces, and the lab's scenarios.

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use x0_lab::{scenarios, testnet};

#[derive(Parser)]
#[command(name = "x0-lab", about = "Validators in network namespaces, and what can happen to them (needs root)")]
struct Arguments {
    /// Folder of the built binaries; where this program is, when absent.
    #[arg(long, global = true)]
    bin_dir: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Starts a network, prints heights and peers, restarts what dies, and stops with Ctrl-C.
    Testnet {
        /// How many validators.
        #[arg(long, default_value_t = 4)]
        validators: usize,
        /// Ends by itself after so many seconds.
        #[arg(long)]
        seconds: Option<u64>,
    },
    /// Runs a scenario and prints its figures as JSON.
    Run {
        /// kills, power-cut, frozen, three-one, two-two, one-way, cities, cities-loaded, full-disk, failing-disk, wiped,
        /// skewed, twin, handshakes, manual, upgrade
        scenario: String,
        /// Seed of everything random.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How often, for scenarios that repeat something: by default 20 kills, one power cut, one twin.
        #[arg(long)]
        count: Option<u32>,
        /// File in which a long `twin` notes what it has done; the next run goes on there.
        #[arg(long)]
        state: Option<PathBuf>,
        /// Height at which the scenario `wiped` begins; from 1,000 on the chain gets there at a faster pace.
        #[arg(long, default_value_t = 30)]
        height: u32,
    },
}

/// How long each part of the scenario `handshakes` is measured.
const HANDSHAKES_WINDOW: std::time::Duration = std::time::Duration::from_secs(20);

fn main() -> Result<()> {
    // On a machine of the lab this program has the names of systemd's.
    let mut words = std::env::args();
    let program = words.next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default();
    if ["systemctl", "journalctl"].contains(&program) {
        let code = x0_lab::machine::control::client(program, &words.collect::<Vec<_>>())?;
        std::process::exit(code);
    }
    tokio::runtime::Runtime::new()?.block_on(lab())
}

async fn lab() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(folder) = &arguments.bin_dir {
        x0_scenario::process::use_binaries(folder);
    }
    match arguments.what {
        What::Testnet { validators, seconds } => testnet::run(validators, seconds).await,
        What::Run { scenario, seed, count, height, state } => {
            let figures = match scenario.as_str() {
                "kills" => scenarios::crashes::kills(count.unwrap_or(20), seed).await?,
                "power-cut" => scenarios::crashes::power_cut(count.unwrap_or(1), seed).await?,
                "frozen" => scenarios::crashes::frozen(seed).await?,
                "three-one" => scenarios::partitions::three_one(seed).await?,
                "two-two" => scenarios::partitions::two_two(seed).await?,
                "one-way" => scenarios::partitions::one_way_and_flapping(seed).await?,
                "cities" => scenarios::wide_area::cities(seed).await?,
                "cities-loaded" => scenarios::wide_area::cities_loaded(seed).await?,
                "full-disk" => scenarios::disks::full(seed).await?,
                "failing-disk" => scenarios::disks::failing(seed).await?,
                "wiped" => scenarios::disks::wiped(height, seed).await?,
                "skewed" => scenarios::clocks::skewed(seed).await?,
                "handshakes" => scenarios::handshakes::storm(seed, HANDSHAKES_WINDOW).await?,
                "manual" => scenarios::manual::manual(seed).await?,
                "upgrade" => scenarios::upgrade::rolling(seed).await?,
                "twin" => scenarios::equivocation::twins(count.unwrap_or(1), seed, state.as_deref()).await?,
                other => bail!("there is no scenario {other}; see --help"),
            };
            println!("{}", serde_json::to_string_pretty(&figures)?);
            Ok(())
        }
    }
}
