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
        /// skewed, twin
        scenario: String,
        /// Seed of everything random.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How often, for scenarios that repeat something.
        #[arg(long, default_value_t = 20)]
        count: u32,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(folder) = &arguments.bin_dir {
        x0_scenario::process::use_binaries(folder);
    }
    match arguments.what {
        What::Testnet { validators, seconds } => testnet::run(validators, seconds).await,
        What::Run { scenario, seed, count } => {
            let figures = match scenario.as_str() {
                "kills" => scenarios::crashes::kills(count, seed).await?,
                "power-cut" => scenarios::crashes::power_cut(count, seed).await?,
                "frozen" => scenarios::crashes::frozen(seed).await?,
                "three-one" => scenarios::partitions::three_one(seed).await?,
                "two-two" => scenarios::partitions::two_two(seed).await?,
                "one-way" => scenarios::partitions::one_way_and_flapping(seed).await?,
                "cities" => scenarios::wide_area::cities(seed).await?,
                "cities-loaded" => scenarios::wide_area::cities_loaded(seed).await?,
                "full-disk" => scenarios::disks::full(seed).await?,
                "failing-disk" => scenarios::disks::failing(seed).await?,
                "wiped" => scenarios::disks::wiped(seed).await?,
                "skewed" => scenarios::clocks::skewed(seed).await?,
                "twin" => scenarios::equivocation::twin(seed).await?,
                other => bail!("there is no scenario {other}; see --help"),
            };
            println!("{}", serde_json::to_string_pretty(&figures)?);
            Ok(())
        }
    }
}
