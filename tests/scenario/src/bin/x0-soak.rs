//! Long runs of the kill scenario, outside `make test`.
#![allow(clippy::print_stdout, reason = "the report of this program is its output")]

use clap::Parser;

#[derive(Parser)]
#[command(about = "Kills a validator under load, many times, and checks that nothing final is lost")]
struct Arguments {
    /// Folder of the built binaries.
    #[arg(long, env = "X0_BIN_DIR")]
    bin_dir: Option<std::path::PathBuf>,
    /// Kills to do.
    #[arg(long, default_value_t = 1_000)]
    kills: u32,
    /// Seed of the random moments; printed by every run.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(folder) = &arguments.bin_dir {
        x0_scenario::process::use_binaries(folder);
    }
    let seed = arguments.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(x0_scenario::torture::run(arguments.kills, seed))?;
    println!("{outcome:#?}");
    Ok(())
}
