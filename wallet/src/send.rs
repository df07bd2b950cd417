//! From a call to a final transaction: prepare, show, confirm, sign, hand over, wait.

use std::path::Path;

use serde::{Deserialize, Serialize};
use x0_client::{
    Call, ChainDescription, Client, Outcome, Progress, SignedTransaction, UnsignedTransaction,
    amount::{format_amount, parse_amount},
    describe::{Amounts, CallDescription, describe_call},
    rpc_types::{Amount, HexBytes},
    signature_form,
    text::{account_text, hex_text},
};
use x0_limits::BLOCK_INTERVAL_BUSY_MS;

use crate::{
    cli::TxOptions,
    context::{ChosenKey, Context, blocking},
    error::{Result, WalletError},
    home::{file_error, write_file},
};

/// The kind of files that hold unsigned transactions.
pub const UNSIGNED_KIND: &str = "x0-unsigned-transaction/v1";
/// The kind of files that hold signed transactions.
pub const SIGNED_KIND: &str = "x0-signed-transaction/v1";

/// An unsigned transaction with what a machine without network needs to show and sign it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnsignedFile {
    /// [`UNSIGNED_KIND`].
    pub kind: String,
    /// Name of the network where it was prepared.
    pub network: String,
    /// Whether that is a development chain, where development keys may sign.
    pub development: bool,
    /// Estimated fee, base units.
    pub fee_estimate: Amount,
    /// The transaction.
    pub transaction: UnsignedTransaction,
    /// The chain's description of its calls.
    pub metadata: HexBytes,
}

/// A signed transaction as a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedFile {
    /// [`SIGNED_KIND`].
    pub kind: String,
    /// The transaction.
    #[serde(flatten)]
    pub transaction: SignedTransaction,
}

/// What became of a command that makes a transaction.
#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "camelCase")]
pub enum Sent {
    /// It is final, and its call succeeded.
    Final {
        /// What it did.
        #[serde(flatten)]
        outcome: Outcome,
        /// What the command is about, for example the number of the new deal.
        #[serde(flatten)]
        subject: Option<Subject>,
    },
    /// It was handed over.
    Submitted {
        /// Its name.
        hash: x0_types::Hash,
    },
    /// It was written to a file, unsigned.
    Unsigned {
        /// The file.
        file: String,
    },
}

/// What a transaction brought about, read from its events.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Subject {
    /// A deal.
    Deal(u64),
    /// A listing.
    Listing(u64),
}

/// A call that is being sent, and by whom.
pub struct Request<'a> {
    /// The wallet.
    pub context: &'a Context,
    /// Name of the network.
    pub network: &'a str,
    /// The line to its node.
    pub client: &'a Client,
    /// The call.
    pub call: &'a Call,
    /// Who signs.
    pub key: &'a ChosenKey,
    /// How.
    pub options: &'a TxOptions,
}

/// Does all the steps of a transaction and prints the answer.
///
/// # Errors
/// Those of each step.
pub async fn send(request: Request<'_>) -> Result<()> {
    let context = request.context;
    let sent = run(&request).await?;
    context.answer(&sent, words)
}

/// Makes, confirms and sends a call over a connection of its own, signed by the key that the options choose. The
/// key is chosen before the network is asked.
///
/// # Errors
/// Those of each step.
pub async fn send_call(context: &Context, call: &Call, options: &TxOptions) -> Result<()> {
    let key = context.choose_key(options.key.as_deref())?;
    let (network, client) = context.connect().await?;
    send(Request { context, network: &network, client: &client, call, key: &key, options }).await
}

/// The same over a connection that the command has opened already, to learn what the call is.
///
/// # Errors
/// Those of each step.
pub async fn send_over(
    context: &Context,
    network: &str,
    client: &Client,
    call: &Call,
    options: &TxOptions,
) -> Result<()> {
    let key = context.choose_key(options.key.as_deref())?;
    send(Request { context, network, client, call, key: &key, options }).await
}

/// Does all the steps of a transaction.
///
/// # Errors
/// Those of each step.
pub async fn run(request: &Request<'_>) -> Result<Sent> {
    let Request { context, network, client, call, key, options } = request;
    context.require_own_accounts(client, key).await?;
    let named = client.account_key(&key.account).await?;
    if named.is_none() {
        refuse_unbound(client, key).await?;
    }
    let form = signature_form(&key.account, &key.public, named.as_ref())?;
    let description = client.description().await?;
    let mut unsigned = client.prepare(&description, call, &key.account, form).await?;
    if let Some(tip) = &options.tip {
        unsigned.tip = Amount(parse_amount(tip)?);
    }
    let fee = client.estimate_fee(&description, &unsigned).await?;
    show(context, network, &description, &unsigned, &key.label, Some(fee))?;
    if let Some(path) = &options.unsigned {
        return write_unsigned(client, network, unsigned, fee, path).await;
    }
    context.confirm("Sign and submit?")?;
    let signer = context.signer(key).await?;
    let signed = blocking(move || description.sign(&unsigned, &signer)).await??;
    hand_over(context, client, &signed, options.no_wait).await
}

/// Refuses a key that the chain knows as another account's: it took that account's place in a rotation,
/// and this machine does not know.
async fn refuse_unbound(client: &Client, key: &ChosenKey) -> Result<()> {
    match client.signs_for(&key.public).await? {
        Some(account) if account != key.account => {
            Err(WalletError::Unbound { name: key.label.clone(), account: account_text(&account) })
        }
        _ => Ok(()),
    }
}

/// Hands a signed transaction over and waits unless told not to.
///
/// # Errors
/// Those of the client.
pub async fn hand_over(context: &Context, client: &Client, signed: &SignedTransaction, no_wait: bool) -> Result<Sent> {
    context.say(&format!("transaction {}", hex_text(signed.hash)));
    if no_wait {
        return Ok(Sent::Submitted { hash: client.submit(signed).await? });
    }
    let outcome =
        client.submit_and_wait(signed, context.timeout(), |progress| context.say(&progress_words(progress))).await?;
    let subject = subject(&outcome);
    Ok(Sent::Final { outcome, subject })
}

fn progress_words(progress: Progress) -> String {
    match progress {
        Progress::Future => "  waiting for an earlier transaction of this account".to_owned(),
        Progress::Ready => "  waiting for a block".to_owned(),
        Progress::InBlock(hash) => format!("  in block {}", hex_text(hash)),
        Progress::Finalised(hash) => format!("  final in block {}", hex_text(hash)),
    }
}

/// Finds the number of a deal or listing in the market's events.
fn subject(outcome: &Outcome) -> Option<Subject> {
    let market = || outcome.events.iter().filter(|event| event.pallet == "Marketplace").map(|event| &event.fields);
    let number = |name: &str| market().find_map(|fields| fields.get(name).and_then(serde_json::Value::as_u64));
    // A deal also changes what its listing has free, and is what the command is about.
    number("deal").map(Subject::Deal).or_else(|| number("listing").map(Subject::Listing))
}

/// Shows on standard error what is about to be signed.
///
/// # Errors
/// [`WalletError::Client`] for a call that does not read.
pub fn show(
    context: &Context,
    network: &str,
    description: &ChainDescription,
    unsigned: &UnsignedTransaction,
    signer: &str,
    fee: Option<u128>,
) -> Result<()> {
    let call = describe_call(&unsigned.call.0, &description.metadata, Amounts::Units)?;
    let mut lines = vec![format!("On network {network} (genesis {}):", hex_text(unsigned.genesis_hash))];
    lines.extend(call_lines(&call));
    lines.push(format!("  {:<10} {} ({signer})", "signed by", account_text(&unsigned.account)));
    lines.push(format!("  {:<10} {}", "number", unsigned.nonce));
    if let Some(fee) = fee {
        lines.push(format!("  {:<10} {} (estimate)", "fee", format_amount(fee)));
    }
    if unsigned.tip.0 > 0 {
        lines.push(format!("  {:<10} {}", "tip", format_amount(unsigned.tip.0)));
    }
    lines.push(format!("  {:<10} {}", "valid", validity(unsigned)));
    context.say(&lines.join("\n"));
    Ok(())
}

fn validity(unsigned: &UnsignedTransaction) -> String {
    match unsigned.era {
        None => "for ever: it can be submitted at any time until its number is used".to_owned(),
        Some(era) => {
            let minutes = era.period_blocks.saturating_mul(BLOCK_INTERVAL_BUSY_MS) / 60_000;
            format!("until block {} (at least {minutes} minutes)", era.last_block())
        }
    }
}

/// A call in lines for people.
#[must_use]
pub fn call_lines(call: &CallDescription) -> Vec<String> {
    let mut lines = vec![format!("  {}.{}", call.pallet, call.call)];
    for (name, value) in &call.arguments {
        argument_lines(name, value, 4, &mut lines);
    }
    lines
}

/// Longest value that prints whole; keys and signatures are longer.
const VALUE_CHARS_MAX: usize = 80;

fn argument_lines(name: &str, value: &serde_json::Value, indent: usize, lines: &mut Vec<String>) {
    let pad = " ".repeat(indent);
    match value {
        serde_json::Value::Object(fields) if !fields.is_empty() => {
            lines.push(format!("{pad}{name}"));
            for (name, value) in fields {
                argument_lines(name, value, indent + 2, lines);
            }
        }
        serde_json::Value::Array(values) if !values.is_empty() => {
            lines.push(format!("{pad}{name}"));
            for value in values {
                argument_lines("-", value, indent + 2, lines);
            }
        }
        serde_json::Value::String(text) => lines.push(format!("{pad}{name:<16} {}", shorten(text))),
        other => lines.push(format!("{pad}{name:<16} {other}")),
    }
}

/// Shortens what is too long to read, saying so, and keeps one value on one line.
fn shorten(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if clean.chars().count() <= VALUE_CHARS_MAX {
        return clean;
    }
    let head: String = clean.chars().take(32).collect();
    format!("{head}... ({} characters)", clean.chars().count())
}

async fn write_unsigned(
    client: &Client,
    network: &str,
    transaction: UnsignedTransaction,
    fee: u128,
    path: &Path,
) -> Result<Sent> {
    let development = client.require_development().await.is_ok();
    let file = UnsignedFile {
        kind: UNSIGNED_KIND.to_owned(),
        network: network.to_owned(),
        development,
        fee_estimate: Amount(fee),
        transaction,
        metadata: HexBytes(client.metadata_bytes().await?),
    };
    write_new_json(path, &file)?;
    Ok(Sent::Unsigned { file: path.display().to_string() })
}

/// Writes a JSON file that must not exist yet.
///
/// # Errors
/// [`WalletError::File`].
pub fn write_new_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(WalletError::File {
            path: path.to_owned(),
            reason: "it exists already and is not overwritten".into(),
        });
    }
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| file_error(path, &error.into()))?;
    text.push(b'\n');
    write_file(path, &text, 0o600)
}

/// The answer in words.
#[must_use]
pub fn words(sent: &Sent) -> String {
    match sent {
        Sent::Submitted { hash } => format!("handed over: {}", hex_text(hash)),
        Sent::Unsigned { file } => format!("written, unsigned: {file}"),
        Sent::Final { outcome, subject } => {
            let mut text = format!("final in block {} (transaction {})", outcome.block_number, hex_text(outcome.hash));
            if let Some(fee) = outcome.fee {
                text.push_str(&format!("\nfee {}", format_amount(fee.0)));
            }
            match subject {
                Some(Subject::Deal(deal)) => text.push_str(&format!("\ndeal {deal}")),
                Some(Subject::Listing(listing)) => text.push_str(&format!("\nlisting {listing}")),
                None => {}
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_call_prints_with_nested_arguments_and_without_control_characters() {
        let call = CallDescription {
            pallet: "Marketplace".into(),
            call: "rent".into(),
            arguments: vec![
                ("deposit".into(), json!("1.5 X0T")),
                ("manifest".into(), json!({"mesh": "0x11", "agents": ["5A", "5B"]})),
                ("note".into(), json!("\u{1b}[2Jgone")),
                ("key".into(), json!(format!("0x{}", "ab".repeat(1952)))),
            ],
        };
        let text = call_lines(&call).join("\n");
        assert!(text.contains("deposit          1.5 X0T"), "{text}");
        assert!(text.contains("      agents\n        -                5A"), "{text}");
        assert!(!text.contains('\u{1b}'), "escape sequences must not reach the terminal");
        assert!(text.contains("(3906 characters)"), "{text}");
    }

    #[test]
    fn the_new_deal_is_found_in_the_events() {
        let event = |pallet: &str, fields| x0_client::EventRecord { pallet: pallet.into(), event: "E".into(), fields };
        let outcome = Outcome {
            hash: x0_types::Hash::zero(),
            block_hash: x0_types::Hash::zero(),
            block_number: 1,
            index: 1,
            fee: None,
            events: vec![event("Balances", json!({"deal": 1})), event("Marketplace", json!({"listing": 3, "deal": 7}))],
        };
        assert!(matches!(subject(&outcome), Some(Subject::Deal(7))));
    }
}
