//! `x0 tx`: transactions as files, for keys that never see a network.

use std::path::{Path, PathBuf};

use serde::{Serialize, de::DeserializeOwned};
use x0_client::{
    ChainDescription, ClientError, SignatureForm, SignedTransaction, UnsignedTransaction,
    amount::format_amount,
    describe::{Amounts, CallDescription, describe_call},
    read_transaction,
    rpc_types::Amount,
    text::{account_text, hex_text, parse_hex},
};
use x0_limits::TRANSACTION_FILE_BYTES_MAX;
use x0_types::AccountId;

use crate::{
    cli::Tx,
    context::{Context, blocking},
    error::{Result, WalletError},
    home::read_text,
    send::{SIGNED_KIND, SignedFile, UNSIGNED_KIND, UnsignedFile, call_lines, hand_over, show, words, write_new_json},
};

/// Runs the command.
///
/// # Errors
/// [`WalletError`].
pub async fn run(context: &Context, command: Tx) -> Result<()> {
    match command {
        Tx::Sign { file, key, out } => sign(context, &file, key.as_deref(), &out).await,
        Tx::Submit { transaction, no_wait } => submit(context, &transaction, no_wait).await,
        Tx::Decode { transaction } => decode(context, &transaction).await,
    }
}

async fn sign(context: &Context, file: &Path, key: Option<&str>, out: &Path) -> Result<()> {
    if out.symlink_metadata().is_ok() {
        return Err(WalletError::File {
            path: out.to_owned(),
            reason: "it exists already and is not overwritten".into(),
        });
    }
    let unsigned: UnsignedFile = read_json(file, UNSIGNED_KIND)?;
    let key = context.choose_key(key)?;
    if key.is_development() && !unsigned.development {
        return Err(ClientError::NotDevelopment { found: unsigned.network }.into());
    }
    if key.account != unsigned.transaction.account {
        let (wanted, found) = (account_text(&unsigned.transaction.account), account_text(&key.account));
        return Err(ClientError::Key {
            reason: format!("the transaction is {wanted}'s, and `{}` is {found}'s", key.label),
        }
        .into());
    }
    let description = describe(&unsigned)?;
    show(context, &unsigned.network, &description, &unsigned.transaction, &key.label, Some(unsigned.fee_estimate.0))?;
    context.say("  (in the words of the file's own description of the chain)");
    context.confirm("Sign?")?;
    let signer = context.signer(&key).await?;
    let transaction = blocking(move || description.sign(&unsigned.transaction, &signer)).await??;
    let hash = transaction.hash;
    write_new_json(out, &SignedFile { kind: SIGNED_KIND.to_owned(), transaction })?;
    context.answer(&serde_json::json!({ "hash": hash, "file": out }), |_| {
        format!("signed: {} in {}", hex_text(hash), out.display())
    })
}

async fn submit(context: &Context, transaction: &str, no_wait: bool) -> Result<()> {
    let file = read_signed(transaction)?;
    let (network, client) = context.connect().await?;
    let signed = match file {
        Signed::File(signed) => {
            if signed.genesis_hash != client.genesis_hash() {
                let (expected, found) = (hex_text(signed.genesis_hash), hex_text(client.genesis_hash()));
                return Err(ClientError::OtherChain { expected, found }.into());
            }
            signed
        }
        Signed::Bytes(bytes) => SignedTransaction::from_bytes(client.genesis_hash(), bytes),
    };
    let description = client.description().await?;
    let report = read_report(&network, &signed, &description)?;
    context.say(&report_words(&report));
    context.confirm("Submit?")?;
    let sent = hand_over(context, &client, &signed, no_wait).await?;
    context.answer(&sent, words)
}

async fn decode(context: &Context, transaction: &str) -> Result<()> {
    let path = PathBuf::from(transaction);
    if path.is_file()
        && let Ok(unsigned) = read_json::<UnsignedFile>(&path, UNSIGNED_KIND)
    {
        let description = describe(&unsigned)?;
        let report = unsigned_report(&unsigned, &description)?;
        return context.answer(&report, report_words);
    }
    let signed = read_signed(transaction)?;
    let (network, client) = context.connect().await?;
    let signed = match signed {
        Signed::File(signed) => signed,
        Signed::Bytes(bytes) => SignedTransaction::from_bytes(client.genesis_hash(), bytes),
    };
    let report = read_report(&network, &signed, &client.description().await?)?;
    context.answer(&report, report_words)
}

fn describe(file: &UnsignedFile) -> Result<ChainDescription> {
    let UnsignedTransaction { genesis_hash, spec_version, transaction_version, .. } = file.transaction;
    Ok(ChainDescription::from_bytes(genesis_hash, spec_version, transaction_version, &file.metadata.0)?)
}

/// What a transaction is, in the shape of `x0 tx decode --json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    network: String,
    signed: bool,
    /// Absent before the signature.
    hash: Option<x0_types::Hash>,
    account: AccountId,
    form: SignatureForm,
    /// Whether the key inside belongs to the account; absent when no key is inside.
    key_is_own: Option<bool>,
    nonce: u32,
    tip: Amount,
    /// Blocks for which it is valid; absent means for ever.
    period_blocks: Option<u64>,
    call: CallDescription,
}

fn unsigned_report(file: &UnsignedFile, description: &ChainDescription) -> Result<Report> {
    let transaction = &file.transaction;
    Ok(Report {
        network: file.network.clone(),
        signed: false,
        hash: None,
        account: transaction.account.clone(),
        form: transaction.form,
        key_is_own: None,
        nonce: transaction.nonce,
        tip: transaction.tip,
        period_blocks: transaction.era.map(|era| era.period_blocks),
        call: describe_call(&transaction.call.0, &description.metadata, Amounts::Units)?,
    })
}

fn read_report(network: &str, signed: &SignedTransaction, description: &ChainDescription) -> Result<Report> {
    let read = read_transaction(&signed.bytes.0, description).map_err(wrong_input)?;
    Ok(Report {
        network: network.to_owned(),
        signed: true,
        hash: Some(signed.hash),
        key_is_own: read.key_account.map(|account| account == read.account),
        account: read.account,
        form: read.form,
        nonce: read.nonce,
        tip: Amount(read.tip),
        period_blocks: read.period_blocks,
        call: describe_call(&read.call, &description.metadata, Amounts::Units)?,
    })
}

fn report_words(report: &Report) -> String {
    let mut lines = vec![match report.hash {
        Some(hash) => format!("signed transaction {} for network {}:", hex_text(hash), report.network),
        None => format!("unsigned transaction for network {}:", report.network),
    }];
    lines.extend(call_lines(&report.call));
    lines.push(format!("  {:<10} {}", "account", account_text(&report.account)));
    if report.key_is_own == Some(false) {
        lines.push(
            "             the key inside is not this account's first key: right only after a rotation".to_owned(),
        );
    }
    lines.push(format!("  {:<10} {}", "number", report.nonce));
    if report.tip.0 > 0 {
        lines.push(format!("  {:<10} {}", "tip", format_amount(report.tip.0)));
    }
    lines.push(match report.period_blocks {
        Some(blocks) => format!("  {:<10} {blocks} blocks", "valid"),
        None => format!("  {:<10} for ever", "valid"),
    });
    lines.join("\n")
}

/// A signed transaction as the user gave it.
enum Signed {
    File(SignedTransaction),
    Bytes(Vec<u8>),
}

fn read_signed(text: &str) -> Result<Signed> {
    if text.starts_with("0x") {
        return Ok(Signed::Bytes(parse_hex("the transaction", text).map_err(wrong_input)?));
    }
    let file: SignedFile = read_json(Path::new(text), SIGNED_KIND)?;
    let SignedTransaction { genesis_hash, hash, bytes } = file.transaction;
    let transaction = SignedTransaction::from_bytes(genesis_hash, bytes.0);
    if transaction.hash != hash {
        return Err(WalletError::File { path: text.into(), reason: "its hash does not fit its bytes".into() });
    }
    Ok(Signed::File(transaction))
}

/// Bytes that the user gave and that do not read are the user's to correct.
fn wrong_input(error: ClientError) -> WalletError {
    match error {
        ClientError::Decode { .. } => WalletError::Usage(error.to_string()),
        other => other.into(),
    }
}

/// Reads a JSON file of one kind.
fn read_json<T: DeserializeOwned>(path: &Path, kind: &str) -> Result<T> {
    let wrong = |reason: String| WalletError::File { path: path.to_owned(), reason };
    let text = read_text(path, TRANSACTION_FILE_BYTES_MAX)?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| wrong(format!("it is not JSON: {error}")))?;
    match value.get("kind").and_then(|found| found.as_str()) {
        Some(found) if found == kind => {}
        Some(found) => return Err(wrong(format!("it is a file of kind `{found}`, and this needs `{kind}`"))),
        None => return Err(wrong(format!("it is not a file of kind `{kind}`"))),
    }
    serde_json::from_value(value).map_err(|error| wrong(error.to_string()))
}
