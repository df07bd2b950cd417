//! `x0-simulate`: replays seeds, runs ranges of them, and writes the study of vote sizes.

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use x0_simulation::{
    Plan, Report, Sabotage, replay_command, run,
    soak::{Progress, range},
    study,
};

/// Simulates validators from a seed.
#[derive(Parser)]
#[command(name = "x0-simulate", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs one seed twice and compares the two runs.
    Replay {
        /// The seed.
        #[arg(long)]
        seed: u64,
        /// Print what happens.
        #[arg(long)]
        trace: bool,
        /// Break a rule on purpose.
        #[arg(long, value_enum, default_value = "none")]
        sabotage: Broken,
        /// A healthy network with one validator that runs twice, each copy heard by others.
        #[arg(long)]
        split_twin: bool,
        /// Sign with ML-DSA-65.
        #[arg(long)]
        real_signatures: bool,
    },
    /// Runs many seeds; goes on where the state file ends.
    Soak {
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// How many seeds.
        #[arg(long, default_value_t = 100_000)]
        seeds: u64,
        /// State of the range.
        #[arg(long)]
        state: PathBuf,
        /// Threads.
        #[arg(long, default_value_t = 2)]
        threads: usize,
    },
    /// Measures what large votes cost.
    VoteStudy {
        /// The report; printed without it.
        #[arg(long)]
        output: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Broken {
    None,
    NoGuard,
    HalfQuorum,
    ManyTwins,
    BlindVotes,
    ForgetfulChain,
    LostLogs,
    SignBeforeLog,
}

impl From<Broken> for Sabotage {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::None => Self::None,
            Broken::NoGuard => Self::NoGuard,
            Broken::HalfQuorum => Self::HalfQuorum,
            Broken::ManyTwins => Self::ManyTwins,
            Broken::BlindVotes => Self::BlindVotes,
            Broken::ForgetfulChain => Self::ForgetfulChain,
            Broken::LostLogs => Self::LostLogs,
            Broken::SignBeforeLog => Self::SignBeforeLog,
        }
    }
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Replay { seed, trace, sabotage, split_twin, real_signatures } => {
            let plan = if split_twin { Plan::split_twin(seed) } else { Plan::sabotaged(seed, sabotage.into()) };
            replay(Plan { real_signatures, ..plan }, trace)
        }
        Command::Soak { first, seeds, state, threads } => soak(first, seeds, state, threads),
        Command::VoteStudy { output } => {
            let text = study::report(|line| eprintln!("{line}")).map_err(anyhow::Error::msg)?;
            match output {
                Some(path) => std::fs::write(&path, text).with_context(|| path.display().to_string()),
                None => {
                    print!("{text}");
                    Ok(())
                }
            }
        }
    }
}

fn replay(plan: Plan, trace: bool) -> anyhow::Result<()> {
    let seed = plan.seed;
    println!("{plan:#?}");
    let report = run(plan.clone(), trace);
    show(&report);
    let again = run(plan, false);
    if again.hash != report.hash {
        bail!("a second run of seed {seed} went another way: {} and {}", report.hash, again.hash);
    }
    if !report.passed() {
        bail!("seed {seed} broke {} promises", report.violations.len());
    }
    Ok(())
}

fn show(report: &Report) {
    println!(
        "seed {}: {} events, {} heights, {} ms simulated, {} crashes, {} refusals, {} contradictions of twins, {} \
         accused, {} changes of the set, greatest round {}, hash {}",
        report.seed,
        report.events,
        report.heights,
        report.simulated_ms,
        report.crashes,
        report.refusals,
        report.contradictions,
        report.accused,
        report.changes,
        report.round_max,
        report.hash
    );
    for violation in &report.violations {
        println!("BROKEN: {violation}");
    }
}

fn soak(first: u64, seeds: u64, state: PathBuf, threads: usize) -> anyhow::Result<()> {
    let mut progress = Progress::load(&state, first)?;
    range(&mut progress, first.saturating_add(seeds), threads, |progress| {
        eprintln!(
            "seed {}: {} failures, {} heights, {} crashes, {} late heights, {} s simulated, {} seeds/s",
            progress.next,
            progress.failures.len(),
            progress.heights,
            progress.crashes,
            progress.late,
            progress.simulated_ms / 1_000,
            progress.rate()
        );
        progress.save(&state)
    })?;
    for failure in &progress.failures {
        println!("seed {}: {}\n  {}", failure.seed, failure.violations.join("; "), replay_command(failure.seed));
    }
    if progress.failures.is_empty() {
        println!("{} seeds, no promise broken", progress.next - progress.first);
        Ok(())
    } else {
        bail!("{} of {} seeds broke a promise", progress.failures.len(), progress.next - progress.first)
    }
}
