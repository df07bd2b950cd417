//! The binary `x0-node`: wires the node's parts together and supervises them.
//!
//! ```text
//!   cli + config -> keys, chain spec -> database -> executor -> mempool -> consensus -> offchain -> rpc
//!                                          |  each part has a handle; the first that fails ends the
//!                                          v  process with a named reason and code ([`exit`])
//!   SIGTERM, SIGINT -> rpc stops -> offchain -> consensus -> database flushed -> exit 0
//! ```
//!
//! # Correctness
//! * Standard output carries data only: the READY line, the default configuration, JSON of `key`.
//! * A consensus key is used through the consensus crate's guard only.
//! * Nothing starts before configuration, chain spec and keys are known to be good, so that a broken
//!   one leaves nothing half written.
//!
//! # Limits
//! [`x0_limits::NODE_STOP_TIMEOUT_MS`] for a graceful stop.
//!
//! # Errors
//! Every failure is one line on standard error and a code of `docs/operating/exit-codes.md`.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap
    )
)]

mod backup;
mod catchup;
mod checkpoint;
mod cli;
mod config;
mod control;
mod doctor;
mod doors;
mod exit;
mod failures;
mod ground;
mod guard;
mod keys;
mod links;
mod listeners;
mod logging;
mod membership;
mod notify;
mod observe;
mod parts;
mod password;
mod run;
mod setup;
mod signer;
mod signing;
mod site;
mod standing;

use clap::Parser as _;
use cli::{Cli, Command};
use exit::{Exit, Failure};
use std::{io::Write as _, process::ExitCode};

/// Trie and mempool make many small allocations from many threads, which glibc's allocator answers
/// with memory that it never returns.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The allocator's settings: few arenas, and a thread that gives pages back a second after a burst of
/// transactions, also when no further allocation gives the allocator a chance to do so.
// SAFETY: jemalloc reads this symbol once, at start, as a pointer to a text that ends with a zero; the
// reference is such a pointer, lives for ever, and nothing else in the program has this name.
#[unsafe(export_name = "malloc_conf")]
#[used]
pub static ALLOCATOR_SETTINGS: &[u8; 70] = b"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0,narenas:4\0";

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            // Help and version are answers, everything else is a usage error; clap knows which
            // stream each belongs to, and nothing can be done when that stream is closed.
            let _ = answer.print();
            return if answer.use_stderr() { Exit::Usage.into() } else { Exit::Graceful.into() };
        }
    };
    let ended = match cli.command {
        Some(Command::DefaultConfig) => print(config::DEFAULT_FILE),
        Some(Command::ChainSpec { preset }) => chain_spec(&preset),
        Some(Command::Key(command)) => keys::run(command).and_then(|answer| print_json(&answer)),
        Some(Command::Init(args)) => setup::init(args).and_then(|answer| print_json(&answer)),
        Some(Command::Testnet(args)) => setup::testnet(&args).and_then(|answer| print_json(&answer)),
        Some(Command::Doctor(args)) => leave(report(doctor::doctor(&args, print))),
        Some(Command::Guard(command)) => guard::run(&command).and_then(|answer| print_json(&answer)),
        Some(Command::Backup(args)) => leave(report(backup::backup(&args).and_then(|answer| print_json(&answer)))),
        Some(Command::Checkpoint(args)) => leave(report(checkpoint::run(&args).and_then(|answer| print_json(&answer)))),
        Some(Command::Restore(args)) => leave(report(backup::restore(&args).and_then(|answer| print_json(&answer)))),
        Some(Command::Join(args)) => membership::join(&args).and_then(|answer| print_json(&answer)),
        Some(Command::RotateKey(args)) => membership::rotate(&args).and_then(|answer| print_json(&answer)),
        Some(Command::Signer(args)) => leave(report(signer::run(args))),
        Some(Command::Run(args)) => leave(report(run::run(&args))),
        None => leave(report(run::run(&cli.run))),
    };
    report(ended).into()
}

/// Says why the process ends, if that is not what was asked for.
fn report(ended: Result<(), Failure>) -> Exit {
    match ended {
        Ok(()) => Exit::Graceful,
        Err(failure) => {
            eprintln!("x0-node: {} (exit code {}, {})", failure.reason, failure.exit.code(), failure.exit.name());
            failure.exit
        }
    }
}

/// Ends the process of a node. Threads that hold the database may still be there, above all when a
/// part did not start; the ordinary way out would run RocksDB's destructors under them, and end some
/// refusals with an abort or not at all in place of their exit code.
fn leave(exit: Exit) -> ! {
    // Nothing can be said when standard output is closed. Standard error and the log have no buffer.
    let _ = std::io::stdout().flush();
    // SAFETY: `_exit` has no preconditions. What must be on disk was synced when it was written.
    unsafe { libc::_exit(i32::from(exit.code())) }
}

/// Prints a chain specification.
fn chain_spec(preset: &str) -> Result<(), Failure> {
    let known = x0_chain_spec::ChainSpec::PRESETS.join(", ");
    let spec = x0_chain_spec::ChainSpec::preset(preset)
        .map_err(Failure::configuration)?
        .ok_or_else(|| Failure::new(Exit::Usage, format!("unknown preset '{preset}'; known: {known}")))?;
    print(&format!("{}\n", spec.to_json().map_err(Failure::configuration)?))
}

/// Writes JSON to standard output.
fn print_json(answer: &serde_json::Value) -> Result<(), Failure> {
    print(&format!("{answer:#}\n"))
}

/// Writes data to standard output.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // The reader has seen enough.
        Err(cause) if cause.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(cause) => Err(Failure::configuration(format!("cannot write to standard output: {cause}"))),
        Ok(()) => Ok(()),
    }
}
