//! `x0-load`: measures a node and writes a report.
#![allow(clippy::print_stdout, reason = "the figures of this program are its output")]

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

mod bench;
mod compare;
mod node;
mod phases;

/// The node's allocator: the phases that run in this process are to cost what they cost there.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Parser)]
#[command(about = "Pre-signed open-loop load, counted at finality")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure everything on this machine and write the report.
    Report(bench::Options),
    /// Saturate a node of its own, and print the figures as JSON.
    Saturate {
        /// Folder of the built binaries.
        #[arg(long)]
        bin_dir: Option<PathBuf>,
        /// Funded accounts, and transfers.
        #[arg(long, default_value_t = 20_000)]
        accounts: usize,
        /// Connections that submit.
        #[arg(long, default_value_t = 48)]
        connections: usize,
    },
    /// Measure what a transfer costs in each phase, in process.
    Phases {
        /// Funded accounts.
        #[arg(long, default_value_t = 100_000)]
        accounts: usize,
    },
    /// Print the raw ML-DSA-65 verify rate of this machine.
    RawVerify,
}

fn main() -> Result<()> {
    // As in the node: without a subscriber each span of the runtime asks the `log` crate instead, which costs more.
    tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match Arguments::parse().command {
        Command::Report(options) => runtime.block_on(bench::report(&options)),
        Command::Saturate { bin_dir, accounts, connections } => {
            runtime.block_on(compare::saturate(&binaries(bin_dir.as_ref())?, accounts, connections))
        }
        Command::Phases { accounts } => {
            let phases = phases::measure(&x0_load::transfers::senders(accounts)?)?;
            println!("{}", x0_load::report::table(&phases.rows));
            Ok(())
        }
        Command::RawVerify => {
            let rate = x0_load::machine::raw_verify_rate(std::time::Duration::from_secs(3)).context("verify")?;
            println!("{rate:.0} ML-DSA-65 verifications per second on all cores ({})", x0_load::machine::describe());
            Ok(())
        }
    }
}

/// Where binaries are looked for when nothing is said: beside this one.
fn binaries(chosen: Option<&PathBuf>) -> Result<PathBuf> {
    if let Some(folder) = chosen {
        return Ok(folder.clone());
    }
    let program = std::env::current_exe()?;
    Ok(program.parent().context("this program lies in a folder")?.to_path_buf())
}
