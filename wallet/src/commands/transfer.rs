//! `x0 transfer`: send money.

use x0_client::{amount::parse_amount, call};

use crate::{
    cli::Transfer,
    context::Context,
    error::Result,
    send::{Request, send},
};

/// Runs the command.
///
/// # Errors
/// [`crate::error::WalletError`].
pub async fn run(context: &Context, options: &Transfer) -> Result<()> {
    // Everything on the command line is checked before the network is asked.
    let to = context.account(&options.to)?;
    let call = match options.amount.as_str() {
        "all" => call::transfer_all(&to),
        amount => call::transfer(&to, parse_amount(amount)?),
    };
    let key = context.choose_key(options.tx.key.as_deref())?;
    let (network, client) = context.connect().await?;
    send(Request { context, network: &network, client: &client, call: &call, key: &key, options: &options.tx }).await
}
