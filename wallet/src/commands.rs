//! The commands, one module for each word after `x0`.

pub mod account;
pub mod deals;
pub mod dev;
pub mod did;
pub mod governance;
pub mod keys;
pub mod market;
pub mod network;
pub mod notices;
pub mod transfer;
pub mod trust;
pub mod tx;
pub mod validators;
pub mod verify;

use crate::{
    cli::{Cli, Command},
    context::Context,
    error::Result,
};

/// Runs one command.
///
/// # Errors
/// Those of the command.
pub async fn run(cli: Cli) -> Result<()> {
    let context = Context::new(cli.global)?;
    match cli.command {
        Command::Keys(command) => keys::run(&context, command).await,
        Command::Account(options) => account::run(&context, &options).await,
        Command::Transfer(options) => transfer::run(&context, &options).await,
        Command::Did(command) => did::run(&context, command).await,
        Command::Market(command) => market::run(&context, command).await,
        Command::Gov(command) => governance::run(&context, command).await,
        Command::Trust(command) => trust::run(&context, command).await,
        Command::Validators(command) => validators::run(&context, command).await,
        Command::Verify(command) => verify::run(&context, command).await,
        Command::Tx(command) => tx::run(&context, command).await,
        Command::Network(command) => network::run(&context, command),
        Command::Dev(command) => dev::run(&context, command).await,
    }
}
