//! The binary `x0-agent`: the headless daemon of a mesh node.
//!
//! It exists so that a machine can be rented and can be part of a mesh: it shows the validators that it is there,
//! admits exactly the agents that the chain's deals name, and carries their traffic.
//!
//! ```text
//!   keystore --open--> key --+--> ProbeResponder (x0-agent-io) <--- probers over PQ TLS
//!                            |          |  Agent (x0-agent-core): phase, admission list
//!   node --finalised heads--> Follower -+
//!                            +--> ControlSocket <--- x0-agent status | peers | paths | capture | reload
//!   kernel --TC counters (optional)--------^    |        +--> metrics (optional)
//!   [mesh] --> MeshService: data thread, tunnel, kernel filter; peers by deals and configuration
//! ```
//!
//! # Correctness
//! * The admission list comes from finalised blocks of the pinned chain only; when the node is away, it
//!   ends with the view's life, and probes are still answered.
//! * Standard output carries data only: the READY line, the default configuration, JSON.
//! * A stop lets answers under way finish.
//!
//! # Limits
//! The `AGENT_*` and `PROBE_*` constants of `x0-limits`.
//!
//! # Errors
//! [`error::AgentError`]; exit code 1 when starting again changes nothing, 2 for usage, 10 otherwise.
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

mod answers;
mod attest;
mod cli;
mod config;
mod control;
mod counters;
mod error;
mod follow;
mod identity;
mod mesh;
mod metrics;
mod run;
mod show;
mod status;

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::{
    cli::{Cli, Command},
    config::{Config, DEFAULT_FILE, LogSection},
    control::Request,
    error::{AgentError, Result},
    identity::system,
};

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // When even standard error is gone, the exit code is all that is left to say.
            let _ = writeln!(std::io::stderr().lock(), "x0-agent: {error}");
            ExitCode::from(error.exit() as u8)
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::DefaultConfig => print(DEFAULT_FILE),
        Command::Init(options) => {
            let config = Config::load(&options.file.config)?;
            runtime()?.block_on(identity::init(&config, &options))
        }
        Command::Run(options) => {
            let mut config = Config::load(&options.file.config)?;
            config.apply(&options);
            start_log(&config.log, &options.file.config)?;
            runtime()?.block_on(run::run(&config, &options))
        }
        Command::Attest(options) => {
            let config = Config::load(&options.file.config)?;
            runtime()?.block_on(attest::run(&config, &options))
        }
        Command::Status(options) => ask(&options, &Request::Status, |answer| {
            // The report reads as what it is, or the agent is of another version.
            let report: status::Report =
                serde_json::from_value(answer.clone()).map_err(|error| system("reading the answer", &error))?;
            Ok(status::words(&report))
        }),
        Command::Peers(options) => ask(&options, &Request::Peers, |answer| Ok(show::peers(answer))),
        Command::Paths(options) => {
            let explain = options.explain.is_some();
            let request = Request::Paths { peer: options.explain };
            ask(&options.common, &request, |answer| Ok(show::paths(answer, explain)))
        }
        Command::Capture(options) => {
            let request = Request::Capture { seconds: options.seconds, decrypted: options.decrypted };
            ask(&options.common, &request, |answer| Ok(show::captured(answer)))
        }
        Command::Reload(options) => ask(&options, &Request::Reload, |answer| Ok(show::reloaded(answer))),
    }
}

/// Asks the running agent and prints each line of its answer, as JSON or in words.
fn ask(options: &cli::Status, request: &Request, words: impl Fn(&serde_json::Value) -> Result<String>) -> Result<()> {
    let config = Config::load(&options.file.config)?;
    let stream = matches!(request, Request::Capture { .. });
    control::ask(&config.status.path, request, |answer| {
        if !options.json {
            return print(&format!("{}\n", words(&answer)?));
        }
        // What comes line by line stays one line each.
        let text = if stream { serde_json::to_string(&answer) } else { serde_json::to_string_pretty(&answer) };
        print(&format!("{}\n", text.map_err(|error| system("printing", &error))?))
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| system("starting threads", &error))
}

/// Starts structured logs on standard error.
fn start_log(section: &LogSection, path: &std::path::Path) -> Result<()> {
    let wrong = |reason: String| AgentError::Config { path: path.to_owned(), reason };
    let filter = EnvFilter::builder().parse(&section.filter).map_err(|error| wrong(format!("log.filter: {error}")))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = if section.json { lines.json().try_init() } else { lines.try_init() };
    started.map_err(|error| system("starting the log", &error))
}

/// Writes data to standard output.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| system("writing the answer", &error))
}
