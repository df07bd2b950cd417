//! `x0 dev`: what only development chains know.

use x0_client::{amount::parse_amount, call};

use crate::{
    cli::{Dev, TxOptions},
    context::Context,
    error::Result,
    send::{Request, send},
};

/// The account of every development chain that gives money away.
const FAUCET_KEY: &str = "dev:alice";

/// Runs the command.
///
/// # Errors
/// [`crate::error::WalletError`].
pub async fn run(context: &Context, command: Dev) -> Result<()> {
    let Dev::Faucet { account, amount } = command;
    let to = context.account_or_own(account.as_ref())?;
    let call = call::transfer(&to, parse_amount(&amount)?);
    let key = context.choose_key(Some(FAUCET_KEY))?;
    let (network, client) = context.connect().await?;
    client.require_development().await?;
    let options = TxOptions { key: None, tip: None, unsigned: None, no_wait: false };
    send(Request { context, network: &network, client: &client, call: &call, key: &key, options: &options }).await
}
