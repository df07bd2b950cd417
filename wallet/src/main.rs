//! The wallet `x0`: keys, transfers, identities, the node market and offline signing.
//!
//! It exists so that a person or a script can do everything that an account can do, sees in words
//! what is about to be signed, and learns from one exit code who has to act next.
//!
//! ```text
//!   cli --> commands/* --> send: prepare -> show -> confirm -> unlock key -> sign -> hand over -> wait
//!              |             |                                  |
//!              |             +-- x0-client --> node             +-- home/keys/*.json (argon2id, AES-256-GCM)
//!              +-- stdout: the answer (text or --json)             password: prompt, file, descriptor
//!              +-- stderr: talk, questions, progress
//! ```
//!
//! # Correctness
//! Nothing is signed that was not decoded back from the encoded call and shown (`--yes` skips the
//! question, not the showing). Amounts are exact and carry units. Passwords and phrases never come
//! from the command line or the environment, and never go into logs.
//!
//! # Limits
//! `PASSWORD_CHARS_MIN`, `TRANSACTION_FILE_BYTES_MAX` and those of `x0-client`.
//!
//! # Errors
//! [`error::WalletError`]; its exit codes are documented in `docs/operating/x0.md`.
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

mod cli;
mod commands;
mod context;
mod error;
mod home;
mod network;
mod send;
mod webhook;

use std::{io::Write, process::ExitCode};

use clap::Parser;

use crate::{cli::Cli, error::WalletError};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.global.json;
    // A wallet does one thing at a time: one thread for the line, more only for slow work.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&WalletError::Task(error.to_string()), json),
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error, json),
    }
}

/// Says what went wrong: in words on standard error, and as JSON on standard output when asked.
fn report(error: &WalletError, json: bool) -> ExitCode {
    let code = error.exit() as u8;
    // When even standard error is gone, the exit code is all that is left to say.
    let _ = writeln!(std::io::stderr().lock(), "x0: {error}");
    // A list with damaged entries is an answer already, and there is one document on standard output.
    if json && !matches!(error, WalletError::Output(_) | WalletError::Damaged(_)) {
        let object =
            serde_json::json!({ "error": { "kind": error.kind(), "exitCode": code, "message": error.to_string() } });
        let _ = writeln!(std::io::stdout().lock(), "{object:#}");
    }
    ExitCode::from(code)
}
