//! `x0 account`: money and history.

use serde::Serialize;
use x0_client::{
    AccountInfo, Client,
    amount::format_amount,
    rpc_types::chain::{History, HistoryEntry, Movement},
    text::account_text,
};
use x0_types::AccountId;

use crate::{cli::Account, context::Context, error::Result};

/// The answer.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    info: AccountInfo,
    history: History,
}

/// Runs the command.
///
/// # Errors
/// [`crate::error::WalletError`].
pub async fn run(context: &Context, options: &Account) -> Result<()> {
    let account = context.account_or_own(options.account.as_ref())?;
    let (_, client) = context.connect().await?;
    let info = client.account(&account).await?;
    let history = load_history(&client, &info, options.history).await?;
    context.answer(&Report { info, history }, words)
}

async fn load_history(client: &Client, info: &AccountInfo, limit: u32) -> Result<History> {
    if limit == 0 {
        return Ok(History::default());
    }
    Ok(client.history(&info.account, None, limit).await?)
}

fn words(report: &Report) -> String {
    let Report { info, history } = report;
    let mut lines = vec![
        account_text(&info.account),
        format!("  free      {}", format_amount(info.free.0)),
        format!("  held      {}", format_amount(info.held.0)),
    ];
    lines.extend(info.holds.iter().map(|hold| format!("    {:<28} {}", hold.reason, format_amount(hold.amount.0))));
    lines.push(format!("  sent      {} transactions", info.nonce));
    if !history.entries.is_empty() {
        lines.push("last transactions, newest first:".to_owned());
        lines.extend(history.entries.iter().map(|entry| history_line(entry, &info.account)));
    }
    lines.join("\n")
}

fn history_line(entry: &HistoryEntry, account: &AccountId) -> String {
    let result = match (entry.success, &entry.error) {
        (Some(true), _) => "done".to_owned(),
        (_, Some(error)) => format!("failed: {error}"),
        (Some(false), None) => "failed".to_owned(),
        (None, None) => "result no longer kept".to_owned(),
    };
    let fee = entry.fee.map(|fee| format!(", fee {}", format_amount(fee.0))).unwrap_or_default();
    // What others signed touched the account, and cost it no fee.
    let signer = entry.signer.as_ref().filter(|signer| *signer != account);
    let by = signer.map(|signer| format!(", by {}", account_text(signer))).unwrap_or_default();
    let call = entry.call.as_deref().unwrap_or("by the chain itself");
    // What the chain does by itself cannot fail; a movement below says all there is.
    let result = if entry.call.is_none() { String::new() } else { result };
    let mut lines = vec![format!("  block {:<8} {call:<32} {result}{fee}{by}", entry.block).trim_end().to_owned()];
    lines.extend(entry.money.iter().flatten().map(|movement| movement_line(movement, account)));
    lines.join("\n")
}

/// A movement as its account sees it.
fn movement_line(movement: &Movement, account: &AccountId) -> String {
    let amount = format_amount(movement.amount.0);
    let what = match &movement.to {
        None => format!("{amount} lost"),
        Some(to) if to == &movement.from => format!("{amount} free again"),
        Some(to) if to == account => format!("{amount} from {}", account_text(&movement.from)),
        Some(to) => format!("{amount} to {}", account_text(to)),
    };
    let reason = movement.reason.as_ref().map(|reason| format!(" (held for {reason})")).unwrap_or_default();
    format!("                 {what}{reason}")
}
